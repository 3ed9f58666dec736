//! What is scarce, and what it costs: a price for each domain's watts and each pool's accelerators, in each cell of time.
//!
//! Under prices each workload can be placed by itself: what it takes from others is in what it pays. The prices are found in
//! `dual`; what they say of the plan as a whole is a bound that holds under all caps and pools.
//!
//! All sums are made in one order and with the operations of IEEE 754 alone, so that they are the same on every machine.

use super::alone::Taken;
use super::budgets::Budgets;
use super::cost::{COST_UNITS, delay_cost};
use super::draws::{going_on, root_watts, watts_at_least};
use super::early::{is_open, looks_until, pools};
use super::free::{Scarce, edges, free, generated};
use super::order::Order;
use super::points::seconds_for;
use super::{Load, Pace, PoolChoice, PoolId, Problem, ScarcePrice, Supply, Suspension, Workload};
use crate::core::steps::Steps;
use crate::units::{Moment, Money, Seconds};

/// What is added where a workload did not choose to be, as a part of what the price of its supply varies by.
const ASIDE: f64 = 0.03;

/// A price that never changes is taken to vary by this part of it: places still differ by restarts and waiting.
const FLAT: f64 = 0.01;

/// The highest price. Where no plan keeps all deadlines none is high enough, and they would grow without end.
const MOST: f64 = 1e15;

/// From the price of a watt and a second to that of a kWh, and of an accelerator and a second to an hour of it.
const OF_KWH: f64 = 3.6e6 / COST_UNITS as f64;
const OF_HOUR: f64 = 3600.0 / COST_UNITS as f64;

/// A problem as a market: what is scarce, and who wants it.
#[derive(Debug)]
pub(super) struct Market<'a> {
    pub problem: &'a Problem,
    /// Where cells begin, and where the last one ends.
    pub edges: Vec<Moment>,
    /// Seconds of each cell, and of one more that stands for all that comes later.
    pub lengths: Vec<f64>,
    /// The lowest price of each supply in each cell, and in all that comes later.
    pub supplies: Vec<Vec<f64>>,
    /// The domains in the tree's order, then the pools, then of each supply what is generated on the site, then the windows of budgets.
    pub scarce: Vec<Scarce>,
    pub budgets: Budgets,
    /// Seconds that each price counts for: of its cell, or of a budget's window.
    pub price_lengths: Vec<f64>,
    /// Of each pool: the domains above it, and what a watt in the pool is there.
    pub chains: Vec<Vec<(usize, f64)>>,
    /// Who can be moved.
    pub offers: Vec<Offer>,
    /// What those cost that can't be moved.
    pub anyway: f64,
    /// Cost units of a second of waiting.
    pub wait: f64,
}

/// A workload that can be moved.
#[derive(Debug)]
pub(super) struct Offer {
    /// Which of the problem's workloads.
    pub of: usize,
    /// The cells in which it may run: the first, and the first that is behind them.
    cells: (usize, usize),
    /// What it has of the first and of the last of them, in seconds.
    ends: (f64, f64),
    /// How long it may run in all that comes later; none where it has to be done by then.
    beyond: Option<f64>,
    /// How long its work takes at full.
    pub length: f64,
    pub is_divisible: bool,
    /// What a start after a stop costs, in seconds at its own draw.
    pub restart: f64,
    pub is_running: bool,
    /// The energy budgets that it may draw on.
    pub budgets: Vec<usize>,
    /// The pools that it may run in, each with its points there, the slowest first.
    pub ways: Vec<Vec<Way>>,
}

