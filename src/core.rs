//! Decisions, pure: no clock, no I/O, no async, no randomness but a seed.
//!
//! The world and the time come in as values; a decision comes out with its reason.
//! The same code runs in the cluster and in the simulator.
//!
//! - [`domain`]: the electrical tree and its caps over time
//! - [`forecast`]: what may be known of what comes
//! - [`profile`]: what an accelerator draws and does at each limit
//! - [`lease`]: watts as leases, what is reserved for whom, and what a node may do
//! - [`plan`]: when and where each workload runs
//! - [`signal`]: what is known of the world outside, in one form, and what of it is refused
//! - [`admit`]: who starts and who stops now, and why everyone else waits
//! - [`steps`]: values that change at moments, which all of the above are made of

pub mod admit;
pub mod chance;
pub mod divide;
pub mod domain;
pub mod forecast;
pub mod lease;
pub mod plan;
pub mod profile;
pub mod signal;
pub mod steps;
