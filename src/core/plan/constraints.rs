//! What binds a plan beside caps and accelerators: energy budgets, ramps, maintenance, and what must finish first.

use super::{PoolId, Problem, WorkloadId};
use crate::core::domain::DomainId;
use crate::units::{Joules, Moment, Seconds, Watts};
use std::collections::BTreeSet;

/// All of it. Nothing is the rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    /// How much energy may be drawn in some windows of time.
    pub budgets: Vec<EnergyBudget>,
    /// How fast what domains draw may change by plan.
    pub ramps: Vec<RampLimit>,
    /// Accelerators that are out of service for a time.
    pub outages: Vec<Outage>,
    /// Pairs: the second starts only after the first has finished. Who is not in the problem has finished.
    pub after: Vec<(WorkloadId, WorkloadId)>,
}

/// How much energy may be drawn in some windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnergyBudget {
    /// What people call it.
    pub name: String,
    /// Whose energy it is.
    pub of: BudgetOf,
    /// In order of time; none begins before the one before it ends.
    pub windows: Vec<BudgetWindow>,
}

/// Whose energy a budget is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetOf {
    /// Of all that is drawn in a domain, as its own meter sees it: idle draw and baseline too.
    Domain(DomainId),
    /// Of some workloads, sorted by id: what each adds at the root, with all its hosts.
    Workloads(Vec<WorkloadId>),
}

/// A window of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetWindow {
    /// From when. What was drawn before now is not in `left` any more.
    pub from: Moment,
    /// Until when.
    pub until: Moment,
    /// What may still be drawn in it.
    pub left: Joules,
}

/// How fast what a domain draws may change by plan. It is counted in slots of the plan: what begins in one, and what ends in one,
/// is at most this times the slot. What alone is more begins, or ends, as the only one of its slot, and what stops now may: how its
/// watts then change is for leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RampLimit {
    /// Which domain.
    pub domain: DomainId,
    /// Up, in a second.
    pub up: Option<Watts>,
    /// Down, in a second.
    pub down: Option<Watts>,
}

/// Accelerators that are out of service: nothing new may stand on them then, and what can be stopped is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// In which pool.
    pub pool: PoolId,
    /// How many.
    pub accelerators: u32,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub until: Moment,
}

/// A constraint that can't be meant so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A window that ends before it begins, or begins before the one before it has ended.
    #[error("budget {budget}: the window from {from} is empty, or begins before the one before it ends")]
    Window {
        /// The budget.
        budget: String,
        /// When the window begins.
        from: Moment,
    },
    /// A budget that is less than nothing.
    #[error("budget {budget}: less than nothing may be drawn from {from} on")]
    Negative {
        /// The budget.
        budget: String,
        /// When the window begins.
        from: Moment,
    },
    /// A ramp that lets nothing change.
    #[error("{domain}: a ramp of {watts} a second lets nothing change; leave it away, or say more than nothing")]
    Ramp {
        /// The domain.
        domain: String,
        /// The ramp.
        watts: Watts,
    },
    /// A domain or a pool that is not there.
    #[error("a budget, a ramp or an outage names a domain or a pool that is not there")]
    Unknown,
    /// Workloads that wait for each other.
    #[error("{id} waits for itself, through what it comes after: it and all that come after it run nowhere")]
    Circle {
        /// One of them.
        id: WorkloadId,
    },
}

impl Constraints {
    /// All that can't be meant so. A plan for it is made all the same: empty windows and ramps of nothing bind nothing, and who waits for
    /// itself runs nowhere.
    #[must_use]
    pub fn mistakes(&self, problem: &Problem) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let domains = problem.tree.len();
        for budget in &self.budgets {
            let name = || budget.name.clone();
            if matches!(budget.of, BudgetOf::Domain(domain) if domain.0 >= domains) {
                mistakes.push(Mistake::Unknown);
            }
            let mut end = None;
            for BudgetWindow { from, until, left } in budget.windows.iter().copied() {
                if until <= from || end.is_some_and(|end| from < end) {
                    mistakes.push(Mistake::Window { budget: name(), from });
                }
                if left < Joules(0) {
                    mistakes.push(Mistake::Negative { budget: name(), from });
                }
                end = Some(until);
            }
        }
        for ramp in &self.ramps {
            if ramp.domain.0 >= domains {
                mistakes.push(Mistake::Unknown);
                continue;
            }
            let none = [ramp.up, ramp.down].into_iter().flatten().find(|watts| *watts <= Watts::ZERO);
            if let Some(watts) = none {
                mistakes.push(Mistake::Ramp { domain: problem.tree.get(ramp.domain).spec.name.clone(), watts });
            }
        }
        if self.outages.iter().any(|outage| outage.pool.0 >= problem.pools.len()) {
            mistakes.push(Mistake::Unknown);
        }
        mistakes.extend(self.circle().map(|id| Mistake::Circle { id }));
        mistakes
    }

    /// One that waits for itself; none where there is none.
    #[must_use]
    pub fn circle(&self) -> Option<WorkloadId> {
        // who comes after nobody that is left is taken away, until nothing changes
        let mut left: Vec<&(WorkloadId, WorkloadId)> = self.after.iter().collect();
        loop {
            let waiting: BTreeSet<&WorkloadId> = left.iter().map(|(_, second)| second).collect();
            let before = left.len();
            left.retain(|(first, _)| waiting.contains(first));
            if left.len() == before {
                break;
            }
        }
        left.first().map(|(_, second)| second.clone())
    }
}

impl RampLimit {
    /// What may begin, and what may end, in a slot.
    #[must_use]
    pub fn in_a_slot(&self, slot: Seconds) -> (Option<i64>, Option<i64>) {
        let of = |ramp: Option<Watts>| {
            ramp.filter(|ramp| *ramp > Watts::ZERO).map(|ramp| ramp.0.saturating_mul(slot.0.max(1)))
        };
        (of(self.up), of(self.down))
    }
}
