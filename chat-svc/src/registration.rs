//! Sockets in the registry of connections: what each of them reads, and how it is ended from outside.
//!
//! The sockets of a connection are in different namespaces, and each is a client of its own: they may have different users.

use std::{
    borrow::Cow,
    sync::Arc,
    task::{Wake, Waker},
};

use bytes::Bytes;
use bytestring::ByteString;
use edge::{
    Access,
    connections::{ConnectionId, EndReason, Registration},
    events::MAX_DATA_BYTES,
    service::Service,
};
use shared::pure::ChannelName;
use socketio::{DisconnectReason, Event, Socket, WeakNamespace};

use crate::{
    member::{Member, Place, State, counted_as},
    wire,
};

/// Registers a socket with the channels of its member.
pub(crate) fn register(socket: &Socket, member: &Member) {
    let mut state = member.state();
    let registration = begin(socket, &member.access, &state.feed.names());
    state.feed.set_tag(registration.connection().id().tag());
    drop(state);
    keep(socket, registration);
}

/// As [`register`], for a socket that reads no channel.
pub(crate) fn register_guest(socket: &Socket, access: &Access) {
    keep(socket, begin(socket, access, &[]));
}

fn begin(socket: &Socket, access: &Access, channels: &[ChannelName]) -> Registration {
    let id = socket.id().parse().unwrap_or_else(|_| ConnectionId::random());
    access.register_as(id, counted_as(socket.connection().transport()), channels)
}

/// Stores the registration with the socket, which is closed when it has to end.
fn keep(socket: &Socket, registration: Registration) {
    let connection = registration.connection().clone();
    socket.insert(registration);
    let closing = Arc::new(Closing { namespace: socket.namespace().downgrade(), socket: socket.id().clone() });
    // Without the locks: if the connection is being ended at this moment, the waker is called here, and closing needs them.
    connection.wait(&Waker::from(closing.clone()));
    // It may have been ended before it had the waker.
    if connection.end().is_some() {
        closing.wake();
    }
}

/// The member of the socket reads other channels than before.
pub(crate) fn update(socket: &Socket, state: &State) {
    if let Some(registration) = socket.get::<Registration>() {
        registration.set_channels(&state.feed.names());
    }
}

/// The transport of the socket's connection may have changed.
pub(crate) fn update_transport(socket: &Socket) {
    let transport = counted_as(socket.connection().transport());
    if let Some(place) = socket.connection().permit::<Place>() {
        place.lock().change_transport(transport);
    }
    if let Some(registration) = socket.get::<Registration>() {
        registration.set_transport(transport);
    }
}

/// The token of the socket has expired, and its connection is about to end.
pub(crate) fn expire(socket: &Socket) {
    if let Some(registration) = socket.get::<Registration>() {
        registration.connection().ends_for(EndReason::Expired);
    }
}

/// The socket has disconnected: it is not in the registry any more.
pub(crate) fn end(socket: &Socket, reason: DisconnectReason) {
    let Some(registration) = socket.remove::<Registration>() else { return };
    registration.connection().ends_for(match reason {
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
}

/// Records an event of a client for the event feed, if it has such events.
pub(crate) fn record(service: &Service, socket: &Socket, event: &Event) {
    if !service.edge.events.has_client_events() {
        return;
    }
    let Some(registration) = socket.get::<Registration>() else { return };
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
    service.edge.limits.registry().emitted(registration.connection(), &event.name(), plain.as_deref());
}

/// Closes a connection when one of its sockets has to end. It has no reference to the socket, which has the registration.
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
