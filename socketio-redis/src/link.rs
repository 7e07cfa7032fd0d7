//! The two connections to Redis: opened, subscribed, checked, and opened again when anything breaks.
//!
//! One publishes, the other subscribes. They are opened and closed together, so that a server either takes part in the cluster or knows
//! that it does not. The heartbeat shows that both work: a message to itself, published on the one and received on the other.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::RngExt as _;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError, RedisResult,
    TlsCertificates,
    aio::{MultiplexedConnection, PubSub, PubSubSink, PubSubStream},
    io::tcp::TcpSettings,
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use crate::{
    cluster::Cluster,
    inbox::{Inbox, Next},
    node::{Change, Node, Standing},
    publisher,
    queue::Job,
    receive,
};

/// Timeout of connecting, and of an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first pause after a connection broke, approximately; each following one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// After a connection that worked for this long, the pauses start again with the first.
const STABLE: Duration = Duration::from_secs(10);
/// Idle time after which the kernel checks whether the peer still exists.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// The minimum interval between heartbeats.
const MIN_HEARTBEAT: Duration = Duration::from_millis(100);
/// Maximum number of namespaces subscribed to in one command.
const NODES_TOGETHER: usize = 256;

/// Why the connections were closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("no connection within {} s", PATIENCE.as_secs())]
    Connecting,
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Answer,
    #[error("the subscribing connection is closed")]
    Closed,
    #[error("other servers send more than this one can handle (max_incoming_bytes)")]
    Overrun,
    #[error("the heartbeat is not received")]
    Heartbeat,
}

/// The address of Redis and its certificate authorities, validated. No connection is opened yet.
pub(crate) fn client(url: &str, authorities: Option<&[u8]>) -> RedisResult<Client> {
    let info: ConnectionInfo = url.into_connection_info()?;
    let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    if is_encrypted {
        // An error means that the process has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let keepalive = socket2::TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PATIENCE);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    let info = info.set_tcp_settings(tcp);
    match authorities.filter(|_| is_encrypted) {
        Some(pem) => Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) }),
        None => Client::open(info),
    }
}

/// Sets the timeouts of connecting and of answers.
pub(crate) fn patience(config: AsyncConnectionConfig) -> AsyncConnectionConfig {
    config.set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE))
}

