//! The boot guard: before the kubelet, every GPU at its safe limit, or it says so and fails.

use crate::node::Plant;
use heliotrope::actuator::state::{FILE, Record, State};
use heliotrope::units::Watts;
use nvml_sim::{Calls, Fault, FaultKind};
use std::process::Output;

/// A state that another boot has left: what the first GPU falls to.
fn left_behind(plant: &Plant, fall: i64) {
    let record = Record {
        boot_id: "the boot before".to_owned(),
        sequence: 70,
        limit_watts: Watts(600),
        fall_watts: Watts(fall),
        clock_lock_megahertz: None,
        waits_until_boot_millis: None,
    };
    State { gpus: [(plant.uuids[0].clone(), record)].into() }.save(&plant.state()).unwrap();
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn after_a_reboot_every_gpu_gets_its_safe_limit() {
    let plant = Plant::new(3);
    left_behind(&plant, 350);
    plant.node.reboot().unwrap();
    plant.node.foreign_set_limit(2, 210_000).unwrap();
    let output = plant.guard(&["--safe-watts", "400"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(plant.limits(), [350, 400, 210], "the recorded one, the given one, and never up");
    assert!(said(&output).contains("700 W was in force, safe at 350 W, 350 W is read back"), "{}", said(&output));
    // again: nothing changes
    assert!(plant.guard(&["--safe-watts", "400"]).status.success());
    assert_eq!(plant.limits(), [350, 400, 210]);
    // with the state alone: a GPU that has no record gets the lowest
    let output = plant.guard(&[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(plant.limits(), [350, 200, 200]);
}

#[test]
fn a_torn_state_means_the_lowest_limit() {
    let plant = Plant::new(2);
    left_behind(&plant, 350);
    let file = plant.state().join(FILE);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let output = plant.guard(&["--safe-watts", "400"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(plant.limits(), [200, 200]);
    assert!(said(&output).contains("the state is not believed"), "{}", said(&output));
}

#[test]
fn without_any_safe_limit_it_fails_and_changes_nothing() {
    let plant = Plant::new(1);
    let output = plant.guard(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(plant.limits(), [700]);
    assert!(said(&output).contains("--safe-watts"), "{}", said(&output));
}

#[test]
fn it_fails_where_one_gpu_is_not_read_back() {
    let hang = FaultKind::Hang { calls: Calls::Set, seconds: 30.0 };
    for (fault, why) in [
        (FaultKind::NotApplied, "does not hold"),
        (FaultKind::NoPermission, "permission"),
        (FaultKind::Lost, "fell off the bus"),
        (hang, "has not come back for 10 s"),
    ] {
        let plant = Plant::new(2);
        plant.node.set_faults(vec![Fault::new(fault.clone()).on(0)]).unwrap();
        let output = plant.guard(&["--safe-watts", "300"]);
        assert_eq!(output.status.code(), Some(2), "{fault:?}: {}", said(&output));
        assert_eq!(plant.limits(), [700, 300], "{fault:?}: the other is safe all the same");
        assert!(said(&output).contains(why), "{fault:?}: {}", said(&output));
        assert!(said(&output).contains("1 of 2 GPUs"), "{}", said(&output));
    }
}

#[test]
fn without_a_driver_it_fails_in_words() {
    let plant = Plant::new(1);
    let output = plant.command(&["--boot-guard", "--safe-watts", "300"]).env_remove(nvml_sim::NODE_VARIABLE).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("driver"), "{}", said(&output));
}

#[test]
fn told_to_wait_it_tries_until_the_driver_is_there() {
    let plant = Plant::new(2);
    let away = Fault { for_seconds: Some(2.0), ..Fault::new(FaultKind::DriverReload) };
    plant.node.set_faults(vec![away]).unwrap();
    let output = plant.guard(&["--safe-watts", "300"]);
    assert_eq!(output.status.code(), Some(2), "without: {}", said(&output));
    let output = plant.guard(&["--safe-watts", "300", "--wait", "30"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("It is tried again"), "{}", said(&output));
    assert_eq!(plant.limits(), [300, 300]);
}
