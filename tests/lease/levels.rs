//! Levels: a site of 4 feeds a row, with one node in it, and a node beside the row. Who has 3 leaves 1 to the other. The row's
//! controller reads what the site's ledger offers, which may be an older state of it, and tells it what it accepted. With more
//! levels the row feeds a rack in the same way, and the node is in that.

use super::groups::{breaks, stays};
use super::site::flat;
use heliotrope::core::lease::{
    Above, Cap, Child, Facts, Figures, Input, Kept, Lease, Ledger, Node, Report, Rule, Rules, Terms, allot,
};
use heliotrope::units::{BootMillis, Millis, Watts};
use stateright::{Checker, Model, Property};
use std::collections::BTreeMap;
use std::sync::Arc;

const CAP: Cap = Cap { version: 1, watts: Watts(4) };
/// The children of the site's ledger; each one below has one child, the next or the node.
const BELOW: u8 = 0;
const BESIDE: u8 = 1;
/// How often all say and lease until everything is settled.
const fn settling(depth: usize) -> usize {
    4 * depth
}
/// Heartbeats that a node has sent then.
const fn sent(depth: usize) -> u64 {
    settling(depth) as u64 + 1
}
const BEGINNING: BootMillis = BootMillis(0);

#[derive(Debug, Clone)]
pub struct Levels {
    rules: Rules,
    /// Domains below the site.
    depth: usize,
    /// Of each ledger, from the site down.
    writes: Vec<usize>,
    beats: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// All that was ever written, the newest last: the site's, and those below it.
    ledgers: Vec<Vec<Arc<Ledger<u8>>>>,
    /// The node in the row, the node beside it.
    nodes: [Node; 2],
    reports: [Report; 2],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The site's controller gives the 3 to one of its children.
    Site(u8),
    /// The controller of a domain below, on the n-th state of the ledger above it, gives its child all or the least.
    Below(usize, usize, bool),
    Read(usize, usize),
    Beat(usize),
}

impl Levels {
    fn write(
        &self,
        ledger: &Ledger<u8>,
        facts: &Facts,
        children: Vec<(u8, Report, Figures)>,
    ) -> Option<Arc<Ledger<u8>>> {
        let children: BTreeMap<u8, Child> = children
            .into_iter()
            .map(|(key, report, wish)| {
                let (ceiling, report) = (Watts(4), Some(report));
                let child = Child {
                    ceiling,
                    report,
                    is_heard: true,
                    wish,
                    steps: Vec::new(),
                    fenced: None,
                    leaves: false,
                    anew: false,
                };
                (key, child)
            })
            .collect();
        let terms = Terms { life: Millis(1_000_000), renew_after: u64::MAX };
        let made = allot(ledger, facts, &children, &[], &terms, self.rules);
        made.changed.then(|| Arc::new(made.ledger))
    }

    fn site(&self, state: &State, favoured: u8) -> Option<Arc<Ledger<u8>>> {
        let ledger = state.ledgers[0].last()?;
        let wish = |child: u8| if child == favoured { flat(3, 1) } else { flat(1, 1) };
        let facts = Facts { cap: CAP, baseline: Watts(0), unguarded_reboots: 0, released: false, above: None };
        let below = state.ledgers[1].last()?.report(Watts(0), self.rules);
        self.write(ledger, &facts, vec![(BELOW, below, wish(BELOW)), (BESIDE, state.reports[1].clone(), wish(BESIDE))])
    }

    fn below(&self, state: &State, level: usize, read: usize, all: bool) -> Option<Arc<Ledger<u8>>> {
        let offered = state.ledgers[level - 1][read].entries.get(&BELOW).and_then(|entry| entry.lease.clone());
        let facts = Facts {
            cap: CAP,
            baseline: Watts(0),
            unguarded_reboots: 0,
            released: false,
            above: Some(Above { offered, cap: CAP.watts }),
        };
        let wish = if all { flat(3, 1) } else { flat(1, 1) };
        let report = match state.ledgers.get(level + 1) {
            Some(next) => next.last()?.report(Watts(0), self.rules),
            None => state.reports[0].clone(),
        };
        self.write(state.ledgers[level].last()?, &facts, vec![(BELOW, report, wish)])
    }

    fn lease(state: &State, node: usize, n: usize) -> Option<&Lease> {
        let (ledger, key) = if node == 0 { (state.ledgers.last()?, BELOW) } else { (&state.ledgers[0], BESIDE) };
        ledger.get(n)?.entries.get(&key)?.lease.as_ref()
    }
}

