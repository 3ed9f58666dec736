//! Regressions for each lead and hour of the day. They learn from each value that comes.

use super::hours::{DAY, Hours, WEEK, days_back};
use super::ridge::Ridge;

/// What a guess is made from.
const FEATURES: usize = 17;

/// One regression for each lead, and each hour of the day in which a guess is made.
#[derive(Debug, Clone)]
pub(super) struct Learned {
    fits: Vec<Vec<Ridge<FEATURES>>>,
}

impl Learned {
    pub(super) fn new(leads: usize) -> Self {
        Self { fits: vec![vec![Ridge::new(); DAY as usize]; leads] }
    }

    /// What the last hour teaches: it is where each lead's guess was going to.
    pub(super) fn learn(&mut self, hours: &Hours) {
        let last = hours.next() - 1;
        let Some(led_to) = hours.at(last) else { return };
        for (lead, fits) in (1..).zip(&mut self.fits) {
            let made = last - lead;
            if let Some(features) = features(hours, made, lead) {
                fits[hour_of_day(made)].learn(&features, led_to as f64);
            }
        }
    }

    /// What comes `lead` hours after the last one.
    pub(super) fn guess(&self, hours: &Hours, lead: i64) -> Option<f64> {
        let last = hours.next() - 1;
        let fits = self.fits.get(usize::try_from(lead).ok()?.checked_sub(1)?)?;
        fits[hour_of_day(last)].guess(&features(hours, last, lead)?)
    }
}

fn hour_of_day(hour: i64) -> usize {
    hour.rem_euclid(DAY) as usize
}

/// What was known at `made` of the hour `lead` hours later: the last hours; that hour of the day on the last days, and around it on the
/// last one; that hour of the week; and means of them. None where any is not known.
fn features(hours: &Hours, made: i64, lead: i64) -> Option<[f64; FEATURES]> {
    let target = made + lead;
    let day = target - DAY * days_back(lead);
    let at = |hour: i64| hours.at(hour).map(|value| value as f64);
    let back = |from: i64, step: i64, count: i64| -> Option<f64> {
        hours.at(from - step * (count - 1))?;
        hours.mean_back(from, step, count).map(|mean| mean as f64)
    };
    Some([
        at(made)?,
        at(made - 1)?,
        at(made - 2)?,
        at(made - 3)?,
        at(made - 6)?,
        at(made - 12)?,
        at(day)?,
        at(day - DAY)?,
        at(day - 2 * DAY)?,
        at(day - 1)?,
        at((day + 1).min(made))?,
        at(target - WEEK)?,
        back(target - WEEK, WEEK, 4)?,
        back(day, DAY, 7)?,
        back(day, DAY, 28)?,
        hours.mean(made, DAY)?,
        hours.mean(made, WEEK)?,
    ])
}
