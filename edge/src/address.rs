//! The client's address, as reported by trusted proxies.
//!
//! The peer of a connection is the client itself or a proxy. Only trusted proxies are believed: starting at the right end of
//! `X-Forwarded-For`, which the nearest proxy wrote, addresses are skipped as long as they are trusted; the first other one is the client.
//! Everything to its left was sent by the client and is ignored.
//!
//! Loopback is trusted by default: a connection from the same machine comes from the proxy in front of the server, or from a local user,
//! who could only evade the limits per address with a forged header. Proxies on other machines or in other containers have to be
//! configured.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use actix_web::http::header::{HeaderMap, HeaderName};

/// An address, or a network such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// The length of the prefix in bits.
    prefix: u8,
}

/// Neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid network `{0}`: expected addresses or networks such as 10.0.0.7, 10.0.0.0/8, fd00::/8")]
pub struct NetworkError(String);

impl Network {
    /// Whether the network contains `address`. An IPv4 address that is written as IPv6 (`::ffff:a.b.c.d`) is treated as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let read = || {
            let (address, prefix) = match text.split_once('/') {
                Some((address, prefix)) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                    (address, Some(prefix.parse::<u8>().ok()?))
                }
                Some(_) => return None,
                None => (text, None),
            };
            let address = address.parse::<IpAddr>().ok()?.to_canonical();
            let most = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.unwrap_or(most);
            (prefix <= most).then_some(Self { address, prefix })
        };
        read().ok_or_else(|| NetworkError(text.chars().take(60).flat_map(char::escape_default).collect()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The client's address: `peer`, or the one that trusted proxies report in `X-Forwarded-For`.
///
/// Without a peer (a request without a socket) it is 0.0.0.0.
#[must_use]
pub fn client(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let fields = headers.get_all(HeaderName::from_static("x-forwarded-for"));
    let fields: Vec<&str> = fields.map(|value| value.to_str().unwrap_or_default()).collect();
    through(peer.map(|peer| peer.ip()), &fields, trusted)
}

/// As [`client`], for several fields `X-Forwarded-For` in order.
#[must_use]
pub fn through(peer: Option<IpAddr>, fields: &[&str], trusted: &[Network]) -> IpAddr {
    let Some(peer) = peer.map(|peer| peer.to_canonical()) else {
        return IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    };
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let mut client = peer;
    // Several fields are one list (RFC 9110 §5.3).
    for hop in fields.iter().rev().flat_map(|field| field.rsplit(',')) {
        match forwarded(hop.trim()) {
            Some(address) => client = address,
            // A trusted proxy wrote it, but it is invalid: the last valid address is used.
            None => break,
        }
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// One element of the list: an address, which some proxies write with a port.
fn forwarded(hop: &str) -> Option<IpAddr> {
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|hop| hop.ip())).or_else(bracketed)?;
    Some(IpAddr::to_canonical(&address))
}

/// The address by which limits count: an IPv4 address itself, of an IPv6 address its /64, since the client can choose the rest (RFC 6177,
/// RFC 8981).
#[must_use]
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn networks(text: &str) -> Vec<Network> {
        text.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, held) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("::/0", "2001:db8::1", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::1", "::1", true),
            ("::1/128", "::2", false),
        ] {
            assert_eq!(networks(network)[0].contains(address.parse().unwrap()), held, "{network} {address}");
        }
        for bad in ["", "x", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "::/129", "10.0.0/8", "a\nb"] {
            let told = bad.parse::<Network>().unwrap_err().to_string();
            assert!(!told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn the_client_is_the_nearest_address_that_is_not_trusted() {
        for (peer, forwarded, trusted, expected) in [
            ("9.9.9.9:1", &["1.1.1.1"][..], "", "9.9.9.9"),
            ("9.9.9.9:1", &["1.1.1.1"], "127.0.0.0/8", "9.9.9.9"),
            ("127.0.0.1:1", &["1.1.1.1"], "127.0.0.0/8", "1.1.1.1"),
            ("127.0.0.1:1", &[], "127.0.0.0/8", "127.0.0.1"),
            // Everything to the left of the client's address is forged.
            ("127.0.0.1:1", &["6.6.6.6, 1.1.1.1"], "127.0.0.0/8", "1.1.1.1"),
            ("127.0.0.1:1", &["6.6.6.6", "1.1.1.1"], "127.0.0.0/8", "1.1.1.1"),
            ("127.0.0.1:1", &["1.1.1.1, 10.0.0.2"], "127.0.0.0/8,10.0.0.0/8", "1.1.1.1"),
            ("127.0.0.1:1", &["10.0.0.3,10.0.0.2"], "127.0.0.0/8,10.0.0.0/8", "10.0.0.3"),
            ("127.0.0.1:1", &["1.1.1.1, junk"], "127.0.0.0/8", "127.0.0.1"),
            ("127.0.0.1:1", &["junk, 10.0.0.2"], "127.0.0.0/8,10.0.0.0/8", "10.0.0.2"),
            ("127.0.0.1:1", &["1.1.1.1:4711"], "127.0.0.0/8", "1.1.1.1"),
            ("127.0.0.1:1", &["[2001:db8::1]:4711"], "127.0.0.0/8", "2001:db8::1"),
            ("127.0.0.1:1", &["[2001:db8::1]"], "127.0.0.0/8", "2001:db8::1"),
            ("[::ffff:127.0.0.1]:1", &["::ffff:1.1.1.1"], "127.0.0.0/8", "1.1.1.1"),
            ("[::1]:1", &["unknown"], "::1", "::1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(value));
            }
            let address = client(Some(peer.parse().unwrap()), &headers, &networks(trusted));
            assert_eq!(address, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?} {trusted}");
        }
        assert_eq!(client(None, &HeaderMap::new(), &[]), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }

    #[test]
    fn ipv6_counts_by_its_network() {
        let counted = |text: &str| counted(text.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("::ffff:1.2.3.4"), "1.2.3.4");
        assert_eq!(counted("1.2.3.4"), "1.2.3.4");
    }

    proptest! {
        /// Whatever an untrusted client sends, its own address counts.
        #[test]
        fn an_untrusted_client_cannot_choose_its_address(header in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_str(&header).unwrap());
            let peer: SocketAddr = "8.8.8.8:1".parse().unwrap();
            prop_assert_eq!(client(Some(peer), &headers, &networks("127.0.0.0/8,::1")), peer.ip());
        }
    }
}
