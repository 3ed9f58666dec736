//! The site of one moment, as the protocol needs it: each domain's children, what they claim, and what it may draw.
//! Objects in, values out.

use super::memory::Memory;
use super::wish::{LOWEST_PERCENT, Pot, Wishes, wishes};
use crate::api::{ChildKey, ChildKind, LeaseFigures, NodePower, PowerAllotmentSpec, PowerDomain, labels};
use crate::caps::behind_losses;
use crate::controller::site::{Device, Site, SiteNode, device, device_idle};
use crate::controller::snapshot::Snapshot;
use crate::core::divide::Claim;
use crate::core::domain::DomainId;
use crate::core::lease::{Above, Allotted, Cap, Child, Facts, Figures, Lease, Report, Rules, Terms, UNCAPPED, allot};
use crate::units::{Millis, Watts};
use crate::workloads::job;
use std::collections::BTreeMap;

/// A node is silent after so long without a report: three heartbeats.
pub const SILENT: Millis = Millis(60_000);

/// All that is looked at.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Domains, events, nodes, pods, profiles.
    pub snapshot: &'a Snapshot,
    /// The site that they describe.
    pub site: &'a Site,
    /// The store's version from which on domains and events were read.
    pub version: u64,
    /// The NodePowers, by name.
    pub powers: &'a BTreeMap<String, NodePower>,
    /// The allotments, by domain.
    pub allotments: &'a BTreeMap<String, PowerAllotmentSpec>,
    /// The loop's own clock.
    pub now: Millis,
    /// How leases are made out.
    pub terms: &'a Terms,
}

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
    ramp: Option<Watts>,
    children: BTreeMap<ChildKey, Kid>,
}

/// One child, before it has a wish.
#[derive(Debug, Clone)]
struct Kid {
    claim: Claim,
    ceiling: Watts,
    report: Option<Report>,
    is_heard: bool,
    fenced: Option<Watts>,
    leaves: bool,
    /// What it holds though its cap has fallen, or may hold since it says nothing, and its lease: nothing of that is there for
    /// the others.
    stuck: Option<(Watts, Figures)>,
}

