//! Is a domain under its cap by what its nodes say, how fast does it come under one that fell, and what is done where it does
//! not? Values in, values out.
//!
//! ```text
//!              the cap falls below what is drawn            drawn <= cap: one more reaction time is known
//!   [ Under ] ---------------------------------> [ Falling ] -----------------------------------> [ Under ]
//!                                                    |
//!                                                    | the correction time has passed
//!                                                    v
//!                                                [ Over ] : exceptionAction, until drawn <= cap
//! ```

use crate::units::{Millis, Watts};
use std::collections::VecDeque;

/// Reactions that are remembered, and for how long: with fewer than a hundred the slowest is the 99th percentile.
const REMEMBERED: usize = 100;
const A_DAY: Millis = Millis(86_400_000);

/// A pause of the loop that is longer says nothing of how fast nodes react: it could not look.
const BLIND: Millis = Millis(6_000);

/// What is remembered of one domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watchdog {
    looked: Option<Millis>,
    over_since: Option<Millis>,
    /// The fall that is being met, and whether the loop could look all the time since.
    falling: Option<(Millis, bool)>,
    cap: Option<Watts>,
    /// When each reaction ended, and how long it took.
    reactions: VecDeque<(Millis, Millis)>,
    /// Watts above the cap times seconds, outside the correction time.
    watt_seconds_over: i64,
}

/// What is to be said of one domain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Barks {
    /// It is above its cap by so much, for longer than its correction time.
    pub over: Option<Watts>,
    /// The 99th percentile of its reaction times.
    pub reaction_p99: Option<Millis>,
    /// Does it react too slowly for its correction time?
    pub too_slow: bool,
    /// Watts above the cap times seconds since the loop began, outside the correction time.
    pub watt_seconds_over: i64,
}

impl Watchdog {
    /// Looks once: what may be drawn, and what is drawn by the nodes' word, those who say nothing at what they may hold.
    pub fn look(&mut self, cap: Watts, drawn: Watts, correction: Millis, now: Millis) -> Barks {
        let pause = self.looked.map_or(Millis(0), |before| Millis(now.0.saturating_sub(before.0)));
        self.looked = Some(now);
        let fell = self.cap.is_some_and(|before| cap < before);
        self.cap = Some(cap);
        if pause > BLIND
            && let Some((_, seen)) = &mut self.falling
        {
            *seen = false;
        }
        if drawn <= cap {
            self.over_since = None;
            if let Some((since, true)) = self.falling.take() {
                self.reactions.push_back((now, Millis(now.0.saturating_sub(since.0))));
            }
        } else {
            let since = *self.over_since.get_or_insert(now);
            if fell && self.falling.is_none() {
                self.falling = Some((now, pause <= BLIND));
            }
            if now.0.saturating_sub(since.0) > correction.0 {
                let millis = i64::try_from(pause.0.min(BLIND.0)).unwrap_or(0);
                self.watt_seconds_over =
                    self.watt_seconds_over.saturating_add((drawn - cap).0.saturating_mul(millis) / 1000);
            }
        }
        while self.reactions.len() > REMEMBERED
            || self.reactions.front().is_some_and(|(at, _)| now.0.saturating_sub(at.0) > A_DAY.0)
        {
            self.reactions.pop_front();
        }
        let is_late = |since: Millis| now.0.saturating_sub(since.0) > correction.0;
        let reaction_p99 = self.p99();
        Barks {
            over: self.over_since.filter(|since| is_late(*since)).map(|_| drawn - cap),
            reaction_p99,
            too_slow: reaction_p99.is_some_and(|p99| p99 > correction),
            watt_seconds_over: self.watt_seconds_over,
        }
    }

    fn p99(&self) -> Option<Millis> {
        let mut all: Vec<Millis> = self.reactions.iter().map(|(_, took)| *took).collect();
        all.sort_unstable();
        let at = (all.len() * 99).div_ceil(100);
        at.checked_sub(1).and_then(|at| all.get(at)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORRECTION: Millis = Millis(30_000);

    fn look(dog: &mut Watchdog, second: u64, cap: i64, drawn: i64) -> Barks {
        dog.look(Watts(cap), Watts(drawn), CORRECTION, Millis(second * 1000))
    }

    #[test]
    fn a_fall_that_is_met_is_a_reaction_time() {
        let mut dog = Watchdog::default();
        look(&mut dog, 0, 100, 90);
        assert_eq!(look(&mut dog, 2, 70, 90).over, None);
        look(&mut dog, 4, 70, 80);
        let barks = look(&mut dog, 5, 70, 70);
        assert_eq!((barks.reaction_p99, barks.too_slow, barks.watt_seconds_over), (Some(Millis(3000)), false, 0));
    }

    #[test]
    fn what_stays_over_is_told_after_the_correction_time_and_counted() {
        let mut dog = Watchdog::default();
        look(&mut dog, 0, 100, 90);
        for second in 1..=31 {
            assert_eq!(look(&mut dog, second, 70, 90).over, None);
        }
        let barks = look(&mut dog, 32, 70, 90);
        assert_eq!((barks.over, barks.watt_seconds_over), (Some(Watts(20)), 20));
        let barks = look(&mut dog, 33, 70, 60);
        assert_eq!((barks.over, barks.too_slow, barks.watt_seconds_over), (None, true, 20));
        // a day later it is forgotten: a domain must not be held down for ever by one bad hour
        assert_eq!(look(&mut dog, 33 + 86_401, 70, 60).reaction_p99, None);
    }

    #[test]
    fn what_the_loop_could_not_see_is_no_reaction_time() {
        let mut dog = Watchdog::default();
        look(&mut dog, 0, 100, 90);
        look(&mut dog, 1, 70, 90);
        assert_eq!(look(&mut dog, 181, 70, 60).reaction_p99, None, "the API server was away for three minutes");
        // nor is one that the loop came upon: when it fell is not known
        let mut dog = Watchdog::default();
        look(&mut dog, 0, 100, 90);
        look(&mut dog, 100, 70, 90);
        assert_eq!(look(&mut dog, 101, 70, 60).reaction_p99, None);
        // nothing fell: nodes were found above a cap
        let mut dog = Watchdog::default();
        look(&mut dog, 0, 70, 90);
        assert_eq!(look(&mut dog, 3, 70, 60).reaction_p99, None);
    }
}
