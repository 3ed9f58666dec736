//! What an accelerator draws and how fast it works at each of its limits.
//!
//! ```text
//! throughput
//!    1000 |              .--o      o  measured, on the hull
//!         |          .-o           x  measured, below it: never worth choosing
//!         |       o'   x           the knee is where a watt-second does the most work
//!         |     /
//!         |   o   <- knee
//!         +--------------------- draw
//! ```

mod clocks;
mod curve;
mod flaw;
mod nameplate;

pub use clocks::Clocks;
pub use curve::Curve;
pub use flaw::Flaw;
pub use nameplate::{UNKNOWN, nameplate};

use crate::units::Watts;

/// One measured point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The limit that was set.
    pub limit: Watts,
    /// What was drawn.
    pub draw: Watts,
    /// Speed in thousandths of the highest.
    pub throughput_permille: u32,
}

/// What is known of one device under one class of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Points on the concave hull of draw and throughput, both strictly rising. Never empty.
    hull: Vec<Point>,
    curve: Curve,
    idle: Watts,
    max: Watts,
    overshoot_permille: u32,
    flaws: Vec<Flaw>,
}

/// Why a profile can't be counted with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No point has any throughput.
    #[error("no point has a throughput above zero: at least one is needed")]
    NoWork,
    /// A point that draws less than an idle device.
    #[error("the point at {limit} draws {draw}, less than {idle} when idle")]
    BelowIdle {
        /// Its limit.
        limit: Watts,
        /// Its draw.
        draw: Watts,
        /// The draw of an idle device.
        idle: Watts,
    },
    /// A point that draws more than any device does under its limit.
    #[error("the point at {limit} draws {draw}, more than twice its limit: is one of them in another unit?")]
    TwiceItsLimit {
        /// Its limit.
        limit: Watts,
        /// Its draw.
        draw: Watts,
    },
}

impl Profile {
    /// A profile from measured points, in any order. `max` is the highest limit the device takes. What is wrong with points that
    /// can be counted with is kept beside them ([`Profile::flaws`]), and the safe side counts.
    ///
    /// # Errors
    /// Where the points can't be those of a working device.
    pub fn new(points: &[Point], idle: Watts, max: Watts, overshoot_permille: u32) -> Result<Self, ProfileError> {
        if let Some(point) = points.iter().find(|point| point.draw < idle) {
            return Err(ProfileError::BelowIdle { limit: point.limit, draw: point.draw, idle });
        }
        if let Some(point) = points.iter().find(|point| flaw::overshoot(point) > 1000) {
            return Err(ProfileError::TwiceItsLimit { limit: point.limit, draw: point.draw });
        }
        let working = points.iter().copied().filter(|point| point.throughput_permille > 0).collect();
        let hull = concave(working, |point: &Point| (point.draw, point.throughput_permille));
        // over limits, for those who divide them
        let by_limit = Curve::of(points.iter().map(|point| (point.limit, point.throughput_permille)));
        let Some(mut curve) = by_limit else { return Err(ProfileError::NoWork) };
        let flaws = flaw::flaws(points, &curve, max, overshoot_permille);
        let mut overshoot_permille = overshoot_permille;
        for flaw in &flaws {
            match flaw {
                Flaw::OnePoint { max, .. } => curve = Curve::generic(*max),
                Flaw::AboveLimit { counted, .. } => overshoot_permille = overshoot_permille.max(*counted),
                Flaw::BelowHull { .. } => {} // the hull leaves them out
            }
        }
        Ok(Self { hull, curve, idle, max, overshoot_permille, flaws })
    }

    /// What is wrong with its points.
    #[must_use]
    pub fn flaws(&self) -> &[Flaw] {
        &self.flaws
    }

    /// How far it draws above its limit at worst, in thousandths: what was given, or the worst of its points.
    #[must_use]
    pub fn overshoot_permille(&self) -> u32 {
        self.overshoot_permille
    }

    /// The points worth choosing, by rising draw.
    #[must_use]
    pub fn hull(&self) -> &[Point] {
        &self.hull
    }

    /// How fast it works under each limit.
    #[must_use]
    pub fn curve(&self) -> &Curve {
        &self.curve
    }

    /// What the device draws with nothing running.
    #[must_use]
    pub fn idle(&self) -> Watts {
        self.idle
    }

    /// The most it can draw: its highest limit and the worst overshoot above it. What is planned and granted with.
    #[must_use]
    pub fn worst_draw(&self) -> Watts {
        self.max.plus_permille(self.overshoot_permille)
    }

    /// The point below which capping wastes energy: where a unit of work takes the least, the host's share included.
    /// Of two that are equal the faster one.
    #[must_use]
    pub fn knee(&self, host_share: Watts) -> Point {
        let mut best = self.hull[0];
        for point in &self.hull[1..] {
            let energy = |p: &Point| i128::from((p.draw + host_share).0);
            let work = |p: &Point| i128::from(p.throughput_permille);
            if energy(point) * work(&best) <= energy(&best) * work(point) {
                best = *point;
            }
        }
        best
    }

