//! One publisher that waits for each answer, as the tokens of a language model arrive: what a delivery costs, how long an answer takes, and
//! when all readers have everything.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{PATIENCE, TICK, channel, gather, settle};
use crate::{
    crowd::{Clock, Crowd},
    peer::Peer,
    progress::Progress,
    publisher,
    reader::{Fault, Transport, bare},
    report::{Latency, Sequential, Share},
    server::Server,
    stamp::{self, Stamp},
    tally::{Arrival, Order, Tally},
    usage::Cpu,
    wire::http::{Decoder, Piece},
};

/// Between two bursts: whatever the last one left to do is done.
const PAUSE: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) transport: Transport,
    pub(crate) readers: usize,
    /// Messages of a burst, one after the other.
    pub(crate) burst: usize,
    /// Bursts that are measured.
    pub(crate) rounds: usize,
    pub(crate) payload: usize,
}

/// A connection that publishes and waits, in a thread of its own: what the readers do takes no time of it.
struct Waiting {
    stream: TcpStream,
    /// The head of each request; empty for the lower bound.
    head: Vec<u8>,
    payload: usize,
    clock: Clock,
    sent: u64,
    buffer: Vec<u8>,
}

impl Waiting {
    fn new(server: &Server, plan: Plan, clock: Clock) -> Result<Self, Fault> {
        let mut stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = if server.peer == Peer::Bare {
            stream.write_all(&[bare::WAITING])?;
            stream.read_exact(&mut [0])?;
            Vec::new()
        } else {
            let (host, target) = (server.address.to_string(), server.peer.publishing(&channel(0)));
            publisher::head(&host, &target, "text/plain", plan.payload, server.token.as_deref()).into_bytes()
        };
        Ok(Self { stream, head, payload: plan.payload, clock, sent: 0, buffer: vec![0; 16 * 1024] })
    }

    /// Publishes a message and waits for its answer. Returns the time in nanoseconds.
    fn publish(&mut self) -> Result<u64, Fault> {
        let nanos = self.clock.nanos();
        let mut out = self.head.clone();
        if out.is_empty() {
            out.extend_from_slice(&u32::try_from(self.payload).unwrap_or(u32::MAX).to_be_bytes());
        }
        Stamp { seq: self.sent, nanos }.write(self.payload, &mut out);
        self.stream.write_all(&out)?;
        if self.head.is_empty() {
            self.stream.read_exact(&mut [0])?;
        } else {
            self.answer()?;
        }
        self.sent += 1;
        Ok(self.clock.nanos() - nanos)
    }

    fn answer(&mut self) -> Result<(), Fault> {
        let mut decoder = Decoder::default();
        loop {
            let read = self.stream.read(&mut self.buffer)?;
            if read == 0 {
                return Err(Fault::Closed);
            }
            let mut bytes = &self.buffer[..read];
            while let Some(piece) = decoder.next(&mut bytes)? {
                match piece {
                    Piece::Head(200..=204) | Piece::Body(_) => {}
                    Piece::Head(status) => return Err(Fault::Status(status, "a message")),
                    Piece::End => return Ok(()),
                }
            }
        }
    }
}

/// What is known of all that was heard.
struct Hearing {
    orders: Vec<Order>,
    tally: Tally,
    /// Messages that came for the first time.
    distinct: u64,
    last: Instant,
}

impl Hearing {
    fn heard(&mut self, reader: usize, stamp: Stamp) {
        let arrival = self.orders[reader].arrived(stamp.seq);
        self.tally.count(arrival);
        self.distinct += u64::from(arrival != Arrival::Repeat);
        self.last = Instant::now();
    }
}

/// Publishes bursts to readers of `server` as `plan` says.
///
/// # Errors
/// When a connection or a message fails, or a reader does not get one.
pub(crate) fn run(server: &Server, plan: Plan) -> Result<Sequential, Fault> {
    let plan = Plan { payload: plan.payload.max(stamp::LEN), ..plan };
    let what = format!("sequential {} × {} to {}", plan.transport.name(), plan.burst, plan.readers);
    let mut progress = Progress::new(what);
    let mut crowd = Crowd::new()?;
    server.prime(plan.transport, &channel(0))?;
    gather(&mut crowd, server, plan.transport, plan.readers, &mut progress, |_| Some(channel(0)))?;
    let mut waiting = Waiting::new(server, plan, crowd.clock)?;
    settle(&mut crowd, Duration::from_millis(500))?;
    let (go, begins) = mpsc::channel::<()>();
    let (done, ends) = mpsc::channel();
    thread::spawn(move || {
        while begins.recv().is_ok() {
            let burst: Result<Vec<u64>, Fault> = (0..plan.burst).map(|_| waiting.publish()).collect();
            if done.send(burst).is_err() {
                return;
            }
        }
    });

    let orders = vec![Order::default(); plan.readers];
    let mut hearing = Hearing { orders, tally: Tally::default(), distinct: 0, last: Instant::now() };
    let (mut answers, mut all) = (Latency::histogram(), Latency::histogram());
    let (mut busy, mut before, mut own) = (Some(Duration::ZERO), 0, Cpu::of(std::process::id())?);
    let mut begun = Instant::now();
    // The first burst warms up.
    for round in 0..=plan.rounds {
        if round == 1 {
            (answers, all, busy) = (Latency::histogram(), Latency::histogram(), Some(Duration::ZERO));
            (before, own, begun) = (hearing.tally.deliveries, Cpu::of(std::process::id())?, Instant::now());
        }
        let (began, used) = (Instant::now(), server.busy());
        go.send(()).map_err(|_| Fault::Closed)?;
        burst(&mut crowd, &mut hearing, plan, round)?;
        all.saturating_record(nanos(hearing.last - began));
        let burst = ends.recv_timeout(PATIENCE).map_err(|_| Fault::Refused("an answer in time"))??;
        burst.into_iter().for_each(|nanos| answers.saturating_record(nanos));
        settle(&mut crowd, PAUSE)?;
        busy = busy.zip(server.busy().zip(used)).map(|(sum, (now, before))| sum + now.saturating_sub(before));
        progress.tell("measuring", format_args!("{round} of {}", plan.rounds));
    }
    let deliveries = hearing.tally.deliveries - before;
    Ok(Sequential {
        transport: plan.transport,
        readers: plan.readers,
        burst: plan.burst,
        rounds: plan.rounds,
        payload: plan.payload,
        deliveries,
        server_cpu_us_per_delivery: busy.map(|busy| busy.as_secs_f64() * 1e6 / deliveries.max(1) as f64),
        answers_us: Latency::of(&answers),
        all_us: Latency::of(&all),
        repeats: hearing.tally.repeats,
        late: hearing.tally.late,
        load: Share::of(Cpu::of(std::process::id())?.since(own), begun.elapsed()),
    })
}

/// Reads until everybody has the burst of `round`, too.
fn burst(crowd: &mut Crowd, hearing: &mut Hearing, plan: Plan, round: usize) -> Result<(), Fault> {
    let wanted = (plan.readers * plan.burst * (round + 1)) as u64;
    let mut known = (hearing.distinct, Instant::now());
    while hearing.distinct < wanted {
        crowd.turn(Some(TICK), &mut |reader, stamp, _| hearing.heard(reader, stamp))?;
        if hearing.distinct > known.0 {
            known = (hearing.distinct, Instant::now());
        } else if known.1.elapsed() > PATIENCE {
            return Err(Fault::Refused("to deliver everything"));
        }
    }
    Ok(())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
