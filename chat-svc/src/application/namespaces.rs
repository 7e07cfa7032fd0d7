//! The namespaces whose events all go to the application: `TRIDENT_CALL_NAMESPACES`.

use std::time::SystemTime;

use edge::{Access, service::Service};
use socketio::{Ack, DisconnectReason, Event, Namespace, Socket, SocketIo};

use super::{
    calls::Application,
    rooms::{RoomNames, join_user},
};
use crate::{
    connect,
    member::{Place, counted_as},
    registration,
};

/// The client of a socket.
struct Guest(Access);

/// Opens the namespaces that the settings name.
pub(crate) fn open(io: &SocketIo, service: &Service) {
    for name in &service.edge.calls.settings().namespaces {
        listen(&io.of(name), service);
    }
}

fn listen(namespace: &Namespace, service: &Service) {
    let edge = service.edge.clone();
    namespace.middleware(async move |socket| {
        let access = connect::authenticate(&edge, &socket).await?;
        socket.insert(Guest(access));
        Ok(())
    });
    let entered = service.clone();
    namespace.on_connect(async move |socket| enter(&entered, &socket));
    namespace.on_disconnect(async move |socket, reason| {
        log::info!("{}: {} disconnected: {reason}", socket.namespace().name(), socket.id());
        registration::end(&socket, reason);
    });
    let (application, recording) = (Application::new(service, RoomNames::Plain), service.clone());
    namespace.on_any(async move |socket: Socket, event: Event, ack: Ack| {
        if let Some(guest) = socket.get::<Guest>() {
            registration::record(&recording, &socket, &event);
            application.answer(&socket, &guest.0, &event, &ack).await;
        }
    });
}

fn enter(service: &Service, socket: &Socket) {
    // A connection that has ended in the meantime has no slot.
    let (Some(guest), Some(place)) = (socket.get::<Guest>(), socket.connection().permit::<Place>()) else {
        socket.disconnect();
        return;
    };
    log::info!("{}: {} connected", socket.namespace().name(), socket.id());
    place.lock().change_transport(counted_as(socket.connection().transport()));
    registration::register_guest(socket, &guest.0);
    join_user(service, socket, &guest.0);
    if !socket.is_connected() {
        // Its end may have come before it was registered, and found nothing to clean up.
        return registration::end(socket, DisconnectReason::TransportClose);
    }
    if let Some(left) = guest.0.expires_in(SystemTime::now()) {
        connect::expire(socket, left);
    }
}
