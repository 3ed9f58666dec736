//! Energy.

use super::{ParseUnitError, amount, decimal, parse};
use serde::{Deserialize, Serialize};

/// Energy in whole joules (watt-seconds).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Joules(pub i64);
amount!(Joules);

/// Joules in a kilowatt-hour.
pub(super) const JOULES_PER_KWH: i64 = 3_600_000;

impl Joules {
    /// So many kilowatt-hours.
    #[must_use]
    pub fn kwh(kwh: u32) -> Self {
        Self(i64::from(kwh) * JOULES_PER_KWH)
    }

    /// As kilowatt-hours, for reports only: sums stay in joules.
    #[must_use]
    pub fn as_kwh(self) -> f64 {
        self.0 as f64 / JOULES_PER_KWH as f64
    }
}

impl std::fmt::Display for Joules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let thousandths_kwh = super::mul_div(self.0, 1000, JOULES_PER_KWH);
        write!(f, "{} kWh", decimal(thousandths_kwh, 3))
    }
}

impl std::str::FromStr for Joules {
    type Err = ParseUnitError;
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        parse::quantity(text, parse::Dimension::Energy).map(Self)
    }
}
