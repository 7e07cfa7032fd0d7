//! Decisions of an application before a connection opens: whether it may, and the beginning of its id.
//!
//! ```text
//! first request ─▶ allow_request ─▶ a permit, kept to the end of the connection ─┐
//!               └▶ sid_prefix ─▶ the session's id ───────────────────────────────┴─▶ Core::accept
//! ```

use std::{
    any::{Any, TypeId},
    future::Future,
    pin::Pin,
    sync::Arc,
};

use super::Handshake;

/// A value of the application that a connection keeps from its first request to its end.
pub(crate) type Permit = Arc<dyn Any + Send + Sync>;

/// The future of a hook that runs on the calling thread.
type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

type AllowRequest = Arc<dyn Fn(Arc<Handshake>) -> LocalFuture<Result<Option<Permit>, String>> + Send + Sync>;

type SidPrefix = Arc<dyn Fn(&Handshake) -> Option<String> + Send + Sync>;

/// The hooks for a first request that the application has set.
#[derive(Clone, Default)]
pub(crate) struct Admission {
    allow_request: Option<AllowRequest>,
    sid_prefix: Option<SidPrefix>,
}

impl Admission {
    pub(crate) fn set_allow_request<F, P>(&mut self, allow: F)
    where
        F: AsyncFn(Arc<Handshake>) -> Result<P, String> + Send + Sync + 'static,
        P: Send + Sync + 'static,
    {
        let allow = Arc::new(allow);
        self.allow_request = Some(Arc::new(move |handshake| {
            let allow = allow.clone();
            Box::pin(async move {
                let permit = allow(handshake).await?;
                let is_nothing = TypeId::of::<P>() == TypeId::of::<()>();
                Ok((!is_nothing).then(|| Arc::new(permit) as Permit))
            })
        }));
    }

    pub(crate) fn set_sid_prefix(&mut self, prefix: impl Fn(&Handshake) -> Option<String> + Send + Sync + 'static) {
        self.sid_prefix = Some(Arc::new(prefix));
    }

    /// Whether the connection may open; the error is for the client.
    pub(crate) async fn allow(&self, handshake: &Arc<Handshake>) -> Result<Option<Permit>, String> {
        match &self.allow_request {
            Some(allow) => allow(handshake.clone()).await,
            None => Ok(None),
        }
    }

    /// The beginning of the session's id.
    pub(crate) fn prefix(&self, handshake: &Handshake) -> Option<String> {
        self.sid_prefix.as_ref().and_then(|prefix| prefix(handshake))
    }
}
