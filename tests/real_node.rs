//! A real node in the testbed: containerd and a kubelet, whose pods are processes of this machine.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope_testbed::{Error, Image, RealNode, Testbed};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "a real node works in real time")]
fn now() -> Instant {
    Instant::now()
}

fn wait(what: &str, holds: impl Fn() -> bool) {
    let started = now();
    while !holds() {
        assert!(now().duration_since(started) < Duration::from_secs(60), "after a minute still not: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn said(testbed: &Testbed, arguments: &[&str]) -> String {
    String::from_utf8_lossy(&testbed.kubectl(arguments).unwrap().stdout).into_owned()
}

#[test]
fn a_pod_is_a_process_and_outlives_the_kubelet_and_containerd() {
    let testbed = Testbed::start(&[]).unwrap();
    let own = |path: &str| (PathBuf::from(path), path.to_owned());
    let shell = Image {
        name: "heliotrope.test/shell:1".to_owned(),
        entrypoint: vec!["/bin/sh".to_owned()],
        files: ["/bin/sh", "/bin/sleep", "/bin/date"].map(own).to_vec(),
    };
    let started = RealNode::start(&testbed, "real-0", &[("topology.heliotrope.dev/row", "row-a")], &[shell]);
    if let (Err(Error::Assets(why)), None) = (&started, std::env::var_os("CI")) {
        eprintln!("skipped: {why}");
        return;
    }
    let mut node = started.unwrap();
    let container = json!({"name": "a", "image": "heliotrope.test/shell:1", "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", "while true; do date; sleep 1; done"]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "clock", "namespace": "default"},
        "spec": {"hostNetwork": true, "terminationGracePeriodSeconds": 1, "containers": [container]}});
    testbed.apply(&pod).unwrap();
    let state =
        |path: &str| said(&testbed, &["get", "pod", "clock", "--output", &format!("jsonpath={{.status.{path}}}")]);
    wait("the pod runs", || state("phase") == "Running");
    let id = state("containerStatuses[0].containerID");
    node.restart_containerd().unwrap();
    node.restart_kubelet().unwrap();
    node.wait_until_ready(&testbed).unwrap();
    let lines = || -> usize {
        let folders = std::fs::read_dir(node.logs()).unwrap();
        let logs = folders.flatten().map(|folder| folder.path().join("a/0.log"));
        logs.filter_map(|log| std::fs::read_to_string(log).ok()).map(|text| text.lines().count()).sum()
    };
    let before = lines();
    wait("it goes on", || lines() > before + 1);
    assert_eq!(state("containerStatuses[0].containerID"), id, "it was started anew");
    assert_eq!(state("containerStatuses[0].restartCount"), "0");
    assert!(node.pod_resources().exists());

    let folder = testbed.folder().join("real-0").display().to_string();
    drop(node);
    let left = |line: &str| line.contains(&folder);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.lines().any(left), "mounts are left: {mounts}");
    wait("nothing of it runs any more", || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let arguments = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
        !arguments.into_iter().any(|line| left(&line))
    });
}
