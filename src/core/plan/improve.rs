//! From prices to a plan: everyone placed under the prices where there truly is room, then moved while that makes the plan better.
//!
//! 1. *Rounding*: the most energy first, since what is small fits into what is left. Who finds no place in time goes to the front of
//!    its class, a few times (squeaky wheel, Joslin and Clements 1999).
//! 2. *Settling*: each in turn takes the place that costs it least while all others stand, until nobody moves.
//! 3. *Exchanges*: who pays most for not having its best place takes it from one that stands there, if both together gain.

use super::cost::Placement;
use super::draft::{Draft, Score};
use super::draws::root_watts;
use super::dual::Found;
use super::early;
use super::prices::{Guide, Market};
use super::{PoolChoice, Problem, Why, Workload};
use crate::units::Seconds;
use std::cmp::Reverse;

/// How often the order is changed for those who are late. A guess: more have not been seen to mend more.
const SQUEAKS: usize = 8;

/// How often everyone is asked to move. It ends by itself, since each move makes the plan cheaper; with many it is ended, since the
/// first times gain most.
fn settles(workloads: usize) -> usize {
    (20_000 / workloads.max(1)).clamp(2, 20)
}

/// With how many others each tries to exchange places.
const PARTNERS: usize = 8;

/// How many exchanges are tried in all: each one eight times for a thousand workloads, fewer for more, since each takes longer then.
fn tries(workloads: usize) -> usize {
    (8 * workloads).min(8_000_000 / workloads.max(1))
}

/// A draft is not thought over further once it is so near to the bound, as a part of it: where there are many workloads the rest is
/// little, and each further thought takes long.
fn near(workloads: usize) -> f64 {
    if workloads > MANY { 0.004 } else { 0.000_1 }
}

const MANY: usize = 1024;

/// The best draft that is found from these prices and choices, for all that is not placed yet.
pub(super) fn improve<'a>(start: &Draft<'a>, market: &Market<'_>, found: &Found) -> Draft<'a> {
    let (problem, bound) = (start.problem, found.bound);
    let mut guides: Vec<Option<Guide<'_>>> = vec![None; problem.workloads.len()];
    for (n, offer) in market.offers.iter().enumerate() {
        let chosen = found.choices.get(n).map_or(&[][..], Vec::as_slice);
        guides[offer.of] = Some(Guide { market, prices: &found.prices, offer, chosen });
    }
    let guide = |i: usize| guides[i];
    let is_near =
        |score: &Score| score.is_in_time() && score.cost as f64 <= bound + bound.abs() * near(problem.workloads.len());
    let mut best: Option<(Score, Draft<'a>)> = None;
    let mut known_floors = None;
    for order in [Order::Energy, Order::Tightness] {
        let (mut score, mut draft) = rounded(start, &guide, order);
        if !is_near(&score) {
            settle(&mut draft, known_floors.get_or_insert_with(|| floors(start)));
            score = draft.score();
        }
        let is_enough = is_near(&score);
        if best.as_ref().is_none_or(|(known, _)| score < *known) {
            best = Some((score, draft));
        }
        if is_enough {
            break;
        }
    }
    let Some((mut score, mut draft)) = best else { return start.clone() };
    if let Some(floors) = known_floors {
        let mut left = tries(problem.workloads.len());
        while left > 0 && !is_near(&score) && exchange(&mut draft, &floors, &mut left) {
            settle(&mut draft, &floors);
            score = draft.score();
        }
    }
    draft.shift_left();
    draft
}

/// Where each would be best off if it were alone; none for those that are not to be moved.
fn floors(start: &Draft<'_>) -> Vec<Option<Placement>> {
    let alone = |i| start.placement(i).is_none().then(|| start.alone(i)).flatten();
    (0..start.problem.workloads.len()).map(alone).collect()
}

/// Who is placed first.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// Whose work takes the most energy.
    Energy,
    /// Whose energy is the most for each second that it may wait.
    Tightness,
}

/// What decides who is placed first within a class.
fn weight(problem: &Problem, workload: &Workload, order: Order) -> i128 {
    let watts = |choice: &PoolChoice| root_watts(problem, choice.pool, choice.load);
    let full = early::pools(workload).filter_map(|points| points.first());
    let least = full.map(watts).min().unwrap_or(0);
    let energy = i128::from(least) * i128::from(workload.remaining.0);
    match (order, workload.finish_by) {
        (Order::Tightness, Some(by)) => {
            energy / i128::from((by - problem.starts_from(workload) - workload.remaining).0.max(1))
        }
        _ => energy,
    }
}

