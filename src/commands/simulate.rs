//! `heliotrope simulate`.

use super::CommandError;
use super::output::{open, place, print};
use crate::core::plan::{Policy, RunNow, by_name};
use crate::simulate::outcome::Outcome;
use crate::simulate::{ReadFile, RefusedPlan, Setup, report, run, setup, summary, trace};
use crate::yaml::Document;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};

/// The arguments of `simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// The scenario (YAML). Paths in it are relative to it.
    file: PathBuf,
    /// Use this policy instead of the scenario's: heliotrope, run-now, or one that was published:
    /// lowest-slot, lowest-window, carbon-time, ecovisor, wait-awhile, suspend-resume, price-threshold, carbon-scaler, uniform-cap,
    /// dvfs-fair, two-threshold.
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
        let (document, read) = read_scenario(&self.file, &self.set, self.policy.as_deref(), self.seed)?;
        simulate(&document, &read, &self.output)
    }
}

/// A scenario with what was set on the command line, and what reads its files: paths are relative to it.
pub(super) fn read_scenario(
    file: &Path,
    set: &[String],
    policy: Option<&str>,
    seed: Option<u64>,
) -> Result<(Document, impl Fn(&str) -> std::io::Result<String> + use<>), CommandError> {
    let text = std::fs::read_to_string(file).map_err(CommandError::file(file))?;
    let mut document = Document::parse(&text, &file.display().to_string())?;
    for assignment in set {
        document.set(assignment)?;
    }
    if let Some(policy) = policy {
        document.set(&format!("policy={policy}"))?;
    }
    if let Some(seed) = seed {
        document.set(&format!("seed={seed}"))?;
    }
    let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
    Ok((document, move |path: &str| std::fs::read_to_string(folder.join(path))))
}

/// Runs a scenario and its baseline, and tells what came of them. Where files go is looked at first, and nothing is
/// written before both runs are done.
pub(super) fn simulate(document: &Document, read: &ReadFile<'_>, output: &Output) -> Result<(), CommandError> {
    let setup = setup(document, read)?;
    let policy = by_name(&setup.policy).ok_or_else(|| CommandError::Usage(format!("no policy {}", setup.policy)))?;
    let is_stdout = |path: &&PathBuf| *path == Path::new("-");
    let json_file = output.json.as_ref().filter(|path| !is_stdout(path));
    let targets = open([output.trace.as_ref(), output.report.as_ref(), json_file])?;
    let clock = crate::clock::Stopwatch::start();
    let mut runs = vec![with_progress(&setup, policy.as_ref())?];
    let millis = clock.millis();
    if policy.name() != RunNow.name() {
        runs.push(with_progress(&setup, &RunNow)?);
    }
    let figures = summary::summarise(&runs[0], runs.get(1));
    let mut json = serde_json::to_value(&figures).map_err(|error| CommandError::Usage(error.to_string()))?;
    if output.timings {
        json["timings"] = serde_json::json!({"runMillis": millis, "plans": runs[0].plans});
    }
    let json = format!("{json:#}\n");
    place(targets, [&|| trace::csv(&runs[0]), &|| report::html(&runs), &|| json.clone()])?;
    if output.json.as_ref().is_some_and(|path| is_stdout(&path)) {
        print(&json)
    } else {
        print(&summary::table(&figures))
    }
}

/// Runs with a bar on standard error; indicatif shows it only where that is a terminal.
pub(super) fn with_progress(setup: &Setup, policy: &dyn Policy) -> Result<Outcome, RefusedPlan> {
    let bar = ProgressBar::new(1000);
    if let Ok(style) = ProgressStyle::with_template("{msg:>15} {wide_bar} {percent}% {eta}") {
        bar.set_style(style);
    }
    bar.set_message(policy.name().to_owned());
    let outcome = run(setup, policy, &|permille| bar.set_position(permille));
    bar.finish_and_clear();
    outcome
}
