//! Policies of others, rebuilt from their papers, so that ours can be held against them on the same jobs, signals and caps.
//!
//! Each decides when a workload comes, and stays with that. None of them knows a cap: where what it chose does not fit, it queues
//! from the start that it chose, in order of arrival.
//!
//! What `heliotrope compare` and the evaluation report of them is checked against the published table of their authors' own
//! programs (`tests/published.rs`).

use super::draft::Draft;
use super::place::{self, Placement, Room};
use super::seconds::join;
use super::{Policy, PoolChoice, PowerPlan, Problem, Run, Why, Workload};
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};

/// A published policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Starts when the intensity is lowest within the time that it may wait, the first such moment. Knows no length. Lowest Carbon
    /// Slot in Hanafy et al., *Going Green for Less Green* (GAIA), ASPLOS 2024.
    LowestSlot,
    /// Starts at that whole hour from its arrival from which its expected length costs least. Lowest Carbon Window there; with the
    /// true length it is their oracle.
    LowestWindow,
    /// Starts at that whole hour from which it saves most for each second until it is done. Carbon-Time there, the policy that they
    /// propose.
    CarbonTime,
    /// Runs while the intensity is below the 30th percentile of the day that follows its arrival, and without a break once it has
    /// waited as long as it may. Souza et al., *Ecovisor*, ASPLOS 2023, with the threshold as GAIA has it.
    Ecovisor,
    /// Runs in the seconds that cost least until it must be done, knowing its length. Wiesner et al., *Let's Wait Awhile*,
    /// Middleware 2021, the interrupting scheduler.
    WaitAwhile,
}

/// Starts are tried at whole hours from the arrival, as GAIA does.
const TRIES_EACH: Seconds = Seconds::HOUR;

/// What a threshold looks at, and its place in that, in thousandths.
const THRESHOLD_OVER: Seconds = Seconds::DAY;
const THRESHOLD_PERMILLE: i64 = 300;

impl Policy for Published {
    fn name(&self) -> &'static str {
        match self {
            Self::LowestSlot => "lowest-slot",
            Self::LowestWindow => "lowest-window",
            Self::CarbonTime => "carbon-time",
            Self::Ecovisor => "ecovisor",
            Self::WaitAwhile => "wait-awhile",
        }
    }

    fn plan(&self, problem: &Problem) -> PowerPlan {
        let mut draft = Draft::new(problem, |workload| self.breaks() && workload.is_divisible());
        let mut waiting: Vec<usize> = draft.unplaced().collect();
        waiting.sort_by_cached_key(|i| {
            let workload = draft.workload(*i);
            (std::cmp::Reverse(workload.priority), workload.arrival, workload.id.clone())
        });
        // 1. What was chosen stands, where there is still room for it.
        waiting.retain(|&i| {
            let workload = draft.workload(i);
            let Some((runs, why)) = super::heliotrope::previous_runs(problem, workload) else { return true };
            let stands = draft.has_room(i, &runs);
            if stands {
                draft.put(i, place::priced(problem, workload, runs), why);
            }
            !stands
        });
        // 2. What is new chooses, and queues where that does not fit.
        for i in waiting {
            let workload = draft.workload(i);
            // all of them know one point only: full
            let choices = place::pools(workload).filter_map(|points| points.first());
            let choices = choices.filter(|choice| place::is_open(workload, choice));
            let placed = choices.filter_map(|choice| self.place(problem, &draft.ledger, workload, *choice));
            if let Some(placement) = placed.min_by_key(|placement| (placement.finish(), placement.cost)) {
                draft.put(i, placement, Why::Cheapest);
            }
        }
        draft.into_plan_without_bound(self.name())
    }
}

impl Published {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::LowestSlot, Self::LowestWindow, Self::CarbonTime, Self::Ecovisor, Self::WaitAwhile];

    /// Does it stop what runs, to go on later?
    fn breaks(self) -> bool {
        matches!(self, Self::Ecovisor | Self::WaitAwhile)
    }

    fn place(self, problem: &Problem, room: &impl Room, workload: &Workload, choice: PoolChoice) -> Option<Placement> {
        let spans = self.choose(problem, workload, &problem.supply(choice.pool).price);
        let chosen: Vec<Run> = spans.into_iter().map(|(start, end)| Run::full(choice.pool, start, end)).collect();
        let first = chosen.first()?.start;
        let runs = if chosen.iter().all(|run| room.fits(choice, run.start, run.end)) {
            chosen
        } else if chosen.len() > 1 {
            place::early_pieces(problem, room, workload, choice, first)?
        } else {
            vec![place::whole_run(room, workload, choice, first)?]
        };
        Some(place::priced(problem, workload, runs))
    }

    /// When it would run if nothing were in the way.
    fn choose(self, problem: &Problem, workload: &Workload, price: &Steps<i64>) -> Vec<(Moment, Moment)> {
        let (now, length) = (problem.now, workload.remaining);
        let wait = workload.start_by.map_or(Seconds::ZERO, |latest| (latest - now).max(Seconds::ZERO));
        let whole = |start: Moment| vec![(start, start + length)];
        match self {
            Self::LowestSlot => {
                let options = price.pieces(now, now + wait + Seconds(1));
                whole(options.min_by_key(|(start, _, price)| (*price, *start)).map_or(now, |(start, ..)| start))
            }
            Self::LowestWindow => {
                let cost = |start: &Moment| (price.integral(*start, *start + length), *start);
                whole(tries(now, wait).min_by_key(cost).unwrap_or(now))
            }
            Self::CarbonTime => {
                let at_once = price.integral(now, now + length);
                let mut best = (now, 0, 1);
                for start in tries(now, wait) {
                    let saves = at_once - price.integral(start, start + length);
                    let until_done = i128::from((start + length - now).0.max(1));
                    if saves * best.2 > best.1 * until_done {
                        best = (start, saves, until_done);
                    }
                }
                whole(best.0)
            }
            Self::Ecovisor if workload.is_divisible() => below(price, now, length, wait),
            Self::WaitAwhile if workload.is_divisible() => cheapest_seconds(price, now, length, wait),
            Self::Ecovisor | Self::WaitAwhile => whole(now),
        }
    }
}