/// What was decided of one domain.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The protocol's answer.
    pub allotted: Allotted<ChildKey>,
    /// What was wished.
    pub wishes: Wishes,
    /// The facts it was decided on.
    pub facts: Facts,
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
        let busy = busy(seen.snapshot);
        let tree = &seen.site.tree;
        let mut books = Self::default();
        for (id, domain) in tree.iter() {
            let Some(object) = seen.snapshot.domain(&domain.spec.name) else { continue };
            let is_kept = seen.site.enforced.contains(&tree.root_of(id));
            if !is_kept && !seen.allotments.contains_key(&domain.spec.name) {
                continue;
            }
            books.list.push(book(seen, memory, object, id, is_kept, &busy));
        }
        // from the leaves up: what a domain says of itself is a child's word to the one above
        for at in (0..books.list.len()).rev() {
            let Some(parent) = books.list[at].parent.clone() else { continue };
            let Some(above) = books.list[..at].iter().position(|book| book.domain == parent) else { continue };
            let kid = books.as_kid(at, seen);
            let key = ChildKey::domain(&books.list[at].domain);
            books.list[above].children.insert(key, kid);
        }
        books
    }

    /// A domain as the child of the one above it.
    fn as_kid(&self, at: usize, seen: &Seen<'_>) -> Kid {
        let book = &self.list[at];
        let before = |watts: Watts| watts.plus_permille(book.overhead_permille);
        let claim = Claim::sum(book.children.values().map(|kid| kid.claim));
        let claim = claim.before_losses(book.overhead_permille, book.facts.baseline);
        let room = reboot_rise(book);
        let own = before(book.facts.cap.watts);
        let claim = Claim {
            base: claim.base + room,
            floor: claim.floor + room,
            need: (claim.need + room).min(own).max(claim.floor + room),
            most: (claim.most + room).min(own).max(claim.floor + room),
            ..claim
        };
        let ceilings: Watts = book.children.values().map(|kid| kid.ceiling).sum();
        let stored = seen.allotments.get(&book.domain);
        // what it charges with its children's words of this moment, those who said nothing at their ceilings
        let heard = stored.map(|stored| {
            let ledger = stored.ledger();
            let offered = ledger.accepted.as_ref().map(|accepted| accepted.lease.clone());
            let above = book.parent.as_ref().map(|_| Above { offered, cap: Watts(i64::MAX / 4) });
            let facts = Facts { above, ..book.facts.clone() };
            let dry = allot(&ledger, &facts, &book.plain(), &[], seen.terms, Rules::ALL);
            let charged = |(key, entry): (&ChildKey, &crate::core::lease::Entry)| {
                let is_heard = book.children.get(key).is_some_and(|kid| kid.is_heard || kid.fenced.is_some());
                let own = entry.charged().watts;
                if is_heard { own } else { own.max(entry.ceiling) }
            };
            let sum: Watts = dry.ledger.entries.iter().map(charged).sum();
            (ledger, sum + book.facts.baseline)
        });
        let report = heard.map(|(ledger, charged)| {
            let report = ledger.report(book.facts.baseline, Rules::ALL);
            let held = report.held.map(|held| scaled(&held, before));
            Report { enforced: before(charged), held, ..report }
        });
        Kid {
            claim,
            ceiling: before(ceilings + book.facts.baseline),
            is_heard: report.is_some(),
            report,
            fenced: None,
            leaves: false,
            stuck: None,
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
        let ledger = seen.allotments.get(&book.domain).map(PowerAllotmentSpec::ledger).unwrap_or_default();
        let mut facts = book.facts.clone();
        if book.mode == Mode::Keep && book.parent.is_some() {
            let offered = above.and_then(|(spec, _)| spec.child(&ChildKey::domain(&book.domain))?.lease.as_ref());
            let behind = |watts: Watts| watts.less_permille(book.overhead_permille);
            let offered =
                offered.map(Lease::from).map(|lease| Lease { figures: scaled(&lease.figures, behind), ..lease });
            facts.above = Some(Above { offered, cap: above.map_or(Watts::ZERO, |(_, cap)| cap) });
        }
        let follows: Vec<&Kid> = book.children.values().filter(|kid| kid.stuck.is_none()).collect();
        let claims: Vec<Claim> = follows.iter().map(|kid| kid.claim).collect();
        let ceilings: Vec<Watts> = follows.iter().map(|kid| kid.ceiling).collect();
        let stuck: Watts = book.children.values().filter_map(|kid| kid.stuck.as_ref()).map(|(holds, _)| *holds).sum();
        let made = match book.mode {
            Mode::Release => Wishes {
                figures: ceilings.iter().map(|ceiling| Figures::flat(*ceiling)).collect(),
                reachable: None,
                safe_sum: ceilings.iter().copied().sum(),
            },
            Mode::Keep => {
                // dry: what could be spent now
                let dry = allot(&ledger, &facts, &book.plain(), &[], seen.terms, Rules::ALL);
                let leased = |entry: &crate::core::lease::Entry| {
                    entry.lease.as_ref().map_or(Watts::ZERO, |lease| lease.figures.watts)
                };
                let sum: Watts = ledger.entries.values().map(leased).sum();
                let now = memory.ramped(
                    &book.domain,
                    sum + facts.baseline,
                    facts.cap.watts.min(dry.spendable),
                    book.ramp,
                    seen.now,
                );
                let pot = Pot {
                    full: book.full,
                    lowest: book.lowest,
                    baseline: facts.baseline + stuck,
                    reboots: facts.unguarded_reboots,
                    now,
                };
                wishes(&pot, &claims, &ceilings)
            }
        };
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
        let order = book.order();
        let allotted = allot(&ledger, &facts, &children, &order, seen.terms, Rules::ALL);
        for (key, kid) in book.children.iter().filter(|(key, _)| key.kind == ChildKind::Node) {
            let entry = allotted.ledger.entries.get(key);
            let allowed =
                entry.and_then(|entry| entry.lease.as_ref()).map(|lease| lease.figures.at(allotted.spendable));
            let enforced = kid.report.as_ref().map(|report| report.enforced);
            let too_much = allowed.zip(enforced).is_some_and(|(allowed, enforced)| enforced > allowed);
            memory.enforces(&key.name, too_much, seen.now);
        }
        Decided { allotted, wishes: made, facts }
    }
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
        };
        self.children.iter().map(|(key, kid)| (key.clone(), child(kid))).collect()
    }

    /// Who has most to gain is raised first: those in use.
    fn order(&self) -> Vec<ChildKey> {
        let mut keys: Vec<(&ChildKey, &Kid)> = self.children.iter().collect();
        keys.sort_by_key(|(_, kid)| std::cmp::Reverse((kid.claim.most - kid.claim.floor).0));
        keys.into_iter().map(|(key, _)| key.clone()).collect()
    }

    /// The children's names.
    pub fn children(&self) -> impl Iterator<Item = &ChildKey> {
        self.children.keys()
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

    /// The lowest cap that is ever ordered of it.
    #[must_use]
    pub fn lowest(&self) -> Watts {
        self.lowest
    }

    /// Has a child reported?
    #[must_use]
    pub fn is_heard(&self, key: &ChildKey) -> bool {
        self.children.get(key).is_some_and(|kid| kid.is_heard)
    }

    /// What a child can draw by its own word.
    #[must_use]
    pub fn enforced(&self, key: &ChildKey) -> Option<Watts> {
        self.children.get(key)?.report.as_ref().map(|report| report.enforced)
    }
}

