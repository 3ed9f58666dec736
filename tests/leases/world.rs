//! The site: its objects, its nodes' machines and hardware, and an oracle that looks at the hardware alone.

use crate::objects::{NEW_YEAR, domain, job, node, of, pod, runs};
use heliotrope::api::{
    AcceleratorPower, AcceleratorShare, ChildKey, CurtailmentEvent, NodePower, NodePowerStatus, PowerAllotmentSpec,
};
use heliotrope::caps::{self, Level};
use heliotrope::controller::curtail;
use heliotrope::controller::leased::{DomainLeases, Leases};
use heliotrope::controller::leases::books::{Books, Mode};
use heliotrope::controller::leases::memory::Memory;
use heliotrope::controller::leases::nodes::{Write, is_given_back, writes};
use heliotrope::controller::leases::ramp;
use heliotrope::controller::leases::seen::Seen;
use heliotrope::controller::leases::view::view;
use heliotrope::controller::site::Site;
use heliotrope::controller::snapshot::Snapshot;
use heliotrope::core::chance::random;
use heliotrope::core::lease::{Cap, Input, Kept, Lease, Node, Rules, Terms, Why};
use heliotrope::units::{BootMillis, Millis, Moment, Seconds, Watts};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const A100: &str = "NVIDIA-A100-SXM4-80GB";
pub const HOST: i64 = 1000;
/// 8 × 400 W + host.
pub const CEILING: i64 = HOST + 8 * 400;
/// 8 × 30 % of 400 W + host.
pub const FLOOR: i64 = HOST + 8 * 120;
pub const CONTACT: Millis = Millis(25_000);
pub const CORRECTION: i64 = 30;
pub const LIFE: Millis = Millis(600_000);
pub const ROWS: [&str; 2] = ["row-a", "row-b"];
pub const NODES: usize = 4;

/// Chance that can be replayed.
pub struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.drawn += 1;
        random(self.seed, self.drawn) % n
    }
}

/// A node: its machine, its disk, its hardware.
pub struct Host {
    pub name: String,
    pub row: &'static str,
    pub machine: Option<Node>,
    pub kept: Kept,
    /// What the hardware is held to, whoever lives.
    pub limit: Watts,
    pub instance: u64,
    pub next_beat: i64,
    pub next_read: i64,
    pub order: Option<(BootMillis, Watts)>,
    /// Its accelerators and the pod that has each, as its agent says; none while it does not know.
    pub accelerators: Vec<AcceleratorPower>,
    /// The limits of single accelerators that came with its lease.
    pub shares: Vec<AcceleratorShare>,
}

/// All objects of the store.
#[derive(Clone)]
pub struct Store {
    pub version: u64,
    pub snapshot: Snapshot,
    pub powers: BTreeMap<String, NodePower>,
    pub allotments: BTreeMap<String, PowerAllotmentSpec>,
}

pub struct World {
    pub store: Store,
    pub hosts: Vec<Host>,
    pub memory: Memory,
    pub second: i64,
    /// Which day this is.
    pub seed: u64,
    pub controller: bool,
    /// By domain: the caps that were in force, and since when.
    pub caps: BTreeMap<&'static str, Vec<(i64, Watts)>>,
    pub backup: Option<Store>,
    pub terms: Terms,
    /// Until then a node with nobody alive on it may be above its row, and nobody knows: the controller is dead, or has
    /// not heard everyone yet.
    pub lame_until: i64,
    /// What the controller says of each child.
    pub told: BTreeMap<ChildKey, String>,
    /// What a node draws under its limit.
    pub draws: fn(Watts) -> Watts,
    /// What people see.
    pub shown: BTreeMap<String, DomainLeases>,
    /// By row: the domains above it, and it.
    pub chains: BTreeMap<&'static str, Vec<&'static str>>,
}

impl World {
    pub fn new(reboots: i64) -> Self {
        Self::of(reboots, NODES)
    }

