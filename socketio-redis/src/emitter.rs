//! Sends events and commands into a cluster from a process that does not run a Socket.IO server.
//!
//! ```text
//! Emitter::emit ─▶ event::encode ─▶ PUBLISH ─▶ every server of the cluster, Node's and those here
//! ```

use std::sync::Arc;

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use serde::Serialize;
use socketio::{
    EncodedPacket, IntoRooms, Selector,
    adapter::Broadcast,
    socket::packet::{Payload, is_reserved},
};
use tokio::sync::Mutex;

use crate::{
    Config, ConnectError,
    channels::Channels,
    link,
    wire::{WireError, event, request},
};

/// The id with which emitters send, as in Node.
const UID: &str = "emitter";

/// Why an emitter could not send.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitterError {
    /// The name is reserved by Socket.IO.
    #[error("{0:?} is a reserved event name")]
    ReservedName(String),
    /// The arguments cannot be encoded.
    #[error("the arguments cannot be encoded: {0}")]
    Encode(String),
    /// Redis could not be reached, or rejected the message. If the connection broke, it is unknown whether the message arrived; the next
    /// call reconnects.
    #[error("Redis: {0}")]
    Redis(String),
}

impl From<RedisError> for EmitterError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error.to_string())
    }
}

impl From<WireError> for EmitterError {
    fn from(error: WireError) -> Self {
        Self::Encode(error.to_string())
    }
}

/// Sends to the clients of a cluster, as `@socket.io/redis-emitter` does in Node, and in the same format. Cloning it is cheap, and all
/// clones share one connection, which is opened by the first call.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use socketio_redis::{Config, Emitter};
///
/// let emitter = Emitter::new(&Config::new("redis://127.0.0.1:6379/"))?;
/// emitter.to("room-1").except("muted").emit("news", &("headline", 1)).await?;
/// emitter.of("/admin").in_("room-1").sockets_leave("room-2").await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a selection does nothing until it is sent to"]
pub struct Emitter {
    shared: Arc<Shared>,
    nsp: Arc<str>,
    to: Selector,
    volatile: bool,
}

struct Shared {
    client: Client,
    key: String,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Emitter {
    /// An emitter for the namespace `/`. Of the settings, it uses the URL, the authorities and the key.
    ///
    /// # Errors
    /// When the URL or the authorities are invalid. Redis is not contacted yet.
    pub fn new(config: &Config) -> Result<Self, ConnectError> {
        let client = link::client(&config.url, config.authorities.as_deref()).map_err(|_| ConnectError::Url)?;
        let shared = Shared { client, key: config.key.clone(), connection: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), nsp: "/".into(), to: Selector::default(), volatile: false })
    }

    /// Selects all sockets of another namespace. A missing slash at the beginning is added.
    pub fn of(&self, nsp: &str) -> Self {
        let nsp = if nsp.starts_with('/') { nsp.into() } else { format!("/{nsp}").into() };
        Self { shared: self.shared.clone(), nsp, to: Selector::default(), volatile: false }
    }

    /// Adds these rooms; several calls add up.
    pub fn to(&self, rooms: impl IntoRooms) -> Self {
        let mut chosen = self.clone();
        chosen.to.rooms.extend(rooms.into_rooms());
        chosen
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Excludes the sockets in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> Self {
        let mut chosen = self.clone();
        chosen.to.except.extend(rooms.into_rooms());
        chosen
    }

    /// Skips clients that are busy.
    pub fn volatile(&self) -> Self {
        Self { volatile: true, ..self.clone() }
    }

    /// Sends an event to the selected sockets. A tuple is several arguments, `()` is no argument, anything else is one. Events of one
    /// emitter arrive in the order in which they were sent.
    ///
    /// # Errors
    /// See [`EmitterError`].
    pub async fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitterError> {
        check(event)?;
        let packet =
            EncodedPacket::event(&*self.nsp, event, args).map_err(|error| EmitterError::Encode(error.to_string()))?;
        let broadcast = Broadcast { packet, to: self.to.clone(), volatile: self.volatile, local: false };
        let message = event::encode(&event::prefix(UID), &broadcast)?;
        self.publish(&self.channels().events_for(&self.to.rooms), message).await
    }

    /// Puts the selected sockets into rooms.
    ///
    /// # Errors
    /// See [`EmitterError`].
    pub async fn sockets_join(&self, rooms: impl IntoRooms) -> Result<(), EmitterError> {
        let message = request::encode_unsigned_join(&self.to, &rooms.into_rooms())?;
        self.publish(&self.channels().request, message).await
    }

    /// Removes the selected sockets from rooms.
    ///
    /// # Errors
    /// See [`EmitterError`].
    pub async fn sockets_leave(&self, rooms: impl IntoRooms) -> Result<(), EmitterError> {
        let message = request::encode_unsigned_leave(&self.to, &rooms.into_rooms())?;
        self.publish(&self.channels().request, message).await
    }

    /// Disconnects the selected sockets, or their whole connections if `close`.
    ///
    /// # Errors
    /// See [`EmitterError`].
    pub async fn disconnect_sockets(&self, close: bool) -> Result<(), EmitterError> {
        let message = request::encode_unsigned_disconnect(&self.to, close)?;
        self.publish(&self.channels().request, message).await
    }

    /// Sends an event to the servers' applications: [`on_server_event`](socketio::Namespace::on_server_event), or `io.on` in Node.
    ///
    /// # Errors
    /// See [`EmitterError`].
    pub async fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitterError> {
        check(event)?;
        let payload = Payload::event(event, args).map_err(|error| EmitterError::Encode(error.to_string()))?;
        let message = request::encode_emit(UID, None, &payload)?;
        self.publish(&self.channels().request, message).await
    }

    fn channels(&self) -> Channels {
        Channels::new(&self.shared.key, &self.nsp, UID)
    }

    async fn publish(&self, channel: &str, message: Vec<u8>) -> Result<(), EmitterError> {
        let Shared { client, connection, .. } = &*self.shared;
        let mut connection = connection.lock().await;
        let mut open = match connection.take() {
            Some(open) => open,
            None => {
                client
                    .get_multiplexed_async_connection_with_config(&link::patience(AsyncConnectionConfig::new()))
                    .await?
            }
        };
        redis::cmd("PUBLISH").arg(channel).arg(message).exec_async(&mut open).await?;
        *connection = Some(open);
        Ok(())
    }
}

fn check(event: &str) -> Result<(), EmitterError> {
    if is_reserved(event) { Err(EmitterError::ReservedName(event.to_owned())) } else { Ok(()) }
}

impl std::fmt::Debug for Emitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { nsp, to, volatile, .. } = self;
        f.debug_struct("Emitter").field("nsp", nsp).field("to", to).field("volatile", volatile).finish_non_exhaustive()
    }
}