fn tries(now: Moment, wait: Seconds) -> impl Iterator<Item = Moment> {
    (0..=wait.0 / TRIES_EACH.0).map(move |n| now + Seconds(n * TRIES_EACH.0))
}

/// While the price is below the threshold, and without a break once all of `wait` is used up.
fn below(price: &Steps<i64>, now: Moment, length: Seconds, wait: Seconds) -> Vec<(Moment, Moment)> {
    let threshold = threshold(price, now);
    let (mut left, mut wait) = (length, wait);
    let mut spans = Vec::new();
    for (start, end, price) in price.pieces(now, now + length + wait) {
        let starts = match price < threshold {
            true => start,
            false => {
                let waits = (end - start).min(wait);
                wait -= waits;
                start + waits
            }
        };
        let ends = end.min(starts + left);
        left -= (ends - starts).max(Seconds::ZERO);
        join(&mut spans, (starts, ends));
    }
    spans
}

/// The price that so much of the next day is below.
fn threshold(price: &Steps<i64>, now: Moment) -> i64 {
    let mut prices: Vec<(i64, Seconds)> =
        price.pieces(now, now + THRESHOLD_OVER).map(|(start, end, price)| (price, end - start)).collect();
    prices.sort_unstable();
    let mut below = Seconds(THRESHOLD_OVER.0 * THRESHOLD_PERMILLE / 1000);
    for (price, span) in &prices {
        if below < *span {
            return *price;
        }
        below -= *span;
    }
    prices.last().map_or(i64::MAX, |(price, _)| *price)
}

/// The seconds that cost least, the earliest of those that cost the same.
fn cheapest_seconds(price: &Steps<i64>, now: Moment, length: Seconds, wait: Seconds) -> Vec<(Moment, Moment)> {
    let mut pieces: Vec<(Moment, Moment, i64)> = price.pieces(now, now + length + wait).collect();
    pieces.sort_by_key(|(start, _, price)| (*price, *start));
    let mut left = length;
    let mut taken: Vec<(Moment, Moment)> = Vec::new();
    for (start, end, _) in pieces {
        let end = end.min(start + left);
        left -= end - start;
        taken.push((start, end));
    }
    taken.sort_unstable();
    let mut spans = Vec::new();
    taken.into_iter().for_each(|span| join(&mut spans, span));
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    /// A price for each hour from now on.
    fn hourly(prices: &[i64]) -> Steps<i64> {
        Steps::new(prices[0], (0..).zip(prices).map(|(n, price)| (Moment(n * HOUR), *price)))
    }

    fn hours(spans: &[(Moment, Moment)]) -> Vec<(f64, f64)> {
        let hours = |moment: Moment| moment.0 as f64 / HOUR as f64;
        spans.iter().map(|(start, end)| (hours(*start), hours(*end))).collect()
    }

    #[test]
    fn the_cheapest_seconds_are_taken_earliest_first_and_joined() {
        let price = hourly(&[5, 3, 3, 9, 1, 3]);
        let taken = cheapest_seconds(&price, Moment(0), Seconds(5 * HOUR / 2), Seconds(7 * HOUR / 2));
        assert_eq!(hours(&taken), [(1.0, 2.5), (4.0, 5.0)]);
    }

    #[test]
    fn a_threshold_is_kept_until_all_waiting_is_used_up() {
        let mut day = [10; 24];
        day[2..10].fill(1); // a third of the day is cheap
        let price = hourly(&day);
        assert_eq!(threshold(&price, Moment(0)), 1, "and nothing is below it");
        day[9] = 2;
        day[2] = 0;
        let price = hourly(&day);
        assert_eq!(threshold(&price, Moment(0)), 2);
        let runs =
            |length: i64, wait: i64| hours(&below(&price, Moment(0), Seconds(length * HOUR), Seconds(wait * HOUR)));
        assert_eq!(runs(3, 24), [(2.0, 5.0)]);
        assert_eq!(runs(9, 4), [(2.0, 9.0), (11.0, 13.0)]);
        assert_eq!(runs(3, 1), [(1.0, 4.0)]);
        assert_eq!(runs(3, 0), [(0.0, 3.0)]);
    }
}
