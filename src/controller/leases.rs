//! The grant loop: what each node may draw, as leases. It runs beside the cycle that plans and starts workloads, and waits for
//! nothing of it: a decrease is written within a second or two of its cause.
//!
//! ```text
//!   NodePowers (reports) ----.
//!   Nodes, pods, profiles ---+--> [ books ] --> one [ allot ] for each domain, the root first --> PowerAllotments
//!   domains, events ---------'        ^
//!   (read after the reports)          `-- [ memory ]: who was heard since this loop began to listen
//! ```
//!
//! - [`seen`]: all that is looked at
//! - [`books`]: the site of one moment as children, claims and caps of each domain
//! - `kids`: a node as a child of its domain
//! - `works`: what works on a node, and what it does with watts
//! - `shares`: the limits of single accelerators, where several workloads are on a node
//! - `steady`: which raises wait, so that limits do not follow all that comes and goes
//! - [`wish`]: what each child is to have, at each cap
//! - [`memory`]: who was heard, what was written, how fast it may rise
//! - [`ramp`]: how slowly a domain comes down to a cap that is known to fall
//! - [`nodes`]: the NodePower of each node, and its taint
//! - [`watchdog`]: is a domain under its cap, and how fast does it come there
//! - [`view`]: what people see of it
//! - [`exception`]: what is done where a domain stays above its cap
//! - [`run`]: the loop itself: reads and writes

pub mod books;
pub mod exception;
mod kids;
pub mod memory;
pub mod nodes;
pub mod ramp;
pub mod run;
pub mod seen;
mod shares;
mod steady;
pub mod view;
pub mod watchdog;
pub mod wish;
mod works;
