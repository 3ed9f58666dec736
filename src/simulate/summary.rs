//! A run in figures: the JSON of the contract, and the table for a terminal.

use super::outcome::{Outcome, WorkloadOutcome};
use crate::units::{Joules, Seconds, Watts};
use serde::Serialize;

/// The figures of one run. Field names are the contract's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Name of the policy.
    pub policy: String,
    /// Carbon of what was bought.
    pub carbon_kg: f64,
    /// Energy drawn by the site.
    pub energy_kwh: f64,
    /// Energy bought and carbon price paid, in currency units.
    pub cost: f64,
    /// Mean wait beyond the length, suspensions included.
    pub mean_wait_hours: f64,
    /// The wait that 95 % stay under.
    pub p95_wait_hours: f64,
    /// Jobs that finished late or not at all.
    pub deadline_misses: usize,
    /// Jobs that finished.
    pub jobs_finished: usize,
    /// All jobs.
    pub jobs_total: usize,
    /// The highest draw of all roots together, at any instant.
    pub peak_watts: i64,
    /// How long any domain was over its cap: the longest of all domains.
    pub seconds_over_cap: i64,
    /// By how much, summed over all domains.
    pub watt_seconds_over_cap: i64,
    /// Work done of work asked.
    pub work_percent: f64,
    /// With on-site generation: of the energy used, what was generated in the same hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_percent: Option<f64>,
    /// With on-site generation: of the energy generated, what was used in the same hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_use_percent: Option<f64>,
    /// What no policy that keeps all deadlines can go below; absent with on-site generation.
    pub lower_bound: Option<Bound>,
    /// How far the cost (or, where nothing has a price, the carbon) is above the bound.
    pub gap_percent: Option<f64>,
    /// How often a running workload was stopped.
    pub suspensions: u64,
    /// How often a limit was changed.
    pub limit_changes: u64,
    /// The seed.
    pub seed: u64,
    /// The same scenario with everything run as soon as there is room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Box<Baseline>>,
}

/// A bound in the units of the summary.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bound {
    /// On carbon alone.
    pub carbon_kg: f64,
    /// On cost alone.
    pub cost: f64,
}

/// What a policy is held against.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// Its own figures.
    #[serde(flatten)]
    pub summary: Summary,
    /// Carbon saved against it; absent where the work is not equal.
    pub carbon_saved_percent: Option<f64>,
    /// Cost saved against it; absent where the work is not equal.
    pub cost_saved_percent: Option<f64>,
}

/// Six decimals: enough for any table, and the same text on every machine.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole.abs() > 1e-9).then(|| rounded(100.0 * part / whole))
}

/// The figures of one run, and beside them those of the baseline where there is one.
#[must_use]
pub fn summarise(outcome: &Outcome, baseline: Option<&Outcome>) -> Summary {
    let mut summary = figures(outcome);
    summary.baseline = baseline.map(|baseline| {
        let base = figures(baseline);
        // savings are compared on equal work
        let equal = summary.jobs_finished == base.jobs_finished;
        Box::new(Baseline {
            carbon_saved_percent: percent(base.carbon_kg - summary.carbon_kg, base.carbon_kg).filter(|_| equal),
            cost_saved_percent: percent(base.cost - summary.cost, base.cost).filter(|_| equal),
            summary: base,
        })
    });
    summary
}

/// The wait that a share of all stays under: nearest rank.
pub(super) fn quantile(sorted: &[Seconds], percent: usize) -> Seconds {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(Seconds::ZERO)
}

