//! Authentication by the HTTP session of the application: only clients that have logged in connect.
//!
//! `cargo run --example session`, then in a page of the same origin, with the official client:
//!
//! ```js
//! await fetch("/login", { method: "POST", body: "mei" }); // sets the cookie of the session
//! const socket = io();
//! socket.on("welcome", (name) => console.log(name));
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::{
    App, Error, HttpMessage as _, HttpRequest, HttpResponse, HttpServer,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::{Next, from_fn},
    web::{self, ServiceConfig},
};
use socketio::{ConnectError, SocketIo};

/// The sessions: the name of each user by the secret in the cookie. An application has a crate for it, such as actix-session.
pub(crate) type Sessions = Arc<Mutex<HashMap<String, String>>>;

/// The user of a request, as the application's middleware found it.
#[derive(Clone)]
struct User(String);

async fn log_in(sessions: web::Data<Sessions>, name: String) -> HttpResponse {
    let Ok(secret) = socketio::engine::Sid::random() else { return HttpResponse::InternalServerError().finish() };
    sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_string(), name);
    let cookie = format!("session={secret}; HttpOnly; SameSite=Strict; Path=/");
    HttpResponse::NoContent().insert_header((header::SET_COOKIE, cookie)).finish()
}

/// The middleware of the application: it puts the user of the session into the request.
async fn authenticate(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let cookies = request.headers().get(header::COOKIE).and_then(|cookies| cookies.to_str().ok()).unwrap_or_default();
    let secret = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="));
    let user = match (request.app_data::<web::Data<Sessions>>(), secret) {
        (Some(sessions), Some(secret)) => {
            sessions.lock().unwrap_or_else(PoisonError::into_inner).get(secret).cloned().map(User)
        }
        _ => None,
    };
    if let Some(user) = user {
        request.extensions_mut().insert(user);
    }
    next.call(request).await
}

pub(crate) fn server() -> SocketIo {
    // What the first request of a connection says is kept with the connection.
    let take_user = |request: &HttpRequest| request.extensions().get::<User>().cloned();
    let io = SocketIo::builder().request_data(take_user).build();
    io.of("/")
        .middleware(async |socket| match socket.handshake().request_data::<Option<User>>() {
            Some(user) if user.is_some() => Ok(()),
            _ => Err(ConnectError::new("log in first")),
        })
        .on_connect(async |socket| {
            let user = socket.handshake().request_data::<Option<User>>();
            if let Some(User(name)) = user.as_deref().and_then(Option::as_ref) {
                drop(socket.emit("welcome", name));
            }
        });
    io
}

pub(crate) fn routes(io: &SocketIo, sessions: web::Data<Sessions>) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let socket_io = io.routes();
    move |app| {
        app.app_data(sessions).service(
            web::scope("").wrap(from_fn(authenticate)).route("/login", web::post().to(log_in)).configure(socket_io),
        );
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let (io, sessions) = (server(), web::Data::<Sessions>::default());
    HttpServer::new(move || App::new().configure(routes(&io, sessions.clone())))
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        .bind(("127.0.0.1", 3000))?
        .run()
        .await
}
