//! A run as one HTML page that needs no other: for whoever pays for the power.
//!
//! Made with maud, so that every text is escaped; pictures are inline SVG, drawn in `chart` and `gantt`.
//! The same outcomes give the same bytes.

mod chart;
pub mod compared;
mod gantt;
mod tables;

use super::outcome::Outcome;
use super::summary::{Summary, share, summarise};
use crate::units::{Moment, Seconds};
use chart::{Band, Line, Panel};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("report/style.css");

/// What the simulator leaves away; said on every report.
const NOT_MODELLED: [&str; 5] = [
    "Stopping and starting take no time; what a checkpoint costs weighs in the plan and is not run again.",
    "Under one limit a workload draws the same all the time, and a new limit holds at once.",
    "Accelerators are counted by pool: which node a workload lands on is not simulated; no two workloads share a host.",
    "Nothing breaks: no failed jobs, nodes, signals or meters.",
    "Carbon is that of the grid's average where the signal says so; marginal and contractual figures differ.",
];

/// The page: the first run is the policy, the second, where there is one, the baseline.
#[must_use]
pub fn html(runs: &[Outcome]) -> String {
    let Some(run) = runs.first() else { return String::new() };
    let baseline = runs.get(1);
    let summary = summarise(run, baseline);
    let to = shown_until(runs);
    let site = run.domains.first().map_or("site", |domain| domain.name.as_str());
    page(
        site,
        &html! {
            header {
                h1 { (site) }
                p {
                    "Policy " strong { (run.policy) } ", " (run.start) " to " (run.end) ", times in UTC. "
                    "Seed " (run.seed) ", " (run.plans) " plans."
                    @if to < run.end { " Pictures end at " (to) ": nothing runs later." }
                }
            }
            (headlines(&summary, run))
            h2 { "Draw against the cap" }
            p.note { "Filled: this run. Dashed: everything as soon as there is room. Red: the cap." }
            @for i in 0..run.domains.len() {
                (draw_chart(run, baseline, i, to))
            }
            (signals(run, to))
            h2 { "Workloads" }
            (gantt::gantt(run, to))
            h2 { "Waits" }
            (tables::waits(run))
            h2 { "Savings" }
            (tables::savings(&summary))
            h2 { "The longest waits, and why" }
            (tables::worst(run))
        },
    )
}

/// A page that needs no other, with what is not modelled at its end.
fn page(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Heliotrope: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                h2 { "Not modelled" }
                ul { @for line in NOT_MODELLED { li { (line) } } }
            }
        }
    };
    page.into_string()
}

/// Where pictures end: at the end of the run, or soon after the last work where more than a quarter would be empty.
fn shown_until(runs: &[Outcome]) -> Moment {
    let Some(first) = runs.first() else { return Moment(0) };
    let (start, end) = (first.start, first.end);
    let finishes = runs.iter().flat_map(|run| run.workloads.iter().map(move |w| w.finished.unwrap_or(run.end)));
    let last = finishes.max().unwrap_or(end);
    let span = (last - start).0;
    if span * 4 > (end - start).0 * 3 { end } else { (last + Seconds(span / 20)).ceil(Seconds::HOUR).min(end) }
}

fn headlines(summary: &Summary, run: &Outcome) -> Markup {
    let base = summary.baseline.as_deref();
    let saved = |percent: Option<f64>| percent.map_or("–".to_owned(), |percent| format!("{percent:.1} %"));
    let cap = run.domains.iter().filter(|domain| domain.parent.is_none()).map(|domain| domain.cap.at(run.start).0);
    let cap: i64 = cap.sum();
    let card = |figure: String, name: &str, detail: String| {
        html! { div.card { div.figure { (figure) } div.name { (name) } div.detail { (detail) } } }
    };
    html! {
        div.cards {
            @if let Some(base) = base {
                (card(saved(base.carbon_saved_percent), "carbon saved",
                    format!("{:.0} kg instead of {:.0} kg", summary.carbon_kg, base.summary.carbon_kg)))
                @if base.summary.cost.abs() > 0.0 {
                    (card(saved(base.cost_saved_percent), "cost saved",
                        format!("{:.2} instead of {:.2}", summary.cost, base.summary.cost)))
                }
            } @else {
                (card(format!("{:.0} kg", summary.carbon_kg), "carbon", format!("{:.0} kWh", summary.energy_kwh)))
            }
            @if let Some(matched) = summary.matched_percent {
                (card(format!("{matched:.1} %"), "of use generated in its hour",
                    format!("{} % of what was generated", share(summary.own_use_percent, "–"))))
            }
            (card(format!("{} s", summary.seconds_over_cap), "over a cap",
                format!("{} watt-seconds", summary.watt_seconds_over_cap)))
            (card(kilowatts(summary.peak_watts), "highest draw", format!("cap at the start {}", kilowatts(cap))))
            (card(format!("{}/{}", summary.jobs_finished, summary.jobs_total), "workloads finished",
                format!("{} deadlines missed", summary.deadline_misses)))
            (card(format!("{:.1} h", summary.mean_wait_hours), "mean wait",
                format!("95 % below {:.1} h", summary.p95_wait_hours)))
        }
    }
}

/// `12.3 kW`, with the unit that fits.
fn kilowatts(watts: i64) -> String {
    if watts >= 10_000_000 { format!("{:.1} MW", watts as f64 / 1e6) } else { format!("{:.1} kW", watts as f64 / 1e3) }
}

fn draw_chart(run: &Outcome, baseline: Option<&Outcome>, i: usize, to: Moment) -> Markup {
    let domain = &run.domains[i];
    let watts = |steps: &crate::core::steps::Steps<crate::units::Watts>| steps.map(|watts| watts.0);
    let mut lines = vec![Line { class: "cap", steps: watts(&domain.cap) }];
    if let Some(other) = baseline.and_then(|baseline| baseline.domains.get(i)) {
        lines.push(Line { class: "base", steps: watts(&other.draw) });
    }
    let panel = Panel {
        title: &domain.name,
        unit: "kW",
        scale: 1000.0,
        from: run.start,
        to,
        bands: vec![Band { class: "draw", steps: watts(&domain.draw) }],
        lines,
    };
    panel.draw()
}

fn signals(run: &Outcome, to: Moment) -> Markup {
    let panel = |title: &'static str, unit: &'static str, scale: f64, class: &'static str, steps| {
        let lines = vec![Line { class, steps }];
        Panel { title, unit, scale, from: run.start, to, bands: Vec::new(), lines }.draw()
    };
    html! {
        @if run.intensity.is_some() || run.price.is_some() || run.generation.is_some() { h2 { "Supply" } }
        @if let Some(intensity) = &run.intensity {
            (panel("Carbon intensity", "g/kWh", 1000.0, "carbon", intensity.map(|value| value.0)))
        }
        @if let Some(price) = &run.price {
            (panel("Price", "per MWh", 1e6, "price", price.clone()))
        }
        @if let Some(generation) = &run.generation {
            (panel("On-site generation", "kW", 1000.0, "own", generation.map(|watts| watts.0)))
        }
    }
}
