//! A disk in memory that crashes at a chosen change, and loses, tears and reorders what was not synced.
//!
//! Every change of a file since its last sync is kept apart. A power cut decides for each sector of each of them, and for each change of a name,
//! whether it had reached the disk. This is what POSIX allows, and more than most file systems do.

use std::{collections::BTreeMap, fmt, io, panic::resume_unwind, sync::Arc};

use parking_lot::Mutex;
use shared::live::bus::file::disk::{Disk, DiskFile};

mod damage;
mod file;
mod power;
mod removal;

pub use damage::Damage;
use file::{Content, SimFile};
pub use removal::Removal;

use crate::{random::Random, trace::Trace};

/// The error of input and output.
pub(crate) const EIO: i32 = 5;

/// See the module. Clones are the same process's view; [`kill`](Self::kill) and [`cut_power`](Self::cut_power) give the next process's.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// The process that has it.
    process: u64,
}

#[derive(Debug)]
struct State {
    contents: Vec<Content>,
    /// What every process sees: the index of its content for each name.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// The changes of names that are not durable.
    name_changes: Vec<NameChange>,
    /// The run of the operating system.
    boot: u64,
    process: u64,
    is_locked: bool,
    faults: Faults,
    failures: Failures,
    /// How many changes there were.
    changes: u64,
    random: Random,
    trace: Trace,
    watch: Option<Watch>,
    /// The segments that were removed and not [taken](SimDisk::take_removals) yet.
    removals: Vec<Removal>,
}

/// Called before each change.
#[derive(Clone)]
struct Watch(Arc<Mutex<dyn FnMut() + Send>>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

/// What fails.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Free space in bytes; `None` is no limit.
    pub space: Option<u64>,
    /// Each write fails in its midst.
    pub write: bool,
    /// Each sync fails. What that of a file should have made durable stays readable, and no later sync makes it durable. Changes of names are different: a
    /// file system writes them to a journal, and either a later sync makes them durable, too, or none succeeds.
    pub sync: bool,
    /// The process dies at this change, counted from now.
    pub crash: Option<u64>,
}

/// How often the disk has answered with an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// There was no space.
    pub full: u64,
    /// A write failed.
    pub write: u64,
    /// A sync failed.
    pub sync: u64,
    /// One of these was that of a segment.
    pub segment_sync: u64,
}

/// The payload of the panic with which a process dies.
#[derive(Debug)]
pub struct Crash;

/// Whether a change happens, by the faults.
enum Fate {
    Done,
    /// The process dies; the change may have happened.
    Dies,
}

