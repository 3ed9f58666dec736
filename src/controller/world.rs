//! The snapshot as a problem of the core: pure, synchronous, total. What can't be served leaves with its reason.

use super::config::Config;
use super::constraints::constraints;
use super::declared::Declared;
use super::leased::Leases;
use super::points::{Point, held, lost, points};
use super::site::{self, Site, SiteNode, device_load, matches};
use super::snapshot::Snapshot;
use crate::api::{Grant, LLMWorkload, LLMWorkloadSpec, labels};
use crate::core::admit::throttle;
use crate::core::plan::{
    Fixed, Load, Pace, Pool, PoolChoice, PoolId, PowerPlan, Problem, Running, Suspension, Uncertain, Workload,
};
use crate::units::{Moment, Seconds, Watts};
use crate::workloads::checkpoint;
use crate::workloads::job::{self, End};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where a managed Job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is held, and nothing of it draws.
    Waiting,
    /// It is started.
    Running,
    /// It is started without a grant, and nothing of it is bound to a node yet: it is to be held.
    Unadmitted,
    /// It is held, and pods of it still draw.
    Stopping,
    /// Watts are granted to it and it is held: its start is under way, or was cut off, or its stop is complete.
    InDoubt,
    /// It ended.
    Ended(End),
}

/// A managed Job with its workload.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its UID: the id of its workload in the core.
    pub uid: String,
    /// The Job.
    pub job: Arc<Job>,
    /// The custom resource that stands for it, if it was made already.
    pub workload: Option<LLMWorkload>,
    /// Where it stands.
    pub state: State,
    /// What is granted to it.
    pub grant: Option<Grant>,
    /// Where it draws, or is granted to.
    pub pool: Option<usize>,
    /// Does it run without a grant? Then it gets one, whatever the caps say: it draws already.
    pub adopted: bool,
    /// Until when its pods may draw though it is held; the past for one that has none.
    pub draws_until: Moment,
    /// What this run has lost by being held below full, in seconds at full.
    pub lost: Seconds,
}

impl Item {
    /// What is asked of us for it: by its custom resource, or by its Job until that is made.
    #[must_use]
    pub fn spec(&self) -> LLMWorkloadSpec {
        let made = self.workload.as_ref().map(|workload| workload.spec.clone());
        made.unwrap_or_else(|| job::workload(&self.job).0.spec)
    }

    /// Namespace and name, for people.
    #[must_use]
    pub fn name(&self) -> String {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}/{}", part(&self.job.metadata.namespace), part(&self.job.metadata.name))
    }
}

/// The world of one cycle.
#[derive(Debug, Clone)]
pub struct World {
    /// What the core is asked.
    pub problem: Problem,
    /// The site behind it.
    pub site: Site,
    /// All managed Jobs, by UID.
    pub items: Vec<Item>,
    /// Grants to what is no more.
    pub orphans: Vec<Grant>,
    /// Workloads that can't be served, and why.
    pub refused: Vec<(LLMWorkload, String)>,
}

impl World {
    /// The item of a UID.
    #[must_use]
    pub fn item(&self, uid: &str) -> Option<&Item> {
        let at = self.items.binary_search_by(|item| item.uid.as_str().cmp(uid)).ok()?;
        self.items.get(at)
    }
}

