//! Several workloads on one node: each has limits of its own, and the node holds its lease whatever they are.

use crate::objects::{grant, job, of, runs};
use crate::world::{Chance, HOST, World};
use heliotrope::agent::divide::{Device, Want, scaled, whole};
use heliotrope::api::{AcceleratorPower, AcceleratorShare, ChildKey, Knob};
use heliotrope::units::Watts;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A Job of these pods, each so many accelerators of a node.
pub fn runs_on(world: &mut World, name: &str, spec: Value, pods: &[(usize, u32)]) {
    let hosts: Vec<String> = world.hosts.iter().map(|host| host.name.clone()).collect();
    let snapshot = &mut world.store.snapshot;
    for (i, (at, gpus)) in pods.iter().enumerate() {
        let labels = json!({"batch.kubernetes.io/controller-uid": format!("uid-{name}")});
        let limits = json!({"nvidia.com/gpu": gpus.to_string()});
        snapshot.pods.push(Arc::new(of(json!({
            "metadata": {"name": format!("{name}-{i}"), "namespace": "team", "labels": labels},
            "spec": {"nodeName": hosts[*at], "containers": [{"name": "a", "resources": {"limits": limits}}]},
            "status": {"phase": "Running"}}))));
    }
    let mut spec = spec;
    spec["workloadRef"] = json!({"apiVersion": "batch/v1", "kind": "Job", "name": name});
    snapshot.jobs.push(job(name, runs));
    snapshot.workloads.push(of(json!({"metadata": {"name": name, "namespace": "team"}, "spec": spec})));
}

/// The agent of a node knows which pod has which of its eight accelerators.
pub fn knows(world: &mut World, at: usize, holders: [&str; 8]) {
    let gpu = |(i, pod): (usize, &str)| AcceleratorPower {
        uuid: format!("GPU-{at}-{i}"),
        min_watts: Some(120),
        max_watts: Some(400),
        pod: Some(pod).filter(|pod| !pod.is_empty()).map(|pod| format!("team/{pod}")),
        ..AcceleratorPower::default()
    };
    world.hosts[at].accelerators = holders.into_iter().enumerate().map(gpu).collect();
}

fn shares(world: &World, at: usize) -> Vec<AcceleratorShare> {
    let host = &world.hosts[at];
    world.store.allotments[host.row].child(&ChildKey::node(&host.name)).unwrap().shares.clone()
}

/// What the agent sets on each accelerator of a node, by its lease, its shares and what is in force.
pub fn limits(world: &World, at: usize) -> Vec<i64> {
    let host = &world.hosts[at];
    let device = |gpu: &AcceleratorPower| Device { uuid: gpu.uuid.clone(), min: Watts(120), max: Watts(400) };
    let devices: Vec<Device> = host.accelerators.iter().map(device).collect();
    let shares: BTreeMap<String, Watts> =
        host.shares.iter().map(|share| (share.uuid.clone(), Watts(share.limit_watts))).collect();
    let lease = host.kept.held.as_ref().unwrap().figures.watts - Watts(HOST);
    let made = scaled(&whole(lease, &devices, &Want::Level(shares)), &devices, host.limit - Watts(HOST));
    let limits: Vec<i64> = made.limits.iter().map(|limit| limit.0).collect();
    assert!(limits.iter().sum::<i64>() <= host.limit.0 - HOST, "{limits:?} of {}", host.limit);
    limits
}

fn two_on_one(chance: &mut Chance) -> World {
    let mut world = World::new(0);
    world.store.snapshot.pods.retain(|pod| pod.spec.as_ref().unwrap().node_name.as_deref() != Some("row-a-0"));
    runs_on(&mut world, "serving", json!({"class": "Serving"}), &[(0, 4)]);
    runs_on(&mut world, "training", json!({"class": "Pretraining"}), &[(0, 4)]);
    world.settle(150, chance);
    world
}

