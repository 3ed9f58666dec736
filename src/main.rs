//! Heliotrope.
fn main() {}
