//! Guesses of the hours ahead from those that are remembered: by each method, and at each lead by the one that was nearest so far.

use crate::core::forecast::{Forecaster, LEADS, Method};
use crate::units::{Moment, Seconds};
use std::collections::BTreeMap;

/// Hours that are told at once: what was remembered through a restart is told over some cycles, so that none takes long.
const AT_ONCE: i64 = 168;

/// A longer gap than this, in hours, is not bridged by what was guessed: all begins anew behind it. A week, after which the shape of a
/// week would be one that was made up.
const BRIDGED: i64 = 168;

/// Errors of a lead before anything is guessed so far ahead: those of a day.
const ENOUGH: usize = 24;

/// From the simplest on: of two that were equally near the simpler counts.
const METHODS: [Method; 3] = [Method::Persistence, Method::HourOfWeek, Method::Learned];

/// What is guessed of one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    /// By the method that was nearest so far at this lead.
    pub by: Method,
    /// The guess itself.
    pub middle: i64,
    /// Of ten hours guessed like this one, one was below this.
    pub low: i64,
    /// Of five, one was below this.
    pub rather_low: i64,
    /// Of five, one was above this.
    pub rather_high: i64,
    /// Of ten, one was above this.
    pub high: i64,
}

/// How far past guesses were from what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastError {
    /// So many hours before.
    pub hours_ahead: usize,
    /// Who guessed; none: a provider said so.
    pub by: Option<Method>,
    /// The mean of the errors' amounts, in the unit of the values.
    pub mean: i64,
    /// Of how many.
    pub count: usize,
}

/// All methods side by side, each told the same hours.
#[derive(Debug, Default, Clone)]
pub(super) struct Guesses {
    told: Option<Told>,
}

#[derive(Debug, Clone)]
struct Told {
    all: Vec<Forecaster>,
    /// The lowest and the highest that was told.
    range: (i64, i64),
    /// From one hour after the last on, as far as enough is known of errors.
    ahead: Vec<Guess>,
    /// Hours that were told, gaps aside.
    hours: usize,
}

impl Guesses {
    /// Tells what is remembered and was not told yet, up to some hours at once. What was told is not told otherwise later.
    pub(super) fn follow(&mut self, hours: &BTreeMap<i64, i64>) {
        let Some(last) = hours.keys().next_back().copied() else { return };
        for _ in 0..AT_ONCE {
            let next = self.next_hour();
            if next.is_some_and(|next| next > last) {
                break;
            }
            let Some((hour, value)) = hours.range(next.unwrap_or(i64::MIN)..).next() else { break };
            match (&mut self.told, next) {
                (Some(told), Some(next)) if hour - next <= BRIDGED => {
                    told.tell((*hour == next).then_some(*value));
                }
                _ => {
                    let from = Moment(hour.saturating_mul(Seconds::HOUR.0));
                    let all = METHODS.map(|method| Forecaster::new(method, from)).to_vec();
                    let told = Told { all, range: (*value, *value), ahead: Vec::new(), hours: 0 };
                    self.told.insert(told).tell(Some(*value));
                }
            }
        }
        if self.next_hour().is_some_and(|next| next > last)
            && let Some(told) = self.told.as_mut().filter(|told| told.ahead.is_empty())
        {
            told.look_ahead();
        }
    }

    /// The hour after the last that was told.
    fn next_hour(&self) -> Option<i64> {
        Some(self.told.as_ref()?.all.first()?.next().0.div_euclid(Seconds::HOUR.0))
    }

    /// What is guessed, hour by hour from the given one on, or from the first that was not told where that is later; and that hour.
    pub(super) fn from(&self, hour: i64) -> (i64, &[Guess]) {
        let next = self.next_hour().unwrap_or(hour);
        let first = hour.max(next);
        let ahead = self.told.as_ref().map_or(&[][..], |told| &told.ahead);
        let skipped = usize::try_from(first - next).ok();
        (first, skipped.and_then(|skipped| ahead.get(skipped..)).unwrap_or(&[]))
    }

    /// How many hours it is made from.
    pub(super) fn hours(&self) -> usize {
        self.told.as_ref().map_or(0, |told| told.hours)
    }

    /// The errors of what was nearest, at one lead.
    pub(super) fn error(&self, lead: usize) -> Option<PastError> {
        let told = self.told.as_ref()?;
        let guess = told.ahead.get(lead.checked_sub(1)?)?;
        let place = METHODS.iter().position(|method| *method == guess.by)?;
        let errors = told.all.get(place)?.errors();
        let mean = errors.mean_absolute(lead)?.round() as i64;
        Some(PastError { hours_ahead: lead, by: Some(guess.by), mean, count: errors.count(lead) })
    }
}

impl Told {
    fn tell(&mut self, value: Option<i64>) {
        for forecaster in &mut self.all {
            match value {
                Some(value) => forecaster.observe(value),
                None => forecaster.skip(),
            }
        }
        if let Some(value) = value {
            self.range = (self.range.0.min(value), self.range.1.max(value));
            self.hours += 1;
        }
        self.ahead.clear();
    }

    fn look_ahead(&mut self) {
        self.ahead = (1..=LEADS).map_while(|lead| self.guess(lead)).collect();
    }

    fn guess(&self, lead: usize) -> Option<Guess> {
        let known = |forecaster: &&Forecaster| forecaster.errors().count(lead) >= ENOUGH;
        let error = |forecaster: &Forecaster| forecaster.errors().mean_absolute(lead).unwrap_or(f64::INFINITY);
        let (by, nearest) = METHODS
            .into_iter()
            .zip(&self.all)
            .filter(|(_, forecaster)| known(forecaster))
            .min_by(|(_, one), (_, other)| error(one).total_cmp(&error(other)))?;
        let middle = nearest.ahead(lead)?;
        let hour = nearest.next().0.div_euclid(Seconds::HOUR.0) - 1 + lead as i64;
        // nothing is guessed beyond what was: what is negative once may be again, a roof's night may not
        let at = |permille| {
            let error = nearest.errors().quantile_of_any(lead, hour, permille)?;
            Some(middle.saturating_add(error).clamp(self.range.0, self.range.1))
        };
        Some(Guess { by, middle, low: at(100)?, rather_low: at(200)?, rather_high: at(800)?, high: at(900)? })
    }
}
