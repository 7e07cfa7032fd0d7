//! A disk in memory that crashes: what was not synced is lost, torn, or there, at random.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    sync::Arc,
};

use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{super::purge::is_unfinished, Disk, DiskFile};

/// The size of what a disk writes at once.
const SECTOR: usize = 512;

/// See the module. Clones are one disk.
#[derive(Clone, Debug)]
pub(in crate::live::bus::file) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What every process sees.
    names: BTreeMap<String, Arc<Mutex<Content>>>,
    /// The names that a power cut leaves.
    durable: BTreeMap<String, Arc<Mutex<Content>>>,
    boot: u64,
    is_locked: bool,
    faults: Faults,
    /// Syncs wait for it.
    gate: Arc<Mutex<()>>,
}

/// What fails.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::live::bus::file) struct Faults {
    /// Free space in bytes; `None` is no limit.
    pub(in crate::live::bus::file) space: Option<usize>,
    /// Each sync fails with this error. What it should have made durable stays readable, and no later sync makes it durable.
    pub(in crate::live::bus::file) sync: Option<io::ErrorKind>,
    /// Each sync of a segment that is being written anew fails with this error.
    pub(in crate::live::bus::file) sync_of_copies: Option<io::ErrorKind>,
    /// Each write fails with this error.
    pub(in crate::live::bus::file) write: Option<io::ErrorKind>,
    /// After so many more writes and syncs, all fail: the process is dead.
    pub(in crate::live::bus::file) steps: Option<usize>,
    /// Syncs do nothing, as on a disk that lies.
    pub(in crate::live::bus::file) no_sync: bool,
    /// Each read panics.
    pub(in crate::live::bus::file) panic: bool,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// The sectors that were written after the last sync, whatever its result.
    dirty: BTreeSet<usize>,
    /// These bytes cannot be read.
    bad: Range<usize>,
}

impl Content {
    /// Makes the sectors durable that were written, and the length.
    fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let end = ((sector + 1) * SECTOR).min(self.now.len());
            let begin = (sector * SECTOR).min(end);
            self.durable[begin..end].copy_from_slice(&self.now[begin..end]);
        }
    }
}

