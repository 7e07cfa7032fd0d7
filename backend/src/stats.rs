//! How the processes are: their connections, rates, memory, log and bus.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use edge::{
    ApiError,
    hooks::{HookError, HookState},
    metrics::Transport,
    service::Service,
    settings::BusAddress,
};
use serde::{Deserialize, Serialize};
use shared::pure::Cursor;

use crate::{
    replicas::{self, Question},
    request::{ApiRequest, json},
};

/// All processes that answered.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Stats {
    processes: Vec<Process>,
    /// Processes that did not answer within 2 s.
    #[serde(skip_serializing_if = "replicas::is_complete")]
    incomplete: Vec<String>,
}

/// A process.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its name among all processes on the bus, if there can be others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The name of the binary.
    service: String,
    version: String,
    /// When it was started, in milliseconds since the Unix epoch.
    up_since: u64,
    /// Whether it is ready.
    ready: bool,
    /// Open connections, by transport.
    connections: BTreeMap<String, i64>,
    rates: Rates,
    /// Bytes of resident memory, if the system reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    log: Log,
    bus: Bus,
    /// Requests, connections and packets rejected since the start, by reason. Reasons that have not occurred are absent.
    #[serde(default)]
    refusals: BTreeMap<String, u64>,
    /// The sender of webhooks, if they are configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    webhooks: Option<Webhooks>,
}

/// Means of the last ten seconds, per second.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rates {
    /// Messages published through this process.
    publishes: f64,
    /// Messages delivered to its clients.
    deliveries: f64,
    /// Connections opened.
    opened: f64,
}

/// The log.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Log {
    channels: usize,
    messages: usize,
    /// Bytes of memory of messages and channels.
    bytes: usize,
    /// The newest id.
    head: Cursor,
}

/// The bus.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bus {
    /// `memory`, `file` or `redis`.
    kind: String,
    /// Problems while the process serves.
    degraded: Vec<String>,
}

/// The sender of webhooks. Counts are since the start of the process.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Webhooks {
    /// Whether this process sends them; one of all processes on the bus does.
    sender: bool,
    /// Whether the last attempt failed, and nothing has been delivered since.
    failing: bool,
    /// Batches that were delivered.
    batches: u64,
    /// Events in these batches.
    events: u64,
    /// Attempts that failed.
    failures: u64,
    /// Gaps in what is delivered.
    losses: u64,
    /// Age of the first event of the batch that is being sent, in seconds.
    lag_seconds: u64,
    /// The last attempt that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_error: Option<WebhookError>,
}

/// An attempt to deliver a batch that failed.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WebhookError {
    /// When, in milliseconds since the Unix epoch.
    time: u64,
    /// Why.
    message: String,
}

impl From<HookState> for Webhooks {
    fn from(state: HookState) -> Self {
        Self {
            sender: state.is_sender,
            failing: state.is_failing,
            batches: state.batches,
            events: state.events,
            failures: state.failures,
            losses: state.losses,
            lag_seconds: state.lag_seconds,
            last_error: state.last_error.map(|HookError { time, message }| WebhookError { time, message }),
        }
    }
}

/// `GET /v1/stats`.
pub(crate) async fn get(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    request.query(&[])?;
    let mut processes = vec![here(service)];
    let others = replicas::ask(service, &Question::Stats).await;
    processes.extend(others.answers);
    processes.sort_by(|one, other| (&one.service, &one.name).cmp(&(&other.service, &other.name)));
    Ok(json(&Stats { processes, incomplete: others.incomplete }))
}

/// This process.
pub(crate) fn here(service: &Service) -> Process {
    let edge = &service.edge;
    let (counts, rates) = (service.log().counts(), edge.metrics.rates());
    let open =
        |transport: Transport| (transport.name().to_owned(), edge.metrics.transport(transport).connections.get());
    let kind = match &edge.settings.bus {
        BusAddress::Memory => "memory",
        BusAddress::File(_) => "file",
        BusAddress::Redis(_) => "redis",
    };
    let refusals = edge.metrics.refusals.counts().into_iter().map(|(reason, count)| (reason.to_owned(), count));
    let degraded = edge.readiness.degraded().into_iter().map(|one| one.reason.to_owned()).collect();
    Process {
        name: service.bus.process().map(str::to_owned),
        service: edge.service.name.to_owned(),
        version: edge.service.version.to_owned(),
        up_since: edge.started,
        ready: edge.readiness.is_ready(),
        connections: Transport::ALL.into_iter().map(open).collect(),
        rates: Rates { publishes: rates.publishes, deliveries: rates.deliveries, opened: rates.opened },
        memory: edge::metrics::resident_memory(),
        log: Log {
            channels: counts.channels,
            messages: counts.messages,
            bytes: counts.footprint,
            head: service.log().head(),
        },
        bus: Bus { kind: kind.to_owned(), degraded },
        refusals: refusals.filter(|(_, count)| *count > 0).collect(),
        webhooks: edge.hooks.state().map(Webhooks::from),
    }
}
