//! The checker against what writes ledgers: random domains over many writes, in which it must find nothing; the same writes with
//! something changed in them, of which it must tell; and writes without one of the rules.

use super::dolls::{Write, writes};
use heliotrope::core::lease::{
    Beat, Cap, Child, Entry, Facts, Fault, Figures, Lease, Ledger, Report, Row, Rule, Rules, Step, Terms, allot,
};
use heliotrope::units::{Millis, Watts};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Whatever has happened: once all children take and acknowledge what they are leased, and wishes stay, nothing more is written.
fn settles(seed: u64) -> bool {
    let rounds = 40;
    let Some(Write { new: mut ledger, mut facts, mut children, .. }) = writes(seed, rounds, Rules::ALL).pop() else {
        return true;
    };
    facts.cap.version += 1000;
    let terms = Terms { life: Millis(60_000), renew_after: u64::MAX };
    for (key, child) in &mut children {
        (child.is_heard, child.anew) = (true, false);
        child.steps.truncate(usize::from(key % 2 == 0));
    }
    for _ in 0..12 {
        for (key, child) in &mut children {
            let lease = ledger.entries.get(key).and_then(|entry| entry.lease.as_ref());
            let accepted = child.report.as_ref().map_or(0, |report| report.accepted);
            let report = child.report.get_or_insert(Report {
                beat: Beat { instance: 1, number: 1 },
                acknowledged: 0,
                accepted: 0,
                steps_passed: 0,
                held: None,
                enforced: Watts(0),
                cap: None,
                fallen: false,
            });
            if let Some(lease) = lease.filter(|lease| lease.sequence > accepted) {
                (report.acknowledged, report.accepted) = (lease.sequence, lease.sequence);
                (report.held, report.enforced) = (Some(lease.figures.clone()), lease.figures.watts);
                (report.steps_passed, report.fallen) = (0, false);
            }
        }
        let made = allot(&ledger, &facts, &children, &[], &terms, Rules::ALL);
        if !made.changed {
            return true;
        }
        ledger = made.ledger;
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_checker_finds_nothing_in_what_is_written(seed in any::<u64>(), rounds in 1..60_usize) {
        for (n, write) in writes(seed, rounds, Rules::ALL).into_iter().enumerate() {
            let faults = write.faults();
            prop_assert!(faults.is_empty(), "write {n}: {faults:?}\n{:?}\n{:?}\n{:?}\n{:?}", write.old, write.new, write.facts, write.children);
        }
    }
}

/// Something changed in a good write; false where this write has no place for it.
type Mutation = fn(&mut Write) -> bool;

/// The first entry that a lease is published to in this write, and that has a reserve.
fn published(write: &mut Write) -> Option<(u8, &mut Lease, &mut Figures)> {
    let old = &write.old.entries;
    write.new.entries.iter_mut().find_map(|(key, entry)| {
        let before = old.get(key).and_then(|entry| entry.lease.as_ref());
        let (lease, reserve) = entry.lease.as_mut().zip(entry.reserve.as_mut())?;
        (Some(&*lease) != before).then_some((*key, lease, reserve))
    })
}

fn in_lease(write: &mut Write, change: fn(&mut Lease)) -> bool {
    published(write).map(|(_, lease, _)| change(lease)).is_some()
}

/// Is charged by its reserve alone, which can't be lower: its first need is the reserve itself.
fn in_reserve(write: &mut Write, change: fn(&mut Figures)) -> bool {
    let Some((key, _, reserve)) = published(write) else { return false };
    let before = reserve.clone();
    change(reserve);
    let is_changed = *reserve != before;
    let child = write.children.get(&key);
    is_changed && child.is_some_and(|child| child.fenced.is_none())
}

const MUTATIONS: [(&str, Mutation); 23] = [
    ("a lease allows 1 W more than its reserve", |write| {
        let Some((_, lease, reserve)) = published(write) else { return false };
        lease.figures.watts = reserve.watts + Watts(1);
        true
    }),
    ("a row of a lease is 1 W above its reserve", |write| {
        let Some((_, lease, reserve)) = published(write) else { return false };
        let Some(row) = lease.figures.rows.last_mut() else { return false };
        row.watts = reserve.worst_at(row.cap, true) + Watts(1);
        lease.figures.watts >= row.watts
    }),
    ("a safe limit is 1 W above its reserve", |write| {
        let Some((_, lease, reserve)) = published(write) else { return false };
        lease.figures.safe = reserve.safe.max(reserve.watts.min(reserve.floor)) + Watts(1);
        lease.figures.watts >= lease.figures.safe && reserve.worst_at(Watts(0), true) < lease.figures.safe
    }),
    ("lease and reserve rise above the cap", |write| {
        let cap = write.facts.cap.watts;
        let Some((_, lease, reserve)) = published(write) else { return false };
        for figures in [&mut lease.figures, reserve] {
            figures.watts += cap;
            figures.rows.iter_mut().for_each(|row| row.watts += cap);
        }
        true
    }),
    ("a row rises, and its reserve with it, by the whole cap", |write| {
        let cap = write.facts.cap.watts;
        // up to its floor it makes no difference, since it can't be held to less; up to what it enforces it is no raise
        let least =
            |child: &Child| child.report.as_ref().map_or(Watts(0), |report| report.enforced).max(child.wish.floor);
        let least: BTreeMap<_, Watts> = write.children.iter().map(|(key, child)| (*key, least(child))).collect();
        let Some((key, lease, reserve)) = published(write) else { return false };
        let least = least[&key];
        for figures in [&mut lease.figures, reserve] {
            let is_more = |last: &&mut Row| last.cap < cap && last.watts + cap > least;
            let Some(last) = figures.rows.last_mut().filter(is_more) else { return false };
            last.watts += cap;
            let most = last.watts;
            figures.rows.iter_mut().for_each(|row| row.watts = row.watts.max(most));
            figures.watts = figures.watts.max(most);
        }
        true
    }),
    ("a reserve is its new lease, and older ones are forgotten", |write| {
        let Some((key, lease, reserve)) = published(write) else { return false };
        let (is_wider, figures) = (reserve.watts > lease.figures.watts, lease.figures.clone());
        *reserve = figures;
        let fenced = write.children.get(&key).is_some_and(|child| child.fenced.is_some_and(|most| most <= Watts(100)));
        is_wider && !fenced
    }),
    ("the watts of a reserve are 1 W lower", |write| in_reserve(write, |reserve| reserve.watts -= Watts(1))),
    ("the last row of a reserve is gone, and its floor holds there", |write| {
        let Some((key, lease, reserve)) = published(write) else { return false };
        let Some(last) = reserve.rows.pop() else { return false };
        let least = reserve.floor.max(reserve.safe);
        let is_used = lease.figures.at(last.cap) > least && reserve.watts > least;
        is_used && write.children.get(&key).is_some_and(|child| child.fenced.is_none())
    }),
    ("an entry is dropped", |write| {
        let key = write.old.entries.keys().next().copied();
        key.is_some_and(|key| write.new.entries.remove(&key).is_some())
    }),
    ("a reserve is dropped from an entry that had none, and is a lease's", |write| {
        let unknown = write.old.entries.iter().find(|(key, entry)| {
            let child = write.children.get(*key);
            let report = child.and_then(|child| child.report.as_ref());
            let acknowledged = report.zip(entry.lease.as_ref()).is_some_and(|(r, l)| r.acknowledged == l.sequence);
            entry.reserve.is_none() && !acknowledged && child.is_none_or(|child| child.fenced.is_none())
        });
        let Some(key) = unknown.map(|(key, _)| *key) else { return false };
        let Some(entry) = write.new.entries.get_mut(&key) else { return false };
        entry.reserve = entry.lease.as_ref().map(|lease| lease.figures.clone());
        entry.reserve.as_ref().is_some_and(|reserve| reserve.watts < entry.ceiling)
    }),
    ("the sequence stays", |write| {
        write.new.sequence = write.old.sequence;
        true
    }),
    ("the sequence is one that a child has accepted", |write| {
        let accepted = write.children.values().filter_map(|child| child.report.as_ref()).map(|report| report.accepted);
        write.new.sequence = accepted.max().unwrap_or(0);
        write.new.sequence > 0
    }),
    ("a lease has the sequence before", |write| {
        let Some((key, lease, _)) = published(write) else { return false };
        lease.sequence -= 1;
        // the lease before, made out anew: so it was not written at all
        let lease = lease.clone();
        write.old.entries.get(&key).and_then(|entry| entry.lease.as_ref()) != Some(&lease)
    }),
    ("a lease answers a heartbeat that is yet to come", |write| in_lease(write, |lease| lease.answers.number += 1)),
    ("a lease answers another instance", |write| in_lease(write, |lease| lease.answers.instance += 1)),
    ("a lease names a later version of the cap", |write| in_lease(write, |lease| lease.cap.version += 1)),
    ("steps are in the wrong order", |write| {
        published(write).is_some_and(|(_, lease, _)| {
            lease.steps.reverse();
            lease.steps.len() > 1
        })
    }),
    ("a lower offer is acknowledged before it fits", |write| {
        let accepted = write.new.accepted.as_mut().filter(|accepted| accepted.acknowledged != accepted.lease.sequence);
        accepted.map(|accepted| accepted.acknowledged = accepted.lease.sequence).is_some()
    }),
    ("a child is written to that is not heard", |write| {
        let Some((key, ..)) = published(write) else { return false };
        write.children.get_mut(&key).is_some_and(|child| std::mem::take(&mut child.is_heard))
    }),
    ("a child is written to that has heard of a newer cap", |write| {
        let version = write.facts.cap.version + 1;
        let Some((key, ..)) = published(write) else { return false };
        let report = write.children.get_mut(&key).and_then(|child| child.report.as_mut());
        report.map(|report| report.cap = Some(Cap { version, watts: Watts(1) })).is_some()
    }),
    ("more than was leased is read back, and is not charged", |write| {
        let entry = write.new.entries.values_mut().find(|entry| {
            entry.excess.is_some_and(|excess| entry.reserve.as_ref().is_some_and(|reserve| reserve.watts < excess))
        });
        entry.map(|entry| entry.excess = None).is_some()
    }),
    ("a ceiling is written lower", |write| {
        let entry = write.new.entries.values_mut().next();
        entry.map(|entry| entry.ceiling -= Watts(1)).is_some()
    }),
    ("what is accepted was never offered", |write| {
        let accepted = write.new.accepted.as_mut();
        accepted.map(|accepted| accepted.lease.figures.watts += Watts(1)).is_some()
    }),
];

/// How many of the changed writes are told of, by what is changed: (how many there were, how many of them).
fn mutants(worlds: u64) -> Vec<(&'static str, usize, usize)> {
    let mut counts: Vec<(&str, usize, usize)> = MUTATIONS.iter().map(|(name, _)| (*name, 0, 0)).collect();
    for seed in 0..worlds {
        for write in writes(seed, 40, Rules::ALL) {
            for ((_, mutate), (_, all, told)) in MUTATIONS.iter().zip(&mut counts) {
                let Write { old, new, facts, children } = &write;
                let (old, new, facts, children) = (old.clone(), new.clone(), facts.clone(), children.clone());
                let mut changed = Write { old, new, facts, children };
                if mutate(&mut changed) {
                    *all += 1;
                    *told += usize::from(!changed.faults().is_empty());
                }
            }
        }
    }
    counts
}

#[test]
fn what_is_written_settles() {
    let restless: Vec<u64> = (0..2000).filter(|seed| !settles(*seed)).collect();
    assert!(restless.is_empty(), "{} of 2000: {restless:?}", restless.len());
}

#[test]
fn the_checker_tells_of_what_was_changed_in_a_good_write() {
    let counts = mutants(100);
    for (name, all, told) in &counts {
        println!("{name}: {told} of {all}");
    }
    for (name, all, told) in counts {
        assert!(all > 20, "{name}: {all} only");
        assert_eq!(all, told, "{name}");
    }
}

#[test]
fn the_checker_tells_of_a_step_that_is_forgotten_where_the_sums_do_not_fit() {
    let figures = Figures { watts: Watts(300), rows: Vec::new(), floor: Watts(300), safe: Watts(50) };
    let steps = vec![Step { after: Millis(1000), watts: Watts(100) }];
    let beat = Beat { instance: 1, number: 1 };
    let cap = Cap { version: 1, watts: Watts(400) };
    let lease =
        Lease { sequence: 1, figures: figures.clone(), steps: steps.clone(), life: Millis(60_000), answers: beat, cap };
    let report = Report {
        beat,
        acknowledged: 1,
        accepted: 1,
        steps_passed: 0,
        held: Some(figures.clone()),
        enforced: Watts(300),
        cap: Some(cap),
        fallen: false,
    };
    let (wish, reserve) = (figures.clone(), Some(figures));
    let child = Child {
        ceiling: Watts(300),
        report: Some(report),
        is_heard: true,
        wish,
        steps,
        fenced: None,
        leaves: false,
        anew: false,
    };
    let entry = Entry { ceiling: Watts(300), lease: Some(lease), reserve, excess: None };
    let old = Ledger { sequence: 1, entries: BTreeMap::from([(0, entry)]), accepted: None };
    let mut new = old.clone();
    new.sequence = 2;
    new.entries.values_mut().flat_map(|entry| &mut entry.lease).for_each(|lease| lease.sequence = 2);
    for (baseline, steps, faults) in [(100, true, 0), (101, true, 0), (100, false, 0), (101, false, 1)] {
        let facts = Facts { cap, baseline: Watts(baseline), unguarded_reboots: 0, released: false, above: None };
        let mut write =
            Write { old: old.clone(), new: new.clone(), facts, children: BTreeMap::from([(0, child.clone())]) };
        if !steps {
            write.new.entries.values_mut().flat_map(|entry| &mut entry.lease).for_each(|lease| lease.steps.clear());
        }
        let over = Fault::OverCap { child: 0, cap: Watts(400), sum: Watts(401) };
        assert_eq!(write.faults(), vec![over; faults], "baseline {baseline}, steps {steps}");
    }
}

#[test]
fn a_child_whose_fence_is_gone_comes_back_with_an_older_lease() {
    let row = |cap, watts| Row { cap: Watts(cap), watts: Watts(watts) };
    let rows = |high, low| vec![row(1000, high), row(700, low)];
    let held = Figures { watts: Watts(108), rows: rows(108, 80), floor: Watts(14), safe: Watts(59) };
    let figures = Figures { watts: Watts(115), rows: rows(133, 107), ..held.clone() };
    let (beat, cap) = (Beat { instance: 1, number: 9 }, Cap { version: 1, watts: Watts(794) });
    let life = Millis(60_000);
    let lease = Lease { sequence: 9, figures: figures.clone(), steps: Vec::new(), life, answers: beat, cap };
    // while it was fenced at 100, that is what was recorded
    let reserve = Some(Figures::flat(Watts(100)));
    let entry = Entry { ceiling: Watts(409), lease: Some(lease), reserve, excess: None };
    let old = Ledger { sequence: 9, entries: BTreeMap::from([(0, entry)]), accepted: None };
    let report = Report {
        beat,
        acknowledged: 3,
        accepted: 3,
        steps_passed: 0,
        enforced: held.watts,
        held: Some(held),
        cap: None,
        fallen: false,
    };
    let (steps, report) = (Vec::new(), Some(report));
    let child = Child {
        ceiling: Watts(409),
        report,
        is_heard: true,
        wish: figures,
        steps,
        fenced: None,
        leaves: false,
        anew: false,
    };
    // there is room for what is recorded, and for nothing more
    let facts = Facts { cap, baseline: Watts(694), unguarded_reboots: 0, released: false, above: None };
    let children = BTreeMap::from([(0, child)]);
    let terms = Terms { life, renew_after: 10 };
    let new = allot(&old, &facts, &children, &[], &terms, Rules::ALL).ledger;
    assert_eq!(new.entries[&0].lease.as_ref().map(|lease| lease.figures.watts), Some(Watts(100)));
    let faults = Write { old, new, facts, children }.faults();
    assert_eq!(faults, []);
}

/// The rules that the controller's side keeps. Without one of them the checker finds fault with some write.
#[test]
fn the_checker_tells_of_each_rule_that_is_not_kept() {
    for rule in [
        Rule::ReserveAllPublished,
        Rule::AcknowledgedCountsItsOwn,
        Rule::RowsAreRaisesToo,
        Rule::RowsOfAllPublished,
        Rule::SafeCountsInRows,
        Rule::ReadBackCounts,
        Rule::HeldIsReserved,
        Rule::UnheardAtCeiling,
        Rule::ChildrenAcknowledgeFirst,
        Rule::SpendWhatIsAccepted,
        Rule::RebootReserveInEveryRow,
        Rule::RenewalIsNoRaise,
    ] {
        let rules = Rules::ALL.without(rule);
        let (mut all, mut told) = (0, 0);
        let mut first = None;
        for seed in 0..150 {
            for write in writes(seed, 40, rules) {
                let faults = write.faults();
                all += 1;
                told += usize::from(!faults.is_empty());
                first = first.or_else(|| faults.first().map(ToString::to_string));
            }
        }
        println!("without {rule:?}: {told} of {all} writes, such as: {}", first.as_deref().unwrap_or("none"));
        assert!(told > 0, "without {rule:?}: nothing in {all} writes");
    }
}
