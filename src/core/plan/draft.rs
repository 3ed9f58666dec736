//! A plan in the making: placements, and the ledger that knows what they leave free.

use super::cost::{self, COST_UNITS, Placement};
use super::ledger::Ledger;
use super::order::{Order, earlier};
use super::points::without_surplus;
use super::prices::Guide;
use super::room::Room;
use super::spent::{Seat, Spent};
use super::{Entry, Load, PoolId, PowerPlan, Problem, Run, Why, Workload};
use super::{early, place};
use crate::units::{Moment, Money, Seconds};
use std::borrow::Cow;
use std::sync::Arc;

/// Placements for some of the workloads; the ledger, and what is spent of budgets and ramps, hold exactly these and what is fixed.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    pub problem: &'a Problem,
    pub ledger: Ledger<'a>,
    spent: Spent<'a>,
    order: Arc<Order>,
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
        let (spent, order) = (Spent::new(problem), Arc::new(Order::new(problem)));
        let mut draft = Self { problem, ledger, spent, order, placed: vec![None; problem.workloads.len()] };
        for (i, workload) in problem.workloads.iter().enumerate() {
            let Some(running) = workload.running.filter(|_| !moves(workload)) else { continue };
            if workload.running_load().is_none() {
                continue;
            }
            let (pool, pace) = (running.pool, running.pace);
            let run = Run { pool, start: problem.now, end: problem.now + pace.takes(workload.remaining), pace };
            draft.put(i, cost::priced(problem, workload, vec![run]), Why::GoesOn);
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
        let fits = runs.iter().all(|run| {
            let load = self.workload(i).load_at(run.pool, run.pace);
            load.is_some_and(|load| self.ledger.fits(run.pool, load, run.start, run.end))
        });
        fits && self.seat(i).refused(runs).is_empty() && self.keeps_order(i, runs)
    }

    /// Who must finish before whom.
    pub(super) fn order(&self) -> Arc<Order> {
        self.order.clone()
    }

    fn seat(&self, i: usize) -> Seat<'_, 'a> {
        Seat { ledger: &self.ledger, spent: &self.spent, of: i }
    }

    /// Do runs of a workload begin when all has finished that it waits for, and end before what waits for it begins?
    fn keeps_order(&self, i: usize, runs: &[Run]) -> bool {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return true };
        let has_finished =
            |before: &usize| self.placement(*before).is_some_and(|before| before.finish() <= first.start);
        let waits = |after: &usize| {
            let after = self.placement(*after).and_then(|after| after.runs.first());
            after.is_none_or(|after| last.end <= after.start)
        };
        self.order.before(i).iter().all(has_finished) && self.order.after(i).iter().all(waits)
    }

    /// A workload with the time that those leave it who must finish before it and who wait for it; none where one of the first has
    /// no place.
    fn within_order(&self, i: usize) -> Option<Cow<'a, Workload>> {
        let workload = self.workload(i);
        let from = self.order.before(i).iter().try_fold(self.order.earliest(i), |from, before| {
            let finish = self.placement(*before)?.finish();
            Some(Some(from.map_or(finish, |from| from.max(finish))))
        })?;
        let starts = self.order.after(i).iter().filter_map(|after| self.placement(*after)?.runs.first());
        let by = starts.fold(self.order.latest(i), |by, run| earlier(by, Some(run.start)));
        let from = from.filter(|from| *from > self.problem.starts_from(workload));
        let by = by.filter(|by| workload.finish_by.is_some_and(|own| *by < own));
        if from.is_none() && by.is_none() {
            return Some(Cow::Borrowed(workload));
        }
        let (arrival, finish_by) = (from.unwrap_or(workload.arrival), by.or(workload.finish_by));
        Some(Cow::Owned(Workload { arrival, finish_by, ..workload.clone() }))
    }

    /// What a search finds for a workload that is not placed, where that leaves all in their order. It is given the room that is left, and
    /// the workload with the time that others leave it.
    pub(super) fn search(
        &self,
        i: usize,
        find: impl FnOnce(&Seat<'_, 'a>, &Workload) -> Option<Placement>,
    ) -> Option<Placement> {
        let found = match self.within_order(i)? {
            Cow::Borrowed(workload) => find(&self.seat(i), workload)?,
            // it is late, and has waited, by what was asked for
            Cow::Owned(workload) => cost::priced(self.problem, self.workload(i), find(&self.seat(i), &workload)?.runs),
        };
        self.keeps_order(i, &found.runs).then_some(found)
    }

    /// The cheapest place that is left for a workload in its time, at the prices of a guide or of its supply.
    pub(super) fn in_time(&self, i: usize, guide: Option<Guide<'_>>) -> Option<Placement> {
        self.search(i, |room, workload| place::in_time(self.problem, room, workload, guide))
    }

    /// Where a workload would be best off if none but those were there that are placed, and nobody had to wait for it.
    pub(super) fn alone(&self, i: usize) -> Option<Placement> {
        place::in_time(self.problem, &self.seat(i), self.workload(i), None)
    }

    /// The cheapest place that is left for a workload in its time, else the earliest.
    pub(super) fn cheapest(&self, i: usize) -> Option<Placement> {
        self.search(i, |room, workload| place::cheapest(self.problem, room, workload))
    }

    /// The earliest place that is left for a workload.
    pub(super) fn earliest(&self, i: usize) -> Option<Placement> {
        self.search(i, |room, workload| early::earliest(self.problem, room, workload))
    }

    pub(super) fn put(&mut self, i: usize, mut placement: Placement, why: Why) {
        let workload = self.workload(i);
        if workload.ahead > 0 {
            without_surplus(&mut placement.runs, workload.work());
            placement = cost::priced(self.problem, workload, placement.runs);
        }
        self.spent.count(i, &placement.runs, 1);
        self.placed[i] = Some((placement, why));
        self.count(i, Ledger::add);
    }

    /// What a placement of a workload that is not placed costs where it would stand.
    pub(super) fn net(&self, i: usize, placement: &Placement) -> i128 {
        cost::net(self.problem, &self.seat(i), self.workload(i), placement)
    }

    /// Takes a placement back.
    pub(super) fn take(&mut self, i: usize) -> Option<(Placement, Why)> {
        self.count(i, Ledger::remove);
        let taken = self.placed[i].take();
        taken.iter().for_each(|(placement, _)| self.spent.count(i, &placement.runs, -1));
        taken
    }

    /// The cheapest place that is left, for one workload. Where those that wait for it leave it none, they are placed anew after it.
    pub(super) fn place_cheapest(&mut self, i: usize) {
        if self.put_cheapest(i) {
            return;
        }
        let mut followers = self.order.followers(i);
        followers.retain(|after| self.take(*after).is_some());
        self.put_cheapest(i);
        for after in followers {
            self.put_cheapest(after);
        }
    }

    fn put_cheapest(&mut self, i: usize) -> bool {
        let Some(placement) = self.cheapest(i) else { return false };
        let why = match self.workload(i).finish_by {
            None => Why::AsSoonAsPossible,
            Some(_) if placement.late > Seconds::ZERO => Why::Late,
            Some(_) => Why::Cheapest,
        };
        self.put(i, placement, why);
        true
    }

    /// The earliest place that is left, for one workload; at full alone, or at any of its points where it may be delayed.
    pub(super) fn place_earliest(&mut self, i: usize, why: Why, any_pace: bool) {
        let any_pace = any_pace && self.workload(i).finish_by.is_some();
        let found = self.search(i, |room, workload| early::earliest_at(self.problem, room, workload, any_pace));
        if let Some(placement) = found {
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
                match self.earliest(i) {
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
        PowerPlan {
            generation,
            policy,
            made: problem.now,
            entries,
            cost: cost::money(cost),
            bound: None,
            scarce: Vec::new(),
        }
    }
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
