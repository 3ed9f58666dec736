//! A whole site in virtual time: the controller's own books and the nodes' own machines, with nothing between them but objects.
//! Whatever happens, what the hardware of all nodes holds is under every cap, from the correction time of a fall on; and when
//! all is quiet again, the watts are used.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "common/objects.rs"]
mod objects;

use heliotrope::api::{ChildKey, CurtailmentEvent, Mode, NodePower, NodePowerStatus, PowerAllotmentSpec};
use heliotrope::caps::{self, Level};
use heliotrope::controller::leases::books::{Books, Seen};
use heliotrope::controller::leases::memory::Memory;
use heliotrope::controller::leases::nodes::{Write, writes};
use heliotrope::controller::site::Site;
use heliotrope::controller::snapshot::Snapshot;
use heliotrope::core::chance::random;
use heliotrope::core::lease::{Cap, Input, Kept, Lease, Node, Rules, Terms};
use heliotrope::units::{BootMillis, Millis, Moment, Seconds, Watts};
use k8s_openapi::api::core::v1::Pod;
use objects::{NEW_YEAR, domain, node, of, pod};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

const A100: &str = "NVIDIA-A100-SXM4-80GB";
const HOST: i64 = 1000;
/// 8 × 400 W + host.
const CEILING: i64 = HOST + 8 * 400;
/// 8 × 30 % of 400 W + host.
const FLOOR: i64 = HOST + 8 * 120;
const CONTACT: Millis = Millis(25_000);
const CORRECTION: i64 = 30;
const LIFE: Millis = Millis(600_000);
const ROWS: [&str; 2] = ["row-a", "row-b"];
const NODES: usize = 4;

/// Chance that can be replayed.
struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.drawn += 1;
        random(self.seed, self.drawn) % n
    }
}

/// A node: its machine, its disk, its hardware.
struct Host {
    name: String,
    row: &'static str,
    machine: Option<Node>,
    kept: Kept,
    /// What the hardware is held to, whoever lives.
    limit: Watts,
    instance: u64,
    next_beat: i64,
    next_read: i64,
    order: Option<(BootMillis, Watts)>,
}

/// All objects of the store.
#[derive(Clone)]
struct Store {
    version: u64,
    snapshot: Snapshot,
    powers: BTreeMap<String, NodePower>,
    allotments: BTreeMap<String, PowerAllotmentSpec>,
}

struct World {
    store: Store,
    hosts: Vec<Host>,
    memory: Memory,
    second: i64,
    controller: bool,
    /// By domain: the caps that were in force, and since when.
    caps: BTreeMap<&'static str, Vec<(i64, Watts)>>,
    backup: Option<Store>,
    terms: Terms,
    /// Until then a node with nobody alive on it may be above its row, and nobody knows: the controller is dead, or has
    /// not heard everyone yet.
    lame_until: i64,
}

