//! The electrical tree: domains, their caps over time, and what stands under each.
//!
//! ```text
//!            site   cap 34 kW, baseline 2 kW, overhead 50 ‰
//!           /    \
//!       row-a    row-b            a watt drawn in row-a is 1.05 W at the site
//!        |         |
//!      pools     pools
//! ```

mod curtailment;
mod schedule;
mod tree;

pub use curtailment::Target;
pub use schedule::{CapSchedule, CapWindow, ScheduleError};
pub use tree::{Domain, DomainId, DomainSpec, DomainTree, TreeError};
