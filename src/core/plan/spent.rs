//! What is left of energy budgets and ramps, and the room that one workload has beside all others.
//!
//! Both are counted a little too high: a load is charged all hosts that it may bring into use, and what begins in a slot is not set off
//! against what ends in it. So taking one out never breaks what holds, and what fits, fits.

use super::constraints::{BudgetOf, BudgetWindow, RampLimit};
use super::draws::{root_watts, seen_at};
use super::ledger::{Ledger, Shortage};
use super::room::{Refusal, Room};
use super::{Load, PoolChoice, PoolId, Problem, Run, Workload};
use crate::core::domain::DomainId;
use crate::core::steps::Steps;
use crate::units::{Joules, Moment, Seconds};
use std::collections::BTreeMap;

/// What all that is placed has spent of budgets and ramps. Empty where there are none.
#[derive(Debug, Clone)]
pub(super) struct Spent<'a> {
    problem: &'a Problem,
    /// Of each budget, in each of its windows: joules that are left.
    left: Vec<Vec<i128>>,
    /// Of each ramp, in each slot in which something changes.
    steps: Vec<BTreeMap<Moment, Step>>,
}

/// What begins and what ends in a slot: watts, and how many runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Step {
    up: i64,
    ups: i64,
    down: i64,
    downs: i64,
}

impl Step {
    /// A change of what is drawn, or one that is taken back.
    fn count(&mut self, change: i64, sign: i64) {
        if change > 0 {
            (self.up, self.ups) = (self.up + sign * change, self.ups + sign);
        } else {
            (self.down, self.downs) = (self.down - sign * change, self.downs + sign);
        }
    }
}

impl<'a> Spent<'a> {
    /// What is left with nothing but what stands there and can't be moved.
    pub(super) fn new(problem: &'a Problem) -> Self {
        let constraints = &problem.constraints;
        let idle = (!constraints.budgets.is_empty()).then(|| Ledger::idle(problem));
        let left = constraints.budgets.iter().map(|budget| {
            let anyway = |window: &BudgetWindow| match (&budget.of, &idle) {
                (BudgetOf::Domain(domain), Some(idle)) => anyway(problem, idle, *domain, window),
                _ => 0,
            };
            budget.windows.iter().map(|window| i128::from(window.left.0) - anyway(window)).collect()
        });
        let slot = problem.now.floor(problem.slot);
        let begun = |ramp: &RampLimit| {
            // what began in this slot before now
            let running = problem.workloads.iter().filter_map(|workload| {
                let (pool, load) =
                    workload.running.filter(|running| running.since >= slot).and(workload.running_load())?;
                seen_at(problem, ramp.domain, pool, load)
            });
            let step =
                running.fold(Step::default(), |step, watts| Step { up: step.up + watts, ups: step.ups + 1, ..step });
            if step.ups > 0 { BTreeMap::from([(slot, step)]) } else { BTreeMap::new() }
        };
        Self { problem, left: left.collect(), steps: constraints.ramps.iter().map(begun).collect() }
    }

    /// Are there any?
    fn is_empty(&self) -> bool {
        self.left.is_empty() && self.steps.is_empty()
    }

    /// What a load of a workload draws of a budget's energy in a second; none where that is not its.
    fn draws(&self, budget: usize, workload: &Workload, pool: PoolId, load: Load) -> Option<i64> {
        match &self.problem.constraints.budgets[budget].of {
            BudgetOf::Domain(domain) => seen_at(self.problem, *domain, pool, load),
            BudgetOf::Workloads(ids) => {
                ids.binary_search(&workload.id).ok().map(|_| root_watts(self.problem, pool, load))
            }
        }
    }

    /// Counts the runs of one, or no longer.
    pub(super) fn count(&mut self, i: usize, runs: &[Run], sign: i64) {
        if self.is_empty() {
            return;
        }
        let workload = &self.problem.workloads[i];
        for run in runs {
            let load = workload.load_at(run.pool, run.pace).unwrap_or_default();
            for budget in 0..self.left.len() {
                let Some(watts) = self.draws(budget, workload, run.pool, load) else { continue };
                for (window, seconds) in overlaps(&self.problem.constraints.budgets[budget].windows, run) {
                    self.left[budget][window] -= i128::from(sign * watts) * i128::from(seconds.0);
                }
            }
        }
        for ramp in 0..self.steps.len() {
            for (at, change) in self.changes(ramp, workload, runs) {
                self.steps[ramp].entry(at.floor(self.problem.slot)).or_default().count(change, sign);
            }
        }
    }

