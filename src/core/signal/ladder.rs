//! How well a signal is known, rung by rung, and what to plan with on each.
//!
//! ```text
//!              answers no more          ended maxAge ago            fewer than two weeks kept
//!   Live ───────────────────────▶ LastKnown ───────────▶ HourOfWeek ─ ─ ─ ─ ─ ─ ─ ─ ─▶ Static ─▶ Nothing
//!     ▲                               │                      │                           │          │
//!     └───────────────────────────────┴──── an answer ───────┴───────────────────────────┴──────────┘
//! ```
//!
//! What is not known is priced at the highest that is: a stale signal is never read as green. No rung stops work, and none adds a watt:
//! a signal says what a kWh costs, and nothing of how many there may be.

use super::series::Series;
use super::sift::{ends_in_flips, longest_run};
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Hours that are kept: four weeks and one day.
const KEPT: i64 = 29 * 24;
const WEEK: i64 = 168;

/// Hours that must be known before the hour of the week is one: two weeks, but for a day of gaps.
const ENOUGH: usize = 2 * 168 - 24;

/// What stands in for a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// A provider answers, and its answer is of now.
    Live,
    /// No provider answers, or none of now; what was said before still holds, or ended less than `maxAge` ago.
    LastKnown,
    /// The highest of the same hour of the week over the last four weeks.
    HourOfWeek,
    /// The value that was set for the case, or the highest that was known if that is more.
    Static,
    /// Nothing is known: it is planned as if the supply were the dearest there is.
    Nothing,
}

impl Rung {
    /// Its fixed name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "Live",
            Self::LastKnown => "LastKnown",
            Self::HourOfWeek => "HourOfWeek",
            Self::Static => "Static",
            Self::Nothing => "Nothing",
        }
    }

    /// Its place on the ladder: 0 is live.
    #[must_use]
    pub fn number(self) -> i64 {
        self as i64
    }
}

/// What was set for one signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long after its end a last value still counts.
    pub max_age: Seconds,
    /// What counts where nothing else does.
    pub fixed: Option<i64>,
    /// May it jump to and fro from one answer to the next? Prices of five minutes do, the carbon of a grid does not.
    pub may_jump: bool,
}

/// Where a signal stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// On which rung.
    pub rung: Rung,
    /// Why there.
    pub why: String,
    /// When a provider was last heard with something new.
    pub heard: Option<Moment>,
    /// What to plan with, from now on; none where nothing is known.
    pub steps: Option<Steps<i64>>,
}

/// What is remembered of one signal.
#[derive(Debug, Default, Clone)]
pub struct Memory {
    last: Option<Last>,
    /// Is it as the providers say now?
    answers: bool,
    /// The mean of each whole hour that was, by its number since 1970.
    hours: BTreeMap<i64, i64>,
    /// What the last answers said of their own present.
    presents: Vec<i64>,
}

/// Presents that are kept: as many as are looked at.
const PRESENTS: usize = 8;

#[derive(Debug, Clone)]
struct Last {
    series: Arc<Series>,
    heard: Moment,
}

impl Memory {
    /// A provider says this; `heard` is when it was first heard.
    pub fn take(&mut self, series: Arc<Series>, heard: Moment, now: Moment) {
        let before = self.last.as_ref().map(|last| last.heard);
        // what was said before of hours that are over by now, and then what is said of them today
        if let Some(before) = self.last.take() {
            self.absorb(&before.series, now);
        }
        self.absorb(&series, now);
        if before.is_none_or(|before| before != heard) && series.from <= now && now < series.until {
            self.presents.push(series.steps.at(now));
            self.presents.drain(..self.presents.len().saturating_sub(PRESENTS));
        }
        let this = now.0.div_euclid(3600);
        self.hours = self.hours.split_off(&(this - KEPT));
        (self.last, self.answers) = (Some(Last { series, heard }), true);
    }

    fn absorb(&mut self, series: &Series, now: Moment) {
        let this = now.0.div_euclid(3600);
        let first = series.from.ceil(Seconds::HOUR).0.div_euclid(3600).max(this - KEPT);
        for hour in first..series.until.0.div_euclid(3600).min(this) {
            let from = Moment(hour * 3600);
            self.hours.insert(hour, series.steps.mean(from, from + Seconds::HOUR));
        }
    }

