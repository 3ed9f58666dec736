//! Reads a ledger that is about to be written, and says what is wrong with it.
//!
//! It shares no code with what wrote it: lines between rows, sums and reserves are made anew here, from the ledger as it was
//! read and from the reports. What it does not refuse may be written; nothing else may.

use super::{Above, Child, Entry, Facts, Figures, Lease, Ledger};
use crate::units::Watts;
use std::collections::{BTreeMap, BTreeSet};

/// Something wrong with a ledger that is to be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault<K> {
    /// Its count is not above all that was written and accepted before.
    #[error("the ledger's sequence would be {sequence}, and {known} is known already")]
    Sequence {
        /// As it is to be written.
        sequence: u64,
        /// The highest that was written here or accepted by a child.
        known: u64,
    },
    /// A child has no entry though it may still draw.
    #[error("{child}: its entry is gone, and it is not known to draw nothing")]
    Dropped {
        /// Which child.
        child: K,
    },
    /// A child is charged another ceiling than its hardware has.
    #[error("{child}: its ceiling is written as {written}, and is {ceiling}")]
    Ceiling {
        /// Which child.
        child: K,
        /// As it is to be written.
        written: Watts,
        /// What its hardware can draw.
        ceiling: Watts,
    },
    /// A child is written to that has not been heard since the controller began to listen.
    #[error("{child}: a lease is written to it, and it has not been heard")]
    Unheard {
        /// Which child.
        child: K,
    },
    /// A child is written to from a read of the caps that is older than what it has heard.
    #[error("{child}: it has heard version {heard} of the caps, and its lease is written from version {read}")]
    StaleRead {
        /// Which child.
        child: K,
        /// What it has heard.
        heard: u64,
        /// What the lease is written from.
        read: u64,
    },
    /// A lease does not fit the write or the child that it is for.
    #[error("{child}: its new lease {what}")]
    Misfit {
        /// Which child.
        child: K,
        /// In words.
        what: &'static str,
    },
    /// A reserve does not cover what the child may do.
    #[error("{child}: {reserved} is reserved for it at the cap of {cap}, and it may hold {needed}")]
    NotCovered {
        /// Which child.
        child: K,
        /// At this cap of the domain.
        cap: Watts,
        /// What is to be reserved.
        reserved: Watts,
        /// What it may hold: by what was reserved before, or by its new lease.
        needed: Watts,
    },
    /// Something is raised, and a sum does not fit.
    #[error("{child} is raised, and {sum} could be drawn under the cap of {cap}")]
    OverCap {
        /// The first child that is raised.
        child: K,
        /// At this cap of the domain.
        cap: Watts,
        /// The reserves, what others draw, and the room for reboots.
        sum: Watts,
    },
    /// Something is raised in the write that accepts less.
    #[error("{child} is raised in the same write that accepts less from the domain above")]
    RaisedOnLess {
        /// Which child.
        child: K,
    },
    /// Something is leased by a domain that has accepted nothing yet.
    #[error("{child}: a lease is written to it, and nothing was accepted from the domain above")]
    NothingAccepted {
        /// Which child.
        child: K,
    },
    /// What is accepted is neither what was accepted before nor a newer offer.
    #[error(
        "lease {sequence} of the domain above is written as accepted, and is not what it offers now or was accepted before"
    )]
    NotOffered {
        /// As it is to be written; 0 for none.
        sequence: u64,
    },
    /// A decrease is acknowledged to the domain above before the children have.
    #[error("lease {sequence} of {accepted} is acknowledged to the domain above, and {sum} could be drawn")]
    AcknowledgedTooSoon {
        /// The lease of the domain above.
        sequence: u64,
        /// What it allows.
        accepted: Watts,
        /// What the children and others may draw.
        sum: Watts,
    },
    /// The domain above is told that all is well, and those who hear nothing could draw more than it counts with.
    #[error(
        "lease {sequence} is acknowledged to the domain above, which counts with {safe} from those who hear nothing, and {sum} could be drawn"
    )]
    DeafAboveSafe {
        /// The lease of the domain above.
        sequence: u64,
        /// What it counts with.
        safe: Watts,
        /// What the children at their safe limits and others may draw.
        sum: Watts,
    },
}

