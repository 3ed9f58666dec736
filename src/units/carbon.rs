//! Carbon: the intensity of supply, and the mass that energy causes.

use super::{Joules, Money, ParseUnitError, PricePerTonne, amount, decimal, mul_div, parse};
use serde::{Deserialize, Serialize};

/// Carbon intensity in milligrams of CO2e per kWh, so that 425.2 g/kWh is exact.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CarbonIntensity(pub i64);

impl CarbonIntensity {
    /// The carbon of this much energy.
    #[must_use]
    pub fn of(self, energy: Joules) -> GramsCo2e {
        // J × mg/kWh = J × mg / 3.6e6 J; in micrograms that is J × mg / 3600
        GramsCo2e(mul_div(energy.0, self.0, 3600))
    }

    /// As g/kWh, for reports only.
    #[must_use]
    pub fn as_grams_per_kwh(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl std::fmt::Display for CarbonIntensity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} g/kWh", decimal(self.0, 3))
    }
}

impl std::str::FromStr for CarbonIntensity {
    type Err = ParseUnitError;
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        parse::quantity(text, parse::Dimension::CarbonIntensity).map(Self)
    }
}

/// Mass of CO2 equivalent. Held in micrograms, so that the carbon of one joule is not rounded away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GramsCo2e(
    /// Micrograms.
    pub i64,
);
amount!(GramsCo2e);

impl GramsCo2e {
    /// As kilograms, for reports only.
    #[must_use]
    pub fn as_kg(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// What this carbon costs.
    #[must_use]
    pub fn at(self, price: PricePerTonne) -> Money {
        // micrograms × millionths per tonne / (1e12 micrograms per tonne)
        Money(mul_div(self.0, price.0, 1_000_000_000_000))
    }
}

impl std::fmt::Display for GramsCo2e {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} kgCO2e", decimal(mul_div(self.0, 1, 1_000_000), 3))
    }
}
