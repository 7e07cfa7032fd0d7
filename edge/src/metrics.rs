//! Metrics for operators.
//!
//! Counters on the path of a message are handles prepared in advance, so that counting is one relaxed atomic addition; labels are looked up
//! once, when the process starts. Values of others (the log, the operating system) are read when `/metrics` is requested.

mod collectors;
mod parking;
mod rates;
mod refusals;

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

pub use collectors::{Figure, LogFigures, resident_memory};
pub(crate) use parking::{Parking, Unparked};
pub use rates::Rates;
use rates::{Sample, Samples};
pub use refusals::{RefusalLog, Refusals};
use shared::{
    live::bus::DiskStats,
    pure::{Cursor, Message},
};

use crate::traces::deliveries::Deliveries;

/// The transport of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `GET /events`.
    Sse,
    /// `GET /data?mode=longpoll`.
    LongPoll,
    /// `GET /data?mode=poll`.
    Poll,
    /// `GET /data?mode=stream`.
    Stream,
    /// Socket.IO over a WebSocket.
    WebSocket,
    /// Socket.IO over HTTP polling.
    Polling,
    /// `GET /ws`.
    PlainWebSocket,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Sse, Self::LongPoll, Self::Poll, Self::Stream, Self::WebSocket, Self::Polling, Self::PlainWebSocket];

    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::LongPoll => "longpoll",
            Self::Poll => "poll",
            Self::Stream => "stream",
            Self::WebSocket => "websocket",
            Self::Polling => "polling",
            Self::PlainWebSocket => "ws",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The metrics of one transport. Cloning it clones the handles: the counters are shared.
#[derive(Clone, Debug, Default)]
pub struct TransportMetrics {
    /// Open connections. Maintained by [`super::limits::Slot`].
    pub connections: Gauge,
    /// Connections opened. Maintained by [`super::limits::Slot`].
    pub opened: Counter,
    /// Messages delivered to clients: one message to a thousand clients counts a thousand.
    pub deliveries: Counter,
    /// Gaps reported to clients.
    pub gaps: Counter,
    name: &'static str,
    watched: Deliveries,
}

impl TransportMetrics {
    /// Counts messages that were sent to a client.
    pub fn deliver(&self, messages: &[Arc<Message>]) {
        self.deliveries.inc_by(messages.len() as u64);
        self.note(&self.watched(messages), 1);
    }

    /// The ids of messages that are to be [noted](Self::note) when they have been sent: none, unless messages of traces are watched.
    #[must_use]
    pub fn watched(&self, messages: &[Arc<Message>]) -> Vec<Cursor> {
        if self.watched.is_watching() { messages.iter().map(|message| message.id).collect() } else { Vec::new() }
    }

    /// Messages were sent to so many clients.
    pub fn note(&self, ids: &[Cursor], clients: u64) {
        if !ids.is_empty() && clients > 0 {
            self.watched.sent(self.name, ids.iter().copied(), clients);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTransport {
    transport: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: Cow<'static, str>,
    method: &'static str,
    status: &'static str,
}

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    /// Messages that this process has published.
    pub publishes: Counter,
    /// Publications that were repeated with the same `Idempotency-Key`.
    pub repeats: Counter,
    /// Rejections, by reason.
    pub refusals: Refusals,
    transports: [TransportMetrics; Transport::ALL.len()],
    deliveries: Deliveries,
    requests: Family<ByRoute, Counter>,
    /// Requests in progress, including streams.
    pub(super) in_flight: Gauge,
    pub(super) parking: Parking,
    samples: Samples,
    registry: Mutex<Registry>,
    measurement: OnceLock<Measurement>,
}

/// Measurements to run before the metrics are read.
struct Measurement(Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>);

impl fmt::Debug for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Measurement")
    }
}

