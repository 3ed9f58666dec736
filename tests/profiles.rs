//! What is said of a profile that can't be right, and what counts instead: no server.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::api::{AcceleratorProfile, AcceleratorProfileStatus, Knob, WorkloadClass};
use heliotrope::controller::profiles::{models, status};
use heliotrope::controller::site::{device, device_idle, device_load, profile};
use heliotrope::core::profile::{Curve, Profile};
use heliotrope::units::{Moment, Watts};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const A100: &str = "NVIDIA-A100-SXM4-80GB";
const GOOD: [(i64, i64, i64); 4] = [(100, 102, 240), (200, 196, 807), (300, 288, 950), (400, 345, 1000)];

/// An A100 with limit, draw and speed at each point.
fn a100(points: &[(i64, i64, i64)]) -> AcceleratorProfile {
    let point = |&(limit, draw, work): &(i64, i64, i64)| json!({"limitWatts": limit, "drawWatts": draw, "throughputPermille": work});
    let points: Vec<Value> = points.iter().map(point).collect();
    let spec = json!({"deviceModel": A100, "workloadClasses": ["FineTuning"], "points": points, "minWatts": 100, "maxWatts": 400,
        "idleWatts": 60, "overshootPermille": 20, "source": "this test"});
    serde_json::from_value(json!({"metadata": {"name": "mine", "generation": 3}, "spec": spec})).unwrap()
}

fn said(profile: &AcceleratorProfile) -> AcceleratorProfileStatus {
    status(profile, &[], &BTreeSet::from([A100]), Moment(0))
}

/// Status, reason and message of a condition.
fn of<'a>(status: &'a AcceleratorProfileStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    assert_eq!(condition.observed_generation, Some(3));
    (&condition.status, &condition.reason, &condition.message)
}

/// The conditions that do not hold.
fn wrong(status: &AcceleratorProfileStatus) -> Vec<&str> {
    let wrong = status.conditions.iter().filter(|condition| condition.status != "True");
    wrong.map(|condition| condition.type_.as_str()).collect()
}

fn curve(profile: AcceleratorProfile) -> Option<Curve> {
    counted(profile).map(|profile| profile.curve().clone())
}

fn counted(mine: AcceleratorProfile) -> Option<Profile> {
    profile(&[mine], A100, WorkloadClass::FineTuning, None)
}

#[test]
fn a_good_one_has_all_conditions() {
    let status = said(&a100(&GOOD));
    assert!(wrong(&status).is_empty());
    let kinds: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(kinds, ["Accepted", "Concave", "OnNodes", "WithinLimits"]);
    assert_eq!((status.knee_watts, status.hull_points), (Some(196), Some(4)));
}

#[test]
fn one_that_is_not_concave_names_the_points_and_counts_with_the_hull() {
    let dented = a100(&[(100, 102, 240), (200, 196, 300), (300, 288, 950), (400, 345, 1000)]);
    let status = said(&dented);
    assert_eq!(wrong(&status), ["Concave"]);
    let (_, reason, message) = of(&status, "Concave");
    assert_eq!(reason, "BelowHull");
    assert!(message.starts_with("points: the one at 200 W lies below the line"), "{message}");
    assert_eq!(curve(dented).unwrap().at(Watts(200)), 595);
}

#[test]
fn one_with_one_point_counts_with_the_generic_curve_and_its_own_range() {
    let single = a100(&[(400, 345, 1000)]);
    let status = said(&single);
    assert_eq!(wrong(&status), ["Concave"]);
    assert_eq!(of(&status, "Concave").1, "OnePoint");
    assert_eq!(status.knee_watts, None, "one point has no knee");
    assert_eq!(curve(single.clone()).unwrap(), Curve::generic(Watts(400)));
    assert_eq!(device(&[single], A100).min, Watts(100));
}

#[test]
fn one_that_lies_counts_with_the_margin_that_it_shows() {
    let lies = a100(&[(100, 121, 240), (200, 196, 807), (400, 345, 1000)]);
    let status = said(&lies);
    assert_eq!(wrong(&status), ["WithinLimits"]);
    let (_, reason, message) = of(&status, "WithinLimits");
    assert_eq!(reason, "AboveLimit");
    assert!(
        message.contains("under a limit of 100 W it draws 121 W, more than overshootPermille 20 allows"),
        "{message}"
    );
    let profiles = [lies];
    assert_eq!(device(&profiles, A100).overshoot_permille, 210, "leases reserve it");
    let load = device_load(&profiles, A100, WorkloadClass::FineTuning, None);
    assert_eq!(load, Watts(484 - 60), "grants charge it");
}

