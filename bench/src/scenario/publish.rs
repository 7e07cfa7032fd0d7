//! Publishing over HTTP to a channel that nobody reads: connections that each send a request when the one before it is
//! answered, or is due.

use std::{
    io::{self, Read as _, Write as _},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::{TICK, channel, gather};
use crate::{
    crowd::{Clock, Crowd, connect},
    progress::Progress,
    publisher::head,
    reader::{Fault, Transport},
    report::{Latency, Publish, Share},
    server::Server,
    stamp::{self, Stamp},
    usage::Cpu,
    wire::http::{Decoder, Piece},
};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// Requests go to them in turn.
    pub(crate) channels: usize,
    /// Readers of another channel, who get nothing.
    pub(crate) idle_readers: usize,
    pub(crate) payload: usize,
    /// Messages in each request; more than one go as lines of JSON.
    pub(crate) batch: usize,
    /// Requests per second of all connections together; `None`: each sends the next one at once.
    pub(crate) rate: Option<f64>,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

impl Plan {
    /// Nanoseconds between two requests of a connection.
    fn interval(&self) -> u64 {
        self.rate.map_or(0, |rate| (self.connections as f64 / rate * 1e9) as u64)
    }
}

/// A request to a channel, the same each time.
fn request(server: &Server, plan: &Plan, to: usize) -> Vec<u8> {
    let mut message = Vec::new();
    Stamp { seq: 0, nanos: 0 }.write(plan.payload, &mut message);
    let (target, kind, body) = if plan.batch > 1 {
        let line = [format!("{{\"channel\":\"{}\",\"data\":\"", channel(to)).as_bytes(), &message, b"\"}\n"].concat();
        ("/events".to_owned(), "application/x-ndjson", line.repeat(plan.batch))
    } else {
        (server.peer.publishing(&channel(to)), "text/plain", message)
    };
    let host = server.address.to_string();
    let mut request = head(&host, &target, kind, body.len(), server.token.as_deref()).into_bytes();
    request.extend_from_slice(&body);
    request
}

struct Connection {
    stream: TcpStream,
    http: Decoder,
    /// The present request.
    request: usize,
    /// Bytes of the present request that the kernel has taken.
    written: usize,
    /// When the present request is due, or was sent: in nanoseconds of the clock.
    begun: u64,
}

impl Connection {
    /// Whether the present request has not been sent, and is not due.
    fn waits(&self, now: u64) -> bool {
        self.written == 0 && self.begun > now
    }

    /// Writes what it takes of the present request.
    fn write(&mut self, request: &[u8]) -> io::Result<()> {
        while self.written < request.len() {
            match self.stream.write(&request[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads; whether the answer to the present request is complete.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool, Fault> {
        let mut is_answered = false;
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(Fault::Closed),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(is_answered),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let mut bytes = &buffer[..read];
            while let Some(piece) = self.http.next(&mut bytes)? {
                match piece {
                    Piece::Head(201 | 202 | 204) | Piece::Body(_) => {}
                    Piece::Head(status) => return Err(Fault::Status(status, "a message")),
                    Piece::End => is_answered = true,
                }
            }
            if read < buffer.len() {
                return Ok(is_answered);
            }
        }
    }
}

struct Mark {
    at: Instant,
    server: Option<Cpu>,
    own: Cpu,
}

impl Mark {
    fn now(server: &Server) -> io::Result<Self> {
        Ok(Self { at: Instant::now(), server: server.cpu(), own: Cpu::of(std::process::id())? })
    }
}

/// Publishes to `server` as `plan` says.
///
/// # Errors
/// When a connection or a message fails.
pub(crate) fn run(server: &Server, plan: Plan) -> Result<Publish, Fault> {
    let mut progress = Progress::new(format!("publish, {} a request", plan.batch));
    let plan = Plan { payload: plan.payload.max(stamp::LEN), ..plan };
    (0..plan.channels).try_for_each(|to| server.prime(Transport::Sse, &channel(to)))?;
    let requests: Vec<_> = (0..plan.channels).map(|to| request(server, &plan, to)).collect();
    let mut turns = (0..requests.len()).cycle();
    let mut readers = Crowd::new()?;
    gather(&mut readers, server, Transport::Sse, plan.idle_readers, &mut progress, |_| Some(channel(plan.channels)))?;
    let (mut poll, mut events, clock) = (Poll::new()?, Events::with_capacity(1024), Clock::new());
    let mut buffer = vec![0; 256 * 1024];
    let mut connections = Vec::with_capacity(plan.connections);
    for number in 0..plan.connections {
        let mut stream = connect(server.address, None)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(number), interest)?;
        let request = turns.next().unwrap_or_default();
        // Evenly, not all at once.
        let begun = clock.nanos() + plan.interval() * number as u64 / plan.connections as u64;
        connections.push(Connection { stream, http: Decoder::default(), request, written: 0, begun });
    }

    let mut latency = Latency::histogram();
    let resident = server.resident();
    let begun = Instant::now();
    let mut before = None;
    while begun.elapsed() < plan.warm_up + plan.duration {
        if before.is_none() && begun.elapsed() >= plan.warm_up {
            latency.reset();
            before = Some(Mark::now(server)?);
        }
        progress.tell("measuring", format_args!("{} requests", latency.len()));
        // The kernel would round a shorter wait up to a millisecond.
        poll.poll(&mut events, Some(if plan.rate.is_some() { Duration::ZERO } else { TICK }))?;
        for event in &events {
            let Some(connection) = connections.get_mut(event.token().0) else { continue };
            if connection.stream.peer_addr().is_err() {
                continue;
            }
            if event.is_readable() && connection.read(&mut buffer)? {
                let now = clock.nanos();
                latency.saturating_record(now - connection.begun);
                connection.begun = if plan.rate.is_some() { connection.begun + plan.interval() } else { now };
                connection.request = turns.next().unwrap_or_default();
                connection.written = 0;
            }
            if !connection.waits(clock.nanos()) {
                connection.write(&requests[connection.request])?;
            }
        }
        if plan.rate.is_some() {
            let now = clock.nanos();
            for connection in connections.iter_mut().filter(|one| one.written == 0 && !one.waits(now)) {
                connection.write(&requests[connection.request])?;
            }
        }
    }
    let (after, before) = (Mark::now(server)?, before.ok_or(Fault::Refused("to be measured for no time"))?);
    let elapsed = after.at - before.at;
    let requests = latency.len();
    let server_cpu = after.server.zip(before.server).map(|(after, before)| after.since(before));
    let per_second = requests as f64 / elapsed.as_secs_f64();
    Ok(Publish {
        connections: plan.connections,
        channels: plan.channels,
        idle_readers: plan.idle_readers,
        payload: plan.payload,
        batch: plan.batch,
        requests_per_second: per_second,
        messages_per_second: per_second * plan.batch as f64,
        server_cpu_us_per_request: server_cpu.map(|cpu| cpu.total().as_secs_f64() * 1e6 / requests.max(1) as f64),
        grown_bytes: server.resident().zip(resident).map(|(now, before)| now.cast_signed() - before.cast_signed()),
        latency_us: Latency::of(&latency),
        server: server_cpu.map(|cpu| Share::of(cpu, elapsed)),
        load: Share::of(after.own.since(before.own), elapsed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Peer;

    #[test]
    fn a_request_contains_the_requested_number_of_messages() {
        let second = Duration::from_secs(1);
        let plan = Plan {
            connections: 1,
            channels: 1,
            idle_readers: 0,
            payload: 40,
            batch: 1,
            rate: None,
            warm_up: second,
            duration: second,
        };
        let server = |token| Server::given(Peer::Trident, ([127, 0, 0, 1], 1).into(), None, token);
        let text = String::from_utf8(request(&server(Some("t".to_owned())), &plan, 0)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Length: 40\r") || head.ends_with("Content-Length: 40"), "{head}");
        assert!(head.contains("Authorization: Bearer t\r\n") && body.len() == 40);
        let text = String::from_utf8(request(&server(None), &Plan { batch: 3, ..plan }, 0)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        assert_eq!(body.lines().count(), 3);
        for line in body.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["data"].as_str().unwrap().len(), 40);
        }
    }

    #[test]
    fn each_connection_has_its_part_of_the_rate() {
        let second = Duration::from_secs(1);
        let plan = Plan {
            connections: 64,
            channels: 1,
            idle_readers: 0,
            payload: 40,
            batch: 1,
            rate: Some(1_000.0),
            warm_up: second,
            duration: second,
        };
        assert_eq!(plan.interval(), 64_000_000);
        assert_eq!(Plan { rate: None, ..plan }.interval(), 0);
    }
}
