//! Prices that rise with what is used, under which one workload after the other takes its best place.
//!
//! Where all choose at once, all crowd into what is cheapest and then into the next, since to work that can wait most hours are
//! worth nearly the same. Each in turn sees what those before it took, and what it takes makes that dearer for those after it:
//! after a few sweeps over all of them nearly nothing is used beyond what is free. The price of a thing in a cell is
//!
//! ```text
//! price = max(0, known + steepness × (used − free))      after each sweep: known = max(0, known + steepness × (used − free))
//! ```
//! which is the method of multipliers (Hestenes 1969, Powell 1969), its inner problem solved by turns.

use super::alone::{Scratch, Taken, choose};
use super::crowd::{Crowd, Reached};
use super::prices::Way;
use crate::core::chance::random;

/// How steeply prices rise: one that is used twice over costs so many times what the price of supply varies by.
const STEEPNESS: f64 = 1.0;

/// What one workload took, in cells.
pub(super) type Choice = Vec<Taken>;

/// A thing that a pool's loads use: its prices' place, and what of it a load takes.
struct Thing {
    first: usize,
    of: Use,
}

enum Use {
    /// Watts of a domain: what a watt in the pool is there.
    Watts(f64),
    Accelerators,
    /// Watts that are paid for, where a part of them is generated on the site.
    Paid,
}

impl Thing {
    fn uses(&self, watts: f64, accelerators: f64, paid: f64) -> f64 {
        match self.of {
            Use::Watts(there) => there * watts,
            Use::Accelerators => accelerators,
            Use::Paid => paid,
        }
    }
}

/// Some sweeps from prices that are known. Says what each took in the end, in the order of the crowd's offers; what was reached gets
/// the new prices where they are better.
pub(super) fn sweep(crowd: &Crowd<'_>, reached: &mut Reached, sweeps: usize) -> Vec<Choice> {
    let market = crowd.market;
    let cells = market.cells();
    let lengths = &market.lengths[..cells];
    let free: Vec<f64> = crowd.free().collect();
    let steepness = steepness(crowd, reached, &free);
    let (things, ranges) = (things(crowd, &free), market.ranges());
    let mut prices = reached.prices.clone();
    let mut used = vec![0.0; free.len()];
    let mut choices: Vec<Choice> = vec![Vec::new(); crowd.offers.len()];
    // in an order that has nothing to do with what they are
    let mut order: Vec<usize> = (0..crowd.offers.len()).collect();
    order.sort_by_key(|n| (random(market.problem.seed, crowd.offers[*n] as u64), *n));
    let mut scratch = Scratch::default();
    for sweep in 0..sweeps {
        for (turn, n) in order.iter().enumerate() {
            // the first time round only those before it have chosen: they may have their part of what is free
            let part = if sweep == 0 { (turn as f64 + 0.5) / order.len() as f64 } else { 1.0 };
            let offer = &market.offers[crowd.offers[*n]];
            let first = market.budgets.first();
            let count = |choice: &[Taken], used: &mut [f64], sign: f64| {
                for taken in choice.iter().filter(|taken| taken.cell < cells) {
                    let share = sign * taken.seconds / lengths[taken.cell];
                    for thing in &things[taken.pool] {
                        used[thing.first + taken.cell] +=
                            share * thing.uses(taken.watts, taken.accelerators, taken.paid);
                    }
                    let spent = market.budgets.uses(offer, (taken.pool, taken.watts, taken.paid), taken.cell);
                    for (price, watts) in spent {
                        let at = first + price;
                        used[at] += sign * taken.seconds * watts / market.price_lengths[at];
                    }
                }
            };
            count(&choices[*n], &mut used, -1.0);
            let unit = |way: &Way, cell: usize| {
                if cell >= cells {
                    return market.supply(way, cell);
                }
                // where something is generated on the site the supply is one of the things
                let has_own = market.problem.supplies[market.problem.pools[way.pool].supply].own.is_some();
                let mut unit = if has_own { 0.0 } else { market.supply(way, cell) };
                for thing in &things[way.pool] {
                    let (at, uses) = (thing.first + cell, thing.uses(way.watts, way.accelerators, way.paid));
                    // its own use counts by half: what it pays is what the price is in the mean while it takes
                    let over = (used[at] + uses / 2.0) / part - free[at];
                    unit += (prices[at] + steepness[at] * over).clamp(ranges[at].0, ranges[at].1) * uses;
                }
                for (price, watts) in market.budgets.uses(offer, (way.pool, way.watts, way.paid), cell) {
                    let at = first + price;
                    let over = used[at] / part - free[at];
                    unit += (prices[at] + steepness[at] * over).clamp(ranges[at].0, ranges[at].1) * watts;
                }
                unit
            };
            choose(market, unit, offer, crowd.offers[*n], &mut scratch);
            count(&scratch.taken, &mut used, 1.0);
            choices[*n].clone_from(&scratch.taken);
        }
        for (at, price) in prices.iter_mut().enumerate() {
            *price = (*price + steepness[at] * (used[at] - free[at])).clamp(ranges[at].0, ranges[at].1);
        }
    }
    let (bound, _) = crowd.value(&prices);
    if bound > reached.bound {
        *reached = Reached { prices, bound, used };
    }
    choices
}

