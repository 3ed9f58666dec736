//! CSV files of signals, in the shapes that their sources publish.

use super::Series;
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};
use serde::{Deserialize, Serialize};

/// The largest file that is read. A year of 5-minute values is 10 MB.
pub const MAX_BYTES: usize = 64 << 20;

/// The shape of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Electricity Maps' hourly export: carbon intensity in gCO2eq/kWh; column `lca` (default) or `direct`.
    ElectricityMapsCsv,
    /// Hourly prices per MWh in `Price (USD/MWh)`, times in `Datetime (UTC)`.
    PriceCsv,
    /// Output of solar panels: either seconds and a column for each place, as a fraction of rated power;
    /// or `ghi_model_Wm2` by local time in Korea, 1,000 W/m² being rated power.
    SolarCsv,
}

/// What is wrong with a signal's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {}{what}", column.as_ref().map(|name| format!("column `{name}`: ")).unwrap_or_default())]
pub struct SignalError {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: u64,
    /// The column, where it is about one.
    pub column: Option<String>,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// How a format's columns are found and read.
struct Layout {
    time: &'static str,
    value: String,
    /// Stored units in one of the file's.
    scale: f64,
    /// The highest value that can be meant; above it the unit is wrong.
    highest: f64,
    lowest: f64,
    unit: &'static str,
}

impl Format {
    fn layout(self, column: Option<&str>, headers: &[&str]) -> Result<Layout, String> {
        Ok(match self {
            Self::ElectricityMapsCsv => {
                let value = match column.unwrap_or("lca") {
                    "lca" => "Carbon Intensity gCO₂eq/kWh (LCA)",
                    "direct" => "Carbon Intensity gCO₂eq/kWh (direct)",
                    other => return Err(format!("`{other}` is not a column of this format: use lca or direct")),
                };
                carbon("Datetime (UTC)", value)
            }
            Self::PriceCsv => Layout {
                time: "Datetime (UTC)",
                value: column.unwrap_or("Price (USD/MWh)").to_owned(),
                scale: 1e6,
                // the cap of European day-ahead markets is 4,000 to 5,000; a thousand times as much is another unit
                highest: 100_000.0,
                lowest: -100_000.0,
                unit: "per MWh",
            },
            Self::SolarCsv if headers.contains(&"ghi_model_Wm2") => Layout {
                time: "local_time_KST",
                value: column.unwrap_or("ghi_model_Wm2").to_owned(),
                scale: 1e3,
                highest: 1_500.0,
                lowest: 0.0,
                unit: "W/m²",
            },
            Self::SolarCsv => Layout {
                time: "time",
                value: column.ok_or("name the place: `column: Berlin`")?.to_owned(),
                scale: 1e6,
                highest: 1.5,
                lowest: 0.0,
                unit: "of rated power",
            },
        })
    }
}

fn carbon(time: &'static str, value: &str) -> Layout {
    // the dirtiest grid there is stays below 1,500 g/kWh
    Layout { time, value: value.to_owned(), scale: 1e3, highest: 5_000.0, lowest: 0.0, unit: "gCO2e/kWh" }
}

/// Reads a series.
///
/// # Errors
/// The first thing that is wrong: a missing column, a value that is no number or can't be meant, a time that is not
/// one, goes back, is there twice, or leaves a gap.
pub fn read(text: &str, file: &str, format: Format, column: Option<&str>) -> Result<Series, SignalError> {
    let at = |line: u64, column: Option<&str>, what: String| SignalError {
        file: file.to_owned(),
        line,
        column: column.map(str::to_owned),
        what,
    };
    if text.len() > MAX_BYTES {
        return Err(at(1, None, format!("the file has {} MiB; at most 64 are read", text.len() >> 20)));
    }
    let mut reader = csv::ReaderBuilder::new().from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let headers = reader.headers().map_err(|e| at(1, None, e.to_string()))?.clone();
    let names: Vec<&str> = headers.iter().collect();
    let layout = format.layout(column, &names).map_err(|what| at(1, column, what))?;
    let find = |name: &str| {
        names.iter().position(|header| *header == name).ok_or_else(|| {
            let there = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            at(1, Some(name), format!("is not there; the file has {there}"))
        })
    };
    let (time_column, value_column) = (find(layout.time)?, find(&layout.value)?);
    let estimated_column = names.iter().position(|header| *header == "Data Estimated");
    let mut rows: Vec<(Moment, i64)> = Vec::new();
    let mut estimated = 0;
    let mut step: Option<Seconds> = None;
    for record in reader.records() {
        let record = record.map_err(|e| {
            at(e.position().map_or(0, csv::Position::line), None, format!("is not a row of the table: {e}"))
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |index: usize| record.get(index).unwrap_or("").trim();
        let moment = time(field(time_column), format).map_err(|what| at(line, Some(layout.time), what))?;
        let value = number(field(value_column), &layout).map_err(|what| at(line, Some(&layout.value), what))?;
        if let Some((last, _)) = rows.last() {
            let between = moment - *last;
            let wrong = match step {
                _ if between == Seconds::ZERO => Some(format!("{moment} is there twice")),
                _ if between < Seconds::ZERO => Some(format!("{moment} comes after {last}: the rows are not in order")),
                Some(step) if between > step => Some(format!("a gap: nothing between {last} and {moment}")),
                Some(step) if between < step => {
                    Some(format!("{moment} comes {between} after the last row, the others {step}"))
                }
                _ => None,
            };
            if let Some(what) = wrong {
                return Err(at(line, Some(layout.time), what));
            }
            step = Some(between);
        }
        estimated += usize::from(estimated_column.is_some_and(|index| field(index).eq_ignore_ascii_case("true")));
        rows.push((moment, value));
    }
    let (Some((from, first)), Some((last, _))) = (rows.first().copied(), rows.last().copied()) else {
        return Err(at(2, None, "the file has no rows".to_owned()));
    };
    let step = step.unwrap_or(Seconds::HOUR);
    let count = rows.len();
    Ok(Series { steps: Steps::new(first, rows), from, until: last + step, step, rows: count, estimated })
}

fn time(text: &str, format: Format) -> Result<Moment, String> {
    // the year is in the range in which a signal can be meant: a sample of 2106 is a unit error or an attack
    const FIRST: i64 = 946_684_800;
    const LAST: i64 = 4_260_211_200;
    if let (Format::SolarCsv, Ok(seconds)) = (format, text.parse::<i64>()) {
        return Ok(Moment(seconds));
    }
    let mut iso = text.replacen(' ', "T", 1);
    let has_zone = iso.ends_with('Z') || iso.get(11..).is_some_and(|clock| clock.contains(['+', '-']));
    if !has_zone {
        iso.push_str(if format == Format::SolarCsv { "+09:00" } else { "Z" });
    }
    let timestamp: jiff::Timestamp =
        iso.parse().map_err(|_| format!("`{text}` is not a time such as 2022-01-01 00:00:00"))?;
    let moment = Moment::from(timestamp);
    if (FIRST..LAST).contains(&moment.0) { Ok(moment) } else { Err(format!("{moment} is not between 2000 and 2105")) }
}

fn number(text: &str, layout: &Layout) -> Result<i64, String> {
    if text.is_empty() {
        return Err("the value is missing".to_owned());
    }
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if !value.is_finite() {
        return Err(format!("`{text}` is not a number that can be used"));
    }
    let (lowest, highest, unit) = (layout.lowest, layout.highest, layout.unit);
    if value < lowest {
        return Err(format!("{value} {unit} is below {lowest}: it can't be meant"));
    }
    if value > highest {
        return Err(format!("{value} {unit} is above {highest}: another unit must be meant"));
    }
    // at most 1e5 × 1e6: far inside both types
    Ok((value * layout.scale).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carbon_csv(rows: &[(&str, &str)]) -> String {
        let head =
            "Datetime (UTC),Carbon Intensity gCO₂eq/kWh (direct),Carbon Intensity gCO₂eq/kWh (LCA),Data Estimated";
        let rows = rows.iter().map(|(time, value)| format!("\n{time},1,{value},true"));
        std::iter::once(head.to_owned()).chain(rows).collect()
    }

    fn error(rows: &[(&str, &str)]) -> String {
        read(&carbon_csv(rows), "c.csv", Format::ElectricityMapsCsv, None).unwrap_err().to_string()
    }

    #[test]
    fn an_hourly_export_is_read_to_the_milligram() {
        let text = carbon_csv(&[("2022-01-01 00:00:00", "425.2"), ("2022-01-01 01:00:00", "419.01")]);
        let series = read(&text, "c.csv", Format::ElectricityMapsCsv, None).unwrap();
        let midnight: Moment = "2022-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(series.steps.at(midnight), 425_200);
        assert_eq!(series.steps.at(midnight + Seconds(3600)), 419_010);
        assert_eq!((series.from, series.until), (midnight, midnight + Seconds(7200)));
        assert_eq!((series.rows, series.estimated), (2, 2));
    }

    #[test]
    fn each_mistake_has_its_line_and_column() {
        let t = ["2022-01-01 00:00:00", "2022-01-01 01:00:00", "2022-01-01 02:00:00", "2022-01-01 04:00:00"];
        let lca = "c.csv:3: column `Carbon Intensity gCO₂eq/kWh (LCA)`: ";
        let time = "column `Datetime (UTC)`: ";
        for (rows, expected) in [
            (vec![(t[0], "1"), (t[1], "NaN")], format!("{lca}`NaN` is not a number that can be used")),
            (vec![(t[0], "1"), (t[1], "inf")], format!("{lca}`inf` is not a number that can be used")),
            (vec![(t[0], "1"), (t[1], "")], format!("{lca}the value is missing")),
            (vec![(t[0], "1"), (t[1], "x")], format!("{lca}`x` is not a number")),
            (vec![(t[0], "1"), (t[1], "-4")], format!("{lca}-4 gCO2e/kWh is below 0: it can't be meant")),
            (
                vec![(t[0], "1"), (t[1], "425200")],
                format!("{lca}425200 gCO2e/kWh is above 5000: another unit must be meant"),
            ),
            (
                vec![(t[0], "1"), (t[1], "1"), (t[3], "1")],
                format!("c.csv:4: {time}a gap: nothing between 2022-01-01T01:00:00Z and 2022-01-01T04:00:00Z"),
            ),
            (
                vec![(t[1], "1"), (t[0], "1")],
                format!(
                    "c.csv:3: {time}2022-01-01T00:00:00Z comes after 2022-01-01T01:00:00Z: the rows are not in order"
                ),
            ),
            (vec![(t[0], "1"), (t[0], "1")], format!("c.csv:3: {time}2022-01-01T00:00:00Z is there twice")),
            (
                vec![("2106-02-07 06:28:15", "1")],
                format!("c.csv:2: {time}2106-02-07T06:28:15Z is not between 2000 and 2105"),
            ),
            (vec![("yesterday", "1")], format!("c.csv:2: {time}`yesterday` is not a time such as 2022-01-01 00:00:00")),
            (vec![], "c.csv:2: the file has no rows".to_owned()),
        ] {
            assert_eq!(error(&rows), expected);
        }
    }

    #[test]
    fn a_missing_column_is_told_with_those_that_are_there() {
        let error = read("a,b\n1,2\n", "p.csv", Format::PriceCsv, None).unwrap_err().to_string();
        assert_eq!(error, "p.csv:1: column `Datetime (UTC)`: is not there; the file has a, b");
    }

    #[test]
    fn prices_below_zero_are_real() {
        let text = "Datetime (UTC),Price (USD/MWh)\n2022-01-01 00:00:00+00:00,-59.70740000000001\n";
        let series = read(text, "p.csv", Format::PriceCsv, None).unwrap();
        assert_eq!(series.steps.at(series.from), -59_707_400);
    }
}
