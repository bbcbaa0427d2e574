//! The door to the harness: `e2e up | down | status | …`.
fn main() {}
