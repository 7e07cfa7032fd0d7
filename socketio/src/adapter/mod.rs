//! What stands between rooms and a cluster.
//!
//! ```text
//! io.to("room").emit ─▶ Adapter::broadcast ─▶ (other servers, a log, …) ─▶ Local::deliver ─▶ sockets of this server
//! another server ─▶ the adapter, which knows the namespace from Adapter::opened ─▶ Local, Namespace::receive_server_event
//! connect   ─▶ Adapter::enter ─▶ the socket, in the namespace
//! reconnect ─▶ Adapter::restore_session ─▶ Adapter::resume ─▶ the socket, in its rooms, and behind its CONNECT packet what it missed
//! ```
//!
//! Every method has a default that serves one server alone, on the [`Local`] part of a namespace that each call is given. An
//! adapter for a cluster overrides what must reach further, and calls [`Local`] for what other servers ask of this one.
//!
//! Adapters stack: one that adds something of its own, such as recovery, holds another as `Arc<dyn Adapter>` and passes on to it
//! every method that it does not override. [`opened`](Adapter::opened) and [`closed`](Adapter::closed) belong to these, or the inner one never hears
//! of a namespace; so do [`joined`](Adapter::joined) and [`left`](Adapter::left).

mod local;
mod missed;
pub(crate) mod recovery;

use std::{future::Future, pin::Pin, time::Duration};

use bytestring::ByteString;

pub use self::local::{Local, SocketInfo};
pub use self::missed::Missed;
pub use self::recovery::LocalAdapter;
pub use crate::engine::SendError;
use crate::{
    AckSink, EncodedPacket, Namespace, Responses, Room, Selector, Socket, SocketData, socket::packet::Payload,
};

/// A future that any thread may run.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What went wrong between servers.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct AdapterError(pub String);

/// An event on its way to many.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// The event, encoded once.
    pub packet: EncodedPacket,
    /// For whom.
    pub to: Selector,
    /// It may be dropped for those who are busy, and is not kept for those who are away.
    pub volatile: bool,
    /// For the sockets of this server only.
    pub local: bool,
}

/// A session that a client may come back to.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The socket's id.
    pub sid: ByteString,
    /// The secret by which the client asks for the session.
    pub pid: ByteString,
    /// The rooms besides its own.
    pub rooms: Vec<Room>,
    /// What [`Socket::set_data`](crate::Socket::set_data) said last.
    pub data: SocketData,
    /// The offset that [`Adapter::enter`] gave when the session began: where it continues if its client has seen no offset yet.
    pub start: Option<ByteString>,
}

/// A session found again.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The session.
    pub session: Session,
    /// The offset that the client brought.
    pub offset: String,
    /// What it missed, in order. [`Adapter::resume`] may complete it.
    pub missed: Vec<EncodedPacket>,
}

/// Lets a restored socket into its rooms, with what it missed behind its CONNECT packet: to be called at most once, with whatever lock held
/// that keeps broadcasts out in between. Whether it is in: its connection may have ended meanwhile, and the session is then to be kept.
pub type Admit<'a> = &'a mut dyn FnMut(Missed) -> bool;

/// Lets a new socket in, whose session begins at this offset.
pub type Enter<'a> = &'a mut dyn FnMut(Option<String>);

