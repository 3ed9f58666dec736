//! What people see of the leases of a domain.

use super::books::{Book, Books, Decided, Mode};
use super::memory::Memory;
use super::nodes::strays;
use super::seen::{SILENT, Seen};
use super::wish::Wishes;
use crate::api::{ChildKey, ChildKind};
use crate::controller::leased::DomainLeases;
use crate::core::lease::Told;
use crate::units::Watts;

/// Children that one allotment holds: a bound of its schema. Rows of at most 64 are written and read more quickly.
const MOST_NODES: usize = 256;

/// What draws less than so many hundredths of its limit is held by its work, and not by its limit.
const HELD_PERCENT: u32 = 80;

/// What is drawn in a domain and in all that it feeds, by the agents' word. All watts are as its feed sees them.
struct Drawn {
    watts: Watts,
    /// What of it no limit holds: of those at their highest or lowest, or who take far less than they have.
    loose: Watts,
    /// What nodes are to have above what they have taken yet.
    rising: Watts,
    /// All of them have said so of late.
    is_known: bool,
}

impl Drawn {
    fn nothing() -> Self {
        let zero = Watts::ZERO;
        Self { watts: zero, loose: zero, rising: zero, is_known: true }
    }

    fn add(&mut self, other: &Self) {
        self.watts += other.watts;
        self.loose += other.loose;
        self.rising += other.rising;
        self.is_known &= other.is_known;
    }
}

fn drawn(books: &Books, book: &Book, seen: &Seen<'_>, memory: &Memory) -> Drawn {
    let (watts, rising) = (book.facts.baseline, memory.owed(&book.domain));
    let mut sum = Drawn { watts, rising, ..Drawn::nothing() };
    for (key, kid) in book.kids() {
        let below = books.list.iter().find(|book| key.kind == ChildKind::Domain && book.domain == key.name);
        let child = match (key.kind, below) {
            (ChildKind::Domain, Some(below)) => drawn(books, below, seen, memory),
            // it is gone from here, or nothing is leased in it
            (ChildKind::Domain, None) => Drawn { is_known: false, ..Drawn::nothing() },
            (ChildKind::Node, _) => {
                let status = seen.powers.get(&key.name).and_then(|power| power.status.as_ref());
                let (watts, enforced) = status
                    .map_or((Watts::ZERO, Watts::ZERO), |said| (Watts(said.draw_watts), Watts(said.enforced_watts)));
                let lease = seen.allotments.get(&book.domain).and_then(|spec| spec.child(key)?.lease.as_ref());
                let leased = lease.map_or(enforced, |lease| Watts(lease.figures.watts));
                // at its lowest limit hardware passes it, at its highest nothing is held
                let is_between = kid.claim.floor < enforced && enforced < kid.claim.most;
                let is_held = is_between && watts >= enforced.percent(HELD_PERCENT);
                Drawn {
                    watts,
                    loose: if is_held { Watts::ZERO } else { watts },
                    rising: (leased - enforced).max(Watts::ZERO),
                    is_known: book.is_heard(key) && memory.silent_for(&key.name, seen.now) < SILENT,
                }
            }
        };
        sum.add(&child);
    }
    let before = |watts: Watts| book.before_losses(watts);
    Drawn { watts: before(sum.watts), loose: before(sum.loose), rising: before(sum.rising), ..sum }
}

/// What is to be said of a domain.
#[must_use]
pub fn view(books: &Books, at: usize, decided: &Decided, seen: &Seen<'_>, memory: &Memory) -> DomainLeases {
    let book = &books.list[at];
    let facts = &decided.facts;
    let charged = |(key, entry): (&ChildKey, &crate::core::lease::Entry)| {
        let own = entry.charged().watts;
        if book.is_heard(key) { own } else { own.max(entry.ceiling) }
    };
    let sum: Watts = decided.allotted.ledger.entries.iter().map(charged).sum();
    let nodes: Vec<&ChildKey> = book.children().filter(|key| key.kind == ChildKind::Node).collect();
    let silent = nodes
        .iter()
        .filter(|key| !book.is_heard(key) || memory.silent_for(&key.name, seen.now) >= SILENT)
        .map(|key| key.name.clone())
        .collect();
    let drawn = drawn(books, book, seen, memory);
    let is_kept = book.mode == Mode::Keep;
    let waits = decided.allotted.told.iter().filter_map(|(key, told)| match told {
        Told::Waits(_) | Told::StaleRead { .. } | Told::NothingIsOffered => Some(format!("{key}: {told}")),
        _ => None,
    });
    let strays = strays(seen, &book.domain);
    let many = (nodes.len() > MOST_NODES).then(|| {
        format!(
            "{} nodes are more than the {MOST_NODES} that one domain is leased to: split it into rows under it",
            nodes.len()
        )
    });
    let Wishes { safe_sum: safe, lowest, .. } = decided.wishes;
    let barks = &decided.barks;
    let too_slow = barks.reaction_p99.filter(|_| barks.too_slow).map(|p99| {
        format!(
            "it comes under a cap that falls within {} s in 99 of 100 cases, and its correction time is {} s: nothing is raised in it for a day after the last of these",
            p99.0.div_ceil(1000),
            book.correction.0 / 1000
        )
    });
    let action = seen.snapshot.domain(&book.domain).and_then(|domain| domain.spec.exception_action).unwrap_or_default();
    let unsafe_sum = (is_kept && safe > lowest).then(|| {
        format!(
            "with every node at its safe limit {safe} could be drawn, above the lowest cap of {lowest}: the floors are {}; raise lowestCapWatts, or have fewer nodes here",
            book.floors()
        )
    });
    let rated = book.rated();
    let cap = facts.cap.watts;
    let cold_start = (is_kept && rated > cap && facts.unguarded_reboots > 0).then(|| {
        format!(
            "if all nodes came back from a reboot at once they could draw {rated} under a cap of {cap} until their agents act: give every node the boot guard and set rebootReserveNodes to 0"
        )
    });
    DomainLeases {
        committed: book.before_losses(sum + facts.baseline),
        drawn: drawn.watts,
        loose: drawn.loose,
        rising: drawn.rising,
        is_metered: drawn.is_known,
        wants_more: decided.wants_more,
        silent,
        nodes: nodes.len(),
        waits: many.into_iter().chain(waits).chain(strays).collect(),
        infeasible: too_slow.or(unsafe_sum),
        over: barks.over.map(|over| (over, action)),
        reaction_p99: barks.reaction_p99,
        watt_seconds_over: barks.watt_seconds_over,
        cold_start,
    }
}
