//! Hourly values without a gap, and what is said of an hour by looking back.

/// Hours that are kept at least: four weeks and the farthest lead before the earliest guess that is still open, with room to spare.
const KEPT: usize = 1200;

/// Hourly values up to now. Hours are counted from 1970; only the last weeks are kept.
#[derive(Debug, Clone)]
pub struct Hours {
    first: i64,
    values: Vec<i64>,
    /// The sum of all values before each, and of all at the end.
    sums: Vec<i128>,
}

impl Hours {
    /// Nothing yet; the first value will be that of this hour.
    #[must_use]
    pub fn new(first: i64) -> Self {
        Self { first, values: Vec::new(), sums: vec![0] }
    }

    /// The value of the hour after the last.
    pub fn push(&mut self, value: i64) {
        if self.values.len() >= 2 * KEPT {
            let old = self.values.len() - KEPT;
            self.values.drain(..old);
            self.sums.drain(..old);
            self.first = self.first.saturating_add(old as i64);
        }
        self.values.push(value);
        self.sums.push(self.sums.last().copied().unwrap_or(0) + i128::from(value));
    }

    /// The hour after the last.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.first.saturating_add(self.values.len() as i64)
    }

    /// The value of an hour, where it is known.
    #[must_use]
    pub fn at(&self, hour: i64) -> Option<i64> {
        let place = usize::try_from(hour.checked_sub(self.first)?).ok()?;
        self.values.get(place).copied()
    }

    /// The mean of the `count` hours up to and with this one, where all are known.
    #[must_use]
    pub fn mean(&self, last: i64, count: i64) -> Option<f64> {
        let end = usize::try_from(last.checked_sub(self.first)?.checked_add(1)?).ok()?;
        let from = end.checked_sub(usize::try_from(count).ok()?)?;
        let sum = self.sums.get(end)? - self.sums.get(from)?;
        Some(sum as f64 / count as f64)
    }

    /// The mean of `count` hours, each `step` before the one before it, the last one given first; of those that are known.
    #[must_use]
    pub fn mean_back(&self, from: i64, step: i64, count: i64) -> Option<i64> {
        let known = (0..count).filter_map(|i| self.at(from - i * step));
        let (sum, n) = known.fold((0_i128, 0), |(sum, n), value| (sum + i128::from(value), n + 1));
        if n == 0 { None } else { i64::try_from(sum / n).ok() }
    }
}

/// Hours in a day and in a week.
pub(super) const DAY: i64 = 24;
pub(super) const WEEK: i64 = 168;

/// How many whole days back an hour that lies `lead` hours ahead is known.
pub(super) fn days_back(lead: i64) -> i64 {
    (lead - 1).max(0) / DAY + 1
}

/// As it was on the last day on which that hour is known; the last value where none is.
pub(super) fn persistence(hours: &Hours, now: i64, lead: i64) -> Option<i64> {
    hours.at(now + lead - DAY * days_back(lead)).or_else(|| hours.at(now))
}

/// The mean of that hour of the week over the last four weeks in which it is known; persistence where it is in none.
pub(super) fn hour_of_week(hours: &Hours, now: i64, lead: i64) -> Option<i64> {
    let weeks = (lead - 1).max(0) / WEEK + 1;
    hours.mean_back(now + lead - WEEK * weeks, WEEK, 4).or_else(|| persistence(hours, now, lead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rising(count: i64) -> Hours {
        let mut hours = Hours::new(100);
        (0..count).for_each(|hour| hours.push(1000 * hour));
        hours
    }

    #[test]
    fn what_is_kept_is_enough_and_bounded() {
        let hours = rising(10_000);
        assert_eq!(hours.next(), 10_100);
        assert_eq!(hours.at(10_099), Some(9_999_000));
        assert_eq!((hours.at(10_100), hours.at(99), hours.at(i64::MIN)), (None, None, None));
        assert!(hours.values.len() <= 2 * KEPT && hours.at(10_100 - KEPT as i64).is_some());
        assert_eq!(hours.mean(10_099, 3), Some(9_998_000.0));
        assert_eq!(hours.mean(10_100, 3), None);
        assert_eq!(hours.mean_back(10_099, 24, 2), Some(9_999_000 - 12_000));
    }

    #[test]
    fn persistence_repeats_the_last_known_day() {
        let hours = rising(49);
        let now = hours.next() - 1;
        assert_eq!(
            [1, 23, 24, 25, 48].map(|lead| persistence(&hours, now, lead).unwrap()),
            [25, 47, 48, 25, 48].map(|n| n * 1000)
        );
        // before there is a day, as it is now
        assert_eq!(persistence(&rising(3), 102, 5), Some(2000));
        assert_eq!(persistence(&Hours::new(0), -1, 1), None);
    }

    #[test]
    fn the_hour_of_the_week_is_a_mean_of_weeks() {
        let hours = rising(5 * WEEK);
        let now = hours.next() - 1;
        let target = 5 * WEEK - 1 + 4;
        assert_eq!(hour_of_week(&hours, now, 4), Some(1000 * (4 * target - WEEK * (1 + 2 + 3 + 4)) / 4));
        assert_eq!(hour_of_week(&hours, now, 170), Some(1000 * (4 * (5 * WEEK + 169) - WEEK * (2 + 3 + 4 + 5)) / 4));
        assert_eq!(hour_of_week(&rising(30), 129, 1), persistence(&rising(30), 129, 1));
    }
}
