//! Objects of a cluster as values: a site of two rows, Jobs, pods, grants.
#![allow(dead_code, reason = "each test program uses its part")]

use heliotrope::controller::snapshot::Snapshot;
use heliotrope::units::Moment;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

pub const H100: &str = "NVIDIA-H100-80GB-HBM3";
/// 2026-01-01T00:00:00Z
pub const NEW_YEAR: Moment = Moment(1_767_225_600);
/// One H100 at its nameplate, above what it draws idle: 700 − 15 %.
pub const DEVICE: i64 = 595;

pub fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub fn domain(name: &str, spec: Value) -> heliotrope::api::PowerDomain {
    of(json!({"metadata": {"name": name}, "spec": spec}))
}

pub fn node(name: &str, row: &str, model: &str) -> Arc<k8s_openapi::api::core::v1::Node> {
    Arc::new(of(json!({"metadata": {"name": name, "labels": {"row": row, "nvidia.com/gpu.product": model}},
        "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}})))
}

pub fn row(name: &str) -> heliotrope::api::PowerDomain {
    let classes = json!([{"name": "dgx", "matchLabels": {}, "hostIdleWatts": 1000, "hostMaxWatts": 4000}]);
    let spec = json!({"capWatts": 40_000, "parent": "site", "nodeSelector": {"matchLabels": {"row": name}},
        "nodeClasses": classes});
    domain(name, spec)
}

/// A site in Enforce with rows a and b, a node of eight H100 in each.
pub fn snapshot() -> Snapshot {
    Snapshot {
        now: NEW_YEAR,
        domains: vec![domain("site", json!({"capWatts": 60_000, "mode": "Enforce"})), row("a"), row("b")],
        nodes: vec![node("a-0", "a", H100), node("b-0", "b", H100)],
        ..Snapshot::default()
    }
}

pub fn job(name: &str, change: impl FnOnce(&mut Value)) -> Arc<k8s_openapi::api::batch::v1::Job> {
    let mut job = json!({
        "metadata": {"name": name, "namespace": "team", "uid": format!("uid-{name}"),
            "creationTimestamp": "2025-12-31T23:00:00Z", "labels": {"heliotrope.dev/managed": "true"}},
        "spec": {"suspend": true, "template": {"spec": {"containers": [
            {"name": "a", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}}}});
    change(&mut job);
    Arc::new(of(job))
}

pub fn runs(job: &mut Value) {
    job["spec"]["suspend"] = json!(false);
    job["status"] = json!({"startTime": "2025-12-31T23:30:00Z"});
}

pub fn pod(uid: Option<&str>, node: Option<&str>) -> Arc<k8s_openapi::api::core::v1::Pod> {
    let labels = uid.map(|uid| json!({"batch.kubernetes.io/controller-uid": uid}));
    Arc::new(of(json!({"metadata": {"name": "pod", "namespace": "team", "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]},
        "status": {"phase": "Running"}})))
}

pub fn grant(snapshot: &mut Snapshot, uid: &str, domain: &str, watts: i64) {
    let grant = json!({"uid": uid, "namespace": "team", "name": "j", "domain": domain,
        "watts": watts, "accelerators": 8, "hosts": 1});
    snapshot.domains[0].status = Some(of(json!({"ledger": {"sequence": 1, "grants": [grant]}})));
}
