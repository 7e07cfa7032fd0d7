//! The chat on Socket.IO: its server, the events that it handles, and what happens when somebody leaves. Who comes in is
//! looked at in [`arrival`].

use std::{path::PathBuf, sync::Arc, time::Duration};

use actix_web::{rt, web::ServiceConfig};
use shared::edge::{
    health::{Degradation, reason},
    lane::Lanes,
    service::Service,
    settings::BusAddress,
};
use socketio::{
    Ack, Args, Namespace, Origins, PollRequest, Recovery, Socket, SocketIo,
    adapter::{Adapter, LocalAdapter},
    bundle::Bundle,
};
use socketio_redis::{Config, ConnectError, RedisAdapter};

use crate::{
    adapter::{self, LogAdapter},
    arrival, bridge, census,
    events::{self, CHAT_MESSAGE},
    member::Member,
    presence::{Presence, Replica},
    reply,
    sessions::{Sessions, Unfit},
    wire::NAMESPACE,
};

/// Where the files of the client are looked for when the settings do not say: as `npm` puts them beside the sources, and
/// as an image carries them.
const CLIENT_DIRS: [&str; 2] = ["web/vendor/node_modules/socket.io-client/dist", "client"];

/// How often it is tried whether other replicas are reached.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Why there is no chat. What the URL holds is not repeated: it may be a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Sessions have no place.
    #[error("sessions cannot be kept in Redis: the URL is none of a Redis, or the authorities are no certificates")]
    Sessions,
    /// There is no way to sockets on other replicas.
    #[error("sockets on other replicas cannot be reached: {0}")]
    Cluster(#[from] ConnectError),
}

/// The chat of a process. Made once and mounted in each worker.
#[derive(Clone, Debug)]
pub struct Chat {
    io: SocketIo,
}

impl Chat {
    /// A chat on the service's bus. To be called within an actix runtime.
    ///
    /// # Errors
    /// When the Redis of the settings cannot be used for sessions, or for sockets on other replicas: a chat without either would look as if
    /// it had both. One that is only away is waited for.
    pub fn new(service: &Service) -> Result<Self, OpenError> {
        let recovery = Recovery { skip_middlewares: false, ..Recovery::default() };
        let sessions = {
            let settings = &service.edge.settings;
            let opened = Sessions::open(&settings.bus, settings.redis_ca.as_deref(), recovery.max_disconnection);
            opened.map_err(|Unfit| OpenError::Sessions)?
        };
        let cluster = cluster(service)?;
        let inner: Arc<dyn Adapter> = match &cluster {
            Some(cluster) => cluster.clone(),
            None => Arc::new(LocalAdapter::new(None)),
        };
        let adapter = LogAdapter::new(service.bus.clone(), sessions.clone(), inner);
        let io = server(service, recovery, adapter);
        let namespace = io.of(NAMESPACE);
        let presence = Presence::new(Replica::draw(), cluster.is_some());
        let chat = events::Chat { service: service.clone(), presence: presence.clone(), sessions: sessions.clone() };

        let guarded = service.clone();
        namespace.middleware(async move |socket| {
            // A client that came back to a process that has just begun would be given what is new, and not what it missed.
            guarded.bus.filled().await;
            arrival::admit(&guarded, &socket)
        });
        let entered = chat.clone();
        namespace.on_connect(async move |socket| arrival::enter(&entered, &socket));
        let left = chat.clone();
        namespace.on_disconnect(async move |socket, reason| {
            log::info!("chat: {} has left: {reason}", socket.id());
            arrival::forget(&socket);
            left.left(&socket, reason);
        });
        listen(&namespace, &chat);
        let hearing = sessions.clone();
        // The namespace keeps this, and not the other way round.
        let here = namespace.downgrade();
        namespace.on_server_event(move |event| {
            if let Some(namespace) = here.upgrade() {
                adapter::hear(&hearing, namespace.local(), event);
            }
        });

        watch(service, sessions.clone(), cluster.clone());
        rt::spawn(sessions.run());
        census::show(&io, cluster.clone(), service);
        if let Some(cluster) = cluster {
            rt::spawn(bridge::run(service.clone(), namespace.clone(), cluster, presence.clone()));
        }
        rt::spawn(presence.tell(namespace, service.edge.clone()));
        rt::spawn(census::take(io.clone(), service.clone()));
        let closing = io.clone();
        service.edge.drain.on_begin(move || closing.close());
        Ok(Self { io })
    }

