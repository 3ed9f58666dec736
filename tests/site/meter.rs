//! The independent meter: each 100 ms it reads what the plant truly draws, and adds it up over every feed of the test's own tree.
//! It knows the caps as the test ordered them, and nothing of the controller's or the agents' objects.

use crate::plant::Plant;
use crate::tree::{FEEDS, NODES, allowed, at_limits, drawn};
use heliotrope::clock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// For so long after a fall the cap before it still judges: the correction time of each domain.
pub const CORRECTION: u64 = 30_000;

const EACH: u64 = 100;

/// One look.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Milliseconds of the boot clock.
    pub at: u64,
    /// What each feed draws.
    pub watts: [f64; 4],
    /// What each would draw with every GPU at the limit in force.
    pub worst: [f64; 4],
    /// The sum of each node's limits in force.
    pub limits: Vec<f64>,
}

/// Everything that was seen, and the caps.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub samples: Vec<Sample>,
    /// When, which feed, and how much from then on.
    pub caps: Vec<(u64, usize, f64)>,
}

/// What came of a span of time, for one feed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub peak: f64,
    /// Watt-seconds over the cap, outside the correction time of a fall.
    pub over: f64,
    /// Mean draw, of what the caps in force allow.
    pub use_of_allowed: f64,
}

impl Record {
    fn cap(&self, feed: usize, at: u64) -> f64 {
        let known = self.caps.iter().rev().find(|(since, of, _)| *of == feed && *since <= at);
        known.map_or(f64::INFINITY, |(_, _, cap)| *cap)
    }

    /// The cap that judges at a moment: the highest that was in force within the correction time.
    fn judging(&self, feed: usize, at: u64) -> f64 {
        let changes = self.caps.iter().filter(|(since, of, _)| *of == feed && *since <= at && since + CORRECTION > at);
        let from = self.cap(feed, at.saturating_sub(CORRECTION));
        changes.map(|(_, _, cap)| *cap).fold(from, f64::max)
    }

    fn caps_at(&self, at: u64) -> [f64; 4] {
        std::array::from_fn(|feed| self.cap(feed, at))
    }

    fn within(&self, from: u64, to: u64) -> impl Iterator<Item = (usize, &Sample)> {
        self.samples.iter().enumerate().filter(move |(_, sample)| sample.at >= from && sample.at < to)
    }

    /// Seconds that a sample stands for: until the next one.
    fn seconds(&self, index: usize) -> f64 {
        let next = self.samples.get(index + 1).map_or(EACH, |next| next.at - self.samples[index].at);
        next as f64 / 1000.0
    }

    /// The figures of each feed over a span.
    pub fn figures(&self, from: u64, to: u64) -> [Figures; 4] {
        std::array::from_fn(|feed| {
            let (mut figures, mut drawn, mut could) = (Figures::default(), 0.0, 0.0);
            for (index, sample) in self.within(from, to) {
                let (watts, seconds) = (sample.watts[feed], self.seconds(index));
                figures.peak = figures.peak.max(watts);
                figures.over += (watts - self.judging(feed, sample.at)).max(0.0) * seconds;
                drawn += watts * seconds;
                could += allowed(&self.caps_at(sample.at))[feed] * seconds;
            }
            figures.use_of_allowed = drawn / could.max(1e-9);
            figures
        })
    }

    /// The longest time without a look.
    pub fn longest_gap(&self, from: u64, to: u64) -> f64 {
        self.within(from, to).map(|(index, _)| self.seconds(index)).fold(0.0, f64::max)
    }

    /// Seconds from a moment until every node has limits as low as those that were lowered since, and all that the limits in
    /// force let the feeds draw is under their caps.
    pub fn fell_after(&self, from: u64) -> Option<f64> {
        let before = self.samples.iter().rev().find(|sample| sample.at <= from)?;
        let fallen = |sample: &Sample| {
            let lowered =
                sample.limits.iter().zip(&before.limits).filter(|(now, then)| now < then).map(|(now, _)| *now);
            // who was low already need not go lower
            let highest = lowered.fold(0.0, f64::max);
            sample.limits.iter().all(|now| *now <= highest)
                && (0..4).all(|feed| sample.worst[feed] <= self.cap(feed, sample.at) + 0.5)
        };
        let first = self.samples.iter().find(|sample| sample.at > from && fallen(sample))?;
        Some((first.at - from) as f64 / 1000.0)
    }