impl Offer {
    /// The cells in which it may run, each with the seconds that it has there.
    pub(super) fn window<'b>(&'b self, market: &'b Market<'_>) -> impl Iterator<Item = (usize, f64)> + 'b {
        let (first, end) = self.cells;
        let seconds = move |cell: usize| match cell {
            _ if cell == first => self.ends.0,
            _ if cell + 1 == end => self.ends.1,
            _ => market.lengths[cell],
        };
        (first..end).map(move |cell| (cell, seconds(cell))).chain(self.beyond.map(|longest| (market.cells(), longest)))
    }

    /// The energy of its work at full, where it may run first.
    pub(super) fn work(&self) -> f64 {
        let full = self.ways.first().and_then(|points| points.last());
        full.map_or(0.0, |way| way.watts * way.length)
    }

    /// The pool where it may run that comes first.
    pub(super) fn first_pool(&self) -> Option<usize> {
        self.ways.first().and_then(|points| points.first()).map(|way| way.pool)
    }

    /// How many prices are looked at when it chooses.
    pub(super) fn looks(&self) -> usize {
        // where a stop costs each is looked at again and again, which is quickly done
        let times = if self.restart > 0.0 { 4 } else { 1 };
        times * self.ways.iter().flatten().count() * (self.cells.1 - self.cells.0)
    }
}

/// A pool that a workload may run in, at one of its points there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub pool: usize,
    /// What it pays for, per price and second.
    pub paid: f64,
    /// The watts that it adds in the pool at least, however many share their hosts with it.
    pub watts: f64,
    pub accelerators: f64,
    /// What is done in a second, as a part of that at full.
    pub pace: f64,
    /// How long the work takes at this point.
    pub length: f64,
}

/// Prices of all that is scarce, in cost units for a watt or an accelerator and a second.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prices {
    edges: Vec<Moment>,
    /// Of each pool in each cell: of a watt, and of an accelerator.
    pools: Vec<Vec<(f64, f64)>>,
    /// Of each pool: what a watt and a second are taken to cost more where a workload did not choose to be.
    aside: Vec<f64>,
    /// Of each window of a budget.
    budgets: Vec<f64>,
    /// Of each supply with generation on the site: what a watt of it or of the supply costs, in each cell and over time.
    own: Vec<Option<(Vec<f64>, Steps<i64>)>>,
}

/// What steers the search for one workload's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guide<'a> {
    pub market: &'a Market<'a>,
    pub prices: &'a Prices,
    /// What it wants.
    pub offer: &'a Offer,
    /// Where it was when all were placed by sweeps. At the prices many places are worth nearly the same: this says which of them is
    /// left for it by all others.
    pub chosen: &'a [Taken],
}

impl<'a> Guide<'a> {
    /// What a watt costs of a supply with generation on the site, over time; none where nothing is generated.
    pub(super) fn own_price(&self, supply: usize) -> Option<&'a Steps<i64>> {
        self.prices.own[supply].as_ref().map(|(_, over_time)| over_time)
    }

    /// What a second of a load in a pool costs on top of its supply, over time.
    pub(super) fn over_time(&self, problem: &Problem, pool: PoolId, load: Load) -> Steps<i128> {
        let Prices { edges, pools, aside, budgets, .. } = self.prices;
        let watts = watts_at_least(problem, pool, load);
        let aside = if self.chosen.is_empty() { 0.0 } else { aside[pool.0] * watts };
        let mut is_chosen = vec![false; pools[pool.0].len()];
        for taken in self.chosen.iter().filter(|taken| taken.pool == pool.0) {
            if let Some(chosen) = is_chosen.get_mut(taken.cell) {
                *chosen = true;
            }
        }
        let paid = root_watts(problem, pool, load) as f64;
        let unit = |(cell, ((watt, accelerator), is_chosen)): (usize, (&(f64, f64), bool))| {
            let aside = if is_chosen { 0.0 } else { aside };
            let spent = self.market.budgets.uses(self.offer, (pool.0, watts, paid), cell);
            let spent: f64 = spent.map(|(price, watts)| budgets[price] * watts).sum();
            (watt * watts + accelerator * f64::from(load.accelerators) + spent + aside) as i128
        };
        let cells = edges.iter().zip(pools[pool.0].iter().zip(is_chosen).enumerate().map(unit));
        let end = edges.last().map(|end| (*end, aside as i128));
        Steps::new(0, cells.map(|(edge, unit)| (*edge, unit)).chain(end))
    }
}

