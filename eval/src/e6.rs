//! E6: a year of real signals, followed by one who must forecast them, beside one who knows them.
//!
//! A stream of jobs comes throughout the year, with no cap: so each job alone at its cheapest seconds is the exact optimum of one who knows
//! all, and days can be told apart. Plans are made anew with each hour's forecast.
//!
//! Under a roof jobs have what it makes in common: there the optimum is the exact LP of all of them together, and the roof is forecast
//! as the signal is.

use crate::lp::{self, Optimum};
use crate::years::{Bill, Roof, Signal, bill, joined, rated_for, series, spreads, stream};
use heliotrope::core::plan::{Entry, Heliotrope, Policy, PowerPlan, Problem};
use heliotrope::core::steps::Steps;
use heliotrope::signals::Series;
use heliotrope::simulate::outcome::Outcome;
use heliotrope::simulate::{Setup, foreseen, run as simulate, setup};
use heliotrope::units::{Moment, Seconds};
use heliotrope::yaml::Document;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// A day is looked at apart where its dearest hour lies so much of its mean above its cheapest.
pub const SPREAD: f64 = 0.3;

/// What is not to change from one plan to the next: what a job does within so much time.
pub const SOON: Seconds = Seconds(2 * 3600);

/// What jobs may wait, in hours: those of less than two, and the others.
const WAITS: (i64, i64) = (6, 24);

/// More than any of it can draw.
pub(crate) const NO_CAP: i64 = 1_000_000_000;

/// What is measured, and on what.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Zones and what is followed there, with files that follow each other.
    pub series: Vec<(String, Signal, Vec<PathBuf>)>,
    /// Roofs, each followed beside the signals of its zone for as long as it is known. It makes as much as all jobs use.
    pub roofs: Vec<Roof>,
    /// The jobs of a week, as GAIA writes them.
    pub jobs: PathBuf,
    /// In each week comes one job of so many, in turn.
    pub each: usize,
    /// When it begins.
    pub start: Moment,
    /// How many days it lasts.
    pub days: u32,
    /// Forecasts, as a scenario names them.
    pub forecasts: Vec<String>,
    /// The shortest run.
    pub shortest: Seconds,
    /// Chance.
    pub seed: u64,
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct E6 {
    /// The first day.
    pub start: String,
    /// How many days.
    pub days: u32,
    /// How many jobs.
    pub jobs: usize,
    /// The shortest run.
    pub shortest_seconds: i64,
    /// Each zone and signal.
    pub zones: Vec<Zone>,
    /// Each roof and signal of its zone.
    pub under_roofs: Vec<Zone>,
}

/// One zone and signal.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Zone {
    /// Its name.
    pub zone: String,
    /// What is followed.
    pub signal: String,
    /// Days whose spread is large.
    pub spread_days: usize,
    /// What one saves who knows all, of running at once.
    pub clairvoyant_percent: f64,
    /// The roof, where there is one.
    pub roof: Option<UnderRoof>,
    /// Each forecast.
    pub runs: Vec<Ran>,
}

/// What is used of a roof, whatever is forecast.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnderRoof {
    /// What it makes at the most.
    pub rated_watts: i64,
    /// How many days are known.
    pub days: u32,
    /// How many jobs come in these.
    pub jobs: usize,
    /// How much of what it makes is used by running at once.
    pub at_once_percent: f64,
    /// The same by one who knows all.
    pub clairvoyant_percent: f64,
}

/// One run of a year.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// The forecast.
    pub forecast: String,
    /// Saved of running at once.
    pub saved_percent: f64,
    /// Of what one saves who knows all.
    pub share_percent: f64,
    /// The same of jobs that came on days whose spread is large.
    pub spread_share_percent: Option<f64>,
    /// How much of what a roof makes is used.
    pub own_use_percent: Option<f64>,
    /// How much more than the optimum, in percent of it.
    pub regret_percent: f64,
    /// How often a plan changed what a job was to do soon, for each job and day that one was there.
    pub flips_per_job_day: f64,
    /// The same for each job.
    pub flips_per_job: f64,
    /// How often a running job was stopped, for each job.
    pub stops_per_job: f64,
    /// Deadlines missed.
    pub misses: usize,
    /// Jobs that finished.
    pub finished: usize,
}

