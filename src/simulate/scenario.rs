//! The scenario file as it is written: a stable contract. What it means is made of it in `setup`.
//!
//! Units are in the names. A power is an integer of watts or a text with its unit (`34 kW`), a duration a text (`15m`).

use crate::api::{BaselineMethod, WorkloadClass};
use crate::core::forecast::{Forecast, Method};
use crate::signals::Format;
use crate::units::{Moment, Seconds, Watts};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// A scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scenario {
    /// `heliotrope.dev/v1alpha1`.
    pub api_version: ApiVersion,
    /// `Scenario`.
    pub kind: Kind,
    /// What time 0 of the jobs file is.
    #[serde(deserialize_with = "moment")]
    pub start: Moment,
    /// How long is simulated.
    #[serde(deserialize_with = "seconds")]
    pub duration: Seconds,
    /// The grain of plans.
    #[serde(deserialize_with = "seconds", default = "quarter_hour")]
    pub slot: Seconds,
    /// The only source of chance.
    #[serde(default)]
    pub seed: u64,
    /// What there is.
    pub site: Site,
    /// What comes from outside.
    #[serde(default)]
    pub signals: Signals,
    /// A trace of jobs.
    pub jobs: Option<Jobs>,
    /// Power curves of one's own, beside those that are built in, that jobs and workloads may name.
    #[serde(default)]
    pub profiles: Vec<Profile>,
    /// Single workloads.
    #[serde(default)]
    pub workloads: Vec<ScenarioWorkload>,
    /// Times at which a domain must draw less.
    #[serde(default)]
    pub events: Vec<Event>,
    /// What breaks, when: none can be simulated yet, so a list that is not empty is refused.
    #[serde(default)]
    pub faults: Vec<serde_yaml::Value>,
    /// Price of carbon, in currency units per tonne.
    pub carbon_price_per_tonne: Option<u32>,
    /// What an hour of waiting of one workload costs, in currency units.
    #[serde(default)]
    pub delay_cost_per_hour: u32,
    /// `heliotrope` (default), `run-now`, or one that was published (`core::plan::POLICIES`).
    #[serde(default = "heliotrope")]
    pub policy: String,
}

/// The version of the contract.
#[derive(Debug, Clone, Copy, Deserialize)]
pub enum ApiVersion {
    /// The only one.
    #[serde(rename = "heliotrope.dev/v1alpha1")]
    V1Alpha1,
}

/// What the document is.
#[derive(Debug, Clone, Copy, Deserialize)]
pub enum Kind {
    /// The only kind that is read here.
    Scenario,
}

/// The electrical tree and what stands in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Site {
    /// `PowerDomain` specs, by name.
    pub domains: Vec<Domain>,
    /// Accelerators.
    pub pools: Vec<ScenarioPool>,
    /// Generation behind the meter.
    pub on_site_generation: Option<Generation>,
}

/// One domain.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// What feeds it.
    pub parent: Option<String>,
    /// What it may draw.
    #[serde(deserialize_with = "watts")]
    pub cap_watts: Watts,
    /// What others draw in it, at most.
    #[serde(deserialize_with = "watts", default)]
    pub baseline_watts: Watts,
    /// Losses and cooling on top of what passes through.
    #[serde(default)]
    pub overhead_permille: u32,
    /// Lower caps by the week.
    pub cap_schedule: Option<Schedule>,
    /// How fast what it draws may rise by plan, in the mean of a slot.
    pub ramp_up_watts_per_second: Option<u32>,
    /// How fast it may fall.
    pub ramp_down_watts_per_second: Option<u32>,
    /// How much energy it may draw again and again, idle draw and baseline included.
    #[serde(default)]
    pub energy_budgets: Vec<EnergyEvery>,
}

/// So much energy in each window, of which the first begins with the scenario.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnergyEvery {
    /// What may be drawn in each.
    pub kwh: u32,
    /// How long each is.
    #[serde(deserialize_with = "seconds")]
    pub every: Seconds,
}

