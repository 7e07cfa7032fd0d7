//! Metrics of connections: their transports and rejections, updated every second, and the counters of the Socket.IO server and its cluster,
//! read on request.

use std::{sync::Arc, time::Duration};

use edge::{metrics::Figure, service::Service};
use socketio::{Selector, SocketIo, Stats};
use socketio_redis::RedisAdapter;
use tokio::time::MissedTickBehavior;

use crate::{
    registration,
    sessions::{self, Sessions},
    wire::NAMESPACE,
};

const PERIOD: Duration = Duration::from_secs(1);

/// The figures of [`Stats`] by name, with their metric names and help texts.
const FIGURES: &[(&str, &str, &str)] = &[
    ("connections", "trident_socketio_connections", "Open Engine.IO sessions"),
    ("connections_polling", "trident_socketio_connections_polling", "Engine.IO sessions on long-polling"),
    ("connections_websocket", "trident_socketio_connections_websocket", "Engine.IO sessions on a WebSocket"),
    ("polls_waiting", "trident_socketio_polls_waiting", "Polls that wait for a packet"),
    ("sockets", "trident_socketio_sockets", "Sockets connected to namespaces"),
    ("pending_bytes", "trident_socketio_pending_bytes", "Bytes of messages queued for clients"),
    ("recovery_bytes", "trident_socketio_recovery_bytes", "Bytes that the in-memory adapter stores for recovery"),
    (
        "recovery_sessions",
        "trident_socketio_recovery_sessions",
        "Sessions that the in-memory adapter stores for recovery",
    ),
    (
        "receiving_bytes",
        "trident_socketio_receiving_bytes",
        "Bytes of incomplete WebSocket messages and request bodies",
    ),
    ("handler_bytes", "trident_socketio_handler_bytes", "Bytes of events whose handlers are still running"),
    ("opened", "trident_socketio_opened", "Engine.IO sessions opened"),
    ("upgrades", "trident_socketio_upgrades", "Sessions upgraded from polling to WebSocket"),
    ("packets_in", "trident_socketio_packets_in", "Engine.IO packets received"),
    ("packets_out", "trident_socketio_packets_out", "Engine.IO messages sent"),
    ("bytes_out", "trident_socketio_bytes_out", "Bytes of messages sent, before framing and compression"),
    ("refused_transport", "trident_socketio_refused_transport", "Requests rejected: unknown transport"),
    ("refused_sid", "trident_socketio_refused_sid", "Requests rejected: unknown session"),
    ("refused_method", "trident_socketio_refused_method", "Requests rejected: method cannot open a session"),
    (
        "refused_request",
        "trident_socketio_refused_request",
        "Requests rejected: malformed, or invalid in the session's state",
    ),
    (
        "refused_forbidden",
        "trident_socketio_refused_forbidden",
        "Requests rejected: origin, connection limit, or shutting down",
    ),
    ("refused_origin", "trident_socketio_refused_origin", "Requests rejected: origin not allowed"),
    ("refused_full", "trident_socketio_refused_full", "Requests rejected: server full"),
    ("refused_protocol", "trident_socketio_refused_protocol", "Requests rejected: unsupported Engine.IO revision"),
    ("refused_size", "trident_socketio_refused_size", "Bodies and frames above the size limit"),
    (
        "refused_namespace",
        "trident_socketio_refused_namespace",
        "Sockets rejected: token, permission, or unknown namespace",
    ),
    ("ping_timeouts", "trident_socketio_ping_timeouts", "Sessions ended by a ping timeout"),
    ("parse_errors", "trident_socketio_parse_errors", "Sessions ended because of an invalid packet"),
    ("volatile_dropped", "trident_socketio_volatile_dropped", "Volatile messages dropped for busy clients"),
    ("outbox_full", "trident_socketio_outbox_full", "Messages rejected because the client's outbox was full"),
    ("outbox_overflows", "trident_socketio_outbox_overflows", "Sessions ended because their outbox was full"),
    (
        "receiving_refused",
        "trident_socketio_receiving_refused",
        "Messages and bodies rejected because the receive memory was used up",
    ),
    (
        "handler_overflows",
        "trident_socketio_handler_overflows",
        "Sessions ended because too many handlers were pending",
    ),
    ("rate_limited", "trident_socketio_rate_limited", "Sessions ended because they exceeded the packet rate"),
    (
        "connect_timeouts",
        "trident_socketio_connect_timeouts",
        "Sessions ended because they connected to no namespace in time",
    ),
    ("binary_timeouts", "trident_socketio_binary_timeouts", "Binary packets whose attachments did not arrive in time"),
    ("acks_refused", "trident_socketio_acks_refused", "Acks rejected because too many were pending"),
    ("rooms_refused", "trident_socketio_rooms_refused", "Joins rejected because the socket was in too many rooms"),
    ("bad_arguments", "trident_socketio_bad_arguments", "Events whose arguments had the wrong type"),
    ("recovered", "trident_socketio_recovered", "Sockets that resumed their session"),
    ("recovery_missed", "trident_socketio_recovery_missed", "Sockets whose session could not be resumed"),
];