fn figures(outcome: &Outcome) -> Summary {
    let end = outcome.end;
    let mut waits: Vec<Seconds> = outcome.workloads.iter().map(|w| w.waited(end)).collect();
    waits.sort_unstable();
    let count = outcome.workloads.len();
    let work = |seconds: &dyn Fn(&WorkloadOutcome) -> Seconds| -> Joules {
        outcome.workloads.iter().map(|w| Watts(i64::from(w.accelerators)).over(seconds(w))).sum()
    };
    let asked = work(&|w| w.length);
    let cost = (outcome.energy_cost + outcome.carbon_cost).as_units();
    let carbon_kg = outcome.carbon.as_kg();
    let bound = outcome.lower_bound.map(|bound| (bound.carbon.as_kg(), bound.cost.as_units()));
    let matched = outcome.matched();
    let missed = outcome.workloads.iter().filter(|w| w.late(end) > Seconds::ZERO).count();
    Summary {
        policy: outcome.policy.clone(),
        carbon_kg: rounded(carbon_kg),
        energy_kwh: rounded(outcome.energy.as_kwh()),
        cost: rounded(cost),
        mean_wait_hours: rounded(waits.iter().map(|w| w.as_hours()).sum::<f64>() / count.max(1) as f64),
        p95_wait_hours: rounded(quantile(&waits, 95).as_hours()),
        deadline_misses: missed,
        jobs_finished: outcome.workloads.iter().filter(|w| w.finished.is_some()).count(),
        jobs_total: count,
        peak_watts: outcome.site_draw().highest(outcome.start, end).0,
        seconds_over_cap: outcome.domains.iter().map(|domain| domain.over.0).max().unwrap_or(0),
        watt_seconds_over_cap: outcome.domains.iter().map(|domain| domain.over_energy.0).sum(),
        work_percent: percent(work(&|w| w.done).0 as f64, asked.0 as f64).unwrap_or(100.0),
        matched_percent: matched.and_then(|sum| percent(sum.matched.0 as f64, sum.used.0 as f64)),
        own_use_percent: matched.and_then(|sum| percent(sum.matched.0 as f64, sum.generated.0 as f64)),
        lower_bound: bound.map(|(carbon, cost)| Bound { carbon_kg: rounded(carbon), cost: rounded(cost) }),
        gap_percent: bound.and_then(|(least_carbon, least_cost)| {
            let (value, least) = if cost > 0.0 { (cost, least_cost) } else { (carbon_kg, least_carbon) };
            percent(value - least, least)
        }),
        suspensions: outcome.suspensions,
        limit_changes: outcome.limit_changes,
        seed: outcome.seed,
        baseline: None,
    }
}

/// A share in hundredths, or what stands for none.
pub(super) fn share(percent: Option<f64>, none: &str) -> String {
    percent.map_or_else(|| none.to_owned(), |percent| format!("{percent:.1}"))
}

/// The table that `simulate` prints.
#[must_use]
pub fn table(summary: &Summary) -> String {
    let columns: Vec<&Summary> =
        std::iter::once(summary).chain(summary.baseline.as_deref().map(|base| &base.summary)).collect();
    let mut lines = Vec::new();
    let mut row = |name: &str, cell: &dyn Fn(&Summary) -> String| {
        let cells: Vec<String> = columns.iter().map(|column| format!("{:>16}", cell(column))).collect();
        lines.push(format!("{name:<26}{}", cells.concat()));
    };
    row("", &|s| s.policy.clone());
    row("carbon, kg", &|s| format!("{:.1}", s.carbon_kg));
    row("energy, kWh", &|s| format!("{:.1}", s.energy_kwh));
    if columns.iter().any(|column| column.matched_percent.is_some()) {
        row("use matched by the hour, %", &|s| share(s.matched_percent, "-"));
        row("generation used, %", &|s| share(s.own_use_percent, "-"));
    }
    row("cost", &|s| format!("{:.2}", s.cost));
    row("jobs finished", &|s| format!("{} of {}", s.jobs_finished, s.jobs_total));
    row("deadlines missed", &|s| s.deadline_misses.to_string());
    row("mean wait, h", &|s| format!("{:.2}", s.mean_wait_hours));
    row("95 % wait less than, h", &|s| format!("{:.2}", s.p95_wait_hours));
    row("suspensions", &|s| s.suspensions.to_string());
    if columns.iter().any(|column| column.limit_changes > 0) {
        row("limit changes", &|s| s.limit_changes.to_string());
    }
    row("peak, W", &|s| s.peak_watts.to_string());
    row("seconds over a cap", &|s| s.seconds_over_cap.to_string());
    if let Some(base) = &summary.baseline {
        let name = &base.summary.policy;
        let figure = |saved: Option<f64>| saved.map_or("not comparable".to_owned(), |p| format!("{p:.2} %"));
        lines.push(format!("carbon saved against {name}: {}", figure(base.carbon_saved_percent)));
        if base.summary.cost.abs() > 0.0 {
            lines.push(format!("cost saved against {name}: {}", figure(base.cost_saved_percent)));
        }
    }
    lines.join("\n") + "\n"
}
