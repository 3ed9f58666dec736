//! A cap that is known to fall: who can be asked for a checkpoint is asked first, goes on, and is stopped when it has answered.

use crate::cluster::{Controller, job, ok, one, site, wait};
use heliotrope::clock;
use heliotrope::units::Seconds;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_checkpoint_is_asked_for_and_waited_for() {
    let testbed = site("Enforce");
    let controller = Controller::start(&testbed, "leaderElection: false");
    let mut train = job("train", "900s");
    train["metadata"]["annotations"]["heliotrope.dev/checkpoint"] = json!("10m/5s/annotation/5m");
    testbed.apply(&train).unwrap();
    let seen = || one(&testbed, "job", "train");
    let is_held = |job: &Value| job["spec"]["suspend"] == true;
    let runs = || !is_held(&seen()) && seen()["status"]["active"] == 1;
    wait("it runs", 120, runs);
    let at = (clock::now() + Seconds(240)).to_string();
    let ordered = Command::new(env!("CARGO_BIN_EXE_heliotrope"))
        .args(["curtail", "site", "--to", "1 kW", "--at", &at, "--for", "1h", "--kubeconfig"])
        .arg(testbed.kubeconfig())
        .output()
        .unwrap();
    assert!(ordered.status.success(), "{}", String::from_utf8_lossy(&ordered.stderr));
    let asked = || seen()["metadata"]["annotations"]["heliotrope.dev/checkpoint-asked"].clone();
    wait("it is asked for a checkpoint", 60, || asked().is_string());
    let said = || one(&testbed, "llmworkload", "train")["status"].clone();
    wait("its status says so", 30, || said()["reason"] == "CheckpointAsked");
    assert_eq!(said()["phase"], "Running", "{}", said());
    let first = asked();
    std::thread::sleep(Duration::from_secs(6));
    assert!(runs(), "it is not stopped before it has answered");
    assert_eq!(asked(), first, "it is asked once");

    let answer = format!("heliotrope.dev/checkpointed-at={}", clock::now());
    ok(&testbed, &["annotate", "job", "train", &answer]);
    wait("it is stopped", 30, || is_held(&seen()));
    let note = seen()["metadata"]["annotations"]["heliotrope.dev/done"].clone();
    let done: i64 = note.as_str().unwrap().split('@').next().unwrap().parse().unwrap();
    assert!(done > 0, "what it did until its checkpoint is not done again: {note}");
    drop(controller);
}
