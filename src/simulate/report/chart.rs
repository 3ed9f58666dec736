//! One panel: values over time, drawn so that no peak is lost.

use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};
use maud::{Markup, PreEscaped, html};
use std::fmt::Write;

/// Width of a picture, in its own units; it scales with the page.
pub(super) const WIDTH: i64 = 1120;
/// Where the plot begins and ends from left to right.
pub(super) const LEFT: i64 = 56;
pub(super) const RIGHT: i64 = WIDTH - 26;
const TOP: i64 = 22;
const BOTTOM: i64 = 150;
const HEIGHT: i64 = 172;

/// A line over time.
pub(super) struct Line {
    pub class: &'static str,
    pub steps: Steps<i64>,
}

/// A filled band from zero to a value over time.
pub(super) struct Band {
    pub class: &'static str,
    pub steps: Steps<i64>,
}

/// A picture of values over one span of time.
pub(super) struct Panel<'a> {
    pub title: &'a str,
    pub unit: &'a str,
    /// Stored units in one of those shown.
    pub scale: f64,
    pub from: Moment,
    pub to: Moment,
    pub bands: Vec<Band>,
    pub lines: Vec<Line>,
}

/// The horizontal place of a moment.
pub(super) fn x(at: Moment, from: Moment, to: Moment) -> f64 {
    let span = (to - from).0.max(1) as f64;
    LEFT as f64 + (at - from).0 as f64 / span * (RIGHT - LEFT) as f64
}

/// Lowest and highest value in each column of pixels: drawing both loses no peak and no dip.
pub(super) fn columns(steps: &Steps<i64>, from: Moment, to: Moment) -> Vec<(i64, i64, i64)> {
    let count = RIGHT - LEFT;
    let span = (to - from).0.max(1);
    (0..count)
        .map(|i| {
            let at = |i: i64| from + Seconds(span.saturating_mul(i) / count);
            let (a, b) = (at(i), at(i + 1).max(at(i) + Seconds(1)));
            (LEFT + i, steps.lowest(a, b), steps.highest(a, b))
        })
        .collect()
}

/// A step for about `count` ticks that people can read: 1, 2 or 5 times a power of ten.
pub(super) fn nice_step(highest: f64, count: f64) -> f64 {
    let rough = (highest / count).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= rough).unwrap_or(10.0 * power)
}

/// Vertical lines with their times, on hours or days that people count in.
pub(super) fn time_axis(from: Moment, to: Moment, top: i64, bottom: i64) -> Markup {
    const STEPS: [i64; 9] = [900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 2 * 86_400, 7 * 86_400, 28 * 86_400];
    let span = (to - from).0;
    let step = Seconds(STEPS.into_iter().find(|step| span / step <= 14).unwrap_or(365 * 86_400));
    let mut at = from.ceil(step);
    let mut ticks = Vec::new();
    while at <= to && ticks.len() < 40 {
        let text = at.to_string();
        // 2022-10-19T16:00:00Z
        let label = match (text.get(5..10), text.get(11..16)) {
            (Some(day), Some("00:00")) => day.to_owned(),
            (_, Some(clock)) if step.0 < 86_400 => clock.to_owned(),
            _ => String::new(),
        };
        ticks.push((x(at, from, to), label));
        at = at + step;
    }
    html! {
        @for (x, label) in &ticks {
            line.grid x1=(format!("{x:.1}")) x2=(format!("{x:.1}")) y1=(top) y2=(bottom) {}
            text x=(format!("{x:.1}")) y=(bottom + 14) text-anchor="middle" { (label) }
        }
    }
}

impl Panel<'_> {
    pub(super) fn draw(&self) -> Markup {
        let all = self.bands.iter().map(|b| &b.steps).chain(self.lines.iter().map(|l| &l.steps));
        let (mut low, mut high) = (0_i64, 1_i64);
        for steps in all {
            low = low.min(steps.lowest(self.from, self.to));
            high = high.max(steps.highest(self.from, self.to));
        }
        let high = high as f64 * 1.06;
        let low = low as f64;
        let y = |value: f64| BOTTOM as f64 - (value - low) / (high - low) * (BOTTOM - TOP) as f64;
        let step = nice_step((high - low) / self.scale, 4.0);
        let first = (low / self.scale / step).ceil() as i64;
        let ticks: Vec<f64> = (first..first + 12).map(|i| i as f64 * step).filter(|v| v * self.scale <= high).collect();
        let digits = usize::from(step < 1.0);
        let band = |steps: &Steps<i64>| {
            let columns = columns(steps, self.from, self.to);
            let mut path = format!("M{LEFT} {:.1}", y(0.0));
            for (x, _, top) in &columns {
                let _ = write!(path, "L{x} {0:.1}L{1} {0:.1}", y(*top as f64), x + 1);
            }
            let _ = write!(path, "L{RIGHT} {:.1}Z", y(0.0));
            path
        };
        let line = |steps: &Steps<i64>| {
            let mut path = String::new();
            for (x, bottom, top) in columns(steps, self.from, self.to) {
                let letter = if path.is_empty() { 'M' } else { 'L' };
                let _ = write!(path, "{letter}{x} {:.1}", y(bottom as f64));
                if top != bottom {
                    let _ = write!(path, "L{x} {:.1}", y(top as f64));
                }
            }
            path
        };
        html! {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) {
                text.title x=(LEFT) y="14" { (self.title) ", " (self.unit) }
                (time_axis(self.from, self.to, TOP, BOTTOM))
                @for tick in &ticks {
                    line.grid x1=(LEFT) x2=(RIGHT) y1=(format!("{:.1}", y(tick * self.scale))) y2=(format!("{:.1}", y(tick * self.scale))) {}
                    text x=(LEFT - 6) y=(format!("{:.1}", y(tick * self.scale) + 4.0)) text-anchor="end" { (format!("{tick:.digits$}")) }
                }
                @for Band { class, steps } in &self.bands { path class=(class) d=(PreEscaped(band(steps))) {} }
                @for Line { class, steps } in &self.lines { path class=(class) d=(PreEscaped(line(steps))) {} }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_of_one_second_in_a_month_is_drawn() {
        let month = Moment(30 * 86_400);
        let mut steps = Steps::constant(5);
        steps.update(Moment(1_000_003), Moment(1_000_004), |_| 99);
        let columns = columns(&steps, Moment(0), month);
        assert_eq!(columns.iter().map(|(_, _, top)| *top).max(), Some(99));
        assert_eq!(columns.iter().filter(|(_, _, top)| *top == 99).count(), 1);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(nice_step(34.0, 4.0), 10.0);
        assert_eq!(nice_step(1.3, 4.0), 0.5);
        assert_eq!(nice_step(700.0, 4.0), 200.0);
    }
}
