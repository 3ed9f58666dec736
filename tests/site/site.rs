//! The whole site, and how a scenario is run on it and judged.

use crate::cluster::Cluster;
use crate::fleet::{Fleet, Process};
use crate::meter::{Meter, now};
use crate::plant::Plant;
use crate::tree::{FEEDS, GPU_MAX, NODES, at_limits, drawn};
use crate::wall::Wall;
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A deep curtailment: 30 % less.
pub const DEEP: f64 = 0.7;

/// Fields end in this order: first who acts, then who looks, then what they act on.
pub struct Site {
    pub controllers: Vec<Process>,
    pub fleet: Fleet,
    pub meter: Meter,
    pub cluster: Cluster,
    pub plant: Arc<Plant>,
    pub wall: Arc<Wall>,
    /// At the lengths that the issue names, or shorter ones.
    long: bool,
    /// All scenarios, or those that fit into the tests of each change.
    all: bool,
    events: Vec<String>,
    rows: Vec<String>,
    failed: Vec<String>,
    _folder: Folder,
}

/// Where the nodes are; kept with its logs where a test fails and `HELIOTROPE_TESTBED_KEEP` is set.
struct Folder(Option<tempfile::TempDir>);

impl Drop for Folder {
    fn drop(&mut self) {
        let keep = std::thread::panicking() && std::env::var_os("HELIOTROPE_TESTBED_KEEP").is_some();
        if let Some(folder) = self.0.take().filter(|_| keep) {
            eprintln!("the nodes' logs are kept in {}", folder.keep().display());
        }
    }
}

/// What a scenario tells beside what the meter does.
#[derive(Default)]
pub struct Told {
    pub notes: Vec<String>,
    pub failures: Vec<String>,
}

impl Told {
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub fn must(&mut self, holds: bool, text: impl Into<String>) {
        if !holds {
            self.failures.push(text.into());
        }
    }

    /// Something took so many seconds, and must not take longer than that.
    pub fn within(&mut self, what: &str, seconds: Option<f64>, most: f64) {
        match seconds {
            Some(seconds) => {
                self.note(format!("{what} {seconds:.1} s"));
                self.must(seconds <= most, format!("{what} took {seconds:.1} s, more than {most} s"));
            }
            None => self.must(false, format!("{what} never came")),
        }
    }
}

