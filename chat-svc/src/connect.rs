//! Admission of clients: limits, permissions, and whether a session is new or resumed.
//!
//! ```text
//! handshake ─▶ allow: a place ─▶ (the namespace) ─▶ admit: token ─▶ enter: a new member, or the one of before
//! ```

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use edge::{
    Access, ApiError, Edge, address,
    calls::{ConnectCall, Opening, PermissionCall},
    service::Service,
    settings::{CallKind, Settings},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::pure::ChannelName;
use socketio::{ConnectError, DisconnectReason, Handshake, Socket, engine::Protocol};

use crate::{
    adapter::{Reopening, Resumed},
    application::rooms::join_user,
    events,
    feed::Feed,
    member::{Member, Place, Profile, Reading, counted_as, show},
    registration,
    sessions::ResumedSession,
};

/// The channel of the first room of every member: one text for all of them.
static FIRST_CHANNEL: LazyLock<Option<ChannelName>> = LazyLock::new(|| "chat.lobby".parse().ok());

/// The headers of a first request that are read later, and so kept: credentials, address, proxies.
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
/// The headers of a first request that are kept: [`HEADERS`], and those that the application gets.
pub(crate) fn kept_headers(settings: &Settings) -> Vec<String> {
    let named = settings.backend.calls.headers.iter().map(|name| name.as_str());
    HEADERS.into_iter().chain(named).map(str::to_owned).collect()
}

/// The header with the four characters by which the gateway hashed a session to this server.
const SESSION_KEY: &str = "trident-session-key";

/// Maximum size in bytes of a client's `auth`: a token, and the application's own data.
pub(crate) const MAX_AUTH_BYTES: usize = 16 * 1024;
/// Maximum size in bytes of the URL and the [kept headers](HEADERS) of a first request. Each connection stores them.
const MAX_HANDSHAKE_BYTES: usize = 16 * 1024;

/// A slot for another connection, if there is one. A client that is refused here retries automatically; after a refusal by [`admit`] it
/// does not.
pub(crate) fn allow(edge: &Edge, handshake: &Handshake) -> Result<Place, String> {
    let headers = handshake.headers.iter().map(|(name, value)| name.len() + value.len());
    if handshake.url.len() + headers.sum::<usize>() > MAX_HANDSHAKE_BYTES {
        return Err(format!("the URL, the cookies and the token are larger than {MAX_HANDSHAKE_BYTES} bytes together"));
    }
    let slot = edge.limits.connect(address(edge, handshake), counted_as(handshake.transport));
    slot.map(Place::new).map_err(|refused| refused.to_string())
}

/// The beginning of a session's id behind a gateway that uses it to find the session's server. From a client that is not a trusted proxy it
/// is ignored: it could choose its server.
pub(crate) fn session_key(edge: &Edge, handshake: &Handshake) -> Option<String> {
    let key = handshake.headers.get(SESSION_KEY)?;
    let peer = handshake.address?;
    let is_trusted = edge.settings.trusted_proxies.iter().any(|network| network.contains(peer));
    let is_key = key.len() == 4 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_trusted && is_key).then(|| key.to_owned())
}

/// The client's address, as reported by trusted proxies.
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

/// A client that has been checked and is connecting, with the channel of its first room.
struct Arriving(Mutex<Option<(Access, Option<ChannelName>)>>);

/// The client of a new connection: by its token, or as the application identifies it.
pub(crate) async fn authenticate(edge: &Edge, socket: &Socket) -> Result<Access, ConnectError> {
    let handshake = socket.handshake();
    let headers = headers(handshake);
    let address = address(edge, handshake);
    let auth: Result<Auth, _> = socket.auth();
    let given = edge.calls.asks(CallKind::Connect).then(|| socket.auth::<Box<RawValue>>().ok()).flatten();
    // The rest of it is not used, and would be kept for as long as the socket.
    socket.forget_auth();
    let auth = auth.map_err(|_| refuse(ApiError::BadToken("`auth.token` must be a string".to_owned())))?;
    let access = Access::of_handshake(edge, auth.token.as_deref(), &headers, address).map_err(refuse)?;
    access.require_connection().map_err(refuse)?;
    let namespace = Some(&**socket.namespace().name());
    let transport = counted_as(socket.connection().transport());
    let opening = || Opening { transport, namespace, headers: &headers, auth: given.as_deref() };
    match ConnectCall::new(edge, &access, opening) {
        Some(call) => {
            let access = call.access().await.map_err(refuse)?;
            access.require_connection().map_err(refuse)?;
            Ok(access)
        }
        None => Ok(access),
    }
}

