//! E2: when *and* at how many watts: the jobs of E1 on A100 with measured curves, and their hosts.
//!
//! Each job may wait as in E1, and each of its seconds may be run at any point of its curve. Beside the joint plan stand what waiting
//! alone and slowing alone could save, and the exact joint optimum. Plans are made of all jobs at once, with true lengths, and read by
//! the checker; the simulator does not carry them out.

use crate::data::{Curve, curves};
use crate::e1::{self, planned};
use crate::lp;
use heliotrope::core::plan::{Pace, PoolChoice, Problem, Run, Workload, worth_choosing};
use heliotrope::core::steps::Steps;
use heliotrope::simulate::foreseen;
use heliotrope::units::{Moment, Seconds, Watts};
use serde::Serialize;
use std::path::PathBuf;

/// What is measured, and on what.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Zones, each with its hourly carbon.
    pub zones: Vec<(String, PathBuf)>,
    /// The jobs, as GAIA writes them.
    pub jobs: PathBuf,
    /// The sweep of limits.
    pub sweep: PathBuf,
    /// What time 0 of the jobs is.
    pub start: String,
    /// How long the horizon is.
    pub hours: u32,
    /// What a host draws for each of its accelerators in use, in watts.
    pub hosts: Vec<i64>,
    /// A cap beside none, for jobs with all curves in turn, in thousandths of the highest draw of running at once.
    pub cap_permille: Option<i64>,
    /// Which curve all jobs have; none is all curves of the sweep in turn.
    pub curves: Vec<Option<String>>,
    /// Is the LP solved under the cap too? Else the plan's bound, which is no lower, stands for it.
    pub exact: bool,
    /// Chance.
    pub seed: u64,
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct E2 {
    /// How many jobs there are.
    pub jobs: usize,
    /// Each zone, curve, host and cap.
    pub rows: Vec<Row>,
}

/// One case. Savings are of the carbon of running at once at full.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The zone.
    pub zone: String,
    /// The curve of all jobs; none is all in turn.
    pub curve: Option<String>,
    /// The host's watts for each accelerator.
    pub host_watts: i64,
    /// The cap; none is no cap.
    pub cap_watts: Option<i64>,
    /// Waiting alone: the exact optimum without a cap, our own plan of full points under one.
    pub shift_percent: f64,
    /// Slowing alone: started at once and never stopped, at the best mix of points that the deadline allows; without a cap.
    pub throttle_percent: Option<f64>,
    /// Our plan.
    pub saved_percent: f64,
    /// The joint optimum.
    pub lp_percent: f64,
    /// Is that the LP, or the plan's own bound in its place?
    pub is_exact: bool,
    /// Of what the optimum saves.
    pub share_percent: f64,
    /// What could be saved at most by the plan's own bound.
    pub bound_percent: f64,
    /// Deadlines missed.
    pub misses: usize,
    /// Runs shorter than the shortest run that is allowed.
    pub runs_shorter: usize,
    /// How much of its time work is slowed, in percent.
    pub slowed_percent: f64,
}

/// What a job may do to save carbon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// Wait and be stopped, at full.
    Wait,
    /// Run slower, from its arrival on and without a break.
    Slow,
    /// Both.
    Both,
}

/// The shortest run, in seconds: the first of E1.
const SHORTEST: i64 = 5;

/// How finely the end of a job that is only slowed is chosen.
const GRAIN: Seconds = Seconds(300);

/// A curve's points for so many accelerators, in one pool.
fn points(full: &PoolChoice, curve: &Curve) -> Result<Vec<PoolChoice>, String> {
    let (name, measured) = curve;
    let point = |(draw, speed): &(f64, f64)| {
        let millionths = (speed * 1e6).round() as u32;
        let pace = Pace::millionths(millionths).ok_or_else(|| {
            format!("{name}: a speed of {speed} is none: parts of the highest, above 0 and up to 1, are needed")
        })?;
        let mut load = full.load;
        load.watts = Watts((draw * f64::from(load.accelerators)).round() as i64);
        load.hosts = load.accelerators;
        Ok(PoolChoice { load, pace, ..*full })
    };
    let points = measured.iter().map(point).collect::<Result<Vec<_>, String>>()?;
    let (worth, _) = worth_choosing(&points);
    match worth.first() {
        Some(first) if first.pace.is_full() => Ok(worth),
        _ => Err(format!("{name}: no point has the speed 1: speeds are parts of the highest")),
    }
}

