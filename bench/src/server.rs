//! The server that is measured: one that runs already, or one that is started for a run and stopped by its id after it.

mod disk;

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

pub(crate) use disk::LogDirectory;

use crate::{
    peer::{Peer, Programs},
    transport::Transport,
    usage::{self, Cpu},
};

/// How long a server may take until it is ready, and until it has stopped.
const PATIENCE: Duration = Duration::from_secs(15);
/// Of tokens, which are good on loopback and for one run.
const SECRET: &str = "a secret for the length of a benchmark that everybody knows";

/// The assignment of cores. Determine it once, before anything is started: afterwards it is limited to the cores left to this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    all: CpuSet,
    server: CpuSet,
    load: CpuSet,
}

impl Cores {
    /// The last core for the server and the first for the load, or all for both if there is only one. None if the system does not report
    /// them.
    pub(crate) fn of_this_machine() -> Option<Self> {
        let all = sched_getaffinity(None).ok()?;
        let only = |core| {
            let mut set = CpuSet::new();
            set.set(core);
            set
        };
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
        let load = cores.next()?;
        Some(match cores.next_back() {
            Some(server) => Self { all, server: only(server), load: only(load) },
            None => Self { all, server: all, load: all },
        })
    }

    /// Whether server and load each have their own.
    pub(crate) fn are_apart(&self) -> bool {
        self.server != self.load
    }

    /// All of them for both.
    pub(crate) fn shared(self) -> Self {
        Self { server: self.all, load: self.all, ..self }
    }

    fn take(set: &CpuSet) -> io::Result<()> {
        Ok(sched_setaffinity(None, set)?)
    }
}

/// How a Trident is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) workers: u16,
    /// Messages that a channel keeps; the server's own default where it is missing.
    pub(crate) history: Option<usize>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) peer: Peer,
    pub(crate) address: SocketAddr,
    /// Where it may be looked at from inside.
    pid: Option<u32>,
    /// With which messages may be published to it.
    pub(crate) token: Option<String>,
    child: Option<Child>,
    said: Said,
    /// Ends after it.
    _redis: Option<Box<Server>>,
    _directory: Option<Directory>,
}

