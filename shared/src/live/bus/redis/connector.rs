//! Opens connections to Redis.

use std::io;

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    error::{LinkError, PATIENCE},
    publisher,
    stream::{self, Duplex, Impatient},
    tail::BLOCK,
};
use crate::live::bus::BusError;

/// See the module.
pub(super) struct Connector {
    info: ConnectionInfo,
    tls: Option<TlsConnector>,
}

impl Connector {
    /// # Errors
    /// When the URL is invalid, or `authorities` (PEM) contains no certificate.
    pub(super) fn new(url: &str, authorities: Option<&[u8]>) -> Result<Self, BusError> {
        // The URL parser's errors may contain the URL, which may contain a password.
        let bad = |_| BusError::Unavailable("invalid Redis URL".into());
        let info: ConnectionInfo = url.into_connection_info().map_err(bad)?;
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let tls = is_encrypted.then(|| stream::tls(authorities)).transpose();
        let tls =
            tls.map_err(|_| BusError::Unavailable("the file of Redis' authorities contains no certificate".into()))?;
        Ok(Self { info, tls })
    }

    /// The number of the database.
    pub(super) fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }

    /// A connection for commands.
    pub(super) async fn connect(&self, patience: Patience) -> Result<MultiplexedConnection, LinkError> {
        let connecting = async {
            let stream = stream::connect(self.info.addr(), self.tls.as_ref()).await.map_err(refused)?;
            let config = AsyncConnectionConfig::new().set_write_backpressure_boundary(publisher::MAX_SCRIPT_BYTES);
            let (stream, config): (Box<dyn Duplex>, _) = match patience {
                Patience::Answer => (stream, config.set_response_timeout(Some(PATIENCE))),
                Patience::Silence => {
                    (Box::new(Impatient::new(stream, BLOCK + PATIENCE)), config.set_response_timeout(None))
                }
            };
            let settings = self.info.redis_settings();
            let (connection, driver) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
            // It ends with the last clone of the connection.
            tokio::spawn(driver);
            Ok(connection)
        };
        timeout(PATIENCE, connecting).await.map_err(|_| LinkError::Connecting)?
    }

    /// A connection for messages on channels.
    pub(super) async fn subscriber(&self) -> Result<PubSub, LinkError> {
        let connecting = async {
            let stream = stream::connect(self.info.addr(), self.tls.as_ref()).await.map_err(refused)?;
            Ok(PubSub::new(self.info.redis_settings(), stream).await?)
        };
        timeout(PATIENCE, connecting).await.map_err(|_| LinkError::Connecting)?
    }
}

/// Why connecting failed: the problem with the certificate, or else the system's message.
fn refused(error: io::Error) -> LinkError {
    match error.to_string().split_once("invalid peer certificate: ") {
        Some((_, what)) => LinkError::Certificate(what.to_owned()),
        None => LinkError::Redis(error.into()),
    }
}

/// The timeout of answers on a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// [`PATIENCE`] for each answer, from the request to its end.
    Answer,
    /// As long as bytes arrive within [`PATIENCE`].
    Silence,
}
