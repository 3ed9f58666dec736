//! What each child of a domain is to have, at each of the domain's caps. Values in, values out.

use crate::core::divide::{Claim, divide, reboot_room};
use crate::core::lease::{Figures, Row};
use crate::units::Watts;

/// The shares of a domain's cap that rows are made for, in hundredths. Absolute watts once made: a fixed grid.
const GRID: [u32; 7] = [100, 90, 80, 70, 60, 50, 40];

/// The lowest cap that is ever ordered of a domain that does not say, in hundredths of its cap.
pub const LOWEST_PERCENT: u32 = 40;

/// A domain whose watts are to be divided. All watts are behind its losses.
#[derive(Debug, Clone)]
pub struct Pot {
    /// Its full cap: `spec.capWatts`.
    pub full: Watts,
    /// The lowest cap that is ever ordered of it.
    pub lowest: Watts,
    /// What others draw in it at most.
    pub baseline: Watts,
    /// Nodes that may come back from a reboot at their ceilings at the same time.
    pub reboots: usize,
    /// What may be leased at this moment: the cap in force, or less where it may rise only so fast.
    pub now: Watts,
}

/// What all children are to have, and whether it can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// One for each child.
    pub figures: Vec<Figures>,
    /// The lowest of the grid's caps that can be kept with everything on; none where not even the full cap can.
    pub reachable: Option<Watts>,
    /// What is drawn at worst when all children are at their safe limits.
    pub safe_sum: Watts,
}

/// Divides a pot among its children.
///
/// The safe limits are what the children get at the lowest cap if all were in use: they must not change with the work, since a
/// node that hears nothing keeps them.
#[must_use]
pub fn wishes(pot: &Pot, claims: &[Claim], ceilings: &[Watts]) -> Wishes {
    let room = |division: &[Watts]| reboot_room(division, ceilings, pot.reboots);
    let drawn = |division: &[Watts]| division.iter().copied().sum::<Watts>() + room(division) + pot.baseline;
    let none: Vec<Watts> = claims.iter().map(|claim| claim.floor).collect();
    let busy: Vec<Claim> = claims
        .iter()
        .zip(ceilings)
        .map(|(claim, ceiling)| Claim { need: *ceiling, most: *ceiling, ..*claim })
        .collect();
    let safe = divide(pot.lowest - pot.baseline, &busy, &none, &room);
    let at = |cap: Watts| divide(cap - pot.baseline, claims, &safe, &room);

    let mut caps: Vec<Watts> = GRID.iter().map(|percent| pot.full.percent(*percent)).collect();
    // Where not even the floors fit under the lowest cap, the rows end at the last of the grid that they fit under. None is made
    // right where they do: that would be elsewhere tomorrow, and a lease of today and one of tomorrow, each rounded up between
    // rows of its own, come to a watt more than there is: then nobody is raised any more.
    let last = pot.lowest.max(drawn(&safe));
    caps.push(pot.lowest);
    caps.retain(|cap| *cap >= last && *cap <= pot.full);
    caps.sort_unstable_by(|a, b| b.cmp(a));
    caps.dedup();
    let mut rows: Vec<(Watts, Vec<Watts>)> = caps.into_iter().map(|cap| (cap, at(cap))).collect();
    // below the first that can't be kept none can
    let kept = rows.iter().take_while(|(cap, division)| drawn(division) <= *cap).count();
    rows.truncate(kept);
    let now = at(pot.now);
    let figures = (0..claims.len())
        .map(|i| Figures {
            watts: now[i],
            rows: rows.iter().map(|(cap, division)| Row { cap: *cap, watts: division[i] }).collect(),
            floor: claims[i].floor,
            safe: safe[i],
        })
        .collect();
    Wishes { figures, reachable: rows.last().map(|(cap, _)| *cap), safe_sum: drawn(&safe) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(most: i64) -> Claim {
        Claim { base: Watts(2000), weight: 8000, floor: Watts(3600), need: Watts(most), most: Watts(most) }
    }

    #[test]
    fn rows_sum_to_the_caps_they_are_for_and_an_idle_node_has_its_floor() {
        let claims = [node(7600), node(7600), node(3600)];
        let pot =
            Pot { full: Watts(19_000), lowest: Watts(12_000), baseline: Watts(0), reboots: 0, now: Watts(19_000) };
        let made = wishes(&pot, &claims, &[Watts(7600); 3]);
        let sum = |cap: i64| made.figures.iter().map(|figures| figures.at(Watts(cap))).sum::<Watts>().0;
        assert_eq!(
            [19_000, 15_200, 13_300, 12_000].map(sum),
            [18_800 - 0, 15_200, 13_300, 12_000].map(|w| w.min(18_800))
        );
        assert_eq!(made.figures[2].at(Watts(19_000)), Watts(4000), "an idle node keeps its safe limit");
        assert_eq!(made.safe_sum, Watts(12_000));
        assert_eq!(made.reachable, Some(Watts(12_000)));
    }

    #[test]
    fn rows_that_can_not_be_kept_are_left_out() {
        let claims = [node(7600), node(7600), node(7600)];
        let pot = Pot { full: Watts(12_000), lowest: Watts(4800), baseline: Watts(0), reboots: 0, now: Watts(12_000) };
        let made = wishes(&pot, &claims, &[Watts(7600); 3]);
        assert_eq!(made.figures[0].rows.iter().map(|row| row.cap.0).collect::<Vec<_>>(), [12_000, 10_800]);
        assert_eq!(made.figures[0].at(Watts(10_900)), Watts(3633), "down to the floors without a step");
        assert_eq!(made.figures[0].floor, Watts(3600));
        assert_eq!(made.safe_sum, Watts(10_800), "above the lowest cap: not feasible");
    }
}
