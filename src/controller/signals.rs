//! Signals as the cluster has them: files and ConfigMaps, in order, then what was last known. A missing carbon figure
//! never stops work, and a stale one is never read as green.

use super::watch::Watch;
use crate::api::{GridSignal, Provider, SignalFormat, What};
use crate::core::steps::Steps;
use crate::signals::{Format, Series, read};
use crate::units::{Moment, Seconds};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// What is in force of one signal.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The series.
    pub series: Arc<Series>,
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

/// Remembers what was last known, and what was made of each text, so that a file is read again only where it changed.
#[derive(Debug, Default)]
pub struct Signals {
    last: BTreeMap<String, InForce>,
    parsed: BTreeMap<String, Parsed>,
}

/// What was made of a text.
#[derive(Debug)]
struct Parsed {
    of: Text,
    series: Result<Arc<Series>, String>,
    /// Was it asked for in this cycle?
    used_at: Moment,
}

/// Which text that was.
#[derive(Debug, PartialEq, Eq)]
enum Text {
    /// A file as it was then. One that was changed less than two seconds before may change again unseen.
    File { device: u64, inode: u64, length: u64, changed: (i64, i64) },
    /// The value in a ConfigMap.
    Value(String),
}

impl Signals {
    /// Reads a signal from the first of its providers that answers.
    pub fn read(&mut self, signal: &GridSignal, watch: &Watch, now: Moment) -> Reading {
        let name = signal.metadata.name.clone().unwrap_or_default();
        let mut errors = Vec::new();
        for (i, provider) in signal.spec.providers.iter().enumerate() {
            match self.series_of(provider, watch, now) {
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

    fn series_of(&mut self, provider: &Provider, watch: &Watch, now: Moment) -> Result<(Arc<Series>, String), String> {
        let (place, of, text) = if let Some(file) = &provider.file {
            self.file(&file.path, provider, now)?
        } else if let Some(map) = &provider.config_map {
            let place = format!("configMap {}/{}", map.name, map.key);
            let text = watch.config_map(&map.name, &map.key).ok_or_else(|| format!("{place} does not exist"))?;
            let same =
                self.parsed.get(&key(&place, provider)).is_some_and(|known| known.of == Text::Value(text.clone()));
            (place, Some(Text::Value(text.clone())), (!same).then_some(text))
        } else {
            return Err("is neither file nor configMap".to_owned());
        };
        let key = key(&place, provider);
        // what nobody has asked for in an hour is forgotten: a signal that was deleted, a path that was mended
        self.parsed.retain(|_, known| now - known.used_at < Seconds::HOUR);
        let series = match (text, self.parsed.get_mut(&key)) {
            (None, Some(known)) => {
                known.used_at = now;
                known.series.clone()
            }
            (text, _) => {
                let series = parse(&text.unwrap_or_default(), &place, provider);
                match of {
                    Some(of) => drop(self.parsed.insert(key, Parsed { of, series: series.clone(), used_at: now })),
                    None => drop(self.parsed.remove(&key)),
                }
                series
            }
        };
        Ok((series?, place))
    }

    /// A file's place, what it is, where that can be remembered, and its text, unless it is known.
    fn file(
        &self,
        path: &str,
        provider: &Provider,
        now: Moment,
    ) -> Result<(String, Option<Text>, Option<String>), String> {
        let place = format!("file {path}");
        let failed = |error: std::io::Error| format!("{path}: {error}");
        // looked at before it is opened: opening a FIFO waits for who writes
        only_regular(path, &std::fs::metadata(path).map_err(failed)?)?;
        let file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        only_regular(path, &found)?;
        let of = Text::File {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
            changed: (found.mtime(), found.mtime_nsec()),
        };
        if self.parsed.get(&key(&place, provider)).is_some_and(|known| known.of == of) {
            return Ok((place, Some(of), None));
        }
        // by what is there in the end: a file may grow, or say nothing of its length
        let most = crate::signals::MAX_BYTES as u64;
        let too_large = || Err(format!("{path}: more than {} MiB, the most that is read", most >> 20));
        if found.len() > most {
            return too_large();
        }
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > most {
            return too_large();
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("{path}: is not text in UTF-8"))?;
        let settled = now.0 - found.mtime() >= 2;
        Ok((place, settled.then_some(of), Some(text)))
    }
}

fn key(place: &str, provider: &Provider) -> String {
    format!("{place} {:?} {:?}", provider.format, provider.column)
}

fn only_regular(path: &str, found: &Metadata) -> Result<(), String> {
    if found.is_file() { Ok(()) } else { Err(format!("{path}: is not a regular file")) }
}

fn parse(text: &str, place: &str, provider: &Provider) -> Result<Arc<Series>, String> {
    let format = match provider.format {
        SignalFormat::ElectricityMapsCsv => Format::ElectricityMapsCsv,
        SignalFormat::PriceCsv => Format::PriceCsv,
    };
    let series = read(text, place, format, provider.column.as_deref()).map_err(|error| error.to_string())?;
    Ok(Arc::new(series))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(path: &std::path::Path) -> Provider {
        let file = serde_json::json!({"file": {"path": path}, "format": "price-csv"});
        serde_json::from_value(file).unwrap()
    }

    fn prices(value: u32) -> String {
        format!("Datetime (UTC),Price (USD/MWh)\n2022-01-01 00:00:00,{value}\n")
    }

    /// What a file gives by way of the cache.
    fn series(signals: &mut Signals, path: &std::path::Path, now: Moment) -> Result<Arc<Series>, String> {
        let provider = provider(path);
        let (place, of, text) = signals.file(path.to_str().unwrap(), &provider, now)?;
        let text = text.ok_or("known")?;
        let series = parse(&text, &place, &provider);
        if let Some(of) = of {
            signals.parsed.insert(key(&place, &provider), Parsed { of, series: series.clone(), used_at: now });
        }
        series
    }

    #[test]
    fn only_regular_files_are_read_and_none_waits_or_fills_memory() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let mut signals = Signals::default();
        for path in [fifo.as_path(), link.as_path(), folder.path(), std::path::Path::new("/dev/zero")] {
            let error = series(&mut signals, path, Moment(0)).unwrap_err();
            assert_eq!(error, format!("{}: is not a regular file", path.display()));
        }
        // a file of /proc says that it has no bytes, and has some
        let error = series(&mut signals, std::path::Path::new("/proc/self/status"), Moment(0)).unwrap_err();
        assert!(error.contains("column `Datetime (UTC)`: is not there"), "{error}");
        let large = folder.path().join("large.csv");
        File::create(&large).unwrap().set_len(crate::signals::MAX_BYTES as u64 + 1).unwrap();
        let error = series(&mut signals, &large, Moment(0)).unwrap_err();
        assert!(error.ends_with("large.csv: more than 64 MiB, the most that is read"), "{error}");
    }

    #[test]
    fn a_file_is_parsed_again_only_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("price.csv");
        let mut signals = Signals::default();
        std::fs::write(&path, prices(1)).unwrap();
        let just_now = Moment(std::fs::metadata(&path).unwrap().mtime());
        let later = just_now + Seconds(60);
        // what was written this second may be written again within it
        for _ in 0..2 {
            assert_eq!(series(&mut signals, &path, just_now).unwrap().rows, 1);
        }
        assert_eq!(series(&mut signals, &path, later).unwrap().rows, 1);
        assert_eq!(series(&mut signals, &path, later).unwrap_err(), "known");
        // as a ConfigMap's mount changes: another file under the same name
        let other = folder.path().join("new");
        std::fs::write(&other, prices(2)).unwrap();
        std::fs::rename(&other, &path).unwrap();
        let series = series(&mut signals, &path, later).unwrap();
        assert_eq!(series.steps.at(series.from), 2_000_000);
    }
}
