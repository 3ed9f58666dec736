//! `batch/v1` Jobs.

use crate::api::llm_workload::{LONGEST, LONGEST_COST, LONGEST_INTERVAL, LONGEST_NAME};
use crate::api::{Checkpoint, CheckpointAsk, LLMWorkload, LLMWorkloadSpec, WorkloadClass, WorkloadRef, labels};
use crate::units::{Moment, Seconds};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use std::collections::BTreeMap;

/// How a Job ended, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is complete.
    Succeeded,
    /// It failed.
    Failed,
}

/// How a Job ended; none while it has not.
#[must_use]
pub fn end(job: &Job) -> Option<End> {
    match (holds(job, "Complete"), holds(job, "Failed")) {
        (true, _) => Some(End::Succeeded),
        (_, true) => Some(End::Failed),
        _ => None,
    }
}

/// Is it held?
#[must_use]
pub fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
}

/// Has the Job controller seen that it is held?
#[must_use]
pub fn is_seen_as_suspended(job: &Job) -> bool {
    holds(job, "Suspended")
}

fn holds(job: &Job, condition: &str) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == condition && c.status == "True"))
}

/// When it was made, and when it last started.
#[must_use]
pub fn times(job: &Job) -> (Option<Moment>, Option<Moment>) {
    let moment = |time: &Time| Moment(time.0.as_second());
    let started = job.status.as_ref().and_then(|status| status.start_time.as_ref());
    (job.metadata.creation_timestamp.as_ref().map(moment), started.map(moment))
}

/// Pods that run at once: its parallelism, or what is left to complete where that is less.
#[must_use]
pub fn pods(job: &Job) -> u32 {
    let Some(spec) = &job.spec else { return 0 };
    let parallelism = spec.parallelism.unwrap_or(1);
    let count = spec.completions.map_or(parallelism, |completions| completions.min(parallelism));
    u32::try_from(count).unwrap_or(0)
}

/// The grace period of a pod that says nothing, in seconds: Kubernetes' own. What counts with it is in `stopLeadSeconds`.
const USUAL_GRACE: i64 = 30;

/// How long its pods may go on once they are told to end.
#[must_use]
pub fn grace(job: &Job) -> Seconds {
    let template = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    Seconds(template.and_then(|pod| pod.termination_grace_period_seconds).unwrap_or(USUAL_GRACE))
}

/// How much longer than usual that is; to whole half minutes, so that few differ.
#[must_use]
pub fn grace_beyond_usual(job: &Job) -> Seconds {
    beyond_usual(grace(job).0)
}

/// What of a grace period, in seconds, is beyond the usual.
#[must_use]
pub fn beyond_usual(grace: i64) -> Seconds {
    let beyond = grace.saturating_sub(USUAL_GRACE).clamp(0, Seconds::DAY.0);
    Seconds((beyond + 29) / 30 * 30)
}

/// Accelerators of each of its pods.
#[must_use]
pub fn gpus_per_pod(job: &Job) -> u32 {
    job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).map_or(0, gpus)
}

/// Accelerators that a pod holds: those of all its containers, or of its greediest init container.
#[must_use]
pub fn gpus(pod: &PodSpec) -> u32 {
    let of = |container: &k8s_openapi::api::core::v1::Container| -> u32 {
        let resources = container.resources.as_ref();
        let quantity = resources.and_then(|resources| {
            let limit = resources.limits.as_ref().and_then(|limits| limits.get(labels::GPU));
            limit.or_else(|| resources.requests.as_ref().and_then(|requests| requests.get(labels::GPU)))
        });
        quantity.and_then(|quantity| quantity.0.parse().ok()).unwrap_or(0)
    };
    let together: u32 = pod.containers.iter().map(of).sum();
    let first = pod.init_containers.iter().flatten().map(of).max().unwrap_or(0);
    together.max(first)
}

/// The status of a held Job without the Job controller's word that it has seen the hold, and without its startTime; none
/// where neither is there.
#[must_use]
pub fn unsaid(job: &Job) -> Option<serde_json::Value> {
    if !is_seen_as_suspended(job) && times(job).1.is_none() {
        return None;
    }
    let mut conditions = job.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    for condition in conditions.iter_mut().filter(|condition| condition.type_ == "Suspended") {
        condition.status = "False".to_owned();
        condition.reason = Some("Starting".to_owned());
        condition.message = Some("it has been granted its watts".to_owned());
    }
    Some(serde_json::json!({"startTime": null, "conditions": conditions}))
}

