//! Sessions by a clock that is handed in, and what of them can be recovered.

use shared::{
    live::{bus::MemoryBus, bus::Publication, log::Limits},
    pure::{ChannelName, Cursor, Draft, Payload, Retention, Since},
};
use socketio::{SocketData, SocketIo};

use super::*;

const KEEP: Duration = Duration::from_secs(120);
const SECOND: Duration = Duration::from_secs(1);

fn session(pid: &str, sid: &str) -> Session {
    Session { sid: sid.into(), pid: pid.into(), rooms: Vec::new(), data: SocketData::default() }
}

fn sid(session: Option<Session>) -> Option<String> {
    session.map(|session| session.sid.to_string())
}

#[test]
fn a_session_is_had_once_and_within_its_time() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    for (pid, after, found) in
        [("a", Duration::ZERO, true), ("b", KEEP - SECOND, true), ("c", KEEP, false), ("d", KEEP + SECOND, false)]
    {
        sessions.keep(session(pid, "s"), now, KEEP);
        assert_eq!(sessions.take(pid, now + after).is_some(), found, "{pid}");
        assert!(sessions.take(pid, now).is_none(), "{pid} again");
    }
    assert!(sessions.take("nobody", now).is_none());
    assert!(sessions.by_pid.is_empty() && sessions.until.is_empty());
}

#[test]
fn who_is_cut_off_again_is_kept_anew() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    sessions.keep(session("a", "first"), now, KEEP);
    sessions.keep(session("a", "second"), now + SECOND, KEEP);
    assert_eq!((sessions.by_pid.len(), sessions.until.len()), (1, 1));
    // The first one's end is not the second one's.
    sessions.keep(session("b", "other"), now + KEEP, KEEP);
    assert_eq!(sid(sessions.take("a", now + KEEP)).as_deref(), Some("second"));
}

#[test]
fn what_is_over_is_forgotten_when_somebody_else_comes() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    for n in 0..10 {
        sessions.keep(session(&n.to_string(), "s"), now + n * SECOND, KEEP);
    }
    sessions.keep(session("late", "s"), now + KEEP + 4 * SECOND, KEEP);
    assert_eq!((sessions.by_pid.len(), sessions.until.len()), (6, 6));
    assert!(sessions.by_pid.contains_key("5") && !sessions.by_pid.contains_key("4"));
}

#[test]
fn of_too_many_the_oldest_go() {
    let now = Instant::now();
    let mut sessions = Sessions::default();
    for n in 0..MOST_SESSIONS + 2 {
        sessions.keep(session(&n.to_string(), "s"), now, KEEP);
    }
    assert_eq!((sessions.by_pid.len(), sessions.until.len()), (MOST_SESSIONS, MOST_SESSIONS));
    assert!(sessions.take("0", now).is_none() && sessions.take("1", now).is_none());
    assert!(sessions.take("2", now).is_some());
}

/// A bus whose channels hold three messages, and an adapter on it.
fn adapter() -> (Arc<dyn Bus>, LogAdapter) {
    let limits = Limits { channel: Retention { count: Some(3), ..Retention::default() }, ..Limits::default() };
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(limits, || 1_763_800_000_000));
    (bus.clone(), LogAdapter::new(bus))
}

async fn publish(bus: &Arc<dyn Bus>, count: usize) -> Vec<Cursor> {
    let channel: ChannelName = "chat.lobby".parse().unwrap();
    let draft = |n: usize| Draft::new(channel.clone(), Payload::from_value(&n));
    bus.publish(Publication::new((0..count).map(draft).collect())).await.unwrap().ids
}

/// The session of somebody who reads the lobby.
fn reader(bus: &Arc<dyn Bus>) -> Session {
    let mut feed = Feed::new(bus.log(), 7, false);
    feed.add(vec!["chat.lobby".parse().unwrap()], Since::Now);
    let profile = Profile { name: "Mei".into(), plan: feed.plan().clone(), ..Profile::default() };
    Session { data: SocketData::of(&profile).unwrap(), ..session("pid", "sid") }
}

#[actix_web::test]
async fn what_can_be_recovered_and_what_not() {
    let io = SocketIo::builder().build();
    let namespace = io.of("/");
    let local = namespace.local();
    let (bus, adapter) = adapter();
    let session = reader(&bus);
    let ids = publish(&bus, 5).await;
    for (pid, offset, found) in [
        ("pid", ids[4].to_string(), true),
        ("pid", ids[1].to_string(), true),
        ("pid", ids[0].to_string(), false),
        ("pid", "9".to_owned(), false),
        ("pid", String::new(), false),
        // A catch-up of this session that it does not remember, and one of another session.
        ("pid", format!("{}/{}/{}", ids[4], 7_u64 << 32 | 5, ids[3]), false),
        ("pid", format!("{}/5/{}", ids[4], ids[3]), true),
        ("another", ids[4].to_string(), false),
    ] {
        adapter.persist_session(local, session.clone(), KEEP);
        let restored = adapter.restore_session(local, pid, &offset).await;
        assert_eq!(restored.is_some(), found, "{pid} {offset}");
    }
}

#[actix_web::test]
async fn what_was_missed_comes_before_the_way_in() {
    let io = SocketIo::builder().build();
    let namespace = io.of("/");
    let local = namespace.local();
    let (bus, adapter) = adapter();
    adapter.persist_session(local, reader(&bus), KEEP);
    let ids = publish(&bus, 3).await;
    let restored = adapter.restore_session(local, "pid", &ids[0].to_string()).await.unwrap();
    assert!(restored.missed.is_empty());
    let mut given = Vec::new();
    adapter.resume(local, restored, &mut |missed| given.extend(missed));
    let offsets: Vec<String> = given
        .iter()
        .map(|packet| {
            let args: Vec<serde_json::Value> =
                serde_json::from_str(packet.packet().payload.as_ref().unwrap().json()).unwrap();
            args.last().unwrap().as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(offsets, [ids[1].to_string(), ids[2].to_string()]);
}
