//! The ledger's protocol in every order that chance finds: the real decisions and the real writes of two controllers,
//! against an API server in memory that serves their requests one at a time, in any order. Controllers are killed at any
//! write; what they sent arrives later or never. Calls run out of time and are made all the same. Caches are behind.
//!
//! What must hold after each step:
//! 1. every Job that is started, or has a pod that is bound and alive, is in the ledger;
//! 2. nothing starts but by a grant that left the ledger within the cap that it was written under.
//!
//! Both together are the cap. And in the end, once nobody is killed any more, every Job finishes and nothing is granted.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod server;

use heliotrope::api::PowerDomain;
use heliotrope::controller::config::Config;
use heliotrope::controller::enforce::{Pace, enforce};
use heliotrope::controller::snapshot::{Snapshot, head};
use heliotrope::controller::world::world;
use heliotrope::core::admit::cycle;
use heliotrope::core::chance::random;
use heliotrope::core::plan::Heliotrope;
use heliotrope::units::Moment;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use server::{Cluster, Wire, client, has};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Watts of eight accelerators of 700 W above what they draw idle.
const JOB: i64 = 8 * (700 - 105);
/// Two idle nodes.
const IDLE: i64 = 2 * 8 * (105 + 600);

fn root(room: i64) -> Value {
    json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "PowerDomain", "metadata": {"name": "site"},
        "spec": {"capWatts": IDLE + room * JOB + 100, "mode": "Enforce"}})
}

fn row(name: &str) -> Value {
    json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "PowerDomain", "metadata": {"name": name},
        "spec": {"capWatts": 100_000, "parent": "site", "nodeSelector": {"matchLabels": {"row": name}}}})
}

fn node(row: &str) -> Arc<Node> {
    let node = json!({"metadata": {"name": format!("{row}-0"),
            "labels": {"row": row, "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}},
        "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}});
    Arc::new(serde_json::from_value(node).unwrap())
}

fn job(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"heliotrope.dev/managed": "true"}},
        "spec": {"suspend": true, "template": {"spec": {"containers": [
            {"name": "a", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}}},
        "status": {"conditions": [{"type": "Suspended", "status": "True"}]}})
}

/// Chance that can be replayed.
struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        let drawn = random(self.seed, self.drawn);
        self.drawn += 1;
        usize::try_from(drawn % u64::try_from(n).unwrap()).unwrap()
    }

    /// One of these; none where there are none.
    fn pick<'a>(&mut self, names: impl Iterator<Item = &'a String>) -> Option<String> {
        let names: Vec<&String> = names.collect();
        (!names.is_empty()).then(|| names[self.below(names.len())].clone())
    }
}

/// A controller: at most one cycle of it at a time, on a cache that is behind and never goes back.
#[derive(Default)]
struct Controller {
    cycle: Option<JoinHandle<()>>,
    view: usize,
}

impl Controller {
    fn is_busy(&self) -> bool {
        self.cycle.as_ref().is_some_and(|cycle| !cycle.is_finished())
    }

    /// Begins a cycle, on what its cache holds as of `view`.
    fn begin(&mut self, wire: &Wire, cluster: &Cluster, view: usize) {
        self.view = view;
        let seen = &cluster.past[view];
        let domains = std::iter::once(&cluster.root).chain(&cluster.rows).cloned();
        let domains: Vec<PowerDomain> = domains.map(|domain| serde_json::from_value(domain).unwrap()).collect();
        let snapshot = Snapshot {
            heads: domains.iter().map(|domain| head(&domain.metadata)).collect(),
            now: Moment(1_767_225_600 + i64::try_from(cluster.past.len()).unwrap()),
            domains,
            jobs: seen.jobs.clone(),
            pods: seen.pods.clone(),
            nodes: vec![node("a"), node("b")],
            ..Snapshot::default()
        };
        let client = client(wire);
        self.cycle = Some(tokio::spawn(async move {
            let config = Config::default();
            let world = world(&snapshot, &config, None);
            let decided = cycle(&world.problem, &Heliotrope, config.stop_lead());
            drop(enforce(&client, &snapshot, &world, &decided, &mut Pace::default()).await);
        }));
    }

