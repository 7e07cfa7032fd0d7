//! sse-svc
