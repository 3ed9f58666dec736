//! E4: more servers under the same feed. What is reserved are limits, so servers that are held to lower ones need less of it.

use crate::data::{self, Job};
use crate::fleet::{self, Fleet};
use crate::plant::{Chance, Set};
use crate::policy::{Policy, ThreeBands, TwoThresholds, View};
use heliotrope::api::Measure;
use heliotrope::core::profile::Curve;
use heliotrope::units::Watts;
use serde::Serialize;
use std::collections::VecDeque;
use std::path::PathBuf;

/// What it is measured on.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Power by hundredth of all samples.
    pub power: PathBuf,
    /// Accelerators that fit by their nameplates; of each a feed is made.
    pub accelerators: Vec<u32>,
    /// Servers more than that, in hundredths, that are tried.
    pub more: Vec<u32>,
    /// How long each run is, in seconds: an event of a third of it in the middle.
    pub seconds: i64,
    /// Chance.
    pub seed: u64,
}

/// The most that an accelerator draws under 400 W, in watts: overshoot of a tenth.
const WORST: f64 = 440.0;
/// The same in thousandths of a limit.
const OVERSHOOT: u32 = 100;
/// What the event leaves of the feed, in hundredths.
const EVENT: u32 = 85;
/// How long the feed has to come under a cap that falls, in seconds.
const CORRECTION: i64 = 30;
/// Until all have their leases, in seconds.
const SETTLE: i64 = 260;
/// What draws less has no work on it, in watts: a process alone makes an A100 draw more.
const UNUSED: f64 = 80.0;
/// What draws less is not slowed by a limit, in watts.
const BUSY: f64 = 120.0;

/// One run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// The policy.
    pub policy: String,
    /// Servers more than by nameplate, in hundredths.
    pub more_percent: u32,
    /// Servers.
    pub servers: usize,
    /// Over the cap in force, by the plant's own power; after the correction time where the cap fell.
    pub watt_seconds_over: f64,
    /// The highest second, in hundredths of the feed.
    pub peak_percent: f64,
    /// Speed of the accelerators that have work, in hundredths of what they would do unlimited.
    pub work_kept_percent: f64,
    /// Work of all servers, in hundredths of what those by nameplate do unlimited.
    pub work_percent: f64,
}

/// One feed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Feed {
    /// Accelerators that fit by nameplate.
    pub accelerators: u32,
    /// Its cap: that of so many servers at their worst.
    pub cap_watts: f64,
    /// Cap by mean power of a server: no admission gets beyond, in hundredths more than by nameplate.
    pub limit_percent: f64,
    /// All runs.
    pub runs: Vec<Ran>,
}

/// What E4 has found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct E4 {
    /// The most that a server draws beside its accelerators.
    pub host_watts: f64,
    /// The mean draw of an accelerator, unlimited.
    pub mean_watts: f64,
    /// The feeds.
    pub feeds: Vec<Feed>,
}

impl Feed {
    /// The most servers that a policy held with nothing over, in hundredths more than by nameplate.
    #[must_use]
    pub fn most(&self, policy: &str) -> Option<&Ran> {
        let own: Vec<&Ran> = self.runs.iter().filter(|ran| ran.policy == policy).collect();
        // beyond the first that failed nothing counts
        own.into_iter().take_while(|ran| ran.watt_seconds_over <= 0.0).last()
    }
}

/// Work that comes and goes: what each accelerator would draw.
struct Demand<'a> {
    cdf: &'a [f64],
    /// Each server's place among all samples, from 0 to 1, and until when.
    places: Vec<(f64, i64)>,
    chance: Chance,
}

impl Demand<'_> {
    /// Which servers have work: an A100 below 80 W has none (a third of all samples).
    fn works(&self) -> Vec<bool> {
        let watts = |place: f64| self.cdf[(place.clamp(0.0, 1.0) * (self.cdf.len() - 1) as f64) as usize];
        self.places.iter().map(|(place, _)| watts(*place) >= UNUSED).collect()
    }

    /// The next second's watts of each accelerator. A server's work lasts some five minutes; its accelerators are alike, but for
    /// noise. Every ten minutes a third of all servers begin something at the same time, near the top of the distribution: a
    /// large job.
    fn step(&mut self, second: i64, watts: &mut Vec<f64>) {
        watts.clear();
        let surge = second.rem_euclid(600) == 0;
        for place in &mut self.places {
            if surge && self.chance.part() < 0.33 {
                *place = (0.9 + 0.1 * self.chance.part(), second + 240);
            } else if second >= place.1 {
                *place = (self.chance.part(), second + 60 + (self.chance.part() * 480.0) as i64);
            }
            for _ in 0..8 {
                let at = (place.0 + 0.02 * self.chance.normal()).clamp(0.0, 1.0);
                let at = (at * (self.cdf.len() - 1) as f64) as usize;
                watts.push(self.cdf[at].min(WORST));
            }
        }
    }
}

