//! Both stores with one contract, on a Redis of the test's own.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use edge::testing::redis::Server;
use futures_util::FutureExt as _;
use shared::live::{bus::MemoryBus, clock::Moment, log::Limits};
use socketio::adapter::BoxFuture;

use super::{
    store::{Save, SaveOutcome},
    *,
};

impl Sessions {
    /// As if a socket of this session had just disconnected.
    pub(crate) fn keep_for_test(&self, pid: &str, sid: &str, profile: Profile) {
        self.keep_record(pid, SessionRecord { sid: sid.into(), is_live: false, profile });
    }

    /// As if another server had such a socket.
    pub(crate) fn keep_elsewhere_for_test(&self, pid: &str, sid: &str, profile: Profile) {
        self.keep_record(pid, SessionRecord { sid: sid.into(), is_live: true, profile });
    }

    fn keep_record(&self, pid: &str, kept: SessionRecord) {
        let until = Instant::now() + self.0.keep;
        let ended = EndedSession { holder: Holder::draw(), before: None, session: Some(kept.text()), until };
        self.keep(&pid.into(), None, ended);
    }
}

impl ResumedSession {
    pub(crate) fn left(&self) -> Duration {
        Duration::from_millis(self.left)
    }
}

/// A bus that has no sessions.
fn nowhere() -> Arc<dyn Bus> {
    Arc::new(MemoryBus::new(Limits::default(), Moment::now))
}

async fn redis_store(server: &Server) -> RedisStore {
    let store = RedisStore::open(&server.url(), None).unwrap();
    back(&store).await;
    store
}

/// Waits until a store is available.
async fn back(store: &dyn SessionStore) {
    let began = Instant::now();
    while store.acquire("nobody", Holder::draw()).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(15), "the store does not come back");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Case 8.1: the largest sessions are saved in calls of bounded size, so that a slow connection can transfer each of them in time.
#[tokio::test]
async fn large_sessions_are_saved_some_at_a_time() {
    let server = Server::start().await;
    let store = redis_store(&server).await;
    for (sizes, calls) in [(vec![60_000; 128], 32), (vec![1; 128], 1), (vec![600_000, 1, 600_000], 3), (vec![], 0)] {
        let save = |(n, bytes): (usize, &usize)| {
            let session = Some("x".repeat(*bytes).into());
            let keep = Duration::from_secs(60);
            Save {
                pid: format!("{calls}-{n}").into(),
                holder: Holder::draw(),
                before: None,
                session,
                keep,
                is_live: true,
            }
        };
        let saves: Vec<Save> = sizes.iter().enumerate().map(save).collect();
        server.command(&["CONFIG", "RESETSTAT"]).await;
        assert_eq!(store.save(&saves).await, Ok(vec![SaveOutcome::Saved; saves.len()]));
        let text: String = ::redis::from_redis_value(server.command(&["INFO", "commandstats"]).await).unwrap();
        let made = text.split_once("cmdstat_eval:calls=").map_or("0", |(_, rest)| rest.split(',').next().unwrap());
        let made: usize = made.parse().unwrap();
        // The store checks every two seconds whether it can store sessions.
        assert!((calls..calls + 10).contains(&made), "{made} calls for {} sessions", saves.len());
    }
}

/// A store that is unavailable.
struct NeverThere;

impl SessionStore for NeverThere {
    fn save<'a>(&'a self, _: &'a [Save]) -> BoxFuture<'a, Result<Vec<SaveOutcome>, StoreUnavailable>> {
        Box::pin(std::future::ready(Err(StoreUnavailable("never available".to_owned()))))
    }

    fn acquire<'a>(
        &'a self,
        _: &'a str,
        _: Holder,
    ) -> BoxFuture<'a, Result<Option<store::LeasedSession>, StoreUnavailable>> {
        Box::pin(std::future::ready(Err(StoreUnavailable("never available".to_owned()))))
    }

    fn outlives_us(&self) -> bool {
        true
    }
}

