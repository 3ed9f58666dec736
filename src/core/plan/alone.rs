//! What one workload would choose by itself under prices, all others away: the exact least, as the bound needs it.
//!
//! This is asked for every workload in every round of the search for prices, so nothing is allocated here once a [`Scratch`] is warm.

use super::prices::{Market, Offer, Way};

/// Seconds in a cell, and what they take there: of a rise from one point to another what that takes more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taken {
    pub cell: usize,
    pub seconds: f64,
    pub pool: usize,
    pub watts: f64,
    pub accelerators: f64,
}

impl Taken {
    fn of(way: &Way, cell: usize, seconds: f64) -> Self {
        Self { cell, seconds, pool: way.pool, watts: way.watts, accelerators: way.accelerators }
    }
}

/// A cell of a window, its seconds there, and what one of them costs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Priced {
    cell: usize,
    seconds: f64,
    unit: f64,
}

impl Priced {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.unit.total_cmp(&other.unit).then(self.cell.cmp(&other.cell))
    }
}

/// A rise that may be bought in a cell: what the work of a second costs by it, and what a second of it does.
#[derive(Debug, Clone, Copy)]
struct Open {
    rate: f64,
    gains: f64,
    taken: Taken,
}

/// Room to work in, and the answer.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// What was chosen, in any order.
    pub taken: Vec<Taken>,
    tried: Vec<Taken>,
    priced: Vec<Priced>,
    before: Vec<(f64, f64)>,
    open: Vec<Open>,
    hull: Vec<(f64, Way)>,
}

/// The best place of one workload under prices; exact, but for what a shortest run and a restart would add. What it costs is
/// returned, and what it takes is in the scratch. Of pools that cost the same each begins with another (`turn`): else all would
/// crowd into one, and then into the next.
pub(super) fn choose(
    market: &Market<'_>,
    unit: impl Fn(&Way, usize) -> f64 + Copy,
    offer: &Offer,
    turn: usize,
    scratch: &mut Scratch,
) -> f64 {
    let pools = offer.ways.len();
    let mut best: Option<f64> = None;
    scratch.taken.clear();
    for points in offer.ways.iter().cycle().skip(turn % pools.max(1)).take(pools) {
        let cost = in_pool(market, unit, offer, points, scratch);
        if best.is_none_or(|best| cost < best) {
            best = Some(cost);
            std::mem::swap(&mut scratch.taken, &mut scratch.tried);
        }
    }
    best.unwrap_or(0.0)
}

/// The best in one pool; what it takes is in `tried`.
fn in_pool(
    market: &Market<'_>,
    unit: impl Fn(&Way, usize) -> f64 + Copy,
    offer: &Offer,
    points: &[Way],
    scratch: &mut Scratch,
) -> f64 {
    if !offer.is_divisible {
        let mut best: Option<(f64, f64, &Way)> = None;
        for way in points {
            price(market, unit, offer, way, &mut scratch.priced);
            let Some((cost, start)) = one_piece(&scratch.priced, &mut scratch.before, way.length, market.wait) else {
                continue;
            };
            let cost = cost + market.wait * (way.length - offer.length);
            if best.is_none_or(|(least, ..)| cost < least) {
                best = Some((cost, start, way));
            }
        }
        if let Some((cost, start, way)) = best {
            covered(offer, market, way, start, &mut scratch.tried);
            return cost;
        }
    }
    match points {
        [way] => {
            price(market, unit, offer, way, &mut scratch.priced);
            let cost = cheapest(&mut scratch.priced, offer.length);
            let taken = scratch.priced.iter().map(|priced| Taken::of(way, priced.cell, priced.seconds));
            scratch.tried.clear();
            scratch.tried.extend(taken);
            cost
        }
        _ => cheapest_rises(market, unit, offer, points, scratch),
    }
}

/// What a second costs in each cell of an offer's window.
fn price(market: &Market<'_>, unit: impl Fn(&Way, usize) -> f64, offer: &Offer, way: &Way, priced: &mut Vec<Priced>) {
    priced.clear();
    let cells = offer.window(market);
    priced.extend(cells.map(|(cell, seconds)| Priced { cell, seconds, unit: unit(way, cell) }));
}

/// Keeps the cheapest seconds that make a length, and says what they cost: halves are taken or left as a whole until few are left.
fn cheapest(cells: &mut Vec<Priced>, length: f64) -> f64 {
    const FEW: usize = 8;
    let (mut left, mut cost) = (length, 0.0);
    let (mut from, mut to) = (0, cells.len());
    while to - from > FEW {
        let middle = from + (to - from) / 2;
        cells[from..to].select_nth_unstable_by(middle - from, Priced::order);
        let seconds: f64 = cells[from..middle].iter().map(|cell| cell.seconds).sum();
        if seconds >= left {
            to = middle;
        } else {
            left -= seconds;
            cost += cells[from..middle].iter().map(|cell| cell.unit * cell.seconds).sum::<f64>();
            from = middle;
        }
    }
    cells[from..to].sort_unstable_by(Priced::order);
    while from < to && left > 0.0 {
        let cell = &mut cells[from];
        cell.seconds = cell.seconds.min(left);
        left -= cell.seconds;
        cost += cell.unit * cell.seconds;
        from += 1;
    }
    cells.truncate(from);
    cost
}

