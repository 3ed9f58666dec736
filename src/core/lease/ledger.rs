//! A domain's ledger of watts: what was published to each child, and what is reserved for it.

use super::figures::MILLIONTHS;
use super::{Beat, Figures, Lease, Report, Rule, Rules};
use crate::units::Watts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a ledger holds for one child.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The most that its hardware can draw: what it is charged while nothing better is known.
    pub ceiling: Watts,
    /// The newest lease published to it.
    pub lease: Option<Lease>,
    /// Figures that cover what it last acknowledged and everything published to it since; none: its ceiling.
    pub reserve: Option<Figures>,
    /// More than it was ever leased, read back from it: its hardware does not obey, so this is charged at every cap.
    pub excess: Option<Watts>,
}

/// What a child domain has accepted of its parent's offers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The parent's lease that this ledger spends from.
    pub lease: Lease,
    /// The newest of the parent's leases that all of this ledger's reserves fit under: what the parent is told. 0 for none.
    pub acknowledged: u64,
}

/// The ledger of one domain: one object, written by compare-and-swap, which is publishing and delivering at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger<K: Ord> {
    /// Counts every write. Where the store was made to go back, it goes on above all that any child has accepted.
    pub sequence: u64,
    /// What is held for each child.
    pub entries: BTreeMap<K, Entry>,
    /// Of a domain with a parent: what it may spend.
    pub accepted: Option<Accepted>,
}

impl<K: Ord> Default for Ledger<K> {
    fn default() -> Self {
        Self { sequence: 0, entries: BTreeMap::new(), accepted: None }
    }
}

impl Entry {
    /// A child of which nothing is known but its hardware.
    #[must_use]
    pub fn unknown(ceiling: Watts) -> Self {
        Self { ceiling, lease: None, reserve: None, excess: None }
    }

    /// What is reserved for it: figures that it can't be above at any cap, once it has heard of that cap.
    #[must_use]
    pub fn charged(&self) -> Figures {
        let figures = self.reserve.clone().unwrap_or_else(|| Figures::flat(self.ceiling));
        match self.excess {
            Some(excess) => figures.highest(&Figures::flat(excess)),
            None => figures,
        }
    }

    /// Takes in what the child says: an acknowledgement of the newest lease leaves that lease alone as the reserve.
    pub(super) fn hear(&mut self, report: &Report, rules: Rules) {
        let Some(lease) = &self.lease else { return };
        if report.acknowledged == lease.sequence {
            let mut figures = lease.figures.clone();
            let mut passed = usize::try_from(report.steps_passed).unwrap_or(usize::MAX).min(lease.steps.len());
            if !rules.hold(Rule::ReadBackCounts) {
                passed = lease.steps.len();
            }
            if let Some(step) = lease.steps[..passed].last() {
                figures.watts = figures.watts.min(step.watts);
            }
            if !rules.hold(Rule::AcknowledgedCountsItsOwn) {
                figures.watts = figures.watts.min(report.enforced);
            }
            self.reserve = Some(figures);
        } else if let (Some(reserve), Some(held)) = (&mut self.reserve, report.acts_on(rules))
            && rules.hold(Rule::HeldIsReserved)
        {
            *reserve = reserve.highest(&held);
        }
        let most = self.reserve.as_ref().map_or(self.ceiling, |reserve| reserve.watts);
        self.excess = Some(report.enforced).filter(|enforced| *enforced > most && rules.hold(Rule::ReadBackCounts));
    }

    /// Records a lease that is being published.
    pub(super) fn publish(&mut self, lease: Lease, rules: Rules) {
        if let Some(reserve) = &self.reserve {
            let mut covers = reserve.highest(&lease.figures);
            if !rules.hold(Rule::RowsOfAllPublished) {
                covers = Figures { watts: covers.watts, ..lease.figures.clone() };
            }
            if !rules.hold(Rule::ReserveAllPublished) {
                covers = lease.figures.clone();
            }
            self.reserve = Some(covers);
        }
        self.lease = Some(lease);
    }
}