impl World {
    fn new(reboots: i64) -> Self {
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
            json!({"capWatts": 31_000, "mode": "Enforce", "overheadPermille": 50,
            "lowestCapWatts": 20_000}),
        );
        let mut snapshot = Snapshot {
            now: NEW_YEAR,
            domains: vec![site, row("row-a", 16_000, 0), row("row-b", 17_000, 500)],
            ..Snapshot::default()
        };
        let mut hosts = Vec::new();
        for row in ROWS {
            for i in 0..NODES {
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
                });
            }
        }
        let store = Store { version: 1, snapshot, powers: BTreeMap::new(), allotments: BTreeMap::new() };
        let mut world = Self {
            store,
            hosts,
            memory: Memory::default(),
            second: 0,
            controller: true,
            caps: BTreeMap::new(),
            backup: None,
            terms: Terms { life: LIFE, renew_after: 10 },
            lame_until: 0,
        };
        for at in 0..world.hosts.len() {
            world.boot(at);
        }
        world
    }

    fn now(&self) -> BootMillis {
        BootMillis(u64::try_from(self.second).unwrap() * 1000 + 1_000_000)
    }

    fn boot(&mut self, at: usize) {
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

    fn cap(&self, name: &str) -> Watts {
        let domain = self.store.snapshot.domain(name).unwrap();
        caps::at(domain, &self.store.snapshot.events, self.moment()).unwrap()
    }

    fn moment(&self) -> Moment {
        NEW_YEAR + Seconds(self.second)
    }

    fn order(&mut self, domain: &str, cap: i64, seconds: i64) {
        let time = |moment: Moment| moment.to_string();
        let name = format!("event-{}", self.store.snapshot.events.len());
        let event: CurtailmentEvent = of(json!({"metadata": {"name": name}, "spec": {"domain": domain,
            "end": time(self.moment() + Seconds(seconds)), "target": {"capWatts": cap}}}));
        self.store.snapshot.events.push(event);
        self.store.version += 1;
        self.wake();
    }

    /// A node's work ends, or begins again.
    fn work(&mut self, at: usize) {
        let (name, pods) = (self.hosts[at].name.clone(), &mut self.store.snapshot.pods);
        let is_there = |pod: &Arc<Pod>| pod.spec.as_ref().unwrap().node_name.as_ref() == Some(&name);
        match pods.iter().position(is_there) {
            Some(at) => {
                pods.remove(at);
            }
            None => pods.push(pod(None, Some(&name))),
        }
    }

    /// The controller has heard nobody.
    fn begins_anew(&mut self) {
        if self.hosts.iter().any(|host| host.machine.is_none() && host.order.is_none()) {
            self.lame_until = self.second + 60;
        }
    }

    /// A watch tells everyone that something changed.
    fn wake(&mut self) {
        for host in &mut self.hosts {
            host.next_read = host.next_read.min(self.second + 1);
        }
    }

    fn step(&mut self, chance: &mut Chance) {
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
            let chain = ["site", host.row].map(|name| Level {
                domain: store.snapshot.domain(name).unwrap(),
                allotment: store.allotments.get(name),
            });
            if let Ok(watts) = caps::along(&chain, &store.snapshot.events, moment) {
                machine.step(now, &Input::Heard { sent: now, cap: Cap { version: store.version, watts } });
                let child = store.allotments.get(host.row).and_then(|spec| spec.child(&ChildKey::node(&host.name)));
                if let Some(lease) = child.and_then(|child| child.lease.as_ref()) {
                    let after = machine.number();
                    machine.step(now, &Input::Offered { lease: &Lease::from(lease), after });
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
            let mut status = NodePowerStatus::default();
            status.carry(&machine.heartbeat(now));
            power.status = Some(status);
        }
    }

    fn control(&mut self) {
        let now = Millis(u64::try_from(self.second).unwrap() * 1000);
        let store = &mut self.store;
        self.memory.hear(store.powers.values(), now);
        let found: Vec<(String, i64)> =
            store.allotments.iter().map(|(name, spec)| (name.clone(), spec.sequence)).collect();
        self.memory.look(store.version, found.iter().map(|(name, sequence)| (name.as_str(), "uid", *sequence)), now);
        let site = Site::new(&store.snapshot, Seconds(60));
        macro_rules! seen {
            () => {
                Seen {
                    snapshot: &store.snapshot,
                    site: &site,
                    version: store.version,
                    powers: &store.powers,
                    allotments: &store.allotments,
                    now,
                    terms: &self.terms,
                }
            };
        }
        let books = Books::new(&seen!(), &self.memory);
        let mut spendable = BTreeMap::new();
        for (at, book) in books.list.iter().enumerate() {
            let above = book
                .parent
                .as_ref()
                .and_then(|parent| Some((store.allotments.get(parent)?, spendable.get(parent).copied()?)));
            let decided = books.decide(at, &seen!(), &mut self.memory, above);
            spendable.insert(book.domain.clone(), decided.allotted.spendable);
            if decided.allotted.changed {
                let spec = PowerAllotmentSpec::of(&decided.allotted.ledger, decided.allotted.spendable);
                // what is written is what is read
                assert_eq!(spec.ledger(), decided.allotted.ledger);
                self.memory.wrote(&book.domain, "uid", spec.sequence);
                store.allotments.insert(book.domain.clone(), spec);
                store.version += 1;
            }
        }
        let wanted = writes(&seen!(), &self.memory);
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
    }

    /// What the hardware holds, as each domain's feed sees it.
    fn drawn(&self) -> BTreeMap<&'static str, Watts> {
        self.sums(|host| host.limit)
    }

    /// The least that could be brought about: what nobody holds any more stays where it is, the others are at their floors.
    fn least(&self, domain: &str) -> Watts {
        let is_lame = |host: &Host| host.machine.is_none() && host.order.is_none();
        self.sums(|host| if is_lame(host) { host.limit } else { host.limit.min(Watts(FLOOR)) })[domain]
    }

    fn sums(&self, each: impl Fn(&Host) -> Watts) -> BTreeMap<&'static str, Watts> {
        let row = |name: &str, baseline: i64| {
            self.hosts.iter().filter(|host| host.row == name).map(&each).sum::<Watts>() + Watts(baseline)
        };
        let (a, b) = (row("row-a", 0), row("row-b", 500));
        BTreeMap::from([("row-a", a), ("row-b", b), ("site", (a + b).plus_permille(50))])
    }

    /// Each domain is under the highest cap that it had within its correction time.
    fn check(&mut self) {
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
                "{name} at {} s: {drawn} of {cap}\n{}",
                self.second,
                self.tell()
            );
        }
    }

    fn tell(&self) -> String {
        let hosts = self.hosts.iter().map(|host| {
            let lease = host.kept.held.as_ref().map(|held| (held.sequence, held.figures.watts.0));
            format!("{}: {} held {lease:?} alive {}\n", host.name, host.limit, host.machine.is_some())
        });
        let ledgers = self
            .store
            .allotments
            .iter()
            .map(|(name, spec)| format!("{name}: sequence {} spendable {}\n", spec.sequence, spec.spendable_watts));
        hosts.chain(ledgers).collect()
    }

    fn settle(&mut self, seconds: i64, chance: &mut Chance) {
        for _ in 0..seconds {
            self.step(chance);
        }
    }

    fn run(&mut self, seconds: i64, chance: &mut Chance) {
        for _ in 0..seconds {
            self.step(chance);
            self.check();
        }
    }
}

