//! A socket found by [`fetch_sockets`](super::BroadcastOperator::fetch_sockets), here or on another server.

use std::{ops::Deref, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{BroadcastOperator, Sending};
use crate::{AckError, IntoRooms, Namespace, Socket, SocketInfo};

/// A socket, on this server or another: its state at the time of the query, and methods to act on it.
///
/// ```no_run
/// # async fn example(io: socketio::SocketIo) -> Result<(), socketio::EmitError> {
/// for socket in io.in_("lobby").fetch_sockets().await? {
///     socket.emit("moved", &"hall").await?;
///     socket.leave("lobby").await?;
///     socket.join("hall").await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RemoteSocket {
    namespace: Namespace,
    info: SocketInfo,
}

impl Deref for RemoteSocket {
    type Target = SocketInfo;

    fn deref(&self) -> &SocketInfo {
        &self.info
    }
}

impl RemoteSocket {
    pub(super) fn new(namespace: Namespace, info: SocketInfo) -> Self {
        Self { namespace, info }
    }

    /// Its state at the time of the query.
    pub fn info(&self) -> &SocketInfo {
        &self.info
    }

    /// The socket itself, if it is on this server and still connected.
    pub fn local(&self) -> Option<Socket> {
        self.namespace.socket(&self.info.id)
    }

    /// This socket as a selection, for all other operations.
    pub fn operator(&self) -> BroadcastOperator {
        self.namespace.to(&self.info.id)
    }

    /// Sends it an event.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Sending {
        self.operator().emit(event, args)
    }

    /// Sends it an event and waits for its answer, or the timeout.
    ///
    /// # Errors
    /// When it does not answer in time, has disconnected, answers with another type, or cannot be reached.
    pub async fn emit_with_ack<R: DeserializeOwned>(
        &self,
        timeout: Duration,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, AckError> {
        let mut answers = self.operator().timeout(timeout).emit_with_acks(event, args);
        match answers.next().await {
            Some(answer) => answer.result,
            None if answers.asked() == 0 => Err(AckError::Disconnected),
            None => Err(AckError::Timeout),
        }
    }

    /// Puts it into rooms.
    pub fn join(&self, rooms: impl IntoRooms) -> Sending {
        self.operator().sockets_join(rooms)
    }

    /// Takes it out of rooms.
    pub fn leave(&self, rooms: impl IntoRooms) -> Sending {
        self.operator().sockets_leave(rooms)
    }

    /// Disconnects it, or its whole connection if `close`.
    pub fn disconnect(&self, close: bool) -> Sending {
        self.operator().disconnect_sockets(close)
    }
}
