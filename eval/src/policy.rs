//! Ways to hold a target: ours, and those of others rebuilt from what their papers say.

use crate::data::{IDLE, Job};
use crate::fleet::Fleet;
use crate::plant::Set;
use heliotrope::agent::divide::{Device, Want, whole};
use heliotrope::core::divide::{Claim, Load, Track, divide};
use heliotrope::core::profile::Profile;
use heliotrope::units::Watts;
use std::collections::{BTreeMap, VecDeque};

/// What a policy sees in a second.
pub struct View<'a> {
    /// The second.
    pub second: i64,
    /// The target in force, in watts.
    pub target: Option<f64>,
    /// The meter's mean over five seconds, two seconds late.
    pub metered: Option<f64>,
    /// The workloads.
    pub jobs: &'a [Job],
    /// The workload of each server.
    pub servers: &'a [usize],
    /// What no limit moves, in watts: the hosts.
    pub fixed: f64,
}

/// A way to hold a target.
pub trait Policy {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// What is set on each server from this second on.
    ///
    /// # Errors
    /// Where it finds a fault in itself.
    fn act(&mut self, view: &View<'_>) -> Result<Vec<Set>, String>;
}

/// The same for all servers of a workload.
fn by_job(view: &View<'_>, of: impl Fn(usize) -> Set) -> Vec<Set> {
    view.servers.iter().map(|job| of(*job)).collect()
}

fn free(view: &View<'_>) -> Vec<Set> {
    by_job(view, |_| Set { limit: 400.0, paused: false })
}

/// The highest of a value between two at which the curves' draw is within a target.
fn highest(target: f64, (mut low, mut high): (f64, f64), draw: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if draw(middle) <= target { low = middle } else { high = middle }
    }
    low
}

fn all(jobs: &[Job], draw: impl Fn(&Job) -> f64) -> f64 {
    jobs.iter().map(|job| f64::from(job.gpus) * draw(job)).sum()
}

/// The limit under which a workload has a speed.
fn limit_for(job: &Job, speed: f64) -> f64 {
    highest(speed, (100.0, 400.0), |limit| job.at(limit).1)
}

/// Heliotrope by draw: `core/divide` over curves of the draw, corrected by the meter; a division each half minute, which is set
/// eight seconds later: agents read that seldom at worst. This is not what the controller does yet.
pub struct ByDraw {
    profiles: Vec<Profile>,
    track: Option<Track>,
    /// Divisions under way: when each is set.
    coming: VecDeque<(i64, Vec<Set>)>,
    set: Option<Vec<Set>>,
    divided: i64,
}

/// From one division to the next while all is well, in seconds.
const PERIOD: i64 = 30;
/// From a division to the last limit that is set by it, in seconds.
const READ: i64 = 8;
/// From a division until the meter's mean is of what it set: read, settled, five seconds long and two late.
const TOLD: i64 = 20;
/// What stays free below a target, as a part of it: some three deviations of what a limited sum strays by.
const MARGIN: f64 = 0.004;
/// What stays free more, as a part of what is drawn under limits that hardly bind: their work's phases are not cut off.
const LOOSE: f64 = 0.008;

impl ByDraw {
    /// Nothing is known yet.
    ///
    /// # Errors
    /// Where a curve can't be one.
    pub fn new(jobs: &[Job]) -> Result<Self, String> {
        let profiles = jobs.iter().map(Job::profile).collect::<Result<_, _>>()?;
        Ok(Self { profiles, track: None, coming: VecDeque::new(), set: None, divided: i64::MIN / 2 })
    }

    fn divide(&self, view: &View<'_>, budget: Watts) -> Vec<Set> {
        let tolerated = |job: &Job| ((1.0 - job.floor) * 1000.0).round() as u32;
        let both = view.jobs.iter().zip(&self.profiles);
        let loads: Vec<Load<'_>> =
            both.map(|(job, profile)| Load { profile, count: job.gpus, tolerated: tolerated(job) }).collect();
        let claims: Vec<Claim> = loads.iter().map(Load::claim).collect();
        let given = divide(budget, &claims, &vec![Watts(0); claims.len()], &|_| Watts(0));
        let device = |i: u32| Device { uuid: i.to_string(), min: Watts(100), max: Watts(400) };
        let devices: Vec<Device> = (0..8).map(device).collect();
        let limits: Vec<Watts> = loads.iter().zip(given).map(|(load, watts)| load.limit(watts)).collect();
        by_job(view, |job| {
            // the node divides what it has among its accelerators
            let own = whole(limits[job].times(8), &devices, &Want::Level(BTreeMap::new()));
            Set { limit: own[0].0 as f64, paused: false }
        })
    }
}

