//! Requests of Trident to the application.
//!
//! ```text
//! Caller::send ─▶ limits ─▶ circuit breaker ─▶ Outgoing::post ─▶ the thread `outgoing`: pool, TLS, HTTP/1.1 or HTTP/2 ─▶ the application
//!                                                                signature (Standard Webhooks), deadline, at most 64 KiB of the answer
//! ```
//!
//! [`Outgoing`] sends one request, whatever the thread that asks: its connections belong to a thread of their own, so they are pooled for
//! all workers of a process. [`Caller`] is for requests that somebody waits for: it bounds how many are sent at a time and how much memory
//! those take that wait, stops asking an application that does not answer, and counts outcomes. A sender that retries until it
//! succeeds uses [`Outgoing`] alone. Where the URL is a client's, a [`Guard`] keeps requests away from the server's own network.

mod breaker;
mod caller;
mod client;
mod gate;
mod guard;
mod metrics;
mod sign;
mod url;

pub use breaker::{Breaker, FAILURES_TO_OPEN, Pass};
pub use caller::{Call, CallError, Caller};
pub use client::{Answer, MAX_ANSWER_BYTES, Outgoing, Post, PostError};
pub use gate::{CALL_OVERHEAD, Gate, GateLimits, Reservation};
pub use guard::{Guard, NotPublic};
pub use metrics::{CallMetrics, Outcome};
pub use sign::{InvalidSecret, Sign, Signer, SigningSecret, random_id};
pub use url::{Endpoint, InvalidUrl};