/// Two kinds of work, as the policies of others tell them apart: that may be slowed first, and that may not.
fn kinds(curve: &Curve) -> Vec<Job> {
    let points: Vec<(f64, f64, f64)> =
        curve.limits().map(|limit| (limit.0 as f64, limit.0 as f64, f64::from(curve.at(limit)) / 1000.0)).collect();
    let kind = |name: &str, floor| Job {
        name: name.to_owned(),
        gpus: 8,
        flexibility: "Medium",
        floor,
        points: points.clone(),
        in_trial: 1.0,
    };
    vec![kind("flexible", 0.5), kind("firm", 0.9)]
}

enum Held {
    Ours(Box<Fleet>),
    Others(Box<dyn Policy>),
    Nobody,
}

struct Site<'a> {
    cdf: &'a [f64],
    host: f64,
    cap: f64,
    seconds: i64,
    seed: u64,
}

impl Site<'_> {
    fn run(&self, name: &str, mut held: Held, servers: usize, by_nameplate: usize, more: u32) -> Result<Ran, String> {
        let curve = Curve::generic(Watts(fleet::MAX));
        let jobs = kinds(&curve);
        let kind: Vec<usize> = (0..servers).map(|at| at % 2).collect();
        let mut demand = Demand { cdf: self.cdf, places: vec![(0.0, 0); servers], chance: Chance::new(self.seed) };
        let mut faults = Chance::new(self.seed + 1);
        let (from, to) = (self.seconds / 3, self.seconds * 2 / 3);
        let fixed = self.host * servers as f64;
        let mut set = vec![Set { limit: 400.0, paused: false }; servers];
        let mut drawn: Vec<f64> = vec![100.0; servers * 8];
        let (mut wants, mut recent, mut metered) = (Vec::new(), VecDeque::new(), None);
        let (mut over, mut peak, mut done, mut asked) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
        let mut lost_until = i64::MIN;
        for second in -SETTLE..self.seconds {
            let in_event = (from..to).contains(&second);
            let cap = if in_event { self.cap * f64::from(EVENT) / 100.0 } else { self.cap };
            // sensors are lost for two minutes, now and then, and right before the event
            if second > 0 && (faults.part() < 1.0 / 900.0 || second == from - 20) {
                lost_until = second + 120;
            }
            match &mut held {
                Held::Ours(fleet) => {
                    if second == from {
                        fleet.order(Watts(cap as i64), to - from, Measure::Limits)?;
                    }
                    // the controller dies right after the order, and once more in the middle of the event
                    if second == from + 2 || second == i64::midpoint(from, to) {
                        fleet.restart_controller(60);
                    }
                    // what a node hears goes stale, and agents die and come back
                    if second > 0 && faults.part() < 1.0 / 60.0 {
                        fleet.deafen((faults.part() * servers as f64) as usize % servers, 120);
                    }
                    if second > 0 && faults.part() < 1.0 / 300.0 {
                        fleet.boot((faults.part() * servers as f64) as usize % servers);
                    }
                    fleet.employ(&demand.works());
                    fleet.step()?;
                    for (set, limit) in set.iter_mut().zip(fleet.limits()) {
                        set.limit = limit.0 as f64;
                    }
                }
                Held::Others(policy) => {
                    let view =
                        View { second, target: Some(cap), metered, by_server: &[], jobs: &jobs, servers: &kind, fixed };
                    set = policy.act(&view)?;
                }
                Held::Nobody => {}
            }
            demand.step(second, &mut wants);
            let mut sum = fixed;
            for (at, (drawn, wants)) in drawn.iter_mut().zip(&wants).enumerate() {
                let limit = set[at / 8].limit;
                *drawn += (wants.min(limit * WORST / 400.0) - *drawn) * 2.0 / 3.0;
                sum += *drawn;
                if second >= 0 && *wants > BUSY {
                    asked += 1.0;
                    let is_slowed = *wants > limit;
                    done += if is_slowed { f64::from(curve.at(Watts(limit as i64))) / 1000.0 } else { 1.0 };
                }
            }
            recent.push_back(sum);
            if recent.len() > 7 {
                recent.pop_front();
            }
            if second >= lost_until && recent.len() == 7 {
                metered = Some(recent.iter().take(5).sum::<f64>() / 5.0);
            }
            let binding = if in_event && second < from + CORRECTION { self.cap } else { cap };
            if second >= 0 {
                over += (sum - binding).max(0.0);
                peak = peak.max(sum);
            }
        }
        let kept = 100.0 * done / asked.max(1.0);
        Ok(Ran {
            policy: name.to_owned(),
            more_percent: more,
            servers,
            watt_seconds_over: over,
            peak_percent: 100.0 * peak / self.cap,
            work_kept_percent: kept,
            work_percent: kept * servers as f64 / by_nameplate as f64,
        })
    }

    fn fleet(&self, servers: usize) -> Result<Fleet, String> {
        let point = |limit: i64, work: i64| serde_json::json!({"limitWatts": limit, "drawWatts": limit, "throughputPermille": work});
        let curve = Curve::generic(Watts(fleet::MAX));
        let points: Vec<serde_json::Value> =
            curve.limits().map(|limit| point(limit.0, i64::from(curve.at(limit)))).collect();
        let profile = serde_json::json!({"deviceModel": fleet::A100, "points": points, "minWatts": fleet::MIN,
            "maxWatts": fleet::MAX, "idleWatts": 60, "overshootPermille": OVERSHOOT, "source": "the generic curve"});
        Fleet::new(&fleet::Spec {
            servers: vec![0; servers],
            profiles: vec![(profile, "High")],
            cap: Watts(self.cap as i64),
            lowest: Watts((self.cap * f64::from(EVENT) / 100.0) as i64),
            host: Watts(self.host.ceil() as i64),
            overshoot: OVERSHOOT,
            seed: self.seed,
        })
    }
}

