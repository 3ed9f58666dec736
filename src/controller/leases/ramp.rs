//! How fast a domain's watts may fall before a change that is known already. Values in, values out.
//!
//! ```text
//! watts
//!   cap now |----------.            what is leased
//!           |            '._        steps of ten seconds, each there before the line is
//!           |               '.
//!   cap then|                 '----
//!           +-----------------|---- time
//!                             the window or the event begins
//! ```
//!
//! A fall that nobody announced is never slowed: the cap itself stays what it is.

use crate::api::PowerDomain;
use crate::core::steps::Steps;
use crate::units::{Millis, Moment, Seconds, Watts};

/// Changes of a ramp are made together: a lease is not written anew each second.
pub(super) const BATCH: Millis = Millis(10_000);

/// The longest ramp that is looked at.
const LONGEST: Seconds = Seconds::DAY;

/// How far ahead must be looked for a domain that falls so fast at most.
fn reach(cap: Watts, per_second: Watts) -> Seconds {
    let seconds = (cap.0 / per_second.0.max(1)).saturating_add(1);
    Seconds(seconds.saturating_add(i64::try_from(BATCH.0 / 1000).unwrap_or(0)).clamp(0, LONGEST.0))
}

/// How far ahead of now the caps of these must be known.
#[must_use]
pub fn horizon<'a>(domains: impl IntoIterator<Item = &'a PowerDomain>) -> Seconds {
    let down = domains.into_iter().filter_map(|domain| {
        domain.spec.ramp_down_watts_per_second.map(|down| reach(Watts(domain.spec.cap_watts), Watts(down)))
    });
    down.chain([Seconds::MINUTE]).max().unwrap_or(Seconds::MINUTE)
}

/// What may be leased now so that no change of the cap that is known is a fall of more than so many watts a second.
#[must_use]
pub fn ahead(cap: &Steps<Watts>, per_second: Watts, now: Moment) -> Watts {
    let own = cap.at(now);
    let batch = Seconds(i64::try_from(BATCH.0 / 1000).unwrap_or(1));
    // where the line will be when the next step is made
    let by = now.floor(batch) + batch;
    let line =
        |(from, _, then): (Moment, Moment, Watts)| then + Watts(per_second.0.saturating_mul((from - by).0.max(0)));
    cap.pieces(now, now + reach(own, per_second)).map(line).fold(own, Watts::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_down_in_steps_and_is_there_in_time() {
        let cap = Steps::new(Watts(10_000), [(Moment(1000), Watts(4000)), (Moment(2000), Watts(9000))]);
        let at = |second: i64| ahead(&cap, Watts(100), Moment(second)).0;
        assert_eq!([0, 900, 929].map(at), [10_000; 3], "60 s before it begins, and ten for the first step");
        assert_eq!(
            [930, 939, 940, 980, 990, 999, 1000, 1999].map(at),
            [10_000, 10_000, 9000, 5000, 4000, 4000, 4000, 4000]
        );
        assert_eq!(at(2000), 9000);
        for second in 900..1000 {
            assert!(at(second) - at(second + 1) <= 1000, "{second}");
            assert!(at(second) <= 4000 + 100 * (1000 - second).max(0), "above the line at {second}");
        }
    }

    #[test]
    fn what_was_not_announced_is_not_slowed() {
        let cap = Steps::new(Watts(10_000), [(Moment(1000), Watts(4000))]);
        assert_eq!(ahead(&cap, Watts(1), Moment(1000)), Watts(4000));
        // announced so late that the line is below what is drawn: at once to where it should be by now
        let late = Steps::new(Watts(10_000), [(Moment(1000), Watts(4000))]);
        assert_eq!(ahead(&late, Watts(100), Moment(985)), Watts(5000));
    }

    #[test]
    fn it_looks_as_far_as_it_must() {
        assert_eq!(reach(Watts(10_000), Watts(100)), Seconds(111));
        assert_eq!(reach(Watts(i64::MAX), Watts(0)), LONGEST);
    }
}