/// The world of a snapshot.
#[must_use]
pub fn world(snapshot: &Snapshot, config: &Config, previous: Option<Arc<PowerPlan>>) -> World {
    let horizon = Seconds(i64::from(config.horizon_hours) * 3600);
    let site = Site::new(snapshot, horizon);
    let mut by_uid: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    let mut others: Vec<&Arc<Pod>> = Vec::new();
    for pod in snapshot.pods.iter().filter(|pod| job::is_alive(pod)) {
        match pod.metadata.labels.as_ref().and_then(|all| all.get(labels::CONTROLLER_UID)) {
            Some(uid) => by_uid.entry(uid).or_default().push(pod),
            None => others.push(pod),
        }
    }
    let (mut items, refused) = items(snapshot);
    let soon = snapshot.now + Seconds(config.stop_lead().0.max(1));
    let mut fixed = Vec::new();
    let used = used(snapshot);
    let mut places = Places::new(&site, &used);
    for item in &mut items {
        let pods = by_uid.remove(item.uid.as_str()).unwrap_or_default();
        settle(item, snapshot, &site, &pods, soon);
        item.lost = lost(item, snapshot, &site);
        fixed.extend(beyond(item, snapshot, &site, &pods, soon));
        places.promise(item, &pods);
    }
    items.sort_by(|a, b| a.uid.cmp(&b.uid));

    let mut workloads = Vec::new();
    for item in &items {
        match item.state {
            State::Waiting | State::Running if item.state == State::Waiting || item.pool.is_some() => {
                workloads.push(workload(item, snapshot, config, &site));
            }
            State::Running | State::Waiting => {}
            State::Stopping | State::InDoubt | State::Unadmitted | State::Ended(_) => {
                let Some(pool) = item.pool else { continue };
                let load = load(item, snapshot, &site, pool);
                fixed.push(Fixed { pool: PoolId(pool), load, until: item.draws_until.max(soon) });
            }
        }
    }
    let known: BTreeSet<&str> = items.iter().map(|item| item.uid.as_str()).collect();
    let mut orphans: Vec<Grant> = Vec::new();
    for (root, grant) in snapshot.grants().filter(|(_, grant)| !known.contains(grant.uid.as_str())) {
        orphans.push(grant.clone());
        let Some(pool) = site.pool_of_domain(&grant.domain, root) else { continue };
        // what is left of its pods draws out of what was granted to it
        let pods = by_uid.remove(grant.uid.as_str()).unwrap_or_default();
        let left = load_of(grant);
        let until = pods.iter().map(|pod| gone_by(pod, snapshot, soon)).max().unwrap_or(soon);
        fixed.push(Fixed { pool: PoolId(pool), load: left, until: until.max(soon) });
        fixed.extend(excess(left, pool, snapshot, &site, &pods, soon));
    }
    others.extend(by_uid.into_values().flatten()); // pods of Jobs that nobody declared
    fixed.extend(undeclared(snapshot, &site, &others));
    fixed.extend(closed(&site, &used));
    let mut pools = site.pools.clone();
    places.put_into(&mut pools);
    if let Some(leases) = &snapshot.leases {
        throttled(snapshot, &site, leases, &used, &mut pools, &mut fixed);
    }
    let mut problem = Problem {
        now: snapshot.now,
        seed: 0,
        slot: config.slot(),
        horizon,
        tree: site.tree.clone(),
        pools,
        supplies: site.supplies.clone(),
        delay_cost_per_hour: 0,
        workloads,
        fixed,
        constraints: constraints(snapshot, &site.tree),
        thorough: true,
        previous,
    };
    throttle(&mut problem, config.stop_lead());
    World { problem, site, items, orphans, refused }
}

/// Where agents hold accelerators to their leases: what runs can be throttled, and an idle node may draw what its accelerators
/// take at their lowest limits, so that much is not free.
fn throttled(
    snapshot: &Snapshot,
    site: &Site,
    leases: &Leases,
    used: &BTreeMap<&str, u32>,
    pools: &mut [Pool],
    fixed: &mut Vec<Fixed>,
) {
    let leased = |pool: usize| leases.domains.get(&site.tree.get(site.pools[pool].domain).spec.name);
    let lowest = |pool: usize| {
        let device = site::device(&snapshot.profiles, &site.models[pool]);
        let idle = site::device_idle(&snapshot.profiles, &site.models[pool]);
        (device.min.plus_permille(device.overshoot_permille) - idle).max(Watts::ZERO)
    };
    for (at, pool) in pools.iter_mut().enumerate() {
        pool.least = leased(at).filter(|leases| leases.silent.is_empty()).map(|_| lowest(at));
    }
    for node in site.nodes.iter().filter(|node| leased(node.pool).is_some()) {
        if used.get(node.name.as_str()).is_none_or(|gpus| *gpus == 0) {
            let load = Load { watts: lowest(node.pool).times(node.gpus), accelerators: 0, hosts: 1 };
            fixed.push(Fixed { pool: PoolId(node.pool), load, until: Moment::FAR_FUTURE });
        }
    }
}

