//! A server of a signal dies, is silent, forges, and comes back: rung by rung down the ladder and up again, said at each step, and
//! work goes on all the while.

use crate::cluster::{Controller, condition, get, job, one, site, wait};
use heliotrope_testbed::Testbed;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does with each question; none: it takes it and is silent.
type Says = Arc<Mutex<Option<String>>>;

struct Server {
    address: String,
    says: Says,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (says, stop): (Says, _) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (what, ends) = (says.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let mut question = [0; 4096];
                let _ = stream.read(&mut question);
                match &*what.lock().unwrap() {
                    Some(answer) => drop(stream.write_all(answer.as_bytes())),
                    None => silent.push(stream),
                }
            }
        });
        Self { address, says, stop, thread: Some(thread) }
    }

    fn say(&self, answer: Option<String>) {
        *self.says.lock().unwrap() = answer;
    }

    /// Rows of (seconds from now, seconds, value) of a zone.
    fn grid(&self, zone: &str, rows: &[(i64, i64, &str)]) {
        #[expect(clippy::disallowed_methods, reason = "the controller on the testbed lives in real time")]
        let now = Timestamp::now().as_second();
        let row =
            |(from, long, value): &(i64, i64, &str)| json!({"from": now + from, "to": now + from + long, "v": value});
        let body = json!({"zone": zone, "rows": rows.iter().map(row).collect::<Vec<_>>()}).to_string();
        self.say(Some(answer("200 OK\r\nContent-Type: application/json", &body)));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn signal(testbed: &Testbed) -> Value {
    one(testbed, "gridsignal", "grid")
}

fn is_on(testbed: &Testbed, rung: &str) -> bool {
    signal(testbed)["status"]["rung"] == rung
}

/// The sum of a metric's lines that have this in them.
fn metric(controller: &Controller, name: &str, with: &str) -> Option<f64> {
    let (_, text) = controller.page("/metrics")?;
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(with));
    Some(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}

#[test]
fn a_server_that_dies_goes_down_the_ladder_and_stops_nothing() {
    let testbed = site("Enforce");
    let server = Server::start();
    server.grid("KR", &[(-7200, 7200, "700"), (0, 600, "50"), (600, 600, "NaN")]);
    let source = json!({"server": {"kind": "JSON", "url": format!("http://{}/kr?zone=KR", server.address), "unit": "g/kWh",
        "everySeconds": 10, "json": {"rows": "/rows", "start": "/from", "end": "/to", "value": "/v", "zone": "/zone"}}});
    let spec = json!({"what": "CarbonIntensity", "zone": "KR", "maxAgeSeconds": 60, "staticGramsPerKwh": 436, "providers": [source]});
    testbed
        .apply(&json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "GridSignal", "metadata": {"name": "grid"}, "spec": spec}))
        .unwrap();
    let mut root = one(&testbed, "powerdomain", "site");
    root["spec"]["signals"] = json!({"carbon": "grid"});
    root["metadata"].as_object_mut().unwrap().remove("managedFields");
    testbed.apply(&root).unwrap();
    // what nobody of ours wrote lies where its memory should be
    let folder = testbed.folder().join("plans");
    std::fs::create_dir(&folder).unwrap();
    let memory = folder.join("signal-grid.json");
    std::fs::write(&memory, "{\"version\": 1").unwrap();
    let config = format!("leaderElection: false\nplanDirectory: {}", folder.display());
    let controller = Controller::start(&testbed, &config);

    wait("it is live", 60, || is_on(&testbed, "Live"));
    let live = signal(&testbed);
    assert_eq!(live["status"]["currentValue"], "50.0 gCO2e/kWh");
    assert_eq!(live["status"]["source"], "provider 0: JSON over HTTP");
    assert_eq!(live["status"]["refused"][0]["reason"], "NotANumber");
    assert_eq!(live["status"]["refused"][0]["first"], "`NaN` is not a number");
    assert!(metric(&controller, "heliotrope_signal_refused_values_total", "NotANumber").unwrap() >= 1.0);
    assert_eq!(metric(&controller, "heliotrope_signal_rung", "grid"), Some(0.0));

    let forecast = &live["status"]["forecast"];
    assert_eq!((&forecast["unit"], forecast["planned"].as_array().map(Vec::len)), (&json!("g/kWh"), Some(48)));
    let written = || serde_json::from_slice::<Value>(&std::fs::read(&memory).unwrap()).ok();
    wait("its memory is written over what was there", 60, || {
        written().is_some_and(|written| {
            written["signal"]["zone"] == "KR" && written["memory"]["hours"][0].as_i64().is_some()
        })
    });

    // another zone is forged: nothing of it is used, and what was known still holds
    server.grid("FR", &[(-60, 6000, "1")]);
    wait("the forged zone is refused", 60, || is_on(&testbed, "LastKnown"));
    let forged = signal(&testbed);
    assert_eq!(forged["status"]["currentValue"], "50.0 gCO2e/kWh");
    assert_eq!(forged["status"]["refused"][0]["reason"], "OtherZone");
    let told = condition(&forged, "Fresh");
    assert!(
        told["status"] == "True" && told["message"].as_str().unwrap().contains("of zone `FR`, wanted is `KR`"),
        "{told}"
    );

    // a short answer, and then it is left alone, silent, and gone
    server.grid("KR", &[(-7200, 7190, "700"), (-10, 40, "50")]);
    wait("it is live again", 60, || is_on(&testbed, "Live"));
    server.say(Some(answer("429 Too Many Requests\r\nRetry-After: 15", "")));
    wait("what has ended is not green", 60, || signal(&testbed)["status"]["currentValue"] == "700.0 gCO2e/kWh");
    assert!(is_on(&testbed, "LastKnown"));
    let told = condition(&signal(&testbed), "Fresh")["message"].as_str().unwrap().to_owned();
    assert!(told.contains("429: asked too often, again after 15s"), "{told}");
    server.say(None);
    wait("it is too old", 120, || is_on(&testbed, "Static"));
    let fixed = signal(&testbed);
    assert_eq!(condition(&fixed, "Fresh")["status"], "False");
    assert_eq!(fixed["status"]["currentValue"], "700.0 gCO2e/kWh", "the highest that was known is above what was set");
    assert_eq!(metric(&controller, "heliotrope_signal_rung", "grid"), Some(3.0));

    // nothing stops for it
    testbed.apply(&job("urgent", "600s")).unwrap();
    wait("work starts without a signal", 60, || one(&testbed, "job", "urgent")["spec"]["suspend"] == false);
    let events = get(&testbed, &["events", "--all-namespaces"]);
    for rung in ["SignalLastKnown", "SignalStatic"] {
        let of_rung = |event: &&Value| event["reason"] == rung && event["type"] == "Warning";
        assert!(events.iter().any(|event| of_rung(&event)), "{rung}");
    }

    server.grid("KR", &[(-60, 6000, "120")]);
    wait("it comes back", 60, || is_on(&testbed, "Live"));
    assert_eq!(signal(&testbed)["status"]["currentValue"], "120.0 gCO2e/kWh");
    drop(controller);

    // a controller that starts anew, with nobody to ask, stands on what was remembered
    server.say(None);
    let controller = Controller::start(&testbed, &config);
    wait("it stands on what was known", 60, || is_on(&testbed, "LastKnown"));
    let known = signal(&testbed);
    assert_eq!(known["status"]["currentValue"], "120.0 gCO2e/kWh");
    assert_eq!(known["status"]["source"], "last known, provider 0: JSON over HTTP");
    drop(controller);
}
