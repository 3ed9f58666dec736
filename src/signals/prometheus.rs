//! Prometheus: `query_range` of any query that gives one series.

use super::json::{Node, parse};
use super::wrong::ReadError;
use crate::core::signal::{Answer, Basis, Factors, Raw, Unit, What, Zone};
use crate::units::{Moment, Seconds};

/// What was asked of it, and what the answer means: a number says nothing of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// What the query measures.
    pub what: What,
    /// Of carbon, of what it is a figure.
    pub basis: Basis,
    /// In which unit.
    pub unit: Unit,
    /// The step that was asked for.
    pub step: Seconds,
}

/// Reads a matrix of one series. Each value holds until the next step.
pub(super) fn read(bytes: &[u8], asked: &Query) -> Result<Answer, ReadError> {
    let value = parse(bytes)?;
    let root = Node::root(&value);
    let status = root.need("status")?;
    if status.text()? != "success" {
        let word = |name| root.get(name).and_then(|word| word.value().as_str()).unwrap_or_default();
        return Err(ReadError::provider(word("errorType"), word("error")));
    }
    let data = root.need("data")?;
    let kind = data.need("resultType")?;
    if kind.text()? != "matrix" {
        return Err(kind.is_not("matrix: ask by query_range"));
    }
    let result = data.need("result")?;
    let series: Vec<Node<'_>> = result.rows()?.collect();
    let one = match series.as_slice() {
        [] => return Err(ReadError::Nothing),
        [one] => one,
        more => {
            let found = format!("{} series", more.len());
            return Err(ReadError::not_a("data.result", "one series: aggregate in the query", &found));
        }
    };
    let values = one.need("values")?;
    let mut rows = Vec::new();
    for pair in values.rows()? {
        let parts: Vec<Node<'_>> = pair.rows()?.collect();
        let [at, value] = parts.as_slice() else { return Err(pair.is_not("a time and a value")) };
        let seconds = at.number().ok().and_then(|seconds| seconds.times(1, 1)).ok_or_else(|| at.is_not("a time"))?;
        let start = Moment(seconds);
        rows.push(Raw::new(start, start + asked.step, value.number()));
    }
    if rows.is_empty() {
        return Err(ReadError::Nothing);
    }
    Ok(Answer {
        zone: Zone::Asked,
        what: asked.what,
        basis: asked.basis,
        factors: Factors::Unsaid,
        unit: asked.unit,
        source: "Prometheus",
        licence: "your own",
        rows,
        empty: 0,
    })
}
