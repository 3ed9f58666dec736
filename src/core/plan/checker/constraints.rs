//! What binds a plan beside caps and accelerators, looked at anew: energy of budgets, changes in slots, who comes after whom.

use super::{Draws, Note};
use crate::core::plan::{BudgetOf, Load, PoolId, PowerPlan, Problem};
use crate::units::{Joules, Moment, Watts};
use std::collections::BTreeMap;

/// Those who start before what they wait for has finished.
pub(super) fn order(problem: &Problem, plan: &PowerPlan, notes: &mut Vec<Note>) {
    for (first, second) in &problem.constraints.after {
        let waits = problem.workload(second).is_some_and(|workload| workload.running.is_none());
        let (Some(before), Some(after)) = (plan.entry(first), plan.entry(second)) else { continue };
        let Some(start) = after.runs.iter().map(|run| run.start).min().filter(|_| waits) else { continue };
        let finish = before.runs.iter().map(|run| run.end).max();
        if finish.is_none_or(|finish| finish > start) {
            notes.push(Note::OutOfOrder { id: second.to_string(), before: first.to_string(), start });
        }
    }
}

/// Budgets of named workloads: each is charged what it adds at the root with all its hosts.
pub(super) fn budgets_of_workloads(problem: &Problem, plan: &PowerPlan, notes: &mut Vec<Note>) {
    for budget in &problem.constraints.budgets {
        let BudgetOf::Workloads(ids) = &budget.of else { continue };
        for window in &budget.windows {
            let (mut all, mut planned) = (0_i128, 0_i128);
            for (workload, entry) in problem.workloads.iter().zip(&plan.entries) {
                if !ids.contains(&workload.id) {
                    continue;
                }
                for run in &entry.runs {
                    let seconds = run.end.min(window.until) - run.start.max(window.from).max(problem.now);
                    let load = super::load_of(workload, run.pool, run.pace);
                    let joules = i128::from(at_root(problem, run.pool, load)) * i128::from(seconds.0.max(0));
                    all += joules;
                    if !super::goes_on(problem, workload, entry) {
                        planned += joules;
                    }
                }
            }
            if all > i128::from(window.left.0) && planned > 0 {
                notes.push(over(&budget.name, window.from, all, window.left));
            }
        }
    }
}

fn over(budget: &str, from: Moment, joules: i128, left: Joules) -> Note {
    let planned = Joules(i64::try_from(joules).unwrap_or(i64::MAX));
    Note::OverBudget { budget: budget.to_owned(), from, planned, left }
}

fn at_root(problem: &Problem, pool: PoolId, load: Load) -> i64 {
    let pool = &problem.pools[pool.0];
    let watts = load.watts.0 + pool.host_extra.0 * i64::from(load.hosts.min(pool.nodes));
    let through = |watts, id| super::with_overhead(watts, problem.tree.get(id).spec.overhead_permille);
    problem.tree.chain(pool.domain).fold(watts, through)
}

/// What is drawn in each domain, added up over time: energy in windows, and changes in slots.
pub(super) struct Meter<'a> {
    problem: &'a Problem,
    /// Since when what is drawn as it is now, by all and anyway.
    since: Moment,
    all: Vec<Watts>,
    anyway: Vec<Watts>,
    /// Of each budget of a domain and each window: joules of all, and those that are planned.
    energy: BTreeMap<(usize, usize), (i128, i128)>,
    /// Of each ramp and slot: by how much what is planned changes in it.
    changes: BTreeMap<(usize, Moment), i64>,
}

impl<'a> Meter<'a> {
    /// Before now: what is planned begins as what runs.
    pub(super) fn new(problem: &'a Problem, all: Vec<Watts>, anyway: Vec<Watts>) -> Self {
        Self { problem, since: problem.now, all, anyway, energy: BTreeMap::new(), changes: BTreeMap::new() }
    }

    /// From a moment on so much is drawn.
    pub(super) fn step(&mut self, at: Moment, all: Vec<Watts>, anyway: Vec<Watts>) {
        self.add_up(at);
        for (i, ramp) in self.problem.constraints.ramps.iter().enumerate() {
            let Some(domain) = all.get(ramp.domain.0).map(|_| ramp.domain.0) else { continue };
            let planned = |all: &[Watts], anyway: &[Watts]| all[domain].0 - anyway[domain].0;
            let change = planned(&all, &anyway) - planned(&self.all, &self.anyway);
            // what stops now may have to
            if change > 0 || change < 0 && at > self.problem.now {
                *self.changes.entry((i, slot_of(self.problem, at))).or_default() += change;
            }
        }
        (self.since, self.all, self.anyway) = (at, all, anyway);
    }

    fn add_up(&mut self, until: Moment) {
        for (i, budget) in self.problem.constraints.budgets.iter().enumerate() {
            let BudgetOf::Domain(domain) = budget.of else { continue };
            let (Some(all), Some(anyway)) = (self.all.get(domain.0), self.anyway.get(domain.0)) else { continue };
            for (window, span) in budget.windows.iter().enumerate() {
                let seconds = i128::from((until.min(span.until) - self.since.max(span.from)).0.max(0));
                if seconds > 0 {
                    let sum = self.energy.entry((i, window)).or_default();
                    sum.0 += i128::from(all.0) * seconds;
                    sum.1 += i128::from(all.0 - anyway.0) * seconds;
                }
            }
        }
    }

    /// What is over a budget, and what changes too fast. What is alone in a slot may be more than a ramp; `goes_on` has the pools of
    /// those that are planned and run already, whose draw does not begin.
    pub(super) fn finish(mut self, planned: &Draws, goes_on: &[PoolId], notes: &mut Vec<Note>) {
        self.add_up(Moment::FAR_FUTURE);
        for ((budget, window), (all, by_plan)) in &self.energy {
            let budget = &self.problem.constraints.budgets[*budget];
            let window = budget.windows[*window];
            if *all > i128::from(window.left.0) && *by_plan > 0 {
                notes.push(over(&budget.name, window.from, *all, window.left));
            }
        }
        for ((i, from), change) in &self.changes {
            let ramp = self.problem.constraints.ramps[*i];
            let is_up = *change > 0;
            let limit = if is_up { ramp.up } else { ramp.down }.filter(|limit| limit.0 > 0);
            let Some(limit) = limit else { continue };
            let most = i128::from(limit.0) * i128::from(self.problem.slot.0.max(1));
            let tree = &self.problem.tree;
            let is_below =
                |pool: PoolId| tree.chain(self.problem.pools[pool.0].domain).any(|above| above == ramp.domain);
            let at = |start: Moment, end: Moment| slot_of(self.problem, if is_up { start } else { end }) == *from;
            let count = planned.iter().filter(|(pool, _, start, end)| at(*start, *end) && is_below(*pool)).count();
            let is_now = is_up && slot_of(self.problem, self.problem.now) == *from;
            let running = goes_on.iter().filter(|pool| is_now && is_below(**pool)).count();
            if i128::from(change.abs()) > most && count > running + 1 {
                let domain = self.problem.tree.get(ramp.domain).spec.name.clone();
                notes.push(Note::TooFast { domain, from: *from, change: Watts(*change), limit });
            }
        }
    }
}

fn slot_of(problem: &Problem, at: Moment) -> Moment {
    let slot = problem.slot.0.max(1);
    Moment(at.0 - at.0.rem_euclid(slot))
}

/// When anything of this begins.
pub(super) fn moments(problem: &Problem) -> impl Iterator<Item = Moment> + '_ {
    problem.constraints.outages.iter().map(|outage| outage.from).filter(|from| *from >= problem.now)
}
