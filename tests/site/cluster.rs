//! The API server: a real one with etcd behind it, the objects that people and the kubelet make, and our controllers.

use crate::fleet::{Process, client, heliotrope};
use crate::proxy::Proxy;
use crate::tree::{FEEDS, GPU_MAX, GPU_MIN, HOST, NODES, OVERHEAD_PERMILLE, OVERSHOOT_PERMILLE, feed_of, name_of};
use crate::wall::Wall;
use heliotrope::api::{NodePower, crds};
use heliotrope::clock;
use heliotrope::units::Seconds;
use heliotrope_testbed::{Flags, Testbed};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Runtime;

const MODEL: &str = "NVIDIA-A100-SXM4-40GB";
const ROW: &str = "topology.heliotrope.dev/row";

pub struct Cluster {
    pub proxy: Proxy,
    pub testbed: Testbed,
    pub runtime: Runtime,
    /// Straight to the API server, whatever the proxy does.
    pub client: kube::Client,
    /// Through the proxy: what agents and controllers are given.
    pub kubeconfig: PathBuf,
    wall: Arc<Wall>,
    started: AtomicUsize,
}

impl Cluster {
    /// With our kinds, the nodes, pods that use all their GPUs, and the domains, their root in Observe.
    pub fn start(wall: &Arc<Wall>) -> Self {
        let testbed = Testbed::start_bare(Flags::default()).unwrap();
        let direct = std::fs::read_to_string(testbed.kubeconfig()).unwrap();
        let mut config: Value = serde_json::from_str(&direct).unwrap();
        let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
        let proxy = Proxy::start(server.trim_start_matches("https://"));
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{}", proxy.port));
        let kubeconfig = testbed.folder().join("proxied.kubeconfig");
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(client(&testbed.kubeconfig()));
        let started = AtomicUsize::new(0);
        let cluster = Self { proxy, testbed, runtime, client, kubeconfig, wall: wall.clone(), started };
        cluster.install();
        cluster
    }

