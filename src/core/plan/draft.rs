//! A plan in the making: placements, and the ledger that knows what they leave free.

use super::ledger::Ledger;
use super::place::{self, COST_UNITS, Placement};
use super::points::without_surplus;
use super::{Entry, Load, PoolId, PowerPlan, Problem, Run, Why, Workload};
use crate::units::{Moment, Money, Seconds};

/// Placements for some of the workloads; the ledger holds exactly these and what is fixed.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    pub problem: &'a Problem,
    pub ledger: Ledger<'a>,
    placed: Vec<Option<(Placement, Why)>>,
}

/// How good a draft is; less is better. The first differing part decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// Deadlines missed, by priority from the highest down.
    pub misses: Vec<u32>,
    /// By how much in all.
    late: i64,
    /// How long those wait that are never delayed for supply.
    waits: i64,
    /// Cost units.
    pub cost: i128,
}

/// What a change of plan must gain, in thousandths of the cost.
///
/// A guess: less than any day's spread of a carbon signal, more than the noise between two forecasts.
pub(super) const WORTH_A_CHANGE_PERMILLE: i32 = 20;

impl Score {
    /// Are all deadlines kept?
    pub(super) fn is_in_time(&self) -> bool {
        self.misses.iter().all(|misses| *misses == 0)
    }

    /// Is this better than `other` by more than a change of plan is worth?
    pub(super) fn beats(&self, other: &Self) -> bool {
        let without_cost = |score: &Self| (score.misses.clone(), score.late, score.waits);
        match without_cost(self).cmp(&without_cost(other)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => {
                other.cost - self.cost > other.cost.abs() * i128::from(WORTH_A_CHANGE_PERMILLE) / 1000
            }
        }
    }
}

impl<'a> Draft<'a> {
    /// What runs and can't be stopped for supply goes on; nothing else is placed.
    pub(super) fn new(problem: &'a Problem, moves: impl Fn(&Workload) -> bool) -> Self {
        Self::in_grains(problem, Seconds(1), moves)
    }

    /// The same, counted in whole grains.
    pub(super) fn in_grains(problem: &'a Problem, grain: Seconds, moves: impl Fn(&Workload) -> bool) -> Self {
        let ledger = Ledger::coarse(problem, grain).with_fixed();
        let mut draft = Self { problem, ledger, placed: vec![None; problem.workloads.len()] };
        for (i, workload) in problem.workloads.iter().enumerate() {
            let Some(running) = workload.running.filter(|_| !moves(workload)) else { continue };
            if workload.running_load().is_none() {
                continue;
            }
            let (pool, pace) = (running.pool, running.pace);
            let run = Run { pool, start: problem.now, end: problem.now + pace.takes(workload.remaining), pace };
            draft.put(i, place::priced(problem, workload, vec![run]), Why::GoesOn);
        }
        draft
    }

    /// From now on in whole grains.
    pub(super) fn coarsen(&mut self, grain: Seconds) {
        self.ledger = Ledger::coarse(self.problem, grain).with_fixed();
        for i in 0..self.placed.len() {
            self.count(i, Ledger::add);
        }
    }

    /// Adds the runs of one to the ledger, or takes them out of it.
    fn count(&mut self, i: usize, change: fn(&mut Ledger<'a>, PoolId, Load, Moment, Moment)) {
        let Some((placement, _)) = &self.placed[i] else { return };
        for run in &placement.runs {
            if let Some(load) = self.problem.workloads[i].load_at(run.pool, run.pace) {
                change(&mut self.ledger, run.pool, load, run.start, run.end);
            }
        }
    }

    pub(super) fn workload(&self, i: usize) -> &'a Workload {
        &self.problem.workloads[i]
    }

    pub(super) fn placement(&self, i: usize) -> Option<&Placement> {
        self.placed[i].as_ref().map(|(placement, _)| placement)
    }