/// All that is wrong with a ledger that is to be written over `old`; nothing is a good answer.
///
/// A sum that does not fit is no fault of a write that raises nothing: then a cap has fallen, or more was read back.
#[must_use]
pub fn check<K: Ord + Clone>(
    old: &Ledger<K>,
    new: &Ledger<K>,
    facts: &Facts,
    children: &BTreeMap<K, Child>,
) -> Vec<Fault<K>> {
    let mut faults = Vec::new();
    let accepted = children.values().filter_map(|child| child.report.as_ref()).map(|report| report.accepted);
    let known = accepted.chain([old.sequence]).max().unwrap_or(0);
    if new.sequence <= known {
        faults.push(Fault::Sequence { sequence: new.sequence, known });
    }

    let now = spendable(new, facts);
    let mut raised = Vec::new();
    let keys: BTreeSet<&K> = old.entries.keys().chain(new.entries.keys()).chain(children.keys()).collect();
    for key in keys {
        let child = children.get(key);
        let Some(entry) = new.entries.get(key) else {
            if !child.is_some_and(|child| child.leaves && child.fenced == Some(Watts(0))) {
                faults.push(Fault::Dropped { child: key.clone() });
            }
            continue;
        };
        let change = Change { key, before: old.entries.get(key), entry, child };
        change.reserve(facts.cap.watts.0, &mut faults);
        if let Some(lease) = change.published() {
            change.lease(lease, (new.sequence, now), facts, &mut faults);
            if change.raises(lease) {
                raised.push(key.clone());
            }
            if facts.above.is_some() && new.accepted.is_none() {
                faults.push(Fault::NothingAccepted { child: key.clone() });
            }
        }
    }

    let charges: Vec<Charge<'_>> = new.entries.iter().map(|(key, entry)| charge(entry, children.get(key))).collect();
    acceptance(old, new, facts, &charges, &mut faults);
    if accepts_less(old, new) {
        faults.extend(raised.iter().map(|child| Fault::RaisedOnLess { child: child.clone() }));
    }
    if let Some(child) = raised.first() {
        let over = sums(&charges, now, facts).into_iter().filter(|(cap, sum)| sum > cap);
        faults.extend(over.filter(|_| !facts.released).map(|(cap, sum)| Fault::OverCap {
            child: child.clone(),
            cap,
            sum,
        }));
    }
    faults
}

/// What a child acts on at a cap: the line between the rows on both sides of it, rounded down, and no more than its watts.
fn acts(figures: &Figures, cap: i64) -> i64 {
    let above = figures.rows.iter().rev().find(|row| row.cap.0 > cap);
    let line = match (figures.rows.iter().find(|row| row.cap.0 <= cap), above) {
        (None, _) => figures.floor.0,
        (Some(below), None) => below.watts.0,
        (Some(below), Some(above)) => {
            let part = i128::from(cap - below.cap.0) * i128::from(above.watts.0 - below.watts.0);
            let whole = i128::from(above.cap.0 - below.cap.0);
            below.watts.0 + i64::try_from(part.div_euclid(whole)).unwrap_or(i64::MAX)
        }
    };
    line.min(figures.watts.0)
}

/// The caps at which figures change their course, and those beside them.
fn turns(figures: &Figures) -> Vec<i64> {
    let mut caps = Vec::new();
    for row in &figures.rows {
        caps.extend([row.cap.0 - 1, row.cap.0, row.cap.0.saturating_add(1)]);
    }
    for pair in figures.rows.windows(2) {
        // where the line reaches the watts, found by halving
        let (mut low, mut high) = (pair[1].cap.0, pair[0].cap.0);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if acts(figures, middle) < figures.watts.0 { low = middle } else { high = middle }
        }
        caps.extend([low, high]);
    }
    caps
}

/// What it holds where it is deaf: no less than its safe limit.
fn deaf(figures: &Figures, cap: i64) -> i64 {
    acts(figures, cap).max(figures.safe.0.min(figures.watts.0))
}

fn level(watts: Watts) -> Figures {
    Figures { watts, rows: Vec::new(), floor: watts, safe: watts }
}

fn spendable<K: Ord>(new: &Ledger<K>, facts: &Facts) -> i64 {
    match (&facts.above, &new.accepted) {
        (None, _) => facts.cap.watts.0,
        (Some(Above { cap, .. }), Some(accepted)) => facts.cap.watts.0.min(acts(&accepted.lease.figures, cap.0)),
        (Some(_), None) => 0,
    }
}