/// What a leaf keeps free for reboots when its nodes are at their floors, as the one above sees it.
fn reboot_rise(book: &Book) -> Watts {
    let floors: Vec<Watts> = book.children.values().map(|kid| kid.claim.floor).collect();
    let ceilings: Vec<Watts> = book.children.values().map(|kid| kid.ceiling).collect();
    let room = crate::core::divide::reboot_room(&floors, &ceilings, book.facts.unguarded_reboots);
    room.plus_permille(book.overhead_permille)
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
    is_kept: bool,
    busy: &BTreeMap<&str, Watts>,
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
        children.insert(ChildKey::node(&node), kid(seen, memory, power, on_site, busy));
    }
    let has_nodes = !children.is_empty();
    let reboots = spec.reboot_reserve_nodes.map_or(1, |count| usize::try_from(count).unwrap_or(0));
    let cap = if is_kept { behind(domain.spec.cap.at(seen.snapshot.now)) } else { UNCAPPED };
    let lowest = spec.lowest_cap_watts.map_or(Watts(spec.cap_watts).percent(LOWEST_PERCENT), Watts);
    Book {
        parent: domain.parent.map(|parent| tree.get(parent).spec.name.clone()),
        mode: if is_kept { Mode::Keep } else { Mode::Release },
        facts: Facts {
            cap: Cap { version: seen.version, watts: cap },
            baseline,
            unguarded_reboots: if has_nodes && is_kept { reboots } else { 0 },
            above: None,
        },
        overhead_permille,
        full: behind(Watts(spec.cap_watts)),
        lowest: behind(lowest),
        ramp: spec.ramp_up_watts_per_second.map(Watts),
        domain: name,
        children,
    }
}

/// A node as a child.
fn kid(
    seen: &Seen<'_>,
    memory: &Memory,
    power: &NodePower,
    on_site: Option<&SiteNode>,
    busy: &BTreeMap<&str, Watts>,
) -> Kid {
    let name = power.metadata.name.as_deref().unwrap_or_default();
    let figures =
        Hardware::of(power, &seen.snapshot.profiles, on_site.map(|node| seen.site.models[node.pool].as_str()));
    let report = power.status.as_ref().and_then(|status| status.report());
    let ceiling = Watts(power.spec.ceiling_watts).max(figures.at(figures.max));
    let floor = figures.at(figures.min).min(ceiling);
    let each = busy.get(name).filter(|_| on_site.is_some());
    let most = if each.is_some() { ceiling } else { floor };
    let model = on_site.map_or("", |node| seen.site.models[node.pool].as_str());
    let idle = device_idle(&seen.snapshot.profiles, model); // a grant counts from there
    let need = each.map_or(floor, |each| figures.at((*each + idle).min(figures.max)).max(floor).min(most));
    let silent = memory.silent_for(name, seen.now) >= SILENT;
    let fenced =
        power.metadata.annotations.as_ref().and_then(|all| all.get(labels::FENCED)?.parse::<i64>().ok()).map(Watts);
    let is_heard = memory.is_heard(name);
    let lease =
        seen.allotments.get(&power.spec.domain).and_then(|spec| spec.child(&ChildKey::node(name))?.lease.as_ref());
    let lease = lease.map(|lease| Figures::from(&lease.figures));
    let stuck = if !is_heard && silent && fenced.is_none() {
        // nobody knows what it holds, so its ceiling is charged, and the others must be wished no more than what is left: else
        // the sums never fit, and all of them wait for it for ever
        Some((ceiling, lease.unwrap_or_else(|| Figures::flat(ceiling))))
    } else {
        report.as_ref().filter(|_| memory.is_stuck(name, seen.now)).map(|report| report.enforced).zip(lease)
    };
    Kid {
        stuck,
        claim: Claim {
            base: if each.is_some() { figures.host } else { floor },
            weight: if each.is_some() {
                i64::from(figures.count) * (1000 + i64::from(figures.overshoot_permille))
            } else {
                0
            },
            floor,
            need,
            most,
        },
        ceiling,
        report,
        is_heard,
        fenced: fenced.filter(|watts| silent && *watts >= Watts::ZERO),
        leaves: on_site.is_none(),
    }
}

