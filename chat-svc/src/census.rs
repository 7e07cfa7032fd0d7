//! What is counted of connections: which transport each has now and what was refused before anybody came in, brought up to
//! date every second; and what the Socket.IO server and its cluster count themselves, whenever somebody asks.

use std::{sync::Arc, time::Duration};

use edge::{metrics::Figure, service::Service};
use socketio::{Selector, SocketIo, Stats};
use socketio_redis::RedisAdapter;
use tokio::time::MissedTickBehavior;

use crate::{
    arrival::counted_as,
    member::Member,
    sessions::{self, Sessions},
    wire::NAMESPACE,
};

const PERIOD: Duration = Duration::from_secs(1);

/// The figures of [`Stats`] by their names there, and what `/metrics` says of them.
const FIGURES: &[(&str, &str, &str)] = &[
    ("connections", "trident_socketio_connections", "Open Engine.IO sessions"),
    ("connections_polling", "trident_socketio_connections_polling", "Engine.IO sessions on long-polling"),
    ("connections_websocket", "trident_socketio_connections_websocket", "Engine.IO sessions on a WebSocket"),
    ("polls_waiting", "trident_socketio_polls_waiting", "Polls that wait for something to say"),
    ("sockets", "trident_socketio_sockets", "Sockets connected to namespaces"),
    ("pending_bytes", "trident_socketio_pending_bytes", "Bytes of messages that wait for clients"),
    ("recovery_bytes", "trident_socketio_recovery_bytes", "Bytes that the in-memory adapter keeps for recovery"),
    (
        "recovery_sessions",
        "trident_socketio_recovery_sessions",
        "Sessions that the in-memory adapter keeps for recovery",
    ),
    (
        "receiving_bytes",
        "trident_socketio_receiving_bytes",
        "Bytes of unfinished WebSocket messages and request bodies",
    ),
    ("handler_bytes", "trident_socketio_handler_bytes", "Bytes of events whose handlers have not ended"),
    ("opened", "trident_socketio_opened", "Engine.IO sessions ever opened"),
    ("upgrades", "trident_socketio_upgrades", "Sessions that went from polling to a WebSocket"),
    ("packets_in", "trident_socketio_packets_in", "Engine.IO packets received"),
    ("packets_out", "trident_socketio_packets_out", "Engine.IO messages sent"),
    ("bytes_out", "trident_socketio_bytes_out", "Bytes of messages sent, before framing and compression"),
    ("refused_transport", "trident_socketio_refused_transport", "Requests refused: transport unknown"),
    ("refused_sid", "trident_socketio_refused_sid", "Requests refused: no such session"),
    ("refused_method", "trident_socketio_refused_method", "Requests refused: the method opens no session"),
    (
        "refused_request",
        "trident_socketio_refused_request",
        "Requests refused: malformed, or against the session's state",
    ),
    (
        "refused_forbidden",
        "trident_socketio_refused_forbidden",
        "Requests refused: origin, no place, or on the way out",
    ),
    ("refused_origin", "trident_socketio_refused_origin", "Requests refused: origin"),
    ("refused_full", "trident_socketio_refused_full", "Requests refused: the server was full"),
    ("refused_protocol", "trident_socketio_refused_protocol", "Requests refused: Engine.IO revision not served"),
    ("refused_size", "trident_socketio_refused_size", "Bodies and frames over the size limit"),
    ("refused_namespace", "trident_socketio_refused_namespace", "Sockets refused: token, access, or no such namespace"),
    ("ping_timeouts", "trident_socketio_ping_timeouts", "Sessions that ended without a pong in time"),
    ("parse_errors", "trident_socketio_parse_errors", "Sessions that ended because they sent what is no packet"),
    ("volatile_dropped", "trident_socketio_volatile_dropped", "Volatile messages dropped for clients that were busy"),
    ("outbox_full", "trident_socketio_outbox_full", "Messages refused because too much waited already"),
    ("outbox_overflows", "trident_socketio_outbox_overflows", "Sessions that ended because too much waited for them"),
    (
        "receiving_refused",
        "trident_socketio_receiving_refused",
        "Messages and bodies refused for want of receive memory",
    ),
    (
        "handler_overflows",
        "trident_socketio_handler_overflows",
        "Sessions that ended because too many handlers were pending",
    ),
    ("rate_limited", "trident_socketio_rate_limited", "Sessions that ended because they sent too fast"),
    ("connect_timeouts", "trident_socketio_connect_timeouts", "Sessions that joined no namespace in time"),
    ("binary_timeouts", "trident_socketio_binary_timeouts", "Binary packets whose attachments did not come in time"),
    ("acks_refused", "trident_socketio_acks_refused", "Acks asked for beyond the limit of pending ones"),
    ("rooms_refused", "trident_socketio_rooms_refused", "Joins beyond the limit of rooms of one socket"),
    ("bad_arguments", "trident_socketio_bad_arguments", "Events whose arguments did not fit"),
    ("recovered", "trident_socketio_recovered", "Sockets that came back to their session"),
    ("recovery_missed", "trident_socketio_recovery_missed", "Sockets that asked for a session which was gone"),
];

/// Figures that go down too.
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
            "1 while other replicas are reached",
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
        figure("trident_socketio_cluster_received", "Messages of other replicas acted upon", stats.received, true),
        figure(
            "trident_socketio_cluster_ignored",
            "Messages of other replicas that made no sense",
            stats.ignored,
            true,
        ),
        figure("trident_socketio_cluster_away", "Times that other replicas were out of reach", stats.away, true),
        figure(
            "trident_socketio_cluster_overrun",
            "Times that other replicas said more than could be taken in, and the connection was made anew",
            stats.overrun,
            true,
        ),
    ]
}

/// What is kept for disconnected clients that may still recover.
fn session_figures(figures: &sessions::Figures) -> [Figure; 3] {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let figure = |name, help, value, is_counter| Figure { name, help, value, is_counter };
    [
        figure("trident_sessions", "Recovery sessions of clients that have gone", count(figures.sessions), false),
        figure("trident_session_bytes", "Bytes that they take, of TRIDENT_SESSIONS_TOTAL", count(figures.bytes), false),
        figure("trident_sessions_dropped", "Sessions dropped before their time, to make room", figures.dropped, true),
    ]
}

/// Shows what is counted elsewhere.
pub(crate) fn show(io: &SocketIo, sessions: Sessions, cluster: Option<Arc<RedisAdapter>>, service: &Service) {
    let io = io.clone();
    service.edge.metrics.watch_figures(move || {
        let mut all = figures(&io.stats());
        all.extend(session_figures(&sessions.figures()));
        all.extend(cluster.iter().flat_map(|cluster| cluster_figures(cluster)));
        all
    });
}

/// Counts until the process is on its way out.
pub(crate) async fn take(io: SocketIo, service: Service) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Stats::default();
    while !service.edge.drain.is_draining() {
        tick.tick().await;
        let now = io.stats();
        let refusals = &service.edge.metrics.refusals;
        refusals.socket_rate.inc_by(now.rate_limited - before.rate_limited);
        refusals.bad_origin.inc_by(now.refused_origin - before.refused_origin);
        // Without an upgrade nobody has changed their transport, and with thousands of sockets looking costs something.
        if now.upgrades != before.upgrades {
            for socket in io.of(NAMESPACE).local().handles(&Selector::default()) {
                let Some(member) = socket.get::<Member>() else { continue };
                member.place.lock().change_transport(counted_as(socket.connection().transport()));
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