/// A site that was found at full power comes under its caps, and then uses them.
#[test]
fn it_comes_under_its_caps_and_uses_them() {
    let mut chance = Chance::new(1);
    let mut world = World::new(0);
    world.settle(120, &mut chance);
    world.run(60, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] >= Watts(31_000 * 99 / 100), "{drawn:?}\n{}", world.tell());
    // an order of one row, and of all
    world.order("row-a", 12_000, 120);
    world.run(CORRECTION, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["row-a"] >= Watts(12_000 * 99 / 100), "{drawn:?}");
    world.run(40, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] >= Watts(30_400 * 99 / 100), "what row a gives up, row b uses: {drawn:?}\n{}", world.tell());
    world.run(200, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] >= Watts(31_000 * 99 / 100), "{drawn:?}\n{}", world.tell());
}

/// Nothing changes when the controller dies, and a cap that falls is met without it.
#[test]
fn it_holds_with_the_controller_dead() {
    let mut chance = Chance::new(2);
    let mut world = World::new(0);
    world.settle(150, &mut chance);
    let before = world.drawn();
    world.controller = false;
    world.run(300, &mut chance);
    assert_eq!(world.drawn(), before, "no lease ended: nothing is lowered");
    world.order("site", 21_700, 600);
    world.run(120, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] <= Watts(21_700), "{drawn:?}");
    assert!(drawn["site"] >= Watts(21_700 * 85 / 100), "{drawn:?}\n{}", world.tell());
}

