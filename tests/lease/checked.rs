//! The checker against what writes ledgers: random domains over many writes, in which it must find nothing; the same writes with
//! something changed in them, of which it must tell; and writes without one of the rules.

use heliotrope::core::lease::{
    Above, Beat, Cap, Child, Facts, Fault, Figures, Lease, Ledger, Report, Row, Rule, Rules, Step, Terms, allot, check,
};
use heliotrope::units::{Millis, Watts};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Chance from a seed (splitmix64), so that a world can be made again from its number.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((bits ^ (bits >> 31)) % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn once_in(&mut self, times: i64) -> bool {
        self.below(times) == 0
    }
}

/// A child that does anything that a node might.
#[derive(Clone)]
struct Doll {
    ceiling: i64,
    instance: u64,
    number: u64,
    accepted: u64,
    held: Option<Lease>,
    is_set: bool,
    passed: usize,
    enforced: i64,
    cap: Option<Cap>,
    report: Option<Report>,
    is_heard: bool,
    fenced: Option<Watts>,
}

impl Doll {
    fn new(chance: &mut Chance) -> Self {
        let ceiling = 300 + chance.below(700);
        let enforced = chance.below(ceiling);
        Self {
            ceiling,
            instance: 1,
            number: 0,
            accepted: 0,
            held: None,
            is_set: false,
            passed: 0,
            enforced,
            cap: None,
            report: None,
            is_heard: false,
            fenced: None,
        }
    }

    fn live(&mut self, lease: Option<&Lease>, cap: Cap, chance: &mut Chance) {
        if let Some(lease) = lease.filter(|lease| lease.sequence > self.accepted && chance.below(3) > 0) {
            (self.accepted, self.held, self.is_set, self.passed) = (lease.sequence, Some(lease.clone()), false, 0);
        }
        if chance.once_in(3) {
            self.cap = Some(cap);
        }
        let steps = self.held.as_ref().map_or(0, |held| held.steps.len());
        if self.passed < steps && chance.once_in(3) {
            self.passed += 1;
            self.is_set = false;
        }
        if let Some(held) = self.held.as_ref().filter(|_| chance.below(4) > 0) {
            let step = held.steps[..self.passed].iter().map(|step| step.watts.0).min().unwrap_or(i64::MAX);
            self.enforced = held.figures.watts.0.min(step);
            self.is_set = true;
        }
        if let Some(held) = self.held.as_ref().filter(|_| chance.once_in(8)) {
            self.enforced = self.enforced.min(held.figures.safe.0);
        }
        if chance.once_in(25) {
            self.enforced = chance.below(self.ceiling); // another has set it
            self.is_set = false;
        }
        if chance.once_in(15) {
            (self.instance, self.number, self.is_set) = (self.instance + 1, 0, false);
            if chance.once_in(3) {
                self.held = None; // a reboot
            }
        }
        if chance.below(4) > 0 {
            self.number += 1;
            let held = self.held.as_ref();
            self.report = Some(Report {
                beat: Beat { instance: self.instance, number: self.number },
                acknowledged: held.filter(|_| self.is_set).map_or(0, |held| held.sequence),
                accepted: self.accepted,
                steps_passed: if self.is_set { u32::try_from(self.passed).unwrap() } else { 0 },
                held: held.map(|held| held.figures.clone()),
                enforced: Watts(self.enforced),
                cap: self.cap,
                fallen: held.is_none_or(|held| self.enforced < held.figures.watts.0),
            });
            self.is_heard = true;
        }
        if chance.once_in(20) {
            self.is_heard = false; // another controller begins
        }
        if chance.once_in(12) {
            self.fenced = (self.fenced.is_none()).then_some(Watts(self.enforced.min(100)));
        }
    }
}

const GRID: [i64; 3] = [1000, 700, 400];

