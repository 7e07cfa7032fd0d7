//! Rooms as the application knows them.

use edge::{Access, service::Service, settings::CallKind};
use socketio::{Room, Socket};

use crate::wire::CHANNEL_OF_ROOM;

/// The first character of the rooms of the server, which nobody enters by name.
const SERVER: char = '$';

/// How the rooms of a namespace are called by clients and the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoomNames {
    /// Without the prefix of the channels of the chat's rooms. Only clients enter them.
    Chat,
    /// As Socket.IO does.
    Plain,
}

/// Puts a socket into the room of its user, which is how the application's events reach all sockets of a user.
pub(crate) fn join_user(service: &Service, socket: &Socket, access: &Access) {
    if let Some(user) = access.user().filter(|_| service.edge.calls.asks(CallKind::Event))
        && let Err(error) = socket.join(user_room(&user))
    {
        log::debug!("{}: {error}", socket.id());
    }
}

/// The room with the sockets of a user. An application that enters the room that a client names does not let it into this one.
pub(super) fn user_room(user: &str) -> Room {
    format!("{SERVER}user.{user}").into()
}

impl RoomNames {
    /// The Socket.IO room that the application calls `name`.
    ///
    /// # Errors
    /// When it is one of the server.
    pub(super) fn room(self, name: &str) -> Result<Room, String> {
        match self {
            Self::Chat => Ok(format!("{CHANNEL_OF_ROOM}{name}").into()),
            Self::Plain if name.starts_with(SERVER) => {
                Err(format!("`{name}`: names of rooms do not begin with `{SERVER}`"))
            }
            Self::Plain => Ok(name.into()),
        }
    }

    /// What the application calls a room; `None` for rooms that it does not know.
    pub(super) fn name(self, room: &str) -> Option<&str> {
        match self {
            Self::Chat => room.strip_prefix(CHANNEL_OF_ROOM),
            Self::Plain => Some(room).filter(|room| !room.starts_with(SERVER)),
        }
    }
}