    /// Those that are not placed yet.
    pub(super) fn unplaced(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.placed.len()).filter(|i| self.placed[*i].is_none())
    }

    /// Is there room for runs of a workload that is not placed?
    pub(super) fn has_room(&self, i: usize, runs: &[Run]) -> bool {
        runs.iter().all(|run| {
            let load = self.workload(i).load_at(run.pool, run.pace);
            load.is_some_and(|load| self.ledger.fits(run.pool, load, run.start, run.end))
        })
    }

    pub(super) fn put(&mut self, i: usize, mut placement: Placement, why: Why) {
        let workload = self.workload(i);
        if workload.ahead > 0 {
            without_surplus(&mut placement.runs, workload.work());
            placement = place::priced(self.problem, workload, placement.runs);
        }
        self.placed[i] = Some((placement, why));
        self.count(i, Ledger::add);
    }

    /// What a placement of a workload that is not placed costs where it would stand.
    pub(super) fn net(&self, i: usize, placement: &Placement) -> i128 {
        place::net(self.problem, &self.ledger, self.workload(i), placement)
    }

    /// Takes a placement back.
    pub(super) fn take(&mut self, i: usize) -> Option<(Placement, Why)> {
        self.count(i, Ledger::remove);
        self.placed[i].take()
    }

    /// The cheapest place that is left, for one workload.
    pub(super) fn place_cheapest(&mut self, i: usize) {
        let workload = self.workload(i);
        if let Some(placement) = place::cheapest(self.problem, &self.ledger, workload) {
            let why = match workload.finish_by {
                None => Why::AsSoonAsPossible,
                Some(_) if placement.late > Seconds::ZERO => Why::Late,
                Some(_) => Why::Cheapest,
            };
            self.put(i, placement, why);
        }
    }

    /// The earliest place that is left, for one workload; at full alone, or at any of its points where it may be delayed.
    pub(super) fn place_earliest(&mut self, i: usize, why: Why, any_pace: bool) {
        let any_pace = any_pace && self.workload(i).finish_by.is_some();
        if let Some(placement) = place::earliest_at(self.problem, &self.ledger, self.workload(i), any_pace) {
            let why = if placement.late > Seconds::ZERO { Why::Late } else { why };
            self.put(i, placement, why);
        }
    }

    /// Moves forward in time what waits without gaining by it, until nothing can be moved any more.
    pub(super) fn shift_left(&mut self) {
        // each round finishes something sooner; the bound is for the absurd
        for _ in 0..32 {
            let mut moved = false;
            for i in 0..self.placed.len() {
                let Some((placement, why)) = &self.placed[i] else { continue };
                let gains_by_waiting = placement.late == Seconds::ZERO && self.workload(i).finish_by.is_some();
                let starts_now =
                    placement.runs.first().is_some_and(|run| run.start <= self.problem.starts_from(self.workload(i)));
                if gains_by_waiting || *why == Why::GoesOn || (starts_now && placement.runs.len() == 1) {
                    continue;
                }
                let known = self.ledger.known();
                let Some((old, why)) = self.take(i) else { continue };
                match place::earliest(self.problem, &self.ledger, self.workload(i)) {
                    Some(new) if new.finish() < old.finish() => {
                        self.put(i, new, why);
                        moved = true;
                    }
                    _ => {
                        self.put(i, old, why);
                        self.ledger.restore(known);
                    }
                }
            }
            if !moved {
                break;
            }
        }
    }

    pub(super) fn score(&self) -> Score {
        let mut priorities: Vec<i32> = self.problem.workloads.iter().map(|workload| workload.priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        let mut score = Score { misses: vec![0; priorities.len()], late: 0, waits: 0, cost: -self.ledger.saved() };
        for (workload, placed) in self.problem.workloads.iter().zip(&self.placed) {
            let Some((placement, _)) = placed else { continue };
            score.cost += placement.cost;
            if placement.late > Seconds::ZERO {
                score.late += placement.late.0;
                if let Some(class) = priorities.iter().position(|priority| *priority == workload.priority) {
                    score.misses[class] += 1;
                }
            }
            if workload.finish_by.is_none() {
                score.waits += (placement.finish() - self.problem.starts_from(workload) - workload.remaining).0;
            }
        }
        score
    }

    /// The plan that this draft is, with its bound in cost units where that is known.
    pub(super) fn into_plan(self, policy: &'static str, bound: Option<f64>) -> PowerPlan {
        let bound = bound.map(|bound| Money((bound / COST_UNITS as f64).floor() as i64));
        PowerPlan { bound, ..self.into_plan_without_bound(policy) }
    }

    /// The plan that this draft is, of a policy that says nothing of what could be.
    pub(super) fn into_plan_without_bound(self, policy: &'static str) -> PowerPlan {
        let problem = self.problem;
        let mut cost = -self.ledger.saved();
        let entries: Vec<Entry> = problem
            .workloads
            .iter()
            .zip(self.placed)
            .map(|(workload, placed)| {
                let Some((placement, why)) = placed else {
                    return Entry { id: workload.id.clone(), runs: Vec::new(), late: Seconds::ZERO, why: Why::Nowhere };
                };
                cost += placement.cost;
                let mut runs = placement.runs;
                // a run that goes on began when it began: so the entry stays the same while it does
                if let (Some(running), Some(first)) = (workload.running, runs.first_mut())
                    && first.start <= problem.now
                    && first.pace == running.pace
                {
                    first.start = running.since;
                }
                Entry { id: workload.id.clone(), runs, late: placement.late, why }
            })
            .collect();
        let previous = problem.previous.as_deref();
        let generation = match previous {
            Some(previous) if previous.entries == entries => previous.generation,
            Some(previous) => previous.generation + 1,
            None => 1,
        };
        PowerPlan { generation, policy, made: problem.now, entries, cost: money(cost), bound: None, scarce: Vec::new() }
    }
}

fn money(cost: i128) -> Money {
    Money(i64::try_from(cost / COST_UNITS).unwrap_or(i64::MAX))
}

/// The order in which workloads choose: higher priority, then those that are never delayed for supply,
/// then the nearer deadline, then what runs already (to stop it for its equal gains nothing), then who came first.
pub(super) fn precedence(workload: &Workload) -> impl Ord + use<> {
    (
        std::cmp::Reverse(workload.priority),
        workload.finish_by.unwrap_or(Moment(i64::MIN)),
        workload.running.is_none(),
        workload.arrival,
        workload.id.clone(),
    )
}
