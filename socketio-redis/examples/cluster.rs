//! A server of a cluster that does what its clients tell it to, for end-to-end tests beside Node's servers (`e2e/cluster`), whose
//! `support/node.js` does the same.
//!
//! `PORT=3200 REDIS_URL=redis://127.0.0.1/ cargo run -p socketio-redis --example cluster`

use std::{sync::Arc, time::Duration};

use actix_web::{App, HttpServer};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use socketio::{Args, BroadcastOperator, Namespace, Origins, Room, SocketIo};
use socketio_redis::{Config, RedisAdapter};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variable = |name: &str| std::env::var(name).ok();
    let port = variable("PORT").and_then(|port| port.parse().ok()).unwrap_or(3200);
    let mut config = Config::default();
    if let Some(url) = variable("REDIS_URL") {
        config.url = url;
    }
    config.request_timeout = Duration::from_secs(3);
    config.specific_responses = variable("SPECIFIC_RESPONSES").is_some();
    let adapter = RedisAdapter::connect(config)?;
    let io = SocketIo::builder().adapter(adapter.clone()).origins(Origins::any()).build();
    serve(&io.of("/"), &adapter);
    serve(&io.of("/chat"), &adapter);
    HttpServer::new(move || App::new().configure(io.routes()))
        .tcp_nodelay(true)
        .workers(2)
        .h1_allow_half_closed(false)
        .bind(("127.0.0.1", port))?
        .run()
        .await?;
    Ok(())
}

/// Whom something is for.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Whom {
    rooms: Vec<Room>,
    except: Vec<Room>,
    volatile: bool,
    local: bool,
}

impl Whom {
    fn among(self, namespace: &Namespace) -> BroadcastOperator {
        let Self { rooms, except, volatile, local } = self;
        let mut chosen = namespace.to(rooms).except(except);
        if volatile {
            chosen = chosen.volatile();
        }
        if local {
            chosen = chosen.local();
        }
        chosen
    }
}

fn serve(namespace: &Namespace, adapter: &Arc<RedisAdapter>) {
    let all = namespace.downgrade();
    namespace.on_server_event(move |event| {
        let Some(all) = all.upgrade() else { return };
        let args: Args = event.args().unwrap_or_default();
        let name = event.name();
        drop(all.on_this_server().emit("server event", &(&*name, &args.0)));
        if name == "load" {
            drop(event.answer(&json!({ "server": "rust", "asked": args.0 })));
        }
    });
    namespace.on_connect(async |socket| drop(socket.set_data(&json!({ "on": "rust" }))));
    let stats = adapter.clone();
    namespace
        .on("stats", async move |_, (), ack| drop(ack.send(&format!("{:?}", stats.stats()))))
        .on("join", async |socket, rooms: Vec<Room>, ack| {
            let joined = socket.join(rooms);
            drop(ack.send(&joined.is_ok()));
        })
        .on("rooms", async |socket, (), ack| {
            let mut rooms = socket.rooms();
            rooms.sort();
            drop(ack.send(&rooms));
        })
        .on("emit", async |socket, (whom, event, args): (Whom, String, Vec<socketio::Value>), ack| {
            let sent = whom.among(socket.namespace()).emit(&event, &Args(args)).await;
            drop(ack.send(&outcome(sent.map(|()| json!(true)))));
        })
        .on("ask", async |socket, (whom, args): (Whom, Vec<socketio::Value>), ack| {
            let chosen = whom.among(socket.namespace()).timeout(Duration::from_secs(2));
            match chosen.emit_with_ack::<socketio::Value>("question", &Args(args)).await {
                Ok(responses) => drop(ack.send(&((responses.answers, responses.missing),))),
                Err(error) => drop(ack.send(&error.to_string())),
            }
        })
        .on("fetch", async |socket, whom: Whom, ack| {
            let found = whom.among(socket.namespace()).fetch_sockets().await;
            let found = found.map(|sockets| {
                let described = sockets.into_iter().map(|socket| {
                    json!({ "id": &*socket.id, "rooms": socket.rooms, "data": socket.data, "issued": socket.issued > 0 })
                });
                Json::Array(described.collect())
            });
            drop(ack.send(&outcome(found)));
        })
        .on("sockets join", async |socket, (whom, rooms): (Whom, Vec<Room>), ack| {
            let done = whom.among(socket.namespace()).sockets_join(rooms).await;
            drop(ack.send(&outcome(done.map(|()| json!(true)))));
        })
        .on("sockets leave", async |socket, (whom, rooms): (Whom, Vec<Room>), ack| {
            let done = whom.among(socket.namespace()).sockets_leave(rooms).await;
            drop(ack.send(&outcome(done.map(|()| json!(true)))));
        })
        .on("disconnect sockets", async |socket, (whom, close): (Whom, bool), ack| {
            let done = whom.among(socket.namespace()).disconnect_sockets(close).await;
            drop(ack.send(&outcome(done.map(|()| json!(true)))));
        })
        .on("tell servers", async |socket, (event, args): (String, Vec<socketio::Value>), ack| {
            let done = socket.namespace().server_side_emit(&event, &Args(args)).await;
            drop(ack.send(&outcome(done.map(|()| json!(true)))));
        })
        .on("ask servers", async |socket, (event, args): (String, Vec<socketio::Value>), ack| {
            let answers = socket.namespace().server_side_emit_with_ack::<Json>(&event, &Args(args)).await;
            drop(ack.send(&outcome(answers.map(|responses| Json::Array(responses.answers)))));
        })
        .on("count", async |socket, (), ack| {
            let count = socket.namespace().server_count().await;
            drop(ack.send(&outcome(count.map(|count| json!(count)))));
        });
    let adapter = adapter.clone();
    namespace.on("all rooms", async move |socket, (), ack| {
        let rooms = adapter.all_rooms(socket.namespace()).await;
        drop(ack.send(&outcome(rooms.map(|rooms| json!(rooms)))));
    });
}

/// An error is told as its text.
fn outcome<E: std::fmt::Display>(result: Result<Json, E>) -> Json {
    result.unwrap_or_else(|error| json!(error.to_string()))
}
