//! Readings as one step function.

use super::reading::Reading;
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};

/// A time series as values. The unit of a value depends on what it is:
/// mg CO2e per kWh, millionths of the currency unit per MWh, watts, or millionths of the rated power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The values; before the first and after the last they mean nothing.
    pub steps: Steps<i64>,
    /// From when on they are known.
    pub from: Moment,
    /// Until when they are known: a step beyond the last row.
    pub until: Moment,
    /// How far apart the rows are.
    pub step: Seconds,
    /// How many rows there are.
    pub rows: usize,
    /// How many of these the source itself calls estimated.
    pub estimated: usize,
}

impl Series {
    /// Readings in order, none overlapping another, as [`super::sift`] gives them; none where there are none.
    ///
    /// What lies between two of them is not known: there it is the highest of all, of generation the lowest, so that nothing moves into a gap.
    #[must_use]
    pub fn of(readings: &[Reading]) -> Option<Self> {
        let (first, last) = (readings.first()?, readings.last()?);
        let gap = first.what.safe().of_all(readings.iter().map(|reading| reading.value))?;
        let mut changes: Vec<(Moment, i64)> = Vec::with_capacity(2 * readings.len());
        for (i, reading) in readings.iter().enumerate() {
            changes.push((reading.start, reading.value));
            if readings.get(i + 1).is_none_or(|next| next.start > reading.end) {
                changes.push((reading.end, gap));
            }
        }
        Some(Self {
            steps: Steps::new(first.value, changes),
            from: first.start,
            until: last.end,
            step: first.end - first.start,
            rows: readings.len(),
            estimated: readings.iter().filter(|reading| reading.estimated).count(),
        })
    }
}
