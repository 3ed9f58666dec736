//! A curtailment is one write: by the real command, with the rights of the chart's own role and no more, while Jobs run.

use crate::cluster::{
    CAP, Controller, IDLE_WATTS, JOB_WATTS, Meter, NAMESPACE, condition, create, get, nothing_granted, ok, one, site,
    wait,
};
use heliotrope::clock;
use heliotrope::units::{Moment, Seconds};
use heliotrope_testbed::Testbed;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The grace period that kwok plays, and 30 s: RELIABILITY §2 for what travels over the API server.
const CORRECTION: u64 = 10 + 30;

/// Someone who may curtail and nothing more.
fn curtailer(testbed: &Testbed) -> PathBuf {
    ok(testbed, &["create", "serviceaccount", "grid", "--namespace", NAMESPACE]);
    let account = format!("--serviceaccount={NAMESPACE}:grid");
    ok(testbed, &["create", "clusterrolebinding", "grid", "--clusterrole=heliotrope-curtailer", &account]);
    testbed.kubeconfig_of(NAMESPACE, "grid").unwrap()
}

/// Runs the real command; its output, or what it says of a mistake.
fn heliotrope(kubeconfig: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heliotrope"));
    let output = command.args(arguments).arg("--kubeconfig").arg(kubeconfig).output().unwrap();
    match output.status.code() {
        Some(0) => Ok(String::from_utf8(output.stdout).unwrap()),
        Some(2) => Err(String::from_utf8(output.stderr).unwrap().trim().trim_start_matches("heliotrope: ").to_owned()),
        other => panic!("{arguments:?} ended with {other:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn status(testbed: &Testbed, event: &str) -> Value {
    one(testbed, "curtailmentevent", event)["status"].clone()
}

fn phase(testbed: &Testbed, event: &str) -> Value {
    status(testbed, event)["phase"].clone()
}

#[test]
fn one_write_lowers_a_domain_and_one_fills_it_again() {
    let testbed = site("Enforce");
    let grid = curtailer(&testbed);
    let controller = Controller::start(&testbed, "leaderElection: false");
    let meter = Meter::start(&testbed);
    create(&testbed, 12, "900s");
    wait("six run", 120, || meter.running() == 6);
    wait("six are told as committed", 30, || {
        one(&testbed, "powerdomain", "site")["status"]["committedWatts"] == IDLE_WATTS + 6 * JOB_WATTS
    });

    // two of six may go on: in percent, made absolute by the command
    let percent = (IDLE_WATTS + 2 * JOB_WATTS + 900) * 100 / CAP;
    let share = format!("{percent}%");
    let said =
        heliotrope(&grid, &["curtail", "site", "--to", &share, "--for", "1h", "--name", "peak", "--reason", "test"])
            .unwrap();
    let target = CAP - (CAP * (100 - percent) + 50) / 100;
    assert!(said.starts_with(&format!("peak: site from {CAP} W to {target} W, from now until ")), "{said}");
    let down = wait("no more than two run", CORRECTION, || meter.running() <= 2);
    meter.cap.store(2, Ordering::Relaxed);
    wait("the event says that it is met", 30, || status(&testbed, "peak")["secondsToTarget"].is_i64());
    let met = status(&testbed, "peak");
    assert_eq!((&met["phase"], &met["targetWatts"]), (&json!("Active"), &json!(target)), "{met}");
    assert_eq!(met["committedAtStartWatts"], IDLE_WATTS + 6 * JOB_WATTS);
    assert_eq!(condition(&json!({"status": met}), "TargetMet")["status"], "True");
    let root = one(&testbed, "powerdomain", "site");
    assert_eq!(root["status"]["effectiveCapWatts"], target);
    assert_eq!(root["status"]["effectiveCapReason"], "CurtailmentEvent peak");
    assert_eq!(condition(&root, "Feasible")["status"], "True");

    // a second, lower one on a row: below what its idle nodes draw. It is obeyed as far as can be, and says so
    let said = heliotrope(&grid, &["curtail", "row-a", "--to", "1 kW", "--for", "1h", "--name", "deep"]).unwrap();
    assert!(said.starts_with("deep: row-a from "), "{said}");
    wait("all of the row is stopped", CORRECTION, || {
        get(&testbed, &["pods"])
            .iter()
            .all(|pod| !pod["spec"]["nodeName"].as_str().unwrap_or_default().starts_with("row-a"))
    });
    wait("the row says what it can't do", 30, || {
        condition(&one(&testbed, "powerdomain", "row-a"), "Feasible")["status"] == "False"
    });
    let row = one(&testbed, "powerdomain", "row-a");
    let text = condition(&row, "Feasible")["message"].as_str().unwrap().to_owned();
    let numbers = format!("{} W are drawn with nothing running, and now until ", IDLE_WATTS / 2);
    assert!(text.starts_with(&numbers) && text.contains("the cap is 1000 W by CurtailmentEvent deep"), "{text}");
    assert_eq!(condition(&row, "Accepted")["status"], "True", "an emergency was refused");
    assert_eq!(condition(&json!({"status": status(&testbed, "deep")}), "TargetMet")["reason"], "AboveTarget");

    // an event on a domain that is not there stops nothing else
    testbed
        .apply(
            &json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "CurtailmentEvent", "metadata": {"name": "lost"},
            "spec": {"domain": "hall", "end": "2100-01-01T00:00:00Z", "target": {"reducePercent": 30}}}),
        )
        .unwrap();
    wait("it is told", 30, || phase(&testbed, "lost") == "Refused");
    let lost = json!({"status": status(&testbed, "lost")});
    assert_eq!(condition(&lost, "Accepted")["reason"], "UnknownDomain");
    assert_eq!(condition(&lost, "Accepted")["message"], "there is no PowerDomain hall: there are row-a, row-b, site");

    // released: filled again by grants, and never above the cap on the way
    assert_eq!(
        heliotrope(&grid, &["release", "--event", "deep"]).unwrap(),
        "deep is cancelled: row-a is filled again by new grants\n"
    );
    meter.cap.store(6, Ordering::Relaxed);
    assert_eq!(
        heliotrope(&grid, &["release", "site"]).unwrap(),
        "peak is cancelled: site is filled again by new grants\n"
    );
    let up = wait("six run again", 60, || meter.running() == 6);
    wait("both are told as cancelled", 30, || ["peak", "deep"].iter().all(|name| phase(&testbed, name) == "Cancelled"));
    assert_eq!(one(&testbed, "powerdomain", "site")["status"]["effectiveCapReason"], "spec.capWatts");
    eprintln!("from {CAP} W to {target} W: under it after {down:?}, filled again after {up:?}");
    assert_eq!(meter.over(), Vec::<String>::new());
    it_begins_and_ends_by_itself(&testbed, &grid, &meter, &share);

    for (reason, about) in [("CurtailmentActive", "CurtailmentEvent"), ("CurtailmentCancelled", "PowerDomain")] {
        wait(&format!("{reason} is told of a {about}"), 30, || {
            let selector = format!("regarding.kind={about}");
            let events = get(&testbed, &["events.events.k8s.io", "--field-selector", &selector]);
            events.iter().any(|event| event["reason"] == reason)
        });
    }
    drop(controller);
}

