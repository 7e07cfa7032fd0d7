//! A process of Trident: its edge, its bus, and background work.

use std::{
    io,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use actix_web::{rt, web::ServiceConfig};
use parking_lot::Mutex;
use shared::live::{
    bus::{Bus, BusError, FileBus, MemoryBus, RedisBus, file::FileOptions},
    clock::Moment,
    log::{Lag, Limits, Log},
};

use super::{
    Edge, Settings,
    metrics::{Figure, LogFigures, RefusalLog, Transport},
    routes::Routes,
    server::{self, Port, Running},
    settings::{BusAddress, ServiceDefaults},
};

mod stored;

/// How often expired messages are dropped, and the state of the bus is checked.
const UPKEEP: Duration = Duration::from_secs(1);

/// The state that the routes of a service use. Clones share it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Settings, counters and limits.
    pub edge: Edge,
    /// The message bus.
    pub bus: Arc<dyn Bus>,
}

impl Service {
    /// Opens the configured bus and starts the upkeep of its log. Call it within an actix runtime.
    ///
    /// A Redis is connected in the background; until then, and while it is unavailable, the process is not ready.
    ///
    /// # Errors
    /// When the configured bus is invalid.
    pub fn open(settings: Settings, defaults: &ServiceDefaults) -> Result<Self, BusError> {
        let limits = Limits {
            channel: settings.retention,
            total: settings.history_total,
            forms: settings.encoded_total,
            channels: settings.max_channels,
            server: settings.backend.events.bytes,
            streams: settings.streams.bytes,
        };
        let key_bytes = settings.idempotency_total.unwrap_or(usize::MAX);
        let bus: Arc<dyn Bus> = match &settings.bus {
            BusAddress::Memory => Arc::new(MemoryBus::new(limits, Moment::now).with_key_bytes(key_bytes)),
            BusAddress::File(directory) => {
                let options = FileOptions {
                    fsync: settings.disk.fsync,
                    // Events come on top, so that they leave as much space to messages as before.
                    total: settings.disk.total.map(|total| total + settings.backend.events.disk_bytes()),
                    key_bytes: settings.idempotency_total,
                    purge_within: settings.disk.purge_within,
                };
                let bus = FileBus::open(directory, options, limits, Moment::now);
                Arc::new(bus.map_err(|error| BusError::Directory(error.to_string()))?)
            }
            BusAddress::Redis(address) => {
                let bus = RedisBus::open(address.url(), settings.redis_ca.as_deref(), limits)?;
                Arc::new(bus.with_key_bytes(key_bytes).with_service(defaults.name))
            }
        };
        Ok(Self::on(bus, settings, defaults))
    }

