//! Operating points: how many watts a workload may be given in a pool, and how fast it works with them.
//!
//! ```text
//! pace
//!  full |                 .o   a second at full power does a second of work
//!       |           . o'
//!       |       o         x    below the line between its neighbours: never worth choosing
//!       |     /
//!       |   o
//!       +--------------------- watts
//! ```
//! A second may be run at one point and the next at another: that is no stop, and costs nothing.

use super::{Load, PoolChoice, PoolId, Run};
use crate::core::profile::concave;
use crate::units::{Seconds, Watts};
use serde::Serialize;

/// How fast a workload works at a point, in millionths of its speed at full. More than none and never above full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Pace(u32);

impl Pace {
    /// As fast as it gets.
    pub const FULL: Self = Self(1_000_000);

    /// A pace from millionths of full; none where it is none, or above full.
    #[must_use]
    pub fn millionths(millionths: u32) -> Option<Self> {
        (1..=Self::FULL.0).contains(&millionths).then_some(Self(millionths))
    }

    /// In millionths of full.
    #[must_use]
    pub fn per_million(self) -> u32 {
        self.0
    }

    /// Is it as fast as it gets?
    #[must_use]
    pub fn is_full(&self) -> bool {
        *self == Self::FULL
    }

    /// As a part of full.
    #[must_use]
    pub fn part(self) -> f64 {
        f64::from(self.0) / f64::from(Self::FULL.0)
    }

    /// What is done in a span, in millionths of the work of a second at full.
    #[must_use]
    pub fn work(self, span: Seconds) -> i128 {
        i128::from(self.0) * i128::from(span.0)
    }

    /// How long work takes that takes so long at full, rounded up to a second.
    #[must_use]
    pub fn takes(self, work: Seconds) -> Seconds {
        seconds_for(Self::FULL.work(work), i128::from(self.0))
    }
}

/// How many whole seconds it takes to do so much where each does `each`.
pub(super) fn seconds_for(work: i128, each: i128) -> Seconds {
    let each = each.max(1);
    Seconds(i64::try_from((work + each - 1).div_euclid(each)).unwrap_or(i64::MAX / 4))
}

/// Leaves away the last seconds that runs do not need to hold so much work: who looks for a place counts in whole seconds, and of the
/// first one a part may be done already.
pub(super) fn without_surplus(runs: &mut Vec<Run>, work: i128) {
    let mut surplus = runs.iter().map(Run::work).sum::<i128>() - work;
    while let Some(last) = runs.last_mut() {
        let pace = i128::from(last.pace.0);
        let most = (last.end - last.start).0;
        let less = i64::try_from((surplus / pace).max(0)).unwrap_or(i64::MAX).min(most);
        if less < most {
            last.end = last.end - Seconds(less);
            return;
        }
        surplus -= last.work();
        runs.pop();
    }
}

/// A point that no plan gains by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotWorth {
    /// Mixing two others in time does more with as many watts.
    #[error("the point of {watts} at {} ‰ of full speed lies below the line between two others: it is not planned with", pace.0 / 1000)]
    BelowHull {
        /// Its pool.
        pool: PoolId,
        /// Its pace.
        pace: Pace,
        /// Its watts.
        watts: Watts,
    },
    /// Another does no less with no more watts.
    #[error("the point of {watts} at {} ‰ of full speed does no more than one of fewer watts: it is not planned with", pace.0 / 1000)]
    NoFaster {
        /// Its pool.
        pool: PoolId,
        /// Its pace.
        pace: Pace,
        /// Its watts.
        watts: Watts,
    },
}

/// The points worth choosing, the fastest of each pool first, and what is left away. Compared are points of the same pool that
/// hold the same accelerators and hosts: what holds fewer may be worth its watts.
#[must_use]
pub fn worth_choosing(points: &[PoolChoice]) -> (Vec<PoolChoice>, Vec<NotWorth>) {
    let width = |point: &PoolChoice| (point.load.accelerators, point.load.hosts);
    let mut sorted = points.to_vec();
    sorted.sort_by_key(|point| (point.pool, width(point)));
    let mut worth = Vec::new();
    let mut remarks = Vec::new();
    for alike in sorted.chunk_by(|a, b| (a.pool, width(a)) == (b.pool, width(b))) {
        let hull = concave(alike.to_vec(), |point| (point.load.watts, point.pace.0));
        let mut left_away = alike.to_vec();
        // one of two that are the same stays
        for kept in &hull {
            if let Some(at) = left_away.iter().position(|point| point == kept) {
                left_away.remove(at);
            }
        }
        remarks.extend(left_away.into_iter().map(|PoolChoice { pool, load: Load { watts, .. }, pace }| {
            let is_beaten = hull.iter().any(|kept| kept.load.watts <= watts && kept.pace >= pace);
            if is_beaten { NotWorth::NoFaster { pool, pace, watts } } else { NotWorth::BelowHull { pool, pace, watts } }
        }));
        worth.extend(hull);
    }
    worth.sort_by_key(|point| (point.pool, std::cmp::Reverse(point.pace), point.load.watts));
    // within a pool the pace is the point's name: of two widths with the same one the narrower is kept
    worth.dedup_by_key(|point| (point.pool, point.pace));
    (worth, remarks)
}

/// A step up: from not running to the first point, or from one point to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rise {
    /// Cost units of a second of it.
    pub unit: i128,
    /// What a second of it does more, in millionths of the work of a second at full.
    pub gains: i128,
    /// The point that it leads to.
    pub to: Pace,
}

