//! The chat on Socket.IO: who comes in, what they may ask for, who leaves.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_web::{rt, web::ServiceConfig};
use serde::Deserialize;
use shared::edge::{Access, ApiError, address, metrics, service::Service};
use socketio::{Ack, Args, ConnectError, Origins, Recovery, Socket, SocketIo, Transport, Value, bundle::Bundle};

use crate::{
    adapter::{LogAdapter, Resumed},
    events::{self, CHAT_MESSAGE},
    feed::Feed,
    member::{Member, Profile, Reading},
    presence::Presence,
    reply,
    wire::NAMESPACE,
};

/// Where everybody comes in.
const FIRST_ROOM: &str = "lobby";
/// Where the files of the client are looked for when the settings do not say: as `npm` puts them beside the sources, and
/// as an image carries them.
const CLIENT_DIRS: [&str; 2] = ["web/vendor/node_modules/socket.io-client/dist", "client"];
/// How often it is looked which sockets have changed their transport.
const CENSUS: Duration = Duration::from_secs(5);

/// The chat of a process. Made once and mounted in each worker.
#[derive(Clone, Debug)]
pub struct Chat {
    io: SocketIo,
}

impl Chat {
    /// A chat on the service's bus. To be called within an actix runtime.
    #[must_use]
    pub fn new(service: &Service) -> Self {
        let io = server(service);
        let namespace = io.of(NAMESPACE);
        let presence = Presence::default();
        let chat = events::Chat { service: service.clone(), presence: presence.clone(), namespace: namespace.clone() };

        let guarded = service.clone();
        namespace.middleware(async move |socket| admit(&guarded, &socket));
        let entered = chat.clone();
        namespace.on_connect(async move |socket| enter(&entered, &socket));
        let left = chat.clone();
        namespace.on_disconnect(async move |socket, reason| {
            log::info!("chat: {} has left: {reason}", socket.id());
            socket.remove::<Expiry>();
            if let Some(member) = socket.remove::<Arc<Member>>() {
                left.presence.changed(&member.state().rooms);
            }
        });
        listen(&chat);

        rt::spawn(presence.tell(namespace, service.edge.clone()));
        rt::spawn(census(io.clone(), service.clone()));
        let closing = io.clone();
        service.edge.drain.on_begin(move || closing.close());
        Self { io }
    }

    /// The routes of this service: `/socket.io/` and its page at `/chat`.
    pub fn routes(&self, config: &mut ServiceConfig) {
        config.configure(self.io.routes()).configure(crate::page::routes);
    }

    /// The server underneath, for its figures.
    #[must_use]
    pub fn io(&self) -> &SocketIo {
        &self.io
    }
}

fn server(service: &Service) -> SocketIo {
    let settings = &service.edge.settings;
    let origins = settings.origins.clone();
    let directory = settings.client_dir.clone().unwrap_or_else(|| {
        let found = CLIENT_DIRS.iter().map(PathBuf::from).find(|directory| directory.is_dir());
        found.unwrap_or_else(|| CLIENT_DIRS[0].into())
    });
    let bundle = Bundle::open(directory);
    if let Some(problem) = bundle.problem() {
        log::warn!("/socket.io/socket.io.js is not served: {problem} (TRIDENT_CLIENT_DIR)");
    }
    SocketIo::builder()
        .origins(Origins::decide(move |origin| origins.allows(origin, None)))
        .recovery(Recovery::default())
        .client_bundle(bundle)
        .adapter(Arc::new(LogAdapter::new(service.bus.clone())))
        .configure(|config| {
            config.max_connections = settings.max_connections.unwrap_or(0);
            config.packet_rate = settings.socket_rate.unwrap_or(0);
            config.allow_eio3 = true;
            config.msgpack = true;
        })
        .build()
}

/// The token in `auth`, if there is one.
#[derive(Default, Deserialize)]
struct Auth {
    token: Option<String>,
}

/// Looks at who comes in: their token, and whether there is a place for them.
fn admit(service: &Service, socket: &Socket) -> Result<(), ConnectError> {
    let edge = &service.edge;
    let handshake = socket.handshake();
    let forwarded: Vec<&str> =
        handshake.headers.iter().filter(|(name, _)| *name == "x-forwarded-for").map(|(_, value)| value).collect();
    let address = address::through(handshake.address, &forwarded, &edge.settings.trusted_proxies);
    let auth: Auth = socket.auth().unwrap_or_default();
    let header = handshake.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let token = auth.token.as_deref().or(header);
    let access = Access::with_token(edge, token, address).map_err(refuse)?;
    let slot = edge.limits.connect(address, counted_as(socket)).map_err(|refused| refuse(refused.into()))?;
    socket.insert(Arriving(parking_lot::Mutex::new(Some((access, slot)))));
    Ok(())
}