/// Carries what concerns many sockets, which may be on many servers.
///
/// One adapter serves all namespaces of a server; the namespace is told by `local`.
///
/// **Guarantee.** When the future of [`broadcast`](Self::broadcast) has ended well, each socket that matched from before the call until
/// its end has been given the packet or will be, or is a recoverable session that will be given it when it comes back. Two broadcasts
/// started one after the other on one thread arrive in this order. Without the second half of the first sentence a client that is
/// cut off between a message and the next poll would silently lose that message.
#[allow(unused_variables)]
pub trait Adapter: Send + Sync + 'static {
    /// A namespace is there from now on. What other servers have for its sockets is given to [`Namespace::local`], and their events
    /// to [`Namespace::receive_server_event`]. The namespace holds the adapter, so what is kept here is [`Namespace::downgrade`].
    ///
    /// Called while namespaces are locked: calls in the order of what happened, which must not come back to the
    /// [`SocketIo`](crate::SocketIo) for namespaces, nor block.
    fn opened(&self, namespace: &Namespace) {}

    /// A dynamic namespace is gone with its last socket. Called as [`opened`](Self::opened); one of the same name may be opened after.
    fn closed(&self, local: &Local) {}

    /// How many servers there are, this one included.
    fn server_count<'a>(&'a self, local: &'a Local) -> BoxFuture<'a, Result<usize, AdapterError>> {
        Box::pin(std::future::ready(Ok(1)))
    }

    /// Sends an event to the sockets that match.
    fn broadcast<'a>(&'a self, local: &'a Local, broadcast: Broadcast) -> BoxFuture<'a, Result<(), AdapterError>> {
        local.deliver(&broadcast.to, &broadcast.packet, broadcast.volatile);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends an event to one socket of this server. Synchronous, so that an event and the ack behind it keep their order.
    ///
    /// For adapters that keep packets for recovery: here is where to append the offset. What is refused with [`SendError::Full`] must not be
    /// kept: its sender knows.
    fn send(&self, local: &Local, sid: &ByteString, packet: EncodedPacket, volatile: bool) -> Result<(), SendError> {
        local.send(sid, &packet, volatile)
    }

    /// Sends an event that wants an answer to the sockets that match, each answer into `acks`. The packet has its id. Gives the number of
    /// sockets that were asked.
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

    /// The sockets that match.
    fn fetch_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
    ) -> BoxFuture<'a, Result<Vec<SocketInfo>, AdapterError>> {
        Box::pin(std::future::ready(Ok(local.sockets(&to))))
    }

    /// Puts the sockets that match into rooms.
    fn join_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        rooms: Vec<Room>,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        local.join(&to, &rooms);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Takes the sockets that match out of rooms.
    fn leave_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        rooms: Vec<Room>,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        local.leave(&to, &rooms);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Disconnects the sockets that match, or their whole connections if `close`.
    fn disconnect_sockets<'a>(
        &'a self,
        local: &'a Local,
        to: Selector,
        close: bool,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        local.disconnect(&to, close);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends an event to the other servers: its name and arguments, `["name", …]`. Alone, there are none.
    fn server_side_emit<'a>(&'a self, local: &'a Local, event: Payload) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends an event to the other servers and waits for one answer of each, for as long as the adapter is set to.
    fn server_side_emit_with_ack<'a>(
        &'a self,
        local: &'a Local,
        event: Payload,
    ) -> BoxFuture<'a, Result<Responses<serde_json::Value>, AdapterError>> {
        Box::pin(std::future::ready(Ok(Responses { answers: Vec::new(), missing: 0 })))
    }

    /// A socket of this server has joined rooms.
    fn joined(&self, local: &Local, sid: &ByteString, rooms: &[Room]) {}

    /// A socket of this server has left rooms, by itself or by its end.
    fn left(&self, local: &Local, sid: &ByteString, rooms: &[Room]) {}

    /// A socket has been cut off, for a reason that allows it to come back within `keep`.
    fn persist_session(&self, local: &Local, session: Session, keep: Duration) {}

    /// Calls `enter`, which lets a new socket in. An adapter that keeps packets for recovery names the offset of the latest one, and sends
    /// nothing to the namespace meanwhile.
    fn enter(&self, local: &Local, enter: Enter<'_>) {
        enter(None);
    }

    /// Looks for the session that a client asks for. `offset` is that of the last event that the client has, and empty if it has received
    /// none with an offset since the session began.
    ///
    /// What comes back is followed by [`resume`](Self::resume), or by [`release_session`](Self::release_session) if the socket is not let in.
    /// Until then the session keeps its deadline.
    fn restore_session<'a>(
        &'a self,
        local: &'a Local,
        pid: &'a str,
        offset: &'a str,
    ) -> BoxFuture<'a, Option<Restored>> {
        Box::pin(std::future::ready(None))
    }

    /// Calls `admit` with what the socket missed, at a moment where nothing can be sent to its rooms between the last of these
    /// packets and its presence in them; the session is then its socket's again.
    ///
    /// `socket` is what the middlewares have let in, and not in its rooms yet. Without a call of `admit` the client gets a new session: the
    /// session cannot continue, for example since what came after [`restore_session`](Self::restore_session) is no longer stored.
    fn resume(&self, local: &Local, socket: &Socket, restored: Restored, admit: Admit<'_>) {
        admit(restored.missed.into());
    }

    /// A restored session is not resumed: a middleware refused the socket or panicked, or its connection has ended. The client may ask for
    /// the session again until the deadline that it had.
    fn release_session(&self, local: &Local, restored: Restored) {}

    /// The id of a new socket. The default is random; a cluster may want to tell its servers apart by it. Ids must not be guessable.
    fn new_sid(&self, local: &Local) -> Option<ByteString> {
        crate::engine::Sid::random().ok().map(|sid| sid.as_str().into())
    }
}
