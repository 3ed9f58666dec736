//! A memory as it is written down, so that a controller that starts anew does not begin with nothing.

use super::ladder::{KEPT, Last, Memory};
use super::series::Series;
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Values of the last answer that are written down. A longer answer is not: the hours of it are.
const MOST_PIECES: usize = 4096;

/// No figure of any signal is beyond this, in its base unit: a price of 25 million a MWh has 14 digits.
const MOST: u64 = 1_000_000_000_000_000;

/// What is written down of a memory: whole hours, and what was said last. Errors are found anew from the hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remembered {
    /// The hour of the first value, counted from 1970.
    first_hour: i64,
    /// Hour by hour; null where nothing is known.
    hours: Vec<Option<i64>>,
    /// What was said last.
    last: Option<Spoken>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spoken {
    heard: i64,
    until: i64,
    step: i64,
    rows: usize,
    estimated: usize,
    /// (from, value), in order; the first is where it begins.
    pieces: Vec<(i64, i64)>,
}

impl Memory {
    /// What is to be written down; none where no hour is remembered yet.
    #[must_use]
    pub fn remembered(&self) -> Option<Remembered> {
        let (first, last) = (*self.hours.keys().next()?, *self.hours.keys().next_back()?);
        let hours = (first..=last).map(|hour| self.hours.get(&hour).copied()).collect();
        let spoken = self.last.as_ref().map(|Last { series, heard }| {
            let pieces = series.steps.pieces(series.from, series.until).map(|(at, _, value)| (at.0, value));
            Spoken {
                heard: heard.0,
                until: series.until.0,
                step: series.step.0,
                rows: series.rows,
                estimated: series.estimated,
                pieces: pieces.take(MOST_PIECES + 1).collect(),
            }
        });
        let last = spoken.filter(|spoken| spoken.pieces.len() <= MOST_PIECES);
        Some(Remembered { first_hour: first, hours, last })
    }

    /// What was written down. It is of a file that anybody may have changed.
    ///
    /// # Errors
    /// What can't have been written by us, in words.
    pub fn recall(written: &Remembered, now: Moment) -> Result<Self, String> {
        let Remembered { first_hour, hours, last } = written;
        let this = now.0.div_euclid(Seconds::HOUR.0);
        let is_number = |value: i64| value.unsigned_abs() <= MOST;
        if hours.len() > KEPT as usize + 1 {
            return Err(format!("{} hours, where at most {} are remembered", hours.len(), KEPT + 1));
        }
        // what is older than is kept is no mistake: the controller was away
        let end = first_hour.checked_add(hours.len() as i64).filter(|end| *first_hour >= 0 && *end <= this);
        if end.is_none() {
            return Err(format!("hours from {first_hour} on, {} of them, are not of the past", hours.len()));
        }
        if let Some(value) = hours.iter().flatten().find(|value| !is_number(**value)) {
            return Err(format!("{value} is no value of a signal"));
        }
        let mut memory = Self::default();
        let known = (*first_hour..).zip(hours).filter(|(hour, _)| *hour >= this - KEPT);
        memory.hours = known.filter_map(|(hour, value)| Some((hour, (*value)?))).collect();
        memory.last = last.as_ref().map(|spoken| spoken.series(now)).transpose()?;
        Ok(memory)
    }
}

impl Spoken {
    fn series(&self, now: Moment) -> Result<Last, String> {
        let Self { heard, until, step, rows, estimated, pieces } = self;
        let bad = |what: &str| Err(format!("what was said last {what}"));
        let Some((from, first)) = pieces.first().copied().filter(|_| pieces.len() <= MOST_PIECES) else {
            return bad("has no values, or too many");
        };
        let in_order = pieces.windows(2).all(|pair| pair[0].0 < pair[1].0) && pieces.iter().all(|(at, _)| at < until);
        // a forecast reaches sixteen days ahead
        let far = now.0.saturating_add(32 * Seconds::DAY.0);
        if !in_order || from < 0 || *until > far || *heard > now.0 || !(1..=32 * Seconds::DAY.0).contains(step) {
            return bad("has times that can't be");
        }
        if pieces.iter().any(|(_, value)| value.unsigned_abs() > MOST) {
            return bad("has values that no signal has");
        }
        let series = Series {
            steps: Steps::new(first, pieces.iter().map(|(at, value)| (Moment(*at), *value))),
            from: Moment(from),
            until: Moment(*until),
            step: Seconds(*step),
            rows: *rows,
            estimated: *estimated,
        };
        Ok(Last { series: Arc::new(series), heard: Moment(*heard) })
    }
}
