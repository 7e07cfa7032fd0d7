//! What was measured: a line of JSON on stdout as soon as it is known, a table on stderr at the end.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{publisher::Via, reader::Transport, usage::Cpu};

/// Of many, by rank, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latency {
    /// Counts nanoseconds, to three digits, up to a minute; what takes longer counts as a minute.
    pub(crate) fn histogram() -> Histogram<u64> {
        const LONGEST: u64 = 60_000_000_000;
        // Only a range or a precision that it cannot have is an error, and it can have these.
        Histogram::new_with_max(LONGEST, 3).unwrap_or_else(|_| unreachable!())
    }

    /// Of nanoseconds.
    pub(crate) fn of(nanos: &Histogram<u64>) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let at = |quantile| micros(nanos.value_at_quantile(quantile));
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: micros(nanos.max()) }
    }
}

/// Processor time over a stretch of time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Share {
    /// Of one core: 1.0 is all of it.
    pub(crate) of_core: f64,
    /// Of that, how much in the kernel.
    pub(crate) in_kernel: f64,
}

impl Share {
    pub(crate) fn of(cpu: Cpu, elapsed: Duration) -> Self {
        let total = cpu.total().as_secs_f64();
        let in_kernel = if total > 0.0 { cpu.system.as_secs_f64() / total } else { 0.0 };
        Self { of_core: total / elapsed.as_secs_f64(), in_kernel }
    }
}

/// One run. Figures of the server are missing when it may not be looked at.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "scenario", rename_all = "lowercase")]
pub(crate) enum Run {
    Idle(Idle),
    Fanout(Fanout),
    Publish(Publish),
}

/// Connections that wait.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) transport: Transport,
    pub(crate) connections: usize,
    pub(crate) connects_per_second: f64,
    pub(crate) server_cpu_us_per_connect: Option<f64>,
    pub(crate) resident_bytes_before: Option<u64>,
    pub(crate) resident_bytes_per_connection: Option<f64>,
    /// Of both ends of each connection, the load's as well.
    pub(crate) kernel_bytes_per_connection: f64,
    pub(crate) load: Share,
}

/// Messages to many.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fanout {
    pub(crate) transport: Transport,
    pub(crate) readers: usize,
    pub(crate) channels: usize,
    pub(crate) via: Via,
    pub(crate) payload: usize,
    /// Messages in flight at most; with a rate this is what stops it.
    pub(crate) window: usize,
    /// Messages a second, if that is what was held.
    pub(crate) rate: Option<f64>,
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) server_cpu_us_per_delivery: Option<f64>,
    pub(crate) latency_us: Latency,
    pub(crate) lost: u64,
    pub(crate) repeats: u64,
    pub(crate) late: u64,
    pub(crate) server: Option<Share>,
    pub(crate) load: Share,
}

/// Requests that publish, to nobody.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Publish {
    pub(crate) connections: usize,
    pub(crate) payload: usize,
    /// Messages in each request.
    pub(crate) batch: usize,
    pub(crate) requests_per_second: f64,
    pub(crate) messages_per_second: f64,
    pub(crate) server_cpu_us_per_request: Option<f64>,
    pub(crate) latency_us: Latency,
    pub(crate) server: Option<Share>,
    pub(crate) load: Share,
}

/// Writes a run as a line of JSON.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn line(run: &Run) -> io::Result<()> {
    let mut line = serde_json::to_vec(run)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_by_rank_in_microseconds() {
        let mut nanos = Latency::histogram();
        (1..=1000).for_each(|micros| nanos.saturating_record(micros * 1000));
        nanos.saturating_record(u64::MAX);
        let latency = Latency::of(&nanos);
        assert!((latency.p50 - 501.0).abs() < 1.0 && (latency.p99 - 991.0).abs() < 2.0, "{latency:?}");
        assert!((latency.max - 60e6).abs() < 60e3, "{latency:?}");
    }
}