    /// No provider says anything that can be used.
    pub fn miss(&mut self) {
        self.answers = false;
    }

    /// What was said last.
    #[must_use]
    pub fn series(&self) -> Option<&Arc<Series>> {
        self.last.as_ref().map(|last| &last.series)
    }

    /// The middle of the hours that are kept, once there is a day of them.
    #[must_use]
    pub fn typical(&self) -> Option<i64> {
        let mut values: Vec<i64> = self.hours.values().copied().collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().filter(|_| values.len() >= 24)
    }

    /// The longest for which it stayed the same.
    #[must_use]
    pub fn steady(&self) -> Option<Seconds> {
        longest_run(self.hours.values().copied())
    }

    /// Where it stands.
    #[must_use]
    pub fn stand(&self, rules: Rules, now: Moment) -> Standing {
        let heard = self.last.as_ref().map(|last| last.heard);
        let standing = |rung, why, steps| Standing { rung, why, heard, steps };
        if let Some(Last { series, heard }) = &self.last
            && series.from <= now
            && now < series.until + rules.max_age
        {
            let steps = self.ahead(series, now);
            if !rules.may_jump && ends_in_flips(&self.presents) {
                let highest = self.presents.iter().copied().max().unwrap_or(0);
                let why =
                    "it jumps to and fro from one answer to the next: the highest of the last ones counts".to_owned();
                return standing(Rung::LastKnown, why, Some(steps.map(|value| value.max(highest))));
            }
            let steps = Some(steps);
            return if now >= series.until {
                let why = format!(
                    "its last value ended at {}: until then as it was, since then as the highest of the last day",
                    series.until
                );
                standing(Rung::LastKnown, why, steps)
            } else if self.answers {
                standing(Rung::Live, "a provider answers".to_owned(), steps)
            } else {
                let why = format!("no provider answers; last heard at {heard}, known until {}", series.until);
                standing(Rung::LastKnown, why, steps)
            };
        }
        let since = match &self.last {
            Some(Last { series, .. }) if series.from > now => format!("what is known begins at {}", series.from),
            Some(Last { series, .. }) => format!("known until {}, more than {} ago", series.until, rules.max_age),
            None => "nothing was ever heard".to_owned(),
        };
        if self.hours.len() >= ENOUGH {
            let why = format!("{since}: the highest of the same hour of the week");
            return standing(Rung::HourOfWeek, why, Some(self.weekly(now)));
        }
        match rules.fixed {
            Some(fixed) => {
                let value = self.hours.values().copied().max().map_or(fixed, |highest| highest.max(fixed));
                let why = format!("{since}: the value set for this, or the highest known");
                standing(Rung::Static, why, Some(Steps::constant(value)))
            }
            None => standing(Rung::Nothing, since, None),
        }
    }

    /// As it was said; and beyond its end the highest that is known of the last day and of what is ahead.
    fn ahead(&self, series: &Series, now: Moment) -> Steps<i64> {
        let day = now.min(series.until) - Seconds::DAY;
        let said = series.steps.highest(day.max(series.from), series.until);
        let first = day.ceil(Seconds::HOUR).0.div_euclid(3600);
        let highest = self.hours.range(first..).map(|(_, value)| *value).fold(said, i64::max);
        let mut steps = series.steps.clone();
        steps.update(series.until, Moment::FAR_FUTURE, |_| highest);
        steps
    }

    fn weekly(&self, now: Moment) -> Steps<i64> {
        let highest = self.hours.values().copied().max().unwrap_or(0);
        let this = now.0.div_euclid(3600);
        let guess = |hour: i64| {
            // back to the latest time at which that hour of the week has been
            let weeks = (hour - this).div_euclid(WEEK) + 1;
            let same = (0..4).filter_map(|back| self.hours.get(&(hour - WEEK * (weeks + back))));
            same.max().copied().unwrap_or(highest)
        };
        let week = (this..this + WEEK).map(|hour| (Moment(hour * 3600), guess(hour)));
        Steps::new(guess(this), week.chain([(Moment((this + WEEK) * 3600), highest)]))
    }
}
