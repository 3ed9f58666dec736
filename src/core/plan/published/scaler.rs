//! CarbonScaler: how many watts in which hour, the most work for its carbon first.

use super::super::draws::root_watts;
use super::super::points::{Pace, Rise, rises};
use super::super::seconds::{Piece, in_runs};
use super::super::{PoolChoice, Problem, Run, Workload};
use crate::units::Seconds;

/// When and at which points it would run if nothing were in the way, and nothing but supply had a price.
///
/// Each hour of the signal until the deadline can be had in steps: to run at the lowest point that is worth it, then at the next. The
/// step that does most work for what it costs is taken first, of whichever hour it is, until all work is done; the last one in part.
/// Who can't be stopped, or has no time to wait, runs at once at full.
pub(super) fn choose(problem: &Problem, workload: &Workload, points: &[PoolChoice]) -> Vec<Run> {
    let Some(pool) = points.first().map(|full| full.pool) else { return Vec::new() };
    let from = problem.starts_from(workload);
    let at_once = || vec![Run::full(pool, from, from + workload.remaining)];
    let Some(by) = workload.finish_by.filter(|by| workload.is_divisible() && *by - from > workload.remaining) else {
        return at_once();
    };
    let watts = points.iter().map(|point| (point.pace, i128::from(root_watts(problem, pool, point.load))));
    let watts: Vec<(Pace, i128)> = watts.collect();
    let (mut hours, mut further): (Vec<Piece>, Vec<Vec<Rise>>) = (Vec::new(), Vec::new());
    for (start, end, price) in problem.price_alone(pool).pieces(from, by) {
        let mut each = watts.iter().map(|(pace, watts)| (*pace, i128::from(price) * watts)).collect();
        let mut steps = rises(&mut each).into_iter();
        let Some(first) = steps.next() else { continue };
        hours.push(Piece { start, end, first, more: further.len() });
        further.push(steps.collect());
    }
    let found = in_runs(&hours, &further, workload.remaining, &|_| Seconds::ZERO);
    found.map_or_else(at_once, |(stretches, _)| {
        stretches.into_iter().map(|taken| Run { pool, start: taken.start, end: taken.end, pace: taken.pace }).collect()
    })
}
