//! Policies of others, rebuilt from their papers, so that ours can be held against them on the same jobs, signals and caps.
//!
//! Each decides when a workload comes, and stays with that. None of them knows a cap: where what it chose does not fit, it queues
//! from the start that it chose, in order of arrival. Those of [`Slowing`] are the others: they keep caps by slowing what runs.
//!
//! What `heliotrope compare` and the evaluation report of them is checked against the published table of their authors' own
//! programs (`tests/published.rs`).

mod scaler;
mod slowing;

pub use slowing::Slowing;

use super::cost::{self, Placement};
use super::draft::Draft;
use super::early;
use super::room::Room;
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
    /// Suspended while the intensity is above a threshold, resumed below it, and without a break once it has waited as long as it may:
    /// what Hanafy et al., *CarbonScaler*, Proc. ACM Meas. Anal. Comput. Syst. 7(3), 2023, hold theirs against. Where the threshold lies
    /// is our choice: a quarter of the week that follows is below it, so a day that is dear throughout has no run.
    SuspendResume,
    /// Buys each hour of its work when the price is at or below what that hour may cost, and the last ones at any price. Of the future
    /// it knows the lowest and the highest price of the week that follows, and no more; the thresholds are the ones that lose least in the worst
    /// case. Lorenz, Panagiotou, Steger, *Optimal Algorithms for k-Search with Application in Option Pricing*, Algorithmica 55(2), 2009, used
    /// for carbon by Lechowicz et al., *The Online Pause and Resume Problem*, Proc. ACM Meas. Anal. Comput. Syst. 7(3), 2023.
    PriceThreshold,
    /// Chooses for each hour how fast it works there, or not at all, the most work for its carbon first, knowing its length and its
    /// curve. Hanafy et al., *CarbonScaler*, Proc. ACM Meas. Anal. Comput. Syst. 7(3), 2023. There the steps are servers of an elastic
    /// job, here the operating points of accelerators, whose number stays the same. It is told its curve; measuring it, and planning
    /// anew where a forecast or the curve was wrong, is left away.
    CarbonScaler,
}

/// Starts are tried at whole hours from the arrival, as GAIA does.
const TRIES_EACH: Seconds = Seconds::HOUR;

/// What a threshold looks at, and how much of that is below it, in thousandths: as GAIA has it for Ecovisor.
const ECOVISOR: (Seconds, i64) = (Seconds::DAY, 300);

/// The same of the threshold that ignores single days: a guess.
const SUSPEND_RESUME: (Seconds, i64) = (WEEK, 250);

const WEEK: Seconds = Seconds(7 * Seconds::DAY.0);

impl Policy for Published {
    fn name(&self) -> &'static str {
        match self {
            Self::LowestSlot => "lowest-slot",
            Self::LowestWindow => "lowest-window",
            Self::CarbonTime => "carbon-time",
            Self::Ecovisor => "ecovisor",
            Self::WaitAwhile => "wait-awhile",
            Self::SuspendResume => "suspend-resume",
            Self::PriceThreshold => "price-threshold",
            Self::CarbonScaler => "carbon-scaler",
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
                draft.put(i, cost::priced(problem, workload, runs), why);
            }
            !stands
        });
        draft.order().sort(&mut waiting);
        // 2. What is new chooses, and queues where that does not fit.
        for i in waiting {
            let found = draft.search(i, |room, workload| {
                let pools = early::pools(workload).filter(|points| early::is_open(workload, &points[0]));
                let placed = pools.filter_map(|points| self.place(problem, room, workload, points));
                placed.min_by_key(|placement| (placement.finish(), placement.cost))
            });
            if let Some(placement) = found {
                draft.put(i, placement, Why::Cheapest);
            }
        }
        draft.into_plan_without_bound(self.name())
    }
}

