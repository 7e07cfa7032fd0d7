//! What many runs say together: runs of one kind by their median and spread, kinds against each other round by round.

use crate::{
    peer::Peer,
    report::{Fanout, Idle, Publish, Record, Run, Sequential},
};

/// Runs of one scenario, and whose they are.
pub(crate) type Runs<'a, R> = Vec<(Peer, &'a R)>;

/// A figure of a run, if it could be measured.
pub(crate) type Figure<R> = fn(&R) -> Option<f64>;

/// The runs of each scenario.
#[derive(Default)]
pub(crate) struct Sorted<'a> {
    pub(crate) idle: Runs<'a, Idle>,
    pub(crate) fanout: Runs<'a, Fanout>,
    pub(crate) sequential: Runs<'a, Sequential>,
    pub(crate) publish: Runs<'a, Publish>,
}

impl<'a> Sorted<'a> {
    pub(crate) fn of(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut sorted = Self::default();
        for Record { peer, run, .. } in records {
            match run {
                Run::Idle(run) => sorted.idle.push((*peer, run)),
                Run::Fanout(run) => sorted.fanout.push((*peer, run)),
                Run::Sequential(run) => sorted.sequential.push((*peer, run)),
                Run::Publish(run) => sorted.publish.push((*peer, run)),
                // In a document of their own.
                Run::Start(_) | Run::Catchup(_) | Run::Sync(_) => {}
            }
        }
        sorted
    }
}

/// Runs that may differ in nothing that was asked for.
pub(crate) trait Kind {
    /// Whether they do not.
    fn is_like(&self, other: &Self) -> bool;
}

impl Kind for Idle {
    fn is_like(&self, other: &Self) -> bool {
        (self.transport, self.connections) == (other.transport, other.connections)
    }
}

impl Kind for Fanout {
    fn is_like(&self, other: &Self) -> bool {
        self.transport == other.transport && is_same_load(self, other)
    }
}

impl Kind for Sequential {
    fn is_like(&self, other: &Self) -> bool {
        (self.transport, self.readers, self.burst, self.payload)
            == (other.transport, other.readers, other.burst, other.payload)
    }
}

impl Kind for Publish {
    fn is_like(&self, other: &Self) -> bool {
        (self.connections, self.channels, self.idle_readers, self.payload, self.batch)
            == (other.connections, other.channels, other.idle_readers, other.payload, other.batch)
    }
}

/// Whether both measured the same messages over the same transport.
pub(crate) fn is_same_load(a: &Fanout, b: &Fanout) -> bool {
    (a.readers, a.channels, a.via, a.payload, a.window, a.rate)
        == (b.readers, b.channels, b.via, b.payload, b.window, b.rate)
}

/// Of each kind one run, in the order in which they came first.
pub(crate) fn kinds<'a, R: Kind>(runs: &Runs<'a, R>) -> Runs<'a, R> {
    let mut kinds = Runs::new();
    for (peer, run) in runs {
        if !kinds.iter().any(|(of, kind): &(Peer, &R)| of == peer && kind.is_like(run)) {
            kinds.push((*peer, *run));
        }
    }
    kinds
}

/// All runs of a kind, a round each.
pub(crate) fn rounds<'a, R: Kind>(runs: &Runs<'a, R>, peer: Peer, kind: &R) -> Vec<&'a R> {
    runs.iter().filter(|(of, run)| *of == peer && run.is_like(kind)).map(|(_, run)| *run).collect()
}

/// A figure of some rounds, as far as it is known.
pub(crate) fn figures<R>(rounds: &[&R], figure: Figure<R>) -> Vec<f64> {
    rounds.iter().filter_map(|run| figure(run)).collect()
}

/// A figure over the same of the same round of others.
pub(crate) fn ratios<R>(rounds: &[&R], others: &[&R], figure: Figure<R>) -> Vec<f64> {
    let paired = rounds.iter().zip(others);
    paired.filter_map(|(run, other)| Some(figure(run)? / figure(other)?)).filter(|ratio| ratio.is_finite()).collect()
}

/// The middle of `values`, the upper one of two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The median of `values`, and their range if there are several; a dash if there are none.
pub(crate) fn spread(values: &[f64], digits: usize) -> String {
    let Some(middle) = median(values) else { return "–".to_owned() };
    if values.len() == 1 {
        return format!("{middle:.digits$}");
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{middle:.digits$} ({low:.digits$}–{high:.digits$})")
}

/// The middle of `values` alone.
pub(crate) fn middle(values: &[f64], digits: usize) -> String {
    median(values).map_or_else(|| "–".to_owned(), |middle| format!("{middle:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_runs_are_shown_by_median_and_range() {
        assert_eq!(spread(&[], 1), "–");
        assert_eq!(spread(&[2.0], 1), "2.0");
        assert_eq!(spread(&[3.0, 1.0, 2.0], 1), "2.0 (1.0–3.0)");
        assert_eq!((middle(&[], 0), middle(&[1.0, 5.0, 3.0], 0)), ("–".into(), "3".into()));
    }

    #[test]
    fn rounds_are_compared_with_the_same_round() {
        let (a, b) = ([2.0, 9.0, 5.0], [1.0, 3.0]);
        let figure: Figure<f64> = |value| Some(*value);
        let (a, b): (Vec<&f64>, Vec<&f64>) = (a.iter().collect(), b.iter().collect());
        assert_eq!(ratios(&a, &b, figure), [2.0, 3.0]);
        assert!(ratios(&a, &[&0.0], figure).is_empty());
    }
}