fn wish(chance: &mut Chance, share: i64) -> Figures {
    let watts = chance.below(share * 3 / 2) + 10;
    let mut most = watts;
    let mut rows = vec![Row { cap: Watts(GRID[0]), watts: Watts(watts) }];
    for cap in &GRID[1..1 + usize::try_from(chance.below(3)).unwrap()] {
        most = (most * (40 + chance.below(60)) / 100).max(1);
        rows.push(Row { cap: Watts(*cap), watts: Watts(most) });
    }
    Figures { watts: Watts(watts), rows, floor: Watts(most.min(10 + chance.below(40))), safe: Watts(chance.below(60)) }
}

fn steps(chance: &mut Chance, watts: i64) -> Vec<Step> {
    let first = 1 + chance.below(watts);
    let step = |after, watts| Step { after: Millis(after), watts: Watts(watts) };
    match chance.below(6) {
        0 => vec![step(1000, first)],
        1 => vec![step(1000, first), step(3000, first / 2)],
        2 => vec![step(2000, first), step(90_000, 0)],
        _ => Vec::new(),
    }
}

/// A write with all that it was made from.
struct Write {
    old: Ledger<u8>,
    new: Ledger<u8>,
    facts: Facts,
    children: BTreeMap<u8, Child>,
}

impl Write {
    fn faults(&self) -> Vec<Fault<u8>> {
        check(&self.old, &self.new, &self.facts, &self.children)
    }
}

/// Everything that is written in a random domain.
fn writes(seed: u64, rounds: usize, rules: Rules) -> Vec<Write> {
    let mut chance = Chance(seed);
    let mut ledger: Ledger<u8> = Ledger::default();
    let count = u8::try_from(2 + chance.below(4)).unwrap();
    let mut dolls: BTreeMap<u8, Doll> = (0..count).map(|key| (key, Doll::new(&mut chance))).collect();
    let mut cap = Cap { version: 1, watts: Watts(GRID[0]) };
    let (baseline, unguarded_reboots) = (Watts(chance.below(60)), usize::from(chance.once_in(5)));
    let mut above = chance.once_in(3).then(|| Above { offered: None, cap: Watts(GRID[0]) });
    let mut offers: Vec<Lease> = Vec::new();
    let terms = Terms { life: Millis(60_000), renew_after: 3 };
    let mut backup = ledger.clone();
    let mut wishes: BTreeMap<u8, (Figures, Vec<Step>)> = BTreeMap::new();
    let mut written = Vec::new();
    for _ in 0..rounds {
        if chance.once_in(6) {
            let watts = Watts(if chance.once_in(2) { GRID[0] } else { 300 + chance.below(700) });
            cap = Cap { version: cap.version + 1, watts };
        }
        if let Some(above) = above.as_mut().filter(|_| chance.once_in(3)) {
            let sequence = offers.last().map_or(1, |last| last.sequence + 1);
            let figures = wish(&mut chance, 1000);
            let answers = Beat { instance: 0, number: 1 };
            offers.push(Lease { sequence, figures, steps: Vec::new(), life: terms.life, answers, cap });
            let read = offers.len() - 1 - usize::try_from(chance.below(2)).unwrap().min(offers.len() - 1);
            above.offered = Some(offers[read].clone());
            above.cap = Watts(GRID[usize::try_from(chance.below(3)).unwrap()]);
        }
        if chance.once_in(40) {
            ledger = backup.clone(); // the store is restored
            dolls.values_mut().for_each(|doll| doll.is_heard = false);
        } else if chance.once_in(10) {
            backup = ledger.clone();
        }
        for (key, doll) in &mut dolls {
            let lease = ledger.entries.get(key).and_then(|entry| entry.lease.as_ref());
            doll.live(lease, cap, &mut chance);
            if !wishes.contains_key(key) || chance.once_in(3) {
                let figures = wish(&mut chance, 1000 / i64::from(count));
                let steps = steps(&mut chance, figures.watts.0);
                wishes.insert(*key, (figures, steps));
            }
        }
        let version = cap.version - u64::from(cap.version > 1 && chance.once_in(10));
        let facts = Facts { cap: Cap { version, ..cap }, baseline, unguarded_reboots, above: above.clone() };
        let children: BTreeMap<u8, Child> = dolls
            .iter()
            .map(|(key, doll)| {
                let (wish, steps) = wishes[key].clone();
                let child = Child {
                    ceiling: Watts(doll.ceiling),
                    report: doll.report.clone(),
                    is_heard: doll.is_heard && doll.report.is_some(),
                    wish,
                    steps,
                    fenced: doll.fenced,
                    leaves: false,
                };
                (*key, child)
            })
            .filter(|_| !chance.once_in(60))
            .collect();
        let order: Vec<u8> = if chance.once_in(2) { (0..count).rev().collect() } else { Vec::new() };
        let made = allot(&ledger, &facts, &children, &order, &terms, rules);
        if made.changed {
            written.push(Write { old: ledger.clone(), new: made.ledger.clone(), facts, children });
            if !chance.once_in(5) {
                ledger = made.ledger; // else another was faster
            }
        }
    }
    written
}

