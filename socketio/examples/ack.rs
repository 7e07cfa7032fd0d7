//! Acknowledgements in both directions: the server answers an event of the client, and asks the client with a time limit.
//!
//! `cargo run --example ack`, then with the official client:
//!
//! ```js
//! const socket = io("http://localhost:3000");
//! console.log(await socket.emitWithAck("add", 1, 2)); // 3
//! socket.on("guess", (least, most, answer) => answer(7));
//! console.log(await socket.emitWithAck("play")); // "7 is right"
//! ```

use std::time::Duration;

use actix_web::{App, HttpServer};
use socketio::{AckError, SocketIo};

/// How long a client may think.
const TIME_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn server() -> SocketIo {
    let io = SocketIo::builder().build();
    io.of("/").on("add", async |_, (a, b): (i64, i64), ack| drop(ack.send(&a.saturating_add(b)))).on(
        "play",
        async |socket, (), ack| {
            let guess = socket.emit_with_ack_timeout::<u32>(TIME_LIMIT, "guess", &(1, 10)).await;
            let result = match guess {
                Ok(7) => "7 is right".to_owned(),
                Ok(other) => format!("{other} is wrong"),
                Err(AckError::Timeout) => "that took too long".to_owned(),
                Err(error) => error.to_string(),
            };
            drop(ack.send(&result));
        },
    );
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
