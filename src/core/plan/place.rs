//! The best runs for one workload, when all others stand where they are.
//!
//! A workload that can't be broken slides along the prices; one that can be is given slots by dynamic programming.

use super::ledger::Ledger;
use super::{Load, PoolChoice, Problem, Run, Suspension, Workload};
use crate::core::steps::Steps;
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
    fn earliest(&self, choice: PoolChoice, from: Moment, length: Seconds) -> Option<Moment>;
    fn changes(&self, choice: PoolChoice, from: Moment, to: Moment) -> Vec<Moment>;
}

impl Room for Ledger<'_> {
    fn fits(&self, choice: PoolChoice, from: Moment, to: Moment) -> bool {
        Ledger::fits(self, choice.pool, choice.load, from, to)
    }
    fn earliest(&self, choice: PoolChoice, from: Moment, length: Seconds) -> Option<Moment> {
        Ledger::earliest(self, choice.pool, choice.load, from, length)
    }
    fn changes(&self, choice: PoolChoice, from: Moment, to: Moment) -> Vec<Moment> {
        Ledger::changes(self, choice.pool, from, to)
    }
}

/// No cap and no end of accelerators: for bounds.
pub(super) struct Unlimited;

impl Room for Unlimited {
    fn fits(&self, _: PoolChoice, _: Moment, _: Moment) -> bool {
        true
    }
    fn earliest(&self, _: PoolChoice, from: Moment, _: Seconds) -> Option<Moment> {
        Some(from)
    }
    fn changes(&self, _: PoolChoice, _: Moment, _: Moment) -> Vec<Moment> {
        Vec::new()
    }
}

/// The cheapest runs that finish in time; where there are none, the earliest; none where it can never run.
pub(super) fn cheapest(problem: &Problem, room: &impl Room, workload: &Workload) -> Option<Placement> {
    let Some(by) = workload.finish_by else { return earliest(problem, room, workload) };
    let in_time = choices(workload)
        .filter_map(|choice| {
            if workload.is_divisible() {
                in_slots(problem, room, workload, choice, by)
            } else {
                in_one_piece(problem, room, workload, choice, by)
            }
        })
        .min_by_key(|placement| (placement.cost, placement.finish()));
    in_time.or_else(|| earliest(problem, room, workload))
}

/// The runs that finish first.
pub(super) fn earliest(problem: &Problem, room: &impl Room, workload: &Workload) -> Option<Placement> {
    choices(workload)
        .filter_map(|choice| {
            let runs = if workload.is_divisible() {
                early_pieces(problem, room, workload, choice)?
            } else {
                let start = room.earliest(choice, problem.now, workload.remaining)?;
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
    let delay = finish - problem.now - workload.remaining;
    let late = workload.finish_by.map_or(Seconds::ZERO, |by| (finish - by).max(Seconds::ZERO));
    let cost = price_seconds * i128::from(watts) + delay_cost(problem) * i128::from(delay.0.max(0));
    Placement { runs, cost, late }
}

/// Cost units in a millionth of the currency unit: a MWh is 3.6e9 joules.
pub(super) const COST_UNITS: i128 = 3_600_000_000;

/// Cost units of a second of waiting.
fn delay_cost(problem: &Problem) -> i128 {
    i128::from(problem.delay_cost_per_hour) * COST_UNITS / 3600
}

/// What a load draws as its root sees it, with its hosts all brought into use by it.
fn root_watts(problem: &Problem, pool: super::PoolId, load: Load) -> i64 {
    let pool = problem.pool(pool);
    let own = load.watts + pool.host_extra.times(load.hosts.min(pool.nodes));
    problem.tree.seen_from_above(pool.domain, own).last().map_or(own.0, |(_, watts)| watts.0)
}

/// One run of the whole length. Its cost over its start is piecewise linear, so the least lies where a price changes
/// at its start or its end, or where something else that is promised begins or ends.
fn in_one_piece(
    problem: &Problem,
    room: &impl Room,
    workload: &Workload,
    choice: PoolChoice,
    by: Moment,
) -> Option<Placement> {
    let (now, length) = (problem.now, workload.remaining);
    let latest = by - length;
    if latest < now {
        return None;
    }
    let mut moments: Vec<Moment> = problem.supply(choice.pool).price.changes_between(now, by).collect();
    moments.extend(room.changes(choice, now, by));
    let mut starts: Vec<Moment> = moments.iter().flat_map(|at| [*at, *at - length]).collect();
    starts.extend([now, latest]);
    starts.retain(|start| (now..=latest).contains(start));
    starts.sort_unstable();
    starts.dedup();
    let mut options: Vec<Placement> = starts
        .into_iter()
        .map(|start| {
            let run = Run { pool: choice.pool, start, end: start + length };
            priced(problem, workload, choice.load, vec![run])
        })
        .collect();
    options.sort_by_key(|placement| (placement.cost, placement.finish()));
    options.into_iter().find(|placement| placement.runs.iter().all(|run| room.fits(choice, run.start, run.end)))
}

/// As early as possible, in as many pieces as it takes. No piece is shorter than a slot, but for the last.
fn early_pieces(problem: &Problem, room: &impl Room, workload: &Workload, choice: PoolChoice) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut left = workload.remaining;
    let mut from = problem.now;
    while left > Seconds::ZERO {
        let piece = left.min(problem.slot);
        let start = room.earliest(choice, from, piece)?;
        let end = start + piece;
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(Run { pool: choice.pool, start, end }),
        }
        left -= piece;
        from = end;
    }
    Some(runs)
}

/// One piece of time that a divisible workload may be given whole.
#[derive(Debug, Clone, Copy)]
struct Cell {
    start: Moment,
    end: Moment,
    /// Price × seconds.
    cost: i64,
    fits: bool,
}

fn cells(
    price: &Steps<i64>,
    room: &impl Room,
    choice: PoolChoice,
    slot: Seconds,
    from: Moment,
    to: Moment,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut start = from;
    while start < to {
        let end = (start.floor(slot) + slot).min(to);
        let cost = i64::try_from(price.integral(start, end)).unwrap_or(i64::MAX / 4096);
        cells.push(Cell { start, end, cost, fits: room.fits(choice, start, end) });
        start = end;
    }
    cells
}

/// Where a workload stands while its cells are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not run yet.
    Fresh,
    Off,
    On,
}

