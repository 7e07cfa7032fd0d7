//! TLS and HTTP/2.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, Version};
use http_body_util::Full;
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outgoing::{Outgoing, PostError};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::{LONG, post};

/// Accepts connections of HTTP/2 over TLS, with this certificate.
pub(crate) fn acceptor() -> (TlsAcceptor, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), certificate)
}

/// An application with HTTP/2 behind TLS. Each request gives the number of its connection.
async fn start() -> (SocketAddr, CertificateDer<'static>, mpsc::UnboundedReceiver<usize>) {
    let (acceptor, certificate) = acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut connections = 0;
        while let Ok((stream, _)) = listener.accept().await {
            connections += 1;
            let (number, sender, acceptor) = (connections, sender.clone(), acceptor.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    assert_eq!(request.version(), Version::HTTP_2);
                    sender.send(number).unwrap();
                    async { Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(b"{}")))) }
                });
                let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, certificate, requests)
}

#[tokio::test]
async fn http_2_is_used_where_the_application_offers_it() {
    let (address, certificate, mut requests) = start().await;
    let outgoing = Outgoing::trusting(vec![certificate]);
    let url = format!("https://localhost:{}/", address.port());
    post(&outgoing, &url, LONG).await.unwrap();
    let mut all = JoinSet::new();
    for _ in 0..20 {
        let (outgoing, url) = (outgoing.clone(), url.clone());
        all.spawn(async move { post(&outgoing, &url, LONG).await.unwrap().status });
    }
    assert!(all.join_all().await.iter().all(|status| status.is_success()));
    for _ in 0..21 {
        assert_eq!(requests.recv().await, Some(1), "all requests share one connection");
    }
}

#[tokio::test]
async fn certificates_are_checked() {
    let (address, _, _) = start().await;
    let url = format!("https://localhost:{}/", address.port());
    let refused = post(&Outgoing::trusting(Vec::new()), &url, Duration::from_secs(20)).await;
    assert!(matches!(&refused, Err(PostError::Unreachable(why)) if why.contains("certificate")), "{refused:?}");
}
