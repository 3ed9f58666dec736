//! The site of one moment, as the protocol needs it: each domain's children, what they claim, and what it may draw.
//! Objects in, values out.

use super::kids::{Kid, kid};
use super::memory::Memory;
use super::ramp;
use super::seen::Seen;
use super::shares::{Shares, differ, shares};
use super::watchdog::Barks;
use super::wish::{LOWEST_PERCENT, Pot, Wishes, rounding, wishes};
use super::works::{Curves, Pods, works};
use crate::api::{AcceleratorShare, ChildKey, ChildKind, CurtailmentEvent, PowerAllotmentSpec, PowerDomain};
use crate::caps::{behind_losses, correction_time};
use crate::core::divide::{Claim, Scale, reboot_room};
use crate::core::domain::DomainId;
use crate::core::lease::{
    Above, Allotted, Cap, Child, Facts, Fault, Figures, Lease, Ledger, Report, Rules, allot, check, heard, spendable,
};
use crate::units::{Millis, Watts};
use std::collections::BTreeMap;

/// What is done with a domain's watts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Leases keep its cap.
    Keep,
    /// Its root observes: everything is given back.
    Release,
}

/// A domain with its children.
#[derive(Debug, Clone)]
pub struct Book {
    /// Its name.
    pub domain: String,
    /// The domain above, where there is one.
    pub parent: Option<String>,
    /// What is done.
    pub mode: Mode,
    /// What it may draw, its baseline, room for reboots; without what is above.
    pub facts: Facts,
    /// What it loses, in thousandths.
    overhead_permille: u32,
    full: Watts,
    lowest: Watts,
    /// How fast what is leased may rise.
    ramp_up: Option<Watts>,
    /// What may be leased where it comes down slowly to a cap that is known to fall.
    ahead: Watts,
    /// Is it under an event that counts with what is drawn? Its limits follow that.
    is_metered: bool,
    /// How long it may draw more after its cap has fallen.
    pub correction: Millis,
    children: BTreeMap<ChildKey, Kid>,
}

/// What was decided of one domain.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The protocol's answer.
    pub allotted: Allotted<ChildKey>,
    /// What was wished.
    pub wishes: Wishes,
    /// The limits of single accelerators, as they are to be written with it.
    pub shares: BTreeMap<ChildKey, Vec<AcceleratorShare>>,
    /// The facts it was decided on.
    pub facts: Facts,
    /// Is it under its cap, and how fast does it come there?
    pub barks: Barks,
    /// Could a child use more than it was wished?
    pub wants_more: bool,
    /// What the checker refuses of it: it is not to be written. Empty, or there is a fault in Heliotrope that must be told.
    pub faults: Vec<Fault<ChildKey>>,
}

/// All domains that are leased in, parents before children.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// The domains.
    pub list: Vec<Book>,
}

impl Books {
    /// The books of a moment.
    #[must_use]
    pub fn new(seen: &Seen<'_>, memory: &Memory) -> Self {
        let (works, mut curves) = (works(seen.snapshot), Curves::new(&seen.snapshot.profiles));
        let tree = &seen.site.tree;
        let metered = |event: &&CurtailmentEvent| event.is_metered() && event.is_in_force(seen.snapshot.now);
        let metered = seen.snapshot.events.iter().filter(metered).map(|event| event.spec.domain.as_str());
        let metered: Vec<DomainId> = metered.filter_map(|name| tree.find(name)).collect();
        let mut books = Self::default();
        for (id, domain) in tree.iter() {
            let Some(object) = seen.snapshot.domain(&domain.spec.name) else { continue };
            let is_kept = seen.site.enforced.contains(&tree.root_of(id));
            if !is_kept && !seen.allotments.contains_key(&domain.spec.name) {
                continue;
            }
            let is_metered = tree.chain(id).any(|above| metered.contains(&above));
            books.list.push(book(seen, memory, object, id, (is_kept, is_metered), (&works, &mut curves)));
        }
        // from the leaves up: what a domain says of itself is a child's word to the one above
        for at in (0..books.list.len()).rev() {
            let Some(parent) = books.list[at].parent.clone() else { continue };
            let Some(above) = books.list[..at].iter().position(|book| book.domain == parent) else { continue };
            let kid = books.as_kid(at, seen);
            let key = ChildKey::domain(&books.list[at].domain);
            books.list[above].children.insert(key, kid);
        }
        for at in 0..books.list.len() {
            let gone = seen.allotments.get(&books.list[at].domain).into_iter().flat_map(|stored| &stored.children);
            let gone = gone
                .filter(|child| child.kind == ChildKind::Domain && has_gone(seen, &books.list[at].domain, &child.name));
            let gone: Vec<ChildKey> = gone.map(|child| ChildKey::domain(&child.name)).collect();
            for key in gone.into_iter().filter(|key| !books.list[at].children.contains_key(key)).collect::<Vec<_>>() {
                books.list[at].children.insert(key, Kid::gone());
            }
        }
        books
    }

