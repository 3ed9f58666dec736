//! Watts over time.
/// A ledger.
#[derive(Debug)]
pub struct Ledger;
/// What is short.
#[derive(Debug)]
pub struct Shortage;