const STAGES: [Stage; 3] = [Stage::Fresh, Stage::Off, Stage::On];
const NEVER: i64 = i64::MAX / 2;

/// The cheapest choice of cells that holds the whole work, by dynamic programming over (cell, cells taken, stage).
///
/// Whole slots count one each. The first cell, which is cut short by now, counts as what it is: it is tried both
/// taken and left. What the last taken slot holds too much is cut off its dearest end.
fn in_slots(
    problem: &Problem,
    room: &impl Room,
    workload: &Workload,
    choice: PoolChoice,
    by: Moment,
) -> Option<Placement> {
    if by - problem.now < workload.remaining {
        return None;
    }
    let price = &problem.supply(choice.pool).price;
    let all = cells(price, room, choice, problem.slot, problem.now, by);
    let watts = i128::from(root_watts(problem, choice.pool, choice.load).max(1));
    let switch = match workload.suspension {
        Suspension::ForSupply { cost } => cost.0,
        _ => 0,
    };
    let wait = i64::try_from(delay_cost(problem) / watts).unwrap_or(0);
    let best = [true, false]
        .into_iter()
        .filter_map(|take_first| {
            let search = Search { cells: &all, price, slot: problem.slot, switch, wait };
            search.run(workload, take_first)
        })
        .map(|taken| runs_of(&all, &taken, workload, choice, problem))
        .map(|runs| priced(problem, workload, choice.load, runs))
        .min_by_key(|placement| (placement.cost, placement.finish()));
    // tight against its deadline the cut cells at both ends may be needed: then early pieces find them
    best.or_else(|| {
        let runs = early_pieces(problem, room, workload, choice)?;
        Some(priced(problem, workload, choice.load, runs)).filter(|placement| placement.late == Seconds::ZERO)
    })
}

struct Search<'a> {
    cells: &'a [Cell],
    price: &'a Steps<i64>,
    slot: Seconds,
    /// Seconds at its own draw that a restart costs.
    switch: i64,
    /// Cost units of a second of waiting, over its watts.
    wait: i64,
}

