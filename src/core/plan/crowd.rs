//! Some workloads of a market and what they take together, under prices that are the same for all of them.

use super::alone::{Scratch, Taken, choose};
use super::prices::Market;
use rayon::prelude::*;

/// So many workloads at least are a part that is asked instead of all.
const PART: usize = 1000;

/// So many workloads choose one after the other, and their choices are summed up before those of others: the same sums on any number
/// of threads.
const TOGETHER: usize = 256;

/// What some pay; of each pool in each cell the watts and accelerators that they take and the watts that are paid for, each times
/// seconds; and of each window of a budget the joules.
type Sums = (f64, Vec<(f64, f64, f64)>, Vec<f64>);

/// Some of the workloads, and how much of all that is scarce is theirs.
pub(super) struct Crowd<'a> {
    pub market: &'a Market<'a>,
    /// Which of the market's offers.
    pub offers: Vec<usize>,
    /// Their part of what all want.
    pub part: f64,
}

/// Where a search for prices stands.
pub(super) struct Reached {
    /// The best prices so far: all cells of one thing after those of the one before.
    pub prices: Vec<f64>,
    /// The bound that they give.
    pub bound: f64,
    /// The mean of what was chosen so far, in each cell.
    pub used: Vec<f64>,
}

impl<'a> Crowd<'a> {
    pub(super) fn all(market: &'a Market<'a>) -> Self {
        Self { market, offers: (0..market.offers.len()).collect(), part: 1.0 }
    }

    /// Some of many that are like all of them: every so manieth of those in order of where they may run and what they take. Their
    /// prices are nearly those of all, and are found in a part of the time.
    pub(super) fn part(&self) -> Option<Self> {
        let each = self.offers.len() / PART;
        if each < 2 {
            return None;
        }
        let offer = |i: &usize| &self.market.offers[*i];
        let mut offers = self.offers.clone();
        offers.sort_by(|a, b| {
            let (a_first, b_first) = (offer(a).first_pool(), offer(b).first_pool());
            a_first.cmp(&b_first).then(offer(a).work().total_cmp(&offer(b).work())).then(a.cmp(b))
        });
        let offers: Vec<usize> = offers.into_iter().skip(each / 2).step_by(each).collect();
        let work = |offers: &[usize]| offers.iter().map(|i| offer(i).work()).sum::<f64>();
        let part = work(&offers) / work(&self.offers);
        (part > 0.0).then_some(Self { market: self.market, offers, part })
    }

    /// What is free for them, in the order of prices.
    pub(super) fn free(&self) -> impl Iterator<Item = f64> + '_ {
        self.market.scarce.iter().flat_map(|scarce| scarce.free.iter().map(|free| free * self.part))
    }

    /// The length of the cell, or the window, of each price.
    pub(super) fn lengths(&self) -> impl Iterator<Item = f64> + '_ {
        self.market.price_lengths.iter().copied()
    }

    /// Is there too little of something, or something that costs nothing?
    pub(super) fn is_over(&self, used: &[f64]) -> bool {
        self.market.has_own() || used.iter().zip(self.free()).any(|(used, free)| *used > free)
    }

    /// What all would choose if nothing were scarce.
    pub(super) fn start(&self) -> Reached {
        let prices = self.market.nothing_scarce();
        let (bound, used) = self.value(&prices);
        Reached { prices, bound, used }
    }

    /// The bound that prices give, and what is used in each cell by what each chooses under them: means over the cell.
    pub(super) fn value(&self, scarce: &[f64]) -> (f64, Vec<f64>) {
        let market = self.market;
        let (cells, prices) = (market.cells(), market.prices(scarce));
        let sums = |offers: &[usize]| -> Sums {
            let (mut cost, mut used) = (0.0, vec![(0.0, 0.0, 0.0); market.chains.len() * cells]);
            let mut joules = vec![0.0; scarce.len() - market.budgets.first()];
            let mut scratch = Scratch::default();
            for i in offers {
                let offer = &market.offers[*i];
                let unit = |way: &_, cell| market.unit(offer, way, &prices, cell);
                cost += choose(market, unit, offer, *i, &mut scratch);
                for Taken { cell, seconds, pool, watts, accelerators, paid, .. } in &scratch.taken {
                    if *cell < cells {
                        let sum = &mut used[pool * cells + cell];
                        *sum = (sum.0 + seconds * watts, sum.1 + seconds * accelerators, sum.2 + seconds * paid);
                        let spent = market.budgets.uses(offer, (*pool, *watts, *paid), *cell);
                        spent.for_each(|(price, watts)| joules[price] += seconds * watts);
                    }
                }
            }
            (cost, used, joules)
        };
        let each: Vec<Sums> = self.offers.par_chunks(TOGETHER).map(sums).collect();
        let mut bound = market.anyway * self.part;
        let mut used = vec![0.0; scarce.len()];
        let (watts, rest) = used.split_at_mut(market.problem.tree.len() * cells);
        let (accelerators, rest) = rest.split_at_mut(market.chains.len() * cells);
        let (own, windows) = rest.split_at_mut(market.problem.supplies.len() * cells);
        for (cost, sums, joules) in &each {
            bound += cost;
            let lengths = market.budgets.lengths();
            windows.iter_mut().zip(joules).zip(lengths).for_each(|((used, joules), length)| *used += joules / length);
            for (pool, (sums, chain)) in sums.chunks(cells).zip(&market.chains).enumerate() {
                let supply = market.problem.pools[pool].supply;
                for (cell, ((sum, count, paid), length)) in sums.iter().zip(&market.lengths).enumerate() {
                    accelerators[pool * cells + cell] += count / length;
                    if market.problem.supplies[supply].own.is_some() {
                        own[supply * cells + cell] += paid / length;
                    }
                    for (domain, there) in chain {
                        watts[domain * cells + cell] += sum / length * there;
                    }
                }
            }
        }
        let each = scarce.iter().zip(self.free()).zip(self.lengths());
        let fetched: f64 = each.map(|((price, free), length)| price * free * length).sum();
        (bound - fetched, used)
    }
}