    /// Seconds from a moment until every feed draws this share of what its caps allow, and goes on so for 3 s.
    pub fn back_after(&self, from: u64, share: f64) -> Option<f64> {
        let mut since = None;
        for sample in self.samples.iter().filter(|sample| sample.at > from) {
            let could = allowed(&self.caps_at(sample.at));
            if (0..4).all(|feed| sample.watts[feed] >= share * could[feed]) {
                let first = *since.get_or_insert(sample.at);
                if sample.at - first >= 3000 {
                    return Some((first - from) as f64 / 1000.0);
                }
            } else {
                since = None;
            }
        }
        None
    }

    /// Nodes one of whose limits was at some moment of a span below what it was at its beginning, and by how many watts in all.
    pub fn lowered(&self, from: u64, to: u64) -> Vec<(usize, f64)> {
        let mut inside = self.within(from, to).map(|(_, sample)| sample);
        let Some(first) = inside.next().cloned() else { return Vec::new() };
        let mut least = first.limits.clone();
        for sample in inside {
            least.iter_mut().zip(&sample.limits).for_each(|(least, now)| *least = least.min(*now));
        }
        let fell = |(node, (least, first)): (usize, (&f64, &f64))| (least < first).then_some((node, first - least));
        least.iter().zip(&first.limits).enumerate().filter_map(fell).collect()
    }
}

/// The meter: a thread of its own.
pub struct Meter {
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Meter {
    pub fn start(plant: Arc<Plant>) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (there, told) = (record.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut next = now();
            while !told.load(Ordering::Relaxed) {
                let sample = look(&plant);
                there.lock().unwrap().samples.push(sample);
                next += EACH;
                let wait = next.saturating_sub(now());
                // what was missed is missed: it is told as a gap
                next = next.max(now());
                std::thread::sleep(Duration::from_millis(wait));
            }
        });
        Self { record, stop, thread: Some(thread) }
    }

    /// A cap as it is ordered, from now on.
    pub fn order(&self, feed: usize, cap: f64) {
        let at = now();
        self.record().caps.push((at, feed, cap));
    }

    /// All caps of the tree, from now on.
    pub fn arm(&self) {
        (0..4).for_each(|feed| self.order(feed, FEEDS[feed].cap));
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// The newest look.
    pub fn last(&self) -> Option<Sample> {
        self.record().samples.last().cloned()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Milliseconds of the boot clock.
pub fn now() -> u64 {
    clock::boot().0
}

fn look(plant: &Plant) -> Sample {
    let at = now();
    let (mut watts, mut limits) = (vec![0.0; NODES], vec![0.0; NODES]);
    for (node, of) in plant.nodes.iter().enumerate() {
        let truth = of.truth().unwrap();
        watts[node] = truth.node_watts();
        limits[node] = truth.gpus.iter().map(|gpu| gpu.enforced_milliwatts as f64).sum::<f64>() / 1000.0;
    }
    let worst: Vec<f64> = limits.iter().map(|limits| at_limits(*limits)).collect();
    Sample { at, watts: drawn(&watts), worst: drawn(&worst), limits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(watts: impl Fn(u64) -> f64) -> Record {
        let sample = |i: u64| {
            let at = i * 100;
            let limits = vec![watts(at) / 100.0; NODES];
            Sample { at, watts: [watts(at); 4], worst: [watts(at); 4], limits }
        };
        Record { samples: (0..1000).map(sample).collect(), caps: vec![(0, 0, 1000.0)] }
    }

    #[test]
    fn after_a_fall_the_cap_before_it_judges_for_the_correction_time() {
        // falls from 1,000 W to 700 W at 20 s; the draw follows at 55 s, 5 s late
        let mut record = record(|at| if at < 55_000 { 1000.0 } else { 700.0 });
        record.caps.push((20_000, 0, 700.0));
        let [site, ..] = record.figures(0, 100_000);
        assert!((site.over - 5.0 * 300.0).abs() < 31.0, "{site:?}");
        assert_eq!(record.figures(0, 49_900)[0].over, 0.0);
        assert_eq!(record.fell_after(20_000), Some(35.0));
        assert_eq!(record.lowered(30_000, 60_000).len(), NODES);
        assert!(record.lowered(60_000, 90_000).is_empty());
    }

    #[test]
    fn a_rise_counts_from_when_it_is_ordered() {
        let mut record = record(|at| if at < 10_000 { 1000.0 } else { 1200.0 });
        record.caps.push((12_000, 0, 1200.0));
        let [site, ..] = record.figures(0, 100_000);
        assert!((site.over - 2.0 * 200.0).abs() < 21.0, "{site:?}");
    }
}
