//! A series of a simulation, as it would be known while time goes on.

use super::{Forecast, Forecaster};
use crate::core::chance::random;
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};

/// What is known of a series at moments that follow each other.
#[derive(Debug, Clone)]
pub struct Outlook {
    actual: Steps<i64>,
    seed: u64,
    known: Known,
}

#[derive(Debug, Clone)]
enum Known {
    All,
    Noisy(u32),
    By(Box<Forecaster>),
}

impl Outlook {
    /// A series that is known from a moment on: nothing before it is looked at.
    #[must_use]
    pub fn new(actual: Steps<i64>, from: Moment, forecast: Forecast, seed: u64) -> Self {
        let known = match forecast {
            Forecast::Perfect => Known::All,
            Forecast::Noisy { percent } => Known::Noisy(percent),
            Forecast::By(method) => Known::By(Box::new(Forecaster::new(method, from.ceil(Seconds::HOUR)))),
        };
        Self { actual, seed, known }
    }

    /// Time has come to this moment: all hours that have begun are known.
    pub fn observe(&mut self, now: Moment) {
        if let Known::By(forecaster) = &mut self.known {
            while forecaster.next() <= now {
                forecaster.observe(self.actual.at(forecaster.next()));
            }
        }
    }

    /// The series as it is known at this moment, up to `until`: beyond that nothing is cheaper than before.
    #[must_use]
    pub fn known(&self, now: Moment, until: Moment) -> Steps<i64> {
        match &self.known {
            Known::All => self.actual.clone(),
            Known::By(forecaster) => forecaster.known(now, self.actual.at(now), until),
            Known::Noisy(percent) => noisy(&self.actual, now, until, *percent, self.seed),
        }
    }

    /// When what is known may next be another.
    #[must_use]
    pub fn next_change(&self, now: Moment) -> Option<Moment> {
        let hour = (now + Seconds(1)).ceil(Seconds::HOUR);
        match self.known {
            Known::All => None,
            Known::By(_) | Known::Noisy(_) => Some(self.actual.next_change(now).map_or(hour, |at| at.min(hour))),
        }
    }
}

fn noisy(actual: &Steps<i64>, now: Moment, until: Moment, percent: u32, seed: u64) -> Steps<i64> {
    let first = now.floor(Seconds::HOUR);
    let mut changes = vec![(first, actual.at(now))];
    let mut hour = first + Seconds::HOUR;
    while hour < until {
        let span = 2 * i64::from(percent) * 10 + 1;
        let draw = random(seed, hour.0.unsigned_abs()) % span.unsigned_abs();
        let permille = i64::try_from(draw).unwrap_or(0) - i64::from(percent) * 10;
        let value = actual.at(hour);
        changes.push((hour, value.saturating_add(value / 1000 * permille)));
        hour = hour + Seconds::HOUR;
    }
    let highest = changes.iter().map(|(_, value)| *value).max().unwrap_or(actual.at(now));
    changes.push((hour, highest));
    Steps::new(actual.at(now), changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::forecast::Method;

    fn hours(count: i64) -> Steps<i64> {
        Steps::new(0, (0..count).map(|hour| (Moment(hour * 3600), 1000 * hour)))
    }

    fn at(steps: &Steps<i64>, hour: i64) -> i64 {
        steps.at(Moment(hour * 3600))
    }

    #[test]
    fn noise_is_bounded_seeded_and_leaves_the_present_alone() {
        let noisy = |seed| {
            let outlook = Outlook::new(hours(999), Moment(0), Forecast::Noisy { percent: 10 }, seed);
            outlook.known(Moment(36_000), Moment(360_000))
        };
        assert_eq!(noisy(1), noisy(1));
        assert_ne!(noisy(1), noisy(2));
        assert_eq!(at(&noisy(1), 10), 10_000);
        for hour in 11..100 {
            assert!((at(&noisy(1), hour) - hour * 1000).abs() <= hour * 100, "hour {hour}");
        }
        assert!((10..100).all(|hour| at(&noisy(1), hour) <= at(&noisy(1), 500)));
    }

    #[test]
    fn only_what_has_begun_is_known() {
        let mut outlook = Outlook::new(hours(999), Moment(5), Forecast::By(Method::Persistence), 1);
        let now = Moment(48 * 3600 + 1800);
        outlook.observe(now);
        let known = outlook.known(now, now + Seconds::DAY);
        assert_eq!([48, 49, 71].map(|hour| at(&known, hour)), [48_000, 25_000, 47_000]);
        assert_eq!(outlook.next_change(now), Some(Moment(49 * 3600)));
        let perfect = Outlook::new(hours(999), Moment(0), Forecast::Perfect, 1);
        assert_eq!((perfect.known(now, now), perfect.next_change(now)), (hours(999), None));
    }
}