/// What a node's hardware is like: by its agent's word, as far as that is there.
#[derive(Debug, Clone, Copy)]
pub struct Hardware {
    /// The most that it draws beside its accelerators.
    pub host: Watts,
    /// Its accelerators.
    pub count: u32,
    /// The lowest limit that each takes.
    pub min: Watts,
    /// The highest.
    pub max: Watts,
    /// How far each draws above it.
    pub overshoot_permille: u32,
}

impl Hardware {
    /// The hardware behind a NodePower.
    #[must_use]
    pub fn of(power: &NodePower, profiles: &[crate::api::AcceleratorProfile], model: Option<&str>) -> Self {
        let said = power.status.as_ref().map(|status| status.accelerators.as_slice()).unwrap_or_default();
        let known: Device = device(profiles, model.unwrap_or_default());
        let host = Watts(power.spec.host_max_watts);
        let count = u32::try_from(power.spec.accelerators).unwrap_or(0).max(u32::try_from(said.len()).unwrap_or(0));
        let overshoot_permille = u32::try_from(power.spec.overshoot_permille).unwrap_or(0);
        // without a model the ceiling says what each takes
        let by_ceiling = (Watts(power.spec.ceiling_watts) - host).less_permille(overshoot_permille);
        let each = by_ceiling.0.checked_div(i64::from(count)).map_or(Watts::ZERO, Watts);
        let max = said.iter().filter_map(|gpu| gpu.max_watts).max().map_or(each, |max| Watts(max).max(each));
        let min = said.iter().filter_map(|gpu| gpu.min_watts).max().map_or(known.min, Watts).min(max);
        Self { host, count, min, max, overshoot_permille }
    }

    /// What the node can draw with this limit on each accelerator.
    #[must_use]
    pub fn at(&self, limit: Watts) -> Watts {
        self.host + limit.times(self.count).plus_permille(self.overshoot_permille)
    }
}

/// The nodes on which accelerators are in use, with the most that one of them was granted.
fn busy(snapshot: &Snapshot) -> BTreeMap<&str, Watts> {
    let mut granted: BTreeMap<&str, Watts> = BTreeMap::new();
    for (_, grant) in snapshot.grants() {
        if let Some(each) = grant.watts.checked_div(i64::from(grant.accelerators)) {
            granted.insert(grant.uid.as_str(), Watts(each));
        }
    }
    let mut busy: BTreeMap<&str, Watts> = BTreeMap::new();
    for pod in snapshot.pods.iter().filter(|pod| job::is_alive(pod)) {
        let Some(node) = job::node(pod).filter(|_| pod.spec.as_ref().is_some_and(|spec| job::gpus(spec) > 0)) else {
            continue;
        };
        let uid = pod.metadata.labels.as_ref().and_then(|all| all.get(crate::api::labels::CONTROLLER_UID));
        // what nobody declared may want all
        let each = uid.and_then(|uid| granted.get(uid.as_str())).copied().unwrap_or(Watts(i64::MAX / 8));
        let most = busy.entry(node).or_insert(Watts::ZERO);
        *most = (*most).max(each);
    }
    busy
}

/// Does a lease give everything back?
#[must_use]
pub fn is_release(figures: &LeaseFigures, ceiling: Watts) -> bool {
    figures.rows.is_empty() && figures.safe_watts >= ceiling.0 && figures.watts >= ceiling.0
}
