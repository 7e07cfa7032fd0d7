use std::task::Waker;

use super::{memory::fair_share, store::lock, *};
use crate::{Outgoing, SocketData, Source, engine::Sid, stats::Counters};

fn packet(args: &impl serde::Serialize) -> EncodedPacket {
    EncodedPacket::event("/", "e", args).unwrap()
}

fn session(rooms: &[&str]) -> Session {
    Session {
        sid: "me".into(),
        pid: "secret".into(),
        rooms: rooms.iter().map(|room| (*room).into()).collect(),
        data: SocketData::default(),
        start: None,
    }
}

fn to(room: &str) -> Selector {
    Selector { rooms: vec![room.into()], except: vec![] }
}

fn json(packet: &EncodedPacket) -> String {
    packet.packet().payload.as_ref().unwrap().json().to_string()
}

fn keep(store: &mut Store, args: &impl serde::Serialize, to: Selector, limits: &Recovery, now: Instant) -> String {
    let packet = store.number(&packet(args));
    let json = json(&packet);
    store.keep(packet, to, limits, now);
    json
}

/// What a source gives until it ends or waits, with this budget for each pull.
fn drain(source: &mut impl Source, budget: usize) -> Vec<Outgoing> {
    let mut all = Vec::new();
    let mut cx = std::task::Context::from_waker(Waker::noop());
    while let std::task::Poll::Ready(batch) = source.poll_next(&mut cx, budget) {
        if batch.is_empty() {
            break;
        }
        all.extend(batch);
    }
    all
}

/// What the session missed since an offset, as it is pulled.
fn missed(shared: &Arc<Mutex<Store>>, session: &Session, offset: &str) -> Option<Vec<String>> {
    let mut backlog = {
        let mut store = lock(shared);
        let now = Instant::now();
        store.insert(session.clone(), Duration::from_secs(1), now);
        let (session, next) = store.find(&session.pid, Some(offset), now)?;
        Backlog::new(shared, &store, &session, next)
    };
    let pulled = drain(&mut backlog, 1);
    let text = |outgoing: &Outgoing| {
        let first = outgoing.frames(crate::engine::Form::Text).packets().next();
        format!("{first:?}")
    };
    Some(pulled.iter().map(text).collect())
}

fn count(missed: Option<&Vec<String>>, expected: &[&String]) {
    let missed = missed.expect("found");
    assert_eq!(missed.len(), expected.len(), "{missed:?}");
    for (missed, expected) in missed.iter().zip(expected) {
        assert!(missed.contains(&format!("{expected:?}")[1..expected.len()]), "{missed} {expected}");
    }
}

#[test]
fn missed_is_what_came_after_to_the_rooms() {
    let shared = Arc::new(Mutex::new(Store::new(Sid::random().unwrap())));
    let (limits, now) = (Recovery::default(), Instant::now());
    let before = lock(&shared).latest();
    let keep = |args: u32, to| keep(&mut lock(&shared), &args, to, &limits, now);
    let one = keep(1, to("a"));
    let after_one = lock(&shared).latest();
    keep(2, to("b"));
    let three = keep(3, to("me"));
    keep(4, Selector { rooms: vec![], except: vec!["a".into()] });
    let all = |offset: &str| missed(&shared, &session(&["a"]), offset);
    count(all(&before).as_ref(), &[&one, &three]);
    count(all(&after_one).as_ref(), &[&three]);
    let latest = lock(&shared).latest();
    count(all(&latest).as_ref(), &[]);
    let epoch = latest.split_once('.').unwrap().0.to_owned();
    for bad in ["", "x", "x.1", &format!("{epoch}.5"), &format!("{epoch}.{}", u64::MAX), &format!("{epoch}.-1")] {
        assert_eq!(all(bad), None, "{bad}");
    }
}

