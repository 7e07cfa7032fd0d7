//! Bytes of requests that are incomplete or not answered yet: one budget for all connections of a process
//! (`TRIDENT_RECEIVE_TOTAL`).
//!
//! Most requests are short and complete at once. Those of up to [`UNCOUNTED`] bytes are not counted: they are part of what each
//! connection is expected to take. A longer one is counted with all of its bytes and refused when there is no room. One request
//! always has room, so that every request which the other limits allow passes some time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::ApiError;

/// Bytes that a request may take whatever all others take: what arrives in one read.
pub const UNCOUNTED: usize = 16 * 1024;

/// The count of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct Receiving(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` is no limit.
    limit: Option<usize>,
    bytes: AtomicUsize,
}

/// There is no room for a longer request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("requests in progress take as much memory as they may (TRIDENT_RECEIVE_TOTAL); try again later")]
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

    /// The share of one request, which holds nothing yet.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { all: self.clone(), counted: 0 }
    }
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    all: Receiving,
    counted: usize,
}

impl Share {
    /// From now on the request holds `bytes`.
    ///
    /// # Errors
    /// When that is more than before and there is no room for it. The share is then as it was before.
    pub fn set(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let counted = if bytes > UNCOUNTED { bytes } else { 0 };
        let Inner { limit, bytes: all } = &*self.all.0;
        if counted <= self.counted {
            all.fetch_sub(self.counted - counted, Relaxed);
        } else {
            let more = counted - self.counted;
            // Added first and taken back if it was too much: two threads cannot both get the last bytes.
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