    /// A domain as the child of the one above it.
    fn as_kid(&self, at: usize, seen: &Seen<'_>) -> Kid {
        let book = &self.list[at];
        let before = |watts: Watts| book.before_losses(watts);
        // beside what its children claim it needs what it keeps free
        let kept = reboot_rise(book) + rounding(book.children.len());
        let own = before(book.facts.cap.watts);
        let seen_above = |claims: Vec<Claim>| {
            Claim::sum(&claims).before_losses(book.overhead_permille, book.facts.baseline + kept, own)
        };
        let claim = seen_above(book.children.values().map(Kid::claims).collect());
        let full = seen_above(book.children.values().map(Kid::claims_in_full).collect());
        let ceilings: Watts = book.children.values().map(|kid| kid.ceiling).sum();
        let stored = seen.allotments.get(&book.domain);
        // what it charges with its children's words of this moment, those who said nothing at their ceilings
        let heard = stored.map(|stored| {
            let ledger = stored.ledger(book.parent.as_deref());
            let heard = heard(&ledger, &book.plain(), Rules::ALL);
            let charged = |(key, entry): (&ChildKey, &crate::core::lease::Entry)| {
                let is_heard = book.children.get(key).is_some_and(|kid| kid.is_heard || kid.fenced.is_some());
                let own = entry.charged().watts;
                if is_heard { own } else { own.max(entry.ceiling) }
            };
            let sum: Watts = heard.entries.iter().map(charged).sum();
            (ledger, sum + book.facts.baseline)
        });
        let report = heard.map(|(ledger, charged)| {
            let report = ledger.report(book.facts.baseline, Rules::ALL);
            let held = report.held.map(|held| scaled(&held, before));
            Report { enforced: before(charged), held, ..report }
        });
        Kid {
            claim,
            full,
            ceiling: before(ceilings + book.facts.baseline),
            is_heard: report.is_some(),
            report,
            fenced: None,
            leaves: false,
            stuck: None,
            together: Vec::new(),
            scale: Scale::default(),
        }
    }