/// A node that says nothing when a controller takes over is charged its ceiling. The others share what is left, and don't stay
/// where a curtailment that is over has put them.
#[test]
fn the_others_do_not_wait_for_one_that_is_silent() {
    let mut chance = Chance::new(3);
    let mut world = World::new(0);
    for row in &mut world.store.snapshot.domains[1..] {
        row.spec.lowest_cap_watts = Some(11_000);
    }
    world.settle(150, &mut chance);
    world.order("site", 21_700, 100);
    world.run(40, &mut chance);
    world.hosts[0].machine = None;
    world.memory = Memory::default();
    world.begins_anew();
    world.run(300, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] >= Watts(28_000), "{drawn:?}\n{}", world.tell());
}

/// In Observe everything is given back, at once: sums at the rows of leases that still stand hold nothing up.
#[test]
fn in_observe_everything_is_given_back() {
    let mut chance = Chance::new(4);
    let mut world = World::new(1);
    world.settle(150, &mut chance);
    assert!(world.hosts.iter().all(|host| host.limit < Watts(CEILING)));
    world.store.snapshot.domains[0].spec.mode = Some(Mode::Observe);
    world.settle(60, &mut chance);
    assert!(world.hosts.iter().all(|host| host.limit == Watts(CEILING)), "{}", world.tell());
}

/// Random days: orders, deaths, returns, restored stores.
#[test]
fn whatever_happens_it_is_under_every_cap() {
    let seeds = std::env::var("HELIOTROPE_LEASE_DAYS").ok().and_then(|text| text.parse().ok()).unwrap_or(60_u64);
    for seed in 0..seeds {
        let mut chance = Chance::new(seed);
        let mut world = World::new(i64::try_from(chance.below(2)).unwrap());
        world.settle(150, &mut chance);
        for _ in 0..25 {
            let at = usize::try_from(chance.below(world.hosts.len() as u64)).unwrap();
            match chance.below(11) {
                0 => world.order("site", 20_000 + 1000 * i64::try_from(chance.below(11)).unwrap(), 60),
                1 => world.order("row-a", 9_000 + 1000 * i64::try_from(chance.below(8)).unwrap(), 90),
                2 => world.order("row-b", 10_000 + 1000 * i64::try_from(chance.below(8)).unwrap(), 300),
                3 => {
                    world.hosts[at].machine = None;
                    if chance.below(2) == 0 {
                        world.hosts[at].order = None; // its actuator is dead too: the hardware holds what it has
                    }
                }
                4 => world.boot(at),
                5 => {
                    world.memory = Memory::default();
                    world.controller = true;
                    world.begins_anew();
                }
                6 => world.controller = false,
                7 => world.backup = Some(world.store.clone()),
                // work comes and goes: its watts move to other nodes
                8 | 9 => world.work(at),
                _ => {
                    if let Some(backup) = world.backup.clone() {
                        // orders are people's: they are made again by whoever finds them gone
                        let snapshot = world.store.snapshot.clone();
                        world.store = Store { snapshot, ..backup };
                        world.begins_anew();
                    }
                }
            }
            let seconds = 1 + i64::try_from(chance.below(60)).unwrap();
            world.run(seconds, &mut chance);
        }
        for at in 0..world.hosts.len() {
            if world.hosts[at].machine.is_none() {
                world.boot(at);
            }
            let name = world.hosts[at].name.clone();
            let is_busy = |pod: &Arc<Pod>| pod.spec.as_ref().unwrap().node_name.as_ref() == Some(&name);
            if !world.store.snapshot.pods.iter().any(is_busy) {
                world.work(at);
            }
        }
        world.controller = true;
        world.memory = Memory::default();
        world.run(500, &mut chance);
        let drawn = world.drawn();
        assert!(drawn["site"] >= Watts(24_000), "seed {seed}: it comes back: {drawn:?}\n{}", world.tell());
    }
}