/// A client may bring no offset, or one of an earlier session; it gets what came since its session began, and nothing from before.
#[test]
fn a_session_is_resumed_from_its_start_at_the_earliest() {
    let shared = Arc::new(Mutex::new(Store::new(Sid::random().unwrap())));
    let (limits, now) = (Recovery::default(), Instant::now());
    let early = lock(&shared).latest();
    keep(&mut lock(&shared), &1, to("a"), &limits, now);
    let mut session = session(&["a"]);
    session.start = Some(lock(&shared).latest().into());
    let two = keep(&mut lock(&shared), &2, to("a"), &limits, now);
    count(missed(&shared, &session, &early).as_ref(), &[&two]);
    let mut store = lock(&shared);
    assert!(store.find("secret", None, now).is_some());
    session.start = None;
    store.insert(session, Duration::from_secs(1), now);
    assert!(store.find("secret", None, now).is_none());
}

#[test]
fn dropped_sessions_cannot_be_resumed() {
    let shared = Arc::new(Mutex::new(Store::new(Sid::random().unwrap())));
    let limits = Recovery { max_packets: 2, ..Recovery::default() };
    let now = Instant::now();
    let offsets: Vec<String> = (0..5)
        .map(|n| {
            keep(&mut lock(&shared), &n, to("a"), &limits, now);
            lock(&shared).latest()
        })
        .collect();
    assert_eq!(missed(&shared, &session(&["a"]), &offsets[1]), None);
    assert_eq!(missed(&shared, &session(&["a"]), &offsets[2]).map(|missed| missed.len()), Some(2));
    // Time drops, too.
    keep(&mut lock(&shared), &5, to("a"), &limits, now + limits.max_disconnection * 2);
    assert_eq!(missed(&shared, &session(&["a"]), &offsets[3]), None);
}

/// A client that takes what it missed so slowly that the rest is dropped is given none of what comes behind.
#[test]
fn a_backlog_that_is_overrun_ends() {
    let shared = Arc::new(Mutex::new(Store::new(Sid::random().unwrap())));
    let limits = Recovery { max_packets: 4, ..Recovery::default() };
    let now = Instant::now();
    let start = lock(&shared).latest();
    for n in 0..4 {
        keep(&mut lock(&shared), &n, to("me"), &limits, now);
    }
    let mut backlog = {
        let mut store = lock(&shared);
        store.insert(session(&[]), Duration::from_secs(1), now);
        let (session, next) = store.find("secret", Some(&start), now).unwrap();
        Backlog::new(&shared, &store, &session, next)
    };
    let mut cx = std::task::Context::from_waker(Waker::noop());
    assert!(matches!(backlog.poll_next(&mut cx, 1), std::task::Poll::Ready(batch) if batch.len() == 1));
    for n in 4..6 {
        keep(&mut lock(&shared), &n, to("me"), &limits, now);
    }
    assert_eq!(drain(&mut backlog, 1).len(), 0);
}