    /// Decides one domain, on what the one above offers as it was last written.
    #[must_use]
    pub fn decide(
        &self,
        at: usize,
        seen: &Seen<'_>,
        memory: &mut Memory,
        above: Option<(&PowerAllotmentSpec, Watts)>,
    ) -> Decided {
        let book = &self.list[at];
        let ledger =
            seen.allotments.get(&book.domain).map(|stored| stored.ledger(book.parent.as_deref())).unwrap_or_default();
        let mut facts = book.facts.clone();
        if book.mode == Mode::Keep && book.parent.is_some() {
            let offered = above.and_then(|(spec, _)| spec.child(&ChildKey::domain(&book.domain))?.lease.as_ref());
            let behind = |watts: Watts| watts.less_permille(book.overhead_permille);
            let offered =
                offered.map(Lease::from).map(|lease| Lease { figures: scaled(&lease.figures, behind), ..lease });
            facts.above = Some(Above { offered, cap: above.map_or(Watts::ZERO, |(_, cap)| cap) });
        }
        let follows: Vec<&Kid> = book.children.values().filter(|kid| kid.stuck.is_none()).collect();
        let claims: Vec<Claim> = follows.iter().map(|kid| kid.claim.clone()).collect();
        let full: Vec<Claim> = follows.iter().map(|kid| kid.full.clone()).collect();
        let ceilings: Vec<Watts> = follows.iter().map(|kid| kid.ceiling).collect();
        let stuck: Watts = book.children.values().filter_map(|kid| kid.stuck.as_ref()).map(|(holds, _)| *holds).sum();
        let (spendable, safe) = spendable(&ledger, &facts, Rules::ALL);
        let lowest = safe.map_or(book.lowest, |safe| safe.min(book.lowest));
        let mut is_rising = false;
        let made = match book.mode {
            Mode::Release => Wishes {
                figures: ceilings.iter().map(|ceiling| Figures::flat(*ceiling)).collect(),
                reachable: None,
                safe_sum: ceilings.iter().copied().sum(),
                lowest,
            },
            Mode::Keep => {
                let leased = |entry: &crate::core::lease::Entry| {
                    entry.lease.as_ref().map_or(Watts::ZERO, |lease| lease.figures.watts)
                };
                let sum: Watts = ledger.entries.values().map(leased).sum();
                let now = memory.ramped(
                    &book.domain,
                    sum + facts.baseline,
                    book.ahead.min(spendable),
                    book.ramp_up,
                    seen.now,
                );
                is_rising = now < book.ahead.min(spendable);
                let pot = Pot {
                    full: book.full,
                    lowest,
                    baseline: facts.baseline + stuck,
                    reboots: facts.unguarded_reboots,
                    spendable,
                    is_metered: book.is_metered,
                    now,
                };
                wishes(&pot, &claims, &full, &ceilings)
            }
        };
        let wants_more = made.figures.iter().zip(&claims).any(|(figures, claim)| figures.watts < claim.most);
        let mut children = book.plain();
        let mut wished = made.figures.iter();
        for (child, kid) in children.values_mut().zip(book.children.values()) {
            let wish = match &kid.stuck {
                Some((_, lease)) => Some(lease),
                None => wished.next(),
            };
            if let Some(wish) = wish {
                child.wish = wish.clone();
            }
        }
        // what rises slowly by order, or as a meter tells, is steady enough
        if book.mode == Mode::Keep && !is_rising && !book.is_metered {
            for (key, child) in children.iter_mut().filter(|(key, _)| key.kind == ChildKind::Node) {
                let (kid, lease) =
                    (&book.children[key], ledger.entries.get(key).and_then(|entry| entry.lease.as_ref()));
                if let Some(lease) = lease.filter(|_| kid.stuck.is_none()) {
                    let wish = std::mem::replace(&mut child.wish, Figures::flat(Watts::ZERO));
                    child.wish = memory.steady(&key.name, &lease.figures, wish, &kid.claim, seen.now);
                }
            }
        }
        let drawn = book.drawn(&ledger);
        let barks = match book.mode {
            // a domain that was offered nothing yet has no cap to be above
            Mode::Keep if facts.above.as_ref().is_some_and(|above| above.offered.is_none()) => Barks::default(),
            Mode::Keep => memory.watch(&book.domain, spendable, drawn, book.correction, seen.now),
            Mode::Release => Barks::default(),
        };
        if barks.too_slow {
            // it is never disarmed, and nothing is raised in it
            for (key, child) in &mut children {
                if let Some(lease) = ledger.entries.get(key).and_then(|entry| entry.lease.as_ref()) {
                    child.wish = lease.figures.lowest(&child.wish);
                }
            }
        }
        let told = seen.allotments.get(&book.domain).map(PowerAllotmentSpec::shares).unwrap_or_default();
        if book.mode == Mode::Keep {
            let wanted = book.shares(&ledger);
            let none = Vec::new();
            for (key, child) in children.iter_mut().filter(|(key, _)| key.kind == ChildKind::Node) {
                child.anew = differ(told.get(key).unwrap_or(&none), wanted.get(key).unwrap_or(&none));
            }
        }
        let order = book.order();
        let allotted = allot(&ledger, &facts, &children, &order, seen.terms, Rules::ALL);
        for (key, kid) in book.children.iter().filter(|(key, _)| key.kind == ChildKind::Node) {
            let Some(entry) = allotted.ledger.entries.get(key) else { continue };
            let Some(lease) = entry.lease.as_ref() else { continue };
            let allowed = lease.figures.at(allotted.spendable);
            memory.holds(&key.name, kid.report.as_ref(), &entry.charged(), allowed, (seen.version, seen.now));
        }
        memory.owes(&book.domain, children.iter().map(|(key, child)| owed(&allotted.ledger, key, child)).sum());
        let faults = if allotted.changed { check(&ledger, &allotted.ledger, &facts, &children) } else { Vec::new() };
        let shares = book.shares_written(&ledger, &allotted.ledger, told);
        Decided { allotted, wishes: made, shares, facts, barks, wants_more, faults }
    }
}

