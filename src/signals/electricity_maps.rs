//! Electricity Maps, API v3: `carbon-intensity/latest`, `history` and `forecast`.
//!
//! Without `zone` the server answers for where it takes the caller to be, so an answer must name its zone.

use super::json::{Node, parse};
use super::wrong::ReadError;
use crate::core::signal::{Answer, Basis, Factors, Raw, Unit, What, Zone};
use crate::units::Seconds;

/// Reads an answer of any of the three.
pub(super) fn read(bytes: &[u8]) -> Result<Answer, ReadError> {
    let value = parse(bytes)?;
    let root = Node::root(&value);
    refusal(&root)?;
    let zone = match root.get("zone") {
        Some(zone) => Zone::Said(zone.text()?.to_owned()),
        None => Zone::Missing,
    };
    let issued = root.get("updatedAt").map(|at| at.time()).transpose()?;
    let list = ["history", "forecast", "data"].into_iter().find_map(|name| root.get(name));
    let nodes: Vec<Node<'_>> = match &list {
        Some(list) => list.rows()?.collect(),
        None => vec![root],
    };
    let is_forecast = root.get("forecast").is_some();
    let long = granularity(&root)?;
    let mut factors = None;
    let (mut rows, mut empty) = (Vec::with_capacity(nodes.len()), 0);
    for node in &nodes {
        let said = match node.get("emissionFactorType") {
            // what its documentation says is meant where nothing is said
            None => Factors::Lifecycle,
            Some(kind) => match kind.text()? {
                "lifecycle" => Factors::Lifecycle,
                "direct" => Factors::Direct,
                _ => return Err(kind.is_not("lifecycle or direct")),
            },
        };
        if *factors.get_or_insert(said) != said {
            return Err(ReadError::not_a("emissionFactorType", "the same in all rows", "lifecycle and direct"));
        }
        let start = node.need("datetime")?.time()?;
        let Some(value) = node.get("carbonIntensity") else {
            empty += 1;
            continue;
        };
        let is_estimated = node.get("isEstimated").is_some_and(|said| said.value() == true);
        rows.push(Raw {
            zone: node.get("zone").map(|zone| zone.text()).transpose()?.map(str::to_owned),
            issued: node.get("updatedAt").map(|at| at.time()).transpose()?.or(issued),
            estimated: is_forecast || is_estimated,
            ..Raw::new(start, start + long, value.number())
        });
    }
    if rows.is_empty() && empty == 0 {
        return Err(ReadError::Nothing);
    }
    Ok(Answer {
        zone,
        what: What::CarbonIntensity,
        basis: Basis::LocationAverage,
        factors: factors.unwrap_or(Factors::Lifecycle),
        unit: Unit::GRAMS_PER_KWH,
        source: "Electricity Maps",
        licence: "Electricity Maps' terms of use",
        rows,
        empty,
    })
}

fn refusal(root: &Node<'_>) -> Result<(), ReadError> {
    for name in ["error", "message"] {
        if let Some(error) = root.get(name) {
            let words = error.value().as_str().map_or_else(|| error.value().to_string(), str::to_owned);
            return Err(ReadError::provider("", &words));
        }
    }
    Ok(())
}

/// How long a value holds: an hour, unless the answer says otherwise.
fn granularity(root: &Node<'_>) -> Result<Seconds, ReadError> {
    let Some(said) = root.get("temporalGranularity") else { return Ok(Seconds::HOUR) };
    match said.text()? {
        "5_minutes" => Ok(Seconds(300)),
        "15_minutes" => Ok(Seconds(900)),
        "hourly" => Ok(Seconds::HOUR),
        "daily" => Ok(Seconds::DAY),
        _ => Err(said.is_not("5_minutes, 15_minutes, hourly or daily")),
    }
}
