//! Accelerators that draw by their curves, with noise, and take their time.

use crate::data::{IDLE, Job, OVERSHOOT};
use heliotrope::core::chance::random;

/// What is set on one server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Set {
    /// The limit of each of its accelerators, in watts.
    pub limit: f64,
    /// Its work is stopped.
    pub paused: bool,
}

/// Chance that can be replayed.
#[derive(Debug, Clone)]
pub struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    /// Chance of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// Evenly from 0 to 1.
    pub fn part(&mut self) -> f64 {
        self.drawn += 1;
        (random(self.seed, self.drawn) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal, of mean 0 and deviation 1: a sum of twelve (Irwin and Hall) would be better and four are enough here.
    pub fn normal(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.part() - 0.5).sum();
        sum * 3.0_f64.sqrt()
    }
}

/// A value that wanders around 1 and comes back: deviation, and after how many seconds it has forgotten.
#[derive(Debug, Clone, Copy)]
struct Wander {
    away: f64,
}

impl Wander {
    fn step(&mut self, deviation: f64, seconds: f64, chance: &mut Chance) -> f64 {
        let kept = (-1.0 / seconds).exp();
        self.away = self.away * kept + deviation * (1.0 - kept * kept).sqrt() * chance.normal();
        1.0 + self.away
    }
}

/// The trial's accelerators: in servers of eight, each with one workload.
pub struct Plant<'a> {
    jobs: &'a [Job],
    /// Each server's workload.
    pub servers: Vec<usize>,
    common: Vec<Wander>,
    own: Vec<Wander>,
    drawn: Vec<f64>,
    set: Vec<Set>,
    chance: Chance,
}

impl<'a> Plant<'a> {
    /// All at full speed.
    #[must_use]
    pub fn new(jobs: &'a [Job], seed: u64) -> Self {
        let servers: Vec<usize> =
            (0..jobs.len()).flat_map(|job| std::iter::repeat_n(job, jobs[job].gpus as usize / 8)).collect();
        let drawn = servers.iter().flat_map(|job| [jobs[*job].at(400.0).0; 8]).collect();
        Self {
            jobs,
            common: vec![Wander { away: 0.0 }; jobs.len()],
            own: vec![Wander { away: 0.0 }; servers.len() * 8],
            drawn,
            set: vec![Set { limit: 400.0, paused: false }; servers.len()],
            servers,
            chance: Chance::new(seed),
        }
    }

    /// A second passes, with what was set in it; watts of all.
    ///
    /// A new limit works from the next second on, and each second the draw goes two thirds of the way: it has settled after
    /// three or four. A workload's phases are common to its accelerators (2.2 %, forgotten in a minute: so their sum strays as the
    /// trial's did at full power); each adds its own (2 %,
    /// ten seconds). A limit that binds leaves no phases to be seen: they count by the part of a watt that the curve does not
    /// follow the limit. What then holds the limit strays by half a hundredth, and by no more than was seen in the sweep.
    pub fn step(&mut self, set: &[Set]) -> f64 {
        let common: Vec<f64> = self.common.iter_mut().map(|w| w.step(0.022, 60.0, &mut self.chance)).collect();
        let most = 1.0 + f64::from(OVERSHOOT) / 1000.0;
        for (at, drawn) in self.drawn.iter_mut().enumerate() {
            let (job, now) = (self.servers[at / 8], self.set[at / 8]);
            let own = self.own[at].step(0.02, 10.0, &mut self.chance);
            let curve = |limit: f64| self.jobs[job].at(limit).0;
            let phases = 1.0 - (curve(now.limit + 5.0) - curve(now.limit - 5.0)).clamp(0.0, 10.0) / 10.0;
            let strays = 1.0 + 0.005 * self.chance.normal() * (1.0 - phases);
            let goal = if now.paused {
                IDLE
            } else {
                (curve(now.limit) * (1.0 + (common[job] * own - 1.0) * phases) * strays).min(now.limit * most)
            };
            *drawn += (goal - *drawn) * 2.0 / 3.0;
        }
        self.set.copy_from_slice(set);
        self.drawn.iter().sum()
    }

    /// What each server draws.
    #[must_use]
    pub fn by_server(&self) -> Vec<f64> {
        self.drawn.chunks(8).map(|gpus| gpus.iter().sum()).collect()
    }

    /// How fast each workload is: as fast as its slowest server.
    #[must_use]
    pub fn speeds(&self) -> Vec<f64> {
        let mut speeds = vec![1.0_f64; self.jobs.len()];
        for (job, set) in self.servers.iter().zip(&self.set) {
            let speed = if set.paused { 0.0 } else { self.jobs[*job].at(set.limit).1 };
            speeds[*job] = speeds[*job].min(speed);
        }
        speeds
    }
}