    /// Rows of so many nodes, with caps in proportion.
    pub fn of(reboots: i64, nodes: usize) -> Self {
        let scaled = |cap: i64| cap * i64::try_from(nodes / NODES).unwrap();
        let class = json!([{"name": "dgx", "matchLabels": {}, "hostIdleWatts": 500, "hostMaxWatts": HOST}]);
        let row = |name: &str, cap: i64, baseline: i64| {
            domain(
                name,
                json!({"capWatts": cap, "parent": "site", "nodeSelector": {"matchLabels": {"row": name}},
                "nodeClasses": class, "baseline": {"maxWatts": baseline}, "rebootReserveNodes": reboots,
                "lowestCapWatts": cap * 55 / 100}),
            )
        };
        let site = domain(
            "site",
            json!({"capWatts": scaled(31_000), "mode": "Enforce", "overheadPermille": 50,
            "lowestCapWatts": scaled(20_000)}),
        );
        let mut snapshot = Snapshot {
            now: NEW_YEAR,
            domains: vec![site, row("row-a", scaled(16_000), 0), row("row-b", scaled(17_000), 500)],
            ..Snapshot::default()
        };
        let point =
            |limit: i64, work: i64| json!({"limitWatts": limit, "drawWatts": limit, "throughputPermille": work});
        // an answer is not faster above 200 W
        snapshot.profiles.push(of(json!({"metadata": {"name": "serving"}, "spec": {"deviceModel": A100,
            "workloadClasses": ["Serving"], "points": [point(120, 500), point(200, 1000)], "minWatts": 120, "maxWatts": 400,
            "idleWatts": 60, "source": "this test"}})));
        let mut hosts = Vec::new();
        for row in ROWS {
            for i in 0..nodes {
                let name = format!("{row}-{i}");
                snapshot.nodes.push(node(&name, row, A100));
                snapshot.pods.push(pod(None, Some(&name)));
                hosts.push(Host {
                    name,
                    row,
                    machine: None,
                    kept: Kept::default(),
                    limit: Watts(CEILING),
                    instance: 0,
                    next_beat: 0,
                    next_read: 0,
                    order: None,
                    accelerators: Vec::new(),
                    shares: Vec::new(),
                });
            }
        }
        let store = Store { version: 1, snapshot, powers: BTreeMap::new(), allotments: BTreeMap::new() };
        let mut world = Self {
            store,
            hosts,
            memory: Memory::default(),
            second: 0,
            seed: 0,
            controller: true,
            caps: BTreeMap::new(),
            backup: None,
            terms: Terms { life: LIFE, renew_after: 10 },
            lame_until: 0,
            told: BTreeMap::new(),
            draws: |limit| limit,
            shown: BTreeMap::new(),
            chains: ROWS.map(|row| (row, vec!["site", row])).into(),
        };
        for at in 0..world.hosts.len() {
            world.boot(at);
        }
        world
    }

    fn now(&self) -> BootMillis {
        BootMillis(u64::try_from(self.second).unwrap() * 1000 + 1_000_000)
    }

    pub fn boot(&mut self, at: usize) {
        let now = self.now();
        let host = &mut self.hosts[at];
        host.instance += 1;
        // the actuator's order ends one contact time after the last read that was answered
        let contact = host.order.map(|(ends, _)| BootMillis(ends.0.saturating_sub(CONTACT.0)));
        let boot = (1, host.instance + 1000 * u64::try_from(at).unwrap());
        let kept = Kept { boot: 1, ..host.kept.clone() };
        host.machine = Some(Node::start(Rules::ALL, CONTACT, kept, boot, host.limit, contact, now));
        (host.next_beat, host.next_read) = (self.second, self.second);
    }

    pub fn cap(&self, name: &str) -> Watts {
        let domain = self.store.snapshot.domain(name).unwrap();
        caps::at(domain, &self.store.snapshot.events, self.moment()).unwrap()
    }

    pub fn moment(&self) -> Moment {
        NEW_YEAR + Seconds(self.second)
    }

    pub fn order(&mut self, domain: &str, cap: i64, seconds: i64) {
        self.announce(domain, cap, 0, seconds);
    }

    /// Orders a domain down in so many seconds, for so many.
    pub fn announce(&mut self, domain: &str, cap: i64, after: i64, seconds: i64) {
        let time = |moment: Moment| moment.to_string();
        let name = format!("event-{}", self.store.snapshot.events.len());
        let (start, end) = (self.moment() + Seconds(after), self.moment() + Seconds(after + seconds));
        let mut spec = json!({"domain": domain, "end": time(end), "target": {"capWatts": cap}});
        if after > 0 {
            spec["start"] = json!(time(start));
        }
        let metadata = json!({"name": name, "creationTimestamp": time(self.moment())});
        let event: CurtailmentEvent = of(json!({"metadata": metadata, "spec": spec}));
        self.store.snapshot.events.push(event);
        self.store.version += 1;
        self.wake();
    }

