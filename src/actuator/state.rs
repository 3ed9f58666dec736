//! What the actuator remembers across its own restarts and the machine's: for each GPU the limit, and what it falls to.
//!
//! One small file, kept as [`durable`] does, so that one that is torn, or was edited by hand, is found and not believed.

use crate::durable;
use crate::units::{BootMillis, Watts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Its name in the state folder.
pub const FILE: &str = "actuator.state";

/// The first word of the file, with the version of what follows.
const MAGIC: &str = "heliotrope-actuator-state-1";

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
pub type Found = durable::Found<State>;

impl State {
    /// Reads it.
    #[must_use]
    pub fn load(folder: &Path) -> Found {
        durable::load(&folder.join(FILE), MAGIC, Self::judge)
    }

    fn judge(body: &str) -> Result<Self, String> {
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
        durable::save(folder, FILE, MAGIC, &serde_json::to_string_pretty(self)?)
    }

    /// The highest sequence that was taken in this boot.
    #[must_use]
    pub fn sequence(&self, boot_id: &str) -> Option<u64> {
        self.gpus.values().filter(|record| record.boot_id == boot_id).map(|record| record.sequence).max()
    }
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
        assert_eq!(State::load(folder.path()), Found::Kept(state()));
        assert_eq!([state().sequence("b"), state().sequence("c")], [Some(7), None]);
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_rightly_summed_file_of_nonsense_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let why = |body: &str| {
            durable::save(folder.path(), FILE, MAGIC, body).unwrap();
            match State::load(folder.path()) {
                Found::Torn(why) => why,
                other => panic!("{other:?}"),
            }
        };
        let body = r#"{"gpus":{"GPU-a":{"bootId":"b","sequence":1,"limitWatts":0,"fallWatts":300}}}"#;
        assert!(why(body).contains("GPU-a"));
        assert!(why("{}").contains("understood"));
    }
}
