//! A log on disk: how long a start takes, how readers that catch up from its beginning get on beside live ones, and what publishing costs with each
//! `TRIDENT_FSYNC`.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use rustix::process::setpriority_process;

use super::{PATIENCE, TICK, channel, fanout, publish, source};
use crate::{
    crowd::Crowd,
    peer::Peer,
    progress::Progress,
    publisher::{Via, head},
    reader::{Fault, Reader, Site, Transport},
    report::{self, Catchup, Latency, Record, Run, Start, Step, Sync},
    server::{LogDirectory, Server},
    stamp::Stamp,
    wire::http::{Decoder, Piece},
};

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where the directories of logs are created.
    pub(crate) directory: Option<PathBuf>,
    /// Of the log with which the server is started, in MiB; readers catch up in one of twice this size.
    pub(crate) megabytes: u64,
    pub(crate) readers: usize,
    /// How long they are measured.
    pub(crate) catch_up: Duration,
    pub(crate) rounds: usize,
    /// Of the messages that are published or live.
    pub(crate) payload: usize,
    /// Of each measurement of publishing.
    pub(crate) seconds: f64,
}

/// The settings of `TRIDENT_FSYNC`.
const SETTINGS: [&str; 3] = ["always", "1s", "never"];
/// One publisher that waits for each answer, and many.
const CONNECTIONS: [usize; 2] = [1, 64];
/// The channel that is full, and not the one of live messages.
const FULL: usize = 1;
/// Bytes of each of its messages, and messages of each request.
const MESSAGE: usize = 1_024;
const BATCH: usize = 1_000;
/// Live readers, and messages a second to them.
const LIVE: (usize, f64) = (10, 100.0);
/// The lowest priority: what catches up must not delay the readers whose latency is measured.
const LOWEST: i32 = 19;

/// Where what is measured goes.
struct Records(Vec<Record>);

impl Records {
    fn keep(&mut self, peer: Peer, name: &str, at: u64, run: Run) -> Result<(), Fault> {
        let record = Record { peer, series: Some(Step { name: name.to_owned(), at }), run };
        report::line(&record)?;
        self.0.push(record);
        Ok(())
    }
}

/// Runs everything against servers that `start` starts in memory, and `on_disk` on a log with a `TRIDENT_FSYNC`.
///
/// # Errors
/// When a server cannot be started, or a run fails.
pub(crate) fn run(
    plan: &Plan,
    start: impl Fn() -> Result<Server, Fault>,
    on_disk: impl Fn(&LogDirectory, &str) -> Result<(Server, Duration), Fault>,
) -> Result<Vec<Record>, Fault> {
    let mut records = Records(Vec::new());
    full_log(plan, &on_disk, &mut records)?;
    for _ in 0..plan.rounds {
        for connections in CONNECTIONS {
            let (asked, at) = (publishing(plan, connections), connections as u64);
            records.keep(Peer::Trident, "memory", at, Run::Publish(publish::run(&start()?, asked)?))?;
            for fsync in SETTINGS {
                let log = LogDirectory::new(plan.directory.as_deref())?;
                let (server, _) = on_disk(&log, fsync)?;
                records.keep(Peer::File, fsync, at, Run::Publish(publish::run(&server, asked)?))?;
            }
        }
        records.keep(Peer::Bare, "write and fdatasync", 1, Run::Sync(bare_sync(plan)?))?;
    }
    Ok(records.0)
}

fn publishing(plan: &Plan, connections: usize) -> publish::Plan {
    let duration = Duration::from_secs_f64(plan.seconds);
    publish::Plan {
        connections,
        channels: 1,
        idle_readers: 0,
        payload: plan.payload,
        batch: 1,
        rate: None,
        warm_up: duration.div_f64(5.0),
        duration,
    }
}

