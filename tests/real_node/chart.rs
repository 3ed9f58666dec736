//! The chart on a real node: its pods are real, with their own accounts, and hold simulated GPUs to a real lease.

use crate::meter::Meter;
use crate::{asked, faults, points, real_node, refusals, said, wait};
use heliotrope_testbed::{DevicePlugin, Image, RealNode, Testbed};
use nvml_sim::{GpuSpec, Node as Plant, NodeSpec, Workload};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/heliotrope");
pub const CONTROLLERS: &str = "heliotrope-system";
pub const AGENTS: &str = "heliotrope-agents";
pub const MODEL: &str = "NVIDIA-A100-SXM4-40GB";
/// A host of 1,200 W and eight GPUs of 100 to 400 W, which pass a limit by 2 ‰ at most: at their highest limits 4,407 W.
pub const CAP: u64 = 3000;
/// What the node draws beside its GPUs, in watts.
pub const HOST: u64 = 1200;
const GPUS: usize = 8;

/// The node with all that was installed.
pub struct Site {
    pub testbed: Testbed,
    pub node: RealNode,
    pub plant: Arc<Plant>,
    pub plugin: Option<DevicePlugin>,
    pub uuids: Vec<String>,
}

impl Site {
    /// The reason of one of the node's conditions.
    pub fn reason(&self, kind: &str) -> String {
        self.condition(kind, "reason")
    }

    pub fn condition(&self, kind: &str, field: &str) -> String {
        power(&self.testbed, &format!("{{.status.conditions[?(@.type=='{kind}')].{field}}}"))
    }

    /// The limits in force, in milliwatts.
    pub fn limits(&self) -> Vec<u64> {
        self.plant.enforced_limits().unwrap()
    }

    /// The kubelet has a device plugin again, with all there is.
    pub fn offer_all(&mut self) {
        self.plugin = None;
        self.plugin = Some(DevicePlugin::start("nvidia.com/gpu", self.uuids.clone()).unwrap());
    }

    /// The Job's pod runs.
    pub fn runs(&self) -> bool {
        said(&self.testbed, &["get", "pods", "--output", "jsonpath={.items[*].status.phase}"]).contains("Running")
    }

    pub fn agents_pod(&self) -> String {
        let name = "jsonpath={.items[0].metadata.name}";
        said(&self.testbed, &["get", "pods", "--namespace", AGENTS, "--output", name])
    }

    /// Both containers of the agent's pod are ready, and the node holds a lease that keeps the cap.
    pub fn wait_until_held(&self, when: &str) {
        wait(&format!("{when}: actuator and agent are ready"), || ready(&self.testbed, AGENTS) == 2);
        wait(&format!("{when}: a lease is held"), || self.reason("Held") == "Leased");
        wait(&format!("{when}: what is read back keeps the cap"), || {
            power(&self.testbed, "{.status.enforcedWatts}").parse().is_ok_and(|watts: u64| watts <= CAP)
        });
    }
}

pub fn helm(testbed: &Testbed, arguments: &[&str]) -> Result<(), String> {
    let output = testbed.helm(&[arguments, &["--namespace", CONTROLLERS]].concat()).unwrap();
    let told = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&told).into_owned()) }
}

/// What the chart is told of this machine.
fn values(testbed: &Testbed, plant: &Plant) -> Value {
    let folder = plant.dir().display().to_string();
    let config: Value = serde_json::from_str(&std::fs::read_to_string(testbed.kubeconfig()).unwrap()).unwrap();
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
    let node = testbed.folder().join("real-0");
    let [controller, agent] = testbed.spare_ports().map(|port| format!("127.0.0.1:{port}"));
    json!({
        "image": {"repository": "heliotrope.test/heliotrope", "tag": "1", "pullPolicy": "Never"},
        "hostNetwork": true,
        "apiServer": {"host": "127.0.0.1", "port": server.rsplit(':').next().unwrap()},
        "config": {"agents": true, "tickSeconds": 2, "listen": controller},
        "agent": {
            "listen": agent,
            "library": format!("{folder}/libnvidia-ml.so.1"),
            "bootIdFile": plant.boot_id_path(),
            "kubeletDir": node.join("kubelet"),
            "stateDir": node.join("heliotrope"),
            "extraVolumes": [{"name": "plant", "hostPath": {"path": folder}}],
            "extraVolumeMounts": [{"name": "plant", "mountPath": folder}],
        },
    })
}

fn domain(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "PowerDomain", "metadata": {"name": name}, "spec": spec})
}

