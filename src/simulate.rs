//! The same decisions in virtual time, on modelled accelerators.

pub mod outcome;
