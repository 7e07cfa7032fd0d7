//! The writes of one slice: the same bytes to every socket.
//!
//! Most messages are one piece of memory for each member. They are sent with one system call for the whole slice, where the kernel allows that
//! (`TRIDENT_IO_URING`); everything else is written to one socket after the other.

use std::{
    io::{self, ErrorKind, IoSlice, Write as _},
    mem,
    net::TcpStream,
    os::fd::AsFd,
};

use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use uring::Ring;

use super::super::outgoing::{MAX_PARTS, MAX_WRITE};

/// What is written with one system call: at most [`MAX_WRITE`] bytes, in at most [`MAX_PARTS`] parts.
pub(super) type Writing = Vec<Bytes>;

/// The system calls that write `parts`, one after the other. Nothing is copied.
pub(super) fn writings(parts: impl IntoIterator<Item = Bytes>) -> Vec<Writing> {
    let (mut all, mut one, mut room) = (Vec::new(), Vec::new(), MAX_WRITE);
    for mut part in parts {
        while !part.is_empty() {
            if room == 0 || one.len() == MAX_PARTS {
                all.push(mem::take(&mut one));
                room = MAX_WRITE;
            }
            let piece = part.split_to(part.len().min(room));
            room -= piece.len();
            one.push(piece);
        }
    }
    if !one.is_empty() {
        all.push(one);
    }
    all
}

/// What follows the first `taken` bytes of `parts`.
pub(super) fn after_first<'a>(parts: impl IntoIterator<Item = &'a Bytes>, mut taken: usize) -> Vec<Bytes> {
    let rest = |part: &Bytes| {
        let skipped = taken.min(part.len());
        taken -= skipped;
        part.slice(skipped..)
    };
    parts.into_iter().map(rest).collect()
}

/// Fewer sockets are written to one after the other, which costs less. Tests have few.
const MIN_RING: usize = if cfg!(test) { 2 } else { 8 };

/// What a worker sends to its cohorts with.
pub(super) struct Writer {
    ring: Option<Ring>,
    /// The number of workers that have a ring.
    rings: Gauge,
}

impl Writer {
    /// A writer that sends through io_uring if `uses_ring`, to `most` sockets at a time.
    pub(super) fn open(uses_ring: bool, most: usize, rings: Gauge) -> Self {
        let ring = uses_ring.then(|| Ring::open(most)).transpose().unwrap_or_else(|error| {
            log::warn!("a worker sends without io_uring: {error}");
            None
        });
        rings.inc_by(i64::from(ring.is_some()));
        Self { ring, rings }
    }

    /// Passes the bytes of `writings` to each of `count` sockets, and appends to `taken` the number of bytes that the kernel accepted. An error
    /// means that the connection is lost.
    pub(super) fn send<'a>(
        &mut self,
        sockets: impl Iterator<Item = &'a TcpStream>,
        count: usize,
        writings: &[Writing],
        taken: &mut Vec<io::Result<usize>>,
    ) {
        match (&mut self.ring, writings) {
            (Some(ring), [writing]) if writing.len() == 1 && count >= MIN_RING => {
                // Sockets that were not served continue alone.
                if let Err(error) = ring.send(sockets.map(AsFd::as_fd), &writing[0], taken) {
                    log::error!("a worker sends without io_uring from now on: {error}");
                    self.ring = None;
                    self.rings.dec();
                }
            }
            _ => taken.extend(sockets.map(|socket| to_one(socket, writings))),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.rings.dec_by(i64::from(self.ring.is_some()));
    }
}

/// As [`Writer::send`], for one socket.
pub(super) fn to_one(socket: &TcpStream, writings: &[Writing]) -> io::Result<usize> {
    let mut taken = 0;
    for writing in writings {
        let accepted = loop {
            match write(socket, writing) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break 0,
                accepted => break accepted?,
            }
        };
        taken += accepted;
        if accepted < writing.iter().map(Bytes::len).sum::<usize>() {
            break;
        }
    }
    Ok(taken)
}

fn write(mut socket: &TcpStream, writing: &Writing) -> io::Result<usize> {
    if let [part] = &writing[..] {
        return socket.write(part);
    }
    let mut slices = [IoSlice::new(&[]); MAX_PARTS];
    slices.iter_mut().zip(writing).for_each(|(slice, part)| *slice = IoSlice::new(part));
    socket.write_vectored(&slices[..writing.len().min(MAX_PARTS)])
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::{Shutdown, TcpListener},
    };

    use proptest::prelude::*;

    use super::*;

    /// Both ways give the same results, for members with and without space, and for those that are gone.
    #[test]
    fn one_system_call_for_all_does_what_one_for_each_does() {
        let (rings, ways) = (Gauge::default(), [false, true]);
        let has_ring = i64::from(Ring::open(1).is_ok());
        for parts in [vec![4], vec![40_000], vec![100, 20_000]] {
            let [apart, together] = ways.map(|uses_ring| {
                let mut writer = Writer::open(uses_ring, 64, rings.clone());
                assert_eq!(rings.get(), has_ring * i64::from(uses_ring));
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let (sockets, mut clients): (Vec<_>, Vec<_>) = (0..20)
                    .map(|_| {
                        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                        let socket = listener.accept().unwrap().0;
                        socket.set_nonblocking(true).unwrap();
                        (socket, client)
                    })
                    .unzip();
                fill(&sockets[1]);
                sockets[2].shutdown(Shutdown::Write).unwrap();
                let writings = writings(parts.iter().map(|size| Bytes::from(vec![b'y'; *size])));
                let mut taken = Vec::new();
                writer.send(sockets.iter(), sockets.len(), &writings, &mut taken);
                drop(sockets);
                let mut received = Vec::new();
                clients[0].read_to_end(&mut received).unwrap();
                let mut results: Vec<_> =
                    taken.iter().map(|taken| taken.as_ref().map_err(io::Error::kind).copied()).collect();
                assert_eq!(results[0], Ok(received.len()));
                assert_eq!(results[2], Err(ErrorKind::BrokenPipe));
                // Some bytes may find space after all.
                assert!(results.remove(1).is_ok());
                results
            });
            assert_eq!(apart, together);
        }
        assert_eq!(rings.get(), 0);
    }

    /// Writes until there is no space.
    fn fill(mut socket: &TcpStream) {
        let chunk = [b'x'; 1 << 20];
        while socket.write(&chunk).is_ok_and(|taken| taken > 0) {}
    }

    proptest! {
        #[test]
        fn writings_have_all_bytes_in_order_within_their_bounds(
            sizes in proptest::collection::vec(prop_oneof![0..40_usize, 0..3 * MAX_WRITE], 0..30),
        ) {
            let parts = sizes.iter().enumerate().map(|(n, size)| Bytes::from(vec![n as u8; *size]));
            let whole: Vec<u8> = parts.clone().flatten().collect();
            let all = writings(parts);
            for writing in &all {
                let bytes = writing.iter().map(Bytes::len).sum::<usize>();
                prop_assert!(bytes > 0 && bytes <= MAX_WRITE && writing.len() <= MAX_PARTS);
            }
            prop_assert!(all.len() <= whole.len().div_ceil(MAX_WRITE) + sizes.len() / MAX_PARTS + 1);
            prop_assert_eq!(all.into_iter().flatten().flatten().collect::<Vec<u8>>(), whole);
        }
    }
}
