//! The numbers of a lease, and how they are summed.

use crate::units::Watts;
use serde::{Deserialize, Serialize};

/// In a watt. Rounded down in these, the sum of any number of children that there can be is a watt too low nowhere.
pub(super) const MILLIONTHS: i128 = 1_000_000;

fn up(num: i128, den: i128) -> i128 {
    -(-num).div_euclid(den)
}

/// What a child may hold while its domain may draw no more than `cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row {
    /// The absolute cap of the domain.
    pub cap: Watts,
    /// What the child may hold then.
    pub watts: Watts,
}

/// Everything of a lease that a child may act on.
///
/// ```text
/// may hold
///   watts |            .------o   rows[0]: the domain's full cap
///         |         .o'           rows[1]: linear in between
///         |       o'              rows[2]: the last that can be reached with everything on
///   floor |.......                below it the floor, and workloads are suspended
///         +-------------------- cap of the domain
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// What it may draw, whatever the cap: no row allows more.
    pub watts: Watts,
    /// By falling cap, the domain's full cap first. Those that can't be reached are left out.
    pub rows: Vec<Row>,
    /// The least that it can be held to with its accelerators on.
    pub floor: Watts,
    /// What it falls to when it is deaf or its lease is over.
    pub safe: Watts,
}

impl Figures {
    /// The same watts at every cap: a child that nothing is known of but its hard ceiling.
    #[must_use]
    pub fn flat(watts: Watts) -> Self {
        Self { watts, rows: Vec::new(), floor: watts, safe: watts }
    }

    /// Do these give everything back to a child of this ceiling: is it held to less at no cap, deaf or not?
    #[must_use]
    pub fn gives_back(&self, ceiling: Watts) -> bool {
        self.rows.is_empty() && self.watts >= ceiling && self.floor >= ceiling && self.safe >= ceiling
    }

    /// What these allow while the domain may draw `cap`: what a node acts on, so rounded down.
    #[must_use]
    pub fn at(&self, cap: Watts) -> Watts {
        self.watts.min(self.line(cap, i128::div_euclid))
    }

    /// The most that a child with these figures draws when the cap has fallen to `cap`: what is summed, so rounded up.
    /// Where `safe_counts`, a deaf child is counted too: it falls to its safe limit and no further.
    #[must_use]
    pub fn worst_at(&self, cap: Watts, safe_counts: bool) -> Watts {
        let heard = self.watts.min(self.line(cap, up));
        if safe_counts { heard.max(self.safe.min(self.watts)) } else { heard }
    }

    /// The same in millionths of a watt: where many are summed between rows, a whole watt each would be too much.
    pub(super) fn fine_at(&self, cap: Watts, safe_counts: bool) -> i128 {
        let fine = |watts: Watts| i128::from(watts.0) * MILLIONTHS;
        let heard = fine(self.watts).min(self.scaled_line(cap, MILLIONTHS, i128::div_euclid));
        if safe_counts { heard.max(fine(self.safe.min(self.watts))) } else { heard }
    }

    fn line(&self, cap: Watts, divide: fn(i128, i128) -> i128) -> Watts {
        Watts(i64::try_from(self.scaled_line(cap, 1, divide)).unwrap_or(i64::MAX))
    }

    fn scaled_line(&self, cap: Watts, scale: i128, divide: fn(i128, i128) -> i128) -> i128 {
        let scaled = |watts: Watts| i128::from(watts.0) * scale;
        match self.rows.iter().position(|row| row.cap <= cap) {
            Some(0) => scaled(self.rows[0].watts),
            Some(i) => {
                let (low, high) = (self.rows[i], self.rows[i - 1]);
                let (rise, run) = (scaled(high.watts - low.watts), i128::from((high.cap - low.cap).0.max(1)));
                scaled(low.watts) + divide(rise * i128::from((cap - low.cap).0), run)
            }
            None => scaled(self.floor),
        }
    }

    /// Figures that allow, at every cap, at least what either of the two does.
    ///
    /// Over one segment of the caps of both, the higher of two lines is convex, so it lies below the chord that the result
    /// has there.
    #[must_use]
    pub fn highest(&self, other: &Self) -> Self {
        let caps = self.caps().chain(other.caps());
        self.at_each_cap(other, caps, |cap| self.line(cap, up).max(other.line(cap, up)), Watts::max)
    }

    /// Figures that allow, at every cap, no more than either of the two does.
    ///
    /// The lower of two lines is concave, so the chord lies below it. Where the rows of one end and those of the other go on, it
    /// falls to its floor at once: a row right below says so.
    #[must_use]
    pub fn lowest(&self, other: &Self) -> Self {
        let ends = [self, other].map(|figures| figures.caps().last());
        let lowest = ends.into_iter().flatten().min();
        let drops = ends.into_iter().flatten().filter(|end| Some(*end) > lowest).map(|end| end - Watts(1));
        let caps = self.caps().chain(other.caps()).chain(drops);
        let down = i128::div_euclid;
        self.at_each_cap(other, caps, |cap| self.line(cap, down).min(other.line(cap, down)), Watts::min)
    }

