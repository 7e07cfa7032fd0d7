//! A connection to Redis as a stream of bytes that fails when nothing is received for too long.
//!
//! The timeout of the `redis` crate covers the whole answer, so a large answer over a slow connection would never arrive. Here each
//! received byte restarts the timeout.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::select_ok;
use redis::ConnectionAddr;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    time::{Instant, Sleep, sleep},
};
use tokio_rustls::TlsConnector;

/// Idle time after which the kernel checks whether the peer still exists.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// The interval of these checks.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// What a connection consists of.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The root certificates of a TLS connection: `authorities` (PEM), or those of the system.
///
/// # Errors
/// When `authorities` contains no certificate, or the system's cannot be read.
pub(super) fn tls(authorities: Option<&[u8]>) -> io::Result<TlsConnector> {
    // An error means that the process has chosen one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = match authorities {
        Some(pem) => CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 && authorities.is_some() {
        return Err(io::Error::other("no certificates"));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects to `addr`, with TLS if it says so.
///
/// # Errors
/// When the name is unknown, nobody listens, or the certificate is invalid.
pub(super) async fn connect(addr: &ConnectionAddr, tls: Option<&TlsConnector>) -> io::Result<Box<dyn Duplex>> {
    let (host, port) = match addr {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => (host.as_str(), *port),
        _ => return Err(io::Error::other("only TCP is supported")),
    };
    let tries: Vec<_> = lookup_host((host, port)).await?.map(|addr| Box::pin(TcpStream::connect(addr))).collect();
    if tries.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    }
    let (stream, _) = select_ok(tries).await?;
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}

/// A stream whose reads fail when nothing was received for `patience`.
pub(super) struct Impatient {
    inner: Box<dyn Duplex>,
    patience: Duration,
    silence: Pin<Box<Sleep>>,
}

impl Impatient {
    pub(super) fn new(inner: Box<dyn Duplex>, patience: Duration) -> Self {
        Self { inner, patience, silence: Box::pin(sleep(patience)) }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, buf) {
            let until = Instant::now() + self.patience;
            self.silence.as_mut().reset(until);
            return Poll::Ready(read);
        }
        self.silence.as_mut().poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "Redis timed out")))
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// Case 8.1: data that arrives slowly but steadily is read to the end, however long that takes.
    #[tokio::test(start_paused = true)]
    async fn silence_is_an_error_and_slowness_is_not() {
        let (here, mut there) = duplex(1);
        let mut stream = Impatient::new(Box::new(here), Duration::from_secs(3));
        let writing = tokio::spawn(async move {
            for _ in 0..100 {
                sleep(Duration::from_secs(2)).await;
                there.write_all(b"x").await.unwrap();
            }
            there
        });
        let mut bytes = vec![0; 100];
        stream.read_exact(&mut bytes).await.unwrap();
        let there = writing.await.unwrap();
        let began = Instant::now();
        assert_eq!(stream.read(&mut bytes).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        drop(there);
    }
}