impl<K: Ord> Ledger<K> {
    /// What a domain says to the one above: what it accepted, and the newest of that which its own children have acknowledged.
    /// `baseline` is what others draw in it.
    #[must_use]
    pub fn report(&self, baseline: Watts, rules: Rules) -> Report {
        let charged = self.entries.values().map(|entry| entry.charged().watts);
        let accepted = self.accepted.as_ref().map(|accepted| accepted.lease.figures.watts);
        let trusting = accepted.filter(|_| !rules.hold(Rule::ChildrenAcknowledgeFirst));
        Report {
            beat: Beat { instance: 0, number: self.sequence },
            acknowledged: self.accepted.as_ref().map_or(0, |accepted| accepted.acknowledged),
            accepted: self.accepted.as_ref().map_or(0, |accepted| accepted.lease.sequence),
            steps_passed: 0,
            held: self.accepted.as_ref().map(|accepted| accepted.lease.figures.clone()),
            enforced: trusting.unwrap_or_else(|| charged.sum::<Watts>() + baseline),
            cap: None,
            fallen: false,
        }
    }
}

/// A cap at which a sum does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// The cap of the domain.
    pub cap: Watts,
    /// What would be drawn under it at worst.
    pub sum: Watts,
}

/// What is summed for one child.
#[derive(Debug, Clone)]
pub(super) struct Charge {
    /// What is reserved for it.
    pub figures: Figures,
    /// What it draws after a reboot that nothing guards.
    pub ceiling: Watts,
    /// The least that it can be held to with its accelerators on.
    pub floor: Watts,
}

impl Charge {
    /// Is it at its floor at this cap, and so at each that is lower?
    fn is_down_at(&self, cap: Watts, safe_counts: bool) -> bool {
        self.figures.fine_at(cap, safe_counts) <= i128::from(self.floor.0) * MILLIONTHS
    }
}

/// What is summed beside the children.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// What may be drawn now. Watts count against it in full: no lease is published in the hope that a row is heard.
    pub now: Watts,
    /// What others draw, whatever the cap.
    pub always: Watts,
    /// Children that may be at their ceilings at any time, since they may reboot.
    pub reboots: usize,
}

/// A cap at which the sum does not fit: the full one, the first from the top that there is a row for, or one between them where
/// a child's watts end before its row.
///
/// A row's cap at which all are at their floors is no reason to wait: whatever is leased, nothing brings that about. Unless
/// somebody goes up from there before the sum fits: then there are caps between this row and the next where more is drawn
/// than need be.
pub(super) fn shortage(all: &[Charge], room: Room, rules: Rules) -> Option<Shortage> {
    let counts = rules.hold(Rule::SafeCountsInRows);
    let whole = |watts: Watts| i128::from(watts.0) * MILLIONTHS;
    let fits = |cap: Watts, each: &dyn Fn(&Figures) -> i128, reboots: usize, above: Option<Watts>| {
        let worst: Vec<i128> = all.iter().map(|charge| each(&charge.figures)).collect();
        let mut rises: Vec<i128> =
            all.iter().zip(&worst).map(|(charge, worst)| whole(charge.ceiling) - worst).collect();
        rises.sort_unstable_by(|a, b| b.cmp(a));
        let rebooted: i128 = rises.into_iter().take(reboots).filter(|rise| *rise > 0).sum();
        let sum = worst.iter().sum::<i128>() + whole(room.always) + rebooted;
        let up = -(-sum).div_euclid(MILLIONTHS);
        let down = above.is_some_and(|above| all.iter().all(|charge| charge.is_down_at(above, counts)));
        (sum > whole(cap) && !down).then(|| Shortage { cap, sum: Watts(i64::try_from(up).unwrap_or(i64::MAX)) })
    };
    let at_rows = if rules.hold(Rule::RebootReserveInEveryRow) { room.reboots } else { 0 };
    let rows = falling(all.iter().flat_map(|charge| charge.figures.caps()));
    let lowest = rows.last().copied();
    let bends = falling(all.iter().flat_map(|charge| charge.figures.bends()));
    let bends: Vec<Watts> = bends.into_iter().filter(|cap| lowest.is_some_and(|lowest| *cap > lowest)).collect();
    // above the highest everything is level
    let corners = falling(rows.iter().chain(&bends).copied());
    let above = |cap: Watts| corners.iter().copied().take_while(|corner| *corner > cap).last().or(Some(cap));
    let at_row = |figures: &Figures, cap| whole(figures.worst_at(cap, counts));
    fits(room.now, &|figures| whole(figures.watts), room.reboots, None)
        .or_else(|| rows.iter().find_map(|&cap| fits(cap, &|figures| at_row(figures, cap), at_rows, above(cap))))
        .or_else(|| {
            bends.iter().find_map(|&cap| fits(cap, &|figures| figures.fine_at(cap, counts), at_rows, above(cap)))
        })
}

