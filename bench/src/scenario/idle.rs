//! Connections that wait for something that does not come: what each costs.

use std::time::Duration;

use super::{channel, gather, settle};
use crate::{
    crowd::Crowd,
    progress::Progress,
    reader::{Fault, Transport},
    report::{Idle, Share},
    server::Server,
    usage::{self, Cpu},
};

/// After the last connection, so that what greetings needed is given back.
const SETTLE: Duration = Duration::from_secs(3);
/// Connections that come and go before, so that what a server makes once is there.
const FIRST: usize = 64;

/// Keeps `connections` to `server` open.
///
/// # Errors
/// When one of them fails.
pub(crate) fn run(server: &Server, transport: Transport, connections: usize) -> Result<Idle, Fault> {
    let mut progress = Progress::new(format!("idle {}", transport.name()));
    // Socket.IO clients join the namespace, and that is all.
    let is_socket_io = matches!(transport, Transport::Websocket | Transport::Polling);
    let channel_of = |_| (!is_socket_io).then(|| channel(0));
    server.prime(transport, &channel(0))?;
    let mut first = Crowd::new()?;
    gather(&mut first, server, transport, FIRST.min(connections), &mut progress, channel_of)?;
    drop(first);
    let mut crowd = Crowd::new()?;
    settle(&mut crowd, SETTLE)?;

    let (resident, kernel) = (server.resident(), usage::kernel_memory()?);
    let (server_cpu, own_cpu) = (server.cpu(), Cpu::of(std::process::id())?);
    let elapsed = gather(&mut crowd, server, transport, connections, &mut progress, channel_of)?;
    let own_cpu = Cpu::of(std::process::id())?.since(own_cpu);
    let server_cpu = server.cpu().zip(server_cpu).map(|(now, before)| now.since(before));
    progress.tell("settling", format_args!(""));
    settle(&mut crowd, SETTLE)?;

    let each = |now: u64, before: u64| (now as f64 - before as f64) / connections as f64;
    Ok(Idle {
        transport,
        connections,
        connects_per_second: connections as f64 / elapsed.as_secs_f64(),
        server_cpu_us_per_connect: server_cpu.map(|cpu| cpu.total().as_secs_f64() * 1e6 / connections as f64),
        resident_bytes_before: resident,
        resident_bytes_per_connection: server.resident().zip(resident).map(|(now, before)| each(now, before)),
        kernel_bytes_per_connection: each(usage::kernel_memory()?, kernel),
        load: Share::of(own_cpu, elapsed),
    })
}
