//! On-site solar: a year of jobs under a roof and the cap of a site, and how much of what the roof makes is used there.
//!
//! Jobs are those of E6, as a scenario of the simulator. The optimum is the exact LP of all jobs of the year together, under the cap.

use crate::e6::{self, Case};
use crate::years::Bill;
use heliotrope::core::plan::{Heliotrope, Policy, RunNow};
use heliotrope::simulate::outcome::Outcome;
use heliotrope::simulate::{run as simulate, summary};
use serde::Serialize;

/// What is measured, and on what.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The jobs, forecasts, and each roof with the signals of its zone.
    pub followed: e6::Setting,
    /// Caps in thousandths of what running at once draws at the most; none is no cap.
    pub caps_permille: Vec<Option<i64>>,
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Solar {
    /// The first day.
    pub start: String,
    /// The shortest run.
    pub shortest_seconds: i64,
    /// Each roof, signal of its zone, and cap.
    pub sites: Vec<Site>,
}

/// One roof and one cap.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Site {
    /// Its zone.
    pub zone: String,
    /// What is bought by: its carbon or its price.
    pub signal: String,
    /// How many days.
    pub days: u32,
    /// How many jobs.
    pub jobs: usize,
    /// What the roof makes at the most.
    pub rated_watts: i64,
    /// The cap; none is no cap.
    pub cap_watts: Option<i64>,
    /// What running at once with no cap draws at the most.
    pub peak_watts: i64,
    /// Who ran the year, the exact optimum last.
    pub rows: Vec<Row>,
}

/// One way to run the year.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Who.
    pub who: String,
    /// How much of what the roof makes is used.
    pub own_use_percent: f64,
    /// How much of what the jobs use the roof makes.
    pub cover_percent: f64,
    /// Saved of what running at once with no cap buys under the same roof.
    pub saved_percent: f64,
    /// How long the cap was passed, by the simulator's meter.
    pub seconds_over: i64,
    /// Deadlines missed, and jobs not finished.
    pub misses: usize,
}

fn site(setting: &Setting, case: &mut Case<'_>, permille: Option<i64>) -> Result<Site, String> {
    let carried_out = |case: &Case<'_>, policy: &dyn Policy, forecast: &str| {
        simulate(&case.setup(forecast)?, policy, &|_| ()).map_err(|error| error.to_string())
    };
    case.cap_watts = e6::NO_CAP;
    let free = carried_out(case, &RunNow, "perfect")?;
    let peak_watts = summary::summarise(&free, None).peak_watts;
    let cap_watts = permille.map(|permille| peak_watts * permille / 1000);
    case.cap_watts = cap_watts.unwrap_or(e6::NO_CAP);
    let known = case.under_roof()?.ok_or("on-site solar needs a roof")?;
    let used: f64 = free.workloads.iter().map(|workload| (workload.watts.0 * workload.length.0) as f64).sum();
    let row = |who: String, bill: Bill, seconds_over, misses| Row {
        who,
        own_use_percent: 100.0 * bill.own / known.made,
        cover_percent: 100.0 * bill.own / used,
        saved_percent: 100.0 * (1.0 - bill.cost / known.at_once.cost),
        seconds_over,
        misses,
    };
    let ran = |who: String, outcome: &Outcome| {
        let figures = summary::summarise(outcome, None);
        let missing = figures.jobs_total - figures.jobs_finished;
        row(who, known.bill(outcome), figures.seconds_over_cap, figures.deadline_misses + missing)
    };
    let mut rows = vec![ran("run-now".to_owned(), &carried_out(case, &RunNow, "perfect")?)];
    let case = &*case;
    let outcomes: Vec<Result<Outcome, String>> = std::thread::scope(|scope| {
        let one = |forecast: &String| {
            let forecast = forecast.clone();
            scope.spawn(move || carried_out(case, &Heliotrope, &forecast))
        };
        let started: Vec<_> = setting.followed.forecasts.iter().map(one).collect();
        let lost = || Err("a thread ended without a result".to_owned());
        started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
    });
    for (forecast, outcome) in setting.followed.forecasts.iter().zip(outcomes) {
        rows.push(ran(format!("heliotrope, {forecast}"), &outcome?));
    }
    rows.push(row("the LP".to_owned(), Bill { cost: known.least.cost, own: known.least.own }, 0, 0));
    Ok(Site {
        zone: String::new(),
        signal: String::new(),
        days: known.roof.days,
        jobs: known.roof.jobs,
        rated_watts: known.roof.rated_watts,
        cap_watts,
        peak_watts,
        rows,
    })
}

/// Measures.
///
/// # Errors
/// Where a file can't be read or does not say what is needed, and where the checker refuses a plan.
pub fn run(setting: &Setting) -> Result<Solar, String> {
    let followed = &setting.followed;
    let mut found =
        Solar { start: followed.start.to_string(), shortest_seconds: followed.shortest.0, sites: Vec::new() };
    for roof in &followed.roofs {
        for (zone, signal, files) in followed.series.iter().filter(|(zone, ..)| *zone == roof.zone) {
            let mut case = Case::new(followed, *signal, files, Some(roof))?;
            for permille in &setting.caps_permille {
                let (zone, signal) = (zone.clone(), signal.name().to_owned());
                found.sites.push(Site { zone, signal, ..site(setting, &mut case, *permille)? });
            }
        }
    }
    Ok(found)
}
