//! Signals as the cluster has them: servers, files and ConfigMaps, in order, and then what stands in for them. A missing carbon
//! figure never stops work, and a stale one is never read as green.

use super::asked::{Key, Servers, meant, zone};
use super::remembered::{Of, Shelf};
use super::watch::Watch;
use crate::api::{GridSignal, Provider, SignalFormat, What};
use crate::core::signal::{Currency, Memory, Refused, Rules, Rung, Standing, Wanted, sift};
use crate::core::steps::Steps;
use crate::signals::{Format, Series, read};
use crate::units::{Moment, Seconds};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// What is in force of one signal.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The series.
    pub series: Arc<Series>,
    /// Where it is from.
    pub source: String,
    /// Under which terms it may be used, where the source says so.
    pub licence: Option<&'static str>,
    /// Of a price, whose money, where the source says so.
    pub currency: Option<Currency>,
}

/// What became of one signal in one cycle.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What is in force; none where nothing was ever known.
    pub in_force: Option<InForce>,
    /// What each provider that failed said.
    pub errors: Vec<String>,
    /// How well it is known, and what to plan with.
    pub standing: Standing,
    /// What of the answers was not used.
    pub refused: Refused,
    /// What of that was not counted before.
    pub newly_refused: Refused,
}

impl Reading {
    /// Is its value now known, give or take `maxAgeSeconds`?
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.standing.rung <= Rung::LastKnown
    }
}

/// Remembers what was last known, and what was made of each text, so that a file is read again only where it changed.
#[derive(Debug, Default)]
pub struct Signals {
    /// Servers, which are asked elsewhere.
    pub servers: Servers,
    memories: BTreeMap<String, Kept>,
    shelf: Shelf,
    last: BTreeMap<String, InForce>,
    parsed: BTreeMap<String, Parsed>,
    judged: BTreeMap<Key, Judged>,
}

/// What is remembered of a signal, and of which.
#[derive(Debug)]
struct Kept {
    of: Of,
    memory: Memory,
    /// The last hour that was written down, and when what was said last was heard.
    written: Option<(i64, Moment)>,
}

impl Kept {
    fn new(of: Of) -> Self {
        Self { of, memory: Memory::default(), written: None }
    }

    /// What is to be noted as written down now, where it is time: with each hour, and with an answer at most once a minute.
    fn is_due(&self) -> Option<(i64, Moment)> {
        let now = self.memory.last_hour().zip(self.memory.heard())?;
        let (hour, heard) = now;
        self.written.is_none_or(|(old, at)| old != hour || heard - at >= Seconds::MINUTE).then_some(now)
    }
}

/// What was made of a server's answer.
#[derive(Debug)]
struct Judged {
    at: Moment,
    series: Result<InForce, String>,
    refused: Refused,
}

/// What one provider gives.
struct Given {
    in_force: InForce,
    /// When it was first heard.
    heard: Moment,
}

/// What was made of a text.
#[derive(Debug)]
struct Parsed {
    of: Text,
    series: Result<Arc<Series>, String>,
    /// When it was read.
    heard: Moment,
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
    /// Nothing is known but what was written down in this folder, if one is named.
    #[must_use]
    pub fn new(folder: Option<&Path>) -> Self {
        Self { shelf: Shelf::new(folder), ..Self::default() }
    }

