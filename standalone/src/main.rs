//! standalone

fn main() {}
