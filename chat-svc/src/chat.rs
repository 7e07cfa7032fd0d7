//! The chat on Socket.IO: its server, its events, and the end of sockets. [`connect`] handles new connections.

use std::{sync::Arc, time::Duration};

use actix_web::{http::Method, rt, web::ServiceConfig};
use edge::{
    Settings,
    health::{Degradation, reason},
    response::ResponseBody,
    routes::{RequestBody, Routes, response},
    service::Service,
    settings::BusAddress,
};
use shared::live::log::Log;
use socketio::{
    Ack, Event, Namespace, Origins, PollRequest, Recovery, Socket, SocketIo, WebSocketRequest,
    adapter::{Adapter, LocalAdapter},
};
use socketio_redis::{Config, ConnectError, RedisAdapter};

use crate::{
    adapter::{self, LogAdapter},
    application::{self, calls::Application, rooms::RoomNames},
    args::Args,
    bridge, client, connect, connection_metrics,
    events::{self, CHAT_MESSAGE},
    member::Member,
    parking::Body,
    presence::{Presence, Replica},
    refusal::Refusal,
    registration, reply,
    sessions::{InvalidRedisConfig, Sessions},
    wire::NAMESPACE,
};

/// Bytes that the packet of a chat message may have beside the message.
const MESSAGE_OVERHEAD: usize = 64 * 1024;
/// How often it is checked whether other replicas can be reached.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Why the chat cannot start. The URL is not repeated: it may contain a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Sessions cannot be stored.
    #[error("sessions cannot be stored in Redis: invalid Redis URL, or the authorities contain no certificate")]
    Sessions,
    /// Sockets on other replicas cannot be reached.
    #[error("sockets on other replicas cannot be reached: {0}")]
    Cluster(#[from] ConnectError),
}

/// The chat of a process. Created once and mounted in each worker.
#[derive(Clone, Debug)]
pub struct Chat {
    io: SocketIo,
    log: Arc<Log>,
}

impl Chat {
    /// A chat on the service's bus. Call it within an actix runtime.
    ///
    /// # Errors
    /// When the configured Redis cannot be used for sessions, or for sockets on other replicas: a chat without either would look as if
    /// it had both. One that is only unavailable is waited for.
    pub fn new(service: &Service) -> Result<Self, OpenError> {
        let recovery = Recovery { skip_middlewares: false, ..Recovery::default() };
        let sessions = {
            let settings = &service.edge.settings;
            let opened = Sessions::open(
                &settings.bus,
                &service.bus,
                settings.redis_ca.as_deref(),
                recovery.max_disconnection,
                settings.sessions_total,
            );
            opened.map_err(|InvalidRedisConfig| OpenError::Sessions)?
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
        let is_chat = service.edge.settings.backend.chat;
        let rooms = if is_chat { RoomNames::Chat } else { RoomNames::Plain };
        let chat = events::ChatEvents {
            service: service.clone(),
            presence: presence.clone(),
            sessions: sessions.clone(),
            application: Application::new(service, rooms),
            is_chat,
        };

        let guarded = service.clone();
        namespace.middleware(async move |socket| {
            // A process that has just started would send a reconnecting client new messages without those that it missed.
            guarded.bus.filled().await;
            connect::admit(&guarded, &socket).await
        });
        let entered = chat.clone();
        namespace.on_connect(async move |socket| connect::enter(&entered, &socket));
        let left = chat.clone();
        namespace.on_disconnect(async move |socket, reason| {
            log::info!("chat: {} disconnected: {reason}", socket.id());
            registration::end(&socket, reason);
            left.left(&socket, reason);
        });
        listen(&namespace, &chat);
        application::open(&io, service);
        let hearing = sessions.clone();
        // The namespace owns this, and not the other way round.
        let here = namespace.downgrade();
        namespace.on_server_event(move |event| {
            if let Some(namespace) = here.upgrade() {
                adapter::hear(&hearing, namespace.local(), event);
            }
        });

        watch(service, sessions.clone(), cluster.clone());
        rt::spawn(sessions.clone().run());
        connection_metrics::register(&io, sessions.clone(), cluster.clone(), service);
        if let Some(cluster) = cluster {
            rt::spawn(bridge::run(service.clone(), namespace.clone(), cluster, presence.clone()));
        }
        rt::spawn(presence.run(namespace, service.edge.clone()));
        rt::spawn(connection_metrics::collect(io.clone(), service.clone()));
        let closing = io.clone();
        // Requests in progress complete while the process drains.
        service.edge.drain.on_begin(move || drop(closing.close()));
        Ok(Self { io, log: service.log().clone() })
    }

    /// The routes of this service: polls of sessions at `/socket.io/`, and WebSockets there, take a shortcut past the application.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let Self { io, log } = self.clone();
        Routes::default().shortcut("/socket.io/", "/socket.io/{tail:.*}", move |parts, body| match body {
            RequestBody::Complete(body) => {
                let request = PollRequest { method: parts.method, query: parts.query, headers: parts.headers, body };
                io.answer_poll(&request).map(|answer| response(async move { Ok(answer.await) }))
            }
            RequestBody::Stream(_) if *parts.method != Method::GET => None,
            RequestBody::Stream(incoming) => {
                let (path, query, headers) = (parts.path, parts.query, parts.headers);
                let address = parts.peer.map(|peer| peer.ip());
                let request = WebSocketRequest { path, query, headers, address };
                let (answer, log) = (io.answer_upgrade(&request, incoming)?, log.clone());
                Some(response(async move {
                    Ok(match answer.await {
                        Ok(open) => open.map_body(|_, socket| ResponseBody::live(Box::new(Body::new(socket, log)))),
                        Err(refusal) => ResponseBody::boxed(refusal),
                    })
                }))
            }
        })
    }

