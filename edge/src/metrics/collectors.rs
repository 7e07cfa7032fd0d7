//! Figures that are asked for when they are read.

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

use crate::health::DEGRADED_REASONS;

/// The state of the log at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Channels that hold something or are read.
    pub channels: usize,
    /// Messages held.
    pub messages: usize,
    /// Bytes of messages and channels held.
    pub bytes: usize,
    /// Bytes of encoded forms held.
    pub encoded_bytes: usize,
    /// Readers on the log.
    pub readers: usize,
    /// Idempotency keys that are remembered.
    pub keys: usize,
    /// Bytes that they take.
    pub key_bytes: usize,
    /// Messages between the head and the reader that is furthest behind.
    pub lag_messages: u64,
    /// How long the oldest message that this reader has not read has been there.
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

/// A number that somebody else counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The name in full, without the `_total` that counters have at their end.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How much it is now.
    pub value: u64,
    /// Whether it only ever grows.
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
        gauge(&mut encoder, "trident_log_messages", "Messages held by the log", int(log.messages))?;
        gauge(&mut encoder, "trident_log_bytes", "Bytes held by the log", int(log.bytes))?;
        gauge(
            &mut encoder,
            "trident_encoded_bytes",
            "Bytes of encoded forms that readers share",
            int(log.encoded_bytes),
        )?;
        gauge(&mut encoder, "trident_idempotency_keys", "Idempotency keys that are remembered", int(log.keys))?;
        gauge(
            &mut encoder,
            "trident_idempotency_bytes",
            "Bytes of idempotency keys that are remembered",
            int(log.key_bytes),
        )?;
        gauge(&mut encoder, "trident_log_readers", "Readers of the log, each on each channel", int(log.readers))?;
        gauge(&mut encoder, "trident_lag_messages", "Messages that the slowest reader is behind", lag)?;
        gauge(&mut encoder, "trident_lag_seconds", "Seconds that the slowest reader is behind", log.lag.as_secs_f64())
    }
}

pub(super) fn log(registry: &mut Registry, figures: impl Fn() -> LogFigures + Send + Sync + 'static) {
    registry.register_collector(Box::new(Log(figures)));
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
        let help = "1 while the process serves, but not all that it should, by reason";
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

/// Which version runs, in the way that Prometheus's own exporters tell it.
pub(super) fn build(registry: &mut Registry, service: &str, version: &str) {
    let info = Family::<Vec<(String, String)>, Gauge>::default();
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    info.get_or_create(&vec![label("service", service), label("version", version)]).set(1);
    registry.register("trident_build_info", "Always 1; the labels say what runs", info);
}

/// What the operating system says of this process (Linux: `/proc/self`; elsewhere nothing), under Prometheus's own names.
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
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(bytes) = kib(&status, "VmRSS:") {
            gauge(&mut encoder, "process_resident_memory_bytes", "Resident memory", bytes)?;
        }
        if let Some(threads) = number(&status, "Threads:") {
            gauge(&mut encoder, "process_threads", "Threads", threads)?;
        }
        if let Some(open) = open_files() {
            gauge(&mut encoder, "process_open_fds", "Open file descriptors", open)?;
            // Not from /proc: to read a file there takes a descriptor, and this is asked for when there are none.
            let most = i64::try_from(crate::open_files::limit()).unwrap_or(i64::MAX);
            gauge(&mut encoder, "process_max_fds", "Most file descriptors that may be open", most)?;
        }
        Ok(())
    }
}

/// How many descriptors are open, where the system tells.
fn open_files() -> Option<i64> {
    const NO_MORE_DESCRIPTORS: i32 = 24;
    // The size of the directory (Linux 6.2 and later) spares listing a hundred thousand entries.
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