impl Metrics {
    /// All metrics at zero, for the service with this name and version.
    #[must_use]
    pub fn new(service: &str, version: &str) -> Self {
        let mut registry = Registry::default();
        collectors::process(&mut registry);
        collectors::build(&mut registry, service, version);
        let trident = registry.sub_registry_with_prefix("trident");

        let (publishes, repeats, in_flight) = (Counter::default(), Counter::default(), Gauge::default());
        trident.register("publishes", "Messages published through this process", publishes.clone());
        trident.register("publish_repeats", "Publishes repeated with the same Idempotency-Key", repeats.clone());
        trident.register("http_requests_in_flight", "Requests in progress, including streams", in_flight.clone());

        let connections = Family::<ByTransport, Gauge>::default();
        let opened = Family::<ByTransport, Counter>::default();
        let deliveries = Family::<ByTransport, Counter>::default();
        let gaps = Family::<ByTransport, Counter>::default();
        trident.register("connections", "Open connections", connections.clone());
        trident.register("connections_opened", "Connections opened", opened.clone());
        trident.register("deliveries", "Messages delivered to clients", deliveries.clone());
        trident.register("gaps", "Gaps reported to clients", gaps.clone());
        let watched = Deliveries::default();
        let transports = Transport::ALL.map(|transport| {
            let label = ByTransport { transport: transport.name() };
            TransportMetrics {
                connections: connections.get_or_create_owned(&label),
                opened: opened.get_or_create_owned(&label),
                deliveries: deliveries.get_or_create_owned(&label),
                gaps: gaps.get_or_create_owned(&label),
                name: transport.name(),
                watched: watched.clone(),
            }
        });

        let requests = Family::<ByRoute, Counter>::default();
        trident.register("http_requests", "Responses, by route, method and status class", requests.clone());
        let refusals = Refusals::register(trident);
        let parking = Parking::register(trident);
        Self {
            publishes,
            repeats,
            refusals,
            transports,
            deliveries: watched,
            requests,
            in_flight,
            parking,
            samples: Samples::default(),
            registry: Mutex::new(registry),
            measurement: OnceLock::new(),
        }
    }

    /// The metrics of a transport; keep a clone on the path of messages.
    #[must_use]
    pub fn transport(&self, transport: Transport) -> &TransportMetrics {
        &self.transports[transport as usize]
    }

    /// The deliveries of messages whose traces are recorded.
    pub(super) fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// Calls `figures` for the state of the log whenever `/metrics` is read. Call it once.
    pub fn watch_log(&self, figures: impl Fn() -> LogFigures + Send + Sync + 'static) {
        collectors::log(&mut self.registry(), figures);
    }

    /// Runs `measure` whenever `/metrics` is read, before the values are collected: for work that takes so long that it has to yield to
    /// other requests. Call it once.
    pub fn before_encoding(&self, measure: impl Fn() -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync + 'static) {
        let _ = self.measurement.set(Measurement(Box::new(measure)));
    }

    /// Calls `disk` for the state of the log on disk whenever `/metrics` is read. Call it once.
    pub fn watch_disk(&self, disk: impl Fn() -> DiskStats + Send + Sync + 'static) {
        collectors::disk(&mut self.registry(), disk);
    }

    /// Asks for problems whenever `/metrics` is read. Call it once.
    pub fn watch_degraded(&self, degraded: impl Fn() -> Vec<&'static str> + Send + Sync + 'static) {
        collectors::degraded(&mut self.registry(), degraded);
    }

    /// Asks for metrics that are counted elsewhere whenever `/metrics` is read.
    pub fn watch_figures(&self, figures: impl Fn() -> Vec<Figure> + Send + Sync + 'static) {
        collectors::figures(&mut self.registry(), figures);
    }

    /// Adds metrics that are counted elsewhere, with the prefix `trident_`.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(self.registry().sub_registry_with_prefix("trident"));
    }

    /// Counts a response. `route` is the pattern that matched, never the path, which clients choose.
    pub(super) fn answered(&self, route: Option<Cow<'static, str>>, method: &str, status: u16) {
        const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"];
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        let status = match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        let route = route.unwrap_or(Cow::Borrowed("unmatched"));
        self.requests.get_or_create(&ByRoute { route, method, status }).inc();
    }

    /// Reads the counters whose rates are known. Call it about once a second.
    pub fn sample(&self) {
        let sum = |count: fn(&TransportMetrics) -> u64| self.transports.iter().map(count).sum();
        self.samples.add(Sample {
            at: Instant::now(),
            publishes: self.publishes.get(),
            deliveries: sum(|transport| transport.deliveries.get()),
            opened: sum(|transport| transport.opened.get()),
        });
    }

    /// The rates of the last seconds.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.samples.rates()
    }

    /// The text for Prometheus.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(8 * 1024);
        text::encode(&mut text, &self.registry())?;
        Ok(text)
    }

    /// Measures what is not counted as it happens. To be awaited before [`Metrics::encode`].
    pub async fn measure(&self) {
        if let Some(Measurement(measure)) = self.measurement.get() {
            measure().await;
        }
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        // A panic while the text was written has not changed anything here.
        self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
