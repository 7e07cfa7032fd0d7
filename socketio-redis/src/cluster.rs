//! State shared by the adapter and its connections: the namespaces, the connection to Redis, and pending requests.

use std::{collections::HashMap, sync::Arc};

use bytestring::ByteString;
use parking_lot::{Mutex, RwLock};
use redis::aio::MultiplexedConnection;
use socketio::{Namespace, adapter::AdapterError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Config,
    channels::{self, Channels},
    node::{Change, Node, Standing},
    questions::Questions,
    queue::{Job, Waiting},
    stats::Counters,
    wire::{Budget, event},
};

pub(crate) struct Cluster {
    pub(crate) config: Config,
    /// The id of this server, known to all servers.
    pub(crate) uid: String,
    /// The prefix of each of its own events on the wire.
    pub(crate) own_events: Vec<u8>,
    /// The prefix of events for servers outside of this server's [`Config::aside`](crate::Config::aside) group.
    pub(crate) aside_events: Option<Vec<u8>>,
    /// The channel of its own heartbeat.
    pub(crate) pulse: String,
    pub(crate) counters: Counters,
    pub(crate) questions: Questions,
    namespaces: RwLock<Namespaces>,
    changes: mpsc::UnboundedSender<Change>,
    jobs: mpsc::UnboundedSender<Job>,
    pub(crate) waiting: Arc<Waiting>,
    phase: Mutex<Phase>,
    is_ready: watch::Sender<bool>,
}

/// The state of the connection to Redis.
pub(crate) enum Phase {
    /// Redis cannot be reached, and why.
    Disconnected(String),
    Ready(MultiplexedConnection),
}

#[derive(Default)]
struct Namespaces {
    by_name: HashMap<ByteString, Arc<Node>>,
    /// By subscribed channel or pattern.
    routes: HashMap<String, Route>,
}

/// The destination of messages that arrive by a subscription.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) node: Arc<Node>,
    pub(crate) what: Carries,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    Events,
    Requests,
    Responses,
}

impl Cluster {
    pub(crate) fn new(
        config: Config,
        uid: String,
        changes: mpsc::UnboundedSender<Change>,
        jobs: mpsc::UnboundedSender<Job>,
    ) -> Self {
        Self {
            pulse: channels::pulse(&config.key, &uid),
            own_events: event::prefix(&uid),
            aside_events: config.aside.as_deref().map(event::prefix),
            config,
            uid,
            counters: Counters::default(),
            questions: Questions::default(),
            namespaces: RwLock::default(),
            changes,
            jobs,
            waiting: Arc::default(),
            phase: Mutex::new(Phase::Disconnected("not connected yet".into())),
            is_ready: watch::Sender::new(false),
        }
    }

    // ---- namespaces ----

    pub(crate) fn open(&self, namespace: &Namespace) {
        let node = Arc::new(Node {
            namespace: namespace.downgrade(),
            channels: Channels::new(&self.config.key, namespace.name(), &self.uid),
            standing: watch::Sender::new(Standing::Waiting),
        });
        let mut namespaces = self.namespaces.write();
        let Channels { pattern, request, response, own_response, .. } = &node.channels;
        for (subscription, what) in [
            (pattern, Carries::Events),
            (request, Carries::Requests),
            (response, Carries::Responses),
            (own_response, Carries::Responses),
        ] {
            namespaces.routes.insert(subscription.clone(), Route { node: node.clone(), what });
        }
        namespaces.by_name.insert(namespace.name().clone(), node.clone());
        // Under the lock, so that openings and closings of a name are subscribed in order. The receiver is dropped last.
        let _ = self.changes.send(Change::Opened(node));
    }

    pub(crate) fn close(&self, name: &str) {
        let mut namespaces = self.namespaces.write();
        let Some(node) = namespaces.by_name.remove(name) else { return };
        let Channels { pattern, request, response, own_response, .. } = &node.channels;
        for subscription in [pattern, request, response, own_response] {
            namespaces.routes.remove(subscription);
        }
        node.set_standing(Standing::Closed);
        let _ = self.changes.send(Change::Closed(node));
    }

