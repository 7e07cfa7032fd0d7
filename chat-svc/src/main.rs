//! chat-svc

fn main() {}
