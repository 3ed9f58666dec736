//! What no policy can go below.
//!
//! Each job alone, at its cheapest seconds between its arrival and its deadline (or the end), each at the best of its operating
//! points, in the pool where it draws least, and with no cap at all: leaving away constraints never makes the least larger, so the sum
//! is below every schedule that keeps all deadlines and finishes all work. It says nothing about a run that misses deadlines (later
//! hours may be cheaper), and nothing where generation on site makes the price of a watt depend on all that runs.

use super::curves::OperatingPoint;
use super::outcome::LowerBound;
use super::setup::Setup;
use super::work::Job;
use crate::core::plan::{Pace, Pool, Rise, Suspension, rises};
use crate::core::steps::Steps;
use crate::units::{CarbonIntensity, GramsCo2e, Moment, Money, Seconds, Watts};

/// The bound; none with on-site generation. `idle` is what the site draws with nothing running.
pub(super) fn lower_bound(setup: &Setup, idle: Watts) -> Option<LowerBound> {
    if setup.generation.is_some() {
        return None;
    }
    let (start, end) = (setup.start, setup.end);
    let intensity = setup.carbon.as_ref().map(|series| &series.steps);
    let carbon_price = setup.carbon_price.unwrap_or_default();
    let cost = {
        let mut moments: Vec<Moment> = vec![start];
        for series in [&setup.carbon, &setup.price].into_iter().flatten() {
            moments.extend(series.steps.changes_between(start, end));
        }
        let at = |moment: Moment| {
            let energy = setup.price.as_ref().map_or(0, |series| series.steps.at(moment));
            energy + intensity.map_or(0, |steps| carbon_price.per_mwh(CarbonIntensity(steps.at(moment))).0)
        };
        Steps::new(at(start), moments.into_iter().map(|moment| (moment, at(moment))).collect::<Vec<_>>())
    };
    let total = |steps: &Steps<i64>| -> i128 {
        let jobs: i128 = setup.jobs.iter().map(|job| least(steps, &seen(setup, job), job, end)).sum();
        jobs + steps.integral(start, end) * i128::from(idle.0)
    };
    // value × watts × seconds is value × joules; the named operations turn a joule's worth into the unit
    let joules = |sum: i128, scale: i128| i64::try_from(sum / scale).unwrap_or(i64::MAX);
    let carbon = intensity.map_or(GramsCo2e::ZERO, |steps| GramsCo2e(joules(total(steps), 3600)));
    Some(LowerBound { carbon, cost: Money(joules(total(&cost), 3_600_000_000)) })
}

/// The least sum of value × watts × seconds that a job's work can take; `points` are its own as the root sees them.
fn least(steps: &Steps<i64>, points: &[OperatingPoint], job: &Job, end: Moment) -> i128 {
    let by = job.finish_by().unwrap_or(end).min(end).max(job.arrival + job.length);
    // who can't be stopped has one point for all of its run, but where it turns out to be late that way
    if matches!(job.suspension, Suspension::ForSupply { .. }) || !job.is_sure() {
        return bought(steps, points, job, by);
    }
    let each = points.iter().filter_map(|point| {
        let length = point.pace.takes(job.length);
        let latest = by - length;
        let changes: Vec<Moment> = steps.changes_between(job.arrival, by).collect();
        let starts = changes.iter().flat_map(|at| [*at, *at - length]).chain([job.arrival, latest]);
        let starts = starts.filter(|start| (job.arrival..=latest).contains(start));
        let least = starts.map(|start| steps.integral(start, start + length)).min();
        least.map(|least| least * i128::from(point.watts.0))
    });
    each.min().unwrap_or(0)
}

/// The least of who may run in any seconds, each at any of its points: the rises of all seconds, to run at all and to run faster, the
/// cheapest for their work first.
fn bought(steps: &Steps<i64>, points: &[OperatingPoint], job: &Job, by: Moment) -> i128 {
    let mut open: Vec<(Rise, Seconds)> = Vec::new();
    for (from, to, value) in steps.pieces(job.arrival, by) {
        let units = points.iter().map(|point| (point.pace, i128::from(value) * i128::from(point.watts.0)));
        open.extend(rises(&mut units.collect()).into_iter().map(|rise| (rise, to - from)));
    }
    open.sort_by(|(a, _), (b, _)| (a.unit * b.gains).cmp(&(b.unit * a.gains)));
    let mut left = Pace::FULL.work(job.length);
    // what runs slowly ends with a whole second, of which it may not need all: less than a second more may be done where that pays
    let more = if points.len() > 1 { Pace::FULL.work(Seconds(1)) } else { 0 };
    let mut sum = 0;
    for (rise, seconds) in open {
        let wanted = if rise.unit < 0 { left + more } else { left };
        if wanted <= 0 {
            break;
        }
        let done = (rise.gains * i128::from(seconds.0)).min(wanted);
        // rounded down, as a bound must be
        sum += (rise.unit * done).div_euclid(rise.gains);
        left -= done;
    }
    sum
}

/// A job's points with its draw as the root sees it, in the pool where that is least. Who is never delayed is never slowed.
///
/// Hosts are charged to work that may be slowed, since for how long they are in use is what is chosen there; for all else they are
/// left away. A pool has no more hosts in use than it has nodes, so each job is charged the smaller of its hosts and its part of all
/// hosts by its accelerators: the sum of these is never above what is drawn.
fn seen(setup: &Setup, job: &Job) -> Vec<OperatingPoint> {
    let few = if job.finish_by().is_some() { job.points.len() } else { 1 };
    let seen = |point: &OperatingPoint| {
        let each = setup.pools.iter().map(|pool| {
            let hosts = if few > 1 { hosts_at_least(pool, point.accelerators) } else { 0 };
            let up = setup.tree.chain(pool.domain);
            // rounded down, as a bound must be
            let permille = |watts: i64, domain| {
                let extra = i128::from(watts) * i128::from(setup.tree.get(domain).spec.overhead_permille) / 1000;
                watts.saturating_add(i64::try_from(extra).unwrap_or(i64::MAX))
            };
            Watts(up.fold(point.watts.0.saturating_add(hosts), permille))
        });
        OperatingPoint { watts: each.min().unwrap_or(point.watts), ..*point }
    };
    job.points.iter().take(few).map(seen).collect()
}

/// Watts of the hosts that so many accelerators are charged with, rounded down.
fn hosts_at_least(pool: &Pool, accelerators: u32) -> i64 {
    let each = (pool.accelerators / pool.nodes.max(1)).max(1);
    let all = i128::from(accelerators.div_ceil(each)) * i128::from(pool.host_extra.0);
    let part = i128::from(accelerators) * i128::from(pool.nodes) * i128::from(pool.host_extra.0);
    i64::try_from(all.min(part / i128::from(pool.accelerators.max(1)))).unwrap_or(0)
}
