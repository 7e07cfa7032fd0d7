//! What of a session can be recovered, on a bus and a store in memory.

use std::{
    task::{Context, Poll, Waker},
    time::Instant,
};

use edge::settings::BusAddress;
use shared::{
    live::{bus::MemoryBus, bus::Publication, log::Limits},
    pure::{ChannelName, Cursor, Draft, Retention, Since},
};
use socketio::{SocketIo, adapter::LocalAdapter};

use super::*;
use crate::member::Profile;

const KEEP: Duration = Duration::from_secs(120);

/// A bus whose channels keep three messages, and an adapter on it.
fn adapter() -> (Arc<dyn Bus>, Sessions, LogAdapter) {
    let limits = Limits { channel: Retention { count: Some(3), ..Retention::default() }, ..Limits::default() };
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(limits, || 1_763_800_000_000.into()));
    let sessions = Sessions::open(&BusAddress::Memory, &bus, None, KEEP, None).unwrap();
    let adapter = LogAdapter::new(bus.clone(), sessions.clone(), Arc::new(LocalAdapter::new(None)));
    (bus, sessions, adapter)
}

async fn publish(bus: &Arc<dyn Bus>, count: usize) -> Vec<Cursor> {
    let channel: ChannelName = "chat.lobby".parse().unwrap();
    let draft = |n: usize| Draft::new(channel.clone(), shared::pure::Payload::from_value(&n));
    bus.publish(Publication::new((0..count).map(draft).collect())).await.unwrap().ids
}

/// Somebody who reads the lobby.
fn reader(bus: &Arc<dyn Bus>) -> Profile {
    let mut feed = Feed::new(bus.log(), 7, false);
    feed.add(vec!["chat.lobby".parse().unwrap()], Since::Now);
    Profile { name: "Mei".into(), plan: feed.plan().clone(), ..Profile::default() }
}

#[actix_web::test]
async fn which_sessions_can_be_recovered() {
    let io = SocketIo::builder().build();
    let namespace = io.of("/");
    let local = namespace.local();
    let (bus, sessions, adapter) = adapter();
    let profile = reader(&bus);
    let ids = publish(&bus, 5).await;
    for (pid, offset, found) in [
        ("pid", ids[4].to_string(), true),
        ("pid", ids[1].to_string(), true),
        ("pid", ids[0].to_string(), false),
        ("pid", "9".to_owned(), false),
        // Nothing seen since the session began, of which something is lost.
        ("pid", String::new(), false),
        // A catch-up of this session that it does not remember, and one of another session.
        ("pid", format!("{}/{}/{}", ids[4], 7_u64 << 32 | 5, ids[3]), false),
        ("pid", format!("{}/5/{}", ids[4], ids[3]), true),
        ("another", ids[4].to_string(), false),
        // An offset that cannot be one of this server's is not looked up.
        ("", ids[4].to_string(), false),
        ("{pid}", ids[4].to_string(), false),
        (&"p".repeat(65), ids[4].to_string(), false),
    ] {
        sessions.keep_for_test("pid", "sid", profile.clone());
        let restored = adapter.restore_session(local, pid, &offset).await;
        assert_eq!(restored.is_some(), found, "{pid} {offset}");
        let other = io.of("/other");
        assert!(adapter.restore_session(other.local(), pid, &offset).await.is_none());
    }
}

/// Records what is sent to other servers.
#[derive(Debug, Default)]
struct Overheard(Mutex<Vec<String>>);

impl Adapter for Overheard {
    fn server_side_emit<'a>(&'a self, _: &'a Local, event: Payload) -> BoxFuture<'a, Result<(), AdapterError>> {
        self.0.lock().push(event.json().to_string());
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The secret of a session was sent to every server of the cluster, whoever operates it.
#[actix_web::test]
async fn a_takeover_notice_does_not_allow_resuming_the_session() {
    let io = SocketIo::builder().build();
    let namespace = io.of("/");
    let (bus, sessions, _) = adapter();
    let overheard = Arc::<Overheard>::default();
    let adapter = LogAdapter::new(bus.clone(), sessions.clone(), overheard.clone());
    let ids = publish(&bus, 1).await;
    sessions.keep_elsewhere_for_test("very-secret", "sid-of-a-socket", reader(&bus));
    assert!(adapter.restore_session(namespace.local(), "very-secret", &ids[0].to_string()).await.is_some());
    let sent = overheard.0.lock().concat();
    assert!(sent.contains(SUPERSEDED) && sent.contains("sid-of-a-socket"), "{sent}");
    assert!(!sent.contains("very-secret"), "{sent}");
}

#[actix_web::test]
async fn a_rejected_resumption_does_not_extend_the_session() {
    let io = SocketIo::builder().build();
    let namespace = io.of("/");
    let local = namespace.local();
    let (bus, sessions, adapter) = adapter();
    let ids = publish(&bus, 1).await;
    sessions.keep_for_test("pid", "sid", reader(&bus));
    let began = Instant::now();
    let mut left = KEEP;
    for _ in 0..3 {
        let restored = adapter.restore_session(local, "pid", &ids[0].to_string()).await.expect("it is still there");
        let taken: ResumedSession = restored.session.data.read().unwrap();
        assert!(taken.left() <= left && taken.left() + began.elapsed() <= KEEP + Duration::from_millis(50));
        left = taken.left();
        adapter.release_session(local, restored);
    }
}

/// Case 2.1: a client that has received nothing with an offset resumes its session from its beginning.
#[actix_web::test]
async fn a_client_without_an_offset_resumes_from_the_beginning() {
    let io = SocketIo::builder().build();
    let namespace = io.of("/");
    let (bus, sessions, adapter) = adapter();
    publish(&bus, 2).await;
    sessions.keep_for_test("pid", "sid", reader(&bus));
    let ids = publish(&bus, 3).await;
    let restored = adapter.restore_session(namespace.local(), "pid", "").await.expect("nothing is lost");
    assert_eq!((&*restored.session.sid, &*restored.session.pid), ("sid", "pid"));
    assert!(restored.missed.is_empty(), "it is read as the transport takes it");
    let taken: ResumedSession = restored.session.data.read().unwrap();
    let mut feed = adapter.feed(&taken, read_offset(&restored.offset).unwrap(), None).unwrap();
    assert_eq!(offsets(&mut feed), ids);
}

/// The offsets of all that a feed reads.
fn offsets(feed: &mut Feed) -> Vec<Cursor> {
    let mut offsets = Vec::new();
    while let Poll::Ready(pulled) = feed.poll_pull(&Context::from_waker(Waker::noop()), 1_000) {
        for packet in pulled.packets {
            let args: Vec<serde_json::Value> =
                serde_json::from_str(packet.packet().payload.as_ref().unwrap().json()).unwrap();
            offsets.push(args.last().unwrap().as_str().unwrap().parse().unwrap());
        }
    }
    offsets
}
