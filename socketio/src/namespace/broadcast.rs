//! Broadcasts: first select the sockets, then send the event.

mod answers;
mod remote;
mod sending;

use std::time::Duration;

use actix_web::rt::time::Instant;
use serde::{Serialize, de::DeserializeOwned};

use self::answers::Gathered;
pub use self::{
    answers::{AckStream, Answer, ResponsesFuture},
    remote::RemoteSocket,
    sending::Sending,
};
use crate::{
    EmitError, EncodedPacket, IntoRooms, Namespace, Selector, adapter::Broadcast, namespace::answer::MAX_TIMEOUT,
    socket::packet::Packet,
};

/// The timeout for answers to a broadcast, by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A selection of sockets. Rooms add up: `to("a").to("b")` selects the sockets in either room, each once.
///
/// ```no_run
/// # async fn example(io: socketio::SocketIo) -> Result<(), Box<dyn std::error::Error>> {
/// io.to(["team-1", "team-2"]).except("muted").emit("goal", &(2, 1));
/// for socket in io.in_("team-1").fetch_sockets().await? {
///     println!("{}", socket.id);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a selection does nothing until a method is called on it"]
pub struct BroadcastOperator {
    namespace: Namespace,
    to: Selector,
    volatile: bool,
    local: bool,
    timeout: Duration,
}

impl BroadcastOperator {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self { namespace, to: Selector::default(), volatile: false, local: false, timeout: DEFAULT_TIMEOUT }
    }

    /// Adds these rooms.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.to.rooms.extend(rooms.into_rooms());
        self
    }

    /// The same as [`to`](Self::to).
    pub fn in_(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Excludes the sockets in these rooms.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.to.except.extend(rooms.into_rooms());
        self
    }

    /// Selects only sockets on this server.
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Skip clients that are busy, and do not keep the event for clients that are disconnected.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// The timeout for answers. Default 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends an event. It has been sent when this returns, and delivered if there is only one server. Await the result for an error of the
    /// other servers; dropping it does not cancel the event.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Sending {
        match self.namespace.encode(event, args) {
            Ok(packet) => self.send(packet),
            Err(error) => Sending::done(self.namespace.clone(), Err(error)),
        }
    }

    /// Sends a packet that has been encoded already.
    pub fn send(&self, packet: EncodedPacket) -> Sending {
        let namespace = self.namespace.clone();
        if !self.volatile && self.is_full(packet.size()) {
            namespace.counters().outbox_full.inc();
            return Sending::done(namespace, Err(EmitError::Full));
        }
        let broadcast = self.broadcast(packet);
        // Started immediately, so that two broadcasts in a row keep their order.
        Sending::begin_anywhere(namespace, async move |namespace| {
            namespace.adapter().broadcast(namespace.local(), broadcast).await
        })
    }

    /// Whether the sender is at fault if this is rejected: the message is larger than the limit of a client, or too much has been sent
    /// since the clients' transports last ran.
    fn is_full(&self, len: usize) -> bool {
        let limit = self.namespace.config().max_pending_bytes;
        (limit > 0 && len > limit) || self.namespace.local().is_filled_by_a_burst(&self.to, len, limit)
    }

    fn broadcast(&self, packet: EncodedPacket) -> Broadcast {
        Broadcast { packet, to: self.to.clone(), volatile: self.volatile, local: self.local }
    }

    /// Sends an event and waits for the answers of all sockets, or the timeout. All get the same packet. The event is sent, and the timeout
    /// starts, with this call, whenever the result is first awaited.
    ///
    /// The result is an error when the event cannot be encoded, or other servers cannot be reached.
    pub fn emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> ResponsesFuture<R> {
        ResponsesFuture::new(self.emit_with_acks(event, args))
    }

    /// The same, with each answer as it arrives and the socket that sent it.
    ///
    /// ```no_run
    /// # async fn example(io: socketio::SocketIo) {
    /// let mut answers = io.to("players").timeout(std::time::Duration::from_secs(5)).emit_with_acks::<String>("ready?", &());
    /// while let Some(answer) = answers.next().await {
    ///     println!("{:?}: {:?}", answer.from, answer.result);
    /// }
    /// # }
    /// ```
    pub fn emit_with_acks<R: DeserializeOwned>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckStream<R> {
        let namespace = self.namespace.clone();
        let payload = match namespace.payload(event, args) {
            Ok(payload) => payload,
            Err(error) => return AckStream::failed(namespace, error),
        };
        let id = namespace.local().next_ack_id();
        let packet = EncodedPacket::from(Packet::event(namespace.name().clone(), Some(id), payload));
        if self.is_full(packet.size()) {
            namespace.counters().outbox_full.inc();
            return AckStream::failed(namespace, EmitError::Full);
        }
        let deadline = Instant::now() + self.timeout.min(MAX_TIMEOUT);
        let (gathered, sink) = Gathered::new();
        let asking = if self.local {
            Sending::done(namespace.clone(), Ok(namespace.local().deliver_with_ack(&self.to, &packet, &sink)))
        } else {
            let (broadcast, timeout) = (self.broadcast(packet), self.timeout);
            Sending::begin(namespace, async move |namespace| {
                namespace.adapter().broadcast_with_ack(namespace.local(), broadcast, timeout, sink).await
            })
        };
        AckStream::new(asking, self.to.clone(), id, gathered, deadline)
    }

    /// The selected sockets, on all servers.
    ///
    /// # Errors
    /// When other servers cannot be reached.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, EmitError> {
        let local = self.namespace.local();
        let found = match self.local {
            true => local.sockets(&self.to),
            false => self.namespace.adapter().fetch_sockets(local, self.to.clone()).await?,
        };
        Ok(found.into_iter().map(|info| RemoteSocket::new(self.namespace.clone(), info)).collect())
    }

    /// Puts the matching sockets into rooms. The request has been sent when this returns; await the result for errors.
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Sending {
        let (namespace, to, rooms) = (self.namespace.clone(), self.to.clone(), rooms.into_rooms());
        if self.local {
            namespace.local().join(&to, &rooms);
            return Sending::done(namespace, Ok(()));
        }
        Sending::begin(namespace, async move |namespace| {
            namespace.adapter().join_sockets(namespace.local(), to, rooms).await
        })
    }

    /// Removes the matching sockets from rooms. The request has been sent when this returns; await the result for errors.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Sending {
        let (namespace, to, rooms) = (self.namespace.clone(), self.to.clone(), rooms.into_rooms());
        if self.local {
            namespace.local().leave(&to, &rooms);
            return Sending::done(namespace, Ok(()));
        }
        Sending::begin(namespace, async move |namespace| {
            namespace.adapter().leave_sockets(namespace.local(), to, rooms).await
        })
    }

    /// Disconnects the matching sockets, or their whole connections if `close`. The request has been sent when this returns; await the
    /// result for errors.
    pub fn disconnect_sockets(&self, close: bool) -> Sending {
        let (namespace, to) = (self.namespace.clone(), self.to.clone());
        if self.local {
            namespace.local().disconnect(&to, close);
            return Sending::done(namespace, Ok(()));
        }
        Sending::begin(namespace, async move |namespace| {
            namespace.adapter().disconnect_sockets(namespace.local(), to, close).await
        })
    }
}
