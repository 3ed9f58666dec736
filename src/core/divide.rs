//! Watts among those that share a feed: where a watt does the most work, but no less for anyone than it needs to hold and no more
//! than it can use.
//!
//! ```text
//! work                                      the price is the work that one more watt would do: all stop where their curves
//!        |        b .-----                  are as steep as that. Equal curves get the same for each accelerator.
//!        |      .-'      a .----
//!        |    .'        .-'
//!        |   /        .'
//!        +--+--------+---------- watts
//!         floors
//! ```
//!
//! On concave curves that is the most work there is for these watts: whoever moved a watt would move it to where it does no more
//! (Kuhn and Tucker's condition). It goes in stages: what work was promised at least, what it was granted, all it can use.

mod group;
mod metered;

pub use group::{Group, Range, Work};
pub use metered::{Metered, Why};

use crate::units::Watts;
use std::cmp::Ordering;

/// How a node's watts are reckoned: its input power is what its host draws at most, and its accelerators' limits with what they
/// pass them by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scale {
    /// The most that the host draws beside its accelerators.
    pub host: Watts,
    /// How far an accelerator draws above its limit at worst, in thousandths.
    pub overshoot: u32,
}

impl Scale {
    /// The node's watts under limits of this sum.
    #[must_use]
    pub fn node(self, limits: Watts) -> Watts {
        self.host + limits.plus_permille(self.overshoot)
    }

    /// The highest sum of limits that stays within a node's watts.
    #[must_use]
    pub fn limits(self, node: Watts) -> Watts {
        (node - self.host).less_permille(self.overshoot)
    }
}

/// A stretch of a curve over which each watt does the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bend {
    /// How long it is.
    pub watts: Watts,
    /// What work is done more at its end, in thousandths of what one accelerator does at full speed.
    pub work: i64,
}

impl Bend {
    /// Is a watt of this one worth more, less, or the same?
    fn cmp_worth(&self, other: &Self) -> Ordering {
        // cross-multiplied: work each watt, exactly
        let product = |a: &Self, b: &Self| i128::from(a.work) * i128::from(b.watts.0.max(1));
        product(self, other).cmp(&product(other, self))
    }
}

/// What one child of a domain can do with watts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The least that it can be held to.
    pub floor: Watts,
    /// What its work was promised at least, as slow as it may get: served first.
    pub promised: Watts,
    /// What its work was granted: served before anyone gets more.
    pub need: Watts,
    /// The most that it can use.
    pub most: Watts,
    /// What it does with watts above its floor: steepest first.
    curve: Vec<Bend>,
}

/// A claim has no more bends than this: where several are summed, those that are worth nearly the same become one.
const MOST_BENDS: usize = 64;

impl Claim {
    /// A claim with what it does above its floor, in any order: the steepest counts first. Where the curve ends below `most`,
    /// the rest does no work. No part of it is above the one that comes after it, nor below its floor.
    #[must_use]
    pub fn new(floor: Watts, promised: Watts, need: Watts, most: Watts, curve: impl IntoIterator<Item = Bend>) -> Self {
        let most = most.max(floor);
        let need = need.max(floor).min(most);
        let promised = promised.max(floor).min(need);
        let mut curve: Vec<Bend> = curve.into_iter().collect();
        // what nothing is known of does no work, and can be used when there is nothing better
        let known: Watts = curve.iter().map(|bend| bend.watts).sum();
        curve.push(Bend { watts: most - floor - known, work: 0 });
        curve.retain(|bend| bend.watts > Watts::ZERO);
        curve.sort_by(|a, b| b.cmp_worth(a));
        let mut joined: Vec<Bend> = Vec::new();
        for bend in curve {
            match joined.last_mut() {
                Some(last) if last.cmp_worth(&bend) == Ordering::Equal => {
                    *last = Bend { watts: last.watts + bend.watts, work: last.work + bend.work };
                }
                _ => joined.push(bend),
            }
        }
        Self { floor, promised, need, most, curve: fewer(joined) }
    }

