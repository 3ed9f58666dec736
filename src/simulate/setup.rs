//! What a scenario means: read, checked, and turned into values of the core.
//!
//! Every mistake is one [`YamlError`] that names file, line and field; files that a scenario names are read through
//! a function of the caller, so that an embedded scenario needs none.

use super::constraints;
use super::meter::{InUse, Meter};
use super::scenario::{Domain, Event, MOST, Scenario, ScenarioPool, Signal, Window};
use super::work::{self, Job};
use crate::api::BaselineMethod;
use crate::core::domain::{CapSchedule, CapWindow, DomainSpec, DomainTree, Target};
use crate::core::forecast::Forecast;
use crate::core::plan::{Constraints, Pool};
use crate::core::steps::Steps;
use crate::signals::{self, Series};
use crate::units::{CarbonIntensity, Moment, PricePerTonne, Seconds, Watts};
use crate::yaml::{Document, YamlError};
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

/// A scenario that can be run.
#[derive(Debug, Clone)]
pub struct Setup {
    /// When it begins.
    pub start: Moment,
    /// When it ends.
    pub end: Moment,
    /// The grain of plans.
    pub slot: Seconds,
    /// The only source of chance.
    pub seed: u64,
    /// The electrical tree with all caps over the whole time.
    pub tree: DomainTree,
    /// The accelerators.
    pub pools: Vec<Pool>,
    /// What binds plans beside caps, as the scenario begins.
    pub constraints: Constraints,
    /// The model of each pool's accelerators.
    pub models: Vec<String>,
    /// Carbon intensity in mg/kWh.
    pub carbon: Option<Series>,
    /// Price in millionths per MWh.
    pub price: Option<Series>,
    /// On-site generation.
    pub generation: Option<Steps<Watts>>,
    /// From when on it is known; the start where nothing is generated.
    pub generation_from: Moment,
    /// What may be known of what comes.
    pub forecast: Forecast,
    /// Price of carbon; none where the scenario names none.
    pub carbon_price: Option<PricePerTonne>,
    /// What an hour of waiting costs, in millionths of the currency unit.
    pub delay_cost_per_hour: i64,
    /// All work, by arrival.
    pub jobs: Vec<Job>,
    /// The name of the policy.
    pub policy: String,
}

/// Reads files that a scenario names, by the path that it gives.
pub type ReadFile<'a> = dyn Fn(&str) -> std::io::Result<String> + 'a;

/// A scenario that can be run.
///
/// # Errors
/// The first mistake.
pub fn setup(document: &Document, read_file: &ReadFile<'_>) -> Result<Setup, YamlError> {
    let scenario: Scenario = document.read()?;
    let bad = |field: &str, what: &dyn std::fmt::Display| document.error(field, what);
    if !scenario.faults.is_empty() {
        return Err(bad("faults", &"this version simulates no faults: leave the list empty"));
    }
    if scenario.slot <= Seconds::ZERO || scenario.duration <= Seconds::ZERO {
        let field = if scenario.slot <= Seconds::ZERO { "slot" } else { "duration" };
        return Err(bad(field, &"must be longer than nothing"));
    }
    let (start, end) = (scenario.start, scenario.start + scenario.duration);
    let tree = domains(document, &scenario, start, end)?;
    let pools = pools(document, &scenario.site.pools, &tree)?;
    for (domain, idle) in tree.iter().map(|(_, domain)| domain).zip(Meter::new(&tree, &pools).draw(&InUse::new())) {
        let i = scenario.site.domains.iter().position(|one| one.name == domain.spec.name).unwrap_or(0);
        let cap = scenario.site.domains[i].cap_watts;
        if cap < idle {
            let what = format!(
                "{cap} are below the {idle} that `{}` draws with all hosts idle: it is never kept",
                domain.spec.name
            );
            return Err(document.error(&format!("site.domains[{i}].capWatts"), what));
        }
    }
    let read = |path: &str, field: &str| {
        read_file(path).map_err(|error| document.error(field, format!("`{path}` can't be read: {error}")))
    };
    let series = |signal: &Option<Signal>, field: &str| -> Result<Option<Series>, YamlError> {
        let Some(signal) = signal else { return Ok(None) };
        let text = read(&signal.file, &format!("{field}.file"))?;
        let series = signals::read(&text, &signal.file, signal.format, signal.column.as_deref())
            .map_err(|error| document.error(field, error))?;
        covers(document, field, &series, start, end)?;
        Ok(Some(series))
    };
    let carbon = series(&scenario.signals.carbon, "signals.carbon")?;
    let price = series(&scenario.signals.price, "signals.price")?;
    let mut generation_from = start;
    let generation = match &scenario.site.on_site_generation {
        None => None,
        Some(generation) => {
            let field = "site.onSiteGeneration";
            let text = read(&generation.file, &format!("{field}.file"))?;
            let mut series = signals::read(&text, &generation.file, generation.format, generation.column.as_deref())
                .map_err(|error| document.error(field, error))?;
            if series.from.0 < 86_400 {
                // a file that counts seconds from its own beginning begins with the scenario
                series = shifted(&series, start - series.from);
            }
            covers(document, field, &series, start, end)?;
            generation_from = series.from;
            let rated = generation.rated_watts.0;
            Some(series.steps.map(|millionths| Watts(rated.saturating_mul(millionths) / 1_000_000)))
        }
    };
    if crate::core::plan::by_name(&scenario.policy).is_none() {
        let known = crate::core::plan::POLICIES.join(", ");
        return Err(bad("policy", &format!("`{}` is not a policy; there are {known}", scenario.policy)));
    }
    let models: Vec<String> = scenario.site.pools.iter().map(|pool| pool.accelerator.clone()).collect();
    let jobs = work::jobs(document, &scenario, &models, &read)?;
    let constraints = constraints::constraints(document, &scenario, &tree, &jobs)?;
    Ok(Setup {
        start,
        end,
        slot: scenario.slot,
        seed: scenario.seed,
        tree,
        pools,
        constraints,
        models,
        carbon,
        price,
        generation,
        generation_from,
        forecast: scenario.signals.forecast,
        carbon_price: scenario.carbon_price_per_tonne.map(|units| PricePerTonne::units(i64::from(units))),
        delay_cost_per_hour: i64::from(scenario.delay_cost_per_hour) * 1_000_000,
        jobs,
        policy: scenario.policy,
    })
}

