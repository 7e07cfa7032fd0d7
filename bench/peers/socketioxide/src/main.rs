//! A server on socketioxide, for comparison: what trident-bench publishes over HTTP goes to a room, and clients ask for rooms.
//!
//! One thread, as the measured server has one core; no delay of small writes; release build with one unit of code.

use std::{error::Error, net::SocketAddr};

use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    routing::{get, post},
    serve::ListenerExt as _,
};
use serde::Deserialize;
use socket2::{Domain, Socket, Type};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[derive(Deserialize)]
struct Target {
    channel: String,
}

#[derive(Deserialize)]
struct Rooms {
    channels: Vec<String>,
}

async fn publish(State(io): State<SocketIo>, Query(target): Query<Target>, text: String) -> StatusCode {
    // It also fails when some client does not keep up, which is that client's loss and is counted where it is measured.
    let _ = io.to(target.channel).emit("message", &text).await;
    StatusCode::CREATED
}

async fn connected(socket: SocketRef) {
    socket.on("subscribe", async |socket: SocketRef, Data::<Rooms>(rooms), ack: AckSender| {
        socket.join(rooms.channels);
        let _ = ack.send(&());
    });
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = std::env::args().nth(1).ok_or("which address?")?.parse()?;
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", connected);
    let routes = Router::new().route("/readyz", get(async || "ready")).route("/events", post(publish)).with_state(io);

    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    // An option that cannot be set is gone without.
    let listener = TcpListener::from_std(socket.into())?.tap_io(|stream| drop(stream.set_nodelay(true)));
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = async { axum::serve(listener, routes.layer(layer)).await } => ended?,
        _ = term.recv() => {}
    }
    Ok(())
}