    /// A node's work ends, or begins again.
    pub fn work(&mut self, at: usize) {
        let (name, pods) = (self.hosts[at].name.clone(), &mut self.store.snapshot.pods);
        let is_there = |pod: &Arc<Pod>| pod.spec.as_ref().unwrap().node_name.as_ref() == Some(&name);
        match pods.iter().position(is_there) {
            Some(at) => {
                pods.remove(at);
            }
            None => pods.push(pod(None, Some(&name))),
        }
    }

    /// The agent of a node knows that its pod has the first so many of its eight accelerators.
    pub fn knows(&mut self, at: usize, known: usize) {
        let gpu = |i: usize| AcceleratorPower {
            uuid: format!("GPU-{at}-{i}"),
            pod: (i < known).then(|| "team/pod".to_owned()),
            ..AcceleratorPower::default()
        };
        self.hosts[at].accelerators = (0..8).map(gpu).collect();
    }

    /// A node's work is a Job of its own, with this LLMWorkload.
    pub fn employ(&mut self, at: usize, mut spec: serde_json::Value) {
        let (name, uid) = (format!("job-{at}"), format!("uid-job-{at}"));
        spec["workloadRef"] = json!({"apiVersion": "batch/v1", "kind": "Job", "name": name});
        let node = self.hosts[at].name.clone();
        let snapshot = &mut self.store.snapshot;
        snapshot.pods.retain(|pod| pod.spec.as_ref().unwrap().node_name.as_ref() != Some(&node));
        snapshot.pods.push(pod(Some(&uid), Some(&node)));
        snapshot.jobs.push(job(&name, runs));
        snapshot.workloads.push(of(json!({"metadata": {"name": name, "namespace": "team"}, "spec": spec})));
    }

    /// The controller has heard nobody.
    pub fn begins_anew(&mut self) {
        if self.hosts.iter().any(|host| host.machine.is_none() && host.order.is_none()) {
            self.lame_until = self.second + 60;
        }
    }

    /// A watch tells everyone that something changed.
    pub fn wake(&mut self) {
        for host in &mut self.hosts {
            host.next_read = host.next_read.min(self.second + 1);
        }
    }

    pub fn step(&mut self, chance: &mut Chance) {
        self.second += 1;
        self.store.version += 1;
        self.store.snapshot.now = self.moment();
        for name in ["site", "row-a", "row-b"] {
            let cap = self.cap(name);
            let history = self.caps.entry(name).or_default();
            if history.last().map(|(_, last)| *last) != Some(cap) {
                history.push((self.second, cap));
            }
        }
        for at in 0..self.hosts.len() {
            self.agent(at, chance);
        }
        if self.controller {
            self.control();
        }
    }

