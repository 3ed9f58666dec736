//! Signals as the cluster has them: files and ConfigMaps, in order, then what was last known. A missing carbon figure
//! never stops work, and a stale one is never read as green.

use super::watch::Watch;
use crate::api::{GridSignal, Provider, SignalFormat, What};
use crate::core::steps::Steps;
use crate::signals::{Format, Series, read};
use crate::units::{Moment, Seconds};
use std::collections::BTreeMap;

/// What is in force of one signal.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The series.
    pub series: Series,
    /// Where it is from.
    pub source: String,
}

/// What became of one signal in one cycle.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What is in force; none where nothing was ever known.
    pub in_force: Option<InForce>,
    /// What each provider that failed said.
    pub errors: Vec<String>,
    /// Does it cover this moment, give or take `maxAgeSeconds`?
    pub fresh: bool,
}

/// Remembers what was last known.
#[derive(Debug, Default)]
pub struct Signals {
    last: BTreeMap<String, InForce>,
}

impl Signals {
    /// Reads a signal from the first of its providers that answers.
    pub fn read(&mut self, signal: &GridSignal, watch: &Watch, now: Moment) -> Reading {
        let name = signal.metadata.name.clone().unwrap_or_default();
        let mut errors = Vec::new();
        for (i, provider) in signal.spec.providers.iter().enumerate() {
            match from_provider(provider, watch) {
                Ok((series, place)) => {
                    let in_force = InForce { series, source: format!("provider {i}: {place}") };
                    self.last.insert(name.clone(), in_force);
                    return reading(self.last.get(&name), errors, signal, now, false);
                }
                Err(error) => errors.push(format!("provider {i}: {error}")),
            }
        }
        reading(self.last.get(&name), errors, signal, now, true)
    }
}

fn reading(in_force: Option<&InForce>, errors: Vec<String>, signal: &GridSignal, now: Moment, stale: bool) -> Reading {
    let grace = Seconds(i64::from(signal.spec.max_age_seconds));
    let fresh = in_force.is_some_and(|known| known.series.from <= now && now < known.series.until + grace);
    let in_force = in_force.cloned().map(|mut known| {
        if stale {
            known.source = format!("last known, {}", known.source);
        }
        known
    });
    Reading { in_force, errors, fresh }
}

fn from_provider(provider: &Provider, watch: &Watch) -> Result<(Series, String), String> {
    let (text, place) = if let Some(file) = &provider.file {
        let size = std::fs::metadata(&file.path).map_err(|error| format!("{}: {error}", file.path))?.len();
        if size > crate::signals::MAX_BYTES as u64 {
            return Err(format!("{}: {} MiB; at most 64 are read", file.path, size >> 20));
        }
        let text = std::fs::read_to_string(&file.path).map_err(|error| format!("{}: {error}", file.path))?;
        (text, format!("file {}", file.path))
    } else if let Some(map) = &provider.config_map {
        let place = format!("configMap {}/{}", map.name, map.key);
        (watch.config_map(&map.name, &map.key).ok_or_else(|| format!("{place} does not exist"))?, place)
    } else {
        return Err("is neither file nor configMap".to_owned());
    };
    let format = match provider.format {
        SignalFormat::ElectricityMapsCsv => Format::ElectricityMapsCsv,
        SignalFormat::PriceCsv => Format::PriceCsv,
    };
    let series = read(&text, &place, format, provider.column.as_deref()).map_err(|error| error.to_string())?;
    Ok((series, place))
}

/// The values to plan with: as known, and beyond that the highest that is still ahead. None where it is not fresh.
#[must_use]
pub fn to_plan_with(reading: &Reading, now: Moment) -> Option<Steps<i64>> {
    let series = &reading.in_force.as_ref().filter(|_| reading.fresh)?.series;
    let mut steps = series.steps.clone();
    let highest = if now < series.until { steps.highest(now, series.until) } else { steps.at(now) };
    steps.update(series.until, Moment::FAR_FUTURE, |_| highest);
    Some(steps)
}

/// A value with its unit, for people.
#[must_use]
pub fn value(what: What, value: i64) -> String {
    match what {
        What::CarbonIntensity => format!("{:.1} gCO2e/kWh", value as f64 / 1e3),
        What::Price => format!("{:.2} per MWh", value as f64 / 1e6),
    }
}