/// Figures that can decrease.
const GAUGES: [&str; 10] = [
    "connections",
    "connections_polling",
    "connections_websocket",
    "polls_waiting",
    "sockets",
    "pending_bytes",
    "recovery_bytes",
    "recovery_sessions",
    "receiving_bytes",
    "handler_bytes",
];

fn figures(stats: &Stats) -> Vec<Figure> {
    let known = |name| FIGURES.iter().find(|(of, ..)| *of == name);
    let figure = |(of, value)| {
        let (_, name, help) = known(of)?;
        Some(Figure { name, help, value, is_counter: !GAUGES.contains(&of) })
    };
    stats.iter().filter_map(figure).collect()
}

fn cluster_figures(adapter: &RedisAdapter) -> Vec<Figure> {
    let stats = adapter.stats();
    let figure = |name, help, value, is_counter| Figure { name, help, value, is_counter };
    vec![
        figure(
            "trident_socketio_cluster_connected",
            "1 while other replicas can be reached",
            stats.connected.into(),
            false,
        ),
        figure("trident_socketio_cluster_published", "Messages sent to other replicas", stats.published, true),
        figure(
            "trident_socketio_cluster_failed",
            "Messages that may not have reached other replicas",
            stats.failed,
            true,
        ),
        figure(
            "trident_socketio_cluster_received",
            "Messages from other replicas that were processed",
            stats.received,
            true,
        ),
        figure("trident_socketio_cluster_ignored", "Invalid messages of other replicas", stats.ignored, true),
        figure(
            "trident_socketio_cluster_disconnects",
            "Times that the connection to other replicas was lost",
            stats.disconnects,
            true,
        ),
        figure(
            "trident_socketio_cluster_overrun",
            "Times that messages of other replicas exceeded the receive limit, and the connection was reopened",
            stats.overrun,
            true,
        ),
    ]
}

/// The sessions of disconnected clients that can still be resumed.
fn session_figures(figures: &sessions::Figures) -> [Figure; 3] {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let figure = |name, help, value, is_counter| Figure { name, help, value, is_counter };
    [
        figure("trident_sessions", "Recovery sessions of disconnected clients", count(figures.sessions), false),
        figure(
            "trident_session_bytes",
            "Bytes of recovery sessions, limited by TRIDENT_SESSIONS_TOTAL",
            count(figures.bytes),
            false,
        ),
        figure("trident_sessions_dropped", "Recovery sessions evicted before they expired", figures.dropped, true),
    ]
}

/// Registers counters that are kept elsewhere.
pub(crate) fn register(io: &SocketIo, sessions: Sessions, cluster: Option<Arc<RedisAdapter>>, service: &Service) {
    let io = io.clone();
    service.edge.metrics.watch_figures(move || {
        let mut all = figures(&io.stats());
        all.extend(session_figures(&sessions.figures()));
        all.extend(cluster.iter().flat_map(|cluster| cluster_figures(cluster)));
        all
    });
}

/// Collects until the process begins to drain.
pub(crate) async fn collect(io: SocketIo, service: Service) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Stats::default();
    while !service.edge.drain.is_draining() {
        tick.tick().await;
        let now = io.stats();
        let refusals = &service.edge.metrics.refusals;
        refusals.socket_rate.inc_by(now.rate_limited - before.rate_limited);
        refusals.bad_origin.inc_by(now.refused_origin - before.refused_origin);
        // Without an upgrade no transport has changed, and checking thousands of sockets is expensive.
        if now.upgrades != before.upgrades {
            let named = service.edge.calls.settings().namespaces.iter().map(String::as_str);
            for namespace in named.chain([NAMESPACE]).map(|name| io.of(name)) {
                namespace.local().handles(&Selector::default()).iter().for_each(registration::update_transport);
            }
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_counted_is_shown_once() {
        let counted: Vec<&str> = Stats::default().iter().map(|(name, _)| name).collect();
        let shown = figures(&Stats::default());
        assert_eq!(shown.len(), counted.len(), "{counted:?}");
        for (name, figure) in counted.iter().zip(shown) {
            assert_eq!(figure.name, format!("trident_socketio_{name}"));
        }
        assert_eq!(FIGURES.len(), counted.len());
    }
}
