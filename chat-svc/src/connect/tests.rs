use std::time::Instant;

use edge::{Settings, settings::ServiceDefaults};
use socketio::Transport;

use super::*;

const SERVICE: ServiceDefaults = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };

fn edge(args: &[&str]) -> Edge {
    Edge::new(Settings::from_sources(&SERVICE, args.iter().copied(), []).unwrap(), &SERVICE)
}

/// The first request of somebody at `peer`.
fn handshake(peer: &str, headers: &[(&str, &str)]) -> Handshake {
    Handshake {
        headers: headers.iter().copied().collect(),
        url: "/socket.io/?EIO=4&transport=polling".into(),
        address: Some(peer.parse().unwrap()),
        transport: Transport::Polling,
        xdomain: false,
        secure: false,
        time: SystemTime::now(),
        since: Instant::now(),
        data: None,
    }
}

#[test]
fn a_session_key_counts_from_a_trusted_proxy_alone() {
    let edge = edge(&["--trusted-proxies", "10.0.0.0/8"]);
    for (peer, key, believed) in [
        ("10.0.0.7", "0af3", true),
        ("::ffff:10.0.0.7", "9999", true),
        ("10.0.0.7", "0AF3", false),
        ("10.0.0.7", "0af", false),
        ("10.0.0.7", "0af34", false),
        ("10.0.0.7", "0ag3", false),
        ("10.0.0.7", "", false),
        ("192.0.2.1", "0af3", false),
        ("127.0.0.1", "0af3", false),
    ] {
        let found = session_key(&edge, &handshake(peer, &[(SESSION_KEY, key)]));
        assert_eq!(found, believed.then(|| key.to_owned()), "{key:?} from {peer}");
    }
    assert_eq!(session_key(&edge, &handshake("10.0.0.7", &[])), None);
}

#[test]
fn each_address_has_its_places_from_the_first_request_on() {
    let edge = edge(&["--max-connections", "3", "--max-connections-per-address", "2"]);
    let refusals = &edge.metrics.refusals;
    let here = handshake("192.0.2.1", &[]);
    let (first, _second) = (allow(&edge, &here).unwrap(), allow(&edge, &here).unwrap());
    assert!(allow(&edge, &here).is_err_and(|message| message.contains("TRIDENT_MAX_CONNECTIONS_PER_ADDRESS")));
    // What a stranger says of itself does not count; what the proxy on this machine says does.
    assert!(allow(&edge, &handshake("192.0.2.1", &[("x-forwarded-for", "203.0.113.9")])).is_err());
    let behind = handshake("127.0.0.1", &[("x-forwarded-for", "203.0.113.9, 192.0.2.1")]);
    assert!(allow(&edge, &behind).is_err());
    assert_eq!(refusals.connections_per_address.get(), 3);
    let other = allow(&edge, &handshake("127.0.0.1", &[("x-forwarded-for", "203.0.113.9")])).unwrap();
    assert!(
        allow(&edge, &handshake("198.51.100.1", &[])).is_err_and(|message| message.contains("TRIDENT_MAX_CONNECTIONS"))
    );
    assert_eq!(refusals.connections.get(), 1);
    drop((first, other));
    assert!(allow(&edge, &here).is_ok());
}
