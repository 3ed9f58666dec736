//! A real node in the testbed: containerd and a kubelet, whose pods are processes of this machine.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]
#![allow(clippy::cast_possible_wrap, clippy::cast_precision_loss, reason = "watts of one node")]

mod chart;
mod faults;
mod meter;
mod points;
mod refusals;

use heliotrope::agent::holders::{Holders, ask};
use heliotrope_testbed::{DevicePlugin, Error, Image, RealNode, Testbed};
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
        assert!(now().duration_since(started) < Duration::from_secs(120), "after two minutes still not: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn said(testbed: &Testbed, arguments: &[&str]) -> String {
    String::from_utf8_lossy(&testbed.kubectl(arguments).unwrap().stdout).into_owned()
}

/// The node `real-0`; none, with a word, for a person whose machine lacks what it is made of.
fn real_node(testbed: &Testbed, labels: &[(&str, &str)], images: &[Image]) -> Option<RealNode> {
    let started = RealNode::start(testbed, "real-0", labels, images);
    if let (Err(Error::Assets(why)), None) = (&started, std::env::var_os("CI")) {
        eprintln!("skipped: {why}");
        return None;
    }
    Some(started.unwrap())
}

/// Which pod has which accelerator, by the kubelet's word as the agent hears it.
fn asked(node: &RealNode) -> Result<Holders, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ask(&node.pod_resources())).map(|said| said.holders)
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
    let Some(mut node) = real_node(&testbed, &[("topology.heliotrope.dev/row", "row-a")], &[shell]) else { return };
    assert_eq!(asked(&node), Ok(Holders::new()));
    let gpus = || (0..8).map(|i| format!("GPU-{i}")).collect::<Vec<_>>();
    let plugin = DevicePlugin::start("nvidia.com/gpu", gpus()).unwrap();
    let offered =
        || said(&testbed, &["get", "node", "real-0", "--output", "jsonpath={.status.allocatable.nvidia\\.com/gpu}"]);
    wait("the node has accelerators", || offered() == "8");
    let container = json!({"name": "a", "image": "heliotrope.test/shell:1", "imagePullPolicy": "Never",
        "resources": {"limits": {"nvidia.com/gpu": 2}},
        "command": ["/bin/sh", "-c", "while true; do date; sleep 1; done"]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "clock", "namespace": "default"},
        "spec": {"hostNetwork": true, "terminationGracePeriodSeconds": 1, "containers": [container]}});
    testbed.apply(&pod).unwrap();
    let state =
        |path: &str| said(&testbed, &["get", "pod", "clock", "--output", &format!("jsonpath={{.status.{path}}}")]);
    wait("the pod runs", || state("phase") == "Running");
    let held = asked(&node).unwrap();
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|(gpu, pod)| gpu.starts_with("GPU-") && pod == "default/clock"), "{held:?}");
    let id = state("containerStatuses[0].containerID");
    node.restart_containerd().unwrap();
    node.restart_kubelet().unwrap();
    node.wait_until_ready(&testbed).unwrap();
    // a plugin registers anew with a kubelet that is new
    drop(plugin);
    let plugin = DevicePlugin::start("nvidia.com/gpu", gpus()).unwrap();
    wait("the kubelet knows what it gave", || asked(&node).as_ref() == Ok(&held));
    let lines = || -> usize {
        let folders = std::fs::read_dir(node.logs()).unwrap();
        let logs = folders.flatten().map(|folder| folder.path().join("a/0.log"));
        logs.filter_map(|log| std::fs::read_to_string(log).ok()).map(|text| text.lines().count()).sum()
    };
    let before = lines();
    wait("it goes on", || lines() > before + 1);
    assert_eq!(state("containerStatuses[0].containerID"), id, "it was started anew");
    assert_eq!(state("containerStatuses[0].restartCount"), "0");
    plugin.offer(gpus()[..1].to_vec());
    wait("seven accelerators are gone", || offered() == "1");

    let folder = testbed.folder().join("real-0").display().to_string();
    let socket = node.pod_resources();
    drop((plugin, node));
    assert!(!socket.exists() || std::os::unix::net::UnixStream::connect(&socket).is_err());
    let left = |line: &str| line.contains(&folder);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.lines().any(left), "mounts are left: {mounts}");
    wait("nothing of it runs any more", || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let arguments = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
        !arguments.into_iter().any(|line| left(&line))
    });
}
