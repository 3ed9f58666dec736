//! What several tests share.
#![allow(dead_code, reason = "each test program uses its part")]

use std::path::PathBuf;

/// The shared data, or none where a user doesn't have it. In CI it must be there.
pub fn shared() -> Option<PathBuf> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if data.is_dir() {
        return Some(data);
    }
    assert!(std::env::var_os("CI").is_none(), "the shared data is needed in CI: {} is not there", data.display());
    eprintln!("skipped: needs the shared data at {}", data.display());
    None
}
