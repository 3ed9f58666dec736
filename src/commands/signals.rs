//! `heliotrope signals`: how well each signal is known; and `heliotrope signals test`: what the providers of one would give.

use super::cluster::{block_on, client};
use super::output::print;
use super::{CommandError, usage};
use crate::api::GridSignal;
use crate::clock;
use crate::controller::signals::{InForce, Signals as Readers, value};
use crate::core::signal::Refused;
use crate::fetch::{Fetcher, Limits, Tokens};
use crate::units::Moment;
use clap::{Args, Subcommand};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde::Deserialize;
use std::fmt::Write;
use std::path::PathBuf;

/// Values that are shown of what a provider gives.
const SHOWN: usize = 8;

/// The arguments of `signals`.
#[derive(Debug, Args)]
pub struct Signals {
    #[command(subcommand)]
    what: Option<What>,
    /// Use this kubeconfig instead of the usual ones.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Ask the providers of a GridSignal in a file, and print what they would give. No cluster is needed, and nothing is changed.
    Test(Test),
}

#[derive(Debug, Args)]
struct Test {
    /// A GridSignal (YAML).
    file: PathBuf,
    /// The folder of tokens, one file each, as the controller's tokenDirectory.
    #[arg(long, default_value = "/etc/heliotrope-tokens")]
    tokens: PathBuf,
}

impl Signals {
    pub(super) fn run(self) -> Result<(), CommandError> {
        match self.what {
            Some(What::Test(test)) => test.run(),
            None => block_on(async {
                let api: Api<GridSignal> = Api::all(client(self.kubeconfig.as_deref()).await?);
                let signals = api.list(&ListParams::default()).await.map_err(|error| usage(&error))?.items;
                print(&table(&signals))
            }),
        }
    }
}

/// All signals, a line each, and under it why one is not live and what of it is not used.
fn table(signals: &[GridSignal]) -> String {
    if signals.is_empty() {
        return "there is no GridSignal: work is planned as if all supply were alike\n".to_owned();
    }
    let mut rows = vec![["NAME", "WHAT", "ZONE", "RUNG", "NOW", "KNOWN UNTIL", "HEARD", "SOURCE"].map(str::to_owned)];
    for signal in signals {
        let status = signal.status.clone().unwrap_or_default();
        let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        rows.push([
            signal.name_any(),
            format!("{:?}", signal.spec.what),
            signal.spec.zone.clone(),
            text(status.rung),
            text(status.current_value),
            text(status.known_until.map(|until| until.0.to_string())),
            text(status.heard_at.map(|heard| heard.0.to_string())),
            text(status.source),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        let Some(status) = i.checked_sub(1).and_then(|at| signals.get(at)?.status.as_ref()) else { continue };
        if let Some(why) = status.rung_reason.as_ref().filter(|_| status.rung.as_deref() != Some("Live")) {
            let _ = writeln!(out, "  {why}");
        }
        for refused in &status.refused {
            let _ = writeln!(out, "  not used: {} × {} ({})", refused.count, refused.reason, refused.first);
        }
    }
    out
}

impl Test {
    fn run(self) -> Result<(), CommandError> {
        let text = std::fs::read_to_string(&self.file).map_err(CommandError::file(&self.file))?;
        let name = self.file.display().to_string();
        let bad = |error: &dyn std::fmt::Display| CommandError::Usage(format!("{name}: not a GridSignal: {error}"));
        let read = serde_yaml::Deserializer::from_str(&text);
        let mut signal: GridSignal = GridSignal::deserialize(read).map_err(|error| bad(&error))?;
        signal.metadata.name.get_or_insert_with(|| "tried".to_owned());
        let fetcher =
            Fetcher::new(Tokens::in_folder(&self.tokens), Limits::default()).map_err(|error| usage(&error))?;
        let now = clock::now();
        let mut readers = Readers::default();
        readers.keep(std::slice::from_ref(&signal));
        block_on(async {
            readers.servers.ask_all(&fetcher, now).await;
            Ok(())
        })?;
        let each = readers.each(&signal, now);
        let mut out = String::new();
        for (i, (given, refused)) in each.iter().enumerate() {
            out += &shown(&signal, i, given.as_ref(), refused, now);
        }
        print(&out)?;
        match each.iter().any(|(given, _)| given.is_ok()) {
            true => Ok(()),
            false => Err(CommandError::Usage("no provider gives anything that can be used".to_owned())),
        }
    }
}

fn shown(signal: &GridSignal, i: usize, given: Result<&InForce, &String>, refused: &Refused, now: Moment) -> String {
    let mut out = String::new();
    match given {
        Err(why) => {
            let _ = writeln!(out, "provider {i}: gives nothing: {why}");
        }
        Ok(InForce { series, source, licence, .. }) => {
            let _ = writeln!(out, "{source}");
            let _ = writeln!(
                out,
                "  {} values from {} until {}, {} of them estimated",
                series.rows, series.from, series.until, series.estimated
            );
            if let Some(licence) = licence {
                let _ = writeln!(out, "  licence: {licence}");
            }
            let what = signal.spec.what;
            let first = now.clamp(series.from, series.until);
            for (from, until, here) in series.steps.pieces(first, series.until).take(SHOWN) {
                let _ = writeln!(out, "  {from} to {until}: {}", value(what, here));
            }
            if now >= series.until {
                let _ = writeln!(out, "  nothing of it is of now: it ends at {}", series.until);
            } else if now < series.from {
                let _ = writeln!(out, "  nothing of it is of now: it begins at {}", series.from);
            }
        }
    }
    for (reason, count, first) in refused.iter() {
        let _ = writeln!(out, "  not used: {count} × {} ({first})", reason.name());
    }
    out
}
