//! The sockets of the chat in the registry of connections: what each of them reads, and how it is ended from outside.

use std::{
    sync::Arc,
    task::{Wake, Waker},
};

use bytestring::ByteString;
use edge::{
    Access,
    connections::{Connection, ConnectionId},
};
use socketio::{Socket, WeakNamespace};

use crate::{
    connect::Place,
    member::{Member, State},
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
