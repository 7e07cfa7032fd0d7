//! Memory of requests that are incomplete or not answered yet: one budget for all connections of a process (`TRIDENT_RECEIVE_TOTAL`).
//!
//! Most requests are short and complete immediately. Those of up to [`UNCOUNTED`] bytes are not counted: they are part of the expected
//! memory of a connection. A longer one is counted with all of its bytes and rejected if there is no space. One request always has space,
//! so that every request within the other limits is accepted at some time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::ApiError;

/// A request may use this many bytes whatever all others use: the size of one read.
pub const UNCOUNTED: usize = 16 * 1024;

/// The counter of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct Receiving(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` is no limit.
    limit: Option<usize>,
    bytes: AtomicUsize,
}

/// There is no space for another larger request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("requests in progress have reached their memory limit (TRIDENT_RECEIVE_TOTAL); retry later")]
pub struct NoRoom;

impl From<NoRoom> for ApiError {
    fn from(refused: NoRoom) -> Self {
        Self::unavailable("overloaded", refused)
    }
}

impl Receiving {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: Option<usize>) -> Self {
        Self(Arc::new(Inner { limit, bytes: AtomicUsize::new(0) }))
    }

    /// Bytes that are counted now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// The share of one request, initially 0 bytes.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { all: self.clone(), counted: 0 }
    }
}

/// The memory of one request, released when it is dropped.
#[derive(Debug)]
pub struct Share {
    all: Receiving,
    counted: usize,
}

impl Share {
    /// Sets the memory of the request to `bytes`.
    ///
    /// # Errors
    /// When that is an increase for which there is no space. The share is then unchanged.
    pub fn set(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let counted = if bytes > UNCOUNTED { bytes } else { 0 };
        let Inner { limit, bytes: all } = &*self.all.0;
        if counted <= self.counted {
            all.fetch_sub(self.counted - counted, Relaxed);
        } else {
            let more = counted - self.counted;
            // Added first and subtracted if it was too much: two threads cannot both get the last bytes.
            let before = all.fetch_add(more, Relaxed);
            if before > self.counted && before + more > limit.unwrap_or(usize::MAX) {
                all.fetch_sub(more, Relaxed);
                return Err(NoRoom);
            }
        }
        self.counted = counted;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.0.bytes.fetch_sub(self.counted, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_requests_share_a_budget_and_short_ones_always_pass() {
        let all = Receiving::new(Some(100_000));
        let (mut one, mut other) = (all.share(), all.share());
        assert_eq!((one.set(60_000), all.bytes()), (Ok(()), 60_000));
        assert_eq!((other.set(UNCOUNTED), all.bytes()), (Ok(()), 60_000));
        assert_eq!((other.set(40_001), all.bytes()), (Err(NoRoom), 60_000));
        assert_eq!((other.set(40_000), all.bytes()), (Ok(()), 100_000));
        assert_eq!((one.set(60_001), all.bytes()), (Err(NoRoom), 100_000), "it keeps what it had");
        assert_eq!((one.set(20_000), all.bytes()), (Ok(()), 60_000));
        drop((one, other));
        assert_eq!(all.bytes(), 0);
        let mut alone = all.share();
        assert_eq!((alone.set(90_000), alone.set(200_000)), (Ok(()), Ok(())), "alone it may have any size");
        assert_eq!(all.share().set(20_000), Err(NoRoom));
        let unlimited = Receiving::new(None);
        assert_eq!(unlimited.share().set(usize::MAX / 2), Ok(()));
    }
}