/// Our policy, and how often it changed its mind on what is near.
struct Watched {
    flips: AtomicU64,
}

/// What an entry says of the time that is near, by its edges.
fn near(entry: &Entry, now: Moment) -> Vec<(Moment, Moment)> {
    let until = now + SOON;
    let cut = entry.runs.iter().map(|run| (run.start.max(now), run.end.min(until)));
    cut.filter(|(start, end)| start < end).collect()
}

impl Policy for Watched {
    fn name(&self) -> &'static str {
        "heliotrope"
    }

    fn plan(&self, problem: &Problem) -> PowerPlan {
        let plan = Heliotrope.plan(problem);
        if let Some(previous) = &problem.previous {
            let now = problem.now;
            let changed = plan
                .entries
                .iter()
                .filter(|entry| previous.entry(&entry.id).is_some_and(|before| near(before, now) != near(entry, now)));
            self.flips.fetch_add(changed.count() as u64, Ordering::Relaxed);
        }
        plan
    }
}

/// What is followed, and by whom.
pub(crate) struct Case<'a> {
    setting: &'a Setting,
    signal: Signal,
    /// The signal's file.
    text: String,
    actual: Series,
    days: u32,
    jobs: String,
    /// The roof's file, and what it makes at the most.
    roof: Option<(String, i64)>,
    /// What the site may draw.
    pub(crate) cap_watts: i64,
    /// The spread of each day.
    spread: Vec<f64>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(
        setting: &'a Setting,
        signal: Signal,
        files: &[PathBuf],
        roof: Option<&Roof>,
    ) -> Result<Self, String> {
        let roof = roof.map(Roof::read).transpose()?;
        let known = roof.as_ref().map_or(setting.days, |(_, made)| {
            setting.days.min(u32::try_from((made.until - setting.start).0 / Seconds::DAY.0).unwrap_or(0))
        });
        let length = Seconds(i64::from(known) * Seconds::DAY.0);
        let (start, end) = (setting.start, setting.start + length);
        let jobs = stream(&setting.jobs, setting.each, length, Seconds(WAITS.1 * 3600))?;
        let rate = |(text, made): (String, Series)| Ok::<_, String>((text, rated_for(&jobs, &made, start, end)?));
        let roof = roof.map(rate).transpose()?;
        let (text, actual) = (joined(files)?, series(files, signal)?);
        let spread = spreads(&actual, start, end);
        Ok(Self { setting, signal, text, actual, days: known, jobs, roof, cap_watts: NO_CAP, spread })
    }

    pub(crate) fn setup(&self, forecast: &str) -> Result<Setup, String> {
        let setting = self.setting;
        let (name, format) = match self.signal {
            Signal::Carbon => ("carbon", "electricity-maps-csv, column: lca"),
            Signal::Price => ("price", "price-csv"),
        };
        let roof = self.roof.as_ref().map_or(String::new(), |(_, rated)| {
            format!("\x20 onSiteGeneration: {{file: roof, format: solar-csv, ratedWatts: {rated}}}\n")
        });
        let yaml = format!(
            "apiVersion: heliotrope.dev/v1alpha1\nkind: Scenario\nstart: {}\nduration: {}h\nslot: {}s\nseed: {}\n\
            site:\n  domains:\n    - {{name: site, capWatts: {}}}\n  pools:\n\
            \x20   - {{name: units, accelerator: generic, nodes: 4096, acceleratorsPerNode: 8, hostWatts: 0, domain: site}}\n\
            {roof}signals:\n  {name}: {{file: signal, format: {format}}}\n  forecast: {forecast}\n\
            jobs:\n  file: jobs\n  format: gaia-csv\n  class: Pretraining\n  wattsPerUnit: 1000\n\
            \x20 waits: {{shortBelow: 2h, short: {}h, long: {}h}}\n  interruptible: true\n  startRule: known-length\n",
            setting.start,
            self.days * 24,
            setting.shortest.0,
            setting.seed,
            self.cap_watts,
            WAITS.0,
            WAITS.1,
        );
        let document = Document::parse(&yaml, "E6").map_err(|error| error.to_string())?;
        let read = |path: &str| {
            Ok(match path {
                "jobs" => self.jobs.clone(),
                "roof" => self.roof.as_ref().map_or(String::new(), |(text, _)| text.clone()),
                _ => self.text.clone(),
            })
        };
        setup(&document, &read).map_err(|error| error.to_string())
    }

    /// What is true of the year under a roof whatever is forecast.
    pub(crate) fn under_roof(&self) -> Result<Option<Known>, String> {
        let Some((_, rated_watts)) = self.roof else { return Ok(None) };
        let problem = foreseen(&self.setup("perfect")?);
        let supply = problem.supplies.first().ok_or("nothing feeds the site")?;
        let own = supply.own.clone().ok_or("nothing is generated on the site")?;
        let at_once = problem.workloads.iter().filter_map(|workload| {
            let watts = workload.choices.first()?.load.watts.0;
            Some((workload.arrival, workload.arrival + workload.remaining, watts))
        });
        let at_once = bill(&supply.price, Some(&own), at_once);
        let made = own.integral(problem.now, problem.now + problem.horizon) as f64;
        let (price, least) = (supply.price.clone(), lp::optimum(&problem)?);
        let roof = UnderRoof {
            rated_watts,
            days: self.days,
            jobs: problem.workloads.len(),
            at_once_percent: 100.0 * at_once.own / made,
            clairvoyant_percent: 100.0 * least.own / made,
        };
        Ok(Some(Known { price, own, made, at_once, least, roof }))
    }
}

