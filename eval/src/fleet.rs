//! Servers of eight accelerators under the real protocol, in virtual time: the controller's books, the nodes' machines and the
//! division inside a node are Heliotrope's own code. Only what lies between them is made up: an API server that answers at once,
//! and agents that read every four to eight seconds.

use heliotrope::agent::divide::{Device, Want, whole};
use heliotrope::api::{ChildKey, Measure, NodePower, NodePowerStatus, PowerAllotmentSpec};
use heliotrope::caps::{self, Level};
use heliotrope::controller::curtail;
use heliotrope::controller::leased::Leases;
use heliotrope::controller::leases::books::Books;
use heliotrope::controller::leases::memory::Memory;
use heliotrope::controller::leases::nodes::{Write, writes};
use heliotrope::controller::leases::ramp;
use heliotrope::controller::leases::seen::Seen;
use heliotrope::controller::leases::view::view;
use heliotrope::controller::site::Site;
use heliotrope::controller::snapshot::Snapshot;
use heliotrope::core::chance::random;
use heliotrope::core::lease::{Cap, Input, Kept, Lease, Node, Rules, Terms};
use heliotrope::units::{BootMillis, Millis, Moment, Seconds, Watts};
use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the accelerators are called.
pub const A100: &str = "NVIDIA-A100-SXM4-80GB";
/// Accelerators in a server.
pub const GPUS: u32 = 8;
/// The highest limit of each, in watts.
pub const MAX: i64 = 400;
/// The lowest limit of each, in watts: the lowest of the sweep.
pub const MIN: i64 = 100;
/// A leaf may have 64 nodes (DESIGN §4).
const IN_ROW: usize = 64;
const SITE: &str = "site";
/// How long a node goes without a read of its caps before it falls.
const CONTACT: Millis = Millis(25_000);
/// 2026-01-01T00:00:00Z
const BEGINNING: Moment = Moment(1_767_225_600);

/// An object of the cluster from its fields.
fn of<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("an object of the fleet can't be made: {error}"))
}

/// What a fleet is made of.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The workload of each server, by its number among `profiles`.
    pub servers: Vec<usize>,
    /// The spec of each workload's profile, and its flexibility.
    pub profiles: Vec<(Value, &'static str)>,
    /// The site's cap.
    pub cap: Watts,
    /// The lowest cap that is ever ordered of it.
    pub lowest: Watts,
    /// The most that a server's host draws.
    pub host: Watts,
    /// How far an accelerator passes its limit at worst, in thousandths.
    pub overshoot: u32,
    /// Chance.
    pub seed: u64,
}

struct Host {
    name: String,
    row: String,
    machine: Option<Node>,
    kept: Kept,
    /// What the accelerators are held to, as the node's watts.
    limit: Watts,
    /// What its accelerators draw, as their meters say.
    drawn: Watts,
    instance: u64,
    next_beat: i64,
    next_read: i64,
    /// Until then none of its reads are answered.
    deaf_until: i64,
}

/// The fleet.
pub struct Fleet {
    snapshot: Snapshot,
    /// The pod of each server, whether it is there or not.
    pods: Vec<Arc<Pod>>,
    /// Is it there?
    works: Vec<bool>,
    powers: BTreeMap<String, NodePower>,
    allotments: BTreeMap<String, PowerAllotmentSpec>,
    version: u64,
    hosts: Vec<Host>,
    memory: Memory,
    terms: Terms,
    second: i64,
    /// The controller is dead until then.
    dead_until: i64,
    seed: u64,
    drawn: u64,
    scale: heliotrope::core::divide::Scale,
}

