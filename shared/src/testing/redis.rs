//! A redis-server of the test's own.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests say what they expect by failing")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::free_port;

/// The permissions of a Redis user that is sufficient for the bus, without its name and password, as arguments of `ACL SETUSER`.
pub const BUS_RIGHTS: &[&str] = &[
    "~trident:log",
    "~{trident:log}:*",
    "&trident:log:processes:*",
    "-@all",
    "+info",
    "+script|load",
    "+evalsha",
    "+exists",
    "+get",
    "+set",
    "+del",
    "+time",
    "+hget",
    "+hset",
    "+hscan",
    "+hdel",
    "+xadd",
    "+xread",
    "+xrange",
    "+xtrim",
    "+xdel",
    "+xinfo|stream",
    "+unlink",
    "+pexpire",
    "+persist",
    "+publish",
    "+subscribe",
];

/// A running redis-server, ended with the test.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    port: u16,
    dir: PathBuf,
    options: Vec<String>,
    /// How it is spoken to: before the host, and the authority of its certificate if it has one.
    before_host: String,
    authority: Option<String>,
}

impl Server {
    /// One that keeps nothing when it ends.
    pub async fn start() -> Self {
        Self::with(&["--appendonly", "no"], "redis://").await
    }

    /// One that has everything it acknowledged in a file.
    pub async fn kept() -> Self {
        Self::with(&["--appendonly", "yes"], "redis://").await
    }

    /// One with these options, whose URL begins with `before_host`.
    pub async fn with(options: &[&str], before_host: &str) -> Self {
        let mut server = Self::prepared(options, before_host);
        server.run().await;
        server
    }

    /// One that takes nothing but TLS: its certificate is `certificate`, of `key`, signed by `authority`.
    pub async fn encrypted(certificate: &str, key: &str, authority: &str) -> Self {
        let mut server = Self::prepared_encrypted(certificate, key, authority);
        server.run().await;
        server
    }

    /// The same, not running yet.
    pub fn prepared_encrypted(certificate: &str, key: &str, authority: &str) -> Self {
        let mut server = Self::prepared(&[], "rediss://");
        let mut option = |name: &str, text: &str| {
            let file = server.dir.join(name);
            fs::write(&file, text).unwrap();
            server.options.extend([format!("--tls-{name}"), file.to_str().unwrap().to_owned()]);
        };
        option("cert-file", certificate);
        option("key-file", key);
        option("ca-cert-file", authority);
        server.options.extend(["--tls-auth-clients", "no"].map(str::to_owned));
        server.authority = Some(authority.to_owned());
        server
    }

    fn prepared(options: &[&str], before_host: &str) -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("trident-redis-{}-{port}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self { child: None, port, dir, options, before_host: before_host.to_owned(), authority: None }
    }

    /// What to connect to.
    pub fn url(&self) -> String {
        format!("{}127.0.0.1:{}", self.before_host, self.port)
    }

    /// The port, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it (again), on the same port and with what it has kept.
    pub async fn run(&mut self) {
        self.run_unasked();
        let started = Instant::now();
        while self.ask(&["PING"]).await.is_err() {
            let exit = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert_eq!(exit, None, "redis-server ended at its start");
            assert!(started.elapsed() < Duration::from_secs(10), "redis-server does not answer");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// As [`run`](Self::run), without waiting until it answers.
    pub fn run_unasked(&mut self) {
        let mut command = Command::new("redis-server");
        let port = self.port.to_string();
        let ports = if self.authority.is_some() { ["0", &port] } else { [&port, "0"] };
        command.args(["--bind", "127.0.0.1", "--port", ports[0], "--tls-port", ports[1]]);
        command.args(["--save", "", "--appendfsync", "always", "--dir"]).arg(&self.dir);
        command.args(&self.options).stdout(Stdio::null());
        let child = command.spawn().expect("redis-server has to be installed: these tests run on a real one");
        self.child = Some(child);
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child of ours can be killed");
            child.wait().expect("and then has ended");
        }
    }

    /// Its current data, to be restored later.
    pub fn backup(&self) -> PathBuf {
        let to = self.dir.join("backup");
        copy(&self.dir.join("appendonlydir"), &to);
        to
    }

    /// At its next start it has the data of `backup`.
    pub fn set_back(&self, backup: &Path) {
        let kept = self.dir.join("appendonlydir");
        fs::remove_dir_all(&kept).unwrap();
        copy(backup, &kept);
    }

    async fn ask(&self, command: &[&str]) -> ::redis::RedisResult<::redis::Value> {
        let client = match &self.authority {
            None => ::redis::Client::open(self.url())?,
            Some(pem) => {
                let _ = rustls::crypto::ring::default_provider().install_default();
                let root_cert = Some(pem.clone().into_bytes());
                ::redis::Client::build_with_tls(self.url(), ::redis::TlsCertificates { client_tls: None, root_cert })?
            }
        };
        let mut connection = client.get_multiplexed_async_connection().await?;
        ::redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await
    }

    /// Runs a command on it.
    pub async fn command(&self, command: &[&str]) -> ::redis::Value {
        self.ask(command).await.unwrap()
    }

    /// Runs a command that answers a number.
    pub async fn count(&self, command: &[&str]) -> usize {
        ::redis::from_redis_value(self.command(command).await).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
