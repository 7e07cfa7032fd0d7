//! What was measured: a line of JSON on stdout as soon as it is known, a table on stderr at the end.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{peer::Peer, publisher::Via, reader::Transport, usage::Cpu};

/// Of many, by rank, in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
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
        const MAX_NANOS: u64 = 60_000_000_000;
        // Only a range or a precision that it cannot have is an error, and it can have these.
        Histogram::new_with_max(MAX_NANOS, 3).unwrap_or_else(|_| unreachable!())
    }

    /// Of nanoseconds.
    pub(crate) fn of(nanos: &Histogram<u64>) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let at = |quantile| micros(nanos.value_at_quantile(quantile));
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: micros(nanos.max()) }
    }
}

/// Processor time over a stretch of time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
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

/// A run, and what it belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) peer: Peer,
    /// Of a growth series: what grows, and how far it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) series: Option<Step>,
    #[serde(flatten)]
    pub(crate) run: Run,
}

/// A step of a growth series.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) at: u64,
}

/// One run. Figures of the server are missing when it may not be looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "scenario", rename_all = "lowercase")]
pub(crate) enum Run {
    Idle(Idle),
    Fanout(Fanout),
    Sequential(Sequential),
    Publish(Publish),
    Start(Start),
    Catchup(Catchup),
    Sync(Sync),
}

/// Connections that wait.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

impl Idle {
    /// Resident memory of the server's for each connection, in units of 1,000 bytes.
    pub(crate) fn kilobytes(&self) -> Option<f64> {
        Some(self.resident_bytes_per_connection? / 1000.0)
    }
}

/// Messages to many.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fanout {
    pub(crate) transport: Transport,
    pub(crate) readers: usize,
    pub(crate) channels: usize,
    pub(crate) via: Via,
    pub(crate) payload: usize,
    /// Messages in flight at most; with a rate this is what stops it.
    pub(crate) window: usize,
    /// Messages a second, if the rate was fixed.
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

impl Fanout {
    /// Processor time of the server's for each delivery, in microseconds.
    pub(crate) fn cpu(&self) -> Option<f64> {
        self.server_cpu_us_per_delivery
    }
}

/// Messages to many, from one publisher that waits for each answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sequential {
    pub(crate) transport: Transport,
    pub(crate) readers: usize,
    /// Messages of a burst.
    pub(crate) burst: usize,
    pub(crate) rounds: usize,
    pub(crate) payload: usize,
    pub(crate) deliveries: u64,
    pub(crate) server_cpu_us_per_delivery: Option<f64>,
    /// From a request to its answer.
    pub(crate) answers_us: Latency,
    /// From the first request of a burst until every reader has all of it.
    pub(crate) all_us: Latency,
    pub(crate) repeats: u64,
    pub(crate) late: u64,
    pub(crate) load: Share,
}

/// Requests that publish, to nobody.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Publish {
    pub(crate) connections: usize,
    /// Over which messages are dealt out in turn.
    pub(crate) channels: usize,
    /// Who read another channel meanwhile.
    pub(crate) idle_readers: usize,
    pub(crate) payload: usize,
    /// Messages in each request.
    pub(crate) batch: usize,
    pub(crate) requests_per_second: f64,
    pub(crate) messages_per_second: f64,
    pub(crate) server_cpu_us_per_request: Option<f64>,
    /// Resident memory after it, less that before.
    pub(crate) grown_bytes: Option<i64>,
    pub(crate) latency_us: Latency,
    pub(crate) server: Option<Share>,
    pub(crate) load: Share,
}

/// A start on a log on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Of all files of the log.
    pub(crate) log_bytes: u64,
    /// From the start of the process until `/readyz` answers 200.
    pub(crate) seconds: f64,
}

/// Readers that catch up from the beginning of a log on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Catchup {
    pub(crate) readers: usize,
    /// Of all files of the log.
    pub(crate) log_bytes: u64,
    pub(crate) seconds: f64,
    /// Of messages, without what surrounds them: what the slowest reader got, the fastest, and all together.
    pub(crate) least_bytes: u64,
    pub(crate) most_bytes: u64,
    pub(crate) all_bytes: u64,
}

/// A write and a sync of the same file, one after the other, by this program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sync {
    pub(crate) payload: usize,
    pub(crate) latency_us: Latency,
}

/// Writes a run as a line of JSON.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn line(record: &Record) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// The runs in `lines`.
///
/// # Errors
/// When a line is not a valid run.
pub(crate) fn read(lines: &str) -> io::Result<Vec<Record>> {
    lines.lines().filter(|line| !line.is_empty()).map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let line = r#"{"peer":"nchan","series":{"name":"readers","at":100},"scenario":"idle","transport":"sse","connections":9,
            "connects_per_second":2.5,"server_cpu_us_per_connect":null,"resident_bytes_before":7,
            "resident_bytes_per_connection":1.5,"kernel_bytes_per_connection":0.5,
            "load":{"of_core":0.5,"in_kernel":0.25}}"#;
        let line = line.replace('\n', "");
        let records = read(&format!("{line}\n\n{line}\n")).unwrap();
        assert_eq!(records.len(), 2);
        let again = serde_json::to_value(&records[1]).unwrap();
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(&line).unwrap());
        assert!(read("{}").is_err());
    }

    #[test]
    fn latencies_are_reported_as_percentiles_in_microseconds() {
        let mut nanos = Latency::histogram();
        (1..=1000).for_each(|micros| nanos.saturating_record(micros * 1000));
        nanos.saturating_record(u64::MAX);
        let latency = Latency::of(&nanos);
        assert!((latency.p50 - 501.0).abs() < 1.0 && (latency.p99 - 991.0).abs() < 2.0, "{latency:?}");
        assert!((latency.max - 60e6).abs() < 60e3, "{latency:?}");
    }
}
