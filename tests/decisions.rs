//! What the controller would do about a whole site: the objects of a moment in, starts and stops out. Each story is a way to
//! pass a cap, or to stop for nothing what runs.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "common/objects.rs"]
mod objects;

use heliotrope::controller::config::Config;
use heliotrope::controller::snapshot::Snapshot;
use heliotrope::controller::world::{State, World, world};
use heliotrope::core::admit::{Action, Cycle, Reason, cycle};
use heliotrope::core::plan::Heliotrope;
use heliotrope::units::{Seconds, Watts};
use objects::{DEVICE, H100, domain, job, node, of, pod, runs};
use serde_json::{Value, json};
use std::sync::Arc;

/// One Job of eight devices; its host draws what it draws idle.
const JOB: i64 = 8 * DEVICE;
/// A node of eight that idle.
const IDLE: i64 = 8 * 105;

/// Rows a and b of two nodes each, under a site with room for so many Jobs.
fn site(room: i64) -> Snapshot {
    let row = |name: &str| {
        let classes = json!([{"name": "dgx", "matchLabels": {}, "hostIdleWatts": 0, "hostMaxWatts": 0}]);
        let spec = json!({"capWatts": 400_000, "parent": "site", "nodeClasses": classes,
            "nodeSelector": {"matchLabels": {"row": name}}});
        domain(name, spec)
    };
    Snapshot {
        domains: vec![
            domain("site", json!({"capWatts": 16 * IDLE + room * JOB + 100, "mode": "Enforce"})),
            row("a"),
            row("b"),
        ],
        nodes: (0..16).map(|i| node(&format!("n{i}"), if i % 2 == 0 { "a" } else { "b" }, H100)).collect(),
        ..objects::snapshot()
    }
}

fn grants(snapshot: &mut Snapshot, all: &[(&str, &str)]) {
    let grant = |(name, domain): &(&str, &str)| {
        json!({"uid": format!("uid-{name}"), "namespace": "team", "name": name, "domain": domain,
            "watts": JOB, "accelerators": 8, "hosts": 1})
    };
    let grants: Vec<Value> = all.iter().map(grant).collect();
    snapshot.domains[0].status = Some(of(json!({"ledger": {"sequence": 1, "grants": grants}})));
}

/// A pod of a Job on a node; on its way out for so many seconds, where it is.
fn on(snapshot: &mut Snapshot, name: &str, node: &str, leaving: Option<i64>) {
    let uid = format!("pod-{name}-{node}");
    let mut pod = (*pod(Some(&format!("uid-{name}")), Some(node))).clone();
    pod.metadata.uid = Some(uid.clone());
    if let Some(seconds) = leaving {
        pod.metadata.deletion_timestamp = Some(of(json!("2026-01-01T00:00:10Z")));
        pod.metadata.deletion_grace_period_seconds = Some(30);
        snapshot.terminating_for.insert(uid, Seconds(seconds));
    }
    snapshot.pods.push(Arc::new(pod));
}

fn decided(snapshot: &Snapshot) -> (World, Cycle) {
    let world = world(snapshot, &Config::default(), None);
    let decided = cycle(&world.problem, &Heliotrope, Config::default().stop_lead());
    (world, decided)
}

fn stopped(cycle: &Cycle) -> Vec<String> {
    let id = |action: &Action| match action {
        Action::Suspend { id, .. } => Some(id.to_string()),
        Action::Start { .. } | Action::ChangePace { .. } | Action::AskForCheckpoint { .. } => None,
    };
    cycle.actions.iter().filter_map(id).collect()
}

fn started(cycle: &Cycle) -> Vec<String> {
    let id = |action: &Action| match action {
        Action::Start { id, .. } => Some(id.to_string()),
        Action::Suspend { .. } | Action::ChangePace { .. } | Action::AskForCheckpoint { .. } => None,
    };
    cycle.actions.iter().filter_map(id).collect()
}

fn committed(world: &World, cycle: &Cycle, name: &str) -> Watts {
    let id = world.site.tree.find(name).unwrap();
    cycle.domains.iter().find(|figures| figures.domain == id).unwrap().committed
}

/// Four of six are on their way out after a fall to room for two.
fn after_a_fall(leaving: i64) -> Snapshot {
    let mut snapshot = site(2);
    let names = ["r0", "r1", "s0", "s1", "s2", "s3"];
    for (i, name) in names.iter().enumerate() {
        snapshot.jobs.push(if i < 2 { job(name, runs) } else { job(name, |_| {}) });
        on(&mut snapshot, name, &format!("n{}", 2 * i), (i >= 2).then_some(leaving));
    }
    grants(&mut snapshot, &names.map(|name| (name, "a")));
    snapshot
}

