//! The adapter, as the server uses it.

use std::{collections::BTreeSet, future::ready, sync::Arc, time::Duration};

use rand::distr::{Alphanumeric, SampleString as _};
use socketio::{
    AckSink, Namespace, Responses, Room, Selector, SocketInfo,
    adapter::{Adapter, AdapterError, BoxFuture, Broadcast, Local},
    socket::packet::Payload,
};
use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle};

use crate::{
    Config, Stats,
    channels::Channels,
    cluster::{Cluster, Published},
    link,
    questions::deadline,
    wire::{event, request, response::Response},
};

/// Why the adapter cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not a valid Redis URL, or [`Config::authorities`] contains no certificates. The URL is not repeated here, since it may
    /// contain a password.
    #[error("invalid Redis URL, or the authorities contain no certificate")]
    Url,
    /// There is no tokio runtime to run on.
    #[error("the adapter has to be created within a tokio runtime")]
    NoRuntime,
}

/// Joins a server to a cluster over Redis. See the [crate's page](crate).
///
/// One adapter serves one server, with all its namespaces. It ends when it is dropped.
pub struct RedisAdapter {
    pub(crate) cluster: Arc<Cluster>,
    link: AbortHandle,
}

impl RedisAdapter {
    /// An adapter that connects in the background, on the current runtime, which has to live as long as the server (not a worker's). If
    /// Redis cannot be reached, the adapter keeps trying; see [`connected`](Self::connected).
    ///
    /// # Errors
    /// When the URL or the authorities are invalid, or when this is called outside of a runtime.
    pub fn connect(config: Config) -> Result<Arc<Self>, ConnectError> {
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let client = link::client(&config.url, config.authorities.as_deref()).map_err(|_| ConnectError::Url)?;
        let (changes, changed) = mpsc::unbounded_channel();
        let (jobs, handed_in) = mpsc::unbounded_channel();
        let cluster = Arc::new(Cluster::new(config, random_id(), changes, jobs));
        let link = runtime.spawn(link::run(client, cluster.clone(), changed, handed_in)).abort_handle();
        Ok(Arc::new(Self { cluster, link }))
    }

    /// The id of this server in the cluster.
    pub fn uid(&self) -> &str {
        &self.cluster.uid
    }

    /// Whether Redis is connected. While it is not, events still reach the sockets of this server.
    pub fn is_connected(&self) -> bool {
        self.cluster.is_ready()
    }

    /// Why other servers cannot be reached, for operators; `None` while they can.
    pub fn problem(&self) -> Option<String> {
        self.cluster.problem()
    }

    /// Waits until Redis is connected and all open namespaces are subscribed to: from then on this server receives messages of the others.
    pub async fn connected(&self) {
        let mut ready = self.cluster.watch_ready();
        // Neither sender ends before this.
        let _ = ready.wait_for(|ready| *ready).await;
        for node in self.cluster.nodes() {
            node.is_subscribed().await;
        }
    }

    /// A snapshot of the counters.
    pub fn stats(&self) -> Stats {
        self.cluster.counters.snapshot(self.is_connected())
    }

    /// The rooms of a namespace with members on any server. As in Node, each socket's own room is included.
    ///
    /// # Errors
    /// When another server could not be asked, or did not answer in time.
    pub async fn all_rooms(&self, namespace: &Namespace) -> Result<BTreeSet<Room>, AdapterError> {
        let local = namespace.local();
        let own = local.handles(&Selector::default());
        let mut rooms: BTreeSet<Room> = local.rooms().into_iter().map(|(room, _)| room).collect();
        rooms.extend(own.iter().map(|socket| socket.id().clone()));
        let id = random_id();
        let question = request::encode_all_rooms(&self.cluster.uid, &id)?;
        for answer in self.ask(local, &id, question).await? {
            rooms.extend(answer.rooms().unwrap_or_default());
        }
        Ok(rooms)
    }

    /// The channels of a namespace. One that is closed here, but of which the application has kept a handle, may be open elsewhere.
    fn channels(&self, local: &Local) -> Channels {
        Channels::new(&self.cluster.config.key, local.name(), &self.cluster.uid)
    }

    /// Sends an event to the servers that do not share this server's [`Config::aside`], and to no socket of this server. It is queued when
    /// this returns, after everything sent before; the future resolves when Redis has it.
    ///
    /// # Errors
    /// When no such name is configured, or Redis is unavailable.
    pub fn broadcast_aside(
        &self,
        local: &Local,
        broadcast: &Broadcast,
    ) -> impl Future<Output = Result<(), AdapterError>> + Send + use<> {
        let aside = self.cluster.aside_events.as_ref();
        let aside = aside.ok_or_else(|| AdapterError("`Config::aside` is not set".to_owned()));
        let published = aside.and_then(|aside| self.publish_as(aside, local, broadcast));
        async { published?.wait().await }
    }

