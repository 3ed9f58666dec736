//! Money and prices. One currency at a time: that of the price signal.

use super::{CarbonIntensity, Joules, amount, decimal, mul_div};
use serde::{Deserialize, Serialize};

/// Money in millionths of the currency unit. Negative is earned: wholesale prices fall below zero.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(pub i64);
amount!(Money);

impl Money {
    /// In currency units, for reports only.
    #[must_use]
    pub fn as_units(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&decimal(mul_div(self.0, 1, 10_000), 2))
    }
}

/// A price of energy in millionths of the currency unit per MWh.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PricePerMwh(pub i64);
amount!(PricePerMwh);

impl PricePerMwh {
    /// What this much energy costs.
    #[must_use]
    pub fn of(self, energy: Joules) -> Money {
        Money(mul_div(energy.0, self.0, 3_600_000_000)) // joules in a MWh
    }
}

/// A price of carbon in millionths of the currency unit per tonne of CO2e.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PricePerTonne(pub i64);

impl PricePerTonne {
    /// A price in whole currency units.
    #[must_use]
    pub const fn units(units: i64) -> Self {
        Self(units.saturating_mul(1_000_000))
    }

    /// What this price adds to each MWh of supply of an intensity. 1 mg/kWh is a millionth of a tonne per MWh.
    #[must_use]
    pub fn per_mwh(self, intensity: CarbonIntensity) -> PricePerMwh {
        PricePerMwh(mul_div(self.0, intensity.0, 1_000_000))
    }
}
