//! A Redis that wants to know who asks, one that speaks TLS, one of a cluster, and one that only repeats another.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

/// An authority of the test's own.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `host`, and its key.
    fn sign(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn trusting(server: &Server, authority: Option<&Authority>) -> RedisBus {
    RedisBus::open(&server.url(), authority.map(|authority| authority.pem.as_bytes()), Limits::default()).unwrap()
}

/// Why the bus is unavailable, once it is.
async fn why(bus: &RedisBus, part: &str) -> String {
    let started = Instant::now();
    loop {
        let told = bus.ready().err().map(|error| error.to_string()).unwrap_or_default();
        if told.contains(part) {
            return told;
        }
        assert!(started.elapsed() < PATIENCE, "it should say `{part}`, and says: {told}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_it_keeps_the_contract() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("127.0.0.1");
    let server = Server::encrypted(&certificate, &key, &authority.pem).await;
    contract::suite(|| async {
        let bus = trusting(&server, Some(&authority));
        ready(&bus).await;
        Arc::new(bus) as Arc<dyn Bus>
    })
    .await;
}

/// The scheme of a URL is case-insensitive, and the certificate is verified with the same authorities.
#[tokio::test]
async fn a_url_in_capitals_is_encrypted_too() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("127.0.0.1");
    let server = Server::encrypted(&certificate, &key, &authority.pem).await;
    let url = server.url().replace("rediss", "REDISS");
    ready(&RedisBus::open(&url, Some(authority.pem.as_bytes()), Limits::default()).unwrap()).await;
}

/// Of an authority that nobody named, and for another host: nothing is sent to it, and the reason says what to do.
#[tokio::test]
async fn an_invalid_certificate_is_reported() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.sign("127.0.0.1");
    let server = Server::encrypted(&certificate, &key, &authority.pem).await;
    for trusted in [None, Some(&stranger)] {
        let bus = trusting(&server, trusted);
        let told = why(&bus, "certificate is invalid").await;
        assert!(told.contains("TRIDENT_REDIS_CA_FILE"), "{told}");
        assert!(bus.publish(publication("a", 1)).await.is_err());
    }
    let (elsewhere, key) = authority.sign("redis.example");
    let server = {
        let mut server = Server::prepared_encrypted(&elsewhere, &key, &authority.pem);
        server.run_unasked();
        server
    };
    let bus = trusting(&server, Some(&authority));
    let told = why(&bus, "certificate is invalid").await;
    assert!(told.contains("the host in the URL"), "{told}");
}

#[tokio::test]
async fn a_password_is_required_and_never_disclosed() {
    let server = Server::with(&["--requirepass", "hunter2hunter2"], "redis://:hunter2hunter2@").await;
    let bus = connect(&server.url()).await;
    bus.publish(publication("a", 1)).await.unwrap();
    for (credentials, part) in [("", "NOAUTH"), (":wrong-one@", "assword")] {
        let bus = open(&server.url().replace(":hunter2hunter2@", credentials));
        let told = why(&bus, part).await;
        assert!(!told.contains("hunter2") && !told.contains("wrong-one"), "{told}");
    }
}

/// All keys share one hash slot, so that one node of a cluster has them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_of_a_cluster_that_has_the_slot_keeps_the_contract() {
    let server = Server::with(&["--cluster-enabled", "yes"], "redis://").await;
    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    contract::suite(|| async { Arc::new(connect(&server.url()).await) as Arc<dyn Bus> }).await;
    let slot = server.count(&["CLUSTER", "KEYSLOT", scripts::STREAM]).await;
    for key in [scripts::BREAK, scripts::EDGE, scripts::LEASE, scripts::KEY] {
        assert_eq!(server.count(&["CLUSTER", "KEYSLOT", &format!("{key}x")]).await, slot, "{key}");
    }
}

/// As after a failover that the load balancer has not noticed: a replica would serve the log but reject writes.
#[tokio::test]
async fn a_replica_is_unavailable_until_it_is_the_primary() {
    let primary = Server::start().await;
    let before = connect(&primary.url()).await.publish(publication("a", 1)).await.unwrap().ids;
    let replica = Server::start().await;
    replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
    let started = Instant::now();
    while replica.count(&["EXISTS", scripts::STREAM]).await == 0 {
        assert!(started.elapsed() < PATIENCE, "the replica gets the stream");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let bus = open(&replica.url());
    why(&bus, "is that of a replica").await;
    drop(primary);
    replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    ready(&bus).await;
    let after = bus.publish(publication("a", 2)).await.unwrap().ids;
    let mut reader = Reader::open(bus.log(), &[channel("a")], Since::After(before[0]));
    assert_eq!(take(&mut reader, 1).await, (after, false), "what the replica had is all there");
}