    /// By how much the draw of a workload at a ramp's domain changes, and when. That it stops now is left out: for a cap it must, and
    /// how its watts then fall is for leases.
    fn changes(&self, ramp: usize, workload: &Workload, runs: &[Run]) -> Vec<(Moment, i64)> {
        let domain = self.problem.constraints.ramps[ramp].domain;
        let watts = |pool, load| seen_at(self.problem, domain, pool, load).unwrap_or(0);
        let now = self.problem.now;
        let mut level = workload.running_load().map_or(0, |(pool, load)| watts(pool, load));
        let mut changes = Vec::new();
        let mut at = now;
        for run in runs {
            let start = run.start.max(now);
            if start > at && level != 0 {
                changes.extend((at > now).then_some((at, -level)));
                level = 0;
            }
            let next = workload.load_at(run.pool, run.pace).map_or(0, |load| watts(run.pool, load));
            if next != level {
                changes.push((start, next - level));
            }
            (level, at) = (next, run.end);
        }
        if level != 0 {
            changes.push((at, -level));
        }
        changes
    }

    /// Why runs of one that is not counted don't go; nothing where they do.
    pub(super) fn refused(&self, i: usize, runs: &[Run]) -> Vec<Refusal> {
        if self.is_empty() {
            return Vec::new();
        }
        let workload = &self.problem.workloads[i];
        let mut refused = Vec::new();
        for (budget, left) in self.left.iter().enumerate() {
            let windows = &self.problem.constraints.budgets[budget].windows;
            // joules, and the most watts that are drawn there
            let mut taken: BTreeMap<usize, (i128, i64)> = BTreeMap::new();
            for run in runs {
                let load = workload.load_at(run.pool, run.pace).unwrap_or_default();
                let Some(watts) = self.draws(budget, workload, run.pool, load) else { continue };
                for (window, seconds) in overlaps(windows, run) {
                    let sum = taken.entry(window).or_default();
                    *sum = (sum.0 + i128::from(watts) * i128::from(seconds.0), sum.1.max(watts));
                }
            }
            for (window, (joules, watts)) in taken {
                if joules > left[window].max(0) {
                    let affords = left[window].max(0) / i128::from(watts.max(1));
                    let BudgetWindow { from, until, .. } = windows[window];
                    let affords = Seconds(i64::try_from(affords).unwrap_or(i64::MAX));
                    let short = Joules(i64::try_from(joules - left[window].max(0)).unwrap_or(i64::MAX));
                    refused.push(Refusal::Budget { budget, from, until, affords, short });
                }
            }
        }
        for (ramp, steps) in self.steps.iter().enumerate() {
            let limit = &self.problem.constraints.ramps[ramp];
            let (up, down) = limit.in_a_slot(self.problem.slot);
            let mut taken: BTreeMap<Moment, Step> = BTreeMap::new();
            for (at, change) in self.changes(ramp, workload, runs) {
                let from = at.floor(self.problem.slot);
                let step = taken.entry(from).or_insert_with(|| steps.get(&from).copied().unwrap_or_default());
                step.count(change, 1);
            }
            for (from, step) in taken {
                let before = steps.get(&from).copied().unwrap_or_default();
                let is_over = |now: i64, count: i64, before: i64, most: Option<i64>| {
                    now > before && count > 1 && most.is_some_and(|most| now > most)
                };
                let until = from + Seconds(self.problem.slot.0.max(1));
                if is_over(step.up, step.ups, before.up, up) {
                    refused.push(Refusal::Ramp { domain: limit.domain, from, until, is_end: false });
                }
                if is_over(step.down, step.downs, before.down, down) {
                    refused.push(Refusal::Ramp { domain: limit.domain, from, until, is_end: true });
                }
            }
        }
        refused
    }
}

/// What is drawn in a domain in a window from now on, whatever is planned: joules.
fn anyway(problem: &Problem, idle: &Ledger<'_>, domain: DomainId, window: &BudgetWindow) -> i128 {
    let from = window.from.max(problem.now);
    if from >= window.until {
        return 0;
    }
    let idle = idle.taken(domain, from);
    let fixed = problem.fixed.iter().filter_map(|fixed| {
        let watts = seen_at(problem, domain, fixed.pool, fixed.load)?;
        let seconds = (fixed.until.min(window.until) - from).0.max(0);
        Some(i128::from(watts) * i128::from(seconds))
    });
    i128::from(idle.0) * i128::from((window.until - from).0) + fixed.sum::<i128>()
}

