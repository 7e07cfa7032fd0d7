//! Each line of the protocol's life of a session, in virtual time.

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
fn overlapping_polls() {
    let mut world = World::polling();
    assert_eq!(world.poll(), []);
    assert_eq!(world.session.begin_poll(None), Err(Refused));
    assert_eq!(world.closed(), Some(DisconnectReason::TransportError));
    assert_eq!(world.answer(), [Packet::Close]);
}

#[test]
fn overlapping_posts() {
    let mut world = World::polling();
    let _ = world.session.begin_post(None).unwrap();
    world.session.end_post();
    let _ = world.session.begin_post(None).unwrap();
    assert_eq!(world.session.begin_post(None), Err(Refused));
    assert_eq!(world.closed(), Some(DisconnectReason::TransportError));
}

#[test]
fn repeated_requests() {
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

fn probe(world: &mut World) {
    assert!(world.session.attach_candidate(world.now));
    world.receive(Transport::WebSocket, Packet::Ping(PROBE));
    assert_eq!(world.out(Transport::WebSocket), [Packet::Pong(PROBE)]);
}

#[test]
fn upgrade_frees_the_poll_again_and_again() {
    let mut world = World::polling();
    world.poll();
    probe(&mut world);
    assert_eq!(world.answer(), [Packet::Noop]);
    // The client had not seen the probe's answer and polled once more: each poll gets its noop within 100 ms.
    for _ in 0..5 {
        assert_eq!(world.poll(), []);
        world.pass(Duration::from_millis(99));
        assert_eq!(world.answer(), []);
        world.pass(Duration::from_millis(1));
        assert_eq!(world.answer(), [Packet::Noop]);
    }
    world.receive(Transport::WebSocket, Packet::Upgrade);
    assert_eq!(world.session.transport(), Transport::WebSocket);
    world.pass(Duration::from_millis(500));
    assert_eq!(world.out(Transport::WebSocket), []);
}

/// Case 12.4: a GET that is unanswered when `5` arrives is refused, even if it was about to get its noop.
#[test]
fn upgrade_refuses_a_poll_that_waits_for_its_noop() {
    let mut world = World::polling();
    world.session.begin_poll(None).unwrap();
    probe(&mut world);
    world.receive(Transport::WebSocket, Packet::Upgrade);
    assert!(!world.session.has_poll());
    assert_eq!(world.session.next(Transport::Polling), Next::End);
    assert_eq!(world.session.begin_poll(None), Err(Refused));
}

#[test]
fn messages_flow_over_polling_until_the_upgrade() {
    let mut world = World::polling();
    probe(&mut world);
    world.session.begin_poll(None).unwrap();
    assert_eq!(world.session.next(Transport::Polling), Next::Application);
    assert_eq!(world.session.next(Transport::WebSocket), Next::Wait);
    world.receive(Transport::WebSocket, Packet::Upgrade);
    // A poll that is open now has overtaken the packet on another connection: there is nothing for it, not even a noop. The
    // application's messages take the WebSocket.
    assert!(!world.session.has_poll());
    assert_eq!(world.session.next(Transport::Polling), Next::End);
    assert_eq!(world.session.next(Transport::WebSocket), Next::Application);
}

#[test]
fn a_flood_of_pings_of_an_old_client_does_not_pile_up() {
    let mut world = World::new(Protocol::V3, Transport::Polling);
    assert!(matches!(world.poll()[..], [Packet::Open(_)]));
    for n in 0..1000 {
        world.receive(Transport::Polling, Packet::Ping(n.to_string().into()));
    }
    assert_eq!(world.poll(), [Packet::Pong("999".into())]);
}

#[test]
fn more_packets_than_pings_ask_for_end_the_session() {
    let limited = |protocol, transport| {
        let mut world = World::new(protocol, transport);
        let config = SessionConfig { packet_rate: 10, ..(*config()).clone() };
        world.session = Session::open(Arc::new(config), protocol, transport, "SID", world.now);
        world
    };
    for (protocol, packet) in [(Protocol::V4, pong()), (Protocol::V3, ping()), (Protocol::V4, Packet::Noop)] {
        for via in [Transport::Polling, Transport::WebSocket] {
            let mut world = limited(protocol, via);
            for taken in 0..20 {
                world.receive(via, packet.clone());
                assert_eq!(world.closed(), None, "{packet:?} {taken}");
            }
            world.receive(via, packet.clone());
            assert_eq!(world.closed(), Some(DisconnectReason::RateLimit), "{packet:?}");
        }
    }
    // Messages are not counted here, and time gives back what was taken.
    let mut world = limited(Protocol::V4, Transport::WebSocket);
    for _ in 0..1_000 {
        assert!(world.receive(Transport::WebSocket, Packet::Message("a".into())).is_some());
        world.receive(Transport::WebSocket, pong());
        world.now += Duration::from_millis(100);
    }
    assert_eq!(world.closed(), None);
    // A WebSocket that only offers itself is the same client.
    let mut world = limited(Protocol::V4, Transport::Polling);
    assert!(world.session.attach_candidate(world.now));
    for _ in 0..21 {
        world.receive(Transport::WebSocket, Packet::Ping(PROBE));
    }
    assert_eq!(world.closed(), Some(DisconnectReason::RateLimit));
}

#[test]
fn a_ping_that_waited_takes_the_websocket() {
    let mut world = World::polling();
    world.pass(secs(24));
    probe(&mut world);
    world.pass(secs(1));
    world.receive(Transport::WebSocket, Packet::Upgrade);
    assert_eq!(world.out(Transport::WebSocket), [ping()]);
}

#[test]
fn an_upgrade_that_takes_too_long_costs_the_candidate_alone() {
    for probed in [false, true] {
        let mut world = World::polling();
        assert!(world.session.attach_candidate(world.now));
        if probed {
            world.receive(Transport::WebSocket, Packet::Ping(PROBE));
            world.out(Transport::WebSocket);
        }
        world.pass(Duration::from_millis(9_999));
        assert_eq!(world.session.next(Transport::WebSocket), Next::Wait);
        world.pass(Duration::from_millis(1));
        assert_eq!(world.session.next(Transport::WebSocket), Next::End);
        assert_eq!(world.closed(), None);
        assert_eq!(world.session.transport(), Transport::Polling);
        // Another may try.
        assert!(world.session.attach_candidate(world.now));
    }
}

#[test]
fn a_candidate_that_says_something_else_is_dropped() {
    let cases = [Packet::Message("x".into()), ping(), pong(), Packet::Close, Packet::Noop];
    for packet in cases {
        let mut world = World::polling();
        assert!(world.session.attach_candidate(world.now));
        assert_eq!(world.receive(Transport::WebSocket, packet), None);
        assert_eq!(world.session.next(Transport::WebSocket), Next::End);
        assert_eq!(world.closed(), None);
    }
}

#[test]
fn a_second_websocket_is_not_attached() {
    let mut world = World::polling();
    assert!(world.session.attach_candidate(world.now));
    assert!(!world.session.attach_candidate(world.now));
    world.receive(Transport::WebSocket, Packet::Ping(PROBE));
    world.receive(Transport::WebSocket, Packet::Upgrade);
    assert!(!world.session.attach_candidate(world.now));
}

#[test]
fn a_lost_candidate_leaves_the_session() {
    let mut world = World::polling();
    probe(&mut world);
    world.session.detach_websocket(DisconnectReason::TransportClose);
    assert_eq!(world.closed(), None);
    assert!(world.session.attach_candidate(world.now));
}

#[test]
fn packets_over_the_old_transport_are_dropped_after_the_upgrade() {
    let mut world = World::polling();
    probe(&mut world);
    world.receive(Transport::WebSocket, Packet::Upgrade);
    assert_eq!(world.receive(Transport::Polling, Packet::Message("late".into())), None);
    world.session.abort_poll();
    assert_eq!(world.closed(), None);
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

#[test]
fn ends_in_every_state() {
    type Setup = fn(&mut World);
    let states: [(&str, Setup); 6] = [
        ("idle", |_| {}),
        ("poll open", |world| drop(world.poll())),
        ("posting", |world| {
            let _ = world.session.begin_post(None);
        }),
        ("attached", |world| assert!(world.session.attach_candidate(world.now))),
        ("probed", probe),
        ("closing", |world| world.session.close(world.now)),
    ];
    for (name, setup) in states {
        let mut world = World::polling();
        setup(&mut world);
        world.session.finish(DisconnectReason::ParseError);
        assert_eq!(world.closed(), Some(DisconnectReason::ParseError), "{name}");
        assert_eq!(world.session.deadline(), None, "{name}");
        assert_eq!(world.session.next(Transport::WebSocket), Next::End, "{name}");
        let expected: &[Packet] = if name == "poll open" { &[Packet::Close] } else { &[] };
        assert_eq!(world.out(Transport::Polling), expected, "{name}");
        world.pass(secs(100));
        assert_eq!(world.closed(), None, "{name}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    BeginPoll,
    AbortPoll,
    BeginPost,
    EndPost,
    Attach,
    Detach,
    Receive(Transport, Packet),
    Send(Transport),
    Close,
    Finish,
    Pass(u64),
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;

    let via = prop_oneof![Just(Transport::Polling), Just(Transport::WebSocket)];
    let packet = prop_oneof![
        4 => Just(Packet::Message("m".into())),
        2 => Just(Packet::Ping(PROBE)),
        2 => Just(Packet::Upgrade),
        2 => Just(pong()),
        1 => Just(ping()),
        1 => Just(Packet::Close),
        1 => Just(Packet::Noop),
    ];
    let step = prop_oneof![
        4 => Just(Step::BeginPoll),
        1 => Just(Step::AbortPoll),
        2 => Just(Step::BeginPost),
        2 => Just(Step::EndPost),
        2 => Just(Step::Attach),
        1 => Just(Step::Detach),
        6 => (via.clone(), packet).prop_map(|(via, packet)| Step::Receive(via, packet)),
        6 => via.prop_map(Step::Send),
        1 => Just(Step::Close),
        1 => Just(Step::Finish),
        4 => (0_u64..30_000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..60)
}

proptest::proptest! {
    /// Whatever happens in whatever order: a session ends once, sends nothing after its end, and delivers the application's messages on one
    /// transport.
    #[test]
    fn any_life(steps in steps(), websocket: bool, v3: bool) {
        let protocol = if v3 { Protocol::V3 } else { Protocol::V4 };
        let mut world = World::new(protocol, if websocket { Transport::WebSocket } else { Transport::Polling });
        let mut ends = 0;
        for step in steps {
            match step {
                Step::BeginPoll => drop(world.session.begin_poll(None)),
                Step::AbortPoll => world.session.abort_poll(),
                Step::BeginPost => drop(world.session.begin_post(None)),
                Step::EndPost => world.session.end_post(),
                Step::Attach => drop(world.session.attach_candidate(world.now)),
                Step::Detach => world.session.detach_websocket(DisconnectReason::TransportClose),
                Step::Receive(via, packet) => {
                    let open = world.session.is_open();
                    let active = via == world.session.transport();
                    let message = world.receive(via, packet).is_some();
                    assert!(!message || open && active, "a message over a transport that is not the session's");
                }
                Step::Send(via) => match world.session.next(via) {
                    Next::Application => assert!(world.session.is_open() && via == world.session.transport()),
                    Next::Flush => {
                        assert!(!world.session.is_closed() && via == world.session.transport());
                        world.session.flushed();
                    }
                    Next::Send(_) | Next::Wait | Next::End => {}
                },
                Step::Close => world.session.close(world.now),
                Step::Finish => world.session.finish(DisconnectReason::ParseError),
                Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
            }
            ends += usize::from(world.closed().is_some());
            assert_eq!(world.session.is_closed(), ends == 1);
            assert_eq!(world.session.deadline().is_none(), world.session.is_closed());
        }
        // Without further input, every session ends.
        world.pass(Duration::from_secs(120));
        ends += usize::from(world.closed().is_some());
        assert_eq!(ends, 1);
    }
}