/// E1's jobs with curves, each accelerator with its own part of a host.
fn problem(
    setting: &Setting,
    carbon: &std::path::Path,
    curves: &[&Curve],
    host: i64,
    cap: Option<i64>,
) -> Result<Problem, String> {
    let as_e1 = e1::Setting {
        zones: Vec::new(),
        jobs: setting.jobs.clone(),
        start: setting.start.clone(),
        hours: setting.hours,
        caps: Vec::new(),
        shortest: Vec::new(),
        stop_costs: Vec::new(),
        seed: setting.seed,
    };
    let mut problem = foreseen(&e1::scenario(&as_e1, carbon, cap, SHORTEST, "known-length")?);
    for pool in &mut problem.pools {
        pool.nodes = pool.accelerators;
        pool.host_extra = Watts(host);
    }
    for (workload, curve) in problem.workloads.iter_mut().zip(curves.iter().cycle()) {
        let full = workload.choices.first().copied();
        let full = full.ok_or_else(|| format!("{} may run nowhere", workload.id))?;
        workload.choices = points(&full, curve)?;
    }
    Ok(problem)
}

/// The least that each workload costs by itself, summed: the optimum where nothing is scarce, in price × watts × seconds. Seconds may
/// be cut at will, and each is run at any mix of points.
///
/// # Errors
/// Where a workload has no deadline.
pub fn least(problem: &Problem, may: May) -> Result<f64, String> {
    let each = problem.workloads.iter().map(|workload| {
        let by = workload.finish_by.ok_or_else(|| format!("{} has no deadline: one of each is needed", workload.id))?;
        let from = problem.starts_from(workload);
        let choice = workload.choices.first().ok_or_else(|| format!("{} may run nowhere", workload.id))?;
        let price = &problem.supply(choice.pool).price;
        let mut points: Vec<(f64, f64)> = workload.choices.iter().map(|choice| per_second(problem, choice)).collect();
        points.reverse();
        Ok(match may {
            May::Wait => fill(price, (from, by), &[(0.0, 0.0), points[points.len() - 1]], workload.remaining),
            May::Both => {
                points.insert(0, (0.0, 0.0));
                fill(price, (from, by), &hull(&points), workload.remaining)
            }
            May::Slow => ends(workload, from, by)
                .map(|end| fill(price, (from, end), &hull(&points), workload.remaining))
                .fold(f64::INFINITY, f64::min),
        })
    });
    each.sum()
}

/// Pace and watts at the root of a point.
fn per_second(problem: &Problem, choice: &PoolChoice) -> (f64, f64) {
    let own = lp::with_hosts(problem, choice);
    let seen = problem.tree.seen_from_above(problem.pool(choice.pool).domain, own).last();
    (choice.pace.part(), seen.map_or(own, |(_, watts)| watts).0 as f64)
}

/// When a job may end that begins at once and never stops: no sooner than at full, no later than at its slowest.
fn ends(workload: &Workload, from: Moment, by: Moment) -> impl Iterator<Item = Moment> + use<> {
    let slowest = workload.choices.iter().map(|choice| choice.pace.takes(workload.remaining)).max();
    let first = from + workload.remaining;
    let last = (from + slowest.unwrap_or(workload.remaining) - Seconds(1)).min(by).max(first);
    let steps = (last - first).0 / GRAIN.0;
    (0..=steps).map(move |step| first + Seconds(step * GRAIN.0)).chain([last])
}

/// The points of the lower hull of watts over pace, the first of them included.
fn hull(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut hull: Vec<(f64, f64)> = Vec::new();
    for point in points {
        while let [.., a, b] = hull[..] {
            if (b.1 - a.1) * (point.0 - b.0) < (point.1 - b.1) * (b.0 - a.0) {
                break;
            }
            hull.pop();
        }
        hull.push(*point);
    }
    hull
}

/// The least cost of work in a window in which each second is run at the first point at least; prices are not negative.
fn fill(price: &Steps<i64>, (from, to): (Moment, Moment), points: &[(f64, f64)], work: Seconds) -> f64 {
    let (base_pace, base_watts) = points[0];
    let mut left = work.0 as f64 - base_pace * (to - from).0 as f64;
    let mut cost = price.integral(from, to) as f64 * base_watts;
    let mut open: Vec<(f64, f64)> = Vec::new();
    for (start, end, price) in price.pieces(from, to) {
        open.extend(points.windows(2).map(|pair| {
            let gains = pair[1].0 - pair[0].0;
            (price as f64 * (pair[1].1 - pair[0].1) / gains, gains * (end - start).0 as f64)
        }));
    }
    open.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    for (rate, most) in open {
        let done = most.min(left).max(0.0);
        cost += rate * done;
        left -= done;
    }
    // rounding to whole seconds of a slowest run may miss by less than one
    if left > 1.0 { f64::INFINITY } else { cost }
}

