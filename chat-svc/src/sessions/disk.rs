//! Sessions of one process whose bus has its log on disk: in memory, and with each change in the log, so that they outlive the process.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytestring::ByteString;
use futures_util::future::join_all;
use parking_lot::Mutex;
use shared::{
    live::{
        bus::{Bus, BusError, Publication, StateTable, StoredState},
        clock::wall_clock,
    },
    throttle::Throttle,
};
use socketio::adapter::BoxFuture;

use super::{
    memory::MemoryStore,
    store::{Holder, LeasedSession, Save, SaveOutcome, SessionStore, StoreUnavailable},
};

/// How often a warning is repeated.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// The table of the log.
const TABLE: StateTable = StateTable::new("session", 4 << 20);
/// For how many times as long as it can be resumed the session of a connected client is stored: renewals in between are not written.
const STORED_FOR: u64 = 8;

/// How many expired sessions are removed at once.
const MAX_REMOVED: usize = 4_096;

/// See the module.
pub(super) struct DiskStore {
    bus: Arc<dyn Bus>,
    memory: MemoryStore,
    /// Until when each session is in the log, in milliseconds since the Unix epoch. While its client is connected, that is longer than it is in memory,
    /// so that not each renewal is written.
    written: Mutex<HashMap<ByteString, u64>>,
    warnings: Mutex<Throttle>,
}

impl DiskStore {
    /// The store on `bus`. Sessions that an earlier process stored can be resumed within `keep` from now on, and those whose clients had left it, for as
    /// long as before.
    pub(super) fn open(bus: Arc<dyn Bus>, keep: Duration) -> Self {
        let (memory, mut written) = (MemoryStore::default(), HashMap::new());
        for StoredState { key, value, until_ms, .. } in bus.states(TABLE) {
            let (Ok(pid), Ok(session)) = (String::from_utf8(key), String::from_utf8(value.unwrap_or_default())) else {
                continue;
            };
            let left = Duration::from_millis(until_ms.saturating_sub(wall_clock())).min(keep);
            let session = Some(session.into());
            memory.restore(&Save {
                pid: pid.as_str().into(),
                holder: Holder::draw(),
                before: None,
                session,
                keep: left,
                is_live: false,
            });
            written.insert(pid.into(), until_ms);
        }
        Self { bus, memory, written: Mutex::new(written), warnings: Mutex::new(Throttle::new(WARN_EVERY)) }
    }

    /// What the log has to store for a save that was made in memory.
    fn change(&self, save: &Save, outcome: SaveOutcome) -> Option<StoredState> {
        if outcome != SaveOutcome::Saved {
            return None;
        }
        let (written, now) = (self.written.lock().get(&save.pid).copied(), wall_clock());
        let keep = u64::try_from(save.keep.as_millis()).unwrap_or(u64::MAX);
        let key = save.pid.as_bytes().to_vec();
        if keep == 0 {
            return written.map(|_| StoredState { table: TABLE, key, value: None, until_ms: 0 });
        }
        let is_renewal = save.session.is_none();
        if is_renewal && written.is_some_and(|until| until >= now.saturating_add(keep)) {
            return None;
        }
        let value = self.memory.session(&save.pid)?.as_bytes().to_vec();
        // Without a client it is not renewed, and must not be resumed later, also by a later process.
        let stored_for = if save.is_live { keep.saturating_mul(STORED_FOR) } else { keep };
        Some(StoredState { table: TABLE, key, value: Some(value), until_ms: now.saturating_add(stored_for) })
    }

    fn warn(&self, text: &str) {
        if let Some(suppressed) = self.warnings.lock().admit(text) {
            log::warn!("{text}{suppressed}");
        }
    }

    /// Has the log store a change.
    async fn store(&self, change: StoredState) -> Result<(), BusError> {
        let pid = ByteString::try_from(&change.key[..]).unwrap_or_default();
        let until_ms = change.value.is_some().then_some(change.until_ms);
        let stored = self.bus.store_state(change.clone()).await;
        if let Err(BusError::StatesFull(_)) = stored
            && self.written.lock().remove(&pid).is_some()
        {
            // What the log has is outdated: nobody may resume it.
            self.bus.store_state(StoredState { value: None, ..change }).await?;
        }
        stored?;
        let mut written = self.written.lock();
        match until_ms {
            Some(until_ms) => written.insert(pid, until_ms),
            None => written.remove(&pid),
        };
        Ok(())
    }
}

impl SessionStore for DiskStore {
    fn save<'a>(&'a self, saves: &'a [Save]) -> BoxFuture<'a, Result<Vec<SaveOutcome>, StoreUnavailable>> {
        Box::pin(async move {
            let outcomes = self.memory.save(saves).await?;
            let changes = saves.iter().zip(&outcomes).filter_map(|(save, outcome)| self.change(save, *outcome));
            // Together, so that one sync is enough.
            for stored in join_all(changes.map(|change| self.store(change))).await {
                match stored {
                    Ok(()) => {}
                    // It is in memory: only a restart loses it.
                    Err(BusError::StatesFull(_)) => {
                        self.warn("chat: the log has no space for more sessions: they end with this process")
                    }
                    Err(error) => return Err(StoreUnavailable(error.to_string())),
                }
            }
            Ok(outcomes)
        })
    }