/// The cheapest run of a window and when it begins, in seconds of the window: its cost over its start is piecewise linear, so the least
/// lies at an edge of its start or its end. None where it does not fit.
fn one_piece(cells: &[Priced], before: &mut Vec<(f64, f64)>, length: f64, wait: f64) -> Option<(f64, f64)> {
    // where each cell begins, in seconds of the window, and what lies before it
    before.clear();
    let (mut end, mut sum) = (0.0, 0.0);
    for cell in cells {
        before.push((end, sum));
        end += cell.seconds;
        sum += cell.unit * cell.seconds;
    }
    if length > end || cells.is_empty() {
        return None;
    }
    let mut best = (f64::INFINITY, 0.0);
    let mut consider = |start: f64, from: f64, to: f64| {
        let cost = to - from + wait * start;
        if cost < best.0 || cost == best.0 && start < best.1 {
            best = (cost, start);
        }
    };
    // both ends only move forward, and so does the cell that the one lies in while the other is at an edge
    let until = |place: &mut usize, at: f64| {
        while before.get(*place + 1).is_some_and(|(begins, _)| *begins <= at) {
            *place += 1;
        }
        before[*place].1 + cells[*place].unit * (at - before[*place].0)
    };
    let mut place = 0;
    for (start, from) in before.iter().take_while(|(start, _)| start + length <= end) {
        consider(*start, *from, until(&mut place, start + length));
    }
    place = 0;
    for (edge, to) in before.iter().skip(1).chain([&(end, sum)]).filter(|(edge, _)| *edge >= length) {
        consider(edge - length, until(&mut place, edge - length), *to);
    }
    Some(best)
}

/// The cells that a run covers which begins at so many seconds of the window.
fn covered(offer: &Offer, market: &Market<'_>, way: &Way, start: f64, taken: &mut Vec<Taken>) {
    taken.clear();
    let mut begins = 0.0;
    for (cell, seconds) in offer.window(market) {
        let inside = (start + way.length).min(begins + seconds) - start.max(begins);
        if inside > 0.0 {
            taken.push(Taken::of(way, cell, inside));
        }
        begins += seconds;
    }
}

/// The cheapest rises of a window: at each of its seconds first to run at all, then to run faster. Work is planned in whole seconds,
/// so up to a second's more is done; where that is paid for, it is counted with.
fn cheapest_rises(
    market: &Market<'_>,
    unit: impl Fn(&Way, usize) -> f64,
    offer: &Offer,
    points: &[Way],
    Scratch { tried, open, hull, .. }: &mut Scratch,
) -> f64 {
    open.clear();
    tried.clear();
    let off = Way { pace: 0.0, watts: 0.0, accelerators: 0.0, ..points[0] };
    let rate = |(from, a): (f64, Way), (to, b): (f64, Way)| (to - from) / (b.pace - a.pace);
    for (cell, seconds) in offer.window(market) {
        hull.clear();
        hull.push((0.0, off));
        for way in points {
            let new = (unit(way, cell), *way);
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
            let taken = Taken::of(&more, cell, seconds);
            Open { rate: rate(pair[0], pair[1]), gains: to.pace - from.pace, taken }
        }));
    }
    open.sort_unstable_by(|a, b| a.rate.total_cmp(&b.rate).then(a.taken.cell.cmp(&b.taken.cell)));
    let (mut left, mut cost) = (offer.length, 0.0);
    for Open { rate, gains, taken } in open {
        if left <= 0.0 && *rate >= 0.0 {
            break;
        }
        let most = if *rate < 0.0 { left + 1.0 } else { left };
        let seconds = taken.seconds.min(most / *gains);
        if seconds <= 0.0 {
            break;
        }
        left -= seconds * *gains;
        cost += *rate * *gains * seconds;
        tried.push(Taken { seconds, ..*taken });
    }
    cost
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cells(each: &[(u16, i16)]) -> Vec<Priced> {
        let each = each.iter().enumerate();
        each.map(|(cell, (seconds, unit))| Priced { cell, seconds: f64::from(*seconds), unit: f64::from(*unit) })
            .collect()
    }

    proptest! {
        #[test]
        fn the_cheapest_seconds_are_those_of_the_sorted_cells(
            each in proptest::collection::vec((0..900_u16, -50..50_i16), 1..60),
            part in 0.0..1.0_f64,
        ) {
            let all: f64 = each.iter().map(|(seconds, _)| f64::from(*seconds)).sum();
            let length = (all * part).floor();
            let mut sorted = cells(&each);
            sorted.sort_unstable_by(Priced::order);
            let (mut left, mut expected) = (length, 0.0);
            for cell in &sorted {
                let seconds = cell.seconds.min(left);
                left -= seconds;
                expected += seconds * cell.unit;
            }
            let mut kept = cells(&each);
            prop_assert_eq!(cheapest(&mut kept, length), expected);
            prop_assert_eq!(kept.iter().map(|cell| cell.seconds).sum::<f64>(), length);
        }

        #[test]
        fn no_start_is_cheaper_than_the_one_piece(
            each in proptest::collection::vec((1..20_u16, -9..9_i16), 1..12),
            part in 0.0..1.0_f64,
            wait in 0..3_u8,
        ) {
            let all = cells(&each);
            let end: f64 = all.iter().map(|cell| cell.seconds).sum();
            let (length, wait) = ((end * part).floor(), f64::from(wait));
            let cost = |start: f64| {
                let mut begins = 0.0;
                let mut cost = wait * start;
                for cell in &all {
                    cost += cell.unit * ((start + length).min(begins + cell.seconds) - start.max(begins)).max(0.0);
                    begins += cell.seconds;
                }
                cost
            };
            let (least, start) = one_piece(&all, &mut Vec::new(), length, wait).unwrap();
            prop_assert_eq!(least, cost(start));
            for start in 0..=(end - length) as i64 {
                prop_assert!(least <= cost(start as f64), "{least} at {start}");
            }
            prop_assert!(one_piece(&all, &mut Vec::new(), end + 1.0, wait).is_none());
        }
    }
}
