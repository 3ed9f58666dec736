//! Ways to hold a target: ours, and those of others rebuilt from what their papers say.

use crate::data::{IDLE, Job};
use crate::fleet::Fleet;
use crate::plant::Set;
use heliotrope::api::Measure;
use heliotrope::units::Watts;

/// What a policy sees in a second.
pub struct View<'a> {
    /// The second.
    pub second: i64,
    /// The target in force, in watts.
    pub target: Option<f64>,
    /// The meter's mean over five seconds, two seconds late.
    pub metered: Option<f64>,
    /// What each server draws in this second.
    pub by_server: &'a [f64],
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

/// Heliotrope: the lease protocol with its real claims, division and rows, and what the controller does beside it.
pub struct Ours {
    fleet: Fleet,
    measure: Measure,
    lasts: i64,
    ordered: bool,
}

impl Ours {
    /// A fleet that has its leases already, what the order that comes counts with, and how many seconds it lasts.
    #[must_use]
    pub fn new(fleet: Fleet, measure: Measure, lasts: i64) -> Self {
        Self { fleet, measure, lasts, ordered: false }
    }
}

impl Policy for Ours {
    fn name(&self) -> &'static str {
        match self.measure {
            Measure::Draw => "Heliotrope, by draw",
            Measure::Limits => "Heliotrope, by limits",
        }
    }

    fn act(&mut self, view: &View<'_>) -> Result<Vec<Set>, String> {
        self.fleet.meter(view.by_server);
        if let Some(target) = view.target.filter(|_| !self.ordered) {
            self.fleet.order(Watts(target as i64), self.lasts, self.measure)?;
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
