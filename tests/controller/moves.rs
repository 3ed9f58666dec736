//! A Job that has run moves to another domain: its template is changed while it is held. Servers before 1.36 allow that
//! only once its startTime is cleared; there, managed Jobs that arrive unsuspended are refused with the fix.

use crate::cluster::{
    Controller, IDLE_WATTS, JOB_WATTS, arrival, condition, domain, get, job, nothing_granted, ok, one, site, site_on,
    wait, with_chart,
};
use heliotrope_testbed::{Flags, Testbed};
use serde_json::{Value, json};

/// What makes the newest release behave as those before 1.36 did.
const OLDER: Flags = Flags {
    api_server: &[
        IMMUTABLE,
        "--disable-admission-plugins=MutatingAdmissionPolicy",
        "--runtime-config=admissionregistration.k8s.io/v1/mutatingadmissionpolicies=false,admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings=false",
    ],
    controller_manager: &[IMMUTABLE],
};
const IMMUTABLE: &str = "--feature-gates=MutableSchedulingDirectivesForSuspendedJobs=false";

fn row_of(job: &Value) -> String {
    let selector = &job["spec"]["template"]["spec"]["nodeSelector"];
    selector["topology.heliotrope.dev/row"].as_str().unwrap_or_default().to_owned()
}

/// Can the template of a Job that has run not be changed while it is held? Asked of a Job that is nobody's.
fn is_template_fixed(testbed: &Testbed) -> bool {
    let mut plain = job("plain", "300s");
    plain["metadata"]["labels"]["heliotrope.dev/managed"] = json!("false");
    testbed.apply(&plain).unwrap();
    wait("it has run", 60, || one(testbed, "job", "plain")["status"]["startTime"].is_string());
    let patch = |patch: Value| {
        testbed.kubectl(&["patch", "job", "plain", "--type", "merge", "--patch", &patch.to_string()]).unwrap()
    };
    assert!(patch(json!({"spec": {"suspend": true}})).status.success());
    wait("it is held", 60, || condition(&one(testbed, "job", "plain"), "Suspended")["status"] == "True");
    let row = json!({"topology.heliotrope.dev/row": "row-a"});
    let output = patch(json!({"spec": {"template": {"spec": {"nodeSelector": row}}}}));
    ok(testbed, &["delete", "job", "plain"]);
    !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("field is immutable")
}

/// Starts a Job, takes the watts of its row away, and sees it go on in the other one.
fn moves(testbed: &Testbed) {
    let controller = Controller::start(testbed, "leaderElection: false");
    let mut train = job("train", "20s");
    train["spec"]["suspend"] = json!(true);
    testbed.apply(&train).unwrap();
    let runs = || get(testbed, &["pods"]).iter().any(|pod| pod["status"]["phase"] == "Running");
    wait("it runs", 60, runs);
    let first = one(testbed, "job", "train");
    let (from, to) = if row_of(&first) == "row-a" { ("row-a", "row-b") } else { ("row-b", "row-a") };
    assert_eq!(row_of(&first), from);

    testbed.apply(&domain(from, Some("site"), IDLE_WATTS / 2 + JOB_WATTS / 2, None)).unwrap();
    wait("it runs in the other row", 90, || row_of(&one(testbed, "job", "train")) == to && runs());
    let nodes: Vec<String> = get(testbed, &["pods"])
        .iter()
        .map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(nodes.iter().any(|node| node.starts_with(to)), "{nodes:?}");
    wait("it finishes there", 90, || one(testbed, "job", "train")["status"]["succeeded"] == 1);
    wait("nothing is granted any more", 30, || nothing_granted(testbed));
    drop(controller);
}

#[test]
fn a_job_that_ran_moves_to_another_row() {
    let testbed = site("Enforce");
    assert!(!is_template_fixed(&testbed), "since 1.36 it can be changed");
    moves(&testbed);
}

#[test]
fn on_an_older_server_it_moves_too_and_jobs_that_do_not_wait_are_told_to() {
    let testbed = with_chart(OLDER);
    let text = ok(&testbed, &["get", "validatingadmissionpolicies"]);
    assert!(text.contains("heliotrope-hold-managed-jobs"), "{text}");
    site_on(&testbed, "Enforce");
    // a policy acts some seconds after it is made
    wait("a Job that does not wait is refused", 60, || arrival(&testbed, &job("eager", "1s")).is_err());
    let refused = arrival(&testbed, &job("eager", "1s")).unwrap_err();
    assert!(refused.contains("must be created with spec.suspend: true"), "{refused}");
    let mut exempted = job("exempted", "1s");
    exempted["metadata"]["labels"]["heliotrope.dev/managed"] = json!("false");
    arrival(&testbed, &exempted).unwrap();
    assert!(is_template_fixed(&testbed), "this server did not behave as an older one: the test shows nothing");
    moves(&testbed);
}