    pub(crate) fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.namespaces.read().by_name.get(name).cloned()
    }

    /// Whether the namespace with these channels is open.
    pub(crate) fn is_open(&self, channels: &Channels) -> bool {
        self.namespaces.read().routes.contains_key(&channels.request)
    }

    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.namespaces.read().by_name.values().cloned().collect()
    }

    pub(crate) fn route(&self, subscription: &str) -> Option<Route> {
        self.namespaces.read().routes.get(subscription).cloned()
    }

    /// The maximum size of a message of another server.
    pub(crate) fn budget(&self) -> Budget {
        Budget::new(self.config.max_message_values)
    }

    // ---- Redis ----

    pub(crate) fn is_ready(&self) -> bool {
        *self.is_ready.borrow()
    }

    /// Why Redis cannot be used; `None` while it can.
    pub(crate) fn problem(&self) -> Option<String> {
        match &*self.phase.lock() {
            Phase::Disconnected(why) => Some(why.clone()),
            Phase::Ready(_) => None,
        }
    }

    pub(crate) fn watch_ready(&self) -> watch::Receiver<bool> {
        self.is_ready.subscribe()
    }

    /// Redis is connected, and everything is subscribed to.
    pub(crate) fn set_ready(&self, connection: MultiplexedConnection) {
        *self.phase.lock() = Phase::Ready(connection);
        self.is_ready.send_replace(true);
    }

    /// Redis cannot be reached. Returns whether it was connected before.
    pub(crate) fn set_disconnected(&self, why: String) -> bool {
        let before = std::mem::replace(&mut *self.phase.lock(), Phase::Disconnected(why));
        self.is_ready.send_replace(false);
        for node in self.nodes() {
            node.set_standing(Standing::Waiting);
        }
        self.questions.drop_all();
        matches!(before, Phase::Ready(_))
    }

    /// The connection for commands.
    pub(crate) fn connection(&self) -> Result<MultiplexedConnection, AdapterError> {
        match &*self.phase.lock() {
            Phase::Ready(connection) => Ok(connection.clone()),
            Phase::Disconnected(why) => Err(unavailable(why)),
        }
    }

    /// Queues a message to be published, after all earlier ones. The returned future resolves with the outcome.
    pub(crate) fn publish(&self, channel: String, message: Vec<u8>) -> Result<Published, AdapterError> {
        let (answer, published) = oneshot::channel();
        let sent = self.hand_in(channel, message, Some(answer));
        if sent.is_err() {
            self.counters.failed.inc();
        }
        sent.map(|()| Published(published))
    }

    /// The same, without a result.
    pub(crate) fn answer(&self, channel: String, message: Vec<u8>) {
        if let Err(error) = self.hand_in(channel, message, None) {
            self.counters.failed.inc();
            log::debug!("a request of another server is not answered: {error}");
        }
    }

    fn hand_in(
        &self,
        channel: String,
        message: Vec<u8>,
        answer: Option<oneshot::Sender<Result<(), String>>>,
    ) -> Result<(), AdapterError> {
        // Under the lock: a message queued after Redis was lost must not wait for the next connection.
        let phase = self.phase.lock();
        if let Phase::Disconnected(why) = &*phase {
            return Err(unavailable(why));
        }
        let bytes = channel.len() + message.len();
        let room = self.waiting.take(bytes, self.config.max_waiting_bytes);
        let room =
            room.ok_or_else(|| AdapterError("Redis cannot keep up: too many messages are queued for it".into()))?;
        self.jobs.send(Job { channel, message, answer, room }).map_err(|_| unavailable("the adapter has ended"))
    }
}

/// Messages being sent to Redis.
pub(crate) struct Published(oneshot::Receiver<Result<(), String>>);

impl Published {
    /// Waits until Redis has it.
    pub(crate) async fn wait(self) -> Result<(), AdapterError> {
        match self.0.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(unavailable(&why)),
            Err(_) => Err(unavailable("the adapter has ended")),
        }
    }
}

pub(crate) fn unavailable(why: &str) -> AdapterError {
    AdapterError(format!("other servers cannot be reached: {why}"))
}

#[cfg(test)]
mod tests {
    use socketio::SocketIo;

    use super::*;

    /// While the connection is restored, a namespace may close and open again: it is in the list to subscribe to, and both changes follow.
    /// The first of them must not undo the subscription.
    #[test]
    fn closing_a_reopened_namespace_does_not_unsubscribe_it() {
        let (changes, mut changed) = mpsc::unbounded_channel();
        let cluster = Cluster::new(Config::default(), "me".to_owned(), changes, mpsc::unbounded_channel().0);
        let io = SocketIo::builder().build();
        for (name, opens_again) in [("/a", true), ("/b", false)] {
            let namespace = io.of(name);
            cluster.open(&namespace);
            cluster.close(name);
            if opens_again {
                cluster.open(&namespace);
            }
            let Some(Change::Opened(first)) = changed.blocking_recv() else { panic!("it opened") };
            let Some(Change::Closed(closed)) = changed.blocking_recv() else { panic!("it closed") };
            assert!(Arc::ptr_eq(&first, &closed));
            assert_eq!(cluster.is_open(&closed.channels), opens_again, "{name}");
            assert_eq!(*closed.standing.borrow(), Standing::Closed);
            if opens_again {
                assert!(
                    matches!(changed.blocking_recv(), Some(Change::Opened(second)) if !Arc::ptr_eq(&first, &second))
                );
            }
        }
    }
}