/// What becomes of one child in a write.
struct Change<'a, K> {
    key: &'a K,
    before: Option<&'a Entry>,
    entry: &'a Entry,
    child: Option<&'a Child>,
}

impl<K: Clone> Change<'_, K> {
    /// The lease that this write publishes to it.
    fn published(&self) -> Option<&Lease> {
        let before = self.before.and_then(|before| before.lease.as_ref());
        self.entry.lease.as_ref().filter(|lease| Some(*lease) != before)
    }

    /// What its new reserve must cover of what was there before: everything that was published to it, unless it has acknowledged
    /// the newest, and what it says it holds. None: anything that its hardware can draw.
    fn may_hold(&self) -> Option<Vec<Figures>> {
        if let Some(most) = self.child.and_then(|child| child.fenced) {
            return Some(vec![level(most)]);
        }
        let report = self.child.and_then(|child| child.report.as_ref());
        let lease = self.before.and_then(|before| before.lease.as_ref());
        let reserve = self.before.and_then(|before| before.reserve.clone());
        let (Some(report), Some(lease)) = (report, lease) else { return reserve.map(|reserve| vec![reserve]) };
        if report.acknowledged == lease.sequence {
            let mut figures = lease.figures.clone();
            for step in lease.steps.iter().take(usize::try_from(report.steps_passed).unwrap_or(usize::MAX)) {
                figures.watts = figures.watts.min(step.watts);
            }
            return Some(vec![figures]);
        }
        let mut held = report.held.clone();
        if let Some(held) = held.as_mut().filter(|_| report.steps_passed > 0) {
            held.watts = held.watts.min(report.enforced);
        }
        reserve.map(|reserve| [reserve].into_iter().chain(held).collect())
    }

    fn reserve(&self, full: i64, faults: &mut Vec<Fault<K>>) {
        let child = || self.key.clone();
        let ceiling = self.child.map(|child| child.ceiling).or(self.before.map(|before| before.ceiling));
        if let Some(ceiling) = ceiling.filter(|ceiling| *ceiling != self.entry.ceiling) {
            faults.push(Fault::Ceiling { child: child(), written: self.entry.ceiling, ceiling });
        }
        // without a reserve it is charged all that its hardware can draw
        let Some(reserve) = &self.entry.reserve else { return };
        let may_hold = self.may_hold().unwrap_or_else(|| vec![level(self.entry.ceiling)]);
        let needs = may_hold.iter().chain(self.published().map(|lease| &lease.figures));
        for need in needs {
            let caps: BTreeSet<i64> =
                turns(need).into_iter().chain(turns(reserve)).chain([i64::MIN, i64::MAX]).collect();
            let short = caps.into_iter().rev().find(|cap| deaf(reserve, *cap) < deaf(need, *cap));
            if let Some(cap) = short {
                let (reserved, needed) = (Watts(deaf(reserve, cap)), Watts(deaf(need, cap)));
                faults.push(Fault::NotCovered { child: child(), cap: Watts(cap.clamp(0, full)), reserved, needed });
            }
        }
        // what was read back from it, the last time where nothing is known of it now
        let fenced = self.child.and_then(|child| child.fenced);
        let report = self.child.and_then(|child| child.report.as_ref());
        let leased = self.before.filter(|before| before.lease.is_some());
        let enforced = report.map_or_else(|| leased.and_then(|before| before.excess), |report| Some(report.enforced));
        if let Some(needed) = enforced.filter(|_| leased.is_some() && fenced.is_none()) {
            let reserved = self.entry.excess.map_or(reserve.watts, |excess| excess.max(reserve.watts));
            if reserved < needed {
                faults.push(Fault::NotCovered { child: child(), cap: Watts(full), reserved, needed });
            }
        }
    }

    /// Is the lease one that may be written to this child in this write?
    fn lease(&self, lease: &Lease, (sequence, now): (u64, i64), facts: &Facts, faults: &mut Vec<Fault<K>>) {
        let child = || self.key.clone();
        let heard = self.child.filter(|child| child.is_heard).and_then(|child| child.report.as_ref());
        let Some(report) = heard else {
            faults.push(Fault::Unheard { child: child() });
            return;
        };
        if let Some(cap) = report.cap.filter(|cap| cap.version > facts.cap.version) {
            faults.push(Fault::StaleRead { child: child(), heard: cap.version, read: facts.cap.version });
        }
        let rows = &lease.figures.rows;
        let steps = &lease.steps;
        let misfits = [
            (lease.sequence != sequence, "has another sequence than its ledger"),
            (lease.answers != report.beat, "answers another heartbeat than the last"),
            (lease.cap.version != facts.cap.version, "names another version of the cap than was read"),
            (lease.cap.watts.0 != now, "names another cap than what may be spent"),
            (acts(&lease.figures, now) < lease.figures.watts.0, "allows more than its own row at what may be spent"),
            (
                !rows.windows(2).all(|pair| pair[0].cap > pair[1].cap && pair[0].watts >= pair[1].watts),
                "has rows that don't fall with the cap",
            ),
            (rows.last().is_some_and(|last| last.watts < lease.figures.floor), "has a floor above its last row"),
            (
                !steps.windows(2).all(|pair| pair[0].after <= pair[1].after && pair[0].watts >= pair[1].watts),
                "has steps that don't fall with time",
            ),
        ];
        let wrong = misfits.into_iter().filter(|(is_wrong, _)| *is_wrong);
        faults.extend(wrong.map(|(_, what)| Fault::Misfit { child: child(), what }));
    }

    /// Does the lease allow anything, at any cap or any time, that it may not do by now?
    fn raises(&self, lease: &Lease) -> bool {
        let Some(report) = self.child.and_then(|child| child.report.as_ref()) else { return true };
        let before = self.before.and_then(|before| before.lease.as_ref());
        let Some(before) = before.filter(|before| report.accepted <= before.sequence) else {
            // a lease that is not in the ledger: it may go on with what it holds
            let mut held = report.held.clone().unwrap_or_else(|| level(report.enforced));
            if report.steps_passed > 0 {
                held.watts = held.watts.min(report.enforced);
            }
            let fence = self.child.and_then(|child| child.fenced).map(level);
            return exceeds(&lease.figures, &[&held]) || fence.is_some_and(|fence| exceeds(&lease.figures, &[&fence]));
        };
        let is_reserved = |lease: &Figures| {
            self.may_hold().is_none_or(|may_hold| !exceeds(lease, &may_hold.iter().collect::<Vec<_>>()))
        };
        let is_forgotten = |step: &super::Step| {
            let goes_on = |new: &super::Step| new.after <= step.after && new.watts <= step.watts;
            let is_kept = lease.answers == before.answers && lease.steps.iter().any(goes_on);
            step.after < before.life && step.watts < lease.figures.watts && !is_kept
        };
        exceeds(&lease.figures, &[&before.figures])
            || !is_reserved(&lease.figures)
            || before.steps.iter().any(is_forgotten)
    }
}

