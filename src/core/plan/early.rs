//! Where a workload may go, and the first runs that it finds there.

use super::cost::{Placement, priced};
use super::room::Room;
use super::{PoolChoice, Problem, Run, Workload};
use crate::units::{Moment, Seconds};

/// The pools where a workload may run, each with its points there.
pub(super) fn pools(workload: &Workload) -> impl Iterator<Item = &[PoolChoice]> {
    workload.choices.chunk_by(|a, b| a.pool == b.pool)
}

/// May it go there? What runs stays in its pool, since moving it is stopping it.
pub(super) fn is_open(workload: &Workload, choice: &PoolChoice) -> bool {
    workload.running.is_none_or(|running| running.pool == choice.pool)
}

/// Is it the point at which it runs, if it does?
pub(super) fn is_kept(workload: &Workload, choice: &PoolChoice) -> bool {
    workload.running.is_none_or(|running| running.pace == choice.pace)
}

/// How far a choice among prices looks: the horizon, and the workload's own length beyond it. What is not known is
/// priced at the highest known, so that nothing is gained by waiting for it; who finds no room until then takes the
/// earliest there is.
pub(super) fn looks_until(problem: &Problem, workload: &Workload) -> Moment {
    problem.now + problem.horizon + workload.remaining
}

/// The runs that finish first. Slower than at full is only who may be delayed.
pub(super) fn earliest(problem: &Problem, room: &impl Room, workload: &Workload) -> Option<Placement> {
    earliest_at(problem, room, workload, workload.finish_by.is_some())
}

/// The runs that finish first, at any of its points or at full alone.
pub(super) fn earliest_at(
    problem: &Problem,
    room: &impl Room,
    workload: &Workload,
    any_pace: bool,
) -> Option<Placement> {
    pools(workload)
        .flat_map(|points| points.iter().take(if any_pace { points.len() } else { 1 }))
        .filter(|choice| is_open(workload, choice) && (workload.is_divisible() || is_kept(workload, choice)))
        .filter_map(|&choice| {
            let from = problem.starts_from(workload);
            let runs = queued(problem, room, workload, choice, from, workload.is_divisible())?;
            Some(priced(problem, workload, runs))
        })
        .min_by_key(|placement| (placement.finish(), placement.cost))
}

/// The first runs of a workload from a moment on: in pieces where it may, and all of them have room together, else whole.
pub(super) fn queued(
    problem: &Problem,
    room: &impl Room,
    workload: &Workload,
    choice: PoolChoice,
    from: Moment,
    in_pieces: bool,
) -> Option<Vec<Run>> {
    if in_pieces {
        let runs = early_pieces(problem, room, workload, choice, from)?;
        if room.refused(&runs).is_empty() {
            return Some(runs);
        }
    }
    Some(vec![whole_run(room, workload, choice, from)?])
}

/// The first whole run of a workload from a moment on.
pub(super) fn whole_run(room: &impl Room, workload: &Workload, choice: PoolChoice, from: Moment) -> Option<Run> {
    let takes = choice.pace.takes(workload.remaining);
    let start = room.earliest(choice, from, takes)?;
    Some(Run { pool: choice.pool, start, end: start + takes, pace: choice.pace })
}

/// As early as possible from a moment on, in as many pieces as it takes. No piece is shorter than a slot, but for the last.
pub(super) fn early_pieces(
    problem: &Problem,
    room: &impl Room,
    workload: &Workload,
    choice: PoolChoice,
    mut from: Moment,
) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let slot = Seconds(problem.slot.0.max(1));
    let mut left = choice.pace.takes(workload.remaining);
    while left > Seconds::ZERO {
        let start = room.earliest(choice, from, left.min(slot))?;
        // as many whole slots as fit from there on, or all that is left
        let end = match room.until_when(choice, start, start + left) {
            None => start + left,
            Some(at) => start + Seconds(((at - start).0 / slot.0).max(1).saturating_mul(slot.0)).min(left),
        };
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(Run { pool: choice.pool, start, end, pace: choice.pace }),
        }
        left -= end - start;
        from = end;
    }
    Some(runs)
}
