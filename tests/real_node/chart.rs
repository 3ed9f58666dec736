//! The chart on a real node: its pods are real, with their own accounts, and hold simulated GPUs to a real lease.

use crate::{asked, real_node, said, wait};
use heliotrope_testbed::{DevicePlugin, Image, RealNode, Testbed};
use nvml_sim::{GpuSpec, Node as Plant, NodeSpec, Workload};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/heliotrope");
const CONTROLLERS: &str = "heliotrope-system";
const AGENTS: &str = "heliotrope-agents";
const MODEL: &str = "NVIDIA-A100-SXM4-40GB";
/// A host of 1,200 W and eight GPUs of 100 to 400 W, which pass a limit by 2 ‰ at most: at their highest limits 4,407 W.
const CAP: u64 = 3000;
/// What the node draws beside its GPUs, in watts.
const HOST: u64 = 1200;
const GPUS: usize = 8;

/// What the plant truly draws, looked at all the time. Nothing of ours is asked.
struct Meter {
    ends: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Meter {
    fn start(plant: Arc<Plant>) -> Self {
        let (ends, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends_there, most_there) = (ends.clone(), most.clone());
        let thread = std::thread::spawn(move || {
            while !ends_there.load(Ordering::Relaxed) {
                most_there.fetch_max((plant.true_power().unwrap() * 1000.0) as u64, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self { ends, most, thread: Some(thread) }
    }

    /// The most that was drawn since it was asked last, in watts.
    fn most(&self) -> u64 {
        self.most.swap(0, Ordering::Relaxed).div_ceil(1000)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn helm(testbed: &Testbed, arguments: &[&str]) -> Result<(), String> {
    let output = testbed.helm(&[arguments, &["--namespace", CONTROLLERS]].concat()).unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
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
    let patch = json!({"spec": {"mode": mode}}).to_string();
    let done = testbed.kubectl(&["patch", "powerdomain", "site", "--type", "merge", "--patch", &patch]).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// How many containers of a namespace's pods are ready.
fn ready(testbed: &Testbed, namespace: &str) -> usize {
    let path = "jsonpath={.items[*].status.containerStatuses[*].ready}";
    said(testbed, &["get", "pods", "--namespace", namespace, "--output", path]).matches("true").count()
}

/// One field of the node's NodePower.
fn power(testbed: &Testbed, path: &str) -> String {
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
            "restartPolicy": "Never", "hostNetwork": true, "terminationGracePeriodSeconds": 1, "containers": [container]}}}})
}

fn suspended(testbed: &Testbed) -> bool {
    said(testbed, &["get", "job", "train", "--output", "jsonpath={.spec.suspend}"]) == "true"
}

/// Both containers of the agent's pod are ready, and the node holds a lease that keeps the cap.
fn wait_until_held(testbed: &Testbed, when: &str) {
    wait(&format!("{when}: actuator and agent are ready"), || ready(testbed, AGENTS) == 2);
    let reason = "{.status.conditions[?(@.type=='Held')].reason}";
    wait(&format!("{when}: a lease is held"), || power(testbed, reason) == "Leased");
    wait(&format!("{when}: what is read back keeps the cap"), || {
        power(testbed, "{.status.enforcedWatts}").parse().is_ok_and(|watts: u64| watts <= CAP)
    });
}

#[test]
fn the_chart_holds_a_real_node_to_its_cap() {
    let testbed = Testbed::start(&[]).unwrap();
    let spec = NodeSpec::of("real-0", 1200, 1200, vec![GpuSpec::a100(); GPUS]);
    let plant = Arc::new(Plant::create(testbed.folder().join("plant"), &spec).unwrap());
    let Some(mut node) = start(&testbed, &plant) else { return };
    let uuids: Vec<String> = (0..GPUS).map(|gpu| spec.uuid(gpu)).collect();
    let plugin = DevicePlugin::start("nvidia.com/gpu", uuids.clone()).unwrap();
    install(&testbed, &plant);
    wait("the controller is ready", || ready(&testbed, CONTROLLERS) == 1);

    wait("actuator and agent are ready, with nothing to hold", || ready(&testbed, AGENTS) == 2);
    testbed.apply(&job()).unwrap();
    assert!(suspended(&testbed), "in Observe nothing is started");
    let found = plant.enforced_limits().unwrap();
    assert_eq!(found, vec![400_000; GPUS], "in Observe nothing is set");
    set_mode(&testbed, "Enforce");
    wait_until_held(&testbed, "at first");
    wait("the Job is started", || !suspended(&testbed));
    let runs = || said(&testbed, &["get", "pods", "--output", "jsonpath={.items[*].status.phase}"]) == "Running";
    wait("its pod runs", runs);
    let held = asked(&node).unwrap();
    assert_eq!(held.len(), 2, "{held:?}");

    // from now on every GPU wants all it can get, and the meter looks
    let meter = Meter::start(plant.clone());
    plant.set_workloads(Workload::training().wanting(1000)).unwrap();
    wait("the GPUs are at work", || plant.true_power().unwrap() > 1900.0);
    let path = "{range .status.accelerators[?(@.pod)]}{.uuid} {.limitWatts} {end}";
    wait("the agent says whose GPUs they are", || power(&testbed, path).split_whitespace().count() == 4);
    // by the kubelet's word, and each at the limit that it was given; what the others have then fits beside it
    let carry = |told: &str| {
        let limits = plant.enforced_limits().unwrap();
        told.split_whitespace().collect::<Vec<_>>().chunks(2).all(|pair| {
            let gpu = uuids.iter().position(|uuid| uuid == pair[0]).unwrap();
            held.contains_key(pair[0]) && pair[1].parse().is_ok_and(|watts: u64| limits[gpu] == watts * 1000)
        })
    };
    wait("the Job's GPUs carry what they were granted", || carry(&power(&testbed, path)));
    let limits = || plant.enforced_limits().unwrap().into_iter().sum::<u64>() / 1000;
    wait("all limits fit under the cap", || HOST + limits() <= CAP);
    assert_most(&meter, "at work");

    let _plugin = faults(&testbed, &mut node, plugin, &uuids);
    wait("the kubelet knows what it gave", || asked(&node).as_ref() == Ok(&held));
    assert!(runs(), "the Job's pod is gone");
    assert_most(&meter, "with faults");

    changes(&testbed);
    assert_most(&meter, "while the chart was changed");
    drop(meter);
    leaves(&testbed);
    wait("every GPU has the limit that it was found with", || plant.enforced_limits().unwrap() == found);
}

fn faults(testbed: &Testbed, node: &mut RealNode, plugin: DevicePlugin, uuids: &[String]) -> DevicePlugin {
    let name =
        || said(testbed, &["get", "pods", "--namespace", AGENTS, "--output", "jsonpath={.items[0].metadata.name}"]);
    let before = name();
    let gone =
        testbed.kubectl(&["delete", "pod", &before, "--namespace", AGENTS, "--grace-period=0", "--force"]).unwrap();
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    wait("another agent's pod is there", || name() != before && !name().is_empty());
    wait_until_held(testbed, "agent killed");

    node.restart_containerd().unwrap();
    node.restart_kubelet().unwrap();
    node.wait_until_ready(testbed).unwrap();
    drop(plugin);
    let plugin = DevicePlugin::start("nvidia.com/gpu", uuids.to_vec()).unwrap();
    wait_until_held(testbed, "kubelet and containerd restarted");
    plugin
}

/// The chart is upgraded and rolled back while it holds the node.
fn changes(testbed: &Testbed) {
    let tick =
        || said(testbed, &["get", "configmap", "heliotrope-config", "--namespace", CONTROLLERS, "--output", "yaml"]);
    helm(testbed, &["upgrade", "heliotrope", CHART, "--reuse-values", "--set", "config.tickSeconds=1"]).unwrap();
    assert!(tick().contains("tickSeconds: 1"));
    helm(testbed, &["rollback", "heliotrope", "1"]).unwrap();
    assert!(tick().contains("tickSeconds: 2"));
    wait("one controller is ready again", || ready(testbed, CONTROLLERS) == 1);
    wait_until_held(testbed, "rolled back");
}

/// It can't be taken away while it enforces; after Observe it can.
fn leaves(testbed: &Testbed) {
    let uninstall = || helm(testbed, &["uninstall", "heliotrope", "--timeout", "60s"]);
    assert!(uninstall().is_err(), "it was taken away while it enforced");
    assert_eq!(ready(testbed, AGENTS), 2, "it goes on");
    set_mode(testbed, "Observe");
    wait("all is given back", || said(testbed, &["get", "powerallotments", "--output", "name"]).is_empty());
    uninstall().unwrap();
    wait("its pods are gone", || {
        [CONTROLLERS, AGENTS].iter().all(|namespace| {
            let running = ["get", "pods", "--namespace", namespace, "--output", "name"];
            !said(testbed, &running).contains("heliotrope-")
        })
    });
}

fn assert_most(meter: &Meter, when: &str) {
    let most = meter.most();
    assert!(most > 0 && most <= CAP, "{when}: {most} W were drawn, {CAP} W may be");
    eprintln!("{when}: at most {most} W were drawn of {CAP} W");
}
