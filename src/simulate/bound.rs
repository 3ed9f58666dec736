//! What no policy can go below.
//!
//! Each job alone, at its cheapest seconds between its arrival and its deadline (or the end), in the pool where it draws least, and
//! with no cap at all: leaving away constraints never makes the least larger, so the sum is below every schedule that
//! keeps all deadlines and finishes all work. It says nothing about a run that misses deadlines (later hours may be
//! cheaper), and nothing where generation on site makes the price of a watt depend on all that runs.

use super::outcome::LowerBound;
use super::setup::Setup;
use super::work::Job;
use crate::core::plan::Suspension;
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
        let jobs: i128 =
            setup.jobs.iter().map(|job| least(steps, job, end) * i128::from(watts_at_root(setup, job).0)).sum();
        jobs + steps.integral(start, end) * i128::from(idle.0)
    };
    // value × watts × seconds is value × joules; the named operations turn a joule's worth into the unit
    let joules = |sum: i128, scale: i128| i64::try_from(sum / scale).unwrap_or(i64::MAX);
    let carbon = intensity.map_or(GramsCo2e::ZERO, |steps| GramsCo2e(joules(total(steps), 3600)));
    Some(LowerBound { carbon, cost: Money(joules(total(&cost), 3_600_000_000)) })
}

/// The least that a job's watts can be multiplied with: the smallest integral over its length.
fn least(steps: &Steps<i64>, job: &Job, end: Moment) -> i128 {
    let by = job.finish_by.unwrap_or(end).min(end).max(job.arrival + job.length);
    if matches!(job.suspension, Suspension::ForSupply { .. }) {
        let mut pieces: Vec<(i64, Seconds)> =
            steps.pieces(job.arrival, by).map(|(from, to, value)| (value, to - from)).collect();
        pieces.sort_unstable();
        let mut left = job.length;
        let mut sum = 0;
        for (value, span) in pieces {
            let taken = span.min(left);
            sum += i128::from(value) * i128::from(taken.0);
            left -= taken;
        }
        sum
    } else {
        let latest = by - job.length;
        let changes: Vec<Moment> = steps.changes_between(job.arrival, by).collect();
        let starts = changes.iter().flat_map(|at| [*at, *at - job.length]).chain([job.arrival, latest]);
        let starts = starts.filter(|start| (job.arrival..=latest).contains(start));
        starts.map(|start| steps.integral(start, start + job.length)).min().unwrap_or(0)
    }
}

/// Draw of a job's accelerators as the root sees them, in the pool where that is least. Hosts are left away.
fn watts_at_root(setup: &Setup, job: &Job) -> Watts {
    let seen = setup.pools.iter().map(|pool| {
        let up = setup.tree.chain(pool.domain);
        // rounded down, as a bound must be
        let permille = |watts: i64, domain| {
            let extra = i128::from(watts) * i128::from(setup.tree.get(domain).spec.overhead_permille) / 1000;
            watts.saturating_add(i64::try_from(extra).unwrap_or(i64::MAX))
        };
        Watts(up.fold(job.watts.0, permille))
    });
    seen.min().unwrap_or(job.watts)
}
