//! Prices under which what each workload would choose by itself fits together, and the bound that they give.
//!
//! Whatever the prices are, what all workloads pay at their own best places, less what all that is scarce would fetch, is never more
//! than the cost of a plan that keeps caps and deadlines: a bound (Lagrange). The prices are moved to raise it by the volume
//! algorithm (Barahona and Anbil 2000): a subgradient method that follows the mean of what was chosen so far. It makes a
//! fixed number of rounds, and so the same prices on every machine.

use super::ScarcePrice;
use super::prices::{Market, Offer, Prices, Way};
use rayon::prelude::*;

/// The most rounds, and the fewest.
const ROUNDS: (usize, usize) = (300, 12);

/// How many cells are looked at in all, over all rounds: half a second on one core.
const LOOKS: usize = 40_000_000;

/// So much of the newest choices goes into the mean at most.
const NEWEST: f64 = 0.1;

/// After so many rounds without a better bound steps get shorter by this, and after so many the search ends. Measured on 1,000
/// jobs: 300 rounds end nearer to the optimum than 600 do with 20 rounds and 0.66.
const PATIENCE: (u32, f64, u32) = (4, 0.7, 60);

/// How far above the best bound the optimum is taken to lie, as a part of it, where the plan that is known says less or more.
const AHEAD: (f64, f64) = (1e-6, 0.05);

/// The most that steps are lengthened, as long as they do good.
const STRIDE: f64 = 50.0;

/// The highest price. Where no plan keeps all deadlines none is high enough, and they would grow without end.
const MOST: f64 = 1e15;

/// A bound is given away by so much, for what is lost by rounding in its sums.
const ROUNDING: f64 = 1e-9;

/// The best prices found, and their bound in cost units.
#[derive(Debug)]
pub(super) struct Found {
    pub prices: Prices,
    pub scarce: Vec<ScarcePrice>,
    pub bound: f64,
}

/// What one workload chooses by itself.
struct Chosen {
    cost: f64,
    /// In each cell, in any order.
    taken: Vec<Taken>,
}

/// Seconds in a cell, and what they take there: of a rise from one point to another what that takes more.
struct Taken {
    cell: usize,
    seconds: f64,
    pool: usize,
    watts: f64,
    accelerators: f64,
}

impl Taken {
    fn of(way: &Way, (cell, seconds): (usize, f64)) -> Self {
        Self { cell, seconds, pool: way.pool, watts: way.watts, accelerators: way.accelerators }
    }
}

/// Of each offer: the cells in which it may run, each with its seconds there.
type Windows = Vec<Vec<(usize, f64)>>;

/// A cell of a window, its seconds there, and what one of them costs.
#[derive(Debug, Clone, Copy)]
struct Priced {
    cell: usize,
    seconds: f64,
    unit: f64,
}

