//! Units of what others say, and what one of each is in the base units of this house.

use super::decimal::Decimal;

/// What a unit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// CO2e of energy; the base unit is 1 mg/kWh.
    Carbon,
    /// Money of energy; the base unit is a millionth of the currency unit per MWh.
    Price,
    /// Power; the base unit is 1 W.
    Power,
    /// Power of sunlight on a surface; the base unit is 1 mW/m².
    Irradiance,
}

/// Three letters of a currency, as EUR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Euro.
    pub const EUR: Self = Self(*b"EUR");
    /// Korean won.
    pub const KRW: Self = Self(*b"KRW");
    /// US dollar.
    pub const USD: Self = Self(*b"USD");

    /// The highest price of a MWh that can be meant. Caps of markets are 4,000 to 20,300 for a MWh in euros, US and Australian dollars (the last
    /// Australia's); a figure that is another unit by a thousand is above that. A unit of some currencies is worth a thousandth of these.
    #[must_use]
    pub fn most_per_mwh(self) -> i64 {
        match &self.0 {
            b"KRW" | b"HUF" | b"CLP" | b"COP" | b"IDR" | b"VND" => 25_000_000,
            b"JPY" | b"INR" | b"TWD" | b"THB" | b"PHP" | b"CZK" => 2_500_000,
            _ => 25_000,
        }
    }
}

impl std::str::FromStr for Currency {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|letter| letter.is_ascii_uppercase()) => Ok(Self([*a, *b, *c])),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

/// A unit: so many base units, as a fraction that is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// What it measures.
    pub dimension: Dimension,
    /// Of money, whose.
    pub currency: Option<Currency>,
    numerator: i64,
    denominator: i64,
}

/// Names of units with what one is in base units. A pound is 453.59237 g by definition, so 1 lb/MWh is 453.59237 mg/kWh.
const UNITS: &[(&[&str], Dimension, i64, i64)] = &[
    (&["mg/kWh"], Dimension::Carbon, 1, 1),
    (&["g/kWh", "kg/MWh"], Dimension::Carbon, 1000, 1),
    (&["kg/kWh", "t/MWh"], Dimension::Carbon, 1_000_000, 1),
    (&["lb/MWh", "lbs/MWh"], Dimension::Carbon, 45_359_237, 100_000),
    (&["W"], Dimension::Power, 1, 1),
    (&["kW"], Dimension::Power, 1000, 1),
    (&["MW", "MAW"], Dimension::Power, 1_000_000, 1), // MAW: a megawatt in UN/CEFACT's words, and so in ENTSO-E's
    (&["GW"], Dimension::Power, 1_000_000_000, 1),
    (&["W/m²", "W/m2"], Dimension::Irradiance, 1000, 1),
];

impl Unit {
    /// Grams of CO2e per kWh.
    pub const GRAMS_PER_KWH: Self = Self::of(Dimension::Carbon, 1000, 1);
    /// Pounds of CO2 per MWh.
    pub const POUNDS_PER_MWH: Self = Self::of(Dimension::Carbon, 45_359_237, 100_000);
    /// Milligrams of CO2e per kWh: the base unit.
    pub const MILLIGRAMS_PER_KWH: Self = Self::of(Dimension::Carbon, 1, 1);
    /// Watts.
    pub const WATTS: Self = Self::of(Dimension::Power, 1, 1);
    /// Megawatts.
    pub const MEGAWATTS: Self = Self::of(Dimension::Power, 1_000_000, 1);

    const fn of(dimension: Dimension, numerator: i64, denominator: i64) -> Self {
        Self { dimension, currency: None, numerator, denominator }
    }

    /// Reads `g/kWh`, `gCO2eq/kWh`, `lbs_co2_per_mwh`, `EUR/MWh`, `KRW/kWh`, `MW`, `W/m²`.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("lbs_co2_per_mwh") {
            return Some(Self::POUNDS_PER_MWH);
        }
        let plain = match text.split_once('/') {
            Some((mass, energy)) => {
                let carbon = ["CO2eq", "CO2e", "CO₂eq", "CO₂e", "CO2", "CO₂"];
                let mass = carbon.iter().find_map(|word| mass.strip_suffix(word)).unwrap_or(mass).trim_end();
                format!("{mass}/{energy}")
            }
            None => text.to_owned(),
        };
        let known = UNITS.iter().find(|(names, ..)| names.contains(&plain.as_str()));
        if let Some((_, dimension, numerator, denominator)) = known {
            return Some(Self::of(*dimension, *numerator, *denominator));
        }
        let (currency, energy) = plain.split_once('/')?;
        let numerator = match energy {
            "MWh" | "MWH" => 1_000_000,
            "kWh" | "KWH" => 1_000_000_000,
            _ => return None,
        };
        Some(Self::price(currency.parse().ok()?, numerator))
    }

    /// A price per MWh.
    #[must_use]
    pub fn per_mwh(currency: Currency) -> Self {
        Self::price(currency, 1_000_000)
    }

    fn price(currency: Currency, numerator: i64) -> Self {
        Self { dimension: Dimension::Price, currency: Some(currency), numerator, denominator: 1 }
    }

    /// A number of this unit in base units, rounded half away from zero; none where it does not fit.
    #[must_use]
    pub fn base(self, number: Decimal) -> Option<i64> {
        number.times(self.numerator, self.denominator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(number: &str, unit: &str) -> i64 {
        Unit::named(unit).unwrap().base(number.parse().unwrap()).unwrap()
    }

    #[test]
    fn units_are_converted_as_by_hand() {
        // 870 × 453.59237 = 394,625.3619 mg/kWh
        assert_eq!(base("870", "lb/MWh"), 394_625);
        assert_eq!(base("870", "lbs_co2_per_mwh"), 394_625);
        // 1048.4131919701972 × 453.59237 = 475,552.224.. mg/kWh
        assert_eq!(base("1048.4131919701972", "lb/MWh"), 475_552);
        assert_eq!(base("425.2", "gCO2eq/kWh"), 425_200);
        assert_eq!(base("425.2", "kg CO2e/MWh"), 425_200);
        assert_eq!(base("0.4252", "tCO2/MWh"), 425_200);
        assert_eq!(base("425200", "mg/kWh"), 425_200);
        assert_eq!(base("46.1", "EUR/MWh"), 46_100_000);
        // 134.52 won a kWh are 134,520 won a MWh
        assert_eq!(base("134.52", "KRW/kWh"), 134_520_000_000);
        assert_eq!(base("-0.0597074", "USD/kWh"), -59_707_400);
        assert_eq!(base("61125.2", "MW"), 61_125_200_000);
        assert_eq!(base("10", "MAW"), 10_000_000);
        assert_eq!(base("790.5", "W/m²"), 790_500);
    }

    #[test]
    fn what_is_no_unit_is_none() {
        for unit in ["", "g", "/", "EUR", "eur/MWh", "EURO/MWh", "EUR/Wh", "furlong", "g/MWh/kWh", "€/MWh"] {
            assert_eq!(Unit::named(unit), None, "{unit}");
        }
        assert_eq!(Unit::named("KRW/kWh").unwrap().currency.unwrap().to_string(), "KRW");
    }
}
