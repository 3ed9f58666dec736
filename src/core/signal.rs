//! What is known of the world outside, in one form whoever said it.
//!
//! A provider's parser makes an [`Answer`] of what a server said: rows as they were written. [`sift`] makes [`Reading`]s of it, in the base
//! units of this house, and refuses what can't be meant: each refusal has a [`Reason`], is counted, and the first of each is told in words.
//! Average and marginal, location and market based, direct and lifecycle, and two currencies are never mixed.
//!
//! - [`Decimal`], [`Unit`]: numbers as they were written, converted exactly
//! - [`Fuel`], [`carbon_of`]: carbon intensity from what generates, where a grid publishes none
//! - [`Panels`]: what a roof makes of sunlight
//! - [`Series`]: readings as one step function
//! - [`Memory`], [`Rung`]: what stands in where nothing is heard any more
//! - [`Guess`], [`PastError`]: what comes next by what is remembered, and how near such guesses were
//! - [`Remembered`]: a memory as it is written down
//! - [`Pace`]: when a provider is asked again

mod decimal;
mod guesses;
mod ladder;
mod mix;
mod pace;
mod pv;
mod reading;
mod refused;
mod remembered;
mod said;
mod series;
mod sift;
mod unit;

pub use decimal::{BadNumber, Decimal};
pub use guesses::{Guess, PastError};
pub use ladder::{Hour, Memory, Rules, Rung, Standing};
pub use mix::{FACTORS, Factor, Fuel, carbon_of};
pub use pace::Pace;
pub use pv::Panels;
pub use reading::{Answer, Basis, Factors, Raw, Reading, Safe, What, Zone};
pub use refused::{Reason, Refused};
pub use remembered::Remembered;
pub use said::SHOWN_LEADS;
pub use series::Series;
pub use sift::{Sifted, Wanted, longest_run, sift};
pub use unit::{Currency, Dimension, Unit};
