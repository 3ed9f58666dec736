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
    /// The watts that are paid for.
    pub paid: f64,
    /// What a second of it does, as a part of that at full.
    pub pace: f64,
}

impl Taken {
    fn of(way: &Way, cell: usize, seconds: f64) -> Self {
        Self {
            cell,
            seconds,
            pool: way.pool,
            watts: way.watts,
            accelerators: way.accelerators,
            paid: way.paid,
            pace: way.pace,
        }
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

/// What may be done in a cell at one point: what it costs and does, and what is paid more where it begins there after a stop (at any
/// point).
#[derive(Debug, Clone, Copy)]
struct Row {
    taken: Taken,
    cost: f64,
    work: f64,
    start: f64,
}

/// How each state of a cell was reached at the least cost: whether it ran before where it rests, and what it was before and at which of
/// the points it runs where it runs.
#[derive(Debug, Clone, Copy)]
struct Back {
    ran: bool,
    before: Stage,
    point: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    Rests,
    Runs,
}

/// Room to work in, and the answer.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    rows: Vec<Row>,
    back: Vec<Back>,
    /// What was chosen, in any order.
    pub taken: Vec<Taken>,
    tried: Vec<Taken>,
    priced: Vec<Priced>,
    before: Vec<(f64, f64)>,
    open: Vec<Open>,
    hull: Vec<(f64, Way)>,
}

/// The best place of one workload under prices; exact, but for what a shortest run would add, and never dearer than that with what
/// restarts cost. What it costs is returned, and what it takes is in the scratch. Of pools that cost the same each begins with another (`turn`): else all would
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
    if offer.restart > 0.0 {
        return with_restarts(market, unit, offer, points, scratch);
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
    let off = Way { pace: 0.0, watts: 0.0, accelerators: 0.0, paid: 0.0, ..points[0] };
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
            let more = Way {
                watts: to.watts - from.watts,
                accelerators: to.accelerators - from.accelerators,
                paid: to.paid - from.paid,
                ..to
            };
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

/// How often the worth of a second's work is halved between too little and enough.
const HALVINGS: usize = 14;

/// The cheapest seconds where a stop costs: work is paid so much a second (Lagrange), and under that a dynamic programme over the cells says
/// where it runs; the pay is halved between too little and enough. What it returns is what no choice of seconds costs less than; what is
/// taken is the choice under the least pay that is enough, the rest of its last seconds left away.
///
/// A run that begins within a cell is looked at as if it began at its beginning or its end, so a start is counted at the lower price of its cell
/// and the one before; and as at the point that draws least, since it may begin there for a second and go on at another.
fn with_restarts(
    market: &Market<'_>,
    unit: impl Fn(&Way, usize) -> f64,
    offer: &Offer,
    points: &[Way],
    Scratch { tried, rows, back, .. }: &mut Scratch,
) -> f64 {
    rows.clear();
    let mut highest = 1.0_f64;
    let mut before = None;
    for (cell, seconds) in offer.window(market) {
        let supply = |cell| points.iter().map(|way| market.supply(way, cell).max(0.0)).fold(f64::INFINITY, f64::min);
        let start = offer.restart * before.map_or(supply(cell), |before| supply(cell).min(supply(before)));
        for way in points {
            let row = Row {
                taken: Taken::of(way, cell, seconds),
                cost: unit(way, cell) * seconds,
                work: way.pace * seconds,
                start,
            };
            if row.work > 0.0 {
                highest = highest.max((row.cost + row.start) / row.work);
            }
            rows.push(row);
        }
        before = Some(cell);
    }
    // work is planned in whole seconds, so up to a second's more is done: where that is paid for, it is counted with
    let paid = |pay: f64| pay * if pay < 0.0 { offer.length + 1.0 } else { offer.length };
    let (mut low, mut high) = (-highest, highest * 1.01 + 1.0);
    let mut best = f64::NEG_INFINITY;
    for _ in 0..HALVINGS {
        let pay = f64::midpoint(low, high);
        let (cost, work) = under_pay(rows, points.len(), offer.is_running, pay, back, tried);
        best = best.max(cost + paid(pay));
        if work < offer.length { low = pay } else { high = pay }
    }
    let (cost, mut work) = under_pay(rows, points.len(), offer.is_running, high, back, tried);
    // the last seconds are too many: they were found from the end on
    for taken in tried.iter_mut() {
        let spare = ((work - offer.length) / taken.pace).clamp(0.0, taken.seconds);
        taken.seconds -= spare;
        work -= spare * taken.pace;
    }
    tried.retain(|taken| taken.seconds > 0.0);
    best.max(cost + paid(high))
}

/// Where it runs if its work is paid so much, from the end on: what that costs less the pay, and how much work it is.
fn under_pay(
    rows: &[Row],
    points: usize,
    is_running: bool,
    pay: f64,
    back: &mut Vec<Back>,
    taken: &mut Vec<Taken>,
) -> (f64, f64) {
    back.clear();
    taken.clear();
    let (mut fresh, mut rests, mut runs) = (0.0, f64::INFINITY, f64::INFINITY);
    if is_running {
        (fresh, runs) = (f64::INFINITY, 0.0);
    }
    for cell in rows.chunks(points.max(1)) {
        let each = cell.iter().map(|row| row.cost - pay * row.work).enumerate();
        let (point, go) = each.fold((0, f64::INFINITY), |least, next| if next.1 < least.1 { next } else { least });
        let start = cell.first().map_or(0.0, |row| row.start);
        let each = [(fresh + go, Stage::Fresh), (rests + go + start, Stage::Rests), (runs + go, Stage::Runs)];
        let best = each.into_iter().fold(each[2], |best, next| if next.0 < best.0 { next } else { best });
        back.push(Back { ran: runs < rests, before: best.1, point });
        (rests, runs) = (rests.min(runs), best.0);
    }
    let least = fresh.min(rests).min(runs);
    let mut stage = match least {
        _ if runs <= least => Stage::Runs,
        _ if rests <= least => Stage::Rests,
        _ => Stage::Fresh,
    };
    let mut work = 0.0;
    for (cell, back) in rows.chunks(points.max(1)).zip(back.iter()).rev() {
        stage = match stage {
            Stage::Fresh => Stage::Fresh,
            Stage::Rests => {
                if back.ran {
                    Stage::Runs
                } else {
                    Stage::Rests
                }
            }
            Stage::Runs => {
                let row = &cell[back.point];
                taken.push(row.taken);
                work += row.work;
                back.before
            }
        };
    }
    (least, work)
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

        #[test]
        fn no_choice_of_cells_costs_less_than_with_restarts_and_what_is_taken_is_the_work(
            each in proptest::collection::vec((1..20_u16, -9..30_i16), 1..9),
            restart in 1..60_u8,
            is_running: bool,
            part in 0.0..1.0_f64,
        ) {
            let row = |(cell, (seconds, unit)): (usize, &(u16, i16))| {
                let (seconds, unit) = (f64::from(*seconds), f64::from(*unit));
                let taken = Taken { cell, seconds, pool: 0, watts: 1.0, accelerators: 1.0, paid: 1.0, pace: 1.0 };
                Row { taken, cost: unit * seconds, work: seconds, start: f64::from(restart) }
            };
            let rows: Vec<Row> = each.iter().enumerate().map(row).collect();
            let pay = -9.0 + 50.0 * part;
            let (mut back, mut taken) = (Vec::new(), Vec::new());
            let (least, work) = under_pay(&rows, 1, is_running, pay, &mut back, &mut taken);
            let value = |set: u32| {
                let (mut cost, mut stage) = (0.0, if is_running { Stage::Runs } else { Stage::Fresh });
                for (i, row) in rows.iter().enumerate() {
                    stage = match (set >> i & 1 == 1, stage) {
                        (true, before) => {
                            cost += row.cost - pay * row.work + if before == Stage::Rests { row.start } else { 0.0 };
                            Stage::Runs
                        }
                        (false, Stage::Fresh) => Stage::Fresh,
                        (false, _) => Stage::Rests,
                    };
                }
                cost
            };
            let found = (0..1_u32 << rows.len()).map(value).fold(f64::INFINITY, f64::min);
            prop_assert!((least - found).abs() < 1e-9, "{least} and {found}");
            let set = taken.iter().fold(0, |set, taken| set | 1 << taken.cell);
            prop_assert!((value(set) - least).abs() < 1e-9);
            prop_assert_eq!(work, taken.iter().map(|taken| taken.seconds).sum::<f64>());
        }
    }
}
