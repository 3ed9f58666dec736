//! The best runs for one workload, when all others stand where they are.
//!
//! A workload that can't be broken slides along the prices; one that can be takes the cheapest seconds (`seconds`), or whole slots
//! where stopping and waiting cost something (`slots`).

use super::ledger::{Ledger, Shortage};
use super::prices::Prices;
use super::seconds::{Piece, in_runs, one_run};
use super::slots::in_slots;
use super::{Load, PoolChoice, Problem, Run, Suspension, Workload};
use crate::units::{Moment, Seconds};

/// Runs for one workload, and what they cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    pub runs: Vec<Run>,
    /// Price × watts × seconds, plus delay: comparable between placements of one problem, exact.
    pub cost: i128,
    pub late: Seconds,
}

impl Placement {
    pub(super) fn finish(&self) -> Moment {
        self.runs.last().map_or(Moment::FAR_FUTURE, |run| run.end)
    }
}

/// What it would cost if nothing were in the way is found with the same code: this says what is.
pub(super) trait Room {
    fn fits(&self, choice: PoolChoice, from: Moment, to: Moment) -> bool;
    /// From when on it does not fit any more, in `[from, to)`; none if it fits throughout.
    fn until_when(&self, choice: PoolChoice, from: Moment, to: Moment) -> Option<Moment>;
    fn earliest(&self, choice: PoolChoice, from: Moment, length: Seconds) -> Option<Moment>;
    /// The spans of `[from, to)` in which it fits.
    fn spans(&self, choice: PoolChoice, from: Moment, to: Moment) -> Vec<(Moment, Moment)>;
}

impl Room for Ledger<'_> {
    fn fits(&self, choice: PoolChoice, from: Moment, to: Moment) -> bool {
        Ledger::fits(self, choice.pool, choice.load, from, to)
    }
    fn until_when(&self, choice: PoolChoice, from: Moment, to: Moment) -> Option<Moment> {
        Ledger::shortage(self, choice.pool, choice.load, from, to).map(Shortage::at)
    }
    fn earliest(&self, choice: PoolChoice, from: Moment, length: Seconds) -> Option<Moment> {
        Ledger::earliest(self, choice.pool, choice.load, from, length)
    }
    fn spans(&self, choice: PoolChoice, from: Moment, to: Moment) -> Vec<(Moment, Moment)> {
        Ledger::spans(self, choice.pool, choice.load, from, to)
    }
}

/// The cheapest runs that finish in time; where there are none, the earliest; none where it can never run.
pub(super) fn cheapest(problem: &Problem, room: &impl Room, workload: &Workload) -> Option<Placement> {
    if workload.finish_by.is_none() {
        return earliest(problem, room, workload);
    }
    in_time(problem, room, workload, None).or_else(|| earliest(problem, room, workload))
}

/// The runs that finish in time and cost least, at the prices of supply and of what is scarce where these are given; none
/// where it can't be done in time, or is never delayed for supply.
pub(super) fn in_time(
    problem: &Problem,
    room: &impl Room,
    workload: &Workload,
    prices: Option<&Prices>,
) -> Option<Placement> {
    let by = workload.finish_by?.min(looks_until(problem, workload));
    let placed = choices(workload).filter_map(|choice| in_seconds(problem, room, workload, choice, by, prices));
    let best = placed.min_by_key(|(placement, paid)| (*paid, placement.finish()));
    best.map(|(placement, _)| placement)
}

/// The best runs in one pool, and what is paid for them.
fn in_seconds(
    problem: &Problem,
    room: &impl Room,
    workload: &Workload,
    choice: PoolChoice,
    by: Moment,
    prices: Option<&Prices>,
) -> Option<(Placement, i128)> {
    let from = problem.starts_from(workload);
    let (length, wait) = (workload.remaining, delay_cost(problem));
    if by - from < length {
        return None;
    }
    let pieces = pieces(problem, room, choice, from, by, prices);
    let placed = |runs: Vec<(Moment, Moment)>| {
        let runs = runs.into_iter().map(|(start, end)| Run { pool: choice.pool, start, end }).collect();
        priced(problem, workload, choice.load, runs)
    };
    let Suspension::ForSupply { cost } = workload.suspension else {
        return one_run(&pieces, length, wait).map(|(runs, paid)| (placed(runs), paid));
    };
    // what runs since a while needs no whole run from now on
    let shortest = |start: Moment| match workload.running {
        Some(running) if start <= problem.now => problem.slot - (problem.now - running.since),
        _ => problem.slot,
    };
    let found = in_runs(&pieces, length, &shortest).map(|(runs, paid)| (placed(runs), paid));
    if prices.is_some() {
        return found;
    }
    let found = found.map(|(placement, _)| placement);
    let is_simple = cost == Seconds::ZERO && wait == 0;
    // restarts and waiting are weighed against all else in whole slots; and tight against its deadline early pieces do
    let in_slots = (!is_simple || found.is_none()).then(|| in_slots(problem, room, workload, choice, by)).flatten();
    let placed = [found, in_slots].into_iter().flatten();
    placed.min_by_key(|placement| (placement.cost, placement.finish())).map(|placement| {
        let cost = placement.cost;
        (placement, cost)
    })
}