    /// The routes of this service: `/socket.io/` and its page at `/chat`.
    pub fn routes(&self, config: &mut ServiceConfig) {
        config.configure(self.io.routes()).configure(crate::page::routes);
    }

    /// The lanes of this service: the polls of sessions, at `/socket.io/`.
    #[must_use]
    pub fn lanes(&self) -> Lanes {
        let io = self.io.clone();
        Lanes::one("/socket.io/", "/socket.io/{tail:.*}", move |asked, body| {
            io.answer_poll(&PollRequest { method: asked.method, query: asked.query, headers: asked.headers, body })
        })
    }

    /// The server underneath, for its figures.
    #[must_use]
    pub fn io(&self) -> &SocketIo {
        &self.io
    }
}

/// Has `/readyz` and the log report what of the chat does not work.
fn watch(service: &Service, sessions: Sessions, cluster: Option<Arc<RedisAdapter>>) {
    service.edge.readiness.watch(move || {
        let sessions = sessions.problem().map(|why| {
            let message = format!("sessions are not stored in Redis, so clients cannot resume them elsewhere: {why}");
            Degradation::new(reason::SESSION_STORE, message)
        });
        let cluster = cluster.as_ref().and_then(|cluster| cluster.problem()).map(|why| {
            let message = format!("presence, typing and other events do not reach other replicas: {why}");
            Degradation::new(reason::SOCKET_CLUSTER, message)
        });
        sessions.into_iter().chain(cluster).collect()
    });
}

/// How sockets on other replicas are reached, where there may be others.
fn cluster(service: &Service) -> Result<Option<Arc<RedisAdapter>>, ConnectError> {
    let settings = &service.edge.settings;
    let BusAddress::Redis(address) = &settings.bus else { return Ok(None) };
    let config = Config {
        authorities: settings.redis_ca.clone(),
        key: settings.socket_io_key.clone(),
        aside: Some(bridge::ASIDE.to_owned()),
        heartbeat: HEARTBEAT,
        ..Config::new(address.url())
    };
    RedisAdapter::connect(config).map(Some)
}

fn server(service: &Service, recovery: Recovery, adapter: LogAdapter) -> SocketIo {
    let (edge, allowing) = (service.edge.clone(), service.edge.clone());
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
        // Who comes back is looked at again: their token, and whether there is a place for them.
        .recovery(recovery)
        .client_bundle(bundle)
        .adapter(Arc::new(adapter))
        .allow_request(async move |handshake| arrival::allow(&allowing, &handshake))
        .sid_prefix(move |handshake| arrival::session_key(&edge, handshake))
        .configure(|config| {
            (config.ping_interval, config.ping_timeout) = (settings.ping_interval, settings.ping_timeout);
            config.packet_rate = settings.socket_rate.unwrap_or(0);
            config.kept_headers = Some(arrival::HEADERS.map(str::to_owned).to_vec());
            config.max_packet_bytes = 2 * config.max_http_buffer_size;
            config.allow_eio3 = true;
            config.msgpack = true;
        })
        .build()
}

/// The events of the chat.
fn listen(namespace: &Namespace, chat: &events::Chat) {
    /// An event whose arguments are looked at one by one, since each way to be wrong has an answer.
    macro_rules! on {
        ($event:expr, $chat:ident, $socket:ident, $member:ident, $first:ident => $outcome:expr) => {{
            let shared = chat.clone();
            namespace.on($event, async move |$socket: Socket, args: Args, ack: Ack| {
                let ($chat, $first) = (&shared, args.0.first());
                let Some($member) = $socket.get::<Member>() else { return };
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
    namespace.on("join", async move |socket: Socket, args: Args, ack: Ack| {
        let Some(member) = socket.get::<Member>() else { return };
        shared.join(&socket, &member, args.0.first(), |outcome| reply::send(&ack, outcome)).await;
    });
}

#[cfg(test)]
mod tests;
