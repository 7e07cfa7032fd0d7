//! What tests of the log share with those of the services. Behind the feature `testing`; no binary has it.

pub mod logged;
pub mod redis;

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

/// A port of 127.0.0.1 that was free a moment ago, and is not given again by this process. It is none of those that the kernel gives to connections, which
/// could take it before a server listens there, or while that server is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (number % 20_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
