//! The writes of one slice: the same bytes to every socket.
//!
//! This is all that a cohort asks of the kernel for a message, in one place, so that one submission can replace it.

use std::{
    io::{self, ErrorKind, Write as _},
    net::TcpStream,
};

use bytes::Bytes;

use super::super::outgoing::MAX_WRITE;

/// Passes `parts`, one after the other, to each socket, and appends to `taken` the number of bytes that the kernel accepted. An error means
/// that the connection is lost.
pub(super) fn to_each<'a>(
    sockets: impl Iterator<Item = &'a TcpStream>,
    parts: &[Bytes],
    taken: &mut Vec<io::Result<usize>>,
) {
    taken.extend(sockets.map(|socket| to_one(socket, parts)));
}

/// As [`to_each`], for one socket.
pub(super) fn to_one(mut socket: &TcpStream, parts: &[Bytes]) -> io::Result<usize> {
    let mut taken = 0;
    for piece in parts.iter().flat_map(|part| part.chunks(MAX_WRITE)) {
        let accepted = loop {
            match socket.write(piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break 0,
                accepted => break accepted?,
            }
        };
        taken += accepted;
        if accepted < piece.len() {
            break;
        }
    }
    Ok(taken)
}