/// Is a pod still there to draw power: not ended, and not gone? Terminating ones are.
#[must_use]
pub fn is_alive(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// The node that a pod is bound to.
#[must_use]
pub fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// The labels that its own nodeSelector asks of a node, without those that we put there.
#[must_use]
pub fn own_selector(job: &Job) -> BTreeMap<String, String> {
    let template = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mut selector = template.and_then(|spec| spec.node_selector.clone()).unwrap_or_default();
    for key in placed_keys(job) {
        selector.remove(&key);
    }
    selector
}

fn placed_keys(job: &Job) -> Vec<String> {
    let annotation = job.metadata.annotations.as_ref().and_then(|all| all.get(labels::PLACED));
    annotation
        .map(|keys| keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect())
        .unwrap_or_default()
}

/// The Job as it is to be when it starts on nodes with these labels. It keeps its resourceVersion: written with it,
/// the write fails if anything has touched the Job since it was read.
#[must_use]
pub fn started(job: &Job, node_labels: &BTreeMap<String, String>, sequence: i64) -> Job {
    let own = own_selector(job);
    let mut job = job.clone();
    let annotations = job.metadata.annotations.get_or_insert_default();
    // a label that the owner asks for too is the owner's: a move must not take it away
    let ours: Vec<&str> = node_labels.keys().filter(|key| !own.contains_key(*key)).map(String::as_str).collect();
    annotations.insert(labels::PLACED.to_owned(), ours.join(","));
    annotations.insert(labels::FENCE.to_owned(), sequence.to_string());
    if let Some(spec) = &mut job.spec {
        spec.suspend = Some(false);
        // the default makes a second pod while the first still terminates: it would draw what nobody granted
        spec.pod_replacement_policy = Some("Failed".to_owned());
        if let Some(pod) = &mut spec.template.spec {
            let selector: BTreeMap<_, _> = own.into_iter().chain(node_labels.clone()).collect();
            pod.node_selector = (!selector.is_empty()).then_some(selector);
        }
    }
    job
}

/// An annotation that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {key}: {what}")]
pub struct AnnotationError {
    /// Which.
    pub key: &'static str,
    /// What is wrong with it.
    pub what: String,
}

/// The LLMWorkload of a managed Job: named like it, owned by it, with what its annotations say. What can't be read is
/// left at its default, which is never delayed and never suspended for supply, and is told.
#[must_use]
pub fn workload(job: &Job) -> (LLMWorkload, Vec<AnnotationError>) {
    let mut errors = Vec::new();
    let annotations = job.metadata.annotations.clone().unwrap_or_default();
    let mut read = |key: &'static str, parse: &mut dyn FnMut(&str) -> Result<(), String>| {
        if let Some(Err(what)) = annotations.get(key).map(|text| parse(text)) {
            errors.push(AnnotationError { key, what });
        }
    };
    let seconds = |text: &str, least: i64, most: i64| {
        let seconds: Seconds = text.parse().map_err(|error: crate::units::ParseUnitError| error.to_string())?;
        if seconds.0 < least || seconds.0 > most {
            return Err(format!("`{}` is not between {} and {}", text.trim(), Seconds(least), Seconds(most)));
        }
        Ok(seconds.0)
    };
    let mut spec = LLMWorkloadSpec {
        workload_ref: Some(WorkloadRef {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: job.metadata.name.clone().unwrap_or_default(),
        }),
        priority_class_name: job
            .spec
            .as_ref()
            .and_then(|spec| spec.template.spec.as_ref())
            .and_then(|pod| pod.priority_class_name.clone()),
        ..LLMWorkloadSpec::default()
    };
    read(labels::EXPECTED_DURATION, &mut |text| {
        spec.expected_duration_seconds = Some(seconds(text, 1, LONGEST)?);
        Ok(())
    });
    read(labels::DURATION_UP_TO, &mut |text| {
        let Some(expected) = spec.expected_duration_seconds else {
            return Err(format!("give {} too", labels::EXPECTED_DURATION));
        };
        spec.duration_up_to_seconds = Some(seconds(text, expected, LONGEST)?);
        Ok(())
    });
    read(labels::DEADLINE, &mut |text| {
        let moment: Moment = text.parse().map_err(|error: crate::units::ParseUnitError| error.to_string())?;
        let time = jiff::Timestamp::from_second(moment.0).map_err(|error| error.to_string())?;
        spec.deadline = Some(Time(time));
        Ok(())
    });
    read(labels::MAX_DELAY, &mut |text| {
        if spec.deadline.is_some() {
            return Err(format!("give either this or {}, not both", labels::DEADLINE));
        }
        spec.max_delay_seconds = Some(seconds(text, 0, LONGEST)?);
        Ok(())
    });
    read(labels::CHECKPOINT, &mut |text| {
        let parts: Vec<&str> = text.split('/').collect();
        let (interval, cost, how) = match parts[..] {
            [interval, cost, ref how @ ..] if how.len() <= 2 => (interval, cost, how),
            _ => return Err("write interval/cost, as 10m/30s, and how to ask for one, as 10m/30s/signal".to_owned()),
        };
        let (ask, within) = match how {
            [] => (None, None),
            ["signal"] => (Some(CheckpointAsk::Signal), None),
            ["annotation", within @ ..] => (Some(CheckpointAsk::Annotation), within.first()),
            _ => return Err(format!("`{}`: write signal, or annotation, or annotation/2m", how.join("/"))),
        };
        spec.checkpoint = Some(Checkpoint {
            interval_seconds: seconds(interval, 1, LONGEST_INTERVAL)?,
            cost_seconds: seconds(cost, 0, LONGEST_COST)?,
            ask,
            ask_within_seconds: within.map(|within| seconds(within, 1, LONGEST_COST)).transpose()?,
        });
        Ok(())
    });
    read(labels::CLASS, &mut |text| {
        let known = "Pretraining, FineTuning, BatchInference, Serving or Evaluation";
        let class: Result<WorkloadClass, _> = serde_json::from_value(text.into());
        spec.class = class.map_err(|_| format!("`{text}` is not a class: write {known}"))?;
        Ok(())
    });
    read(labels::PROFILE, &mut |text| {
        if text.is_empty() || text.chars().count() > LONGEST_NAME {
            return Err(format!("write the name of an AcceleratorProfile, 1 to {LONGEST_NAME} characters"));
        }
        spec.profile = Some(text.to_owned());
        Ok(())
    });
    let mut workload = LLMWorkload::new(job.metadata.name.as_deref().unwrap_or_default(), spec);
    workload.metadata.namespace = job.metadata.namespace.clone();
    workload.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    }]);
    (workload, errors)
}

