//! Amounts as people write them: `12 kW`, `1.2MWh`, `400g/kWh`, `2h30m`.
//!
//! The digits are read as an exact decimal, never through a float.
//! An amount with another dimension's unit is told so by name.

/// What is wrong with an amount that was written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseUnitError {
    /// No text at all.
    #[error("an amount is missing: write {expected}")]
    Empty {
        /// What would be right.
        expected: &'static str,
    },
    /// The text does not begin with a decimal number.
    #[error("`{text}` does not begin with a number: write {expected}")]
    NotANumber {
        /// What was found.
        text: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A number alone.
    #[error("`{text}` has no unit: write {expected}")]
    NoUnit {
        /// What was found.
        text: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A unit of something else.
    #[error("`{text}` is {found}, but {wanted} is needed here: write {expected}")]
    OtherDimension {
        /// What was found.
        text: String,
        /// Its dimension.
        found: &'static str,
        /// The dimension that is needed.
        wanted: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// A unit that nobody knows.
    #[error("`{unit}` in `{text}` is not a unit of {wanted}: write {expected}")]
    UnknownUnit {
        /// What was found.
        text: String,
        /// The part that is not known.
        unit: String,
        /// The dimension that is needed.
        wanted: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// Less than nothing.
    #[error("`{text}` is negative")]
    Negative {
        /// What was found.
        text: String,
    },
    /// More digits than the base unit holds.
    #[error("`{text}` is finer than {base}, the smallest amount that is counted")]
    TooFine {
        /// What was found.
        text: String,
        /// The base unit.
        base: &'static str,
    },
    /// More than fits.
    #[error("`{text}` is larger than can be counted")]
    TooLarge {
        /// What was found.
        text: String,
    },
    /// Not a point in time.
    #[error("`{text}` is not a time such as 2022-10-19T16:00:00Z: {why}")]
    NotATime {
        /// What was found.
        text: String,
        /// What the parser said.
        why: String,
    },
}

/// What an amount measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimension {
    Power,
    Energy,
    CarbonIntensity,
}

impl Dimension {
    const ALL: [Self; 3] = [Self::Power, Self::Energy, Self::CarbonIntensity];

    /// Units, each as (base units × 10^-exponent3) so that all scales stay integers.
    fn units(self) -> &'static [(&'static str, i128)] {
        match self {
            Self::Power => &[("W", 1), ("kW", 1_000), ("MW", 1_000_000), ("GW", 1_000_000_000)],
            Self::Energy => &[
                ("J", 1),
                ("kJ", 1_000),
                ("MJ", 1_000_000),
                ("GJ", 1_000_000_000),
                ("Wh", 3_600),
                ("kWh", 3_600_000),
                ("MWh", 3_600_000_000),
                ("GWh", 3_600_000_000_000),
            ],
            Self::CarbonIntensity => &[
                ("mg/kWh", 1),
                ("g/kWh", 1_000),
                ("gCO2e/kWh", 1_000),
                ("gCO2eq/kWh", 1_000),
                ("kg/MWh", 1_000),
                ("kg/kWh", 1_000_000),
                ("t/MWh", 1_000_000),
            ],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Energy => "energy",
            Self::CarbonIntensity => "carbon intensity",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Power => "a power such as 800 W, 12 kW or 1.2 MW",
            Self::Energy => "an energy such as 500 kWh, 1.2 MWh or 3600 J",
            Self::CarbonIntensity => "a carbon intensity such as 400 g/kWh",
        }
    }

    fn base(self) -> &'static str {
        match self {
            Self::Power => "1 W",
            Self::Energy => "1 J",
            Self::CarbonIntensity => "1 mg/kWh",
        }
    }

    fn scale(self, unit: &str) -> Option<i128> {
        self.units().iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)
    }
}

/// Reads an amount of a dimension, in its base unit: W, J or mg/kWh.
pub(super) fn quantity(text: &str, dimension: Dimension) -> Result<i64, ParseUnitError> {
    let expected = dimension.expected();
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(ParseUnitError::Empty { expected });
    }
    let owned = || text.to_owned();
    let end = trimmed
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && *c == '-')))
        .map_or(trimmed.len(), |(at, _)| at);
    let (number, unit) = (&trimmed[..end], trimmed[end..].trim_start());
    let (mantissa, places) =
        exact_decimal(number).ok_or_else(|| ParseUnitError::NotANumber { text: owned(), expected })?;
    if unit.is_empty() {
        return Err(ParseUnitError::NoUnit { text: owned(), expected });
    }
    let Some(scale) = dimension.scale(unit) else {
        let wanted = dimension.name();
        return Err(match Dimension::ALL.into_iter().find(|other| other.scale(unit).is_some()) {
            Some(other) => ParseUnitError::OtherDimension { text: owned(), found: other.name(), wanted, expected },
            None => ParseUnitError::UnknownUnit { text: owned(), unit: unit.to_owned(), wanted, expected },
        });
    };
    if mantissa < 0 {
        return Err(ParseUnitError::Negative { text: owned() });
    }
    let too_large = || ParseUnitError::TooLarge { text: owned() };
    let scaled = mantissa.checked_mul(scale).ok_or_else(too_large)?;
    let divisor = 10_i128.checked_pow(places).ok_or_else(too_large)?;
    if scaled % divisor != 0 {
        return Err(ParseUnitError::TooFine { text: owned(), base: dimension.base() });
    }
    i64::try_from(scaled / divisor).map_err(|_| too_large())
}

/// `-12.50` as (-1250, 2). At most 18 digits either side, so that products fit.
fn exact_decimal(number: &str) -> Option<(i128, u32)> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.len() <= 18 && s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || digits.ends_with('.') {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some((sign * mantissa, u32::try_from(fraction.len()).ok()?))
}

/// Reads `90s`, `15m`, `720h`, `2d` and sums of them, in seconds.
pub(super) fn duration(text: &str) -> Result<i64, ParseUnitError> {
    const EXPECTED: &str = "a duration such as 90s, 15m, 2h30m or 2d";
    let owned = || text.to_owned();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(ParseUnitError::Empty { expected: EXPECTED });
    }
    if rest.starts_with('-') {
        return Err(ParseUnitError::Negative { text: owned() });
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if end == 0 {
            return Err(ParseUnitError::NotANumber { text: owned(), expected: EXPECTED });
        }
        let count: i64 = rest[..end].parse().map_err(|_| ParseUnitError::TooLarge { text: owned() })?;
        let tail = rest[end..].trim_start();
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(tail.len());
        let unit = &tail[..unit_end];
        let scale = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "" => return Err(ParseUnitError::NoUnit { text: owned(), expected: EXPECTED }),
            _ => {
                return Err(ParseUnitError::UnknownUnit {
                    text: owned(),
                    unit: unit.to_owned(),
                    wanted: "time",
                    expected: EXPECTED,
                });
            }
        };
        total = count
            .checked_mul(scale)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| ParseUnitError::TooLarge { text: owned() })?;
        rest = tail[unit_end..].trim_start();
    }
    Ok(total)
}