/// What running at once at full costs, and what it draws at its highest.
fn at_once(problem: &Problem) -> (f64, i64) {
    let mut cost = 0.0;
    let mut draw: Steps<i64> = Steps::constant(0);
    for workload in &problem.workloads {
        let Some(choice) = workload.choices.first() else { continue };
        let (from, to) = (workload.arrival, workload.arrival + workload.remaining);
        let watts = per_second(problem, choice).1;
        cost += problem.supply(choice.pool).price.integral(from, to) as f64 * watts;
        draw.update(from, to, |drawn| drawn + watts as i64);
    }
    (cost, draw.highest(Moment(i64::MIN / 4), Moment::FAR_FUTURE))
}

fn only_full(problem: &Problem) -> Problem {
    let mut problem = problem.clone();
    problem.workloads.iter_mut().for_each(|workload| workload.choices.retain(|choice| choice.pace.is_full()));
    problem
}

/// How long runs are, at whatever points.
fn lengths(runs: &[Run]) -> impl Iterator<Item = Seconds> + '_ {
    runs.chunk_by(|a, b| a.end == b.start).map(|run| run[run.len() - 1].end - run[0].start)
}

fn row(problem: &Problem, optimum: Option<f64>, is_capped: bool) -> Result<Row, String> {
    let all = at_once(problem).0;
    let percent = |cost: f64| 100.0 * (1.0 - cost / all);
    let plan = planned(problem)?;
    let money = |money: heliotrope::units::Money| money.0 as f64 * e1::COST_UNITS;
    let bound = plan.bound.map_or(f64::NEG_INFINITY, money);
    let shift = if is_capped { money(planned(&only_full(problem))?.cost) } else { least(problem, May::Wait)? };
    let throttle = if is_capped { None } else { Some(percent(least(problem, May::Slow)?)) };
    let lp_percent = percent(optimum.unwrap_or(bound));
    let saved_percent = percent(money(plan.cost));
    let runs = || plan.entries.iter().flat_map(|entry| &entry.runs);
    let time = |runs: &mut dyn Iterator<Item = &Run>| runs.map(|run| (run.end - run.start).0).sum::<i64>() as f64;
    let slowed = time(&mut runs().filter(|run| !run.pace.is_full()));
    let shorter = |(workload, entry): (&Workload, &heliotrope::core::plan::Entry)| {
        lengths(&entry.runs).filter(|length| *length < problem.slot.min(workload.remaining)).count()
    };
    Ok(Row {
        zone: String::new(),
        curve: None,
        host_watts: 0,
        cap_watts: None,
        shift_percent: percent(shift),
        throttle_percent: throttle,
        saved_percent,
        lp_percent,
        is_exact: optimum.is_some(),
        share_percent: 100.0 * saved_percent / lp_percent,
        bound_percent: percent(bound),
        misses: plan.misses(),
        runs_shorter: problem.workloads.iter().zip(&plan.entries).map(shorter).sum(),
        slowed_percent: 100.0 * slowed / time(&mut runs()).max(1.0),
    })
}

/// Measures.
///
/// # Errors
/// Where a file can't be read or does not say what is needed, and where the checker refuses a plan.
pub fn run(setting: &Setting) -> Result<E2, String> {
    let sweep = curves(&setting.sweep)?;
    let mut found = E2 { jobs: 0, rows: Vec::new() };
    for (zone, carbon) in &setting.zones {
        for curve in &setting.curves {
            let chosen: Vec<&Curve> =
                sweep.iter().filter(|(name, _)| curve.as_ref().is_none_or(|wanted| wanted == name)).collect();
            if chosen.is_empty() {
                let names: Vec<&str> = sweep.iter().map(|(name, _)| name.as_str()).collect();
                let wanted = curve.as_deref().unwrap_or_default();
                return Err(format!("{}: no curve {wanted}; there are {}", setting.sweep.display(), names.join(", ")));
            }
            for host in &setting.hosts {
                let free = problem(setting, carbon, &chosen, *host, None)?;
                // under the cap only with all curves
                let permille = setting.cap_permille.filter(|_| curve.is_none());
                let cap = permille.map(|permille| at_once(&free).1 * permille / 1000);
                let alone = least(&free, May::Both)?;
                found.jobs = free.workloads.len();
                let mut keep = |row: Row, cap_watts| {
                    let (zone, curve) = (zone.clone(), curve.clone());
                    found.rows.push(Row { zone, curve, host_watts: *host, cap_watts, ..row });
                };
                keep(row(&free, Some(alone), false)?, None);
                if let Some(cap) = cap {
                    let capped = problem(setting, carbon, &chosen, *host, Some(cap))?;
                    let optimum = if setting.exact { Some(lp::least_cost(&capped)?) } else { None };
                    keep(row(&capped, optimum, true)?, Some(cap));
                }
            }
        }
    }
    Ok(found)
}
