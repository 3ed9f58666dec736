//! The testbed itself: a real control plane starts, Jobs are held, placed, started and finish as they do in a cluster,
//! and nothing of it is left behind.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope_testbed::{Testbed, two_rows};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn get(testbed: &Testbed, arguments: &[&str]) -> Value {
    let output = testbed.kubectl(&[arguments, &["--output", "json"]].concat()).unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

#[expect(clippy::disallowed_methods, reason = "a real control plane works in real time")]
fn now() -> Instant {
    Instant::now()
}

/// Waits until something holds; `what` is said where it never does.
fn wait(what: &str, holds: impl Fn() -> bool) -> Duration {
    let started = now();
    while !holds() {
        assert!(now().duration_since(started) < Duration::from_secs(60), "after a minute still not: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
    now().duration_since(started)
}

fn job(name: &str, runtime: Option<&str>) -> Value {
    let mut annotations = json!({});
    if let Some(runtime) = runtime {
        annotations["heliotrope.dev/kwok-runtime"] = json!(runtime);
    }
    let gpus = json!({"limits": {"nvidia.com/gpu": "8"}});
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"},
        "spec": {"suspend": true, "parallelism": 2, "completions": 2, "template": {
            "metadata": {"annotations": annotations},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "train", "image": "train", "resources": gpus}]},
        }},
    })
}

fn patch(testbed: &Testbed, name: &str, patch: Value) {
    let output = testbed.kubectl(&["patch", "job", name, "--type", "merge", "--patch", &patch.to_string()]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn pods(testbed: &Testbed, job: &str) -> Vec<Value> {
    let list = get(testbed, &["get", "pods", "--selector", &format!("job-name={job}")]);
    list["items"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_held_job_is_placed_started_and_finishes_and_nothing_is_left_behind() {
    let testbed = Testbed::start(&two_rows(4)).unwrap();
    let ids = testbed.ids();
    assert_eq!(ids.len(), 5);
    wait("all nodes are ready", || {
        let nodes = get(&testbed, &["get", "nodes"]);
        let ready = |node: &Value| {
            let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
        };
        nodes["items"].as_array().is_some_and(|nodes| nodes.len() == 4 && nodes.iter().all(ready))
    });

    // held, given a row while it is held, and started
    testbed.apply(&job("train", Some("3s"))).unwrap();
    assert!(pods(&testbed, "train").is_empty());
    let row = json!({"topology.heliotrope.dev/row": "row-b"});
    patch(&testbed, "train", json!({"spec": {"template": {"spec": {"nodeSelector": row}}}}));
    patch(&testbed, "train", json!({"spec": {"suspend": false}}));
    wait("two pods are bound in row-b", || {
        let pods = pods(&testbed, "train");
        let in_row = |pod: &Value| pod["spec"]["nodeName"].as_str().is_some_and(|node| node.starts_with("row-b"));
        pods.len() == 2 && pods.iter().all(in_row)
    });
    wait("the job is complete", || get(&testbed, &["get", "job", "train"])["status"]["succeeded"] == 2);

    // suspended while it runs: its pods are Terminating for 10 s before they are gone
    testbed.apply(&job("stopped", None)).unwrap();
    patch(&testbed, "stopped", json!({"spec": {"suspend": false}}));
    wait("its pods run", || {
        let pods = pods(&testbed, "stopped");
        pods.len() == 2 && pods.iter().all(|pod| pod["status"]["phase"] == "Running")
    });
    patch(&testbed, "stopped", json!({"spec": {"suspend": true}}));
    let gone = wait("its pods are gone", || pods(&testbed, "stopped").is_empty());
    assert!(gone >= Duration::from_secs(8), "they were gone after {gone:?}");

    let folder = testbed.folder().to_path_buf();
    drop(testbed);
    assert!(!folder.exists());
    for id in ids {
        let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        assert!(!arguments.contains(&folder.display().to_string()), "{id} is left: {arguments}");
    }
}

#[test]
fn two_stand_side_by_side() {
    let (a, b) = (Testbed::start(&[]).unwrap(), Testbed::start(&two_rows(1)).unwrap());
    let nodes = |testbed: &Testbed| get(testbed, &["get", "nodes"])["items"].as_array().unwrap().len();
    assert_eq!((nodes(&a), nodes(&b)), (0, 1));
}
