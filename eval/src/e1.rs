//! E1: following the carbon of a zone under a cap, beside the exact LP.
//!
//! Known lengths: all jobs are known from the beginning, as the LP knows them. The plan is made once and carried out by the
//! simulator, whose meter says what was drawn. Average lengths: jobs are known when they come and by the mean of their queue.

use crate::lp;
use crate::published::{Peer, peers};
use heliotrope::core::plan::checker::check;
use heliotrope::core::plan::{Entry, Heliotrope, Policy, PowerPlan, Problem, Published, Run, RunNow, Suspension};
use heliotrope::simulate::{Setup, foreseen, run as simulate, setup, summary};
use heliotrope::units::{Money, Seconds};
use heliotrope::yaml::Document;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Cost units in a millionth of the currency unit: a MWh is 3.6e9 joules.
pub(crate) const COST_UNITS: f64 = 3.6e9;

/// What is measured, and on what.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Zones, each with its hourly carbon.
    pub zones: Vec<(String, PathBuf)>,
    /// The jobs, as GAIA writes them.
    pub jobs: PathBuf,
    /// What time 0 of the jobs is.
    pub start: String,
    /// How long the horizon is.
    pub hours: u32,
    /// Caps in watts; none is no cap.
    pub caps: Vec<Option<i64>>,
    /// Shortest runs, in seconds. The first is the one that the bars are about.
    pub shortest: Vec<i64>,
    /// What a start after a stop may cost, in seconds at a job's own draw, beside nothing.
    pub stop_costs: Vec<i64>,
    /// Chance.
    pub seed: u64,
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct E1 {
    /// How many jobs there are.
    pub jobs: usize,
    /// Each zone.
    pub zones: Vec<Zone>,
}

/// One zone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Zone {
    /// Its name.
    pub zone: String,
    /// Carbon of all jobs run when they come, with no cap: what savings are of.
    pub run_at_once_kg: f64,
    /// Each cap.
    pub caps: Vec<Capped>,
    /// With average lengths only, and no cap.
    pub average: Vec<Ran>,
    /// Published policies beside their authors' own programs, with no cap; empty where these were not run.
    pub published: Vec<Peer>,
}

/// One cap.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capped {
    /// The cap; none is no cap.
    pub cap_watts: Option<i64>,
    /// What the exact LP saves.
    pub lp_saved_percent: f64,
    /// One for each shortest run.
    pub runs: Vec<Ran>,
    /// The first of these where each start after a stop costs something: one for each cost.
    pub stops: Vec<Stops>,
}

/// A plan in which a start after a stop costs something. It is read by the checker and not carried out: no meter sees what is done twice.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stops {
    /// What it costs, in seconds at the job's own draw.
    pub cost_seconds: i64,
    /// Carbon saved of that of running at once, what is done twice counted.
    pub saved_percent: f64,
    /// What could be saved at most by the plan's own bound; none where a deadline is missed.
    pub bound_percent: Option<f64>,
    /// How often a job is stopped to go on later.
    pub suspensions: usize,
    /// Deadlines missed.
    pub misses: usize,
}

/// One run of the simulator.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// The policy.
    pub policy: String,
    /// The shortest run.
    pub shortest_seconds: i64,
    /// Carbon saved of that of running at once.
    pub saved_percent: f64,
    /// Of what the LP saves.
    pub share_percent: f64,
    /// What could be saved at most by the plan's own bound; known where all jobs are.
    pub bound_percent: Option<f64>,
    /// How long the cap was passed, by the meter.
    pub seconds_over: i64,
    /// Deadlines missed.
    pub misses: usize,
    /// Jobs that finished.
    pub finished: usize,
    /// How often a job was stopped to go on later.
    pub suspensions: u64,
    /// Mean wait.
    pub mean_wait_hours: f64,
}

/// What was planned is carried out, and nothing else is thought of.
struct AsPlanned(PowerPlan);

impl Policy for AsPlanned {
    fn name(&self) -> &'static str {
        "heliotrope"
    }

    fn plan(&self, problem: &Problem) -> PowerPlan {
        let entries = problem.workloads.iter().filter_map(|workload| {
            let entry = self.0.entry(&workload.id)?;
            let runs = entry.runs.iter().filter(|run| run.end > problem.now);
            let runs: Vec<Run> = runs.copied().collect();
            Some(Entry { runs, ..entry.clone() })
        });
        PowerPlan { made: problem.now, entries: entries.collect(), bound: None, cost: Money::ZERO, ..self.0.clone() }
    }
}

/// The setting as a scenario.
pub(crate) fn scenario(
    setting: &Setting,
    carbon: &Path,
    cap: Option<i64>,
    slot: i64,
    rule: &str,
) -> Result<Setup, String> {
    let text = format!(
        "apiVersion: heliotrope.dev/v1alpha1\nkind: Scenario\nstart: {}\nduration: {}h\nslot: {slot}s\nseed: {}\n\
        site:\n  domains:\n    - {{name: site, capWatts: {}}}\n  pools:\n\
        \x20   - {{name: units, accelerator: generic, nodes: 4096, acceleratorsPerNode: 8, hostWatts: 0, domain: site}}\n\
        signals:\n  carbon: {{file: {}, format: electricity-maps-csv, column: lca}}\n  forecast: perfect\n\
        jobs:\n  file: {}\n  format: gaia-csv\n  class: Pretraining\n  wattsPerUnit: 1000\n\
        \x20 waits: {{shortBelow: 2h, short: 6h, long: 24h}}\n  interruptible: true\n  startRule: {rule}\n",
        setting.start,
        setting.hours,
        setting.seed,
        cap.unwrap_or(1_000_000_000),
        carbon.display(),
        setting.jobs.display(),
    );
    let document = Document::parse(&text, "E1").map_err(|error| error.to_string())?;
    setup(&document, &|path: &str| std::fs::read_to_string(path)).map_err(|error| error.to_string())
}

