//! Work that concerns other servers: starts immediately and completes in the background.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::runtime::Handle;

use crate::{
    EmitError, Namespace,
    adapter::{AdapterError, BoxFuture},
    rate::OncePerSecond,
};

static UNSENT_WARNINGS: OncePerSecond = OncePerSecond::new();

/// A request to other servers, such as an event. Await it for errors; if it is dropped, it completes in the background.
pub struct Sending<T: Send + 'static = ()> {
    namespace: Namespace,
    state: State<T>,
}

enum State<T> {
    Done(Option<Result<T, EmitError>>),
    Running(Option<BoxFuture<'static, Result<T, AdapterError>>>),
}

impl<T: Send + 'static> Sending<T> {
    /// Work that has finished already.
    pub(crate) fn done(namespace: Namespace, result: Result<T, EmitError>) -> Self {
        Self { namespace, state: State::Done(Some(result)) }
    }

    /// Runs the first step of `work` immediately, on this thread. Adapters may set timers in it, for which they need a runtime: a thread
    /// without one uses that of a server thread. If there is none either, the first step runs when this is polled or dropped.
    pub(crate) fn begin<F>(namespace: Namespace, work: impl FnOnce(Namespace) -> F) -> Self
    where
        F: Future<Output = Result<T, AdapterError>> + Send + 'static,
    {
        match Handle::try_current().ok().or_else(|| namespace.workers().runtime()) {
            Some(runtime) => {
                let _within = runtime.enter();
                Self::begin_anywhere(namespace, work)
            }
            None => {
                let future: BoxFuture<'static, _> = Box::pin(work(namespace.clone()));
                Self { namespace, state: State::Running(Some(future)) }
            }
        }
    }

    /// The same for work whose first step needs no runtime.
    pub(super) fn begin_anywhere<F>(namespace: Namespace, work: impl FnOnce(Namespace) -> F) -> Self
    where
        F: Future<Output = Result<T, AdapterError>> + Send + 'static,
    {
        let mut future: BoxFuture<'static, _> = Box::pin(work(namespace.clone()));
        let state = match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => State::Done(Some(result.map_err(EmitError::from))),
            Poll::Pending => State::Running(Some(future)),
        };
        Self { namespace, state }
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl<T: Send + Unpin + 'static> Future for Sending<T> {
    type Output = Result<T, EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.state {
            State::Done(result) => result.take(),
            State::Running(None) => None,
            State::Running(Some(future)) => match future.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => Some(result.map_err(EmitError::from)),
            },
        };
        self.state = State::Done(None);
        match result {
            Some(result) => Poll::Ready(result),
            // Polled again after its end.
            None => Poll::Pending,
        }
    }
}

impl<T: Send + 'static> Drop for Sending<T> {
    fn drop(&mut self) {
        match &mut self.state {
            State::Running(future) => {
                if let Some(future) = future.take() {
                    self.namespace.workers().spawn(async move {
                        if let Err(error) = future.await {
                            unreached(&error);
                        }
                    });
                }
            }
            State::Done(Some(Err(EmitError::Adapter(error)))) => unreached(error),
            State::Done(Some(Err(error))) => {
                UNSENT_WARNINGS.log(|more| log::warn!("an event was not sent: {error}{more}"));
            }
            State::Done(_) => {}
        }
    }
}

/// Logged at a low level: when other servers cannot be reached, this happens for every event, and the adapter logs the outage once.
fn unreached(error: &AdapterError) {
    log::debug!("an event did not reach all servers: {error}");
}