/// Where a workload fits, cut wherever what a second costs changes.
fn pieces(
    problem: &Problem,
    room: &impl Room,
    choice: PoolChoice,
    from: Moment,
    by: Moment,
    prices: Option<&Prices>,
) -> Vec<Piece> {
    let watts = i128::from(root_watts(problem, choice.pool, choice.load));
    let supply = &problem.supply(choice.pool).price;
    let scarce = prices.map(|prices| prices.over_time(problem, choice.pool, choice.load));
    let (mut at, mut scarce_at) = (supply.place(from), scarce.as_ref().map_or(0, |scarce| scarce.place(from)));
    let mut pieces = Vec::new();
    for (from, to) in room.spans(choice, from, by) {
        for (from, to, price) in supply.pieces_after(&mut at, from, to) {
            let unit = i128::from(price) * watts;
            match &scarce {
                None => pieces.push(Piece { start: from, end: to, unit }),
                Some(scarce) => {
                    pieces.extend(scarce.pieces_after(&mut scarce_at, from, to).map(|(start, end, more)| Piece {
                        start,
                        end,
                        unit: unit + more,
                    }))
                }
            }
        }
    }
    pieces
}

/// How far a choice among prices looks: the horizon, and the workload's own length beyond it. What is not known is
/// priced at the highest known, so that nothing is gained by waiting for it; who finds no room until then takes the
/// earliest there is.
pub(super) fn looks_until(problem: &Problem, workload: &Workload) -> Moment {
    problem.now + problem.horizon + workload.remaining
}

/// The runs that finish first.
pub(super) fn earliest(problem: &Problem, room: &impl Room, workload: &Workload) -> Option<Placement> {
    choices(workload)
        .filter_map(|choice| {
            let runs = if workload.is_divisible() {
                early_pieces(problem, room, workload, choice, problem.starts_from(workload))?
            } else {
                let start = room.earliest(choice, problem.starts_from(workload), workload.remaining)?;
                vec![Run { pool: choice.pool, start, end: start + workload.remaining }]
            };
            Some(priced(problem, workload, choice.load, runs))
        })
        .min_by_key(|placement| (placement.finish(), placement.cost))
}

/// Where a workload may go: what runs stays in its pool, since moving it is stopping it.
fn choices(workload: &Workload) -> impl Iterator<Item = PoolChoice> + '_ {
    let here = workload.running.map(|running| running.pool);
    workload.choices.iter().copied().filter(move |choice| here.is_none_or(|pool| pool == choice.pool))
}

/// What runs cost a workload: energy, carbon, delay and switching.
pub(super) fn priced(problem: &Problem, workload: &Workload, load: Load, runs: Vec<Run>) -> Placement {
    let watts = runs.first().map_or(0, |run| root_watts(problem, run.pool, load));
    let mut price_seconds: i128 =
        runs.iter().map(|run| problem.supply(run.pool).price.integral(run.start, run.end)).sum();
    if let Suspension::ForSupply { cost } = workload.suspension {
        let goes_on = workload.running.is_some() && runs.first().is_some_and(|run| run.start <= problem.now);
        let free_starts = usize::from(workload.running.is_none() || goes_on);
        price_seconds += runs
            .iter()
            .skip(free_starts)
            .map(|run| i128::from(problem.supply(run.pool).price.at(run.start)) * i128::from(cost.0))
            .sum::<i128>();
    }
    let finish = runs.last().map_or(Moment::FAR_FUTURE, |run| run.end);
    let delay = finish - problem.starts_from(workload) - workload.remaining;
    let late = workload.finish_by.map_or(Seconds::ZERO, |by| (finish - by).max(Seconds::ZERO));
    let cost = price_seconds * i128::from(watts) + delay_cost(problem) * i128::from(delay.0.max(0));
    Placement { runs, cost, late }
}

/// Cost units in a millionth of the currency unit: a MWh is 3.6e9 joules.
pub(super) const COST_UNITS: i128 = 3_600_000_000;

/// Cost units of a second of waiting.
pub(super) fn delay_cost(problem: &Problem) -> i128 {
    i128::from(problem.delay_cost_per_hour) * COST_UNITS / 3600
}

/// What a load draws as its root sees it, with its hosts all brought into use by it.
pub(super) fn root_watts(problem: &Problem, pool: super::PoolId, load: Load) -> i64 {
    let pool = problem.pool(pool);
    let own = load.watts + pool.host_extra.times(load.hosts.min(pool.nodes));
    problem.tree.seen_from_above(pool.domain, own).last().map_or(own.0, |(_, watts)| watts.0)
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
    let mut left = workload.remaining;
    while left > Seconds::ZERO {
        let start = room.earliest(choice, from, left.min(slot))?;
        // as many whole slots as fit from there on, or all that is left
        let end = match room.until_when(choice, start, start + left) {
            None => start + left,
            Some(at) => start + Seconds(((at - start).0 / slot.0).max(1).saturating_mul(slot.0)).min(left),
        };
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(Run { pool: choice.pool, start, end }),
        }
        left -= end - start;
        from = end;
    }
    Some(runs)
}
