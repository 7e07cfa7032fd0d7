//! A server with one of everything, for end-to-end tests with real clients (`e2e/socketio`): old and new protocols, both parsers,
//! rooms, namespaces, acknowledgements both ways, recovery.
//!
//! `PORT=3100 cargo run -p socketio --example e2e`; `CLIENT_DIR` names the `dist/` of npm's `socket.io-client`.

use std::time::Duration;

use actix_web::{App, HttpServer};
use serde_json::json;
use socketio::{
    Ack, AckError, Args, Config, ConnectError, Namespace, Origins, Recovery, Socket, SocketIo, Value, bundle::Bundle,
};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3100);
    let io = SocketIo::builder().configure(configure).build();

    for name in ["/", "/admin"] {
        messages(&io.of(name));
        questions(&io.of(name));
        rooms(&io.of(name));
    }
    io.of("/guarded").middleware(async |socket| {
        let auth: Value = socket.auth().unwrap_or_default();
        match auth.get("token").and_then(Value::as_str) {
            Some("open sesame") => Ok(()),
            _ => Err(ConnectError::new("not authorized").with_data(json!({ "code": 401 }))),
        }
    });
    io.of_matching(|name| name.strip_prefix("/tenant-").is_some_and(|id| id.parse::<u32>().is_ok()))
        .on("where", async |socket, (), ack| drop(ack.send(&**socket.namespace().name())));

    HttpServer::new(move || App::new().configure(io.routes()))
        .tcp_nodelay(true)
        // A client that has gone away must be noticed while its poll waits.
        .h1_allow_half_closed(false)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}

fn configure(config: &mut Config) {
    config.ping_interval = Duration::from_secs(1);
    config.ping_timeout = Duration::from_secs(2);
    config.origins = Origins::any();
    config.recovery = Some(Recovery::default());
    config.allow_eio3 = true;
    config.jsonp = true;
    config.msgpack = true;
    config.client_bundle = std::env::var_os("CLIENT_DIR").map(Bundle::open);
}

fn messages(namespace: &Namespace) {
    namespace
        .on("echo", async |socket, args: Args, ack| match ack.is_wanted() {
            true => drop(ack.send(&args)),
            false => drop(socket.emit("echo", &args)),
        })
        .on("whoami", async |socket, (), ack| {
            drop(ack.send(&json!({ "id": &**socket.id(), "recovered": socket.recovered() })));
        })
        .on("handshake", async |socket, (), ack| drop(ack.send(&socket.handshake_json())))
        .on("auth", async |socket, (), ack| drop(ack.send(&socket.auth::<Value>().unwrap_or_default())))
        .on("leave", async |socket, (), _| socket.disconnect())
        .on("close", async |socket, (), _| socket.close_connection());
}

fn questions(namespace: &Namespace) {
    namespace
        // The client is asked in turn, and told what became of its answer.
        .on("ask me", async |socket, (milliseconds, args): (u64, Value), _| {
            let patience = Duration::from_millis(milliseconds);
            let outcome = match socket.emit_with_ack_timeout::<Args>(patience, "question", &args).await {
                Ok(answer) => socket.emit("answered", &answer),
                Err(AckError::Timeout) => socket.emit("unanswered", &"timeout"),
                Err(error) => socket.emit("unanswered", &error.to_string()),
            };
            drop(outcome);
        })
        // Everybody in a room is asked; the one who wanted to know gets all answers.
        .on("ask all", async |socket, (room, milliseconds): (String, u64), ack| {
            let patience = Duration::from_millis(milliseconds);
            match socket.in_(room).timeout(patience).emit_with_ack::<Value>("question", &()).await {
                Ok(responses) => drop(ack.send(&(responses.answers, responses.missing))),
                Err(error) => log::warn!("{error}"),
            }
        });
}

fn rooms(namespace: &Namespace) {
    namespace
        .on("join", async |socket, room: String, ack| drop(ack.send(&socket.join(room).is_ok())))
        .on("part", async |socket, room: String, ack| {
            socket.leave(room);
            drop(ack.send(&true));
        })
        .on("say", async |socket, (room, what): (String, Value), ack| {
            drop(socket.to(room).emit("said", &what));
            drop(ack.send(&()));
        })
        .on("shout", async |socket, what: Value, ack| {
            drop(socket.namespace().emit("shouted", &what));
            drop(ack.send(&()));
        })
        .on("who", who)
        .on("count", count);
}

/// The ids of a room's members.
async fn who(socket: Socket, room: String, ack: Ack) {
    match socket.namespace().in_(room).fetch_sockets().await {
        Ok(sockets) => drop(ack.send(&sockets.iter().map(|socket| socket.id.to_string()).collect::<Vec<_>>())),
        Err(error) => log::warn!("{error}"),
    }
}

/// Counts aloud in a room, so many numbers with so long a pause between them: something to miss while being away.
async fn count(socket: Socket, (room, numbers, microseconds): (String, u64, u64), ack: Ack) {
    drop(ack.send(&()));
    let namespace = socket.namespace().clone();
    for n in 0..numbers {
        drop(namespace.to(room.as_str()).emit("number", &n));
        actix_web::rt::time::sleep(Duration::from_micros(microseconds)).await;
    }
    drop(namespace.to(room.as_str()).emit("counted", &numbers));
}
