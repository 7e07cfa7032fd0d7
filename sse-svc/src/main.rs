//! sse-svc

fn main() {}
