//! Accepted sockets, counted from accept to close by the address of their peer.
//!
//! Limits of connections ([`crate::limits`]) count requests that hold a place. A socket costs a descriptor before it has asked for
//! anything, so sockets have their own limits: per address, twice the connection limit plus 8; per process, the limit of open files. Beyond
//! either, sockets that have waited for a request for a second are closed, the longest idle first. Only when an address has none that is
//! idle is a new one of its closed at once.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::{
    address::{Network, counted},
    open_files,
    settings::Settings,
};

/// Additional sockets of an address, for short requests.
const SPARE: usize = 8;

/// Counts the sockets of a process. Clones share the counters.
#[derive(Clone, Debug)]
pub(crate) struct Sockets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Set once the limit of open files has been raised, which is before the first socket.
    most: OnceLock<usize>,
    workers: usize,
    most_per_address: Option<usize>,
    /// Proxies, whose sockets belong to many clients.
    proxies: Vec<Network>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    /// Sockets closed to make room.
    evicted: u64,
    /// Contains only addresses with a socket.
    of: HashMap<IpAddr, usize>,
}

/// Which idle sockets are to be closed for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    None,
    /// Those of an address, at least this many.
    Address(IpAddr, usize),
    /// Those of any address.
    Total(usize),
}

/// An open socket; dropping it releases its slot.
#[derive(Debug)]
pub(super) struct Socket {
    sockets: Sockets,
    address: Option<IpAddr>,
}

impl Sockets {
    /// The limits that follow from the settings and from the limit of open files.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self(Arc::new(Inner {
            most: OnceLock::new(),
            workers: settings.workers,
            most_per_address: settings.max_connections_per_address.map(|most| 2 * most + SPARE),
            proxies: settings.trusted_proxies.clone(),
            counts: Mutex::default(),
        }))
    }

    /// The numbers of open sockets, and of sockets closed to make room.
    pub(crate) fn figures(&self) -> (usize, u64) {
        let counts = self.0.counts();
        (counts.total, counts.evicted)
    }

    /// Counts an accepted socket, and returns which ones have to be closed for it.
    pub(super) fn open(&self, peer: SocketAddr) -> (Socket, Excess) {
        let address = Some(peer.ip()).filter(|address| !self.0.is_proxy(*address)).map(counted);
        let mut counts = self.0.counts();
        counts.total += 1;
        let of_address = address.map(|address| {
            let count = counts.of.entry(address).or_default();
            *count += 1;
            *count
        });
        let most = self.0.most();
        // Several at a time, since finding the longest idle requires a scan of all.
        let excess = match (address, of_address, self.0.most_per_address) {
            (Some(address), Some(count), Some(own)) if count > own => {
                Excess::Address(address, (count - own).max(own / 8))
            }
            _ if counts.total > most => Excess::Total((counts.total - most).max(most / 8)),
            _ => Excess::None,
        };
        (Socket { sockets: self.clone(), address }, excess)
    }

    /// The number of sockets beyond the limit of descriptors.
    pub(super) fn excess(&self) -> usize {
        self.0.counts().total.saturating_sub(self.0.most())
    }

    /// This many were closed to make room.
    pub(super) fn evicted(&self, count: usize) {
        self.0.counts().evicted += count as u64;
    }
}

impl Inner {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of sockets that the process has descriptors for.
    fn most(&self) -> usize {
        *self.most.get_or_init(|| open_files::sockets(self.workers))
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.contains(address))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut counts = self.sockets.0.counts();
        counts.total -= 1;
        if let Some(address) = self.address
            && let Some(count) = counts.of.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                counts.of.remove(&address);
            }
        }
    }
}

impl Socket {
    /// The address that it counts for: `None` for a trusted proxy.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ServiceDefaults;

    const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };

    fn sockets(settings: &[(&str, &str)]) -> Sockets {
        Sockets::new(&Settings::from_sources(&SERVICE, [], settings.iter().copied()).unwrap())
    }

    /// Case 5.6: sockets are counted by their address as soon as they are accepted, those of trusted proxies only in the total.
    #[test]
    fn an_address_has_a_limit_of_sockets() {
        let sockets = sockets(&[("TRIDENT_MAX_CONNECTIONS_PER_ADDRESS", "1"), ("TRIDENT_TRUSTED_PROXIES", "10.0.0.1")]);
        let open = |peer: &str| sockets.open(peer.parse().unwrap());
        let first: Vec<_> = (0..10).map(|_| open("10.0.0.2:1")).collect();
        assert!(first.iter().all(|(_, excess)| *excess == Excess::None));
        let (eleventh, excess) = open("10.0.0.2:2");
        assert_eq!(excess, Excess::Address("10.0.0.2".parse().unwrap(), 1));
        assert_eq!(open("10.0.0.3:1").1, Excess::None);
        let proxied: Vec<_> = (0..20).map(|_| open("10.0.0.1:1")).collect();
        assert!(proxied.iter().all(|(socket, excess)| *excess == Excess::None && socket.address().is_none()));
        assert_eq!(sockets.figures(), (31, 0));
        drop((eleventh, first));
        assert_eq!((sockets.figures(), sockets.0.counts().of.len()), ((20, 0), 0));
        assert_eq!(open("10.0.0.2:1").1, Excess::None);
    }
}