#[test]
fn one_that_no_device_can_be_is_refused_and_the_nameplate_counts() {
    for (points, what) in [
        ([(100, 50, 240), (400, 345, 1000)], "the point at 100 W draws 50 W, less than 60 W when idle"),
        ([(100, 250, 240), (400, 345, 1000)], "the point at 100 W draws 250 W, more than twice its limit"),
        ([(100, 102, 0), (400, 345, 0)], "no point has a throughput above zero"),
    ] {
        let refused = a100(&points);
        let status = said(&refused);
        assert_eq!(wrong(&status), ["Accepted", "Concave", "WithinLimits"]);
        let (_, reason, message) = of(&status, "Accepted");
        assert_eq!(reason, "Refused");
        assert!(message.contains(what), "{message}");
        assert!(message.contains("400 W for each accelerator by its nameplate and the generic curve"), "{message}");
        assert_eq!((status.knee_watts, status.hull_points), (None, None));
        let profiles = [refused];
        let load = device_load(&profiles, A100, WorkloadClass::FineTuning, None);
        assert_eq!(load + device_idle(&profiles, A100), Watts(400));
        assert_eq!(device(&profiles, A100).overshoot_permille, 20, "points that are refused don't raise the margin");
    }
}

#[test]
fn one_that_another_counts_before_says_so() {
    let mine = a100(&GOOD);
    let note = |other: &AcceleratorProfile| {
        let status = status(&mine, &[other.clone(), mine.clone()], &BTreeSet::from([A100]), Moment(0));
        let (holds, reason, message) = of(&status, "Accepted");
        assert_eq!(holds, "True");
        (reason == "AcceptedWithNotes").then(|| message.to_owned())
    };
    let mut other = mine.clone();
    other.metadata.name = Some("a100".to_owned());
    assert!(note(&other).unwrap().contains("AcceleratorProfile a100 is for the same device and work and counts"));
    other.spec.workload_classes = Vec::new();
    assert_eq!(note(&other), None, "one for its class comes before one for any");
    other.spec.workload_classes.clone_from(&mine.spec.workload_classes);
    other.metadata.name = Some("yours".to_owned());
    assert_eq!(note(&other), None, "a later one");
    other.metadata.name = Some("a100".to_owned());
    other.spec.device_model = "NVIDIA-A40".to_owned();
    assert_eq!(note(&other), None, "another device");
}

#[test]
fn clocks_that_are_for_nobody_are_told() {
    let mut tuning = a100(&GOOD);
    tuning.spec.knob = Knob::ClockLock;
    let message = |profile: &AcceleratorProfile| of(&said(profile), "Accepted").2.to_owned();
    assert!(message(&tuning).starts_with("knob: ClockLock is for class Serving"), "{}", message(&tuning));
    tuning.spec.workload_classes.push(WorkloadClass::Serving);
    assert_eq!(message(&tuning), "it can be counted with");
}

#[test]
fn one_for_a_device_that_no_node_has_says_which_there_are() {
    let node = |model: Option<&str>| {
        let labels = model.map(|model| json!({"nvidia.com/gpu.product": model}));
        Arc::new(serde_json::from_value(json!({"metadata": {"name": "n", "labels": labels}})).unwrap())
    };
    let nodes = [node(Some("NVIDIA-A40")), node(Some("NVIDIA-A100-SXM4-40GB")), node(Some("NVIDIA-A40")), node(None)];
    let found = models(&nodes);
    assert_eq!(found.iter().copied().collect::<Vec<_>>(), ["NVIDIA-A100-SXM4-40GB", "NVIDIA-A40"]);
    let lost = status(&a100(&GOOD), &[], &found, Moment(0));
    assert_eq!(wrong(&lost), ["OnNodes"]);
    let (_, reason, message) = of(&lost, "OnNodes");
    assert_eq!(reason, "NoNode");
    assert!(message.contains(&format!("no node has the label nvidia.com/gpu.product={A100}")), "{message}");
    assert!(message.contains("`NVIDIA-A100-SXM4-40GB`, `NVIDIA-A40`"), "{message}");
    let nowhere = status(&a100(&GOOD), &[], &BTreeSet::new(), Moment(0));
    assert!(of(&nowhere, "OnNodes").2.contains("no node has a label nvidia.com/gpu.product"));
}
