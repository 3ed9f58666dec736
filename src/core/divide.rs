//! Watts among those that share a feed: everyone has the same for each accelerator, but no less than it needs to hold and no
//! more than it can use.
//!
//! ```text
//! watts
//!   ceiling |........      .-------- in use, few accelerators
//!           |            .'
//!     need  |.....    .-'--.'------- first everyone's need, then what is left
//!           |      .-'  .-'
//!    floor  |-----'---'              idle: its floor
//!           +-------------------- level, in watts for each accelerator
//! ```

use crate::units::Watts;

/// How a node's watts are reckoned: its input power is what its host draws at most, and its accelerators' limits with what they
/// pass them by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What one child of a domain can do with watts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// What it draws before any accelerator in use gets a watt: hosts, and idle nodes at their floors.
    pub base: Watts,
    /// What a watt for each of its accelerators in use comes to, in thousandths: their count and their margins.
    pub weight: i64,
    /// The least that it can be held to.
    pub floor: Watts,
    /// What its work was granted: served before anyone gets more.
    pub need: Watts,
    /// The most that it can use.
    pub most: Watts,
}

impl Claim {
    /// Watts that can be neither more nor less.
    #[must_use]
    pub fn at(watts: Watts) -> Self {
        Self { base: watts, weight: 0, floor: watts, need: watts, most: watts }
    }

    /// Several claims as one.
    #[must_use]
    pub fn sum(claims: impl IntoIterator<Item = Self>) -> Self {
        claims.into_iter().fold(Self::at(Watts(0)), |a, b| Self {
            base: a.base + b.base,
            weight: a.weight + b.weight,
            floor: a.floor + b.floor,
            need: a.need + b.need,
            most: a.most + b.most,
        })
    }

    /// The same claim as it is seen before losses, `added` to it.
    #[must_use]
    pub fn before_losses(self, overhead_permille: u32, added: Watts) -> Self {
        let seen = |watts: Watts| (watts + added).plus_permille(overhead_permille);
        Self {
            base: seen(self.base),
            weight: self.weight + self.weight * i64::from(overhead_permille) / 1000,
            floor: seen(self.floor),
            need: seen(self.need),
            most: seen(self.most),
        }
    }

    fn at_level(&self, level: i64, least: Watts, most: Watts) -> Watts {
        // a level is in milliwatts for each accelerator
        let above = i128::from(self.weight) * i128::from(level) / 1_000_000;
        let watts = self.base + Watts(i64::try_from(above).unwrap_or(i64::MAX));
        watts.min(most).max(least)
    }
}

/// The highest level that is looked for, in milliwatts for each accelerator: no device takes 100 kW.
const HIGHEST: i64 = 100_000_000;

/// Divides what a domain may draw: `least` for each whatever the budget, then what each was granted, then as much as it can
/// use. `extra` says what must be kept free beside a division, and never falls faster than the division rises. What is given
/// comes within a watt for each child to the budget, unless nobody can use more.
#[must_use]
pub fn divide(budget: Watts, claims: &[Claim], least: &[Watts], extra: &dyn Fn(&[Watts]) -> Watts) -> Vec<Watts> {
    let least: Vec<Watts> = claims.iter().zip(least).map(|(claim, least)| claim.floor.max(*least)).collect();
    let needs = level(budget, claims, &least, |claim| claim.need, extra);
    level(budget, claims, &needs, |claim| claim.most, extra)
}

/// The division at the highest level that fits.
fn level(
    budget: Watts,
    claims: &[Claim],
    least: &[Watts],
    most: impl Fn(&Claim) -> Watts,
    extra: &dyn Fn(&[Watts]) -> Watts,
) -> Vec<Watts> {
    let at = |level: i64| -> Vec<Watts> {
        claims.iter().zip(least).map(|(claim, least)| claim.at_level(level, *least, most(claim))).collect()
    };
    let fits = |division: &[Watts]| division.iter().copied().sum::<Watts>() + extra(division) <= budget;
    let (mut low, mut high) = (0, HIGHEST);
    if fits(&at(high)) {
        return at(high);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(&at(middle)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    at(low)
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
        Claim { base: Watts(2000), weight: gpus * 1000, floor: claim(200), need: claim(need), most: claim(700) }
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
        let claims = [node(8, 700); 4];
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

    proptest! {
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
