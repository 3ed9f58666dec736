//! Watts as leases: the protocol between a domain's ledger and the nodes under it, as two pure state machines.
//!
//! ```text
//!   domain's facts (cap, events, baseline)        the children's reports
//!              |                                         ^
//!              v                                         |  heartbeat: what is in force, read back
//!        [ allot ] --- one compare-and-swap ---> [ Ledger ] --- read ---> [ Node ] ---> limits
//!              ^                                         |
//!              `----- reserve: the highest of what ------'
//!                     was acknowledged and published since
//! ```
//!
//! Nothing is taken from a child by silence, by time, or by a write: only by its word that less is in force, read back.
//! Nothing is given to a child before that. The rules are named in [`Rule`], each with the path to too many watts that opens
//! without it; `tests/lease` searches all orders of events for such a path, with these very machines.

mod allot;
mod check;
mod figures;
mod ledger;
mod node;
mod rules;
mod terms;

pub use allot::{Above, Allotted, Child, Facts, Terms, Told, allot, heard, spendable};
pub use check::{Fault, check};
pub use figures::{Figures, Row};
pub use ledger::{Accepted, Entry, Ledger, Shortage};
pub use node::{Answer, Cause, Input, Node, Refusal, Why};
pub use rules::{Rule, Rules};
pub use terms::{Beat, Cap, Held, Kept, Lease, Report, Step};
