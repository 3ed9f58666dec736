//! Hourly signals of a zone over years, and a stream of jobs that lasts as long.

use heliotrope::core::steps::Steps;
use heliotrope::signals::{self, Format, Series};
use heliotrope::units::{Moment, Seconds};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Carbon intensity.
    Carbon,
    /// Price of energy.
    Price,
}

impl Signal {
    /// What it is called in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Carbon => "carbon",
            Self::Price => "price",
        }
    }

    /// The file of a zone and year in the shared data.
    #[must_use]
    pub fn file(self, data: &Path, zone: &str, year: u32) -> PathBuf {
        data.join(match self {
            Self::Carbon => format!("carbon/{zone}_{year}_hourly.csv"),
            Self::Price => format!("price/{zone}_electricity_prices_{year}.csv"),
        })
    }

    fn format(self) -> Format {
        match self {
            Self::Carbon => Format::ElectricityMapsCsv,
            Self::Price => Format::PriceCsv,
        }
    }
}

/// Files that follow each other, as one: the header of the first, and the rows of all.
///
/// # Errors
/// Where one can't be read.
pub fn joined(files: &[PathBuf]) -> Result<String, String> {
    let mut text = String::new();
    for file in files {
        let read = std::fs::read_to_string(file);
        let read =
            read.map_err(|error| format!("{}: {error}; --data names the folder of the shared data", file.display()))?;
        let rows = if text.is_empty() { &read[..] } else { read.split_once('\n').map_or("", |(_, rows)| rows) };
        text += rows;
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

/// Files that follow each other, as a series.
///
/// # Errors
/// Where one can't be read or does not follow the one before it.
pub fn series(files: &[PathBuf], signal: Signal) -> Result<Series, String> {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    signals::read(&joined(files)?, &names.join(" + "), signal.format(), None).map_err(|error| error.to_string())
}

/// A week of jobs as a stream over many: in each week comes one job of `each`, in turn, at its own time of the week. Those that might
/// not be done by the end with the longest wait are left away. As GAIA writes them, in seconds from the start.
///
/// # Errors
/// Where the file can't be read or has no such columns.
pub fn stream(jobs: &Path, each: usize, length: Seconds, longest_wait: Seconds) -> Result<String, String> {
    let rows = crate::data::rows(jobs)?;
    let week = 7 * Seconds::DAY.0;
    let mut text = "arrival_time,length,cpus\n".to_owned();
    let mut known: Vec<(f64, f64, f64)> = Vec::new();
    for row in &rows {
        let at = |column| crate::data::number(jobs, row, column);
        known.push((at(0)?, at(1)?, at(2)?));
    }
    for turn in 0..length.0 / week + 1 {
        for (arrival, takes, units) in known.iter().skip(turn as usize % each.max(1)).step_by(each.max(1)) {
            let arrival = arrival.rem_euclid(week as f64) + (turn * week) as f64;
            if arrival + takes + (longest_wait.0 as f64) < length.0 as f64 {
                let _ = writeln!(text, "{arrival},{takes},{units}");
            }
        }
    }
    Ok(text)
}

/// The days of a series in `[from, to)`, each by the part of its mean that lies between its lowest and its highest hour.
#[must_use]
pub fn spreads(series: &Series, from: Moment, to: Moment) -> Vec<f64> {
    let mut spreads = Vec::new();
    let mut day = from;
    while day < to {
        let end = day + Seconds::DAY;
        let (low, high) = (series.steps.lowest(day, end) as f64, series.steps.highest(day, end) as f64);
        let mean = series.steps.mean(day, end).abs().max(1) as f64;
        spreads.push((high - low) / mean);
        day = end;
    }
    spreads
}

/// What is generated on a roof, hour by hour, as a part of what it is rated at.
#[derive(Debug, Clone)]
pub struct Roof {
    /// The zone that it stands in.
    pub zone: String,
    /// Its file, as `solar-csv`.
    pub file: PathBuf,
}

impl Roof {
    /// Its file's text, and what that says.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn read(&self) -> Result<(String, Series), String> {
        let text = joined(std::slice::from_ref(&self.file))?;
        let read = signals::read(&text, &self.file.display().to_string(), Format::SolarCsv, None);
        read.map(|series| (text, series)).map_err(|error| error.to_string())
    }
}

/// What a roof is to be rated at, in watts, so that over a time it generates as much as jobs of 1 kW a unit use, that are written as
/// [`stream`] does.
///
/// # Errors
/// Where nothing is generated in that time, and where the jobs are none.
pub fn rated_for(jobs: &str, generated: &Series, from: Moment, until: Moment) -> Result<i64, String> {
    let mut unit_seconds = 0.0;
    for line in jobs.lines().skip(1) {
        let mut columns = line.split(',').skip(1).map(str::parse::<f64>);
        let (Some(Ok(length)), Some(Ok(units))) = (columns.next(), columns.next()) else {
            return Err(format!("\"{line}\" is no job: length and units are its second and third column"));
        };
        unit_seconds += length * units;
    }
    let parts = generated.steps.integral(from, until) as f64 / 1e6;
    if parts > 0.0 {
        Ok((1000.0 * unit_seconds / parts).round() as i64)
    } else {
        Err(format!("nothing is generated from {from} until {until}"))
    }
}

/// What draws, and when.
pub type Draw = (Moment, Moment, i64);

/// What draws cost together and what they use of what is generated on the site: added up second by second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bill {
    /// In price × watts × seconds of what is bought.
    pub cost: f64,
    /// Joules that were generated on the site and used there.
    pub own: f64,
}

/// Adds up what draws cost at a price, where some watts are generated on the site.
#[must_use]
pub fn bill(price: &Steps<i64>, own: Option<&Steps<i64>>, draws: impl IntoIterator<Item = Draw>) -> Bill {
    let mut changes: Vec<(Moment, i64)> = Vec::new();
    for (from, to, watts) in draws {
        changes.extend([(from, watts), (to, -watts)]);
    }
    changes.sort_unstable();
    let none = Steps::constant(0);
    let mut bill = Bill::default();
    let mut drawn = 0;
    for pair in changes.windows(2) {
        drawn += pair[0].1;
        for (from, to, price) in price.pieces(pair[0].0, pair[1].0) {
            for (from, to, own) in own.unwrap_or(&none).pieces(from, to) {
                let used = if price < 0 { 0 } else { own.clamp(0, drawn) };
                let span = (to - from).0 as f64;
                bill.cost += price as f64 * (drawn - used) as f64 * span;
                bill.own += used as f64 * span;
            }
        }
    }
    bill
}
