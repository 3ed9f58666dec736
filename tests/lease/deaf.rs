//! A row tells the domain above that less is drawn in it by those who hear nothing when they have acknowledged it.

use super::site::flat;
use heliotrope::core::lease::{
    Above, Beat, Cap, Child, Facts, Fault, Figures, Lease, Ledger, Report, Rules, Terms, allot, check,
};
use heliotrope::units::{Millis, Watts};
use std::collections::BTreeMap;

const TERMS: Terms = Terms { life: Millis(60_000), renew_after: 10 };
const CAP: Cap = Cap { version: 1, watts: Watts(1000) };

fn offer(sequence: u64, safe: i64) -> Above {
    let figures = Figures { watts: Watts(400), rows: Vec::new(), floor: Watts(60), safe: Watts(safe) };
    let answers = Beat { instance: 0, number: 0 };
    let lease = Lease { sequence, figures, steps: Vec::new(), life: TERMS.life, answers, cap: CAP };
    Above { offered: Some(lease), cap: CAP.watts }
}

fn child(safe: i64) -> Child {
    let report = Report {
        beat: Beat { instance: 1, number: 1 },
        acknowledged: 0,
        accepted: 0,
        steps_passed: 0,
        held: None,
        enforced: Watts(200),
        cap: Some(CAP),
        fallen: false,
    };
    Child {
        ceiling: Watts(300),
        report: Some(report),
        is_heard: true,
        wish: flat(200, safe),
        steps: Vec::new(),
        fenced: None,
        leaves: false,
        anew: false,
    }
}

/// Each child has taken what it is leased.
fn hear(ledger: &Ledger<u8>, children: &mut BTreeMap<u8, Child>) {
    for (key, child) in children {
        let (lease, report) = (ledger.entries[key].lease.as_ref().unwrap(), child.report.as_mut().unwrap());
        (report.acknowledged, report.accepted) = (lease.sequence, lease.sequence);
        report.held = Some(lease.figures.clone());
    }
}

#[test]
fn lower_safe_limits_are_acknowledged_when_the_children_have_them() {
    let mut facts =
        Facts { cap: CAP, baseline: Watts(0), unguarded_reboots: 0, released: false, above: Some(offer(1, 100)) };
    let mut children = BTreeMap::from([(0, child(50)), (1, child(50))]);
    let mut ledger = Ledger::default();
    let mut write = |facts: &Facts, children: &BTreeMap<u8, Child>| {
        let new = allot(&ledger, facts, children, &[], &TERMS, Rules::ALL).ledger;
        let old = std::mem::replace(&mut ledger, new.clone());
        (old, new)
    };
    for _ in 0..2 {
        let (_, new) = write(&facts, &children);
        hear(&new, &mut children);
    }
    let (_, settled) = write(&facts, &children);
    assert_eq!(settled.accepted.as_ref().unwrap().acknowledged, 1);

    facts.above = Some(offer(2, 80));
    for child in children.values_mut() {
        child.wish.safe = Watts(40);
    }
    let (old, mut new) = write(&facts, &children);
    let accepted = |ledger: &Ledger<u8>| {
        let accepted = ledger.accepted.as_ref().unwrap();
        (accepted.lease.sequence, accepted.acknowledged)
    };
    assert_eq!(accepted(&new), (2, 1), "they may still be at 50 each when they hear nothing");
    let heard = new.clone();
    new.accepted.as_mut().unwrap().acknowledged = 2;
    let faults = check(&old, &new, &facts, &children);
    assert_eq!(faults, [Fault::DeafAboveSafe { sequence: 2, safe: Watts(80), sum: Watts(100) }]);

    hear(&heard, &mut children);
    let (_, new) = write(&facts, &children);
    assert_eq!(accepted(&new), (2, 2));
}
