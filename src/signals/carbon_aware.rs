//! The Carbon Aware SDK's web API: `emissions/forecasts/current`, and the average of a span of time.
//!
//! It stands before another source and does not say which: whether a figure is average or marginal is told by who set it up.

use super::json::{Node, parse};
use super::wrong::ReadError;
use crate::core::signal::{Answer, Basis, Factors, Raw, Unit, What, Zone};
use crate::units::Seconds;

/// Reads a forecast of one location, or one average.
pub(super) fn read(bytes: &[u8], basis: Basis) -> Result<Answer, ReadError> {
    let value = parse(bytes)?;
    let root = Node::root(&value);
    if let Some(title) = root.get("title") {
        let word = |name| root.get(name).and_then(|word| word.value().as_str()).unwrap_or_default();
        return Err(ReadError::provider(title.value().as_str().unwrap_or_default(), word("detail")));
    }
    let forecasts: Vec<Node<'_>> = if root.value().is_array() { root.rows()?.collect() } else { vec![root] };
    let one = match forecasts.as_slice() {
        [] => return Err(ReadError::Nothing),
        [one] => one,
        _ => return Err(root.is_not("one location")),
    };
    let zone = match one.get("location") {
        Some(location) => Zone::Said(location.text()?.to_owned()),
        None => Zone::Missing,
    };
    let mut rows = Vec::new();
    if let Some(data) = one.get("forecastData") {
        let issued = one.get("generatedAt").map(|at| at.time()).transpose()?;
        for row in data.rows()? {
            let start = row.need("timestamp")?.time()?;
            let duration = row.need("duration")?;
            let minutes = Some(duration.whole()?).filter(|minutes| (1..=44_640).contains(minutes));
            let minutes = minutes.ok_or_else(|| duration.is_not("minutes"))?;
            let value = row.need("value")?.number();
            rows.push(Raw { issued, estimated: true, ..Raw::new(start, start + Seconds(60 * minutes), value) });
        }
    } else {
        let (start, end) = (one.need("startTime")?.time()?, one.need("endTime")?.time()?);
        rows.push(Raw::new(start, end, one.need("carbonIntensity")?.number()));
    }
    if rows.is_empty() {
        return Err(ReadError::Nothing);
    }
    Ok(Answer {
        zone,
        what: What::CarbonIntensity,
        basis,
        factors: Factors::Unsaid,
        unit: Unit::GRAMS_PER_KWH,
        source: "Carbon Aware SDK",
        licence: "that of its own source",
        rows,
        empty: 0,
    })
}
