//! The actuator as its own process, on simulated GPUs behind the very library calls that it makes to real ones. What a
//! GPU is truly held to is read from the plant, never from the actuator.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod faults;
mod guard;
mod limits;
mod network;
mod node;
mod restart;
mod socket;