/// While Redis is unavailable, a client's requests do not wait for it, and repeated requests do not add more to save.
#[tokio::test]
async fn changes_while_the_store_is_unavailable_are_bounded() {
    let sessions = Sessions::on(Box::new(NeverThere), Duration::from_secs(60), None);
    let running = tokio::spawn(sessions.clone().run());
    sessions.keep_for_test("pid", "sid", Profile::default());
    while !sessions.0.is_store_unavailable.load(Relaxed) {
        sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..10_000 {
        assert_eq!(sessions.saved_as(&"pid".into()).now_or_never(), Some(()), "nobody waits");
    }
    assert_eq!(sessions.0.queue.waiter_count(), 0);
    running.abort();
}

/// Regression: a file of authorities with a `redis://` URL, which has no effect, kept sessions in the memory of each replica.
#[tokio::test]
async fn sessions_are_in_redis_with_and_without_authorities() {
    let server = Server::start().await;
    let bus: BusAddress = server.url().parse().unwrap();
    let pem = b"-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n";
    for authorities in [None, Some(&pem[..])] {
        let sessions = Sessions::open(&bus, &nowhere(), authorities, Duration::from_secs(60), None).ok().unwrap();
        assert!(sessions.0.store.outlives_us());
        back(&*sessions.0.store).await;
    }
    // A list that is present but invalid is not replaced by a default either.
    let encrypted: BusAddress = "rediss://127.0.0.1:1".parse().unwrap();
    let none = Sessions::open(&encrypted, &nowhere(), Some(pem), Duration::from_secs(60), None);
    assert_eq!(none.err(), Some(InvalidRedisConfig));
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    store::contract::all(&MemoryStore::default()).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let server = Server::start().await;
    store::contract::all(&redis_store(&server).await).await;
    let keys = server.count(&["DBSIZE"]).await;
    assert!(keys > 0);
    let script = "local n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do
        if redis.call('PTTL', k) > 0 and string.find(k, '^{trident:log}:session:') then n = n + 1 end end return n";
    assert_eq!(server.count(&["EVAL", script, "0"]).await, keys, "every key is ours and has an end");
}

#[tokio::test]
async fn a_restarted_redis_is_used_again() {
    let mut server = Server::kept().await;
    let store = redis_store(&server).await;
    let save = |session: &str| Save {
        pid: "pid".into(),
        holder: Holder::draw(),
        before: None,
        session: Some(session.into()),
        keep: Duration::from_secs(60),
        is_live: true,
    };
    assert_eq!(store.save(&[save("1")]).await, Ok(vec![SaveOutcome::Saved]));
    server.kill();
    assert!(store.acquire("pid", Holder::draw()).await.is_err());
    assert!(store.save(&[save("2")]).await.is_err());
    server.run().await;
    back(&store).await;
    assert_eq!(&*store.acquire("pid", Holder::draw()).await.unwrap().unwrap().session, "1");
}

/// A client that reconnects immediately finds its session, whatever save is in progress.
#[tokio::test]
async fn in_memory_a_session_is_there_as_soon_as_its_client_has_gone() {
    let sessions = Sessions::on(Box::new(MemoryStore::default()), Duration::from_secs(60), None);
    sessions.keep_for_test("pid", "sid", Profile::default());
    let _on_its_way = sessions.0.queue.next().now_or_never();
    let taken = sessions.acquire("pid").await.unwrap();
    assert_eq!(taken.kept.sid, "sid");
    sessions.give_back(&"pid".into(), &taken);
    let _on_its_way = sessions.0.queue.next().now_or_never();
    let taken = sessions.acquire("pid").await.unwrap();
    sessions.forget(&"pid".into(), &taken);
    assert!(sessions.acquire("pid").await.is_none());
}

#[tokio::test]
async fn an_invalid_session_is_not_found() {
    let server = Server::start().await;
    let store = redis_store(&server).await;
    server.command(&["HSET", "{trident:log}:session:odd", "holder", "nobody", "session", "{}"]).await;
    assert_eq!(store.acquire("odd", Holder::draw()).await, Ok(None));
}

#[tokio::test]
async fn failed_saves_are_repeated_later() {
    let mut server = Server::start().await;
    let sessions = Sessions::on(Box::new(redis_store(&server).await), Duration::from_secs(60), None);
    let running = tokio::spawn(sessions.clone().run());
    server.kill();
    sessions.keep_for_test("pid", "sid", Profile::default());
    let began = Instant::now();
    while !sessions.0.is_store_unavailable.load(Relaxed) {
        assert!(began.elapsed() < Duration::from_secs(15), "it was not noticed");
        sleep(Duration::from_millis(5)).await;
    }
    server.run().await;
    while server.count(&["EXISTS", "{trident:log}:session:pid"]).await == 0 {
        assert!(began.elapsed() < Duration::from_secs(15), "it was not saved");
        sleep(Duration::from_millis(5)).await;
    }
    running.abort();
    // From then on any replica can acquire it, and each time the last one holds it.
    let other = Sessions::on(Box::new(redis_store(&server).await), Duration::from_secs(60), None);
    for sessions in [&other, &sessions, &other] {
        let taken = sessions.acquire("pid").await.expect("it is there");
        assert_eq!(&*taken.kept.sid, "sid");
        assert!(taken.left() <= Duration::from_secs(60));
    }
}