    fn kill(&mut self) {
        if let Some(cycle) = self.cycle.take() {
            cycle.abort();
        }
    }
}

/// Lets everything run that can, until only the wire is left to move.
async fn settle() {
    for _ in 0..60 {
        tokio::task::yield_now().await;
    }
}

fn granted(root: &Value) -> Vec<(String, i64)> {
    let grants = root["status"]["ledger"]["grants"].as_array().cloned().unwrap_or_default();
    grants.iter().map(|g| (g["uid"].as_str().unwrap().to_owned(), g["watts"].as_i64().unwrap())).collect()
}

/// Looks at the cluster after each step.
#[derive(Default)]
struct Watcher {
    ledger: Vec<(String, i64)>,
    started: BTreeSet<String>,
    /// Who was granted within the cap, at the moment of the grant.
    fits: BTreeSet<String>,
}

impl Watcher {
    fn look(&mut self, cluster: &Cluster) -> Result<(), String> {
        let ledger = granted(&cluster.root);
        let sum: i64 = IDLE + ledger.iter().map(|(_, watts)| watts).sum::<i64>();
        let cap = cluster.root["spec"]["capWatts"].as_i64().unwrap();
        self.fits.retain(|uid| ledger.iter().any(|(granted, _)| granted == uid));
        for (uid, _) in ledger.iter().filter(|grant| !self.ledger.contains(grant)) {
            if sum <= cap {
                self.fits.insert(uid.clone());
            }
        }
        let uid_of = |job: &Value| job["metadata"]["uid"].as_str().unwrap().to_owned();
        let is_started = |job: &&Value| job["spec"]["suspend"] == false && !has(job, "Complete");
        let started: BTreeSet<String> = cluster.jobs.values().filter(is_started).map(uid_of).collect();
        for uid in &started {
            if !ledger.iter().any(|(granted, _)| granted == uid) {
                return Err(format!("{uid} is started and not in the ledger"));
            }
            if !self.started.contains(uid) && !self.fits.contains(uid) {
                return Err(format!("{uid} is started by a grant that made it {sum} W under {cap} W"));
            }
        }
        let alive = |pod: &&Value| pod["status"]["phase"] == "Running" && pod["spec"]["nodeName"].is_string();
        for pod in cluster.pods.values().filter(alive) {
            let uid = pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"].as_str().unwrap();
            if !ledger.iter().any(|(granted, _)| granted == uid) {
                return Err(format!("{} draws and {uid} is not in the ledger", pod["metadata"]["name"]));
            }
        }
        (self.ledger, self.started) = (ledger, started);
        Ok(())
    }
}

