//! comet-svc

fn main() {}
