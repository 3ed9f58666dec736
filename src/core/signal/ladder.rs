//! How well a signal is known, rung by rung, and what to plan with on each.
//!
//! ```text
//!              answers no more          ended maxAge ago            fewer than two weeks kept
//!   Live ───────────────────────▶ LastKnown ───────────▶ HourOfWeek ─ ─ ─ ─ ─ ─ ─ ─ ─▶ Static ─▶ Nothing
//!     ▲                               │                      │                           │          │
//!     └───────────────────────────────┴──── an answer ───────┴───────────────────────────┴──────────┘
//! ```
//!
//! What is not known is guessed from what is remembered, once enough is; else it is priced at the highest that is known. What no provider
//! says of now is planned on what four of five guesses stay under: a stale signal is never read as green. Of generation it is the other
//! way round. No rung stops work, and none adds a watt: a signal says what a kWh costs, and nothing of how many there may be.

use super::guesses::{Guess, Guesses, PastError};
use super::reading::Safe;
use super::said::{SHOWN_LEADS, Said};
use super::series::Series;
use super::sift::{ends_in_flips, longest_run};
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Hours that are kept: eighteen weeks. The regressions need eleven before they say anything.
pub(super) const KEPT: i64 = 18 * 168;
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
    /// What stands in for what is not known.
    pub safe: Safe,
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
    /// That hour by hour, for people: from this hour on, where anything is known.
    pub ahead: Vec<Hour>,
    /// How far was off what providers and we ourselves said of hours ahead.
    pub errors: Vec<PastError>,
}

/// One hour that lies ahead. Where it is no guess of ours, all three are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    /// Of ten like it, one was below this.
    pub low: i64,
    /// What is planned with.
    pub planned: i64,
    /// Of ten like it, one was above this.
    pub high: i64,
}

impl Standing {
    /// What nine of ten hours like those ahead stay under; beyond these as it is planned with. None where nothing that is ahead is
    /// guessed.
    #[must_use]
    pub fn high(&self, now: Moment) -> Option<Steps<i64>> {
        self.ahead.iter().find(|hour| hour.high > hour.planned)?;
        let mut steps = self.steps.clone()?;
        for (hour, ahead) in (now.0.div_euclid(3600)..).zip(&self.ahead).filter(|(_, ahead)| ahead.high > ahead.planned)
        {
            let from = Moment(hour * 3600);
            steps.update(from.max(now), from + Seconds::HOUR, |value| value.max(ahead.high));
        }
        Some(steps)
    }
}

/// Hours ahead that are shown.
const SHOWN: i64 = 48;

/// What is remembered of one signal.
#[derive(Debug, Default, Clone)]
pub struct Memory {
    pub(super) last: Option<Last>,
    /// Is it as the providers say now?
    answers: bool,
    /// The mean of each whole hour that was, by its number since 1970.
    pub(super) hours: BTreeMap<i64, i64>,
    /// What was said of the last two hours, while they were.
    trail: Option<Trail>,
    guesses: Guesses,
    said: Said,
    /// What the last answers said of their own present.
    presents: Vec<i64>,
}

/// Presents that are kept: as many as are looked at.
const PRESENTS: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Last {
    pub(super) series: Arc<Series>,
    pub(super) heard: Moment,
}

/// What was said of the time up to now by answers that follow each other: many begin in the middle of an hour, and none has all of it.
#[derive(Debug, Clone)]
struct Trail {
    from: Moment,
    until: Moment,
    steps: Steps<i64>,
}

/// How far back a trail goes.
const TRAIL: Seconds = Seconds(2 * 3600);

impl Trail {
    /// With what a series says of the time up to now. What it says nothing of stays, if there is no gap between.
    fn with(before: Option<Self>, series: &Series, now: Moment) -> Option<Self> {
        let (from, until) = (series.from.max(now - TRAIL), series.until.min(now));
        if from >= until {
            return before;
        }
        let old = before.filter(|old| old.from < from && old.until >= from);
        let start = old.as_ref().map_or(from, |old| old.from.max(now - TRAIL)).min(from);
        let kept = old.iter().flat_map(|old| old.steps.pieces(start, from));
        let pieces: Vec<(Moment, i64)> =
            kept.chain(series.steps.pieces(from, until)).map(|(at, _, value)| (at, value)).collect();
        let first = pieces.first()?.1;
        Some(Self { from: start, until, steps: Steps::new(first, pieces) })
    }
}