/// Everyone placed under the prices, in the best order that is found, and how good that is.
fn rounded<'a, 'b>(start: &Draft<'a>, guide: &dyn Fn(usize) -> Option<Guide<'b>>, order: Order) -> (Score, Draft<'a>) {
    let problem = start.problem;
    let class = |workload: &Workload| (Reverse(workload.priority), workload.finish_by.is_some());
    let weighed = order;
    let mut order: Vec<usize> = start.unplaced().collect();
    order.sort_by_cached_key(|i| {
        let workload = start.workload(*i);
        // who is never delayed for supply comes in the order of arrival
        let first = workload.finish_by.is_none().then_some((workload.running.is_none(), workload.arrival));
        (class(workload), first, Reverse(weight(problem, workload, weighed)), workload.id.clone())
    });
    let mut best: Option<(Score, Draft<'a>)> = None;
    for _ in 0..SQUEAKS {
        start.order().sort(&mut order);
        let mut draft = start.clone();
        for &i in &order {
            match draft.in_time(i, guide(i)) {
                Some(placement) => draft.put(i, placement, Why::Cheapest),
                None => draft.place_cheapest(i),
            }
        }
        let score = draft.score();
        let is_late = |i: usize| draft.placement(i).is_some_and(|placement| placement.late > Seconds::ZERO);
        let mut next = order.clone();
        next.sort_by_key(|i| (class(start.workload(*i)), !is_late(*i)));
        let is_done = score.is_in_time() || next == order;
        if best.as_ref().is_none_or(|(known, _)| score < *known) {
            best = Some((score, draft));
        }
        if is_done {
            break;
        }
        order = next;
    }
    best.unwrap_or_else(|| (start.score(), start.clone()))
}

/// Who may be moved, and could be better off: those that pay more than they would alone, the most first.
fn wanting(draft: &Draft<'_>, floors: &[Option<Placement>]) -> Vec<usize> {
    let regret = |i: usize| {
        let floor = floors[i].as_ref()?;
        let placed = draft.placement(i)?;
        let regret = (placed.late, placed.cost - floor.cost);
        (regret > (Seconds::ZERO, 0)).then_some(regret)
    };
    let mut wanting: Vec<_> = (0..floors.len()).filter_map(|i| Some((Reverse(regret(i)?), i))).collect();
    wanting.sort_unstable();
    wanting.into_iter().map(|(_, i)| i).collect()
}

fn settle(draft: &mut Draft<'_>, floors: &[Option<Placement>]) {
    for _ in 0..settles(floors.len()) {
        let mut moved = false;
        for i in wanting(draft, floors) {
            let Some((old, why)) = draft.take(i) else { continue };
            match draft.in_time(i, None) {
                Some(new) if (new.late, draft.net(i, &new)) < (old.late, draft.net(i, &old)) => {
                    draft.put(i, new, Why::Cheapest);
                    moved = true;
                }
                _ => draft.put(i, old, why),
            }
        }
        if !moved {
            break;
        }
    }
}

/// Everyone that wants to tries with a few of those who stand where it would be best off. Did any gain?
fn exchange(draft: &mut Draft<'_>, floors: &[Option<Placement>], left: &mut usize) -> bool {
    let mut gained = false;
    for i in wanting(draft, floors) {
        let Some(best) = &floors[i] else { continue };
        for j in partners(draft, floors, i, best) {
            if *left == 0 {
                return gained;
            }
            *left -= 1;
            if swap(draft, i, j) {
                gained = true;
                break;
            }
        }
    }
    gained
}

/// Those who stand longest where another would be best off.
fn partners(draft: &Draft<'_>, floors: &[Option<Placement>], i: usize, best: &Placement) -> Vec<usize> {
    let shared = |j: usize| -> Seconds {
        let Some(placed) = draft.placement(j).filter(|_| j != i && floors[j].is_some()) else { return Seconds::ZERO };
        let both = best.runs.iter().flat_map(|run| placed.runs.iter().map(move |other| (run, other)));
        both.map(|(run, other)| (run.end.min(other.end) - run.start.max(other.start)).max(Seconds::ZERO)).sum()
    };
    let mut partners: Vec<(Reverse<Seconds>, usize)> =
        (0..floors.len()).map(|j| (Reverse(shared(j)), j)).filter(|(shared, _)| shared.0 > Seconds::ZERO).collect();
    partners.sort_unstable();
    partners.into_iter().take(PARTNERS).map(|(_, j)| j).collect()
}

/// Two are placed anew, the first before the second, if that is better for both together.
fn swap(draft: &mut Draft<'_>, i: usize, j: usize) -> bool {
    let with_both = draft.ledger.saved();
    let (Some((old_i, why_i)), Some((old_j, why_j))) = (draft.take(i), draft.take(j)) else { return false };
    let saved = with_both - draft.ledger.saved();
    let before = (old_i.late + old_j.late, old_i.cost + old_j.cost - saved);
    if let Some(new_i) = draft.in_time(i, None) {
        let first = (new_i.late, draft.net(i, &new_i));
        draft.put(i, new_i, Why::Cheapest);
        let new_j = draft.in_time(j, None);
        let is_better = |new_j: &Placement| (first.0 + new_j.late, first.1 + draft.net(j, new_j)) < before;
        if let Some(new_j) = new_j.filter(is_better) {
            draft.put(j, new_j, Why::Cheapest);
            return true;
        }
        draft.take(i);
    }
    draft.put(i, old_i, why_i);
    draft.put(j, old_j, why_j);
    false
}
