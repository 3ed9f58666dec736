//! Structured logs of what runs for long.

use tracing_subscriber::EnvFilter;

/// Logs to standard error from here on, as JSON or for people; `RUST_LOG` says how much, else `info`.
pub(super) fn to_stderr(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        logs.json().init();
    } else {
        logs.init();
    }
}
