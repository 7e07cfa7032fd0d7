//! Metrics that are computed when they are read.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric},
    metrics::{
        MetricType,
        counter::ConstCounter,
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};

use shared::live::bus::{DiskStats, SYNC_BUCKETS};

use crate::health::DEGRADED_REASONS;

/// The state of the log at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Channels with messages or readers.
    pub channels: usize,
    /// Stored messages.
    pub messages: usize,
    /// Bytes of stored messages and channels.
    pub bytes: usize,
    /// Bytes of encoded forms.
    pub encoded_bytes: usize,
    /// Bytes of messages that the log has dropped, or never had, and that only readers have.
    pub unstored_bytes: usize,
    /// Bytes of lists of channels that patterns select.
    pub pattern_bytes: usize,
    /// Bytes of publications that wait to be stored.
    pub publishing_bytes: usize,
    /// Readers of the log.
    pub readers: usize,
    /// Idempotency keys in use.
    pub keys: usize,
    /// Their size in bytes.
    pub key_bytes: usize,
    /// Messages between the head and the slowest reader.
    pub lag_messages: u64,
    /// The age of the oldest message that this reader has not read.
    pub lag: Duration,
}

fn gauge<N>(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: N) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
    N: EncodeGaugeValue,
{
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

/// A number that is counted elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The full name, without the suffix `_total` of counters.
    pub name: &'static str,
    /// The help text.
    pub help: &'static str,
    /// The current value.
    pub value: u64,
    /// Whether it never decreases.
    pub is_counter: bool,
}

struct Figures<F>(F);

impl<F> fmt::Debug for Figures<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

impl<F: Fn() -> Vec<Figure> + Send + Sync + 'static> Collector for Figures<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Figure { name, help, value, is_counter } in (self.0)() {
            if is_counter {
                let metric = ConstCounter::new(value);
                metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
            } else {
                gauge(&mut encoder, name, help, i64::try_from(value).unwrap_or(i64::MAX))?;
            }
        }
        Ok(())
    }
}

pub(super) fn figures(registry: &mut Registry, figures: impl Fn() -> Vec<Figure> + Send + Sync + 'static) {
    registry.register_collector(Box::new(Figures(figures)));
}

struct Log<F>(F);

impl<F> fmt::Debug for Log<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

impl<F: Fn() -> LogFigures + Send + Sync + 'static> Collector for Log<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let log = (self.0)();
        let int = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let lag = i64::try_from(log.lag_messages).unwrap_or(i64::MAX);
        gauge(&mut encoder, "trident_log_channels", "Channels in the log", int(log.channels))?;
        gauge(&mut encoder, "trident_log_messages", "Messages stored in the log", int(log.messages))?;
        gauge(
            &mut encoder,
            "trident_log_bytes",
            "Bytes of memory of stored messages and their channels",
            int(log.bytes),
        )?;
        gauge(&mut encoder, "trident_encoded_bytes", "Bytes of cached encoded messages", int(log.encoded_bytes))?;
        let help = "Bytes of messages that the log has dropped, or reads from disk, and that only readers have";
        gauge(&mut encoder, "trident_unstored_message_bytes", help, int(log.unstored_bytes))?;
        let help = "Bytes of publications that wait for the disk or for Redis";
        gauge(&mut encoder, "trident_publishing_bytes", help, int(log.publishing_bytes))?;
        let help = "Bytes of lists of channels with messages for readers of patterns";
        gauge(&mut encoder, "trident_pattern_bytes", help, int(log.pattern_bytes))?;
        gauge(&mut encoder, "trident_idempotency_keys", "Idempotency keys in use", int(log.keys))?;
        gauge(&mut encoder, "trident_idempotency_bytes", "Bytes of idempotency keys in use", int(log.key_bytes))?;
        gauge(
            &mut encoder,
            "trident_log_readers",
            "Subscriptions of readers, one for each channel of each reader",
            int(log.readers),
        )?;
        gauge(&mut encoder, "trident_lag_messages", "Messages that the slowest reader is behind", lag)?;
        gauge(&mut encoder, "trident_lag_seconds", "Seconds that the slowest reader is behind", log.lag.as_secs_f64())
    }
}

pub(super) fn log(registry: &mut Registry, figures: impl Fn() -> LogFigures + Send + Sync + 'static) {
    registry.register_collector(Box::new(Log(figures)));
}

struct Disk<F>(F);

