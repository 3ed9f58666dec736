//! A site as a model: one domain, its ledger, its nodes with their hardware, and everything that can happen to them in any
//! order. The ledger and the nodes are `heliotrope::core::lease` itself; what is modelled is what lies around them.

use heliotrope::core::lease::{
    Cap, Child, Facts, Figures, Input, Kept, Ledger, Node, Report, Row, Rules, Step, Terms, allot,
};
use heliotrope::units::{BootMillis, Millis, Watts};
use stateright::{Model, Property};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What may happen, and how often. Times are half ticks, so that a slow clock can be half as fast as a true one.
#[derive(Debug, Clone)]
pub struct Site {
    pub rules: Rules,
    /// Of each node: the most that its hardware draws, and how far its clock moves on in a tick (2 is true).
    pub nodes: Vec<(i64, u64)>,
    /// What the nodes hold at the beginning.
    pub first: Vec<Figures>,
    /// What the controller may come to want, all nodes at once.
    pub wishes: Vec<Vec<Figures>>,
    /// The domain's caps: the first at the beginning; it may change to any of them.
    pub caps: Vec<i64>,
    pub cap_changes: u8,
    /// Ticks that a node may be above a cap that fell.
    pub correction: u8,
    /// A deaf node falls after so long.
    pub contact: u64,
    pub life: u64,
    pub ticks: u8,
    pub writes: u8,
    pub beats: u8,
    pub crashes: u8,
    pub lost_disks: u8,
    pub reboots: u8,
    pub unguarded_reboots: usize,
    /// How often a driver may be loaded again, on one node at a time: its limit is the card's own until the agent reads it back.
    pub reloads: u8,
    /// Does an agent set again what it reads back higher?
    pub sets_again: bool,
    /// Leases are renewed after so many heartbeats; 0: never, and a node sends one only where it has something new to say.
    pub renews: u64,
    /// Does an actuator let a dead agent's order go when it ends?
    pub actuators: bool,
    /// Ledgers that may be delivered: all that were ever written, or the newest only.
    pub replays: bool,
    /// Controllers that read, think and swap each for themselves. One alone reads and swaps in a single step.
    pub controllers: usize,
    /// The caps may be read from a cache that is a change behind.
    pub stale_caps: bool,
    /// A report may be read from a cache that is one behind, of each node for itself.
    pub stale_reports: bool,
    /// Does a swap look at what is there?
    pub compares: bool,
    /// How many nodes may cease to hear of the caps, though leases still reach them. Others read them at every tick at least.
    pub deaf: u8,
    /// Is what a node keeps on its disk before it goes on?
    pub keeps: bool,
    /// How often etcd may be restored from a backup.
    pub restores: u8,
    /// Later reductions that leases carry, at first and with each wish; none where the list ends.
    pub first_steps: Vec<Step>,
    pub steps: Vec<Vec<Step>>,
}

impl Site {
    /// Nothing happens but heartbeats, writes and deliveries.
    pub fn calm(nodes: Vec<(i64, u64)>, cap: i64, first: Vec<Figures>) -> Self {
        Self {
            rules: Rules::ALL,
            nodes,
            first,
            wishes: Vec::new(),
            caps: vec![cap],
            cap_changes: 0,
            correction: 0,
            contact: 1_000_000,
            life: 1_000_000,
            ticks: 0,
            writes: 3,
            beats: 3,
            crashes: 0,
            lost_disks: 0,
            reboots: 0,
            unguarded_reboots: 0,
            reloads: 0,
            sets_again: true,
            renews: 0,
            actuators: true,
            replays: false,
            controllers: 1,
            stale_caps: false,
            stale_reports: false,
            compares: true,
            deaf: 0,
            keeps: true,
            restores: 0,
            first_steps: Vec::new(),
            steps: Vec::new(),
        }
    }
}

/// The same watts at every cap, over a safe limit.
pub fn flat(watts: i64, safe: i64) -> Figures {
    Figures { watts: Watts(watts), rows: Vec::new(), floor: Watts(watts), safe: Watts(safe) }
}

