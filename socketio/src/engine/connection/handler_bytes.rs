//! The memory that the pending handlers of a connection use, in bytes.

use std::sync::{Arc, atomic::Ordering};

use super::{Conn, Connection};

/// Bytes that the handlers of one connection may use, whatever all others use.
const RESERVED: usize = 64 << 10;

impl Connection {
    /// Counts the memory of a pending handler until the guard is dropped. `None` if this exceeds
    /// [`Config::max_handler_bytes`](crate::Config::max_handler_bytes) for the connection or
    /// [`Config::max_handler_total`](crate::Config::max_handler_total) for all. A connection without pending handlers may have one of any
    /// size.
    pub(crate) fn count_for_handler(&self, bytes: usize) -> Option<HandlerBytes> {
        let (own_limit, limit) = (self.0.core.config.max_handler_bytes, self.0.core.config.max_handler_total as u64);
        let counter = &self.0.counters().handler_bytes;
        let before = self.0.handler_bytes.fetch_add(bytes, Ordering::Relaxed);
        counter.add(bytes as u64);
        let held = HandlerBytes { conn: self.0.clone(), bytes };
        let own = before + bytes;
        let fits_own = own_limit == 0 || before == 0 || own <= own_limit;
        let fits_all = limit == 0 || own <= RESERVED || counter.get() <= limit;
        (fits_own && fits_all).then_some(held)
    }
}

/// See [`Connection::count_for_handler`].
pub(crate) struct HandlerBytes {
    conn: Arc<Conn>,
    bytes: usize,
}

impl Drop for HandlerBytes {
    fn drop(&mut self) {
        self.conn.handler_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.conn.counters().handler_bytes.sub(self.bytes as u64);
    }
}