/// Are figures anywhere above all of these?
fn exceeds(figures: &Figures, all: &[&Figures]) -> bool {
    let caps = all.iter().flat_map(|other| turns(other)).chain(turns(figures)).chain([i64::MIN, i64::MAX]);
    let most = |cap: i64, of: fn(&Figures, i64) -> i64| all.iter().map(|other| of(other, cap)).max().unwrap_or(0);
    caps.into_iter().any(|cap| acts(figures, cap) > most(cap, acts) || deaf(figures, cap) > most(cap, deaf))
}

/// What one entry counts with.
struct Charge<'a> {
    reserve: Option<&'a Figures>,
    /// The least that it counts with at any cap.
    least: i64,
    ceiling: i64,
    /// The least that it can be held to with its accelerators on.
    floor: i64,
}

fn charge<'a>(entry: &'a Entry, child: Option<&Child>) -> Charge<'a> {
    let ceiling = entry.ceiling.0;
    let is_known = child.is_some_and(|child| child.is_heard || child.fenced.is_some());
    let excess = entry.excess.map_or(i64::MIN, |excess| excess.0);
    let least = if is_known && entry.reserve.is_some() { excess } else { excess.max(ceiling) };
    let floor = child.map_or(0, |child| child.wish.floor.0);
    Charge { reserve: entry.reserve.as_ref(), least, ceiling, floor }
}

impl Charge<'_> {
    fn at(&self, of: impl Fn(&Figures) -> i64) -> i64 {
        self.reserve.map_or(self.least, |reserve| of(reserve).max(self.least))
    }
}

