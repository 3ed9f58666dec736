//! Time series from outside: carbon intensity, prices, on-site generation.
//!
//! A reader gets the text and the name of its file and gives a [`Series`] or says, by line and column, what is wrong.
//! Hostile or absurd values are refused, never passed on: a signal that is wrong by a factor of 1,000 would move a
//! whole site. Reading files is the caller's.

mod csv_series;

pub use csv_series::{Format, MAX_BYTES, SignalError, read};

use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};

/// A time series as values. The unit of a value depends on what it is:
/// mg CO2e per kWh, millionths of the currency unit per MWh, or millionths of the rated power.
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
    /// How many rows there are, and how many of these the source calls estimates.
    pub rows: usize,
    /// How many of these the source itself calls estimated.
    pub estimated: usize,
}
