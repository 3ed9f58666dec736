//! `heliotrope doctor`: what of an installation is as it should be, and what is to be done where it is not. It reads, and tries
//! nothing: no limit is set, no Job is started, no object is written but questions about rights.

mod findings;
mod read;
mod rights;

use super::cluster::{block_on, client};
use super::{CommandError, usage};
use clap::Args;
use findings::{Finding, Level, findings};
use std::path::PathBuf;

pub use rights::{NEEDED, Right, UNWANTED};

/// The arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The namespace that the chart is installed in.
    #[arg(long, default_value = "heliotrope-system")]
    namespace: String,
    /// The controller's ServiceAccount there.
    #[arg(long, default_value = "heliotrope-controller")]
    service_account: String,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
    /// Use this kubeconfig instead of the usual ones.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

impl Doctor {
    pub(super) fn run(self) -> Result<(), CommandError> {
        let seen = block_on(async {
            let client = client(self.kubeconfig.as_deref()).await?;
            Ok(read::read(&client, &self.namespace, &self.service_account).await)
        })?;
        let findings = findings(&seen);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&findings).map_err(|error| usage(&error))?);
        } else {
            findings.iter().for_each(|finding| println!("{finding}"));
        }
        match summary(&findings) {
            (text, false) => {
                if !self.json {
                    println!("\n{text}");
                }
                Ok(())
            }
            (text, true) => Err(CommandError::Usage(text)),
        }
    }
}

/// How many of each, and whether anything is wrong.
fn summary(findings: &[Finding]) -> (String, bool) {
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    let text = format!("{} checks: {problems} problems, {warnings} warnings", findings.len());
    (text, problems > 0)
}
