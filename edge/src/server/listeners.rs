//! The port, and the listener that each worker has on it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// The backlog of connections to be accepted; the kernel's own limit (`net.core.somaxconn`, 4096) also applies.
const BACKLOG: i32 = 4096;
/// The kernel's send buffer in bytes (it takes twice that in memory). Its own choice grows to megabytes, which would hide a slow reader and
/// keep outdated messages.
const SEND_BUFFER: usize = 64 * 1024;

/// A port that this process has, and on which it does not accept connections yet.
#[derive(Debug)]
pub struct Port(Socket);

impl Port {
    /// Takes the port at `address`; port 0 selects any free one.
    ///
    /// # Errors
    /// When another process listens on it, or the address is not local or not permitted.
    pub fn take(address: SocketAddr) -> io::Result<Self> {
        let socket = socket(address)?;
        socket.bind(&address.into())?;
        Ok(Self(socket))
    }

    /// Opens it to clients.
    ///
    /// # Errors
    /// When another process that took the port at the same time has opened it first.
    pub fn listen(self) -> io::Result<TcpListener> {
        self.0.listen(BACKLOG)?;
        Ok(self.0.into())
    }
}

/// Opens the port at `address`; port 0 selects any free one.
///
/// # Errors
/// When the address is in use, not local, or not permitted.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    Port::take(address)?.listen()
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait until the kernel has forgotten connections of the previous process.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // `[::]` means every address, including IPv4, whatever the machine's default is.
        socket.set_only_v6(false)?;
    }
    prepare(&socket);
    Ok(socket)
}

/// A listener for each of `workers` on the port of `first`, among which the kernel distributes connections evenly (`SO_REUSEPORT`).
///
/// [`bind`] has opened the port without this option: a second server on it still fails with "address in use". Systems other than Linux do
/// not distribute; there, and where the kernel refuses, all workers share one listener.
///
/// # Errors
/// When there are no descriptors left.
pub(super) fn one_for_each(first: TcpListener, workers: usize) -> io::Result<Vec<TcpListener>> {
    let mut listeners = vec![first];
    while listeners.len() < workers {
        let next = another(&listeners[0]).or_else(|error| {
            log::warn!("the kernel does not distribute connections among the workers: {error}");
            listeners[0].try_clone()
        });
        listeners.push(next?);
    }
    for listener in &listeners {
        listener.set_nonblocking(true)?;
    }
    Ok(listeners)
}

#[cfg(target_os = "linux")]
fn another(first: &TcpListener) -> io::Result<TcpListener> {
    let address = first.local_addr()?;
    SockRef::from(first).set_reuse_port(true)?;
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(not(target_os = "linux"))]
fn another(_: &TcpListener) -> io::Result<TcpListener> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sets the options of connections on their listener, from which Linux copies them when a connection is opened: so they need no calls for each
/// connection. Elsewhere it is called for each connection as well.
pub(crate) fn prepare<'a>(socket: impl Into<SockRef<'a>>) {
    let options = socket.into();
    // An option that cannot be set, or that this system does not support, is omitted.
    let _ = options.set_tcp_nodelay(true);
    let _ = options.set_send_buffer_size(SEND_BUFFER);
}

/// Has the kernel drop the first packet of every new connection to `listener` (a SYN, RFC 9293 §3.5), while connections that are already
/// being opened complete and can be accepted. Its client sends the packet again after a second, and is refused if the port is closed by then.
///
/// A port that is closed without this resets connections that are opened at this moment, although their client may have sent a request.
/// Returns whether the kernel does this.
#[cfg(target_os = "linux")]
pub(super) fn admit_no_more(listener: &impl std::os::fd::AsFd) -> bool {
    use socket2::SockFilter;
    // Classic BPF (the kernel's Documentation/networking/filter.rst) on the TCP header: its 14th byte has the flags, with SYN as 0x02.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let filter = [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(JUMP_IF_SET, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&filter).is_ok()
}

/// Other systems close the port without it.
#[cfg(not(target_os = "linux"))]
pub(super) fn admit_no_more<T>(_: &T) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read as _, Write as _},
        net::TcpStream,
        time::Duration,
    };

    use super::*;

    fn local() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn a_second_server_on_the_port_fails_whatever_the_number_of_workers() {
        for workers in [1, 3] {
            let listeners = one_for_each(bind(local()).unwrap(), workers).unwrap();
            let address = listeners[0].local_addr().unwrap();
            assert!(listeners.len() == workers && listeners.iter().all(|other| other.local_addr().unwrap() == address));
            assert_eq!(bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn connections_are_distributed_evenly_and_have_the_options() {
        let listeners = one_for_each(bind(local()).unwrap(), 2).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let mut accepted = [Vec::new(), Vec::new()];
        let mut clients = Vec::new();
        while clients.len() < 300 {
            clients.push(TcpStream::connect(address).unwrap());
            for (own, listener) in accepted.iter_mut().zip(&listeners) {
                own.extend(listener.accept());
            }
        }
        while accepted[0].len() + accepted[1].len() < clients.len() {
            for (own, listener) in accepted.iter_mut().zip(&listeners) {
                own.extend(listener.accept());
            }
        }
        // The expectation is 150 with a standard deviation of 9.
        assert!(accepted.iter().all(|own| (90..=210).contains(&own.len())), "{}", accepted[0].len());
        for (socket, _) in accepted.iter().flatten() {
            let options = SockRef::from(socket);
            assert!(options.tcp_nodelay().unwrap());
            // Linux reports what it takes in memory.
            assert_eq!(options.send_buffer_size().unwrap(), 2 * SEND_BUFFER);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_port_that_is_about_to_close_resets_no_connection() {
        let listener = bind(local()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = TcpStream::connect(address).unwrap();
        queued.write_all(b"request").unwrap();
        assert!(admit_no_more(&listener));
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(300));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut, "it is neither accepted nor reset");
        let (mut socket, _) = listener.accept().unwrap();
        drop(listener);
        let mut request = [0; 7];
        socket.read_exact(&mut request).unwrap();
        assert_eq!(&request, b"request");
    }
}
