//! What a person may do with a managed Job while a root is in Enforce: hold it, exempt it; not start it, not widen it. What
//! asks for no accelerators is nobody's business.

use crate::cluster::{Controller, NAMESPACE, arrival, arrives_suspended, condition, get, job, ok, one, site, wait};
use heliotrope_testbed::Testbed;
use serde_json::{Value, json};

/// Changes an object as a person does; what the API server says against it.
fn patch(testbed: &Testbed, name: &str, patch: &Value) -> Result<(), String> {
    let output = testbed.kubectl(&["patch", "job", name, "--type", "merge", "--patch", &patch.to_string()]).unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Events about a Job with a reason.
fn events(testbed: &Testbed, job: &str, reason: &str) -> Vec<String> {
    let all = get(testbed, &["events.events.k8s.io"]);
    let of = |event: &&Value| event["regarding"]["name"] == job && event["reason"] == reason;
    all.iter().filter(of).map(|event| event["note"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What is said of a workload; null where it is not made yet.
fn said(testbed: &Testbed, name: &str) -> Value {
    let all = get(testbed, &["llmworkloads"]);
    all.into_iter().find(|workload| workload["metadata"]["name"] == name).unwrap_or_default()["status"].clone()
}

#[test]
fn nobody_starts_or_widens_a_managed_job_past_the_controller() {
    let testbed = site("Enforce");
    let start = json!({"spec": {"suspend": false}});

    // no controller runs: what is held stays so
    testbed.apply(&job("held", "300s")).unwrap();
    let arrived = one(&testbed, "job", "held");
    assert_eq!(
        (&arrived["spec"]["suspend"], &arrived["spec"]["podReplacementPolicy"]),
        (&json!(true), &json!("Failed"))
    );
    wait("a start is refused", 60, || patch(&testbed, "held", &start).is_err());
    let refused = patch(&testbed, "held", &start).unwrap_err();
    assert!(refused.contains("Heliotrope starts this Job when there are watts for it"), "{refused}");
    patch(&testbed, "held", &json!({"spec": {"parallelism": 3}})).unwrap();
    patch(&testbed, "held", &json!({"spec": {"parallelism": 1}})).unwrap();
    patch(&testbed, "held", &json!({"metadata": {"labels": {"heliotrope.dev/managed": "false"}}})).unwrap();
    patch(&testbed, "held", &start).unwrap();
    ok(&testbed, &["delete", "job", "held"]);

    // without accelerators it is left alone, in a managed namespace too
    ok(&testbed, &["label", "namespace", "default", "heliotrope.dev/managed=true"]);
    let mut plain = job("plain", "300s");
    plain["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
    plain["metadata"]["labels"] = json!({});
    let mut unlabelled = job("unlabelled", "300s");
    unlabelled["metadata"]["labels"] = json!({});
    wait("the namespace's Jobs arrive suspended", 60, || arrives_suspended(&testbed, &unlabelled));
    let arrived = arrival(&testbed, &plain).unwrap();
    assert_ne!(arrived["spec"]["suspend"], true, "a Job without accelerators was held");
    testbed.apply(&plain).unwrap();

    // the controller starts one; nobody makes it wider, anybody may hold it
    let controller = Controller::start(&testbed, "leaderElection: false");
    let mut wrong = job("train", "300s");
    wrong["metadata"]["annotations"]["heliotrope.dev/expected-duration"] = json!("400d");
    wrong["metadata"]["annotations"]["heliotrope.dev/profile"] = json!("none-such");
    testbed.apply(&wrong).unwrap();
    wait("it is told as running", 60, || said(&testbed, "train")["phase"] == "Running");
    let wider = patch(&testbed, "train", &json!({"spec": {"parallelism": 2}})).unwrap_err();
    assert!(wider.contains("set spec.suspend: true, raise it"), "{wider}");
    patch(&testbed, "train", &json!({"spec": {"parallelism": 0}})).unwrap();

    // what was wrong with it stands where its owner looks
    wait("the annotation is told", 30, || !events(&testbed, "train", "AnnotationIgnored").is_empty());
    let told = events(&testbed, "train", "AnnotationIgnored");
    assert!(told[0].contains("`400d` is not between 1s and 365d; it is not used"), "{told:?}");
    let accepted = condition(&one(&testbed, "llmworkload", "train"), "Accepted");
    assert!(
        accepted["message"].as_str().unwrap().starts_with("there is no AcceleratorProfile none-such"),
        "{accepted}"
    );

    // an LLMWorkload that is somebody else's
    let other = json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "LLMWorkload",
        "metadata": {"name": "taken", "namespace": "default"}, "spec": {}});
    testbed.apply(&other).unwrap();
    testbed.apply(&job("taken", "300s")).unwrap();
    wait("the name is told", 30, || !events(&testbed, "taken", "NameTaken").is_empty());

    let plain = one(&testbed, "job", "plain");
    assert_ne!(plain["spec"]["suspend"], true, "a Job without accelerators was held");
    assert!(plain["spec"]["template"]["spec"]["nodeSelector"].is_null());
    drop(controller);
}

#[test]
fn a_start_that_a_policy_refuses_is_told_and_held_back_and_a_pod_without_a_node_is_told() {
    let testbed = site("Enforce");
    // someone else's policy refuses our start of one Job
    let account = format!("system:serviceaccount:{NAMESPACE}:heliotrope-controller");
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "budget"}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs"], "operations": ["UPDATE"]}]},
            "matchConditions": [{"name": "start", "expression": format!("request.userInfo.username == '{account}' && object.metadata.name == 'poor' && !object.spec.suspend")}],
            "validations": [{"expression": "false", "message": "the team's budget is spent"}]}});
    testbed.apply(&policy).unwrap();
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "budget"}, "spec": {"policyName": "budget", "validationActions": ["Deny"]}});
    testbed.apply(&binding).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(10)); // a policy acts some seconds after it is made
    let controller = Controller::start(&testbed, "leaderElection: false");
    testbed.apply(&job("poor", "300s")).unwrap();
    // no node tolerates this one
    let mut picky = job("picky", "300s");
    picky["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] =
        json!({"cpu": "1000", "nvidia.com/gpu": "8"});
    testbed.apply(&picky).unwrap();

    wait("the refusal is told", 60, || said(&testbed, "poor")["reason"] == "StartRefused");
    let status = said(&testbed, "poor");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("the team's budget is spent") && message.contains("tried again at"), "{message}");
    wait("its grant is given back", 30, || said(&testbed, "poor")["wattsGranted"] == 0);
    assert_eq!(said(&testbed, "poor")["phase"], "Pending");
    assert!(!events(&testbed, "poor", "StartRefused").is_empty());
    std::thread::sleep(std::time::Duration::from_secs(10));
    let tries = controller
        .log()
        .into_iter()
        .filter(|line| line["fields"]["error"].as_str().is_some_and(|error| error.starts_with("start default/poor")));
    assert_eq!(tries.count(), 1, "it was tried again at once");

    wait("what has no node is told", 60, || said(&testbed, "picky")["reason"] == "NotScheduled");
    let status = said(&testbed, "picky");
    assert_eq!(status["phase"], "Starting");
    assert!(status["message"].as_str().unwrap().contains("Insufficient cpu"), "{status}");
    drop(controller);
}
