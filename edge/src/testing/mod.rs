//! What the services' own tests share: a server on a free port, a client, an event stream parser, and the tests of
//! publishing, which is the same on every route that has it. Behind the feature `testing`; no binary has it.
//!
//! A test starts a [`Site`] with the settings that matter to it, asks it something ([`Ask`]) and looks at the [`Answer`]
//! or reads on in what was opened ([`Open`], [`Events`]); where the bytes of HTTP itself matter, it talks over a
//! [`raw`] connection. Nothing sleeps: everything waits for what it expects, [`PATIENCE`] at most.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests say what they expect by failing")]

pub mod backend;
pub mod documented;
pub mod http;
pub mod publishing;
pub mod raw;
mod site;
pub mod sse;
mod streams;

use std::{future::Future, time::Duration};

pub use http::{Answer, Ask, Open};
pub use shared::testing::redis;
pub use site::{SECRET, Site};
pub use sse::Events;

/// How long a test waits for what has to come. Generous, since a machine under load is no fault.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What `future` gives; a failure of the test when it takes longer than [`PATIENCE`].
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Waits until `holds` returns true, by polling.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
