//! Prices under which what each workload would choose by itself fits together, and the bound that they give.
//!
//! Whatever the prices are, what all workloads pay at their own best places, less what all that is scarce would fetch, is never more
//! than the cost of a plan that keeps caps and deadlines: a bound (Lagrange). They are found in three steps, each of a fixed number of
//! rounds, so that they are the same on every machine:
//!
//! 1. where there are very many workloads, for a part of them ([`Crowd::part`]);
//! 2. by sweeps (`sweeps`), which leave choices that nearly fit together;
//! 3. by the volume algorithm (Barahona and Anbil 2000), a subgradient method that follows the mean of what was chosen so far: near the
//!    optimum it raises the bound further than sweeps do.

use super::ScarcePrice;
use super::crowd::{Crowd, Reached};
use super::prices::{Market, Prices};
use super::sweeps::{Choice, sweep};

/// The most rounds of the third step.
const ROUNDS: usize = 300;

/// How many prices are looked at in all of these rounds: a tenth of a second on one core.
const LOOKS: usize = 10_000_000;

/// How many sweeps over a part of all workloads, over all of them after that, and over all of them where there are few.
const SWEEPS: (usize, usize, usize) = (10, 3, 12);

/// So much of the newest choices goes into the mean at most.
const NEWEST: f64 = 0.1;

/// After so many rounds without a better bound steps get shorter by this, and after so many the search ends. Measured on 1,000
/// jobs: 300 rounds end nearer to the optimum than 600 do with 20 rounds and 0.66.
const PATIENCE: (u32, f64, u32) = (4, 0.7, 60);

/// How long steps are at first, as a part of those that would lead to the optimum if all agreed (Polyak 1969): short ones, since the
/// sweeps end near to it.
const FIRST: f64 = 0.02;

/// How far above the best bound the optimum is taken to lie, as a part of it, where the plan that is known says less or more.
const AHEAD: (f64, f64) = (1e-6, 0.05);

/// The most that steps are lengthened, as long as they do good.
const STRIDE: f64 = 50.0;

/// A bound is given away by so much, for what is lost by rounding in its sums.
const ROUNDING: f64 = 1e-9;

/// The best prices found, their bound in cost units, and what was chosen under them.
#[derive(Debug)]
pub(super) struct Found {
    pub prices: Prices,
    pub scarce: Vec<ScarcePrice>,
    pub bound: f64,
    /// For each of the market's offers the cells that it took in the last sweep. Empty where nothing was searched.
    pub choices: Vec<Choice>,
}

/// The best prices that are found. `aim` is what a plan costs that is known, asked for only where there is something to search; the
/// search ends once the bound is `enough`.
pub(super) fn search(market: &Market<'_>, aim: impl FnOnce() -> Option<f64>, enough: f64) -> Found {
    let all = Crowd::all(market);
    let mut reached = all.start();
    let mut choices = Vec::new();
    if reached.bound < enough && all.is_over(&reached.used) {
        let sweeps = match all.part() {
            None => SWEEPS.2,
            Some(part) => {
                let mut of_part = part.start();
                sweep(&part, &mut of_part, SWEEPS.0);
                of_part.used.iter_mut().for_each(|used| *used /= part.part);
                let (bound, _) = all.value(&of_part.prices);
                if bound > reached.bound {
                    reached = Reached { bound, ..of_part };
                }
                SWEEPS.1
            }
        };
        choices = sweep(&all, &mut reached, sweeps);
        if reached.bound < enough {
            all.climb(&mut reached, aim(), enough);
        }
    }
    let bound = reached.bound - reached.bound.abs() * ROUNDING - 1.0;
    Found { prices: market.prices(&reached.prices), scarce: market.worth(&reached.prices), bound, choices }
}

impl Crowd<'_> {
    /// What there is too much of, weighted by how long.
    fn over(&self, used: &[f64]) -> Vec<f64> {
        used.iter().zip(self.free()).zip(self.lengths()).map(|((used, free), length)| (used - free) * length).collect()
    }

    /// Moves the prices up the bound, for some rounds.
    fn climb(&self, Reached { prices: best, bound, used: mean }: &mut Reached, aim: Option<f64>, enough: f64) {
        let looks: usize = self.offers.iter().map(|i| self.market.offers[*i].looks()).sum();
        let rounds = (LOOKS / looks.max(1)).min(ROUNDS);
        let (mut stride, mut bad) = (FIRST, 0);
        let ranges = self.market.ranges();
        let square = |direction: &[f64], prices: &[f64]| -> f64 {
            let moves = direction.iter().zip(prices.iter().zip(&ranges)).filter(|(over, (price, (least, most)))| {
                **over > 0.0 && *price < most || **over < 0.0 && *price > least
            });
            moves.map(|(over, _)| over * over).sum()
        };
        if square(&self.over(mean), best) <= 0.0 {
            // what sweeps end with fits together, though under their prices not all would choose it
            (_, *mean) = self.value(best);
        }
        for _ in 0..rounds {
            let direction = self.over(mean);
            let square = square(&direction, best);
            if square <= 0.0 {
                break;
            }
            // a bound near nothing says nothing of how far it is to the optimum
            let far = aim.map_or(0.0, f64::abs);
            let scale = if bound.abs() < far / 2.0 { far } else { bound.abs() };
            let ahead = aim.map_or(f64::INFINITY, |aim| aim - *bound).clamp(scale * AHEAD.0, scale * AHEAD.1) + 1.0;
            let step = stride * ahead / square;
            let next: Vec<f64> = best
                .iter()
                .zip(&direction)
                .zip(&ranges)
                .map(|((price, over), (least, most))| (price + step * over).clamp(*least, *most))
                .collect();
            let (reached, used) = self.value(&next);
            let newest = self.over(&used);
            let agrees: f64 = newest.iter().zip(&direction).map(|(a, b)| a * b).sum();
            let part = newest_part(&newest, &direction);
            for (mean, used) in mean.iter_mut().zip(&used) {
                *mean += part * (used - *mean);
            }
            if reached > *bound {
                (*best, *bound, bad) = (next, reached, 0);
                if agrees > 0.0 {
                    stride = f64::min(stride * 1.1, STRIDE);
                }
                if *bound >= enough {
                    break;
                }
            } else {
                bad += 1;
                if bad % PATIENCE.0 == 0 {
                    stride *= PATIENCE.1;
                }
                if bad == PATIENCE.2 {
                    break;
                }
            }
        }
    }
}

/// How much of the newest choices makes the mean best: what is over then is least.
fn newest_part(newest: &[f64], mean: &[f64]) -> f64 {
    let (mut up, mut down) = (0.0, 0.0);
    for (new, old) in newest.iter().zip(mean) {
        up += old * (old - new);
        down += (old - new) * (old - new);
    }
    if down <= 0.0 { NEWEST } else { (up / down).clamp(NEWEST / 10.0, NEWEST) }
}
