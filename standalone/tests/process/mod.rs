//! Processes of the command, ended with the test.

#![allow(dead_code, reason = "each test file that has this module uses some of it")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

/// A key that servers and tokens of a test share.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The command, in an empty environment.
pub(crate) fn standalone() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standalone"));
    command.env_clear().env("RUST_LOG", "off");
    command
}

/// An address for a server; see [`shared::testing::free_port`].
pub(crate) fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, shared::testing::free_port()).into()
}

/// What `text` is.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it said on stderr before it was ready.
    pub(crate) said: String,
}

impl Server {
    /// With a key that it makes itself.
    pub(crate) fn start() -> Self {
        Self::with(free_address(), &[], "Authorization")
    }

    /// With [`SECRET`], at `address`.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self::with(address, &[("TRIDENT_SECRET", SECRET), ("TRIDENT_DEMO", "off")], "token --help")
    }

    /// With `settings`; it is ready when it has printed `last_words`.
    pub(crate) fn with(address: SocketAddr, settings: &[(&str, &str)], last_words: &str) -> Self {
        let mut command = standalone();
        command.env("TRIDENT_LISTEN", address.to_string()).envs(settings.iter().copied()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains(last_words) {
            assert_ne!(lines.read_line(&mut said).unwrap(), 0, "it ended early: {said}");
        }
        // Keep reading, or the process would block when the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let server = Self { child, address, said };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "it listens in time");
            std::thread::yield_now();
        }
        server
    }

    /// The answer to a request with `Connection: close`.
    pub(crate) fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Publishes a text and gives its id.
    pub(crate) fn publish(&self, channel: &str, data: &str) -> String {
        let answer = self.ask(&format!(
            "POST /events?channel={channel} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{data}",
            token(&["--publish", "*"]),
            data.len(),
        ));
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        answer.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A token of [`SECRET`].
pub(crate) fn token(args: &[&str]) -> String {
    let output = standalone().env("TRIDENT_SECRET", SECRET).arg("token").args(args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// A running command whose lines are read as they come.
pub(crate) struct Talk {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    _stdin: Option<ChildStdin>,
}

impl Talk {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::piped()).spawn().unwrap();
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        let stdin = child.stdin.take();
        Self { child, out, err, _stdin: stdin }
    }

    /// The next line of stdout.
    pub(crate) fn out(&self) -> String {
        self.out.recv_timeout(PATIENCE).unwrap()
    }

    /// The next line of stderr that contains `part`.
    pub(crate) fn err(&self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let line = self.err.recv_timeout(until - Instant::now());
            let line = line.unwrap_or_else(|error| panic!("{part:?} on stderr: {error}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Checks that stdout has no unread line when the process has ended.
    pub(crate) fn rest(&self) -> Vec<String> {
        let mut rest = Vec::new();
        loop {
            match self.out.recv_timeout(PATIENCE) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("stdout stays open"),
            }
        }
    }

    /// As Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends a signal, as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it ends in time");
            std::thread::yield_now();
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
