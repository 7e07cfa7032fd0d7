//! The sockets of the chat in the registry of connections: what each of them reads, and how it is ended from outside.

use std::{
    borrow::Cow,
    sync::Arc,
    task::{Wake, Waker},
};

use bytes::Bytes;
use bytestring::ByteString;
use edge::{
    Access,
    connections::{Connection, ConnectionId, EndReason},
    events::MAX_DATA_BYTES,
    service::Service,
};
use socketio::{DisconnectReason, Event, Socket, WeakNamespace};

use crate::{
    connect::Place,
    member::{Member, State},
    wire,
};

/// Registers the connection of a socket under the id of the socket, with the channels of its member.
pub(crate) fn register(socket: &Socket, member: &Member) {
    let connection = {
        let state = member.state();
        let mut place = member.place.lock();
        member.access.register_as(&mut place, id(socket), &state.feed.names())
    };
    close_with(socket, &connection);
}

/// As [`register`], for a socket that reads no channel, unless another socket of the connection has registered it.
pub(crate) fn register_guest(socket: &Socket, access: &Access, place: &Place) {
    let connection = {
        let mut place = place.lock();
        if place.is_registered() {
            return;
        }
        access.register_as(&mut place, id(socket), &[])
    };
    close_with(socket, &connection);
}

fn id(socket: &Socket) -> ConnectionId {
    socket.id().parse().unwrap_or_else(|_| ConnectionId::random())
}

/// Closes a socket when its connection has to end.
fn close_with(socket: &Socket, connection: &Connection) {
    let closing = Arc::new(Closing { namespace: socket.namespace().downgrade(), socket: socket.id().clone() });
    // Without the locks: if the connection is being ended at this moment, the waker is called here, and closing needs them.
    connection.wait(&Waker::from(closing.clone()));
    // It may have been ended before it had the waker.
    if connection.end().is_some() {
        closing.wake();
    }
}

/// The member reads other channels than before.
pub(crate) fn update(member: &Member, state: &State) {
    member.place.lock().set_channels(&state.feed.names());
}

/// The member has left the chat: its connection reads nothing any more, and will end.
pub(crate) fn end(member: &Member, reason: DisconnectReason) {
    let place = member.place.lock();
    place.ends_for(match reason {
        DisconnectReason::PingTimeout => EndReason::Timeout,
        DisconnectReason::ClientNamespaceDisconnect => EndReason::Left,
        DisconnectReason::ServerShuttingDown => EndReason::Shutdown,
        DisconnectReason::ParseError
        | DisconnectReason::ForcedServerClose
        | DisconnectReason::OutboxOverflow
        | DisconnectReason::HandlerOverflow
        | DisconnectReason::RateLimit => EndReason::Refused,
        _ => EndReason::Closed,
    });
    place.set_channels(&[]);
}

/// Records an event of a client for the event feed, if it has such events.
pub(crate) fn record(service: &Service, place: &Place, event: &Event) {
    if !service.edge.events.has_client_events() {
        return;
    }
    let Some(connection) = place.lock().connection().cloned() else { return };
    let payload = event.payload();
    let (json, attachments) = (payload.json(), payload.attachments());
    let plain = if attachments.is_empty() {
        Some(Cow::Borrowed(&**json))
    } else {
        // Base64 is longer, so that more is left out than what is recorded.
        let bytes = json.len() + attachments.iter().map(Bytes::len).sum::<usize>();
        let payload = (bytes <= MAX_DATA_BYTES).then(|| wire::payload(json, attachments).ok()).flatten();
        payload.map(|payload| Cow::Owned(payload.plain_json().into_owned()))
    };
    service.edge.limits.registry().emitted(&connection, &event.name(), plain.as_deref());
}

/// Closes a socket when its connection has to end. It has no reference to the socket, whose member has the registration.
struct Closing {
    namespace: WeakNamespace,
    socket: ByteString,
}

impl Wake for Closing {
    fn wake(self: Arc<Self>) {
        if let Some(socket) = self.namespace.upgrade().and_then(|namespace| namespace.socket(&self.socket)) {
            log::info!("chat: {} is disconnected by a backend", self.socket);
            // The client is notified in its namespaces, after which it does not reconnect automatically.
            socket.close_connection();
        }
    }
}