/// What a child is to have above what it is leased.
fn owed(ledger: &Ledger<ChildKey>, key: &ChildKey, child: &Child) -> Watts {
    let lease = ledger.entries.get(key).and_then(|entry| entry.lease.as_ref());
    lease.map_or(Watts::ZERO, |lease| (child.wish.watts - lease.figures.watts).max(Watts::ZERO))
}

impl Book {
    /// The children with their floors as wishes.
    fn plain(&self) -> BTreeMap<ChildKey, Child> {
        let child = |kid: &Kid| Child {
            ceiling: kid.ceiling,
            report: kid.report.clone(),
            is_heard: kid.is_heard,
            wish: Figures { watts: kid.claim.floor, rows: Vec::new(), floor: kid.claim.floor, safe: kid.claim.floor },
            steps: Vec::new(),
            fenced: kid.fenced,
            leaves: kid.leaves,
            anew: false,
        };
        self.children.iter().map(|(key, kid)| (key.clone(), child(kid))).collect()
    }

    /// The limits of single accelerators under the leases of a ledger.
    fn shares(&self, ledger: &Ledger<ChildKey>) -> Shares {
        shares(&self.children, |key| Some(ledger.entries.get(key)?.lease.as_ref()?.figures.watts))
    }

    /// The same as it is to be written: they come with a lease, so they stay as they were with one that stays.
    fn shares_written(&self, before: &Ledger<ChildKey>, after: &Ledger<ChildKey>, mut told: Shares) -> Shares {
        let sequence = |ledger: &Ledger<ChildKey>, key: &ChildKey| {
            ledger.entries.get(key).and_then(|entry| entry.lease.as_ref()).map(|lease| lease.sequence)
        };
        let made = if self.mode == Mode::Keep { self.shares(after) } else { Shares::new() };
        told.retain(|key, _| sequence(before, key) == sequence(after, key));
        let anew = made.into_iter().filter(|(key, _)| sequence(before, key) != sequence(after, key));
        told.extend(anew);
        told
    }

    /// Who has most to gain is raised first: those in use.
    fn order(&self) -> Vec<ChildKey> {
        let mut keys: Vec<(&ChildKey, &Kid)> = self.children.iter().collect();
        keys.sort_by_key(|(_, kid)| std::cmp::Reverse((kid.claim.most - kid.claim.floor).0));
        keys.into_iter().map(|(key, _)| key.clone()).collect()
    }

    /// The children.
    pub(super) fn kids(&self) -> impl Iterator<Item = (&ChildKey, &Kid)> {
        self.children.iter()
    }

    /// The children's names.
    pub fn children(&self) -> impl Iterator<Item = &ChildKey> {
        self.children.keys()
    }

    /// What is drawn in it at most by its children's word; of those who were not heard what they may hold.
    fn drawn(&self, ledger: &Ledger<ChildKey>) -> Watts {
        let each = |(key, kid): (&ChildKey, &Kid)| match (&kid.report, kid.fenced) {
            (_, Some(fenced)) => fenced,
            (Some(report), None) if kid.is_heard => report.enforced,
            _ => ledger.entries.get(key).map_or(kid.ceiling, |entry| entry.charged().watts),
        };
        self.children.iter().map(each).sum::<Watts>() + self.facts.baseline
    }

    /// What all its children could draw at most, rated.
    #[must_use]
    pub fn rated(&self) -> Watts {
        self.children.values().map(|kid| kid.ceiling).sum::<Watts>() + self.facts.baseline
    }

    /// What its children can be held to at the least.
    #[must_use]
    pub fn floors(&self) -> Watts {
        self.children.values().map(|kid| kid.claim.floor).sum::<Watts>() + self.facts.baseline
    }

    /// Has a child reported?
    #[must_use]
    pub fn is_heard(&self, key: &ChildKey) -> bool {
        self.children.get(key).is_some_and(|kid| kid.is_heard)
    }

