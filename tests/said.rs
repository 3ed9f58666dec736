//! What people are told of work that does not go as planned, and what is tried again when: no server, no clock.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::api::conditions::{self, ACCEPTED, ADMITTED, IN_TIME};
use heliotrope::api::{LLMWorkload, LLMWorkloadStatus, Phase};
use heliotrope::controller::backoff::{Backoff, hold_back};
use heliotrope::controller::config::Config;
use heliotrope::controller::leased::Leases;
use heliotrope::controller::remarks::remarked;
use heliotrope::controller::signals::Reading;
use heliotrope::controller::snapshot::Cause;
use heliotrope::controller::snapshot::Snapshot;
use heliotrope::controller::status;
use heliotrope::controller::unbound::{PATIENCE, unbound};
use heliotrope::controller::world::{World, world};
use heliotrope::core::admit::{Action, Cycle, cycle};
use heliotrope::core::plan::Heliotrope;
use heliotrope::core::signal::{Refused, Rung, Standing};
use heliotrope::units::{Moment, Seconds};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// 2026-01-01T00:00:00Z
const NEW_YEAR: Moment = Moment(1_767_225_600);

fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A root in Enforce over a row with two nodes of eight H100; room for one Job of eight.
fn snapshot() -> Snapshot {
    let node = |name: &str| {
        of(
            json!({"metadata": {"name": name, "labels": {"row": "a", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}},
            "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}}),
        )
    };
    let idle = 2 * 8 * 105 + 2 * 1000;
    let classes = json!([{"name": "dgx", "hostIdleWatts": 1000, "hostMaxWatts": 1000}]);
    let site = json!({"metadata": {"name": "site"}, "spec": {"capWatts": idle + 8 * 595 + 100, "mode": "Enforce"}});
    let row = json!({"metadata": {"name": "a"}, "spec": {"capWatts": 40_000, "parent": "site",
        "nodeSelector": {"matchLabels": {"row": "a"}}, "nodeClasses": classes}});
    Snapshot {
        now: NEW_YEAR,
        domains: vec![of(site), of(row)],
        nodes: vec![Arc::new(node("a-0")), Arc::new(node("a-1"))],
        ..Snapshot::default()
    }
}

/// A managed Job of eight, with the LLMWorkload that was made for it.
fn add(snapshot: &mut Snapshot, name: &str, before: Option<Phase>, change: impl FnOnce(&mut Value)) {
    let mut job = json!({
        "metadata": {"name": name, "namespace": "team", "uid": format!("uid-{name}"),
            "creationTimestamp": "2025-12-31T23:00:00Z", "labels": {"heliotrope.dev/managed": "true"}},
        "spec": {"suspend": true, "template": {"spec": {"containers": [
            {"name": "a", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}}}});
    change(&mut job);
    snapshot.jobs.push(Arc::new(of(job)));
    let mut workload = to(name);
    workload.status = before.map(|phase| LLMWorkloadStatus { phase: Some(phase), ..LLMWorkloadStatus::default() });
    snapshot.workloads.push(workload);
}

fn to(name: &str) -> LLMWorkload {
    of(json!({"metadata": {"name": name, "namespace": "team", "generation": 1},
        "spec": {"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": name}}}))
}

fn started(job: &mut Value) {
    job["spec"]["suspend"] = json!(false);
    job["status"] = json!({"startTime": "2025-12-31T23:50:00Z", "active": 1});
}

fn grant(snapshot: &mut Snapshot, name: &str) {
    let grant = json!({"uid": format!("uid-{name}"), "namespace": "team", "name": name, "domain": "a",
        "watts": 8 * 595, "accelerators": 8, "hosts": 1});
    snapshot.domains[0].status = Some(of(json!({"ledger": {"sequence": 1, "grants": [grant]}})));
}

fn pod(snapshot: &mut Snapshot, job: &str, node: Option<&str>, waits: Option<Seconds>) {
    let conditions = waits.map(|waits| {
        let since = (snapshot.now - waits).to_string();
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": since,
            "message": "0/2 nodes are available: 2 had untolerated taint {maintenance: }."}])
    });
    let pod = json!({"metadata": {"name": format!("{job}-{}", snapshot.pods.len()), "namespace": "team",
            "labels": {"batch.kubernetes.io/controller-uid": format!("uid-{job}")}},
        "spec": {"nodeName": node, "containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]},
        "status": {"phase": if node.is_some() { "Running" } else { "Pending" }, "conditions": conditions}});
    snapshot.pods.push(Arc::new(of(pod)));
}

fn decided(snapshot: &Snapshot) -> (World, Cycle) {
    let mut world = world(snapshot, &Config::default(), None);
    hold_back(&mut world, &snapshot.held_back);
    let decided = cycle(&world.problem, &Heliotrope, Seconds(45));
    (world, decided)
}

/// What is said of a Job's workload.
fn said(snapshot: &Snapshot, name: &str) -> LLMWorkloadStatus {
    let (world, decided) = decided(snapshot);
    let item = world.item(&format!("uid-{name}")).unwrap();
    let verdict = decided.verdicts.iter().find(|verdict| *verdict.id == *item.uid);
    let waits = unbound(snapshot, &world.items);
    let status = status::workload(&world, item, verdict, snapshot.now);
    remarked(status, snapshot, &world, item, waits.get(&item.uid))
}

fn starts(snapshot: &Snapshot) -> Vec<String> {
    let (_, decided) = decided(snapshot);
    let actions = decided.actions.iter();
    actions
        .filter_map(|action| if let Action::Start { id, .. } = action { Some(id.to_string()) } else { None })
        .collect()
}

fn condition(conditions: &[Condition], kind: &str) -> (String, String) {
    let found = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (found.status.clone(), found.reason.clone())
}

#[test]
fn a_start_that_was_refused_waits_says_why_and_gives_its_room_to_others() {
    let mut snapshot = snapshot();
    add(&mut snapshot, "a-refused", None, |_| {});
    add(&mut snapshot, "b-next", None, |_| {});
    assert_eq!(starts(&snapshot), ["uid-a-refused"]);
    let mut backoff = Backoff::default();
    let why = "its start was refused: admission webhook \"quota.example\" denied the request: over budget";
    backoff.failed("uid-a-refused", Cause::StartRefused, why.to_owned(), NEW_YEAR);
    snapshot.held_back = backoff.held(NEW_YEAR);
    assert_eq!(starts(&snapshot), ["uid-b-next"], "its room lies idle");
    let status = said(&snapshot, "a-refused");
    assert_eq!((status.phase, status.reason.as_deref()), (Some(Phase::Pending), Some("StartRefused")));
    assert_eq!(status.message.unwrap(), format!("{why}; it is tried again at 01-01 00:01Z"));
    assert_eq!(status.waiting_until.as_deref(), Some("01-01 00:01Z"));
    assert_eq!(condition(&status.conditions, ADMITTED), ("False".to_owned(), "StartRefused".to_owned()));

    snapshot.now = NEW_YEAR + Seconds(30);
    snapshot.held_back = backoff.held(snapshot.now);
    assert_eq!(starts(&snapshot), ["uid-a-refused"], "it is tried again");
}

#[test]
fn a_deadline_is_told_as_kept_at_risk_or_missed() {
    let told = |expected: i64, up_to: Option<i64>| {
        let mut snapshot = snapshot();
        add(&mut snapshot, "j", None, |_| {});
        let spec = &mut snapshot.workloads[0].spec;
        spec.deadline = of(json!("2026-01-01T04:00:00Z"));
        (spec.expected_duration_seconds, spec.duration_up_to_seconds) =
            (Some(expected * 3600), up_to.map(|hours| hours * 3600));
        let status = said(&snapshot, "j");
        let found = status.conditions.iter().find(|condition| condition.type_ == IN_TIME).unwrap();
        (found.status.clone(), found.reason.clone(), found.message.clone())
    };
    let three = |status: &str, reason: &str, text: &str| (status.to_owned(), reason.to_owned(), text.to_owned());
    assert_eq!(told(2, Some(4)), three("True", "InTime", "planned to be done by 01-01 04:00Z, as asked"));
    let text = "planned to be done by 01-01 04:00Z, as asked, but 1h late if it takes as long as it may";
    assert_eq!(told(2, Some(5)), three("True", "AtRisk", text));
    let text = "planned to be 2h late: it was to be done by 01-01 04:00Z";
    assert_eq!(told(6, None), three("False", "Late", text));

    // and no word of a deadline that is no more
    let mut snapshot = snapshot();
    add(&mut snapshot, "j", None, |_| {});
    let mut old = LLMWorkloadStatus::default();
    conditions::set(&mut old.conditions, IN_TIME, true, "InTime", "planned", None, NEW_YEAR);
    snapshot.workloads[0].status = Some(old);
    assert!(said(&snapshot, "j").conditions.iter().all(|condition| condition.type_ != IN_TIME));
}

#[test]
fn what_has_no_node_yet_is_not_told_as_running_and_is_taken_back_in_time() {
    for (waits, overdue) in [(Seconds(10), false), (PATIENCE, true)] {
        let mut snapshot = snapshot();
        add(&mut snapshot, "j", Some(Phase::Starting), started);
        grant(&mut snapshot, "j");
        pod(&mut snapshot, "j", None, Some(waits));
        let status = said(&snapshot, "j");
        assert_eq!((status.phase, status.reason.as_deref()), (Some(Phase::Starting), Some("NotScheduled")));
        let scheduler = "0/2 nodes are available: 2 had untolerated taint {maintenance: }.";
        assert_eq!(status.message.unwrap(), format!("its pods are not all scheduled yet (0 of 1): {scheduler}"));
        let (world, _) = decided(&snapshot);
        let found = unbound(&snapshot, &world.items).remove("uid-j").unwrap();
        assert_eq!(found.is_overdue(snapshot.now), overdue, "after {waits}");

        let mut backoff = Backoff::default();
        backoff.failed("uid-j", Cause::Unschedulable, found.to_string(), snapshot.now);
        snapshot.held_back = backoff.held(snapshot.now);
        let status = said(&snapshot, "j");
        assert_eq!((status.phase, status.reason.as_deref()), (Some(Phase::Suspending), Some("Unschedulable")));
        assert!(status.message.unwrap().contains("untolerated taint"));
    }
}

#[test]
fn what_partly_runs_is_told_and_not_stopped() {
    let mut snapshot = snapshot();
    add(&mut snapshot, "j", Some(Phase::Running), |job| {
        started(job);
        job["spec"]["parallelism"] = json!(2);
        job["spec"]["completions"] = json!(2);
    });
    grant(&mut snapshot, "j");
    pod(&mut snapshot, "j", Some("a-0"), None);
    pod(&mut snapshot, "j", None, Some(Seconds(3600)));
    let (world, _) = decided(&snapshot);
    assert!(!unbound(&snapshot, &world.items)["uid-j"].is_overdue(snapshot.now));
    snapshot.domains[0].spec.cap_watts = 100_000;
    let status = said(&snapshot, "j");
    assert_eq!(status.phase, Some(Phase::Starting));
    assert!(status.message.unwrap().starts_with("its pods are not all scheduled yet (1 of 2): 0/2 nodes"));
    snapshot.pods.pop();
    assert_eq!(said(&snapshot, "j").phase, Some(Phase::Running), "what has all its nodes runs");
}

#[test]
fn what_never_had_a_pod_is_taken_back_and_what_failed_is_not() {
    for (failed, overdue) in [(0, true), (1, false)] {
        let mut snapshot = snapshot();
        add(&mut snapshot, "j", Some(Phase::Starting), |job| {
            started(job);
            job["status"]["active"] = json!(0);
            job["status"]["failed"] = json!(failed);
        });
        grant(&mut snapshot, "j");
        let (world, _) = decided(&snapshot);
        let found = unbound(&snapshot, &world.items);
        assert_eq!(found.get("uid-j").is_some_and(|found| found.is_overdue(snapshot.now)), overdue);
    }
}

#[test]
fn a_stop_that_is_complete_is_not_told_as_a_start() {
    for (before, phase) in [
        (None, Phase::Starting),
        (Some(Phase::Pending), Phase::Starting),
        (Some(Phase::Suspending), Phase::Suspending),
        (Some(Phase::Running), Phase::Suspending),
    ] {
        let mut snapshot = snapshot();
        add(&mut snapshot, "j", before, |_| {});
        grant(&mut snapshot, "j");
        assert_eq!(said(&snapshot, "j").phase, Some(phase), "after {before:?}");
    }
}

#[test]
fn a_refusal_leaves_nothing_of_what_was_planned_and_what_has_ended_stays_so() {
    let mut workload = to("j");
    let planned = json!({"phase": "Pending", "reason": "NoHeadroom", "wattsNeeded": 7360, "wattsGranted": 7360,
        "domain": "a", "plannedStart": "2026-01-01T03:00:00Z", "plannedFinish": "2026-01-01T04:00:00Z",
        "waitingUntil": "01-01 03:00Z", "accelerators": 8, "conditions": []});
    workload.status = Some(of(planned));
    let refused = status::refused(&workload, "there is no Job j in team", NEW_YEAR);
    assert_eq!(refused.phase, Some(Phase::Refused));
    assert_eq!((refused.watts_needed, refused.watts_granted), (None, Some(0)));
    assert_eq!((&refused.planned_start, &refused.planned_finish, &refused.domain), (&None, &None, &None));
    assert_eq!(refused.waiting_until.as_deref(), Some("-"));
    for phase in ["Succeeded", "Failed"] {
        let ended: LLMWorkloadStatus =
            of(json!({"phase": phase, "reason": phase, "finishedAt": "2026-01-01T04:00:00Z", "conditions": []}));
        workload.status = Some(ended.clone());
        assert_eq!(status::refused(&workload, "there is no Job j in team", NEW_YEAR), ended);
    }
}

#[test]
fn a_signal_that_is_mended_is_accepted_again() {
    let malformed = json!([{"type": "Accepted", "status": "False", "reason": "Malformed", "message": "spec.what: no",
        "lastTransitionTime": "2025-12-31T00:00:00Z"}]);
    let signal = of(json!({"metadata": {"name": "grid"}, "status": {"conditions": malformed},
        "spec": {"what": "Price", "zone": "KR", "providers": []}}));
    let nothing = Standing {
        rung: Rung::Nothing,
        why: "nothing was ever heard".to_owned(),
        heard: None,
        steps: None,
        ahead: Vec::new(),
        errors: Vec::new(),
    };
    let (refused, newly_refused) = (Refused::default(), Refused::default());
    let reading = Reading { in_force: None, errors: Vec::new(), standing: nothing, refused, newly_refused };
    let status = status::signal(&signal, &reading, NEW_YEAR);
    assert_eq!(condition(&status.conditions, ACCEPTED), ("True".to_owned(), "Accepted".to_owned()));
    assert_eq!((status.rung.as_deref(), status.current_value), (Some("Nothing"), None));
}

#[test]
fn a_profile_that_is_not_counted_with_is_noted() {
    let mut snapshot = snapshot();
    add(&mut snapshot, "j", None, |_| {});
    snapshot.workloads[0].spec.profile = Some("mine".to_owned());
    let note = |snapshot: &Snapshot| {
        let status = said(snapshot, "j");
        let accepted = status.conditions.iter().find(|condition| condition.type_ == ACCEPTED).unwrap().clone();
        (accepted.reason, accepted.message)
    };
    let (reason, message) = note(&snapshot);
    assert_eq!(reason, "AcceptedWithNotes");
    assert_eq!(message, "there is no AcceleratorProfile mine: it is counted by its class, at most by nameplate");
    let profile = json!({"metadata": {"name": "mine"}, "spec": {"deviceModel": "NVIDIA-H100-80GB-HBM3", "idleWatts": 100,
        "minWatts": 200, "maxWatts": 700, "overshootPermille": 0, "source": "made up",
        "points": [{"limitWatts": 700, "drawWatts": 700, "throughputPermille": 1000}]}});
    snapshot.profiles.push(of(profile));
    assert_eq!(note(&snapshot).0, "Accepted");
    snapshot.profiles[0].spec.points[0].draw_watts = 90;
    let (reason, message) = note(&snapshot);
    assert_eq!(reason, "AcceptedWithNotes");
    let text = "AcceleratorProfile mine is refused (the point at 700 W draws 90 W, less than 100 W when idle): it is counted by nameplate";
    assert!(message.starts_with(text), "{message}");
}

#[test]
fn a_job_that_waits_for_nodes_to_open_says_which_and_why() {
    let mut snapshot = snapshot();
    add(&mut snapshot, "waits", None, |_| {});
    add(&mut snapshot, "absurd", None, |job| {
        job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = json!("9");
    });
    let close = |node: &mut Arc<k8s_openapi::api::core::v1::Node>, spec: Value| {
        Arc::make_mut(node).spec = Some(of(spec));
    };
    let taint = json!([{"key": "heliotrope.dev/agent-not-ready", "effect": "NoSchedule"}]);
    close(&mut snapshot.nodes[0], json!({"taints": taint}));
    close(&mut snapshot.nodes[1], json!({"unschedulable": true}));
    let status = said(&snapshot, "waits");
    assert_eq!((status.phase, status.reason.as_deref()), (Some(Phase::Pending), Some("NodesShut")));
    let text = "too few of the nodes that it may use take anything new (a-0: its agent holds no lease yet, a-1: it is cordoned)";
    assert_eq!(status.message.as_deref(), Some(text));
    assert_eq!(condition(&status.conditions, ADMITTED), ("False".to_owned(), "NodesShut".to_owned()));
    // one that no node could take, open or not, is refused as before
    let status = said(&snapshot, "absurd");
    assert_eq!((status.phase, status.reason.as_deref()), (Some(Phase::Refused), Some("NoSuchAccelerator")));
    close(&mut snapshot.nodes[0], json!({}));
    assert_eq!(said(&snapshot, "waits").reason.as_deref(), Some("Starting"));
}

/// A taint that is on its way, or was refused, opens nothing.
#[test]
fn with_agents_nothing_starts_where_no_lease_is_held() {
    let mut snapshot = snapshot();
    add(&mut snapshot, "waits", None, |_| {});
    snapshot.leases = Some(Leases::default());
    assert_eq!(starts(&snapshot), Vec::<String>::new());
    let status = said(&snapshot, "waits");
    assert_eq!(status.reason.as_deref(), Some("NodesShut"));
    assert!(status.message.unwrap().contains("a-0: its agent holds no lease yet"));
    snapshot.leases = Some(Leases { working: ["a-1".to_owned()].into(), ..Leases::default() });
    assert_eq!(starts(&snapshot), ["uid-waits"]);
    // in Observe nobody is held
    snapshot.leases = Some(Leases::default());
    snapshot.domains[0].spec.mode = None;
    assert_eq!(said(&snapshot, "waits").reason.as_deref(), Some("Starting"));
}