impl Published {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::LowestSlot,
        Self::LowestWindow,
        Self::CarbonTime,
        Self::Ecovisor,
        Self::WaitAwhile,
        Self::SuspendResume,
        Self::PriceThreshold,
        Self::CarbonScaler,
    ];

    /// Does it stop what runs, to go on later?
    fn breaks(self) -> bool {
        match self {
            Self::LowestSlot | Self::LowestWindow | Self::CarbonTime => false,
            Self::Ecovisor | Self::WaitAwhile | Self::SuspendResume | Self::PriceThreshold | Self::CarbonScaler => true,
        }
    }

    /// As it chooses where that fits, else at full from the start that it chose, as soon as there is room.
    fn place(
        self,
        problem: &Problem,
        room: &impl Room,
        workload: &Workload,
        points: &[PoolChoice],
    ) -> Option<Placement> {
        let pool = points.first()?.pool;
        let chosen: Vec<Run> = match self {
            Self::CarbonScaler => scaler::choose(problem, workload, points),
            _ => {
                let spans = self.choose(problem, workload, &problem.price_alone(pool));
                spans.into_iter().map(|(start, end)| Run::full(pool, start, end)).collect()
            }
        };
        let first = chosen.first()?.start;
        let fits = |run: &Run| {
            let point = points.iter().find(|point| point.pace == run.pace);
            point.is_some_and(|point| room.fits(*point, run.start, run.end))
        };
        let queued = |choice: &PoolChoice| early::queued(problem, room, workload, *choice, first, chosen.len() > 1);
        // slower only where it is never done at full, and may be slowed
        let few = if self == Self::CarbonScaler && workload.finish_by.is_some() { points.len() } else { 1 };
        let runs = if chosen.iter().all(fits) && room.refused(&chosen).is_empty() {
            chosen
        } else {
            points.iter().take(few).find_map(queued)?
        };
        Some(cost::priced(problem, workload, runs))
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
            Self::CarbonScaler => whole(now), // it chooses points too: `scaler`
            _ if !workload.is_divisible() => whole(now),
            Self::WaitAwhile => cheapest_seconds(price, now, length, wait),
            Self::PriceThreshold => {
                let thresholds = reservations(price, now, length);
                let of = |done: Seconds| usize::try_from(done.0 / Seconds::HOUR.0).ok().and_then(|i| thresholds.get(i));
                below(price, now, length, wait, &|done| of(done).copied().unwrap_or(i64::MAX))
            }
            Self::Ecovisor | Self::SuspendResume => {
                let over = if self == Self::Ecovisor { ECOVISOR } else { SUSPEND_RESUME };
                let threshold = threshold(price, now, over);
                below(price, now, length, wait, &|_| threshold)
            }
        }
    }
}

fn tries(now: Moment, wait: Seconds) -> impl Iterator<Item = Moment> {
    (0..=wait.0 / TRIES_EACH.0).map(move |n| now + Seconds(n * TRIES_EACH.0))
}

/// While the price is below the threshold for what is done so far, which may change with each hour done; and without a break once
/// all of `wait` is used up.
fn below(
    price: &Steps<i64>,
    now: Moment,
    length: Seconds,
    wait: Seconds,
    threshold: &dyn Fn(Seconds) -> i64,
) -> Vec<(Moment, Moment)> {
    let (mut done, mut wait) = (Seconds::ZERO, wait);
    let mut spans = Vec::new();
    for (mut at, end, price) in price.pieces(now, now + length + wait) {
        while at < end && done < length {
            let left_of_hour = Seconds(Seconds::HOUR.0 - done.0 % Seconds::HOUR.0);
            if price >= threshold(done) && wait > Seconds::ZERO {
                let waits = (end - at).min(wait);
                wait -= waits;
                at = at + waits;
            } else {
                let runs = (end - at).min(length - done).min(left_of_hour);
                join(&mut spans, (at, at + runs));
                done += runs;
                at = at + runs;
            }
        }
    }
    spans
}

/// The price that so much of what follows is below.
fn threshold(price: &Steps<i64>, now: Moment, (over, permille): (Seconds, i64)) -> i64 {
    let mut prices: Vec<(i64, Seconds)> =
        price.pieces(now, now + over).map(|(start, end, price)| (price, end - start)).collect();
    prices.sort_unstable();
    let mut below = Seconds(over.0 * permille / 1000);
    for (price, span) in &prices {
        if below < *span {
            return *price;
        }
        below -= *span;
    }
    prices.last().map_or(i64::MAX, |(price, _)| *price)
}

/// More hours than this share their thresholds: the differences between them are lost in rounding.
const MOST_RESERVATIONS: usize = 1000;

