//! Who starts and who stops now, and why everyone else waits.

mod cycle;
mod hurry;
mod reason;
mod throttle;
mod victims;

pub use cycle::{Action, Cycle, DomainFigures, cycle};
pub use reason::{Reason, Slow, Verdict};
pub use throttle::throttle;
