//! Rooms: a client joins and leaves them, sends to the others in a room, and asks who is there.
//!
//! `cargo run --example rooms`, then with the official client:
//!
//! ```js
//! const socket = io("http://localhost:3000");
//! await socket.emitWithAck("join", "news");
//! socket.on("said", (room, text) => console.log(room, text));
//! socket.emit("say", "news", "hello");
//! console.log(await socket.emitWithAck("who", "news"));
//! ```

use actix_web::{App, HttpServer};
use socketio::{Ack, Room, Socket, SocketIo};

pub(crate) fn server() -> SocketIo {
    let io = SocketIo::builder().build();
    io.of("/")
        // A client may join a limited number of rooms: `Config::max_rooms`.
        .on("join", async |socket, room: String, ack| drop(ack.send(&socket.join(room).is_ok())))
        .on("leave", async |socket, room: String, _| socket.leave(room))
        .on("say", async |socket, (room, text): (Room, String), _| {
            // Only members of a room send to it.
            if socket.rooms().contains(&room) {
                drop(socket.to(room.clone()).emit("said", &(room, text)));
            }
        })
        .on("who", who);
    io
}

/// The ids of the sockets in a room.
async fn who(socket: Socket, room: String, ack: Ack) {
    let members = socket.namespace().in_(room).fetch_sockets().await.unwrap_or_default();
    drop(ack.send(&members.iter().map(|member| member.id.clone()).collect::<Vec<_>>()));
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