    /// Throughput in thousandths at a draw: linear between points of the hull, and down to nothing at idle.
    #[must_use]
    pub fn throughput_permille(&self, draw: Watts) -> u32 {
        let start = Point { limit: self.idle, draw: self.idle, throughput_permille: 0 };
        let mut before = start;
        for point in &self.hull {
            if draw < point.draw {
                let run = (point.draw - before.draw).0.max(1);
                let rise = i64::from(point.throughput_permille) - i64::from(before.throughput_permille);
                let above = (draw - before.draw).0.max(0);
                return u32::try_from(i64::from(before.throughput_permille) + rise * above / run).unwrap_or(0);
            }
            before = *point;
        }
        before.throughput_permille
    }
}

/// The points on the concave hull, watts and throughput both strictly rising: what lies below it is never worth choosing.
pub(super) fn concave<T: Copy>(mut points: Vec<T>, of: impl Fn(&T) -> (Watts, u32)) -> Vec<T> {
    points.sort_by_key(|point| {
        let (watts, work) = of(point);
        (watts, std::cmp::Reverse(work))
    });
    let mut hull: Vec<T> = Vec::new();
    for point in points {
        if hull.last().is_some_and(|last| of(&point).1 <= of(last).1) {
            continue; // more watts for no more work
        }
        while let [.., a, b] = hull[..] {
            // b stays only where the line turns down at it: the slope from a to b is above that from b to the new one
            let slope = |p: T, q: T| {
                let ((x, y), (next_x, next_y)) = (of(&p), of(&q));
                (i128::from(next_y) - i128::from(y), i128::from((next_x - x).0))
            };
            let ((rise, run), (next_rise, next_run)) = (slope(a, b), slope(b, point));
            if rise * next_run > next_rise * run {
                break;
            }
            hull.pop();
        }
        hull.push(point);
    }
    hull
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(draw: i64, throughput_permille: u32) -> Point {
        Point { limit: Watts(draw), draw: Watts(draw), throughput_permille }
    }

    fn a100() -> Profile {
        // the shape of an A100 sweep, rounded: 100 to 400 W
        let points =
            [point(100, 240), point(196, 807), point(244, 904), point(292, 960), point(340, 955), point(380, 1000)];
        Profile::new(&points, Watts(60), Watts(400), 20).unwrap()
    }

    #[test]
    fn points_below_the_hull_are_never_chosen() {
        let draws: Vec<i64> = a100().hull().iter().map(|point| point.draw.0).collect();
        assert_eq!(draws, [100, 196, 244, 292, 380]);
    }

    #[test]
    fn the_knee_moves_up_with_the_host() {
        assert_eq!(a100().knee(Watts(0)).draw, Watts(196));
        assert_eq!(a100().knee(Watts(400)).draw, Watts(244));
    }

    #[test]
    fn the_worst_draw_is_above_the_highest_limit() {
        assert_eq!(a100().worst_draw(), Watts(408));
    }

    #[test]
    fn between_points_it_is_linear() {
        let profile = a100();
        assert_eq!([60, 148, 196, 220, 999].map(|w| profile.throughput_permille(Watts(w))), [0, 523, 807, 855, 1000]);
    }

    #[test]
    fn points_of_no_working_device_are_refused() {
        assert_eq!(Profile::new(&[point(100, 0)], Watts(60), Watts(400), 0), Err(ProfileError::NoWork));
        let error = Profile::new(&[point(50, 9)], Watts(60), Watts(400), 0).unwrap_err();
        assert_eq!(error.to_string(), "the point at 50 W draws 50 W, less than 60 W when idle");
    }

    proptest! {
        #[test]
        fn the_hull_is_concave_and_above_every_point(
            points in proptest::collection::vec((60..500_i64, 0..=1000_u32), 1..20),
        ) {
            let points: Vec<Point> = points.into_iter().map(|(draw, work)| point(draw, work)).collect();
            if let Ok(profile) = Profile::new(&points, Watts(60), Watts(500), 0) {
                for corner in profile.hull().windows(3) {
                    let slope = |i: usize, j: usize| {
                        (f64::from(corner[j].throughput_permille) - f64::from(corner[i].throughput_permille))
                            / (corner[j].draw - corner[i].draw).0 as f64
                    };
                    prop_assert!(slope(0, 1) > slope(1, 2), "{corner:?}");
                }
                let first = profile.hull()[0].draw;
                for point in points.iter().filter(|point| point.draw >= first) {
                    prop_assert!(profile.throughput_permille(point.draw) + 1 >= point.throughput_permille, "{point:?}");
                }
                let knee = profile.knee(Watts(0));
                let energy = |p: &Point| p.draw.0 as f64 / f64::from(p.throughput_permille);
                prop_assert!(profile.hull().iter().all(|p| energy(&knee) <= energy(p) + 1e-12));
            }
        }
    }
}
