//! A control plane with the chart and the site, the controller as its own process, and a watcher that knows nothing
//! of the controller's figures.

use heliotrope_testbed::{Flags, Testbed, two_rows};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What one Job adds: eight accelerators of 700 W above the 15 % that each draws idle, and its host from 800 to 2,000 W.
pub const JOB_WATTS: i64 = 8 * (700 - 105) + 1200;
/// What 16 idle nodes draw.
pub const IDLE_WATTS: i64 = 16 * (8 * 105 + 800);
/// Room for six Jobs and a little.
pub const CAP: i64 = IDLE_WATTS + 6 * JOB_WATTS + 500;
pub const ROW_CAP: i64 = IDLE_WATTS / 2 + 3 * JOB_WATTS + 250;

/// Where the chart is installed.
pub const NAMESPACE: &str = "heliotrope-system";

#[expect(clippy::disallowed_methods, reason = "a real control plane works in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The controller as its own process; killed when dropped.
pub struct Controller {
    child: Child,
    log: PathBuf,
}

impl Controller {
    /// With the chart's own service account and nothing more. `with`: lines of its configuration.
    pub fn start(testbed: &Testbed, with: &str) -> Self {
        static COUNT: AtomicI64 = AtomicI64::new(0);
        let name = format!("controller-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let kubeconfig = testbed.kubeconfig_of(NAMESPACE, "heliotrope-controller").unwrap();
        let log = testbed.folder().join(format!("{name}.log"));
        let config = testbed.folder().join(format!("{name}.yaml"));
        std::fs::write(&config, format!("tickSeconds: 2\nlisten: 127.0.0.1:0\n{with}\n")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_heliotrope"))
            .args(["controller", "--log-json", "--identity", &name, "--namespace", NAMESPACE, "--config"])
            .arg(config)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Its log: JSON lines.
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
    }

    /// Where it listens; none before it does.
    pub fn address(&self) -> Option<String> {
        self.log().iter().find_map(|line| line["fields"]["address"].as_str().map(str::to_owned))
    }

    /// What one of its pages answers: status code and body.
    pub fn page(&self, path: &str) -> Option<(u16, String)> {
        let address = self.address()?;
        let mut stream = TcpStream::connect(&address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Asks it to stop, as a kubelet does; whether it ended well, and in what time.
    pub fn terminate(mut self) -> (bool, Duration) {
        let started = now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        (status.success(), now().duration_since(started))
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
pub struct Meter {
    /// Jobs that there is room for; while a fall is under way, those that there was room for before it.
    pub cap: Arc<AtomicI64>,
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
    pub fn start(testbed: &Testbed) -> Self {
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
        let seen = Arc::new(Mutex::new(Seen::default()));
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
                if i64::try_from(pods.len()).unwrap() > most || rows.values().any(|row| *row > 3) {
                    seen.over.push(format!("{} run, {rows:?}, room for {most}", pods.len()));
                }
            }
        });
        Self { cap, seen, thread: Some(thread), watch }
    }

    pub fn running(&self) -> usize {
        self.seen.lock().unwrap().running.values().sum()
    }

    pub fn over(&self) -> Vec<String> {
        self.seen.lock().unwrap().over.clone()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn ok(testbed: &Testbed, arguments: &[&str]) -> String {
    let output = testbed.kubectl(arguments).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn get(testbed: &Testbed, what: &[&str]) -> Vec<Value> {
    let text = ok(testbed, &[&["get"], what, &["--output", "json"]].concat());
    serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().cloned().unwrap_or_default()
}

pub fn domain(name: &str, parent: Option<&str>, cap: i64, mode: Option<&str>) -> Value {
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

pub fn job(name: &str, runtime: &str) -> Value {
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
pub fn site(mode: &str) -> Testbed {
    let testbed = with_chart(Flags::default());
    site_on(&testbed, mode);
    if mode == "Enforce" {
        // a policy acts some seconds after it is made
        wait("managed Jobs arrive suspended", 60, || arrives_suspended(&testbed, &job("probe", "1s")));
    }
    testbed
}

/// The domains of the site.
pub fn site_on(testbed: &Testbed, mode: &str) {
    testbed.apply(&domain("site", None, CAP, Some(mode))).unwrap();
    testbed.apply(&domain("row-a", Some("site"), ROW_CAP, None)).unwrap();
    testbed.apply(&domain("row-b", Some("site"), ROW_CAP, None)).unwrap();
}

/// The chart's folder.
pub fn chart() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/heliotrope").display().to_string()
}

/// A control plane with the chart.
pub fn with_chart(flags: Flags) -> Testbed {
    let testbed = Testbed::start_with(&two_rows(16), flags).unwrap();
    let chart = chart();
    let output =
        testbed.helm(&["install", "heliotrope", &chart, "--namespace", NAMESPACE, "--create-namespace"]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ok(&testbed, &["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]);
    testbed
}

/// Is nothing granted any more?
pub fn nothing_granted(testbed: &Testbed) -> bool {
    let domains = get(testbed, &["powerdomains"]);
    domains.iter().all(|domain| domain["status"]["ledger"]["grants"].as_array().is_none_or(Vec::is_empty))
}

/// One object.
pub fn one(testbed: &Testbed, kind: &str, name: &str) -> Value {
    serde_json::from_str(&ok(testbed, &["get", kind, name, "--output", "json"])).unwrap()
}

/// A condition of an object; null where it has none of this type.
pub fn condition(object: &Value, kind: &str) -> Value {
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

/// How a Job would arrive, or why it would not; without making it.
pub fn arrival(testbed: &Testbed, job: &Value) -> Result<Value, String> {
    let file = testbed.folder().join("probe.json");
    std::fs::write(&file, job.to_string()).unwrap();
    let file = file.display().to_string();
    let output = testbed.kubectl(&["create", "--dry-run=server", "--output", "json", "--filename", &file]).unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Would a Job arrive suspended?
pub fn arrives_suspended(testbed: &Testbed, job: &Value) -> bool {
    arrival(testbed, job).unwrap()["spec"]["suspend"] == true
}

/// Waits until something holds; how long that took.
pub fn wait(what: &str, most: u64, holds: impl Fn() -> bool) -> Duration {
    let started = now();
    while !holds() {
        assert!(now().duration_since(started) < Duration::from_secs(most), "after {most} s still not: {what}");
        std::thread::sleep(Duration::from_millis(250));
    }
    now().duration_since(started)
}

pub fn finished(testbed: &Testbed) -> usize {
    get(testbed, &["jobs"]).iter().filter(|job| job["status"]["succeeded"] == 1).count()
}

/// Makes Jobs that say nothing of being suspended.
pub fn create(testbed: &Testbed, count: usize, runtime: &str) {
    let jobs: Vec<Value> = (0..count).map(|i| job(&format!("job-{i:02}"), runtime)).collect();
    testbed.apply(&json!({"apiVersion": "v1", "kind": "List", "items": jobs})).unwrap();
}
