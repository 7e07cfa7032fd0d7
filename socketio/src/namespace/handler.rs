//! Handlers with their types erased, so that they fit into one list.
//!
//! ```text
//! payload ─▶ serde ─▶ T ─▶ the handler's future ─▶ first step immediately, the rest as a task
//! ```

use std::{future::Future, pin::Pin, sync::Arc};

use serde::de::DeserializeOwned;

use crate::{Ack, DisconnectReason, Event, Socket};

pub(crate) type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Creates the future of one event, or returns that the arguments have another type.
pub(crate) type EventHandler =
    Arc<dyn Fn(&Socket, &Event, &Ack) -> Result<LocalFuture<()>, serde_json::Error> + Send + Sync>;

/// A handler to be called with an event.
pub(crate) struct Called {
    pub(crate) handler: EventHandler,
    /// It is called with every event, whatever the name.
    pub(crate) catches_all: bool,
}

pub(crate) type SocketHandler = Arc<dyn Fn(Socket) -> LocalFuture<()> + Send + Sync>;

pub(crate) type DisconnectHandler = Arc<dyn Fn(Socket, DisconnectReason) -> LocalFuture<()> + Send + Sync>;

/// Called with outgoing packets.
pub(crate) type OutgoingHandler = Arc<dyn Fn(Socket, Event) -> LocalFuture<()> + Send + Sync>;

/// A namespace's middleware.
pub(crate) type Middleware = Arc<dyn Fn(Socket) -> LocalFuture<Result<(), ConnectError>> + Send + Sync>;

/// A socket's middleware.
pub(crate) type EventMiddleware = Arc<dyn Fn(Socket, Event) -> LocalFuture<Result<(), ConnectError>> + Send + Sync>;

/// Why a middleware rejects; the client gets it as `error.message` and `error.data`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// For humans.
    pub message: String,
    /// For programs.
    pub data: Option<serde_json::Value>,
}

impl ConnectError {
    /// An error with a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// Adds data.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<serde_json::Value>) -> Self {
        self.data = Some(data.into());
        self
    }
}

impl From<&str> for ConnectError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for ConnectError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

pub(crate) fn event<T, F>(handler: F) -> EventHandler
where
    T: DeserializeOwned + 'static,
    F: AsyncFn(Socket, T, Ack) + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |socket, event, ack| {
        let args = event.args::<T>()?;
        let (handler, socket, ack) = (handler.clone(), socket.clone(), ack.clone());
        Ok(Box::pin(async move { handler(socket, args, ack).await }))
    })
}

pub(crate) fn any<F>(handler: F) -> EventHandler
where
    F: AsyncFn(Socket, Event, Ack) + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |socket, event, ack| {
        let (handler, socket, event, ack) = (handler.clone(), socket.clone(), event.clone(), ack.clone());
        Ok(Box::pin(async move { handler(socket, event, ack).await }))
    })
}

pub(crate) fn socket<F>(handler: F) -> SocketHandler
where
    F: AsyncFn(Socket) + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |socket| {
        let handler = handler.clone();
        Box::pin(async move { handler(socket).await })
    })
}

pub(crate) fn disconnect<F>(handler: F) -> DisconnectHandler
where
    F: AsyncFn(Socket, DisconnectReason) + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |socket, reason| {
        let handler = handler.clone();
        Box::pin(async move { handler(socket, reason).await })
    })
}

pub(crate) fn outgoing<F>(handler: F) -> OutgoingHandler
where
    F: AsyncFn(Socket, Event) + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |socket, event| {
        let handler = handler.clone();
        Box::pin(async move { handler(socket, event).await })
    })
}

pub(crate) fn middleware<F>(middleware: F) -> Middleware
where
    F: AsyncFn(Socket) -> Result<(), ConnectError> + Send + Sync + 'static,
{
    let middleware = Arc::new(middleware);
    Arc::new(move |socket| {
        let middleware = middleware.clone();
        Box::pin(async move { middleware(socket).await })
    })
}

pub(crate) fn event_middleware<F>(middleware: F) -> EventMiddleware
where
    F: AsyncFn(Socket, Event) -> Result<(), ConnectError> + Send + Sync + 'static,
{
    let middleware = Arc::new(middleware);
    Arc::new(move |socket, event| {
        let middleware = middleware.clone();
        Box::pin(async move { middleware(socket, event).await })
    })
}
