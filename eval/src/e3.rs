//! E3: holding a curtailment. The Phoenix event of May 2025, and steps from 10 to 60 %.

use crate::data::{self, Job};
use crate::fleet::{self, Fleet};
use crate::lp;
use crate::plant::Plant;
use crate::policy::{DvfsFair, Ours, PauseGreedy, Policy, ThreeBands, TwoThresholds, Uniform, View};
use heliotrope::api::Measure;
use heliotrope::units::Watts;
use serde::Serialize;
use std::collections::VecDeque;
use std::path::PathBuf;

/// What it is measured on.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The folder of the event.
    pub event: PathBuf,
    /// The sweep of limits.
    pub sweep: PathBuf,
    /// How long the event is held, in seconds.
    pub hold: i64,
    /// How long each step is held, in seconds.
    pub step: i64,
    /// The steps, in hundredths less than the baseline.
    pub steps: Vec<u32>,
    /// Chance.
    pub seed: u64,
}

/// How long a domain has to come under its cap, in seconds.
pub const CORRECTION: i64 = 30;
/// Seconds at full power before it begins.
const BEFORE: i64 = 300;
/// Seconds after its end in which it may draw more than before: work that was held back comes at once.
const AFTER: i64 = 600;
/// A speed this far below a floor is not called broken: a limit is set in whole watts, half a point each.
const TOLERANCE: f64 = 0.005;
/// Minutes of the trial before it was slowed: of these the median is its baseline.
const TRIAL_BEFORE: usize = 80;

/// What one policy did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The policy.
    pub policy: String,
    /// Seconds above the target after the correction time.
    pub seconds_above: i64,
    /// From the start of the event until it was first at or below the target; none where it never was.
    pub seconds_to_target: Option<i64>,
    /// The mean below the target after the correction time, in hundredths of the baseline: only what is below counts.
    pub over_curtailment_percent: f64,
    /// Work done of that at full speed, weighted by accelerators.
    pub weighted_performance: f64,
    /// The same as a share of the optimum's.
    pub share_of_lp: f64,
    /// Flexibility floors below which a workload was on average, though the optimum keeps them.
    pub floors_broken: usize,
    /// How far the highest minute after its end is above the mean before it, in hundredths of that.
    pub rebound_percent: f64,
    /// Each workload's mean speed.
    pub speeds: Vec<f64>,
    /// The draw of each second, for the picture.
    #[serde(skip)]
    pub drawn: Vec<f64>,
}

/// A target and how it was held.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Hundredths less than the baseline.
    pub percent: u32,
    /// The target in watts.
    pub target_watts: f64,
    /// The most that can be done within it.
    pub lp_performance: f64,
    /// Floors that the optimum keeps.
    pub lp_floors_kept: usize,
    /// What each policy did.
    pub policies: Vec<Held>,
}

/// What the trial itself did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// Its baseline: the median of its first 80 minutes.
    pub baseline_watts: f64,
    /// How much further it was below the target than it had to be, over its three hours; in hundredths of its baseline.
    pub over_curtailment_percent: f64,
    /// Weighted by accelerators.
    pub weighted_performance: f64,
    /// How far its sum strays from one of its first 80 minutes to the next, in hundredths.
    pub noise_percent: f64,
    /// The same while it was held.
    pub held_noise_percent: f64,
}

/// What E3 has found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct E3 {
    /// Accelerators.
    pub accelerators: u32,
    /// What they draw at full speed by the curves.
    pub baseline_watts: f64,
    /// How far the model's sum strays from one minute at full speed to the next, in hundredths.
    pub noise_percent: f64,
    /// The same while Heliotrope holds it by draw.
    pub held_noise_percent: f64,
    /// The trial.
    pub trial: Trial,
    /// The event.
    pub phoenix: Event,
    /// The steps.
    pub steps: Vec<Event>,
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len() as f64).max(1.0)
}

