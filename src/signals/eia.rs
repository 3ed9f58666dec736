//! The US Energy Information Administration, API v2: hourly generation by fuel of a balancing authority, from which carbon intensity is reckoned.
//!
//! Numbers come as texts. A time is the end of its hour, in UTC. More rows than fit on a page are told by `total`.

use super::json::{Node, parse};
use super::mixed::Mixes;
use super::wrong::ReadError;
use crate::core::signal::{Answer, Fuel, Unit, Zone};
use crate::units::{Moment, Seconds};

/// Reads `electricity/rto/fuel-type-data` of one respondent.
pub(super) fn read(bytes: &[u8]) -> Result<Answer, ReadError> {
    let value = parse(bytes)?;
    let root = Node::root(&value);
    if let Some(error) = root.get("error") {
        let words = error.get("message").unwrap_or(error);
        let code =
            error.get("code").map(|code| code.value().to_string().trim_matches('"').to_owned()).unwrap_or_default();
        return Err(ReadError::provider(&code, words.value().as_str().unwrap_or_default()));
    }
    let response = root.need("response")?;
    let data = response.need("data")?;
    let rows: Vec<Node<'_>> = data.rows()?.collect();
    if let Some(total) = response.get("total") {
        let count = total.number().ok().and_then(|total| total.times(1, 1)).ok_or_else(|| total.is_not("a number"))?;
        if count > rows.len() as i64 {
            return Err(ReadError::Incomplete { rows: rows.len(), total: count.to_string() });
        }
    }
    if rows.is_empty() {
        return Err(ReadError::Nothing);
    }
    let mut zone: Option<String> = None;
    let mut mixes = Mixes::default();
    for row in &rows {
        let respondent = row.need("respondent")?;
        let name = respondent.text()?;
        if zone.get_or_insert_with(|| name.to_owned()) != name {
            return Err(respondent.is_not("the same in all rows"));
        }
        let kind = row.need("fueltype")?;
        let (fuel, number) = fuel(kind.text()?).ok_or_else(|| kind.is_not("a fuel such as NG"))?;
        let end = hour(&row.need("period")?)?;
        mixes.add(end - Seconds::HOUR, Seconds::HOUR, fuel, number, row.need("value")?.number(), Unit::MEGAWATTS);
    }
    let zone = zone.map_or(Zone::Missing, Zone::Said);
    Ok(mixes.answer(zone, "US Energy Information Administration", "public domain", None))
}

fn fuel(code: &str) -> Option<(Fuel, u32)> {
    Some(match code {
        "COL" => (Fuel::Coal, 0),
        "NG" => (Fuel::Gas, 0),
        "OIL" => (Fuel::Oil, 0),
        "NUC" => (Fuel::Nuclear, 0),
        "WAT" => (Fuel::Hydro, 0),
        "SUN" | "SNB" => (Fuel::Solar, u32::from(code == "SNB")),
        "WND" | "WNB" => (Fuel::Wind, u32::from(code == "WNB")),
        "GEO" => (Fuel::Geothermal, 0),
        "BAT" | "PS" | "UES" | "OES" => (Fuel::Storage, code.bytes().map(u32::from).sum()),
        "OTH" | "UNK" => (Fuel::Unknown, u32::from(code == "UNK")),
        _ => return None,
    })
}

/// `2026-04-05T05`.
fn hour(node: &Node<'_>) -> Result<Moment, ReadError> {
    let text = node.text()?;
    let is_hour = text.len() == 13 && text.is_ascii();
    is_hour
        .then(|| format!("{text}:00Z").parse().ok())
        .flatten()
        .ok_or_else(|| node.is_not("an hour such as 2026-04-05T05"))
}
