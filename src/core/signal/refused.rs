//! Why values are not used, counted.

use std::collections::BTreeMap;

/// Why a value is refused. The names are metric labels and reasons of events: they stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// NaN, infinite, a word, or larger than can be counted.
    NotANumber,
    /// Below zero where nothing can be.
    Negative,
    /// So high, or so low, that another unit must be meant.
    UnitOff,
    /// Not between 2000 and 2105.
    OutOfTime,
    /// Later than any forecast reaches, or made later than now.
    TooFarAhead,
    /// It ends before it begins, or holds for longer than a month.
    Backwards,
    /// The same interval again, with the same value.
    Repeated,
    /// The same time again, with another value; the higher one stays.
    Overlapping,
    /// The answer does not say which grid it is of.
    ZoneMissing,
    /// It is of another grid.
    OtherZone,
    /// It is of something else, or of another basis.
    OtherBasis,
    /// Its unit measures something else.
    OtherUnit,
    /// It is in other money.
    OtherCurrency,
    /// It has been the same for far longer than it ever was.
    Frozen,
    /// It jumps to and fro as no grid does.
    FlipFlop,
    /// Its quantiles don't rise.
    Disordered,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::NotANumber,
        Self::Negative,
        Self::UnitOff,
        Self::OutOfTime,
        Self::TooFarAhead,
        Self::Backwards,
        Self::Repeated,
        Self::Overlapping,
        Self::ZoneMissing,
        Self::OtherZone,
        Self::OtherBasis,
        Self::OtherUnit,
        Self::OtherCurrency,
        Self::Frozen,
        Self::FlipFlop,
        Self::Disordered,
    ];

    /// Its fixed name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotANumber => "NotANumber",
            Self::Negative => "Negative",
            Self::UnitOff => "UnitOff",
            Self::OutOfTime => "OutOfTime",
            Self::TooFarAhead => "TooFarAhead",
            Self::Backwards => "Backwards",
            Self::Repeated => "Repeated",
            Self::Overlapping => "Overlapping",
            Self::ZoneMissing => "ZoneMissing",
            Self::OtherZone => "OtherZone",
            Self::OtherBasis => "OtherBasis",
            Self::OtherUnit => "OtherUnit",
            Self::OtherCurrency => "OtherCurrency",
            Self::Frozen => "Frozen",
            Self::FlipFlop => "FlipFlop",
            Self::Disordered => "Disordered",
        }
    }
}

/// How many values were refused for what, and the first of each in words.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Refused {
    by: BTreeMap<Reason, (usize, String)>,
}

impl Refused {
    /// So many more, and the first in words.
    pub fn add(&mut self, reason: Reason, count: usize, what: impl FnOnce() -> String) {
        if count > 0 {
            self.by.entry(reason).or_insert_with(|| (0, what())).0 += count;
        }
    }

    /// How many for a reason.
    #[must_use]
    pub fn count(&self, reason: Reason) -> usize {
        self.by.get(&reason).map_or(0, |(count, _)| *count)
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.by.values().map(|(count, _)| count).sum()
    }

    /// Each reason with its count and the first in words.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, usize, &str)> {
        self.by.iter().map(|(reason, (count, what))| (*reason, *count, what.as_str()))
    }
}

impl std::fmt::Display for Refused {
    /// `2 × Negative (-4 g/kWh ...)`, separated by semicolons; nothing where nothing was refused.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, (reason, count, what)) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{count} × {} ({what})", reason.name())?;
        }
        Ok(())
    }
}