    /// Opens the configured port and [the bus](Self::open). A log on disk is not touched if another process has the port.
    ///
    /// # Errors
    /// When the port cannot be opened (the error names it), or the configured bus is invalid.
    pub fn open_with_port(settings: Settings, defaults: &ServiceDefaults) -> io::Result<(Self, TcpListener)> {
        let address = settings.listen;
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {address} (TRIDENT_LISTEN): {error}"))
        };
        let port = Port::take(address).map_err(named)?;
        let service = Self::open(settings, defaults).map_err(io::Error::other)?;
        // Not before the log is read: until then, clients are refused and try another server.
        Ok((service, port.listen().map_err(named)?))
    }

    /// A service on `bus`.
    #[must_use]
    pub fn on(bus: Arc<dyn Bus>, settings: Settings, defaults: &ServiceDefaults) -> Self {
        let service = Self { edge: Edge::new(settings, defaults), bus };
        service.ask_bus();
        service.restore();
        let bus = service.bus.clone();
        service.edge.readiness.watch(move || bus.degraded());
        let edge = service.edge.clone();
        let degraded = move || edge.readiness.degraded().into_iter().map(|one| one.reason).collect();
        service.edge.metrics.watch_degraded(degraded);
        let (bus, lag) = (service.bus.clone(), Arc::new(Mutex::new(service.log().lag())));
        let known = lag.clone();
        service.edge.metrics.watch_log(move || figures(&*bus, &known.lock()));
        let log = service.log().clone();
        service.edge.metrics.before_encoding(move || Box::pin(measure(log.clone(), lag.clone())));
        let bus = service.bus.clone();
        service.edge.metrics.watch_disk(move || bus.disk().unwrap_or_default());
        let (log, connections) = (service.log().clone(), service.edge.limits.registry().clone());
        service.edge.drain.on_begin(move || {
            log.close();
            // Those that read no channel are not woken by the log.
            connections.wake(Transport::PlainWebSocket);
        });
        service.record_events();
        let settings = &service.edge.settings;
        for warning in settings.unknown.iter().chain(&settings.warnings) {
            log::warn!("{warning}");
        }
        log::info!("{}", service.edge.settings.limits());
        rt::spawn(service.edge.traces.clone().run(service.edge.outgoing.clone(), service.edge.drain.clone()));
        rt::spawn(service.clone().upkeep());
        service
    }

    /// Writes events to the bus, if any are recorded.
    fn record_events(&self) {
        let (events, log) = (self.edge.events.clone(), self.log().clone());
        self.edge.metrics.watch_figures(move || {
            let counts = log.counts();
            let gauge = |name, help, value: usize| Figure { name, help, value: value as u64, is_counter: false };
            vec![
                gauge("trident_events_bytes", "Bytes of memory of the channel $events", counts.server_footprint),
                gauge("trident_streams", "Streams", counts.streams),
                gauge("trident_stream_bytes", "Bytes of memory of streams", counts.stream_footprint),
            ]
        });
        if !events.is_on() {
            return;
        }
        let draining = events.clone();
        self.edge.drain.on_begin(move || draining.drain());
        let is_shared = matches!(self.edge.settings.bus, BusAddress::Redis(_));
        rt::spawn(events.clone().write_gone(self.bus.clone()));
        rt::spawn(events.write(self.bus.clone(), is_shared));
    }

    /// The log of this process.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        self.bus.log()
    }

    /// Serves `routes` on `listener`, and what `application` adds to actix-web's application.
    ///
    /// # Errors
    /// As [`server::start`].
    pub fn start<R, A>(&self, listener: TcpListener, routes: R, application: A) -> io::Result<Running>
    where
        R: Fn(&Self) -> Routes + Clone + Send + 'static,
        A: FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
    {
        let service = self.clone();
        let running = server::start(listener, &self.edge, move || routes(&service), application)?;
        Ok(running.on_bus(self.bus.clone()))
    }

    async fn upkeep(self) {
        let mut tick = tokio::time::interval(UPKEEP);
        let mut refusals = RefusalLog::default();
        while !self.edge.drain.is_draining() {
            tick.tick().await;
            // In slices: between them, publications and polls get the lock, and requests get this thread.
            while self.bus.sweep() {
                tokio::task::yield_now().await;
            }
            self.ask_bus();
            let now = Instant::now();
            self.edge.limits.registry().sweep(now);
            self.shed();
            self.edge.disconnected.sweep(now);
            self.edge.revocations.sweep(SystemTime::now());
            self.edge.metrics.sample();
            self.edge.readiness.log_degraded();
            refusals.write(&self.edge.metrics.refusals);
        }
    }

    /// Ends connections whose clients do not read messages that the log has dropped, if these take too much memory.
    fn shed(&self) {
        let Some(most) = self.edge.settings.unstored_total() else { return };
        if self.log().left_bytes() > most {
            let ended = self.edge.limits.sending().shed(most);
            self.edge.metrics.refusals.behind.inc_by(ended as u64);
        }
    }

    fn ask_bus(&self) {
        match self.bus.ready() {
            Ok(()) => self.edge.readiness.ready("bus_unavailable"),
            Err(error) => self.edge.readiness.not_ready("bus_unavailable", error.to_string()),
        }
    }
}

/// Measures the lag of readers, one slice at a time.
async fn measure(log: Arc<Log>, known: Arc<Mutex<Lag>>) {
    let (mut lag, now) = (log.lag(), Moment::now());
    while log.measure(&mut lag, now) {
        tokio::task::yield_now().await;
    }
    *known.lock() = lag;
}

fn figures(bus: &dyn Bus, lag: &Lag) -> LogFigures {
    let (stats, keys) = (bus.log().counts(), bus.keys());
    LogFigures {
        channels: stats.channels,
        messages: stats.messages,
        bytes: stats.footprint,
        encoded_bytes: stats.forms,
        unstored_bytes: stats.left,
        pattern_bytes: stats.pattern_bytes,
        publishing_bytes: bus.publishing_bytes(),
        readers: stats.subscriptions,
        keys: keys.keys,
        key_bytes: keys.bytes,
        lag_messages: u64::try_from(lag.messages).unwrap_or(u64::MAX),
        lag: Duration::from_millis(lag.age_ms),
    }
}

#[cfg(test)]
mod tests;