/// The sums at every cap at which they may be the highest: what may be spent now, in full, and each turn of each reserve that
/// is not below all rows.
fn sums(charges: &[Charge<'_>], now: i64, facts: &Facts) -> Vec<(Watts, Watts)> {
    let sum = |of: &dyn Fn(&Figures) -> i64| {
        let each: Vec<i128> = charges.iter().map(|charge| charge.at(of).into()).collect();
        let mut rises: Vec<i128> =
            charges.iter().zip(&each).map(|(charge, at)| (i128::from(charge.ceiling) - at).max(0)).collect();
        rises.sort_unstable();
        let reboots: i128 = rises.iter().rev().take(facts.unguarded_reboots).sum();
        let all = each.iter().sum::<i128>() + reboots + i128::from(facts.baseline.0);
        Watts(i64::try_from(all).unwrap_or(i64::MAX))
    };
    let reserves = || charges.iter().filter_map(|charge| charge.reserve);
    // the rows of a child end where it is down: what stands below says the same
    let end = |charge: &Charge<'_>| {
        let reserve = charge.reserve?;
        let down = reserve.rows.iter().find(|row| row.watts.0 <= reserve.floor.0.max(charge.least));
        down.or(reserve.rows.last()).map(|row| row.cap.0)
    };
    let lowest = charges.iter().filter_map(end).min().unwrap_or(i64::MAX);
    let mut caps: BTreeSet<i64> = reserves().flat_map(turns).filter(|cap| *cap >= lowest).collect();
    // and in the middle between two, since a sum at which all are at their floors says nothing of those above
    let between: Vec<i64> = caps.iter().zip(caps.iter().skip(1)).map(|(low, high)| low + (high - low) / 2).collect();
    caps.extend(between);
    // where everyone is at its floor nothing that is leased makes a difference
    let is_to_be_had = |cap: &i64| charges.iter().any(|charge| charge.at(|reserve| deaf(reserve, *cap)) > charge.floor);
    let full = (Watts(now), sum(&|reserve| reserve.watts.0));
    [full]
        .into_iter()
        .chain(caps.into_iter().rev().filter(is_to_be_had).map(|cap| (Watts(cap), sum(&|reserve| deaf(reserve, cap)))))
        .collect()
}

/// Does a write accept less than was accepted before?
fn accepts_less<K: Ord>(old: &Ledger<K>, new: &Ledger<K>) -> bool {
    let (Some(before), Some(after)) = (&old.accepted, &new.accepted) else { return false };
    before.lease.sequence != after.lease.sequence && exceeds(&before.lease.figures, &[&after.lease.figures])
}

fn acceptance<K: Ord>(
    old: &Ledger<K>,
    new: &Ledger<K>,
    facts: &Facts,
    charges: &[Charge<'_>],
    faults: &mut Vec<Fault<K>>,
) {
    let before = old.accepted.as_ref();
    let Some(after) = &new.accepted else {
        if before.is_some() {
            faults.push(Fault::NotOffered { sequence: 0 });
        }
        return;
    };
    let sequence = after.lease.sequence;
    let offered = facts.above.as_ref().and_then(|above| above.offered.as_ref());
    let is_offer = offered == Some(&after.lease) && before.is_none_or(|before| before.lease.sequence < sequence);
    if !is_offer && before.is_none_or(|before| before.lease != after.lease) {
        faults.push(Fault::NotOffered { sequence });
    }
    if after.acknowledged != before.map_or(0, |before| before.acknowledged) {
        let sum = |of: fn(&Figures) -> i64| {
            let each = charges.iter().map(|charge| i128::from(charge.at(of)));
            Watts(i64::try_from(each.sum::<i128>() + i128::from(facts.baseline.0)).unwrap_or(i64::MAX))
        };
        let figures = &after.lease.figures;
        let (drawn, accepted) = (sum(|reserve| reserve.watts.0), figures.watts);
        if after.acknowledged != sequence || drawn > accepted {
            faults.push(Fault::AcknowledgedTooSoon { sequence: after.acknowledged, accepted, sum: drawn });
        }
        let (deaf, safe) = (sum(|reserve| reserve.safe.0.min(reserve.watts.0)), figures.safe);
        if deaf > safe {
            faults.push(Fault::DeafAboveSafe { sequence: after.acknowledged, safe, sum: deaf });
        }
    }
}
