//! A Redis that is spoken to over TLS, with a certificate of an authority of the test's own.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use socketio::SocketIo;
use socketio_redis::{Config, ConnectError, RedisAdapter};

use crate::{Cluster, redis_server::RedisServer, support::eventually};

/// An authority as PEM, and what it signs for `host`: a certificate, and its key.
fn signed(host: &str) -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    (authority, certificate.pem(), key.serialize_pem())
}

/// A cluster on a Redis whose certificate is for `host`, and the authority that has signed it.
fn cluster(host: &str) -> (Cluster, String) {
    let (authority, certificate, key) = signed(host);
    let redis = RedisServer::encrypted(&certificate, &key, &authority);
    (Cluster { redis, ..Cluster::new() }, authority)
}

#[test]
fn servers_meet_over_tls() {
    let (cluster, authority) = cluster("127.0.0.1");
    let trusting = || Config { authorities: Some(authority.clone().into_bytes()), ..cluster.config() };
    let one = cluster.add_with(trusting(), SocketIo::builder(), |adapter| adapter);
    // The scheme is the same in capitals.
    let capitals = Config { url: cluster.redis.url().replace("rediss", "REDISS"), ..trusting() };
    let two = cluster.add_with(capitals, SocketIo::builder(), |adapter| adapter);
    cluster.wait(async { tokio::join!(one.adapter.connected(), two.adapter.connected()) });
    let mut client = two.join(&[]);
    cluster.wait(one.io.emit("sealed", &1)).unwrap();
    assert_eq!(client.text(), r#"42["sealed",1]"#);
    assert_eq!(cluster.wait(one.io.of("/").server_count()).unwrap(), 2);
}

/// Signed by an unknown authority: nothing is sent to it, however often it is tried.
#[test]
fn an_unknown_certificate_is_rejected() {
    let (cluster, _) = cluster("127.0.0.1");
    let (stranger, ..) = signed("127.0.0.1");
    for authorities in [None, Some(stranger.into_bytes())] {
        let node = cluster.add_with(Config { authorities, ..cluster.config() }, SocketIo::builder(), |adapter| adapter);
        eventually("it says why", || {
            let refused = cluster.wait(node.io.emit("sealed", &1)).unwrap_err().to_string();
            refused.to_lowercase().contains("certificate")
        });
        assert!(!node.adapter.is_connected());
    }
}

#[test]
fn authorities_apply_to_tls_only() {
    let cluster = Cluster::new();
    let none = Some(b"-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n".to_vec());
    let plain = Config { authorities: none.clone(), ..cluster.config() };
    let node = cluster.add_with(plain, SocketIo::builder(), |adapter| adapter);
    cluster.wait(node.adapter.connected());
    let _within = cluster.runtime.enter();
    let encrypted = Config { authorities: none, ..Config::new("rediss://127.0.0.1:1/") };
    assert!(matches!(RedisAdapter::connect(encrypted), Err(ConnectError::Url)));
}