fn install(testbed: &Testbed, plant: &Plant) {
    // pods that use the host's network, or its folders, may run in such namespaces only
    for name in [CONTROLLERS, AGENTS] {
        let labels = json!({"pod-security.kubernetes.io/enforce": "privileged"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        testbed.apply(&namespace).unwrap();
    }
    let file = testbed.folder().join("values.json").display().to_string();
    std::fs::write(&file, values(testbed, plant).to_string()).unwrap();
    helm(testbed, &["install", "heliotrope", CHART, "--values", &file]).unwrap();
    let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
    assert!(testbed.kubectl(&wait).unwrap().status.success());
    let profile = json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "AcceleratorProfile",
        "metadata": {"name": "a100"}, "spec": {"deviceModel": MODEL, "minWatts": 100, "maxWatts": 400, "idleWatts": 60,
        "overshootPermille": 2, "source": "the plant of the test",
        "points": [{"limitWatts": 400, "drawWatts": 400, "throughputPermille": 1000}]}});
    testbed.apply(&profile).unwrap();
    let class = json!([{"name": "dgx", "hostIdleWatts": HOST, "hostMaxWatts": HOST}]);
    testbed.apply(&domain("site", json!({"capWatts": CAP, "lowestCapWatts": 2100, "nodeClasses": class}))).unwrap();
    let row = json!({"matchLabels": {"topology.heliotrope.dev/row": "row-a"}});
    let row = json!({"parent": "site", "capWatts": CAP, "lowestCapWatts": 2100, "nodeSelector": row,
        "rebootReserveNodes": 0});
    testbed.apply(&domain("row-a", row)).unwrap();
}

fn set_mode(testbed: &Testbed, mode: &str) {
    patch(testbed, "powerdomain", "site", &json!({"spec": {"mode": mode}}));
}

pub fn patch(testbed: &Testbed, kind: &str, name: &str, patch: &Value) {
    let arguments = ["patch", kind, name, "--type", "merge", "--patch", &patch.to_string()];
    let done = testbed.kubectl(&arguments).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// How many containers of a namespace's pods are ready.
pub fn ready(testbed: &Testbed, namespace: &str) -> usize {
    let path = "jsonpath={.items[*].status.containerStatuses[*].ready}";
    said(testbed, &["get", "pods", "--namespace", namespace, "--output", path]).matches("true").count()
}

/// One field of the node's NodePower.
pub fn power(testbed: &Testbed, path: &str) -> String {
    said(testbed, &["get", "nodepower", "real-0", "--output", &format!("jsonpath={path}")])
}

fn start(testbed: &Testbed, plant: &Plant) -> Option<RealNode> {
    plant.install_library().unwrap();
    let image = Image {
        name: "heliotrope.test/heliotrope:1".to_owned(),
        entrypoint: vec!["/heliotrope".to_owned()],
        // the library lies in the plant's folder; what it is linked to comes with this copy
        files: vec![
            (PathBuf::from(env!("CARGO_BIN_EXE_heliotrope")), "/heliotrope".to_owned()),
            (plant.dir().join("libnvidia-ml.so.1"), "/libnvidia-ml.so.1".to_owned()),
        ],
    };
    let own = |path: &str| (PathBuf::from(path), path.to_owned());
    let shell = Image {
        name: "heliotrope.test/shell:1".to_owned(),
        entrypoint: vec!["/bin/sh".to_owned()],
        files: ["/bin/sh", "/bin/sleep"].map(own).to_vec(),
    };
    let labels = [
        ("topology.heliotrope.dev/row", "row-a"),
        ("nvidia.com/gpu.product", MODEL),
        ("nvidia.com/gpu.present", "true"),
    ];
    real_node(testbed, &labels, &[image, shell])
}

/// Work that arrives before anybody is there to hold it.
fn job() -> Value {
    let container = json!({"name": "train", "image": "heliotrope.test/shell:1", "imagePullPolicy": "Never",
        "command": ["/bin/sleep", "3600"], "resources": {"limits": {"nvidia.com/gpu": 2}}});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train", "namespace": "default",
        "labels": {"heliotrope.dev/managed": "true"}}, "spec": {"suspend": true, "template": {"spec": {
            "restartPolicy": "OnFailure", "hostNetwork": true, "terminationGracePeriodSeconds": 1, "containers": [container]}}}})
}

fn suspended(testbed: &Testbed) -> bool {
    said(testbed, &["get", "job", "train", "--output", "jsonpath={.spec.suspend}"]) == "true"
}