impl Search<'_> {
    /// Which cells to take; none where it can't be done with whole slots.
    fn run(&self, workload: &Workload, take_first: bool) -> Option<Vec<usize>> {
        let first = self.cells.first()?;
        if take_first && !first.fits {
            return None;
        }
        let runs_now = workload.running.is_some();
        let credit = if take_first { first.end - first.start } else { Seconds::ZERO };
        let left = (workload.remaining - credit).max(Seconds::ZERO);
        let need = usize::try_from((left.0 + self.slot.0 - 1) / self.slot.0).ok()?;
        let stage = match (take_first, runs_now) {
            (true, _) => Stage::On,
            (false, true) => Stage::Off,
            (false, false) => Stage::Fresh,
        };
        if need == 0 {
            return Some(vec![0]);
        }
        let n = self.cells.len();
        let width = (need + 1) * STAGES.len();
        let at = |taken: usize, stage: Stage| taken * STAGES.len() + stage as usize;
        let mut cost = vec![NEVER; width];
        cost[at(0, stage)] = 0;
        // from[i]: for each state after cell i, the stage before it and whether the cell was taken
        let mut from: Vec<Vec<Option<(Stage, bool)>>> = Vec::with_capacity(n);
        let mut done: Option<(i64, usize)> = None;
        for (i, cell) in self.cells.iter().enumerate().skip(1) {
            let whole = cell.end - cell.start == self.slot;
            let mut next = vec![NEVER; width];
            let mut came = vec![None; width];
            let idle = self.wait.saturating_mul((cell.end - cell.start).0);
            for taken in 0..need.min(i) + 1 {
                for stage in STAGES {
                    let so_far = cost[at(taken, stage)];
                    if so_far >= NEVER || taken == need {
                        continue;
                    }
                    let mut reach = |state: usize, total: i64, step: (Stage, bool)| {
                        if total < next[state] {
                            next[state] = total;
                            came[state] = Some(step);
                        }
                    };
                    let rests = if stage == Stage::Fresh { Stage::Fresh } else { Stage::Off };
                    reach(at(taken, rests), so_far.saturating_add(idle), (stage, false));
                    if cell.fits && whole {
                        let restart =
                            if stage == Stage::Off { self.price.at(cell.start).saturating_mul(self.switch) } else { 0 };
                        let total = so_far.saturating_add(cell.cost).saturating_add(restart.max(0));
                        reach(at(taken + 1, Stage::On), total, (stage, true));
                    }
                }
            }
            from.push(came);
            cost = next;
            let total = cost[at(need, Stage::On)];
            if total < NEVER && done.is_none_or(|(least, _)| total < least) {
                done = Some((total, i));
            }
        }
        let (_, last) = done?;
        let mut taken = Vec::new();
        let (mut count, mut stage) = (need, Stage::On);
        for i in (1..=last).rev() {
            let (before, took) = from[i - 1][at(count, stage)]?;
            if took {
                taken.push(i);
                count -= 1;
            }
            stage = before;
        }
        if take_first {
            taken.push(0);
        }
        taken.reverse();
        Some(taken)
    }
}

/// The runs that cells make, cut down to the work there is.
fn runs_of(cells: &[Cell], taken: &[usize], workload: &Workload, choice: PoolChoice, problem: &Problem) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &i in taken {
        let cell = cells[i];
        match runs.last_mut() {
            Some(last) if last.end == cell.start => last.end = cell.end,
            _ => runs.push(Run { pool: choice.pool, start: cell.start, end: cell.end }),
        }
    }
    let held: Seconds = runs.iter().map(|run| run.end - run.start).sum();
    let excess = held - workload.remaining;
    let price = &problem.supply(choice.pool).price;
    if excess <= Seconds::ZERO {
        return runs;
    }
    // the dearest end of any run that is long enough to be cut; what runs now is not cut at its beginning
    let keeps_start = |run: &Run| workload.running.is_some() && run.start <= problem.now;
    let cut = runs
        .iter()
        .enumerate()
        .filter(|(_, run)| run.end - run.start >= excess)
        .flat_map(|(i, run)| {
            let front = price.integral(run.start, run.start + excess);
            let back = price.integral(run.end - excess, run.end);
            let front = (!keeps_start(run)).then_some((front, false, i));
            [front, Some((back, true, i))].into_iter().flatten()
        })
        .max_by_key(|(saved, at_end, i)| (*saved, *at_end, *i));
    match cut {
        Some((_, true, i)) => runs[i].end = runs[i].end - excess,
        Some((_, false, i)) => runs[i].start = runs[i].start + excess,
        None => {}
    }
    runs.retain(|run| run.start < run.end);
    runs
}