/// All Jobs that are managed, or that a workload refers to; and workloads that refer to nothing that can be served.
fn items(snapshot: &Snapshot) -> (Vec<Item>, Vec<(LLMWorkload, String)>) {
    let Declared { by_job, refused } = Declared::new(snapshot);
    let refused = refused.into_iter().map(|(workload, why)| (workload.clone(), why)).collect();
    let items = snapshot
        .jobs
        .iter()
        .filter_map(|job| {
            let (namespace, name) = (job.metadata.namespace.clone()?, job.metadata.name.clone()?);
            let workload = by_job.get(&(namespace.as_str(), name.as_str())).map(|workload| (*workload).clone());
            let asks = job::gpus_per_pod(job) > 0; // what needs no accelerator is none of ours, whatever its namespace says
            let managed = asks && job::is_managed(job, snapshot.managed_namespaces.contains(&namespace));
            (managed || workload.is_some()).then(|| Item {
                uid: job.metadata.uid.clone().unwrap_or_default(),
                job: job.clone(),
                workload,
                state: State::Waiting,
                grant: None,
                pool: None,
                adopted: false,
                draws_until: Moment(i64::MIN),
                lost: Seconds::ZERO,
            })
        })
        .collect();
    (items, refused)
}

/// Finds where an item stands from its Job, its grant and its pods; the most that any of them says.
fn settle(item: &mut Item, snapshot: &Snapshot, site: &Site, pods: &[&Arc<Pod>], soon: Moment) {
    let found = snapshot.grants().find(|(_, grant)| grant.uid == item.uid);
    item.grant = found.map(|(_, grant)| grant.clone());
    item.draws_until = pods.iter().map(|pod| gone_by(pod, snapshot, soon)).max().unwrap_or(Moment(i64::MIN));
    let bound = pods.iter().find_map(|pod| site.node(job::node(pod)?)).map(|node| node.pool);
    let granted = found.and_then(|(root, grant)| site.pool_of_domain(&grant.domain, root));
    let asked = || {
        let selector = item.job.spec.as_ref()?.template.spec.as_ref()?.node_selector.as_ref()?;
        site.selectors.iter().position(|labels| !labels.is_empty() && matches(labels, selector))
    };
    item.pool = bound.or(granted).or_else(asked);
    // A pod that is not bound may be bound at any moment, so for what is held it counts. What runs is known by its nodes, and
    // on a node of no domain it runs too: it is not ours to stop.
    let is_bound = pods.iter().any(|pod| job::node(pod).is_some());
    let draws = if job::is_suspended(&item.job) { !pods.is_empty() } else { is_bound };
    item.state = match (job::end(&item.job), job::is_suspended(&item.job), draws, item.grant.is_some()) {
        (Some(end), ..) => State::Ended(end),
        (None, false, false, false) => State::Unadmitted,
        (None, false, ..) => State::Running,
        (None, true, true, _) => State::Stopping,
        (None, true, false, true) => State::InDoubt,
        (None, true, false, false) => State::Waiting,
    };
    if let (State::Ended(_), false, false) = (item.state, draws, item.grant.is_some()) {
        item.pool = None; // nothing of it draws any more
    }
    item.adopted = item.state == State::Running && item.grant.is_none();
}

/// How long a pod outlives its grace at most, before it is taken to stay: the kubelet's own delay, and that of its word's way
/// here.
const GRACE_MARGIN: Seconds = Seconds(15);

/// When a pod is gone at the latest: by the end of its grace, or after the lead where it was not told to go yet. One that
/// outstays its grace (its node is not there to end it) draws until it is seen to be gone.
fn gone_by(pod: &Pod, snapshot: &Snapshot, soon: Moment) -> Moment {
    let terminating = pod.metadata.uid.as_ref().and_then(|uid| snapshot.terminating_for.get(uid));
    let Some(already) = terminating else {
        let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        return soon + grace.map_or(Seconds::ZERO, job::beyond_usual);
    };
    let left = Seconds(pod.metadata.deletion_grace_period_seconds.unwrap_or(0)) + GRACE_MARGIN - *already;
    if left < Seconds::ZERO { Moment::FAR_FUTURE } else { snapshot.now + left.max(Seconds(1)) }
}

