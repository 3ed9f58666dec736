//! The controller's side of the protocol: one domain's ledger, written anew.

use super::ledger::{Charge, Room, shortage};
use super::{Accepted, Cap, Entry, Figures, Lease, Ledger, Report, Rule, Rules, Shortage, Step};
use crate::units::{Millis, Watts};
use std::collections::BTreeMap;
use std::fmt;

/// How leases are made out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Terms {
    /// How long a lease lives.
    pub life: Millis,
    /// A lease is renewed when its child has sent so many heartbeats since the one it answers: a third of its life.
    pub renew_after: u64,
}

/// A domain as it was read. Everything that is decided from it must have been read no earlier than `cap.version` says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Facts {
    /// What it may draw now, by its spec, its schedule and all events, and the version of that read.
    pub cap: Cap,
    /// What others draw in it at most.
    pub baseline: Watts,
    /// Nodes that may come back from a reboot at their ceilings, so many at a time, without a boot guard.
    pub unguarded_reboots: usize,
    /// Its caps are kept no longer, by order of a person: what is to have more has it at once, whatever the sums.
    pub released: bool,
    /// The domain above it, where there is one.
    pub above: Option<Above>,
}

/// The domain above, as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Above {
    /// The newest lease that it offers to this domain.
    pub offered: Option<Lease>,
    /// What it may draw now.
    pub cap: Watts,
}

/// What is known and wanted of one child.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Child {
    /// The most that its hardware can draw.
    pub ceiling: Watts,
    /// Its last report, if there ever was one.
    pub report: Option<Report>,
    /// Has it reported since this controller began to listen? Until then a ledger that went back is not ruled out, and it
    /// is charged its ceiling.
    pub is_heard: bool,
    /// What it is to have.
    pub wish: Figures,
    /// Later reductions that are known already.
    pub steps: Vec<Step>,
    /// Proof that it draws no more than this (a BMC's cap, power off, a meter), whatever it says.
    pub fenced: Option<Watts>,
    /// It belongs here no longer: its entry goes as soon as it is fenced at nothing.
    pub leaves: bool,
    /// Something beside the figures is to reach it (limits of single accelerators), so its lease is to be made out anew.
    pub anew: bool,
}

/// What became of one child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Nothing is to be written.
    Unchanged,
    /// It is leased less, or the same anew.
    Lowered,
    /// The same figures live on, with its steps as they are now.
    Renewed,
    /// It is leased more.
    Raised,
    /// It is to have more, and does not yet: the sum does not fit at this cap.
    Waits(Shortage),
    /// It has not reported, or not since this controller began to listen: what it holds is not known.
    NotHeard,
    /// It has heard of a newer cap than this controller: nothing is written from an older read.
    StaleRead {
        /// The version that it has heard.
        heard: u64,
    },
    /// What it holds is not in the ledger (it is new here, or the ledger went back): it is leased what it holds, or less.
    Settled,
    /// The domain above offers less, and that is accepted first.
    LessIsOffered,
    /// The domain above has offered nothing yet: there is nothing to spend.
    NothingIsOffered,
}

/// A ledger that is to be written, where it differs, and what it means for each child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allotted<K: Ord> {
    /// The ledger. To be written by compare-and-swap against the one that was read.
    pub ledger: Ledger<K>,
    /// Is there anything to write?
    pub changed: bool,
    /// What the domain may spend now.
    pub spendable: Watts,
    /// One for each child.
    pub told: BTreeMap<K, Told>,
}

