//! The custom resources on a real API server: it takes the definitions, and its own judgement of every rule is the one
//! that people will meet.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "common/cel_cases.rs"]
mod cel_cases;

use cel_cases::{cases, object};
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
