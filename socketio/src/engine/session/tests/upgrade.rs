//! The upgrade from polling to a WebSocket.

use super::*;

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
