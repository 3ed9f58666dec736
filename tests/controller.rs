//! The controller on a real control plane, as its own process: 40 Jobs of 8 accelerators on 16 nodes, under a cap that
//! fits six at a time in two rows. What runs is read from the API server by a watcher of the test's own, which knows
//! nothing of the controller's figures.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope_testbed::{Testbed, two_rows};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What one Job adds: eight accelerators of 700 W above the 15 % that each draws idle, and its host from 800 to 2,000 W.
const JOB_WATTS: i64 = 8 * (700 - 105) + 1200;
/// What 16 idle nodes draw.
const IDLE_WATTS: i64 = 16 * (8 * 105 + 800);
/// Room for six Jobs and a little.
const CAP: i64 = IDLE_WATTS + 6 * JOB_WATTS + 500;
const ROW_CAP: i64 = IDLE_WATTS / 2 + 3 * JOB_WATTS + 250;

/// Where the chart is installed.
const NAMESPACE: &str = "heliotrope-system";

#[expect(clippy::disallowed_methods, reason = "a real control plane works in real time")]
fn now() -> Instant {
    Instant::now()
}

/// The controller as its own process; killed when dropped.
struct Controller {
    child: Child,
}

impl Controller {
    /// With the chart's own service account and nothing more.
    fn start(testbed: &Testbed, leader_election: bool) -> Self {
        let kubeconfig = testbed.kubeconfig_of(NAMESPACE, "heliotrope-controller").unwrap();
        let log =
            std::fs::File::options().create(true).append(true).open(testbed.folder().join("controller.log")).unwrap();
        let config = testbed.folder().join("config.yaml");
        std::fs::write(&config, format!("tickSeconds: 2\nleaderElection: {leader_election}\nlisten: 127.0.0.1:0\n"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_heliotrope"))
            .args(["controller", "--namespace", NAMESPACE, "--config"])
            .arg(config)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Watches pods through the API server and adds up what runs: every pod with accelerators that is
/// bound and not yet gone or ended.
struct Meter {
    stop: Arc<AtomicBool>,
    cap: Arc<AtomicI64>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<std::thread::JoinHandle<()>>,
    watch: Child,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    /// Pods that run, by row.
    running: BTreeMap<String, usize>,
    most: usize,
    over: Vec<String>,
}

impl Meter {
    fn start(testbed: &Testbed) -> Self {
        let assets = heliotrope_testbed::assets().unwrap();
        let mut watch = Command::new(assets.join("kubectl"))
            .args([
                "get",
                "pods",
                "--all-namespaces",
                "--watch",
                "--output-watch-events",
                "--output",
                "json",
                "--kubeconfig",
            ])
            .arg(testbed.kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let cap = Arc::new(AtomicI64::new(6));
        let output = watch.stdout.take().unwrap();
        let (seen_there, cap_there) = (seen.clone(), cap.clone());
        let thread = std::thread::spawn(move || {
            let mut pods: BTreeMap<String, String> = BTreeMap::new();
            let stream = serde_json::Deserializer::from_reader(output).into_iter::<Value>();
            for event in stream.map_while(Result::ok) {
                let pod = &event["object"];
                // the chart's own Deployment runs on these nodes too; what the cap divides is what accelerators draw
                if pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"].is_null() {
                    continue;
                }
                let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
                match pod["spec"]["nodeName"].as_str() {
                    Some(node) if !ended && event["type"] != "DELETED" => {
                        pods.insert(name, node.to_owned());
                    }
                    _ => {
                        pods.remove(&name);
                    }
                }
                let mut seen = seen_there.lock().unwrap();
                seen.running.clear();
                for node in pods.values() {
                    *seen.running.entry(node.rsplit_once('-').unwrap().0.to_owned()).or_default() += 1;
                }
                seen.most = seen.most.max(pods.len());
                let most = cap_there.load(Ordering::Relaxed);
                let rows = seen.running.clone();
                // 0 is a fall that is still under way: judged apart
                if most > 0 && (i64::try_from(pods.len()).unwrap() > most || rows.values().any(|row| *row > 3)) {
                    seen.over.push(format!("{} run, {rows:?}, room for {most}", pods.len()));
                }
            }
        });
        Self { stop, cap, seen, thread: Some(thread), watch }
    }

    fn running(&self) -> usize {
        self.seen.lock().unwrap().running.values().sum()
    }

    fn over(&self) -> Vec<String> {
        self.seen.lock().unwrap().over.clone()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ok(testbed: &Testbed, arguments: &[&str]) -> String {
    let output = testbed.kubectl(arguments).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn get(testbed: &Testbed, what: &[&str]) -> Vec<Value> {
    let text = ok(testbed, &[&["get"], what, &["--output", "json"]].concat());
    serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().cloned().unwrap_or_default()
}

fn domain(name: &str, parent: Option<&str>, cap: i64, mode: Option<&str>) -> Value {
    let mut spec = json!({"capWatts": cap});
    if let Some(parent) = parent {
        spec["parent"] = json!(parent);
        spec["nodeSelector"] = json!({"matchLabels": {"topology.heliotrope.dev/row": name}});
    } else {
        spec["nodeClasses"] = json!([{"name": "dgx", "hostIdleWatts": 800, "hostMaxWatts": 2000}]);
    }
    if let Some(mode) = mode {
        spec["mode"] = json!(mode);
    }
    json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "PowerDomain", "metadata": {"name": name}, "spec": spec})
}

fn job(name: &str, runtime: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": "default", "labels": {"heliotrope.dev/managed": "true"},
            "annotations": {"heliotrope.dev/expected-duration": runtime}},
        "spec": {"template": {"metadata": {"annotations": {"heliotrope.dev/kwok-runtime": runtime}}, "spec": {
            "restartPolicy": "Never", "containers": [{"name": "train", "image": "train",
                "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}}},
    })
}

/// A control plane with the chart and the site.
fn site(mode: &str) -> Testbed {
    let testbed = Testbed::start(&two_rows(16)).unwrap();
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/heliotrope").display().to_string();
    let output =
        testbed.helm(&["install", "heliotrope", &chart, "--namespace", NAMESPACE, "--create-namespace"]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ok(&testbed, &["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]);
    testbed.apply(&domain("site", None, CAP, Some(mode))).unwrap();
    testbed.apply(&domain("row-a", Some("site"), ROW_CAP, None)).unwrap();
    testbed.apply(&domain("row-b", Some("site"), ROW_CAP, None)).unwrap();
    if mode == "Enforce" {
        // a policy acts some seconds after it is made
        wait("managed Jobs arrive suspended", 60, || arrives_suspended(&testbed, &job("probe", "1s")));
    }
    testbed
}

/// How a Job would arrive, without making it.
fn arrives_suspended(testbed: &Testbed, job: &Value) -> bool {
    let file = testbed.folder().join("probe.json");
    std::fs::write(&file, job.to_string()).unwrap();
    let text =
        ok(testbed, &["create", "--dry-run=server", "--output", "json", "--filename", &file.display().to_string()]);
    serde_json::from_str::<Value>(&text).unwrap()["spec"]["suspend"] == true
}

/// Waits until something holds; how long that took.
fn wait(what: &str, most: u64, holds: impl Fn() -> bool) -> Duration {
    let started = now();
    while !holds() {
        assert!(now().duration_since(started) < Duration::from_secs(most), "after {most} s still not: {what}");
        std::thread::sleep(Duration::from_millis(250));
    }
    now().duration_since(started)
}

fn finished(testbed: &Testbed) -> usize {
    get(testbed, &["jobs"]).iter().filter(|job| job["status"]["succeeded"] == 1).count()
}

/// Makes Jobs that say nothing of being suspended.
fn create(testbed: &Testbed, count: usize, runtime: &str) {
    let jobs: Vec<Value> = (0..count).map(|i| job(&format!("job-{i:02}"), runtime)).collect();
    testbed.apply(&json!({"apiVersion": "v1", "kind": "List", "items": jobs})).unwrap();
}

#[test]
fn forty_jobs_never_pass_the_cap_and_all_finish() {
    let testbed = site("Enforce");
    let meter = Meter::start(&testbed);
    let controller = Controller::start(&testbed, true);
    create(&testbed, 40, "20s");

    wait("six run", 90, || meter.running() == 6);
    let exempt =
        json!({"metadata": {"name": "exempt", "namespace": "default", "labels": {"heliotrope.dev/managed": "false"}}});
    let mut plain = job("plain", "1s");
    plain["metadata"] = exempt["metadata"].clone();
    assert!(!arrives_suspended(&testbed, &plain), "an exempted Job was touched");
    let text = ok(&testbed, &["get", "llmworkloads"]);
    assert_eq!(text.lines().count(), 41, "{text}");
    let waiting: Vec<&str> = text.lines().filter(|line| line.contains("Pending")).collect();
    assert!(waiting.len() > 20, "{text}");
    for line in waiting {
        assert!(line.contains("free under its cap") && line.contains('Z'), "no reason, number or time: {line}");
    }

    // at least five of six places are busy while Jobs wait
    let (mut busy, mut looks) = (0, 0);
    let started = now();
    while now().duration_since(started) < Duration::from_secs(60) {
        busy += meter.running();
        looks += 1;
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(busy as f64 / f64::from(looks) >= 5.0, "{:.2} of 6 places were busy", busy as f64 / f64::from(looks));

    // the cap falls to room for two: down within the grace period, which kwok plays as 10 s, and 30 s
    meter.cap.store(0, Ordering::Relaxed);
    testbed.apply(&domain("site", None, IDLE_WATTS + 2 * JOB_WATTS + 500, Some("Enforce"))).unwrap();
    let down = wait("no more than two run", 40, || meter.running() <= 2);
    eprintln!("under the fallen cap after {down:?}");
    meter.cap.store(2, Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(10));
    meter.cap.store(6, Ordering::Relaxed);
    testbed.apply(&domain("site", None, CAP, Some("Enforce"))).unwrap();
    let up = wait("six run again", 60, || meter.running() == 6);
    eprintln!("filled again after {up:?}");

    wait("all are finished", 600, || finished(&testbed) == 40);
    assert_eq!(meter.over(), Vec::<String>::new());
    wait("all are told as finished", 30, || {
        get(&testbed, &["llmworkloads"]).iter().all(|workload| workload["status"]["phase"] == "Succeeded")
    });
    wait("nothing is granted any more", 30, || {
        let domains = get(&testbed, &["powerdomains"]);
        domains.iter().all(|domain| domain["status"]["ledger"]["grants"].as_array().is_none_or(Vec::is_empty))
    });
    drop(controller);
}

/// SplitMix64: chance that can be replayed.
fn random(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[test]
fn killed_at_ten_moments_it_ends_the_same_and_never_passes_the_cap() {
    let testbed = site("Enforce");
    let meter = Meter::start(&testbed);
    create(&testbed, 24, "8s");
    let seed = std::env::var("HELIOTROPE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let mut kills = 0;
    for i in 0..10 {
        let controller = Controller::start(&testbed, false);
        // from before its caches are filled to some cycles later
        std::thread::sleep(Duration::from_millis(300 + random(seed, i) % 4000));
        drop(controller); // SIGKILL
        kills += 1;
    }
    assert_eq!(kills, 10);
    let controller = Controller::start(&testbed, false);
    wait("all are finished", 400, || finished(&testbed) == 24);
    assert_eq!(meter.over(), Vec::<String>::new(), "seed {seed}");
    wait("nothing is granted any more", 30, || {
        let domains = get(&testbed, &["powerdomains"]);
        domains.iter().all(|domain| domain["status"]["ledger"]["grants"].as_array().is_none_or(Vec::is_empty))
    });
    drop(controller);
}

#[test]
fn two_at_once_never_pass_the_cap() {
    let testbed = site("Enforce");
    let meter = Meter::start(&testbed);
    // no leader election: nothing but the swaps keeps them apart
    let both = [Controller::start(&testbed, false), Controller::start(&testbed, false)];
    create(&testbed, 24, "8s");
    wait("all are finished", 400, || finished(&testbed) == 24);
    assert_eq!(meter.over(), Vec::<String>::new());
    drop(both);
}

#[test]
fn in_observe_everything_is_said_and_nothing_is_touched() {
    let testbed = site("Observe");
    let controller = Controller::start(&testbed, false);
    let held = (0..8).map(|i| {
        let mut job = job(&format!("held-{i}"), "5s");
        job["spec"]["suspend"] = json!(true);
        job
    });
    testbed.apply(&json!({"apiVersion": "v1", "kind": "List", "items": held.collect::<Vec<_>>()})).unwrap();
    // in Observe a managed Job arrives as it is: nobody would start it
    std::thread::sleep(Duration::from_secs(5));
    testbed.apply(&job("free", "300s")).unwrap();
    // a malformed object never stops the others: this one passes the schema, and names a zone that there is not
    let mut broken = domain("broken", Some("site"), 1000, None);
    broken["spec"]["capSchedule"] = json!({"timeZone": "Moon/Base", "windows": [{"days": ["Monday"], "from": "01:00", "to": "02:00", "capWatts": 5}]});
    testbed.apply(&broken).unwrap();
    wait("all are told what would be", 60, || {
        let workloads = get(&testbed, &["llmworkloads"]);
        let told = |w: &Value| {
            w["status"]["message"].as_str().is_some_and(|text| text.starts_with("Observe, nothing is done"))
        };
        workloads.len() == 9 && workloads.iter().filter(|w| told(w)).count() >= 8
    });
    std::thread::sleep(Duration::from_secs(6));
    let jobs = get(&testbed, &["jobs"]);
    assert_eq!(jobs.iter().filter(|job| job["spec"]["suspend"] == true).count(), 8, "a Job was touched");
    let free = jobs.iter().find(|job| job["metadata"]["name"] == "free").unwrap();
    assert_eq!(free["status"]["active"], 1);
    let domains = get(&testbed, &["powerdomains"]);
    assert!(domains.iter().all(|domain| domain["status"]["ledger"].is_null()));
    let of = |name: &str| domains.iter().find(|domain| domain["metadata"]["name"] == name).unwrap().clone();
    let accepted = |domain: &Value| {
        let conditions = domain["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == "Accepted").unwrap_or_default()
    };
    assert_eq!(accepted(&of("broken"))["status"], "False");
    assert!(accepted(&of("broken"))["message"].as_str().unwrap().contains("`Moon/Base` is not a time zone"));
    assert_eq!(accepted(&of("row-a"))["status"], "True");
    assert_eq!(of("site")["status"]["effectiveCapWatts"], CAP);
    drop(controller);
}
