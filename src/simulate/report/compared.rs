//! Several policies as one page: what each saves against what its users wait, and a table.

use crate::simulate::compare::{Compared, Comparison};
use crate::simulate::outcome::Outcome;
use crate::simulate::summary::share;
use maud::{Markup, html};

const WIDTH: f64 = 1120.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 170.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = HEIGHT - 44.0;
/// What a label takes from top to bottom: nearer ones are moved apart.
const LABEL: f64 = 14.0;

/// The page. `runs`: what each policy did, in the comparison's order.
#[must_use]
pub fn page(comparison: &Comparison, runs: &[Outcome]) -> String {
    let site = runs.first().and_then(|run| run.domains.first()).map_or("site", |domain| domain.name.as_str());
    let to = super::shown_until(runs);
    super::page(
        &format!("policies on {site}"),
        &html! {
            header {
                h1 { "Policies on " (site) }
                p { "The same work under the same caps, each policy for itself. Saved is against running everything as soon as there is room." }
            }
            h2 { "What is saved, against what is waited" }
            p.note { "Higher and further left is better. The line joins those that no other is better than in both." }
            (pareto(comparison))
            h2 { "Figures" }
            (table(comparison))
            p.note {
                "Of the bound: what is saved of what any policy could save that keeps all deadlines and knows no cap. "
                "No policy reaches it under a cap that binds."
                @if comparison.has_generation() {
                    " Matched: of what is used, what is generated on the site in the same hour. Own use: the same, of what is generated."
                }
            }
            h2 { "Draw against the cap" }
            p.note { "Of " (site) ", each policy for itself. Red: the cap." }
            @for run in runs {
                h3 { (run.policy) }
                (super::draw_chart(run, None, 0, to))
            }
        },
    )
}

/// Carbon saved over the mean wait.
fn pareto(comparison: &Comparison) -> Markup {
    let shown: Vec<(&Compared, f64, f64)> = comparison
        .results
        .iter()
        .filter_map(|one| Some((one, one.summary.mean_wait_hours, one.carbon_saved_percent?)))
        .collect();
    let base = shown.iter().find(|(.., saved)| *saved < 100.0);
    let most = comparison.bound.as_ref().zip(base).map(|(bound, (one, _, saved))| {
        let at_once = one.summary.carbon_kg / (1.0 - saved / 100.0);
        100.0 * (1.0 - bound.carbon_kg / at_once)
    });
    let highest = |values: &dyn Fn(&(&Compared, f64, f64)) -> f64| shown.iter().map(values).fold(0.0, f64::max);
    let longest = (highest(&|(_, wait, _)| *wait) * 1.08).max(1.0);
    let top = (highest(&|(.., saved)| *saved).max(most.unwrap_or(0.0)) * 1.08).max(1.0);
    let lowest = shown.iter().map(|(.., saved)| *saved).fold(0.0, f64::min) * 1.08;
    let x = |wait: f64| LEFT + wait / longest * (RIGHT - LEFT);
    let y = |saved: f64| BOTTOM - (saved - lowest) / (top - lowest) * (BOTTOM - TOP);
    let ticks = |from: f64, to: f64| -> Vec<f64> {
        let step = super::chart::nice_step(to - from, 6.0);
        let first = (from / step).ceil() as i64;
        (first..first + 16).map(|i| i as f64 * step).filter(|value| *value <= to).collect()
    };
    let front: Vec<String> = comparison
        .front()
        .into_iter()
        .filter_map(|one| Some(format!("{:.1},{:.1}", x(one.summary.mean_wait_hours), y(one.carbon_saved_percent?))))
        .collect();
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label="carbon saved over mean wait" {
            text.title x=(LEFT) y="14" { "Carbon saved, %" }
            @for value in ticks(lowest, top) {
                line.grid x1=(LEFT) x2=(RIGHT) y1=(format!("{:.1}", y(value))) y2=(format!("{:.1}", y(value))) {}
                text x=(LEFT - 8.0) y=(format!("{:.1}", y(value) + 4.0)) text-anchor="end" { (short(value)) }
            }
            @for value in ticks(0.0, longest) {
                line.grid x1=(format!("{:.1}", x(value))) x2=(format!("{:.1}", x(value))) y1=(TOP) y2=(BOTTOM) {}
                text x=(format!("{:.1}", x(value))) y=(BOTTOM + 16.0) text-anchor="middle" { (short(value)) }
            }
            text.title x=(RIGHT) y=(BOTTOM + 34.0) text-anchor="end" { "Mean wait, h" }
            @if let Some(most) = most {
                line.cap x1=(LEFT) x2=(RIGHT) y1=(format!("{:.1}", y(most))) y2=(format!("{:.1}", y(most))) {}
                text x=(RIGHT + 6.0) y=(format!("{:.1}", y(most) + 4.0)) { (format!("bound {most:.1} %")) }
            }
            polyline.base points=(front.join(" ")) {}
            @for (one, at, label) in labelled(&shown, &x, &y) {
                circle.k0 cx=(format!("{:.1}", at.0)) cy=(format!("{:.1}", at.1)) r="5" {}
                text.on x=(format!("{:.1}", at.0 + 9.0)) y=(format!("{label:.1}")) { (one.summary.policy) }
            }
        }
    }
}