impl<'a> Market<'a> {
    /// What there is and who wants it; `moves` says who can be moved though it runs.
    pub(super) fn new(problem: &'a Problem, moves: impl Fn(&Workload) -> bool) -> Self {
        let goes_on = |workload: &Workload| going_on(problem, workload).filter(|_| !moves(workload));
        let all = problem.workloads.iter().enumerate();
        let movable: Vec<usize> = all.filter(|(_, workload)| goes_on(workload).is_none()).map(|(i, _)| i).collect();
        let workloads = || movable.iter().map(|i| &problem.workloads[*i]);
        let order = Order::new(problem);
        let last_of =
            |i: &usize| window(problem, &order, *i).1.unwrap_or_else(|| looks_until(problem, &problem.workloads[*i]));
        let end = movable.iter().map(last_of).max();
        let edges = edges(problem, end.unwrap_or(problem.now).max(problem.now + Seconds(1)));
        let last = edges[edges.len() - 1];
        let lengths: Vec<f64> =
            edges.windows(2).map(|pair| (pair[1] - pair[0]).0 as f64).chain([f64::INFINITY]).collect();
        let lowest = |price: &Steps<i64>| {
            let cells = edges.windows(2).map(|pair| price.lowest(pair[0], pair[1]) as f64);
            cells.chain([price.lowest(last, Moment::FAR_FUTURE) as f64]).collect()
        };
        let chains: Vec<Vec<(usize, f64)>> = problem
            .pools
            .iter()
            .map(|pool| {
                let up = problem.tree.chain(pool.domain).scan(1.0, |part, id| {
                    *part *= 1.0 + f64::from(problem.tree.get(id).spec.overhead_permille) / 1000.0;
                    Some((id.0, *part))
                });
                up.collect()
            })
            .collect();
        let mut anyway: Vec<(PoolId, Load, Moment)> =
            problem.fixed.iter().map(|fixed| (fixed.pool, fixed.load, fixed.until)).collect();
        let mut cost = 0.0;
        for workload in &problem.workloads {
            if let Some((pool, load, until)) = goes_on(workload) {
                anyway.push((pool, load, until));
                let Supply { price, own, .. } = problem.supply(pool);
                let watts = root_watts(problem, pool, load) as f64;
                match own {
                    None => cost += price.integral(problem.now, until) as f64 * watts,
                    // it is charged with what is generated, and behind the last cell at negative prices alone: nothing else is sure
                    Some(_) => {
                        let behind = price.pieces(last.min(until), until);
                        cost += behind.map(|(from, to, price)| price.min(0) as f64 * (to - from).0 as f64).sum::<f64>()
                            * watts;
                    }
                }
            }
        }
        let held: Vec<(PoolId, Load)> = workloads().filter_map(Workload::running_load).collect();
        let scarce = free(problem, &anyway, &held, &chains).into_iter().map(|free| {
            let mut place = free.place(edges[0]);
            let cells = edges.windows(2).map(|pair| {
                let pieces = free.pieces_after(&mut place, pair[0], pair[1]);
                let sum: f64 = pieces.map(|(from, to, free)| free.max(0) as f64 * (to - from).0 as f64).sum();
                sum / (pair[1] - pair[0]).0 as f64
            });
            Scarce { free: cells.collect(), most: None }
        });
        let mut scarce: Vec<Scarce> = scarce.collect();
        let supplies = problem.supplies.iter().map(|supply| {
            let mut prices: Vec<f64> = lowest(&supply.price);
            if let (Some(behind), Some(own)) = (prices.last_mut(), &supply.own)
                && own.highest(last, Moment::FAR_FUTURE) > 0
            {
                *behind = behind.min(0.0);
            }
            prices
        });
        let supplies: Vec<Vec<f64>> = supplies.collect();
        scarce.extend((0..supplies.len()).map(|i| generated(problem, i, &supplies[i], &anyway, &edges)));
        let cells = edges.len() - 1;
        let mut price_lengths = lengths[..cells].repeat(scarce.len());
        let held: Vec<_> = workloads().filter_map(|workload| going_on(problem, workload)).collect();
        let (budgets, windows) = Budgets::new(problem, &edges, &chains, (&anyway, &held), price_lengths.len());
        scarce.extend(windows);
        price_lengths.extend(budgets.lengths());
        let wanted = movable.iter().filter(|i| !problem.workloads[**i].choices.is_empty());
        let offers = wanted.map(|i| offer(problem, &order, *i, &edges, &budgets)).collect();
        Self {
            problem,
            lengths,
            supplies,
            scarce,
            budgets,
            price_lengths,
            offers,
            anyway: cost,
            wait: delay_cost(problem) as f64,
            chains,
            edges,
        }
    }

