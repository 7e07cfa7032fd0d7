//! What is measured: idle connections, messages to many, at once and one after the other, publishing to nobody, and all of it in turn.

pub(crate) mod disk;
pub(crate) mod fanout;
pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod peers;
pub(crate) mod publish;
pub(crate) mod sequential;
pub(crate) mod suite;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    crowd::Crowd,
    progress::Progress,
    reader::{Fault, Reader, Site, Transport},
    server::Server,
};

/// Connections that have been opened and are not ready, at most.
const BURST: usize = 128;
/// Loopback addresses that connections come from, in turn: each has its own port range.
const SOURCES: usize = 64;
/// How long nothing may happen until a run is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// So that a wait ends now and then and the clock is looked at.
const TICK: Duration = Duration::from_millis(50);

/// The channel with this number, which anybody may read.
fn channel(number: usize) -> String {
    format!("public.bench.{number}")
}

/// Opens `count` readers, each on the channel that `channel_of` names for it, and waits until all are ready.
fn gather(
    crowd: &mut Crowd,
    server: &Server,
    transport: Transport,
    count: usize,
    progress: &mut Progress,
    channel_of: impl Fn(usize) -> Option<String>,
) -> Result<Duration, Fault> {
    let host: std::rc::Rc<str> = server.address.to_string().into();
    let (begun, mut moved, mut ready) = (Instant::now(), Instant::now(), 0);
    while crowd.ready() < count {
        while crowd.len() < count && crowd.len() - crowd.ready() < BURST {
            let number = crowd.len();
            let channel = channel_of(number).map(Into::into);
            let site = Site { peer: server.peer, host: host.clone(), channel, since: None };
            crowd.open(server.address, source(server.address, number), Reader::new(transport, site))?;
        }
        crowd.turn(Some(TICK), &mut |_, _, _| {})?;
        progress.tell("connecting", format_args!("{} of {count}", crowd.ready()));
        if crowd.ready() > ready {
            (ready, moved) = (crowd.ready(), Instant::now());
        } else if moved.elapsed() > PATIENCE {
            return Err(Fault::Refused("a connection, or did not answer its greeting in time"));
        }
    }
    Ok(begun.elapsed())
}

/// Where the connection with this number comes from, on loopback.
fn source(server: SocketAddr, number: usize) -> Option<SocketAddr> {
    let IpAddr::V4(address) = server.ip() else { return None };
    let last = u8::try_from(number % SOURCES).unwrap_or(0);
    address.is_loopback().then(|| (Ipv4Addr::new(127, 0, 1, last + 1), 0).into())
}

/// Runs for `duration` without publishing.
fn settle(crowd: &mut Crowd, duration: Duration) -> Result<(), Fault> {
    let begun = Instant::now();
    while begun.elapsed() < duration {
        crowd.turn(Some(TICK), &mut |_, _, _| {})?;
    }
    Ok(())
}