impl Fleet {
    /// Servers that were found at full power.
    ///
    /// # Errors
    /// Where a profile can't be one.
    pub fn new(spec: &Spec) -> Result<Self, String> {
        let scale = heliotrope::core::divide::Scale { host: spec.host, overshoot: spec.overshoot };
        let ceiling = scale.node(Watts(MAX).times(GPUS));
        let class = json!([{"name": "dgx", "matchLabels": {}, "hostIdleWatts": 0, "hostMaxWatts": spec.host.0}]);
        let mut snapshot = Snapshot { now: BEGINNING, ..Snapshot::default() };
        let site = json!({"capWatts": spec.cap.0, "mode": "Enforce", "lowestCapWatts": spec.lowest.0});
        snapshot.domains.push(of(json!({"metadata": {"name": SITE}, "spec": site}))?);
        for (row, servers) in spec.servers.chunks(IN_ROW).enumerate() {
            let (name, count) = (format!("row-{row}"), servers.len());
            let nodes = u32::try_from(count).unwrap_or(u32::MAX);
            let cap = ceiling.times(nodes) + Watts(1000);
            let row = json!({"capWatts": cap.0, "parent": SITE, "nodeClasses": class,
                "nodeSelector": {"matchLabels": {"row": name}}});
            snapshot.domains.push(of(json!({"metadata": {"name": name}, "spec": row}))?);
        }
        for (at, (profile, flexibility)) in spec.profiles.iter().enumerate() {
            snapshot.profiles.push(of(json!({"metadata": {"name": format!("profile-{at}")}, "spec": profile}))?);
            let (name, uid) = (format!("job-{at}"), format!("uid-job-{at}"));
            snapshot.jobs.push(Arc::new(of(json!({"metadata": {"name": name, "namespace": "team", "uid": uid,
                "labels": {"heliotrope.dev/managed": "true"}}, "spec": {"suspend": false, "template": {"spec": {
                "containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}}},
                "status": {"startTime": "2025-12-31T23:30:00Z"}}))?));
            snapshot.workloads.push(of(json!({"metadata": {"name": name, "namespace": "team"}, "spec": {
                "class": "Pretraining", "flexibility": flexibility, "profile": format!("profile-{at}"),
                "workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": name}}}))?);
        }
        let (mut hosts, mut pods) = (Vec::new(), Vec::new());
        for (at, job) in spec.servers.iter().enumerate() {
            let (name, row) = (format!("node-{at:03}"), format!("row-{}", at / IN_ROW));
            snapshot.nodes.push(Arc::new(of(json!({"metadata": {"name": name, "labels": {"row": row,
                "nvidia.com/gpu.product": A100}}, "status": {"allocatable": {"nvidia.com/gpu": "8"},
                "conditions": [{"type": "Ready", "status": "True"}]}}))?));
            pods.push(Arc::new(of(json!({"metadata": {"name": format!("pod-{at}"), "namespace": "team",
                "labels": {"batch.kubernetes.io/controller-uid": format!("uid-job-{job}")}},
                "spec": {"nodeName": name, "containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]},
                "status": {"phase": "Running"}}))?));
            hosts.push(Host {
                name,
                row,
                machine: None,
                kept: Kept::default(),
                limit: ceiling,
                drawn: Watts::ZERO,
                instance: 0,
                next_beat: 0,
                next_read: 0,
                deaf_until: 0,
            });
        }
        snapshot.pods.clone_from(&pods);
        let mut fleet = Self {
            snapshot,
            works: vec![true; pods.len()],
            pods,
            powers: BTreeMap::new(),
            allotments: BTreeMap::new(),
            version: 1,
            hosts,
            memory: Memory::default(),
            terms: Terms { life: Millis(600_000), renew_after: 10 },
            second: 0,
            dead_until: 0,
            seed: spec.seed,
            drawn: 0,
            scale,
        };
        for at in 0..fleet.hosts.len() {
            fleet.boot(at);
        }
        Ok(fleet)
    }

    fn now(&self) -> BootMillis {
        BootMillis(u64::try_from(self.second).unwrap_or(0) * 1000 + 1_000_000)
    }

    fn below(&mut self, n: u64) -> i64 {
        self.drawn += 1;
        i64::try_from(random(self.seed, self.drawn) % n.max(1)).unwrap_or(0)
    }

    /// A node's agent starts again: it has what its disk has.
    pub fn boot(&mut self, at: usize) {
        let now = self.now();
        let host = &mut self.hosts[at];
        host.instance += 1;
        let boot = (1, host.instance + 1000 * u64::try_from(at).unwrap_or(0));
        let kept = Kept { boot: 1, ..host.kept.clone() };
        host.machine = Some(Node::start(Rules::ALL, CONTACT, kept, boot, host.limit, None, now));
        (host.next_beat, host.next_read) = (self.second, self.second);
    }

    /// Says on which servers there is work: pods come and go, and their watts with them.
    pub fn employ(&mut self, works: &[bool]) {
        if self.works != works {
            self.works = works.to_vec();
            let there = self.pods.iter().zip(works).filter(|(_, works)| **works);
            self.snapshot.pods = there.map(|(pod, _)| Arc::clone(pod)).collect();
        }
    }

    /// None of a node's reads are answered for so many seconds.
    pub fn deafen(&mut self, at: usize, seconds: i64) {
        self.hosts[at].deaf_until = self.second + seconds;
    }

    /// The controller dies, and another one begins after so many seconds, knowing nothing but the store.
    pub fn restart_controller(&mut self, after: i64) {
        self.dead_until = self.second + after;
        self.memory = Memory::default();
    }

    /// What each server's accelerators draw: their meters say so from now on.
    pub fn meter(&mut self, drawn: &[f64]) {
        for (host, drawn) in self.hosts.iter_mut().zip(drawn) {
            host.drawn = Watts(*drawn as i64);
        }
    }

    /// Orders the site down to a cap at once, for so many seconds: what can be drawn, or what is drawn.
    ///
    /// # Errors
    /// Never, but where the kind has changed.
    pub fn order(&mut self, cap: Watts, seconds: i64, measure: Measure) -> Result<(), String> {
        let time = |after: i64| (BEGINNING + Seconds(self.second + after)).to_string();
        let (now, end) = (time(0), time(seconds));
        let name = format!("event-{}", self.snapshot.events.len());
        let spec = json!({"domain": SITE, "end": end, "target": {"capWatts": cap.0}, "measure": measure});
        let metadata = json!({"name": name, "creationTimestamp": now});
        self.snapshot.events.push(of(json!({"metadata": metadata, "spec": spec}))?);
        self.version += 1;
        // a watch tells everyone that something has changed
        for host in &mut self.hosts {
            host.next_read = host.next_read.min(self.second + 1);
        }
        Ok(())
    }

    /// The limit of each accelerator of each server, as its node sets them.
    #[must_use]
    pub fn limits(&self) -> Vec<Watts> {
        let device = |i: u32| Device { uuid: format!("GPU-{i}"), min: Watts(MIN), max: Watts(MAX) };
        let devices: Vec<Device> = (0..GPUS).map(device).collect();
        let want = Want::Level(BTreeMap::new());
        let of = |host: &Host| whole(self.scale.limits(host.limit), &devices, &want)[0];
        self.hosts.iter().map(of).collect()
    }

    /// A second passes.
    ///
    /// # Errors
    /// Where the checker of ledgers refuses what the controller has decided: a fault in Heliotrope.
    pub fn step(&mut self) -> Result<(), String> {
        self.second += 1;
        self.version += 1;
        self.snapshot.now = BEGINNING + Seconds(self.second);
        for at in 0..self.hosts.len() {
            self.agent(at);
        }
        // every other second: a cycle of the controller is no shorter
        if self.second >= self.dead_until && self.second % 2 == 0 { self.control() } else { Ok(()) }
    }

    fn agent(&mut self, at: usize) {
        let (now, moment) = (self.now(), self.snapshot.now);
        let (to_read, to_beat) = (4 + self.below(4), 16 + self.below(8));
        let host = &mut self.hosts[at];
        let Some(machine) = &mut host.machine else { return };
        machine.step(now, &Input::Tick);
        if host.next_read <= self.second && host.deaf_until <= self.second {
            host.next_read = self.second + to_read;
            let level = |name: &str| {
                let domain = self.snapshot.domain(name)?;
                Some(Level { domain, allotment: self.allotments.get(name) })
            };
            let chain: Vec<Level<'_>> = [SITE, host.row.as_str()].into_iter().filter_map(level).collect();
            if let Ok(watts) = caps::along(&chain, &self.snapshot.events, moment) {
                machine.step(now, &Input::Heard { sent: now, cap: Cap { version: self.version, watts } });
                let child = self.allotments.get(&host.row).and_then(|spec| spec.child(&ChildKey::node(&host.name)));
                if let Some(lease) = child.and_then(|child| child.lease.as_ref()) {
                    let after = machine.number();
                    machine.step(now, &Input::Offered { lease: &Lease::from(lease), after });
                }
            }
        }
        host.limit = machine.limit();
        let enforced = host.limit;
        machine.step(now, &Input::ReadBack { enforced });
        host.kept = machine.kept().clone();
        if host.deaf_until > self.second {
            return;
        }
        let Some(power) = self.powers.get_mut(&host.name) else { return };
        let lowered = power.status.as_ref().is_some_and(|status| status.enforced_watts > enforced.0);
        if host.next_beat <= self.second || lowered {
            host.next_beat = self.second + to_beat;
            let draw_watts = (self.scale.host + host.drawn).0;
            let mut status = NodePowerStatus { draw_watts, ..NodePowerStatus::default() };
            status.carry(&machine.heartbeat(now));
            power.status = Some(status);
        }
    }

    fn control(&mut self) -> Result<(), String> {
        let now = Millis(u64::try_from(self.second).unwrap_or(0) * 1000);
        self.memory.hear(self.powers.values(), now);
        let found: Vec<(String, i64)> =
            self.allotments.iter().map(|(name, spec)| (name.clone(), spec.sequence)).collect();
        self.memory.look(self.version, found.iter().map(|(name, sequence)| (name.as_str(), "uid", *sequence)), now);
        let site = Site::new(&self.snapshot, ramp::horizon(&self.snapshot.domains));
        let mut seen = Seen {
            snapshot: &self.snapshot,
            site: &site,
            version: self.version,
            powers: &self.powers,
            allotments: std::mem::take(&mut self.allotments),
            now,
            terms: &self.terms,
        };
        let books = Books::new(&seen, &self.memory);
        let mut spendable = BTreeMap::new();
        let mut site_leases = None;
        let mut version = self.version;
        for (at, book) in books.list.iter().enumerate() {
            let parent = book.parent.as_ref();
            let above = parent.and_then(|parent| Some((seen.allotments.get(parent)?, spendable.get(parent).copied()?)));
            let decided = books.decide(at, &seen, &mut self.memory, above);
            if let Some(fault) = decided.faults.first() {
                return Err(format!("a fault of Heliotrope in {} after {} s: {fault:?}", book.domain, self.second));
            }
            if book.domain == SITE {
                site_leases = Some(view(&books, at, &decided, &seen, &self.memory));
            }
            spendable.insert(book.domain.clone(), decided.allotted.spendable);
            if decided.allotted.changed {
                let (ledger, spend) = (&decided.allotted.ledger, decided.allotted.spendable);
                let spec = PowerAllotmentSpec::of(ledger, book.parent.as_deref(), spend, &decided.shares);
                self.memory.wrote(&book.domain, "uid", spec.sequence);
                seen.allotments.insert(book.domain.clone(), spec);
                version += 1;
            }
        }
        let wanted = writes(&seen, &self.memory, &Leases::default());
        self.allotments = seen.allotments;
        self.version = version;
        // the cycle that plans writes what events say
        for event in &mut self.snapshot.events {
            if let Some((limits, _)) = curtail::limits(event, site_leases.as_ref(), self.snapshot.now) {
                event.status.get_or_insert_default().limits = Some(limits);
            }
        }
        for write in wanted {
            match write {
                Write::Make(power) => {
                    self.powers.insert(power.metadata.name.clone().unwrap_or_default(), *power);
                }
                Write::Change { name, spec } => {
                    if let Some(power) = self.powers.get_mut(&name) {
                        power.spec = spec;
                    }
                }
                Write::Remove { name } => {
                    self.powers.remove(&name);
                }
                Write::Taint { .. } => {}
            }
        }
        Ok(())
    }
}