/// Keeps the connections open as long as it is polled.
pub(crate) async fn run(
    client: Client,
    cluster: Arc<Cluster>,
    mut changes: mpsc::UnboundedReceiver<Change>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
) {
    let mut pause = FIRST_PAUSE;
    let mut is_logged = false;
    loop {
        let begun = Instant::now();
        let Err(error) = session(&client, &cluster, &mut changes, &mut jobs).await;
        let why = format!("Redis is unavailable: {error}");
        if cluster.set_disconnected(why.clone()) {
            cluster.counters.disconnects.inc();
            // A connection that is lost soon after it was opened is retried more and more slowly.
            if begun.elapsed() >= STABLE {
                pause = FIRST_PAUSE;
                is_logged = false;
            }
        }
        if !std::mem::replace(&mut is_logged, true) {
            log::warn!("{why}. Until it is available, events reach the sockets of this server only.");
        }
        // Messages queued just before the loss was noticed; none of them has been sent.
        while let Ok(job) = jobs.try_recv() {
            job.end(&cluster.counters, Err(why.clone()));
        }
        let jitter = rand::rng().random_range(0.5..1.0);
        sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

async fn session(
    client: &Client,
    cluster: &Arc<Cluster>,
    changes: &mut mpsc::UnboundedReceiver<Change>,
    jobs: &mut mpsc::UnboundedReceiver<Job>,
) -> Result<Infallible, LinkError> {
    let config = patience(AsyncConnectionConfig::new()).set_write_backpressure_boundary(publisher::MAX_PIPELINE_BYTES);
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let listening: PubSub = timeout(PATIENCE, client.get_async_pubsub()).await.map_err(|_| LinkError::Connecting)??;
    let (sink, stream) = listening.split();
    let heard = watch::Sender::new(0);
    tokio::select! {
        end = listen(stream, cluster, &heard) => end,
        end = take_part(connection, sink, cluster, changes, jobs, &heard) => end,
    }
}

/// Receives messages. Nothing here blocks, so they are handled in the order in which Redis sent them.
async fn listen(
    stream: PubSubStream,
    cluster: &Arc<Cluster>,
    heard: &watch::Sender<u64>,
) -> Result<Infallible, LinkError> {
    let counting = cluster.clone();
    let mut inbox = Inbox::of(stream, cluster.config.max_incoming_bytes, move || counting.counters.overrun.inc());
    loop {
        let (message, _room) = match inbox.next().await {
            Next::Message(message, room) => (message, room),
            Next::Overrun => return Err(LinkError::Overrun),
            Next::Closed => return Err(LinkError::Closed),
        };
        let channel = message.get_channel_name();
        let payload = message.get_payload_bytes();
        if channel == cluster.pulse {
            let number = std::str::from_utf8(payload).ok().and_then(|number| number.parse().ok());
            heard.send_modify(|heard| *heard = number.unwrap_or(*heard));
            continue;
        }
        let pattern = message.get_pattern::<Option<String>>().ok().flatten();
        receive::message(cluster, pattern.as_deref().unwrap_or(channel), channel, payload);
    }
}

async fn take_part(
    connection: MultiplexedConnection,
    mut sink: PubSubSink,
    cluster: &Arc<Cluster>,
    changes: &mut mpsc::UnboundedReceiver<Change>,
    jobs: &mut mpsc::UnboundedReceiver<Job>,
    heard: &watch::Sender<u64>,
) -> Result<Infallible, LinkError> {
    // Changes so far are in the list, and later ones follow.
    while changes.try_recv().is_ok() {}
    answered(sink.subscribe(&cluster.pulse)).await?;
    subscribe(&mut sink, &cluster.nodes()).await?;
    pulse(connection.clone(), 1, cluster, heard).await?;
    // Servers are counted with this command: a missing permission shows here.
    let mut counting = redis::cmd("PUBSUB");
    let _: redis::Value = counting.arg("NUMSUB").arg(&cluster.pulse).query_async(&mut connection.clone()).await?;
    cluster.set_ready(connection.clone());
    log::info!("connected to Redis: this server is {} in the cluster {:?}", cluster.uid, cluster.config.key);
    tokio::select! {
        end = follow(sink, changes, cluster) => end,
        end = publisher::run(connection.clone(), jobs, &cluster.counters) => end.map_err(LinkError::from),
        end = beat(connection, cluster, heard) => end,
    }
}

/// Subscribes to the channels of new namespaces, and unsubscribes from those of removed ones.
async fn follow(
    mut sink: PubSubSink,
    changes: &mut mpsc::UnboundedReceiver<Change>,
    cluster: &Cluster,
) -> Result<Infallible, LinkError> {
    let mut next = changes.recv().await;
    while let Some(change) = next.take() {
        match change {
            Change::Opened(node) => {
                let mut nodes = vec![node];
                while nodes.len() < NODES_TOGETHER {
                    match changes.try_recv() {
                        Ok(Change::Opened(node)) => nodes.push(node),
                        Ok(closed) => {
                            next = Some(closed);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                subscribe(&mut sink, &nodes).await?;
            }
            // The name is open again: messages on its channels belong to the new namespace, which is subscribed to already or will be.
            Change::Closed(node) if cluster.is_open(&node.channels) => {}
            Change::Closed(node) => {
                let channels = &node.channels;
                answered(sink.punsubscribe(&channels.pattern)).await?;
                answered(sink.unsubscribe(&[&channels.request, &channels.response, &channels.own_response][..]))
                    .await?;
            }
        }
        if next.is_none() {
            next = changes.recv().await;
        }
    }
    // The adapter has been dropped, and this task ends in a moment.
    std::future::pending().await
}

/// Each channel once, however often SUBSCRIBE is sent: Redis' number of subscribers is the number of servers.
async fn subscribe(sink: &mut PubSubSink, nodes: &[Arc<Node>]) -> Result<(), LinkError> {
    for nodes in nodes.chunks(NODES_TOGETHER) {
        let patterns: Vec<&String> = nodes.iter().map(|node| &node.channels.pattern).collect();
        answered(sink.psubscribe(patterns)).await?;
        let channels: Vec<&String> = nodes
            .iter()
            .flat_map(|node| [&node.channels.response, &node.channels.own_response, &node.channels.request])
            .collect();
        answered(sink.subscribe(channels)).await?;
        for node in nodes {
            node.set_standing(Standing::Subscribed);
        }
    }
    Ok(())
}

async fn answered(command: impl Future<Output = RedisResult<()>>) -> Result<(), LinkError> {
    Ok(timeout(PATIENCE, command).await.map_err(|_| LinkError::Answer)??)
}

/// Sends the heartbeat from time to time.
async fn beat(
    connection: MultiplexedConnection,
    cluster: &Arc<Cluster>,
    heard: &watch::Sender<u64>,
) -> Result<Infallible, LinkError> {
    let mut number = 1;
    loop {
        sleep(cluster.config.heartbeat.max(MIN_HEARTBEAT)).await;
        cluster.questions.sweep(Instant::now());
        number += 1;
        pulse(connection.clone(), number, cluster, heard).await?;
    }
}

/// Publishes a number and waits until it is heard.
async fn pulse(
    mut connection: MultiplexedConnection,
    number: u64,
    cluster: &Arc<Cluster>,
    heard: &watch::Sender<u64>,
) -> Result<(), LinkError> {
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(&cluster.pulse).arg(number);
    let () = publish.query_async(&mut connection).await?;
    let mut heard = heard.subscribe();
    // Its reply may wait behind many others.
    let coming = timeout(cluster.config.request_timeout.max(PATIENCE), heard.wait_for(|heard| *heard >= number));
    match coming.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(LinkError::Heartbeat),
    }
}
