//! What an agent keeps on its disk: on it before anything of it is acknowledged, and before anything is raised by it.

use crate::core::lease::Kept;
use crate::durable;
use crate::units::{Millis, Watts};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Its name in the state folder.
pub const FILE: &str = "agent.state";

/// The first word of the file, with the version of what follows.
const MAGIC: &str = "heliotrope-agent-state-1";

/// A disk that takes longer hangs. Meanwhile nothing is raised and nothing acknowledged; falls go on.
const AT_MOST: Duration = Duration::from_secs(2);

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    /// The node that it is of: a copied disk is another's.
    pub node: String,
    /// The protocol's.
    pub kept: Kept,
    /// The domain whose ledger the lease in force stands in. Its rows are at the caps of this domain and no other.
    pub domain: Option<String>,
    /// Limits of single accelerators in that lease.
    pub shares: BTreeMap<String, Watts>,
    /// Clocks of single accelerators in that lease, in MHz.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clocks: BTreeMap<String, u32>,
    /// What each accelerator was found with before the first order.
    pub found: BTreeMap<String, Watts>,
    /// The contact time of its chain as it was last read.
    pub contact: Option<Millis>,
}

/// What was found in the state folder.
pub type Found = durable::Found<Memory>;

impl Memory {
    /// Reads what was kept for this node.
    #[must_use]
    pub fn load(folder: &Path, node: &str) -> Found {
        durable::load(&folder.join(FILE), MAGIC, |body| {
            let memory: Self =
                serde_json::from_str(body).map_err(|error| format!("it can't be understood: {error}"))?;
            if memory.node != node {
                return Err(format!("it is of node {}, this is {node}", memory.node));
            }
            if memory.kept.held.as_ref().is_some_and(|held| held.sequence > memory.kept.sequence) {
                return Err("its lease is newer than the newest that was accepted".to_owned());
            }
            Ok(memory)
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn save(&self, folder: &Path) -> std::io::Result<()> {
        durable::save(folder, FILE, MAGIC, &serde_json::to_string_pretty(self)?)
    }
}

/// A boot as the protocol tells it from others.
#[must_use]
pub fn boot_number(boot_id: &str) -> u64 {
    let digest = Sha256::digest(boot_id.trim().as_bytes());
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The disk, and whether a write to it is still under way.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    writes: Arc<Mutex<()>>,
    last: Option<Memory>,
}

impl Disk {
    /// A folder that something was read from.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, writes: Arc::default(), last: None }
    }

    /// Writes, unless the same was written last.
    ///
    /// # Errors
    /// When it is not surely there.
    pub async fn write(&mut self, memory: &Memory) -> std::io::Result<()> {
        if self.last.as_ref() == Some(memory) {
            return Ok(());
        }
        self.last = None;
        let (folder, writes, what) = (self.folder.clone(), self.writes.clone(), memory.clone());
        let work = tokio::task::spawn_blocking(move || match writes.try_lock() {
            Ok(_alone) => what.save(&folder),
            Err(_) => Err(std::io::Error::other("an earlier write has not come back")),
        });
        match tokio::time::timeout(AT_MOST, work).await {
            Ok(Ok(done)) => done?,
            Ok(Err(ended)) => return Err(std::io::Error::other(ended)),
            Err(_) => return Err(std::io::ErrorKind::TimedOut.into()),
        }
        self.last = Some(memory.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::lease::{Figures, Held};
    use crate::units::BootMillis;

    fn memory() -> Memory {
        let held = Held { sequence: 7, figures: Figures::flat(Watts(4000)), steps: Vec::new(), ends: BootMillis(9) };
        Memory {
            node: "gpu-1".to_owned(),
            kept: Kept { boot: boot_number("b"), sequence: 7, cap: None, held: Some(held) },
            domain: Some("row-a".to_owned()),
            found: [("GPU-a".to_owned(), Watts(700))].into(),
            ..Memory::default()
        }
    }

    #[test]
    fn what_was_written_is_read_by_this_node_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Memory::load(folder.path(), "gpu-1"), Found::Nothing);
        memory().save(folder.path()).unwrap();
        assert_eq!(Memory::load(folder.path(), "gpu-1"), Found::Kept(memory()));
        let Found::Torn(why) = Memory::load(folder.path(), "gpu-2") else { panic!("another's is believed") };
        assert!(why.contains("of node gpu-1"), "{why}");
    }

    #[test]
    fn a_lease_that_was_never_accepted_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let mut forged = memory();
        forged.kept.sequence = 6;
        forged.save(folder.path()).unwrap();
        assert!(matches!(Memory::load(folder.path(), "gpu-1"), Found::Torn(_)));
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_not_taken_for_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(folder.path().join("gone"));
        assert!(disk.write(&memory()).await.is_err());
        assert!(disk.write(&memory()).await.is_err());
        std::fs::create_dir(folder.path().join("gone")).unwrap();
        disk.write(&memory()).await.unwrap();
        assert_ne!(boot_number("a"), boot_number("b"));
        assert_eq!(boot_number("a\n"), boot_number("a"));
    }
}
