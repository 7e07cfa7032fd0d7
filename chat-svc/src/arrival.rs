//! Who comes in: whether there is a place for them, what they may do, and whether they are new or go on.
//!
//! ```text
//! handshake ─▶ allow: a place ─▶ (the namespace) ─▶ admit: token ─▶ enter: a new member, or the one of before
//! ```

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    time::SystemTime,
};

use actix_web::{
    http::header::{HeaderMap, HeaderName, HeaderValue},
    rt,
};
use edge::{Access, ApiError, Edge, address, limits::Slot, metrics, service::Service};
use parking_lot::Mutex;
use serde::Deserialize;
use socketio::{ConnectError, DisconnectReason, Handshake, Socket, Transport, engine::Protocol};

use crate::{
    adapter::{Reopening, Resumed},
    events,
    feed::Feed,
    member::{Member, Profile, Reading, show},
    sessions::Taken,
};

/// Where everybody comes in.
const FIRST_ROOM: &str = "lobby";

/// What is looked at of a first request's headers, and so kept: who asks, from where, through whom.
pub(crate) const HEADERS: [&str; 8] = [
    "authorization",
    "cookie",
    "host",
    "origin",
    "sec-fetch-site",
    "x-forwarded-for",
    "x-forwarded-proto",
    SESSION_KEY,
];
/// The header in which the gateway names the four characters that it hashed a session to this server by.
const SESSION_KEY: &str = "trident-session-key";

/// The place of a connection, which it holds from its first request to its end, whether or not it ever comes to the chat.
pub(crate) type Place = Mutex<Slot>;

/// Bytes of the largest `auth` that a client may send: a token, and what an application adds.
pub(crate) const MAX_AUTH_BYTES: usize = 16 * 1024;
/// Bytes of the URL and of the [headers that are kept](HEADERS) of the largest first request. Each connection keeps them.
const MAX_HANDSHAKE_BYTES: usize = 16 * 1024;

/// A place for another connection, if there is one. Refused here, a client tries again by itself; after a refusal by
/// [`admit`] it does not.
pub(crate) fn allow(edge: &Edge, handshake: &Handshake) -> Result<Place, String> {
    let headers = handshake.headers.iter().map(|(name, value)| name.len() + value.len());
    if handshake.url.len() + headers.sum::<usize>() > MAX_HANDSHAKE_BYTES {
        return Err(format!("the URL, the cookies and the token are larger than {MAX_HANDSHAKE_BYTES} bytes together"));
    }
    let slot = edge.limits.connect(address(edge, handshake), counted_as(handshake.transport));
    slot.map(Mutex::new).map_err(|refused| refused.to_string())
}

/// How a session's id begins behind a gateway that finds the session's server by that. From anybody but a proxy that is
/// trusted it is a stranger's wish to be with one server, and does not count.
pub(crate) fn session_key(edge: &Edge, handshake: &Handshake) -> Option<String> {
    let key = handshake.headers.get(SESSION_KEY)?;
    let peer = handshake.address?;
    let is_trusted = edge.settings.trusted_proxies.iter().any(|network| network.contains(peer));
    let is_key = key.len() == 4 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_trusted && is_key).then(|| key.to_owned())
}

/// The client's address, seen through the proxies that are trusted.
fn address(edge: &Edge, handshake: &Handshake) -> IpAddr {
    let forwarded: Vec<&str> =
        handshake.headers.iter().filter(|(name, _)| *name == "x-forwarded-for").map(|(_, value)| value).collect();
    address::through(handshake.address, &forwarded, &edge.settings.trusted_proxies)
}

/// The token in `auth`, if there is one.
#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    token: Option<String>,
}

/// Who has been looked at and is on the way in.
struct Arriving(Mutex<Option<Access>>);

