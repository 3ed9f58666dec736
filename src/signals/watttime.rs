//! WattTime, API v3: `forecast`, the marginal plant in pounds per MWh; and the token that its login gives for half an hour.

use super::json::{Node, parse};
use super::wrong::ReadError;
use crate::core::signal::{Answer, Basis, Factors, Raw, Unit, What, Zone};
use crate::units::Seconds;

/// Reads a forecast.
pub(super) fn read(bytes: &[u8]) -> Result<Answer, ReadError> {
    let value = parse(bytes)?;
    let root = Node::root(&value);
    refusal(&root)?;
    let meta = root.need("meta")?;
    let zone = match meta.get("region") {
        Some(region) => Zone::Said(region.text()?.to_owned()),
        None => Zone::Missing,
    };
    let kind = meta.need("signal_type")?;
    if kind.text()? != "co2_moer" {
        return Err(kind.is_not("co2_moer"));
    }
    let unit = meta.need("units")?;
    let unit = Unit::named(unit.text()?).ok_or_else(|| unit.is_not("a unit such as lbs_co2_per_mwh"))?;
    let period = meta.need("data_point_period_seconds")?;
    let step =
        Some(period.whole()?).filter(|step| (1..=86_400).contains(step)).ok_or_else(|| period.is_not("seconds"))?;
    let issued = meta.get("generated_at").map(|at| at.time()).transpose()?;
    let mut rows = Vec::new();
    for row in root.need("data")?.rows()? {
        let start = row.need("point_time")?.time()?;
        let value = row.need("value")?.number();
        rows.push(Raw { issued, estimated: true, ..Raw::new(start, start + Seconds(step), value) });
    }
    if rows.is_empty() {
        return Err(ReadError::Nothing);
    }
    Ok(Answer {
        zone,
        what: What::CarbonIntensity,
        basis: Basis::Marginal,
        factors: Factors::Direct,
        unit,
        source: "WattTime",
        licence: "WattTime's terms of use",
        rows,
        empty: 0,
    })
}

/// The token in a login's answer.
///
/// # Errors
/// It is no such answer.
pub fn token(bytes: &[u8]) -> Result<String, ReadError> {
    let value = parse(bytes)?;
    let root = Node::root(&value);
    refusal(&root)?;
    let node = root.need("token")?;
    let text = node.text()?;
    // what the token was is nobody's business: an error shows none of it
    let is_plain = !text.is_empty() && text.len() <= 8192 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { Ok(text.to_owned()) } else { Err(ReadError::not_a("token", "plain letters", "something else")) }
}

fn refusal(root: &Node<'_>) -> Result<(), ReadError> {
    match root.get("error") {
        None => Ok(()),
        Some(error) => {
            let words = root.get("message").and_then(|words| words.value().as_str()).unwrap_or_default();
            Err(ReadError::provider(error.value().as_str().unwrap_or_default(), words))
        }
    }
}