/// How far values stray from one to the next, in hundredths of their mean: by the median of the changes, so that neither a slow
/// drift nor a dropped sample counts (1.4826 medians are a deviation).
fn noise(values: &[f64]) -> f64 {
    let mut changes: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    changes.sort_by(f64::total_cmp);
    let median = changes.get(changes.len() / 2).copied().unwrap_or(0.0);
    1.4826 * median / 2.0_f64.sqrt() / mean(values) * 100.0
}

fn trial(minutes: &[f64], jobs: &[Job], percent: u32) -> Trial {
    let mut before = minutes[..TRIAL_BEFORE].to_vec();
    before.sort_by(f64::total_cmp);
    let baseline = before[before.len() / 2];
    let target = baseline * f64::from(100 - percent) / 100.0;
    // its three hours begin with the first minute that is under the target
    let first = minutes.iter().position(|watts| *watts <= target).unwrap_or(0);
    let event = &minutes[first..(first + 180).min(minutes.len())];
    let below = event.iter().map(|watts| (target - watts).max(0.0)).sum::<f64>() / event.len().max(1) as f64;
    let speeds: Vec<f64> = jobs.iter().map(|job| job.in_trial).collect();
    Trial {
        baseline_watts: baseline,
        over_curtailment_percent: below / baseline * 100.0,
        weighted_performance: lp::weighted(jobs, &speeds),
        noise_percent: noise(&minutes[..TRIAL_BEFORE]),
        held_noise_percent: noise(event),
    }
}

/// Runs a policy from full power through an event.
fn hold(
    policy: &mut dyn Policy,
    jobs: &[Job],
    target: f64,
    seconds: i64,
    seed: u64,
    lp: (f64, &[f64]),
) -> Result<Held, String> {
    let mut plant = Plant::new(jobs, seed);
    let servers = plant.servers.clone();
    let mut recent: VecDeque<f64> = VecDeque::new();
    let mut drawn = Vec::new();
    let mut sums = vec![0.0; jobs.len()];
    for second in -BEFORE..seconds + AFTER {
        let metered = (recent.len() == 7).then(|| recent.iter().take(5).sum::<f64>() / 5.0);
        let (target, by_server) = ((0..seconds).contains(&second).then_some(target), plant.by_server());
        let view = View { second, target, metered, by_server: &by_server, jobs, servers: &servers, fixed: 0.0 };
        let set = policy.act(&view)?;
        let watts = plant.step(&set);
        recent.push_back(watts);
        if recent.len() > 7 {
            recent.pop_front();
        }
        drawn.push(watts);
        if (CORRECTION..seconds).contains(&second) {
            for (sum, speed) in sums.iter_mut().zip(plant.speeds()) {
                *sum += speed;
            }
        }
    }
    let (before, held) = drawn.split_at(BEFORE as usize);
    let (held, released) = held.split_at(seconds as usize);
    let highest = released.windows(60).map(mean).fold(0.0, f64::max);
    let rebound_percent = (highest / mean(before) - 1.0) * 100.0;
    let after = &held[CORRECTION as usize..];
    let count = after.len() as f64;
    let speeds: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
    let baseline: f64 = jobs.iter().map(|job| f64::from(job.gpus) * job.at(400.0).0).sum();
    let below = after.iter().map(|watts| (target - watts).max(0.0)).sum::<f64>() / count;
    let performance = lp::weighted(jobs, &speeds);
    let is_broken =
        |((job, speed), best): ((&Job, &f64), &f64)| *best >= job.floor - 1e-6 && *speed < job.floor - TOLERANCE;
    Ok(Held {
        policy: policy.name().to_owned(),
        seconds_above: after.iter().filter(|watts| **watts > target).count() as i64,
        seconds_to_target: held.iter().position(|watts| *watts <= target).map(|at| at as i64),
        over_curtailment_percent: below / baseline * 100.0,
        weighted_performance: performance,
        share_of_lp: performance / lp.0,
        floors_broken: jobs.iter().zip(&speeds).zip(lp.1).filter(|pair| is_broken(*pair)).count(),
        rebound_percent,
        speeds,
        drawn,
    })
}

