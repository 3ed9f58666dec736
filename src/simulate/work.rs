//! The work of a scenario: jobs of a trace, and single workloads.

use super::scenario::{MOST, Profile, Scenario, StartRule};
use crate::core::plan::{Suspension, WorkloadId};
use crate::units::{Moment, Seconds, Watts};
use crate::yaml::{Document, YamlError};

/// One job as it truly is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub id: WorkloadId,
    /// Its class.
    pub class: String,
    /// When it is asked for.
    pub arrival: Moment,
    /// How long it runs.
    pub length: Seconds,
    /// How long the planner believes it runs.
    pub believed: Seconds,
    /// Accelerators it holds.
    pub accelerators: u32,
    /// Draw of its accelerators, without hosts.
    pub watts: Watts,
    /// Only in pools of this model; in any if not said.
    pub model: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    /// When it is to start at the latest; known before its length is.
    pub start_by: Option<Moment>,
    /// By when it should have finished.
    pub finish_by: Option<Moment>,
    /// What it may be stopped for.
    pub suspension: Suspension,
}

type Read<'a> = dyn Fn(&str, &str) -> Result<String, YamlError> + 'a;

/// All work, by arrival.
pub(super) fn jobs(
    document: &Document,
    scenario: &Scenario,
    models: &[String],
    read: &Read<'_>,
) -> Result<Vec<Job>, YamlError> {
    let mut jobs = single(document, scenario, models, read)?;
    jobs.extend(traced(document, scenario, read)?);
    jobs.sort_by(|a, b| (a.arrival, &a.id).cmp(&(b.arrival, &b.id)));
    Ok(jobs)
}

fn single(document: &Document, scenario: &Scenario, models: &[String], read: &Read<'_>) -> Result<Vec<Job>, YamlError> {
    let mut jobs: Vec<Job> = Vec::new();
    for (i, workload) in scenario.workloads.iter().enumerate() {
        let field = |name: &str| format!("workloads[{i}].{name}");
        let wrong = |name: &str, what: &str| Err(document.error(&field(name), what));
        if jobs.iter().any(|job| *job.id == *workload.name) {
            return wrong("name", &format!("workload `{}` is there twice", workload.name));
        }
        if workload.expected_duration_seconds == 0 {
            return wrong("expectedDurationSeconds", "is zero: there is nothing to run");
        }
        let replicas = workload.replicas.map_or(1, |replicas| replicas.min);
        if workload.replicas.is_some_and(|replicas| replicas.max != replicas.min) {
            return wrong("replicas.max", "elastic width is not served yet: max must be min");
        }
        let accelerators = replicas.checked_mul(workload.accelerators_per_replica).filter(|n| *n > 0);
        let Some(accelerators) = accelerators else {
            return wrong("acceleratorsPerReplica", "replicas × acceleratorsPerReplica must be from 1 to 4294967295");
        };
        if let Some(model) = workload.accelerator.as_ref().filter(|model| !models.contains(model)) {
            return wrong("accelerator", &format!("no pool has a `{model}`"));
        }
        let each = match (workload.watts_per_accelerator, &workload.profile) {
            (Some(watts), None) => watts,
            (None, Some(name)) => profile_watts(document, &scenario.profiles, name, &field("profile"), read)?,
            _ => return wrong("wattsPerAccelerator", "give either wattsPerAccelerator or profile"),
        };
        if each.times(accelerators) > MOST {
            let named = if workload.profile.is_some() { "profile" } else { "wattsPerAccelerator" };
            return wrong(named, &format!("{accelerators} accelerators of {each} are more than 10 GW"));
        }
        let arrival = workload.arrival.unwrap_or(scenario.start);
        let length = Seconds(i64::from(workload.expected_duration_seconds));
        let finish_by = match (workload.deadline, workload.max_delay_seconds) {
            (Some(_), Some(_)) => return wrong("maxDelaySeconds", "give either deadline or maxDelaySeconds"),
            (Some(deadline), None) => Some(deadline),
            (None, delay) => delay.map(|delay| arrival + length + Seconds(i64::from(delay))),
        };
        jobs.push(Job {
            id: workload.name.as_str().into(),
            class: format!("{:?}", workload.class),
            arrival,
            length,
            believed: length,
            accelerators,
            watts: each.times(accelerators),
            model: workload.accelerator.clone(),
            priority: workload.priority,
            start_by: finish_by.map(|by| by - length),
            finish_by,
            suspension: match workload.checkpoint {
                Some(checkpoint) => Suspension::ForSupply { cost: Seconds(i64::from(checkpoint.cost_seconds)) },
                None => Suspension::ForCapOnly,
            },
        });
    }
    Ok(jobs)
}