/// How steep each price is. Of watts that is measured by what the price of supply varies by, of accelerators by that of the watts which
/// they draw in the mean.
fn steepness(crowd: &Crowd<'_>, reached: &Reached, free: &[f64]) -> Vec<f64> {
    let market = crowd.market;
    let cells = market.cells();
    let lengths = &market.lengths[..cells];
    let sum = |each: &[f64]| each.iter().zip(lengths).map(|(each, length)| each * length).sum::<f64>();
    let all: f64 = lengths.iter().sum();
    let spread = (0..market.supplies.len()).map(|supply| market.spread(supply)).fold(0.0, f64::max);
    let domains = market.problem.tree.len();
    let mut steepness = Vec::with_capacity(free.len());
    let budgets = market.budgets.first();
    for (thing, (used, free)) in reached.used[..budgets].chunks(cells).zip(free[..budgets].chunks(cells)).enumerate() {
        let used = sum(used);
        let of_one = match thing.checked_sub(domains) {
            None => 1.0,
            Some(pool) if pool >= market.chains.len() => 1.0,
            Some(pool) => {
                let (domain, there) = market.chains[pool].first().copied().unwrap_or((0, 1.0));
                let watts = sum(&reached.used[domain * cells..(domain + 1) * cells]) / there;
                if used > 0.0 { watts / used } else { 0.0 }
            }
        };
        // where nothing is free in a cell it would be infinite
        let least = (sum(free).max(used) / all / 10.0).max(1e-9);
        steepness.extend(free.iter().map(|free| STEEPNESS * spread * of_one / free.max(least)));
    }
    for (used, free) in reached.used[budgets..].iter().zip(&free[budgets..]) {
        steepness.push(STEEPNESS * spread / free.max(used / 10.0).max(1e-9));
    }
    steepness
}

/// What each pool's loads use of all that may be scarce: of which all that may use it could use more than is free.
fn things(crowd: &Crowd<'_>, free: &[f64]) -> Vec<Vec<Thing>> {
    let (market, cells) = (crowd.market, crowd.market.cells());
    let domains = market.problem.tree.len();
    let mut most = vec![0.0; domains + market.chains.len()];
    for i in &crowd.offers {
        for points in &market.offers[*i].ways {
            let Some(pool) = points.first().map(|way| way.pool) else { continue };
            let of = |what: fn(&Way) -> f64| points.iter().map(what).fold(0.0, f64::max);
            let (watts, accelerators) = (of(|way| way.watts), of(|way| way.accelerators));
            market.chains[pool].iter().for_each(|(domain, there)| most[*domain] += watts * there);
            most[domains + pool] += accelerators;
        }
    }
    let is_scarce = |thing: usize| free[thing * cells..(thing + 1) * cells].iter().any(|free| most[thing] > *free);
    let of = |(pool, chain): (usize, &Vec<(usize, f64)>)| {
        let watts = chain.iter().map(|(domain, there)| (*domain, Use::Watts(*there)));
        let all = watts.chain([(domains + pool, Use::Accelerators)]).filter(|(thing, _)| is_scarce(*thing));
        let supply = market.problem.pools[pool].supply;
        let own = market.problem.supplies[supply].own.is_some();
        let own = own.then_some((domains + market.chains.len() + supply, Use::Paid));
        all.chain(own).map(|(thing, of)| Thing { first: thing * cells, of }).collect()
    };
    market.chains.iter().enumerate().map(of).collect()
}
