//! Waits, savings, and the reasons of the worst waits.

use crate::simulate::outcome::{Outcome, WorkloadOutcome};
use crate::simulate::summary::{Summary, quantile};
use crate::units::Seconds;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// How many of the longest waits are explained.
const WORST: usize = 10;

fn hours(seconds: Seconds) -> String {
    format!("{:.2}", seconds.as_hours())
}

/// Waits by class.
pub(super) fn waits(run: &Outcome) -> Markup {
    let mut by_class: BTreeMap<&str, Vec<Seconds>> = BTreeMap::new();
    for workload in &run.workloads {
        by_class.entry(&workload.class).or_default().push(workload.waited(run.end).max(Seconds::ZERO));
    }
    by_class.values_mut().for_each(|waits| waits.sort_unstable());
    html! {
        table {
            tr { th { "class" } th { "workloads" } th { "mean, h" } th { "median, h" } th { "95 %, h" } th { "longest, h" } }
            @for (class, waits) in &by_class {
                @let mean = Seconds(waits.iter().map(|w| w.0).sum::<i64>() / i64::try_from(waits.len()).unwrap_or(1).max(1));
                tr {
                    td { (class) } td { (waits.len()) } td { (hours(mean)) } td { (hours(quantile(waits, 50))) }
                    td { (hours(quantile(waits, 95))) } td { (hours(quantile(waits, 100))) }
                }
            }
        }
    }
}

/// The policy, the baseline, and what no policy can go below.
pub(super) fn savings(summary: &Summary) -> Markup {
    let base = summary.baseline.as_deref();
    let is_priced = summary.cost != 0.0 || base.is_some_and(|base| base.summary.cost != 0.0);
    let row = |name: &str, s: &Summary| {
        html! {
            tr {
                td { (name) } td { (format!("{:.1}", s.carbon_kg)) } td { (format!("{:.1}", s.energy_kwh)) }
                @if is_priced { td { (format!("{:.2}", s.cost)) } }
                td { (format!("{:.1}", s.work_percent)) } td { (s.suspensions) }
            }
        }
    };
    // of what could be saved at all, how much was
    let share = base.and_then(|base| {
        let bound = summary.lower_bound.as_ref()?;
        let (ours, theirs, least) = if base.summary.cost > 0.0 {
            (summary.cost, base.summary.cost, bound.cost)
        } else {
            (summary.carbon_kg, base.summary.carbon_kg, bound.carbon_kg)
        };
        (theirs - least > 1e-9 && base.carbon_saved_percent.is_some())
            .then(|| 100.0 * (theirs - ours) / (theirs - least))
    });
    html! {
        table {
            tr { th { "" } th { "carbon, kg" } th { "energy, kWh" } @if is_priced { th { "cost" } } th { "work, %" } th { "suspensions" } }
            (row(&summary.policy, summary))
            @if let Some(base) = base { (row(&base.summary.policy, &base.summary)) }
            @if let Some(bound) = &summary.lower_bound {
                tr {
                    td { "lower bound without caps" } td { (format!("{:.1}", bound.carbon_kg)) } td { "" }
                    @if is_priced { td { (format!("{:.2}", bound.cost)) } }
                    td { "" } td { "" }
                }
            }
        }
        @if let Some(share) = share {
            p.note {
                "Of what any policy could save with all deadlines kept and no cap at all, " (format!("{share:.0} %")) " is saved. "
                "The bounds on carbon and on cost are each for itself: no single schedule need reach both."
            }
        }
        @if base.is_some_and(|base| base.carbon_saved_percent.is_none()) {
            p.note { "The two runs did not finish the same work: their figures are not comparable." }
        }
    }
}

/// The longest waits with their reasons.
pub(super) fn worst(run: &Outcome) -> Markup {
    let mut all: Vec<&WorkloadOutcome> =
        run.workloads.iter().filter(|workload| workload.waited(run.end) > Seconds::ZERO).collect();
    all.sort_by_key(|workload| (std::cmp::Reverse(workload.waited(run.end)), &workload.id));
    html! {
        @if all.is_empty() { p { "Nothing waited." } } @else {
            table {
                tr { th { "workload" } th { "waited" } th { "late by" } th.text { "why" } }
                @for workload in all.iter().take(WORST) {
                    @let late = workload.late(run.end);
                    tr {
                        td { (workload.id) }
                        td { (workload.waited(run.end)) }
                        td { @if late > Seconds::ZERO { (late) } @else { "in time" } }
                        td.text {
                            @for (name, text, span) in &workload.waits {
                                div { strong { (name) } " for " (span) ": " (text) }
                            }
                        }
                    }
                }
            }
        }
    }
}
