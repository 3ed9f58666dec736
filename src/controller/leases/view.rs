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

/// What is drawn in a domain and in all that it feeds, by the agents' word.
struct Drawn {
    /// As its feed sees it.
    watts: Watts,
    /// All of them have said so of late.
    is_known: bool,
    /// None of them waits for what it is to have.
    is_settled: bool,
}

fn drawn(books: &Books, book: &Book, seen: &Seen<'_>, memory: &Memory) -> Drawn {
    let (mut sum, mut is_known) = (book.facts.baseline, true);
    let mut is_settled = !memory.is_waiting(&book.domain);
    for key in book.children() {
        let below = books.list.iter().find(|book| key.kind == ChildKind::Domain && book.domain == key.name);
        let (watts, is_told) = match (key.kind, below) {
            (ChildKind::Domain, Some(below)) => {
                let below = drawn(books, below, seen, memory);
                is_settled &= below.is_settled;
                (below.watts, below.is_known)
            }
            // it is gone from here, or nothing is leased in it
            (ChildKind::Domain, None) => (Watts::ZERO, false),
            (ChildKind::Node, _) => {
                let status = seen.powers.get(&key.name).and_then(|power| power.status.as_ref());
                let is_told = book.is_heard(key) && memory.silent_for(&key.name, seen.now) < SILENT;
                (status.map_or(Watts::ZERO, |status| Watts(status.draw_watts)), is_told)
            }
        };
        (sum, is_known) = (sum + watts, is_known && is_told);
    }
    Drawn { watts: book.before_losses(sum), is_known, is_settled }
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
        is_metered: drawn.is_known,
        wants_more: decided.wants_more && drawn.is_settled,
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