/// What an item's pods draw beyond what it is charged with: on nodes of other pools, or more of them than it asks for.
fn beyond(item: &Item, snapshot: &Snapshot, site: &Site, pods: &[&Arc<Pod>], soon: Moment) -> Vec<Fixed> {
    let charged = match (item.pool, item.state) {
        (None, _) | (_, State::Waiting) => Load::default(),
        (Some(pool), _) => load(item, snapshot, site, pool),
    };
    excess(charged, item.pool.unwrap_or(usize::MAX), snapshot, site, pods, soon)
}

/// What of some pods is not covered by what is charged for them in one pool. What is about to go counts as the excess first.
fn excess(
    charged: Load,
    pool: usize,
    snapshot: &Snapshot,
    site: &Site,
    pods: &[&Arc<Pod>],
    soon: Moment,
) -> Vec<Fixed> {
    let mut left = charged.accelerators;
    let mut stay_first: Vec<(Moment, &SiteNode, u32)> = pods
        .iter()
        .filter_map(|pod| {
            let node = site.node(job::node(pod)?)?;
            let until = if pod.metadata.deletion_timestamp.is_some() {
                gone_by(pod, snapshot, soon)
            } else {
                Moment::FAR_FUTURE
            };
            Some((until, node, pod.spec.as_ref().map_or(0, job::gpus)))
        })
        .collect();
    stay_first.sort_by_key(|(until, _, _)| std::cmp::Reverse(*until));
    let mut fixed = Vec::new();
    for (until, node, gpus) in stay_first {
        if node.pool == pool && gpus <= left {
            left -= gpus;
            continue;
        }
        let class = crate::api::WorkloadClass::default();
        let device = device_load(&snapshot.profiles, &site.models[node.pool], class, None);
        let load = Load { watts: device.times(gpus), accelerators: gpus, hosts: 1 };
        fixed.push(Fixed { pool: PoolId(node.pool), load, until });
    }
    fixed
}

pub(super) fn load_of(grant: &Grant) -> Load {
    let count = |n: i32| u32::try_from(n).unwrap_or(0);
    Load { watts: Watts(grant.watts), accelerators: count(grant.accelerators), hosts: count(grant.hosts) }
}

/// What an item adds to a pool at the point that it is held to: by its Job's figures, and never less than was granted.
pub(super) fn load(item: &Item, snapshot: &Snapshot, site: &Site, pool: usize) -> Load {
    load_at(item, snapshot, site, pool, held(item, snapshot, site, pool))
}

/// What it adds there at a point; at full without one.
pub(super) fn load_at(item: &Item, snapshot: &Snapshot, site: &Site, pool: usize, point: Option<Point>) -> Load {
    let (pods, each) = (job::pods(&item.job), job::gpus_per_pod(&item.job));
    let spec = item.spec();
    let device = point.map_or_else(
        || device_load(&snapshot.profiles, &site.models[pool], spec.class, spec.profile.as_deref()),
        |point| point.watts,
    );
    let accelerators = pods.saturating_mul(each);
    let own = Load { watts: device.times(accelerators), accelerators, hosts: pods };
    // what was granted is of the point that it is held to
    let same = |_: &&Grant| point == held(item, snapshot, site, pool);
    match item.grant.as_ref().filter(same).map(load_of) {
        Some(granted) if site.is_lost(pool) => granted, // on what, is not known any more
        Some(granted) => Load {
            watts: own.watts.max(granted.watts),
            accelerators: own.accelerators.max(granted.accelerators),
            hosts: own.hosts.max(granted.hosts),
        },
        None => own,
    }
}