#[test]
fn what_is_stopping_for_a_fall_is_not_stopped_for_twice() {
    let (_, cycle) = decided(&after_a_fall(5));
    assert_eq!(stopped(&cycle), [""; 0], "the two that fit go on");
}

#[test]
fn what_outstays_its_grace_counts_again() {
    let (_, cycle) = decided(&after_a_fall(60));
    assert_eq!(stopped(&cycle).len(), 2, "its node may be gone, and its accelerators still draw");
}

#[test]
fn a_domain_that_is_refused_adds_no_room_elsewhere() {
    let mut snapshot = site(2);
    for (name, node) in [("x", "n1"), ("y", "n3")] {
        snapshot.jobs.push(job(name, runs));
        on(&mut snapshot, name, node, None);
    }
    snapshot.jobs.push(job("w0", |_| {}));
    grants(&mut snapshot, &[("x", "b"), ("y", "b")]);
    let (before, cycle) = decided(&snapshot);
    let full = committed(&before, &cycle, "site");
    let windows = json!([{"days": ["Monday"], "from": "18:00", "to": "20:00", "capWatts": 300_000}]);
    let refused = json!({"capWatts": 400_000, "parent": "site", "nodeSelector": {"matchLabels": {"row": "b"}},
        "capSchedule": {"timeZone": "Asia/Soul", "windows": windows}});
    type Break = fn(&mut Snapshot, Value);
    let breaks: [(&str, Break); 3] = [
        ("misspelt", |snapshot, refused| snapshot.domains[2] = domain("b", refused)),
        ("deleted", |snapshot, _| drop(snapshot.domains.remove(2))),
        ("malformed", |snapshot, _| {
            snapshot.domains.remove(2);
            snapshot.unreadable_domains.push("b".to_owned());
        }),
    ];
    for (what, wrong) in breaks {
        let mut snapshot = snapshot.clone();
        wrong(&mut snapshot, refused.clone());
        let (world, cycle) = decided(&snapshot);
        assert_eq!(started(&cycle), [""; 0], "{what}: w0");
        assert_eq!(stopped(&cycle), [""; 0], "{what}: x and y go on");
        let idle = Watts(8 * IDLE);
        assert!(committed(&world, &cycle, "site") >= full - idle, "{what}: what was granted draws all the same");
        let verdict = cycle.verdicts.iter().find(|verdict| *verdict.id == *"uid-w0").unwrap();
        assert!(
            matches!(verdict.reason, Reason::Frozen { .. } | Reason::NoHeadroom { .. }),
            "{what}: {:?}",
            verdict.reason
        );
    }
}

#[test]
fn what_runs_where_nobody_looks_is_left_alone() {
    let mut snapshot = site(2);
    snapshot.jobs.push(job("elsewhere", runs));
    on(&mut snapshot, "elsewhere", "a-node-of-no-domain", None);
    let (world, cycle) = decided(&snapshot);
    assert_eq!((world.items[0].state, world.items[0].pool), (State::Running, None));
    assert_eq!(stopped(&cycle), [""; 0]);
}

#[test]
fn a_pod_is_led_to_the_model_that_was_counted() {
    let mut snapshot = site(2);
    snapshot.nodes = vec![node("n0", "a", "NVIDIA-A100-SXM4-80GB"), node("n1", "a", H100)];
    let (world, _) = decided(&snapshot);
    let product = |pool: usize| world.site.selectors[pool].get("nvidia.com/gpu.product").map(String::as_str);
    assert_eq!([product(0), product(1)], [Some("NVIDIA-A100-SXM4-80GB"), Some(H100)]);
}

#[test]
fn a_deleted_job_takes_nobody_with_it() {
    let mut snapshot = site(2);
    snapshot.jobs.push(job("x", runs));
    on(&mut snapshot, "x", "n0", None);
    on(&mut snapshot, "y", "n2", Some(3)); // its Job is gone already
    grants(&mut snapshot, &[("x", "a"), ("y", "a")]);
    let (world, cycle) = decided(&snapshot);
    assert_eq!(stopped(&cycle), [""; 0]);
    assert_eq!(committed(&world, &cycle, "site"), Watts(16 * IDLE + 2 * JOB), "y is counted once");
}

