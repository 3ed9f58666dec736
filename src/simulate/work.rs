//! The work of a scenario: jobs of a trace, and single workloads.

use super::curves::{self, OperatingPoint};
use super::scenario::{MOST, Replicas, Scenario, StartRule};
use crate::core::plan::{Pace, Suspension, Uncertain, WorkloadId};
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
    /// How long it may well take: its deadline is kept even so, where it can be.
    pub up_to: Seconds,
    /// Its operating points, of all its accelerators together; the full one first. Never empty. One that is elastic has points of
    /// several widths.
    pub points: Vec<OperatingPoint>,
    /// Only in pools of this model; in any if not said.
    pub model: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    /// How long it may wait; none: it is never delayed.
    pub wait: Option<Wait>,
    /// What it may be stopped for.
    pub suspension: Suspension,
}

/// How long a job may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until it can just be finished by then.
    Until(Moment),
    /// So much beyond its own length, however long that is.
    Beyond(Seconds),
}

impl Job {
    /// By when it should have finished; none where it is never delayed.
    #[must_use]
    pub fn finish_by(&self) -> Option<Moment> {
        Some(match self.wait? {
            Wait::Until(deadline) => deadline,
            Wait::Beyond(wait) => self.arrival + self.length + wait,
        })
    }

    /// Is it known how long it runs?
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.believed == self.length && self.up_to == self.length
    }

    /// What a plan may know of when it should start and finish, if it is believed to take so long in all and could be done by `soonest`.
    #[must_use]
    pub fn known(&self, believed: Seconds, soonest: Moment) -> (Option<Moment>, Option<Moment>, Option<Uncertain>) {
        match self.wait {
            None => (None, None, None),
            // what it may wait is known, and its length only as it is believed
            Some(Wait::Beyond(wait)) => (Some(self.arrival + wait), Some(self.arrival + wait + believed), None),
            Some(Wait::Until(deadline)) => {
                let uncertain = Uncertain::of(self.up_to - believed, deadline);
                let aim = uncertain.map_or(deadline, |uncertain| uncertain.aim(soonest));
                (Some(deadline - believed), Some(aim), uncertain)
            }
        }
    }

    /// Draw of its accelerators at full, without hosts.
    #[must_use]
    pub fn watts(&self) -> Watts {
        self.points.first().map_or(Watts::ZERO, |point| point.watts)
    }

    /// Accelerators that it holds at full.
    #[must_use]
    pub fn accelerators(&self) -> u32 {
        self.points.first().map_or(0, |point| point.accelerators)
    }
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
        let widths = match &workload.replicas {
            None => vec![(1, Pace::FULL)],
            Some(replicas) => widths(replicas).map_err(|(name, what)| document.error(&field(name), what))?,
        };
        let most = widths[0].0.checked_mul(workload.accelerators_per_replica).filter(|n| *n > 0);
        let Some(accelerators) = most else {
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
        let believed = workload.expected_duration_seconds;
        let (length, up_to) =
            (workload.actual_duration_seconds.unwrap_or(believed), workload.duration_up_to_seconds.unwrap_or(believed));
        if length == 0 {
            return wrong("actualDurationSeconds", "is zero: there is nothing to run");
        }
        if up_to < believed {
            return wrong("durationUpToSeconds", "is shorter than expectedDurationSeconds");
        }
        let [length, believed, up_to] = [length, believed, up_to].map(|seconds| Seconds(i64::from(seconds)));
        let wait = match (workload.deadline, workload.max_delay_seconds) {
            (Some(_), Some(_)) => return wrong("maxDelaySeconds", "give either deadline or maxDelaySeconds"),
            (Some(deadline), None) => Some(Wait::Until(deadline)),
            (None, delay) => delay.map(|delay| Wait::Beyond(Seconds(i64::from(delay)))),
        };
        jobs.push(Job {
            id: workload.name.as_str().into(),
            class: format!("{:?}", workload.class),
            arrival,
            length,
            believed,
            up_to,
            points: of_all_widths(&each, &widths, workload.accelerators_per_replica),
            model: workload.accelerator.clone(),
            priority: workload.priority,
            wait,
            suspension: match workload.checkpoint {
                Some(checkpoint) => Suspension::ForSupply { cost: Seconds(i64::from(checkpoint.cost_seconds)) },
                None => Suspension::ForCapOnly,
            },
        });
    }
    Ok(jobs)
}

/// The most widths that one workload is planned with: more are thinned out, evenly.
const WIDTHS: u32 = 16;

/// How many replicas it may have, the most first, and how fast it works with them; else which field is wrong, and how.
fn widths(replicas: &Replicas) -> Result<Vec<(u32, Pace)>, (&'static str, String)> {
    let Replicas { min, max, speed_permille } = replicas;
    if *min == 0 || max < min {
        return Err(("replicas", format!("from {min} to {max}: min must be 1 or more, and max no less")));
    }
    let all = max - min;
    if let Some(speeds) = speed_permille {
        let rises = speeds.windows(2).all(|pair| pair[0] < pair[1]);
        let ends_at_full = speeds.first().is_some_and(|first| *first > 0) && speeds.last() == Some(&1000);
        if speeds.len() != all as usize + 1 || !rises || !ends_at_full {
            let what =
                format!("must be {} figures, of {min} to {max} replicas, that rise from above 0 to 1000", all + 1);
            return Err(("replicas.speedPermille", what));
        }
    }
    let speed = |more: u32| match speed_permille {
        Some(speeds) => speeds[more as usize] * 1000,
        None => u32::try_from(u64::from(min + more) * 1_000_000 / u64::from(*max)).unwrap_or(1_000_000),
    };
    let steps = all.min(WIDTHS - 1);
    let each = (0..=steps).rev().map(|step| {
        let more = u32::try_from(u64::from(all) * u64::from(step) / u64::from(steps.max(1))).unwrap_or(all);
        // of very many the narrowest do less than a millionth
        (min + more, Pace::millionths(speed(more).max(1)).unwrap_or(Pace::FULL))
    });
    Ok(each.collect())
}

/// The points of an accelerator at each of some widths, the full one first.
fn of_all_widths(each: &[OperatingPoint], widths: &[(u32, Pace)], per_replica: u32) -> Vec<OperatingPoint> {
    let all = widths.iter().flat_map(|(replicas, speed)| {
        each.iter().filter_map(move |point| {
            let millionths = u64::from(speed.per_million()) * u64::from(point.pace.per_million()) / 1_000_000;
            let pace = Pace::millionths(u32::try_from(millionths).ok()?)?;
            Some(OperatingPoint { pace, ..point.times(replicas * per_replica) })
        })
    });
    let mut all: Vec<OperatingPoint> = all.collect();
    // the pace is a point's name: of two with the same one, the one that draws less stays
    all.sort_by_key(|point| (std::cmp::Reverse(point.pace), point.watts));
    all.dedup_by_key(|point| point.pace);
    all
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
            up_to: believed,
            points: each.iter().map(|point| point.times(*units)).collect(),
            model: None,
            priority: 0,
            wait: Some(Wait::Beyond(wait)),
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