/// Watts at a domain's full cap, and what stays of them when the cap falls to `low`.
pub fn rows(watts: i64, (cap, low): (i64, i64), row: i64, safe: i64) -> Figures {
    let at = |cap, watts| Row { cap: Watts(cap), watts: Watts(watts) };
    Figures {
        watts: Watts(watts),
        rows: vec![at(cap, watts), at(low, row)],
        floor: Watts(row.min(1)),
        safe: Watts(safe),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub time: u8,
    /// The caps by when they began, the one in force last.
    pub caps: Vec<(u8, Cap)>,
    pub ledger: Arc<Ledger<u8>>,
    /// What is there to be delivered.
    published: Vec<Arc<Ledger<u8>>>,
    reports: Vec<Option<Report>>,
    /// The ones before them, where a cache may still have them.
    reports_before: Vec<Option<Report>>,
    heard: Vec<bool>,
    /// What a controller has decided and not swapped yet, and the sequence it read.
    prepared: Vec<Option<(u64, Arc<Ledger<u8>>)>>,
    pub nodes: Vec<Place>,
    /// What was written last when it was made, and the objects of then.
    backup: Option<Backup>,
    /// What was written after it, and is no more.
    lost: Vec<Arc<Ledger<u8>>>,
    writes: u8,
    crashes: u8,
    lost_disks: u8,
    reboots: u8,
    reloads: u8,
    restores: u8,
}

type Backup = (usize, Arc<Ledger<u8>>, Vec<Option<Report>>);

/// A node with its hardware.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    agent: Option<Node>,
    disk: Kept,
    pub hardware: i64,
    /// The order that the actuator holds.
    ends: Option<BootMillis>,
    falls_to: i64,
    clock: u64,
    boot: u64,
    instance: u64,
    beats: u8,
    is_deaf: bool,
    /// Its driver was loaded again, and the agent has not read it back.
    is_reloaded: bool,
    /// When it sent its last heartbeat.
    said_at: u64,
    /// Until this heartbeat, an answer of the ledger that was lost may still be under way.
    lost_after: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    Beat(usize),
    /// A controller decides on a wish with the cap that it read, counted from the newest, and with old reports of some nodes (one
    /// bit each); one alone swaps at once.
    Decide(usize, usize, usize, usize),
    Swap(usize),
    /// A node reads the n-th ledger that was ever written.
    Read(usize, usize),
    /// It crashes when it has kept the lease and not set its limits yet.
    ReadAndCrash(usize, usize),
    /// A node is answered by a ledger that was lost, on a read that was sent before.
    ReadLost(usize, usize),
    Hear(usize),
    Deafen(usize),
    Tick,
    Crash(usize),
    Restart(usize),
    LoseDisk(usize),
    Reboot(usize),
    Reload(usize),
    /// The agent reads back what its hardware enforces, and sets it again.
    ReadBack(usize),
    Cap(usize),
    BackUp,
    Restore,
}

impl Place {
    fn now(&self) -> BootMillis {
        BootMillis(self.clock)
    }

    /// One step of the agent, and of the hardware under it.
    fn step(&mut self, input: &Input<'_>, keeps: bool) {
        let now = self.now();
        let Some(agent) = &mut self.agent else { return };
        let answer = agent.step(now, input);
        if answer.keep && keeps {
            self.disk = agent.kept().clone();
        }
        (self.hardware, self.is_reloaded) = (agent.limit().0, false);
        let (ends, falls_to) = agent.order();
        (self.ends, self.falls_to) = (ends, falls_to.0);
        let enforced = Watts(self.hardware);
        agent.step(now, &Input::ReadBack { enforced });
    }

    fn start(&mut self, site: &Site) {
        self.instance += 1;
        let contact = self.ends.map(|ends| BootMillis(ends.0.saturating_sub(site.contact)));
        let agent = Node::start(
            site.rules,
            Millis(site.contact),
            self.disk.clone(),
            (self.boot, self.instance),
            Watts(self.hardware),
            contact,
            self.now(),
        );
        self.agent = Some(agent);
        let now = self.now();
        if let Some(agent) = &mut self.agent {
            self.disk = agent.kept().clone();
            (self.hardware, self.is_reloaded) = (agent.limit().0, false);
            let (ends, falls_to) = agent.order();
            (self.ends, self.falls_to) = (ends, falls_to.0);
            agent.step(now, &Input::ReadBack { enforced: Watts(self.hardware) });
        }
    }
}

impl Site {
    fn facts(&self, cap: Cap) -> Facts {
        Facts { cap, baseline: Watts(0), unguarded_reboots: self.unguarded_reboots, released: false, above: None }
    }