/// A year under a roof.
pub(crate) struct Known {
    price: Steps<i64>,
    own: Steps<i64>,
    /// Joules in all.
    pub(crate) made: f64,
    pub(crate) at_once: Bill,
    pub(crate) least: Optimum,
    pub(crate) roof: UnderRoof,
}

impl Known {
    /// What was drawn in a run of the year.
    pub(crate) fn bill(&self, outcome: &Outcome) -> Bill {
        let each = outcome.workloads.iter();
        let draws = each.flat_map(|workload| workload.runs.iter().map(|run| (run.from, run.to, workload.watts.0)));
        bill(&self.price, Some(&self.own), draws)
    }
}

/// The least that a second's watt costs over a length of time between two moments, each second chosen freely.
fn least(price: &Steps<i64>, from: Moment, by: Moment, length: Seconds) -> i128 {
    let mut pieces: Vec<(i64, Seconds)> =
        price.pieces(from, by).map(|(start, end, price)| (price, end - start)).collect();
    pieces.sort_unstable();
    let mut left = length;
    let mut sum = 0;
    for (price, span) in pieces {
        let taken = span.min(left);
        sum += i128::from(price) * i128::from(taken.0);
        left -= taken;
    }
    sum
}

/// What was paid at once, at best, and truly.
#[derive(Debug, Clone, Copy, Default)]
struct Paid {
    at_once: f64,
    least: f64,
    got: f64,
}

impl Paid {
    fn saved_percent(&self) -> f64 {
        100.0 * (self.at_once - self.got) / self.at_once
    }

    fn share_percent(&self) -> Option<f64> {
        let possible = self.at_once - self.least;
        (possible > 0.0).then(|| 100.0 * (self.at_once - self.got) / possible)
    }
}

