//! The cheapest slots for a workload that can be broken, by dynamic programming.
//!
//! Time is cut into cells of a slot each; a state is (cell, cells taken, stage). What that takes is bounded
//! ([`STATES`]): a month of work, or a slot of a second, is planned in coarser cells instead of never.

use super::cost::{Placement, delay_cost, drawn, net, priced};
use super::draws::root_watts;
use super::early::early_pieces;
use super::room::Room;
use super::{PoolChoice, Problem, Run, Suspension, Workload};
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};

/// The most (cells × cells that may be taken) of one search: 400 kB and a ms, of which a plan makes two for each
/// workload and pool. Two days ahead at a quarter of an hour takes 18,000. Four times as many made no plan of a thousand workloads better
/// by a thousandth, and took twice as long: what restarts cost is searched for by the second too ([`super::stops`]).
const STATES: i128 = 1 << 16;

/// The most cells of one search: each is looked up in the ledger.
const CELLS: i128 = 1 << 12;

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
    watts: i128,
    slot: Seconds,
    (from, to): (Moment, Moment),
) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut start = from;
    while start < to {
        let end = (start.floor(slot) + slot).min(to);
        let cost = match room.own_left(choice.pool) {
            None => price.integral(start, end),
            Some(own) => drawn(price, own, watts, start, end) / watts,
        };
        let cost = i64::try_from(cost).unwrap_or(i64::MAX / 4096);
        cells.push(Cell { start, end, cost, fits: room.fits(choice, start, end) });
        start = end;
    }
    cells
}

/// The grain of a search: the problem's slot, or the smallest multiple of it that keeps the search within its bounds.
fn grain(slot: Seconds, window: Seconds, length: Seconds) -> Seconds {
    let slot = i128::from(slot.0.max(1));
    let (window, length) = (i128::from(window.0.max(0)), i128::from(length.0.max(0)));
    let fits = |times: i128| {
        let (cells, need) = (window / (slot * times) + 2, length / (slot * times) + 1);
        // what is taken is as good as what is left away: the smaller of the two is what there is to choose
        cells <= CELLS && cells * (need.min((cells - need).max(0)) + 1) <= STATES
    };
    // some power of two is coarse enough; then the smallest that is, of what lies below it
    let mut enough = 1;
    while !fits(enough) {
        enough *= 2;
    }
    let mut too_fine = enough / 2;
    while enough - too_fine > 1 {
        let middle = too_fine + (enough - too_fine) / 2;
        if fits(middle) { enough = middle } else { too_fine = middle }
    }
    Seconds(i64::try_from(slot * enough).unwrap_or(i64::MAX / 4))
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
pub(super) fn in_slots(
    problem: &Problem,
    room: &impl Room,
    workload: &Workload,
    choice: PoolChoice,
    by: Moment,
) -> Option<Placement> {
    let from = problem.starts_from(workload);
    let (window, length) = (by - from, choice.pace.takes(workload.remaining));
    if window < length {
        return None;
    }
    let price = &problem.supply(choice.pool).price;
    let slot = grain(problem.slot, window, length);
    let watts = i128::from(root_watts(problem, choice.pool, choice.load).max(1));
    let all = cells(price, room, choice, watts, slot, (from, by));
    let switch = match workload.suspension {
        Suspension::ForSupply { cost } => cost.0,
        _ => 0,
    };
    let wait = i64::try_from(delay_cost(problem) / watts).unwrap_or(0);
    let best = [true, false]
        .into_iter()
        .filter_map(|take_first| {
            let search = Search { cells: &all, price, slot, length, switch, wait };
            search.run(workload, take_first)
        })
        .map(|taken| runs_of(&all, &taken, workload, choice, problem))
        .map(|runs| priced(problem, workload, runs))
        .min_by_key(|placement| (net(problem, room, workload, placement), placement.finish()));
    // tight against its deadline the cut cells at both ends may be needed: then early pieces find them
    best.or_else(|| {
        let runs = early_pieces(problem, room, workload, choice, from)?;
        Some(priced(problem, workload, runs)).filter(|placement| placement.late == Seconds::ZERO)
    })
}

struct Search<'a> {
    cells: &'a [Cell],
    price: &'a Steps<i64>,
    slot: Seconds,
    /// How long it takes at its point.
    length: Seconds,
    /// Seconds at its own draw that a restart costs.
    switch: i64,
    /// Cost units of a second of waiting, over its watts.
    wait: i64,
}

