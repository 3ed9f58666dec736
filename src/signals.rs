//! Time series from outside: carbon intensity, prices, on-site generation.
//!
//! A reader gets what a server or a file said and gives an [`Answer`](crate::core::signal::Answer) or a [`Series`], or says where it
//! is not what it should be. What of an answer is used is decided in [`crate::core::signal`], for all providers alike.
//! Asking servers and reading files is the caller's.
//!
//! One file a provider; [`Source`] is which of them, and with what.

mod carbon_aware;
mod csv_series;
mod eia;
mod electricity_maps;
mod energy_charts;
mod entsoe;
mod json;
mod kpx;
mod mixed;
mod open_meteo;
mod packed;
mod pointers;
mod prometheus;
mod request;
mod source;
mod uk;
mod watttime;
mod wrong;
mod xml;

pub use crate::core::signal::Series;
pub use csv_series::{Format, MAX_BYTES, SignalError, read};
pub use entsoe::Entsoe;
pub use kpx::Service;
pub use open_meteo::OpenMeteo;
pub use packed::{MOST_BYTES, PackedError, unpacked};
pub use pointers::Pointers;
pub use prometheus::Query;
pub use request::{About, Kind, Login, Place, Request, encoded, is_plain, is_zip};
pub use source::Source;
pub use watttime::token;
pub use wrong::ReadError;
