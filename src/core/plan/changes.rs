//! What one plan does otherwise than another.

use super::{PowerPlan, Problem, Run, Why, WorkloadId};
use crate::units::Seconds;
use serde::Serialize;

/// A workload that is to run at another time, or elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Which.
    pub id: WorkloadId,
    /// Its runs in the first plan, from now on.
    pub before: Vec<Run>,
    /// Its runs in the second, from now on.
    pub after: Vec<Run>,
    /// How much later than asked it finishes in the second.
    pub late_seconds: Seconds,
    /// Why the second has it so.
    pub why: Why,
}

/// What the second plan does otherwise than the first from the problem's moment on, in the second's order.
#[must_use]
pub fn changes(problem: &Problem, first: &PowerPlan, second: &PowerPlan) -> Vec<Change> {
    let from_now_on = |runs: &[Run]| -> Vec<Run> {
        let ahead = runs.iter().filter(|run| run.end > problem.now);
        ahead.map(|run| Run { start: run.start.max(problem.now), ..*run }).collect()
    };
    let each = second.entries.iter().filter_map(|entry| {
        let before = first.entry(&entry.id).map(|entry| from_now_on(&entry.runs)).unwrap_or_default();
        let after = from_now_on(&entry.runs);
        let id = entry.id.clone();
        (before != after).then_some(Change { id, before, after, late_seconds: entry.late, why: entry.why })
    });
    each.collect()
}
