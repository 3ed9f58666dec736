//! Accelerators of one node that have the same limit, and what watts do there.
//!
//! A gang runs at its slowest accelerator, so those of one workload have one limit; another workload beside it has its own. Where
//! it is not known which accelerators a workload has, it shares one limit with all that are not known either.

use super::{Bend, Claim, divide};
use crate::core::profile::Curve;
use crate::units::Watts;

/// The limits that accelerators take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The lowest.
    pub min: Watts,
    /// The highest.
    pub max: Watts,
}

/// A workload on some accelerators of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work<'a> {
    /// How many it has.
    pub accelerators: u32,
    /// How fast it is under each limit.
    pub curve: &'a Curve,
    /// How much slower it may get, in thousandths.
    pub tolerates_permille: u32,
    /// The limit for each that it was granted.
    pub granted: Watts,
    /// The highest limit for each, where a plan holds it below full.
    pub most: Watts,
}

/// Accelerators of one node under one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// How many. Never none.
    pub accelerators: u32,
    /// What they claim together, in watts of limits.
    pub claim: Claim,
}

impl Group {
    /// A group with what works in it: no more than it has accelerators. Without work it does nothing with watts, and takes what
    /// nobody can use; with work, no more than the highest limit that any of it may have.
    #[must_use]
    pub fn new(accelerators: u32, range: Range, works: &[Work<'_>]) -> Self {
        let all = |limit: Watts| limit.times(accelerators);
        let (min, max) = (range.min, range.max.max(range.min));
        let slowest = |work: &Work<'_>| {
            let least = work.curve.at(max) * 1000_u32.saturating_sub(work.tolerates_permille) / 1000;
            work.curve.lowest_for(least).min(max)
        };
        let promised = works.iter().map(slowest).max().unwrap_or(min);
        // a plan slows nobody below what was promised
        let most = works.iter().map(|work| work.most).max().unwrap_or(max);
        let max = most.min(max).max(promised).max(min);
        let work = |limit: Watts| -> i64 {
            works.iter().map(|w| i64::from(w.accelerators) * i64::from(w.curve.at(limit))).sum()
        };
        let within = |limit: &Watts| *limit > min && *limit < max;
        let mut limits: Vec<Watts> = works.iter().flat_map(|work| work.curve.limits()).filter(within).collect();
        limits.extend([min, max]);
        limits.sort_unstable();
        limits.dedup();
        let bend =
            |pair: &[Watts]| Bend { watts: all(pair[1] - pair[0]), work: (work(pair[1]) - work(pair[0])).max(0) };
        let need = works.iter().map(|work| work.granted.min(max)).max().unwrap_or(min);
        let claim = Claim::new(all(min), all(promised), all(need), all(max), limits.windows(2).map(bend));
        Self { accelerators, claim }
    }

    /// The limit of each accelerator in each of these groups, under limits of this sum on their node.
    #[must_use]
    pub fn limits(sum: Watts, groups: &[Self]) -> Vec<Watts> {
        let claims: Vec<Claim> = groups.iter().map(|group| group.claim.clone()).collect();
        let given = divide(sum, &claims, &vec![Watts::ZERO; claims.len()], &|_| Watts::ZERO);
        let each = |(group, watts): (&Self, Watts)| Watts(watts.0 / i64::from(group.accelerators.max(1)));
        groups.iter().zip(given).map(each).collect()
    }

