//! What the actuator remembers across its own restarts and the machine's: for each GPU the limit, and what it falls to.
//!
//! One small file, replaced whole (written beside, synced, renamed, folder synced) and with a checksum in its first
//! line, so that one that is torn, or was edited by hand, is found and not believed.

use crate::units::{BootMillis, Watts};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Its name in the state folder.
pub const FILE: &str = "actuator.state";

/// The first word of the file, with the version of what follows.
const MAGIC: &str = "heliotrope-actuator-state-1";

/// Larger than this it is not ours: a node has some 16 GPUs of 200 bytes each.
const LONGEST: u64 = 1024 * 1024;

/// What was held, by UUID.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// By UUID.
    pub gpus: BTreeMap<String, Record>,
}

/// What was held on one GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The boot in which it was written. Of another boot only what to fall to still counts.
    pub boot_id: String,
    /// Of the last order.
    pub sequence: u64,
    /// The limit that held.
    pub limit_watts: Watts,
    /// What it falls to: its safe limit.
    pub fall_watts: Watts,
    /// The clock was locked at so many MHz.
    pub clock_lock_megahertz: Option<u32>,
    /// Since the actuator was started anew it waits for an order until then.
    pub waits_until_boot_millis: Option<BootMillis>,
}

/// What was found in the state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No file: no order was ever given here.
    Nothing,
    /// A file that is not to be believed, and why.
    Torn(String),
    /// What was written.
    State(State),
}

impl State {
    /// Reads it.
    #[must_use]
    pub fn load(folder: &Path) -> Found {
        let mut bytes = Vec::new();
        let read = File::open(folder.join(FILE)).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => Found::Nothing,
            Err(error) => Found::Torn(format!("it can't be read: {error}")),
            Ok(_) => Self::parse(&bytes).map_or_else(Found::Torn, Found::State),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let (head, body) = text.split_once('\n').ok_or("it has no first line")?;
        let sum = head.strip_prefix(MAGIC).ok_or_else(|| format!("its first line does not begin with {MAGIC}"))?;
        if sum.trim() != checksum(body) {
            return Err("its checksum is another".to_owned());
        }
        let state: Self = serde_json::from_str(body).map_err(|error| format!("it can't be understood: {error}"))?;
        let absurd = |record: &Record| record.limit_watts <= Watts::ZERO || record.fall_watts <= Watts::ZERO;
        match state.gpus.iter().find(|(_, record)| absurd(record)) {
            Some((uuid, _)) => Err(format!("it has a limit of nothing for {uuid}")),
            None => Ok(state),
        }
    }

    /// Writes it whole, so that a reader finds the old one or the new one.
    ///
    /// # Errors
    /// As the file system has it; the old one is still there then.
    pub fn save(&self, folder: &Path) -> std::io::Result<()> {
        let body = serde_json::to_string_pretty(self)?;
        let beside = folder.join(format!("{FILE}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(format!("{MAGIC} {}\n{body}", checksum(&body)).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, folder.join(FILE))?;
        File::open(folder)?.sync_all()
    }

    /// The highest sequence that was taken in this boot.
    #[must_use]
    pub fn sequence(&self, boot_id: &str) -> Option<u64> {
        self.gpus.values().filter(|record| record.boot_id == boot_id).map(|record| record.sequence).max()
    }
}

fn checksum(body: &str) -> String {
    Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let record = Record {
            boot_id: "b".to_owned(),
            sequence: 7,
            limit_watts: Watts(400),
            fall_watts: Watts(300),
            clock_lock_megahertz: Some(1410),
            waits_until_boot_millis: None,
        };
        State { gpus: [("GPU-a".to_owned(), record)].into() }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::load(folder.path()), Found::Nothing);
        state().save(folder.path()).unwrap();
        assert_eq!(State::load(folder.path()), Found::State(state()));
        assert_eq!([state().sequence("b"), state().sequence("c")], [Some(7), None]);
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_cut_anywhere_or_with_any_bit_turned_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        state().save(folder.path()).unwrap();
        let whole = std::fs::read(folder.path().join(FILE)).unwrap();
        for cut in 0..whole.len() {
            assert!(State::parse(&whole[..cut]).is_err(), "cut after {cut} bytes");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut turned = whole.clone();
                turned[at] ^= 1 << bit;
                // the blank between the checksum and its line's end is no part of what is said
                let said = State::parse(&turned);
                assert!(said.is_err() || said == Ok(state()), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_rightly_summed_file_of_nonsense_is_not_believed() {
        let body = r#"{"gpus":{"GPU-a":{"bootId":"b","sequence":1,"limitWatts":0,"fallWatts":300}}}"#;
        let file = format!("{MAGIC} {}\n{body}", checksum(body));
        assert!(State::parse(file.as_bytes()).unwrap_err().contains("GPU-a"));
        let file = format!("{MAGIC} {}\n{{}}", checksum("{}"));
        assert!(State::parse(file.as_bytes()).is_err());
    }
}