    /// How many cells have prices.
    pub(super) fn cells(&self) -> usize {
        self.edges.len() - 1
    }

    /// The prices that pools see, of those of all that is scarce (all cells of one thing after those of the one before).
    pub(super) fn prices(&self, scarce: &[f64]) -> Prices {
        let cells = self.cells();
        let of = |i: usize, cell: usize| scarce[i * cells + cell];
        let domains = self.problem.tree.len();
        let pools = self.chains.iter().enumerate().map(|(pool, chain)| {
            let watt = |cell| chain.iter().map(|(domain, part)| of(*domain, cell) * part).sum();
            (0..cells).map(|cell| (watt(cell), of(domains + pool, cell))).collect()
        });
        let aside = self.problem.pools.iter().map(|pool| self.spread(pool.supply) * ASIDE).collect();
        let things = domains + self.problem.pools.len();
        let own = self.problem.supplies.iter().enumerate().map(|(i, supply)| {
            supply.own.as_ref()?;
            let prices = scarce[(things + i) * cells..(things + i + 1) * cells].to_vec();
            let behind = self.supplies[i][cells] as i64;
            let each = prices.iter().map(|price| *price as i64).chain([behind]);
            let over_time = Steps::new(behind, self.edges.iter().copied().zip(each));
            Some((prices, over_time))
        });
        let budgets = scarce[self.budgets.first()..].to_vec();
        Prices { pools: pools.collect(), edges: self.edges.clone(), aside, budgets, own: own.collect() }
    }

    /// What all that is scarce is worth, of the same; what is worth nothing is left out.
    pub(super) fn worth(&self, scarce: &[f64]) -> Vec<ScarcePrice> {
        let domains = self.problem.tree.iter().map(|(_, domain)| (domain.spec.name.clone(), true));
        let pools = self.problem.pools.iter().map(|pool| (pool.name.clone(), false));
        let mut all: Vec<ScarcePrice> = Vec::new();
        for ((of, is_watts), prices) in domains.chain(pools).zip(scarce.chunks(self.cells().max(1))) {
            let unit = if is_watts { OF_KWH } else { OF_HOUR };
            for (edges, price) in self.edges.windows(2).zip(prices) {
                let price = Money((price * unit) as i64);
                match all.last_mut() {
                    _ if price == Money::ZERO => {}
                    Some(last)
                        if last.of == of
                            && last.is_watts == is_watts
                            && last.until == edges[0]
                            && last.price == price =>
                    {
                        last.until = edges[1];
                    }
                    _ => all.push(ScarcePrice { of: of.clone(), is_watts, from: edges[0], until: edges[1], price }),
                }
            }
        }
        all.extend(self.budgets.worth(self.problem, scarce, OF_KWH));
        all
    }

