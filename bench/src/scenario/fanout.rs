//! Messages to many: one publisher, readers on its channels, and each delivery numbered and timed.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{PATIENCE, TICK, channel, gather, settle};
use crate::{
    crowd::Crowd,
    flight::Flight,
    progress::Progress,
    publisher::{Publisher, ROOM, Via},
    reader::{Fault, Transport},
    report::{Fanout, Latency, Share},
    server::Server,
    stamp::{self, Stamp},
    tally::{Arrival, Order, Tally},
    usage::Cpu,
};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) transport: Transport,
    pub(crate) readers: usize,
    /// Readers are dealt out to them in turn, and so are messages.
    pub(crate) channels: usize,
    pub(crate) via: Via,
    pub(crate) payload: usize,
    /// Messages in flight at most.
    pub(crate) window: usize,
    /// Messages a second; without it, the next one goes as soon as the window has room.
    pub(crate) rate: Option<f64>,
    /// Before anything is counted.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// What is known of all that was heard.
struct Hearing {
    flight: Flight,
    orders: Vec<Order>,
    tally: Tally,
    latency: Histogram<u64>,
    channels: u64,
}

impl Hearing {
    fn heard(&mut self, reader: usize, stamp: Stamp, now: u64) {
        let arrival = self.orders[reader].arrived(stamp.seq / self.channels);
        self.tally.count(arrival);
        self.latency.saturating_record(now.saturating_sub(stamp.nanos));
        if arrival != Arrival::Repeat {
            self.flight.arrived(stamp.seq);
        }
    }

    /// Messages that have not come to somebody who was to get them.
    fn lost(&self) -> u64 {
        let sent = self.flight.sent();
        let on_channel = |reader: usize| {
            let channel = reader as u64 % self.channels;
            (sent + self.channels - 1 - channel) / self.channels
        };
        self.orders.iter().enumerate().map(|(reader, order)| order.lost(on_channel(reader))).sum()
    }
}

/// Sends when there is room, or when it is time.
struct Pace {
    plan: Plan,
    /// How many readers each channel has.
    readers: Vec<u32>,
    /// With a rate: when the next message is due.
    due: u64,
}

impl Pace {
    fn push(&mut self, publisher: &mut Publisher, flight: &mut Flight, now: u64) {
        let step = self.plan.rate.map(|rate| (1e9 / rate) as u64);
        while flight.len() < self.plan.window && step.is_none_or(|_| self.due <= now) {
            let channel = (flight.sent() % self.plan.channels as u64) as usize;
            let seq = flight.send(self.readers[channel]);
            // With a rate, a message is late from when it was due, not from when there was time to send it.
            let nanos = if step.is_some() { self.due } else { now };
            publisher.push(channel, Stamp { seq, nanos });
            self.due += step.unwrap_or(0);
        }
    }

    fn timeout(&self, now: u64) -> Duration {
        if self.plan.rate.is_none() { TICK } else { TICK.min(Duration::from_nanos(self.due.saturating_sub(now))) }
    }
}

/// Processor time and deliveries up to a moment.
struct Mark {
    at: Instant,
    server: Option<Cpu>,
    own: Cpu,
    deliveries: u64,
}

impl Mark {
    fn now(server: &Server, deliveries: u64) -> std::io::Result<Self> {
        Ok(Self { at: Instant::now(), server: server.cpu(), own: Cpu::of(std::process::id())?, deliveries })
    }
}

