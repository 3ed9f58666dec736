//! Deadlines first: when the cheapest places leave someone late, find an order in which nobody is.
//!
//! Placing jobs one after the other, each as early as it fits, reaches for some order a schedule that keeps
//! all deadlines whenever there is one in which no job can start earlier (Kolisch 1996, serial schedule generation).
//! So the search is over orders:
//! 1. earliest deadline first;
//! 2. squeaky wheel (Joslin and Clements 1999): whoever was late goes to the front, a few times;
//! 3. all orders, where there are few enough workloads.
//!
//! Then each in turn takes the cheapest place that the others leave it.

use super::cost::Placement;
use super::draft::{Draft, Score};
use super::{Problem, Why, Workload};
use crate::units::{Moment, Seconds};

/// Rounds of the squeaky wheel. A guess: what 12 rounds don't mend, more have not been seen to.
const ROUNDS: usize = 12;

/// All orders are tried up to this many workloads: 6! = 720 placements of 6.
const FEW: usize = 6;

/// Is someone late who would be in time with nothing but the fixed loads beside it?
pub(super) fn can_help(problem: &Problem, draft: &Draft<'_>) -> bool {
    let alone = Draft::new(problem, Workload::is_divisible);
    (0..problem.workloads.len()).any(|i| {
        let late = |placement: &Placement| placement.late > Seconds::ZERO;
        draft.placement(i).is_some_and(late)
            && alone.placement(i).is_none()
            && alone.earliest(i).is_some_and(|placement| !late(&placement))
    })
}

/// The draft with the fewest deadlines missed that the search finds, made cheap.
pub(super) fn repair(problem: &Problem) -> Draft<'_> {
    let start = Draft::new(problem, Workload::is_divisible);
    let mut order: Vec<usize> = start.unplaced().collect();
    order.sort_by_cached_key(|i| {
        let workload = start.workload(*i);
        (
            std::cmp::Reverse(workload.priority),
            workload.finish_by.unwrap_or(Moment::FAR_FUTURE),
            workload.arrival,
            workload.id.clone(),
        )
    });
    let mut latest = in_order(&start, &order);
    let mut best = latest.clone();
    let mut score = best.score();
    for _ in 0..ROUNDS {
        if score.is_in_time() {
            break;
        }
        let late = |i: usize| latest.placement(i).is_some_and(|p| p.late > Seconds::ZERO);
        // stable: who was in time keeps its place behind the squeaky ones
        let mut next = order.clone();
        next.sort_by_key(|i| !late(*i));
        if next == order {
            break; // who is late stands in front already: all further rounds would be this one
        }
        order = next;
        latest = in_order(&start, &order);
        let scored = latest.score();
        if scored < score {
            (best, score) = (latest.clone(), scored);
        }
    }
    if order.len() <= FEW && !score.is_in_time() {
        for permutation in permutations(&mut order) {
            consider(&mut best, &mut score, in_order(&start, &permutation));
        }
    }
    make_cheap(&mut best);
    best
}

fn consider<'a>(best: &mut Draft<'a>, score: &mut Score, other: Draft<'a>) {
    let others = other.score();
    if others < *score {
        (*best, *score) = (other, others);
    }
}

/// Each as early as it fits, in this order.
fn in_order<'a>(start: &Draft<'a>, order: &[usize]) -> Draft<'a> {
    let mut draft = start.clone();
    let mut order = order.to_vec();
    draft.order().sort(&mut order);
    for i in order {
        draft.place_earliest(i, Why::KeepsDeadlines, true);
    }
    draft
}

/// Whoever may wait takes the cheapest place that is left, the nearest deadline first; two rounds, since the first
/// frees places for others.
fn make_cheap(draft: &mut Draft<'_>) {
    for _ in 0..2 {
        let mut order: Vec<usize> = (0..draft.problem.workloads.len())
            .filter(|i| draft.workload(*i).finish_by.is_some())
            .filter(|i| draft.workload(*i).running.is_none() || draft.workload(*i).is_divisible())
            .collect();
        order.sort_by_cached_key(|i| (draft.workload(*i).finish_by, draft.workload(*i).id.clone()));
        for i in order {
            let Some((old, why)) = draft.take(i) else { continue };
            match draft.cheapest(i) {
                Some(new) if (new.late, draft.net(i, &new)) < (old.late, draft.net(i, &old)) => draft.put(i, new, why),
                _ => draft.put(i, old, why),
            }
        }
    }
    draft.shift_left();
}

/// All orders of a few indices, in lexicographic order.
fn permutations(items: &mut [usize]) -> Vec<Vec<usize>> {
    items.sort_unstable();
    let mut all = vec![Vec::new()];
    for _ in 0..items.len() {
        all = all
            .into_iter()
            .flat_map(|prefix: Vec<usize>| {
                let rest: Vec<usize> = items.iter().copied().filter(|i| !prefix.contains(i)).collect();
                rest.into_iter().map(move |i| prefix.iter().copied().chain([i]).collect())
            })
            .collect();
    }
    all
}
