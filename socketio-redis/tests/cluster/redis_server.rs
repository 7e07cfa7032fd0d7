//! A redis-server of the test's own.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// A running redis-server that keeps nothing, ended with the test.
pub(crate) struct RedisServer {
    child: Option<Child>,
    port: u16,
    /// Its files, if it accepts only TLS.
    tls: Option<Tls>,
}

/// A certificate with its key, and who has signed it, in a directory of their own.
struct Tls {
    dir: PathBuf,
    authority: Vec<u8>,
}

/// A port that was free a moment ago, and is not given again. It is none of those that the kernel gives to connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (number % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::on(free_port())
    }

    pub(crate) fn on(port: u16) -> Self {
        let mut server = Self { child: None, port, tls: None };
        server.run();
        server
    }

    /// One that takes nothing but TLS: its certificate is `certificate`, of `key`, signed by `authority`.
    pub(crate) fn encrypted(certificate: &str, key: &str, authority: &str) -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("socketio-redis-{}-{port}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for (name, text) in [("cert", certificate), ("key", key), ("ca", authority)] {
            fs::write(dir.join(name), text).unwrap();
        }
        let mut server = Self { child: None, port, tls: Some(Tls { dir, authority: authority.into() }) };
        server.run();
        server
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}/", self.port)
    }

    fn client(&self) -> redis::Client {
        let Some(Tls { authority, .. }) = &self.tls else { return redis::Client::open(self.url()).unwrap() };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root_cert = Some(authority.clone());
        redis::Client::build_with_tls(self.url(), redis::TlsCertificates { client_tls: None, root_cert }).unwrap()
    }

    /// Starts it (again), on the same port.
    pub(crate) fn run(&mut self) {
        let mut command = Command::new("redis-server");
        let port = self.port.to_string();
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        match &self.tls {
            None => command.args(["--port", &port]),
            Some(Tls { dir, .. }) => {
                for (option, name) in
                    [("--tls-cert-file", "cert"), ("--tls-key-file", "key"), ("--tls-ca-cert-file", "ca")]
                {
                    command.arg(option).arg(dir.join(name));
                }
                command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"])
            }
        };
        command.stdout(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server has to be installed: these tests run on a real one"));
        let started = Instant::now();
        let client = self.client();
        while client.get_connection().is_err() {
            let exit = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert_eq!(exit, None, "redis-server ended at its start");
            assert!(started.elapsed() < Duration::from_secs(10), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has it do nothing, with its connections open, until [`thaw`](Self::thaw).
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id();
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child of ours can be killed");
            child.wait().expect("and then has ended");
        }
    }

    pub(crate) fn connect(&self) -> redis::Connection {
        self.client().get_connection().unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        if let Some(Tls { dir, .. }) = &self.tls {
            let _ = fs::remove_dir_all(dir);
        }
    }
}