impl Site {
    /// Everything is up, the root observes, nothing was ever leased.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("heliotrope-site-").tempdir().unwrap();
        log_into(folder.path().join("inside.log"));
        let wall = Arc::new(Wall::new(folder.path()));
        let cluster = Cluster::start(&wall);
        let plant = Plant::start(folder.path());
        let meter = Meter::start(plant.clone());
        let fleet = Fleet::start(&plant, &cluster.kubeconfig, &wall);
        let controllers = vec![cluster.controller()];
        let length = std::env::var("HELIOTROPE_SITE").unwrap_or_default();
        Self {
            controllers,
            fleet,
            meter,
            cluster,
            plant,
            wall,
            long: length == "long",
            all: length == "long" || length == "all",
            events: Vec::new(),
            rows: Vec::new(),
            failed: Vec::new(),
            _folder: Folder(Some(folder)),
        }
    }

    /// The root enforces. From now on it is judged, with the correction time that every fall has.
    pub fn enforce(&self) {
        self.meter.arm();
        self.cluster.patch("PowerDomain", FEEDS[0].name, json!({"spec": {"mode": "Enforce"}}));
    }

    /// Seconds here, and in the long run.
    pub fn seconds(&self, short: u64, long: u64) -> u64 {
        if self.long { long } else { short }
    }

    /// Orders a domain down. From this moment on it is judged; returns it.
    pub fn curtail(&mut self, name: &str, domain: usize, share: f64) -> u64 {
        let at = now();
        let cap = (FEEDS[domain].cap * share).floor();
        self.meter.order(domain, cap);
        self.cluster.curtail(name, FEEDS[domain].name, cap);
        self.events.push(name.to_owned());
        at
    }

    /// Takes an order back. `domain` may draw its cap again from this moment on.
    pub fn release(&mut self, name: &str, domain: usize) -> u64 {
        let at = now();
        self.meter.order(domain, FEEDS[domain].cap);
        self.cluster.release(name);
        self.events.retain(|event| event != name);
        at
    }

    /// An order that is gone with the store. `domain` may draw its cap again from this moment on.
    pub fn forget(&mut self, name: &str, domain: usize) {
        self.meter.order(domain, FEEDS[domain].cap);
        self.events.retain(|event| event != name);
    }

    /// Waits until all limits are below what they were, and all caps kept whatever is drawn. Seconds since then.
    pub fn fell(&self, since: u64, most: u64) -> Option<f64> {
        self.until(most, || self.meter.record().fell_after(since))
    }

    /// Waits until this share of what is allowed is drawn. Seconds since then.
    pub fn back(&self, since: u64, share: f64, most: u64) -> Option<f64> {
        self.until(most, || self.meter.record().back_after(since, share))
    }

    /// Waits until the actuators have read back, all together, what keeps the caps. Seconds since then.
    pub fn read_back(&self, since: u64, most: u64) -> Option<f64> {
        self.until(most, || {
            let limits = self.cluster.runtime.block_on(self.fleet.read_back())?;
            self.keeps_caps(&limits).then(|| (now() - since) as f64 / 1000.0)
        })
    }

    /// Waits until the agents have said so in the status of their NodePowers. Seconds since then.
    pub fn told(&self, since: u64, most: u64) -> Option<f64> {
        self.until(most, || {
            let mut limits = vec![8.0 * GPU_MAX; NODES];
            for power in self.cluster.powers() {
                let name = power.metadata.name.unwrap_or_default();
                let Some(node) = name.strip_prefix("gpu-").and_then(|at| at.parse::<usize>().ok()) else { continue };
                let gpus = power.status.map(|status| status.accelerators).unwrap_or_default();
                if gpus.len() == 8 {
                    limits[node] =
                        gpus.iter().map(|gpu| gpu.enforced_watts.map_or(GPU_MAX, |watts| watts as f64)).sum();
                }
            }
            self.keeps_caps(&limits).then(|| (now() - since) as f64 / 1000.0)
        })
    }

    /// Would all feeds be under the caps as they were ordered last, whatever is drawn under these limits?
    fn keeps_caps(&self, limits: &[f64]) -> bool {
        let caps = self.meter.record().caps.clone();
        let cap = |feed: usize| caps.iter().rev().find(|(_, of, _)| *of == feed).map_or(0.0, |(_, _, cap)| *cap);
        let worst: Vec<f64> = limits.iter().map(|limits| at_limits(*limits)).collect();
        let feeds = drawn(&worst);
        (0..4).all(|feed| feeds[feed] <= cap(feed) + 0.5)
    }

    pub fn until<T>(&self, seconds: u64, mut holds: impl FnMut() -> Option<T>) -> Option<T> {
        let until = now() + seconds * 1000;
        loop {
            let found = holds();
            if found.is_some() || now() > until {
                return found;
            }
            pause(100);
        }
    }

    /// The site is as it should be: everything runs, nothing is ordered, and all that is allowed is drawn.
    fn settle(&mut self) -> Option<f64> {
        self.cluster.proxy.slow(0);
        self.wall.step(0);
        self.fleet.revive();
        for event in std::mem::take(&mut self.events) {
            self.cluster.release(&event);
        }
        self.meter.arm();
        if self.controllers.is_empty() {
            self.controllers.push(self.cluster.controller());
        }
        self.back(now(), 0.97, 120)
    }

    /// Runs a scenario and has the site settle again.
    pub fn scenario(&mut self, name: &str, run: impl FnOnce(&mut Self, &mut Told)) {
        if self.judge(name, run) && self.settle().is_none() {
            let text = format!("{name}: two minutes after it not all that is allowed is drawn again");
            eprintln!("  FAILED: {text}");
            self.failed.push(text);
        }
    }

    /// Runs a scenario that only the longer runs have.
    pub fn long_scenario(&mut self, name: &str, run: impl FnOnce(&mut Self, &mut Told)) {
        if self.all {
            self.scenario(name, run);
        }
    }

    /// Runs a scenario, and judges it: no watt-second over any cap, whatever it is about.
    pub fn judge(&mut self, name: &str, run: impl FnOnce(&mut Self, &mut Told)) -> bool {
        let wanted = |only: String| name.starts_with("install") || only.split(',').any(|part| name.contains(part));
        if std::env::var("HELIOTROPE_SITE_ONLY").is_ok_and(|only| !wanted(only)) {
            return false;
        }
        let from = now();
        let mut told = Told::default();
        if catch_unwind(AssertUnwindSafe(|| run(self, &mut told))).is_err() {
            told.failures.push("the scenario could not go on".to_owned());
        }
        let to = now();
        let (figures, gap) = {
            let record = self.meter.record();
            (record.figures(from, to), record.longest_gap(from, to))
        };
        for (feed, figures) in FEEDS.iter().zip(&figures) {
            let text = format!("{:.1} W·s over the cap of {}, peak {:.0} W", figures.over, feed.name, figures.peak);
            told.must(figures.over < 0.05, text);
        }
        told.must(gap < 2.0, format!("the meter did not look for {gap:.1} s"));
        let over: f64 = figures.iter().map(|figures| figures.over).sum();
        let row = format!(
            "| {name} | {:.0} | {over:.1} | {:.2} % | {:.0} | {} |",
            (to - from) as f64 / 1000.0,
            figures[0].use_of_allowed * 100.0,
            figures[0].peak,
            told.notes.join("; "),
        );
        eprintln!("{row}");
        self.rows.push(row);
        for failure in told.failures {
            eprintln!("  FAILED: {failure}");
            self.failed.push(format!("{name}: {failure}"));
        }
        true
    }

    /// The table of all that was run, and a panic where something failed.
    pub fn end(self) {
        let head = "| scenario | s | W·s over, all feeds | drawn of allowed | peak of the site, W | |\n|---|---|---|---|---|---|";
        let table = format!("{head}\n{}\n", self.rows.join("\n"));
        println!("{table}");
        if let Ok(path) = std::env::var("HELIOTROPE_SITE_TABLE") {
            let length = if self.long { "at full length" } else { "in their shorter form" };
            let text = format!("{WHAT_IT_SHOWS}\nAll scenarios {length}.\n\n{table}");
            std::fs::write(path, text).unwrap();
        }
        assert!(self.failed.is_empty(), "{} failed:\n{}", self.failed.len(), self.failed.join("\n"));
    }
}

/// What stands above the table in a file.
const WHAT_IT_SHOWS: &str = "# The cap holds: every fault at 50 nodes

Written by `make test-long` ([what is tested](site.md)): 50 nodes of eight GPUs, a real API server, a meter that reads every 100 ms
what the plant truly draws. Watt-seconds over count outside the 30 s after a fall, over all feeds together. \"Drawn of allowed\" is
over the whole scenario, faults and ways back included.
";

pub fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// What the agents inside this process say.
fn log_into(path: PathBuf) {
    let file = std::fs::File::create(path).unwrap();
    let filter = tracing_subscriber::EnvFilter::new("heliotrope=info");
    let log =
        tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(std::sync::Mutex::new(file));
    let _ = log.try_init();
}