    /// What this service adds to actix-web's application: `/socket.io/`, and its page at `/chat`.
    pub fn application(&self, config: &mut ServiceConfig) {
        config.configure(self.io.routes()).configure(crate::page::routes);
    }

    /// The underlying server, for its counters.
    #[must_use]
    pub fn io(&self) -> &SocketIo {
        &self.io
    }
}

/// Reports problems of the chat to `/readyz` and the log.
fn watch(service: &Service, sessions: Sessions, cluster: Option<Arc<RedisAdapter>>) {
    let resumed = match service.edge.settings.bus {
        BusAddress::Redis(_) => "with another replica",
        BusAddress::File(_) | BusAddress::Memory => "after a restart",
    };
    service.edge.readiness.watch(move || {
        let sessions = sessions.problem().map(|why| {
            let message = format!("sessions are not stored, so clients cannot resume them {resumed}: {why}");
            Degradation::new(reason::SESSION_STORE, message)
        });
        let cluster = cluster.as_ref().and_then(|cluster| cluster.problem()).map(|why| {
            let message = format!("presence, typing and other events do not reach other replicas: {why}");
            Degradation::new(reason::SOCKET_CLUSTER, message)
        });
        sessions.into_iter().chain(cluster).collect()
    });
}

/// The adapter for sockets on other replicas, if there may be any.
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
    SocketIo::builder()
        .origins(Origins::decide(move |origin| origins.allows(origin, None)))
        // A reconnecting client is checked again: its token, and whether there is room for it.
        .recovery(recovery)
        .client_bundle(client::bundle(settings.client_dir.as_deref()))
        .adapter(Arc::new(adapter))
        .allow_request(async move |handshake| connect::allow(&allowing, &handshake))
        .sid_prefix(move |handshake| connect::session_key(&edge, handshake))
        .configure(|config| {
            (config.ping_interval, config.ping_timeout) = (settings.ping_interval, settings.ping_timeout);
            config.packet_rate = settings.socket_rate.unwrap_or(0);
            config.kept_headers = Some(connect::kept_headers(settings));
            config.max_auth_bytes = connect::MAX_AUTH_BYTES;
            // The layer around all services adds the headers, which depend on more than the origin.
            config.cors = None;
            config.allow_eio3 = true;
            config.msgpack = true;
            bound_memory(config, settings);
        })
        .build()
}

/// The limits in bytes that follow from the settings. Those of one connection are a quarter of those of all, and every limit allows the
/// largest message.
fn bound_memory(config: &mut socketio::Config, settings: &Settings) {
    // A message may be as large as over HTTP.
    let message = settings.max_body.map_or(0, |bytes| bytes.saturating_add(MESSAGE_OVERHEAD));
    config.max_http_buffer_size = config.max_http_buffer_size.max(message);
    config.max_packet_bytes = 2 * config.max_http_buffer_size;
    let least = config.max_packet_bytes;
    // 0 is no limit in both.
    let total = |limit: Option<usize>| limit.map_or(0, |limit| limit.max(least));
    let share = |limit: Option<usize>, default: usize| limit.map_or(default, |limit| (limit / 4).max(least));
    config.max_pending_total = total(settings.outbox_total);
    config.max_pending_bytes = share(settings.outbox_total, config.max_pending_bytes.max(least));
    config.max_receiving_total = total(settings.receive_total);
    config.max_handler_total = total(settings.receive_total);
    config.max_handler_bytes = share(settings.receive_total, config.max_handler_bytes.max(least));
}

/// The events of the chat. All are handled in one place, so that unknown ones get an answer, too.
fn listen(namespace: &Namespace, chat: &events::ChatEvents) {
    let chat = chat.clone();
    namespace.on_any(async move |socket: Socket, event: Event, ack: Ack| {
        // Without a member the socket is disconnecting, and nobody waits for an answer.
        if let Some(member) = socket.get::<Member>() {
            registration::record(&chat.service, &socket, &event);
            answer(&chat, &socket, &member, &event, &ack).await;
        }
    });
}

/// Handles an event and acks it, whatever it is.
async fn answer(chat: &events::ChatEvents, socket: &Socket, member: &Member, event: &Event, ack: &Ack) {
    let name = event.name();
    if !chat.knows(&name) {
        return chat.application.answer(socket, &member.access, event, ack).await;
    }
    let args = match Args::of(event.payload()) {
        Ok(args) => args,
        Err(error) => return reply::refuse(ack, Refusal::new("bad_arguments", error)),
    };
    match &*name {
        CHAT_MESSAGE => reply::send(ack, &chat.say(member, &args).await),
        "join" => reply::unless_ok(ack, chat.join(socket, member, &args, ack).await),
        "history" => reply::unless_ok(ack, chat.history(member, &args, ack)),
        "leave" => reply::send(ack, &chat.leave(socket, member, &args)),
        "name" => reply::send(ack, &chat.name(socket, member, &args)),
        "typing" => reply::send(ack, &chat.typing(socket, member, &args)),
        "subscribe" => reply::send(ack, &chat.subscribe(socket, member, &args).await),
        _ => reply::send(ack, &chat.unsubscribe(socket, member, &args)),
    }
}

#[cfg(test)]
mod tests;