fn traced(document: &Document, scenario: &Scenario, read: &Read<'_>) -> Result<Vec<Job>, YamlError> {
    let Some(trace) = &scenario.jobs else { return Ok(Vec::new()) };
    let each = match (trace.watts_per_unit, &trace.profile) {
        (Some(watts), None) => watts,
        (None, Some(name)) => profile_watts(document, &scenario.profiles, name, "jobs.profile", read)?,
        _ => return Err(document.error("jobs.wattsPerUnit", "give either wattsPerUnit or profile")),
    };
    let text = read(&trace.file, "jobs.file")?;
    let rows = gaia(&text, &trace.file).map_err(|what| document.error("jobs.file", what))?;
    if let Some(units) = rows.iter().map(|row| row.2).max().filter(|units| each.times(*units) > MOST) {
        let named = if trace.profile.is_some() { "jobs.profile" } else { "jobs.wattsPerUnit" };
        return Err(document.error(named, format!("a job of {units} units of {each} is more than 10 GW")));
    }
    let is_short = |length: Seconds| length < trace.waits.short_below;
    let mean = |short: bool| {
        let lengths: Vec<i64> = rows.iter().filter(|row| is_short(row.1) == short).map(|row| row.1.0).collect();
        let n = i64::try_from(lengths.len()).unwrap_or(i64::MAX).max(1);
        Seconds((lengths.iter().sum::<i64>() / n).max(1))
    };
    let means = [mean(false), mean(true)];
    let jobs = rows.iter().enumerate().map(|(i, (arrival, length, units))| {
        let short = is_short(*length);
        let arrival = scenario.start + *arrival;
        let wait = if short { trace.waits.short } else { trace.waits.long };
        let believed = match trace.start_rule {
            StartRule::KnownLength => *length,
            StartRule::AverageLength => means[usize::from(short)],
        };
        Job {
            id: format!("job-{i:05}").into(),
            class: format!("{:?} ({})", trace.class, if short { "short" } else { "long" }),
            arrival,
            length: *length,
            believed,
            accelerators: *units,
            watts: each.times(*units),
            model: None,
            priority: 0,
            start_by: Some(arrival + wait),
            finish_by: Some(arrival + *length + wait),
            suspension: if trace.interruptible {
                Suspension::ForSupply { cost: Seconds::ZERO }
            } else {
                Suspension::ForCapOnly
            },
        }
    });
    Ok(jobs.collect())
}

/// Rows of (arrival, length, units). Arrivals and lengths are rounded down to 5 s, as the published results on this
/// trace do (GAIA, ASPLOS 2024); nothing is shorter than that.
fn gaia(text: &str, file: &str) -> Result<Vec<(Seconds, Seconds, u32)>, String> {
    const GRAIN: i64 = 5;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|error| format!("{file}:1: {error}"))?.clone();
    let find = |name: &str| {
        let known = headers.iter().collect::<Vec<_>>().join(", ");
        let at = headers.iter().position(|header| header == name);
        at.ok_or_else(|| format!("{file}:1: column `{name}` is not there; the file has {known}"))
    };
    let columns = [find("arrival_time")?, find("length")?, find("cpus")?];
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| format!("{file}: {error}"))?;
        let line = record.position().map_or(0, csv::Position::line);
        let number = |column: usize, least: f64| {
            let text = record.get(columns[column]).unwrap_or("");
            let value = text.trim().parse::<f64>().ok().filter(|v| v.is_finite() && (least..1e9).contains(v));
            value.ok_or_else(|| {
                format!(
                    "{file}:{line}: column `{}`: `{text}` is not a number of at least {least}",
                    &headers[columns[column]]
                )
            })
        };
        let (arrival, length, units) = (number(0, 0.0)?, number(1, 1.0)?, number(2, 1.0)?);
        let down = |seconds: f64| Seconds(seconds as i64 / GRAIN * GRAIN);
        rows.push((down(arrival), Seconds(down(length).0.max(GRAIN)), units as u32));
    }
    if rows.is_empty() {
        return Err(format!("{file}:2: the file has no jobs"));
    }
    Ok(rows)
}

/// Watts that one A100 (limit 400 W) draws at its highest limit under a workload: the profiles that need no file.
/// Rounded up from the column "power per GPU" of `a100_llm_power_limit_sweep.csv`, emerald-ai-demo-may-2025, Apache-2.0.
pub(super) const PROFILES: [(&str, Watts); 8] = [
    ("ft_llama_8b_dolly", Watts(346)),
    ("ft_llama_8b_p3", Watts(344)),
    ("infer_llama_8b", Watts(369)),
    ("infer_llama_8b_32g", Watts(369)),
    ("infer_llama_8b_48g", Watts(369)),
    ("pt_mpt_13b_lg", Watts(382)),
    ("pt_mpt_13b_sm", Watts(377)),
    ("pt_mpt_7b_fast", Watts(388)),
];

/// The draw of one accelerator at its highest limit: by a sweep's file (`Workload,GPU power cap,…,power per GPU`) where
/// `profiles` names one, else as built in.
fn profile_watts(
    document: &Document,
    profiles: &[Profile],
    name: &str,
    field: &str,
    read: &Read<'_>,
) -> Result<Watts, YamlError> {
    let Some(i) = profiles.iter().position(|profile| profile.name == name) else {
        let known = PROFILES.iter().find(|(known, _)| *known == name);
        return known.map(|(_, watts)| *watts).ok_or_else(|| {
            let known = PROFILES.map(|(known, _)| known).join(", ");
            let what = "is neither in the scenario's profiles ({name, file}) nor built in; built in are";
            document.error(field, format!("`{name}` {what} {known}"))
        });
    };
    let file = &profiles[i].file;
    let field = format!("profiles[{i}].file");
    let text = read(file, &field)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut draws: Vec<(f64, f64)> = Vec::new();
    for record in reader.deserialize::<std::collections::BTreeMap<String, String>>() {
        let record = record.map_err(|error| document.error(&field, format!("{file}: {error}")))?;
        if record.get("Workload").is_some_and(|workload| workload == name) {
            let number = |column: &str| record.get(column).and_then(|text| text.parse::<f64>().ok());
            draws.extend(number("GPU power cap").zip(number("power per GPU")));
        }
    }
    let highest = draws.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    let watts = highest.map(|(_, draw)| draw).filter(|draw| (0.0..1e6).contains(draw) && *draw > 0.0);
    let watts =
        watts.ok_or_else(|| document.error(&field, format!("{file}: no row of workload `{name}` has figures")))?;
    Ok(Watts(watts.ceil() as i64))
}