    fn acquire<'a>(
        &'a self,
        pid: &'a str,
        holder: Holder,
    ) -> BoxFuture<'a, Result<Option<LeasedSession>, StoreUnavailable>> {
        // A later process has other holders.
        self.memory.acquire(pid, holder)
    }

    fn outlives_us(&self) -> bool {
        true
    }

    /// Sessions of connected clients that did not return to this process are in the log for longer than in memory.
    fn sweep(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.memory.sweep().await;
            let now = wall_clock();
            let forgotten: HashSet<ByteString> = {
                let mut written = self.written.lock();
                written.retain(|_, until| *until > now);
                written.keys().filter(|pid| self.memory.session(pid).is_none()).take(MAX_REMOVED).cloned().collect()
            };
            if forgotten.is_empty() {
                return;
            }
            let removal =
                |pid: &ByteString| StoredState { table: TABLE, key: pid.as_bytes().to_vec(), value: None, until_ms: 0 };
            let removed = self.bus.publish(Publication::of_states(forgotten.iter().map(removal).collect())).await;
            // If it cannot be written now, the next call tries again.
            if removed.is_ok() {
                let mut written = self.written.lock();
                written.retain(|pid, _| !forgotten.contains(pid));
            }
        })
    }

    fn problem(&self) -> Option<String> {
        self.bus.ready().err().map(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use shared::live::{
        bus::{FileBus, file::FileOptions},
        clock::Moment,
        log::Limits,
    };

    use super::*;
    use crate::sessions::store::contract;

    const KEEP: Duration = Duration::from_secs(60);

    fn bus(directory: &Path) -> Arc<dyn Bus> {
        Arc::new(FileBus::open(directory, FileOptions::default(), Limits::default(), Moment::now).unwrap())
    }

    fn save(pid: &str, holder: Holder, session: Option<&str>) -> Save {
        Save { pid: pid.into(), holder, before: None, session: session.map(Into::into), keep: KEEP, is_live: true }
    }

    /// A directory that does not exist.
    fn temporary() -> PathBuf {
        std::env::temp_dir().join(format!("trident-sessions-{:016x}", rand::random::<u64>()))
    }

    #[actix_web::test]
    async fn sessions_outlive_the_process() {
        let directory = temporary();
        let me = Holder::draw();
        let first = bus(&directory);
        let store = DiskStore::open(first.clone(), KEEP);
        contract::all(&store).await;
        let ended = Save { keep: Duration::ZERO, ..save("ended", me, None) };
        store.save(&[save("a", me, Some("1")), save("ended", me, Some("1"))]).await.unwrap();
        let outcomes = store.save(&[save("a", me, Some("2")), ended]).await.unwrap();
        assert_eq!(outcomes, [SaveOutcome::Saved; 2]);
        let until = first.states(TABLE)[0].until_ms;
        let least = wall_clock() + 7 * u64::try_from(KEEP.as_millis()).unwrap();
        assert!(until > least, "the next seven renewals are not written");
        let written = first.disk().unwrap().bytes;
        store.save(&[save("a", me, None)]).await.unwrap();
        assert_eq!(
            first.disk().unwrap().bytes,
            written,
            "a renewal is not written while the log has it for long enough"
        );
        first.close().await;

        let second = bus(&directory);
        let store = DiskStore::open(second.clone(), KEEP);
        let found = store.acquire("a", Holder::draw()).await.unwrap().unwrap();
        assert_eq!(&*found.session, "2");
        assert!(found.left <= KEEP && found.left > KEEP / 2, "{:?}", found.left);
        assert_eq!(store.acquire("ended", Holder::draw()).await, Ok(None));
        second.close().await;
        std::fs::remove_dir_all(directory).unwrap();
    }
    /// Each restart would let clients return that left long ago, and dead sessions would take the space of those of connected clients.
    #[actix_web::test]
    async fn a_session_without_a_client_is_stored_until_it_expires() {
        let (directory, me) = (temporary(), Holder::draw());
        let first = bus(&directory);
        let store = DiskStore::open(first.clone(), KEEP);
        store.save(&[save("live", me, Some("1")), save("left", me, Some("1"))]).await.unwrap();
        let left = Save { keep: KEEP / 2, is_live: false, ..save("left", me, Some("2")) };
        store.save(&[left]).await.unwrap();
        let half = u64::try_from(KEEP.as_millis() / 2).unwrap();
        assert!(first.states(TABLE)[0].until_ms <= wall_clock() + half);
        first.close().await;

        let second = bus(&directory);
        let store = DiskStore::open(second.clone(), KEEP);
        let found = store.acquire("left", Holder::draw()).await.unwrap().unwrap();
        assert!(found.left <= KEEP / 2, "{:?}", found.left);
        second.close().await;

        // The clients do not return to the last process.
        let third = bus(&directory);
        let store = DiskStore::open(third.clone(), Duration::ZERO);
        store.save(&[save("new", me, Some("1"))]).await.unwrap();
        store.sweep().await;
        let keys: Vec<Vec<u8>> = third.states(TABLE).into_iter().map(|state| state.key).collect();
        assert_eq!(keys, [b"new".to_vec()]);
        assert!(store.written.lock().contains_key("new") && store.written.lock().len() == 1);
        third.close().await;
        std::fs::remove_dir_all(directory).unwrap();
    }
}
