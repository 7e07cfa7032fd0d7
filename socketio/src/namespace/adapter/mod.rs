//! Connects rooms with a cluster.
//!
//! ```text
//! io.to("room").emit ─▶ Adapter::broadcast ─▶ (other servers, a log, …) ─▶ Local::deliver ─▶ sockets of this server
//! another server ─▶ the adapter, which knows the namespace from Adapter::opened ─▶ Local, Namespace::receive_server_event
//! connect   ─▶ Adapter::enter ─▶ the socket, in the namespace
//! reconnect ─▶ Adapter::restore_session ─▶ Adapter::resume ─▶ the socket, in its rooms, and behind its CONNECT packet what it missed
//! ```
//!
//! Every method has a default for a single server, which uses the [`Local`] part of a namespace that each call gets. An adapter for a
//! cluster overrides the methods that have to reach other servers, and calls [`Local`] for their requests to this one.
//!
//! Adapters stack: one that adds a feature, such as recovery, owns another as `Arc<dyn Adapter>` and forwards to it every method that it
//! does not override. It has to forward [`opened`](Adapter::opened) and [`closed`](Adapter::closed), too, or the inner one never learns of
//! a namespace, and likewise [`joined`](Adapter::joined) and [`left`](Adapter::left).

mod local;
mod missed;
pub(crate) mod recovery;

use std::{future::Future, pin::Pin, time::Duration};

use bytestring::ByteString;

pub use self::local::{Local, SocketInfo};
pub use self::missed::Missed;
pub use self::recovery::LocalAdapter;
pub use super::error::AdapterError;
pub use crate::engine::SendError;
use crate::{
    AckSink, EncodedPacket, Namespace, Responses, Room, Selector, Socket, SocketData, socket::packet::Payload,
};

/// A future that any thread may run.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An event for many sockets.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// The event, encoded once.
    pub packet: EncodedPacket,
    /// The receivers.
    pub to: Selector,
    /// It may be dropped for busy clients, and is not kept for disconnected ones.
    pub volatile: bool,
    /// For the sockets of this server only.
    pub local: bool,
}

/// A session that a client may resume.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The socket's id.
    pub sid: ByteString,
    /// The secret by which the client asks for the session.
    pub pid: ByteString,
    /// The rooms besides its own.
    pub rooms: Vec<Room>,
    /// The last value of [`Socket::set_data`](crate::Socket::set_data).
    pub data: SocketData,
    /// The offset that [`Adapter::enter`] returned when the session began: where it resumes if its client has not received an offset yet.
    pub start: Option<ByteString>,
}

/// A session that was found.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The session.
    pub session: Session,
    /// The offset that the client sent.
    pub offset: String,
    /// The packets that it missed, in order. [`Adapter::resume`] may add more.
    pub missed: Vec<EncodedPacket>,
}

/// Adds a restored socket to its rooms and sends what it missed after its CONNECT packet. Call it at most once, under the lock that keeps
/// broadcasts out in between. Returns whether the socket was added: its connection may have ended in the meantime, and then the session has
/// to be kept.
pub type Admit<'a> = &'a mut dyn FnMut(Missed) -> bool;

/// Admits a new socket, whose session begins at this offset.
pub type Enter<'a> = &'a mut dyn FnMut(Option<String>);