#[test]
fn each_workload_on_a_node_has_its_own_limits() {
    let mut chance = Chance::new(21);
    let mut world = two_on_one(&mut chance);
    world.order("row-a", 12_000, 2000);
    world.run(60, &mut chance);
    assert_eq!(shares(&world, 0), [], "nobody knows who has which: all have one limit");
    let before = world.hosts[0].kept.sequence;
    knows(
        &mut world,
        0,
        ["serving-0", "serving-0", "training-0", "training-0", "serving-0", "serving-0", "training-0", "training-0"],
    );
    world.run(60, &mut chance);
    assert!(world.hosts[0].kept.sequence > before, "limits come with a lease");
    let [serves, trains] = [0, 2].map(|gpu| limits(&world, 0)[gpu]);
    assert_eq!(limits(&world, 0), [serves, serves, trains, trains, serves, serves, trains, trains]);
    assert!((198..=200).contains(&serves), "an answer is not faster above 200 W: {:?}", limits(&world, 0));
    assert!(trains > 240, "the other has what that leaves: {:?}", limits(&world, 0));
    assert!(world.drawn()["row-a"] >= Watts(11_940), "and every watt is used: {}", world.tell());
    // what stays is not written again
    let sequence = world.hosts[0].kept.sequence;
    world.run(60, &mut chance);
    assert_eq!(world.hosts[0].kept.sequence, sequence);
    // the serving one is gone, and another has its accelerators
    world.store.snapshot.pods.retain(|pod| pod.metadata.name.as_deref() != Some("serving-0"));
    runs_on(&mut world, "tuning", json!({"class": "FineTuning", "flexibility": "High"}), &[(0, 4)]);
    knows(
        &mut world,
        0,
        ["tuning-0", "tuning-0", "training-0", "training-0", "tuning-0", "tuning-0", "training-0", "training-0"],
    );
    world.run(60, &mut chance);
    assert!(limits(&world, 0)[2] > limits(&world, 0)[0], "it tolerates more: {:?}", limits(&world, 0));
    // the kubelet says nothing any more
    knows(&mut world, 0, [""; 8]);
    world.run(60, &mut chance);
    assert_eq!(shares(&world, 0), [], "{}", world.tell());
    assert!(limits(&world, 0).windows(2).all(|pair| pair[0] == pair[1]));
}

/// Serving draws less than its limits: by a profile with that knob its clock is locked, by what it is granted, beside the limit.
#[test]
fn serving_is_locked_at_the_clock_of_its_watts() {
    let mut chance = Chance::new(24);
    let mut world = two_on_one(&mut chance);
    let spec = &mut world.store.snapshot.profiles[0].spec;
    spec.knob = Knob::ClockLock;
    for (point, clock) in spec.points.iter_mut().zip([705, 1410]) {
        point.clock_megahertz = Some(clock);
    }
    let pods =
        ["serving-0", "serving-0", "serving-0", "serving-0", "training-0", "training-0", "training-0", "training-0"];
    knows(&mut world, 0, pods);
    let clocks = |world: &World| {
        let shares = shares(world, 0);
        assert_eq!(shares.len(), 8);
        let of = |share: &AcceleratorShare| (share.limit_watts >= 200, share.clock_megahertz);
        [0, 4].map(|at| of(&shares[at]))
    };
    world.run(60, &mut chance);
    assert_eq!(clocks(&world), [(true, Some(1410)), (true, None)], "{:?}", shares(&world, 0));
    // less than 200 W for each
    world.order("row-a", 9_000, 600);
    world.run(60, &mut chance);
    assert_eq!(clocks(&world)[0], (false, Some(705)), "{:?}", shares(&world, 0));
    assert_eq!(clocks(&world)[1].1, None, "training is held by limits");

    // alone on its node it is locked too
    world.store.snapshot.pods.retain(|pod| pod.metadata.name.as_deref() != Some("training-0"));
    knows(&mut world, 0, ["serving-0", "serving-0", "serving-0", "serving-0", "", "", "", ""]);
    world.run(60, &mut chance);
    let locked: Vec<bool> = shares(&world, 0).iter().map(|share| share.clock_megahertz.is_some()).collect();
    assert_eq!(locked, [true; 4], "{:?}", shares(&world, 0));

    // a profile that is refused locks nothing
    world.store.snapshot.profiles[0].spec.points[0].draw_watts = 10;
    world.run(60, &mut chance);
    assert!(shares(&world, 0).iter().all(|share| share.clock_megahertz.is_none()), "{:?}", shares(&world, 0));
}

