//! The server that the official JavaScript client's own tests expect: a little of everything, on port 3210.
//!
//! `cargo run -p socketio --example client_suite`

use std::time::{Duration, SystemTime};

use actix_web::{App, HttpServer, rt::time::sleep};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use socketio::{Args, Binary, ConnectError, Namespace, Origins, Recovery, Socket, SocketIo, Value, iso_date};

#[derive(Serialize)]
struct DateObject {
    date: String,
}

#[derive(Deserialize)]
struct Test {
    test: bool,
}

#[derive(Deserialize)]
struct Mixed {
    hello: String,
    #[serde(alias = "blob")]
    message: Binary,
}

/// The first of two events that must come in order has come.
struct First;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    env_logger::init();
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3210);

    let io = SocketIo::builder()
        .ping_interval(Duration::from_secs(2))
        .origins(Origins::any())
        // The client's tests of its own connection timeout need a handshake that takes a moment.
        .allow_request(async |_| {
            sleep(Duration::from_millis(10)).await;
            Ok(())
        })
        .recovery(Recovery::default())
        .configure(|config| config.msgpack = true)
        .build();

    for quiet in ["/timeout_socket", "/valid", "/asd"] {
        io.of(quiet);
    }
    io.of("/foo").on("getId", get_id);
    io.of("/abc").on_connect(async |socket| drop(socket.emit("handshake", &socket.handshake_json())));
    io.of("/no").middleware(async |_| Err(ConnectError::new("Auth failed (custom namespace)")));

    let root = io.of("/");
    root.middleware(async |socket| match socket.handshake().query_value("fail") {
        Some(_) => Err(ConnectError::new("Auth failed (main namespace)")),
        None => Ok(()),
    });
    texts(&root);
    acks(&root);
    binaries(&root);

    HttpServer::new(move || App::new().configure(io.routes()))
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}

fn now() -> String {
    iso_date(SystemTime::now())
}

async fn get_id(socket: Socket, _: (), ack: socketio::Ack) {
    drop(ack.send(socket.id()));
}

fn texts(root: &Namespace) {
    root.on("hi", async |socket, (), _| drop(socket.emit("hi", &())))
        .on("getDate", async |socket, (), _| drop(socket.emit("takeDate", &now())))
        .on("getDateObj", async |socket, (), _| drop(socket.emit("takeDateObj", &DateObject { date: now() })))
        .on("getUtf8", async |socket, (), _| {
            for text in ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"] {
                drop(socket.emit("takeUtf8", text));
            }
        })
        .on("false", async |socket, (), _| drop(socket.emit("false", &false)));
}

fn acks(root: &Namespace) {
    root.on("echo", async |_, arg: Value, ack| drop(ack.send(&arg)))
        .on("ack", async |socket, (), _| {
            let answer = socket.emit_with_ack::<(u32, Test)>("ack", &()).await;
            if let Ok((5, Test { test: true })) = answer {
                drop(socket.emit("got it", &()));
            }
        })
        .on("getAckDate", async |_, _: Args, ack| drop(ack.send(&now())))
        .on("getHandshake", async |socket, (), ack| drop(ack.send(&socket.handshake_json())))
        .on("getId", get_id);
}

fn binaries(root: &Namespace) {
    let bytes = || Binary(Bytes::from_static(b"asdfasdf"));
    root.on("doge", async move |socket, (), _| drop(socket.emit("doge", &bytes())))
        .on("getbin", async move |socket, (), _| drop(socket.emit("takebin", &bytes())))
        .on("buffa", async |socket, _: Binary, _| drop(socket.emit("buffack", &())))
        .on("blob", async |socket, _: Binary, _| drop(socket.emit("back", &())))
        .on("jsonbuff", async |socket, mixed: Mixed, _| answer_mixed(&socket, &mixed, "jsonbuff-ack"))
        .on("jsonblob", async |socket, mixed: Mixed, _| answer_mixed(&socket, &mixed, "jsonblob-ack"))
        .on("abuff1", async |socket, _: Binary, _| drop(socket.insert(First)))
        .on("abuff2", async |socket, _: Args, _| answer_second(&socket, "abuff2-ack"))
        .on("blob1", async |socket, _: Value, _| drop(socket.insert(First)))
        .on("blob3", async |socket, _: Value, _| answer_second(&socket, "blob3-ack"));
}

fn answer_mixed(socket: &Socket, mixed: &Mixed, event: &str) {
    if mixed.hello == "lol" && !mixed.message.0.is_empty() {
        drop(socket.emit(event, &()));
    }
}

fn answer_second(socket: &Socket, event: &str) {
    if socket.remove::<First>().is_some() {
        drop(socket.emit(event, &()));
    }
}
