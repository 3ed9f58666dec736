//! Several policies on one scenario: what each saves of what could be saved, and what its users wait for that.

use super::outcome::Outcome;
use super::summary::{Bound, Summary, share, summarise};
use serde::Serialize;

/// The JSON of the contract.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// What no policy that keeps all deadlines can go below; absent with on-site generation.
    pub bound: Option<Bound>,
    /// One for each policy, in the order in which they were named.
    pub results: Vec<Compared>,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// Its figures.
    #[serde(flatten)]
    pub summary: Summary,
    /// What it saves against running at once, of what could be saved: of cost, or of carbon where nothing has a price. Absent where
    /// the work is not equal, or nothing could be saved.
    pub share_of_optimum: Option<f64>,
    /// Carbon saved against running at once, in hundredths; absent where the work is not equal.
    pub carbon_saved_percent: Option<f64>,
}

impl Comparison {
    /// Compares runs of one scenario with one that ran everything as soon as there was room.
    #[must_use]
    pub fn of(runs: &[Outcome], run_now: &Outcome) -> Self {
        let base = summarise(run_now, None);
        let results: Vec<Compared> = runs.iter().map(|run| compared(summarise(run, Some(run_now)), &base)).collect();
        Self { bound: base.lower_bound, results }
    }

    /// Is there a price, so that cost is what is compared?
    #[must_use]
    pub fn is_priced(&self) -> bool {
        self.results.iter().any(|result| result.summary.cost != 0.0)
    }

    /// Is there generation on the site, so that use can be matched with it?
    #[must_use]
    pub fn has_generation(&self) -> bool {
        self.results.iter().any(|result| result.summary.matched_percent.is_some())
    }

    /// Did any slow what runs?
    #[must_use]
    pub fn changes_limits(&self) -> bool {
        self.results.iter().any(|result| result.summary.limit_changes > 0)
    }

    /// Those that no other both saves more and waits less than, by their wait.
    #[must_use]
    pub fn front(&self) -> Vec<&Compared> {
        let mut front: Vec<&Compared> = self
            .results
            .iter()
            .filter(|one| one.carbon_saved_percent.is_some())
            .filter(|one| {
                let beats = |other: &Compared| {
                    let (saves, waits) = (other.carbon_saved_percent, other.summary.mean_wait_hours);
                    let (own_saves, own_waits) = (one.carbon_saved_percent, one.summary.mean_wait_hours);
                    saves >= own_saves && waits <= own_waits && (saves, waits) != (own_saves, own_waits)
                };
                !self.results.iter().any(beats)
            })
            .collect();
        front.sort_by(|a, b| a.summary.mean_wait_hours.total_cmp(&b.summary.mean_wait_hours));
        front
    }
}

fn compared(mut summary: Summary, base: &Summary) -> Compared {
    let beside = summary.baseline.take();
    let carbon_saved_percent = beside.as_ref().and_then(|beside| beside.carbon_saved_percent);
    let bound = base.lower_bound.as_ref().filter(|_| carbon_saved_percent.is_some());
    let share = bound.and_then(|bound| {
        let (own, at_once, least) = match base.cost > 0.0 {
            true => (summary.cost, base.cost, bound.cost),
            false => (summary.carbon_kg, base.carbon_kg, bound.carbon_kg),
        };
        (at_once - least > 1e-9).then(|| (1e6 * (at_once - own) / (at_once - least)).round() / 1e6)
    });
    Compared { summary, share_of_optimum: share, carbon_saved_percent }
}

/// The table that `compare` prints.
#[must_use]
pub fn table(comparison: &Comparison, with_bound: bool) -> String {
    let is_priced = comparison.is_priced();
    let dash = || "-".to_owned();
    let percent = |value: Option<f64>| value.map_or_else(dash, |value| format!("{value:.2}"));
    type Cell<'a> = Box<dyn Fn(&Compared) -> String + 'a>;
    let mut columns: Vec<(&str, Cell<'_>)> = vec![
        ("policy", Box::new(|one| one.summary.policy.clone())),
        ("carbon, kg", Box::new(|one| format!("{:.1}", one.summary.carbon_kg))),
        ("saved, %", Box::new(|one| percent(one.carbon_saved_percent))),
        ("of bound, %", Box::new(|one| percent(one.share_of_optimum.map(|share| 100.0 * share)))),
        ("energy, kWh", Box::new(|one| format!("{:.1}", one.summary.energy_kwh))),
    ];
    if comparison.has_generation() {
        columns.push(("matched, %", Box::new(|one| share(one.summary.matched_percent, "-"))));
        columns.push(("own use, %", Box::new(|one| share(one.summary.own_use_percent, "-"))));
    }
    if is_priced {
        columns.push(("cost", Box::new(|one| format!("{:.2}", one.summary.cost))));
    }
    columns.extend::<[(&str, Cell<'_>); 5]>([
        ("wait, h", Box::new(|one| format!("{:.2}", one.summary.mean_wait_hours))),
        ("95 %, h", Box::new(|one| format!("{:.2}", one.summary.p95_wait_hours))),
        ("late", Box::new(|one| one.summary.deadline_misses.to_string())),
        ("work, %", Box::new(|one| format!("{:.1}", one.summary.work_percent))),
        ("stops", Box::new(|one| one.summary.suspensions.to_string())),
    ]);
    if comparison.changes_limits() {
        columns.push(("limits", Box::new(|one| one.summary.limit_changes.to_string())));
    }
    columns.extend::<[(&str, Cell<'_>); 2]>([
        ("peak, W", Box::new(|one| one.summary.peak_watts.to_string())),
        ("s over", Box::new(|one| one.summary.seconds_over_cap.to_string())),
    ]);
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|(name, _)| (*name).to_owned()).collect()];
    rows.extend(comparison.results.iter().map(|one| columns.iter().map(|(_, cell)| cell(one)).collect()));
    if let Some(bound) = comparison.bound.as_ref().filter(|_| with_bound) {
        let of = |name: &str| match name {
            "policy" => "bound without caps".to_owned(),
            "carbon, kg" => format!("{:.1}", bound.carbon_kg),
            "cost" => format!("{:.2}", bound.cost),
            _ => String::new(),
        };
        rows.push(columns.iter().map(|(name, _)| of(name)).collect());
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(i, (text, width))| match i {
            0 => format!("{text:<width$}"),
            _ => format!("  {text:>width$}"),
        });
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