/// Starts on a log of the size that was asked for, and readers in one of twice the size.
fn full_log(
    plan: &Plan,
    on_disk: impl Fn(&LogDirectory, &str) -> Result<(Server, Duration), Fault>,
    records: &mut Records,
) -> Result<(), Fault> {
    let log = LogDirectory::new(plan.directory.as_deref())?;
    fill(&on_disk(&log, "never")?.0, plan.megabytes)?;
    for _ in 0..plan.rounds {
        let log_bytes = size(&log)?;
        let (_server, took) = on_disk(&log, "always")?;
        let start = Start { log_bytes, seconds: took.as_secs_f64() };
        records.keep(Peer::File, "start", log_bytes, Run::Start(start))?;
    }
    fill(&on_disk(&log, "never")?.0, plan.megabytes)?;
    let log_bytes = size(&log)?;
    let (server, _) = on_disk(&log, "always")?;
    let live = fanout::Plan {
        transport: Transport::Sse,
        readers: LIVE.0,
        channels: 1,
        via: Via::Http,
        payload: plan.payload,
        window: 100_000,
        rate: Some(LIVE.1),
        warm_up: plan.catch_up.div_f64(10.0),
        duration: plan.catch_up,
    };
    records.keep(Peer::File, "live alone", 0, Run::Fanout(fanout::run(&server, live)?))?;
    let (is_over, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (beside, caught) = thread::scope(|scope| {
        let catching = scope.spawn(|| catch_up(&server, plan.readers, log_bytes, &is_over, &begun));
        let since = Instant::now();
        while begun.load(SeqCst) < plan.readers && since.elapsed() < PATIENCE && !catching.is_finished() {
            thread::sleep(TICK);
        }
        let beside = fanout::run(&server, live);
        is_over.store(true, SeqCst);
        (beside, catching.join())
    });
    records.keep(Peer::File, "live beside", plan.readers as u64, Run::Fanout(beside?))?;
    let caught = caught.map_err(|_| Fault::Refused("to catch up: the thread that reads has ended"))??;
    records.keep(Peer::File, "catch up", plan.readers as u64, Run::Catchup(caught))
}

/// Publishes so much to the channel [`FULL`], one request after the other.
fn fill(server: &Server, megabytes: u64) -> Result<(), Fault> {
    let mut progress = Progress::new("log on disk".to_owned());
    let mut message = Vec::new();
    Stamp { seq: 0, nanos: 0 }.write(MESSAGE, &mut message);
    let line = [format!("{{\"channel\":\"{}\",\"data\":\"", channel(FULL)).as_bytes(), &message, b"\"}\n"].concat();
    let body = line.repeat(BATCH);
    let (host, token) = (server.address.to_string(), server.token.as_deref());
    let request = [head(&host, "/events", "application/x-ndjson", body.len(), token).into_bytes(), body].concat();
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut http, mut buffer, mut sent) = (Decoder::default(), vec![0; 64 * 1024], 0);
    while sent < megabytes << 20 {
        stream.write_all(&request)?;
        let mut is_answered = false;
        while !is_answered {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Err(Fault::Closed);
            }
            let mut bytes = &buffer[..read];
            while let Some(piece) = http.next(&mut bytes)? {
                match piece {
                    Piece::Head(201) | Piece::Body(_) => {}
                    Piece::Head(status) => return Err(Fault::Status(status, "a batch")),
                    Piece::End => is_answered = true,
                }
            }
        }
        sent += (MESSAGE * BATCH) as u64;
        progress.tell("filling", format_args!("{} of {megabytes} MiB", sent >> 20));
    }
    Ok(())
}

/// The bytes of all files of a log.
fn size(log: &LogDirectory) -> Result<u64, Fault> {
    let mut bytes = 0;
    for entry in fs::read_dir(log.path())? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// Reads the channel [`FULL`] from its beginning with so many readers, until `is_over`. `begun` counts those that have got something.
fn catch_up(
    server: &Server,
    readers: usize,
    log_bytes: u64,
    is_over: &AtomicBool,
    begun: &AtomicUsize,
) -> Result<Catchup, Fault> {
    // Of this thread alone. Where that is not allowed, live readers only look slower.
    let _ = setpriority_process(None, LOWEST);
    let (mut crowd, mut got) = (Crowd::new()?, vec![0_u64; readers]);
    let host: std::rc::Rc<str> = server.address.to_string().into();
    for number in 0..readers {
        let channel = Some(channel(FULL).into());
        let site = Site { peer: server.peer, host: host.clone(), channel, since: Some("earliest") };
        crowd.open(server.address, source(server.address, number), Reader::new(Transport::Sse, site))?;
    }
    let mut since = None;
    while !is_over.load(SeqCst) {
        crowd.turn(Some(TICK), &mut |reader, _, _| got[reader] += 1)?;
        begun.store(got.iter().filter(|got| **got > 0).count(), SeqCst);
        if since.is_none() && begun.load(SeqCst) == readers {
            since = Some((Instant::now(), got.clone()));
        }
    }
    let (since, before) = since.ok_or(Fault::Refused("to some readers the beginning of the log"))?;
    let bytes: Vec<u64> = got.iter().zip(&before).map(|(got, before)| (got - before) * MESSAGE as u64).collect();
    Ok(Catchup {
        readers,
        log_bytes,
        seconds: since.elapsed().as_secs_f64(),
        least_bytes: bytes.iter().min().copied().unwrap_or_default(),
        most_bytes: bytes.iter().max().copied().unwrap_or_default(),
        all_bytes: bytes.iter().sum(),
    })
}

/// What the disk alone takes: a write of one message at the end of a file, and fdatasync.
fn bare_sync(plan: &Plan) -> Result<Sync, Fault> {
    let directory = LogDirectory::new(plan.directory.as_deref())?;
    let mut file = File::create(directory.path().join("bare"))?;
    let (message, mut latency) = (vec![b'x'; plan.payload], Latency::histogram());
    let since = Instant::now();
    while since.elapsed().as_secs_f64() < plan.seconds {
        let begun = Instant::now();
        file.write_all(&message)?;
        file.sync_data()?;
        latency.saturating_record(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(Sync { payload: plan.payload, latency_us: Latency::of(&latency) })
}
