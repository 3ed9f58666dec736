//! How fast an accelerator works under each limit: what watts are divided by.

use super::concave;
use crate::units::Watts;

/// Throughput over the limit that is set, concave. Reserved are limits, so a curve over the draw would be of other watts: an
/// A100 that trains under 400 W draws 345.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curve {
    /// Limits and throughput in thousandths of the highest, both strictly rising. Never empty.
    points: Vec<(Watts, u32)>,
}

/// For a device or a kind of work that nothing is known of: throughput by share of the highest limit, both in thousandths.
/// At each limit the slowest of eight LLM workloads on an A100 (emerald-ai, demonstration of May 2025, Apache-2.0): so nothing is
/// slowed more than is believed.
const GENERIC: [(i64, u32); 5] = [(250, 175), (500, 624), (625, 781), (750, 860), (1000, 1000)];

impl Curve {
    /// A curve from limits and throughputs in thousandths, in any order; those below the concave hull are never worth choosing.
    /// None where none does any work.
    #[must_use]
    pub fn of(points: impl IntoIterator<Item = (Watts, u32)>) -> Option<Self> {
        let points = points.into_iter().filter(|(_, work)| *work > 0).collect();
        let points = concave(points, |point| *point);
        (!points.is_empty()).then_some(Self { points })
    }

    /// What is believed of a device with this highest limit that nothing is known of.
    #[must_use]
    pub fn generic(max: Watts) -> Self {
        let at = |(share, work): (i64, u32)| (Watts(max.0 * share / 1000), work);
        Self::of(GENERIC.map(at)).unwrap_or(Self { points: vec![(max, 1000)] })
    }

    /// Throughput under a limit, in thousandths: linear between two points, and below the first down to nothing at no watts.
    #[must_use]
    pub fn at(&self, limit: Watts) -> u32 {
        let mut before = (Watts::ZERO, 0);
        for point in &self.points {
            if limit < point.0 {
                let (run, rise) = ((point.0 - before.0).0.max(1), i64::from(point.1) - i64::from(before.1));
                let above = (limit - before.0).0.max(0);
                return u32::try_from(i64::from(before.1) + rise * above / run).unwrap_or(0);
            }
            before = *point;
        }
        before.1
    }

    /// The lowest limit under which it is no slower than this, in thousandths; the last point's where none is so fast.
    #[must_use]
    pub fn lowest_for(&self, permille: u32) -> Watts {
        let mut before = (Watts::ZERO, 0);
        for point in &self.points {
            if permille <= point.1 {
                let (run, rise) = ((point.0 - before.0).0, i64::from(point.1) - i64::from(before.1));
                let needs = (i64::from(permille) - i64::from(before.1)).max(0) * run;
                return before.0 + Watts((needs + rise - 1) / rise.max(1));
            }
            before = *point;
        }
        before.0
    }

    /// The limits at which it bends.
    pub fn limits(&self) -> impl Iterator<Item = Watts> + '_ {
        self.points.iter().map(|(limit, _)| *limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_nothing_is_known_of_is_scaled_to_its_highest_limit() {
        let h100 = Curve::generic(Watts(700));
        assert_eq!(h100.limits().collect::<Vec<_>>(), [175, 350, 437, 525, 700].map(Watts));
        assert_eq!([0, 87, 175, 350, 700, 900].map(|limit| h100.at(Watts(limit))), [0, 87, 175, 624, 1000, 1000]);
        assert_eq!(Curve::generic(Watts(0)).at(Watts(0)), 1000, "a device of no watts does not panic");
    }

    #[test]
    fn a_point_below_the_hull_is_not_a_bend() {
        let measured = [(100, 191), (200, 624), (250, 781), (300, 860), (350, 921), (400, 1000)];
        let curve = Curve::of(measured.map(|(limit, work)| (Watts(limit), work))).unwrap();
        assert_eq!(curve.limits().collect::<Vec<_>>(), [100, 200, 250, 300, 400].map(Watts));
        assert_eq!(Curve::of([(Watts(100), 0)]), None);
    }

    #[test]
    fn a_tolerated_slowdown_is_a_limit() {
        let curve = Curve::generic(Watts(400));
        assert_eq!([1000, 900, 750, 500].map(|work| curve.lowest_for(work).0), [400, 329, 241, 173]);
        assert_eq!(curve.lowest_for(0), Watts(0));
    }

    proptest! {
        #[test]
        fn it_is_concave_and_the_lowest_limit_keeps_its_word(
            points in proptest::collection::vec((1..800_i64, 1..=1000_u32), 1..20),
            permille in 0..1000_u32,
        ) {
            let curve = Curve::of(points.iter().map(|(limit, work)| (Watts(*limit), *work))).unwrap();
            let top = curve.limits().last().unwrap();
            let lowest = curve.lowest_for(permille);
            prop_assert!(curve.at(lowest) >= permille.min(curve.at(top)), "{lowest}");
            for (limit, work) in points {
                prop_assert!(i64::from(curve.at(Watts(limit))) + 1 >= i64::from(work) || limit < curve.limits().next().unwrap().0);
            }
        }
    }
}
