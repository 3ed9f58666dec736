//! The Carbon Intensity API of Great Britain: national half-hours, and its regions.
//!
//! What was comes as `actual`, what comes as `forecast`; an hour that is over has both. Regions have forecasts only.

use super::json::{Node, parse};
use super::wrong::ReadError;
use crate::core::signal::{Answer, Basis, Factors, Raw, Unit, What, Zone};

/// Reads an answer: national or of one region, which is zone `GB-` and its number.
pub(super) fn read(bytes: &[u8]) -> Result<Answer, ReadError> {
    let value = parse(bytes)?;
    let root = Node::root(&value);
    if let Some(error) = root.get("error") {
        let word = |name| error.get(name).and_then(|word| word.value().as_str()).unwrap_or_default();
        return Err(ReadError::provider(word("code"), word("message")));
    }
    let data = root.need("data")?;
    let mut rows = Vec::new();
    let mut empty = 0;
    // a region comes alone, or as a list of one
    let places: Vec<Node<'_>> = if data.value().is_array() { data.rows()?.collect() } else { vec![data] };
    let zone = match places.iter().find(|place| place.get("data").is_some()) {
        None => {
            for row in &places {
                half_hour(row, &mut rows, &mut empty)?;
            }
            Zone::Only("GB")
        }
        Some(place) => {
            if places.len() > 1 {
                return Err(data.is_not("one region"));
            }
            for row in place.need("data")?.rows()? {
                half_hour(&row, &mut rows, &mut empty)?;
            }
            match place.get("regionid") {
                Some(id) => Zone::Said(format!("GB-{}", id.whole()?)),
                None => Zone::Missing,
            }
        }
    };
    if rows.is_empty() && empty == 0 {
        return Err(ReadError::Nothing);
    }
    Ok(Answer {
        zone,
        what: What::CarbonIntensity,
        basis: Basis::LocationAverage,
        factors: Factors::Direct,
        unit: Unit::GRAMS_PER_KWH,
        source: "National Energy System Operator, Carbon Intensity API",
        licence: "CC BY 4.0",
        rows,
        empty,
    })
}

fn half_hour(row: &Node<'_>, rows: &mut Vec<Raw>, empty: &mut usize) -> Result<(), ReadError> {
    let (from, to) = (row.need("from")?.time()?, row.need("to")?.time()?);
    let intensity = row.need("intensity")?;
    let (actual, forecast) = (intensity.get("actual"), intensity.get("forecast"));
    match (actual, forecast) {
        (Some(actual), _) => rows.push(Raw::new(from, to, actual.number())),
        (None, Some(forecast)) => rows.push(Raw { estimated: true, ..Raw::new(from, to, forecast.number()) }),
        (None, None) => *empty += 1,
    }
    Ok(())
}
