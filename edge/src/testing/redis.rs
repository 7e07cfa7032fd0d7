//! A redis-server of the test's own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// A running redis-server, ended with the test.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    port: u16,
    dir: PathBuf,
    is_kept: bool,
}

impl Server {
    /// One that keeps nothing when it ends.
    pub async fn start() -> Self {
        Self::with(false).await
    }

    /// One that has everything it acknowledged in a file.
    pub async fn kept() -> Self {
        Self::with(true).await
    }

    async fn with(is_kept: bool) -> Self {
        // Free a moment ago. If another process takes it in the meantime, the start fails.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = std::env::temp_dir().join(format!("trident-redis-{}-{port}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut server = Self { child: None, port, dir, is_kept };
        server.run().await;
        server
    }

    /// What to connect to.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it (again), on the same port and with what it has kept.
    pub async fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--dir"]).arg(&self.dir);
        command.args(if self.is_kept { ["--appendonly", "yes"] } else { ["--appendonly", "no"] });
        command.args(["--appendfsync", "always"]).stdout(Stdio::null());
        let child = command.spawn().expect("redis-server has to be installed: these tests run on a real one");
        self.child = Some(child);
        let started = Instant::now();
        while self.ask(&["PING"]).await.is_err() {
            let exit = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert_eq!(exit, None, "redis-server ended at its start");
            assert!(started.elapsed() < Duration::from_secs(10), "redis-server does not answer");
            sleep(Duration::from_millis(10)).await;
        }
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
        let client = ::redis::Client::open(self.url())?;
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
