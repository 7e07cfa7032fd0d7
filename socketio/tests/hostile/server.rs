//! The server under test, in its own thread, and ways to connect.

use std::net::SocketAddr;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use actix_web::{App, HttpServer};
use socketio::{Args, Config, Namespace, Origins, Socket, SocketIo, Value};

use crate::raw::{PATIENCE, Response, Tcp, WebSocket, request};

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) io: SocketIo,
    ends: Mutex<mpsc::Receiver<String>>,
    handle: actix_web::dev::ServerHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Signalled and not waited for: its thread ends on its own.
        drop(self.handle.stop(false));
    }
}

/// A server as Node's is by default.
pub(crate) fn start() -> Server {
    start_with(|_| {})
}

/// The namespaces are `/`, `/admin` and `/picky`, which rejects everybody. On the first two, `echo` is sent back, with an acknowledgement
/// if requested, and `leave`, `close` and `ask` make the server act.
pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Server {
    start_as("/socket.io/", change)
}

pub(crate) fn start_as(path: &str, change: impl FnOnce(&mut Config)) -> Server {
    let io = SocketIo::builder().path(path).origins(Origins::any()).configure(change).build();
    let (end, ends) = mpsc::channel();
    for name in ["/", "/admin"] {
        handlers(&io.of(name), end.clone());
    }
    io.of("/picky")
        .middleware(async |_| Err(socketio::ConnectError::new("not you").with_data(serde_json::json!({ "code": 7 }))));

    let (started, starting) = mpsc::channel();
    let routes = io.clone();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(move || App::new().configure(routes.routes()))
                .h1_allow_half_closed(false)
                .workers(1)
                .disable_signals()
                .bind(("127.0.0.1", 0))
                .unwrap();
            let address = server.addrs()[0];
            let server = server.run();
            started.send((address, server.handle())).unwrap();
            server.await.unwrap();
        });
    });
    let (address, handle) = starting.recv_timeout(PATIENCE).unwrap();
    Server { address, io, ends: Mutex::new(ends), handle }
}

fn handlers(namespace: &Namespace, end: mpsc::Sender<String>) {
    namespace
        .on("echo", async |socket, args: Args, ack| {
            if ack.is_wanted() {
                drop(ack.send(&args));
            } else {
                drop(socket.emit("echo", &args));
            }
        })
        .on("1", async |socket, args: Args, _| drop(socket.emit("one", &args)))
        .on("ask", async |socket, (), _| {
            if socket.emit_with_ack::<Value>("question", &()).await.is_ok() {
                drop(socket.emit("answer", &true));
            }
        })
        .on("leave", async |socket, (), _| socket.disconnect())
        .on("close", async |socket, (), _| socket.close_connection())
        .on("id", async |socket: Socket, (), _| drop(socket.emit("id", &socket.id().to_string())))
        .on_disconnect(move |socket: Socket, reason| {
            // After the test nobody listens.
            let _ = end.send(format!("{} {reason}", socket.namespace().name()));
            std::future::ready(())
        });
}

impl Server {
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        request(self.address, method, path, headers, body)
    }

    #[track_caller]
    pub(crate) fn get(&self, query: &str) -> Response {
        self.request("GET", &format!("/socket.io/?{query}"), &[], b"")
    }

    /// A polling session of protocol 4.
    #[track_caller]
    pub(crate) fn open(&self) -> Session<'_> {
        let response = self.get("EIO=4&transport=polling");
        assert_eq!(response.status, 200, "{response:?}");
        let open: serde_json::Value = serde_json::from_str(response.text().strip_prefix('0').unwrap()).unwrap();
        Session { server: self, sid: open["sid"].as_str().unwrap().to_owned() }
    }

    /// A WebSocket of protocol 4, its handshake read.
    #[track_caller]
    pub(crate) fn websocket(&self) -> WebSocket {
        let mut socket = WebSocket::connect(self.address, "/socket.io/?EIO=4&transport=websocket");
        assert!(socket.next_text().starts_with("0{"));
        socket
    }

    /// A WebSocket that has joined `/`.
    #[track_caller]
    pub(crate) fn joined(&self) -> WebSocket {
        let mut socket = self.websocket();
        socket.text("40");
        assert!(socket.next_text().starts_with(r#"40{"sid":"#));
        socket
    }

    /// The next socket's end, as `<namespace> <reason>`.
    #[track_caller]
    pub(crate) fn end(&self) -> String {
        self.ends.lock().unwrap().recv_timeout(PATIENCE).expect("no socket has ended")
    }

    /// No socket has ended so far, and none does in a moment.
    #[track_caller]
    pub(crate) fn assert_no_end(&self) {
        let end = self.ends.lock().unwrap().recv_timeout(Duration::from_millis(50));
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Timeout));
    }
}

pub(crate) struct Session<'a> {
    pub(crate) server: &'a Server,
    pub(crate) sid: String,
}

impl Session<'_> {
    pub(crate) fn path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.sid)
    }

    pub(crate) fn websocket_path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=websocket&sid={}", self.sid)
    }

    #[track_caller]
    pub(crate) fn poll(&self) -> Response {
        self.server.request("GET", &self.path(), &[], b"")
    }

    /// A poll that waits.
    pub(crate) fn begin_poll(&self) -> Tcp {
        let mut tcp = Tcp::connect(self.server.address);
        tcp.request("GET", &self.path(), &[], b"");
        tcp
    }

    #[track_caller]
    pub(crate) fn post(&self, body: &str) -> Response {
        self.post_as("text/plain;charset=UTF-8", body.as_bytes())
    }

    #[track_caller]
    pub(crate) fn post_as(&self, kind: &str, body: &[u8]) -> Response {
        self.server.request("POST", &self.path(), &[("Content-Type", kind)], body)
    }

    /// Joins `/`.
    #[track_caller]
    pub(crate) fn join(&self) {
        assert_eq!(self.post("40").text(), "ok");
        assert!(self.poll().text().starts_with(r#"40{"sid":"#));
    }

    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        crate::raw::eventually(|| (self.poll().status == 400).then_some(()));
        self.poll().assert_error(400, 1, "Session ID unknown");
    }
}
