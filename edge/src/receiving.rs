//! Memory of requests that are incomplete or not answered yet: one budget for all connections of a process (`TRIDENT_RECEIVE_TOTAL`).
//!
//! Most requests are short and complete immediately. Those of up to [`UNCOUNTED`] bytes are not counted: they are part of the expected
//! memory of a connection. A longer one is counted with all of its bytes and rejected if there is no space. One request always has space,
//! so that every request within the other limits is accepted at some time.
//!
//! Anyone can send half a request from any number of sockets. Requests of clients without a token, and heads, whose clients are not known
//! yet, together have half of the budget: tokens keep the other half. Each address has at most as much of it as it leaves free, so one
//! address never has all of it; several can. Heads count for the address of the socket: behind a proxy, for that of the proxy.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use super::{ApiError, address};

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
    /// Those of them that are of clients without a token. Locked for requests of more than [`UNCOUNTED`] bytes only.
    anonymous: Mutex<Anonymous>,
}

/// Bytes of clients without a token.
#[derive(Debug, Default)]
struct Anonymous {
    bytes: usize,
    by_address: HashMap<IpAddr, usize>,
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
        Self(Arc::new(Inner { limit, bytes: AtomicUsize::new(0), anonymous: Mutex::default() }))
    }

    /// Bytes that are counted now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// Those of them that are of clients without a token.
    #[must_use]
    pub fn anonymous_bytes(&self) -> usize {
        self.0.anonymous.lock().bytes
    }

    /// The share of one request of a client with a token, initially 0 bytes.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { all: self.clone(), counted: 0, address: None }
    }

    /// The same, of a client without a token at this address, or one of which nothing else is known yet.
    #[must_use]
    pub fn anonymous_share(&self, address: IpAddr) -> Share {
        Share { all: self.clone(), counted: 0, address: Some(address::counted(address)) }
    }
}

/// The memory of one request, released when it is dropped.
#[derive(Debug)]
pub struct Share {
    all: Receiving,
    counted: usize,
    /// For clients without a token.
    address: Option<IpAddr>,
}

impl Share {
    /// Sets the memory of the request to `bytes`.
    ///
    /// # Errors
    /// When that is an increase for which there is no space. The share is then unchanged.
    pub fn set(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let counted = if bytes > UNCOUNTED { bytes } else { 0 };
        if counted <= self.counted {
            self.release(self.counted - counted);
            self.counted = counted;
            return Ok(());
        }
        let Inner { limit, bytes: all, anonymous } = &*self.all.0;
        let (more, limit) = (counted - self.counted, limit.unwrap_or(usize::MAX));
        if let Some(address) = self.address {
            anonymous.lock().add(address, self.counted, more, limit / 2)?;
        }
        // Added first and subtracted if it was too much: two threads cannot both get the last bytes.
        let before = all.fetch_add(more, Relaxed);
        if before > self.counted && before + more > limit {
            self.release(more);
            return Err(NoRoom);
        }
        self.counted = counted;
        Ok(())
    }

    /// So many bytes less.
    fn release(&self, bytes: usize) {
        self.all.0.bytes.fetch_sub(bytes, Relaxed);
        if let Some(address) = self.address.filter(|_| bytes > 0) {
            self.all.0.anonymous.lock().remove(address, bytes);
        }
    }
}

impl Anonymous {
    /// Adds `more` bytes of a request that has `counted` bytes, unless its client has more then than `limit` has left. Alone it may have any size.
    fn add(&mut self, address: IpAddr, counted: usize, more: usize, limit: usize) -> Result<(), NoRoom> {
        let own = self.by_address.get(&address).copied().unwrap_or_default() + more;
        let left = limit.saturating_sub(self.bytes + more);
        if self.bytes > counted && own > left {
            return Err(NoRoom);
        }
        self.bytes += more;
        self.by_address.insert(address, own);
        Ok(())
    }

    fn remove(&mut self, address: IpAddr, bytes: usize) {
        self.bytes -= bytes;
        if let Some(own) = self.by_address.get_mut(&address) {
            *own -= bytes;
            if *own == 0 {
                self.by_address.remove(&address);
            }
        }
        if self.by_address.is_empty() {
            self.by_address = HashMap::new();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release(self.counted);
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

    /// Half a request from each of 1,024 sockets gave every larger publication 503.
    #[test]
    fn clients_without_a_token_leave_half_to_tokens_and_something_to_each_other() {
        const LIMIT: usize = 1_000_000;
        let all = Receiving::new(Some(LIMIT));
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let fill = |address| {
            let shares = std::iter::repeat_with(|| all.anonymous_share(address));
            shares.map_while(|mut share| share.set(20_000).is_ok().then_some(share)).collect::<Vec<_>>()
        };
        let attack = fill(address(1));
        assert_eq!((attack.len(), all.anonymous_bytes()), (12, 240_000), "as much as it leaves free");
        let others: Vec<_> = (2..5).map(|n| fill(address(n))).collect();
        assert!(others.iter().all(|shares| !shares.is_empty()), "{others:?}");
        assert!(all.anonymous_bytes() <= LIMIT / 2);
        let mut with_token = all.share();
        assert_eq!(with_token.set(LIMIT / 2), Ok(()));
        assert_eq!(all.share().set(LIMIT), Err(NoRoom));
        let before = all.bytes();
        let mut refused = all.anonymous_share(address(9));
        assert_eq!(refused.set(LIMIT), Err(NoRoom));
        drop((attack, others, refused));
        assert_eq!((all.anonymous_bytes(), all.bytes()), (0, LIMIT / 2));
        assert!(before > all.bytes());
        // If the tokens have taken all, what was counted for the address is given back.
        with_token.set(LIMIT).unwrap();
        assert_eq!((all.anonymous_share(address(1)).set(20_000), all.anonymous_bytes()), (Err(NoRoom), 0));
        drop(with_token);
        let (mut alone, mut same) = (all.anonymous_share(address(1)), all.anonymous_share(address(1)));
        assert_eq!((alone.set(LIMIT), alone.set(2 * LIMIT)), (Ok(()), Ok(())), "alone it may have any size");
        assert_eq!(same.set(20_000), Err(NoRoom));
        alone.set(30_000).unwrap();
        assert_eq!((same.set(20_000), all.anonymous_bytes()), (Ok(()), 50_000));
        drop((alone, same));
        assert!(all.0.anonymous.lock().by_address.is_empty());
        let unlimited = Receiving::new(None);
        assert_eq!(unlimited.anonymous_share(address(1)).set(LIMIT), Ok(()));
        assert_eq!(unlimited.anonymous_share(address(1)).set(usize::MAX / 8), Ok(()));
    }
}
