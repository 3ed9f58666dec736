//! When a provider is asked again.

use crate::units::{Moment, Seconds};

/// The first wait after a failure.
const FIRST: Seconds = Seconds(30);

/// The longest wait, whatever the provider says: a signal is of hours.
const LONGEST: Seconds = Seconds(6 * 3600);

/// Waits between questions to one provider: the usual one after an answer; 30 s after a failure and twice as long with each that follows, up
/// to the usual one; and never less than the provider itself asks for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    next: Option<Moment>,
    failures: u32,
}

impl Pace {
    /// May it be asked now?
    #[must_use]
    pub fn is_due(&self, now: Moment) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// How often it failed since it last answered.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// It answered.
    pub fn answered(&mut self, now: Moment, usual: Seconds) {
        *self = Self { next: Some(now + usual), failures: 0 };
    }

    /// It did not, or not what was asked; it may have said for how long it wants to be left alone.
    pub fn failed(&mut self, now: Moment, usual: Seconds, retry_after: Option<Seconds>) {
        let doubled = FIRST.0.saturating_mul(1_i64.checked_shl(self.failures.min(20)).unwrap_or(i64::MAX));
        let own = doubled.min(usual.0.max(FIRST.0));
        let wait = own.max(retry_after.map_or(0, |after| after.0)).clamp(1, LONGEST.0.max(own));
        *self = Self { next: Some(now + Seconds(wait)), failures: self.failures.saturating_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_usual_one_and_heed_what_the_provider_says() {
        let (mut pace, now, usual) = (Pace::default(), Moment(1000), Seconds(300));
        assert!(pace.is_due(now));
        let mut waits = Vec::new();
        for _ in 0..6 {
            pace.failed(now, usual, None);
            waits.push((1..).find(|after| pace.is_due(now + Seconds(*after))).unwrap());
        }
        assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
        pace.failed(now, usual, Some(Seconds(900)));
        assert!(!pace.is_due(now + Seconds(899)) && pace.is_due(now + Seconds(900)));
        // a provider can't silence itself for ever
        pace.failed(now, usual, Some(Seconds(i64::MAX)));
        assert!(pace.is_due(now + LONGEST));
        pace.answered(now, usual);
        assert_eq!(
            (pace.failures(), pace.is_due(now + Seconds(299)), pace.is_due(now + Seconds(300))),
            (0, false, true)
        );
        (0..200).for_each(|_| pace.failed(now, usual, Some(Seconds(-5))));
        assert!(pace.is_due(now + Seconds(300)));
    }
}
