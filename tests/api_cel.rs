//! For every CEL rule an object that keeps it and one that breaks it, with the message that a person gets.
//! Judged here by kube's own evaluator, from the same schema that the API server gets.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::api::{AcceleratorProfile, GridSignal, LLMWorkload, PowerDomain};
use serde_json::{Value, json};

/// What the rules say of an object; none is "accepted".
fn judge(kind: &str, name: &str, spec: Value) -> Option<String> {
    let object =
        json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let verdict = match kind {
        "PowerDomain" => serde_json::from_value::<PowerDomain>(object).unwrap().validate_cel(),
        "GridSignal" => serde_json::from_value::<GridSignal>(object).unwrap().validate_cel(),
        "AcceleratorProfile" => serde_json::from_value::<AcceleratorProfile>(object).unwrap().validate_cel(),
        "LLMWorkload" => serde_json::from_value::<LLMWorkload>(object).unwrap().validate_cel(),
        other => panic!("no kind {other}"),
    };
    verdict.err().map(|errors| errors.to_string())
}

fn refused(kind: &str, spec: Value, message: &str) {
    let verdict = judge(kind, "x", spec.clone());
    assert!(verdict.as_ref().is_some_and(|text| text.contains(message)), "{spec}: {verdict:?}, wanted {message:?}");
}

fn accepted(kind: &str, spec: Value) {
    assert_eq!(judge(kind, "x", spec.clone()), None, "{spec}");
}

fn domain(with: Value) -> Value {
    let mut spec = json!({"capWatts": 34000});
    spec.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    spec
}

#[test]
fn power_domains() {
    let kind = "PowerDomain";
    let window = |from: &str, to: &str, cap: i64| json!({"capSchedule": {"timeZone": "Asia/Seoul", "windows": [{"days": ["Monday"], "from": from, "to": to, "capWatts": cap}]}});
    accepted(kind, domain(json!({})));
    accepted(kind, domain(json!({"parent": "site", "nodeSelector": {"matchLabels": {"row": "a"}}})));
    accepted(kind, domain(json!({"mode": "Enforce", "signals": {"carbon": "kr"}, "carbonPricePerTonne": 20})));
    accepted(kind, domain(json!({"baseline": {"maxWatts": 34000}})));
    accepted(kind, domain(window("22:00", "06:00", 20000)));
    refused(kind, domain(json!({"parent": "x"})), "a domain can't feed itself");
    refused(kind, domain(json!({"parent": "site", "mode": "Enforce"})), "mode belongs to the root");
    refused(kind, domain(json!({"parent": "site", "signals": {"carbon": "kr"}})), "signals belong to the root");
    refused(
        kind,
        domain(json!({"parent": "site", "carbonPricePerTonne": 20})),
        "carbonPricePerTonne belongs to the root",
    );
    refused(kind, domain(json!({"baseline": {"maxWatts": 34001}})), "capWatts is below baseline.maxWatts");
    refused(kind, domain(window("06:00", "06:00", 20000)), "is either never or always");
    let mut low = domain(window("06:00", "08:00", 900));
    low["baseline"] = json!({"maxWatts": 1000});
    refused(kind, low, "a window's capWatts is below baseline.maxWatts");
    refused(kind, domain(json!({"nodeSelector": {"matchLabels": {}}})), "it would select every node");
    let class =
        |idle: i64, max: i64| json!({"nodeClasses": [{"name": "dgx", "hostIdleWatts": idle, "hostMaxWatts": max}]});
    accepted(kind, domain(class(800, 4600)));
    refused(kind, domain(class(4600, 800)), "hostMaxWatts is below hostIdleWatts");
}

#[test]
fn grid_signals() {
    let kind = "GridSignal";
    let signal = |provider: Value| json!({"what": "CarbonIntensity", "zone": "KR", "providers": [provider]});
    let file = json!({"path": "/signals/kr.csv"});
    let map = json!({"name": "kr", "key": "carbon.csv"});
    accepted(kind, signal(json!({"file": file, "format": "electricity-maps-csv"})));
    accepted(kind, signal(json!({"configMap": map, "format": "price-csv"})));
    refused(kind, signal(json!({"file": file, "configMap": map, "format": "price-csv"})), "either file or configMap");
    refused(kind, signal(json!({"format": "price-csv"})), "either file or configMap");
    refused(kind, signal(json!({"file": {"path": "kr.csv"}, "format": "price-csv"})), "file.path must be absolute");
}

#[test]
fn accelerator_profiles() {
    let kind = "AcceleratorProfile";
    let profile = |min: i64, max: i64, idle: i64, limit: i64| {
        json!({"deviceModel": "NVIDIA-A100-SXM4-80GB", "minWatts": min, "maxWatts": max, "idleWatts": idle, "source": "a sweep",
            "points": [{"limitWatts": limit, "drawWatts": limit, "throughputPermille": 1000}]})
    };
    accepted(kind, profile(100, 400, 60, 400));
    refused(kind, profile(401, 400, 60, 400), "minWatts is above maxWatts");
    refused(kind, profile(100, 400, 401, 400), "idleWatts is above maxWatts");
    refused(kind, profile(100, 400, 60, 99), "a point's limitWatts lies outside minWatts..maxWatts");
    refused(kind, profile(100, 400, 60, 401), "a point's limitWatts lies outside minWatts..maxWatts");
}

#[test]
fn llm_workloads() {
    let kind = "LLMWorkload";
    let job =
        |version: &str, kind: &str| json!({"workloadRef": {"apiVersion": version, "kind": kind, "name": "train"}});
    accepted(kind, json!({}));
    accepted(kind, job("batch/v1", "Job"));
    accepted(
        kind,
        json!({"deadline": "2026-12-01T00:00:00Z", "checkpoint": {"intervalSeconds": 600, "costSeconds": 30}}),
    );
    refused(kind, job("apps/v1", "Deployment"), "workloadRef must name a batch/v1 Job");
    refused(
        kind,
        json!({"deadline": "2026-12-01T00:00:00Z", "maxDelaySeconds": 60}),
        "either deadline or maxDelaySeconds",
    );
    accepted(kind, json!({"replicas": {"min": 2, "max": 2}}));
    refused(kind, json!({"replicas": {"min": 1, "max": 2}}), "elastic width is not served yet");
}

#[test]
fn a_workload_ref_stays_what_it_is() {
    let workload = |name: Option<&str>| -> LLMWorkload {
        let spec = name
            .map_or(json!({}), |name| json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": name}}));
        serde_json::from_value(json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "LLMWorkload", "metadata": {"name": "x"}, "spec": spec})).unwrap()
    };
    let verdict = |new, old| workload(new).validate_cel_update(&workload(old)).err().map(|errors| errors.to_string());
    assert_eq!(verdict(Some("a"), Some("a")), None);
    assert_eq!(verdict(Some("a"), None), None);
    for new in [Some("b"), None] {
        assert!(verdict(new, Some("a")).unwrap().contains("workloadRef can't be changed"), "{new:?}");
    }
}
