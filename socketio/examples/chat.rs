//! A chat: what one client says reaches all of them, with the name that the client gave.
//!
//! `cargo run --example chat`, then with the official client:
//!
//! ```js
//! const socket = io("http://localhost:3000", { auth: { name: "Mei" } });
//! socket.on("said", ({ name, text }) => console.log(name, text));
//! socket.emit("say", "hello");
//! ```

use std::sync::Arc;

use actix_web::{App, HttpServer};
use serde::{Deserialize, Serialize};
use socketio::{ConnectError, SocketIo};

/// What the client sends as `auth`.
#[derive(Deserialize)]
struct Auth {
    name: Arc<str>,
}

/// The name of a client, stored with its socket.
struct Name(Arc<str>);

#[derive(Serialize)]
struct Said<'a> {
    name: &'a str,
    text: &'a str,
}

pub(crate) fn server() -> SocketIo {
    let io = SocketIo::builder().build();
    io.of("/")
        .middleware(async |socket| {
            let auth: Auth = socket.auth().map_err(|_| ConnectError::new("`auth.name` must be a string"))?;
            socket.insert(Name(auth.name));
            Ok(())
        })
        .on("say", async |socket, text: String, _| {
            if let Some(name) = socket.get::<Name>() {
                drop(socket.namespace().emit("said", &Said { name: &name.0, text: &text }));
            }
        });
    io
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let io = server();
    HttpServer::new(move || App::new().configure(io.routes()))
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        .bind(("127.0.0.1", 3000))?
        .run()
        .await
}
