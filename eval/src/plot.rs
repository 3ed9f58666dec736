//! Pictures: lines over time or over anything else, as SVG that needs nothing.

use std::fmt::Write;

/// A line of a picture.
pub struct Line {
    /// What it is called.
    pub name: String,
    /// Its points, by rising `x`.
    pub points: Vec<(f64, f64)>,
    /// Colour, as CSS has it.
    pub colour: &'static str,
    /// Drawn in dashes.
    pub dashed: bool,
}

/// Colours that can be told apart, also by those who see no red or green (Okabe and Ito 2008).
pub const COLOURS: [&str; 8] = ["#0072b2", "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#000000", "#999999"];

const SIZE: (f64, f64) = (1120.0, 460.0);
const PLOT: (f64, f64, f64, f64) = (70.0, 850.0, 50.0, 400.0);

fn round_step(span: f64) -> f64 {
    let rough = (span / 6.0).max(1e-9);
    let power = 10.0_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= rough).unwrap_or(rough)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Draws lines; `y` may be cut below at a value so that they can be told apart.
#[must_use]
pub fn draw(title: &str, x_name: &str, y_name: &str, y_from: f64, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let x_from = all().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let x_to = all().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max).max(x_from + 1e-6);
    let y_to = all().map(|point| point.1).fold(y_from + 1e-6, f64::max)
        + 0.04 * (all().map(|point| point.1).fold(0.0, f64::max) - y_from);
    let (left, right, top, bottom) = PLOT;
    let x = |value: f64| left + (value - x_from) / (x_to - x_from) * (right - left);
    let y = |value: f64| bottom - (value.max(y_from) - y_from) / (y_to - y_from) * (bottom - top);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n\
        <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{left}\" y=\"24\" font-size=\"17\">{}</text>\n",
        SIZE.0,
        SIZE.1,
        escaped(title)
    );
    let ticks = |from: f64, to: f64| {
        let step = round_step(to - from);
        let first = (from / step).ceil() as i64;
        (first..first + 14).map(move |i| i as f64 * step).filter(move |value| *value <= to)
    };
    for value in ticks(y_from, y_to) {
        let _ = writeln!(
            svg,
            "<line x1=\"{left}\" x2=\"{right}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#ddd\"/><text x=\"{1:.0}\" y=\"{2:.1}\" text-anchor=\"end\">{value}</text>",
            y(value),
            left - 8.0,
            y(value) + 4.0
        );
    }
    for value in ticks(x_from, x_to) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{value}</text>",
            x(value),
            bottom + 20.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"{:.0}\">{}</text><text x=\"{right}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>",
        top - 8.0,
        escaped(y_name),
        bottom + 42.0,
        escaped(x_name)
    );
    for (at, line) in lines.iter().enumerate() {
        let points: Vec<String> =
            line.points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        let dash = if line.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        let stroke = format!("fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"{dash}", line.colour);
        let legend = top + 22.0 * at as f64 + 10.0;
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" {stroke}/><line x1=\"870\" x2=\"900\" y1=\"{legend}\" y2=\"{legend}\" {stroke}/><text x=\"908\" y=\"{}\">{}</text>",
            points.join(" "),
            legend + 4.0,
            escaped(&line.name)
        );
    }
    svg += "</svg>\n";
    svg
}