impl SimulatedDisk {
    pub(in crate::live::bus::file) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            boot: 1,
            is_locked: false,
            faults: Faults::default(),
            gate: Arc::default(),
        })))
    }

    /// While it is locked, syncs do not end.
    pub(in crate::live::bus::file) fn gate(&self) -> Arc<Mutex<()>> {
        self.0.lock().gate.clone()
    }

    pub(in crate::live::bus::file) fn faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// The end of the process only: everything written is there.
    pub(in crate::live::bus::file) fn kill(&self) -> Self {
        let mut state = self.0.lock();
        state.is_locked = false;
        state.faults = Faults::default();
        drop(state);
        self.clone()
    }

    /// A power cut: of each name and each sector that was not synced, either the old or the new state is there.
    pub(in crate::live::bus::file) fn cut_power(&self, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let state = self.0.lock();
        let mut names = BTreeMap::new();
        // Names change in the order of the calls on a journaling file system, all changes up to some moment; on another one, each by itself.
        let is_ordered = random.random_bool(0.5);
        let are_all_new = random.random_bool(0.5);
        let all: BTreeSet<&String> = state.names.keys().chain(state.durable.keys()).collect();
        for name in all {
            let is_new = if is_ordered { are_all_new } else { random.random_bool(0.5) };
            let Some(content) = (if is_new { &state.names } else { &state.durable }).get(name) else { continue };
            let content = content.lock();
            let mut bytes = content.durable.clone();
            if random.random_bool(0.7) {
                let grown = content.now.len().max(bytes.len());
                let length = if random.random_bool(0.5) { content.now.len() } else { random.random_range(0..=grown) };
                let length = length.max(content.durable.len().min(content.now.len()));
                bytes.resize(length, 0);
                for at in (0..length).step_by(SECTOR) {
                    let end = (at + SECTOR).min(length);
                    let is_new = at < content.now.len() && random.random_bool(0.6);
                    if is_new {
                        let end = end.min(content.now.len());
                        bytes[at..end].copy_from_slice(&content.now[at..end]);
                    }
                }
            }
            names.insert(
                name.clone(),
                Arc::new(Mutex::new(Content { now: bytes.clone(), durable: bytes, ..Content::default() })),
            );
        }
        let durable = names.clone();
        Self::of(names, durable, state.boot + 1)
    }

    fn of(
        names: BTreeMap<String, Arc<Mutex<Content>>>,
        durable: BTreeMap<String, Arc<Mutex<Content>>>,
        boot: u64,
    ) -> Self {
        let (faults, gate) = Default::default();
        Self(Arc::new(Mutex::new(State { names, durable, boot, is_locked: false, faults, gate })))
    }

    /// Changes the bytes of a file, as a failing disk does.
    pub(in crate::live::bus::file) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let state = self.0.lock();
        let mut content = state.names[name].lock();
        change(&mut content.now);
        content.durable = content.now.clone();
    }

    /// Has reads of these bytes of a file fail.
    pub(in crate::live::bus::file) fn unreadable(&self, name: &str, bytes: Range<usize>) {
        self.0.lock().names[name].lock().bad = bytes;
    }

    fn step(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        match &mut state.faults.steps {
            Some(0) => Err(io::Error::other("the process is dead")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for SimulatedDisk {
    fn lock(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if std::mem::replace(&mut state.is_locked, true) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "process 1"));
        }
        Ok(())
    }

    fn unlock(&self) {
        self.0.lock().is_locked = false;
    }

    fn check(&self) -> io::Result<()> {
        let state = self.0.lock();
        if state.names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.step()?;
        let mut state = self.0.lock();
        if state.faults.space == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = Arc::new(Mutex::new(Content::default()));
        state.names.insert(name.to_owned(), content.clone());
        Ok(Arc::new(SimulatedFile { disk: self.clone(), content, is_copy: is_unfinished(name) }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.0.lock().names.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), content, is_copy: is_unfinished(name) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        let mut state = self.0.lock();
        let content = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step()?;
        let mut state = self.0.lock();
        let removed = state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        if let Some(space) = &mut state.faults.space {
            *space += removed.lock().now.len();
        }
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        self.step()?;
        let mut state = self.0.lock();
        if let Some(kind) = state.faults.sync {
            return Err(kind.into());
        }
        if !state.faults.no_sync {
            state.durable = state.names.clone();
        }
        Ok(())
    }

    fn free(&self) -> io::Result<Option<u64>> {
        Ok(self.0.lock().faults.space.map(|space| space as u64))
    }

    fn boot(&self) -> Option<u64> {
        Some(self.0.lock().boot)
    }

    fn random(&self) -> u32 {
        rand::random()
    }

    fn directory(&self) -> String {
        "the simulated disk".to_owned()
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    content: Arc<Mutex<Content>>,
    /// It is a segment that is being written anew.
    is_copy: bool,
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().now.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        assert!(!self.disk.0.lock().faults.panic, "a panic was requested");
        let content = self.content.lock();
        let end = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(bytes.len());
        if (content.bad.start as u64) < end as u64 && offset < content.bad.end as u64 {
            return Err(io::Error::from_raw_os_error(5));
        }
        let rest = content.now.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let read = rest.len().min(bytes.len());
        bytes[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // A process that dies in the midst of a write has written a part of it.
        let step = self.disk.step();
        let mut state = self.disk.0.lock();
        let mut content = self.content.lock();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        if content.bad.start < offset + bytes.len() && offset < content.bad.end {
            return Err(io::Error::from_raw_os_error(5));
        }
        // Only bytes behind the end take space.
        let needed = (offset + bytes.len()).saturating_sub(content.now.len());
        let (most, result) = match (step, state.faults.write, &mut state.faults.space) {
            (Err(error), ..) => (bytes.len() / 2, Err(error)),
            (_, Some(kind), _) => (bytes.len() / 2, Err(kind.into())),
            (.., Some(space)) if *space < needed => {
                (bytes.len() - (needed - std::mem::take(space)), Err(io::ErrorKind::StorageFull.into()))
            }
            (.., Some(space)) => {
                *space -= needed;
                (bytes.len(), Ok(()))
            }
            _ => (bytes.len(), Ok(())),
        };
        let end = offset + most;
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[offset..end].copy_from_slice(&bytes[..most]);
        content.dirty.extend((offset / SECTOR)..end.div_ceil(SECTOR));
        result
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.step()?;
        let mut state = self.disk.0.lock();
        let mut content = self.content.lock();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if let Some(space) = &mut state.faults.space {
            *space += content.now.len().saturating_sub(length);
        }
        content.now.resize(length, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        drop(self.disk.gate().lock());
        self.disk.step()?;
        let faults = self.disk.0.lock().faults;
        let mut content = self.content.lock();
        if let Some(kind) = faults.sync.or(faults.sync_of_copies.filter(|_| self.is_copy)) {
            content.dirty.clear();
            return Err(kind.into());
        }
        if !faults.no_sync {
            content.sync();
        }
        Ok(())
    }
}
