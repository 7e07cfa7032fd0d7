//! Each line of the protocol's life of a session, in virtual time.

mod life;
mod upgrade;

use std::time::Duration;

use super::*;

const PROBE: ByteString = ByteString::from_static("probe");

/// A session and its clock.
struct World {
    session: Session,
    now: Instant,
    start: Instant,
}

fn config() -> Arc<SessionConfig> {
    Arc::new(SessionConfig {
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
        upgrade_timeout: Duration::from_secs(10),
        close_timeout: Duration::from_secs(30),
        max_payload: 1_000_000,
        allow_upgrades: true,
        packet_rate: 0,
    })
}

impl World {
    fn new(protocol: Protocol, transport: Transport) -> Self {
        let now = Instant::now();
        let session = Session::open(config(), protocol, transport, "SID", now);
        Self { session, now, start: now }
    }

    fn polling() -> Self {
        let mut world = Self::new(Protocol::V4, Transport::Polling);
        assert!(matches!(world.poll()[..], [Packet::Open(_)]));
        world
    }

    fn websocket() -> Self {
        let mut world = Self::new(Protocol::V4, Transport::WebSocket);
        assert!(matches!(world.out(Transport::WebSocket)[..], [Packet::Open(_)]));
        world
    }

    /// All that the transport would send now.
    fn out(&mut self, via: Transport) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            match self.session.next(via) {
                Next::Send(packet) => packets.push(packet),
                Next::Flush => self.session.flushed(),
                Next::Application | Next::Wait | Next::End => return packets,
            }
        }
    }

    /// A GET that is answered if there is something to say, and stays open if not.
    fn poll(&mut self) -> Vec<Packet> {
        self.session.begin_poll(None).unwrap();
        self.answer()
    }

    /// What an open GET is answered with now.
    fn answer(&mut self) -> Vec<Packet> {
        let packets = self.out(Transport::Polling);
        if !packets.is_empty() {
            self.session.end_poll();
        }
        packets
    }

    fn receive(&mut self, via: Transport, packet: Packet) -> Option<Data> {
        self.session.on_packet(via, packet, self.now)
    }

    /// Lets time pass, firing each deadline at its moment.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.session.deadline().filter(|at| *at <= end) {
            self.now = at;
            self.session.on_deadline(at);
        }
        self.now = end;
    }

    fn closed(&mut self) -> Option<DisconnectReason> {
        self.session.take_closed()
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }
}

fn ping() -> Packet {
    Packet::Ping(ByteString::new())
}

