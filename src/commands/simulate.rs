//! `heliotrope simulate`.

use super::CommandError;
use crate::core::plan::{Policy, RunNow, by_name};
use crate::simulate::outcome::Outcome;
use crate::simulate::{ReadFile, Setup, run, setup, summary, trace};
use crate::yaml::Document;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};

/// The arguments of `simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// The scenario (YAML). Paths in it are relative to it.
    file: PathBuf,
    /// Use this policy instead of the scenario's: heliotrope or run-now.
    #[arg(long)]
    policy: Option<String>,
    /// Set a field of the scenario, as `site.domains[0].capWatts=21000`. May be given several times.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Use this seed instead of the scenario's.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    output: Output,
}

/// Where results go.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// Write the summary as JSON to a file, or to standard output with `-` (then no table is printed).
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a report to a file: one HTML page that needs no other.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the draw of every domain over time to a CSV file.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Add wall-clock times to the JSON. Without it the same seed gives the same bytes.
    #[arg(long)]
    pub timings: bool,
}

impl Simulate {
    pub(super) fn run(self) -> Result<(), CommandError> {
        let text = std::fs::read_to_string(&self.file).map_err(CommandError::file(&self.file))?;
        let mut document = Document::parse(&text, &self.file.display().to_string())?;
        for assignment in &self.set {
            document.set(assignment)?;
        }
        if let Some(policy) = &self.policy {
            document.set(&format!("policy={policy}"))?;
        }
        if let Some(seed) = self.seed {
            document.set(&format!("seed={seed}"))?;
        }
        let folder = self.file.parent().unwrap_or(Path::new("")).to_path_buf();
        let read = move |path: &str| std::fs::read_to_string(folder.join(path));
        simulate(&document, &read, &self.output)
    }
}

/// Runs a scenario and its baseline, and tells what came of them. Nothing is written before both are done.
pub(super) fn simulate(document: &Document, read: &ReadFile<'_>, output: &Output) -> Result<(), CommandError> {
    let setup = setup(document, read)?;
    let policy = by_name(&setup.policy).ok_or_else(|| CommandError::Usage(format!("no policy {}", setup.policy)))?;
    let clock = crate::clock::Stopwatch::start();
    let mut runs = vec![with_progress(&setup, policy.as_ref())];
    let millis = clock.millis();
    if policy.name() != RunNow.name() {
        runs.push(with_progress(&setup, &RunNow));
    }
    let figures = summary::summarise(&runs[0], runs.get(1));
    if let Some(path) = &output.trace {
        std::fs::write(path, trace::csv(&runs[0])).map_err(CommandError::file(path))?;
    }
    if let Some(path) = &output.report {
        std::fs::write(path, crate::simulate::report::html(&runs)).map_err(CommandError::file(path))?;
    }
    let mut json = serde_json::to_value(&figures).map_err(|error| CommandError::Usage(error.to_string()))?;
    if output.timings {
        json["timings"] = serde_json::json!({"runMillis": millis, "plans": runs[0].plans});
    }
    let json = format!("{json:#}\n");
    match output.json.as_deref() {
        Some(path) if path == Path::new("-") => print!("{json}"),
        Some(path) => {
            std::fs::write(path, json).map_err(CommandError::file(path))?;
            print!("{}", summary::table(&figures));
        }
        None => print!("{}", summary::table(&figures)),
    }
    Ok(())
}

/// Runs with a bar on standard error; indicatif shows it only where that is a terminal.
fn with_progress(setup: &Setup, policy: &dyn Policy) -> Outcome {
    let bar = ProgressBar::new(1000);
    if let Ok(style) = ProgressStyle::with_template("{msg:>12} {wide_bar} {percent}% {eta}") {
        bar.set_style(style);
    }
    bar.set_message(policy.name().to_owned());
    let outcome = run(setup, policy, &|permille| bar.set_position(permille));
    bar.finish_and_clear();
    outcome
}