    fn publish_as(&self, own: &[u8], local: &Local, broadcast: &Broadcast) -> Result<Published, AdapterError> {
        // While Redis is unavailable, nothing has to be encoded.
        if let Err(error) = self.cluster.connection() {
            self.cluster.counters.failed.inc();
            return Err(error);
        }
        let message = event::encode(own, broadcast)?;
        let rooms = &broadcast.to.rooms;
        let channel = match self.cluster.node(local.name()) {
            Some(node) => node.channels.events_for(rooms),
            None => self.channels(local).events_for(rooms),
        };
        self.cluster.publish(channel, message)
    }
}

fn random_id() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 12)
}

impl Adapter for RedisAdapter {
    fn opened(&self, namespace: &Namespace) {
        self.cluster.open(namespace);
    }

    fn closed(&self, local: &Local) {
        self.cluster.close(local.name());
    }

    fn server_count<'a>(&'a self, local: &'a Local) -> BoxFuture<'a, Result<usize, AdapterError>> {
        Box::pin(async move {
            let node = self.node(local)?;
            Ok(self.others(&node).await? + 1)
        })
    }

    /// The sockets of this server have it when this returns; the future resolves when Redis has it.
    fn broadcast<'a>(&'a self, local: &'a Local, broadcast: Broadcast) -> BoxFuture<'a, Result<(), AdapterError>> {
        local.deliver(&broadcast.to, &broadcast.packet, broadcast.volatile);
        if broadcast.local {
            return Box::pin(ready(Ok(())));
        }
        match self.publish_as(&self.cluster.own_events, local, &broadcast) {
            Ok(published) => Box::pin(published.wait()),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn broadcast_with_ack<'a>(
        &'a self,
        local: &'a Local,
        broadcast: Broadcast,
        timeout: Duration,
        acks: AckSink,
    ) -> BoxFuture<'a, Result<usize, AdapterError>> {
        let asked = local.deliver_with_ack(&broadcast.to, &broadcast.packet, &acks);
        if broadcast.local {
            return Box::pin(ready(Ok(asked)));
        }
        let id = random_id();
        let question = request::encode_broadcast(&self.cluster.uid, &id, &broadcast, timeout);
        Box::pin(async move {
            let until = deadline(timeout);
            let node = self.node(local)?;
            let others = self.others(&node).await?;
            if others == 0 {
                return Ok(asked);
            }
            // Stays open after this future: sockets answer until the timeout.
            let mut open = self.cluster.questions.ask_sockets(&id, acks, until.into_std());
            self.cluster.publish(node.channels.request.clone(), question?)?.wait().await?;
            let (counts, _) = self.gather(&node, &mut open, others, until).await?;
            Ok(counts.iter().filter_map(Response::client_count).fold(asked, usize::saturating_add))
        })
    }

    fn fetch_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
    ) -> BoxFuture<'a, Result<Vec<SocketInfo>, AdapterError>> {
        Box::pin(async move {
            let id = random_id();
            let question = request::encode_fetch(&self.cluster.uid, &id, &to)?;
            let answers = self.ask(local, &id, question).await?;
            let mut sockets = local.sockets(&to);
            sockets.extend(answers.iter().filter_map(Response::sockets).flatten());
            Ok(sockets)
        })
    }

    fn join_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        rooms: Vec<Room>,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            let id = random_id();
            let order = request::encode_join(&self.cluster.uid, &id, &to, &rooms);
            self.order(local, &id, order, || local.join(&to, &rooms)).await
        })
    }

    fn leave_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        rooms: Vec<Room>,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            let id = random_id();
            let order = request::encode_leave(&self.cluster.uid, &id, &to, &rooms);
            self.order(local, &id, order, || local.leave(&to, &rooms)).await
        })
    }

    fn disconnect_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        close: bool,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            let id = random_id();
            let order = request::encode_disconnect(&self.cluster.uid, &id, &to, close);
            self.order(local, &id, order, || local.disconnect(&to, close)).await
        })
    }

    fn server_side_emit<'a>(&'a self, local: &'a Local, event: Payload) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            let message = request::encode_emit(&self.cluster.uid, None, &event)?;
            self.cluster.publish(self.channels(local).request, message)?.wait().await
        })
    }

    /// Servers that do not answer in time are counted as missing, which is not an error.
    fn server_side_emit_with_ack<'a>(
        &'a self,
        local: &'a Local,
        event: Payload,
    ) -> BoxFuture<'a, Result<Responses<serde_json::Value>, AdapterError>> {
        Box::pin(async move {
            let node = self.node(local)?;
            let others = self.others(&node).await?;
            if others == 0 {
                return Ok(Responses { answers: Vec::new(), missing: 0 });
            }
            let id = random_id();
            let message = request::encode_emit(&self.cluster.uid, Some(&id), &event)?;
            let mut open = self.cluster.questions.ask(&id);
            self.cluster.publish(node.channels.request.clone(), message)?.wait().await?;
            let until = deadline(self.cluster.config.request_timeout);
            let (answers, missing) = self.gather(&node, &mut open, others, until).await?;
            Ok(Responses { answers: answers.iter().map(Response::data).collect(), missing })
        })
    }
}

impl Drop for RedisAdapter {
    fn drop(&mut self) {
        self.link.abort();
        self.cluster.set_disconnected("the adapter has ended".into());
    }
}

impl std::fmt::Debug for RedisAdapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisAdapter")
            .field("uid", &self.cluster.uid)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
