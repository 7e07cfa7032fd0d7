//! The writes of one slice: the same bytes to every socket.
//!
//! This is all that a cohort asks of the kernel for a message, in one place, so that one submission can replace it.

use std::{
    io::{self, ErrorKind, IoSlice, Write as _},
    mem,
    net::TcpStream,
};

use bytes::Bytes;

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

/// Passes the bytes of `writings` to each socket, and appends to `taken` the number of bytes that the kernel accepted. An error means that the
/// connection is lost.
pub(super) fn to_each<'a>(
    sockets: impl Iterator<Item = &'a TcpStream>,
    writings: &[Writing],
    taken: &mut Vec<io::Result<usize>>,
) {
    taken.extend(sockets.map(|socket| to_one(socket, writings)));
}

/// As [`to_each`], for one socket.
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
    use proptest::prelude::*;

    use super::*;

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
