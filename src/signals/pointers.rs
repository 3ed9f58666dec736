//! Any JSON over HTTP, by JSON pointers (RFC 6901).

use super::json::{Node, parse};
use super::wrong::ReadError;
use crate::core::signal::{Answer, Basis, Decimal, Factors, Raw, Unit, What, Zone};
use crate::units::{Moment, Seconds};

/// Where things stand in an answer, and what they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointers {
    /// The list of rows, from the root; the empty pointer is the root itself.
    pub rows: String,
    /// The start of a row's interval, from the row.
    pub start: String,
    /// Its end; else it is as long as `step`.
    pub end: Option<String>,
    /// Its value.
    pub value: String,
    /// Quantiles: thousandths and where they stand in a row, rising.
    pub quantiles: Vec<(u32, String)>,
    /// The zone, from the root. Left out, the URL alone says which.
    pub zone: Option<String>,
    /// When it was made, from the root.
    pub issued: Option<String>,
    /// How long a row without an end holds.
    pub step: Seconds,
    /// What is measured.
    pub what: What,
    /// Of carbon, of what it is a figure.
    pub basis: Basis,
    /// In which unit.
    pub unit: Unit,
}

/// Reads an answer.
pub(super) fn read(bytes: &[u8], asked: &Pointers) -> Result<Answer, ReadError> {
    let value = parse(bytes)?;
    let root = Node::root(&value);
    let zone = match &asked.zone {
        None => Zone::Asked,
        Some(pointer) => Zone::Said(root.at(pointer)?.text()?.to_owned()),
    };
    let issued = asked.issued.as_ref().map(|pointer| time(&root.at(pointer)?)).transpose()?;
    let list = root.at(&asked.rows)?;
    let (mut rows, mut empty) = (Vec::new(), 0);
    for row in list.rows()? {
        let start = time(&row.at(&asked.start)?)?;
        let end = match &asked.end {
            Some(pointer) => time(&row.at(pointer)?)?,
            None => start + asked.step,
        };
        let Some(value) = row.value().pointer(&asked.value).filter(|value| !value.is_null()) else {
            empty += 1;
            continue;
        };
        let quantile = |(permille, pointer): &(u32, String)| -> Result<(u32, Decimal), ReadError> {
            let node = row.at(pointer)?;
            Ok((*permille, node.number().map_err(|_| node.is_not("a number"))?))
        };
        rows.push(Raw {
            issued,
            quantiles: asked.quantiles.iter().map(quantile).collect::<Result<_, _>>()?,
            ..Raw::new(start, end, Node::root(value).number())
        });
    }
    if rows.is_empty() && empty == 0 {
        return Err(ReadError::Nothing);
    }
    Ok(Answer {
        zone,
        what: asked.what,
        basis: asked.basis,
        factors: Factors::Unsaid,
        unit: asked.unit,
        source: "JSON over HTTP",
        licence: "not said",
        rows,
        empty,
    })
}

/// A time with its offset, or seconds since 1970; milliseconds where these would be beyond the year 5000.
pub(super) fn time(node: &Node<'_>) -> Result<Moment, ReadError> {
    const SECONDS: i64 = 100_000_000_000;
    if node.value().is_string() {
        return node.time();
    }
    let number = node.number().ok().and_then(|number| number.times(1, 1)).ok_or_else(|| node.is_not("a time"))?;
    Ok(Moment(if number.abs() > SECONDS { number.div_euclid(1000) } else { number }))
}
