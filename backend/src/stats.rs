//! How a process is: its connections, rates, memory, log and bus.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use edge::{ApiError, metrics::Transport, service::Service, settings::BusAddress};
use serde::Serialize;
use shared::pure::Cursor;

use crate::request::{ApiRequest, json};

/// All processes that answered.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Stats {
    processes: Vec<Process>,
}

/// A process.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
pub(crate) struct Process {
    /// The name of the binary.
    service: &'static str,
    version: &'static str,
    /// When it was started, in milliseconds since the Unix epoch.
    up_since: u64,
    /// Whether it is ready.
    ready: bool,
    /// Open connections, by transport.
    connections: BTreeMap<&'static str, i64>,
    rates: Rates,
    /// Bytes of resident memory, if the system reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    log: Log,
    bus: Bus,
}

/// Means of the last ten seconds, per second.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Serialize)]
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
#[derive(Serialize)]
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
#[derive(Serialize)]
pub(crate) struct Bus {
    /// `memory`, `file` or `redis`.
    kind: &'static str,
    /// Problems while the process serves.
    degraded: Vec<String>,
}

/// `GET /v1/stats`.
pub(crate) fn get(service: &Service, request: &ApiRequest) -> Result<HttpResponse, ApiError> {
    request.query(&[])?;
    let edge = &service.edge;
    let (counts, rates) = (service.log().counts(), edge.metrics.rates());
    let open = |transport: Transport| (transport.name(), edge.metrics.transport(transport).connections.get());
    let kind = match &edge.settings.bus {
        BusAddress::Memory => "memory",
        BusAddress::File(_) => "file",
        BusAddress::Redis(_) => "redis",
    };
    let process = Process {
        service: edge.service.name,
        version: edge.service.version,
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
        bus: Bus { kind, degraded: edge.readiness.degraded().into_iter().map(|one| one.reason.to_owned()).collect() },
    };
    Ok(json(&Stats { processes: vec![process] }))
}