/// Checks a new connection: its token, and whether it may still read the channels of its session.
pub(crate) async fn admit(service: &Service, socket: &Socket) -> Result<(), ConnectError> {
    let edge = &service.edge;
    let access = authenticate(edge, socket).await?;
    if socket.recovered() {
        // The session may have been opened with a token that has expired since, or that this client does not have.
        let Profile { rooms, subscriptions, .. } =
            socket.data().read::<ResumedSession>().map(|taken| taken.kept.profile).unwrap_or_default();
        let mut channels = rooms;
        channels.extend(subscriptions);
        channels.sort_unstable();
        channels.dedup();
        let asked = access.require_subscribe_all(&channels).map_err(refuse)?;
        if !asked.is_empty() {
            PermissionCall::subscribe(edge, &access, &asked).await.map_err(refuse)?;
        }
        // Empty channels were closed with the earlier socket.
        match edge.limits.open_channels(&access.identity(), service.log().vacancy(&channels)) {
            Ok(opener) => drop(socket.insert(Reopening(opener))),
            Err(refusal) => log::debug!("chat: {} is not recovered: {refusal}", socket.id()),
        }
    }
    let first_room = if edge.settings.backend.chat { first_room(edge, socket, &access).await } else { None };
    socket.insert(Arriving(Mutex::new(Some((access, first_room)))));
    Ok(())
}

/// The channel of the first room, if the client may read it.
async fn first_room(edge: &Edge, socket: &Socket, access: &Access) -> Option<ChannelName> {
    let channel = FIRST_CHANNEL.clone()?;
    let permitted = match access.require_subscribe_all(std::slice::from_ref(&channel)) {
        Ok(asked) if !asked.is_empty() && !socket.recovered() => PermissionCall::subscribe(edge, access, &asked).await,
        permitted => permitted.map(drop),
    };
    if let Err(error) = &permitted {
        log::debug!("chat: {} has no initial room: {error}", socket.id());
    }
    permitted.is_ok().then_some(channel)
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

/// A socket has connected: a new member in the first room, or a resumed session.
pub(crate) fn enter(chat: &events::ChatEvents, socket: &Socket) {
    let access = socket.remove::<Arriving>().and_then(|arriving| arriving.0.lock().take());
    // A connection that has ended in the meantime has no slot.
    let (Some((access, first_room)), Some(place)) = (access, socket.connection().permit::<Place>()) else {
        socket.disconnect();
        return;
    };
    place.lock().change_transport(counted_as(socket.connection().transport()));
    join_user(&chat.service, socket, &access);
    let expires_in = access.expires_in(SystemTime::now());
    let resumed = socket.remove::<Resumed>().and_then(|resumed| resumed.0.lock().take());
    let taken: Option<ResumedSession> = socket.data().read().ok();
    let member = match (resumed, &taken) {
        (Some(feed), Some(taken)) => {
            log::info!("chat: {} resumed its session", socket.id());
            let profile = taken.kept.profile.clone();
            chat.presence.enter(&profile.rooms, &profile.name);
            let feed = feed.showing(access.publisher());
            Member::resumed(access, place.clone(), profile, feed)
        }
        _ => {
            log::info!("chat: {} connected", socket.id());
            let is_plain = socket.connection().protocol() == Protocol::V3;
            let letters: String = socket.id().chars().filter(char::is_ascii_alphanumeric).take(4).collect();
            let name = format!("guest-{letters}");
            let feed = Feed::new(chat.service.log(), session_number(socket), is_plain).showing(access.publisher());
            let member = Member::new(access, place.clone(), name.into(), feed);
            if let Some(channel) = first_room
                && let Err(refusal) = chat.enter(socket, &member, channel)
            {
                log::debug!("chat: {} has no initial room: {refusal:?}", socket.id());
            }
            member
        }
    };
    show(socket, &member.state().name);
    socket.insert(member);
    let Some(member) = socket.get::<Member>() else { return };
    registration::register(socket, &member);
    chat.sessions.begin(socket, taken.as_ref());
    if !socket.is_connected() {
        // Its end may have come before the member and its session existed, and found nothing to clean up.
        chat.sessions.ended(socket, &member, DisconnectReason::TransportClose);
        registration::end(socket, DisconnectReason::TransportClose);
        return chat.left(socket, DisconnectReason::TransportClose);
    }
    socket.attach(Reading::of(member.clone()));
    place.set_member(&member);
    if let Some(left) = expires_in {
        expire(socket, left);
    }
}

/// Ends the connection of a socket when its token expires, after `left`.
pub(crate) fn expire(socket: &Socket, left: Duration) {
    // A time beyond the clock's range never comes.
    let Some(at) = Instant::now().checked_add(left) else { return };
    socket.call_at(at, |socket| {
        log::info!("chat: the token of {} has expired", socket.id());
        registration::expire(socket);
        // Not a disconnection from the namespace, after which clients do not reconnect: with a new token they reconnect automatically
        // and resume the session.
        socket.connection().close();
    });
}

/// A number that differs between the sessions of a client, computed from the socket's id, which is random.
fn session_number(socket: &Socket) -> u32 {
    let mut hasher = DefaultHasher::new();
    socket.id().hash(&mut hasher);
    // Half of the bits are sufficient.
    hasher.finish() as u32
}

#[cfg(test)]
mod tests;
