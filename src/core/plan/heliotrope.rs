//! Our own policy: each workload at the cheapest place that is left, deadlines before prices, and no change for nothing.

use super::draft::{Draft, Score, precedence};
use super::place;
use super::repair;
use super::{Policy, PowerPlan, Problem, Run, Why, Workload};
use crate::units::{Moment, Seconds};

/// Priced slots with earliest-deadline repair.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heliotrope;

impl Policy for Heliotrope {
    fn name(&self) -> &'static str {
        "heliotrope"
    }

    /// Up to three drafts are made, and the first one stands unless another gains more than a change is worth.
    ///
    /// 1. *Keep*: what the previous plan said and still holds stays; the rest goes where it is cheapest.
    /// 2. *Afresh*, in a thorough plan: everyone chooses anew, in order of precedence.
    /// 3. *Repair*, when more deadlines are missed than before, or in a thorough plan any that could be kept.
    ///
    /// Drafts 2 and 3 do not look at the previous plan, and draft 1 keeps all of a plan that still holds:
    /// so a second plan on the same world changes nothing.
    fn plan(&self, problem: &Problem) -> PowerPlan {
        let mut best = keep(problem);
        let mut score = best.score();
        if problem.thorough {
            let other = afresh(problem);
            let others = other.score();
            if others.beats(&score) {
                (best, score) = (other, others);
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
        best.into_plan(self.name())
    }
}

/// Draft 1: the previous plan as far as it holds, the rest in order of precedence.
fn keep(problem: &Problem) -> Draft<'_> {
    let mut draft = Draft::new(problem, Workload::is_divisible);
    let waiting: Vec<usize> = draft.unplaced().collect();
    for i in waiting {
        let Some((runs, why)) = previous_runs(problem, draft.workload(i)) else { continue };
        let workload = draft.workload(i);
        let Some(load) = runs.first().and_then(|run| workload.load_in(run.pool)) else { continue };
        if runs.iter().all(|run| draft.ledger.fits(run.pool, load, run.start, run.end)) {
            let placement = place::priced(problem, workload, load, runs);
            let broken = placement.late > Seconds::ZERO && why != Why::Late;
            if !broken {
                draft.put(i, placement, why);
            }
        }
    }
    place_rest(&mut draft);
    draft
}

/// Draft 2: nothing but the world.
fn afresh(problem: &Problem) -> Draft<'_> {
    let mut draft = Draft::new(problem, Workload::is_divisible);
    place_rest(&mut draft);
    draft
}

fn place_rest(draft: &mut Draft<'_>) {
    let mut rest: Vec<usize> = draft.unplaced().collect();
    rest.sort_by_cached_key(|i| precedence(draft.workload(*i)));
    for i in rest {
        draft.place_cheapest(i);
    }
    draft.shift_left();
}

/// What the previous plan still says of a workload: its runs from now on, if they are what is left to do.
pub(super) fn previous_runs(problem: &Problem, workload: &Workload) -> Option<(Vec<Run>, Why)> {
    let entry = problem.previous.as_deref()?.entry(&workload.id)?;
    let runs: Vec<Run> = entry
        .runs
        .iter()
        .filter(|run| run.end > problem.now)
        .map(|run| Run { start: run.start.max(problem.now), ..*run })
        .collect();
    let length: Seconds = runs.iter().map(|run| run.end - run.start).sum();
    let stays = workload.running.is_none_or(|running| runs.iter().all(|run| run.pool == running.pool));
    let first: Moment = runs.first()?.start;
    (length == workload.remaining && stays && first >= problem.now).then_some((runs, entry.why))
}
