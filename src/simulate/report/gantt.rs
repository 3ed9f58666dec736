//! When each workload ran, packed into as few lanes as it takes.

use super::chart::{LEFT, WIDTH, time_axis, x};
use crate::simulate::outcome::{Outcome, Ran, WorkloadOutcome};
use crate::units::Moment;
use maud::{Markup, html};

/// Up to this many workloads each has a row and its name.
const NAMED: usize = 40;
const COLOURS: usize = 6;

/// The classes of a run, in alphabetical order; their place is their colour.
fn classes(run: &Outcome) -> Vec<&str> {
    let mut classes: Vec<&str> = run.workloads.iter().map(|workload| workload.class.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Each workload's lane: its own where there are few, else the first that is free from its arrival on.
fn lanes(run: &Outcome, named: bool) -> (Vec<usize>, usize) {
    let mut free: Vec<Moment> = Vec::new();
    let lanes = run
        .workloads
        .iter()
        .map(|workload| {
            let (from, to) = (workload.arrival, workload.finished.unwrap_or(run.end));
            match free.iter().position(|end| !named && *end <= from) {
                Some(lane) => {
                    free[lane] = to;
                    lane
                }
                None => {
                    free.push(to);
                    free.len() - 1
                }
            }
        })
        .collect();
    (lanes, free.len())
}

/// How pale a run at less than full is drawn.
fn paler(run: &Ran) -> Option<String> {
    (!run.pace.is_full()).then(|| format!("{:.2}", 0.75 * run.pace.part()))
}

/// All workloads from the start of the run to `to`.
pub(super) fn gantt(run: &Outcome, to: Moment) -> Markup {
    let named = run.workloads.len() <= NAMED;
    let classes = classes(run);
    let (lanes, count) = lanes(run, named);
    let pitch = if named { 18.0 } else { (900.0 / count.max(1) as f64).clamp(2.0, 8.0) };
    let top = 8;
    let bottom = top + (pitch * count as f64).ceil() as i64;
    let y = |lane: usize| top as f64 + pitch * lane as f64;
    let place = |at: Moment| x(at.max(run.start).min(to), run.start, to);
    let colour =
        |workload: &WorkloadOutcome| classes.iter().position(|class| *class == workload.class).unwrap_or(0) % COLOURS;
    let title = |workload: &WorkloadOutcome| {
        let waited = workload.waited(run.end);
        format!("{}, {} accelerators, {}, waited {waited}", workload.id, workload.accelerators, workload.watts)
    };
    html! {
        p.legend {
            @for (i, class) in classes.iter().enumerate() {
                span { i style=(format!("background:var(--c{})", i % COLOURS)) {} (class) }
            }
            span { "Thin lines: waiting." }
            @if run.workloads.iter().flat_map(|workload| &workload.runs).any(|run| !run.pace.is_full()) {
                span { "Paler: slowed." }
            }
        }
        svg viewBox=(format!("0 0 {WIDTH} {}", bottom + 22)) role="img" aria-label="When each workload ran" {
            (time_axis(run.start, to, top, bottom))
            @for (workload, lane) in run.workloads.iter().zip(&lanes) {
                @let middle = format!("{:.1}", y(*lane) + pitch / 2.0);
                line.wait x1=(format!("{:.1}", place(workload.arrival)))
                    x2=(format!("{:.1}", place(workload.finished.unwrap_or(run.end)))) y1=(middle) y2=(middle) {}
                @for run in &workload.runs {
                    @let (a, b) = (place(run.from), place(run.to));
                    rect class=(format!("k{}", colour(workload))) x=(format!("{a:.1}")) y=(format!("{:.1}", y(*lane) + pitch * 0.12))
                        width=(format!("{:.1}", (b - a).max(0.6))) height=(format!("{:.1}", pitch * 0.76))
                        fill-opacity=[paler(run)] {
                        title { (title(workload)) }
                    }
                }
                @if named {
                    text.on x=(format!("{:.1}", place(workload.arrival).max(LEFT as f64) + 3.0)) y=(format!("{:.1}", y(*lane) + pitch * 0.68)) { (workload.id) }
                }
            }
        }
    }
}
