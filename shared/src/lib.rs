//! The push core of Trident: one ordered log, cursors on it, and the HTTP edge that the services share.
//!
//! A message enters through a [`live::bus::Bus`], which gives it its place in the order, and lands in the
//! [`live::log::Log`] of every process. Readers never get a queue: a [`live::reader::Reader`] is a cursor on the
//! log that is woken when something comes after it. Three rings keep that apart:
//!
//! - [`pure`]: messages, cursors, names, retention, who may do what. No runtime, no clock.
//! - [`live`]: the log, its readers and the buses that order it. Tokio, no web server.
//! - [`edge`]: what every service's HTTP side needs: settings, tokens, errors, limits, metrics, start and stop.
//!
//! Inner rings know nothing of outer ones.

#[cfg(any(test, feature = "testing"))]
pub mod documented;
pub mod edge;
pub mod live;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod pure;
#[cfg(feature = "testing")]
pub mod testing;
pub mod throttle;