impl Rise {
    /// The whole way up at once, to the one point there is.
    pub(super) fn to(pace: Pace, unit: i128) -> Self {
        Self { unit, gains: i128::from(pace.0), to: pace }
    }

    /// What the work of a second costs that it adds: the order in which rises are taken.
    pub(super) fn rate(&self) -> i128 {
        let full = i128::from(Pace::FULL.0);
        if self.gains == full { self.unit } else { self.unit.saturating_mul(full).div_euclid(self.gains) }
    }
}

/// The rises worth taking, of points with what a second of each costs: by rising rate, each only after the one before it.
/// They lie on the lower hull of cost over work, which begins at nothing for nothing.
#[must_use]
pub fn rises(points: &mut Vec<(Pace, i128)>) -> Vec<Rise> {
    points.sort_unstable();
    points.dedup_by_key(|(pace, _)| *pace);
    let mut hull: Vec<(i128, i128, Pace)> = vec![(0, 0, Pace(0))];
    for (pace, unit) in points.iter() {
        let new = (i128::from(pace.0), *unit, *pace);
        while let [.., a, b] = hull[..] {
            // b stays only where the line turns up at it
            let slope = |p: (i128, i128, Pace), q: (i128, i128, Pace)| (q.1.saturating_sub(p.1), q.0 - p.0);
            let ((rise, run), (next_rise, next_run)) = (slope(a, b), slope(b, new));
            if rise.saturating_mul(next_run) < next_rise.saturating_mul(run) {
                break;
            }
            hull.pop();
        }
        hull.push(new);
    }
    let steps = hull.windows(2);
    steps
        .map(|pair| Rise { unit: pair[1].1.saturating_sub(pair[0].1), gains: pair[1].0 - pair[0].0, to: pair[1].2 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(watts: i64, millionths: u32) -> PoolChoice {
        let load = Load { watts: Watts(watts), accelerators: 1, hosts: 1 };
        PoolChoice { pool: PoolId(0), load, pace: Pace::millionths(millionths).unwrap() }
    }

    #[test]
    fn a_pace_takes_so_much_longer_rounded_up() {
        let third = Pace::millionths(333_334).unwrap();
        assert_eq!(third.takes(Seconds(1)), Seconds(3));
        assert_eq!(third.takes(Seconds(1_000_000)), Seconds(2_999_995));
        assert_eq!(Pace::FULL.takes(Seconds(7)), Seconds(7));
        assert_eq!((Pace::millionths(0), Pace::millionths(1_000_001)), (None, None));
    }

    #[test]
    fn what_lies_below_the_hull_is_left_away_and_told() {
        let points =
            [point(350, 1_000_000), point(100, 240_000), point(200, 500_000), point(244, 904_000), point(360, 990_000)];
        let (worth, remarks) = worth_choosing(&points);
        assert_eq!(worth, [points[0], points[3], points[1]]);
        let [below, slower] = remarks[..] else { panic!("{remarks:?}") };
        assert_eq!(
            below.to_string(),
            "the point of 200 W at 500 ‰ of full speed lies below the line between two others: it is not planned with"
        );
        assert!(matches!(slower, NotWorth::NoFaster { watts: Watts(360), .. }), "{slower:?}");
        assert_eq!(worth_choosing(&[]), (vec![], vec![]));
    }

    #[test]
    fn dear_points_are_passed_over_on_the_way_up() {
        let pace = |millionths| Pace::millionths(millionths).unwrap();
        // with 300 of the host at each point the slow one costs more for its work than the next
        let mut points = vec![(Pace::FULL, 650), (pace(240_000), 400), (pace(800_000), 496)];
        let taken: Vec<(i128, Pace)> = rises(&mut points).into_iter().map(|rise| (rise.unit, rise.to)).collect();
        assert_eq!(taken, [(496, pace(800_000)), (154, Pace::FULL)]);
    }

    proptest! {
        #[test]
        fn rises_get_dearer_and_no_mix_of_points_costs_less(
            points in proptest::collection::vec((1..=1_000_000_u32, -1000..1000_i128), 1..8),
        ) {
            let mut named: Vec<(Pace, i128)> = points.iter().map(|(pace, unit)| (Pace(*pace), *unit)).collect();
            let up = rises(&mut named);
            for pair in up.windows(2) {
                prop_assert!(pair[0].unit * pair[1].gains < pair[1].unit * pair[0].gains, "{up:?}");
            }
            for (pace, unit) in points {
                // what the same work costs on the way up
                let (mut left, mut cost) = (f64::from(pace), 0.0);
                for rise in &up {
                    let part = (left / rise.gains as f64).clamp(0.0, 1.0);
                    cost += rise.unit as f64 * part;
                    left -= rise.gains as f64 * part;
                }
                prop_assert!(left.abs() < 1e-6 && cost <= unit as f64 + 1e-6, "{cost} for {pace} of {up:?}");
            }
        }

        #[test]
        fn what_is_left_away_is_below_what_stays(
            points in proptest::collection::vec((1..500_i64, 1..=1_000_000_u32), 0..12),
        ) {
            let points: Vec<PoolChoice> = points.into_iter().map(|(watts, pace)| point(watts, pace)).collect();
            let (worth, remarks) = worth_choosing(&points);
            prop_assert_eq!(worth.len() + remarks.len(), points.len());
            for pair in worth.windows(2) {
                prop_assert!(pair[0].pace > pair[1].pace && pair[0].load.watts > pair[1].load.watts);
            }
            let fastest = points.iter().map(|point| point.pace).max();
            prop_assert_eq!(worth.first().map(|point| point.pace), fastest);
        }
    }
}