fn short(value: f64) -> String {
    if value.fract().abs() < 1e-9 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Each point, where it is, and the height of its label: labels that would cover each other are moved apart, from above down.
fn labelled<'a>(
    shown: &[(&'a Compared, f64, f64)],
    x: &dyn Fn(f64) -> f64,
    y: &dyn Fn(f64) -> f64,
) -> Vec<(&'a Compared, (f64, f64), f64)> {
    let mut points: Vec<(&Compared, (f64, f64), f64)> =
        shown.iter().map(|(one, wait, saved)| (*one, (x(*wait), y(*saved)), y(*saved) + 4.0)).collect();
    points.sort_by(|a, b| a.2.total_cmp(&b.2));
    for i in 0..points.len() {
        let near = |other: &(&Compared, (f64, f64), f64)| (other.1.0 - points[i].1.0).abs() < 110.0;
        let above = points[..i].iter().filter(|other| near(other)).map(|other| other.2).fold(f64::MIN, f64::max);
        points[i].2 = points[i].2.max(above + LABEL);
    }
    // and what would lie below the picture is moved up again
    for i in (0..points.len()).rev() {
        let near = |other: &(&Compared, (f64, f64), f64)| (other.1.0 - points[i].1.0).abs() < 110.0;
        let below = points[i + 1..].iter().filter(|other| near(other)).map(|other| other.2).fold(f64::MAX, f64::min);
        points[i].2 = points[i].2.min(below - LABEL).min(BOTTOM - 4.0);
    }
    points
}

fn table(comparison: &Comparison) -> Markup {
    let (is_priced, changes_limits) = (comparison.is_priced(), comparison.changes_limits());
    let has_generation = comparison.has_generation();
    let percent = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
    html! {
        table {
            tr {
                th { "policy" } th { "carbon, kg" } th { "saved, %" } th { "of the bound, %" } th { "energy, kWh" }
                @if has_generation { th { "matched, %" } th { "own use, %" } }
                @if is_priced { th { "cost" } }
                th { "mean wait, h" } th { "95 %, h" } th { "late" } th { "work, %" } th { "stops" }
                @if changes_limits { th { "limit changes" } }
                th { "peak, kW" } th { "s over a cap" }
            }
            @for one in &comparison.results {
                @let figures = &one.summary;
                tr {
                    td { (figures.policy) } td { (format!("{:.1}", figures.carbon_kg)) } td { (percent(one.carbon_saved_percent)) }
                    td { (percent(one.share_of_optimum.map(|share| 100.0 * share))) } td { (format!("{:.1}", figures.energy_kwh)) }
                    @if has_generation { td { (share(figures.matched_percent, "–")) } td { (share(figures.own_use_percent, "–")) } }
                    @if is_priced { td { (format!("{:.2}", figures.cost)) } }
                    td { (format!("{:.2}", figures.mean_wait_hours)) } td { (format!("{:.2}", figures.p95_wait_hours)) }
                    td { (figures.deadline_misses) } td { (format!("{:.1}", figures.work_percent)) } td { (figures.suspensions) }
                    @if changes_limits { td { (figures.limit_changes) } }
                    td { (format!("{:.1}", figures.peak_watts as f64 / 1000.0)) } td { (figures.seconds_over_cap) }
                }
            }
            @if let Some(bound) = &comparison.bound {
                tr {
                    td { "bound without caps" } td { (format!("{:.1}", bound.carbon_kg)) } td {} td {} td {}
                    @if has_generation { td {} td {} }
                    @if is_priced { td { (format!("{:.2}", bound.cost)) } }
                    td {} td {} td {} td {} td {}
                    @if changes_limits { td {} }
                    td {} td {}
                }
            }
        }
    }
}