/// The margin for limits: more where they leave their work free.
fn margin(view: &View<'_>, set: &[Set], target: Watts) -> Watts {
    let is_loose = |(_, set): &(&usize, &Set)| set.limit >= 340.0;
    let loose: f64 =
        view.servers.iter().zip(set).filter(is_loose).map(|(job, set)| 8.0 * view.jobs[*job].at(set.limit).0).sum();
    Watts((target.0 as f64 * MARGIN + loose * LOOSE) as i64)
}

impl Policy for ByDraw {
    fn name(&self) -> &'static str {
        "Heliotrope, by draw"
    }

    fn act(&mut self, view: &View<'_>) -> Result<Vec<Set>, String> {
        let Some(target) = view.target.map(|watts| Watts(watts as i64)) else {
            (self.track, self.set, self.divided) = (None, None, i64::MIN / 2);
            self.coming.clear();
            return Ok(free(view));
        };
        let first = self.track.is_none();
        let track = self.track.get_or_insert_with(|| Track::new(Watts((target.0 as f64 * MARGIN) as i64)));
        let waited = view.second - self.divided;
        let is_above = view.metered.is_some_and(|drawn| drawn > target.0 as f64);
        if first || waited >= PERIOD || (is_above && waited >= TOLD) {
            match view.metered.filter(|_| !first) {
                Some(drawn) => track.metered(target, Watts(drawn as i64)),
                None => track.silent(),
            }
            let mut next = *track;
            // what binds is known when it is divided
            next.margin = margin(view, &self.divide(view, next.budget(target)), target);
            let set = self.divide(view, next.budget(target));
            (self.track, self.divided) = (Some(next), view.second);
            self.coming.push_back((view.second + READ, set));
        }
        while self.coming.front().is_some_and(|(at, _)| *at <= view.second) {
            self.set = self.coming.pop_front().map(|(_, set)| set);
        }
        Ok(self.set.clone().unwrap_or_else(|| free(view)))
    }
}

/// Heliotrope by limits, as the controller does it today: the lease protocol with its real claims, division and rows.
pub struct ByLimits {
    fleet: Fleet,
    ordered: bool,
}

impl ByLimits {
    /// A fleet that has its leases already.
    #[must_use]
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, ordered: false }
    }
}

impl Policy for ByLimits {
    fn name(&self) -> &'static str {
        "Heliotrope, by limits"
    }

    fn act(&mut self, view: &View<'_>) -> Result<Vec<Set>, String> {
        if let Some(target) = view.target.filter(|_| !self.ordered) {
            self.fleet.order(Watts(target as i64), 100_000)?;
            self.ordered = true;
        }
        self.fleet.step()?;
        Ok(self.fleet.limits().into_iter().map(|limit| Set { limit: limit.0 as f64, paused: false }).collect())
    }
}

/// One limit for all: the highest at which the curves' draw is within the target. It knows the curves, which is kind to it.
pub struct Uniform;

impl Policy for Uniform {
    fn name(&self) -> &'static str {
        "uniform cap"
    }

    fn act(&mut self, view: &View<'_>) -> Result<Vec<Set>, String> {
        let Some(target) = view.target else { return Ok(free(view)) };
        let limit = highest(target, (100.0, 400.0), |limit| all(view.jobs, |job| job.at(limit).0));
        Ok(by_job(view, |_| Set { limit, paused: false }))
    }
}

/// The same slowdown for all, as one frequency would give: the highest speed that all can have within the target. It knows the
/// curves. What the name stands for in the trial's baselines (arXiv 2507.00909) is not published as code: this is our reading.
pub struct DvfsFair;

impl Policy for DvfsFair {
    fn name(&self) -> &'static str {
        "DVFS-fair"
    }

    fn act(&mut self, view: &View<'_>) -> Result<Vec<Set>, String> {
        let Some(target) = view.target else { return Ok(free(view)) };
        let draw = |speed: f64| all(view.jobs, |job| job.at(limit_for(job, speed)).0);
        let speed = highest(target, (0.0, 1.0), draw);
        Ok(by_job(view, |job| Set { limit: limit_for(&view.jobs[job], speed), paused: false }))
    }
}