/// What a server writes while it runs goes in here, and goes with it.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("trident-bench-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The last that a server said on stderr, for when it fails.
#[derive(Clone, Debug, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// Bytes that are kept.
    const MAX_BYTES: usize = 8 * 1024;

    fn listen(&self, mut stderr: impl io::Read) {
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stderr.read(&mut buffer) {
            let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            text.extend_from_slice(&buffer[..read]);
            let over = text.len().saturating_sub(Self::MAX_BYTES);
            text.drain(..over);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Server {
    /// One that runs already.
    pub(crate) fn given(peer: Peer, address: SocketAddr, pid: Option<u32>, token: Option<String>) -> Self {
        Self { peer, address, pid, token, child: None, said: Said::default(), _redis: None, _directory: None }
    }

    /// Starts a Trident as `options` say, without limits, on a free port of this machine's.
    ///
    /// # Errors
    /// When it cannot be started, or is not ready in time.
    pub(crate) fn start(programs: &Programs, peer: Peer, options: Options, cores: Option<Cores>) -> io::Result<Self> {
        let (token, address, mut command) = trident(programs, options)?;
        let (mut redis, mut directory) = (None, None);
        if peer == Peer::Redis {
            // Where the kernel likes: it is no part of the server that is measured.
            let started = Self::start_peer(programs, Peer::Redis, None)?;
            command.env("TRIDENT_BUS", format!("redis://{}", started.address));
            redis = Some(Box::new(started));
        }
        if peer == Peer::StreamsFile {
            let log = Directory::new(address)?;
            command.env("TRIDENT_BUS", format!("file:{}", log.0.display())).env("TRIDENT_FSYNC", "always");
            directory = Some(log);
        }
        if peer.streams().is_some() {
            // As with the other servers of streams, which know no tokens and no limits.
            command.env("TRIDENT_STREAMS_ANONYMOUS", "on").env("TRIDENT_STREAM_BYTES", "0");
        }
        let mut server = Self::spawn(peer, command, address, cores)?;
        server.token = Some(token).filter(|_| peer.streams().is_none());
        server._redis = redis;
        server._directory = directory;
        server.wait(|address| get(address, "/readyz"))?;
        Ok(server)
    }

    /// Starts another server than Trident.
    ///
    /// # Errors
    /// When it cannot be started, or is not ready in time.
    pub(crate) fn start_peer(programs: &Programs, peer: Peer, cores: Option<Cores>) -> io::Result<Self> {
        let address = free_address()?;
        let directory = Directory::new(address)?;
        let command = programs.command(peer, address, &directory.0)?;
        let mut server = Self::spawn(peer, command, address, cores)?;
        server._directory = Some(directory);
        if peer.has_readiness() {
            server.wait(|address| get(address, "/readyz"))?;
        } else {
            server.wait(|address| TcpStream::connect(address).is_ok())?;
        }
        if peer == Peer::Nchan {
            // The first process only watches over its worker.
            server.pid = server.pid.and_then(usage::first_child);
        }
        Ok(server)
    }

    /// Does what `channel` needs before it is read over `transport`: with nchan, a long poll begins after an existing message; a Durable Stream
    /// has to be created.
    ///
    /// # Errors
    /// When it is not taken.
    pub(crate) fn prime(&self, transport: Transport, channel: &str) -> io::Result<()> {
        let (method, body) = match (self.peer, transport) {
            (Peer::Nchan, Transport::Longpoll) => ("POST", "first"),
            (peer, _) if peer.streams().is_some() => ("PUT", ""),
            _ => return Ok(()),
        };
        let (target, host, length) = (self.peer.publishing(channel), self.address, body.len());
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut status = [0; 11];
        stream.read_exact(&mut status)?;
        match status == *b"HTTP/1.1 20" {
            true => Ok(()),
            false => Err(io::Error::other(format!("{} refused {method} {target}", self.peer.name()))),
        }
    }

    fn spawn(peer: Peer, mut command: Command, address: SocketAddr, cores: Option<Cores>) -> io::Result<Self> {
        // A child inherits the cores of its parent, so this process moves to the child's cores, starts it, and returns.
        if let Some(cores) = &cores {
            Cores::take(&cores.server)?;
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        if let Some(cores) = &cores {
            Cores::take(&cores.load)?;
        }
        let mut child = child?;
        let said = Said::default();
        if let Some(stderr) = child.stderr.take() {
            let said = said.clone();
            std::thread::spawn(move || said.listen(stderr));
        }
        let pid = Some(child.id());
        Ok(Self { peer, address, pid, token: None, child: Some(child), said, _redis: None, _directory: None })
    }

    fn wait(&mut self, is_ready: impl Fn(SocketAddr) -> bool) -> io::Result<()> {
        let begun = Instant::now();
        while !is_ready(self.address) {
            let is_gone = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if is_gone || begun.elapsed() > PATIENCE {
                let what = if is_gone { "has ended" } else { "is not ready" };
                return Err(io::Error::other(format!("the server {what}; it said:\n{}", self.said.text())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Processor time that it has used so far, if it may be looked at.
    pub(crate) fn cpu(&self) -> Option<Cpu> {
        Cpu::of(self.pid?).ok()
    }

    /// As [`cpu`](Self::cpu), to the nanosecond.
    pub(crate) fn busy(&self) -> Option<Duration> {
        usage::busy(self.pid?).ok()
    }

    /// Its resident memory in bytes, if it is readable.
    pub(crate) fn resident(&self) -> Option<u64> {
        usage::resident(self.pid?).ok()
    }
}

impl Drop for Server {
    /// Stops what was started here, and waits for it: by a signal first, then by force.
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A token, an address, and the command that starts a Trident there as `options` say, without limits, and with its log in memory.
fn trident(programs: &Programs, options: Options) -> io::Result<(String, SocketAddr, Command)> {
    let minted = Command::new(&programs.server)
        .args(["token", "--publish", "*", "--ttl", "1h"])
        .env("TRIDENT_SECRET", SECRET)
        .stderr(Stdio::null())
        .output()?;
    let token = String::from_utf8_lossy(&minted.stdout).trim().to_owned();
    let address = free_address()?;
    let mut command = Command::new(&programs.server);
    command
        .env("TRIDENT_LISTEN", address.to_string())
        .env("TRIDENT_SECRET", SECRET)
        .env("TRIDENT_WORKERS", options.workers.to_string())
        .env("TRIDENT_DEMO", "off")
        .env("RUST_LOG", "error");
    if let Some(history) = options.history {
        command.env("TRIDENT_HISTORY_COUNT", history.to_string());
    }
    for limit in ["PUBLISH_RATE", "SOCKET_RATE", "MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS", "MAX_BODY"] {
        command.env(format!("TRIDENT_{limit}"), "0");
    }
    Ok((token, address, command))
}

/// A port that nobody listened on a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn get(address: SocketAddr, path: &str) -> bool {
    let asked = || -> io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head == *b"HTTP/1.1 200")
    };
    asked().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_several_servers_has_a_core_of_its_own() {
        let Some(cores) = Cores::of_this_machine().filter(Cores::are_apart) else { return };
        let of = |pid| sched_getaffinity(pid).unwrap();
        let start = |cores| {
            let mut command = Command::new("sleep");
            command.arg("60");
            Server::spawn(Peer::Bare, command, (Ipv4Addr::LOCALHOST, 0).into(), Some(cores)).unwrap()
        };
        for _ in 0..2 {
            let server = start(cores);
            let pid = server.pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
            assert_eq!((of(pid), of(None)), (cores.server, cores.load));
        }
        let server = start(cores.shared());
        let pid = server.pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
        assert_eq!((of(pid), of(None)), (cores.all, cores.all));
    }

    #[test]
    fn a_server_that_exits_is_reported_with_its_output() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck >&2; exit 3"]);
        let mut server = Server::spawn(Peer::Trident, command, free_address().unwrap(), None).unwrap();
        let error = server.wait(|_| false).unwrap_err().to_string();
        assert!(error.contains("has ended"), "{error}");
    }

    #[test]
    fn the_end_of_long_output_is_kept() {
        let said = Said::default();
        said.listen(&[&[b'a'; 20_000][..], b"the end"].concat()[..]);
        assert!(said.text().len() == Said::MAX_BYTES && said.text().ends_with("the end"));
    }

    #[test]
    fn readiness_is_an_answer_of_200() {
        for (answer, expected) in [("HTTP/1.1 200 OK\r\n\r\n", true), ("HTTP/1.1 503 No\r\n\r\n", false), ("", false)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let answering = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).unwrap();
                assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).unwrap();
            });
            assert_eq!(get(address, "/readyz"), expected, "{answer:?}");
            answering.join().unwrap();
        }
        assert!(!get(free_address().unwrap(), "/readyz"));
    }
}