    fn install(&self) {
        let definitions: Vec<Value> = crds::all()
            .into_iter()
            .map(|definition| {
                let mut value = serde_json::to_value(definition).unwrap();
                value["apiVersion"] = json!("apiextensions.k8s.io/v1");
                value["kind"] = json!("CustomResourceDefinition");
                value
            })
            .collect();
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": definitions}));
        let arguments = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
        assert!(self.testbed.kubectl(&arguments).unwrap().status.success());
        // without kube-controller-manager nobody makes the account that every pod runs as
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "default"}});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "heliotrope-system"}});
        let profile = json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "AcceleratorProfile",
            "metadata": {"name": "a100"}, "spec": {"deviceModel": MODEL, "minWatts": GPU_MIN as i64,
            "maxWatts": GPU_MAX as i64, "idleWatts": 60, "overshootPermille": OVERSHOOT_PERMILLE as i64, "source": "the plant of the test",
            "points": [{"limitWatts": 400, "drawWatts": 400, "throughputPermille": 1000}]}});
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [account, namespace, profile]}));
        (0..NODES).for_each(|node| self.create(&node_object(node)));
        (0..NODES).for_each(|node| self.create(&pod_object(node)));
        self.runtime.block_on(async {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), "default");
            for node in 0..NODES {
                let patch = Patch::Merge(json!({"status": {"phase": "Running"}}));
                pods.patch_status(&pod_name(node), &PatchParams::default(), &patch).await.unwrap();
            }
        });
        (0..FEEDS.len()).for_each(|feed| self.apply(&domain_object(feed, "Observe")));
    }

    pub fn apply(&self, object: &Value) {
        self.testbed.apply(object).unwrap();
    }

    fn api(&self, object: &Value) -> Api<DynamicObject> {
        let version = object["apiVersion"].as_str().unwrap();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, object["kind"].as_str().unwrap());
        let resource = ApiResource::from_gvk(&kind);
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    pub fn create(&self, object: &Value) {
        let typed: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        self.runtime.block_on(self.api(object).create(&PostParams::default(), &typed)).unwrap();
    }

    pub fn patch(&self, kind: &str, name: &str, patch: Value) {
        let version = if kind == "Node" { "v1" } else { "heliotrope.dev/v1alpha1" };
        let api = self.api(&json!({"apiVersion": version, "kind": kind}));
        self.runtime.block_on(api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).unwrap();
    }

    pub fn delete(&self, kind: &str, name: &str) {
        let version = if kind == "Node" { "v1" } else { "heliotrope.dev/v1alpha1" };
        let api = self.api(&json!({"apiVersion": version, "kind": kind}));
        self.runtime.block_on(api.delete(name, &Default::default())).unwrap();
    }

    /// The one write of a curtailment.
    pub fn curtail(&self, name: &str, domain: &str, cap: f64) {
        let end = clock::now() + Seconds(6 * 3600);
        self.create(&json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "CurtailmentEvent",
            "metadata": {"name": name},
            "spec": {"domain": domain, "end": end.to_string(), "target": {"capWatts": cap as i64}}}));
    }

    pub fn release(&self, name: &str) {
        self.patch("CurtailmentEvent", name, json!({"spec": {"cancelled": true}}));
    }

    pub fn powers(&self) -> Vec<NodePower> {
        let api: Api<NodePower> = Api::all(self.client.clone());
        self.runtime.block_on(api.list(&ListParams::default())).map(|list| list.items).unwrap_or_default()
    }

    pub fn allotments(&self) -> usize {
        let api: Api<heliotrope::api::PowerAllotment> = Api::all(self.client.clone());
        self.runtime.block_on(api.list(&ListParams::default())).unwrap().items.len()
    }

    /// What became of the pods and nodes that were there at the installation: nothing must have.
    pub fn disturbed(&self) -> Vec<String> {
        let (pods, nodes) = self.runtime.block_on(async {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), "default");
            let nodes: Api<Node> = Api::all(self.client.clone());
            let everything = ListParams::default();
            (pods.list(&everything).await.unwrap().items, nodes.list(&everything).await.unwrap().items)
        });
        let mut found = Vec::new();
        let running = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        if running.count() != NODES {
            found.push(format!("{} pods are left", pods.len()));
        }
        for node in nodes {
            let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
            let evicts = taints.iter().filter(|taint| taint.effect != "NoSchedule");
            found.extend(evicts.map(|taint| format!("{:?} has taint {taint:?}", node.metadata.name)));
        }
        found
    }

    /// Starts a controller.
    pub fn controller(&self) -> Process {
        self.controller_with("")
    }

    /// Starts a controller with more lines of configuration.
    pub fn controller_with(&self, lines: &str) -> Process {
        let name = format!("controller-{}", self.started.fetch_add(1, Ordering::Relaxed));
        let config = self.testbed.folder().join(format!("{name}.yaml"));
        std::fs::write(&config, format!("listen: 127.0.0.1:0\nagents: true\n{lines}")).unwrap();
        let mut command = heliotrope("controller");
        command.args(["--log-json", "--identity", &name, "--namespace", "heliotrope-system", "--config"]);
        command.arg(config).arg("--kubeconfig").arg(&self.kubeconfig);
        self.wall.of(&mut command);
        Process::start(command, &self.testbed.folder().join(format!("{name}.log")))
    }

    /// May Heliotrope be taken away? Why not, where it may not.
    pub fn uninstall_check(&self) -> Result<(), String> {
        let said = heliotrope("uninstall-check").arg("--kubeconfig").arg(&self.kubeconfig).output().unwrap();
        if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
    }

    /// Who holds the controllers' lease.
    pub fn leader(&self) -> Option<String> {
        let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
            Api::namespaced(self.client.clone(), "heliotrope-system");
        let found = self.runtime.block_on(leases.list(&ListParams::default())).ok()?.items;
        found.into_iter().find_map(|lease| lease.spec?.holder_identity)
    }
}

fn pod_name(node: usize) -> String {
    format!("train-{}", name_of(node))
}

pub fn node_object(node: usize) -> Value {
    let has = json!({"cpu": "128", "memory": "1Ti", "pods": "110", "nvidia.com/gpu": "8"});
    let ready = json!([{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
        "lastHeartbeatTime": null, "lastTransitionTime": null}]);
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name_of(node), "labels": {
        "nvidia.com/gpu.product": MODEL, ROW: FEEDS[feed_of(node)].name}},
        "status": {"allocatable": has, "capacity": has, "conditions": ready}})
}

/// A pod that nobody declared to us.
fn pod_object(node: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod_name(node), "namespace": "default"},
        "spec": {"nodeName": name_of(node), "restartPolicy": "Never", "automountServiceAccountToken": false,
            "containers": [{"name": "train", "image": "train", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}})
}

pub fn domain_object(feed: usize, mode: &str) -> Value {
    let of = &FEEDS[feed];
    let mut spec = json!({"capWatts": of.cap as i64, "lowestCapWatts": of.lowest as i64});
    if feed == 0 {
        spec["mode"] = json!(mode);
        spec["overheadPermille"] = json!(OVERHEAD_PERMILLE as i64);
        spec["nodeClasses"] = json!([{"name": "dgx", "hostIdleWatts": HOST as i64, "hostMaxWatts": HOST as i64}]);
    } else {
        spec["parent"] = json!("site");
        spec["nodeSelector"] = json!({"matchLabels": {ROW: of.name}});
        spec["rebootReserveNodes"] = json!(of.reserve);
    }
    if of.baseline > 0.0 {
        spec["baseline"] = json!({"maxWatts": of.baseline as i64});
    }
    json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "PowerDomain", "metadata": {"name": of.name}, "spec": spec})
}