/// The trial's servers under the protocol, with their leases.
fn fleet(jobs: &[Job], baseline: f64, seed: u64) -> Result<Fleet, String> {
    let servers = Plant::new(jobs, seed).servers;
    let profiles = jobs.iter().map(|job| (job.spec(fleet::A100), job.flexibility)).collect();
    let cap = servers.len() as i64 * 8 * 412 + 1000;
    let spec = fleet::Spec {
        servers,
        profiles,
        cap: Watts(cap),
        lowest: Watts((baseline * 0.3) as i64),
        // only accelerators were metered
        host: Watts(0),
        overshoot: data::OVERSHOOT,
        seed,
    };
    let mut fleet = Fleet::new(&spec)?;
    for _ in 0..200 {
        fleet.step()?;
    }
    Ok(fleet)
}

fn event(jobs: &[Job], percent: u32, seconds: i64, seed: u64) -> Result<Event, String> {
    let baseline: f64 = jobs.iter().map(|job| f64::from(job.gpus) * job.at(400.0).0).sum();
    let target = baseline * f64::from(100 - percent) / 100.0;
    let best = lp::best(jobs, target)?;
    let performance = lp::weighted(jobs, &best);
    let mut policies: Vec<Box<dyn Policy>> = vec![
        Box::new(Ours::new(fleet(jobs, baseline, seed)?, Measure::Draw, seconds)),
        Box::new(Ours::new(fleet(jobs, baseline, seed)?, Measure::Limits, seconds)),
        Box::new(Uniform),
        Box::new(DvfsFair),
        Box::new(PauseGreedy),
        Box::new(TwoThresholds::default()),
        Box::new(ThreeBands::default()),
    ];
    let held = policies
        .iter_mut()
        .map(|policy| hold(policy.as_mut(), jobs, target, seconds, seed, (performance, &best)))
        .collect::<Result<_, _>>()?;
    Ok(Event {
        percent,
        target_watts: target,
        lp_performance: performance,
        lp_floors_kept: jobs.iter().zip(&best).filter(|(job, speed)| **speed >= job.floor - 1e-6).count(),
        policies: held,
    })
}

/// Measures it.
///
/// # Errors
/// Where the data can't be read, or Heliotrope finds a fault in itself.
pub fn run(setting: &Setting) -> Result<E3, String> {
    let jobs = data::jobs(&setting.event, &setting.sweep)?;
    let minutes = data::trial(&setting.event)?;
    let phoenix = event(&jobs, 25, setting.hold, setting.seed)?;
    let steps = setting
        .steps
        .iter()
        .map(|percent| event(&jobs, *percent, setting.step, setting.seed))
        .collect::<Result<_, _>>()?;
    let mut quiet = Plant::new(&jobs, setting.seed);
    let free = vec![crate::plant::Set { limit: 400.0, paused: false }; quiet.servers.len()];
    let seconds: Vec<f64> = (0..TRIAL_BEFORE * 60).map(|_| quiet.step(&free)).collect();
    let by_minute: Vec<f64> = seconds.chunks(60).map(mean).collect();
    let held = phoenix
        .policies
        .first()
        .map_or(&[][..], |held| &held.drawn[BEFORE as usize + 60..BEFORE as usize + setting.hold as usize]);
    let held: Vec<f64> = held.chunks(60).map(mean).collect();
    Ok(E3 {
        accelerators: jobs.iter().map(|job| job.gpus).sum(),
        baseline_watts: jobs.iter().map(|job| f64::from(job.gpus) * job.at(400.0).0).sum(),
        noise_percent: noise(&by_minute),
        held_noise_percent: noise(&held),
        trial: trial(&minutes, &jobs, 25),
        phoenix,
        steps,
    })
}
