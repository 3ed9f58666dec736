//! The errors of past guesses, by how far ahead they were made and for which hour of the day.

use std::collections::VecDeque;

/// How many days of errors are kept: enough for a tenth of them to be six, few enough to follow the season.
const KEPT: usize = 60;

/// Fewer errors than this say nothing of how large they are.
const ENOUGH: usize = 10;

/// What came less what was guessed. An error says more of its own hour of the day than of others: the sun makes noon uncertain, not midnight.
#[derive(Debug, Clone)]
pub struct Errors {
    /// By lead from one hour on, then by the hour of the day that was guessed.
    kept: Vec<[VecDeque<i64>; 24]>,
}

impl Errors {
    pub(super) fn new(leads: usize) -> Self {
        Self { kept: vec![std::array::from_fn(|_| VecDeque::new()); leads] }
    }

    pub(super) fn keep(&mut self, lead: usize, hour: i64, error: i64) {
        let Some(by_hour) = lead.checked_sub(1).and_then(|i| self.kept.get_mut(i)) else { return };
        let kept = &mut by_hour[hour.rem_euclid(24) as usize];
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(error);
    }

    fn of(&self, lead: usize) -> Option<&[VecDeque<i64>; 24]> {
        self.kept.get(lead.checked_sub(1)?)
    }

    /// The mean of the errors' amounts, over all hours of the last days; none while there are none. Leads are hours from 1 on.
    #[must_use]
    pub fn mean_absolute(&self, lead: usize) -> Option<f64> {
        let errors = || self.of(lead).into_iter().flatten().flatten();
        let count = errors().count();
        (count > 0).then(|| errors().map(|error| error.unsigned_abs() as f64).sum::<f64>() / count as f64)
    }

    /// How many errors are kept of a lead.
    #[must_use]
    pub fn count(&self, lead: usize) -> usize {
        self.of(lead).into_iter().flatten().map(VecDeque::len).sum()
    }

    /// As [`Errors::quantile`]; and where too few are kept of that hour of the day, by those of all hours.
    #[must_use]
    pub fn quantile_of_any(&self, lead: usize, hour: i64, permille: u32) -> Option<i64> {
        self.quantile(lead, hour, permille)
            .or_else(|| of(self.of(lead).into_iter().flatten().flatten().copied().collect(), permille))
    }

    /// What so many thousandths of the errors were at most, for a guess of this hour (counted from 1970) made `lead` hours before.
    ///
    /// The k-th of n errors is what k of n + 1 are at most, if the next one is like them.
    #[must_use]
    pub fn quantile(&self, lead: usize, hour: i64, permille: u32) -> Option<i64> {
        of(self.of(lead)?[hour.rem_euclid(24) as usize].iter().copied().collect(), permille)
    }
}

/// A quantile of some errors; none of too few.
fn of(mut errors: Vec<i64>, permille: u32) -> Option<i64> {
    if errors.len() < ENOUGH {
        return None;
    }
    errors.sort_unstable();
    let rank = (errors.len() + 1) * permille.min(1000) as usize;
    // between two errors, as far as the rank is between theirs
    let (below, part) = (rank / 1000, (rank % 1000) as i128);
    let at = |place: usize| i128::from(errors[place.clamp(1, errors.len()) - 1]);
    i64::try_from(at(below) + (at(below + 1) - at(below)) * part / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_last_errors_of_that_lead_and_hour() {
        let mut errors = Errors::new(2);
        for day in 0..100 {
            errors.keep(1, day * 24 + 5, if day < 40 { 1_000_000 } else { (day - 40) * 10 });
            errors.keep(2, day * 24 + 5, -7);
        }
        errors.keep(3, 5, 1);
        errors.keep(0, 5, 1);
        // 61 tenths of sixty errors 0, 10, .. 590: the 6.1-th lies a tenth of the way from 50 to 60
        assert_eq!(errors.quantile(1, 24_005, 100), Some(51));
        assert_eq!(errors.quantile(1, 24_005, 500), Some(295));
        assert_eq!(errors.quantile(1, 24_005, 5000), Some(590));
        assert_eq!(errors.quantile(2, 5, 100), Some(-7));
        assert_eq!((errors.quantile(1, 6, 500), errors.quantile(3, 5, 500)), (None, None));
        assert_eq!((errors.mean_absolute(1), errors.mean_absolute(2)), (Some(295.0), Some(7.0)));
        assert_eq!(errors.mean_absolute(3), None);
    }
}