/// What is known of one workload is not made to depend on what is not known of another.
#[test]
fn those_of_whom_nobody_knows_have_the_rest() {
    let mut chance = Chance::new(22);
    let mut world = two_on_one(&mut chance);
    knows(&mut world, 0, ["serving-0", "serving-0", "serving-0", "serving-0", "", "", "", ""]);
    world.order("row-a", 12_000, 600);
    world.run(60, &mut chance);
    assert_eq!(shares(&world, 0).len(), 4, "{:?}", shares(&world, 0));
    let limits = limits(&world, 0);
    assert!((198..=200).contains(&limits[0]) && limits[4] > 240, "{limits:?}");
}

/// A gang runs at its slowest accelerator: what it could have above that on one of its nodes does more for those beside it.
#[test]
fn a_gang_on_several_nodes_has_one_limit() {
    let mut chance = Chance::new(23);
    let mut world = World::new(0);
    world.store.snapshot.domains[0].spec.cap_watts = 36_000;
    let on = |node: Option<&str>| matches!(node, Some("row-a-0" | "row-a-1"));
    world.store.snapshot.pods.retain(|pod| !on(pod.spec.as_ref().unwrap().node_name.as_deref()));
    runs_on(&mut world, "gang", json!({"class": "Pretraining", "flexibility": "High"}), &[(0, 4), (1, 4)]);
    runs_on(&mut world, "strict", json!({"class": "Pretraining"}), &[(0, 4)]);
    runs_on(&mut world, "soft", json!({"class": "Pretraining", "flexibility": "High"}), &[(1, 4)]);
    knows(&mut world, 0, ["gang-0", "gang-0", "gang-0", "gang-0", "strict-0", "strict-0", "strict-0", "strict-0"]);
    knows(&mut world, 1, ["gang-1", "gang-1", "gang-1", "gang-1", "soft-0", "soft-0", "soft-0", "soft-0"]);
    world.settle(150, &mut chance);
    // where the promises fit, a watt would do more for the gang on one of them
    for cap in [15_500, 14_700, 12_500, 10_500] {
        world.order("row-a", cap, 100);
        world.run(70, &mut chance);
        let [here, there] = [0, 1].map(|at| limits(&world, at));
        assert!((here[0] - there[0]).abs() <= 4, "{cap}: {here:?} {there:?}\n{}", world.tell());
        world.run(60, &mut chance);
    }
}

/// What a plan slows has no more than its point, whatever is left over; what was promised to it comes before.
#[test]
fn a_plan_holds_a_node_below_full_and_not_below_its_promise() {
    let mut chance = Chance::new(25);
    let mut world = World::new(0);
    for at in 1..4 {
        world.work(at);
    }
    world.employ(0, json!({"class": "Pretraining", "flexibility": "Medium"}));
    knows(&mut world, 0, ["pod"; 8]);
    let hold = |world: &mut World, limit: Option<i64>| {
        grant(&mut world.store.snapshot, "uid-job-0", "row-a", 8 * limit.unwrap_or(400));
        let status = world.store.snapshot.domains[0].status.as_mut().unwrap();
        let slowed = json!({"limitWatts": limit, "lostSeconds": 0});
        status.ledger.as_mut().unwrap().grants[0].slowed = Some(of(slowed));
    };
    world.settle(150, &mut chance);
    assert_eq!(limits(&world, 0), [400; 8]);
    hold(&mut world, Some(300));
    world.run(60, &mut chance);
    assert_eq!(limits(&world, 0), [300; 8], "{}", world.tell());
    hold(&mut world, Some(150));
    world.run(60, &mut chance);
    let promised = limits(&world, 0);
    assert!(promised.iter().all(|limit| (240..=242).contains(limit)), "three quarters of its speed: {promised:?}");
    hold(&mut world, None);
    world.run(400, &mut chance);
    assert_eq!(limits(&world, 0), [400; 8], "a raise waits as any other: {}", world.tell());
}