    /// Watts of its children as its own feed sees them.
    #[must_use]
    pub fn before_losses(&self, watts: Watts) -> Watts {
        watts.plus_permille(self.overhead_permille)
    }
}

/// Does a domain draw nothing any more under one that it hung under once? Its nodes have acknowledged what another one gave
/// it, or there is neither a node nor a domain of that name left.
fn has_gone(seen: &Seen<'_>, from: &str, domain: &str) -> bool {
    let stored = seen.allotments.get(domain);
    let is_elsewhere = stored
        .and_then(|stored| stored.accepted.as_ref())
        .is_some_and(|accepted| accepted.from != from && accepted.acknowledged_sequence > 0);
    let is_empty = stored.is_none_or(|stored| stored.children.is_empty())
        && seen.snapshot.domain(domain).is_none()
        && seen.powers.values().all(|power| power.spec.domain != domain);
    is_elsewhere || is_empty
}

/// What a leaf keeps free for reboots when its nodes are at their floors.
fn reboot_rise(book: &Book) -> Watts {
    let floors: Vec<Watts> = book.children.values().map(|kid| kid.claim.floor).collect();
    let ceilings: Vec<Watts> = book.children.values().map(|kid| kid.ceiling).collect();
    reboot_room(&floors, &ceilings, book.facts.unguarded_reboots)
}

/// The same figures in other watts; the caps of their rows stay.
fn scaled(figures: &Figures, by: impl Fn(Watts) -> Watts) -> Figures {
    let rows = figures.rows.iter().map(|row| crate::core::lease::Row { cap: row.cap, watts: by(row.watts) }).collect();
    Figures { watts: by(figures.watts), rows, floor: by(figures.floor), safe: by(figures.safe) }
}

fn book(
    seen: &Seen<'_>,
    memory: &Memory,
    object: &PowerDomain,
    id: DomainId,
    (is_kept, is_metered): (bool, bool),
    (works, curves): (&BTreeMap<&str, Vec<Pods<'_>>>, &mut Curves<'_>),
) -> Book {
    let (tree, spec) = (&seen.site.tree, &object.spec);
    let domain = tree.get(id);
    let name = domain.spec.name.clone();
    let behind = |watts: Watts| behind_losses(spec, watts);
    let overhead_permille = domain.spec.overhead_permille;
    // rounded up: what others draw is never understated
    let others = domain.spec.baseline;
    let baseline = Some(behind(others)).filter(|w| w.plus_permille(overhead_permille) >= others);
    let baseline = baseline.unwrap_or(behind(others) + Watts(1));
    let mut children = BTreeMap::new();
    for power in seen.powers.values().filter(|power| power.spec.domain == name) {
        let node = power.metadata.name.clone().unwrap_or_default();
        let on_site = seen.site.node(&node);
        children.insert(ChildKey::node(&node), kid(seen, memory, power, on_site, works, curves));
    }
    let has_nodes = !children.is_empty();
    let reboots = spec.reboot_reserve_nodes.map_or(1, |count| usize::try_from(count).unwrap_or(0));
    let cap = if is_kept { behind(domain.spec.cap.at(seen.snapshot.now)) } else { Watts(i64::MAX / 8) };
    let ahead = spec.ramp_down_watts_per_second.filter(|_| is_kept).map(Watts);
    let ahead = ahead.map_or(cap, |down| behind(ramp::ahead(&domain.spec.cap, down, seen.snapshot.now)));
    let lowest = spec.lowest_cap_watts.map_or(Watts(spec.cap_watts).percent(LOWEST_PERCENT), Watts);
    Book {
        parent: domain.parent.map(|parent| tree.get(parent).spec.name.clone()),
        mode: if is_kept { Mode::Keep } else { Mode::Release },
        facts: Facts {
            cap: Cap { version: seen.version, watts: cap },
            baseline,
            released: !is_kept,
            unguarded_reboots: if has_nodes && is_kept { reboots } else { 0 },
            above: None,
        },
        overhead_permille,
        full: behind(Watts(spec.cap_watts)),
        lowest: behind(lowest),
        ramp_up: spec.ramp_up_watts_per_second.map(Watts),
        ahead,
        is_metered,
        correction: Millis(u64::try_from(correction_time(spec).0).unwrap_or(0) * 1000),
        domain: name,
        children,
    }
}