fn workload(item: &Item, snapshot: &Snapshot, config: &Config, site: &Site) -> Workload {
    let spec = item.spec();
    let now = snapshot.now;
    let (created, started) = job::times(&item.job);
    let arrival = created.unwrap_or(now);
    let unknown = i64::from(config.default_expected_duration_seconds);
    // what has no checkpoint begins anew after a stop
    let done = spec.checkpoint.map_or(Seconds::ZERO, |_| checkpoint::done(&item.job));
    let whole = Seconds(spec.expected_duration_seconds.unwrap_or(unknown).max(1));
    let expected = (whole - done).max(Seconds(1));
    let running = item
        .pool
        .filter(|_| item.state == State::Running)
        .map(|pool| Running::new(PoolId(pool), started.unwrap_or(now).min(now)))
        .map(|run| match spec.checkpoint {
            Some(checkpoint) => Running {
                kept: checkpoint::kept(&item.job, checkpoint, run.since, now),
                asking: checkpoint::asking(&item.job, checkpoint, run.since, now),
                ..run
            },
            None => run,
        });
    let remaining = match running {
        // what outlives its expected duration is taken to need half as long again as it has run, and a slot at least
        Some(running) => {
            let ran = now - running.since - item.lost;
            if ran < expected { expected - ran } else { Seconds((ran.0 / 2).max(config.slot().0)) }
        }
        None => expected,
    };
    let deadline = spec.deadline.as_ref().map(|time| Moment(time.0.as_second()));
    // what is to be done by a moment is planned so that it is even if it takes as long as it may
    let in_all = done + running.map_or(Seconds::ZERO, |running| now - running.since - item.lost) + remaining;
    let longer_by = Seconds(spec.duration_up_to_seconds.unwrap_or(0)) - in_all;
    let uncertain = deadline.and_then(|deadline| Uncertain::of(longer_by, deadline));
    let delayed = spec.max_delay_seconds.map(|delay| arrival + whole + Seconds(delay));
    let protected = |labels: Option<&BTreeMap<String, String>>| {
        labels.and_then(|all| all.get(labels::PROTECTED)).is_some_and(|v| v == "true")
    };
    let is_protected = protected(item.job.metadata.labels.as_ref())
        || protected(item.workload.as_ref().and_then(|workload| workload.metadata.labels.as_ref()));
    let choices = match running {
        Some(running) => points(item, snapshot, site, running.pool.0).into_iter().map(|(choice, _)| choice).collect(),
        None => choices(item, snapshot, site),
    };
    let running = running.map(|run| Running {
        pace: held(item, snapshot, site, run.pool.0).map_or(Pace::FULL, |point| point.pace),
        ..run
    });
    Workload {
        id: item.uid.as_str().into(),
        // without a class the lowest: whoever says nothing goes last, and is stopped first
        priority: spec.priority_class_name.and_then(|name| snapshot.priorities.get(&name).copied()).unwrap_or(i32::MIN),
        arrival,
        remaining,
        choices,
        running,
        suspension: match (is_protected, spec.checkpoint) {
            (true, _) => Suspension::Never,
            (false, Some(checkpoint)) => Suspension::ForSupply { cost: Seconds(checkpoint.cost_seconds) },
            (false, None) => Suspension::ForCapOnly,
        },
        stops_later_by: job::grace_beyond_usual(&item.job),
        ahead: 0,
        start_by: deadline.or(delayed).map(|by| by - expected),
        finish_by: uncertain.map(|uncertain| uncertain.aim(now.max(arrival) + remaining)).or(deadline).or(delayed),
        uncertain,
    }
}

/// The pools whose open nodes could hold all its pods if they were empty, and that its own nodeSelector allows. Those under
/// roots that are enforced, as far as there are any, and of these the ones that may be started in.
fn choices(item: &Item, snapshot: &Snapshot, site: &Site) -> Vec<PoolChoice> {
    let own = job::own_selector(&item.job);
    let (pods, each) = (job::pods(&item.job), job::gpus_per_pod(&item.job).max(1));
    let all: Vec<usize> = (0..site.pools.len())
        .filter(|pool| {
            let nodes = site
                .nodes
                .iter()
                .filter(|node| node.pool == *pool && node.shut.is_none() && matches(&own, &node.labels));
            nodes.map(|node| node.gpus / each).sum::<u32>() >= pods
        })
        .collect();
    let best = all.iter().map(|pool| (site.is_enforced(*pool), site.pools[*pool].frozen.is_none())).max();
    all.into_iter()
        .filter(|pool| Some((site.is_enforced(*pool), site.pools[*pool].frozen.is_none())) == best)
        .flat_map(|pool| points(item, snapshot, site, pool))
        .map(|(choice, _)| choice)
        .collect()
}

