//! How what runs for long is told to end.

use super::{CommandError, usage};
use tokio::signal::unix::{SignalKind, signal};

/// Ends when the process is told to: by SIGTERM, or from a terminal.
pub(super) fn told_to_end() -> Result<impl Future<Output = ()>, CommandError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| usage(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| usage(&error))?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    })
}