fn falling(caps: impl Iterator<Item = Watts>) -> Vec<Watts> {
    let mut caps: Vec<Watts> = caps.collect();
    caps.sort_unstable_by(|a, b| b.cmp(a));
    caps.dedup();
    caps
}

#[cfg(test)]
mod tests {
    use super::super::Row;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn where_a_step_has_come_the_sum_is_looked_at_between_the_rows_too() {
        let row = |cap, watts| Row { cap: Watts(cap), watts: Watts(watts) };
        let of = |watts, rows| Figures { watts: Watts(watts), rows, floor: Watts(0), safe: Watts(0) };
        // 10 at the full cap, of which a step has taken 5 for good: at half the cap it still acts on 5
        let stepped = of(5, vec![row(10, 10), row(0, 0)]);
        let other = of(5, vec![row(10, 5), row(0, 0)]);
        let charge = |figures| Charge { figures, ceiling: Watts(10), floor: Watts(0) };
        let room = Room { now: Watts(10), always: Watts(0), reboots: 0 };
        let short = shortage(&[charge(stepped), charge(other)], room, Rules::ALL);
        assert_eq!(short, Some(Shortage { cap: Watts(6), sum: Watts(8) }));
    }

    /// Rows that are steep, over watts that a step may have lowered.
    fn steep() -> impl Strategy<Value = Figures> {
        (1..14_i64, 0..20_i64, 0..12_i64, 0..3_i64, 0..3_i64).prop_map(|(watts, top, middle, low, safe)| {
            let row = |cap, watts| Row { cap: Watts(cap), watts: Watts(watts) };
            let rows = vec![row(20, top), row(12, middle.min(top)), row(4, low.min(middle).min(top))];
            Figures { watts: Watts(watts), floor: rows[2].watts, rows, safe: Watts(safe) }
        })
    }

    proptest! {
        #[test]
        fn what_fits_at_the_corners_fits_at_every_cap(
            all in proptest::collection::vec((steep(), 0..16_i64, -1..4_i64), 1..4),
            now in 18..24_i64,
            reboots in 0..2_usize,
        ) {
            let of = |(figures, ceiling, floor)| Charge { figures, ceiling: Watts(ceiling), floor: Watts(floor) };
            let all: Vec<Charge> = all.into_iter().map(of).collect();
            let room = Room { now: Watts(now), always: Watts(1), reboots };
            if shortage(&all, room, Rules::ALL).is_none() {
                let lowest = all.iter().flat_map(|charge| charge.figures.caps()).min().unwrap_or(room.now);
                for cap in lowest.0..=now {
                    let worst = |charge: &Charge| charge.figures.at(Watts(cap)).max(charge.figures.safe.min(charge.figures.watts));
                    let mut rises: Vec<i64> = all.iter().map(|charge| (charge.ceiling - worst(charge)).0.max(0)).collect();
                    rises.sort_unstable();
                    let rebooted: i64 = rises.iter().rev().take(reboots).sum();
                    let sum = all.iter().map(worst).sum::<Watts>().0 + 1 + rebooted;
                    let down = all.iter().all(|charge| worst(charge) <= charge.floor);
                    prop_assert!(sum <= cap || down, "{sum} at {cap}");
                }
            }
        }
    }
}
