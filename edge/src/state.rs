//! What the requests of one process share.

use std::{ops::Deref, sync::Arc};

use outgoing::Outgoing;
use shared::live::clock::wall_clock;

use super::{
    auth::{DisconnectedUsers, Revocations, TokenOwners, Verifier},
    calls::Calls,
    connections::Connections,
    delegate::Delegate,
    drain::Drain,
    events::EventFeed,
    health::Readiness,
    hooks::Hooks,
    http1,
    limits::Limits,
    metrics::{Figure, Metrics},
    receiving::Receiving,
    settings::{ServiceDefaults, Settings},
    traces::Traces,
    unread::Unread,
};

/// The shared state of the HTTP side of one process: its settings, counters and limits. Clones share it. Create it once, outside of the
/// closure that actix calls for each worker.
#[derive(Clone, Debug)]
pub struct Edge(Arc<Shared>);

/// The fields of an [`Edge`].
#[derive(Debug)]
pub struct Shared {
    /// The name and the version of the process.
    pub service: ServiceDefaults,
    /// When it was started: milliseconds since the Unix epoch.
    pub started: u64,
    /// The settings of the process.
    pub settings: Settings,
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    /// The keys that verify tokens.
    pub verifier: Verifier,
    /// Recently verified tokens.
    pub(super) tokens: TokenOwners,
    /// Tokens that have been revoked.
    pub revocations: Arc<Revocations>,
    /// Users whose connections are refused.
    pub disconnected: Arc<DisconnectedUsers>,
    /// What happens to clients, for backends.
    pub events: EventFeed,
    /// Connections and rates.
    pub limits: Limits,
    /// Long answers that have not been read yet.
    pub unread: Unread,
    /// Requests that are incomplete or not answered yet.
    pub receiving: Receiving,
    /// Accepted sockets.
    pub(super) sockets: http1::Sockets,
    /// Requests to the application: the connections that all of them share.
    pub outgoing: Outgoing,
    /// What the application is asked.
    pub calls: Calls,
    /// What the sender of webhooks reports.
    pub hooks: Hooks,
    /// The traces of its requests.
    pub traces: Traces,
    /// Who answers about subscriptions to streams.
    pub subscriptions: Delegate,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// Whether it is shutting down.
    pub drain: Drain,
}

impl Edge {
    /// The edge of a process with these settings.
    #[must_use]
    pub fn new(settings: Settings, service: &ServiceDefaults) -> Self {
        let metrics = Arc::new(Metrics::new(service.name, service.version));
        let sockets = http1::Sockets::new(&settings);
        let unread = Unread::new(settings.unread_total());
        let receiving = Receiving::new(settings.receive_total);
        let limits = Limits::new(&settings, metrics.clone());
        let outgoing = Outgoing::default();
        let traces = Traces::new(&settings.backend.traces, service, &metrics);
        let calls = Calls::new(&settings, &outgoing, &metrics, &traces);
        let of = traces.clone();
        metrics.watch_figures(move || of.figures());
        let counted = (sockets.clone(), unread.clone(), receiving.clone(), limits.registry().clone());
        metrics.watch_figures(move || figures(&counted.0, &counted.1, &counted.2, &counted.3));
        let of = limits.clone();
        metrics.watch_figures(move || {
            let gauge = |name, help, value: usize| Figure { name, help, value: value as u64, is_counter: false };
            vec![
                gauge("trident_rated_clients", "Clients for which a rate is known, of all rates", of.rated_clients()),
                gauge("trident_api_answers", "Requests for /v1 that are being answered", of.api_answers()),
            ]
        });
        let (revocations, disconnected) = (Arc::<Revocations>::default(), Arc::<DisconnectedUsers>::default());
        let of = (revocations.clone(), disconnected.clone());
        metrics.watch_figures(move || {
            let gauge = |name, help, value: usize| Figure { name, help, value: value as u64, is_counter: false };
            vec![
                gauge("trident_revocation_bytes", "Bytes of revocations of tokens", of.0.bytes()),
                gauge("trident_rejected_user_bytes", "Bytes of users whose connections are rejected", of.1.bytes()),
            ]
        });
        let of = calls.clone();
        metrics.watch_figures(move || of.figures());
        let events = limits.registry().events().clone();
        let recorded = events.clone();
        metrics.watch_figures(move || recorded.figures());
        Self(Arc::new(Shared {
            events,
            service: *service,
            started: wall_clock(),
            verifier: Verifier::new(&settings),
            tokens: TokenOwners::default(),
            revocations,
            disconnected,
            limits,
            sockets,
            unread,
            receiving,
            outgoing,
            calls,
            hooks: Hooks::default(),
            traces,
            subscriptions: Delegate::default(),
            readiness: Readiness::default(),
            drain: Drain::default(),
            metrics,
            settings,
        }))
    }
}

fn figures(sockets: &http1::Sockets, unread: &Unread, receiving: &Receiving, connections: &Connections) -> Vec<Figure> {
    let (open, evicted) = sockets.figures();
    vec![
        Figure { name: "trident_sockets", help: "Open TCP connections", value: open as u64, is_counter: false },
        Figure {
            name: "trident_sockets_evicted",
            help: "Idle TCP connections closed to admit new ones",
            value: evicted,
            is_counter: true,
        },
        Figure {
            name: "trident_unread_answer_bytes",
            help: "Bytes of long answers to polls that clients have not read yet",
            value: unread.bytes() as u64,
            is_counter: false,
        },
        Figure {
            name: "trident_receiving_bytes",
            help: "Bytes of larger requests that are incomplete or not answered yet",
            value: receiving.bytes() as u64,
            is_counter: false,
        },
        Figure {
            name: "trident_receiving_anonymous_bytes",
            help: "Bytes of these requests that are heads, or of clients without a token",
            value: receiving.anonymous_bytes() as u64,
            is_counter: false,
        },
        Figure {
            name: "trident_registered_connections",
            help: "Connections that a backend can list and end, including those of clients between two polls",
            value: connections.count() as u64,
            is_counter: false,
        },
        Figure {
            name: "trident_idle_poller_bytes",
            help: "Bytes of connections whose clients are between two polls",
            value: connections.idle_poller_bytes() as u64,
            is_counter: false,
        },
    ]
}

impl Deref for Edge {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
