//! The best runs for one workload, when all others stand where they are.
//!
//! A workload that can't be broken slides along the prices; one that can be takes the cheapest seconds (`seconds`), or whole slots
//! where stopping and waiting cost something (`slots`).

use super::cost::{Placement, charged, delay_cost, net, priced, restarted};
use super::draws::root_watts;
use super::early::{earliest, is_kept, is_open, looks_until, pools};
use super::points::{Rise, rises};
use super::prices::Guide;
use super::room::{Refusal, Room};
use super::seconds::{Found, Piece, Stretch, in_runs, one_run};
use super::slots::in_slots;
use super::stops::{Asked, restarts, with_stops};
use super::{Pace, PoolChoice, PoolId, Problem, Run, Suspension, Workload};
use crate::units::{Moment, Seconds};

/// The cheapest runs that finish in time; where there are none, the earliest; none where it can never run.
pub(super) fn cheapest(problem: &Problem, room: &impl Room, workload: &Workload) -> Option<Placement> {
    if workload.finish_by.is_none() {
        return earliest(problem, room, workload);
    }
    in_time(problem, room, workload, None).or_else(|| earliest(problem, room, workload))
}

/// The runs that finish in time and cost least, at the prices of supply and of what is scarce where these are given; none
/// where it can't be done in time, or is never delayed for supply.
pub(super) fn in_time(
    problem: &Problem,
    room: &impl Room,
    workload: &Workload,
    guide: Option<Guide<'_>>,
) -> Option<Placement> {
    let by = room.whole(workload.finish_by?.min(looks_until(problem, workload)));
    let here = |points: &&[PoolChoice]| points.iter().all(|point| is_open(workload, point));
    let pools = pools(workload).filter(here);
    let placed = pools.filter_map(|points| in_seconds(problem, room, workload, points, by, guide));
    let best = placed.min_by_key(|(placement, paid)| (*paid, placement.finish()));
    best.map(|(placement, _)| placement)
}

/// The best runs in one pool, and what is paid for them.
fn in_seconds(
    problem: &Problem,
    room: &impl Room,
    workload: &Workload,
    points: &[PoolChoice],
    by: Moment,
    guide: Option<Guide<'_>>,
) -> Option<(Placement, i128)> {
    let from = problem.starts_from(workload);
    let (length, wait) = (workload.remaining, delay_cost(problem));
    let pool = points.first()?.pool;
    if by - from < length {
        return None;
    }
    let placed = |stretches: Vec<Stretch>| priced(problem, workload, runs_in(pool, &stretches));
    let Suspension::ForSupply { cost } = workload.suspension else {
        // one point for the whole run; what runs already keeps its own
        let each = points.iter().filter(|point| is_kept(workload, point)).filter_map(|point| {
            let takes = point.pace.takes(length);
            let pieces = pieces(problem, room, *point, from, by, guide);
            let found = within(pieces, room, pool, true, |pieces| one_run(pieces, takes, wait));
            found.map(|(runs, paid)| (placed(runs), paid + wait * i128::from((takes - length).0)))
        });
        return each.min_by_key(|(placement, paid)| (*paid, placement.finish()));
    };
    let (pieces, further) = match points {
        [point] => (pieces(problem, room, *point, from, by, guide), vec![Vec::new()]),
        _ => joint_pieces(problem, room, points, from, by, guide),
    };
    // what runs since a while needs no whole run from now on
    let shortest = |start: Moment| match workload.running {
        Some(running) if start <= problem.now => problem.slot - (problem.now - running.since),
        _ => problem.slot,
    };
    let price = &problem.supply(pool).price;
    let restart = |at: Moment, pace: Pace| {
        let watts = workload.load_at(pool, pace).map_or(0, |load| root_watts(problem, pool, load));
        restarted(price, at, i128::from(cost.0)) * i128::from(watts)
    };
    let runs_at = workload.running.map(|_| problem.now);
    let asked = Asked { length, shortest: &shortest, restart: &restart, runs_at };
    let stops = (cost > Seconds::ZERO)
        .then(|| within(pieces.clone(), room, pool, false, |pieces| with_stops(pieces, &further, &asked)))
        .flatten();
    let found = within(pieces, room, pool, false, |pieces| in_runs(pieces, &further, length, &shortest));
    let found = found.map(|(stretches, paid)| {
        let restarts = restarts(&stretches, &asked);
        (stretches, paid + restarts)
    });
    let found = found.into_iter().chain(stops).min_by_key(|(_, paid)| *paid);
    let found = found.map(|(stretches, paid)| (placed(stretches), paid));
    if guide.is_some() {
        return found;
    }
    let found = found.map(|(placement, _)| placement);
    let is_simple = cost == Seconds::ZERO && wait == 0;
    // restarts and waiting are weighed against all else in whole slots; and tight against its deadline early pieces do
    let in_slots = points.iter().filter_map(|point| {
        let is_asked = !is_simple || found.is_none();
        is_asked.then(|| in_slots(problem, room, workload, *point, by)).flatten()
    });
    let in_slots = in_slots.filter(|placement| room.refused(&placement.runs).is_empty());
    let placed = found.iter().cloned().chain(in_slots);
    let paid = placed.map(|placement| (net(problem, room, workload, &placement), placement));
    paid.min_by_key(|(paid, placement)| (*paid, placement.finish())).map(|(paid, placement)| (placement, paid))
}

