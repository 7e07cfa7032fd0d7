//! The lower bound that servers are compared with: one `write(2)` to each socket for each message, and nothing else.
//!
//! Runs as a separate process, so that its CPU time is counted like a server's. The first byte of a connection identifies it as a reader or
//! as the publisher. The publisher connects last, and each of its messages, prefixed by its length, is sent unchanged to all readers. A
//! publisher that waits gets an answer of one byte then.

use std::{
    io::{self, Read, Write as _},
    net::{TcpListener, TcpStream},
};

use crate::reader::bare::{PUBLISHER, SEATED, WAITING};

/// Bytes of the largest message.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Serves until the publisher ends.
///
/// # Errors
/// When a socket fails.
pub(crate) fn serve(listener: &TcpListener) -> io::Result<()> {
    let mut readers = Vec::new();
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut kind = [0];
        // A connection without a first byte only checks that the server is up.
        if stream.read(&mut kind)? == 0 {
            continue;
        }
        stream.write_all(&[SEATED])?;
        if kind == [PUBLISHER] || kind == [WAITING] {
            return relay(stream, &mut readers, kind == [WAITING]);
        }
        readers.push(stream);
    }
}

fn relay(publisher: TcpStream, readers: &mut [TcpStream], waits: bool) -> io::Result<()> {
    let mut publisher = io::BufReader::new(publisher);
    let mut message = Vec::new();
    loop {
        let mut length = [0; 4];
        match publisher.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of more than a mebibyte"));
        }
        message.resize(length, 0);
        publisher.read_exact(&mut message)?;
        for reader in &mut *readers {
            reader.write_all(&message)?;
        }
        if waits {
            publisher.get_mut().write_all(&[SEATED])?;
        }
    }
}