impl Memory {
    /// A provider says this; `heard` is when it was first heard.
    pub fn take(&mut self, series: Arc<Series>, heard: Moment, now: Moment) {
        let before = self.last.as_ref().map(|last| last.heard);
        let this = now.0.div_euclid(3600);
        let known = self.hours.keys().next_back().map_or(this - KEPT, |last| last + 1);
        // what was said before of hours that are over by now, and then what is said of them today
        let mut oldest = this - KEPT;
        if let Some(before) = self.last.take() {
            self.absorb(&before.series.steps, before.series.from.max(Moment(known * 3600)), before.series.until, this);
            self.trail = Trail::with(self.trail.take(), &before.series, now);
            if Arc::ptr_eq(&before.series, &series) {
                oldest = oldest.max(known);
            }
        }
        if let Some(trail) = Trail::with(self.trail.take(), &series, now) {
            self.absorb(&trail.steps, trail.from, trail.until, this);
            self.trail = Some(trail);
        }
        self.absorb(&series.steps, series.from.max(Moment(oldest * 3600)), series.until, this);
        for (hour, value) in self.hours.range(known..) {
            self.said.came(*hour, *value);
        }
        self.said.note(&series, this);
        if before.is_none_or(|before| before != heard) && series.from <= now && now < series.until {
            self.presents.push(series.steps.at(now));
            self.presents.drain(..self.presents.len().saturating_sub(PRESENTS));
        }
        self.hours = self.hours.split_off(&(this - KEPT));
        (self.last, self.answers) = (Some(Last { series, heard }), true);
        self.guesses.follow(&self.hours);
    }

    /// Remembers the whole hours of an interval that are over.
    fn absorb(&mut self, steps: &Steps<i64>, from: Moment, until: Moment, this: i64) {
        let first = from.ceil(Seconds::HOUR).0.div_euclid(3600).max(this - KEPT);
        for hour in first..until.0.div_euclid(3600).min(this) {
            let from = Moment(hour * 3600);
            self.hours.insert(hour, steps.mean(from, from + Seconds::HOUR));
        }
    }

    /// No provider says anything that can be used.
    pub fn miss(&mut self) {
        self.answers = false;
        self.guesses.follow(&self.hours);
    }

    /// When a provider was last heard with something new.
    #[must_use]
    pub fn heard(&self) -> Option<Moment> {
        self.last.as_ref().map(|last| last.heard)
    }

    /// The last whole hour that is remembered, counted from 1970.
    #[must_use]
    pub fn last_hour(&self) -> Option<i64> {
        self.hours.keys().next_back().copied()
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
        let (rung, why, steps) = self.rung(rules, now);
        let heard = self.last.as_ref().map(|last| last.heard);
        let ahead = steps.as_ref().map(|steps| self.hours_ahead(steps, now)).unwrap_or_default();
        let errors = SHOWN_LEADS.iter().flat_map(|lead| [self.said.error(*lead), self.guesses.error(*lead)]).flatten();
        Standing { rung, why, heard, steps, ahead, errors: errors.collect() }
    }

    fn rung(&self, rules: Rules, now: Moment) -> (Rung, String, Option<Steps<i64>>) {
        let Rules { safe, .. } = rules;
        if let Some(Last { series, heard }) = &self.last
            && series.from <= now
            && now < series.until + rules.max_age
        {
            let is_live = self.answers && now < series.until;
            let (steps, beyond) = self.ahead(series, safe, is_live, now);
            if !rules.may_jump && ends_in_flips(&self.presents) {
                let stands = safe.of_all(self.presents.iter().copied()).unwrap_or(0);
                let name = safe.name();
                let why = format!(
                    "it jumps to and fro from one answer to the next: the {name} of the last ones counts; {beyond}"
                );
                return (Rung::LastKnown, why, Some(steps.map(|value| safe.of(value, stands))));
            }
            let (rung, known) = if is_live {
                (Rung::Live, "a provider answers".to_owned())
            } else if now >= series.until {
                (Rung::LastKnown, "what is known is not of now".to_owned())
            } else {
                (Rung::LastKnown, format!("no provider answers; last heard at {heard}"))
            };
            return (rung, format!("{known}; {beyond}"), Some(steps));
        }
        let since = match &self.last {
            Some(Last { series, .. }) if series.from > now => format!("what is known begins at {}", series.from),
            Some(Last { series, .. }) => format!("known until {}, more than {} ago", series.until, rules.max_age),
            None => "nothing was ever heard".to_owned(),
        };
        if self.hours.len() >= ENOUGH {
            let why = format!("{since}: the {} of the same hour of the week", safe.name());
            return (Rung::HourOfWeek, why, Some(self.weekly(safe, now)));
        }
        match rules.fixed {
            Some(fixed) => {
                let value = safe.of_all(self.hours.values().copied()).map_or(fixed, |known| safe.of(known, fixed));
                let why = format!("{since}: the value set for this, or the {} known", safe.name());
                (Rung::Static, why, Some(Steps::constant(value)))
            }
            None => (Rung::Nothing, since, None),
        }
    }