/// A planned one is kept from its start, by stops before it, until its end: nobody writes anything in between.
fn it_begins_and_ends_by_itself(testbed: &Testbed, grid: &Path, meter: &Meter, share: &str) {
    let begins = clock::now() + Seconds(60);
    let (at, ends) = (begins.to_string(), begins + Seconds(20));
    let until = ends.to_string();
    let planned = ["curtail", "site", "--to", share, "--at", &at, "--until", &until, "--name", "planned"];
    let said = heliotrope(grid, &planned).unwrap();
    assert!(said.ends_with(&format!(" from {at} until {until} (20s)\n")), "{said}");
    wait("it is scheduled", 10, || phase(testbed, "planned") == "Scheduled");
    assert_eq!(meter.running(), 6, "nothing is stopped a minute before");
    let to = |moment: Moment| Duration::from_secs(u64::try_from((moment - clock::now()).0).unwrap_or(0));
    std::thread::sleep(to(begins));
    assert!(meter.running() <= 2, "{} run as it begins", meter.running());
    meter.cap.store(2, Ordering::Relaxed);
    wait("it is active", 10, || phase(testbed, "planned") == "Active");
    std::thread::sleep(to(ends - Seconds(1)));
    meter.cap.store(6, Ordering::Relaxed);
    wait("six run again", 30, || meter.running() == 6);
    wait("it is told as ended", 10, || phase(testbed, "planned") == "Ended");
    assert_eq!(meter.over(), Vec::<String>::new());
}

