//! Work that was slowed for supply and would be late that way goes on faster.
//!
//! Who can be stopped is placed anew by the plan, point by point. Who can't be keeps the point it was started at, and what it takes
//! longer than was expected, or a deadline that was brought forward, would make it late at a saving that nobody asked for any more.

use crate::core::plan::{Ledger, Load, Pace, PoolChoice, Problem, Workload};
use crate::units::Moment;

/// The point that a running workload goes on at instead of its own: the slowest that is in time, else the fastest of those that there
/// is room for; none where it is in time as it is, can be stopped, or could only go on with other accelerators. `now` holds all that
/// draws now, the workload itself too, and is left as it was.
pub(super) fn hurried(problem: &Problem, workload: &Workload, now: &mut Ledger<'_>) -> Option<(Pace, Load)> {
    let (running, by) = (workload.running?, workload.finish_by?);
    let (pool, load) = workload.running_load()?;
    let finish = |pace: Pace| problem.now + pace.takes(workload.remaining);
    if workload.is_divisible() || running.pace.is_full() || finish(running.pace) <= by {
        return None;
    }
    let is_faster = |choice: &&PoolChoice| choice.pool == pool && choice.pace > running.pace;
    let same = |choice: &&PoolChoice| (choice.load.accelerators, choice.load.hosts) == (load.accelerators, load.hosts);
    now.remove(pool, load, problem.now, Moment::FAR_FUTURE);
    let points = workload.choices.iter().filter(is_faster).filter(same);
    let fits = points.filter(|choice| now.fits(pool, choice.load, problem.now, finish(choice.pace)));
    // in time before not, then the slowest of those in time and the fastest of those that are not
    let best = fits.min_by_key(|choice| match finish(choice.pace) <= by {
        true => (false, i64::from(choice.pace.per_million())),
        false => (true, -i64::from(choice.pace.per_million())),
    });
    now.add(pool, load, problem.now, Moment::FAR_FUTURE);
    best.map(|choice| (choice.pace, choice.load))
}
