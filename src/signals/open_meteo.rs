//! Open-Meteo's forecast of sunlight, as what a roof makes of it.
//!
//! Radiation of a time is the mean over the hour before it. The answer names the place that it is of, the middle of a cell of its model.

use super::json::{Node, parse};
use super::wrong::ReadError;
use crate::core::signal::{Answer, BadNumber, Basis, Decimal, Factors, Panels, Raw, Unit, What, Zone};
use crate::units::{Moment, Seconds};

/// What was asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenMeteo {
    /// Latitude in thousandths of a degree.
    pub latitude: i64,
    /// Longitude in thousandths of a degree.
    pub longitude: i64,
    /// The panels there.
    pub panels: Panels,
}

/// How far a cell's middle may be from the place, in thousandths of a degree: the coarsest of its models has cells of 0.4°.
const NEAR: i64 = 500;

/// Reads an hourly forecast. In the plane of the panels (`global_tilted_irradiance`) where it has that, else on the level.
pub(super) fn read(bytes: &[u8], asked: &OpenMeteo) -> Result<Answer, ReadError> {
    let value = parse(bytes)?;
    let root = Node::root(&value);
    if root.get("error").is_some_and(|error| error.value() == true) {
        let reason = root.get("reason").and_then(|reason| reason.value().as_str()).unwrap_or_default();
        return Err(ReadError::provider("", reason));
    }
    let place = |name| -> Result<i64, ReadError> {
        let node = root.need(name)?;
        node.number().ok().and_then(|degrees| degrees.times(1000, 1)).ok_or_else(|| node.is_not("degrees"))
    };
    let (latitude, longitude) = (place("latitude")?, place("longitude")?);
    // the globe is round
    let across = (longitude - asked.longitude).rem_euclid(360_000);
    let is_there = (latitude - asked.latitude).abs() <= NEAR && across.min(360_000 - across) <= NEAR;
    let zone =
        if is_there { Zone::Asked } else { Zone::Said(format!("{latitude}, {longitude} (thousandths of a degree)")) };

    let offset = root.need("utc_offset_seconds")?.whole()?;
    let (units, hourly) = (root.need("hourly_units")?, root.need("hourly")?);
    let sun = ["global_tilted_irradiance", "shortwave_radiation"].into_iter().find(|name| hourly.get(name).is_some());
    let sun = sun.ok_or_else(|| ReadError::Missing { at: "hourly.shortwave_radiation".to_owned() })?;
    let unit = units.need(sun)?;
    let unit = Unit::named(unit.text()?)
        .filter(|unit| unit.dimension == crate::core::signal::Dimension::Irradiance)
        .ok_or_else(|| unit.is_not("W/m²"))?;
    let list = |name| -> Result<Vec<Node<'_>>, ReadError> { Ok(Vec::from_iter(rows(&hourly, name)?)) };
    let (times, irradiance) = (list("time")?, list(sun)?);
    let air = if hourly.get("temperature_2m").is_some() { Some(list("temperature_2m")?) } else { None };
    if irradiance.len() != times.len() || air.as_ref().is_some_and(|air| air.len() != times.len()) {
        return Err(ReadError::not_a(
            "hourly",
            "lists of one length",
            &format!("{} times, {} values", times.len(), irradiance.len()),
        ));
    }
    let (mut rows, mut empty) = (Vec::with_capacity(times.len()), 0);
    for (i, (at, sun)) in times.iter().zip(&irradiance).enumerate() {
        if sun.value().is_null() {
            empty += 1;
            continue;
        }
        let end = local(at, offset)?;
        let celsius = air.as_ref().and_then(|air| air.get(i)?.number().ok()?.times(1000, 1));
        let watts = sun.number().and_then(|number| {
            let milliwatts = unit.base(number).filter(|value| (-1_000..=1_500_000).contains(value));
            let milliwatts = milliwatts.ok_or_else(|| BadNumber(format!("{number} W/m²")))?;
            Ok(Decimal::whole(asked.panels.output(milliwatts, celsius).0))
        });
        rows.push(Raw { estimated: true, ..Raw::new(end - Seconds::HOUR, end, watts) });
    }
    if rows.is_empty() && empty == 0 {
        return Err(ReadError::Nothing);
    }
    Ok(Answer {
        zone,
        what: What::Generation,
        basis: Basis::LocationAverage,
        factors: Factors::Unsaid,
        unit: Unit::WATTS,
        source: "Open-Meteo",
        licence: "CC BY 4.0",
        rows,
        empty,
    })
}

fn rows<'a>(hourly: &'a Node<'a>, name: &'a str) -> Result<Vec<Node<'a>>, ReadError> {
    // the list's own node does not outlive this function: its rows stand on the table
    let list = hourly.need(name)?;
    let length = list.rows()?.count();
    let pointers = hourly.value().get(name).and_then(serde_json::Value::as_array);
    Ok(pointers.into_iter().flatten().take(length).map(Node::root).collect())
}

/// A local time without its offset, which the answer gives once for all.
fn local(node: &Node<'_>, offset: i64) -> Result<Moment, ReadError> {
    let bad = || node.is_not("a time such as 2026-05-08T11:00");
    let as_utc: Moment = format!("{}Z", node.text()?).parse().map_err(|_| bad())?;
    if offset.abs() > 86_400 { Err(bad()) } else { Ok(as_utc - Seconds(offset)) }
}