/// A time in which accelerators are out of service.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Maintenance {
    /// From when.
    #[serde(deserialize_with = "moment")]
    pub from: Moment,
    /// Until when.
    #[serde(deserialize_with = "moment")]
    pub until: Moment,
    /// How many; all of the pool's if not said.
    pub accelerators: Option<u32>,
}

/// Lower caps by the week.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Schedule {
    /// An IANA time zone.
    pub time_zone: String,
    /// The windows.
    pub windows: Vec<Window>,
}

/// One window.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Window {
    /// `Monday` to `Sunday`.
    pub days: Vec<Day>,
    /// `HH:MM`.
    pub from: String,
    /// `HH:MM`.
    pub to: String,
    /// The cap inside.
    #[serde(deserialize_with = "watts")]
    pub cap_watts: Watts,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(missing_docs, reason = "the days speak for themselves")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// Accelerators of one model in one domain.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScenarioPool {
    /// Its name.
    pub name: String,
    /// Its model; `generic` for any.
    #[serde(default = "generic")]
    pub accelerator: String,
    /// How many nodes.
    pub nodes: u32,
    /// Accelerators in each.
    pub accelerators_per_node: u32,
    /// What a host draws when any of its accelerators is in use.
    #[serde(deserialize_with = "watts", default)]
    pub host_watts: Watts,
    /// What it draws otherwise.
    #[serde(deserialize_with = "watts", default)]
    pub host_idle_watts: Watts,
    /// Where it stands: a domain.
    pub domain: String,
    /// When some of them are out of service.
    #[serde(default)]
    pub maintenance: Vec<Maintenance>,
}

/// Generation behind the meter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Generation {
    /// The file.
    pub file: String,
    /// Its shape.
    pub format: Format,
    /// Its column.
    pub column: Option<String>,
    /// What it gives at most.
    #[serde(deserialize_with = "watts")]
    pub rated_watts: Watts,
}

/// What comes from outside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Signals {
    /// Carbon intensity.
    pub carbon: Option<Signal>,
    /// Price of energy.
    pub price: Option<Signal>,
    /// What may be known of what comes.
    #[serde(deserialize_with = "forecast", default = "perfect")]
    pub forecast: Forecast,
}

impl Default for Signals {
    fn default() -> Self {
        Self { carbon: None, price: None, forecast: Forecast::Perfect }
    }
}

/// A signal's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Signal {
    /// The file.
    pub file: String,
    /// Its shape.
    pub format: Format,
    /// Its column.
    pub column: Option<String>,
}

/// `perfect`, `persistence`, `hour-of-week`, `learned` or `{noisePercent: N}`.
fn forecast<'de, D: Deserializer<'de>>(from: D) -> Result<Forecast, D::Error> {
    const KNOWN: &str = "use perfect, persistence, hour-of-week, learned or {noisePercent: N} with N from 0 to 100";
    let wrong = |what: String| Err(serde::de::Error::custom(format!("{what}: {KNOWN}")));
    let mut percent = None;
    match serde_yaml::Value::deserialize(from)? {
        serde_yaml::Value::String(name) => match name.as_str() {
            "perfect" => return Ok(Forecast::Perfect),
            "persistence" => return Ok(Forecast::By(Method::Persistence)),
            "hour-of-week" => return Ok(Forecast::By(Method::HourOfWeek)),
            "learned" => return Ok(Forecast::By(Method::Learned)),
            _ => return wrong(format!("`{name}` is not a forecast")),
        },
        serde_yaml::Value::Mapping(fields) => {
            for (field, value) in fields {
                match (field.as_str(), value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= 100)) {
                    (Some("noisePercent"), Some(n)) => percent = Some(n),
                    // more could make a signal negative
                    (Some("noisePercent"), None) => {
                        return wrong("noisePercent is not a whole number from 0 to 100".to_owned());
                    }
                    (Some(other), _) => return wrong(format!("unknown field `{other}`")),
                    (None, _) => return wrong("a field without a name".to_owned()),
                }
            }
        }
        _ => {}
    }
    match percent {
        Some(percent) => Ok(Forecast::Noisy { percent }),
        None => wrong("not a forecast".to_owned()),
    }
}