/// How a state was reached: the stage before it, and whether its cell was taken.
type Step = Option<(Stage, bool)>;

impl Search<'_> {
    /// Which cells to take; none where it can't be done with whole slots.
    fn run(&self, workload: &Workload, take_first: bool) -> Option<Vec<usize>> {
        let first = self.cells.first()?;
        if take_first && !first.fits {
            return None;
        }
        let runs_now = workload.running.is_some();
        let credit = if take_first { first.end - first.start } else { Seconds::ZERO };
        let left = (self.length - credit).max(Seconds::ZERO);
        let need = usize::try_from((left.0 + self.slot.0 - 1) / self.slot.0).ok()?;
        let stage = match (take_first, runs_now) {
            (true, _) => Stage::On,
            (false, true) => Stage::Off,
            (false, false) => Stage::Fresh,
        };
        if need == 0 {
            return Some(vec![0]);
        }
        let usable = |cell: &Cell| cell.fits && cell.end - cell.start == self.slot;
        let in_all = self.cells.iter().skip(1).filter(|cell| usable(cell)).count();
        // after each cell only some counts can still become `need`: a band as wide as what may be left away
        let spare = in_all.checked_sub(need)?;
        let width = (need.min(spare) + 1) * STAGES.len();
        let lowest = |seen: usize| seen.saturating_sub(spare).min(need);
        let mut seen = 0; // usable cells so far
        let mut cost = vec![NEVER; width];
        cost[stage as usize] = 0;
        // a band for each cell: for each state after it, how it was reached
        let mut from: Vec<Step> = Vec::with_capacity(self.cells.len() * width);
        let mut lows = vec![0];
        let mut done: Option<(i64, usize)> = None;
        for (i, cell) in self.cells.iter().enumerate().skip(1) {
            let (low, may) = (lowest(seen), usable(cell));
            let high = need.min(seen);
            seen += usize::from(may);
            let next_low = lowest(seen);
            let mut next = vec![NEVER; width];
            let band = from.len();
            from.resize(band + width, None);
            let restart = self.price.at(cell.start).saturating_mul(self.switch).max(0);
            let idle = self.wait.saturating_mul((cell.end - cell.start).0);
            for taken in low..=high {
                for stage in STAGES {
                    let so_far = cost[(taken - low) * STAGES.len() + stage as usize];
                    if so_far >= NEVER || taken == need {
                        continue;
                    }
                    let mut reach = |taken: usize, to: Stage, total: i64, step: (Stage, bool)| {
                        // below the band the rest is too short for what is left to take
                        let Some(place) = taken.checked_sub(next_low) else { return };
                        let state = place * STAGES.len() + to as usize;
                        if total < next[state] {
                            next[state] = total;
                            from[band + state] = Some(step);
                        }
                    };
                    let rests = if stage == Stage::Fresh { Stage::Fresh } else { Stage::Off };
                    reach(taken, rests, so_far.saturating_add(idle), (stage, false));
                    if may {
                        let restart = if stage == Stage::Off { restart } else { 0 };
                        let total = so_far.saturating_add(cell.cost).saturating_add(restart);
                        reach(taken + 1, Stage::On, total, (stage, true));
                    }
                }
            }
            lows.push(next_low);
            cost = next;
            let at_need = (need - next_low) * STAGES.len() + Stage::On as usize;
            if let Some(total) = cost.get(at_need).copied().filter(|total| *total < NEVER)
                && done.is_none_or(|(least, _)| total < least)
            {
                done = Some((total, i));
            }
        }
        let (_, last) = done?;
        let mut taken = Vec::new();
        let (mut count, mut stage) = (need, Stage::On);
        for i in (1..=last).rev() {
            let state = (count - lows[i]) * STAGES.len() + stage as usize;
            let (before, took) = from[(i - 1) * width + state]?;
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
            _ => runs.push(Run { pool: choice.pool, start: cell.start, end: cell.end, pace: choice.pace }),
        }
    }
    let held: Seconds = runs.iter().map(|run| run.end - run.start).sum();
    let excess = held - choice.pace.takes(workload.remaining);
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