/// Free accelerators of each open node: less what its pods hold, and less what was granted to pods that are not bound yet.
struct Places {
    /// By pool.
    free: BTreeMap<usize, Vec<u32>>,
    /// Pods that are to come, and what each needs on one node.
    promised: Vec<(usize, Load)>,
}

impl Places {
    fn new(site: &Site, used: &BTreeMap<&str, u32>) -> Self {
        let mut free: BTreeMap<usize, Vec<u32>> = (0..site.pools.len()).map(|pool| (pool, Vec::new())).collect();
        for node in site.nodes.iter().filter(|node| node.shut.is_none()) {
            free.entry(node.pool).or_default().push(left_on(node, used));
        }
        Self { free, promised: Vec::new() }
    }

    /// Keeps the places of an item that is started or is being started, as far as its pods are not bound yet.
    fn promise(&mut self, item: &Item, pods: &[&Arc<Pod>]) {
        let (Some(pool), State::Running | State::InDoubt) = (item.pool, item.state) else { return };
        let bound =
            pods.iter().filter(|pod| job::node(pod).is_some() && pod.metadata.deletion_timestamp.is_none()).count();
        let missing = job::pods(&item.job).saturating_sub(u32::try_from(bound).unwrap_or(u32::MAX));
        let accelerators = missing.saturating_mul(job::gpus_per_pod(&item.job));
        self.promised.push((pool, Load { watts: Watts::ZERO, accelerators, hosts: missing }));
    }

    fn put_into(self, pools: &mut [Pool]) {
        for (pool, free) in self.free {
            pools[pool].places = Some(free);
        }
        for (pool, load) in self.promised {
            // where they do not find room, theirs is not room for others either: the scheduler has them in its queue
            let _ = pools[pool].take_places(load);
        }
    }
}

/// Pods on accelerators that nobody declared: they draw all the same.
fn undeclared(snapshot: &Snapshot, site: &Site, pods: &[&Arc<Pod>]) -> Vec<Fixed> {
    let mut fixed = Vec::new();
    for pod in pods {
        let gpus = pod.spec.as_ref().map_or(0, job::gpus);
        let Some(name) = job::node(pod).filter(|_| gpus > 0) else { continue };
        // a node that several domains claim counts in each
        for node in site.nodes.iter().filter(|node| node.name == name) {
            let device =
                device_load(&snapshot.profiles, &site.models[node.pool], crate::api::WorkloadClass::default(), None);
            let load = Load { watts: device.times(gpus), accelerators: gpus, hosts: 1 };
            fixed.push(Fixed { pool: PoolId(node.pool), load, until: Moment::FAR_FUTURE });
        }
    }
    fixed
}

/// Accelerators on which nothing new may start: taken, without watts, less what is in use there already.
fn closed(site: &Site, used: &BTreeMap<&str, u32>) -> Vec<Fixed> {
    let closed = site.nodes.iter().filter(|node| node.shut.is_some());
    closed
        .map(|node| {
            let load = Load { watts: Watts::ZERO, accelerators: left_on(node, used), hosts: 0 };
            Fixed { pool: PoolId(node.pool), load, until: Moment::FAR_FUTURE }
        })
        .collect()
}

/// Accelerators that pods hold, by the node that they are bound to.
fn used(snapshot: &Snapshot) -> BTreeMap<&str, u32> {
    let mut used: BTreeMap<&str, u32> = BTreeMap::new();
    for pod in snapshot.pods.iter().filter(|pod| job::is_alive(pod)) {
        if let Some(node) = job::node(pod) {
            *used.entry(node).or_default() += pod.spec.as_ref().map_or(0, job::gpus);
        }
    }
    used
}

/// Accelerators of a node that no pod holds.
fn left_on(node: &SiteNode, used: &BTreeMap<&str, u32>) -> u32 {
    node.gpus.saturating_sub(used.get(node.name.as_str()).copied().unwrap_or(0))
}
