//! Emits from an HTTP handler: what is posted to `/notify/{room}` reaches the clients in the room.
//!
//! `cargo run --example notify`, then with the official client:
//!
//! ```js
//! const socket = io("http://localhost:3000", { query: { room: "orders" } });
//! socket.on("notice", (text) => console.log(text));
//! ```
//!
//! and `curl -d 'a new order' http://localhost:3000/notify/orders`.

use actix_web::{
    App, HttpResponse, HttpServer,
    web::{self, ServiceConfig},
};
use socketio::SocketIo;

pub(crate) fn server() -> SocketIo {
    let io = SocketIo::builder().build();
    io.of("/").on_connect(async |socket| {
        if let Some(room) = socket.handshake().query_value("room") {
            socket.join(room).ok();
        }
    });
    io
}

/// All clones of a [`SocketIo`] are the same server, so a handler gets one as data of the application.
async fn notify(io: web::Data<SocketIo>, room: web::Path<String>, text: String) -> HttpResponse {
    // With an adapter for a cluster, the result says whether the other servers were reached.
    match io.to(room.into_inner()).emit("notice", &text).await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => HttpResponse::ServiceUnavailable().body(error.to_string()),
    }
}

pub(crate) fn routes(io: &SocketIo) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let (io, socket_io) = (io.clone(), io.routes());
    move |app| {
        app.app_data(web::Data::new(io)).route("/notify/{room}", web::post().to(notify)).configure(socket_io);
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let io = server();
    HttpServer::new(move || App::new().configure(routes(&io)))
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        .bind(("127.0.0.1", 3000))?
        .run()
        .await
}
