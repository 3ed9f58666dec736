//! What may be known at a moment of a series that lies ahead.

use super::chance::random;
use super::steps::Steps;
use crate::units::{Moment, Seconds};

/// How the future is guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forecast {
    /// It is known.
    Perfect,
    /// As it was a day before.
    Persistence,
    /// The mean of the same hour of the week over the four weeks before; where these are not known, persistence.
    HourOfWeek,
    /// Known up to an error of so many percent either way, of its own for each hour, the present hour excepted.
    Noisy {
        /// The largest error.
        percent: u32,
    },
}

/// The series as it would be known at `now`: what was is as it was, what comes is guessed hour by hour until `until`,
/// and after that it stays at the highest value of what is known: what is not known is never the cheapest.
///
/// `known_from` is where the data begin: nothing before it is looked at.
#[must_use]
pub fn known_at(
    actual: &Steps<i64>,
    known_from: Moment,
    now: Moment,
    until: Moment,
    forecast: Forecast,
    seed: u64,
) -> Steps<i64> {
    let highest = actual.highest(now, until.max(now + Seconds(1)));
    if forecast == Forecast::Perfect {
        let mut steps = actual.clone();
        steps.update(until, Moment::FAR_FUTURE, |_| highest);
        return steps;
    }
    let mut changes = Vec::new();
    let mut hour = now.floor(Seconds::HOUR);
    let first = hour;
    while hour < until {
        let next = hour + Seconds::HOUR;
        changes.push((
            hour,
            if hour == first { actual.at(now) } else { guess(actual, known_from, hour, now, forecast, seed) },
        ));
        hour = next;
    }
    let highest = changes.iter().map(|(_, value)| *value).max().unwrap_or(highest);
    changes.push((until.max(first + Seconds::HOUR), highest));
    Steps::new(actual.at(now), changes)
}

fn guess(actual: &Steps<i64>, known_from: Moment, hour: Moment, now: Moment, forecast: Forecast, seed: u64) -> i64 {
    let days_back = |days: i64| hour - Seconds(days * Seconds::DAY.0);
    let is_known = |at: Moment| at >= known_from && at <= now;
    let persistence = || {
        let ahead = (hour - now).0.max(0) / Seconds::DAY.0 + 1;
        let before = days_back(ahead);
        if is_known(before) { actual.at(before) } else { actual.at(now) }
    };
    match forecast {
        Forecast::Perfect => actual.at(hour),
        Forecast::Persistence => persistence(),
        Forecast::HourOfWeek => {
            let weeks: Vec<i64> =
                (1..=4).map(|week| days_back(7 * week)).filter(|at| is_known(*at)).map(|at| actual.at(at)).collect();
            match i64::try_from(weeks.len()) {
                Ok(n) if n > 0 => weeks.iter().sum::<i64>() / n,
                _ => persistence(),
            }
        }
        Forecast::Noisy { percent } => {
            let span = 2 * i64::from(percent) * 10 + 1;
            let draw = random(seed, hour.0.unsigned_abs()) % span.unsigned_abs();
            let permille = i64::try_from(draw).unwrap_or(0) - i64::from(percent) * 10;
            let value = actual.at(hour);
            value + value / 1000 * permille
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(count: i64) -> Steps<i64> {
        Steps::new(0, (0..count).map(|hour| (Moment(hour * 3600), 1000 * hour)))
    }

    fn at(steps: &Steps<i64>, hour: i64) -> i64 {
        steps.at(Moment(hour * 3600))
    }

    #[test]
    fn persistence_repeats_the_last_known_day() {
        let known = known_at(&hours(999), Moment(0), Moment(48 * 3600), Moment(120 * 3600), Forecast::Persistence, 1);
        assert_eq!([48, 49, 71, 73].map(|hour| at(&known, hour)), [48_000, 25_000, 47_000, 25_000]);
    }

    #[test]
    fn the_hour_of_the_week_is_a_mean_of_weeks() {
        let now = Moment(5 * 7 * 24 * 3600);
        let known = known_at(&hours(9999), Moment(0), now, now + Seconds::DAY, Forecast::HourOfWeek, 1);
        let hour = 5 * 168 + 3;
        assert_eq!(at(&known, hour), 1000 * (4 * hour - 168 * (1 + 2 + 3 + 4)) / 4);
    }

    #[test]
    fn noise_is_bounded_seeded_and_leaves_the_present_alone() {
        let noisy = |seed| {
            known_at(&hours(999), Moment(0), Moment(36_000), Moment(360_000), Forecast::Noisy { percent: 10 }, seed)
        };
        assert_eq!(noisy(1), noisy(1));
        assert_ne!(noisy(1), noisy(2));
        assert_eq!(at(&noisy(1), 10), 10_000);
        for hour in 11..100 {
            assert!((at(&noisy(1), hour) - hour * 1000).abs() <= hour * 100, "hour {hour}");
        }
    }

    #[test]
    fn what_is_not_known_is_never_the_cheapest() {
        for forecast in [Forecast::Perfect, Forecast::Persistence] {
            let known = known_at(&hours(50), Moment(0), Moment(30 * 3600), Moment(40 * 3600), forecast, 1);
            let most = (30..40).map(|hour| at(&known, hour)).max().unwrap();
            assert_eq!(at(&known, 41), most);
        }
    }
}
