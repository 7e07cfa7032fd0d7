//! The limit that servers are measured against: one `write(2)` to each socket for each message, and nothing else.
//!
//! Runs as a process of its own, so that its time is counted as a server's is. Readers and the publisher say by their
//! first byte which they are; the publisher comes last, and what it sends, each message behind its length, goes to
//! all readers as it is.

use std::{
    io::{self, Read, Write as _},
    net::{TcpListener, TcpStream},
};

use crate::reader::bare::{PUBLISHER, SEATED};

/// Bytes of the largest message.
const LARGEST: usize = 1 << 20;

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
        // Whoever says nothing only looked whether there is a server.
        if stream.read(&mut kind)? == 0 {
            continue;
        }
        stream.write_all(&[SEATED])?;
        if kind == [PUBLISHER] {
            return relay(stream, &mut readers);
        }
        readers.push(stream);
    }
}

fn relay(publisher: TcpStream, readers: &mut [TcpStream]) -> io::Result<()> {
    let mut publisher = io::BufReader::new(publisher);
    let mut message = Vec::new();
    loop {
        let mut length = [0; 4];
        match publisher.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of more than a mebibyte"));
        }
        message.resize(length, 0);
        publisher.read_exact(&mut message)?;
        for reader in &mut *readers {
            reader.write_all(&message)?;
        }
    }
}
