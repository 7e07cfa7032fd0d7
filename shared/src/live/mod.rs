//! The log, its readers and the buses that order it: tokio, but no web server.
pub mod bus;
pub mod clock;
pub mod degraded;
pub mod log;
pub mod reader;
