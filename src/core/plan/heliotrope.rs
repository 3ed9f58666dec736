//! Our own policy: near the least cost and by how much, deadlines before prices, and no change for nothing.

use super::draft::{Draft, Score, WORTH_A_CHANGE_PERMILLE, precedence};
use super::prices::Market;
use super::{Pace, Policy, PowerPlan, Problem, Run, ScarcePrice, Why, Workload};
use super::{cost, dual, improve, repair};
use crate::units::{Moment, Seconds};

/// What a change of plan has to gain at least, as a part of the cost.
const WORTH_A_CHANGE: f64 = WORTH_A_CHANGE_PERMILLE as f64 / 1000.0;

/// Where nothing would change yet, a plan that is so near to the least possible is not thought over.
const WORTH_A_SEARCH: f64 = 0.000_1;

/// In how many grains the time of a plan is counted at most, and so many at most for each workload and grain in all: for each
/// placement all grains are looked through. What is left free between two runs is lost: with 10,000 of three hours each and grains
/// of 15 minutes 1.7 % of the cost, of 5 minutes 0.6 %.
fn grains(workloads: usize) -> i64 {
    i64::try_from(8_000_000 / workloads.max(1)).unwrap_or(0).max(640)
}

/// Prices of all that is scarce, each workload at its best place under them, deadlines before prices.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heliotrope;

impl Policy for Heliotrope {
    fn name(&self) -> &'static str {
        "heliotrope"
    }

    /// Up to three drafts are made, and the first one stands unless another gains more than a change is worth.
    ///
    /// 1. *Keep*: what the previous plan said and still holds stays; the rest goes where it is cheapest.
    /// 2. *Afresh*, in a thorough plan: everyone is placed anew under prices of all that is scarce. The bound that these give may
    ///    say that nothing can gain enough: then that is all.
    /// 3. *Repair*, when more deadlines are missed than before, or in a thorough plan any that could be kept.
    ///
    /// Drafts 2 and 3 do not look at the previous plan, and draft 1 keeps all of a plan that still holds:
    /// so a second plan on the same world changes nothing.
    fn plan(&self, problem: &Problem) -> PowerPlan {
        let mut best = keep(problem);
        let mut score = best.score();
        let (mut bound, mut scarce) = (None, Vec::new());
        if problem.thorough {
            let (least, worth, other) = afresh(problem, &score);
            (bound, scarce) = (Some(least), worth);
            if let Some(other) = other {
                let others = other.score();
                // where there is no plan yet nothing changes, and any gain is one
                let is_better = if problem.previous.is_some() { others.beats(&score) } else { others < score };
                if is_better {
                    (best, score) = (other, others);
                }
            }
        }
        let misses = |score: &Score| score.misses.iter().sum::<u32>() as usize;
        let missed_before = problem.previous.as_deref().map_or(0, PowerPlan::misses);
        if misses(&score) > if problem.thorough { 0 } else { missed_before } && repair::can_help(problem, &best) {
            let other = repair::repair(problem);
            let others = other.score();
            if others.beats(&score) {
                best = other;
            }
        }
        if !problem.thorough
            && let Some(previous) = &problem.previous
        {
            scarce.extend(previous.scarce.iter().filter(|price| price.until > problem.now).cloned());
        }
        PowerPlan { scarce, ..best.into_plan(self.name(), bound) }
    }
}

/// Draft 1: the previous plan as far as it holds, the rest in order of precedence.
fn keep(problem: &Problem) -> Draft<'_> {
    let mut draft = Draft::new(problem, Workload::is_divisible);
    let mut waiting: Vec<usize> = draft.unplaced().collect();
    draft.order().sort(&mut waiting);
    for i in waiting {
        let Some((runs, why)) = previous_runs(problem, draft.workload(i)) else { continue };
        let workload = draft.workload(i);
        if draft.has_room(i, &runs) {
            let placement = cost::priced(problem, workload, runs);
            let broken = placement.late > Seconds::ZERO && why != Why::Late;
            if !broken {
                draft.put(i, placement, why);
            }
        }
    }
    let grain = grain(problem);
    if grain > Seconds(1) && draft.unplaced().count() > problem.workloads.len() / 10 {
        draft.coarsen(grain);
    }
    place_rest(&mut draft);
    draft
}

/// What runs are counted in: seconds, or where there are thousands of workloads grains, since else each would have to look through
/// the seconds at which any other begins or ends.
fn grain(problem: &Problem) -> Seconds {
    let many = i64::try_from(problem.workloads.len()).unwrap_or(i64::MAX / 2);
    let slot = problem.slot.0.max(1);
    let (slots, grains) = ((problem.horizon.0 / slot).max(1), grains(problem.workloads.len()));
    match slots {
        _ if 2 * many <= grains || problem.horizon.0 <= grains => Seconds(1),
        _ if slots > grains => Seconds(slot * (slots / grains + 1)),
        // a part of a slot, so that whole slots are lost nothing of
        _ => Seconds(slot / (1..=(grains / slots).min(slot)).rev().find(|parts| slot % parts == 0).unwrap_or(1)),
    }
}

/// Draft 2: nothing but the world. The least that any plan costs, what is scarce is worth, and the draft; none where it could not
/// be worth a change.
fn afresh<'a>(problem: &'a Problem, known: &Score) -> (f64, Vec<ScarcePrice>, Option<Draft<'a>>) {
    let market = Market::new(problem, Workload::is_divisible);
    let cost = known.cost as f64;
    let worth = if problem.previous.is_some() { WORTH_A_CHANGE } else { WORTH_A_SEARCH };
    let enough = if known.is_in_time() { cost - cost.abs() * worth } else { f64::INFINITY };
    let found = dual::search(&market, || aim(problem, known), enough);
    let draft = (found.bound < enough).then(|| {
        let start = Draft::in_grains(problem, grain(problem), Workload::is_divisible);
        improve::improve(&start, &market, &found)
    });
    (found.bound, found.scarce, draft)
}

/// What a plan costs that knows no other before it, where it keeps all deadlines. It steers the search, so it must be the same
/// whatever the previous plan is: else a second plan on the same world would find other prices.
fn aim(problem: &Problem, known: &Score) -> Option<f64> {
    let cost = |score: &Score| score.is_in_time().then_some(score.cost as f64);
    match problem.previous {
        None => cost(known),
        Some(_) => cost(&keep(&Problem { previous: None, ..problem.clone() }).score()),
    }
}

fn place_rest(draft: &mut Draft<'_>) {
    let mut rest: Vec<usize> = draft.unplaced().collect();
    rest.sort_by_cached_key(|i| precedence(draft.workload(*i)));
    draft.order().sort(&mut rest);
    for i in rest {
        // who waited for one before it may be placed already
        if draft.placement(i).is_none() {
            draft.place_cheapest(i);
        }
    }
    draft.shift_left();
}

/// What the previous plan still says of a workload: its runs from now on, if they are what is left to do.
pub(super) fn previous_runs(problem: &Problem, workload: &Workload) -> Option<(Vec<Run>, Why)> {
    let entry = problem.previous.as_deref()?.entry(&workload.id)?;
    let runs = entry.runs_from(problem.now);
    let work: i128 = runs.iter().map(Run::work).sum();
    let stays = workload.running.is_none_or(|running| runs.iter().all(|run| run.pool == running.pool));
    let first: Moment = runs.first()?.start;
    let second = Pace::FULL.work(Seconds(1));
    let is_all = (work + i128::from(workload.ahead)).div_euclid(second) == i128::from(workload.remaining.0);
    (is_all && stays && first >= problem.now).then_some((runs, entry.why))
}
