//! What all policies share.

use super::{PowerPlan, Problem};

/// A way to plan. Pure: the same problem gives the same plan, byte for byte.
pub trait Policy: Send + Sync {
    /// Its name on the command line and in reports.
    fn name(&self) -> &'static str;

    /// A plan for every workload of the problem.
    fn plan(&self, problem: &Problem) -> PowerPlan;
}

/// Everything as soon as there is room, in order of arrival: what a cluster without Heliotrope does under a cap.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunNow;

/// The policy of a name: `heliotrope` or `run-now`.
#[must_use]
pub fn by_name(name: &str) -> Option<Box<dyn Policy>> {
    match name {
        "heliotrope" => Some(Box::new(super::Heliotrope)),
        "run-now" => Some(Box::new(RunNow)),
        _ => None,
    }
}
impl Policy for RunNow {
    fn name(&self) -> &'static str {
        "run-now"
    }
    fn plan(&self, _: &Problem) -> PowerPlan {
        todo!()
    }
}
