//! What there is for those that can be moved: cells of time, and what is free in them.

use super::budgets::Budgets;
use super::draws::{root_watts, watts_at_least};
use super::ledger::Ledger;
use super::{Load, PoolId, Problem};
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};

/// The most cells: more are worth no more, since the signals are hourly.
const CELLS: usize = 1024;

/// The grain of cells where nothing else cuts them: that of the signals.
const GRAIN: Seconds = Seconds::HOUR;

/// What is free of one thing in each cell, or window of a budget: a domain's watts or a pool's accelerators.
#[derive(Debug)]
pub(super) struct Scarce {
    /// Mean over the cell of what those that can be moved may use. Of what is generated on the site it may be less than nothing, where
    /// what can't be moved draws more.
    pub free: Vec<f64>,
    /// The highest price in each cell: of what is generated on the site that of the supply, at which more can be had. None: any.
    pub most: Option<Vec<f64>>,
}

/// Where cells begin and end: where a price or a cap changes, and at each hour; coarser where that is too many.
pub(super) fn edges(problem: &Problem, end: Moment) -> Vec<Moment> {
    let now = problem.now;
    let mut edges = vec![now, end];
    let prices = problem.supplies.iter().flat_map(|supply| supply.price.changes_between(now, end));
    let caps = problem.tree.iter().flat_map(|(_, domain)| domain.spec.cap.changes_between(now, end));
    let own = problem.supplies.iter().filter_map(|supply| supply.own.as_ref());
    let own = own.flat_map(|own| own.changes_between(now, end));
    let outages = problem.constraints.outages.iter().flat_map(|outage| [outage.from, outage.until]);
    let given = outages.chain(Budgets::edges(problem)).filter(|at| now < *at && *at < end);
    let changes: Vec<Moment> = prices.chain(caps).chain(own).chain(given).take(CELLS).collect();
    if changes.len() < CELLS {
        edges.extend(changes);
    }
    let most = i64::try_from(CELLS).unwrap_or(i64::MAX);
    let grain = Seconds(GRAIN.0 * ((end - now).0 / GRAIN.0 / most + 1));
    let mut at = now.floor(grain) + grain;
    while at < end {
        edges.push(at);
        at = at + grain;
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// What is free for those that can be moved: of each domain's watts, then of each pool's accelerators. Where more than that runs
/// (`held`) already, it may go on: no plan is refused for it, so no bound may count without it.
pub(super) fn free(
    problem: &Problem,
    anyway: &[(PoolId, Load, Moment)],
    held: &[(PoolId, Load)],
    chains: &[Vec<(usize, f64)>],
) -> Vec<Steps<i64>> {
    let ledger = Ledger::idle(problem);
    let mut free: Vec<Steps<i64>> = problem.tree.iter().map(|(id, _)| ledger.free_over_time(id).clone()).collect();
    free.extend(problem.pools.iter().map(|pool| Steps::constant(i64::from(pool.accelerators))));
    for outage in &problem.constraints.outages {
        if let Some(free) = free.get_mut(problem.tree.len() + outage.pool.0) {
            free.update(outage.from, outage.until, |free| free - i64::from(outage.accelerators));
        }
    }
    // of each thing that a load uses, how much
    let uses = |pool: PoolId, load: Load| {
        let watts = watts_at_least(problem, pool, load);
        let domains = chains[pool.0].iter().map(move |(domain, part)| (*domain, watts * part));
        domains.chain([(problem.tree.len() + pool.0, f64::from(load.accelerators))])
    };
    for (pool, load, until) in anyway {
        for (thing, used) in uses(*pool, *load) {
            free[thing].update(problem.now, *until, |free| free.saturating_sub(used.floor() as i64));
        }
    }
    let mut runs = vec![0; free.len()];
    for (pool, load) in held {
        for (thing, used) in uses(*pool, *load) {
            runs[thing] += used.ceil() as i64;
        }
    }
    for (free, runs) in free.iter_mut().zip(runs) {
        if free.at(problem.now) < runs {
            free.update(problem.now, Moment::FAR_FUTURE, |free| free.max(runs));
        }
    }
    free
}

/// What is generated on the site for a supply: what is left of it for those that can be moved, and the supply's price.
pub(super) fn generated(
    problem: &Problem,
    supply: usize,
    prices: &[f64],
    anyway: &[(PoolId, Load, Moment)],
    edges: &[Moment],
) -> Scarce {
    let cells = edges.len() - 1;
    let Some(own) = &problem.supplies[supply].own else {
        return Scarce { free: vec![0.0; cells], most: Some(vec![0.0; cells]) };
    };
    let mut own = own.clone();
    let here = anyway.iter().enumerate().filter(|(_, (pool, ..))| problem.pool(*pool).supply == supply);
    let (fixed, goes_on): (Vec<_>, Vec<_>) = here.partition(|(i, _)| *i < problem.fixed.len());
    let mut draws = Steps::constant(0);
    for (_, (pool, load, until)) in fixed {
        own.update(problem.now, *until, |own| own.saturating_sub(root_watts(problem, *pool, *load)));
    }
    for (_, (pool, load, until)) in goes_on {
        draws.update(problem.now, *until, |draws: i64| draws.saturating_add(root_watts(problem, *pool, *load)));
    }
    let mean = |steps: &Steps<i64>, from: Moment, to: Moment| {
        let sum: f64 = steps.pieces(from, to).map(|(from, to, watts)| watts.max(0) as f64 * (to - from).0 as f64).sum();
        sum / (to - from).0 as f64
    };
    let each = edges.windows(2).zip(prices);
    let free = each.map(|(pair, price)| {
        let own = if *price > 0.0 { mean(&own, pair[0], pair[1]) } else { 0.0 };
        own - mean(&draws, pair[0], pair[1])
    });
    Scarce { free: free.collect(), most: Some(prices[..cells].to_vec()) }
}
