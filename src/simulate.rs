//! The same decisions in virtual time, on modelled accelerators.
//!
//! [`scenario`] is the file as written, [`setup`](setup()) what it means, [`run`] what happens, [`outcome`] what is left
//! of it, [`summary`] and [`trace`] how it is told. The simulator is a library: the command line and the tests call it.

mod bound;
pub mod compare;
mod constraints;
mod curves;
mod engine;
mod matched;
mod meter;
pub mod outcome;
pub mod report;
pub mod scenario;
mod setup;
pub mod summary;
pub mod trace;
mod work;

pub use curves::OperatingPoint;
pub use engine::{RefusedPlan, foreseen, run};
pub use matched::Matched;
pub use setup::{ReadFile, Setup, setup};
pub use work::Job;
