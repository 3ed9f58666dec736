//! A node's watts among its accelerators. Values in, values out.
//!
//! ```text
//!   limit
//!     max |- - - - - - - - - -       the whole lease: by shares, or one level for all, within each device's range
//!         |         ####
//!         |   ####  ####  ####       less is in force: what is above the minimum shrinks in proportion
//!         |   ####  ####  ####
//!     min |---####--####--####---    less than the minimums: the minimums, and it is said that they don't fit
//! ```
//!
//! What is set together never exceeds what is in force, as long as the minimums fit. No limit below a minimum is ever made:
//! a device that is told one may drop its limit altogether (LACT#207: 420 W instead of 293).

use crate::units::Watts;
use std::collections::BTreeMap;

/// An accelerator that limits can be set on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Which.
    pub uuid: String,
    /// The lowest limit that it takes.
    pub min: Watts,
    /// The highest.
    pub max: Watts,
}

/// What each accelerator is to have while the whole lease is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// All the same, but for those that are named.
    Level(BTreeMap<String, Watts>),
    /// What each was found with; its highest where that is not known.
    Found(BTreeMap<String, Watts>),
}

/// Limits in the order of the devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divided {
    /// The limits.
    pub limits: Vec<Watts>,
    /// The minimums do not fit: what they need together, and what there is.
    pub short: Option<(Watts, Watts)>,
}

/// What is left of a budget for those that can be reached. Others are expected and can't be: they may draw all the same, so a
/// part is kept for each of them.
#[must_use]
pub fn within_reach(budget: Watts, there: usize, out_of_reach: usize) -> Watts {
    let parts = |n: usize| i128::try_from(n).unwrap_or(i128::MAX);
    let all = parts(there).saturating_add(parts(out_of_reach)).max(1);
    Watts(i64::try_from(i128::from(budget.0) * parts(there) / all).unwrap_or(0))
}

/// The limits of the whole lease.
#[must_use]
pub fn whole(budget: Watts, devices: &[Device], want: &Want) -> Vec<Watts> {
    match want {
        Want::Found(found) => {
            devices.iter().map(|device| clamp(device, found.get(&device.uuid).copied().unwrap_or(device.max))).collect()
        }
        Want::Level(shares) => {
            let share = |device: &Device| shares.get(&device.uuid).map(|watts| clamp(device, *watts));
            let shared: Watts = devices.iter().filter_map(share).sum();
            let rest: Vec<&Device> = devices.iter().filter(|device| share(device).is_none()).collect();
            let level = level(budget - shared, &rest);
            devices.iter().map(|device| share(device).unwrap_or_else(|| clamp(device, level))).collect()
        }
    }
}

/// The whole's limits under less: all that is above the minimums shrinks in proportion.
#[must_use]
pub fn scaled(whole: &[Watts], devices: &[Device], budget: Watts) -> Divided {
    let sum: Watts = whole.iter().copied().sum();
    if sum <= budget {
        return Divided { limits: whole.to_vec(), short: None };
    }
    let floors: Watts = devices.iter().map(|device| device.min).sum();
    if budget < floors {
        return Divided { limits: devices.iter().map(|device| device.min).collect(), short: Some((floors, budget)) };
    }
    // the sum is above the budget, and so above the floors
    let (left, all) = (i128::from((budget - floors).0), i128::from((sum - floors).0.max(1)));
    let limit = |(whole, device): (&Watts, &Device)| {
        let above = i128::from((*whole - device.min).0) * left / all;
        device.min + Watts(i64::try_from(above).unwrap_or(0))
    };
    Divided { limits: whole.iter().zip(devices).map(limit).collect(), short: None }
}

fn clamp(device: &Device, watts: Watts) -> Watts {
    watts.min(device.max).max(device.min)
}

