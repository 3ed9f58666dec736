//! Files of mounted volumes: tokens, and certificates.

use std::fs::File;
use std::path::Path;

/// Opens a regular file. It is looked at before it is opened: opening a FIFO waits for who writes.
///
/// # Errors
/// In words, without its path: there is none, or it is something else.
pub(super) fn open(path: &Path) -> Result<File, String> {
    if !std::fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    File::open(path).map_err(|error| error.to_string())
}
