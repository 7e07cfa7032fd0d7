//! The push core of Trident: one ordered log and cursors on it.
//!
//! A message enters through a [`live::bus::Bus`], which gives it its place in the order, and lands in the
//! [`live::log::Log`] of every process. Readers never get a queue: a [`live::reader::Reader`] is a cursor on the
//! log that is woken when something comes after it. Two layers:
//!
//! - [`pure`]: messages, cursors, names, retention, access patterns. No runtime, no clock.
//! - [`live`]: the log, its readers and the buses that order it. Tokio, no web server.
//!
//! `pure` does not know `live`, and neither knows HTTP: that is the crate `edge`.

/// The example in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod live;
pub mod pure;
#[cfg(feature = "openapi")]
mod schema;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod throttle;
