//! The controller on a real control plane, as its own process with the chart's own service account: 16 nodes with eight
//! accelerators each in two rows, under a cap that fits six Jobs at a time.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod cap;
mod checkpoint;
mod cluster;
mod curtail;
mod doctor;
mod guard;
mod moves;
mod observe;
mod own_node;
mod service;
mod signals;
mod supply;
