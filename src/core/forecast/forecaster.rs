//! Guesses of the hours ahead, made anew with each hour, and held against what came.

use super::errors::Errors;
use super::hours::{self, Hours};
use super::learned::Learned;
use super::{LEADS, Method};
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};
use std::collections::VecDeque;

/// Guesses the hours that follow the last one it was told. The same values give the same guesses, bit for bit.
#[derive(Debug, Clone)]
pub struct Forecaster {
    method: Method,
    hours: Hours,
    learned: Option<Learned>,
    errors: Errors,
    /// The guesses of the last hours, the newest first; each for one hour ahead, two, and so on.
    made: VecDeque<Vec<i64>>,
    /// The lowest and the highest value that was ever told: nothing is guessed beyond what can be.
    range: (i64, i64),
}

impl Forecaster {
    /// Nothing is known yet; the first value will be that of the hour of this moment.
    #[must_use]
    pub fn new(method: Method, from: Moment) -> Self {
        Self {
            method,
            hours: Hours::new(from.0.div_euclid(Seconds::HOUR.0)),
            learned: (method == Method::Learned).then(|| Learned::new(LEADS)),
            errors: Errors::new(LEADS),
            made: VecDeque::new(),
            range: (i64::MAX, i64::MIN),
        }
    }

    /// The value of the next hour. All that was guessed of it is held against it, and the hours that follow are guessed anew.
    pub fn observe(&mut self, value: i64) {
        let hour = self.hours.next();
        for (lead, guesses) in (1..).zip(&self.made) {
            if let Some(guess) = guesses.get(lead - 1) {
                self.errors.keep(lead, hour, value.saturating_sub(*guess));
            }
        }
        self.range = (self.range.0.min(value), self.range.1.max(value));
        self.hours.push(value);
        if let Some(learned) = &mut self.learned {
            learned.learn(&self.hours);
        }
        self.guess_all();
    }

    /// The next hour is not known: it is taken as it was guessed. Nothing is learned from it, and no error is kept of it. Before the first
    /// value nothing is.
    pub fn skip(&mut self) {
        if let Some(guess) = self.ahead(1) {
            self.hours.push(guess);
            self.guess_all();
        }
    }

    fn guess_all(&mut self) {
        let guesses = (1..=LEADS).filter_map(|lead| self.guess(lead)).collect();
        self.made.push_front(guesses);
        self.made.truncate(LEADS);
    }

    /// When the next value is due.
    #[must_use]
    pub fn next(&self) -> Moment {
        Moment(self.hours.next().saturating_mul(Seconds::HOUR.0))
    }

    /// What is guessed of the hour `lead` hours after the last one, from 1 on; none before the first value.
    #[must_use]
    pub fn ahead(&self, lead: usize) -> Option<i64> {
        let made = self.made.front().and_then(|guesses| guesses.get(lead.checked_sub(1)?));
        made.copied().or_else(|| self.guess(lead))
    }

    /// What that hour will be at most, with so many thousandths of certainty, by the errors of past guesses; the guess itself while there
    /// are too few of them, and beyond the hours for which they are kept.
    #[must_use]
    pub fn quantile(&self, lead: usize, permille: u32) -> Option<i64> {
        let hour = self.hours.next() - 1 + lead as i64;
        let error = self.errors.quantile(lead, hour, permille).unwrap_or(0);
        Some(self.ahead(lead)?.saturating_add(error))
    }

    /// The errors of past guesses.
    #[must_use]
    pub fn errors(&self) -> &Errors {
        &self.errors
    }

    fn guess(&self, lead: usize) -> Option<i64> {
        let (now, lead) = (self.hours.next() - 1, lead as i64);
        let learned = self.learned.as_ref().and_then(|learned| learned.guess(&self.hours, lead));
        match (learned, self.method) {
            (Some(guess), _) => Some((guess.round() as i64).clamp(self.range.0, self.range.1)),
            (None, Method::Persistence) => hours::persistence(&self.hours, now, lead),
            (None, Method::HourOfWeek | Method::Learned) => hours::hour_of_week(&self.hours, now, lead),
        }
    }