    fn decide(&self, state: &State, wish: usize, cap: Cap, old: usize) -> Option<Arc<Ledger<u8>>> {
        let children: BTreeMap<u8, Child> = (0..self.nodes.len())
            .map(|i| {
                let reports = if old & (1 << i) == 0 { &state.reports } else { &state.reports_before };
                let child = Child {
                    ceiling: Watts(self.nodes[i].0),
                    report: reports[i].clone(),
                    is_heard: state.heard[i],
                    wish: self.wishes[wish][i].clone(),
                    steps: self.steps.get(wish).cloned().unwrap_or_default(),
                    fenced: None,
                    leaves: false,
                    anew: false,
                };
                (u8::try_from(i).unwrap(), child)
            })
            .collect();
        let terms =
            Terms { life: Millis(self.life), renew_after: if self.renews > 0 { self.renews } else { u64::MAX } };
        let made = allot(&state.ledger, &self.facts(cap), &children, &[], &terms, self.rules);
        made.changed.then(|| Arc::new(made.ledger))
    }

    fn swap(&self, state: &mut State, ledger: Arc<Ledger<u8>>) {
        if !self.replays && self.restores == 0 {
            state.published.clear(); // nobody will read it again
        }
        state.published.push(ledger.clone());
        state.ledger = ledger;
        state.writes += 1;
    }

    /// A site in which everyone holds what it holds at first, has acknowledged it and is heard.
    fn settled(&self) -> State {
        let cap = Cap { version: 1, watts: Watts(self.caps[0]) };
        let mut state = State {
            time: 0,
            caps: vec![(0, cap)],
            ledger: Arc::default(),
            published: Vec::new(),
            reports: vec![None; self.nodes.len()],
            reports_before: Vec::new(),
            heard: vec![true; self.nodes.len()],
            prepared: vec![None; self.controllers],
            nodes: Vec::new(),
            backup: None,
            lost: Vec::new(),
            writes: 0,
            crashes: 0,
            lost_disks: 0,
            reboots: 0,
            reloads: 0,
            restores: 0,
        };
        for (i, first) in self.first.iter().enumerate() {
            state.nodes.push(Place {
                agent: None,
                disk: Kept { boot: 1, ..Kept::default() },
                hardware: first.watts.0,
                ends: None,
                falls_to: first.watts.0,
                clock: 0,
                boot: 1,
                instance: 0,
                beats: 0,
                is_deaf: false,
                is_reloaded: false,
                said_at: 0,
                lost_after: 0,
            });
            let node = &mut state.nodes[i];
            node.start(self);
            node.step(&Input::Heard { sent: BootMillis(0), cap }, true);
            state.reports[i] = node.agent.as_mut().map(|agent| agent.heartbeat(BootMillis(0)));
        }
        let (wishes, steps) = (vec![self.first.clone()], vec![self.first_steps.clone()]);
        let lawful = Self { rules: Rules::ALL, wishes, steps, ..self.clone() };
        let ledger = lawful.decide(&state, 0, cap, 0).unwrap();
        self.swap(&mut state, ledger.clone());
        for (i, node) in state.nodes.iter_mut().enumerate() {
            let lease = ledger.entries[&u8::try_from(i).unwrap()].lease.clone().unwrap();
            let after = node.agent.as_ref().unwrap().number();
            node.step(&Input::Offered { lease: &lease, after }, true);
            state.reports[i] = node.agent.as_mut().map(|agent| agent.heartbeat(BootMillis(0)));
        }
        // the reserve is what they acknowledged, as any controller's first look would find it
        let entries = &mut Arc::make_mut(&mut state.ledger).entries;
        for entry in entries.values_mut() {
            let lease = entry.lease.as_ref().unwrap();
            entry.reserve = Some(lease.figures.clone());
        }
        state.published = vec![state.ledger.clone()];
        state.writes = 0;
        if self.stale_reports {
            state.reports_before = state.reports.clone();
        }
        state
    }

    /// The most that may be drawn at this moment: the highest cap within the correction time.
    fn bound(&self, state: &State) -> i64 {
        let from = i16::from(state.time) - i16::from(self.correction);
        let ended = |i: usize| state.caps.get(i + 1).map_or(i16::MAX, |(next, _)| i16::from(*next));
        let counts = state.caps.iter().enumerate().filter(|(i, _)| ended(*i) > from);
        counts.map(|(_, (_, cap))| cap.watts.0).max().unwrap_or(0)
    }
}

