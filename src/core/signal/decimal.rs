//! Numbers as they were written: digits and a power of ten, never a float.

/// What is no number: NaN, an infinity, a word, nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number")]
pub struct BadNumber(pub String);

/// `digits × 10^exponent`. Digits beyond the eighteenth are dropped: they are below all units that are counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    digits: i64,
    exponent: i32,
}

/// Digits that are kept: as many as a 64-bit integer holds.
const KEPT: usize = 18;

/// The largest power of ten that is looked at. A grid has no number with more.
const FAR: i32 = 60;

impl Decimal {
    /// A whole number.
    #[must_use]
    pub fn whole(value: i64) -> Self {
        Self { digits: value, exponent: 0 }
    }

    /// Is it below zero?
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.digits < 0
    }

    /// This number × `numerator` / `denominator`, rounded half away from zero; none where it does not fit.
    #[must_use]
    pub fn times(self, numerator: i64, denominator: i64) -> Option<i64> {
        let product = i128::from(self.digits).checked_mul(i128::from(numerator))?;
        let ten = |power: i32| 10_i128.checked_pow(u32::try_from(power).ok()?);
        let (product, divisor) = if self.exponent >= 0 {
            (product.checked_mul(ten(self.exponent)?)?, i128::from(denominator))
        } else {
            // a divisor beyond all numbers leaves nothing
            match ten(-self.exponent).and_then(|ten| ten.checked_mul(i128::from(denominator))) {
                Some(divisor) => (product, divisor),
                None => return Some(0),
            }
        };
        let half = divisor / 2;
        let rounded = if product >= 0 { product.checked_add(half)? } else { product.checked_sub(half)? } / divisor;
        i64::try_from(rounded).ok()
    }
}

impl std::str::FromStr for Decimal {
    type Err = BadNumber;

    /// Reads `-12.50`, `1.5e3` and `+7`.
    fn from_str(text: &str) -> Result<Self, BadNumber> {
        let bad = || BadNumber(text.chars().take(40).collect());
        let trimmed = text.trim();
        let (number, power) = match trimmed.split_once(['e', 'E']) {
            Some((number, power)) => (number, power.parse::<i32>().map_err(|_| bad())?),
            None => (trimmed, 0),
        };
        let (sign, number) = match number.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let all = || whole.bytes().chain(fraction.bytes());
        if whole.len() + fraction.len() == 0 || number.len() > 400 || !all().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let digits: Vec<u8> = all().skip_while(|byte| *byte == b'0').collect();
        let kept = digits.len().min(KEPT);
        let dropped = i32::try_from(digits.len() - kept).map_err(|_| bad())?;
        let places = i32::try_from(fraction.len()).map_err(|_| bad())?;
        let digits = sign * digits[..kept].iter().fold(0_i64, |sum, byte| sum * 10 + i64::from(byte - b'0'));
        let exponent = power.checked_sub(places).and_then(|power| power.checked_add(dropped)).ok_or_else(bad)?;
        match exponent {
            _ if digits == 0 => Ok(Self { digits: 0, exponent: 0 }),
            exponent if exponent > FAR => Err(bad()),
            exponent => Ok(Self { digits, exponent }),
        }
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let magnitude = self.digits.unsigned_abs().to_string();
        let sign = if self.digits < 0 { "-" } else { "" };
        match usize::try_from(-i64::from(self.exponent)) {
            Ok(0) => write!(f, "{sign}{magnitude}"),
            Ok(places) if places <= 20 => {
                let padded = format!("{magnitude:0>width$}", width = places + 1);
                let (whole, fraction) = padded.split_at(padded.len() - places);
                match fraction.trim_end_matches('0') {
                    "" => write!(f, "{sign}{whole}"),
                    fraction => write!(f, "{sign}{whole}.{fraction}"),
                }
            }
            _ => write!(f, "{sign}{magnitude}e{}", self.exponent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str, numerator: i64, denominator: i64) -> Option<i64> {
        text.parse::<Decimal>().unwrap().times(numerator, denominator)
    }

    #[test]
    fn digits_are_exact_and_rounded_once() {
        assert_eq!(times("425.2", 1000, 1), Some(425_200));
        assert_eq!(times("0.0005", 1000, 1), Some(1)); // half goes away from zero
        assert_eq!(times("-0.0005", 1000, 1), Some(-1));
        assert_eq!(times("1.5e3", 1, 1), Some(1500));
        assert_eq!(times("15E-1", 10, 1), Some(15));
        assert_eq!(times("0.1", 30, 1), Some(3));
        assert_eq!(times("1e-300", 1, 1), Some(0));
        assert_eq!(times("448.4451043375001670000000009", 1000, 1), Some(448_445));
        assert_eq!(times("1e30", 1, 1), None);
        assert_eq!(times("9223372036854775807", 1, 1), Some(9_223_372_036_854_775_800)); // eighteen digits
    }

    #[test]
    fn what_is_no_number_is_said() {
        let tail = "9".repeat(500);
        for text in
            ["", " ", "NaN", "inf", "-", "+", ".", "1.2.3", "1,5", "0x10", "1e", "1e99999999999", "1e70", "--1", &tail]
        {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
        assert_eq!("NaN".parse::<Decimal>().unwrap_err().to_string(), "`NaN` is not a number");
    }

    #[test]
    fn it_is_shown_as_it_was_written() {
        for text in ["0", "12", "-12.5", "0.004", "-59.7074"] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), text);
        }
    }
}