#[test]
fn pods_count_where_they_are() {
    let mut snapshot = site(4);
    let wide = |job: &mut Value| {
        runs(job);
        (job["spec"]["parallelism"], job["spec"]["completions"]) = (json!(2), json!(2));
    };
    snapshot.jobs.push(job("wide", wide));
    on(&mut snapshot, "wide", "n0", None);
    on(&mut snapshot, "wide", "n1", None);
    let (world, cycle) = decided(&snapshot);
    assert!(committed(&world, &cycle, "b") >= Watts(8 * IDLE + JOB), "one of its pods is in b");
}

#[test]
fn a_pod_beside_the_one_it_replaces_draws_too() {
    let mut snapshot = site(1);
    snapshot.jobs.push(job("x", runs));
    on(&mut snapshot, "x", "n0", Some(3));
    on(&mut snapshot, "x", "n2", None);
    grants(&mut snapshot, &[("x", "a")]);
    let (world, cycle) = decided(&snapshot);
    assert_eq!(committed(&world, &cycle, "site"), Watts(16 * IDLE + 2 * JOB));
    assert_eq!(stopped(&cycle), [""; 0], "and is gone before anything else could be");
}

#[test]
fn nothing_starts_beside_a_node_that_two_domains_claim() {
    let mut snapshot = site(4);
    let mut hall = serde_json::to_value(&*snapshot.nodes[0]).unwrap();
    hall["metadata"]["labels"]["hall"] = json!("1");
    snapshot.nodes[0] = Arc::new(of(hall));
    let twin = json!({"capWatts": 2 * IDLE, "parent": "site", "nodeSelector": {"matchLabels": {"hall": "1"}}});
    snapshot.domains.push(domain("twin", twin));
    snapshot.jobs.push(job("w", |_| {}));
    let (world, cycle) = decided(&snapshot);
    let Some(Action::Start { pool, .. }) = cycle.actions.first() else { panic!("{:?}", cycle.verdicts) };
    assert_eq!(world.site.pools[pool.0].name, "b", "its pod could land on n0");
}

#[test]
fn a_pod_needs_its_accelerators_on_one_node() {
    let mut snapshot = site(4);
    snapshot.nodes = vec![node("n0", "a", H100), node("n2", "a", H100)];
    let half = |job: &mut Value| {
        runs(job);
        job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = json!("4");
    };
    for (name, node) in [("h0", "n0"), ("h1", "n2")] {
        snapshot.jobs.push(job(name, half));
        on(&mut snapshot, name, node, None);
        let containers = json!([{"name": "a", "resources": {"limits": {"nvidia.com/gpu": "4"}}}]);
        let mut pod = (*snapshot.pods.pop().unwrap()).clone();
        pod.spec.as_mut().unwrap().containers = of(containers);
        snapshot.pods.push(Arc::new(pod));
    }
    snapshot.jobs.push(job("whole", |_| {}));
    let (_, cycle) = decided(&snapshot);
    assert_eq!(started(&cycle), [""; 0]);
    let verdict = cycle.verdicts.iter().find(|verdict| *verdict.id == *"uid-whole").unwrap();
    assert_eq!(verdict.reason, Reason::NoPlace { pool: "a".to_owned(), pods: 1, each: 8 });
}

#[test]
fn a_job_without_accelerators_is_nobody_s_business() {
    let mut snapshot = site(2);
    let none = |job: &mut Value| {
        runs(job);
        job["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    };
    snapshot.jobs.push(job("cpu", none));
    assert!(decided(&snapshot).0.items.is_empty());
}

#[test]
fn a_job_labelled_false_is_exempt_though_it_has_a_workload() {
    let mut snapshot = site(2);
    snapshot.jobs.push(job("x", |job| job["metadata"]["labels"]["heliotrope.dev/managed"] = json!("false")));
    let reference = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "x"});
    snapshot
        .workloads
        .push(of(json!({"metadata": {"name": "x", "namespace": "team"}, "spec": {"workloadRef": reference}})));
    let (world, _) = decided(&snapshot);
    assert!(world.items.is_empty());
    assert!(world.refused[0].1.contains("left alone"), "{}", world.refused[0].1);
}

#[test]
fn work_behind_a_checkpoint_is_not_asked_for_again() {
    let mut snapshot = site(2);
    snapshot.jobs.push(job("x", |job| {
        job["metadata"]["annotations"] = json!({"heliotrope.dev/expected-duration": "10h",
            "heliotrope.dev/checkpoint": "10m/30s", "heliotrope.dev/done": "25200@1767200000"});
    }));
    assert_eq!(decided(&snapshot).0.problem.workloads[0].remaining, Seconds(3 * 3600));
}