    /// By how much the price of a supply varies: of a watt and a second. So much is what is scarce worth at about the most, where work can
    /// be done at another time.
    pub(super) fn spread(&self, supply: usize) -> f64 {
        let prices = &self.supplies[supply][..self.cells()];
        let (lowest, highest) =
            prices.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), price| (low.min(*price), high.max(*price)));
        let lowest = if self.problem.supplies[supply].own.is_some() { lowest.min(0.0) } else { lowest };
        (highest - lowest).max(highest.abs() * FLAT).max(0.0)
    }

    /// What a second of an offer's way costs at the price of its supply alone, in a cell or in all that comes later.
    pub(super) fn supply(&self, way: &Way, cell: usize) -> f64 {
        self.supplies[self.problem.pools[way.pool].supply][cell] * way.paid
    }

    /// The prices where nothing is scarce: what is generated on the site is charged as if it were not there.
    pub(super) fn nothing_scarce(&self) -> Vec<f64> {
        let each = |scarce: &Scarce| scarce.most.clone().unwrap_or_else(|| vec![0.0; scarce.free.len()]);
        self.scarce.iter().flat_map(each).collect()
    }

    /// Between what each price must lie.
    pub(super) fn ranges(&self) -> Vec<(f64, f64)> {
        let of = |scarce: &Scarce| match &scarce.most {
            None => vec![(0.0, MOST); scarce.free.len()],
            // a negative price is paid for all that is drawn
            Some(most) => most.iter().map(|most| (most.min(0.0), *most)).collect(),
        };
        self.scarce.iter().flat_map(of).collect()
    }

    /// Is something generated on the site?
    pub(super) fn has_own(&self) -> bool {
        self.problem.supplies.iter().any(|supply| supply.own.is_some())
    }

    /// Of an offer's way: what a second costs in each cell, and in all that comes later.
    pub(super) fn unit(&self, offer: &Offer, way: &Way, prices: &Prices, cell: usize) -> f64 {
        let supply = match &prices.own[self.problem.pools[way.pool].supply] {
            Some((own, _)) if cell < own.len() => own[cell] * way.paid,
            _ => self.supply(way, cell),
        };
        match prices.pools[way.pool].get(cell) {
            Some((watt, accelerator)) => {
                let spent = self.budgets.uses(offer, (way.pool, way.watts, way.paid), cell);
                let spent: f64 = spent.map(|(price, watts)| prices.budgets[price] * watts).sum();
                supply + watt * way.watts + accelerator * way.accelerators + spent
            }
            None => supply,
        }
    }
}

/// From when to when a workload may run, as far as who must finish before whom says; without an end where it can't be done in time,
/// is never delayed for supply, or may take longer than plans look.
fn window(problem: &Problem, order: &Order, of: usize) -> (Moment, Option<Moment>) {
    let workload = &problem.workloads[of];
    let from = order.earliest(of).unwrap_or_else(|| problem.starts_from(workload));
    let by = workload.finish_by.map(|by| order.latest(of).map_or(by, |latest| latest.min(by)));
    let by = by.filter(|by| *by - from >= workload.remaining);
    (from, by.filter(|by| *by <= looks_until(problem, workload)))
}

fn offer(problem: &Problem, order: &Order, of: usize, edges: &[Moment], budgets: &Budgets) -> Offer {
    let workload = &problem.workloads[of];
    let (from, by) = window(problem, order, of);
    let last = edges[edges.len() - 1];
    let first = edges.partition_point(|edge| *edge <= from).saturating_sub(1);
    let end = edges[..edges.len() - 1].partition_point(|edge| *edge < by.unwrap_or(last)).max(first);
    let has = |cell: usize| match edges.get(cell..cell + 2) {
        Some(pair) => (pair[1].min(by.unwrap_or(last)) - pair[0].max(from)).0.max(0) as f64,
        None => 0.0,
    };
    let way = |choice: &PoolChoice| Way {
        pool: choice.pool.0,
        paid: root_watts(problem, choice.pool, choice.load) as f64,
        watts: watts_at_least(problem, choice.pool, choice.load),
        accelerators: f64::from(choice.load.accelerators),
        pace: choice.pace.part(),
        length: seconds_for(workload.work(), i128::from(choice.pace.per_million())).0 as f64,
    };
    // who is never delayed is never slowed
    let points = |points: &[PoolChoice]| {
        let few = if workload.finish_by.is_some() { points.len() } else { 1 };
        points[..few].iter().rev().map(way).collect::<Vec<Way>>()
    };
    let here = pools(workload).filter(|points| points.iter().all(|point| is_open(workload, point)));
    let ways: Vec<Vec<Way>> = here.map(points).collect();
    let length = workload.work() as f64 / Pace::FULL.work(Seconds(1)) as f64;
    let longest = ways.iter().flatten().map(|way| way.length).fold(length, f64::max);
    let beyond = by.is_none().then_some(longest);
    let ends = (has(first), has(end.saturating_sub(1)));
    let restart = match workload.suspension {
        Suspension::ForSupply { cost } => cost.0.max(0) as f64,
        Suspension::ForCapOnly | Suspension::Never => 0.0,
    };
    Offer {
        of,
        cells: (first, end),
        ends,
        beyond,
        length,
        is_divisible: workload.is_divisible(),
        restart,
        is_running: workload.running.is_some(),
        budgets: budgets.of(problem, workload),
        ways,
    }
}
