//! The controller: it sees the cluster, has the core decide, and carries the decision out.
//!
//! ```text
//!   watch -> snapshot -> world -> core::admit::cycle -> apply -> say
//!   (I/O)    (values)    (pure)   (pure)                (I/O)    (I/O)
//! ```

pub mod adopt;
pub mod apply;
pub mod asked;
pub mod backoff;
pub mod config;
mod constraints;
pub mod curtail;
pub mod declared;
pub mod enforce;
pub mod events;
pub mod leader;
pub mod leased;
pub mod leases;
pub mod observed;
pub mod orders;
pub mod plans;
pub mod points;
pub mod profiles;
pub mod read;
pub mod remarks;
pub mod remembered;
pub mod run;
pub mod say;
pub mod signals;
pub mod site;
pub mod snapshot;
pub mod status;
pub mod supply;
pub mod turns;
pub mod unbound;
pub mod watch;
pub mod world;
