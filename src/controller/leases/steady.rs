//! A node is lowered at once and raised where it pays: limits do not follow all that comes and goes beside them. Values in,
//! values out.
//!
//! ```text
//! limit
//!       |---.        wished ....:  a raise that gains little waits, and is for good where it would be taken back soon
//!       |   |  .....:         .-----
//!       |   '--:-----. ......-'  what gains more is raised at once, and what has waited long enough too
//!       |      leased '------
//!       +------------------------- time
//! ```
//!
//! What is held back is never more than was leased and never more than is wished, at any cap: no cap is met later for it.

use crate::core::divide::Claim;
use crate::core::lease::Figures;
use crate::units::{Millis, Watts};

/// A raise waits that gains less than so many thousandths of the work between the lowest and the highest limits. Curves are not
/// known better: at 300 of 400 W the eight workloads of the A100 sweep (emerald-ai, May 2025) are between 86 and 95 % as fast.
const GAINS_PERMILLE: i64 = 30;

/// It waits no longer than this: three hundredths of the work of five minutes are nine seconds of it.
const WAITS: Millis = Millis(300_000);

/// A node's raise that waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steady {
    /// Since when.
    since: Option<Millis>,
}

impl Steady {
    /// What is to be written for a node that is leased `held`, and is wished `wish` by what it claims.
    pub fn look(&mut self, held: &Figures, wish: Figures, claim: &Claim, now: Millis) -> Figures {
        let is_as_before = held.safe == wish.safe && held.floor == wish.floor;
        if wish.within(held) || !is_as_before || gains(claim, held.watts, wish.watts) {
            self.since = None;
            return wish;
        }
        let since = *self.since.get_or_insert(now);
        if now.0.saturating_sub(since.0) >= WAITS.0 {
            self.since = None;
            return wish;
        }
        let lower = Figures { watts: wish.watts.min(held.watts), ..wish };
        let rows_gain =
            lower.rows.iter().chain(&held.rows).any(|row| gains(claim, held.at(row.cap), lower.at(row.cap)));
        if held.within(&lower) && !rows_gain { held.clone() } else { lower }
    }
}

/// Is it worth a new limit to have more?
fn gains(claim: &Claim, from: Watts, to: Watts) -> bool {
    let all = claim.work(claim.most);
    to > from && claim.work(to) - claim.work(from) >= all * GAINS_PERMILLE / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::divide::Bend;
    use crate::core::lease::Row;
    use proptest::prelude::*;

    /// Eight accelerators of 120 to 400 W: half of the work is in the first 80 W of each.
    fn node() -> Claim {
        let curve = [Bend { watts: Watts(640), work: 4000 }, Bend { watts: Watts(1600), work: 4000 }];
        Claim::new(Watts(1960), Watts(1960), Watts(4200), Watts(4200), curve)
    }

    fn figures(watts: i64, row: i64) -> Figures {
        let rows = vec![Row { cap: Watts(20_000), watts: Watts(4200) }, Row { cap: Watts(10_000), watts: Watts(row) }];
        Figures { watts: Watts(watts), rows, floor: Watts(1960), safe: Watts(1960) }
    }

    fn looks(steady: &mut Steady, held: &Figures, wish: &Figures, second: u64) -> Figures {
        steady.look(held, wish.clone(), &node(), Millis(second * 1000))
    }

    #[test]
    fn what_gains_little_waits_and_what_gains_more_does_not() {
        let mut steady = Steady::default();
        let held = figures(3000, 2000);
        // 2.5 for each watt, 8,000 in all
        assert_eq!(looks(&mut steady, &held, &figures(3096, 2000), 0), figures(3096, 2000));
        assert_eq!(looks(&mut steady, &held, &figures(3095, 2000), 0), held);
        assert_eq!(looks(&mut steady, &held, &figures(3095, 2000), 299), held);
        assert_eq!(looks(&mut steady, &held, &figures(3095, 2000), 300), figures(3095, 2000), "not for good");
        assert_eq!(looks(&mut steady, &held, &figures(3095, 2000), 301), held, "and counted anew");
    }

    #[test]
    fn it_is_lowered_at_once() {
        let mut steady = Steady::default();
        let held = figures(3000, 2500);
        assert_eq!(looks(&mut steady, &held, &figures(2999, 2500), 0), figures(2999, 2500));
        assert_eq!(
            looks(&mut steady, &held, &figures(3010, 2400), 1),
            figures(3000, 2400),
            "less at a lower cap is less"
        );
        assert_eq!(
            looks(&mut steady, &held, &figures(3010, 2600), 2),
            figures(3000, 2600),
            "more there, where it gains"
        );
    }

    #[test]
    fn what_is_another_node_by_now_does_not_wait() {
        let mut steady = Steady::default();
        let wish = Figures { safe: Watts(2000), ..figures(3010, 2500) };
        assert_eq!(looks(&mut steady, &figures(3000, 2500), &wish, 0), wish);
    }

    proptest! {
        /// Never more than is wished, never less than both, and once what is wished stays it is had.
        #[test]
        fn no_cap_is_met_later_and_no_watts_are_kept_for_good(
            wishes in proptest::collection::vec((1960..4200_i64, 1960..4200_i64, 1..100_u64), 1..40),
        ) {
            let (mut steady, mut held, mut second) = (Steady::default(), figures(1960, 1960), 0);
            let mut last = held.clone();
            for (watts, row, after) in wishes {
                last = figures(watts.max(row), row);
                let next = looks(&mut steady, &held, &last, second);
                prop_assert!(next.within(&last) && held.lowest(&last).within(&next), "{next:?} of {last:?}, {held:?}");
                (held, second) = (next, second + after);
            }
            for _ in 0..2 {
                held = looks(&mut steady, &held, &last, second);
                second += 300;
            }
            prop_assert_eq!(held, last);
        }
    }
}
