//! Observe, the default: everything is decided and shown, nothing is touched. What is malformed stops nothing else.

use crate::cluster::{CAP, Controller, condition, domain, get, job, ok, one, site, wait};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn in_observe_everything_is_said_and_nothing_is_touched() {
    let testbed = site("Observe");
    let controller = Controller::start(&testbed, "leaderElection: false");
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
    assert_eq!(condition(&of("broken"), "Accepted")["status"], "False");
    assert!(
        condition(&of("broken"), "Accepted")["message"].as_str().unwrap().contains("`Moon/Base` is not a time zone")
    );
    assert_eq!(condition(&of("row-a"), "Accepted")["status"], "True");
    assert_eq!(of("site")["status"]["effectiveCapWatts"], CAP);

    // an object that the schema would have refused, as one that was stored before the schema was stricter
    let open = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
        "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}]);
    let kind = "powerdomains.heliotrope.dev";
    ok(&testbed, &["patch", "crd", kind, "--type", "json", "--patch", &open.to_string()]);
    let mut nonsense = domain("nonsense", Some("site"), 1000, None);
    nonsense["spec"]["capWatts"] = json!("many");
    wait("the schema is open", 60, || testbed.apply(&nonsense).is_ok());
    testbed.apply(&domain("site", None, CAP - 1000, Some("Observe"))).unwrap();
    wait("the others go on", 60, || one(&testbed, "powerdomain", "site")["status"]["effectiveCapWatts"] == CAP - 1000);
    wait("it is told what is wrong", 60, || {
        let accepted = condition(&one(&testbed, "powerdomain", "nonsense"), "Accepted");
        accepted["reason"] == "Malformed"
            && accepted["message"].as_str().unwrap().starts_with("spec.capWatts: invalid type")
    });
    drop(controller);
}