fn runs_in(pool: PoolId, stretches: &[Stretch]) -> Vec<Run> {
    stretches.iter().map(|&Stretch { start, end, pace }| Run { pool, start, end, pace }).collect()
}

/// How often pieces are cut for budgets and ramps, until what is found in them goes. A guess: a ramp that is full in slot after slot
/// takes one each.
const CUTS: usize = 16;

/// The best in some pieces that budgets and ramps have room for: what they refuse is cut out of the pieces, and it is looked for again.
fn within(
    mut pieces: Vec<Piece>,
    room: &impl Room,
    pool: PoolId,
    is_one: bool,
    find: impl Fn(&[Piece]) -> Option<Found>,
) -> Option<Found> {
    for _ in 0..CUTS {
        let found = find(&pieces)?;
        let runs = runs_in(pool, &found.0);
        let refused = room.refused(&runs);
        if refused.is_empty() {
            return Some(found);
        }
        refused.iter().for_each(|refusal| cut(&mut pieces, refusal, &runs, is_one));
    }
    None
}

/// Takes out of pieces what was refused, or else enough of it.
fn cut(pieces: &mut Vec<Piece>, refusal: &Refusal, runs: &[Run], is_one: bool) {
    let second = Seconds(1);
    match *refusal {
        Refusal::Budget { from, until, affords, .. } if is_one => {
            // what can't be broken may reach into the window from either side
            take_out(pieces, from + affords, (until - affords).max(from + affords + second));
        }
        Refusal::Budget { from, until, affords, .. } => {
            let inside = |piece: &Piece| piece.end.min(until) - piece.start.max(from);
            let mut dearest: Vec<Piece> =
                pieces.iter().filter(|piece| inside(piece) > Seconds::ZERO).copied().collect();
            dearest.sort_by_key(|piece| (std::cmp::Reverse(piece.first.rate()), std::cmp::Reverse(piece.start)));
            let mut over = dearest.iter().map(inside).sum::<Seconds>() - affords;
            for piece in dearest {
                if over <= Seconds::ZERO {
                    break;
                }
                let end = piece.end.min(until);
                let start = piece.start.max(from).max(end - over);
                take_out(pieces, start, end);
                over -= end - start;
            }
        }
        Refusal::Ramp { from, until, is_end: false, .. } => {
            let starts = runs.iter().map(|run| run.start).filter(|start| (from..until).contains(start));
            starts.for_each(|start| take_out(pieces, start, until));
        }
        Refusal::Ramp { from, until, is_end: true, .. } => {
            let ends = runs.iter().map(|run| run.end).filter(|end| (from..until).contains(end));
            // a second sooner it ends in the slot before
            ends.for_each(|end| take_out(pieces, from.max(Moment(i64::MIN + 1)) + Seconds(-1), end));
        }
    }
}

