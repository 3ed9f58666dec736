//! The experiments of Heliotrope on real data. Each reads the shared data, and writes a JSON, a picture and its section of
//! `docs/results.md`; nothing in these is written by hand.

pub mod data;
pub mod e1;
pub mod e2;
pub mod e3;
pub mod e4;
pub mod e6;
pub mod fleet;
pub mod forecasts;
pub mod lp;
pub mod plant;
pub mod plot;
pub mod policy;
pub mod profiles;
pub mod published;
pub mod section;
pub mod solar;
pub mod years;