    /// The series as it is known at `now`, within the hour that was told last: what is as it is, then hour by hour as it is guessed until
    /// `until`, and after that at the highest of these: what is not known is never the cheapest.
    #[must_use]
    pub fn known(&self, now: Moment, present: i64, until: Moment) -> Steps<i64> {
        let first = now.floor(Seconds::HOUR) + Seconds::HOUR;
        let mut changes = vec![(now.floor(Seconds::HOUR), present)];
        let mut hour = first;
        while hour < until {
            let lead = usize::try_from((hour - self.next()).0 / Seconds::HOUR.0 + 1).unwrap_or(1);
            changes.push((hour, self.ahead(lead).unwrap_or(present)));
            hour = hour + Seconds::HOUR;
        }
        let highest = changes.iter().map(|(_, value)| *value).max().unwrap_or(present);
        changes.push((until.max(first), highest));
        Steps::new(present, changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::chance::random;

    /// A day's wave whose height changes from day to day and stays for a while, with noise.
    fn wave(hour: i64) -> i64 {
        let noise = |index: i64| (random(3, index.unsigned_abs()) % 2001) as i64 - 1000;
        let height: i64 = (0..4).map(|back| noise(1_000_000 + hour / 24 - back) * (4 - back)).sum::<i64>() / 10;
        let sun = [0, 0, 0, 0, 0, 1, 3, 6, 8, 9, 10, 10, 10, 9, 8, 6, 3, 1, 0, 0, 0, 0, 0, 0][(hour % 24) as usize];
        300_000 - sun * (12_000 + 8 * height) + 3 * noise(hour)
    }

    fn told(method: Method, hours: i64) -> Forecaster {
        let mut forecaster = Forecaster::new(method, Moment(0));
        (0..hours).for_each(|hour| forecaster.observe(wave(hour)));
        forecaster
    }

    #[test]
    fn what_was_guessed_is_held_against_what_came() {
        let forecaster = told(Method::Persistence, 24 * 20);
        let error: i64 = (24 * 2..24 * 20).map(|hour| (wave(hour) - wave(hour - 24)).abs()).sum::<i64>();
        let days: i64 = (24..24 * 2).map(|hour| (wave(hour) - wave(hour - 24)).abs()).sum::<i64>();
        // on the first day there is no day before
        let first: i64 = (1..24).map(|hour| (wave(hour) - wave(hour - 1)).abs()).sum::<i64>();
        let mean = (error + days + first) as f64 / (24.0 * 20.0 - 1.0);
        assert!((forecaster.errors().mean_absolute(1).unwrap() - mean).abs() < 1e-6);
        assert_eq!(forecaster.errors().mean_absolute(LEADS + 1), None);
    }

    #[test]
    fn the_learned_one_beats_both_others_on_days_it_has_not_seen_and_its_quantiles_hold() {
        let days = 24 * 200;
        let [learned, weekly, daily] =
            [Method::Learned, Method::HourOfWeek, Method::Persistence].map(|method| told(method, days));
        for lead in [1, 6, 24] {
            let of = |forecaster: &Forecaster| forecaster.errors().mean_absolute(lead).unwrap();
            let best = of(&weekly).min(of(&daily));
            assert!(of(&learned) < 0.95 * best, "{lead} h: {} against {best}", of(&learned));
        }
        let mut forecaster = learned;
        let mut below = [0; 2];
        for hour in days..days + 24 * 30 {
            let quantiles = [100, 900].map(|permille| forecaster.quantile(6, permille).unwrap());
            for (count, quantile) in below.iter_mut().zip(quantiles) {
                *count += i32::from(wave(hour + 5) <= quantile);
            }
            forecaster.observe(wave(hour));
        }
        let [low, high] = below.map(|count| f64::from(count) / 7.2);
        assert!((low - 10.0).abs() < 5.0 && (high - 90.0).abs() < 5.0, "{low} % and {high} %");
    }

    #[test]
    fn the_learned_one_begins_as_the_hour_of_the_week_and_stays_within_what_was() {
        let (learned, weekly) = (told(Method::Learned, 24 * 30), told(Method::HourOfWeek, 24 * 30));
        assert!((1..200).all(|lead| learned.ahead(lead) == weekly.ahead(lead)));
        let mut forecaster = Forecaster::new(Method::Learned, Moment(0));
        assert_eq!((forecaster.ahead(1), forecaster.quantile(1, 500)), (None, None));
        // the absurd: it neither panics nor leaves the range
        for hour in 0..24 * 120 {
            forecaster.observe(if hour % 7 == 0 { i64::MAX } else { i64::MIN });
        }
        assert!((1..400).all(|lead| forecaster.ahead(lead).is_some()));
        let mut flat = Forecaster::new(Method::Learned, Moment(0));
        (0..24 * 120).for_each(|_| flat.observe(5));
        assert!((1..400).all(|lead| flat.ahead(lead) == Some(5)));
    }

    #[test]
    fn a_series_is_known_up_to_now_and_what_is_not_is_never_the_cheapest() {
        let forecaster = told(Method::Persistence, 49);
        let now = Moment(48 * 3600 + 600);
        let known = forecaster.known(now, 1, Moment(120 * 3600));
        let at = |hour: i64| known.at(Moment(hour * 3600));
        assert_eq!([at(48), at(49), at(71), at(73)], [1, wave(25), wave(47), wave(25)]);
        let most = (48..120).map(at).max().unwrap();
        assert_eq!((at(120), at(9999)), (most, most));
    }
}
