//! A control plane with our kinds, and nodes with an agent and an actuator. The test writes what the controller would.

use crate::plant::{Actuator, Plant};
use futures::FutureExt;
use heliotrope::api::{
    AcceleratorShare, ChildAllotment, ChildKind, ChildLease, HeardCap, Heartbeat, LeaseFigures, LeaseStep, NodePower,
    NodePowerSpec, NodePowerStatus, PowerAllotment, PowerAllotmentSpec, PowerDomain, PowerDomainSpec, crds,
};
use heliotrope::clock;
use heliotrope_testbed::Testbed;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use nvml_sim::{GpuSpec, NodeSpec, Workload};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The host of every node, and how far its GPUs pass their limits.
pub const HOST: i64 = 4600;
pub const OVERSHOOT: i64 = 30;

/// The node's watts under so many GPUs' limits.
pub fn watts(limits: i64) -> i64 {
    HOST + limits + (limits * OVERSHOOT + 999) / 1000
}

pub struct Site {
    pub testbed: Testbed,
    pub client: Client,
    count: AtomicUsize,
}

type Scenario = (&'static str, Pin<Box<dyn Future<Output = ()> + Send>>);

impl Site {
    /// `change`: what is done to the definitions first.
    pub async fn start(change: impl Fn(&mut Value)) -> Arc<Self> {
        let testbed = tokio::task::spawn_blocking(|| Testbed::start(&[]).unwrap()).await.unwrap();
        let definitions: Vec<Value> = crds::all()
            .into_iter()
            .map(|crd| {
                let mut value = serde_json::to_value(crd).unwrap();
                value["apiVersion"] = json!("apiextensions.k8s.io/v1");
                value["kind"] = json!("CustomResourceDefinition");
                change(&mut value);
                value
            })
            .collect();
        testbed.apply(&json!({"apiVersion": "v1", "kind": "List", "items": definitions})).unwrap();
        let arguments = ["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"];
        let output = testbed.kubectl(&arguments).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let client = testbed.client().await.unwrap();
        Arc::new(Self { testbed, client, count: AtomicUsize::new(0) })
    }

    /// Runs all of them to their ends, and says which failed.
    pub async fn side_by_side(&self, scenarios: Vec<Scenario>) {
        let mut running = tokio::task::JoinSet::new();
        for (name, scenario) in scenarios {
            running.spawn(async move {
                let start = clock::boot();
                let ended = std::panic::AssertUnwindSafe(scenario).catch_unwind().await;
                eprintln!("{name}: {} ms, {}", clock::boot().since(start), if ended.is_ok() { "ok" } else { "FAILED" });
                (name, ended.is_ok())
            });
        }
        let ended = running.join_all().await;
        let failed: Vec<&str> = ended.into_iter().filter(|(_, ok)| !ok).map(|(name, _)| name).collect();
        assert!(failed.is_empty(), "failed: {failed:?}");
    }

    /// A node of H100s in a domain of its own, with an actuator; its agent is started apart.
    pub async fn node(self: &Arc<Self>, gpus: usize, domain: PowerDomainSpec) -> Node {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("node-{number}");
        let leaf = format!("row-{number}");
        let spec = NodeSpec::of(&name, 2000, 4600, vec![GpuSpec::h100(); gpus]).with_workload(Workload::training());
        let plant = Plant::of(spec);
        let actuator = Some(plant.start(&[]).await);
        let node = Node { site: self.clone(), name, leaf, actuator, plant };
        node.introduce(domain, gpus).await;
        node
    }

    /// A node whose actuator is in this process.
    pub async fn in_process(self: &Arc<Self>, name: &str, plant: Plant, domain: PowerDomainSpec, gpus: usize) -> Node {
        let (name, leaf) = (name.to_owned(), format!("row-of-{name}"));
        let node = Node { site: self.clone(), name, leaf, actuator: None, plant };
        node.introduce(domain, gpus).await;
        node
    }
}

/// A kubeconfig by which every byte from the API server comes so much later.
pub async fn slow_way(site: &Site, late: Duration) -> PathBuf {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
    let text = std::fs::read_to_string(site.testbed.kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
    let target = server.trim_start_matches("https://").to_owned();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", listener.local_addr().unwrap()));
    let file = site.testbed.folder().join("slow.kubeconfig");
    std::fs::write(&file, config.to_string()).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = tokio::net::TcpStream::connect(&target).await else { continue };
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move {
                let _ = copy(&mut from_client, &mut to_server).await;
            });
            let (sender, mut queue) = tokio::sync::mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
                    let _ = sender.send((tokio::time::Instant::now() + late, bytes[..read].to_vec()));
                }
            });
            tokio::spawn(async move {
                while let Some((at, bytes)) = queue.recv().await {
                    tokio::time::sleep_until(at).await;
                    if to_client.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    file
}

/// Has the API server let events through that can't be parsed, as one of another version would.
pub fn loosen_events(definition: &mut Value) {
    if definition["spec"]["names"]["kind"] != "CurtailmentEvent" {
        return;
    }
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    *schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
}

pub fn domain(cap_watts: i64) -> PowerDomainSpec {
    PowerDomainSpec { cap_watts, ..PowerDomainSpec::default() }
}

/// Figures with rows at the full cap and at half of it.
pub fn figures(watts: i64, rows: &[(i64, i64)], floor: i64, safe: i64) -> LeaseFigures {
    let row = |(cap_watts, watts): &(i64, i64)| heliotrope::api::CapRow { cap_watts: *cap_watts, watts: *watts };
    LeaseFigures { watts, rows: rows.iter().map(row).collect(), floor_watts: floor, safe_watts: safe }
}

/// So much for the GPUs at the full cap of a domain of 50 kW, 400 W at less, and this as the safe limit.
pub fn simple(limits: i64, safe: i64) -> LeaseFigures {
    figures(watts(limits), &[(50_000, watts(limits))], watts(limits.min(400)), watts(safe))
}

/// A lease that the test writes.
#[derive(Clone)]
pub struct Offer {
    pub sequence: i64,
    pub figures: LeaseFigures,
    pub life_millis: i64,
    pub steps: Vec<LeaseStep>,
    pub shares: Vec<AcceleratorShare>,
}

impl Offer {
    pub fn new(sequence: i64, figures: LeaseFigures) -> Self {
        Self { sequence, figures, life_millis: 600_000, steps: Vec::new(), shares: Vec::new() }
    }
}

pub struct Node {
    pub site: Arc<Site>,
    pub name: String,
    pub leaf: String,
    pub plant: Plant,
    pub actuator: Option<Actuator>,
}

impl Node {
    /// Has the API server know of it, as the controller would.
    async fn introduce(&self, domain: PowerDomainSpec, gpus: usize) {
        self.create(&PowerDomain::new(&self.leaf, domain)).await;
        self.create(&PowerAllotment::new(&self.leaf, PowerAllotmentSpec::default())).await;
        let power = NodePowerSpec {
            domain: self.leaf.clone(),
            accelerators: i32::try_from(gpus).unwrap(),
            ceiling_watts: watts(700 * i64::try_from(gpus).unwrap()),
            host_max_watts: HOST,
            overshoot_permille: i32::try_from(OVERSHOOT).unwrap(),
            lowest_limit_watts: None,
        };
        self.create(&NodePower::new(&self.name, power)).await;
    }

    pub async fn create<K>(&self, object: &K)
    where
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope> + serde::Serialize + serde::de::DeserializeOwned,
        K: Clone + std::fmt::Debug,
        K::DynamicType: Default,
    {
        Api::<K>::all(self.site.client.clone()).create(&PostParams::default(), object).await.unwrap();
    }

    pub fn agent_state(&self) -> PathBuf {
        self.plant.folder().join("agent-state")
    }

    /// Starts the agent.
    pub fn agent(&self) -> Agent {
        self.agent_at(&self.site.testbed.kubeconfig())
    }

    /// Starts the agent with another way to the API server.
    pub fn agent_at(&self, kubeconfig: &Path) -> Agent {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let log = self.plant.folder().join(format!("agent-{}.log", COUNT.fetch_add(1, Ordering::Relaxed)));
        let child = Command::new(env!("CARGO_BIN_EXE_heliotrope"))
            .args(["agent", "--log-json", "--listen", "127.0.0.1:0", "--node", &self.name, "--kubeconfig"])
            .arg(kubeconfig)
            .arg("--socket")
            .arg(self.plant.socket())
            .arg("--state-dir")
            .arg(self.agent_state())
            .arg("--boot-id-file")
            .arg(self.plant.node.boot_id_path())
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Agent { child, log }
    }

    pub async fn power(&self) -> NodePower {
        Api::<NodePower>::all(self.site.client.clone()).get(&self.name).await.unwrap()
    }

    pub async fn status(&self) -> NodePowerStatus {
        self.power().await.status.unwrap_or_default()
    }

    /// Waits until its status says this.
    pub async fn says(&self, what: &str, millis: u64, holds: impl Fn(&NodePowerStatus) -> bool) -> NodePowerStatus {
        let start = clock::boot();
        loop {
            let status = self.status().await;
            if holds(&status) {
                return status;
            }
            assert!(clock::boot().since(start) < millis, "after {millis} ms still not: {what}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits for a heartbeat of a start of the agent that is not this one.
    pub async fn heartbeat_but(&self, instance: i64) -> Heartbeat {
        let differs = |status: &NodePowerStatus| status.heartbeat.is_some_and(|beat| beat.instance != instance);
        self.says("a heartbeat", 20_000, differs).await.heartbeat.unwrap()
    }

    /// Writes a lease that answers the newest heartbeat.
    pub async fn lease(&self, offer: &Offer) {
        let answers = self.heartbeat_but(0).await;
        self.lease_to(&self.leaf, offer, answers).await;
    }

    pub async fn lease_to(&self, leaf: &str, offer: &Offer, answers: Heartbeat) {
        let child = ChildAllotment {
            kind: ChildKind::Node,
            name: self.name.clone(),
            ceiling_watts: self.power().await.spec.ceiling_watts,
            lease: Some(ChildLease {
                sequence: offer.sequence,
                figures: offer.figures.clone(),
                steps: offer.steps.clone(),
                life_millis: offer.life_millis,
                answers,
                cap: HeardCap { version: 1, watts: 100_000 },
            }),
            shares: offer.shares.clone(),
            ..ChildAllotment::default()
        };
        let children = serde_json::to_value([child]).unwrap();
        let allotments: Api<PowerAllotment> = Api::all(self.site.client.clone());
        let before = allotments.get(leaf).await.unwrap().spec.sequence;
        let patch = json!({"spec": {"sequence": before.max(offer.sequence), "children": children}});
        allotments.patch(leaf, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Leases, and waits until it is acknowledged. `limits`: what the GPUs must be held to.
    pub async fn leased(&self, offer: &Offer, limits: &[u64]) -> NodePowerStatus {
        self.lease(offer).await;
        self.plant.until(10_000, |seen| seen == limits).await;
        self.says("the lease is applied", 30_000, |status| status.applied_sequence == offer.sequence).await
    }

    /// An event on a domain.
    pub fn event(&self, name: &str, domain: &str, cap: i64) -> Value {
        json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "CurtailmentEvent", "metadata": {"name": name},
            "spec": {"domain": domain, "end": "2099-01-01T00:00:00Z", "target": {"capWatts": cap}}})
    }
}

/// A condition: status, reason, message.
pub fn condition(status: &NodePowerStatus, kind: &str) -> (String, String, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind);
    let found = found.unwrap_or_else(|| panic!("no condition {kind}: {status:#?}"));
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

/// Is the reason of a condition this one?
pub fn reason_is(status: &NodePowerStatus, kind: &str, reason: &str) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == kind && condition.reason == reason)
}

/// The agent's process; killed when dropped.
pub struct Agent {
    pub child: Child,
    log: PathBuf,
}

impl Agent {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What one of its pages answers: status code and body.
    pub async fn page(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let address = lines.into_iter().find_map(|line| line["fields"]["address"].as_str().map(str::to_owned)).unwrap();
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Waits until a page answers so.
    pub async fn page_says(&self, path: &str, millis: u64, holds: impl Fn(u16, &str) -> bool) {
        let start = clock::boot();
        loop {
            if self.log().contains("listening") {
                let (code, body) = self.page(path).await;
                if holds(code, &body) {
                    return;
                }
                assert!(clock::boot().since(start) < millis, "{path} says {code} {body}\n{}", self.log());
            }
            assert!(clock::boot().since(start) < millis, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the agent's log: {}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
