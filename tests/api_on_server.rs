//! The custom resources on a real API server: it takes the definitions, and its own judgement of every rule is the one
//! that people will meet.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "common/cel_cases.rs"]
mod cel_cases;

use cel_cases::{cases, changes_of_events, event, object};
use heliotrope_testbed::Testbed;
use serde_json::{Value, json};
use std::path::Path;

/// What the server says of an object that is created, without keeping it.
fn said(testbed: &Testbed, object: &Value) -> Option<String> {
    let file = testbed.folder().join("object.json");
    std::fs::write(&file, object.to_string()).unwrap();
    let path = file.display().to_string();
    let output = testbed.kubectl(&["create", "--dry-run=server", "--validate=strict", "--filename", &path]).unwrap();
    (!output.status.success()).then(|| String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_real_server_takes_the_definitions_and_keeps_their_rules() {
    let testbed = Testbed::start(&[]).unwrap();
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds").display().to_string();
    let output = testbed.kubectl(&["apply", "--server-side", "--filename", &crds]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output =
        testbed.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "--filename", &crds]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    for case in cases() {
        let said = said(&testbed, &object(case.kind, &case.spec));
        match case.error {
            None => assert_eq!(said, None, "{} {}", case.kind, case.spec),
            Some(error) => {
                assert!(
                    said.as_ref().is_some_and(|said| said.contains(error)),
                    "{}: {said:?}, wanted {error:?}",
                    case.spec
                );
            }
        }
    }

    // bounds of single fields are the server's to hold
    for (kind, spec, error) in [
        ("PowerDomain", json!({"capWatts": -5}), "should be greater than or equal to 1"),
        ("PowerDomain", json!({"capWatts": "5 kW"}), "must be of type integer"),
        ("PowerDomain", json!({"capWats": 5}), "unknown field \"spec.capWats\""),
        ("PowerDomain", json!({"capWatts": 5, "mode": "Dream"}), "Unsupported value: \"Dream\""),
        ("GridSignal", json!({"what": "Price", "zone": "KR", "providers": []}), "should have at least 1 items"),
        ("CurtailmentEvent", event(json!({"capWatts": 0}), json!({})), "should be greater than or equal to 1"),
        ("CurtailmentEvent", event(json!({"reduceWatts": 0}), json!({})), "should be greater than or equal to 1"),
        ("CurtailmentEvent", event(json!({"reducePercent": 0}), json!({})), "should be greater than or equal to 1"),
        ("CurtailmentEvent", event(json!({"reducePercent": 101}), json!({})), "should be less than or equal to 100"),
        (
            "CurtailmentEvent",
            event(json!({"increaseWatts": 5}), json!({})),
            "unknown field \"spec.target.increaseWatts\"",
        ),
        ("CurtailmentEvent", event(json!({"capWatts": 5}), json!({"baseline": "Draw"})), "Unsupported value: \"Draw\""),
        ("CurtailmentEvent", event(json!({"capWatts": 5}), json!({"end": "tomorrow"})), "must be of type date-time"),
        ("CurtailmentEvent", json!({"domain": "site", "target": {"capWatts": 5}}), "spec.end: Required value"),
    ] {
        let said = said(&testbed, &object(kind, &spec)).unwrap_or_default();
        assert!(said.contains(error), "{spec}: {said}");
    }

    // what can't be changed once it is set
    let workload = |job: &str| {
        object("LLMWorkload", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": job}}))
    };
    testbed.apply(&workload("a")).unwrap();
    let error = testbed.apply(&workload("b")).unwrap_err().to_string();
    assert!(error.contains("workloadRef can't be changed once it is set"), "{error}");

    an_event_is_a_record(&testbed);

    // what the README has people apply
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/testbed").display().to_string();
    let arguments = ["create", "--dry-run=server", "--validate=strict", "--filename", &examples];
    let output = testbed.kubectl(&arguments).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // what a person sees first
    let output = testbed.kubectl(&["get", "llm"]).unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let columns: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "PHASE", "WATTS", "DOMAIN", "UNTIL", "WHY", "AGE"]);
    let output = testbed.kubectl(&["explain", "powerdomain.spec.capWatts"]).unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("Real power that may be drawn, in watts"));
}

/// Events can be cancelled and ended earlier, and not changed; what a reduction came to stays.
fn an_event_is_a_record(testbed: &Testbed) {
    let named = |name: &str, spec: &Value| {
        let mut object = object("CurtailmentEvent", spec);
        object["metadata"]["name"] = json!(name);
        object
    };
    for (i, (old, new, error)) in changes_of_events().into_iter().enumerate() {
        let name = format!("event-{i}");
        testbed.apply(&named(&name, &old)).unwrap();
        let said = replaced(testbed, &named(&name, &new));
        match error {
            None => assert_eq!(said, None, "{old} -> {new}"),
            Some(error) => {
                assert!(
                    said.as_ref().is_some_and(|said| said.contains(error)),
                    "{old} -> {new}: {said:?}, wanted {error:?}"
                );
            }
        }
    }
    testbed.apply(&named("percent", &event(json!({"reducePercent": 30}), json!({})))).unwrap();
    let write = |watts: Value| {
        let patch = json!({"status": {"targetWatts": watts}}).to_string();
        let arguments = ["patch", "ce", "percent", "--subresource=status", "--type=merge", "--patch", &patch];
        let output = testbed.kubectl(&arguments).unwrap();
        (!output.status.success()).then(|| String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(write(json!(24000)), None);
    assert_eq!(write(json!(24000)), None);
    for other in [json!(25000), Value::Null] {
        assert!(write(other).unwrap().contains("targetWatts is looked up once and stays what it is"));
    }
    let output = testbed.kubectl(&["get", "ce"]).unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let columns: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "DOMAIN", "TARGET", "PHASE", "MET", "UNTIL", "AGE"]);
}

/// What the server says of an object in the place of another one.
fn replaced(testbed: &Testbed, object: &Value) -> Option<String> {
    let file = testbed.folder().join("object.json");
    std::fs::write(&file, object.to_string()).unwrap();
    let output = testbed.kubectl(&["replace", "--filename", &file.display().to_string()]).unwrap();
    (!output.status.success()).then(|| String::from_utf8(output.stderr).unwrap())
}