fn take(node: &mut Node, lease: &Lease) {
    let after = node.number();
    node.step(BEGINNING, &Input::Offered { lease, after });
    let enforced = node.limit();
    node.step(BEGINNING, &Input::ReadBack { enforced });
}

impl Model for Levels {
    type State = State;
    type Action = Event;

    /// The row has 3, and its node has them.
    fn init_states(&self) -> Vec<State> {
        let lawful = Self { rules: Rules::ALL, ..self.clone() };
        let begin = |watts: i64| {
            let mut node = Node::start(
                self.rules,
                Millis(1_000_000),
                Kept { boot: 1, ..Kept::default() },
                (1, 1),
                Watts(watts),
                Some(BEGINNING),
                BEGINNING,
            );
            node.step(BEGINNING, &Input::Heard { sent: BEGINNING, cap: CAP });
            node
        };
        let mut nodes = [begin(3), begin(1)];
        let reports = nodes.each_mut().map(|node| node.heartbeat(BEGINNING));
        let mut state = State { ledgers: vec![vec![Arc::default()]; self.depth + 1], nodes, reports };
        // the row says what is in it, the site leases, the row accepts and leases in turn, everyone acknowledges
        for _ in 0..settling(self.depth) {
            for level in (1..=self.depth).rev() {
                if let Some(ledger) = lawful.below(&state, level, 0, true) {
                    state.ledgers[level] = vec![ledger];
                }
            }
            if let Some(ledger) = lawful.site(&state, BELOW) {
                state.ledgers[0] = vec![ledger];
            }
            for node in 0..2 {
                if let Some(lease) = Self::lease(&state, node, 0).cloned() {
                    take(&mut state.nodes[node], &lease);
                }
                state.reports[node] = state.nodes[node].heartbeat(BEGINNING);
            }
        }
        vec![state]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        if state.ledgers[0].len() <= self.writes[0] {
            events.extend([Event::Site(BELOW), Event::Site(BESIDE)]);
        }
        for level in 1..=self.depth {
            if state.ledgers[level].len() <= self.writes[level] {
                for read in 0..state.ledgers[level - 1].len() {
                    events.extend([Event::Below(level, read, true), Event::Below(level, read, false)]);
                }
            }
        }
        for (node, level) in [(0, self.depth), (1, 0)] {
            events.extend((0..state.ledgers[level].len()).map(|n| Event::Read(node, n)));
            if state.nodes[node].number() < sent(self.depth) + self.beats {
                events.push(Event::Beat(node));
            }
        }
    }

    fn next_state(&self, last: &State, event: Event) -> Option<State> {
        let mut state = last.clone();
        match event {
            Event::Site(favoured) => {
                let ledger = self.site(&state, favoured)?;
                state.ledgers[0].push(ledger);
            }
            Event::Below(level, read, all) => {
                let ledger = self.below(&state, level, read, all)?;
                state.ledgers[level].push(ledger);
            }
            Event::Read(node, n) => {
                let lease = Self::lease(&state, node, n)?.clone();
                take(&mut state.nodes[node], &lease);
            }
            Event::Beat(node) => {
                let report = state.nodes[node].heartbeat(BEGINNING);
                if (Report { beat: state.reports[node].beat, ..report.clone() }) == state.reports[node] {
                    return None;
                }
                state.reports[node] = report;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("under the cap", |_, state: &State| {
                state.nodes.iter().map(Node::limit).sum::<Watts>() <= CAP.watts
            }),
            Property::always("under a cap that falls", |_, _| true),
            Property::sometimes("a node draws more than at first", |_, state: &State| {
                state.nodes[1].limit() > Watts(1)
            }),
        ]
    }
}

pub const LEVEL_RULES: [Rule; 2] = [Rule::ChildrenAcknowledgeFirst, Rule::SpendWhatIsAccepted];

/// The levels, and that they need their rules.
pub fn levels(name: &str, depth: usize, writes: &[usize], beats: u64, rules: &[Rule]) {
    let levels = Levels { rules: Rules::ALL, depth, writes: writes.to_vec(), beats };
    let checker = stays(name, levels.clone());
    checker.assert_any_discovery("a node draws more than at first");
    for rule in rules {
        breaks(&format!("{name} without {rule:?}"), Levels { rules: Rules::ALL.without(*rule), ..levels.clone() });
    }
}

#[test]
fn a_row_spends_what_it_accepted() {
    levels("two levels", 1, &[3, 3], 2, &LEVEL_RULES);
}

#[test]
fn a_rack_in_a_row_spends_what_it_accepted() {
    levels("three levels", 2, &[2, 3, 3], 1, &LEVEL_RULES);
}