impl<F> fmt::Debug for Disk<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl<F: Fn() -> DiskStats + Send + Sync + 'static> Collector for Disk<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let disk = (self.0)();
        let bytes = i64::try_from(disk.bytes).unwrap_or(i64::MAX);
        gauge(&mut encoder, "trident_disk_bytes", "Bytes of the log on disk", bytes)?;
        let segments = i64::try_from(disk.segments).unwrap_or(i64::MAX);
        gauge(&mut encoder, "trident_disk_segments", "Segments of the log on disk", segments)?;
        let reading = i64::try_from(disk.reading).unwrap_or(i64::MAX);
        let help = "Bytes of older messages that were read from disk and are not delivered yet";
        gauge(&mut encoder, "trident_disk_reading_bytes", help, reading)?;
        let help = "Seconds since the oldest purge whose messages may still be on disk";
        gauge(&mut encoder, "trident_disk_purge_age_seconds", help, disk.purge_age.as_secs_f64())?;
        let bounds = SYNC_BUCKETS.into_iter().chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(disk.syncs).collect();
        let help = "Bytes of small states in the log on disk";
        let mut states = encoder.encode_descriptor("trident_disk_state_bytes", help, None, MetricType::Gauge)?;
        for (table, bytes) in &disk.states {
            let gauge = ConstGauge::new(i64::try_from(*bytes).unwrap_or(i64::MAX));
            gauge.encode(states.encode_family(&[("table", &**table)])?)?;
        }
        let help = "Duration of the syncs of the log on disk, in seconds";
        encoder
            .encode_descriptor("trident_disk_sync_seconds", help, None, MetricType::Histogram)?
            .encode_histogram::<[(&str, &str); 0]>(
                disk.sync_time.as_secs_f64(),
                disk.syncs.iter().sum(),
                &buckets,
                None,
            )
    }
}

pub(super) fn disk(registry: &mut Registry, disk: impl Fn() -> DiskStats + Send + Sync + 'static) {
    registry.register_collector(Box::new(Disk(disk)));
}

struct Degraded<F>(F);

impl<F> fmt::Debug for Degraded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Degraded")
    }
}

impl<F: Fn() -> Vec<&'static str> + Send + Sync + 'static> Collector for Degraded<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = (self.0)();
        let help = "1 while the process serves with a problem, by reason";
        let mut metric = encoder.encode_descriptor("trident_degraded", help, None, MetricType::Gauge)?;
        for reason in DEGRADED_REASONS {
            let gauge = ConstGauge::new(i64::from(now.contains(&reason)));
            gauge.encode(metric.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}

pub(super) fn degraded(registry: &mut Registry, degraded: impl Fn() -> Vec<&'static str> + Send + Sync + 'static) {
    registry.register_collector(Box::new(Degraded(degraded)));
}

/// The running version, in the form that Prometheus's own exporters use.
pub(super) fn build(registry: &mut Registry, service: &str, version: &str) {
    let info = Family::<Vec<(String, String)>, Gauge>::default();
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    info.get_or_create(&vec![label("service", service), label("version", version)]).set(1);
    registry.register("trident_build_info", "Always 1; the labels are the service and its version", info);
}

/// The operating system's data on this process (Linux: `/proc/self`; nothing elsewhere), under Prometheus's standard names.
#[derive(Debug)]
struct Process {
    started: f64,
}

pub(super) fn process(registry: &mut Registry) {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    registry.register_collector(Box::new(Process { started }));
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        gauge(&mut encoder, "process_start_time_seconds", "Start of the process, seconds since 1970", self.started)?;
        let status = status();
        if let Some(bytes) = kib(&status, "VmRSS:") {
            gauge(&mut encoder, "process_resident_memory_bytes", "Resident memory", bytes)?;
        }
        if let Some(threads) = number(&status, "Threads:") {
            gauge(&mut encoder, "process_threads", "Threads", threads)?;
        }
        if let Some(open) = open_files() {
            gauge(&mut encoder, "process_open_fds", "Open file descriptors", open)?;
            // Not from /proc: reading a file there takes a descriptor, and this is needed when there are none.
            let most = i64::try_from(crate::open_files::limit()).unwrap_or(i64::MAX);
            gauge(&mut encoder, "process_max_fds", "Maximum number of open file descriptors", most)?;
        }
        Ok(())
    }
}

fn status() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap_or_default()
}

/// Bytes of resident memory of this process, if the system reports it (Linux).
#[must_use]
pub fn resident_memory() -> Option<u64> {
    kib(&status(), "VmRSS:").and_then(|bytes| bytes.try_into().ok())
}

/// The number of open descriptors, if the system reports it.
fn open_files() -> Option<i64> {
    const NO_MORE_DESCRIPTORS: i32 = 24;
    // The size of the directory (Linux 6.2 and later) avoids listing a hundred thousand entries.
    let size = std::fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return i64::try_from(size).ok();
    }
    let open = match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries.count(),
        Err(error) if error.raw_os_error() == Some(NO_MORE_DESCRIPTORS) => crate::open_files::limit(),
        Err(_) => return None,
    };
    i64::try_from(open).ok()
}

fn number(text: &str, name: &str) -> Option<i64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn kib(text: &str, name: &str) -> Option<i64> {
    number(text, name).map(|kib| kib * 1024)
}
