//! The bytes of messages, bodies and binary packets that have begun to come and are not complete: one budget for all connections of a
//! server.

use std::sync::Arc;

use crate::{config::Config, stats::Counters};

/// Bytes that one connection may use whatever all others use: the size of one read.
const RESERVED: usize = 64 << 10;

/// The share of one connection; given back when it is dropped.
pub(crate) struct Receiving {
    counters: Arc<Counters>,
    /// 0 is no limit.
    limit: u64,
    held: usize,
}

/// There is no more memory for unfinished messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Receiving {
    pub(crate) fn new(config: &Config, counters: &Arc<Counters>) -> Self {
        Self { counters: counters.clone(), limit: config.max_receiving_total as u64, held: 0 }
    }

    /// Sets the number of bytes in use. Bytes above the budget are counted, too, until this is dropped or set lower.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let (limit, counters) = (self.limit, &self.counters);
        let grows = bytes > self.held;
        if grows {
            counters.receiving_bytes.add((bytes - self.held) as u64);
        } else {
            counters.receiving_bytes.sub((self.held - bytes) as u64);
        }
        self.held = bytes;
        if grows && bytes > RESERVED && limit > 0 && counters.receiving_bytes.get() > limit {
            counters.receiving_refused.inc();
            return Err(NoRoom);
        }
        Ok(())
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.counters.receiving_bytes.sub(self.held as u64);
    }
}
