//! Handles messages of other servers.
//!
//! ```text
//! message ─▶ route (the namespace, and what its channel carries) ─▶ event    ─▶ Local::deliver
//!                                                                ─▶ request  ─▶ Local, ServerEvent ─▶ answer
//!                                                                ─▶ response ─▶ the question it answers
//! ```
//!
//! Invalid messages are counted and ignored.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use socketio::{AckSink, EncodedPacket, Namespace, OncePerSecond, Selector, ServerEvent, adapter::Local};

use crate::{
    cluster::{Carries, Cluster, Route},
    node::Node,
    wire::{
        WireError, event,
        request::{self, Asking, Request, Target, What},
        response,
    },
};

// Clients of other servers choose how often there is a reason for these.
static TOO_LARGE: OncePerSecond = OncePerSecond::new();
static TOO_MANY: OncePerSecond = OncePerSecond::new();
static PANICS: OncePerSecond = OncePerSecond::new();
static UNENCODED: OncePerSecond = OncePerSecond::new();

/// The default and maximum time for which sockets' answers are forwarded.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Handles a message that arrived by `subscription` on `channel`.
pub(crate) fn message(cluster: &Arc<Cluster>, subscription: &str, channel: &str, payload: &[u8]) {
    let Some(Route { node, what }) = cluster.route(subscription) else { return };
    let Some(namespace) = node.namespace.upgrade() else { return };
    if payload.len() > cluster.config.max_message_bytes {
        cluster.counters.ignored.inc();
        let bytes = payload.len();
        TOO_LARGE.log(|more| log::warn!("a message of {bytes} bytes on {channel} is ignored: it is too large{more}"));
        return;
    }
    // Handlers of server-side events belong to the application; a panic in one must not end the link.
    let done = catch_unwind(AssertUnwindSafe(|| match what {
        Carries::Events => on_event(cluster, &node, &namespace, channel, payload),
        Carries::Requests => on_request(cluster, &node, &namespace, payload),
        Carries::Responses => on_response(cluster, payload),
    }));
    match done {
        Ok(Ok(true)) => cluster.counters.received.inc(),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => {
            cluster.counters.ignored.inc();
            // Problems that an operator can fix, such as a size limit, are logged at a higher level.
            if matches!(error, WireError::TooMany) {
                TOO_MANY.log(|more| log::warn!("a message on {channel} is ignored: {error}{more}"));
            } else {
                log::debug!("a message on {channel} is ignored: {error}");
            }
        }
        Err(_) => PANICS.log(|more| log::error!("a handler for an event of another server panicked{more}")),
    }
}

/// Whether there was anything to do.
type Done = Result<bool, WireError>;

fn on_event(cluster: &Arc<Cluster>, node: &Node, namespace: &Namespace, channel: &str, payload: &[u8]) -> Done {
    let local = namespace.local();
    // Decided before anything is decoded: ignores this server's own messages, and those for a room without members here.
    let is_ours = |ours: &Vec<u8>| payload.starts_with(ours);
    if is_ours(&cluster.own_events) || cluster.aside_events.as_ref().is_some_and(is_ours) {
        return Ok(false);
    }
    if node.channels.room(channel).is_some_and(|room| !local.has_room(room)) {
        return Ok(false);
    }
    let Some(event) = event::decode(payload, namespace.name(), cluster.budget())? else { return Ok(false) };
    local.deliver(&event.to, &event.packet, event.volatile);
    Ok(true)
}

fn on_response(cluster: &Arc<Cluster>, payload: &[u8]) -> Done {
    let response = response::decode(payload, cluster.budget())?;
    // All servers receive the answers to each request.
    Ok(cluster.questions.answer(response))
}

