//! Tests handlers without a port and without a browser: the test is a client of long polling in the same process.
//!
//! `cargo test --example testing` runs the tests, `cargo run --example testing` the server.

use actix_web::{App, HttpServer};
use socketio::SocketIo;

pub(crate) fn server() -> SocketIo {
    let io = SocketIo::builder().build();
    io.of("/").on("shout", async |socket, text: String, ack| {
        let loud = text.to_uppercase();
        drop(socket.emit("shouted", &loud));
        drop(ack.send(&loud.chars().count()));
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

#[cfg(test)]
mod tests {
    use actix_http::Request;
    use actix_web::{
        dev::{Service, ServiceResponse},
        test::{TestRequest, call_and_read_body, init_service},
    };

    use super::*;

    /// The separator of packets in one body (Engine.IO protocol 4, "Payload encoding").
    const SEPARATOR: char = '\u{1e}';

    /// A client of long polling.
    struct Client<S> {
        app: S,
        path: String,
    }

    impl<S: Service<Request, Response = ServiceResponse, Error = actix_web::Error>> Client<S> {
        /// Opens a session and connects to the namespace `/`.
        async fn connect(app: S) -> Self {
            let mut client = Self { app, path: "/socket.io/?EIO=4&transport=polling".to_owned() };
            let open = client.receive().await.remove(0);
            let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
            client.path = format!("{}&sid={}", client.path, open["sid"].as_str().unwrap());
            client.send("40").await;
            assert!(client.receive().await[0].starts_with("40{"));
            client
        }

        /// Sends a packet.
        async fn send(&self, packet: &str) {
            let request = TestRequest::post().uri(&self.path).set_payload(packet.to_owned()).to_request();
            assert_eq!(call_and_read_body(&self.app, request).await, "ok");
        }

        /// Waits for packets.
        async fn receive(&self) -> Vec<String> {
            let request = TestRequest::get().uri(&self.path).to_request();
            let body = call_and_read_body(&self.app, request).await;
            std::str::from_utf8(&body).unwrap().split(SEPARATOR).map(str::to_owned).collect()
        }
    }

    #[actix_web::test]
    async fn a_shout_is_in_capitals_and_counted() {
        let client = Client::connect(init_service(App::new().configure(server().routes())).await).await;
        // An event with the number 5, by which the client recognizes the answer.
        client.send(r#"425["shout","hey"]"#).await;
        assert_eq!(client.receive().await, [r#"42["shouted","HEY"]"#, "435[3]"]);
    }
}
