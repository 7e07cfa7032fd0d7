//! The adapter, as the server sees it.

use std::{collections::BTreeSet, future::ready, sync::Arc, time::Duration};

use rand::distr::{Alphanumeric, SampleString as _};
use socketio::{
    AckSink, Namespace, Responses, Room, Selector, SocketInfo,
    adapter::{Adapter, AdapterError, BoxFuture, Broadcast, Local},
    socket::packet::Payload,
};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use crate::{
    Config, Stats,
    cluster::{Cluster, Node, Published, away},
    link,
    questions::Question,
    wire::{WireError, event, request, response::Response},
};

/// How often, while answers are waited for, it is asked how many servers are left to give some.
const RECOUNT: Duration = Duration::from_millis(500);

/// Why there is no adapter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is none of a Redis. It is not repeated here, since it may hold a password.
    #[error("the URL is none of a Redis")]
    Url,
    /// There is no tokio runtime to run on.
    #[error("the adapter has to be made within a tokio runtime, which then carries it")]
    NoRuntime,
}

/// Joins a server to a cluster over Redis. See the [crate's page](crate).
///
/// One adapter serves one server, with all its namespaces. It ends when it is dropped.
pub struct RedisAdapter {
    cluster: Arc<Cluster>,
    link: AbortHandle,
}

impl RedisAdapter {
    /// An adapter that connects in the background, on the runtime within which this is called: the one that lives as long as the server, not a
    /// worker's. A Redis that cannot be reached is waited for; see [`connected`](Self::connected).
    ///
    /// # Errors
    /// When the URL is none, or this is called outside of a runtime.
    pub fn connect(config: Config) -> Result<Arc<Self>, ConnectError> {
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let client = link::client(&config.url).map_err(|_| ConnectError::Url)?;
        let (changes, changed) = mpsc::unbounded_channel();
        let (jobs, handed_in) = mpsc::unbounded_channel();
        let cluster = Arc::new(Cluster::new(config, random_id(), changes, jobs));
        let link = runtime.spawn(link::run(client, cluster.clone(), changed, handed_in)).abort_handle();
        Ok(Arc::new(Self { cluster, link }))
    }

    /// What this server is called in the cluster.
    pub fn uid(&self) -> &str {
        &self.cluster.uid
    }

    /// Whether Redis is there. While it is not, everything still reaches the sockets of this server.
    pub fn is_connected(&self) -> bool {
        self.cluster.is_ready()
    }

    /// Waits until Redis is there and all namespaces that are open by now are subscribed to: from then on this server hears the others.
    pub async fn connected(&self) {
        let mut ready = self.cluster.watch_ready();
        // Neither sender ends before this.
        let _ = ready.wait_for(|ready| *ready).await;
        for node in self.cluster.nodes() {
            let _ = node.is_subscribed.subscribe().wait_for(|subscribed| *subscribed).await;
        }
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.cluster.counters.snapshot(self.is_connected())
    }

    /// The rooms of a namespace that have members on any server. Node counts each socket's own among them, and so it is with those of all servers.
    ///
    /// # Errors
    /// When another server could not be asked, or did not answer in time.
    pub async fn all_rooms(&self, namespace: &Namespace) -> Result<BTreeSet<Room>, AdapterError> {
        let local = namespace.local();
        let own = local.handles(&Selector::default());
        let mut rooms: BTreeSet<Room> = local.rooms().into_iter().map(|(room, _)| room).collect();
        rooms.extend(own.iter().map(|socket| socket.id().clone()));
        let id = random_id();
        let question = request::encode_all_rooms(&self.cluster.uid, &id).map_err(unwritten)?;
        for answer in self.ask(local, &id, question).await? {
            rooms.extend(answer.rooms().unwrap_or_default());
        }
        Ok(rooms)
    }

    fn node(&self, local: &Local) -> Result<Arc<Node>, AdapterError> {
        let node = self.cluster.node(local.name());
        node.ok_or_else(|| AdapterError(format!("the adapter has not been told of the namespace {}", local.name())))
    }

    /// How many servers listen to requests, this one included.
    async fn count(&self, node: &Node) -> Result<usize, AdapterError> {
        let mut connection = self.cluster.connection()?;
        let mut command = redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(&node.channels.request);
        let counted: Result<(String, usize), _> = command.query_async(&mut connection).await;
        counted.map(|(_, count)| count).map_err(|error| away(&error.to_string()))
    }

    /// How many servers there are besides this one, which has to be among them for their answers to be heard.
    async fn others(&self, node: &Node) -> Result<usize, AdapterError> {
        self.cluster.connection()?;
        let patience = Instant::now() + self.cluster.config.request_timeout;
        let mut subscribed = node.is_subscribed.subscribe();
        let coming = timeout_at(patience, subscribed.wait_for(|subscribed| *subscribed)).await;
        let is_subscribed = coming.is_ok_and(|subscribed| subscribed.is_ok());
        if !is_subscribed {
            return Err(away("the namespace is not subscribed to"));
        }
        Ok(self.count(node).await?.saturating_sub(1))
    }