/// Whatever has happened: once all children take and acknowledge what they are leased, and wishes stay, nothing more is written.
fn settles(seed: u64) -> bool {
    let rounds = 40;
    let Some(Write { new: mut ledger, mut facts, mut children, .. }) = writes(seed, rounds, Rules::ALL).pop() else {
        return true;
    };
    facts.cap.version += 1000;
    let terms = Terms { life: Millis(60_000), renew_after: u64::MAX };
    for (key, child) in &mut children {
        child.is_heard = true;
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
            figures.watts = figures.watts + cap;
            figures.rows.iter_mut().for_each(|row| row.watts = row.watts + cap);
        }
        true
    }),
    ("a row rises, and its reserve with it, by the whole cap", |write| {
        let cap = write.facts.cap.watts;
        let Some((_, lease, reserve)) = published(write) else { return false };
        for figures in [&mut lease.figures, reserve] {
            let Some(last) = figures.rows.last_mut().filter(|last| last.cap < cap) else { return false };
            last.watts = last.watts + cap;
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
    ("the watts of a reserve are 1 W lower", |write| {
        in_reserve(write, |reserve| reserve.watts = reserve.watts - Watts(1))
    }),
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
    ("a lease has the sequence before", |write| in_lease(write, |lease| lease.sequence -= 1)),
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
        entry.map(|entry| entry.ceiling = entry.ceiling - Watts(1)).is_some()
    }),
    ("what is accepted was never offered", |write| {
        let accepted = write.new.accepted.as_mut();
        accepted.map(|accepted| accepted.lease.figures.watts = accepted.lease.figures.watts + Watts(1)).is_some()
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
    let child =
        Child { ceiling: Watts(300), report: Some(report), is_heard: true, wish, steps, fenced: None, leaves: false };
    let entry = heliotrope::core::lease::Entry { ceiling: Watts(300), lease: Some(lease), reserve, excess: None };
    let old = Ledger { sequence: 1, entries: BTreeMap::from([(0, entry)]), accepted: None };
    let mut new = old.clone();
    new.sequence = 2;
    new.entries.values_mut().flat_map(|entry| &mut entry.lease).for_each(|lease| lease.sequence = 2);
    for (baseline, steps, faults) in [(100, true, 0), (101, true, 0), (100, false, 0), (101, false, 1)] {
        let facts = Facts { cap, baseline: Watts(baseline), unguarded_reboots: 0, above: None };
        let mut write =
            Write { old: old.clone(), new: new.clone(), facts, children: BTreeMap::from([(0, child.clone())]) };
        if !steps {
            write.new.entries.values_mut().flat_map(|entry| &mut entry.lease).for_each(|lease| lease.steps.clear());
        }
        let over = Fault::OverCap { child: 0, cap: Watts(400), sum: Watts(401) };
        assert_eq!(write.faults(), vec![over; faults], "baseline {baseline}, steps {steps}");
    }
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
