//! What runs cost a workload, in exact units, and what of that is saved since something is generated on the site.

use super::draws::root_watts;
use super::room::Room;
use super::{Problem, Run, Suspension, Workload};
use crate::core::steps::Steps;
use crate::units::{Moment, Money, Seconds};

/// Cost units in a millionth of the currency unit: a MWh is 3.6e9 joules.
pub(super) const COST_UNITS: i128 = 3_600_000_000;

/// Cost units as money.
pub(super) fn money(cost: i128) -> Money {
    Money(i64::try_from(cost / COST_UNITS).unwrap_or(i64::MAX))
}

/// Cost units of a second of waiting.
pub(super) fn delay_cost(problem: &Problem) -> i128 {
    i128::from(problem.delay_cost_per_hour) * COST_UNITS / 3600
}

/// Runs for one workload, and what they cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    pub runs: Vec<Run>,
    /// Price × watts × seconds, plus delay: comparable between placements of one problem, exact. As if nothing were generated on the
    /// site: what that saves depends on the others ([`net`]).
    pub cost: i128,
    pub late: Seconds,
}

impl Placement {
    pub(super) fn finish(&self) -> Moment {
        self.runs.last().map_or(Moment::FAR_FUTURE, |run| run.end)
    }
}

/// What runs cost a workload: energy, carbon, delay and switching.
pub(super) fn priced(problem: &Problem, workload: &Workload, runs: Vec<Run>) -> Placement {
    let restart = match workload.suspension {
        Suspension::ForSupply { cost } => i128::from(cost.0),
        Suspension::ForCapOnly | Suspension::Never => 0,
    };
    // when it last stopped, as far as that costs: a first start is free, and what runs has none
    let mut stopped = workload.running.map(|_| problem.now);
    let mut known: Option<(Run, i128)> = None;
    let mut cost = 0;
    for run in &runs {
        let is_same = |known: &(Run, i128)| (known.0.pool, known.0.pace) == (run.pool, run.pace);
        let watts = known.filter(is_same).map_or_else(
            || i128::from(workload.load_at(run.pool, run.pace).map_or(0, |load| root_watts(problem, run.pool, load))),
            |(_, watts)| watts,
        );
        let price = &problem.supply(run.pool).price;
        cost += price.integral(run.start, run.end) * watts;
        if stopped.is_some_and(|stopped| stopped < run.start) {
            cost += restarted(price, run.start, restart) * watts;
        }
        stopped = Some(run.end);
        known = Some((*run, watts));
    }
    let finish = runs.last().map_or(Moment::FAR_FUTURE, |run| run.end);
    let delay = finish - problem.starts_from(workload) - workload.remaining;
    let late = workload.finish_by.map_or(Seconds::ZERO, |by| (finish - by).max(Seconds::ZERO));
    cost += delay_cost(problem) * i128::from(delay.0.max(0));
    Placement { runs, cost, late }
}

/// What a start after a stop costs for each watt, where it takes so many seconds. At a negative price a stop is no gain: the searches count
/// it so too, and the bound none at all.
pub(super) fn restarted(price: &Steps<i64>, at: Moment, seconds: i128) -> i128 {
    i128::from(price.at(at).max(0)) * seconds
}

/// What of a load's watts is drawn from outside, where so much is left of what is generated on the site. At a negative price all is,
/// since that is paid for.
pub(super) fn charged(watts: i128, left: i64, price: i64) -> i128 {
    if price <= 0 { watts } else { watts - i128::from(left).clamp(0, watts) }
}

/// Price × watts × seconds of what a load draws from outside over a time, where so much is left of what is generated on the site.
pub(super) fn drawn(price: &Steps<i64>, own: &Steps<i64>, watts: i128, from: Moment, to: Moment) -> i128 {
    let mut at = price.place(from);
    let mut cost = 0;
    for (from, to, left) in own.pieces(from, to) {
        for (from, to, price) in price.pieces_after(&mut at, from, to) {
            cost += i128::from(price) * charged(watts, left, price) * i128::from((to - from).0);
        }
    }
    cost
}

/// What runs cost less since something is generated on the site and left, while the workload itself is not in the room.
fn saved(problem: &Problem, room: &impl Room, workload: &Workload, runs: &[Run]) -> i128 {
    let each = runs.iter().map(|run| {
        let (Some(own), Some(load)) = (room.own_left(run.pool), workload.load_at(run.pool, run.pace)) else { return 0 };
        let watts = i128::from(root_watts(problem, run.pool, load));
        let price = &problem.supply(run.pool).price;
        price.integral(run.start, run.end) * watts - drawn(price, own, watts, run.start, run.end)
    });
    each.sum()
}

/// What a placement costs where it stands, while the workload itself is not in the room.
pub(super) fn net(problem: &Problem, room: &impl Room, workload: &Workload, placement: &Placement) -> i128 {
    placement.cost - saved(problem, room, workload, &placement.runs)
}