/// One step of the world; what it was, for people.
async fn step(
    chance: &mut Chance,
    cluster: &mut Cluster,
    controllers: &mut [Controller; 2],
    wire: &Wire,
    is_calm: bool,
) -> String {
    let any_job = |chance: &mut Chance, cluster: &Cluster| chance.pick(cluster.jobs.keys()).unwrap();
    let any_pod = |chance: &mut Chance, cluster: &Cluster, is: fn(&Value) -> bool| {
        chance.pick(cluster.pods.iter().filter(|(_, pod)| is(pod)).map(|(name, _)| name))
    };
    match chance.below(if is_calm { 65 } else { 100 }) {
        0..35 => {
            let waiting = wire.lock().unwrap().len();
            if waiting == 0 {
                return "nothing to serve".to_owned();
            }
            let request = wire.lock().unwrap().remove(chance.below(waiting));
            cluster.serve(request);
            "served".to_owned()
        }
        35..50 => {
            let which = chance.below(2);
            if controllers[which].is_busy() {
                return "busy".to_owned();
            }
            let newest = cluster.past.len() - 1;
            let oldest = if is_calm { newest } else { controllers[which].view.max(newest.saturating_sub(20)) };
            let view = oldest + chance.below(newest - oldest + 1);
            controllers[which].begin(wire, cluster, view);
            format!("controller {which} decides on view {view} of {newest}")
        }
        50..55 => {
            let name = any_job(chance, cluster);
            cluster.sync(&name, false);
            format!("the Job controller sees {name}")
        }
        55..61 => {
            let Some(pod) = any_pod(chance, cluster, |pod| pod["spec"]["nodeName"].is_null()) else {
                return "-".to_owned();
            };
            cluster.bind(&pod);
            format!("{pod} is bound")
        }
        61..65 => {
            let Some(pod) = any_pod(chance, cluster, |pod| pod["status"]["phase"] == "Running") else {
                return "-".to_owned();
            };
            cluster.end(&pod);
            format!("{pod} ends")
        }
        65..71 => {
            let name = any_job(chance, cluster);
            cluster.sync(&name, true);
            format!("the Job controller acts on {name} as it saw it last")
        }
        71..77 => {
            let which = chance.below(2);
            controllers[which].kill();
            format!("controller {which} is killed")
        }
        77..83 => {
            // every call that waits runs out of time; its request may still arrive
            tokio::time::advance(Duration::from_secs(5)).await;
            "time passes".to_owned()
        }
        83..90 => {
            let room = i64::try_from(chance.below(3)).unwrap();
            cluster.cap(IDLE + room * JOB + 100);
            format!("room for {room}")
        }
        90..92 if cluster.jobs.len() > 1 => {
            let name = any_job(chance, cluster);
            cluster.delete(&name);
            format!("a person deletes {name}")
        }
        _ => {
            let name = any_job(chance, cluster);
            cluster.hold(&name);
            format!("a person holds {name}")
        }
    }
}

/// One walk: what happened, if something that must hold did not.
async fn walk(seed: u64) -> Result<(), String> {
    let mut chance = Chance { seed, drawn: 0 };
    let room = 1 + i64::try_from(chance.below(2)).unwrap();
    let jobs: Vec<Value> = ["x", "y", "z"].map(job).into();
    let mut cluster = Cluster::new(root(room), vec![row("a"), row("b")], jobs);
    let wire: Wire = Arc::new(Mutex::new(Vec::new()));
    let mut controllers = [Controller::default(), Controller::default()];
    let (mut story, mut watcher) = (Vec::new(), Watcher::default());
    let is_done =
        |cluster: &Cluster| cluster.jobs.values().all(|job| has(job, "Complete")) && granted(&cluster.root).is_empty();
    for turn in 0..2000 {
        let is_calm = turn >= 150;
        if turn == 150 {
            controllers.iter_mut().for_each(Controller::kill);
            cluster.cap(IDLE + JOB + 100);
        }
        if is_calm && is_done(&cluster) {
            return Ok(());
        }
        story.push(step(&mut chance, &mut cluster, &mut controllers, &wire, is_calm).await);
        settle().await;
        if let Err(what) = watcher.look(&cluster) {
            let last = &story[story.len().saturating_sub(60)..];
            return Err(format!("seed {seed}, step {turn}: {what}\n{}", last.join("\n")));
        }
    }
    Err(format!("seed {seed}: it never came to an end: {:#}\n{:#?}", cluster.root["status"], cluster.jobs))
}

#[test]
fn in_any_order_every_draw_is_granted_and_every_grant_fits() {
    let first = std::env::var("HELIOTROPE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let walks = std::env::var("HELIOTROPE_TEST_WALKS").ok().and_then(|walks| walks.parse().ok()).unwrap_or(200);
    for seed in first..first + walks {
        // its own runtime: what a walk leaves behind ends with it
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        if let Err(story) = runtime.block_on(walk(seed)) {
            panic!("{story}");
        }
    }
}
