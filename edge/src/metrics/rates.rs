//! Rates of the last seconds, for those who ask a process and not its Prometheus.

use std::{collections::VecDeque, time::Instant};

use parking_lot::Mutex;

/// The number of samples that are kept: of a sample a second, ten seconds.
const SAMPLES: usize = 11;

/// The counters at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) publishes: u64,
    pub(super) deliveries: u64,
    pub(super) opened: u64,
}

/// The last samples.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<VecDeque<Sample>>);

/// Means per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Messages published through this process.
    pub publishes: f64,
    /// Messages delivered to its clients.
    pub deliveries: f64,
    /// Connections opened.
    pub opened: f64,
}

impl Samples {
    pub(super) fn add(&self, sample: Sample) {
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    pub(super) fn rates(&self) -> Rates {
        let samples = self.0.lock();
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return Rates::default() };
        let time = last.at.duration_since(first.at).as_secs_f64();
        if time <= 0.0 {
            return Rates::default();
        }
        let rate = |count: fn(&Sample) -> u64| (count(last) - count(first)) as f64 / time;
        Rates {
            publishes: rate(|sample| sample.publishes),
            deliveries: rate(|sample| sample.deliveries),
            opened: rate(|sample| sample.opened),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_means_of_ten_seconds() {
        let (samples, begin) = (Samples::default(), Instant::now());
        assert_eq!(samples.rates(), Rates::default());
        for n in 0..100 {
            let at = begin + Duration::from_secs(n);
            samples.add(Sample { at, publishes: 1_000 + n * n, deliveries: 5 * n, opened: 7 });
        }
        // From the 89th to the 99th second.
        assert_eq!(samples.rates(), Rates { publishes: 188.0, deliveries: 5.0, opened: 0.0 });
    }
}
