//! What one plan does otherwise than another.

use super::{Outlook, PowerPlan, Problem, Run, Why, WorkloadId};

/// A workload that is to run at another time, or elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub id: WorkloadId,
    /// Its runs in the first plan, from now on.
    pub before: Vec<Run>,
    /// Its runs in the second, from now on.
    pub after: Vec<Run>,
    /// How it stands with its deadline in the second; none where it has none, or can run nowhere.
    pub outlook: Option<Outlook>,
    /// Why the second has it so.
    pub why: Why,
}

/// What the second plan does otherwise than the first from the problem's moment on, in the second's order.
#[must_use]
pub fn changes(problem: &Problem, first: &PowerPlan, second: &PowerPlan) -> Vec<Change> {
    let each = second.entries.iter().filter_map(|entry| {
        let before = first.entry(&entry.id).map(|entry| entry.runs_from(problem.now)).unwrap_or_default();
        let after = entry.runs_from(problem.now);
        let id = entry.id.clone();
        (before != after).then_some(Change { id, before, after, outlook: problem.outlook(entry), why: entry.why })
    });
    each.collect()
}