/// The highest level, one for all, whose sum within the ranges stays in the budget.
fn level(budget: Watts, devices: &[&Device]) -> Watts {
    let most = devices.iter().map(|device| device.max).max().unwrap_or(Watts::ZERO);
    let sum = |level: Watts| -> Watts { devices.iter().map(|device| clamp(device, level)).sum() };
    let (mut fits, mut above) = (0, most.0.saturating_add(1));
    while above - fits > 1 {
        let middle = fits + (above - fits) / 2;
        if sum(Watts(middle)) <= budget { fits = middle } else { above = middle }
    }
    Watts(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::divide::Scale;
    use proptest::prelude::*;

    fn h100s(count: usize) -> Vec<Device> {
        (0..count).map(|i| Device { uuid: format!("GPU-{i}"), min: Watts(200), max: Watts(700) }).collect()
    }

    fn equal() -> Want {
        Want::Level(BTreeMap::new())
    }

    fn shares(of: &[(usize, i64)]) -> Want {
        Want::Level(of.iter().map(|(gpu, watts)| (format!("GPU-{gpu}"), Watts(*watts))).collect())
    }

    fn of(divided: &Divided) -> Vec<i64> {
        divided.limits.iter().map(|watts| watts.0).collect()
    }

    #[test]
    fn without_shares_all_are_equal_and_within_their_ranges() {
        let devices = h100s(4);
        assert_eq!(whole(Watts(1601), &devices, &equal()), [Watts(400); 4]);
        assert_eq!(whole(Watts(9000), &devices, &equal()), [Watts(700); 4]);
        let mut mixed = devices.clone();
        mixed[0].max = Watts(250);
        assert_eq!(whole(Watts(1600), &mixed, &equal()), [250, 450, 450, 450].map(Watts));
    }

    #[test]
    fn parts_are_kept_for_those_that_are_missing() {
        assert_eq!(within_reach(Watts(1600), 2, 2), Watts(800));
        assert_eq!([within_reach(Watts(1600), 0, 2), within_reach(Watts(1600), 0, 0)], [Watts::ZERO; 2]);
    }

    #[test]
    fn shares_first_and_the_rest_is_equal() {
        let limits = whole(Watts(1600), &h100s(4), &shares(&[(1, 600), (9, 650)]));
        assert_eq!(limits, [333, 600, 333, 333].map(Watts), "a share of another node's is nobody's");
        assert_eq!(whole(Watts(1600), &h100s(2), &shares(&[(0, 5000), (1, 1)])), [700, 200].map(Watts));
    }

    #[test]
    fn under_less_all_above_the_minimum_shrink_in_proportion() {
        let devices = h100s(3);
        let whole = [Watts(600), Watts(400), Watts(200)];
        assert_eq!(of(&scaled(&whole, &devices, Watts(900))), [400, 300, 200]);
        assert_eq!(of(&scaled(&whole, &devices, Watts(1200))), [600, 400, 200]);
        let short = scaled(&whole, &devices, Watts(599));
        assert_eq!((of(&short), short.short), (vec![200, 200, 200], Some((Watts(600), Watts(599)))));
    }

    #[test]
    fn released_each_has_what_it_was_found_with() {
        let found = Want::Found([("GPU-0".to_owned(), Watts(350)), ("GPU-2".to_owned(), Watts(9999))].into());
        assert_eq!(whole(Watts(99_999), &h100s(3), &found), [350, 700, 700].map(Watts));
    }

    proptest! {
        #[test]
        fn what_is_set_never_exceeds_what_is_in_force(
            node in 0..12_000_i64,
            lease in 0..12_000_i64,
            ranges in proptest::collection::vec((1..400_i64, 0..400_i64), 1..9),
            shared in proptest::collection::vec((0..9_usize, 1..900_i64), 0..6),
            (host, overshoot, missing) in (0..3000_i64, 0..300_u32, 0..3_usize),
        ) {
            let devices: Vec<Device> = ranges.iter().enumerate().map(|(i, (min, more))| {
                Device { uuid: format!("GPU-{i}"), min: Watts(*min), max: Watts(min + more) }
            }).collect();
            let scale = Scale { host: Watts(host), overshoot };
            let node = node.min(lease);
            let budget = |node: i64| within_reach(scale.limits(Watts(node)), devices.len(), missing);
            let all = whole(budget(lease), &devices, &shares(&shared));
            let now = scaled(&all, &devices, budget(node));
            let fallen = scaled(&all, &devices, budget(node / 2));
            for ((limit, device), low) in now.limits.iter().zip(&devices).zip(&fallen.limits) {
                prop_assert!(*limit >= device.min && *limit <= device.max);
                prop_assert!(low <= limit, "a fall is never a raise");
            }
            let sum: Watts = now.limits.iter().copied().sum();
            prop_assert!(now.short.is_some() || scale.node(sum) <= Watts(node.max(host)));
        }
    }
}
