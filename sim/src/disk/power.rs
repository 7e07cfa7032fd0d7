//! What a power cut leaves.

use super::{Faults, NameChange, SimDisk, State};

impl SimDisk {
    /// The power is cut: what was not synced is lost, torn, or there.
    #[must_use]
    pub fn cut_power(&self) -> Self {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut random = state.random.fork();
        for content in &mut state.contents {
            content.cut_power(&mut random);
        }
        // On a journaling file system names change in the order of the calls, all up to some moment; on another one each by itself.
        let changes = std::mem::take(&mut state.name_changes);
        let kept: Vec<NameChange> = if random.percent(50) {
            let count = random.index(changes.len() + 1);
            changes.into_iter().take(count).collect()
        } else {
            changes.into_iter().filter(|_| random.percent(50)).collect()
        };
        for change in kept {
            match change {
                NameChange::Create(name, content) => {
                    state.durable_names.insert(name, content);
                }
                NameChange::Rename(from, to, content) => {
                    state.durable_names.remove(&from);
                    state.durable_names.insert(to, content);
                }
                NameChange::Remove(name) => {
                    state.durable_names.remove(&name);
                }
            }
        }
        state.names = state.durable_names.clone();
        state.boot += 1;
        state.process += 1;
        state.is_locked = false;
        state.watch = None;
        state.faults = Faults { space: state.faults.space, ..Faults::default() };
        state.describe();
        Self { state: self.state.clone(), process: state.process }
    }
}

impl State {
    /// Writes what is there to the log of the run.
    fn describe(&self) {
        for (name, content) in &self.names {
            let content = &self.contents[*content];
            let sum = crc32c::crc32c(content.bytes());
            self.trace.line(format_args!("  disk: has {name}, {} bytes, checksum {sum:08x}", content.length()));
        }
    }
}