    fn agent(&mut self, at: usize, chance: &mut Chance) {
        let (now, moment) = (self.now(), self.moment());
        let host = &mut self.hosts[at];
        let Some(machine) = &mut host.machine else {
            // the actuator lets the limit fall when its order ends
            if let Some((ends, fall)) = host.order
                && now >= ends
            {
                host.limit = host.limit.min(fall);
            }
            return;
        };
        machine.step(now, &Input::Tick);
        if host.next_read <= self.second {
            host.next_read = self.second + 4 + i64::try_from(chance.below(4)).unwrap();
            let store = &self.store;
            let level = |name: &&'static str| Level {
                domain: store.snapshot.domain(name).unwrap(),
                allotment: store.allotments.get(*name),
            };
            let chain: Vec<Level<'_>> = self.chains[host.row].iter().map(level).collect();
            if let Ok(watts) = caps::along(&chain, &store.snapshot.events, moment) {
                machine.step(now, &Input::Heard { sent: now, cap: Cap { version: store.version, watts } });
                let child = store.allotments.get(host.row).and_then(|spec| spec.child(&ChildKey::node(&host.name)));
                if let Some(lease) = child.and_then(|child| child.lease.as_ref()) {
                    let after = machine.number();
                    let answer = machine.step(now, &Input::Offered { lease: &Lease::from(lease), after });
                    if matches!(answer.why, Why::Accepted { .. }) {
                        host.shares = child.map(|child| child.shares.clone()).unwrap_or_default();
                    }
                }
            }
        }
        host.limit = machine.limit();
        let enforced = host.limit;
        machine.step(now, &Input::ReadBack { enforced });
        // kept before it is acknowledged
        host.kept = machine.kept().clone();
        if let (Some(ends), fall) = machine.order() {
            host.order = host.kept.held.as_ref().map(|_| (ends, fall));
        }
        let Some(power) = self.store.powers.get_mut(&host.name) else { return };
        let lowered = power.status.as_ref().is_some_and(|status| status.enforced_watts > enforced.0);
        if host.next_beat <= self.second || lowered {
            host.next_beat = self.second + 16 + i64::try_from(chance.below(8)).unwrap();
            let (accelerators, draw_watts) = (host.accelerators.clone(), (self.draws)(host.limit).0);
            let mut status = NodePowerStatus { accelerators, draw_watts, ..NodePowerStatus::default() };
            status.carry(&machine.heartbeat(now));
            power.status = Some(status);
        }
    }

    pub fn control(&mut self) {
        let now = Millis(u64::try_from(self.second).unwrap() * 1000);
        let store = &mut self.store;
        self.told.clear();
        self.memory.hear(store.powers.values(), now);
        let found: Vec<(String, i64)> =
            store.allotments.iter().map(|(name, spec)| (name.clone(), spec.sequence)).collect();
        self.memory.look(store.version, found.iter().map(|(name, sequence)| (name.as_str(), "uid", *sequence)), now);
        let site = Site::new(&store.snapshot, ramp::horizon(&store.snapshot.domains));
        let mut seen = Seen {
            snapshot: &store.snapshot,
            site: &site,
            version: store.version,
            powers: &store.powers,
            allotments: std::mem::take(&mut store.allotments),
            now,
            terms: &self.terms,
        };
        let books = Books::new(&seen, &self.memory);
        let mut spendable = BTreeMap::new();
        for (at, book) in books.list.iter().enumerate() {
            let above = book
                .parent
                .as_ref()
                .and_then(|parent| Some((seen.allotments.get(parent)?, spendable.get(parent).copied()?)));
            let decided = books.decide(at, &seen, &mut self.memory, above);
            self.told.extend(decided.allotted.told.iter().map(|(key, told)| (key.clone(), told.to_string())));
            assert_eq!(
                decided.faults,
                [],
                "seed {}: {} at {} s\nbefore {:#?}\nafter {:#?}",
                self.seed,
                book.domain,
                self.second,
                seen.allotments.get(&book.domain).map(|spec| spec.ledger(book.parent.as_deref())),
                decided.allotted.ledger
            );
            if std::env::var_os("HELIOTROPE_LEASE_TELL").is_some() && self.second % 3 == 0 {
                let wishes: Vec<i64> = decided.wishes.figures.iter().map(|figures| figures.watts.0).collect();
                eprintln!(
                    "{} s {}: wishes {wishes:?} spendable {}",
                    self.second, book.domain, decided.allotted.spendable
                );
            }
            self.shown.insert(book.domain.clone(), view(&books, at, &decided, &seen, &self.memory));
            spendable.insert(book.domain.clone(), decided.allotted.spendable);
            if decided.allotted.changed {
                let spec = PowerAllotmentSpec::of(
                    &decided.allotted.ledger,
                    book.parent.as_deref(),
                    decided.allotted.spendable,
                    &decided.shares,
                );
                // what is written is what is read
                assert_eq!(spec.ledger(book.parent.as_deref()), decided.allotted.ledger);
                self.memory.wrote(&book.domain, "uid", spec.sequence);
                seen.allotments.insert(book.domain.clone(), spec);
                store.version += 1;
            }
        }
        let wanted = writes(&seen, &self.memory, &Leases::default());
        store.allotments = seen.allotments;
        for write in wanted {
            match write {
                Write::Make(power) => {
                    store.powers.insert(power.metadata.name.clone().unwrap(), *power);
                }
                Write::Change { name, spec } => store.powers.get_mut(&name).unwrap().spec = spec,
                Write::Remove { name } => {
                    store.powers.remove(&name);
                }
                Write::Taint { .. } => {}
            }
        }
        for event in &mut store.snapshot.events {
            let leases = self.shown.get(&event.spec.domain);
            if let Some((limits, _)) = curtail::limits(event, leases, store.snapshot.now) {
                event.status.get_or_insert_default().limits = Some(limits);
            }
        }
        for book in books.list.iter().filter(|book| book.mode == Mode::Release) {
            let Some(spec) = store.allotments.get(&book.domain) else { continue };
            if is_given_back(spec, &store.powers) {
                store.allotments.remove(&book.domain);
                store.powers.retain(|_, power| power.spec.domain != book.domain);
                self.memory.released(&book.domain);
            }
        }
    }

    /// What is drawn, as each domain's feed sees it.
    pub fn metered(&self) -> BTreeMap<&'static str, Watts> {
        self.sums(|host| (self.draws)(host.limit))
    }

    /// What the hardware holds, as each domain's feed sees it.
    pub fn drawn(&self) -> BTreeMap<&'static str, Watts> {
        self.sums(|host| host.limit)
    }

    /// The least that could be brought about: what nobody holds any more stays where it is, a node whose agent is dead goes to
    /// what its actuator was told, the others are at their floors. Where that is above a cap, a domain is left what rounding
    /// takes: four watts for each node, in its row and above it.
    pub fn least(&self, domain: &str) -> Watts {
        self.sums(|host| match (&host.machine, host.order) {
            (Some(_), _) => host.limit.min(Watts(FLOOR + 4)),
            (None, Some((_, fall))) => host.limit.min(fall),
            (None, None) => host.limit,
        })[domain]
    }

    fn sums(&self, each: impl Fn(&Host) -> Watts) -> BTreeMap<&'static str, Watts> {
        let row = |name: &str, baseline: i64| {
            self.hosts.iter().filter(|host| host.row == name).map(&each).sum::<Watts>() + Watts(baseline)
        };
        let (a, b) = (row("row-a", 0), row("row-b", 500));
        BTreeMap::from([("row-a", a), ("row-b", b), ("site", (a + b).plus_permille(50))])
    }

    /// Each domain is under the highest cap that it had within its correction time.
    pub fn check(&mut self) {
        let is_lame = |host: &Host| host.machine.is_none() && host.order.is_none();
        if self.hosts.iter().any(is_lame) && !self.controller {
            self.lame_until = self.lame_until.max(self.second + 60);
        }
        if self.second < self.lame_until {
            return;
        }
        for (name, drawn) in self.drawn() {
            let history = &self.caps[name];
            let until = |i: usize| history.get(i + 1).map_or(i64::MAX / 2, |(at, _)| *at);
            let recent = (0..history.len()).filter(|i| until(*i) + CORRECTION > self.second);
            let cap = recent.map(|i| history[i].1).max().unwrap();
            assert!(
                drawn <= cap.max(self.least(name)),
                "seed {}: {name} at {} s: {drawn} of {cap}\n{}",
                self.seed,
                self.second,
                self.tell()
            );
        }
    }

    pub fn tell(&self) -> String {
        let hosts = self.hosts.iter().map(|host| {
            let lease = host.kept.held.as_ref().map(|held| (held.sequence, held.figures.watts.0));
            format!("{}: {} held {lease:?} alive {}\n", host.name, host.limit, host.machine.is_some())
        });
        let ledgers = self
            .store
            .allotments
            .iter()
            .map(|(name, spec)| format!("{name}: sequence {} spendable {}\n", spec.sequence, spec.spendable_watts));
        let told = self.told.iter().map(|(key, told)| format!("{key}: {told}\n"));
        hosts.chain(ledgers).chain(told).collect()
    }

    pub fn settle(&mut self, seconds: i64, chance: &mut Chance) {
        for _ in 0..seconds {
            self.step(chance);
        }
    }

    pub fn run(&mut self, seconds: i64, chance: &mut Chance) {
        for _ in 0..seconds {
            self.step(chance);
            self.check();
        }
    }
}