/// The policies, in the order of the tables.
pub const POLICIES: [&str; 4] = ["Heliotrope", "nameplate", "two-threshold (POLCA)", "three-band (Dynamo)"];

/// Measures it.
///
/// # Errors
/// Where the data can't be read, or Heliotrope finds a fault in itself.
pub fn run(setting: &Setting) -> Result<E4, String> {
    let (cdf, servers) = data::power_cdf(&setting.power)?;
    // what a server draws beside its accelerators, at the place where one in a thousand draws more
    let at = cdf.len() * 999 / 1000;
    let host = (servers[at.min(servers.len() - 1)] - 8.0 * cdf[at]).max(0.0);
    let mean = cdf.iter().map(|watts| watts.min(WORST)).sum::<f64>() / cdf.len() as f64;
    let feeds = std::thread::scope(|scope| {
        let feed = |accelerators: &u32| {
            let (accelerators, cdf) = (*accelerators, &cdf);
            scope.spawn(move || feed(setting, accelerators, cdf, host, mean))
        };
        let running: Vec<_> = setting.accelerators.iter().map(feed).collect();
        let end = |running: std::thread::ScopedJoinHandle<'_, Result<Feed, String>>| {
            running.join().unwrap_or_else(|_| Err("a run of E4 has panicked: its message is above".to_owned()))
        };
        running.into_iter().map(end).collect::<Result<Vec<Feed>, String>>()
    })?;
    Ok(E4 { host_watts: host, mean_watts: mean, feeds })
}

fn feed(setting: &Setting, accelerators: u32, cdf: &[f64], host: f64, mean: f64) -> Result<Feed, String> {
    let by_nameplate = (accelerators as usize / 8).max(1);
    let cap = by_nameplate as f64 * (host + 8.0 * WORST);
    let site = Site { cdf, host, cap, seconds: setting.seconds, seed: setting.seed };
    let mut runs = Vec::new();
    for policy in POLICIES {
        for more in &setting.more {
            let servers = by_nameplate * (100 + *more as usize) / 100;
            let held = match policy {
                "Heliotrope" => Held::Ours(Box::new(site.fleet(servers)?)),
                "nameplate" if *more > 0 => break,
                "nameplate" => Held::Nobody,
                "two-threshold (POLCA)" => Held::Others(Box::new(TwoThresholds::default())),
                _ => Held::Others(Box::new(ThreeBands::default())),
            };
            let ran = site.run(policy, held, servers, by_nameplate, *more)?;
            let is_over = ran.watt_seconds_over > 0.0;
            runs.push(ran);
            if is_over {
                break;
            }
        }
    }
    let limit = 100.0 * (cap / (host + 8.0 * mean) / by_nameplate as f64 - 1.0);
    Ok(Feed { accelerators, cap_watts: cap, limit_percent: limit, runs })
}
