//! What tests of the log share with those of the services. Behind the feature `testing`; no binary has it.

pub mod redis;