#[test]
fn the_chart_holds_a_real_node_to_its_cap() {
    let testbed = Testbed::start(&[]).unwrap();
    let spec = NodeSpec::of("real-0", 1200, 1200, vec![GpuSpec::a100(); GPUS]);
    let plant = Arc::new(Plant::create(testbed.folder().join("plant"), &spec).unwrap());
    let Some(node) = start(&testbed, &plant) else { return };
    let uuids: Vec<String> = (0..GPUS).map(|gpu| spec.uuid(gpu)).collect();
    let plugin = Some(DevicePlugin::start("nvidia.com/gpu", uuids.clone()).unwrap());
    let offered = ["get", "node", "real-0", "--output", "jsonpath={.status.allocatable.nvidia\\.com/gpu}"];
    wait("the node has accelerators", || said(&testbed, &offered) == "8");
    install(&testbed, &plant);
    let mut site = Site { testbed, node, plant, plugin, uuids };
    let testbed = &site.testbed;
    wait("the controller is ready", || ready(testbed, CONTROLLERS) == 1);

    wait("actuator and agent are ready, with nothing to hold", || ready(testbed, AGENTS) == 2);
    testbed.apply(&job()).unwrap();
    assert!(suspended(testbed), "in Observe nothing is started");
    let found = site.limits();
    assert_eq!(found, vec![400_000; GPUS], "in Observe nothing is set");
    set_mode(testbed, "Enforce");
    refusals::it_says_what_it_waits_for(testbed, || suspended(testbed));
    site.wait_until_held("at first");
    wait("the Job is started", || !suspended(testbed));
    wait("its pod runs", || site.runs());

    // from now on every GPU wants all it can get, and the meter looks
    let meter = Meter::start(testbed, site.plant.clone());
    site.plant.set_workloads(at_work()).unwrap();
    wait("the GPUs are at work", || site.plant.true_power().unwrap() > 1900.0);
    site.wait_until_granted();
    let under_cap = |when: &str| assert!(meter.judge(when) <= CAP as i64, "{when}: more is reserved than the cap");
    under_cap("at work");
    refusals::an_agent_writes_of_its_own_node_only(&site);
    refusals::the_controller_is_restricted(testbed);
    points::a_slower_point_is_held_and_let_go(&site, &meter);
    under_cap("a workload is slowed and let go");
    site.wait_until_granted();

    faults::pod_is_killed(&site);
    under_cap("the agent's pod is killed");
    faults::container_is_killed(&site, "agent");
    faults::container_is_killed(&site, "actuator");
    under_cap("single containers are killed");
    faults::kubelet_and_containerd_are_killed(&mut site);
    under_cap("the kubelet and containerd are killed");
    faults::kubelet_hangs(&site);
    faults::device_plugin_takes_away(&mut site);
    under_cap("the kubelet hangs, and its device plugin is away");
    faults::accelerators_are_lost(&site);
    // what can't be read counts with its highest limit, and so more than there is
    meter.judge("accelerators are lost");
    faults::reboots_with_a_guard(&mut site);
    under_cap("a reboot with a boot guard");
    faults::reboots_without_a_guard(&mut site);
    meter.judge("a reboot without one");

    changes(&site);
    under_cap("the chart is changed");
    drop(meter);
    refusals::it_is_not_taken_away(&site);
    leaves(&site.testbed);
    wait("every GPU has the limit that it was found with", || site.limits() == found);
}

/// Every GPU wants all it can get.
pub fn at_work() -> Workload {
    Workload::training().wanting(1000)
}

impl Site {
    /// The Job's GPUs carry what they were granted, and all limits fit under the cap.
    pub fn wait_until_granted(&self) {
        let held = || asked(&self.node).unwrap_or_default();
        let path = "{range .status.accelerators[?(@.pod)]}{.uuid} {.limitWatts} {end}";
        // by the kubelet's word, and each at the limit that it was given; what the others have then fits beside it
        wait("the Job's GPUs carry what they were granted", || {
            let (told, limits, held) = (power(&self.testbed, path), self.limits(), held());
            let words: Vec<&str> = told.split_whitespace().collect();
            held.len() == 2
                && words.len() == 4
                && words.chunks(2).all(|pair| {
                    let gpu = self.uuids.iter().position(|uuid| uuid == pair[0]).unwrap();
                    held.contains_key(pair[0]) && pair[1].parse().is_ok_and(|watts: u64| limits[gpu] == watts * 1000)
                })
        });
        wait("all limits fit under the cap", || HOST + self.limits().into_iter().sum::<u64>() / 1000 <= CAP);
    }
}

/// The chart is upgraded and rolled back while it holds the node.
fn changes(site: &Site) {
    let testbed = &site.testbed;
    let tick =
        || said(testbed, &["get", "configmap", "heliotrope-config", "--namespace", CONTROLLERS, "--output", "yaml"]);
    helm(testbed, &["upgrade", "heliotrope", CHART, "--reuse-values", "--set", "config.tickSeconds=1"]).unwrap();
    assert!(tick().contains("tickSeconds: 1"));
    helm(testbed, &["rollback", "heliotrope", "1"]).unwrap();
    assert!(tick().contains("tickSeconds: 2"));
    wait("one controller is ready again", || ready(testbed, CONTROLLERS) == 1);
    site.wait_until_held("rolled back");
}

/// After Observe it can be taken away.
fn leaves(testbed: &Testbed) {
    set_mode(testbed, "Observe");
    wait("all is given back", || said(testbed, &["get", "powerallotments", "--output", "name"]).is_empty());
    helm(testbed, &["uninstall", "heliotrope", "--timeout", "60s"]).unwrap();
    wait("its pods are gone", || {
        [CONTROLLERS, AGENTS].iter().all(|namespace| {
            let running = ["get", "pods", "--namespace", namespace, "--output", "name"];
            !said(testbed, &running).contains("heliotrope-")
        })
    });
}
