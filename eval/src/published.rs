//! What the authors' own programs of published policies save on the jobs and signals of E1: the table in the README of the shared data.

use crate::e1::{Setting, scenario};
use heliotrope::core::plan::by_name;
use heliotrope::simulate::{run, summary};
use serde::Serialize;
use std::path::Path;

const KNOWN: &str = "known-length";
const AVERAGE: &str = "average-length";

/// When these were measured from: hour 7000 of 2022, for 720 h.
const START: &str = "2022-10-19T16:00:00Z";

/// Policies, and what they may know of lengths.
const POLICIES: [(&str, &str); 5] = [
    ("lowest-slot", KNOWN),
    ("lowest-window", AVERAGE),
    ("carbon-time", AVERAGE),
    ("ecovisor", KNOWN),
    ("wait-awhile", KNOWN),
];

/// A zone, what running at once emits there in kg at 1 kW a unit, and what each policy saves of that, in percent.
const TABLE: [(&str, f64, [f64; 5]); 3] = [
    ("US-CAL-CISO", 988.4, [12.8, 20.6, 19.8, 21.4, 26.6]),
    ("DE-LU", 1331.9, [7.9, 9.9, 8.8, 8.5, 13.7]),
    ("KR", 1372.0, [3.0, 4.0, 3.6, 4.1, 5.8]),
];

/// A policy of ours beside its authors' own program.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its name.
    pub policy: &'static str,
    /// What it may know of lengths.
    pub start_rule: &'static str,
    /// What its authors' program saves of the carbon of running at once, with no cap.
    pub published_percent: f64,
    /// What it saves here.
    pub saved_percent: f64,
}

impl Peer {
    /// Points that it may differ by: the table is rounded to a tenth of one.
    pub const TOLERANCE: f64 = 0.2;

    /// Is it the same policy, as far as that shows?
    #[must_use]
    pub fn agrees(&self) -> bool {
        (self.saved_percent - self.published_percent).abs() <= Self::TOLERANCE
    }
}

/// All published policies in a zone, where the setting is that of the table: none elsewhere.
///
/// # Errors
/// Where a file can't be read or does not say what is needed, and where work is left undone.
pub fn peers(setting: &Setting, zone: &str, carbon: &Path) -> Result<Vec<Peer>, String> {
    let here = TABLE.iter().find(|(name, ..)| *name == zone && setting.start == START && setting.hours == 720);
    let Some((_, at_once_kg, saves)) = here else { return Ok(Vec::new()) };
    let each = POLICIES.iter().zip(saves).map(|((policy, start_rule), published_percent)| {
        // of their shortest run GAIA's programs know nothing: arrivals and lengths are whole fives of seconds
        let setup = scenario(setting, carbon, None, 5, start_rule)?;
        let ours = by_name(policy).ok_or_else(|| format!("{policy}: there is no such policy"))?;
        let outcome = run(&setup, ours.as_ref(), &|_| ()).map_err(|error| error.to_string())?;
        let figures = summary::summarise(&outcome, None);
        if figures.jobs_finished < figures.jobs_total {
            return Err(format!("{zone}, {policy}: {} of {} jobs", figures.jobs_finished, figures.jobs_total));
        }
        let saved_percent = 100.0 * (1.0 - figures.carbon_kg / at_once_kg);
        Ok(Peer { policy, start_rule, published_percent: *published_percent, saved_percent })
    });
    each.collect()
}