    /// Watts that can be neither more nor less.
    #[must_use]
    pub fn at(watts: Watts) -> Self {
        Self { floor: watts, promised: watts, need: watts, most: watts, curve: Vec::new() }
    }

    /// Several claims as one.
    #[must_use]
    pub fn sum<'a>(claims: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::at(Watts::ZERO);
        let mut bends = Vec::new();
        for claim in claims {
            sum.floor += claim.floor;
            sum.promised += claim.promised;
            sum.need += claim.need;
            sum.most += claim.most;
            bends.extend_from_slice(&claim.curve);
        }
        Self::new(sum.floor, sum.promised, sum.need, sum.most, bends)
    }

    /// Claims of limits as the claim of the node that they are set on, which can use `most`.
    #[must_use]
    pub fn of_node(limits: &Self, scale: Scale, most: Watts) -> Self {
        let mut sum = limits.floor;
        let bend = |bend: &Bend| {
            let before = scale.node(sum);
            sum += bend.watts;
            Bend { watts: scale.node(sum) - before, work: bend.work }
        };
        let curve: Vec<Bend> = limits.curve.iter().map(bend).collect();
        let at = |limits: Watts| scale.node(limits).min(most);
        Self::new(at(limits.floor), at(limits.promised), at(limits.need), most, curve)
    }

    /// What it does with watts, above what it does at its floor, in thousandths of one accelerator at full speed.
    #[must_use]
    pub fn work(&self, watts: Watts) -> i64 {
        let mut left = (watts - self.floor).max(Watts::ZERO);
        let each = self.curve.iter().map(|bend| {
            let taken = left.min(bend.watts);
            left -= taken;
            i128::from(bend.work) * i128::from(taken.0) / i128::from(bend.watts.0.max(1))
        });
        i64::try_from(each.sum::<i128>()).unwrap_or(i64::MAX)
    }

    /// The same claim as it is seen before losses, `added` to it, and no part of it above `own` but its floor.
    #[must_use]
    pub fn before_losses(&self, overhead_permille: u32, added: Watts, own: Watts) -> Self {
        let seen = |watts: Watts| (watts + added).plus_permille(overhead_permille);
        let floor = seen(self.floor);
        let within = |watts: Watts| seen(watts).min(own).max(floor);
        let curve = self.curve.iter();
        let curve = curve.map(|bend| Bend { watts: bend.watts.plus_permille(overhead_permille), ..*bend }).collect();
        Self { floor, promised: within(self.promised), need: within(self.need), most: within(self.most), curve }
    }
}

/// Bends of which there are not too many: neighbours become one, which keeps the curve concave and below what it was.
fn fewer(mut curve: Vec<Bend>) -> Vec<Bend> {
    while curve.len() > MOST_BENDS {
        curve = curve
            .chunks(2)
            .map(|pair| Bend {
                watts: pair.iter().map(|bend| bend.watts).sum(),
                work: pair.iter().map(|bend| bend.work).sum(),
            })
            .collect();
    }
    curve
}

/// A bend at the end of a level is in parts of so many.
const PARTS: i64 = 1_000_000;

/// The curves of all claims, by what a watt is worth: how far each goes at a level is looked up. A level is a rank among all
/// worths, the best first, and a part of the bends of that rank.
struct Curves {
    /// By claim and rank: what it has above its floor before that rank.
    before: Vec<Vec<Watts>>,
    /// By claim and rank: how long its bend of that rank is.
    at: Vec<Vec<Watts>>,
    ranks: i64,
}

