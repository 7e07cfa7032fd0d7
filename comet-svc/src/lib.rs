//! comet-svc
