//! Physical and money units as types, so that a kW is never added to a kWh.
//!
//! What is summed is an integer: watts, joules, micrograms of CO2e, millionths of a currency unit.
//! A sum over a year is therefore the same in any order, and two runs agree to the last digit.
//! One unit becomes another only through a named operation:
//!
//! ```
//! use heliotrope::units::{CarbonIntensity, Seconds, Watts};
//! let draw: Watts = "12 kW".parse()?;
//! let energy = draw.over(Seconds::HOUR);
//! let intensity: CarbonIntensity = "400g/kWh".parse()?;
//! assert_eq!(energy.to_string(), "12 kWh");
//! assert_eq!(intensity.of(energy).to_string(), "4.8 kgCO2e");
//! # Ok::<(), heliotrope::units::ParseUnitError>(())
//! ```
//!
//! ```compile_fail
//! use heliotrope::units::{Joules, Watts};
//! let nonsense = Watts(1) + Joules(1);
//! ```

mod carbon;
mod energy;
mod money;
mod parse;
mod power;
mod time;

pub use carbon::{CarbonIntensity, GramsCo2e};
pub use energy::Joules;
pub use money::{Money, PricePerMwh, PricePerTonne};
pub use parse::ParseUnitError;
pub use power::Watts;
pub use time::{BootMillis, Millis, Moment, Seconds};

/// `a * b / c`, rounded half away from zero, without overflow on the way.
///
/// Saturates where the result does not fit: an absurd input gives an absurd figure, never a panic.
fn mul_div(a: i64, b: i64, c: i64) -> i64 {
    let product = i128::from(a) * i128::from(b);
    let half = i128::from(c) / 2;
    let rounded = if product >= 0 { product + half } else { product - half } / i128::from(c);
    i64::try_from(rounded).unwrap_or(if rounded > 0 { i64::MAX } else { i64::MIN })
}

/// An integer as a decimal fraction: `(12_340, 3)` is "12.34".
fn decimal(value: i64, places: u32) -> String {
    let scale = 10_u64.pow(places);
    let magnitude = value.unsigned_abs();
    let sign = if value < 0 { "-" } else { "" };
    let fraction = format!("{:0width$}", magnitude % scale, width = places as usize);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{}", magnitude / scale),
        digits => format!("{sign}{}.{digits}", magnitude / scale),
    }
}

/// Implements what every amount that can be summed has.
macro_rules! amount {
    ($name:ident) => {
        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
        }
        impl std::ops::Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }
        impl std::ops::Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }
        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }
        impl std::ops::SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }
        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, |sum, item| sum + item)
            }
        }
    };
}
use amount;
