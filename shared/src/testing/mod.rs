//! What tests of the log share with those of the services. Behind the feature `testing`; no binary has it.

#[cfg(test)]
pub(crate) mod logged;
pub mod redis;