fn perfect() -> Forecast {
    Forecast::Perfect
}

/// A trace of jobs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Jobs {
    /// The file.
    pub file: String,
    /// Its shape.
    pub format: JobsFormat,
    /// The class of all of them, for reports.
    #[serde(default)]
    pub class: WorkloadClass,
    /// Fixed power of a unit, one accelerator. Or `profile`.
    #[serde(deserialize_with = "maybe_watts", default)]
    pub watts_per_unit: Option<Watts>,
    /// The name of a profile: of `profiles`, else one that is built in. A unit has its operating points: full is its fastest, and who
    /// may wait may be slowed instead.
    pub profile: Option<String>,
    /// How long they may wait.
    pub waits: Waits,
    /// May they be stopped for supply?
    #[serde(default)]
    pub interruptible: bool,
    /// What the planner may know of their lengths.
    #[serde(default)]
    pub start_rule: StartRule,
}

/// The shape of a trace.
#[derive(Debug, Clone, Copy, Deserialize)]
pub enum JobsFormat {
    /// `arrival_time,length,cpus`, in seconds.
    #[serde(rename = "gaia-csv")]
    GaiaCsv,
}

/// How long jobs may wait beyond their length, suspensions included.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Waits {
    /// Jobs shorter than this are short.
    #[serde(deserialize_with = "seconds")]
    pub short_below: Seconds,
    /// What short ones may wait.
    #[serde(deserialize_with = "seconds")]
    pub short: Seconds,
    /// What the others may wait.
    #[serde(deserialize_with = "seconds")]
    pub long: Seconds,
}

/// What the planner may know of a job's length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartRule {
    /// Its length.
    #[default]
    KnownLength,
    /// The mean length of its queue.
    AverageLength,
}

/// A power curve in a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Profile {
    /// Its name: a workload of the file where this is a sweep.
    pub name: String,
    /// The file, relative to the scenario: a sweep (CSV: `Workload,GPU power cap,..,normalized throughput,power per GPU`) or an
    /// `AcceleratorProfile` (`.yaml`), such as those that the chart ships.
    pub file: String,
}

/// A single workload: the spec of an `LLMWorkload` with a name, an arrival and its watts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScenarioWorkload {
    /// Its name.
    pub name: String,
    /// When it is asked for; the start of the scenario if not said.
    #[serde(deserialize_with = "maybe_moment", default)]
    pub arrival: Option<Moment>,
    /// Its class.
    #[serde(default)]
    pub class: WorkloadClass,
    /// Its model, for reports.
    pub model: Option<String>,
    /// Accelerators of each replica.
    #[serde(default = "one")]
    pub accelerators_per_replica: u32,
    /// Replicas: as many as `max`, and down to `min` where it may wait and that costs less. Changing how many is free.
    pub replicas: Option<Replicas>,
    /// How long it is expected to run, with all its replicas.
    pub expected_duration_seconds: u32,
    /// How long it may well run; its deadline is kept even then, where it can be.
    pub duration_up_to_seconds: Option<u32>,
    /// How long it does run, which no plan knows; as expected if not said.
    pub actual_duration_seconds: Option<u32>,
    /// By when it must be finished.
    #[serde(deserialize_with = "maybe_moment", default)]
    pub deadline: Option<Moment>,
    /// How long it may be delayed for supply.
    pub max_delay_seconds: Option<u32>,
    /// Higher goes first.
    #[serde(default)]
    pub priority: i32,
    /// May be stopped for supply, at this cost.
    pub checkpoint: Option<Checkpoint>,
    /// Draw of one accelerator. Or `profile`.
    #[serde(deserialize_with = "maybe_watts", default)]
    pub watts_per_accelerator: Option<Watts>,
    /// The name of a profile, as in `jobs`: an accelerator has its operating points.
    pub profile: Option<String>,
    /// Only in pools of this model.
    pub accelerator: Option<String>,
    /// Names of workloads that must have finished before it starts.
    #[serde(default)]
    pub after: Vec<String>,
}