/// Whole workloads are stopped, those that tolerate most first, until the curves' draw is within the target. Our reading of the
/// name, as above.
pub struct PauseGreedy;

impl Policy for PauseGreedy {
    fn name(&self) -> &'static str {
        "pause-greedy"
    }

    fn act(&mut self, view: &View<'_>) -> Result<Vec<Set>, String> {
        let Some(target) = view.target else { return Ok(free(view)) };
        let mut order: Vec<usize> = (0..view.jobs.len()).collect();
        order.sort_by(|a, b| view.jobs[*a].floor.total_cmp(&view.jobs[*b].floor));
        let mut drawn = all(view.jobs, |job| job.at(400.0).0);
        let mut paused = vec![false; view.jobs.len()];
        for job in order {
            if drawn > target {
                paused[job] = true;
                drawn -= f64::from(view.jobs[job].gpus) * (view.jobs[job].at(400.0).0 - IDLE);
            }
        }
        Ok(by_job(view, |job| Set { limit: 400.0, paused: paused[job] }))
    }
}

/// Two thresholds: at 80 % of the target the flexible ones are slowed, at 89 % all are, above it everything brakes; let go five
/// points below. After POLCA (Patel et al., ASPLOS 2024), whose thresholds these are; there clocks are set, here limits of
/// about the same effect, and 40 s is the time that its out-of-band path takes.
#[derive(Default)]
pub struct TwoThresholds {
    level: usize,
    since: i64,
}

impl Policy for TwoThresholds {
    fn name(&self) -> &'static str {
        "two-threshold (POLCA)"
    }

    fn act(&mut self, view: &View<'_>) -> Result<Vec<Set>, String> {
        let (Some(target), Some(drawn)) = (view.target, view.metered) else { return Ok(free(view)) };
        let share = drawn / target;
        let wanted = match share {
            share if share > 1.0 => 3,
            share if share > 0.89 => self.level.max(2),
            share if share > 0.80 => self.level.max(1),
            share if share < 0.75 => self.level.saturating_sub(1),
            _ => self.level,
        };
        // the brake takes five seconds, a limit forty
        let takes = if wanted == 3 { 5 } else { 40 };
        if wanted != self.level && view.second >= self.since + takes {
            (self.level, self.since) = (wanted, view.second);
        }
        Ok(by_job(view, |job| {
            let flexible = view.jobs[job].floor <= 0.5;
            let limit = match (self.level, flexible) {
                (0, _) | (1, false) => 400.0,
                (1, true) => 250.0,
                (2, true) => 200.0,
                (2, false) => 300.0,
                _ => 100.0,
            };
            Set { limit, paused: false }
        }))
    }
}

/// Three bands: above 99 % of the target so much is cut that 95 % are left, the same share from each; below 90 % it is let go.
/// After Dynamo (Wu et al., ISCA 2016), which reads every three seconds and lets RAPL settle two.
#[derive(Default)]
pub struct ThreeBands {
    limit: Option<f64>,
    acted: i64,
}

impl Policy for ThreeBands {
    fn name(&self) -> &'static str {
        "three-band (Dynamo)"
    }

    fn act(&mut self, view: &View<'_>) -> Result<Vec<Set>, String> {
        let (Some(target), Some(drawn)) = (view.target, view.metered) else { return Ok(free(view)) };
        // the meter is seven seconds behind: it waits until it sees what it did
        if view.second >= self.acted + 12 {
            if drawn > 0.99 * target {
                // the draw of each, which is where its limit begins to bind
                let each = (drawn - view.fixed) / (8 * view.servers.len()) as f64;
                let each = self.limit.unwrap_or(400.0).min(each * 1.02);
                let left = (0.95 * target - view.fixed).max(0.0) / (drawn - view.fixed).max(1.0);
                (self.limit, self.acted) = (Some((each * left).max(100.0)), view.second);
            } else if drawn < 0.90 * target && self.limit.is_some() {
                (self.limit, self.acted) = (None, view.second);
            }
        }
        Ok(by_job(view, |_| Set { limit: self.limit.unwrap_or(400.0), paused: false }))
    }
}
