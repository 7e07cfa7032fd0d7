//! A connection in the registry, from its beginning to its end.

use std::sync::Arc;

use shared::pure::ChannelName;

use super::{Client, Connection, ConnectionId, Connections};
use crate::metrics::Transport;

/// A connection in the registry. Dropping it removes the connection.
#[derive(Debug)]
pub struct Registration {
    registry: Connections,
    connection: Arc<Connection>,
}

impl Registration {
    /// Adds a connection of this client with these channels.
    pub(in super::super) fn new(
        registry: &Connections,
        id: ConnectionId,
        client: Client,
        transport: Transport,
        channels: &[ChannelName],
    ) -> Self {
        Self { registry: registry.clone(), connection: registry.add(id, client, transport, channels) }
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Replaces the channels of the connection.
    pub fn set_channels(&self, channels: &[ChannelName]) {
        self.registry.set_channels(&self.connection, channels);
    }

    /// The connection uses this transport from now on.
    pub fn set_transport(&self, transport: Transport) {
        self.connection.set_transport(transport);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.remove(&self.connection);
    }
}
