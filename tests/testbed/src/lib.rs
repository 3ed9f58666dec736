//! The programs of a real Kubernetes control plane, for tests: found, or built once from pinned Go modules.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder that holds etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok and helm,
/// where all of them are there already; the reason where they are not. Builds nothing: `make testbed-assets` does.
///
/// # Errors
/// What the script says is missing.
pub fn assets() -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets.sh");
    let output = Command::new("bash")
        .arg(&script)
        .arg("--no-build")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", script.display()))?;
    if output.status.success() {
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