/// Operations on many sockets, which may be on several servers.
///
/// One adapter serves all namespaces of a server; `local` identifies the namespace.
///
/// **Guarantee.** When the future of [`broadcast`](Self::broadcast) has completed without error, each socket that matched from before
/// the call until its end has been or will be given the packet, or it has a recoverable session that will be given it when it is resumed.
/// Two broadcasts started one after the other on one thread arrive in this order. Without the guarantee for sessions, a client that is
/// disconnected between a message and the next poll would silently lose that message.
#[allow(unused_variables)]
pub trait Adapter: Send + Sync + 'static {
    /// A namespace has been created. Pass data of other servers for its sockets to [`Namespace::local`], and their events to
    /// [`Namespace::receive_server_event`]. The namespace owns the adapter, so keep only [`Namespace::downgrade`].
    ///
    /// Called while namespaces are locked, in the order in which they are created and removed. It must not ask
    /// [`SocketIo`](crate::SocketIo) for namespaces, and must not block.
    fn opened(&self, namespace: &Namespace) {}

    /// A dynamic namespace has been removed with its last socket. Called like [`opened`](Self::opened); one of the same name may be opened
    /// later.
    fn closed(&self, local: &Local) {}

    /// The number of servers, including this one.
    fn server_count<'a>(&'a self, local: &'a Local) -> BoxFuture<'a, Result<usize, AdapterError>> {
        Box::pin(std::future::ready(Ok(1)))
    }

    /// Sends an event to the matching sockets.
    fn broadcast<'a>(&'a self, local: &'a Local, broadcast: Broadcast) -> BoxFuture<'a, Result<(), AdapterError>> {
        local.deliver(&broadcast.to, &broadcast.packet, broadcast.volatile);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends an event to one socket of this server. Synchronous, so that an event and a following ack keep their order.
    ///
    /// Adapters that store packets for recovery append the offset here. An event that is rejected with [`SendError::Full`] must not be
    /// stored: its sender gets the error.
    fn send(&self, local: &Local, sid: &ByteString, packet: EncodedPacket, volatile: bool) -> Result<(), SendError> {
        local.send(sid, &packet, volatile)
    }

    /// Sends an event that requests an answer to the matching sockets; each answer goes into `acks`. The packet has its id. Returns the
    /// number of sockets that were asked.
    fn broadcast_with_ack<'a>(
        &'a self,
        local: &'a Local,
        broadcast: Broadcast,
        timeout: Duration,
        acks: AckSink,
    ) -> BoxFuture<'a, Result<usize, AdapterError>> {
        let asked = local.deliver_with_ack(&broadcast.to, &broadcast.packet, &acks);
        Box::pin(std::future::ready(Ok(asked)))
    }

    /// The matching sockets.
    fn fetch_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
    ) -> BoxFuture<'a, Result<Vec<SocketInfo>, AdapterError>> {
        Box::pin(std::future::ready(Ok(local.sockets(&to))))
    }

    /// Puts the matching sockets into rooms.
    fn join_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        rooms: Vec<Room>,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        local.join(&to, &rooms);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Removes the matching sockets from rooms.
    fn leave_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        rooms: Vec<Room>,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        local.leave(&to, &rooms);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Disconnects the matching sockets, or their whole connections if `close`.
    fn disconnect_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        close: bool,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        local.disconnect(&to, close);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends an event to the other servers: its name and arguments, `["name", …]`. Does nothing if there are no other servers.
    fn server_side_emit<'a>(&'a self, local: &'a Local, event: Payload) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends an event to the other servers and waits for one answer of each, up to the adapter's timeout.
    fn server_side_emit_with_ack<'a>(
        &'a self,
        local: &'a Local,
        event: Payload,
    ) -> BoxFuture<'a, Result<Responses<serde_json::Value>, AdapterError>> {
        Box::pin(std::future::ready(Ok(Responses { answers: Vec::new(), missing: 0 })))
    }

    /// A socket of this server has joined rooms.
    fn joined(&self, local: &Local, sid: &ByteString, rooms: &[Room]) {}

    /// A socket of this server has left rooms, by request or because it ended.
    fn left(&self, local: &Local, sid: &ByteString, rooms: &[Room]) {}

    /// A socket has been disconnected, for a reason that allows it to resume its session within `keep`.
    fn persist_session(&self, local: &Local, session: Session, keep: Duration) {}

    /// Calls `enter`, which admits a new socket. An adapter that stores packets for recovery passes the offset of the latest one, and sends
    /// nothing to the namespace in the meantime.
    fn enter(&self, local: &Local, enter: Enter<'_>) {
        enter(None);
    }

    /// Looks for the session that a client asks for. `offset` is that of the last event that the client received; it is empty if the client
    /// has received no event with an offset since the session began.
    ///
    /// A returned session is followed by [`resume`](Self::resume), or by [`release_session`](Self::release_session) if the socket is not
    /// admitted. Until then the session keeps its deadline.
    fn restore_session<'a>(
        &'a self,
        local: &'a Local,
        pid: &'a str,
        offset: &'a str,
    ) -> BoxFuture<'a, Option<Restored>> {
        Box::pin(std::future::ready(None))
    }

    /// Calls `admit` with the packets that the socket missed, at a moment when nothing can be sent to its rooms between the last of these
    /// packets and its presence in them. The session then belongs to its socket again.
    ///
    /// The middlewares have admitted `socket`, which is not in its rooms yet. If `admit` is not called, the client gets a new session: the
    /// old one cannot be continued, for example because packets after [`restore_session`](Self::restore_session) are no longer stored.
    fn resume(&self, local: &Local, socket: &Socket, restored: Restored, admit: Admit<'_>) {
        admit(restored.missed.into());
    }

    /// A restored session is not resumed: a middleware rejected the socket or panicked, or its connection has ended. The client may ask for
    /// the session again until its original deadline.
    fn release_session(&self, local: &Local, restored: Restored) {}

    /// The id of a new socket. The default is random; a cluster may encode the server in it. Ids must not be guessable.
    fn new_sid(&self, local: &Local) -> Option<ByteString> {
        crate::engine::Sid::random().ok().map(|sid| sid.as_str().into())
    }
}