/// Writes a domain's ledger anew from what its children say and what they are to have: lowers and renews first, then raises
/// what fits, in the order of `order` (all children that are not in it come after).
///
/// Nothing is raised unless every sum fits: the reserves of all children, what others draw, and room for reboots, under what may
/// be drawn now and at every row's cap.
#[must_use]
pub fn allot<K: Ord + Clone>(
    ledger: &Ledger<K>,
    facts: &Facts,
    children: &BTreeMap<K, Child>,
    order: &[K],
    terms: &Terms,
    rules: Rules,
) -> Allotted<K> {
    // 1. The count goes on above all that any child has accepted, or a ledger that went back would be refused for ever.
    let accepted = children.values().filter_map(|child| child.report.as_ref()).map(|report| report.accepted).max();
    let sequence = accepted.unwrap_or(0).max(ledger.sequence) + 1;

    // 2. What the children say.
    let mut next = heard(ledger, children, rules);

    // 3. What may be spent: the cap, and what the parent's accepted lease allows.
    let took_less = accept(&mut next.accepted, facts, rules);
    if facts.above.is_some() && next.accepted.is_none() {
        // Its children are known from now on, so it can say what is drawn in it; it has nothing to lease.
        let changed = next.entries.len() != ledger.entries.len();
        next.sequence = if changed { sequence } else { ledger.sequence };
        let told = children.keys().map(|key| (key.clone(), Told::NothingIsOffered)).collect();
        return Allotted { ledger: next, changed, spendable: Watts::ZERO, told };
    }
    let spendable = spent_from(next.accepted.as_ref(), facts, rules);
    let mut books = Books { before: ledger, next, facts, children, terms, rules, sequence, spendable, wrote: false };

    // 4. Lower and renew.
    let mut told = BTreeMap::new();
    let mut rising = Vec::new();
    let listed = order.iter().filter(|key| children.contains_key(*key));
    let others = children.keys().filter(|key| !order.contains(key));
    for key in listed.chain(others).filter(|key| books.next.entries.contains_key(*key)).cloned().collect::<Vec<_>>() {
        match books.lower(&key) {
            Some(done) => {
                told.insert(key, done);
            }
            None => rising.push(key),
        }
    }

    // 5. Raise what fits.
    for key in rising {
        let done = if took_less { Told::LessIsOffered } else { books.raise(&key) };
        told.insert(key, done);
    }

    // 6. What the parent is told.
    let charged: Vec<Figures> = books.next.entries.keys().map(|key| books.charged(key)).collect();
    let drawn = charged.iter().map(|figures| figures.watts).sum::<Watts>() + facts.baseline;
    // the domain above counts with what is drawn here by those that hear nothing, too
    let deaf = charged.iter().map(|figures| figures.safe.min(figures.watts)).sum::<Watts>() + facts.baseline;
    let Books { mut next, wrote, .. } = books;
    let fits = |Accepted { lease: Lease { figures, .. }, .. }: &Accepted| {
        drawn <= figures.watts && deaf <= figures.safe.min(figures.watts)
    };
    let is_true = next.accepted.as_ref().is_some_and(fits) || !rules.hold(Rule::ChildrenAcknowledgeFirst);
    if let Some(accepted) = next.accepted.as_mut().filter(|_| is_true) {
        accepted.acknowledged = accepted.lease.sequence;
    }

    // What was only heard needs no write: the reports say it again.
    let changed = wrote || next.accepted != ledger.accepted || next.entries.len() < ledger.entries.len();
    if changed {
        next.sequence = sequence;
    }
    Allotted { ledger: next, changed, spendable, told }
}

/// A ledger with what the children say now. Whoever is no longer among them stays charged until it is known to draw nothing.
#[must_use]
pub fn heard<K: Ord + Clone>(ledger: &Ledger<K>, children: &BTreeMap<K, Child>, rules: Rules) -> Ledger<K> {
    let mut next = ledger.clone();
    for (key, child) in children {
        let entry = next.entries.entry(key.clone()).or_insert_with(|| Entry::unknown(child.ceiling));
        entry.ceiling = child.ceiling;
        if let Some(report) = &child.report {
            entry.hear(report, rules);
        }
        if let Some(most) = child.fenced {
            (entry.reserve, entry.excess) = (Some(Figures::flat(most)), None);
        }
        if child.leaves && child.fenced == Some(Watts::ZERO) {
            next.entries.remove(key);
        }
    }
    next
}

/// What a domain may spend, once it has taken the parent's newest offer, and what its children may draw together when they hear
/// nothing: what the parent counts with then. None for a root.
#[must_use]
pub fn spendable<K: Ord>(ledger: &Ledger<K>, facts: &Facts, rules: Rules) -> (Watts, Option<Watts>) {
    let mut accepted = ledger.accepted.clone();
    accept(&mut accepted, facts, rules);
    let safe = accepted.as_ref().filter(|_| facts.above.is_some()).map(|accepted| accepted.lease.figures.safe);
    (spent_from(accepted.as_ref(), facts, rules), safe)
}

/// Takes the parent's newest offer. True where it is lower than what was accepted so far: then nothing is raised in the same
/// write, so that what is spent was accepted before.
fn accept(taken: &mut Option<Accepted>, facts: &Facts, rules: Rules) -> bool {
    let Some(offered) = facts.above.as_ref().and_then(|above| above.offered.as_ref()) else { return false };
    let so_far = taken.as_ref();
    if so_far.is_some_and(|accepted| offered.sequence <= accepted.lease.sequence) {
        return false; // an older offer is refused
    }
    let is_lower = so_far.is_some_and(|accepted| !accepted.lease.figures.within(&offered.figures));
    let acknowledged = so_far.map_or(0, |accepted| accepted.acknowledged);
    *taken = Some(Accepted { lease: offered.clone(), acknowledged });
    is_lower && rules.hold(Rule::SpendWhatIsAccepted)
}