impl SimDisk {
    /// An empty disk, whose accidents are those of `random`.
    #[must_use]
    pub fn new(random: Random, trace: Trace) -> Self {
        let state = State {
            contents: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            boot: 1,
            process: 1,
            is_locked: false,
            faults: Faults::default(),
            failures: Failures::default(),
            changes: 0,
            random,
            trace,
            watch: None,
            removals: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), process: 1 }
    }

    /// Sets what fails from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Calls `watch` before each change, until the end of this process.
    pub fn watch(&self, watch: impl FnMut() + Send + 'static) {
        self.state.lock().watch = Some(Watch(Arc::new(Mutex::new(watch))));
    }

    /// What fails.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.state.lock().faults.clone()
    }

    /// How often it has failed.
    #[must_use]
    pub fn failures(&self) -> Failures {
        self.state.lock().failures
    }

    /// How many changes there were. What was written before the current one is durable once [`durable`](Self::durable) has reached it.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// The number of changes before the first one of a segment that a power cut may take.
    #[must_use]
    pub fn durable(&self) -> u64 {
        let state = self.state.lock();
        let contents =
            state.names.iter().filter(|(name, _)| name.ends_with(".log")).map(|(_, at)| &state.contents[*at]);
        contents.filter_map(Content::first_pending).min().map_or(state.changes, |first| first - 1)
    }

    /// The end of the process alone: everything that was written is there.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.state.lock();
        state.process += 1;
        state.is_locked = false;
        state.watch = None;
        state.faults = Faults { space: state.faults.space, ..Faults::default() };
        Self { state: self.state.clone(), process: state.process }
    }

    /// Runs `change`, unless this process is dead. It may die before, or after.
    fn change<T>(
        &self,
        what: std::fmt::Arguments<'_>,
        change: impl FnOnce(&mut State, &Fate) -> io::Result<T>,
    ) -> io::Result<T> {
        let watch = self.state.lock().watch.clone();
        if let Some(Watch(watch)) = watch {
            (watch.lock())();
        }
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.process != self.process {
            return Err(io::Error::other("the process is dead"));
        }
        state.changes += 1;
        let fate = match &mut state.faults.crash {
            Some(0) => Fate::Dies,
            Some(left) => {
                *left -= 1;
                Fate::Done
            }
            None => Fate::Done,
        };
        let dies = matches!(fate, Fate::Dies);
        let result = if dies && state.random.percent(30) { None } else { Some(change(state, &fate)) };
        let outcome = match (&result, dies) {
            (None, _) => ": the process dies before",
            (Some(_), true) => ": the process dies after",
            (Some(Ok(_)), _) => "",
            (Some(Err(_)), _) => ": fails",
        };
        state.trace.line(format_args!("  disk: {what}{outcome}"));
        if dies {
            // Nobody has the disk any more.
            state.process += 1;
        }
        drop(guard);
        match result {
            Some(result) if !dies => result,
            _ => resume_unwind(Box::new(Crash)),
        }
    }

    fn file(&self, name: &str, content: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), name: name.to_owned(), content })
    }
}

impl Disk for SimDisk {
    fn lock(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.is_locked, true) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process"));
        }
        Ok(())
    }

    fn unlock(&self) {
        self.state.lock().is_locked = false;
    }

    fn check(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.change(format_args!("create {name}"), |state, _| {
            if let Some(&content) = state.names.get(name) {
                let freed = state.contents[content].set_length(0, state.changes);
                state.free(freed);
                return Ok(content);
            }
            if state.faults.space == Some(0) {
                state.failures.full += 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let content = state.contents.len();
            state.contents.push(Content::default());
            state.names.insert(name.to_owned(), content);
            state.name_changes.push(NameChange::Create(name.to_owned(), content));
            Ok(content)
        })?;
        Ok(self.file(name, content))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.state.lock().names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(name, content))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(format_args!("rename {from} to {to}"), |state, _| {
            let content = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            if let Some(replaced) = state.names.insert(to.to_owned(), content) {
                let length = state.contents[replaced].length();
                state.free(length);
            }
            state.name_changes.push(NameChange::Rename(from.to_owned(), to.to_owned(), content));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if !self.state.lock().names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(format_args!("remove {name}"), |state, _| {
            state.note_removal(name);
            let content = state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            let length = state.contents[content].length();
            state.free(length);
            state.name_changes.push(NameChange::Remove(name.to_owned()));
            Ok(())
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.change(format_args!("sync the names"), |state, _| {
            if state.faults.sync {
                state.failures.sync += 1;
                return Err(io::Error::from_raw_os_error(EIO));
            }
            state.durable_names = state.names.clone();
            state.name_changes.clear();
            Ok(())
        })
    }

    fn free(&self) -> io::Result<Option<u64>> {
        Ok(self.state.lock().faults.space)
    }

    fn boot(&self) -> Option<u64> {
        Some(self.state.lock().boot)
    }

    fn random(&self) -> u32 {
        // The upper half.
        u32::try_from(self.state.lock().random.number() >> 32).unwrap_or_default()
    }

    fn directory(&self) -> String {
        "the simulated disk".to_owned()
    }
}

impl State {
    /// So many bytes are free again.
    fn free(&mut self, bytes: usize) {
        if let Some(space) = &mut self.faults.space {
            *space += bytes as u64;
        }
    }
}
