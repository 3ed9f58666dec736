//! A domain's ledger of watts: what was published to each child, and what is reserved for it.

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
    /// What all its children may draw at most.
    pub(super) fn drawn(&self) -> Watts {
        self.entries.values().map(|entry| entry.charged().watts).sum()
    }

    /// What a domain says to the one above: what it accepted, and the newest of that which its own children have acknowledged.
    /// `baseline` is what others draw in it.
    #[must_use]
    pub fn report(&self, baseline: Watts, rules: Rules) -> Report {
        let accepted = self.accepted.as_ref().map(|accepted| accepted.lease.figures.watts);
        let trusting = accepted.filter(|_| !rules.hold(Rule::ChildrenAcknowledgeFirst));
        Report {
            beat: Beat { instance: 0, number: self.sequence },
            acknowledged: self.accepted.as_ref().map_or(0, |accepted| accepted.acknowledged),
            accepted: self.accepted.as_ref().map_or(0, |accepted| accepted.lease.sequence),
            steps_passed: 0,
            held: self.accepted.as_ref().map(|accepted| accepted.lease.figures.clone()),
            enforced: trusting.unwrap_or_else(|| self.drawn() + baseline),
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

/// The first cap, from the top, at which the sum does not fit.
pub(super) fn shortage(all: &[Charge], room: Room, rules: Rules) -> Option<Shortage> {
    let counts = rules.hold(Rule::SafeCountsInRows);
    let fits = |cap: Watts, each: &dyn Fn(&Figures) -> Watts, reboots: usize| {
        let worst: Vec<Watts> = all.iter().map(|charge| each(&charge.figures)).collect();
        let mut rises: Vec<Watts> = all.iter().zip(&worst).map(|(charge, worst)| charge.ceiling - *worst).collect();
        rises.sort_unstable_by(|a, b| b.cmp(a));
        let rebooted: Watts = rises.into_iter().take(reboots).filter(|rise| *rise > Watts::ZERO).sum();
        let sum = worst.into_iter().sum::<Watts>() + room.always + rebooted;
        (sum > cap).then_some(Shortage { cap, sum })
    };
    let at_rows = if rules.hold(Rule::RebootReserveInEveryRow) { room.reboots } else { 0 };
    let mut caps: Vec<Watts> = all.iter().flat_map(|charge| charge.figures.caps()).collect();
    caps.sort_unstable_by(|a, b| b.cmp(a));
    caps.dedup();
    fits(room.now, &|figures| figures.watts, room.reboots)
        .or_else(|| caps.into_iter().find_map(|cap| fits(cap, &|figures| figures.worst_at(cap, counts), at_rows)))
}