/// Takes a time out of pieces.
fn take_out(pieces: &mut Vec<Piece>, from: Moment, until: Moment) {
    let cut = |piece: Piece| {
        let sides = [Piece { end: piece.end.min(from), ..piece }, Piece { start: piece.start.max(until), ..piece }];
        // what does not meet it is on one side of it alone
        sides.into_iter().filter(|side| side.start < side.end)
    };
    *pieces = std::mem::take(pieces).into_iter().flat_map(cut).collect();
}

/// Where a workload fits, cut wherever what a second costs changes.
fn pieces(
    problem: &Problem,
    room: &impl Room,
    choice: PoolChoice,
    from: Moment,
    by: Moment,
    guide: Option<Guide<'_>>,
) -> Vec<Piece> {
    let watts = i128::from(root_watts(problem, choice.pool, choice.load));
    // at the prices of a guide what is generated on the site has a price of its own
    let guided = guide.and_then(|guide| guide.own_price(problem.pool(choice.pool).supply));
    let own = if guide.is_some() { None } else { room.own_left(choice.pool) };
    let supply = guided.unwrap_or(&problem.supply(choice.pool).price);
    let scarce = guide.map(|guide| guide.over_time(problem, choice.pool, choice.load));
    let (mut at, mut scarce_at) = (supply.place(from), scarce.as_ref().map_or(0, |scarce| scarce.place(from)));
    let mut own_at = own.map_or(0, |own| own.place(from));
    let mut pieces = Vec::new();
    let mut piece = |start, end, unit| {
        pieces.push(Piece { start, end, first: Rise::to(choice.pace, unit), more: 0 });
    };
    for (from, to) in room.spans(choice, from, by) {
        for (from, to, price) in supply.pieces_after(&mut at, from, to) {
            match (own, &scarce) {
                (None, None) => piece(from, to, i128::from(price) * watts),
                (None, Some(scarce)) => {
                    let cut = scarce.pieces_after(&mut scarce_at, from, to);
                    cut.for_each(|(start, end, more)| piece(start, end, i128::from(price) * watts + more));
                }
                (Some(own), _) => {
                    let cut = own.pieces_after(&mut own_at, from, to);
                    cut.for_each(|(start, end, left)| {
                        piece(start, end, i128::from(price) * charged(watts, left, price));
                    });
                }
            }
        }
    }
    pieces
}

/// Where a workload fits at any of its points in a pool, cut wherever what a second costs or the points that fit change, each with
/// the rises of those that do.
fn joint_pieces(
    problem: &Problem,
    room: &impl Room,
    points: &[PoolChoice],
    from: Moment,
    by: Moment,
    guide: Option<Guide<'_>>,
) -> (Vec<Piece>, Vec<Vec<Rise>>) {
    let each: Vec<Vec<Piece>> = points.iter().map(|point| pieces(problem, room, *point, from, by, guide)).collect();
    let mut edges: Vec<Moment> = each.iter().flatten().flat_map(|piece| [piece.start, piece.end]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut at = vec![0; each.len()];
    let (mut joint, mut further): (Vec<Piece>, Vec<Vec<Rise>>) = (Vec::new(), vec![Vec::new()]);
    let mut fitting = Vec::new();
    for edge in edges.windows(2) {
        fitting.clear();
        for (pieces, at) in each.iter().zip(&mut at) {
            while pieces.get(*at).is_some_and(|piece| piece.end <= edge[0]) {
                *at += 1;
            }
            let here = pieces.get(*at).filter(|piece| piece.start <= edge[0]);
            fitting.extend(here.map(|piece| (piece.first.to, piece.first.unit)));
        }
        let mut up = rises(&mut fitting).into_iter();
        let Some(first) = up.next() else { continue };
        let up: Vec<Rise> = up.collect();
        // as a rule the rises are those of the piece before
        match joint.last_mut() {
            Some(last) if last.end == edge[0] && last.first == first && further[last.more] == up => last.end = edge[1],
            _ => {
                joint.push(Piece { start: edge[0], end: edge[1], first, more: further.len() });
                further.push(up);
            }
        }
    }
    (joint, further)
}
