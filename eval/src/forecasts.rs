//! How well a year is forecast, hour by hour, by one who knew only what was.

use crate::years::{Signal, series};
use heliotrope::core::forecast::{Forecaster, Method};
use heliotrope::units::{Moment, Seconds};
use serde::Serialize;
use std::path::PathBuf;

/// Hours ahead.
pub const LEADS: [usize; 4] = [1, 6, 24, 48];

/// Quantiles, in thousandths.
pub const QUANTILES: [u32; 3] = [100, 500, 900];

/// What is measured, and on what.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Zones and what is forecast there, with files that follow each other.
    pub series: Vec<(String, Signal, Vec<PathBuf>)>,
    /// From when on guesses are counted; what was before is only learned from.
    pub start: Moment,
    /// How many days are counted.
    pub days: u32,
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecasts {
    /// The first day that is counted.
    pub start: String,
    /// How many days.
    pub days: u32,
    /// Each zone and signal.
    pub zones: Vec<Zone>,
}

/// One zone and signal.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Zone {
    /// Its name.
    pub zone: String,
    /// What is forecast.
    pub signal: String,
    /// The mean of all hours.
    pub mean: f64,
    /// Each lead.
    pub leads: Vec<Lead>,
}

/// One lead.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lead {
    /// Hours ahead.
    pub hours: usize,
    /// Mean absolute errors.
    pub persistence: f64,
    /// By the hour of the week.
    pub hour_of_week: f64,
    /// Ours.
    pub learned: f64,
    /// In how many of twelve parts of the time, months of a year, ours was better than the hour of the week.
    pub better_months: usize,
    /// How many parts there were.
    pub months: usize,
    /// How many percent of all hours were at most at each quantile of ours.
    pub below_percent: Vec<f64>,
}

/// Errors of one method, by lead and part of the time, and how often the quantiles held.
struct Found {
    errors: Vec<Vec<f64>>,
    below: Vec<[u32; 3]>,
    hours: u32,
}

const PARTS: usize = 12;

fn follow(actual: &heliotrope::signals::Series, method: Method, start: Moment, days: u32) -> Found {
    let longest = LEADS.into_iter().max().unwrap_or(1);
    let mut forecaster = Forecaster::new(method, actual.from);
    let mut found = Found { errors: vec![vec![0.0; PARTS]; LEADS.len()], below: vec![[0; 3]; LEADS.len()], hours: 0 };
    let hours = usize::try_from(days).unwrap_or(0) * 24;
    let end = start + Seconds(i64::from(days) * Seconds::DAY.0);
    // what was guessed of each hour that is counted: the guess and its quantiles, as it was made
    let mut open: std::collections::VecDeque<Vec<(i64, [i64; 3])>> = std::collections::VecDeque::new();
    while forecaster.next() < end.min(actual.until) {
        let hour = forecaster.next();
        let value = actual.steps.at(hour);
        if hour >= start {
            let part = (((hour - start).0 / 3600) as usize * PARTS / hours.max(1)).min(PARTS - 1);
            for (at, lead) in LEADS.into_iter().enumerate() {
                let Some((guess, quantiles)) = open.get(lead - 1).and_then(|made| made.get(at)) else { continue };
                found.errors[at][part] += (value - guess).abs() as f64;
                for (count, quantile) in found.below[at].iter_mut().zip(quantiles) {
                    *count += u32::from(value <= *quantile);
                }
            }
            found.hours += 1;
        }
        forecaster.observe(value);
        if hour + Seconds(longest as i64 * 3600) >= start {
            let made = LEADS.into_iter().filter_map(|lead| {
                let quantiles = QUANTILES.map(|permille| forecaster.quantile(lead, permille).unwrap_or(value));
                Some((forecaster.ahead(lead)?, quantiles))
            });
            open.push_front(made.collect());
            open.truncate(longest);
        }
    }
    found
}

/// Measures.
///
/// # Errors
/// Where a file can't be read, or the time that is counted does not lie in the data with two days before it.
pub fn run(setting: &Setting) -> Result<Forecasts, String> {
    let mut zones = Vec::new();
    for (zone, signal, files) in &setting.series {
        let actual = series(files, *signal)?;
        let end = setting.start + Seconds(i64::from(setting.days) * Seconds::DAY.0);
        if setting.start < actual.from + Seconds(2 * Seconds::DAY.0) || actual.until < end || setting.days == 0 {
            return Err(format!(
                "{zone}: the data go from {} to {}, and {} to {end} are to be forecast, with at least two days before",
                actual.from, actual.until, setting.start
            ));
        }
        let [persistence, weekly, learned] = [Method::Persistence, Method::HourOfWeek, Method::Learned]
            .map(|method| follow(&actual, method, setting.start, setting.days));
        // stored are thousandths of g/kWh, and millionths of a price
        let unit = if *signal == Signal::Carbon { 1e3 } else { 1e6 };
        let mean = |found: &Found, at: usize| found.errors[at].iter().sum::<f64>() / f64::from(found.hours) / unit;
        let leads = LEADS.into_iter().enumerate().map(|(at, hours)| Lead {
            hours,
            persistence: mean(&persistence, at),
            hour_of_week: mean(&weekly, at),
            learned: mean(&learned, at),
            better_months: learned.errors[at]
                .iter()
                .zip(&weekly.errors[at])
                .filter(|(ours, theirs)| ours < theirs)
                .count(),
            months: PARTS,
            below_percent: learned.below[at].map(|count| 100.0 * f64::from(count) / f64::from(learned.hours)).to_vec(),
        });
        let leads = leads.collect();
        let mean = actual.steps.mean(setting.start, end) as f64 / unit;
        zones.push(Zone { zone: zone.clone(), signal: signal.name().to_owned(), mean, leads });
    }
    Ok(Forecasts { start: setting.start.to_string(), days: setting.days, zones })
}
