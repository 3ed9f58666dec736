//! Where the programs are.

use crate::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder that holds etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kubelet, kwok and helm. They are
/// looked for as `assets.sh` says, and built from pinned Go modules where they are missing: that takes minutes, once.
///
/// # Errors
/// What the script said.
pub fn assets() -> Result<PathBuf, Error> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets.sh");
    let output = Command::new("bash").arg(&script).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !folder.is_empty() {
        Ok(PathBuf::from(folder))
    } else {
        Err(Error::Assets("what is missing is said above".to_owned()))
    }
}