/// What is spent of an accepted lease: nothing where there is none.
fn spent_from(accepted: Option<&Accepted>, facts: &Facts, rules: Rules) -> Watts {
    let Some(above) = &facts.above else { return facts.cap.watts };
    let accepted = accepted.map(|accepted| &accepted.lease.figures);
    let offered = above.offered.as_ref().map(|offered| &offered.figures);
    let spent = if rules.hold(Rule::SpendWhatIsAccepted) { accepted } else { offered };
    spent.map_or(Watts::ZERO, |figures| facts.cap.watts.min(figures.at(above.cap)))
}

/// One write in the making.
struct Books<'a, K: Ord> {
    before: &'a Ledger<K>,
    next: Ledger<K>,
    facts: &'a Facts,
    children: &'a BTreeMap<K, Child>,
    terms: &'a Terms,
    rules: Rules,
    sequence: u64,
    spendable: Watts,
    wrote: bool,
}

impl<K: Ord + Clone> Books<'_, K> {
    /// Does everything for a child that is no raise. None where it is to have more.
    fn lower(&mut self, key: &K) -> Option<Told> {
        let (child, entry) = (&self.children[key], &self.next.entries[key]);
        // what it holds is not known: even a renewal could be a raise
        // (a fence says what it draws, and not what it last took: nobody is there to take anything)
        let is_heard = child.is_heard || !self.rules.hold(Rule::UnheardAtCeiling);
        let Some(report) = child.report.as_ref().filter(|_| is_heard && child.fenced.is_none()) else {
            return Some(Told::NotHeard);
        };
        if let Some(heard) = report.cap.map(|cap| cap.version).filter(|heard| *heard > self.facts.cap.version) {
            return Some(Told::StaleRead { heard });
        }
        let wanted = self.wanted(child);
        let known = entry.lease.clone().filter(|lease| report.accepted <= lease.sequence);
        let Some(lease) = known else {
            let holds = report.acts_on(self.rules).unwrap_or_else(|| Figures::flat(report.enforced));
            self.write(key, holds.lowest(&wanted));
            return Some(Told::Settled);
        };
        // What may be written without a look at the sums: no more than the lease before, and no more than is reserved. Steps
        // that have passed are off the reserve; one that is still to come, and is not in the new lease, counts as passed.
        // It is the reserve as it is recorded that counts: with what an unfenced child says it holds besides, figures lie above
        // both between two rows, by a watt or two.
        let recorded = if report.acknowledged == lease.sequence { Some(entry) } else { self.before.entries.get(key) };
        let recorded = recorded.and_then(|entry| entry.reserve.as_ref());
        let free = match recorded.filter(|_| self.rules.hold(Rule::RenewalIsNoRaise)) {
            Some(reserve) if !self.is_within(&lease.figures, reserve) => lease.figures.lowest(reserve),
            _ => lease.figures.clone(),
        };
        let target = self.under_the_cap(free);
        let is_lower = self.is_within(&wanted, &target);
        let mut lowered = if is_lower { wanted } else { target.lowest(&wanted) };
        let forgotten = lease.forgotten(lowered.watts, &child.steps, report.beat);
        let forgotten = forgotten.filter(|_| self.rules.hold(Rule::RenewalIsNoRaise));

        let is_less = !self.is_within(&lease.figures, &lowered);
        let is_other = lease.steps != child.steps;
        let is_due = child.anew || self.is_due(&lease, report, 1);
        let is_raise = !is_lower || (forgotten.is_some() && (is_other || is_due));
        // A new lease that takes a step too early waits for the sums, while the lease before goes on with its own steps: until two
        // thirds of its life, or until less is to be had anyway.
        let writes = match forgotten {
            Some(watts) => {
                lowered.watts = watts;
                is_less || self.is_due(&lease, report, 2)
            }
            None => is_less || is_other || is_due,
        };
        if writes {
            self.write(key, lowered);
        }
        let done = match (is_less || is_other, is_due) {
            (true, _) => Told::Lowered,
            (false, true) => Told::Renewed,
            (false, false) => Told::Unchanged,
        };
        (!is_raise).then_some(done)
    }

    /// Is a lease to be renewed, when it is so many times as old as leases are at their renewal?
    fn is_due(&self, lease: &Lease, report: &Report, times: u64) -> bool {
        report.beat.instance != lease.answers.instance
            || report.beat.number >= lease.answers.number.saturating_add(self.terms.renew_after.saturating_mul(times))
            // it fell after it took this lease, or could not take it: only a new one that answers a newer heartbeat helps
            || (report.fallen && report.beat.number > lease.answers.number)
    }

    /// Gives a child more, where every sum fits.
    fn raise(&mut self, key: &K) -> Told {
        let wanted = self.wanted(&self.children[key]);
        let before = self.charged(key);
        let after = if self.rules.hold(Rule::RowsAreRaisesToo) {
            before.highest(&wanted)
        } else {
            Figures { watts: before.watts.max(wanted.watts), ..before.clone() }
        };
        let short = self.shortage(key, &after);
        match short {
            Some(short) => Told::Waits(short),
            None => {
                // it may wait for the sums for its steps alone
                let before = self.before.entries.get(key).and_then(|entry| entry.lease.as_ref());
                let is_more = before.is_none_or(|lease| !self.is_within(&wanted, &lease.figures));
                self.write(key, wanted);
                if is_more { Told::Raised } else { Told::Renewed }
            }
        }
    }

    fn shortage(&self, key: &K, own: &Figures) -> Option<Shortage> {
        let charge = |other: &K| Charge {
            figures: if other == key { own.clone() } else { self.charged(other) },
            ceiling: self.next.entries[other].ceiling,
            floor: self.children.get(other).map_or(Watts::ZERO, |child| child.wish.floor),
        };
        if self.facts.released {
            return None;
        }
        let all: Vec<Charge> = self.next.entries.keys().map(charge).collect();
        let room = Room { now: self.spendable, always: self.facts.baseline, reboots: self.facts.unguarded_reboots };
        shortage(&all, room, self.rules)
    }

    fn write(&mut self, key: &K, figures: Figures) {
        let figures = self.under_the_cap(figures);
        let child = &self.children[key];
        let (Some(report), Some(entry)) = (&child.report, self.next.entries.get_mut(key)) else { return };
        let lease = Lease {
            sequence: self.sequence,
            figures,
            steps: child.steps.clone(),
            life: self.terms.life,
            answers: report.beat,
            cap: Cap { watts: self.spendable, version: self.facts.cap.version },
        };
        entry.publish(lease, self.rules);
        self.wrote = true;
    }

    /// What a child is to have, as far as it can use it: nothing that it is fenced from, which waits for the sums when the fence
    /// is gone.
    fn wanted(&self, child: &Child) -> Figures {
        self.under_the_cap(child.wish.clone())
    }

    /// No lease allows more than its own row at the cap under which it is written.
    fn under_the_cap(&self, mut figures: Figures) -> Figures {
        figures.watts = figures.at(self.spendable);
        figures
    }

    /// What is reserved for a child, its ceiling included while it has not been heard.
    fn charged(&self, key: &K) -> Figures {
        let entry = &self.next.entries[key];
        let figures = entry.charged();
        if self.is_heard(key) { figures } else { figures.highest(&Figures::flat(entry.ceiling)) }
    }

    fn is_heard(&self, key: &K) -> bool {
        let is_heard = self.children.get(key).is_some_and(|child| child.is_heard || child.fenced.is_some());
        is_heard || !self.rules.hold(Rule::UnheardAtCeiling)
    }

    fn is_within(&self, a: &Figures, b: &Figures) -> bool {
        if self.rules.hold(Rule::RowsAreRaisesToo) { a.within(b) } else { a.watts <= b.watts }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("nothing is to be written"),
            Self::Lowered => f.write_str("it is leased less"),
            Self::Renewed => f.write_str("its lease lives on"),
            Self::Raised => f.write_str("it is leased more"),
            Self::Waits(Shortage { cap, sum }) => {
                write!(f, "it waits: {sum} could be drawn under the cap of {cap} until others have acknowledged less")
            }
            Self::NotHeard => f.write_str("it has not been heard since this controller began to listen"),
            Self::StaleRead { heard } => {
                write!(f, "it has heard version {heard} of the caps, newer than what is read here: read again first")
            }
            Self::Settled => f.write_str("it is leased what it holds, or less, until it acknowledges"),
            Self::NothingIsOffered => f.write_str("the domain above has not offered anything yet"),
            Self::LessIsOffered => f.write_str("the domain above offers less, and that is taken first"),
        }
    }
}
