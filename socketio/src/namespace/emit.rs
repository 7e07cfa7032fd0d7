//! Sending to the sockets of a namespace, and to the namespaces of other servers.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::Namespace;
use crate::{BroadcastOperator, IntoRooms, Sending, ServerResponses};

impl Namespace {
    /// Selects all sockets in these rooms. Several calls add up; each socket is reached once.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// The same as [`to`](Self::to), for readability before `fetch_sockets`.
    pub fn in_(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Selects all sockets except those in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Selects all sockets on this server.
    pub fn on_this_server(&self) -> BroadcastOperator {
        self.broadcast().local()
    }

    /// Selects all sockets that are not busy.
    pub fn volatile(&self) -> BroadcastOperator {
        self.broadcast().volatile()
    }

    /// Selects all sockets, with a timeout for answers.
    pub fn timeout(&self, timeout: Duration) -> BroadcastOperator {
        self.broadcast().timeout(timeout)
    }

    /// Selects all sockets.
    pub fn broadcast(&self) -> BroadcastOperator {
        BroadcastOperator::new(self.clone())
    }

    /// Sends an event to all sockets; see [`BroadcastOperator::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Sending {
        self.broadcast().emit(event, args)
    }

    /// Sends an event to the namespaces of this name on the other servers, where [`on_server_event`](Self::on_server_event) receives it. A
    /// tuple is several arguments, `()` is no argument, anything else is one. Only JSON values are certain to arrive unchanged.
    ///
    /// The event has been sent when this returns. Await the result for an error: the arguments cannot be encoded, or the other servers
    /// cannot be reached.
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Sending {
        match self.payload(event, args) {
            Ok(event) => Sending::begin(self.clone(), async move |namespace| {
                namespace.adapter().server_side_emit(namespace.local(), event).await
            }),
            Err(error) => Sending::done(self.clone(), Err(error)),
        }
    }

    /// The same, and waits until each of the other servers has answered with
    /// [`ServerEvent::answer`](crate::ServerEvent::answer), or the adapter's timeout.
    ///
    /// # Errors
    /// When the arguments cannot be encoded, or the other servers cannot be reached.
    pub fn server_side_emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> ServerResponses<R> {
        ServerResponses::new(match self.payload(event, args) {
            Ok(event) => Sending::begin(self.clone(), async move |namespace| {
                namespace.adapter().server_side_emit_with_ack(namespace.local(), event).await
            }),
            Err(error) => Sending::done(self.clone(), Err(error)),
        })
    }
}