impl Curves {
    fn of(claims: &[Claim]) -> Self {
        let mut worths: Vec<Bend> = claims.iter().flat_map(|claim| claim.curve.iter().copied()).collect();
        worths.sort_by(|a, b| b.cmp_worth(a));
        worths.dedup_by(|a, b| a.cmp_worth(b) == Ordering::Equal);
        let (mut before, mut at) = (Vec::new(), Vec::new());
        for claim in claims {
            let mut bends = claim.curve.iter().peekable();
            let (mut sum, mut sums, mut lengths) = (Watts::ZERO, Vec::new(), Vec::new());
            for worth in &worths {
                let own = bends.next_if(|bend| bend.cmp_worth(worth) == Ordering::Equal);
                let length = own.map_or(Watts::ZERO, |bend| bend.watts);
                sums.push(sum);
                lengths.push(length);
                sum += length;
            }
            before.push(sums);
            at.push(lengths);
        }
        Self { before, at, ranks: i64::try_from(worths.len()).unwrap_or(0) }
    }

    /// What each claim has at a level, from nothing above its floor at -1 on.
    fn at(&self, level: i64, claims: &[Claim]) -> Vec<Watts> {
        let rank = usize::try_from(level.max(0) / PARTS).unwrap_or(0);
        let part = if level < 0 { 0 } else { level % PARTS + 1 };
        let reaches = |(i, claim): (usize, &Claim)| match (self.before[i].get(rank), self.at[i].get(rank)) {
            (Some(before), Some(at)) => claim.floor + *before + Watts(at.0 * part / PARTS),
            _ => claim.floor,
        };
        claims.iter().enumerate().map(reaches).collect()
    }

    /// The highest level there is.
    fn highest(&self) -> i64 {
        self.ranks * PARTS - 1
    }
}

/// Divides what a domain may draw: `least` for each whatever the budget, then what its work was promised, what it was granted, and
/// what it can use. `extra` says what must be kept free beside a division, and never falls faster than the division rises. What
/// is given comes within a watt for each child to the budget, unless nobody can use more.
#[must_use]
pub fn divide(budget: Watts, claims: &[Claim], least: &[Watts], extra: &dyn Fn(&[Watts]) -> Watts) -> Vec<Watts> {
    let curves = Curves::of(claims);
    let mut division: Vec<Watts> = claims.iter().zip(least).map(|(claim, least)| claim.floor.max(*least)).collect();
    let stages: [fn(&Claim) -> Watts; 3] = [|claim| claim.promised, |claim| claim.need, |claim| claim.most];
    for most in stages {
        let (given, is_all) = level(budget, claims, &curves, &division, most, extra);
        division = given;
        if !is_all {
            // what rounding left over here would go to somebody else there, and a little more budget would take it back
            break;
        }
    }
    division
}