/// Does a person want this Job managed: by its own label, or by its namespace's? Never one that is exempt, or that asks for
/// no accelerators: nothing of it is counted.
#[must_use]
pub fn is_managed(job: &Job, namespace_is: bool) -> bool {
    let wanted = namespace_is || label(job, labels::MANAGED) == Some("true");
    wanted && !is_exempt(job) && gpus_per_pod(job) > 0
}

fn label<'a>(job: &'a Job, key: &str) -> Option<&'a str> {
    job.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// Does a person want this Job left alone, whatever else says that it is ours?
#[must_use]
pub fn is_exempt(job: &Job) -> bool {
    label(job, labels::MANAGED) == Some("false")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(with: serde_json::Value) -> Job {
        let mut object = json!({
            "metadata": {"name": "train", "namespace": "ml", "uid": "u-1", "resourceVersion": "7"},
            "spec": {"suspend": true, "parallelism": 2, "completions": 2, "template": {"spec": {"containers": [
                {"name": "a", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}}},
        });
        for (path, value) in with.as_object().unwrap() {
            *object
                .pointer_mut(path.rsplit_once('/').unwrap().0)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .entry(path.rsplit_once('/').unwrap().1)
                .or_insert(json!(null)) = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn row(name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("row".to_owned(), name.to_owned())])
    }

    fn selector(job: &Job) -> BTreeMap<String, String> {
        job.spec.clone().unwrap().template.spec.unwrap().node_selector.unwrap_or_default()
    }

    #[test]
    fn it_starts_in_its_domain_and_moves_without_losing_what_is_the_owners() {
        let own = json!({"/spec/template/spec/nodeSelector": {"disk": "fast"}});
        let first = started(&job(own), &row("a"), 3);
        assert_eq!(selector(&first), BTreeMap::from([("disk".into(), "fast".into()), ("row".into(), "a".into())]));
        assert_eq!(first.spec.as_ref().unwrap().suspend, Some(false));
        let replaced = first.spec.as_ref().unwrap().pod_replacement_policy.clone();
        assert_eq!(replaced.as_deref(), Some("Failed"), "a second pod draws while the first terminates");
        assert_eq!(first.metadata.resource_version.as_deref(), Some("7"));
        let other = BTreeMap::from([("hall".to_owned(), "2".to_owned())]);
        let moved = started(&first, &other, 4);
        assert_eq!(selector(&moved), BTreeMap::from([("disk".into(), "fast".into()), ("hall".into(), "2".into())]));
        assert_eq!(own_selector(&moved), BTreeMap::from([("disk".into(), "fast".into())]));
    }

    #[test]
    fn a_longer_grace_is_a_longer_lead() {
        let beyond = |grace: i64| {
            grace_beyond_usual(&job(json!({"/spec/template/spec/terminationGracePeriodSeconds": grace}))).0
        };
        assert_eq!([0, 30, 31, 600, i64::MAX].map(beyond), [0, 0, 30, 570, 86_400].map(|seconds: i64| seconds));
        assert_eq!(grace_beyond_usual(&job(json!({}))), Seconds::ZERO);
    }

    #[test]
    fn a_label_that_the_owner_asks_for_too_stays_the_owners() {
        let own = json!({"/spec/template/spec/nodeSelector": {"row": "a"}});
        let once = started(&job(own), &row("a"), 1);
        assert_eq!(own_selector(&once), row("a"));
    }

    #[test]
    fn accelerators_are_counted_as_the_kubelet_does() {
        let two = json!({"/spec/template/spec/containers": [
            {"name": "a", "resources": {"limits": {"nvidia.com/gpu": "2"}}},
            {"name": "b", "resources": {"requests": {"nvidia.com/gpu": "1"}}}, {"name": "c"}],
            "/spec/template/spec/initContainers": [{"name": "i", "resources": {"limits": {"nvidia.com/gpu": "4"}}}]});
        assert_eq!(gpus_per_pod(&job(two)), 4);
        assert_eq!((gpus_per_pod(&job(json!({}))), pods(&job(json!({})))), (8, 2));
        assert_eq!(pods(&job(json!({"/spec/completions": 1}))), 1);
    }

    #[test]
    fn a_job_that_says_nothing_is_never_delayed_and_never_suspended_for_supply() {
        let (workload, errors) = workload(&job(json!({})));
        assert_eq!(errors, []);
        let spec = &workload.spec;
        assert!(spec.checkpoint.is_none() && spec.deadline.is_none() && spec.max_delay_seconds.is_none());
        assert_eq!(workload.metadata.owner_references.unwrap()[0].uid, "u-1");
    }

    #[test]
    fn annotations_say_more_and_mistakes_in_them_are_told() {
        let said = json!({"/metadata/annotations": {
            "heliotrope.dev/expected-duration": "2h30m", "heliotrope.dev/max-delay": "6h",
            "heliotrope.dev/checkpoint": "10m/30s", "heliotrope.dev/class": "FineTuning"}});
        let (workload_of, errors) = workload(&job(said));
        assert_eq!(errors, []);
        assert_eq!(workload_of.spec.expected_duration_seconds, Some(9000));
        let longest = |expected: Option<&str>| {
            let mut all = json!({"heliotrope.dev/duration-up-to": "3h"});
            if let Some(expected) = expected {
                all["heliotrope.dev/expected-duration"] = json!(expected);
            }
            workload(&job(json!({"/metadata/annotations": all})))
        };
        assert_eq!(longest(Some("2h")).0.spec.duration_up_to_seconds, Some(10_800));
        let what = |expected| longest(expected).1.remove(0).what;
        assert_eq!(what(None), "give heliotrope.dev/expected-duration too");
        assert_eq!(what(Some("4h")), "`3h` is not between 4h and 365d");
        assert_eq!(
            workload_of.spec.checkpoint,
            Some(Checkpoint { interval_seconds: 600, cost_seconds: 30, ..Checkpoint::default() })
        );
        let asked = |text: &str| {
            let (made, errors) = workload(&job(json!({"/metadata/annotations": {"heliotrope.dev/checkpoint": text}})));
            let said = made.spec.checkpoint.map(|checkpoint| (checkpoint.ask, checkpoint.ask_within_seconds));
            said.ok_or_else(|| errors[0].to_string())
        };
        assert_eq!(asked("10m/30s/signal"), Ok((Some(CheckpointAsk::Signal), None)));
        assert_eq!(asked("10m/30s/annotation"), Ok((Some(CheckpointAsk::Annotation), None)));
        assert_eq!(asked("10m/30s/annotation/2m"), Ok((Some(CheckpointAsk::Annotation), Some(120))));
        for wrong in ["10m/30s/2m", "10m/30s/signal/2m", "10m/30s/annotation/2m/1", "10m/30s/annotation/0s"] {
            let told = asked(wrong).unwrap_err();
            assert!(told.starts_with("annotation heliotrope.dev/checkpoint: "), "{told}");
        }
        let wrong = json!({"/metadata/annotations": {
            "heliotrope.dev/expected-duration": "long", "heliotrope.dev/deadline": "soon",
            "heliotrope.dev/checkpoint": "10m", "heliotrope.dev/class": "Dreaming"}});
        let (workload_of, errors) = workload(&job(wrong));
        assert_eq!(errors.len(), 4);
        assert_eq!(
            errors[3].to_string(),
            "annotation heliotrope.dev/class: `Dreaming` is not a class: write Pretraining, FineTuning, BatchInference, Serving or Evaluation"
        );
        assert_eq!(workload_of.spec, workload(&job(json!({}))).0.spec);
    }

    #[test]
    fn annotations_that_the_schema_would_refuse_are_told_and_not_used() {
        let said = json!({"/metadata/annotations": {
            "heliotrope.dev/expected-duration": "400d", "heliotrope.dev/max-delay": "9000d",
            "heliotrope.dev/checkpoint": "10m/2d", "heliotrope.dev/profile": ""}});
        let (workload_of, errors) = workload(&job(said));
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "annotation heliotrope.dev/expected-duration: `400d` is not between 1s and 365d",
                "annotation heliotrope.dev/max-delay: `9000d` is not between 0s and 365d",
                "annotation heliotrope.dev/checkpoint: `2d` is not between 0s and 1d",
                "annotation heliotrope.dev/profile: write the name of an AcceleratorProfile, 1 to 253 characters",
            ]
        );
        assert_eq!(workload_of.spec, workload(&job(json!({}))).0.spec);
        let longest = json!({"/metadata/annotations": {
            "heliotrope.dev/expected-duration": "365d", "heliotrope.dev/checkpoint": "7d/1d"}});
        assert_eq!(workload(&job(longest)).1, []);
    }

    #[test]
    fn a_job_without_accelerators_and_one_that_says_no_are_left_alone() {
        let none = json!({"/spec/template/spec/containers": [{"name": "a"}],
            "/metadata/labels": {"heliotrope.dev/managed": "true"}});
        assert!(!is_managed(&job(none), true));
        let no = json!({"/metadata/labels": {"heliotrope.dev/managed": "false"}});
        assert!(is_exempt(&job(no.clone())) && !is_managed(&job(no), true));
        assert!(!is_exempt(&job(json!({}))));
    }

    #[test]
    fn the_label_of_a_job_wins_over_its_namespace() {
        let labelled = |value: &str| job(json!({"/metadata/labels": {"heliotrope.dev/managed": value}}));
        assert!(is_managed(&labelled("true"), false));
        assert!(!is_managed(&labelled("false"), true));
        assert!(is_managed(&job(json!({})), true));
        assert!(!is_managed(&job(json!({})), false));
    }
}