    /// As it was said; beyond its end as it is guessed; and beyond that the safe one of the last day and of all that is ahead.
    fn ahead(&self, series: &Series, safe: Safe, is_live: bool, now: Moment) -> (Steps<i64>, String) {
        let day = now.min(series.until) - Seconds::DAY;
        let said = series.steps.pieces(day.max(series.from), series.until).map(|(_, _, value)| value);
        let first = day.ceil(Seconds::HOUR).0.div_euclid(3600);
        let remembered = self.hours.range(first..).map(|(_, value)| *value);
        let known = safe.of_all(said.chain(remembered)).unwrap_or(0);
        let mut steps = series.steps.clone();
        let (hour, guesses) = self.guesses.from(series.until.0.div_euclid(3600));
        // what is of now is a figure, and the middle guess of what follows the best there is; without one, four of five stay within it
        let planned = |guess: &Guess| match safe {
            _ if is_live => guess.middle,
            Safe::High => guess.rather_high,
            Safe::Low => guess.rather_low,
        };
        let rest = safe.of_all(guesses.iter().map(planned)).map_or(known, |guessed| safe.of(known, guessed));
        steps.update(series.until, Moment::FAR_FUTURE, |_| rest);
        for (hour, guess) in (hour..).zip(guesses) {
            let from = Moment(hour * 3600);
            steps.update(from.max(series.until), from + Seconds::HOUR, |_| planned(guess));
        }
        let until = series.until;
        // of the hour that is guessed next, or else the last one that is
        let place = usize::try_from(now.0.div_euclid(3600) - hour).unwrap_or(0).min(guesses.len().saturating_sub(1));
        let words = match guesses.get(place) {
            Some(guess) => {
                let on = if is_live {
                    "planned on the guess itself"
                } else if safe == Safe::High {
                    "planned on what four of five stay under"
                } else {
                    "planned on what four of five stay over"
                };
                format!("beyond {until} guessed from {} hours by {}, {on}", self.guesses.hours(), guess.by.name())
            }
            None => format!("beyond {until} the {} of the last day and of what is ahead", safe.name()),
        };
        (steps, words)
    }

    fn hours_ahead(&self, steps: &Steps<i64>, now: Moment) -> Vec<Hour> {
        let this = now.0.div_euclid(3600);
        let until = self.last.as_ref().map_or(0, |last| last.series.until.0);
        let (first, guesses) = self.guesses.from(until.div_euclid(3600));
        let hour = |hour: i64| {
            let from = Moment(hour * 3600);
            let planned = steps.mean(from, from + Seconds::HOUR);
            let place = usize::try_from(hour - first).ok();
            let guess = place.and_then(|place| guesses.get(place)).filter(|_| from.0 >= until);
            let (low, high) = guess.map_or((planned, planned), |guess| (guess.low, guess.high));
            Hour { low: low.min(planned), planned, high: high.max(planned) }
        };
        (this..this + SHOWN).map(hour).collect()
    }

    fn weekly(&self, safe: Safe, now: Moment) -> Steps<i64> {
        let all = safe.of_all(self.hours.values().copied()).unwrap_or(0);
        let this = now.0.div_euclid(3600);
        let guess = |hour: i64| {
            // back to the latest time at which that hour of the week has been
            let weeks = (hour - this).div_euclid(WEEK) + 1;
            let same = (0..4).filter_map(|back| self.hours.get(&(hour - WEEK * (weeks + back))).copied());
            safe.of_all(same).unwrap_or(all)
        };
        let week = (this..this + WEEK).map(|hour| (Moment(hour * 3600), guess(hour)));
        Steps::new(guess(this), week.chain([(Moment((this + WEEK) * 3600), all)]))
    }
}