#[test]
fn strings_at_the_end_are_guarded() {
    let store = Store::new(Sid::random().unwrap());
    let offset = store.latest();
    for (plain, guarded) in [
        (packet(&"bob"), format!(r#"["e","bob","{offset}"]"#)),
        (packet(&()), format!(r#"["e","{offset}"]"#)),
        (packet(&1), r#"["e",1]"#.to_owned()),
        (packet(&("a", true)), r#"["e","a",true]"#.to_owned()),
    ] {
        assert_eq!(json(&store.guard(plain)), guarded);
    }
}

fn local(name: &str) -> Local {
    Local::new(name.into(), Arc::<Counters>::default())
}

fn emit(adapter: &LocalAdapter, local: &Local, args: &impl serde::Serialize) {
    let broadcast = Broadcast { packet: packet(args), to: Selector::default(), volatile: false, local: false };
    drop(adapter.broadcast(local, broadcast));
}

/// Case 2.5: what a namespace keeps goes with it, or with its last session.
#[actix_web::test]
async fn stores_are_freed_with_their_namespaces() {
    let keep = Duration::from_secs(40);
    let recovery = Recovery { max_disconnection: keep, ..Recovery::default() };
    let adapter = LocalAdapter::new(Some(recovery));
    let memory = adapter.memory.clone().unwrap();
    for n in 0..1_000 {
        let local = local(&format!("/{n}"));
        emit(&adapter, &local, &"x".repeat(1_000));
        adapter.closed(&local);
    }
    assert_eq!((adapter.bytes(), memory.stores().len()), (0, 0));

    for n in 0..100 {
        let local = local(&format!("/{n}"));
        adapter.persist_session(&local, session(&["a"]), keep);
        adapter.closed(&local);
        assert_eq!(local.counters().recovery_sessions.get(), n + 1);
    }
    assert_eq!(memory.stores().len(), 100, "their clients may come back");
    memory.sweep(Instant::now()).await;
    assert_eq!((memory.stores().len(), memory.sessions()), (100, 100));
    memory.sweep(Instant::now() + keep).await;
    assert_eq!((memory.stores().len(), memory.sessions(), memory.bytes()), (0, 0, 0));
}

/// What has expired goes in slices: no one waits for the whole.
#[actix_web::test]
async fn expired_keys_are_removed_in_slices() {
    let mut store = Store::new(Sid::random().unwrap());
    let (limits, now) = (Recovery::default(), Instant::now());
    let empty = store.bytes();
    for n in 0..10 {
        keep(&mut store, &n, to("a"), &limits, now);
        let session = Session { pid: format!("{n}").into(), ..session(&["a"]) };
        store.insert(session, limits.max_disconnection, now);
    }
    // One resumes and is disconnected again later: only its new deadline applies.
    store.remove("3");
    store.insert(Session { pid: "3".into(), ..session(&["a"]) }, limits.max_disconnection * 3, now);
    let later = now + limits.max_disconnection * 2;
    assert_eq!(store.expire(limits.max_disconnection, now, 8), 0);
    for (dropped, sessions, packets) in [(8, 2, 10), (8, 1, 3), (3, 1, 0), (0, 1, 0)] {
        assert_eq!(store.expire(limits.max_disconnection, later, 8), dropped);
        assert_eq!((store.sessions(), store.packets()), (sessions, packets));
    }
    assert_eq!(store.expire(limits.max_disconnection, later + limits.max_disconnection, 8), 1);
    assert_eq!(store.bytes(), empty);
}

/// Case 2.5: one bound for all namespaces; those with the most give first.
#[test]
fn all_namespaces_together_are_bounded() {
    let recovery = Recovery { max_total_bytes: 400_000, ..Recovery::default() };
    let adapter = LocalAdapter::new(Some(recovery));
    let memory = adapter.memory.clone().unwrap();
    let quiet = local("/quiet");
    emit(&adapter, &quiet, &1);
    let before = lock(&memory.store(quiet.name()).unwrap()).bytes();
    for round in 0..100 {
        for n in 0..20 {
            emit(&adapter, &local(&format!("/{n}")), &"x".repeat(1_000));
        }
        for n in 0..20 {
            let session = Session { pid: format!("{round}").into(), ..session(&["a"]) };
            adapter.persist_session(&local(&format!("/{n}")), session, Duration::from_secs(100));
        }
        assert!(adapter.bytes() <= 400_000, "{}", adapter.bytes());
    }
    let total: usize = memory.stores().values().map(|store| lock(store).bytes()).sum();
    assert_eq!(adapter.bytes(), total);
    assert!(total > 200_000, "{total}");
    assert_eq!(lock(&memory.store(quiet.name()).unwrap()).bytes(), before);
}

#[test]
fn a_fair_share_cuts_the_largest() {
    for (sizes, total, share) in [
        (vec![], 10, usize::MAX),
        (vec![1, 2, 3], 10, usize::MAX),
        (vec![1, 2, 30], 10, 7),
        (vec![20, 1, 20], 11, 5),
        (vec![5, 5, 5], 6, 2),
    ] {
        assert_eq!(fair_share(sizes.clone(), total), share, "{sizes:?}");
        assert!(sizes.iter().map(|size| *size.min(&share)).sum::<usize>() <= total);
    }
}