/// For each hour of work the price below which it is bought: falling from M/s to m, where all prices lie in [m, M] and s is the ratio to
/// the best that is kept in the worst case, (1 − m/M) ÷ (1 − 1/s) = (1 + 1/(s·k))^k with k hours in all.
fn reservations(price: &Steps<i64>, now: Moment, length: Seconds) -> Vec<i64> {
    let hours =
        usize::try_from((length.0 + Seconds::HOUR.0 - 1) / Seconds::HOUR.0).unwrap_or(1).clamp(1, MOST_RESERVATIONS);
    let most = price.highest(now, now + WEEK) as f64;
    // ratios are of prices above zero: what is free or better is taken as next to nothing
    let least = (price.lowest(now, now + WEEK) as f64).max(most / 1e6);
    if most <= 0.0 || least >= most {
        return vec![i64::MAX; hours];
    }
    let k = hours as f64;
    // multiplied out, since `powi` may round otherwise elsewhere
    let power = |base: f64, times: usize| (0..times).fold(1.0, |power, _| power * base);
    let (mut low, mut high) = (1.0, most / least);
    for _ in 0..100 {
        // the left side falls in s, the right side too, and slower
        let s = f64::midpoint(low, high);
        let missing = (1.0 - least / most) / (1.0 - 1.0 / s) - power(1.0 + 1.0 / (s * k), hours);
        if missing > 0.0 { low = s } else { high = s }
    }
    let s = high;
    let bought = |i: usize| most * (1.0 - (1.0 - 1.0 / s) * power(1.0 + 1.0 / (s * k), i));
    // at or below, in whole units
    (0..hours).map(|i| bought(i) as i64 + 1).collect()
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
        assert_eq!(threshold(&price, Moment(0), ECOVISOR), 1, "and nothing is below it");
        day[9] = 2;
        day[2] = 0;
        let price = hourly(&day);
        let known = threshold(&price, Moment(0), ECOVISOR);
        assert_eq!(known, 2);
        let runs = |length: i64, wait: i64| {
            hours(&below(&price, Moment(0), Seconds(length * HOUR), Seconds(wait * HOUR), &|_| known))
        };
        assert_eq!(runs(3, 24), [(2.0, 5.0)]);
        assert_eq!(runs(9, 4), [(2.0, 9.0), (11.0, 13.0)]);
        assert_eq!(runs(3, 1), [(1.0, 4.0)]);
        assert_eq!(runs(3, 0), [(0.0, 3.0)]);
    }

    #[test]
    fn a_week_decides_when_to_resume_and_not_a_day() {
        // the first day is dear throughout, the second is not
        let day = |low, high| (0..24).map(move |hour| if hour < 12 { high } else { low });
        let prices: Vec<i64> = day(8, 9).chain((0..6).flat_map(|_| day(1, 9))).collect();
        let price = hourly(&prices);
        assert_eq!((threshold(&price, Moment(0), ECOVISOR), threshold(&price, Moment(0), SUSPEND_RESUME)), (8, 1));
        let price = hourly(&prices.iter().map(|price| if *price == 1 { 2 } else { *price }).collect::<Vec<_>>());
        let limit = threshold(&price, Moment(0), SUSPEND_RESUME) + 1;
        let runs = below(&price, Moment(0), Seconds(2 * HOUR), Seconds(40 * HOUR), &|_| limit);
        assert_eq!(hours(&runs), [(36.0, 38.0)]);
    }

    #[test]
    fn hours_are_bought_at_falling_prices_that_meet_the_equation() {
        let (least, most) = (100_000_000_i64, 900_000_000_i64);
        let mut prices = vec![most; 168];
        prices[100] = least;
        let thresholds = reservations(&hourly(&prices), Moment(0), Seconds(5 * HOUR));
        assert_eq!(thresholds.len(), 5);
        assert!(thresholds.windows(2).all(|pair| pair[0] > pair[1]), "{thresholds:?}");
        let s = most as f64 / thresholds[0] as f64;
        let sides = (1.0 - 1.0 / 9.0) / (1.0 - 1.0 / s) - (1.0 + 1.0 / (5.0 * s)).powi(5);
        assert!(sides.abs() < 1e-6, "{sides}");
        // the one after the last would be the lowest price: no threshold is below it
        let next = most as f64 * (1.0 - (1.0 - 1.0 / s) * (1.0 + 1.0 / (5.0 * s)).powi(5));
        assert!((next - least as f64).abs() < 100.0, "{next}");
        assert!(thresholds[4] > least);
    }

    #[test]
    fn what_was_not_bought_in_time_is_bought_at_any_price() {
        let falling = |done: Seconds| 5 - done.0 / HOUR;
        let price = hourly(&[9, 4, 4, 3, 9, 9, 9, 9]);
        let runs = |wait: i64| hours(&below(&price, Moment(0), Seconds(3 * HOUR), Seconds(wait * HOUR), &falling));
        // the first at 4 is below 5; the second at 4 is not below 4, at 3 it is; the third at no price that comes
        assert_eq!(runs(4), [(1.0, 2.0), (3.0, 4.0), (6.0, 7.0)]);
        assert_eq!(runs(0), [(0.0, 3.0)]);
        // equal prices, none above zero, and no end of work: nothing to choose, and no panic
        for prices in [[7_i64; 4], [0; 4], [-5; 4]] {
            let all = reservations(&hourly(&prices), Moment(0), Seconds(i64::MAX / 8));
            assert!(all.iter().all(|threshold| *threshold == i64::MAX));
        }
        let mixed = reservations(&hourly(&[-5, 3, 9]), Moment(0), Seconds(i64::MAX / 8));
        assert!(mixed.len() == MOST_RESERVATIONS && mixed.iter().all(|threshold| *threshold <= 10));
    }
}
