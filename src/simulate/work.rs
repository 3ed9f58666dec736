//! The work of a scenario: jobs of a trace, and single workloads.

use super::curves::{self, OperatingPoint};
use super::scenario::{MOST, Scenario, StartRule};
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
    /// Its operating points, of all its accelerators together; the full one first. Never empty.
    pub points: Vec<OperatingPoint>,
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

impl Job {
    /// Draw of its accelerators at full, without hosts.
    #[must_use]
    pub fn watts(&self) -> Watts {
        self.points.first().map_or(Watts::ZERO, |point| point.watts)
    }
}

/// The points of so many accelerators that work in step.
fn together(each: &[OperatingPoint], accelerators: u32) -> Vec<OperatingPoint> {
    each.iter().map(|point| OperatingPoint { watts: point.watts.times(accelerators), ..*point }).collect()
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
            (Some(watts), None) => vec![OperatingPoint::full(watts)],
            (None, Some(name)) => curves::points(document, &scenario.profiles, name, &field("profile"), read)?,
            _ => return wrong("wattsPerAccelerator", "give either wattsPerAccelerator or profile"),
        };
        if each[0].watts.times(accelerators) > MOST {
            let named = if workload.profile.is_some() { "profile" } else { "wattsPerAccelerator" };
            return wrong(named, &format!("{accelerators} accelerators of {} are more than 10 GW", each[0].watts));
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
            points: together(&each, accelerators),
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
        (Some(watts), None) => vec![OperatingPoint::full(watts)],
        (None, Some(name)) => curves::points(document, &scenario.profiles, name, "jobs.profile", read)?,
        _ => return Err(document.error("jobs.wattsPerUnit", "give either wattsPerUnit or profile")),
    };
    let text = read(&trace.file, "jobs.file")?;
    let rows = gaia(&text, &trace.file).map_err(|what| document.error("jobs.file", what))?;
    if let Some(units) = rows.iter().map(|row| row.2).max().filter(|units| each[0].watts.times(*units) > MOST) {
        let named = if trace.profile.is_some() { "jobs.profile" } else { "jobs.wattsPerUnit" };
        return Err(document.error(named, format!("a job of {units} units of {} is more than 10 GW", each[0].watts)));
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
            points: together(&each, *units),
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
