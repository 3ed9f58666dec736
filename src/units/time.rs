//! Time as a value. `core` has no clock: who calls it says what time it is.

use super::{ParseUnitError, amount, parse};
use serde::{Deserialize, Serialize};

/// A span of time in whole seconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub i64);
amount!(Seconds);

impl Seconds {
    /// One minute.
    pub const MINUTE: Self = Self(60);
    /// One hour.
    pub const HOUR: Self = Self(3600);
    /// One day of 24 hours.
    pub const DAY: Self = Self(86_400);

    /// As hours, for reports only.
    #[must_use]
    pub fn as_hours(self) -> f64 {
        self.0 as f64 / 3600.0
    }
}

impl std::fmt::Display for Seconds {
    /// `1d 2h 30m 5s`, without the parts that are zero.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let parts = [
            (magnitude / 86_400, "d"),
            (magnitude / 3600 % 24, "h"),
            (magnitude / 60 % 60, "m"),
            (magnitude % 60, "s"),
        ];
        let shown: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        f.write_str(if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }.as_str())
    }
}

impl std::str::FromStr for Seconds {
    type Err = ParseUnitError;

    /// Reads `90s`, `15m`, `720h`, `2d` and sums of these such as `2h30m`.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        parse::duration(text).map(Self)
    }
}

/// A point in time: whole seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

impl Moment {
    /// Later than anything that is planned.
    pub const FAR_FUTURE: Self = Self(i64::MAX / 4);

    /// The start of the slot that this moment lies in, slots counted from 1970.
    #[must_use]
    pub fn floor(self, slot: Seconds) -> Self {
        Self(self.0.div_euclid(slot.0.max(1)) * slot.0.max(1))
    }

    /// The first slot boundary at or after this moment.
    #[must_use]
    pub fn ceil(self, slot: Seconds) -> Self {
        Self(Self(self.0.saturating_add(slot.0.max(1) - 1)).floor(slot).0)
    }
}

impl std::ops::Add<Seconds> for Moment {
    type Output = Self;
    fn add(self, span: Seconds) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl std::ops::Sub<Seconds> for Moment {
    type Output = Self;
    fn sub(self, span: Seconds) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl std::ops::Sub for Moment {
    type Output = Seconds;
    fn sub(self, other: Self) -> Seconds {
        Seconds(self.0.saturating_sub(other.0))
    }
}

impl std::fmt::Display for Moment {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => f.write_str("beyond the calendar"),
        }
    }
}

impl From<jiff::Timestamp> for Moment {
    fn from(timestamp: jiff::Timestamp) -> Self {
        Self(timestamp.as_second())
    }
}

impl std::str::FromStr for Moment {
    type Err = ParseUnitError;

    /// Reads RFC 3339: `2022-10-19T16:00:00Z`.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let timestamp: jiff::Timestamp = text
            .trim()
            .parse()
            .map_err(|e: jiff::Error| ParseUnitError::NotATime { text: text.to_owned(), why: e.to_string() })?;
        Ok(timestamp.into())
    }
}

/// A span of time in whole milliseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// Milliseconds since the machine booted, time asleep included: what ends of limits and leases are told in.
///
/// Never compared with a [`Moment`]: a wall clock may be set, this one only runs, and it starts anew with each boot.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootMillis(pub u64);

impl BootMillis {
    /// This moment, `millis` later.
    #[must_use]
    pub fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds since `earlier`; zero if that is yet to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::fmt::Display for BootMillis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "boot + {}.{:03} s", self.0 / 1000, self.0 % 1000)
    }
}

impl std::ops::Add<Millis> for BootMillis {
    type Output = Self;
    fn add(self, span: Millis) -> Self {
        self.plus(span.0)
    }
}
