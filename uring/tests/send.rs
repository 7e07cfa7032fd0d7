//! The ring against real sockets. Where the kernel does not allow io_uring, the tests say so and pass: then nothing uses the ring.

#![cfg(target_os = "linux")]

use std::{
    io::{ErrorKind, Read as _},
    net::{TcpListener, TcpStream},
    os::fd::{AsFd as _, BorrowedFd},
};

use uring::Ring;

fn ring(most: usize) -> Option<Ring> {
    match Ring::open(most) {
        Ok(ring) => Some(ring),
        Err(error) => {
            println!("io_uring is not available here: {error}");
            None
        }
    }
}

/// The two ends of `count` connections. The first ones do not wait.
fn pairs(count: usize) -> (Vec<TcpStream>, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (0..count)
        .map(|_| {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let socket = listener.accept().unwrap().0;
            socket.set_nonblocking(true).unwrap();
            (socket, client)
        })
        .unzip()
}

fn borrowed(sockets: &[TcpStream]) -> impl Iterator<Item = BorrowedFd<'_>> {
    sockets.iter().map(|socket| socket.as_fd())
}

#[test]
fn each_socket_gets_all_bytes_also_when_there_are_more_than_fit_at_once() {
    let Some(mut ring) = ring(8) else { return };
    for count in [0, 1, 8, 9, 100] {
        let (sockets, mut clients) = pairs(count);
        let mut taken = Vec::new();
        for bytes in [&b"first "[..], b"second"] {
            ring.send(borrowed(&sockets), bytes, &mut taken).unwrap();
        }
        assert_eq!(taken.len(), 2 * count);
        assert!(taken.into_iter().all(|taken| taken.unwrap() == 6));
        for client in &mut clients {
            let mut received = [0; 12];
            client.read_exact(&mut received).unwrap();
            assert_eq!(&received, b"first second");
        }
    }
}

#[test]
fn a_full_socket_takes_a_part_and_then_nothing_and_delays_no_other() {
    let Some(mut ring) = ring(8) else { return };
    let (sockets, mut clients) = pairs(3);
    let huge = vec![b'x'; 64 << 20];
    let mut taken = Vec::new();
    ring.send(borrowed(&sockets[1..2]), &huge, &mut taken).unwrap();
    let accepted = taken.pop().unwrap().unwrap();
    assert!(accepted > 0 && accepted < huge.len(), "{accepted}");
    // It takes less and less, as nobody reads.
    while taken.last().is_none_or(|taken| *taken.as_ref().unwrap() > 0) {
        ring.send(borrowed(&sockets[1..2]), &huge, &mut taken).unwrap();
    }
    taken.clear();
    ring.send(borrowed(&sockets), b"short", &mut taken).unwrap();
    let taken: Vec<_> = taken.into_iter().map(Result::unwrap).collect();
    // They may find space after all.
    assert!(taken[0] == 5 && taken[1] <= 5 && taken[2] == 5, "{taken:?}");
    for client in [0, 2] {
        let mut received = [0; 5];
        clients[client].read_exact(&mut received).unwrap();
        assert_eq!(&received, b"short");
    }
}

#[test]
fn a_lost_connection_is_an_error_of_its_own() {
    let Some(mut ring) = ring(8) else { return };
    let (sockets, mut clients) = pairs(3);
    // A client that closes with unread data resets its connection.
    ring.send(borrowed(&sockets), b"unread", &mut Vec::new()).unwrap();
    drop(clients.remove(1));
    let lost = loop {
        let mut taken = Vec::new();
        ring.send(borrowed(&sockets), b"more", &mut taken).unwrap();
        assert!(taken[0].is_ok() && taken[2].is_ok());
        if let Err(error) = taken.swap_remove(1) {
            break error;
        }
    };
    assert!(matches!(lost.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{lost}");
}

/// What was not submitted before a panic is not submitted later.
#[test]
fn a_panic_while_sockets_are_listed_sends_nothing_afterwards() {
    let Some(mut ring) = ring(8) else { return };
    let (sockets, mut clients) = pairs(2);
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let listed = borrowed(&sockets).chain(std::iter::once_with(|| panic!("on purpose")));
        let _ = ring.send(listed, b"lost", &mut Vec::new());
    }));
    assert!(panics.is_err());
    let mut taken = Vec::new();
    assert!(ring.send(borrowed(&sockets), b"later", &mut taken).is_err());
    assert!(taken.into_iter().all(|taken| taken.unwrap() == 0));
    drop((ring, sockets));
    for client in &mut clients {
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert!(received.is_empty(), "{received:?}");
    }
}

#[test]
fn what_is_sent_may_be_freed_and_closed_afterwards() {
    let Some(mut ring) = ring(64) else { return };
    for round in 0..50_u8 {
        let (sockets, mut clients) = pairs(20);
        let mut taken = Vec::new();
        ring.send(borrowed(&sockets), &vec![round; 1000], &mut taken).unwrap();
        drop(sockets);
        for client in &mut clients {
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            assert_eq!(received, [round; 1000]);
        }
    }
}
