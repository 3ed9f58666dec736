//! Power.

use super::{Joules, ParseUnitError, Seconds, amount, mul_div, parse};
use serde::{Deserialize, Serialize};

/// Power in whole watts. Negative only as a difference: headroom under a cap that has fallen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watts(pub i64);
amount!(Watts);

impl Watts {
    /// The energy of this power held for a time.
    #[must_use]
    pub fn over(self, time: Seconds) -> Joules {
        Joules(self.0.saturating_mul(time.0))
    }

    /// This power, `count` times.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(i64::from(count)))
    }

    /// This power and `permille` thousandths of it more, rounded up: losses and margins are never understated.
    #[must_use]
    pub fn plus_permille(self, permille: u32) -> Self {
        let watts = self.0.max(0);
        // whole thousands first, so that no product is too large for the machine's own words: this is asked millions of times a plan
        let (thousands, rest) = (watts / 1000, watts % 1000);
        let extra =
            thousands.saturating_mul(i64::from(permille)).saturating_add((rest * i64::from(permille) + 999) / 1000);
        self + Self(extra)
    }

    /// The most of which [`Watts::plus_permille`] is no more than this: what is left for what lies behind losses.
    #[must_use]
    pub fn less_permille(self, permille: u32) -> Self {
        let left = i128::from(self.0.max(0)) * 1000 / (1000 + i128::from(permille));
        Self(i64::try_from(left).unwrap_or(i64::MAX))
    }

    /// `percent` hundredths of this power, rounded half up.
    #[must_use]
    pub fn percent(self, percent: u32) -> Self {
        Self(mul_div(self.0, i64::from(percent), 100))
    }
}

impl std::fmt::Display for Watts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} W", self.0)
    }
}

impl std::str::FromStr for Watts {
    type Err = ParseUnitError;
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        parse::quantity(text, parse::Dimension::Power).map(Self)
    }
}
