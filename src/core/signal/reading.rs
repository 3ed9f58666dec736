//! What providers say, before and after it is judged.

use super::decimal::{BadNumber, Decimal};
use super::unit::{Currency, Unit};
use crate::units::Moment;
use std::sync::Arc;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// CO2e of supply.
    CarbonIntensity,
    /// Price of supply.
    Price,
    /// What is generated: by a roof, or by one kind of plants of a grid.
    Generation,
    /// What a grid draws.
    Load,
}

impl What {
    /// What stands in for a value of it that is not known.
    #[must_use]
    pub fn safe(self) -> Safe {
        if self == Self::Generation { Safe::Low } else { Safe::High }
    }
}

/// Which of several values is never read as greener than it was: of carbon, prices and load the highest, of generation the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safe {
    /// The highest.
    High,
    /// The lowest.
    Low,
}

impl Safe {
    /// The safe one of two.
    #[must_use]
    pub fn of(self, one: i64, other: i64) -> i64 {
        match self {
            Self::High => one.max(other),
            Self::Low => one.min(other),
        }
    }

    /// The safe one of all; none of none.
    #[must_use]
    pub fn of_all(self, values: impl Iterator<Item = i64>) -> Option<i64> {
        values.reduce(|one, other| self.of(one, other))
    }

    /// It in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "highest",
            Self::Low => "lowest",
        }
    }
}

/// What a carbon figure is a figure of. Prices and powers are averages of their interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// All plants of the place, by output.
    LocationAverage,
    /// The plant that would answer one more kWh.
    Marginal,
    /// What remains of the place after contracts.
    Residual,
    /// What was bought, by contract.
    Market,
}

/// What of a plant's emissions is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factors {
    /// What leaves its chimney.
    Direct,
    /// That, and what building it and its fuel cost.
    Lifecycle,
    /// The source does not say, or it is no carbon.
    Unsaid,
}

/// Which grid an answer is of, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Zone {
    /// The answer names it.
    Said(String),
    /// The provider knows no other.
    Only(&'static str),
    /// The answer names none, and what was asked could not have been answered without: a query, a file.
    Asked,
    /// The answer names none. It may be of wherever the one who asked seems to be: it is never used.
    Missing,
}

/// One row of an answer, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The zone, where the row has one of its own.
    pub zone: Option<String>,
    /// From when on it holds.
    pub start: Moment,
    /// Until when.
    pub end: Moment,
    /// The value.
    pub value: Result<Decimal, BadNumber>,
    /// With so many thousandths of certainty it is at most this: (permille, value), if the source says so.
    pub quantiles: Vec<(u32, Decimal)>,
    /// When the source made it.
    pub issued: Option<Moment>,
    /// Does the source call it an estimate or a forecast?
    pub estimated: bool,
}

impl Raw {
    /// A row with nothing but a value.
    #[must_use]
    pub fn new(start: Moment, end: Moment, value: Result<Decimal, BadNumber>) -> Self {
        Self { zone: None, start, end, value, quantiles: Vec::new(), issued: None, estimated: false }
    }
}

/// What a provider's parser made of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Of which grid.
    pub zone: Zone,
    /// What it measures.
    pub what: What,
    /// Of carbon, of what it is a figure.
    pub basis: Basis,
    /// Of carbon, what is counted.
    pub factors: Factors,
    /// The unit of all values.
    pub unit: Unit,
    /// Who said it, in a few words.
    pub source: &'static str,
    /// Under which terms it may be used.
    pub licence: &'static str,
    /// The rows, in the order in which they came.
    pub rows: Vec<Raw>,
    /// Rows that the source left empty on purpose: it does not know them yet.
    pub empty: usize,
}

/// One value that is used, in base units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The grid.
    pub zone: Arc<str>,
    /// What it measures.
    pub what: What,
    /// Of what it is a figure.
    pub basis: Basis,
    /// What is counted.
    pub factors: Factors,
    /// Of prices, whose money.
    pub currency: Option<Currency>,
    /// From when on it holds.
    pub start: Moment,
    /// Until when.
    pub end: Moment,
    /// mg CO2e per kWh, millionths of the currency unit per MWh, or W.
    pub value: i64,
    /// Quantiles in the same unit, rising: (permille, value).
    pub quantiles: Vec<(u32, i64)>,
    /// When the source made it, where it says so.
    pub issued: Option<Moment>,
    /// Who said it.
    pub source: &'static str,
    /// Does the source call it an estimate or a forecast?
    pub estimated: bool,
    /// Under which terms it may be used.
    pub licence: &'static str,
}
