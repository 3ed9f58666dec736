//! `heliotrope compare`: several policies on one scenario.

use super::CommandError;
use super::output::{open, place, print};
use super::simulate::{read_scenario, with_progress};
use crate::core::plan::{POLICIES, RunNow, by_name};
use crate::simulate::compare::{Comparison, table};
use crate::simulate::{report, setup};
use clap::Args;
use std::path::{Path, PathBuf};

/// The arguments of `compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// The scenario (YAML). Paths in it are relative to it.
    file: PathBuf,
    /// The policies, as `heliotrope,run-now,carbon-time`.
    #[arg(long, value_delimiter = ',', required = true)]
    policies: Vec<String>,
    /// Show what no policy could go below, too.
    #[arg(long)]
    bound: bool,
    /// Set a field of the scenario, as `site.domains[0].capWatts=21000`. May be given several times.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Use this seed instead of the scenario's.
    #[arg(long)]
    seed: Option<u64>,
    /// Write the figures as JSON to a file, or to standard output with `-` (then no table is printed).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report to a file: one HTML page that needs no other.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Compare {
    pub(super) fn run(self) -> Result<(), CommandError> {
        let unknown = self.policies.iter().find(|name| by_name(name).is_none());
        if let Some(name) = unknown {
            return Err(CommandError::Usage(format!(
                "--policies: no policy {name}; there are {}",
                POLICIES.join(", ")
            )));
        }
        let mut seen: Vec<&String> = Vec::new();
        for name in &self.policies {
            if seen.contains(&name) {
                return Err(CommandError::Usage(format!("--policies: {name} is named twice")));
            }
            seen.push(name);
        }
        let (document, read) = read_scenario(&self.file, &self.set, None, self.seed)?;
        let setup = setup(&document, &read)?;
        let to_stdout = self.json.as_deref() == Some(Path::new("-"));
        let file = self.json.as_ref().filter(|_| !to_stdout);
        let targets = open([file, self.report.as_ref()])?;
        let mut runs = Vec::new();
        for policy in self.policies.iter().filter_map(|name| by_name(name)) {
            runs.push(with_progress(&setup, policy.as_ref())?);
        }
        let own = runs.iter().find(|run| run.policy == "run-now").cloned();
        let run_now = own.map_or_else(|| with_progress(&setup, &RunNow), Ok)?;
        let comparison = Comparison::of(&runs, &run_now);
        let figures = serde_json::to_value(&comparison).map_err(|error| CommandError::Usage(error.to_string()))?;
        let figures = format!("{figures:#}\n");
        place(targets, [&|| figures.clone(), &|| report::compared::page(&comparison, &runs)])?;
        print(&if to_stdout { figures } else { table(&comparison, self.bound) })
    }
}