    /// Asks all other servers, and gathers one answer of each.
    async fn ask(&self, local: &Local, id: &str, question: Vec<u8>) -> Result<Vec<Response>, AdapterError> {
        let node = self.node(local)?;
        let others = self.others(&node).await?;
        if others == 0 {
            return Ok(Vec::new());
        }
        let mut open = self.cluster.questions.ask(id);
        self.cluster.publish(node.channels.request.clone(), question)?.wait().await?;
        let until = Instant::now() + self.cluster.config.request_timeout;
        let (answers, missing) = self.gather(&node, &mut open, others, until).await?;
        match missing {
            0 => Ok(answers),
            _ => Err(AdapterError(format!("{missing} of {others} other servers did not answer in time"))),
        }
    }

    /// Gathers answers until each of `others` has given one, and how many have not. A server that goes meanwhile is not waited for.
    async fn gather(
        &self,
        node: &Node,
        open: &mut Question<'_>,
        mut others: usize,
        until: Instant,
    ) -> Result<(Vec<Response>, usize), AdapterError> {
        let mut answers = Vec::new();
        let mut recount = interval(RECOUNT);
        recount.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recount.reset();
        while answers.len() < others {
            tokio::select! {
                answer = open.answers.recv() => {
                    answers.push(answer.ok_or_else(|| away("Redis went away before all had answered"))?);
                }
                _ = recount.tick() => {
                    others = others.min(self.count(node).await?.saturating_sub(1));
                }
                () = tokio::time::sleep_until(until) => break,
            }
        }
        let missing = others.saturating_sub(answers.len());
        Ok((answers, missing))
    }

    /// Gives an order to all servers, this one included, and waits until it has been carried out here.
    async fn order(
        &self,
        local: &Local,
        id: &str,
        order: Result<Vec<u8>, WireError>,
        carry_out: impl FnOnce(),
    ) -> Result<(), AdapterError> {
        match self.try_order(local, id, order).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // The sockets of this server do not depend on Redis.
                carry_out();
                Err(error)
            }
        }
    }

    async fn try_order(&self, local: &Local, id: &str, order: Result<Vec<u8>, WireError>) -> Result<(), AdapterError> {
        let node = self.node(local)?;
        self.others(&node).await?;
        let mut echo = self.cluster.questions.expect_echo(id);
        self.cluster.publish(node.channels.request.clone(), order.map_err(unwritten)?)?.wait().await?;
        let until = Instant::now() + self.cluster.config.request_timeout;
        match timeout_at(until, echo.answers.recv()).await {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(away("Redis went away before the order came back")),
            Err(_) => Err(away("the order did not come back in time")),
        }
    }

    fn publish_event(&self, local: &Local, broadcast: &Broadcast) -> Result<Published, AdapterError> {
        let node = self.node(local)?;
        // Whoever is away need not write it for nobody.
        if let Err(error) = self.cluster.connection() {
            self.cluster.counters.failed.inc();
            return Err(error);
        }
        let message = event::encode(&self.cluster.uid, broadcast).map_err(unwritten)?;
        self.cluster.publish(node.channels.events_for(&broadcast.to.rooms), message)
    }
}

fn unwritten(error: WireError) -> AdapterError {
    AdapterError(format!("it cannot be written for other servers: {error}"))
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

    /// The sockets of this server have it when this returns; the future tells when Redis has it.
    fn broadcast<'a>(&'a self, local: &'a Local, broadcast: Broadcast) -> BoxFuture<'a, Result<(), AdapterError>> {
        local.deliver(&broadcast.to, &broadcast.packet, broadcast.volatile);
        if broadcast.local {
            return Box::pin(ready(Ok(())));
        }
        match self.publish_event(local, &broadcast) {
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
            let until = Instant::now() + timeout;
            let node = self.node(local)?;
            let others = self.others(&node).await?;
            if others == 0 {
                return Ok(asked);
            }
            // Open beyond this future: sockets answer as long as there is time.
            let mut open = self.cluster.questions.ask_sockets(&id, acks, until.into_std());
            self.cluster.publish(node.channels.request.clone(), question.map_err(unwritten)?)?.wait().await?;
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
            let question = request::encode_fetch(&self.cluster.uid, &id, &to).map_err(unwritten)?;
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
            let node = self.node(local)?;
            let message = request::encode_emit(&self.cluster.uid, None, &event).map_err(unwritten)?;
            self.cluster.publish(node.channels.request.clone(), message)?.wait().await
        })
    }

    /// Servers that do not answer in time are counted as missing, which is no error.
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
            let message = request::encode_emit(&self.cluster.uid, Some(&id), &event).map_err(unwritten)?;
            let mut open = self.cluster.questions.ask(&id);
            self.cluster.publish(node.channels.request.clone(), message)?.wait().await?;
            let until = Instant::now() + self.cluster.config.request_timeout;
            let (answers, missing) = self.gather(&node, &mut open, others, until).await?;
            Ok(Responses { answers: answers.iter().map(Response::data).collect(), missing })
        })
    }
}

impl Drop for RedisAdapter {
    fn drop(&mut self) {
        self.link.abort();
        self.cluster.set_away("the adapter has ended".into());
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