/// The best prices that are found. `aim` is what a plan costs that is known, asked for only where there is something to search; the
/// search ends once the bound is `enough`.
pub(super) fn search(market: &Market<'_>, aim: impl FnOnce() -> Option<f64>, enough: f64) -> Found {
    let cells = market.cells();
    let size = market.scarce.len() * cells;
    let windows: Windows = market.offers.iter().map(|offer| window(market, offer)).collect();
    let mut best = vec![0.0; size];
    let (mut bound, used) = value(market, &windows, &market.prices(&best), &best);
    let is_over = |used: &[f64]| used.iter().zip(free(market)).any(|(used, free)| *used > free);
    if bound >= enough || !is_over(&used) {
        return found(market, &best, bound);
    }
    let (mut mean, aim) = (used, aim());
    let looks: usize = market
        .offers
        .iter()
        .zip(&windows)
        .map(|(offer, window)| offer.ways.iter().flatten().count() * window.len())
        .sum();
    let rounds = (LOOKS / looks.max(1)).clamp(ROUNDS.1, ROUNDS.0);
    let (mut stride, mut bad) = (0.5, 0);
    for _ in 0..rounds {
        // what the mean of all choices has too much of, weighted by how long
        let over = |used: &[f64]| -> Vec<f64> {
            let lengths = &market.lengths[..cells];
            let free = used.iter().zip(free(market));
            free.enumerate().map(|(i, (used, free))| (used - free) * lengths[i % cells]).collect()
        };
        let direction = over(&mean);
        let square: f64 = direction
            .iter()
            .zip(&best)
            .filter(|(over, price)| **over > 0.0 || **price > 0.0)
            .map(|(over, _)| over * over)
            .sum();
        if square <= 0.0 {
            break;
        }
        let ahead =
            aim.map_or(f64::INFINITY, |aim| aim - bound).clamp(bound.abs() * AHEAD.0, bound.abs() * AHEAD.1) + 1.0;
        let step = stride * ahead / square;
        let next: Vec<f64> =
            best.iter().zip(&direction).map(|(price, over)| (price + step * over).clamp(0.0, MOST)).collect();
        let (reached, used) = value(market, &windows, &market.prices(&next), &next);
        let newest = over(&used);
        let agrees: f64 = newest.iter().zip(&direction).map(|(a, b)| a * b).sum();
        let part = newest_part(&newest, &direction);
        for (mean, used) in mean.iter_mut().zip(&used) {
            *mean += part * (used - *mean);
        }
        if reached > bound {
            (best, bound, bad) = (next, reached, 0);
            if agrees > 0.0 {
                stride = f64::min(stride * 1.1, STRIDE);
            }
            if bound >= enough {
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
    found(market, &best, bound)
}

fn found(market: &Market<'_>, scarce: &[f64], bound: f64) -> Found {
    let bound = bound - bound.abs() * ROUNDING - 1.0;
    Found { prices: market.prices(scarce), scarce: market.worth(scarce), bound }
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

/// What is free, in the order of prices.
fn free<'a>(market: &'a Market<'_>) -> impl Iterator<Item = f64> + 'a {
    market.scarce.iter().flat_map(|scarce| scarce.free.iter().copied())
}

/// The bound that prices give, and what is used in each cell by what each workload chooses under them: means over the cell.
fn value(market: &Market<'_>, windows: &Windows, prices: &Prices, scarce: &[f64]) -> (f64, Vec<f64>) {
    let cells = market.cells();
    let each = market.offers.par_iter().zip(windows).enumerate();
    let chosen: Vec<Chosen> =
        each.map(|(i, (offer, window))| choose(market, prices, (offer, window.as_slice()), i)).collect();
    let mut used = vec![0.0; scarce.len()];
    let mut bound = market.anyway;
    let domains = market.problem.tree.len();
    for Chosen { cost, taken } in &chosen {
        bound += cost;
        for Taken { cell, seconds, pool, watts, accelerators } in taken {
            let Some(part) = market.lengths[..cells].get(*cell).map(|length| seconds / length) else { continue };
            for (domain, there) in &market.chains[*pool] {
                used[domain * cells + cell] += part * watts * there;
            }
            used[(domains + pool) * cells + cell] += part * accelerators;
        }
    }
    let lengths = &market.lengths[..cells];
    let fetched: f64 =
        scarce.iter().zip(free(market)).enumerate().map(|(i, (price, free))| price * free * lengths[i % cells]).sum();
    (bound - fetched, used)
}

/// The best place of one workload under prices; exact, but for what a shortest run and a restart would add.
/// Of pools that cost the same each begins with another (`turn`): else all would crowd into one, and then into the next.
fn choose(market: &Market<'_>, prices: &Prices, (offer, window): (&Offer, &[(usize, f64)]), turn: usize) -> Chosen {
    let nothing = Chosen { cost: 0.0, taken: Vec::new() };
    let ways = offer.ways.iter().cycle().skip(turn % offer.ways.len().max(1)).take(offer.ways.len());
    let priced = |way: &Way| -> Vec<Priced> {
        let unit = |cell| market.unit(*way, prices, cell);
        window.iter().map(|(cell, seconds)| Priced { cell: *cell, seconds: *seconds, unit: unit(*cell) }).collect()
    };
    let in_one = |way: &Way| {
        let (cost, taken) = in_one_piece(&priced(way), way.length, market.wait)?;
        let cost = cost + market.wait * (way.length - offer.length);
        Some(Chosen { cost, taken: taken.into_iter().map(|taken| Taken::of(way, taken)).collect() })
    };
    let broken = |points: &[Way]| match points {
        [way] => {
            let (cost, taken) = cheapest(&priced(way), offer.length);
            Chosen { cost, taken: taken.into_iter().map(|taken| Taken::of(way, taken)).collect() }
        }
        _ => cheapest_rises(market, prices, points, window, offer.length),
    };
    let each = ways.map(|points| {
        let whole =
            (!offer.is_divisible).then(|| points.iter().filter_map(in_one).min_by(|a, b| a.cost.total_cmp(&b.cost)));
        whole.flatten().unwrap_or_else(|| broken(points))
    });
    each.min_by(|a, b| a.cost.total_cmp(&b.cost)).unwrap_or(nothing)
}

/// The cheapest rises of a window: at each of its seconds first to run at all, then to run faster. Work is planned in whole seconds,
/// so up to a second's more is done; where that is paid for, it is counted with.
fn cheapest_rises(
    market: &Market<'_>,
    prices: &Prices,
    points: &[Way],
    window: &[(usize, f64)],
    length: f64,
) -> Chosen {
    // what the work of a second costs, what a second does, and what it takes
    let mut open: Vec<(f64, f64, Taken)> = Vec::with_capacity(window.len() * points.len());
    let off = Way { pace: 0.0, watts: 0.0, accelerators: 0.0, ..points[0] };
    let mut hull: Vec<(f64, Way)> = Vec::with_capacity(points.len() + 1);
    let rate = |(from, a): (f64, Way), (to, b): (f64, Way)| (to - from) / (b.pace - a.pace);
    for (cell, seconds) in window {
        hull.clear();
        hull.push((0.0, off));
        for way in points {
            let new = (market.unit(*way, prices, *cell), *way);
            // a point stays only where the line turns up at it
            while let [.., a, b] = hull[..] {
                if rate(a, b) < rate(b, new) {
                    break;
                }
                hull.pop();
            }
            hull.push(new);
        }
        open.extend(hull.windows(2).map(|pair| {
            let (from, to) = (pair[0].1, pair[1].1);
            let more = Way { watts: to.watts - from.watts, accelerators: to.accelerators - from.accelerators, ..to };
            (rate(pair[0], pair[1]), to.pace - from.pace, Taken::of(&more, (*cell, *seconds)))
        }));
    }
    open.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cell.cmp(&b.2.cell)));
    let (mut left, mut chosen) = (length, Chosen { cost: 0.0, taken: Vec::new() });
    for (rate, gains, taken) in open {
        if left <= 0.0 && rate >= 0.0 {
            break;
        }
        let most = if rate < 0.0 { left + 1.0 } else { left };
        let seconds = taken.seconds.min(most / gains);
        if seconds <= 0.0 {
            break;
        }
        left -= seconds * gains;
        chosen.cost += rate * gains * seconds;
        chosen.taken.push(Taken { seconds, ..taken });
    }
    chosen
}

/// The cells in which a workload may run, each with the seconds before which it begins there and the seconds that it has.
fn window(market: &Market<'_>, offer: &Offer) -> Vec<(usize, f64)> {
    let edges = &market.edges;
    let last = edges[edges.len() - 1];
    let first = edges.partition_point(|edge| *edge <= offer.from).saturating_sub(1);
    let by = offer.by.unwrap_or(last);
    let mut window: Vec<(usize, f64)> = edges[first..]
        .windows(2)
        .enumerate()
        .map_while(|(i, pair)| {
            let (from, to) = (pair[0].max(offer.from), pair[1].min(by));
            (pair[0] < by).then_some((first + i, (to - from).0.max(0) as f64))
        })
        .collect();
    if offer.by.is_none() {
        window.push((market.cells(), offer.longest));
    }
    window
}

/// The cheapest seconds of a window.
fn cheapest(cells: &[Priced], length: f64) -> (f64, Vec<(usize, f64)>) {
    let mut cells = cells.to_vec();
    cells.sort_unstable_by(|a, b| a.unit.total_cmp(&b.unit).then(a.cell.cmp(&b.cell)));
    let (mut left, mut cost, mut taken) = (length, 0.0, Vec::new());
    for Priced { cell, seconds, unit } in cells {
        if left <= 0.0 {
            break;
        }
        let seconds = seconds.min(left);
        left -= seconds;
        cost += unit * seconds;
        taken.push((cell, seconds));
    }
    (cost, taken)
}

/// The cheapest run of a window: its cost over its start is piecewise linear, so the least lies at an edge of its start or its end.
/// None where it does not fit.
fn in_one_piece(cells: &[Priced], length: f64, wait: f64) -> Option<(f64, Vec<(usize, f64)>)> {
    // where each cell begins, in seconds of the window, and what lies before it
    let mut before: Vec<(f64, f64)> = Vec::with_capacity(cells.len());
    let (mut end, mut sum) = (0.0, 0.0);
    for cell in cells {
        before.push((end, sum));
        end += cell.seconds;
        sum += cell.unit * cell.seconds;
    }
    let until = |at: f64| {
        let i = before.partition_point(|(begins, _)| *begins <= at).saturating_sub(1);
        before[i].1 + cells[i].unit * (at - before[i].0)
    };
    let edges = before.iter().map(|(begins, _)| *begins).chain([end]);
    let starts = edges.flat_map(|edge| [edge, edge - length]);
    let starts = starts.filter(|start| *start >= 0.0 && *start + length <= end);
    let cost = |start: f64| until(start + length) - until(start) + wait * start;
    let best = starts.map(|start| (cost(start), start)).min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (cost, start) = best?;
    let taken = before.iter().zip(cells).filter_map(|((begins, _), cell)| {
        let inside = (start + length).min(begins + cell.seconds) - start.max(*begins);
        (inside > 0.0).then_some((cell.cell, inside))
    });
    Some((cost, taken.collect()))
}