    /// The same group at this limit for each, whatever there is.
    #[must_use]
    pub fn held_at(&self, limit: Watts) -> Self {
        Self { accelerators: self.accelerators, claim: Claim::at(limit.times(self.accelerators)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::divide::Scale;
    use proptest::prelude::*;

    const A100: Range = Range { min: Watts(100), max: Watts(400) };

    fn curve(points: &[(i64, u32)]) -> Curve {
        Curve::of(points.iter().map(|(limit, work)| (Watts(*limit), *work))).unwrap()
    }

    fn work(accelerators: u32, curve: &Curve, tolerates_permille: u32) -> Work<'_> {
        Work { accelerators, curve, tolerates_permille, granted: Watts(400), most: Watts(400) }
    }

    #[test]
    fn each_workload_has_a_limit_of_its_own() {
        let (serving, training) = (curve(&[(100, 700), (200, 1000)]), curve(&[(100, 300), (400, 1000)]));
        let groups = |serves: u32, trains: u32| {
            [Group::new(4, A100, &[work(4, &serving, serves)]), Group::new(4, A100, &[work(4, &training, trains)])]
        };
        assert_eq!(Group::limits(Watts(2400), &groups(0, 0)), [200, 400].map(Watts), "both at full speed");
        // promised are 150 and 358 W; what is short is short where a watt does the least
        assert_eq!(Group::limits(Watts(1800), &groups(500, 500)), [200, 250].map(Watts));
        assert_eq!(Group::limits(Watts(1800), &groups(500, 0)), [100, 350].map(Watts), "one of them tolerates nothing");
        assert_eq!(Group::limits(Watts(300), &groups(0, 0)), [100, 100].map(Watts), "never below the lowest limit");
    }

    #[test]
    fn a_plan_holds_work_below_full_and_never_below_its_promise() {
        let training = curve(&[(100, 300), (200, 700), (400, 1000)]);
        let group = |most: i64, tolerates: u32| {
            Group::new(4, A100, &[Work { most: Watts(most), ..work(4, &training, tolerates) }])
        };
        let held = group(300, 250);
        assert_eq!([held.claim.promised, held.claim.need, held.claim.most], [4 * 234, 1200, 1200].map(Watts));
        assert_eq!(held.claim.work(Watts(1200)), 4 * 550, "its curve up to there");
        assert_eq!(group(150, 250).claim.most, Watts(4 * 234), "its promise is more than the plan's");
        assert_eq!(group(900, 250), group(400, 250), "and no more than there is");
        // what it may not have goes to those beside it
        let groups = [held, Group::new(4, A100, &[work(4, &training, 0)])];
        assert_eq!(Group::limits(Watts(2800), &groups), [300, 400].map(Watts));
    }

    #[test]
    fn idle_ones_take_what_nobody_can_use() {
        let training = curve(&[(100, 300), (400, 1000)]);
        let groups = [Group::new(2, A100, &[work(2, &training, 0)]), Group::new(6, A100, &[])];
        assert_eq!(Group::limits(Watts(1400), &groups), [400, 100].map(Watts));
        assert_eq!(Group::limits(Watts(2000), &groups), [400, 200].map(Watts));
    }

    #[test]
    fn where_nobody_knows_who_has_which_all_have_one_limit() {
        let (serving, training) = (curve(&[(100, 700), (200, 1000)]), curve(&[(100, 300), (400, 1000)]));
        let all = Group::new(8, A100, &[work(4, &serving, 0), work(2, &training, 100)]);
        assert_eq!(Group::limits(Watts(2000), std::slice::from_ref(&all)), [Watts(250)]);
        assert_eq!(all.claim.promised, Watts(8 * 358), "the stricter one counts");
        let node = Claim::of_node(&all.claim, Scale { host: Watts(1000), overshoot: 100 }, Watts(5000));
        assert_eq!([node.floor, node.promised, node.need, node.most], [1880, 4151, 4520, 5000].map(Watts));
        assert_eq!(node.work(Watts(4520)), 4 * 300 + 2 * 700);
    }

    proptest! {
        /// Whatever the groups are: the limits fit, none is out of range, and more watts are less for nobody.
        #[test]
        fn limits_fit_and_more_is_never_less(
            drawn in proptest::collection::vec((1..5_u32, proptest::collection::vec((50..500_i64, 1..1000_u32), 1..5), 0..1000_u32, 0..500_i64), 1..6),
            sum in 0..10_000_i64,
            more in 0..2000_i64,
        ) {
            let curves: Vec<Curve> = drawn.iter().map(|(_, points, ..)| curve(points)).collect();
            let groups: Vec<Group> = drawn.iter().zip(&curves).map(|((n, _, tolerates, granted), curve)| {
                Group::new(*n, A100, &[Work { accelerators: *n, curve, tolerates_permille: *tolerates, granted: Watts(*granted), most: A100.max }])
            }).collect();
            let (less, more) = (Group::limits(Watts(sum), &groups), Group::limits(Watts(sum + more), &groups));
            let used: Watts = less.iter().zip(&groups).map(|(limit, group)| limit.times(group.accelerators)).sum();
            let floors: Watts = groups.iter().map(|group| group.claim.floor).sum();
            prop_assert!(used <= Watts(sum).max(floors), "{used}");
            prop_assert!(less.iter().zip(&more).all(|(less, more)| *less >= A100.min && less <= more && *more <= A100.max));
        }
    }
}
