//! Renewals of a lease that carries a step, as the controller sees them.

use super::site::flat;
use heliotrope::core::lease::{Beat, Cap, Child, Facts, Ledger, Report, Rules, Step, Terms, Told, allot};
use heliotrope::units::{Millis, Watts};
use std::collections::BTreeMap;

const TERMS: Terms = Terms { life: Millis(60_000), renew_after: 3 };

/// Two children under a cap of 400: one that has 300 and is to have 100 soon, and one that may not have been heard.
struct Site {
    ledger: Ledger<u8>,
    children: BTreeMap<u8, Child>,
    facts: Facts,
}

impl Site {
    /// Both have what they are to have, and have acknowledged it.
    fn settled() -> Self {
        let cap = Cap { version: 1, watts: Watts(400) };
        let child = |watts: i64, steps: Vec<Step>| Child {
            ceiling: Watts(300),
            report: Some(Report {
                beat: Beat { instance: 1, number: 1 },
                acknowledged: 0,
                accepted: 0,
                steps_passed: 0,
                held: None,
                enforced: Watts(watts),
                cap: Some(cap),
                fallen: true,
            }),
            is_heard: true,
            wish: flat(watts, 50),
            steps,
            fenced: None,
            leaves: false,
            anew: false,
        };
        let steps = vec![Step { after: Millis(30_000), watts: Watts(100) }];
        let children = BTreeMap::from([(0, child(300, steps)), (1, child(100, Vec::new()))]);
        let facts = Facts { cap, baseline: Watts(0), unguarded_reboots: 0, released: false, above: None };
        let mut site = Self { ledger: Ledger::default(), children, facts };
        site.write();
        for (key, child) in &mut site.children {
            let lease = site.ledger.entries[key].lease.clone().unwrap();
            let report = child.report.as_mut().unwrap();
            (report.acknowledged, report.accepted, report.fallen) = (lease.sequence, lease.sequence, false);
            report.held = Some(lease.figures);
        }
        site
    }

    fn beat(&mut self, number: u64) {
        self.children.get_mut(&0).unwrap().report.as_mut().unwrap().beat.number = number;
    }

    /// What is told of the first child, and whether anything was written.
    fn write(&mut self) -> (Told, bool) {
        let made = allot(&self.ledger, &self.facts, &self.children, &[], &TERMS, Rules::ALL);
        self.ledger = made.ledger;
        (made.told[&0].clone(), made.changed)
    }

    fn leased(&self) -> (i64, usize) {
        let lease = self.ledger.entries[&0].lease.as_ref().unwrap();
        (lease.figures.watts.0, lease.steps.len())
    }
}

#[test]
fn a_lease_with_a_step_is_renewed_when_it_is_due_and_not_before() {
    let mut site = Site::settled();
    for number in 2..4 {
        site.beat(number);
        assert_eq!(site.write(), (Told::Unchanged, false), "heartbeat {number}");
    }
    site.beat(4);
    assert_eq!(site.write(), (Told::Renewed, true));
    assert_eq!(site.leased(), (300, 1));
}

#[test]
fn a_step_is_taken_early_only_where_the_sums_do_not_fit_for_two_thirds_of_a_life() {
    let mut site = Site::settled();
    site.children.get_mut(&1).unwrap().is_heard = false; // it is charged its ceiling of 300
    for number in 2..7 {
        site.beat(number);
        let (told, is_written) = site.write();
        assert!(!is_written, "heartbeat {number}: {told}");
        assert_eq!(matches!(told, Told::Waits(_)), number >= 4, "heartbeat {number}: {told}");
    }
    site.beat(7);
    assert!(matches!(site.write(), (Told::Waits(_), true)));
    assert_eq!(site.leased(), (100, 1));

    // and it goes up again, by the sums, when the other is heard
    site.children.get_mut(&1).unwrap().is_heard = true;
    assert_eq!(site.write(), (Told::Raised, true));
    assert_eq!(site.leased(), (300, 1));
}

#[test]
fn nothing_is_written_to_a_child_that_is_fenced() {
    let mut site = Site::settled();
    site.children.get_mut(&0).unwrap().fenced = Some(Watts(120));
    assert_eq!(site.write(), (Told::NotHeard, false));
    assert_eq!(site.leased().0, 300, "nobody is there to take it, and what it can draw is known");
}