    /// Reads a signal from the first of its providers that gives something of use.
    pub fn read(&mut self, signal: &GridSignal, watch: &Watch, now: Moment) -> Reading {
        let name = signal.metadata.name.clone().unwrap_or_default();
        self.recall(signal, &name, now);
        let (mut errors, mut refused, mut newly_refused) = (Vec::new(), Refused::default(), Refused::default());
        let mut given = None;
        for (i, provider) in signal.spec.providers.iter().enumerate() {
            let found = if provider.server.is_some() {
                let (found, not_used, is_new) = self.of_server(signal, i, now);
                for (reason, count, what) in not_used.iter() {
                    refused.add(reason, count, || what.to_owned());
                    newly_refused.add(reason, if is_new { count } else { 0 }, || what.to_owned());
                }
                found
            } else {
                self.of_text(i, provider, &|name, key| watch.config_map(name, key), now)
            };
            match found {
                Ok(found) => {
                    given = Some(found);
                    break;
                }
                Err(error) => errors.push(format!("provider {i}: {error}")),
            }
        }
        let Self { memories, last, shelf, .. } = self;
        let kept = memories.entry(name.clone()).or_insert_with(|| Kept::new(Of::new(signal)));
        let memory = &mut kept.memory;
        let is_given = given.is_some();
        match given {
            Some(Given { in_force, heard }) => {
                memory.take(in_force.series.clone(), heard, now);
                last.insert(name.clone(), in_force);
            }
            None => memory.miss(),
        }
        let fixed = match signal.spec.what {
            What::CarbonIntensity => signal.spec.static_grams_per_kwh.map(|grams| i64::from(grams) * 1000),
            What::Price => signal.spec.static_price_per_mwh.map(|price| i64::from(price) * 1_000_000),
            What::Generation => signal.spec.static_watts,
        };
        // prices of five minutes do, and so does a roof under clouds
        let may_jump = signal.spec.what != What::CarbonIntensity;
        let safe = meant(signal).0.safe();
        let rules = Rules { max_age: Seconds(i64::from(signal.spec.max_age_seconds)), fixed, may_jump, safe };
        let standing = memory.stand(rules, now);
        if let Some(due) = kept.is_due() {
            shelf.put(&name, &kept.of, &kept.memory, last.get(&name));
            kept.written = Some(due);
        }
        let in_force = last.get(&name).cloned().map(|mut known| {
            if !is_given {
                known.source = format!("last known, {}", known.source);
            }
            known
        });
        Reading { in_force, errors, standing, refused, newly_refused }
    }

    /// Takes what was written down of a signal that is new here. What is remembered of another one of that name is of no use.
    fn recall(&mut self, signal: &GridSignal, name: &str, now: Moment) {
        let of = Of::new(signal);
        if self.memories.get(name).is_some_and(|kept| kept.of == of) {
            return;
        }
        self.last.remove(name);
        let mut kept = Kept::new(of);
        match self.shelf.get(name, &kept.of, now) {
            Ok(Some((memory, in_force))) => {
                kept.memory = memory;
                kept.written = kept.is_due();
                in_force.map(|in_force| self.last.insert(name.to_owned(), in_force));
            }
            Ok(None) => {}
            Err(why) => {
                tracing::warn!(signal = name, why, "what was remembered of it is not used: it begins with nothing");
            }
        }
        self.memories.insert(name.to_owned(), kept);
    }

    /// What each provider gives by itself, servers as they were asked last, and what of it is not used.
    pub fn each(&mut self, signal: &GridSignal, now: Moment) -> Vec<(Result<InForce, String>, Refused)> {
        let providers = signal.spec.providers.iter().enumerate();
        let each = providers.map(|(i, provider)| {
            if provider.server.is_some() {
                let (given, refused, _) = self.of_server(signal, i, now);
                return (given.map(|given| given.in_force), refused);
            }
            let found = match &provider.config_map {
                Some(map) => {
                    Err(format!("configMap {}/{} is in the cluster, which is not asked here", map.name, map.key))
                }
                None => self.of_text(i, provider, &|_, _| None, now),
            };
            (found.map(|given| given.in_force), Refused::default())
        });
        each.collect()
    }

    /// Forgets signals that are no more.
    pub fn keep(&mut self, signals: &[GridSignal]) {
        let is_there = |name: &String| signals.iter().any(|signal| signal.metadata.name.as_ref() == Some(name));
        for name in self.memories.keys().filter(|name| !is_there(name)) {
            self.shelf.forget(name);
        }
        self.memories.retain(|name, _| is_there(name));
        self.last.retain(|name, _| is_there(name));
        self.judged.retain(|(name, _), _| is_there(name));
        self.servers.want(signals);
    }

    /// What a server gives, what of it is not used, and whether that is news.
    fn of_server(&mut self, signal: &GridSignal, i: usize, now: Moment) -> (Result<Given, String>, Refused, bool) {
        let key: Key = (signal.metadata.name.clone().unwrap_or_default(), i);
        let Some(heard) = self.servers.heard(&key) else {
            return (Err("has not answered yet".to_owned()), Refused::default(), false);
        };
        let is_new = self.judged.get(&key).is_none_or(|judged| judged.at != heard.at);
        if is_new {
            let judged = self.judge(signal, &key, heard.answer, heard.at, now);
            if judged.series.is_err() {
                self.servers.is_useless(&key, heard.at);
            }
            self.judged.insert(key.clone(), judged);
        }
        let Some(judged) = self.judged.get(&key) else {
            return (Err("has not answered yet".to_owned()), Refused::default(), false);
        };
        let given = judged.series.clone().map(|in_force| Given { in_force, heard: judged.at });
        (given, judged.refused.clone(), is_new)
    }

