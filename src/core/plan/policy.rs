//! What all policies share, and the simplest of them.

use super::draft::Draft;
use super::{Heliotrope, PowerPlan, Problem, Published, Slowing, Why};

/// A way to plan. Pure: the same problem gives the same plan, byte for byte.
pub trait Policy: Send + Sync {
    /// Its name on the command line and in reports.
    fn name(&self) -> &'static str;

    /// A plan for every workload of the problem.
    fn plan(&self, problem: &Problem) -> PowerPlan;
}

/// Everything as soon as there is room, in order of arrival, and nothing is ever stopped:
/// what a cluster that knows its caps but no signal would do. The base line of all savings.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunNow;

impl Policy for RunNow {
    fn name(&self) -> &'static str {
        "run-now"
    }

    fn plan(&self, problem: &Problem) -> PowerPlan {
        let mut draft = Draft::new(problem, |_| false);
        let mut waiting: Vec<usize> = draft.unplaced().collect();
        waiting.sort_by_cached_key(|i| {
            let workload = draft.workload(*i);
            (std::cmp::Reverse(workload.priority), workload.arrival, workload.id.clone())
        });
        draft.order().sort(&mut waiting);
        for i in waiting {
            draft.place_earliest(i, Why::AsSoonAsPossible, false);
        }
        draft.into_plan_without_bound(self.name())
    }
}

/// The names that [`by_name`] knows.
pub const POLICIES: [&str; 13] = [
    "heliotrope",
    "run-now",
    "lowest-slot",
    "lowest-window",
    "carbon-time",
    "ecovisor",
    "wait-awhile",
    "suspend-resume",
    "price-threshold",
    "carbon-scaler",
    "uniform-cap",
    "dvfs-fair",
    "two-threshold",
];

/// The policy of a name.
#[must_use]
pub fn by_name(name: &str) -> Option<Box<dyn Policy>> {
    match name {
        "heliotrope" => Some(Box::new(Heliotrope)),
        "run-now" => Some(Box::new(RunNow)),
        _ => {
            let published = Published::ALL.into_iter().find(|published| published.name() == name);
            let slowing = || Slowing::ALL.into_iter().find(|slowing| slowing.name() == name);
            let found = published.map(|published| Box::new(published) as Box<dyn Policy>);
            found.or_else(|| Some(Box::new(slowing()?)))
        }
    }
}
