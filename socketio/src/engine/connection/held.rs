//! What the pending handlers of a connection hold, in bytes.

use std::sync::{Arc, atomic::Ordering};

use super::{Conn, Connection};

impl Connection {
    /// Counts what a pending handler holds, until the guard is dropped. `None`: that is more than
    /// [`Config::max_handler_bytes`](crate::Config::max_handler_bytes). A connection without pending handlers may have any one.
    pub(crate) fn hold_for_handler(&self, bytes: usize) -> Option<HandlerBytes> {
        let limit = self.0.core.config.max_handler_bytes;
        let before = self.0.handler_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.0.counters().handler_bytes.add(bytes as u64);
        let held = HandlerBytes { conn: self.0.clone(), bytes };
        (limit == 0 || before == 0 || before + bytes <= limit).then_some(held)
    }
}

/// See [`Connection::hold_for_handler`].
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
