//! What is remembered of signals, on disk beside the plans: a controller that starts anew guesses and looks up from where the last one was.
//!
//! Nothing rests on it. What can't be written is said once, and what can't be read is said, left aside and written over with the next answer.

use super::plans::save;
use super::signals::InForce;
use crate::api::{Basis, GridSignal, What};
use crate::core::signal::{Currency, Memory, Remembered, Series};
use crate::units::Moment;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The form of a file. Another one is of another release, and not read.
const VERSION: u32 = 1;

/// The largest file that is read: eighteen weeks of hours and the longest answer have a tenth of it.
const MOST: u64 = 1 << 20;

/// Of which signal something is remembered: under the same name there may have been another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Of {
    what: What,
    zone: String,
    basis: Basis,
    currency: Option<String>,
}

impl Of {
    pub(super) fn new(signal: &GridSignal) -> Self {
        let spec = &signal.spec;
        Self { what: spec.what, zone: spec.zone.clone(), basis: spec.basis, currency: spec.currency.clone() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    version: u32,
    signal: Of,
    /// Who said what was said last.
    source: Option<String>,
    /// In whose money.
    currency: Option<String>,
    memory: Remembered,
}

/// Where it is written; nowhere where no folder is named.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    folder: Option<PathBuf>,
    /// It was said that nothing can be written.
    is_said: bool,
}

impl Shelf {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_path_buf), is_said: false }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("signal-{name}.json")))
    }

    /// What was written down of a signal; none where nothing was, or nothing is.
    ///
    /// # Errors
    /// What is wrong with the file, and what to do.
    pub(super) fn get(&self, name: &str, of: &Of, now: Moment) -> Result<Option<(Memory, Option<InForce>)>, String> {
        let Some(path) = self.path(name) else { return Ok(None) };
        let bad =
            |why: &dyn std::fmt::Display| format!("{}: {why}; it is written over with the next answer", path.display());
        // looked at before it is opened: opening a FIFO waits for who writes
        let found = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(|error| bad(&error))?,
        };
        if !found.is_file() {
            return Err(bad(&"is not a regular file"));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path).map_err(|error| bad(&error))?;
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| bad(&error))?;
        if bytes.len() as u64 > MOST {
            return Err(bad(&format!("more than {MOST} bytes, the most that is read")));
        }
        let written: Written = serde_json::from_slice(&bytes).map_err(|error| bad(&error))?;
        if written.version != VERSION {
            return Err(bad(&format!("its version is {}, and not {VERSION}", written.version)));
        }
        if written.signal != *of {
            return Err(bad(&"is of another signal of this name"));
        }
        let memory = Memory::recall(&written.memory, now).map_err(|why| bad(&why))?;
        let currency: Option<Currency> = written.currency.and_then(|currency| currency.parse().ok());
        let source = written.source.unwrap_or_else(|| "what was remembered".to_owned());
        let in_force = |series: &Arc<Series>| InForce { series: series.clone(), source, licence: None, currency };
        let last = memory.series().map(in_force);
        Ok(Some((memory, last)))
    }

    /// Writes it down, whole or not at all.
    pub(super) fn put(&mut self, name: &str, of: &Of, memory: &Memory, last: Option<&InForce>) {
        let (Some(path), Some(memory)) = (self.path(name), memory.remembered()) else { return };
        let source = last.map(|last| last.source.chars().take(512).collect());
        let currency = last.and_then(|last| last.currency).map(|currency| currency.to_string());
        let written = Written { version: VERSION, signal: of.clone(), source, currency, memory };
        let bytes = serde_json::to_vec(&written).map_err(std::io::Error::from);
        let done = bytes.and_then(|bytes| save(path.parent().unwrap_or(Path::new(".")), &path, &bytes));
        match done {
            Ok(()) => self.is_said = false,
            Err(error) if !self.is_said => {
                self.is_said = true;
                tracing::warn!(path = %path.display(), %error, "what is remembered of signals is not kept on disk");
            }
            Err(_) => {}
        }
    }

    /// The signal is no more.
    pub(super) fn forget(&self, name: &str) {
        if let Some(path) = self.path(name) {
            // it may never have been written
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::steps::Steps;
    use crate::units::Seconds;
    use serde_json::{Value, json};

    fn of(zone: &str) -> Of {
        let spec = json!({"what": "CarbonIntensity", "zone": zone, "providers": [{"server": {"kind": "KPX"}}]});
        let object = json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "GridSignal", "metadata": {"name": "kr"}, "spec": spec});
        Of::new(&serde_json::from_value(object).unwrap())
    }

    const NOW: Moment = Moment(480_000 * 3600);

    fn known() -> (Memory, InForce) {
        let (from, until) = (NOW - Seconds(40 * 3600), NOW + Seconds::HOUR);
        let steps = Steps::new(0, (0..40).map(|n| (from + Seconds(3600 * n), 1000 * n)));
        let series = Arc::new(Series { steps, from, until, step: Seconds::HOUR, rows: 41, estimated: 0 });
        let mut memory = Memory::default();
        memory.take(series.clone(), NOW, NOW);
        (memory, InForce { series, source: "provider 0: KPX".to_owned(), licence: None, currency: None })
    }

    #[test]
    fn what_was_written_is_read_again_and_forgotten_with_its_signal() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::new(Some(folder.path()));
        assert!(shelf.get("kr", &of("KR"), NOW).unwrap().is_none());
        let (memory, in_force) = known();
        shelf.put("kr", &of("KR"), &memory, Some(&in_force));
        let (again, last) = shelf.get("kr", &of("KR"), NOW).unwrap().unwrap();
        assert_eq!((again.remembered(), again.last_hour()), (memory.remembered(), memory.last_hour()));
        let last = last.unwrap();
        assert_eq!((last.source, last.series), (in_force.source, in_force.series));
        let error = shelf.get("kr", &of("FR"), NOW).unwrap_err();
        assert!(error.contains("is of another signal of this name; it is written over"), "{error}");
        shelf.forget("kr");
        assert!(shelf.get("kr", &of("KR"), NOW).unwrap().is_none());
        assert!(Shelf::default().get("kr", &of("KR"), NOW).unwrap().is_none(), "no folder is named");
    }

    #[test]
    fn what_nobody_of_ours_wrote_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signal-kr.json");
        let mut shelf = Shelf::new(Some(folder.path()));
        let (memory, in_force) = known();
        shelf.put("kr", &of("KR"), &memory, Some(&in_force));
        let good = std::fs::read(&path).unwrap();
        let mut other: Value = serde_json::from_slice(&good).unwrap();
        other["version"] = json!(2);
        let mut future: Value = serde_json::from_slice(&good).unwrap();
        future["memory"]["firstHour"] = json!(500_000);
        for (bytes, said) in [
            (Vec::new(), "EOF while parsing"),
            (good[..good.len() / 2].to_vec(), "EOF while parsing"),
            (b"\0\xff{}".to_vec(), "expected value"),
            (b"{}".to_vec(), "missing field"),
            (serde_json::to_vec(&other).unwrap(), "its version is 2, and not 1"),
            (serde_json::to_vec(&future).unwrap(), "are not of the past"),
            (vec![b' '; (1 << 20) + 1], "more than 1048576 bytes"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = shelf.get("kr", &of("KR"), NOW).unwrap_err();
            assert!(error.contains(said) && error.contains("signal-kr.json"), "{error}");
        }
        // any byte of a real one changed: it is read or refused, and never panics
        for place in 0..good.len() {
            let mut bytes = good.clone();
            bytes[place] = b'9';
            std::fs::write(&path, bytes).unwrap();
            if let Ok(Some((mut memory, _))) = shelf.get("kr", &of("KR"), NOW) {
                memory.miss();
                let _ = memory.remembered();
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(shelf.get("kr", &of("KR"), NOW).unwrap_err().contains("is not a regular file"));
    }
}
