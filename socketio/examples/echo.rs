//! A Socket.IO server that sends every message back, with the timings that the protocol's test suite expects.
//!
//! `PORT=3000 cargo run -p socketio --example echo`

use std::time::Duration;

use actix_web::{App, HttpServer};
use socketio::{Args, Origins, Socket, SocketIo, Value};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);

    let io = SocketIo::builder()
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(200))
        .connect_timeout(Duration::from_secs(1))
        .origins(Origins::any())
        .configure(|config| {
            let extras = std::env::var_os("EXTRAS").is_some();
            config.allow_eio3 = extras;
            config.jsonp = extras;
            config.msgpack = extras;
        })
        .build();

    io.of("/")
        .on_connect(async |socket| send_auth(&socket))
        .on("message", async |socket, args: Args, _| drop(socket.emit("message-back", &args)))
        .on("message-with-ack", async |_, args: Args, ack| drop(ack.send(&args)))
        .on("emit-with-ack", async |socket, args: Args, _| {
            if let Ok(answer) = socket.emit_with_ack::<Args>("emit-with-ack", &args).await {
                drop(socket.emit("emit-with-ack", &answer));
            }
        });
    io.of("/custom").on_connect(async |socket| send_auth(&socket));

    HttpServer::new(move || App::new().configure(io.routes()))
        .tcp_nodelay(true)
        // A client that has gone away must be noticed while its poll waits.
        .h1_allow_half_closed(false)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}

fn send_auth(socket: &Socket) {
    let auth: Value = socket.auth().unwrap_or_default();
    drop(socket.emit("auth", &auth));
}