/// Publishes to readers of `server` as `plan` says.
///
/// # Errors
/// When a connection or a message fails.
pub(crate) fn run(server: &Server, plan: Plan) -> Result<Fanout, Fault> {
    let plan = Plan { payload: plan.payload.max(stamp::LEN), ..plan };
    let mut progress = Progress::new(format!("fan-out {} window {}", plan.transport.name(), plan.window));
    let mut crowd = Crowd::new()?;
    let channels: Vec<String> = match plan.via {
        Via::Http => (0..plan.channels).map(channel).collect(),
        Via::Socketio => vec![format!("chat.{ROOM}")],
    };
    channels.iter().try_for_each(|channel| server.prime(plan.transport, channel))?;
    gather(&mut crowd, server, plan.transport, plan.readers, &mut progress, |reader| {
        Some(channels[reader % channels.len()].clone())
    })?;
    let mut publisher = match (plan.transport, plan.via) {
        (Transport::Bare, _) => Publisher::bare(&crowd, server.address, plan.payload)?,
        (_, Via::Http) => Publisher::http(&crowd, server, &channels, plan.payload)?,
        (_, Via::Socketio) => Publisher::socket_io(&crowd, server.address, plan.payload)?,
    };
    let begun = Instant::now();
    while !publisher.is_ready() {
        if crowd.turn(Some(TICK), &mut |_, _, _| {})? {
            publisher.turn()?;
        }
        if begun.elapsed() > PATIENCE {
            return Err(Fault::Refused("the publisher"));
        }
    }
    // Join notifications to earlier members are not to be counted.
    settle(&mut crowd, Duration::from_millis(1500))?;

    let readers_of = |channel| (channel..plan.readers).step_by(channels.len()).len();
    let mut hearing = Hearing {
        flight: Flight::default(),
        orders: vec![Order::default(); plan.readers],
        tally: Tally::default(),
        latency: Latency::histogram(),
        channels: channels.len() as u64,
    };
    let readers = (0..channels.len()).map(|channel| u32::try_from(readers_of(channel)).unwrap_or(u32::MAX)).collect();
    let mut pace = Pace { plan: Plan { channels: channels.len(), ..plan }, readers, due: crowd.clock.nanos() };

    let mut talk = Talk { crowd: &mut crowd, publisher: &mut publisher, pace: &mut pace, progress: &mut progress };
    talk.go_on("warming up", plan.warm_up, &mut hearing)?;
    hearing.latency.reset();
    let before = Mark::now(server, hearing.tally.deliveries)?;
    talk.go_on("measuring", plan.duration, &mut hearing)?;
    let after = Mark::now(server, hearing.tally.deliveries)?;
    let latency = Latency::of(&hearing.latency);
    talk.land(&mut hearing)?;

    let deliveries = after.deliveries - before.deliveries;
    let elapsed = after.at - before.at;
    let server_cpu = after.server.zip(before.server).map(|(after, before)| after.since(before));
    Ok(Fanout {
        transport: plan.transport,
        readers: plan.readers,
        channels: channels.len(),
        via: plan.via,
        payload: plan.payload,
        window: plan.window,
        rate: plan.rate,
        deliveries,
        deliveries_per_second: deliveries as f64 / elapsed.as_secs_f64(),
        server_cpu_us_per_delivery: server_cpu.map(|cpu| cpu.total().as_secs_f64() * 1e6 / deliveries.max(1) as f64),
        latency_us: latency,
        lost: hearing.lost(),
        repeats: hearing.tally.repeats,
        late: hearing.tally.late,
        server: server_cpu.map(|cpu| Share::of(cpu, elapsed)),
        load: Share::of(after.own.since(before.own), elapsed),
    })
}

/// Publisher and readers at work.
struct Talk<'a> {
    crowd: &'a mut Crowd,
    publisher: &'a mut Publisher,
    pace: &'a mut Pace,
    progress: &'a mut Progress,
}

impl Talk<'_> {
    fn go_on(&mut self, phase: &'static str, duration: Duration, hearing: &mut Hearing) -> Result<(), Fault> {
        let (begun, mut moved, mut known) = (Instant::now(), Instant::now(), hearing.tally.deliveries);
        while begun.elapsed() < duration {
            let now = self.crowd.clock.nanos();
            self.pace.push(self.publisher, &mut hearing.flight, now);
            self.publisher.flush()?;
            self.turn(self.pace.timeout(now), hearing)?;
            let deliveries = hearing.tally.deliveries;
            self.progress.tell(phase, format_args!("{deliveries} deliveries"));
            if deliveries > known {
                (known, moved) = (deliveries, Instant::now());
            } else if moved.elapsed() > PATIENCE {
                return Err(Fault::Refused("to deliver anything for half a minute"));
            }
        }
        Ok(())
    }

    /// Waits for messages in flight. Those missing for a while after the last arrival are lost.
    fn land(&mut self, hearing: &mut Hearing) -> Result<(), Fault> {
        const SILENCE: Duration = Duration::from_secs(3);
        let (mut moved, mut known) = (Instant::now(), hearing.tally.deliveries);
        while (hearing.flight.len() > 0 || !self.publisher.is_drained()) && moved.elapsed() < SILENCE {
            self.publisher.flush()?;
            self.turn(TICK, hearing)?;
            if hearing.tally.deliveries > known {
                (known, moved) = (hearing.tally.deliveries, Instant::now());
            }
        }
        // What comes twice comes late.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {
            self.turn(TICK, hearing)?;
        }
        Ok(())
    }

    fn turn(&mut self, timeout: Duration, hearing: &mut Hearing) -> Result<(), Fault> {
        if self.crowd.turn(Some(timeout), &mut |reader, stamp, now| hearing.heard(reader, stamp, now))? {
            self.publisher.turn()?;
        }
        Ok(())
    }
}