/// Replicas of a workload.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Replicas {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
    /// How fast it works with each number from `min` to `max`, in thousandths of its speed with `max`. Left out: in step with the
    /// number.
    pub speed_permille: Option<Vec<u32>>,
}

/// What stopping and starting costs.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Checkpoint {
    /// Between two checkpoints.
    #[serde(default)]
    pub interval_seconds: u32,
    /// To write one and to come back.
    #[serde(default)]
    pub cost_seconds: u32,
}

/// A time at which a domain must draw less: the spec of a `CurtailmentEvent`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Event {
    /// Which domain.
    pub domain: String,
    /// From when on; the start of the scenario if not said.
    #[serde(deserialize_with = "maybe_moment", default)]
    pub start: Option<Moment>,
    /// Until when.
    #[serde(deserialize_with = "moment")]
    pub end: Moment,
    /// To what: one of `capWatts`, `reduceWatts`, `reducePercent`.
    pub target: BTreeMap<String, serde_yaml::Value>,
    /// What a reduction counts from.
    pub baseline: Option<BaselineMethod>,
    /// Why, for people.
    pub reason: Option<String>,
    /// Who ordered it, for people.
    pub source: Option<String>,
    /// Its name there, for people.
    pub external_id: Option<String>,
    /// It was called off: then it does nothing.
    #[serde(default)]
    pub cancelled: bool,
}

fn quarter_hour() -> Seconds {
    Seconds(900)
}
fn heliotrope() -> String {
    "heliotrope".to_owned()
}
fn generic() -> String {
    "generic".to_owned()
}
fn one() -> u32 {
    1
}

/// The largest power in a scenario, 10 GW: more than any site has, and sums of many stay far from overflow.
pub(super) const MOST: Watts = Watts(10_000_000_000);

/// Watts as a whole number or as a text with a unit.
pub(super) fn parse_watts(value: &serde_yaml::Value) -> Result<Watts, String> {
    match value {
        serde_yaml::Value::Number(number) => match number.as_i64() {
            Some(watts) if (0..=MOST.0).contains(&watts) => Ok(Watts(watts)),
            Some(watts) if watts < 0 => Err(format!("{watts} W is negative")),
            _ => Err(format!("{number} is not a whole number of watts up to 10 GW")),
        },
        serde_yaml::Value::String(text) => match text.parse::<Watts>() {
            Ok(watts) if watts <= MOST => Ok(watts),
            Ok(_) => Err(format!("`{text}` is more than 10 GW, the largest power that is counted with")),
            Err(error) => Err(error.to_string()),
        },
        _ => Err("not a power: write watts as a whole number, or a text such as 34 kW".to_owned()),
    }
}

fn watts<'de, D: Deserializer<'de>>(from: D) -> Result<Watts, D::Error> {
    parse_watts(&serde_yaml::Value::deserialize(from)?).map_err(serde::de::Error::custom)
}

/// Nothing is said with `null`, so that a file's watts can be taken back on the command line.
fn maybe_watts<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Watts>, D::Error> {
    match serde_yaml::Value::deserialize(from)? {
        serde_yaml::Value::Null => Ok(None),
        value => parse_watts(&value).map(Some).map_err(serde::de::Error::custom),
    }
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Seconds, D::Error> {
    let text = String::deserialize(from)?;
    let seconds: Seconds = text.parse().map_err(serde::de::Error::custom)?;
    // a century: more is a mistake, and sums of it must not overflow
    if seconds.0 > 100 * 366 * 86_400 {
        return Err(serde::de::Error::custom(format!("`{text}` is longer than a century")));
    }
    Ok(seconds)
}

fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Moment, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

fn maybe_moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Moment>, D::Error> {
    moment(from).map(Some)
}