fn follow(case: &Case<'_>, known: Option<&Known>, forecast: &str) -> Result<(Ran, Paid), String> {
    let policy = Watched { flips: AtomicU64::new(0) };
    let setup = case.setup(forecast)?;
    let outcome = simulate(&setup, &policy, &|_| ()).map_err(|error| error.to_string())?;
    let (actual, spread) = (&case.actual, &case.spread);
    let (mut all, mut wide) = (Paid::default(), Paid::default());
    let (mut there, mut finished, mut misses) = (Seconds::ZERO, 0, 0);
    for workload in &outcome.workloads {
        let Some(end) = workload.finished else { continue };
        finished += 1;
        misses += usize::from(workload.late(outcome.end) > Seconds::ZERO);
        there += end - workload.arrival;
        let watts = workload.watts.0 as f64;
        let price = &actual.steps;
        let by = workload.finish_by.unwrap_or(end);
        let at_once = price.integral(workload.arrival, workload.arrival + workload.length) as f64 * watts;
        let best = least(price, workload.arrival, by, workload.length) as f64 * watts;
        let got = workload.runs.iter().map(|run| price.integral(run.from, run.to)).sum::<i128>() as f64 * watts;
        let day = usize::try_from((workload.arrival - setup.start).0 / Seconds::DAY.0).unwrap_or(0);
        let is_wide = spread.get(day).is_some_and(|spread| *spread > SPREAD);
        for paid in [Some(&mut all), is_wide.then_some(&mut wide)].into_iter().flatten() {
            paid.at_once += at_once;
            paid.least += best;
            paid.got += got;
        }
    }
    let mut own_use_percent = None;
    if let Some(known) = known {
        let got = known.bill(&outcome);
        own_use_percent = Some(100.0 * got.own / known.made);
        all = Paid { at_once: known.at_once.cost, least: known.least.cost, got: got.cost };
        wide = Paid::default(); // whose the roof is no day can say
    }
    let jobs = outcome.workloads.len().max(1) as f64;
    let flips = policy.flips.into_inner() as f64;
    let ran = Ran {
        forecast: forecast.to_owned(),
        saved_percent: all.saved_percent(),
        share_percent: all.share_percent().unwrap_or(f64::NAN),
        spread_share_percent: wide.share_percent(),
        own_use_percent,
        regret_percent: 100.0 * (all.got - all.least) / all.least.abs().max(1.0),
        flips_per_job_day: flips / (there.0 as f64 / Seconds::DAY.0 as f64).max(1e-9),
        flips_per_job: flips / jobs,
        stops_per_job: outcome.suspensions as f64 / jobs,
        misses,
        finished,
    };
    Ok((ran, all))
}

/// Forecasts are tried on several threads, each on its own; what is found does not depend on how many there are.
fn followed(case: &Case<'_>, zone: &str) -> Result<Zone, String> {
    let known = case.under_roof()?;
    let all: Vec<Result<(Ran, Paid), String>> = std::thread::scope(|scope| {
        let known = known.as_ref();
        let forecasts = case.setting.forecasts.iter();
        let started: Vec<_> = forecasts.map(|forecast| scope.spawn(move || follow(case, known, forecast))).collect();
        let lost = || Err("a thread ended without a result".to_owned());
        started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
    });
    let all: Vec<(Ran, Paid)> = all.into_iter().collect::<Result<_, _>>()?;
    let best = all.first().map(|(_, paid)| 100.0 * (paid.at_once - paid.least) / paid.at_once);
    Ok(Zone {
        zone: zone.to_owned(),
        signal: case.signal.name().to_owned(),
        spread_days: case.spread.iter().filter(|spread| **spread > SPREAD).count(),
        clairvoyant_percent: best.unwrap_or(f64::NAN),
        roof: known.map(|known| known.roof),
        runs: all.into_iter().map(|(ran, _)| ran).collect(),
    })
}

/// Measures.
///
/// # Errors
/// Where a file can't be read or does not say what is needed, and where the checker refuses a plan.
pub fn run(setting: &Setting) -> Result<E6, String> {
    let mut found = E6 {
        start: setting.start.to_string(),
        days: setting.days,
        jobs: 0,
        shortest_seconds: setting.shortest.0,
        zones: Vec::new(),
        under_roofs: Vec::new(),
    };
    for (zone, signal, files) in &setting.series {
        let case = Case::new(setting, *signal, files, None)?;
        found.jobs = case.jobs.lines().count() - 1;
        found.zones.push(followed(&case, zone)?);
    }
    for roof in &setting.roofs {
        for (zone, signal, files) in setting.series.iter().filter(|(zone, ..)| *zone == roof.zone) {
            let case = Case::new(setting, *signal, files, Some(roof))?;
            found.under_roofs.push(followed(&case, zone)?);
        }
    }
    Ok(found)
}
