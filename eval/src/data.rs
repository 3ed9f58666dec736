//! What is read from the shared data: curves, the Phoenix trial, the power of two fleets.

use serde_json::{Value, json};
use std::path::Path;

/// What an A100 draws with nothing running, in watts (`gpu-power/acme`: the lower third of both fleets).
pub const IDLE: f64 = 60.0;
/// How far an A100 was seen above its limit in the sweep, in thousandths: 102.9 W under 100.
pub const OVERSHOOT: u32 = 30;

/// A workload of the trial.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Its accelerators.
    pub gpus: u32,
    /// How much slower it may get: Low, Medium or High.
    pub flexibility: &'static str,
    /// The speed that it is promised: a part of its highest.
    pub floor: f64,
    /// Limit and draw in watts, and speed as a part of the highest; by rising limit.
    pub points: Vec<(f64, f64, f64)>,
    /// The speed that it had in the trial.
    pub in_trial: f64,
}

impl Job {
    /// What one accelerator draws under a limit, in watts, and how fast it is: linear between what was measured.
    #[must_use]
    pub fn at(&self, limit: f64) -> (f64, f64) {
        let points = &self.points;
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return (0.0, 0.0) };
        if limit <= first.0 {
            return (first.1, first.2);
        }
        for pair in points.windows(2) {
            if limit <= pair[1].0 {
                let part = (limit - pair[0].0) / (pair[1].0 - pair[0].0);
                return (pair[0].1 + part * (pair[1].1 - pair[0].1), pair[0].2 + part * (pair[1].2 - pair[0].2));
            }
        }
        (last.1, last.2)
    }

    fn rounded(&self) -> impl Iterator<Item = (i64, i64, i64)> + '_ {
        let whole = |value: f64| value.round() as i64;
        self.points.iter().map(move |(limit, draw, speed)| (whole(*limit), whole(*draw), whole(speed * 1000.0)))
    }

    /// The spec of its `AcceleratorProfile`.
    #[must_use]
    pub fn spec(&self, model: &str) -> Value {
        let point = |(limit, draw, work): (i64, i64, i64)| json!({"limitWatts": limit, "drawWatts": draw, "throughputPermille": work});
        let points: Vec<Value> = self.rounded().map(point).collect();
        json!({"deviceModel": model, "points": points, "minWatts": 100, "maxWatts": 400, "idleWatts": IDLE as i64,
            "overshootPermille": OVERSHOOT, "source": "emerald-ai-demo-may-2025, Apache-2.0"})
    }
}

/// The rows of a file as texts, without the first.
pub(crate) fn rows(path: &Path) -> Result<Vec<Vec<String>>, String> {
    let tell = |error: csv::Error| format!("{}: {error}; --data names the folder of the shared data", path.display());
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(tell)?;
    reader.records().map(|row| Ok(row.map_err(tell)?.iter().map(|field| field.trim().to_owned()).collect())).collect()
}

pub(crate) fn number(path: &Path, row: &[String], at: usize) -> Result<f64, String> {
    let text = row.get(at).map_or("", String::as_str);
    let value: f64 = text.parse().map_err(|_| {
        format!("{}: column {} has {text:?} where a number is needed: {}", path.display(), at + 1, row.join(","))
    })?;
    if value.is_finite() { Ok(value) } else { Err(format!("{}: {text} is no number to reckon with", path.display())) }
}

/// The workloads of an event, with the curves of a sweep.
///
/// # Errors
/// Where a file can't be read or does not fit the other.
pub fn jobs(event: &Path, sweep: &Path) -> Result<Vec<Job>, String> {
    let curves = rows(sweep)?;
    let path = event.join("SRP_exp_performance.csv");
    let mut jobs = Vec::new();
    for row in rows(&path)? {
        let (flexibility, floor) = match row.get(2).map_or("", String::as_str) {
            "" => continue, // the last line is their sum
            "Flex 1" => ("Low", 0.9),
            "Flex 2" => ("Medium", 0.75),
            "Flex 3" => ("High", 0.5),
            other => return Err(format!("{}: {other:?} is no flexibility: Flex 1, 2 or 3", path.display())),
        };
        let name = row.first().cloned().unwrap_or_default();
        let kind = name.split('-').next().unwrap_or_default();
        let (mut points, mut gpus) = (Vec::new(), 0);
        for row in curves.iter().filter(|row| row.first().is_some_and(|first| first == kind)) {
            let at = |column| number(sweep, row, column);
            points.push((at(1)?, at(5)?, at(4)?));
            gpus = (at(3)? / at(5)?).round() as u32;
        }
        if points.len() < 2 || gpus == 0 || gpus % 8 != 0 {
            return Err(format!("{}: {kind} needs two points and whole servers of eight, for {name}", sweep.display()));
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        jobs.push(Job { in_trial: number(&path, &row, 1)?, name, gpus, flexibility, floor, points });
    }
    if jobs.is_empty() { Err(format!("{}: there is no workload in it", path.display())) } else { Ok(jobs) }
}

/// A curve of a sweep: its name, and draw in watts and speed as a part of the highest at each limit.
pub type Curve = (String, Vec<(f64, f64)>);

/// The curves of a sweep, in its order.
///
/// # Errors
/// Where the file can't be read.
pub fn curves(sweep: &Path) -> Result<Vec<Curve>, String> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in rows(sweep)? {
        let point = (number(sweep, &row, 5)?, number(sweep, &row, 4)?);
        let name = row.first().cloned().unwrap_or_default();
        match curves.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push(point),
            None => curves.push((name, vec![point])),
        }
    }
    if curves.is_empty() { Err(format!("{}: there is no curve in it", sweep.display())) } else { Ok(curves) }
}

/// Each minute's watts in the trial.
///
/// # Errors
/// Where the file can't be read.
pub fn trial(event: &Path) -> Result<Vec<f64>, String> {
    let path = event.join("SRP_total_power.csv");
    let watts: Vec<f64> = rows(&path)?.iter().map(|row| number(&path, row, 1)).collect::<Result<_, _>>()?;
    if watts.len() < 270 {
        return Err(format!(
            "{}: {} minutes, 270 are needed: 80 before the event and 3 h of it",
            path.display(),
            watts.len()
        ));
    }
    Ok(watts)
}

/// Power by hundredth of all samples: of an accelerator (the second fleet, Kalos) and of a server.
///
/// # Errors
/// Where the file can't be read.
pub fn power_cdf(path: &Path) -> Result<(Vec<f64>, Vec<f64>), String> {
    let rows = rows(path)?;
    if rows.len() < 100 {
        return Err(format!("{}: {} rows, a hundred at least are needed", path.display(), rows.len()));
    }
    let column = |at: usize| rows.iter().map(|row| number(path, row, at)).collect::<Result<Vec<f64>, String>>();
    Ok((column(2)?, column(3)?))
}
