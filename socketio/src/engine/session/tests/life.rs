//! How sessions end, in every state and after any steps.

use super::*;

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
    fn any_order_of_events_ends_once_and_delivers_on_one_transport(steps in steps(), websocket: bool, v3: bool) {
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
