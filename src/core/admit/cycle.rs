//! One cycle: stop what must stop, plan, start what may start, and give everyone a reason.

use super::Reason;
use super::reason::Verdict;
use crate::core::domain::DomainId;
use crate::core::plan::{Load, Policy, PoolId, PowerPlan, Problem, WorkloadId};
use crate::units::{Seconds, Watts};
use std::sync::Arc;

/// Something to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a workload in a pool. Its watts are committed first.
    Start {
        /// Which.
        id: WorkloadId,
        /// Where.
        pool: PoolId,
        /// What it adds there.
        load: Load,
    },
    /// Stop a workload and keep its place. Its watts stay committed until it is seen to be gone.
    Suspend {
        /// Which.
        id: WorkloadId,
        /// Why.
        reason: Reason,
    },
}

/// The figures of one domain at the moment of the cycle, before its actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainFigures {
    /// Which domain.
    pub domain: DomainId,
    /// What it may draw now.
    pub cap: Watts,
    /// The highest draw that can still happen under what was granted: baseline, idle draw and workloads.
    pub committed: Watts,
}

/// What one cycle decided.
#[derive(Debug, Clone)]
pub struct Cycle {
    /// The plan it made.
    pub plan: Arc<PowerPlan>,
    /// What is to be done now, in this order.
    pub actions: Vec<Action>,
    /// One for each workload, in the problem's order.
    pub verdicts: Vec<Verdict>,
    /// One for each domain, in the tree's order.
    pub domains: Vec<DomainFigures>,
}

/// Decides everything for one moment. `stop_lead` is how long a stopping workload may go on drawing:
/// what must be under a cap that falls within that time is stopped already.
#[must_use]
pub fn cycle(problem: &Problem, policy: &dyn Policy, stop_lead: Seconds) -> Cycle {
    let _ = (problem, policy, stop_lead);
    todo!()
}
