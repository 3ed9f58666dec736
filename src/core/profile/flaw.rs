//! What points say of themselves that can't be right, where they can be counted with all the same: each with the safe side that is
//! in force. Shells show it as it is.

use super::{Curve, Point};
use crate::units::Watts;
use std::fmt::{self, Display, Formatter};

/// How far a point may lie below the line between its neighbours before it is told, in thousandths: what rounding does.
const ROUNDING: u32 = 1;

/// What is wrong with a profile that is counted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// All its points are at one limit: that is no curve.
    OnePoint {
        /// The limit.
        limit: Watts,
        /// The highest limit of the device, by which the generic curve goes.
        max: Watts,
    },
    /// Points that lie below the line between their neighbours.
    BelowHull {
        /// Their limits, rising.
        limits: Vec<Watts>,
    },
    /// A point that draws more than its limit and the margin: the worst of them.
    AboveLimit {
        /// The point.
        point: Point,
        /// The margin that was given, in thousandths.
        given: u32,
        /// The margin that it takes, in thousandths.
        counted: u32,
    },
}

impl Display for Flaw {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnePoint { limit, max } => write!(
                f,
                "points: all of them are at {limit}, which is no curve. Measure at two limits at least; until then it counts as fast as \
                 the generic curve of a device of {max} says, and draws what this one says"
            ),
            Self::BelowHull { limits } => {
                let limits: Vec<String> = limits.iter().map(Watts::to_string).collect();
                let (those, are) = if limits.len() == 1 { ("the one", "lies") } else { ("those", "lie") };
                write!(
                    f,
                    "points: {those} at {} {are} below the line between their neighbours. Measure anew, or leave them out; until then \
                     the line counts",
                    limits.join(", ")
                )
            }
            Self::AboveLimit { point: Point { limit, draw, .. }, given, counted } => write!(
                f,
                "points: under a limit of {limit} it draws {draw}, more than overshootPermille {given} allows. Set overshootPermille to \
                 {counted}, or minWatts above {limit} without that point; until then {counted} counts at every limit"
            ),
        }
    }
}

/// How far above its limit a point draws, in thousandths, rounded up.
pub(super) fn overshoot(point: &Point) -> i64 {
    let above = (point.draw - point.limit).0.max(0);
    let limit = point.limit.0.max(1);
    above.saturating_mul(1000).saturating_add(limit - 1) / limit
}

/// What is wrong with these points, of which some work, and which a curve was made of.
pub(super) fn flaws(points: &[Point], curve: &Curve, max: Watts, given: u32) -> Vec<Flaw> {
    let mut found = Vec::new();
    let mut limits: Vec<Watts> =
        points.iter().filter(|point| point.throughput_permille > 0).map(|point| point.limit).collect();
    limits.sort_unstable();
    limits.dedup();
    if let [limit] = limits[..] {
        found.push(Flaw::OnePoint { limit, max });
    }
    let is_below = |limit: &Watts| {
        let best = points.iter().filter(|point| point.limit == *limit).map(|point| point.throughput_permille).max();
        best.is_some_and(|best| best + ROUNDING < curve.at(*limit))
    };
    limits.retain(is_below);
    if !limits.is_empty() {
        found.push(Flaw::BelowHull { limits });
    }
    let worst = points.iter().max_by_key(|point| overshoot(point));
    if let Some(point) = worst.filter(|point| overshoot(point) > i64::from(given)) {
        let counted = u32::try_from(overshoot(point)).unwrap_or(u32::MAX);
        found.push(Flaw::AboveLimit { point: *point, given, counted });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Profile, ProfileError};
    use super::*;

    fn made(points: &[(i64, i64, u32)], overshoot: u32) -> Result<Profile, ProfileError> {
        let point = |&(limit, draw, throughput_permille): &(i64, i64, u32)| Point {
            limit: Watts(limit),
            draw: Watts(draw),
            throughput_permille,
        };
        Profile::new(&points.iter().map(point).collect::<Vec<_>>(), Watts(60), Watts(400), overshoot)
    }

    fn said(points: &[(i64, i64, u32)], overshoot: u32) -> Vec<String> {
        made(points, overshoot).unwrap().flaws().iter().map(Flaw::to_string).collect()
    }

    #[test]
    fn what_was_measured_well_has_none() {
        let flat = [(100, 100, 500), (200, 190, 900), (300, 240, 1000), (400, 240, 1000)];
        assert!(said(&flat, 0).is_empty(), "more watts for no more work are no mistake");
        assert!(said(&[(100, 103, 500), (400, 380, 1000)], 30).is_empty(), "the margin is for that");
        assert!(said(&[(100, 90, 334), (200, 190, 666), (300, 290, 1000)], 0).is_empty(), "rounding is no dent");
    }

    #[test]
    fn one_point_is_no_curve() {
        let text = "points: all of them are at 300 W, which is no curve. Measure at two limits at least; until then it counts as fast as \
                    the generic curve of a device of 400 W says, and draws what this one says";
        assert_eq!(said(&[(300, 290, 1000)], 0), [text]);
        assert_eq!(said(&[(300, 290, 1000), (300, 280, 900), (100, 90, 0)], 0), [text]);
        assert_eq!(made(&[(300, 290, 1000)], 0).unwrap().curve(), &Curve::generic(Watts(400)));
    }

    #[test]
    fn a_point_below_its_neighbours_is_named_and_the_line_counts() {
        let dented = [(100, 100, 200), (200, 190, 400), (300, 290, 450), (350, 340, 460), (400, 380, 1000)];
        let text = "points: those at 200 W, 300 W, 350 W lie below the line between their neighbours. Measure anew, or leave them out; \
                    until then the line counts";
        assert_eq!(said(&dented, 0), [text]);
        assert_eq!(made(&dented, 0).unwrap().curve().at(Watts(300)), 733);
        assert!(
            said(&[(100, 100, 200), (200, 190, 400), (400, 380, 1000)], 0)[0]
                .starts_with("points: the one at 200 W lies")
        );
    }

    #[test]
    fn a_draw_above_its_limit_raises_the_margin() {
        let a40 = [(100, 121, 227), (150, 152, 537), (300, 277, 1000)];
        let text = "points: under a limit of 100 W it draws 121 W, more than overshootPermille 20 allows. Set overshootPermille to 210, or \
                    minWatts above 100 W without that point; until then 210 counts at every limit";
        let flaws = said(&a40, 20);
        assert!(flaws.contains(&text.to_owned()), "{flaws:?}");
        assert_eq!(made(&a40, 20).unwrap().overshoot_permille(), 210);
        assert_eq!(made(&a40, 20).unwrap().worst_draw(), Watts(484));
        assert_eq!(made(&a40, 300).unwrap().overshoot_permille(), 300, "one that is larger stays");
        let refused = made(&[(100, 201, 500), (400, 400, 1000)], 20).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the point at 100 W draws 201 W, more than twice its limit: is one of them in another unit?"
        );
    }
}
