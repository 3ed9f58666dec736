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
    /// The lowest cap that is ever ordered of it, or what the domain above counts with from those in here that hear nothing.
    pub lowest: Watts,
    /// What others draw in it at most.
    pub baseline: Watts,
    /// Nodes that may come back from a reboot at their ceilings at the same time.
    pub reboots: usize,
    /// What it may draw at this moment: the cap in force, or less where the domain above leases it less.
    pub spendable: Watts,
    /// Is it under an order that follows what is drawn? Its cap changes each minute, and rows have a point there. Under one that stays
    /// they have none: its rise and its end would be new rows for every node, beside the raises.
    pub is_metered: bool,
    /// What may be leased at this moment: the same, or less where it may rise only so fast.
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
    /// What that is to fit under.
    pub lowest: Watts,
}

/// What rounding may take of a pot: between two rows each child's line is rounded up where it is summed, and once more where it
/// covers an older one.
#[must_use]
pub fn rounding(children: usize) -> Watts {
    Watts(2).times(u32::try_from(children).unwrap_or(u32::MAX))
}

/// Divides a pot among its children.
///
/// The safe limits are what the children get at the lowest cap if all were in use, which is what `full` says: they must not
/// change with the work, since a node that hears nothing keeps them.
#[must_use]
pub fn wishes(pot: &Pot, claims: &[Claim], full: &[Claim], ceilings: &[Watts]) -> Wishes {
    let room = |division: &[Watts]| reboot_room(division, ceilings, pot.reboots);
    let rounding = rounding(claims.len());
    let drawn = |division: &[Watts]| division.iter().copied().sum::<Watts>() + room(division) + pot.baseline + rounding;
    let none: Vec<Watts> = claims.iter().map(|claim| claim.floor).collect();
    let safe = divide(pot.lowest - pot.baseline - rounding, full, &none, &room);
    // who is leased less than its safe limit never draws that much
    let least: Vec<Watts> = safe.iter().zip(claims).map(|(safe, claim)| (*safe).min(claim.most)).collect();
    let at = |cap: Watts| divide(cap - pot.baseline - rounding, claims, &least, &room);

    let mut caps: Vec<Watts> = GRID.iter().map(|percent| pot.full.percent(*percent)).collect();
    // A row of which much is idle may be leased less than its lowest cap. Where not even the safe limits fit, rows end where they do.
    let last = pot.lowest.min(pot.spendable).max(drawn(&least));
    caps.push(last);
    if pot.is_metered {
        // what is in force is no chord between two others
        caps.push(pot.spendable);
    }
    // where everyone has what it was granted, and where nobody can use more: between two rows it is linear
    let all_at = |watts: fn(&Claim) -> Watts| drawn(&claims.iter().map(watts).collect::<Vec<_>>());
    caps.extend([all_at(|claim| claim.need), all_at(|claim| claim.most)]);
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
    Wishes { figures, reachable: rows.last().map(|(cap, _)| *cap), safe_sum: drawn(&safe), lowest: pot.lowest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::divide::Bend;

    fn node(most: i64) -> Claim {
        let curve = [Bend { watts: Watts(most - 3600), work: 8000 }];
        Claim::new(Watts(3600), Watts(3600), Watts(most), Watts(most), curve)
    }

    fn pot(full: i64, lowest: i64) -> Pot {
        let full = Watts(full);
        Pot {
            full,
            lowest: Watts(lowest),
            baseline: Watts(0),
            reboots: 0,
            spendable: full,
            is_metered: false,
            now: full,
        }
    }

    #[test]
    fn rows_sum_to_the_caps_they_are_for_and_an_idle_node_has_its_floor() {
        let claims = [node(7600), node(7600), node(3600)];
        let pot = pot(19_000, 12_000);
        let made = wishes(&pot, &claims, &vec![node(7600); 3], &[Watts(7600); 3]);
        let sum = |cap: i64| made.figures.iter().map(|figures| figures.at(Watts(cap))).sum::<Watts>();
        assert_eq!(sum(19_000), Watts(18_800), "nobody can use more");
        for cap in [15_200, 14_000, 13_300, 12_000] {
            assert!(
                (cap - 9..=cap - 6).contains(&sum(cap).0),
                "{} of {cap}: 2 W are left for each that is rounded",
                sum(cap)
            );
        }
        assert_eq!(made.figures[2].at(Watts(19_000)), Watts(3600), "an idle node has its floor");
        assert_eq!(made.safe_sum, Watts(12_000));
        assert_eq!(made.reachable, Some(Watts(12_000)));
    }

    #[test]
    fn at_the_cap_in_force_a_row_says_what_is_leased() {
        // all of the first one's bend is worth more than any of the second's, and a chord over it would give to both
        let steep = Claim::new(
            Watts(3600),
            Watts(3600),
            Watts(7600),
            Watts(7600),
            [Bend { watts: Watts(2000), work: 9000 }, Bend { watts: Watts(2000), work: 10 }],
        );
        let claims = [steep, node(7600)];
        let pot = Pot { spendable: Watts(9000), is_metered: true, now: Watts(9000), ..pot(16_000, 7200) };
        let made = wishes(&pot, &claims, &vec![node(7600); 2], &[Watts(7600); 2]);
        for figures in &made.figures {
            assert_eq!(figures.at(Watts(9000)), figures.watts);
        }
        assert_eq!(made.figures[0].watts, Watts(5396));
    }

    #[test]
    fn rows_that_can_not_be_kept_are_left_out() {
        let claims = [node(7600), node(7600), node(7600)];
        let pot = pot(12_000, 4800);
        let made = wishes(&pot, &claims, &vec![node(7600); 3], &[Watts(7600); 3]);
        assert_eq!(made.figures[0].rows.iter().map(|row| row.cap.0).collect::<Vec<_>>(), [12_000, 10_806]);
        assert_eq!(made.figures[0].at(Watts(10_906)), Watts(3633), "down to the floors without a step");
        assert_eq!(made.figures[0].floor, Watts(3600));
        assert_eq!(made.safe_sum, Watts(10_806), "above the lowest cap: not feasible");
    }
}
