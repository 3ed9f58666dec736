//! Random domains over many writes, with children that do anything that a node might.

use heliotrope::core::lease::{
    Above, Beat, Cap, Child, Facts, Fault, Figures, Lease, Ledger, Report, Row, Rules, Step, Terms, allot, check,
};
use heliotrope::units::{Millis, Watts};
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
pub struct Write {
    pub old: Ledger<u8>,
    pub new: Ledger<u8>,
    pub facts: Facts,
    pub children: BTreeMap<u8, Child>,
}

impl Write {
    pub fn faults(&self) -> Vec<Fault<u8>> {
        check(&self.old, &self.new, &self.facts, &self.children)
    }
}

/// Everything that is written in a random domain.
pub fn writes(seed: u64, rounds: usize, rules: Rules) -> Vec<Write> {
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
        let facts =
            Facts { cap: Cap { version, ..cap }, baseline, unguarded_reboots, released: false, above: above.clone() };
        let anew: Vec<u8> = dolls.keys().copied().filter(|_| chance.once_in(5)).collect();
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
                    anew: anew.contains(key),
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