fn ran(setup: &Setup, policy: &dyn Policy, at_once: f64, most: f64, bound: Option<f64>) -> Result<Ran, String> {
    let outcome = simulate(setup, policy, &|_| ()).map_err(|error| error.to_string())?;
    let figures = summary::summarise(&outcome, None);
    let saved = 100.0 * (1.0 - figures.carbon_kg / at_once);
    Ok(Ran {
        policy: policy.name().to_owned(),
        shortest_seconds: setup.slot.0,
        saved_percent: saved,
        share_percent: 100.0 * saved / most,
        bound_percent: bound,
        seconds_over: figures.seconds_over_cap,
        misses: figures.deadline_misses,
        finished: figures.jobs_finished,
        suspensions: figures.suspensions,
        mean_wait_hours: figures.mean_wait_hours,
    })
}

/// What running at once costs, in cost units: savings by cost are savings of carbon, since nothing else has a price.
fn cost_at_once(problem: &Problem) -> f64 {
    let each = problem.workloads.iter().filter_map(|workload| {
        let choice = workload.choices.first()?;
        let span = problem.supply(choice.pool).price.integral(workload.arrival, workload.arrival + workload.remaining);
        Some(span as f64 * choice.load.watts.0 as f64)
    });
    each.sum()
}

/// Percent that are saved of what running at once costs, in cost units.
fn saved(cost: Money, at_once: f64) -> f64 {
    100.0 * (1.0 - cost.0 as f64 * COST_UNITS / at_once)
}

/// A plan that the checker has read.
pub(crate) fn planned(problem: &Problem) -> Result<PowerPlan, String> {
    let plan = Heliotrope.plan(problem);
    match check(problem, &plan).first() {
        Some(note) => Err(format!("the plan is refused: {note}")),
        None => Ok(plan),
    }
}

fn stops(problem: &Problem, cost_seconds: i64, at_once: f64) -> Result<Stops, String> {
    let mut problem = problem.clone();
    for workload in &mut problem.workloads {
        workload.suspension = Suspension::ForSupply { cost: Seconds(cost_seconds) };
    }
    let plan = planned(&problem)?;
    Ok(Stops {
        cost_seconds,
        saved_percent: saved(plan.cost, at_once),
        bound_percent: plan.bound.map(|bound| saved(bound, at_once)),
        suspensions: plan.entries.iter().map(|entry| entry.runs.len().saturating_sub(1)).sum(),
        misses: plan.misses(),
    })
}

fn capped(setting: &Setting, carbon: &Path, cap: Option<i64>, at_once: f64) -> Result<Capped, String> {
    let mut lp_saved_percent = None;
    let mut runs = Vec::new();
    let mut stopped = None;
    for slot in &setting.shortest {
        let setup = scenario(setting, carbon, cap, *slot, "known-length")?;
        let problem = foreseen(&setup);
        let all = cost_at_once(&problem);
        let most = match lp_saved_percent {
            Some(most) => most,
            None => 100.0 * (1.0 - lp::least_cost(&problem)? / all),
        };
        lp_saved_percent = Some(most);
        if stopped.is_none() {
            let each = setting.stop_costs.iter().map(|cost| stops(&problem, *cost, all));
            stopped = Some(each.collect::<Result<Vec<_>, String>>()?);
        }
        let plan = Heliotrope.plan(&problem);
        let bound = plan.bound.map(|bound| saved(bound, all));
        runs.push(ran(&setup, &AsPlanned(plan), at_once, most, bound)?);
    }
    let (lp_saved_percent, stops) = (lp_saved_percent.unwrap_or(0.0), stopped.unwrap_or_default());
    Ok(Capped { cap_watts: cap, lp_saved_percent, runs, stops })
}

/// Measures.
///
/// # Errors
/// Where a file can't be read or does not say what is needed, and where the checker refuses a plan.
pub fn run(setting: &Setting) -> Result<E1, String> {
    let mut found = E1 { jobs: 0, zones: Vec::new() };
    let slot = setting.shortest.first().copied().unwrap_or(5);
    for (zone, carbon) in &setting.zones {
        let free = scenario(setting, carbon, None, slot, "average-length")?;
        let outcome = simulate(&free, &RunNow, &|_| ()).map_err(|error| error.to_string())?;
        let at_once = summary::summarise(&outcome, None);
        let at_once_kg = at_once.carbon_kg;
        let caps = setting.caps.iter().map(|cap| capped(setting, carbon, *cap, at_once_kg));
        let caps: Vec<Capped> = caps.collect::<Result<_, _>>()?;
        let mut average = Vec::new();
        if let Some(most) = caps.iter().find(|capped| capped.cap_watts.is_none()) {
            for policy in [&Heliotrope as &dyn Policy, &Published::CarbonTime] {
                average.push(ran(&free, policy, at_once_kg, most.lp_saved_percent, None)?);
            }
        }
        found.jobs = at_once.jobs_total;
        let published = peers(setting, zone, carbon)?;
        found.zones.push(Zone { zone: zone.clone(), run_at_once_kg: at_once_kg, caps, average, published });
    }
    Ok(found)
}