/// Looks at who comes in: their token, and whether they may read what they read before.
pub(crate) fn admit(service: &Service, socket: &Socket) -> Result<(), ConnectError> {
    let edge = &service.edge;
    let handshake = socket.handshake();
    let headers = headers(handshake);
    let address = address(edge, handshake);
    let auth: Result<Auth, _> = socket.auth();
    // Whatever else it holds is of no use, and would stay for as long as the socket does.
    socket.forget_auth();
    let auth = auth.map_err(|_| refuse(ApiError::BadToken("`auth.token` is a string".to_owned())))?;
    let access = Access::of_handshake(edge, auth.token.as_deref(), &headers, address).map_err(refuse)?;
    if socket.recovered() {
        // The session may have been opened with a token that has ended since, or that this client does not show.
        let Profile { rooms, subscriptions, .. } =
            socket.data().read::<Taken>().map(|taken| taken.kept.profile).unwrap_or_default();
        let mut channels = rooms;
        channels.extend(subscriptions);
        channels.sort_unstable();
        channels.dedup();
        for channel in &channels {
            access.require_subscribe(channel).map_err(refuse)?;
        }
        // Those that hold nothing were closed with the earlier socket.
        match edge.limits.open_channels(&access.identity(), service.log().vacancy(&channels)) {
            Ok(opener) => drop(socket.insert(Reopening(opener))),
            Err(refusal) => log::debug!("chat: {} is not recovered: {refusal}", socket.id()),
        }
    }
    socket.insert(Arriving(Mutex::new(Some(access))));
    Ok(())
}

fn headers(handshake: &Handshake) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in handshake.headers.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    headers
}

fn refuse(error: ApiError) -> ConnectError {
    ConnectError::new(error.to_string()).with_data(serde_json::json!({ "code": error.code() }))
}

/// What a connection is counted as.
pub(crate) fn counted_as(transport: Transport) -> metrics::Transport {
    match transport {
        Transport::WebSocket => metrics::Transport::WebSocket,
        Transport::Polling => metrics::Transport::Polling,
    }
}

/// Somebody is in: a new member in the first room, or one who was cut off and goes on.
pub(crate) fn enter(chat: &events::Chat, socket: &Socket) {
    let access = socket.remove::<Arriving>().and_then(|arriving| arriving.0.lock().take());
    // A connection that has ended meanwhile has no place.
    let (Some(access), Some(place)) = (access, socket.connection().permit::<Place>()) else {
        socket.disconnect();
        return;
    };
    place.lock().change_transport(counted_as(socket.connection().transport()));
    let expires_in = access.expires_in(SystemTime::now());
    let resumed = socket.remove::<Resumed>().and_then(|resumed| resumed.0.lock().take());
    let taken: Option<Taken> = socket.data().read().ok();
    let member = match (resumed, &taken) {
        (Some(feed), Some(taken)) => {
            log::info!("chat: {} is back", socket.id());
            let profile = taken.kept.profile.clone();
            chat.presence.enter(&profile.rooms, &profile.name);
            Member::resumed(access, place, profile, feed)
        }
        _ => {
            log::info!("chat: {} has come", socket.id());
            let is_plain = socket.connection().protocol() == Protocol::V3;
            let letters: String = socket.id().chars().filter(char::is_ascii_alphanumeric).take(4).collect();
            let name = format!("guest-{letters}");
            let member = Member::new(
                access,
                place,
                name.into(),
                Feed::new(chat.service.log(), session_number(socket), is_plain),
            );
            if let Err(refusal) = chat.enter(socket, &member, Some(FIRST_ROOM)) {
                log::debug!("chat: {} is in no room at first: {refusal:?}", socket.id());
            }
            member
        }
    };
    show(socket, &member.state().name);
    socket.insert(member);
    let Some(member) = socket.get::<Member>() else { return };
    chat.sessions.begin(socket, taken.as_ref());
    if !socket.is_connected() {
        // Its end came while it was on its way in, and may have found nothing to end, or the member and no session yet.
        chat.sessions.ended(socket, &member, DisconnectReason::TransportClose);
        return chat.left(socket, DisconnectReason::TransportClose);
    }
    socket.attach(Reading(member));
    if let Some(left) = expires_in {
        let ending = socket.clone();
        socket.insert(Expiry(rt::spawn(async move {
            tokio::time::sleep(left).await;
            log::info!("chat: the token of {} has ended", ending.id());
            // Not a disconnection from the namespace, after which clients stay away: with a newer token they come back by
            // themselves, to the same session.
            ending.connection().close();
        })));
    }
}

/// A number that differs from session to session of a client, made of the socket's id, which is random.
fn session_number(socket: &Socket) -> u32 {
    let mut hasher = DefaultHasher::new();
    socket.id().hash(&mut hasher);
    // Half of the bits do.
    hasher.finish() as u32
}

/// Ends a connection with the token that it was opened with; is itself ended when the socket goes before.
struct Expiry(rt::task::JoinHandle<()>);

impl Drop for Expiry {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lets go of what was begun for a socket that has left.
pub(crate) fn forget(socket: &Socket) {
    socket.remove::<Expiry>();
}

#[cfg(test)]
mod tests;
