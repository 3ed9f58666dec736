//! A whole site in virtual time: the controller's own books and the nodes' own machines, with nothing between them but objects.
//! Whatever happens, what the hardware of all nodes holds is under every cap, from the correction time of a fall on; and when
//! all is quiet again, the watts are used.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod changes;
mod days;
mod metered;
#[path = "../common/objects.rs"]
mod objects;
mod quiet;
mod rows;
mod shares;
mod steady;
mod world;
