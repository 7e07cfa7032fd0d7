//! The command as it is typed: tokens, faults, and what is said at the start.

#![allow(clippy::unwrap_used, reason = "it is how a test fails")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn standalone() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standalone"));
    command.env_clear().env("RUST_LOG", "off");
    command
}

fn token(args: &[&str]) -> Output {
    standalone().env("TRIDENT_SECRET", SECRET).arg("token").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A server, ended with the test.
struct Server {
    child: Child,
    address: SocketAddr,
    /// What it said on stderr before it was ready.
    said: String,
}

impl Server {
    fn start() -> Self {
        // Free a moment ago; should somebody take it meanwhile, the start fails and says so.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut child = standalone().env("TRIDENT_LISTEN", address.to_string()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("Authorization") {
            assert_ne!(lines.read_line(&mut said).unwrap(), 0, "it ended early: {said}");
        }
        let server = Self { child, address, said };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "it listens within ten seconds");
            std::thread::yield_now();
        }
        server
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_token_is_all_that_is_printed() {
    let output = token(&["--publish", "news*", "--subscribe", "news*,jobs", "--ttl", "90s", "--sub", "backend"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let token = text(&output.stdout).strip_suffix('\n').unwrap();
    let claims = token.split('.').nth(1).unwrap();
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["sub"], "backend");
    assert_eq!(claims["trident"]["publish"], serde_json::json!(["news*"]));
    assert_eq!(claims["trident"]["subscribe"], serde_json::json!(["news*", "jobs"]));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let left = claims["exp"].as_f64().unwrap() - now;
    assert!((60.0..=91.0).contains(&left), "{left} s left of 90");
}

#[test]
fn a_token_takes_a_secret_and_patterns_that_are_some() {
    let output = standalone().args(["token", "--publish", "a"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("TRIDENT_SECRET"), "{}", text(&output.stderr));
    for args in [["--publish", "a b"], ["--publish", "*a"], ["--ttl", "soon"]] {
        let output = token(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(args[1]), "{}", text(&output.stderr));
    }
}

#[test]
fn every_fault_of_the_settings_is_told_at_once() {
    let mut command = standalone();
    command.env("TRIDENT_KEEPALIVE", "soon").env("TRIDENT_MAX_BODY", "64 kilos").env("TRIDENT_SECRET", "short");
    let output = command.arg("--workers=many").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    for setting in ["TRIDENT_KEEPALIVE", "TRIDENT_MAX_BODY", "TRIDENT_SECRET", "TRIDENT_WORKERS"] {
        assert!(told.contains(setting), "{setting} in {told}");
    }
    assert!(!told.contains("short"), "a secret is never printed: {told}");
}

#[test]
fn without_a_key_it_makes_one_and_says_how_to_publish_with_it() {
    let server = Server::start();
    let token = server.said.split("Bearer ").nth(1).unwrap().split('\'').next().unwrap();
    let answer = server.ask(&format!(
        "POST /events?channel=public.hello HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nHello"
    ));
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    for channel in ["public.hello", "random", "time"] {
        let answer = server.ask(&format!(
            "GET /data?channel={channel}&since=earliest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        assert!(answer.contains("\"messages\":[{"), "{channel}: {answer}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = standalone().env("TRIDENT_LISTEN", &address).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
}
