//! Energy-Charts of Fraunhofer ISE: day-ahead prices, as version 2 of its API has them (rows with a value for each series) and as the first has
//! them (two lists side by side).
//!
//! The answer does not name the zone, and the server takes DE-LU where none is asked for: our question always has one.

use super::json::{Node, parse};
use super::pointers::time;
use super::wrong::ReadError;
use crate::core::signal::{Answer, Basis, Dimension, Factors, Raw, Unit, What, Zone};
use crate::units::{Moment, Seconds};

/// How long a price holds where nothing follows it, and the longest: markets have quarters of an hour and hours.
const SHORTEST: Seconds = Seconds(900);

/// Reads prices.
pub(super) fn read(bytes: &[u8]) -> Result<Answer, ReadError> {
    let value = parse(bytes)?;
    let root = Node::root(&value);
    for name in ["error", "detail", "message"] {
        if let Some(error) = root.get(name) {
            let words = error.value().as_str().map_or_else(|| error.value().to_string(), str::to_owned);
            return Err(ReadError::provider("", &words));
        }
    }
    let unit = root.need("unit")?;
    // `EUR / MWh`
    let named = Unit::named(&unit.text()?.replace(' ', "")).filter(|unit| unit.dimension == Dimension::Price);
    let unit = named.ok_or_else(|| unit.is_not("a price such as EUR / MWh"))?;
    let (mut values, mut empty) = (Vec::new(), 0);
    if let Some(data) = root.get("data") {
        let series = root.need("series")?;
        let mut all = series.rows()?;
        let (Some(only), None) = (all.next(), all.next()) else { return Err(series.is_not("a list of one series")) };
        let id = only.need("id")?;
        let id = id.value().as_str().map_or_else(|| id.value().to_string(), str::to_owned);
        for row in data.rows()? {
            let start = time(&row.need("timestamp")?)?;
            match row.need("values")?.value().get(&id).filter(|price| !price.is_null()) {
                Some(price) => values.push((start, Node::root(price).number())),
                None => empty += 1,
            }
        }
    } else {
        let (times, prices) = (root.need("unix_seconds")?, root.need("price")?);
        let (count, found) = (times.rows()?.count(), prices.rows()?.count());
        if count != found {
            return Err(ReadError::not_a("price", "as many as unix_seconds", &format!("{found} of {count}")));
        }
        for (at, price) in times.rows()?.zip(prices.rows()?) {
            let start = time(&at)?;
            if price.value().is_null() {
                empty += 1;
            } else {
                values.push((start, price.number()));
            }
        }
    }
    if values.is_empty() && empty == 0 {
        return Err(ReadError::Nothing);
    }
    let starts: Vec<Moment> = values.iter().map(|(start, _)| *start).collect();
    let between = |i: usize| Some(*starts.get(i + 1)? - *starts.get(i)?).filter(|long| *long > Seconds::ZERO);
    let step = (0..starts.len()).filter_map(between).min().unwrap_or(SHORTEST).clamp(SHORTEST, Seconds::HOUR);
    let row = |(start, price)| Raw::new(start, start + step, price);
    Ok(Answer {
        zone: Zone::Asked,
        what: What::Price,
        basis: Basis::LocationAverage,
        factors: Factors::Unsaid,
        unit,
        source: "Energy-Charts",
        licence: "CC BY 4.0, Bundesnetzagentur | SMARD.de",
        rows: values.into_iter().map(row).collect(),
        empty,
    })
}
