//! What providers said of hours ahead, held against what came.

use super::guesses::PastError;
use super::series::Series;
use crate::units::{Moment, Seconds};
use std::collections::{BTreeMap, VecDeque};

/// Leads, in hours, at which errors are kept and shown.
pub const SHOWN_LEADS: [usize; 4] = [1, 6, 24, 48];

/// Errors that are kept of each: those of sixty days, as many as of our own guesses.
const KEPT: usize = 60 * 24;

/// By lead, in the order of [`SHOWN_LEADS`].
#[derive(Debug, Default, Clone)]
pub(super) struct Said {
    open: [BTreeMap<i64, i64>; SHOWN_LEADS.len()],
    errors: [VecDeque<i64>; SHOWN_LEADS.len()],
}

impl Said {
    /// A provider says this in the hour `this`; the first word in an hour counts.
    pub(super) fn note(&mut self, series: &Series, this: i64) {
        for (open, lead) in self.open.iter_mut().zip(SHOWN_LEADS) {
            let hour = this + lead as i64;
            let from = Moment(hour.saturating_mul(Seconds::HOUR.0));
            if series.from <= from && from + Seconds::HOUR <= series.until {
                open.entry(hour).or_insert_with(|| series.steps.mean(from, from + Seconds::HOUR));
            }
        }
    }

    /// This came.
    pub(super) fn came(&mut self, hour: i64, value: i64) {
        for (open, errors) in self.open.iter_mut().zip(&mut self.errors) {
            let said = open.remove(&hour);
            // hours that never came are forgotten with it
            *open = open.split_off(&hour);
            if let Some(said) = said {
                errors.push_back(value.saturating_sub(said));
                errors.drain(..errors.len().saturating_sub(KEPT));
            }
        }
    }

    /// The errors at one of the leads.
    pub(super) fn error(&self, lead: usize) -> Option<PastError> {
        let errors = &self.errors[SHOWN_LEADS.iter().position(|shown| *shown == lead)?];
        let sum: i128 = errors.iter().map(|error| i128::from(error.unsigned_abs())).sum();
        let mean = sum.checked_div(errors.len() as i128)?;
        Some(PastError { hours_ahead: lead, by: None, mean: i64::try_from(mean).ok()?, count: errors.len() })
    }
}