impl Model for Site {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        vec![self.settled()]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        for (i, node) in state.nodes.iter().enumerate() {
            if node.agent.is_some() {
                if node.beats < self.beats {
                    events.push(Event::Beat(i));
                }
                let oldest = if self.replays { 0 } else { state.published.len() - 1 };
                for n in 0..state.lost.len() {
                    events.push(Event::ReadLost(i, n));
                }
                for n in oldest..state.published.len() {
                    events.push(Event::Read(i, n));
                    if state.crashes < self.crashes {
                        events.push(Event::ReadAndCrash(i, n));
                    }
                }
                if !node.is_deaf
                    && node.agent.as_ref().is_some_and(|agent| agent.kept().cap != state.caps.last().map(|last| last.1))
                {
                    events.push(Event::Hear(i));
                }
                if !node.is_deaf && state.nodes.iter().filter(|node| node.is_deaf).count() < usize::from(self.deaf) {
                    events.push(Event::Deafen(i));
                }
                if state.crashes < self.crashes {
                    events.push(Event::Crash(i));
                }
            } else {
                events.push(Event::Restart(i));
                if state.lost_disks < self.lost_disks {
                    events.push(Event::LoseDisk(i));
                }
            }
            if state.reboots < self.reboots {
                events.push(Event::Reboot(i));
            }
            if state.reloads < self.reloads && state.nodes.iter().all(|node| !node.is_reloaded) {
                events.push(Event::Reload(i));
            }
            if node.is_reloaded && node.agent.is_some() {
                events.push(Event::ReadBack(i));
            }
        }
        for (controller, prepared) in state.prepared.iter().enumerate() {
            if state.writes < self.writes {
                for wish in 0..self.wishes.len() {
                    for age in 0..=usize::from(self.stale_caps && state.caps.len() > 1) {
                        let olds = state.reports_before.len();
                        events.extend((0..1 << olds).map(|old| Event::Decide(controller, wish, age, old)));
                    }
                }
            }
            if prepared.is_some() {
                events.push(Event::Swap(controller));
            }
        }
        if state.time < self.ticks {
            events.push(Event::Tick);
        }
        if state.caps.len() <= usize::from(self.cap_changes) {
            for (i, cap) in self.caps.iter().enumerate() {
                if state.caps.last().unwrap().1.watts.0 != *cap {
                    events.push(Event::Cap(i));
                }
            }
        }
        if state.restores < self.restores {
            events.push(if state.backup.is_some() { Event::Restore } else { Event::BackUp });
        }
    }

    fn next_state(&self, last: &State, event: Event) -> Option<State> {
        let mut state = last.clone();
        match event {
            Event::Beat(i) => {
                let node = &mut state.nodes[i];
                node.beats += 1;
                let now = node.now();
                let report = node.agent.as_mut().map(|agent| agent.heartbeat(now))?;
                let said = state.reports[i].as_ref();
                let is_news = said.is_none_or(|said| {
                    said.beat.instance != report.beat.instance || Report { beat: said.beat, ..report.clone() } != *said
                });
                if self.renews == 0 && !is_news && state.heard[i] && node.said_at == node.clock {
                    return None;
                }
                node.said_at = node.clock;
                let before = state.reports[i].replace(report);
                if self.stale_reports {
                    state.reports_before[i] = before;
                }
                state.heard[i] = true;
            }
            Event::Decide(controller, wish, age, old) => {
                let cap = state.caps[state.caps.len() - 1 - age].1;
                let ledger = self.decide(&state, wish, cap, old)?;
                if self.controllers == 1 {
                    self.swap(&mut state, ledger);
                } else {
                    state.prepared[controller] = Some((state.ledger.sequence, ledger));
                }
            }
            Event::Swap(controller) => {
                let (read, ledger) = state.prepared[controller].take()?;
                if read == state.ledger.sequence || !self.compares {
                    self.swap(&mut state, ledger);
                }
            }
            Event::Read(i, n) | Event::ReadAndCrash(i, n) => {
                let lease = state.published[n].entries.get(&u8::try_from(i).unwrap())?.lease.clone()?;
                let node = &mut state.nodes[i];
                let before = (node.hardware, node.is_reloaded);
                let after = node.agent.as_ref()?.number();
                node.step(&Input::Offered { lease: &lease, after }, self.keeps);
                if matches!(event, Event::ReadAndCrash(..)) {
                    (node.hardware, node.is_reloaded) = before;
                    node.agent = None;
                    state.crashes += 1;
                }
            }
            Event::ReadLost(i, n) => {
                let lease = state.lost[n].entries.get(&u8::try_from(i).unwrap())?.lease.clone()?;
                let after = state.nodes[i].lost_after;
                state.nodes[i].step(&Input::Offered { lease: &lease, after }, self.keeps);
            }
            Event::Hear(i) => {
                let cap = state.caps.last()?.1;
                let node = &mut state.nodes[i];
                let sent = node.now();
                node.step(&Input::Heard { sent, cap }, self.keeps);
            }
            Event::Deafen(i) => state.nodes[i].is_deaf = true,
            Event::Tick => {
                state.time += 1;
                let cap = state.caps.last()?.1;
                for (node, (_, rate)) in state.nodes.iter_mut().zip(&self.nodes) {
                    node.clock += rate;
                    let sent = node.now();
                    if !node.is_deaf {
                        node.step(&Input::Heard { sent, cap }, self.keeps);
                    }
                    node.step(&Input::Tick, self.keeps);
                    let over = node.ends.is_some_and(|ends| node.now() >= ends);
                    if node.agent.is_none() && over && self.actuators {
                        node.hardware = node.hardware.min(node.falls_to);
                    }
                }
            }
            Event::Crash(i) => {
                state.nodes[i].agent = None;
                state.crashes += 1;
            }
            Event::Restart(i) => state.nodes[i].start(self),
            Event::LoseDisk(i) => {
                state.nodes[i].disk = Kept { boot: state.nodes[i].boot, ..Kept::default() };
                state.lost_disks += 1;
            }
            Event::Reboot(i) => {
                let node = &mut state.nodes[i];
                (node.agent, node.ends, node.clock) = (None, None, 0);
                node.boot += 1;
                node.hardware = self.nodes[i].0;
                state.reboots += 1;
            }
            Event::Reload(i) => {
                let node = &mut state.nodes[i];
                (node.hardware, node.is_reloaded) = (self.nodes[i].0, true);
                state.reloads += 1;
            }
            Event::ReadBack(i) => {
                let node = &mut state.nodes[i];
                let (now, enforced) = (node.now(), Watts(node.hardware));
                let agent = node.agent.as_mut()?;
                agent.step(now, &Input::ReadBack { enforced });
                node.is_reloaded = false;
                if self.sets_again {
                    node.hardware = agent.limit().0;
                }
            }
            Event::Cap(i) => {
                let version = state.caps.last()?.1.version + 1;
                state.caps.push((state.time, Cap { version, watts: Watts(self.caps[i]) }));
            }
            Event::BackUp => {
                state.backup = Some((state.published.len(), state.ledger.clone(), state.reports.clone()));
            }
            Event::Restore => {
                let (written, ledger, reports) = state.backup.take()?;
                (state.ledger, state.reports) = (ledger, reports);
                if self.stale_reports {
                    state.reports_before = state.reports.clone();
                }
                state.lost = state.published.split_off(written);
                for node in &mut state.nodes {
                    node.lost_after = node.agent.as_ref().map_or(0, Node::number);
                }
                state.heard = vec![false; self.nodes.len()];
                state.prepared = vec![None; self.controllers];
                state.restores += 1;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("under the cap", |site: &Self, state: &State| {
                state.nodes.iter().map(|node| node.hardware).sum::<i64>() <= site.bound(state)
            }),
            // what nodes would draw if the cap fell at this moment, without waiting for it to fall
            Property::always("under a cap that falls", |site: &Self, state: &State| {
                site.caps.iter().all(|cap| {
                    let at = |node: &Place| {
                        let held = node.agent.as_ref().and_then(|agent| agent.kept().held.as_ref());
                        held.map_or(0, |held| held.figures.at(Watts(*cap)).0.min(node.hardware))
                    };
                    state.nodes.iter().map(at).sum::<i64>() <= *cap
                })
            }),
            Property::sometimes("a node draws more than at first", |site: &Self, state: &State| {
                state.nodes.iter().zip(&site.first).any(|(node, first)| node.hardware > first.watts.0)
            }),
        ]
    }
}
