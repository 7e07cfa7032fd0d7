//! Small states: what each key of each table may have, by what was acknowledged and what is unknown.

use std::collections::{BTreeMap, BTreeSet};

use shared::live::bus::{Merge, StateTable};

/// The tables: records of which the newest applies, those of which the strictest does, what holders of leases store, and sessions. The first three are
/// written as their owners do, and the names are those in the log.
pub const TABLES: [StateTable; 4] = [
    StateTable { is_synced: true, merge: Merge::Greater, ..StateTable::new("record", 1 << 20) },
    StateTable { is_synced: true, merge: Merge::Monotone, ..StateTable::new("monotone", 1 << 20) },
    StateTable::new("lease", 1 << 20),
    StateTable::new("session", 1 << 20),
];

/// A value, and the time of day at which it ends.
pub type Value = (Vec<u8>, u64);

/// A change of one key.
#[derive(Clone, Debug)]
pub struct Change {
    /// The number of its table.
    pub table: usize,
    /// Its key.
    pub key: String,
    /// `None` removes the key.
    pub value: Option<Value>,
}

/// What a key may have; `None` is nothing.
type Possible = BTreeSet<Option<Value>>;

/// The bytes of a state, besides its key and its value.
const OVERHEAD: usize = 96;

/// See the module.
#[derive(Debug, Default)]
pub struct States {
    /// What each key may have had, after so many changes of the disk. The last one is what it may have now.
    known: BTreeMap<(usize, String), Vec<(u64, Possible)>>,
    /// The longest value of each key that was sent.
    longest: BTreeMap<(usize, String), usize>,
}

/// Nothing, if it has expired.
fn valid(value: Option<&Value>, now_ms: u64) -> Option<&Value> {
    value.filter(|(_, until_ms)| *until_ms > now_ms)
}

/// What a change may leave of `before`.
fn applied(change: &Change, before: Option<&Value>, now_ms: u64) -> Vec<Option<Value>> {
    let (Some(value), Some(before)) = (&change.value, before) else { return vec![change.value.clone()] };
    let greater = value.clone().max(before.clone());
    let merged = match TABLES[change.table].merge {
        Merge::Last => value.clone(),
        Merge::Greater => greater,
        Merge::Monotone => (greater.0, value.1.max(before.1)),
    };
    let mut all = vec![Some(merged)];
    // It may have been removed.
    all.extend((before.1 <= now_ms).then(|| change.value.clone()));
    all
}

impl States {
    /// A change was sent.
    pub fn sent(&mut self, change: &Change) {
        let longest = self.longest.entry((change.table, change.key.clone())).or_default();
        *longest = (*longest).max(change.value.as_ref().map_or(0, |(value, _)| value.len()));
    }

    /// Maximum number of bytes that a table may have.
    #[must_use]
    pub fn bound(&self, table: usize) -> usize {
        let of_table = self.longest.iter().filter(|((of, _), _)| *of == table);
        of_table.map(|((_, key), length)| OVERHEAD + key.len() + length).sum()
    }

    /// A change was acknowledged when the disk had so many changes, or it is unknown whether it was made.
    pub fn change(&mut self, change: &Change, is_unknown: bool, changes: u64, now_ms: u64) {
        let history = self.known.entry((change.table, change.key.clone())).or_default();
        let before = history.last().map_or_else(|| Possible::from([None]), |(_, before)| before.clone());
        let mut after: Possible = before.iter().flat_map(|before| applied(change, before.as_ref(), now_ms)).collect();
        if is_unknown {
            after.extend(before);
        }
        history.push((changes, after));
    }

    /// Compares a table with what was found in it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, table: usize, found: &BTreeMap<String, Value>, now_ms: u64) -> Result<(), String> {
        for ((_, key), history) in self.known.iter().filter(|((of, _), _)| *of == table) {
            let possible = history.last().map(|(_, possible)| possible);
            require(table, key, possible, found.get(key), now_ms)?;
        }
        let unknown = found.keys().find(|key| !self.known.contains_key(&(table, (*key).clone())));
        unknown.map_or(Ok(()), |key| Err(format!("`{}` has {key}, which was not stored", TABLES[table].name)))
    }

    /// A repair may have cut anything: the table has what was found.
    pub fn reset(&mut self, table: usize, found: &BTreeMap<String, Value>) {
        for ((_, key), history) in self.known.iter_mut().filter(|((of, _), _)| *of == table) {
            *history = vec![(0, Possible::from([found.get(key).cloned()]))];
        }
    }

    /// Compares a table with what the next process found. Of what was written after the change `durable` of the disk, anything may be lost.
    ///
    /// # Errors
    /// What is wrong.
    pub fn resolve(
        &mut self,
        table: usize,
        found: &BTreeMap<String, Value>,
        durable: Option<u64>,
        now_ms: u64,
    ) -> Result<(), String> {
        for ((_, key), history) in self.known.iter_mut().filter(|((of, _), _)| *of == table) {
            let last = history.len().saturating_sub(1);
            let before =
                |durable: u64| history.iter().rposition(|(changes, _)| *changes <= durable).unwrap_or_default();
            let kept = durable.map_or(last, before);
            let is_volatile = |durable: u64| history.first().is_none_or(|(changes, _)| *changes > durable);
            let nothing = durable.is_some_and(is_volatile).then_some(None);
            let mut possible: Possible = history.drain(kept..).flat_map(|(_, possible)| possible).collect();
            possible.extend(nothing);
            let found = found.get(key);
            require(table, key, Some(&possible), found, now_ms)?;
            possible.retain(|value| valid(value.as_ref(), now_ms) == found);
            *history = vec![(0, possible)];
        }
        self.check(table, found, now_ms)
    }
}

fn require(
    table: usize,
    key: &str,
    possible: Option<&Possible>,
    found: Option<&Value>,
    now_ms: u64,
) -> Result<(), String> {
    if possible.is_none_or(|all| all.iter().any(|one| valid(one.as_ref(), now_ms) == found)) {
        return Ok(());
    }
    Err(format!("`{}` has {found:?} under {key}, and should have one of {possible:?}", TABLES[table].name))
}
