//! Two levels: a site of 4 feeds a row, with one node in it, and a node beside the row. Who has 3 leaves 1 to the other. The
//! row's controller reads what the site's ledger offers, which may be an older state of it, and tells it what it accepted.

use super::groups::{breaks, stays};
use super::site::flat;
use heliotrope::core::lease::{
    Above, Cap, Child, Facts, Figures, Input, Kept, Lease, Ledger, Node, Report, Rule, Rules, Terms, allot,
};
use heliotrope::units::{BootMillis, Millis, Watts};
use stateright::{Checker, Model, Property};
use std::collections::BTreeMap;

const CAP: Cap = Cap { version: 1, watts: Watts(4) };
/// The children of the site's ledger; the row's has one child, its node.
const ROW: u8 = 0;
const BESIDE: u8 = 1;
/// Heartbeats that a node has sent when all is settled.
const SENT: u64 = 5;
const BEGINNING: BootMillis = BootMillis(0);

#[derive(Debug, Clone)]
pub struct Levels {
    rules: Rules,
    writes: usize,
    beats: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// All that was ever written, the newest last: the site's, the row's.
    ledgers: [Vec<Ledger<u8>>; 2],
    /// The node in the row, the node beside it.
    nodes: [Node; 2],
    reports: [Report; 2],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The site's controller gives the 3 to one of its children.
    Site(u8),
    /// The row's controller, on the n-th state of the site's ledger, gives its node all or the least.
    Row(usize, bool),
    Read(usize, usize),
    Beat(usize),
}

impl Levels {
    fn write(&self, ledger: &Ledger<u8>, facts: &Facts, children: Vec<(u8, Report, Figures)>) -> Option<Ledger<u8>> {
        let children: BTreeMap<u8, Child> = children
            .into_iter()
            .map(|(key, report, wish)| {
                let (ceiling, report) = (Watts(4), Some(report));
                let child =
                    Child { ceiling, report, is_heard: true, wish, steps: Vec::new(), fenced: None, leaves: false };
                (key, child)
            })
            .collect();
        let terms = Terms { life: Millis(1_000_000), renew_after: u64::MAX };
        let made = allot(ledger, facts, &children, &[], &terms, self.rules);
        made.changed.then_some(made.ledger)
    }

    fn site(&self, state: &State, favoured: u8) -> Option<Ledger<u8>> {
        let ledger = state.ledgers[0].last()?;
        let wish = |child: u8| if child == favoured { flat(3, 1) } else { flat(1, 1) };
        let facts = Facts { cap: CAP, baseline: Watts(0), unguarded_reboots: 0, above: None };
        let row = state.ledgers[1].last()?.report(Watts(0), self.rules);
        self.write(ledger, &facts, vec![(ROW, row, wish(ROW)), (BESIDE, state.reports[1].clone(), wish(BESIDE))])
    }

    fn row(&self, state: &State, read: usize, all: bool) -> Option<Ledger<u8>> {
        let offered = state.ledgers[0][read].entries.get(&ROW).and_then(|entry| entry.lease.clone());
        let facts = Facts {
            cap: CAP,
            baseline: Watts(0),
            unguarded_reboots: 0,
            above: Some(Above { offered, cap: CAP.watts }),
        };
        let wish = if all { flat(3, 1) } else { flat(1, 1) };
        self.write(state.ledgers[1].last()?, &facts, vec![(0, state.reports[0].clone(), wish)])
    }

    fn lease(state: &State, node: usize, n: usize) -> Option<&Lease> {
        let (ledger, key) = if node == 0 { (&state.ledgers[1], 0) } else { (&state.ledgers[0], BESIDE) };
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
        let mut state = State { ledgers: [vec![Ledger::default()], vec![Ledger::default()]], nodes, reports };
        // the row says what is in it, the site leases, the row accepts and leases in turn, everyone acknowledges
        for _ in 0..4 {
            if let Some(ledger) = lawful.row(&state, 0, true) {
                state.ledgers[1] = vec![ledger];
            }
            if let Some(ledger) = lawful.site(&state, ROW) {
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
        if state.ledgers[0].len() <= self.writes {
            events.extend([Event::Site(ROW), Event::Site(BESIDE)]);
        }
        if state.ledgers[1].len() <= self.writes {
            for read in 0..state.ledgers[0].len() {
                events.extend([Event::Row(read, true), Event::Row(read, false)]);
            }
        }
        for node in 0..2 {
            let ledger = &state.ledgers[1 - node];
            events.extend((0..ledger.len()).map(|n| Event::Read(node, n)));
            if state.nodes[node].number() < SENT + self.beats {
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
            Event::Row(read, all) => {
                let ledger = self.row(&state, read, all)?;
                state.ledgers[1].push(ledger);
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

#[test]
fn a_row_spends_what_it_accepted() {
    let levels = Levels { rules: Rules::ALL, writes: 3, beats: 2 };
    let checker = stays("two levels", levels.clone());
    checker.assert_any_discovery("a node draws more than at first");
    for rule in [Rule::ChildrenAcknowledgeFirst, Rule::SpendWhatIsAccepted] {
        breaks(&format!("without {rule:?}"), Levels { rules: Rules::ALL.without(rule), ..levels.clone() });
    }
}