impl Setup {
    /// Carbon intensity over time.
    #[must_use]
    pub fn intensity(&self) -> Option<Steps<CarbonIntensity>> {
        self.carbon.as_ref().map(|series| series.steps.map(CarbonIntensity))
    }
}

fn shifted(series: &Series, by: Seconds) -> Series {
    let pieces = series.steps.pieces(series.from, series.until).map(|(at, _, value)| (at + by, value));
    let steps = Steps::new(series.steps.at(series.from), pieces.collect::<Vec<_>>());
    Series { steps, from: series.from + by, until: series.until + by, ..series.clone() }
}

fn covers(document: &Document, field: &str, series: &Series, start: Moment, end: Moment) -> Result<(), YamlError> {
    if series.from <= start && end <= series.until {
        return Ok(());
    }
    let (from, until) = (series.from, series.until);
    Err(document
        .error(field, format!("is known from {from} until {until}, and the scenario needs {start} until {end}")))
}

fn domains(document: &Document, scenario: &Scenario, start: Moment, end: Moment) -> Result<DomainTree, YamlError> {
    let domains = &scenario.site.domains;
    if domains.is_empty() {
        return Err(document.error("site.domains", "is empty: at least one domain is needed"));
    }
    let mut specs = Vec::new();
    for (i, domain) in domains.iter().enumerate() {
        let field = |name: &str| format!("site.domains[{i}].{name}");
        if domain.overhead_permille > 1000 {
            return Err(document.error(&field("overheadPermille"), "more than 1000: losses above the load itself"));
        }
        let schedule = schedule(document, domain, &field)?;
        let mut cap = Steps::constant(domain.cap_watts);
        if let Some(schedule) = schedule {
            cap = schedule.timeline(domain.cap_watts, start, end);
        }
        specs.push(DomainSpec {
            name: domain.name.clone(),
            parent: domain.parent.clone(),
            cap,
            baseline: domain.baseline_watts,
            overhead_permille: domain.overhead_permille,
        });
    }
    for (i, event) in scenario.events.iter().enumerate() {
        curtail(document, event, i, start, domains, &mut specs)?;
    }
    DomainTree::new(specs).map_err(|error| {
        let i = domains.iter().rposition(|domain| domain.name == error.domain()).unwrap_or(0);
        document.error(&format!("site.domains[{i}].{}", error.field()), error)
    })
}

