//! Heliotrope keeps a site's LLM workloads under the site's electrical caps, and moves flexible work to when,
//! and onto what, the supply is green.

pub mod actuator;
pub mod agent;
pub mod api;
pub mod caps;
pub mod clock;
pub mod commands;
pub mod controller;
pub mod core;
pub mod durable;
pub mod fetch;
pub mod signals;
pub mod simulate;
pub mod units;
pub mod web;
pub mod workloads;
pub mod yaml;
