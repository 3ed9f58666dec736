//! A slow API server: what is safety does not wait for what is not, and in the end everything is done.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::controller::apply::Outcome;
use heliotrope::controller::config::Config;
use heliotrope::controller::enforce::{Pace, enforce};
use heliotrope::controller::snapshot::Snapshot;
use heliotrope::controller::world::world;
use heliotrope::core::admit::cycle;
use heliotrope::core::plan::Heliotrope;
use heliotrope::units::Moment;
use kube::client::Body;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answers every request after a time; what it was asked, as `PUT /path`.
fn slow(each: Duration, refuse: Option<u16>, asked: &Arc<Mutex<Vec<String>>>) -> kube::Client {
    let asked = asked.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let asked = asked.clone();
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await?;
            tokio::time::sleep(each).await;
            let what = format!("{} {}", parts.method, parts.uri.path());
            let name = parts.uri.path().rsplit('/').next().unwrap_or_default();
            let body = match parts.method.as_str() {
                "PUT" => serde_json::from_slice(&bytes).unwrap_or_default(),
                _ if parts.uri.path().contains("/jobs/") => job(name, parts.method == "GET"),
                _ => json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}),
            };
            let refused = refuse.filter(|_| what.starts_with("PUT") && what.contains("/jobs/"));
            let body = match refused {
                Some(code) => json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                    "message": "the quota says no", "reason": "Forbidden"}),
                None => body,
            };
            asked.lock().unwrap().push(what);
            let answer = http::Response::builder().status(refused.unwrap_or(200));
            Ok::<_, tower::BoxError>(answer.body(Body::from(body.to_string().into_bytes()))?)
        }
    });
    kube::Client::new(service, "default")
}

fn job(name: &str, suspend: bool) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"heliotrope.dev/managed": "true"}},
        "spec": {"suspend": suspend, "template": {"spec": {"containers": [
            {"name": "a", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}}}})
}

/// A site with room for everything, and forty Jobs that are held, or that started without asking.
fn snapshot(suspend: bool) -> Snapshot {
    let of = |value: Value| serde_json::from_value(value).unwrap();
    let node = |i: usize| {
        let labels = json!({"row": "a", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"});
        serde_json::from_value(json!({"metadata": {"name": format!("a-{i}"), "labels": labels},
            "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}}))
    };
    Snapshot {
        now: Moment(1_767_225_600),
        domains: vec![of(json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "PowerDomain",
            "metadata": {"name": "site"}, "spec": {"capWatts": 10_000_000, "mode": "Enforce",
                "nodeSelector": {"matchLabels": {"row": "a"}}}}))],
        nodes: (0..40).map(|i| Arc::new(node(i).unwrap())).collect(),
        jobs: (0..40).map(|i| Arc::new(serde_json::from_value(job(&format!("j{i:02}"), suspend)).unwrap())).collect(),
        ..Snapshot::default()
    }
}

async fn once(
    client: &kube::Client,
    snapshot: &Snapshot,
    pace: &mut Pace,
) -> Vec<heliotrope::controller::apply::CallError> {
    let config = Config::default();
    let world = world(snapshot, &config, None);
    let decided = cycle(&world.problem, &Heliotrope, config.stop_lead());
    enforce(client, snapshot, &world, &decided, pace).await.into_iter().filter_map(Result::err).collect()
}

#[tokio::test(start_paused = true)]
async fn forty_suspensions_take_no_longer_than_three() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let client = slow(Duration::from_millis(3900), None, &asked);
    let started = tokio::time::Instant::now();
    once(&client, &snapshot(false), &mut Pace::default()).await;
    assert_eq!(asked.lock().unwrap().iter().filter(|what| what.starts_with("PATCH")).count(), 40);
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn starts_hold_no_cycle_up_and_come_to_an_end() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let client = slow(Duration::from_secs(1), None, &asked);
    let mut pace = Pace::default();
    let count =
        || asked.lock().unwrap().iter().filter(|what| what.starts_with("PUT") && what.contains("/jobs/")).count();
    for cycle in 0..10 {
        let started = tokio::time::Instant::now();
        let errors = once(&client, &snapshot(true), &mut pace).await;
        assert!(started.elapsed() <= Duration::from_secs(7), "cycle {cycle}: {:?}", started.elapsed());
        assert!(count() > 0 || errors.iter().any(|error| error.outcome == Outcome::TimedOut), "it is told");
    }
    assert!(count() >= 2, "with a slow server nothing ever starts: {:?}", asked.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_is_told_with_its_job_and_in_the_servers_words() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    for (code, refusal) in [(403, true), (422, true), (500, true), (409, false), (429, false), (503, false)] {
        let client = slow(Duration::from_millis(1), Some(code), &asked);
        let errors = once(&client, &snapshot(true), &mut Pace::default()).await;
        assert_eq!(errors.len(), 40, "{code}");
        assert!(errors.iter().all(|error| error.is_refusal() == refusal), "{code}: {:?}", errors[0]);
        assert!(errors.iter().all(|error| error.start.as_ref().is_some_and(|uid| uid.starts_with("uid-j"))));
        assert!(errors[0].why.contains("the quota says no"));
    }
}