    fn at_each_cap(
        &self,
        other: &Self,
        caps: impl Iterator<Item = Watts>,
        at: impl Fn(Watts) -> Watts,
        choose: fn(Watts, Watts) -> Watts,
    ) -> Self {
        let mut caps: Vec<Watts> = caps.collect();
        caps.sort_unstable_by(|a, b| b.cmp(a));
        caps.dedup();
        let floor = choose(self.floor, other.floor);
        let mut rows: Vec<Row> = caps.into_iter().map(|cap| Row { cap, watts: at(cap) }).collect();
        rows.truncate(telling(&rows, floor).len());
        Self { watts: choose(self.watts, other.watts), rows, floor, safe: choose(self.safe, other.safe) }
    }

    /// Does nothing in here allow more than `other` does, at any cap?
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        let below = |cap| self.fine_at(cap, false) <= other.fine_at(cap, false);
        // at each corner, and right below it, where a last row ends and the floor begins
        let corners = self.caps().chain(other.caps()).flat_map(|cap| [cap, cap - Watts(1)]).chain(self.bends());
        self.watts <= other.watts && self.safe <= other.safe && corners.chain([Watts(i64::MIN)]).all(below)
    }

    /// The caps right around the one where a line between two rows meets the watts, if one does: from there up it is level, so
    /// what holds at the rows on both sides need not hold here.
    pub(super) fn bends(&self) -> impl Iterator<Item = Watts> + '_ {
        let meets = self.rows.windows(2).filter(|pair| pair[1].watts < self.watts && self.watts < pair[0].watts);
        meets.flat_map(|pair| {
            let (high, low) = (pair[0], pair[1]);
            let rise = i128::from((high.watts - low.watts).0);
            let above = i128::from((self.watts - low.watts).0) * i128::from((high.cap - low.cap).0) / rise;
            let cap = low.cap + Watts(i64::try_from(above).unwrap_or(i64::MAX));
            [cap + Watts(1), cap]
        })
    }

    /// The caps that it has rows for, down to the first at which it is at its floor: rows below that say nothing, and no sum
    /// waits for them.
    pub fn caps(&self) -> impl Iterator<Item = Watts> + '_ {
        telling(&self.rows, self.floor).iter().map(|row| row.cap)
    }
}

/// Rows down to the first at the floor: those below it say nothing.
fn telling(rows: &[Row], floor: Watts) -> &[Row] {
    let ends = rows.iter().position(|row| row.watts <= floor);
    ends.map_or(rows, |last| &rows[..=last])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn figures() -> impl Strategy<Value = Figures> {
        let rows = proptest::collection::btree_map(1..40_i64, 0..30_i64, 0..4);
        (0..30_i64, rows, 0..10_i64, 0..20_i64).prop_map(|(watts, rows, floor, safe)| {
            let mut highest = i64::MAX;
            let rows = rows.into_iter().rev().map(|(cap, watts)| {
                highest = highest.min(watts);
                Row { cap: Watts(cap), watts: Watts(highest) }
            });
            let rows: Vec<Row> = rows.collect();
            let floor = rows.last().map_or(floor, |row| floor.min(row.watts.0));
            Figures { watts: Watts(watts), rows, floor: Watts(floor), safe: Watts(safe) }
        })
    }

    #[test]
    fn between_rows_it_is_linear_and_below_the_last_the_floor() {
        let row = |cap, watts| Row { cap: Watts(cap), watts: Watts(watts) };
        let figures = Figures {
            watts: Watts(900),
            rows: vec![row(1000, 1000), row(500, 400)],
            floor: Watts(300),
            safe: Watts(350),
        };
        let at = |cap| figures.at(Watts(cap)).0;
        assert_eq!([2000, 1000, 999, 750, 500, 499, 0].map(at), [900, 900, 900, 700, 400, 300, 300]);
        assert_eq!(figures.worst_at(Watts(499), true), Watts(350), "a deaf child stops at its safe limit");
    }

    #[test]
    fn a_release_allows_everything_at_every_cap() {
        let ceiling = Watts(5000);
        assert!(Figures::flat(Watts(5000)).gives_back(ceiling));
        assert!(!Figures::flat(Watts(4999)).gives_back(ceiling));
        assert!(!Figures { safe: Watts(4000), ..Figures::flat(ceiling) }.gives_back(ceiling));
    }

    proptest! {
        #[test]
        fn the_highest_of_two_covers_both_at_every_cap(a in figures(), b in figures()) {
            let both = a.highest(&b);
            for cap in 0..45 {
                let cap = Watts(cap);
                prop_assert!(both.at(cap) >= a.at(cap).max(b.at(cap)) || both.worst_at(cap, false) >= a.at(cap).max(b.at(cap)));
            }
            prop_assert!(a.within(&both) && b.within(&both));
        }

        #[test]
        fn the_lowest_of_two_is_within_both_at_every_cap(a in figures(), b in figures()) {
            let both = a.lowest(&b);
            for cap in 0..45 {
                let cap = Watts(cap);
                prop_assert!(both.worst_at(cap, false) <= a.worst_at(cap, false).min(b.worst_at(cap, false)), "at {cap}");
            }
            prop_assert!(both.within(&a) && both.within(&b));
            prop_assert_eq!(both.lowest(&a), both.clone(), "and it does not go on for ever");
        }

        #[test]
        fn within_means_nowhere_more(a in figures(), b in figures()) {
            if a.within(&b) {
                for cap in 0..45 {
                    prop_assert!(a.at(Watts(cap)) <= b.worst_at(Watts(cap), false), "at {cap}");
                }
            }
        }
    }
}
