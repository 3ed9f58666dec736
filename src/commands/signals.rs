//! `heliotrope signals`: how well each signal is known; and `heliotrope signals test`: what the providers of one would give.

use super::cluster::{block_on, client};
use super::output::print;
use super::{CommandError, usage};
use crate::api::{GridSignal, SignalForecast};
use crate::clock;
use crate::controller::signals::{InForce, Signals as Readers, value};
use crate::core::signal::Refused;
use crate::fetch::{Fetcher, Limits, Tokens};
use crate::units::{Moment, Seconds};
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
    /// Certificates (PEM) of authorities to trust besides those of this machine, as the controller's caFile.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
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
        if let Some(forecast) = &status.forecast {
            out += &ahead(forecast);
        }
        for refused in &status.refused {
            let _ = writeln!(out, "  not used: {} × {} ({})", refused.count, refused.reason, refused.first);
        }
    }
    out
}

/// Heights of a plot of one line.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The hours ahead as they are planned with, a letter each, and how far off earlier ones were.
fn ahead(forecast: &SignalForecast) -> String {
    let SignalForecast { from, unit, planned, errors, .. } = forecast;
    let (Some(least), Some(most)) = (planned.iter().min(), planned.iter().max()) else { return String::new() };
    let bar = |value: i64| {
        let (above, span) = (i128::from(value) - i128::from(*least), i128::from(*most) - i128::from(*least));
        // none is higher than another: all are low
        let place = (above * (BARS.len() as i128 - 1) + span / 2).checked_div(span).unwrap_or(0);
        BARS[usize::try_from(place).unwrap_or(0).min(BARS.len() - 1)]
    };
    let plot: String = planned.iter().map(|value| bar(*value)).collect();
    let at = |wanted: &i64| {
        let place = planned.iter().position(|value| value == wanted).and_then(|place| i64::try_from(place).ok());
        let hour = from.as_ref().zip(place).map(|(from, place)| Moment::from(from.0) + Seconds(place * 3600));
        hour.map(|hour| format!(" at {hour}")).unwrap_or_default()
    };
    let mut out = format!("  {plot}  next {} h: {least}{} to {most}{} {unit}\n", planned.len(), at(least), at(most));
    if !errors.is_empty() {
        let each = errors.iter().map(|error| format!("{} h ahead {} ({})", error.hours_ahead, error.mean, error.by));
        let _ = writeln!(out, "  wrong by, on average: {} {unit}", each.collect::<Vec<_>>().join(", "));
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
        let mut fetcher = Fetcher::new(Tokens::in_folder(&self.tokens), Limits::default());
        if let Some(file) = &self.ca {
            fetcher = fetcher.trusting(file);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_hours_ahead_are_a_line_of_bars_and_past_errors_another() {
        let planned: Vec<i64> = (0..48).map(|hour| 210 + 10 * (12_i64 - hour % 24).abs()).collect();
        let forecast = json!({"from": "2026-11-28T21:00:00Z", "unit": "g/kWh", "planned": planned, "low": planned, "high": planned,
            "errors": [{"hoursAhead": 1, "by": "Provider", "mean": 12, "count": 400}, {"hoursAhead": 24, "by": "Learned", "mean": 31, "count": 300}]});
        let spec = json!({"what": "CarbonIntensity", "zone": "KR", "providers": [{"server": {"kind": "KPX"}}]});
        let status = json!({"rung": "LastKnown", "rungReason": "what is known is not of now", "forecast": forecast});
        let object = json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "GridSignal", "metadata": {"name": "kr"}, "spec": spec, "status": status});
        let shown = table(&[serde_json::from_value(object).unwrap()]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[2], "  what is known is not of now");
        assert_eq!(
            lines[3],
            "  █▇▇▆▆▅▅▄▃▃▂▂▁▂▂▃▃▄▅▅▆▆▇▇█▇▇▆▆▅▅▄▃▃▂▂▁▂▂▃▃▄▅▅▆▆▇▇  next 48 h: 210 at 2026-11-29T09:00:00Z to 330 at 2026-11-28T21:00:00Z g/kWh"
        );
        assert_eq!(lines[4], "  wrong by, on average: 1 h ahead 12 (Provider), 24 h ahead 31 (Learned) g/kWh");
        // what never moves, and what nobody should have written
        let flat = |planned: Vec<i64>| ahead(&SignalForecast { planned, ..SignalForecast::default() });
        assert!(flat(vec![5, 5]).starts_with("  ▁▁  next 2 h: 5 to 5"), "{}", flat(vec![5, 5]));
        assert!(flat(vec![i64::MIN, i64::MAX]).starts_with("  ▁█  "));
        assert_eq!(flat(Vec::new()), "");
    }
}