/// The windows that a run lies in, and how long.
fn overlaps<'b>(windows: &'b [BudgetWindow], run: &Run) -> impl Iterator<Item = (usize, Seconds)> + use<'b> {
    let (start, end) = (run.start, run.end);
    let first = windows.partition_point(|window| window.until <= start);
    let here = windows.iter().enumerate().skip(first).take_while(move |(_, window)| window.from < end);
    here.map(move |(i, window)| (i, window.until.min(end) - window.from.max(start)))
        .filter(|(_, seconds)| *seconds > Seconds::ZERO)
}

/// The room that one workload has that is not placed: what the ledger leaves, within what budgets and ramps leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat<'d, 'a> {
    pub ledger: &'d Ledger<'a>,
    pub spent: &'d Spent<'a>,
    /// Which of the problem's workloads.
    pub of: usize,
}

impl Seat<'_, '_> {
    fn run(choice: PoolChoice, start: Moment, end: Moment) -> Run {
        Run { pool: choice.pool, start, end, pace: choice.pace }
    }

    /// What is left of each window of each budget that its load would draw on, for how long.
    fn affords(&self, choice: PoolChoice) -> impl Iterator<Item = (BudgetWindow, Seconds)> + '_ {
        let workload = &self.spent.problem.workloads[self.of];
        let each =
            self.spent.left.iter().enumerate().filter_map(move |(budget, left)| {
                let watts = self.spent.draws(budget, workload, choice.pool, choice.load)?.max(1);
                let windows = self.spent.problem.constraints.budgets[budget].windows.iter().copied();
                Some(windows.zip(
                    left.iter().map(move |left| {
                        Seconds(i64::try_from((*left).max(0) / i128::from(watts)).unwrap_or(i64::MAX))
                    }),
                ))
            });
        each.flatten()
    }
}

impl Room for Seat<'_, '_> {
    fn fits(&self, choice: PoolChoice, from: Moment, to: Moment) -> bool {
        self.ledger.fits(choice.pool, choice.load, from, to) && self.refused(&[Self::run(choice, from, to)]).is_empty()
    }

    fn until_when(&self, choice: PoolChoice, from: Moment, to: Moment) -> Option<Moment> {
        let full = self.ledger.shortage(choice.pool, choice.load, from, to).map(Shortage::at);
        let spent = self.affords(choice).filter_map(|(window, affords)| {
            let at = window.from.max(from) + affords;
            (at < window.until.min(to)).then_some(at)
        });
        spent.chain(full).min()
    }

    fn earliest(&self, choice: PoolChoice, from: Moment, length: Seconds) -> Option<Moment> {
        let mut at = from;
        loop {
            at = self.ledger.earliest(choice.pool, choice.load, at, length)?;
            let later = self.refused(&[Self::run(choice, at, at + length)]).into_iter().map(|refusal| match refusal {
                Refusal::Budget { until, affords, .. } => {
                    let tail = until - affords.min(length);
                    if tail > at { tail } else { until.max(at + Seconds(1)) }
                }
                Refusal::Ramp { until, is_end: false, .. } => until.max(at + Seconds(1)),
                Refusal::Ramp { until, is_end: true, .. } => (until - length).max(at + Seconds(1)),
            });
            match later.max() {
                None => return Some(at),
                Some(later) => at = later,
            }
        }
    }

    fn own_left(&self, pool: PoolId) -> Option<&Steps<i64>> {
        self.ledger.own_left(pool)
    }

    fn whole(&self, until: Moment) -> Moment {
        until.floor(self.ledger.grain())
    }

    fn spans(&self, choice: PoolChoice, from: Moment, to: Moment) -> Vec<(Moment, Moment)> {
        let mut spans = self.ledger.spans(choice.pool, choice.load, from, to);
        for (window, affords) in self.affords(choice) {
            if affords == Seconds::ZERO {
                spans = without(spans, (window.from, window.until));
            }
        }
        spans
    }

    fn refused(&self, runs: &[Run]) -> Vec<Refusal> {
        self.spent.refused(self.of, runs)
    }
}

/// Spans without what lies in another one.
fn without(spans: Vec<(Moment, Moment)>, (from, until): (Moment, Moment)) -> Vec<(Moment, Moment)> {
    let cut = spans.into_iter().flat_map(|(start, end)| [(start, end.min(from)), (start.max(until), end)]);
    cut.filter(|(start, end)| start < end).collect()
}