fn on_request(cluster: &Arc<Cluster>, node: &Arc<Node>, namespace: &Namespace, payload: &[u8]) -> Done {
    let Request { uid, id, what } = request::decode(payload, namespace.name(), cluster.budget())?;
    let local = namespace.local();
    let is_own = uid.as_deref() == Some(&cluster.uid);
    let is_order = matches!(what, What::Join(..) | What::Leave(..) | What::Disconnect(..));
    if is_own {
        // Commands of this server are carried out here when they arrive, so that all servers carry out all commands in the same order; one
        // that was given up has been carried out earlier. Requests are for the other servers.
        let Some(id) = id.filter(|id| is_order && cluster.questions.is_open(id)) else { return Ok(false) };
        carry_out(local, &what);
        cluster.questions.heard(&id);
        return Ok(false);
    }
    let reply = |message: Vec<u8>| {
        cluster.answer(node.channels.response_to(uid.as_deref(), cluster.config.specific_responses), message);
    };
    match what {
        What::Join(..) | What::Leave(..) | What::Disconnect(..) => {
            let asked = match &what {
                What::Join(Target::One(sid), _)
                | What::Leave(Target::One(sid), _)
                | What::Disconnect(Target::One(sid), _) => local.socket(sid).is_some(),
                _ => false,
            };
            carry_out(local, &what);
            if let (true, Some(id)) = (asked, &id) {
                reply(response::encode_done(id)?);
            }
        }
        What::Sockets(to) => {
            let id = id.ok_or(WireError::Shape("the request id"))?;
            let ids: Vec<_> = local.handles(&to).iter().map(|socket| socket.id().clone()).collect();
            reply(response::encode_ids(&id, &ids)?);
        }
        What::AllRooms => {
            let id = id.ok_or(WireError::Shape("the request id"))?;
            let mut rooms: Vec<_> = local.rooms().into_iter().map(|(room, _)| room).collect();
            rooms.extend(local.handles(&Selector::default()).iter().map(|socket| socket.id().clone()));
            reply(response::encode_rooms(&id, &rooms)?);
        }
        What::Fetch(to) => {
            let id = id.ok_or(WireError::Shape("the request id"))?;
            reply(response::encode_sockets(&id, &local.handles(&to))?);
        }
        What::ServerSideEmit(payload) => {
            let event = match id {
                None => ServerEvent::new(payload),
                Some(id) => ServerEvent::with_answer(payload, answering(cluster, node, id)),
            };
            namespace.receive_server_event(&event);
        }
        What::Broadcast(None) => return Ok(false),
        What::Broadcast(Some(asking)) => {
            let id = id.ok_or(WireError::Shape("the request id"))?;
            ask_sockets(cluster, node, namespace, uid.as_deref(), id, asking)?;
        }
    }
    Ok(true)
}

/// Carries out a command on the sockets of this server.
fn carry_out(local: &Local, what: &What) {
    let selector = |target: &Target| match target {
        Target::Many(to) => to.clone(),
        Target::One(sid) => Selector::one(sid.clone()),
    };
    match what {
        What::Join(target, rooms) => local.join(&selector(target), rooms),
        What::Leave(target, rooms) => local.leave(&selector(target), rooms),
        What::Disconnect(target, close) => local.disconnect(&selector(target), *close),
        _ => {}
    }
}

/// Sends the application's answer to the server that asked.
fn answering(cluster: &Arc<Cluster>, node: &Arc<Node>, id: String) -> impl FnOnce(serde_json::Value) + Send + 'static {
    let (cluster, node) = (cluster.clone(), node.clone());
    move |answer| match response::encode_server_ack(&id, &answer) {
        // To all, as Node does, whatever the setting.
        Ok(message) => cluster.answer(node.channels.response.clone(), message),
        Err(error) => UNENCODED.log(|more| log::warn!("an answer to another server cannot be encoded: {error}{more}")),
    }
}

/// Sends an event to sockets here; reports their number and their answers to the server that asked.
fn ask_sockets(
    cluster: &Arc<Cluster>,
    node: &Arc<Node>,
    namespace: &Namespace,
    uid: Option<&str>,
    id: String,
    asking: Asking,
) -> Result<(), WireError> {
    let Asking { packet, to, timeout } = asking;
    let local = namespace.local();
    let number = local.next_ack_id();
    let channel = node.channels.response_to(uid, cluster.config.specific_responses);
    let acks = {
        let (cluster, id, channel) = (cluster.clone(), id.clone(), channel.clone());
        AckSink::new(move |answer| {
            // As in Node, nothing is sent for sockets that have disconnected: the server that asked waits until its timeout.
            let Ok(answer) = answer else { return };
            match response::encode_ack(&id, &answer) {
                Ok(message) => cluster.answer(channel.clone(), message),
                Err(error) => log::debug!("an answer cannot be forwarded: {error}"),
            }
        })
    };
    let asked = local.deliver_with_ack(&to, &EncodedPacket::from(packet).with_ack_id(number), &acks);
    cluster.answer(channel, response::encode_client_count(&id, asked)?);
    if asked > 0 {
        let wait = timeout.unwrap_or(cluster.config.request_timeout).min(MAX_WAIT);
        let namespace = namespace.downgrade();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(namespace) = namespace.upgrade() {
                namespace.local().forget_acks(&to, number);
            }
        });
    }
    Ok(())
}