/// Who has been looked at and is on the way in.
struct Arriving(parking_lot::Mutex<Option<(Access, shared::edge::limits::Slot)>>);

fn refuse(error: ApiError) -> ConnectError {
    ConnectError::new(error.to_string()).with_data(serde_json::json!({ "code": error.code() }))
}

fn counted_as(socket: &Socket) -> metrics::Transport {
    match socket.connection().transport() {
        Transport::WebSocket => metrics::Transport::WebSocket,
        Transport::Polling => metrics::Transport::Polling,
    }
}

/// Somebody is in: a new member in the first room, or one who was cut off and goes on.
fn enter(chat: &events::Chat, socket: &Socket) {
    let Some((access, slot)) = socket.remove::<Arriving>().and_then(|arriving| arriving.0.lock().take()) else {
        socket.disconnect();
        return;
    };
    let expires_in = access.expires_in(SystemTime::now());
    let resumed = socket.remove::<Resumed>().and_then(|resumed| resumed.0.lock().take());
    let profile: Option<Profile> = serde_json::from_value(socket.data()).ok();
    let member = match (resumed, profile) {
        (Some(feed), Some(profile)) => {
            log::info!("chat: {} is back", socket.id());
            Member::resumed(access, slot, profile, feed)
        }
        _ => {
            log::info!("chat: {} has come", socket.id());
            let is_plain = socket.connection().protocol() == socketio::engine::Protocol::V3;
            let letters: String = socket.id().chars().filter(char::is_ascii_alphanumeric).take(4).collect();
            let name = format!("guest-{letters}");
            let member = Member::new(access, slot, name.into(), Feed::new(chat.service.log(), is_plain));
            if let Err(refusal) = chat.enter(socket, &member, Some(&Value::from(FIRST_ROOM))) {
                log::debug!("chat: {} is in no room at first: {refusal:?}", socket.id());
            }
            member
        }
    };
    chat.presence.changed(&member.state().rooms);
    socket.insert(Arc::clone(&member));
    socket.attach(Reading(member));
    if let Some(left) = expires_in {
        let ending = socket.clone();
        socket.insert(Expiry(rt::spawn(async move {
            tokio::time::sleep(left).await;
            ending.close_connection();
        })));
    }
}

/// Ends a connection with the token that it was opened with; is itself ended when the socket goes before.
struct Expiry(rt::task::JoinHandle<()>);

impl Drop for Expiry {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Counts each socket under the transport that it has now.
async fn census(io: SocketIo, service: Service) {
    let mut tick = tokio::time::interval(CENSUS);
    while !service.edge.drain.is_draining() {
        tick.tick().await;
        for socket in io.of(NAMESPACE).local().handles(&socketio::Selector::default()) {
            let Some(member) = socket.get::<Arc<Member>>() else { continue };
            member.slot.lock().change_transport(counted_as(&socket));
        }
    }
}

/// The events of the chat.
fn listen(chat: &events::Chat) {
    /// An event whose arguments are looked at one by one, since each way to be wrong has an answer.
    macro_rules! on {
        ($event:expr, $chat:ident, $socket:ident, $member:ident, $first:ident => $outcome:expr) => {{
            let shared = chat.clone();
            chat.namespace.on($event, async move |$socket: Socket, args: Args, ack: Ack| {
                let ($chat, $first) = (&shared, args.0.first());
                let Some($member) = $socket.get::<Arc<Member>>() else { return };
                let _ = $socket;
                reply::send(&ack, &$outcome);
            });
        }};
    }
    on!(CHAT_MESSAGE, chat, socket, member, first => chat.say(&member, first).await);
    on!("leave", chat, socket, member, first => chat.leave(&socket, &member, first));
    on!("name", chat, socket, member, first => chat.name(&socket, &member, first));
    on!("typing", chat, socket, member, first => chat.typing(&socket, &member, first));
    on!("subscribe", chat, socket, member, first => chat.subscribe(&socket, &member, first).await);
    on!("unsubscribe", chat, socket, member, first => chat.unsubscribe(&socket, &member, first));
    let shared = chat.clone();
    chat.namespace.on("join", async move |socket: Socket, args: Args, ack: Ack| {
        let Some(member) = socket.get::<Arc<Member>>() else { return };
        shared.join(&socket, &member, args.0.first(), |outcome| reply::send(&ack, outcome)).await;
    });
}