fn schedule(
    document: &Document,
    domain: &Domain,
    field: &dyn Fn(&str) -> String,
) -> Result<Option<CapSchedule>, YamlError> {
    let Some(schedule) = &domain.cap_schedule else { return Ok(None) };
    let zone = TimeZone::get(&schedule.time_zone).map_err(|_| {
        let zone = &schedule.time_zone;
        document.error(&field("capSchedule.timeZone"), format!("`{zone}` is not a time zone such as Asia/Seoul"))
    })?;
    let mut windows = Vec::new();
    for (i, Window { days, from, to, cap_watts }) in schedule.windows.iter().enumerate() {
        let time = |name: &str, text: &str| {
            let clock = format!("{text}:00");
            let time = (text.len() == 5).then(|| clock.parse::<jiff::civil::Time>().ok()).flatten();
            let field = field(&format!("capSchedule.windows[{i}].{name}"));
            time.ok_or_else(|| document.error(&field, format!("`{text}` is not a time of day such as 18:30")))
        };
        let days = days.iter().filter_map(|day| Weekday::from_monday_zero_offset(*day as i8).ok()).collect();
        windows.push(CapWindow { days, from: time("from", from)?, to: time("to", to)?, cap: *cap_watts });
    }
    let schedule = CapSchedule::new(zone, windows);
    schedule.map(Some).map_err(|error| document.error(&field("capSchedule.windows"), error))
}

/// Lowers a domain's cap for the time of an event. Targets are resolved against the cap the spec names.
fn curtail(
    document: &Document,
    event: &Event,
    i: usize,
    begins: Moment,
    domains: &[Domain],
    specs: &mut [DomainSpec],
) -> Result<(), YamlError> {
    let field = |name: &str| format!("events[{i}].{name}");
    let Some(at) = domains.iter().position(|domain| domain.name == event.domain) else {
        return Err(document.error(&field("domain"), format!("there is no domain `{}`", event.domain)));
    };
    let start = event.start.unwrap_or(begins);
    if event.end <= start {
        return Err(document.error(&field("end"), "is not after its start"));
    }
    if event.baseline == Some(BaselineMethod::Committed) {
        let what = "only Cap is simulated: what is committed is not known before the run";
        return Err(document.error(&field("baseline"), what));
    }
    let mut targets = event.target.iter();
    let (Some((name, value)), None) = (targets.next(), targets.next()) else {
        return Err(document.error(&field("target"), "takes one of capWatts, reduceWatts, reducePercent"));
    };
    let watts = |value| {
        super::scenario::parse_watts(value).map_err(|what| document.error(&field(&format!("target.{name}")), what))
    };
    let target = match name.as_str() {
        "capWatts" => Target::Cap(watts(value)?),
        "reduceWatts" => Target::ReduceWatts(watts(value)?),
        "reducePercent" => match value.as_u64().and_then(|percent| u32::try_from(percent).ok()) {
            Some(percent) if percent <= 100 => Target::ReducePercent(percent),
            _ => return Err(document.error(&field("target.reducePercent"), "is not a whole number from 0 to 100")),
        },
        _ => {
            let what = format!("`{name}` is not known: use one of capWatts, reduceWatts, reducePercent");
            return Err(document.error(&field(&format!("target.{name}")), what));
        }
    };
    if event.cancelled {
        return Ok(());
    }
    // a cap below the baseline can't be kept by us, and a real emergency is never refused: all of ours stops
    let lowest = target.resolve(domains[at].cap_watts).max(specs[at].baseline);
    specs[at].cap.update(start, event.end, |cap| cap.min(lowest));
    Ok(())
}

fn pools(document: &Document, pools: &[ScenarioPool], tree: &DomainTree) -> Result<Vec<Pool>, YamlError> {
    pools
        .iter()
        .enumerate()
        .map(|(i, pool)| {
            let field = |name: &str| format!("site.pools[{i}].{name}");
            if pools[..i].iter().any(|other| other.name == pool.name) {
                return Err(document.error(&field("name"), format!("pool `{}` is there twice", pool.name)));
            }
            let domain = tree
                .find(&pool.domain)
                .ok_or_else(|| document.error(&field("domain"), format!("there is no domain `{}`", pool.domain)))?;
            if pool.host_idle_watts > pool.host_watts {
                return Err(document.error(&field("hostIdleWatts"), "is above hostWatts: an idle host draws less"));
            }
            let accelerators = pool.nodes.checked_mul(pool.accelerators_per_node).filter(|n| *n > 0);
            let accelerators = accelerators.ok_or_else(|| {
                document.error(&field("nodes"), "nodes × acceleratorsPerNode must be from 1 to 4294967295")
            })?;
            if pool.host_watts.times(pool.nodes) > MOST {
                return Err(document.error(&field("hostWatts"), "nodes × hostWatts is more than 10 GW"));
            }
            Ok(Pool {
                name: pool.name.clone(),
                domain,
                supply: 0,
                accelerators,
                nodes: pool.nodes,
                idle: pool.host_idle_watts.times(pool.nodes),
                host_extra: pool.host_watts - pool.host_idle_watts,
                places: None,
                frozen: None,
                least: None,
            })
        })
        .collect()
}
