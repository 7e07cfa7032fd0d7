//! A part of this process that answers requests of its handlers, and of other processes on the bus that have no such part at work.

use std::{fmt, pin::Pin, sync::OnceLock};

use bytes::Bytes;

/// An answer; `None` if the part is not at work in this process.
pub type Delegated = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

/// See the module.
#[derive(Default)]
pub struct Delegate(OnceLock<Box<dyn Fn(Bytes) -> Delegated + Send + Sync>>);

impl Delegate {
    /// Answers requests with `answer` from now on. Call it once.
    pub fn serve(&self, answer: impl Fn(Bytes) -> Delegated + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(answer));
    }

    /// The answer to `request`; `None` if the part is not at work in this process.
    pub async fn ask(&self, request: Bytes) -> Option<Bytes> {
        self.0.get()?(request).await
    }
}

impl fmt::Debug for Delegate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delegate")
    }
}