fn pong() -> Packet {
    Packet::Pong(ByteString::new())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn handshake_has_exactly_its_keys() {
    for (transport, upgrades) in [(Transport::Polling, r#"["websocket"]"#), (Transport::WebSocket, "[]")] {
        let mut session = Session::open(config(), Protocol::V4, transport, "SID", Instant::now());
        assert_eq!(session.begin_poll(None).is_ok(), transport == Transport::Polling);
        let expected = format!(
            r#"{{"sid":"SID","upgrades":{upgrades},"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
        );
        assert_eq!(session.next(transport), Next::Send(Packet::Open(expected.into())));
    }
}

#[test]
fn no_upgrades_are_offered_when_there_are_none() {
    let config = SessionConfig { allow_upgrades: false, ..(*config()).clone() };
    let mut session = Session::open(Arc::new(config), Protocol::V4, Transport::Polling, "SID", Instant::now());
    session.begin_poll(None).unwrap();
    assert!(
        matches!(session.next(Transport::Polling), Next::Send(Packet::Open(text)) if text.contains(r#""upgrades":[]"#))
    );
    session.end_poll();
    assert!(!session.attach_candidate(Instant::now()));
}

#[test]
fn server_pings_and_the_pong_arms_the_timer_again() {
    let mut world = World::websocket();
    for _ in 0..3 {
        world.pass(secs(24));
        assert_eq!(world.out(Transport::WebSocket), []);
        world.pass(secs(1));
        assert_eq!(world.out(Transport::WebSocket), [ping()]);
        world.pass(secs(7));
        world.receive(Transport::WebSocket, pong());
    }
    assert_eq!(world.closed(), None);
}

#[test]
fn no_pong_ends_the_session_after_the_timeout() {
    let mut world = World::websocket();
    world.pass(secs(44));
    assert_eq!(world.closed(), None);
    world.pass(secs(1));
    assert_eq!(world.closed(), Some(DisconnectReason::PingTimeout));
    assert_eq!(world.elapsed(), secs(45));
    assert_eq!(world.session.deadline(), None);
    assert_eq!(world.session.next(Transport::WebSocket), Next::End);
}

/// Case 12.7: a timer that fires late does not move the deadline.
#[test]
fn a_late_timer_does_not_move_the_deadline() {
    let mut world = World::polling();
    let late = world.start + secs(25) + Duration::from_millis(3);
    world.session.on_deadline(late);
    assert_eq!(world.session.deadline(), Some(world.start + secs(45)));
    assert!(!world.session.is_overdue(world.start + secs(45) - Duration::from_millis(1)));
    assert!(world.session.is_overdue(world.start + secs(45)));
    world.session.on_deadline(world.start + secs(45));
    assert_eq!(world.closed(), Some(DisconnectReason::PingTimeout));
}

/// A machine that stood still does not take the client's time.
#[test]
fn a_timer_that_is_much_too_late_gives_the_client_its_time() {
    let mut world = World::websocket();
    let late = world.start + secs(60);
    world.session.on_deadline(late);
    assert_eq!(world.session.deadline(), Some(late + secs(20)));
}

/// A client that takes a long message as fast as it can is not slow, although the ping waits behind it.
#[test]
fn progress_keeps_a_session_whose_ping_waits() {
    let mut world = World::websocket();
    world.pass(secs(25));
    for _ in 0..5 {
        world.session.on_progress();
        world.pass(secs(20));
        assert_eq!(world.closed(), None);
    }
    // It leaves at last, and the client has its whole time from then on.
    assert_eq!(world.out(Transport::WebSocket), [ping()]);
    world.now += secs(15);
    world.session.on_ping_sent(world.now);
    world.session.on_progress();
    assert_eq!(world.session.deadline(), Some(world.now + secs(20)));
    world.pass(secs(20));
    assert_eq!(world.closed(), Some(DisconnectReason::PingTimeout));
}

#[test]
fn no_progress_ends_a_session_whose_ping_waits() {
    let mut world = World::websocket();
    world.session.on_progress();
    world.pass(secs(45));
    assert_eq!(world.closed(), Some(DisconnectReason::PingTimeout));
}

#[test]
fn a_pong_nobody_asked_for_does_no_harm() {
    let mut world = World::websocket();
    world.pass(secs(20));
    world.receive(Transport::WebSocket, pong());
    world.pass(secs(24));
    assert_eq!(world.out(Transport::WebSocket), []);
    world.pass(secs(1));
    assert_eq!(world.out(Transport::WebSocket), [ping()]);
}

#[test]
fn ping_waits_for_the_poll() {
    let mut world = World::polling();
    world.pass(secs(30));
    assert_eq!(world.poll(), [ping()]);
    world.receive(Transport::Polling, pong());
    assert_eq!(world.poll(), []);
    world.pass(secs(25));
    assert_eq!(world.answer(), [ping()]);
}

#[test]
fn heartbeat_in_the_wrong_direction() {
    let cases = [(Protocol::V4, ping()), (Protocol::V3, pong())];
    for (protocol, packet) in cases {
        let mut world = World::new(protocol, Transport::WebSocket);
        world.receive(Transport::WebSocket, packet);
        assert_eq!(world.closed(), Some(DisconnectReason::TransportError), "{protocol:?}");
    }
}

#[test]
fn protocol_3_clients_ping() {
    let mut world = World::new(Protocol::V3, Transport::WebSocket);
    world.out(Transport::WebSocket);
    for _ in 0..3 {
        world.pass(secs(40));
        world.receive(Transport::WebSocket, Packet::Ping("x".into()));
        assert_eq!(world.out(Transport::WebSocket), [Packet::Pong("x".into())]);
    }
    world.pass(secs(44));
    assert_eq!(world.closed(), None);
    world.pass(secs(1));
    assert_eq!(world.closed(), Some(DisconnectReason::PingTimeout));
}

#[test]
fn messages_pass_and_other_packets_are_ignored() {
    let mut world = World::websocket();
    assert_eq!(world.receive(Transport::WebSocket, Packet::Message("a".into())), Some("a".into()));
    for packet in [Packet::Noop, Packet::Upgrade, Packet::Open("{}".into())] {
        assert_eq!(world.receive(Transport::WebSocket, packet), None);
    }
    assert_eq!(world.closed(), None);
}

#[test]
fn a_second_poll_closes_the_session() {
    let mut world = World::polling();
    assert_eq!(world.poll(), []);
    assert_eq!(world.session.begin_poll(None), Err(Refused));
    assert_eq!(world.closed(), Some(DisconnectReason::TransportError));
    assert_eq!(world.answer(), [Packet::Close]);
}

#[test]
fn a_second_post_closes_the_session() {
    let mut world = World::polling();
    let _ = world.session.begin_post(None).unwrap();
    world.session.end_post();
    let _ = world.session.begin_post(None).unwrap();
    assert_eq!(world.session.begin_post(None), Err(Refused));
    assert_eq!(world.closed(), Some(DisconnectReason::TransportError));
}

#[test]
fn a_repeated_request_counts_once() {
    let stamp = |value| Some(Stamp::of(value));
    // A client that draws its stamps: what the answer to the last GET carried is lost.
    let mut world = World::polling();
    for value in ["a", "b"] {
        world.session.begin_poll(stamp(value)).unwrap();
        world.session.end_poll();
    }
    assert_eq!(world.session.begin_post(stamp("c")), Ok(Posted::New));
    world.session.end_post();
    assert_eq!(world.session.begin_post(stamp("c")), Ok(Posted::Repeated));
    world.session.end_post();
    assert_eq!(world.session.begin_post(stamp("d")), Ok(Posted::New));
    assert_eq!(world.closed(), None);
    assert_eq!(world.session.begin_poll(stamp("b")), Err(Refused));
    assert_eq!(world.closed(), Some(DisconnectReason::TransportError));
    // Clients whose stamps say nothing.
    for value in [None, stamp("always")] {
        let mut world = World::polling();
        for _ in 0..3 {
            world.session.begin_poll(value).unwrap();
            world.session.end_poll();
            assert_eq!(world.session.begin_post(value), Ok(Posted::New));
            world.session.end_post();
        }
    }
}

#[test]
fn requests_that_come_too_late_are_refused_and_do_no_harm() {
    let mut world = World::polling();
    probe(&mut world);
    world.receive(Transport::WebSocket, Packet::Upgrade);
    assert_eq!((world.session.begin_poll(None), world.session.begin_post(None)), (Err(Refused), Err(Refused)));
    assert_eq!(world.closed(), None);
    assert_eq!(world.session.next(Transport::Polling), Next::End);
    let mut world = World::polling();
    world.session.finish(DisconnectReason::PingTimeout);
    assert_eq!((world.session.begin_poll(None), world.session.begin_post(None)), (Err(Refused), Err(Refused)));
}

#[test]
fn a_poll_that_the_client_gives_up() {
    let mut world = World::polling();
    world.poll();
    world.session.abort_poll();
    assert_eq!(world.closed(), Some(DisconnectReason::TransportError));
    // A poll that has been answered can no longer be given up.
    let mut world = World::polling();
    world.session.abort_poll();
    assert_eq!(world.closed(), None);
}

#[test]
fn close_by_the_client_releases_the_poll() {
    let mut world = World::polling();
    world.poll();
    world.receive(Transport::Polling, Packet::Close);
    assert_eq!(world.closed(), Some(DisconnectReason::TransportClose));
    assert_eq!(world.answer(), [Packet::Noop]);
}

#[test]
fn close_by_the_server_with_a_poll_open() {
    let mut world = World::polling();
    world.poll();
    world.session.close(world.now);
    assert_eq!(world.answer(), [Packet::Close]);
    assert_eq!(world.closed(), Some(DisconnectReason::ForcedClose));
}

#[test]
fn close_by_the_server_waits_for_the_next_poll() {
    let mut world = World::polling();
    world.session.close(world.now);
    world.pass(secs(29));
    assert_eq!(world.closed(), None);
    assert_eq!(world.poll(), [Packet::Close]);
    assert_eq!(world.closed(), Some(DisconnectReason::ForcedClose));
}

#[test]
fn close_by_the_server_does_not_wait_for_ever() {
    let mut world = World::polling();
    world.session.close(world.now);
    world.pass(secs(30));
    assert_eq!(world.closed(), Some(DisconnectReason::ForcedClose));
    assert_eq!(world.session.deadline(), None);
}

#[test]
fn close_flushes_the_application_first() {
    let mut world = World::websocket();
    world.session.close(world.now);
    assert_eq!(world.session.next(Transport::WebSocket), Next::Flush);
    assert_eq!(world.session.next(Transport::WebSocket), Next::Flush);
    world.session.flushed();
    assert_eq!(world.session.next(Transport::WebSocket), Next::End);
    assert_eq!(world.closed(), Some(DisconnectReason::ForcedClose));
}

#[test]
fn a_closing_session_takes_nothing() {
    let mut world = World::polling();
    world.session.close(world.now);
    assert_eq!(world.receive(Transport::Polling, Packet::Message("late".into())), None);
    assert!(!world.session.is_open() && !world.session.is_writable());
    assert!(!world.session.attach_candidate(world.now));
}

#[test]
fn only_the_first_reason_counts() {
    let mut world = World::websocket();
    world.session.finish(DisconnectReason::ParseError);
    world.session.finish(DisconnectReason::PingTimeout);
    world.session.close(world.now);
    world.receive(Transport::WebSocket, Packet::Close);
    world.session.detach_websocket(DisconnectReason::TransportClose);
    assert_eq!(world.closed(), Some(DisconnectReason::ParseError));
    assert_eq!(world.closed(), None);
}

#[test]
fn a_lost_websocket() {
    let mut world = World::websocket();
    world.session.detach_websocket(DisconnectReason::TransportClose);
    assert_eq!(world.closed(), Some(DisconnectReason::TransportClose));
}

#[test]
fn writable_means_that_a_transport_waits() {
    let mut world = World::polling();
    assert!(!world.session.is_writable());
    world.poll();
    assert!(world.session.is_writable());
    world.session.abort_poll();
    assert!(!world.session.is_writable());
    assert!(World::websocket().session.is_writable());
}

fn probe(world: &mut World) {
    assert!(world.session.attach_candidate(world.now));
    world.receive(Transport::WebSocket, Packet::Ping(PROBE));
    assert_eq!(world.out(Transport::WebSocket), [Packet::Pong(PROBE)]);
}