/// The division at the highest level that fits, and whether everyone has all of it.
fn level(
    budget: Watts,
    claims: &[Claim],
    curves: &Curves,
    least: &[Watts],
    most: impl Fn(&Claim) -> Watts,
    extra: &dyn Fn(&[Watts]) -> Watts,
) -> (Vec<Watts>, bool) {
    let at = |level: i64| -> Vec<Watts> {
        let reached = curves.at(level, claims).into_iter();
        reached.zip(claims).zip(least).map(|((watts, claim), least)| watts.min(most(claim)).max(*least)).collect()
    };
    let fits = |division: &[Watts]| division.iter().copied().sum::<Watts>() + extra(division) <= budget;
    // at -1 everyone has the least, whether that fits or not
    let (mut low, mut high) = (-1, curves.highest());
    if fits(&at(high)) {
        return (at(high), true);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(&at(middle)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (at(low), false)
}

/// Room for `count` of these to come back from a reboot at their ceilings at the same time: the largest rises.
#[must_use]
pub fn reboot_room(division: &[Watts], ceilings: &[Watts], count: usize) -> Watts {
    let mut rises: Vec<Watts> =
        ceilings.iter().zip(division).map(|(ceiling, watts)| (*ceiling - *watts).max(Watts::ZERO)).collect();
    rises.sort_unstable_by(|a, b| b.cmp(a));
    rises.into_iter().take(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(gpus: i64, need: i64) -> Claim {
        let claim = |each: i64| Watts(2000 + gpus * each);
        let curve = [Bend { watts: Watts(gpus * 500), work: gpus * 700 }];
        Claim::new(claim(200), claim(200), claim(need), claim(700), curve)
    }

    #[test]
    fn all_accelerators_get_the_same_and_nothing_is_left() {
        let claims = [node(8, 700), node(8, 700), node(4, 700)];
        let given = divide(Watts(6000 + 20 * 500), &claims, &[Watts(0); 3], &|_| Watts(0));
        assert_eq!(given, [6000, 6000, 4000].map(Watts));
    }

    #[test]
    fn what_was_granted_comes_before_what_can_be_used() {
        let claims = [node(8, 300), node(8, 700)];
        let given = divide(Watts(4000 + 8 * 300 + 8 * 600), &claims, &[Watts(0); 2], &|_| Watts(0));
        assert_eq!(given, [2000 + 8 * 300, 2000 + 8 * 600].map(Watts));
        let more = divide(Watts(4000 + 8 * 400 + 8 * 700), &claims, &[Watts(0); 2], &|_| Watts(0));
        assert_eq!(more, [2000 + 8 * 400, 2000 + 8 * 700].map(Watts));
    }

    #[test]
    fn room_for_a_reboot_is_kept_beside_it() {
        let claims = vec![node(8, 700); 4];
        let ceilings = [Watts(7600); 4];
        let given = divide(Watts(24_000), &claims, &[Watts(0); 4], &|division| reboot_room(division, &ceilings, 1));
        // three at x and one at its ceiling
        assert_eq!(given, [Watts(5466); 4]);
    }

    #[test]
    fn a_nodes_watts_and_its_limits_are_each_others_inverse() {
        let scale = Scale { host: Watts(2000), overshoot: 30 };
        assert_eq!(scale.node(Watts(5600)), Watts(2000 + 5768));
        for node in 2000..9000 {
            let limits = scale.limits(Watts(node));
            assert!(scale.node(limits) <= Watts(node) && scale.node(limits + Watts(1)) > Watts(node), "{node}");
        }
        assert_eq!(scale.limits(Watts(1000)), Watts::ZERO, "less than the host leaves nothing");
    }

    #[test]
    fn who_tolerates_more_gives_more() {
        // half as fast at 200 W, and at full speed at 700
        let curve = || [Bend { watts: Watts(800), work: 2400 }, Bend { watts: Watts(3200), work: 1600 }];
        let with = |promised: i64| Claim::new(Watts(3600), Watts(promised), Watts(7600), Watts(7600), curve());
        let given = |budget: i64| divide(Watts(budget), &[with(7600), with(4400)], &[Watts(0); 2], &|_| Watts(0));
        assert_eq!(given(12_000), [7600, 4400].map(Watts), "what was promised comes first");
        assert_eq!(given(13_000), [7600, 5400].map(Watts));
        assert_eq!(given(10_000), [5600, 4400].map(Watts), "both steep parts, and the rest to whom more was promised");
        assert_eq!(given(8000), [4000, 4000].map(Watts), "in the steep part both are alike");
    }

    #[test]
    fn many_bends_become_fewer_and_stay_concave() {
        let curve = (1..200_i64).map(|i| Bend { watts: Watts(10), work: i });
        let claim = Claim::new(Watts(0), Watts(0), Watts(1990), Watts(1990), curve);
        assert!(claim.curve.len() <= MOST_BENDS);
        assert!(claim.curve.windows(2).all(|pair| pair[0].cmp_worth(&pair[1]) == Ordering::Greater));
        assert_eq!(claim.curve.iter().map(|bend| bend.watts).sum::<Watts>(), Watts(1990));
    }

    /// What a claim does with watts.
    fn work(claim: &Claim, watts: Watts) -> f64 {
        let mut left = watts - claim.floor;
        let each = claim.curve.iter().map(|bend| {
            let taken = left.min(bend.watts);
            left -= taken;
            bend.work as f64 * taken.0 as f64 / bend.watts.0 as f64
        });
        each.sum()
    }

    fn curved() -> impl Strategy<Value = Claim> {
        proptest::collection::vec((1..900_i64, 0..4000_i64), 0..5).prop_map(|bends| {
            let most = Watts(1000) + bends.iter().map(|(watts, _)| Watts(*watts)).sum::<Watts>();
            let curve = bends.into_iter().map(|(watts, work)| Bend { watts: Watts(watts), work });
            Claim::new(Watts(1000), Watts(1000), most, most, curve)
        })
    }

    /// Claims with a promise and a grant somewhere between floor and most.
    fn staged() -> impl Strategy<Value = Claim> {
        (curved(), 0..1001_i64, 0..1001_i64).prop_map(|(claim, promised, need)| {
            let part = |share: i64| claim.floor + Watts((claim.most - claim.floor).0 * share / 1000);
            Claim { promised: part(promised.min(need)), need: part(need.max(promised)), ..claim }
        })
    }

    proptest! {
        /// The bends of all, steepest first, as far as the budget goes: with concave curves there is no better way.
        #[test]
        fn there_is_no_more_work_in_the_same_watts(claims in proptest::collection::vec(curved(), 1..12), budget in 1000..40_000_i64) {
            let given = divide(Watts(budget), &claims, &vec![Watts(0); claims.len()], &|_| Watts(0));
            let floors = claims.iter().map(|claim| claim.floor).sum::<Watts>();
            prop_assert!(given.iter().copied().sum::<Watts>() <= Watts(budget).max(floors));
            let mut all: Vec<Bend> = claims.iter().flat_map(|claim| claim.curve.clone()).collect();
            all.sort_by(|a, b| b.cmp_worth(a));
            let (mut left, mut best, mut steepest) = ((Watts(budget) - floors).max(Watts(0)), 0.0, 0.0_f64);
            for bend in all {
                let taken = left.min(bend.watts);
                left -= taken;
                let worth = bend.work as f64 / bend.watts.0 as f64;
                best += worth * taken.0 as f64;
                steepest = steepest.max(worth);
            }
            let done: f64 = claims.iter().zip(&given).map(|(claim, watts)| work(claim, *watts)).sum();
            // a watt for each is lost to rounding
            prop_assert!(done <= best + 1e-6 && done >= best - steepest * (claims.len() as f64 + 1.0), "{done} of {best}");
        }

        #[test]
        fn more_watts_are_never_less_for_anyone(claims in proptest::collection::vec(staged(), 1..8), budget in 1000..20_000_i64, more in 0..3000_i64) {
            let least = vec![Watts(0); claims.len()];
            let given = |budget: i64| divide(Watts(budget), &claims, &least, &|_| Watts(0));
            prop_assert!(given(budget).iter().zip(given(budget + more)).all(|(before, after)| *before <= after));
        }

        #[test]
        fn it_never_gives_more_than_there_is_nor_less_than_could_be(
            gpus in proptest::collection::vec((1..9_i64, 200..701_i64), 1..20),
            budget in 0..200_000_i64,
            reboots in 0..3_usize,
        ) {
            let claims: Vec<Claim> = gpus.iter().map(|(gpus, need)| node(*gpus, *need)).collect();
            let ceilings: Vec<Watts> = claims.iter().map(|claim| claim.most).collect();
            let least = vec![Watts(0); claims.len()];
            let room = |division: &[Watts]| reboot_room(division, &ceilings, reboots);
            let given = divide(Watts(budget), &claims, &least, &room);
            let sum: Watts = given.iter().copied().sum::<Watts>() + room(&given);
            for (given, claim) in given.iter().zip(&claims) {
                prop_assert!(*given >= claim.floor && *given <= claim.most);
            }
            let floors: Vec<Watts> = claims.iter().map(|claim| claim.floor).collect();
            let lowest = floors.iter().copied().sum::<Watts>() + room(&floors);
            let highest: Watts = ceilings.iter().copied().sum();
            prop_assert!(sum <= Watts(budget).max(lowest), "{sum} of {budget}");
            let slack = Watts(i64::try_from(claims.len()).unwrap() * 2);
            prop_assert!(sum + slack >= Watts(budget).min(highest), "{sum} of {budget}");
        }
    }
}
