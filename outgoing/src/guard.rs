//! Where requests may go whose URL a client chose: to public addresses, encrypted, and not into the network of the server.
//!
//! The address is checked that is connected to: names are looked up by [`Resolver`], which returns only what is permitted, so it does not matter
//! what a name resolved to before. The ranges are those of the special-purpose registries of IANA (RFC 6890), and IPv6 outside of 2000::/3.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use crate::Endpoint;

/// Permits public addresses over `https`, and what its operator allows.
#[derive(Clone, Default)]
pub struct Guard(Option<Arc<Allows>>);

type Allows = dyn Fn(IpAddr) -> bool + Send + Sync;

/// Why a request may not be sent there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPublic {
    /// The address is not public.
    #[error("the address is not a public one")]
    Address,
    /// The URL is not encrypted.
    #[error("the URL does not begin with https://")]
    Plain,
}

impl Guard {
    /// A guard that permits addresses of which `allows` holds, too, also without encryption.
    #[must_use]
    pub fn new(allows: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(allows)))
    }

    fn permits(&self, address: IpAddr, is_plain: bool) -> Result<(), NotPublic> {
        match () {
            () if self.0.as_ref().is_some_and(|allows| allows(address.to_canonical())) => Ok(()),
            () if is_plain => Err(NotPublic::Plain),
            () if !is_public(address) => Err(NotPublic::Address),
            () => Ok(()),
        }
    }

    /// Checks a URL. A name is checked again when it is connected to: what it means can change.
    ///
    /// # Errors
    /// When no request may be sent there.
    pub fn check(&self, to: &Endpoint) -> Result<(), NotPublic> {
        match to.host().parse() {
            Ok(address) => self.permits(address, to.is_plain()),
            Err(_) if to.is_plain() && self.0.is_none() => Err(NotPublic::Plain),
            Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

/// Whether an address is of the public network.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match (a, b, c) {
        // This network, private, loopback, link-local; multicast and reserved from 224 on.
        (0 | 10 | 127 | 224.., ..) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Shared by carriers, benchmarks, protocol assignments, documentation, the relay of 6to4.
        (100, 64..=127, _) | (198, 18 | 19, _) => true,
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) => true,
        _ => false,
    };
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64 (RFC 6052): a packet arrives at the IPv4 address within.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
        }
        // Protocol assignments with Teredo and ORCHID, documentation, 6to4.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

/// Looks names up, and returns only addresses that the guard permits.
#[derive(Clone)]
pub(crate) struct Resolver {
    system: GaiResolver,
    guard: Option<Guard>,
    is_plain: bool,
}

impl Resolver {
    /// A resolver for requests with or without encryption.
    pub(crate) fn new(guard: Option<Guard>, is_plain: bool) -> Self {
        Self { system: GaiResolver::new(), guard, is_plain }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (lookup, guard, is_plain) = (self.system.call(name), self.guard.clone(), self.is_plain);
        Box::pin(async move {
            let mut found: Vec<SocketAddr> = lookup.await?.collect();
            if let Some(guard) = guard {
                let mut refused = None;
                found
                    .retain(|address| guard.permits(address.ip(), is_plain).map_err(|why| refused = Some(why)).is_ok());
                if let (true, Some(why)) = (found.is_empty(), refused) {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
                }
            }
            Ok(found.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Guard {
        Guard::default()
    }

    fn check(guard: &Guard, url: &str) -> Result<(), NotPublic> {
        guard.check(&url.parse().unwrap())
    }

    #[test]
    fn only_public_addresses_are_permitted_in_every_notation() {
        for host in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[::169.254.169.254]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b::a00:1]",
            "[64:ff9b:1::8.8.8.8]",
            "[100::1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[2002:a00:1::]",
            "[3fff:abc::1]",
            "[5f00::1]",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
        ] {
            assert_eq!(check(&none(), &format!("https://{host}/hook")), Err(NotPublic::Address), "{host}");
        }
        for host in [
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::8.8.8.8]",
            "[2001:200::1]",
            "[2606:4700::1111]",
            "app.example",
        ] {
            assert_eq!(check(&none(), &format!("https://{host}:8443/hook")), Ok(()), "{host}");
        }
    }

    #[test]
    fn what_is_not_encrypted_goes_only_where_the_operator_allows_it() {
        let guard = Guard::new(|address| address == IpAddr::from([10, 0, 0, 7]));
        assert_eq!(check(&guard, "http://8.8.8.8/"), Err(NotPublic::Plain));
        assert_eq!(check(&guard, "http://10.0.0.8/"), Err(NotPublic::Plain));
        assert_eq!(check(&none(), "http://app.example/"), Err(NotPublic::Plain));
        assert_eq!(check(&guard, "http://app.example/"), Ok(()));
        for url in ["http://10.0.0.7/", "https://10.0.0.7/", "http://[::ffff:10.0.0.7]/"] {
            assert_eq!(check(&guard, url), Ok(()), "{url}");
        }
    }

    /// What a name means is not known before it is looked up, nor is it the next time.
    #[tokio::test]
    async fn names_are_checked_by_the_address_that_is_connected_to() {
        let lookup = async |guard: Guard, is_plain: bool, name: &str| {
            let found = Resolver::new(Some(guard), is_plain).call(name.parse().unwrap()).await;
            found.map(Iterator::count).map_err(|error| error.kind())
        };
        let refused = Err(io::ErrorKind::PermissionDenied);
        for name in ["localhost", "127.1", "0x7f000001", "2130706433"] {
            assert_eq!(lookup(none(), false, name).await, refused, "{name}");
        }
        let loopback = || Guard::new(|address| address.is_loopback());
        for is_plain in [false, true] {
            assert!(lookup(loopback(), is_plain, "localhost").await.is_ok_and(|found| found > 0));
        }
        assert_eq!(lookup(Guard::new(|_| false), true, "localhost").await, refused);
    }
}
