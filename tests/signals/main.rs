//! Signals: from what servers say to readings that are used, and what is refused on the way.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod asked;
mod command;
#[path = "../common/mod.rs"]
mod common;
mod ladder;
mod normal;
mod packed;
mod recorded;
mod survives;
mod trusted;