#[test]
fn mistakes_are_told_and_rights_are_kept() {
    let testbed = site("Observe");
    let grid = curtailer(&testbed);
    let curtail = |arguments: &[&str]| heliotrope(&grid, &[&["curtail"], arguments].concat());
    let length = ["--for", "1h"];
    assert_eq!(
        curtail(&[&["hall", "--to", "70%"], &length[..]].concat()).unwrap_err(),
        "there is no PowerDomain hall: there are row-a, row-b, site"
    );
    let dry = curtail(&["site", "--to", "70%", "--for", "1h", "--dry-run"]).unwrap();
    assert!(dry.contains("its root site is in Observe: the event is recorded, and nothing is stopped for it"), "{dry}");
    assert!(
        dry.contains(&format!("site from {CAP} W to ")) && dry.ends_with("dry run: nothing was written\n"),
        "{dry}"
    );
    assert!(get(&testbed, &["curtailmentevents"]).is_empty());
    assert_eq!(heliotrope(&grid, &["release", "site"]).unwrap_err(), "site has no event that is active or scheduled");
    assert_eq!(
        heliotrope(&grid, &["release", "hall"]).unwrap_err(),
        "there is no PowerDomain hall: there are row-a, row-b, site"
    );
    curtail(&["site", "--to", "70%", "--for", "1h", "--name", "one"]).unwrap();
    let twice = curtail(&["site", "--to", "60%", "--for", "1h", "--name", "one"]).unwrap_err();
    assert!(twice.contains("\"one\" already exists"), "{twice}");

    // who may curtail may not change a cap, and who may do all else in a namespace may not curtail
    let nobody = testbed.kubeconfig_of(NAMESPACE, "default").unwrap();
    let denied = heliotrope(&nobody, &["curtail", "site", "--to", "70%", "--for", "1h"]).unwrap_err();
    assert!(denied.contains("forbidden"), "{denied}");
    let can = |verb: &str, what: &str, role: &str| {
        ok(
            &testbed,
            &[
                "create",
                "clusterrolebinding",
                &format!("{role}-{verb}"),
                &format!("--clusterrole={role}"),
                &format!("--user={role}-{verb}"),
            ],
        );
        let output = testbed.kubectl(&["auth", "can-i", verb, what, "--as", &format!("{role}-{verb}")]).unwrap();
        String::from_utf8_lossy(&output.stdout).trim() == "yes"
    };
    assert!(can("create", "curtailmentevents", "heliotrope-curtailer"));
    assert!(!can("update", "powerdomains", "heliotrope-curtailer"));
    for role in ["admin", "edit"] {
        assert!(!can("create", "curtailmentevents", role) && !can("patch", "curtailmentevents", role), "{role}");
    }
    let aggregated = wait("it can be viewed", 30, || {
        let view = ok(&testbed, &["get", "clusterrole", "view", "--output", "json"]);
        view.contains("curtailmentevents")
    });
    assert!(aggregated < Duration::from_secs(30));

    // in Observe the event is told, and nothing is touched
    let controller = Controller::start(&testbed, "leaderElection: false");
    create(&testbed, 6, "900s");
    wait("it is active", 60, || phase(&testbed, "one") == "Active");
    let accepted = condition(&json!({"status": status(&testbed, "one")}), "Accepted");
    assert!(
        accepted["message"].as_str().unwrap().ends_with("the root is in Observe, so nothing is stopped for it"),
        "{accepted}"
    );
    wait("six run", 60, || {
        get(&testbed, &["pods"]).iter().filter(|pod| pod["status"]["phase"] == "Running").count() >= 6
    });
    assert!(nothing_granted(&testbed));
    drop(controller);
}