    fn judge(
        &self,
        signal: &GridSignal,
        key: &Key,
        answer: Result<Arc<crate::core::signal::Answer>, String>,
        at: Moment,
        now: Moment,
    ) -> Judged {
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return Judged { at, series: Err(why), refused: Refused::default() },
        };
        let (what, basis) = meant(signal);
        let memory = self.memories.get(&key.0).map(|kept| &kept.memory);
        let server = signal.spec.providers.get(key.1).and_then(|provider| provider.server.as_ref());
        let wanted = Wanted {
            zone: server.map_or(&signal.spec.zone, |server| zone(signal, server)),
            what,
            basis,
            // where none is named, the first that was said counts
            currency: match &signal.spec.currency {
                Some(named) => named.parse().ok(),
                None => self.last.get(&key.0).and_then(|last| last.currency),
            },
            now,
            typical: memory.and_then(Memory::typical),
            steady: memory.and_then(Memory::steady),
        };
        let sifted = sift(&answer, &wanted);
        let series = match Series::of(&sifted.readings) {
            Some(series) => {
                let source = format!("provider {}: {}", key.1, answer.source);
                let licence = Some(answer.licence);
                Ok(InForce { series: Arc::new(series), source, licence, currency: answer.unit.currency })
            }
            None if sifted.refused.total() > 0 => Err(format!("nothing of its answer can be used: {}", sifted.refused)),
            None => Err("its answer has no value that is known".to_owned()),
        };
        Judged { at, series, refused: sifted.refused }
    }

    /// What a file or a ConfigMap gives.
    fn of_text(
        &mut self,
        i: usize,
        provider: &Provider,
        config_map: &dyn Fn(&str, &str) -> Option<String>,
        now: Moment,
    ) -> Result<Given, String> {
        let (place, of, text) = if let Some(file) = &provider.file {
            self.file(&file.path, provider, now)?
        } else if let Some(map) = &provider.config_map {
            let place = format!("configMap {}/{}", map.name, map.key);
            let text = config_map(&map.name, &map.key).ok_or_else(|| format!("{place} does not exist"))?;
            let same =
                self.parsed.get(&key(&place, provider)).is_some_and(|known| known.of == Text::Value(text.clone()));
            (place, Some(Text::Value(text.clone())), (!same).then_some(text))
        } else {
            return Err("is neither file, configMap nor server".to_owned());
        };
        let key = key(&place, provider);
        // what nobody has asked for in an hour is forgotten: a signal that was deleted, a path that was mended
        self.parsed.retain(|_, known| now - known.used_at < Seconds::HOUR);
        let (series, heard) = match (text, self.parsed.get_mut(&key)) {
            (None, Some(known)) => {
                known.used_at = now;
                (known.series.clone(), known.heard)
            }
            (text, _) => {
                let series = parse(&text.unwrap_or_default(), &place, provider);
                match of {
                    Some(of) => {
                        drop(self.parsed.insert(key, Parsed { of, series: series.clone(), heard: now, used_at: now }))
                    }
                    None => drop(self.parsed.remove(&key)),
                }
                (series, now)
            }
        };
        let source = format!("provider {i}: {place}");
        Ok(Given { in_force: InForce { series: series?, source, licence: None, currency: None }, heard })
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
        Some(SignalFormat::ElectricityMapsCsv) => Format::ElectricityMapsCsv,
        Some(SignalFormat::PriceCsv) => Format::PriceCsv,
        None => return Err("format is missing: electricity-maps-csv or price-csv".to_owned()),
    };
    let series = read(text, place, format, provider.column.as_deref()).map_err(|error| error.to_string())?;
    Ok(Arc::new(series))
}

/// The values to plan with. None where nothing is known.
#[must_use]
pub fn to_plan_with(reading: &Reading) -> Option<Steps<i64>> {
    reading.standing.steps.clone()
}

/// A value with its unit, for people.
#[must_use]
pub fn value(what: What, value: i64) -> String {
    match what {
        What::CarbonIntensity => format!("{:.1} gCO2e/kWh", value as f64 / 1e3),
        What::Price => format!("{:.2} per MWh", value as f64 / 1e6),
        What::Generation => format!("{:.1} kW", value as f64 / 1e3),
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
            let parsed = Parsed { of, series: series.clone(), heard: now, used_at: now };
            signals.parsed.insert(key(&place, &provider), parsed);
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
