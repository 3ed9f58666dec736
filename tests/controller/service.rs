//! The controller as a service: probes, metrics, one leader at a time, an orderly end, and one that is killed.

use crate::cluster::{Controller, NAMESPACE, create, get, ok, site, wait};
use serde_json::Value;
use std::time::Duration;

fn holder(testbed: &heliotrope_testbed::Testbed) -> String {
    let arguments = ["get", "lease", "heliotrope-controller", "--namespace", NAMESPACE, "--output", "json"];
    let lease: Value = serde_json::from_str(&ok(testbed, &arguments)).unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

fn is_leader(controller: &Controller) -> bool {
    controller.page("/metrics").is_some_and(|(_, text)| text.lines().any(|line| line == "heliotrope_leader 1"))
}

#[test]
fn one_leads_another_takes_over_and_both_say_how_they_are() {
    let testbed = site("Enforce");
    let first = Controller::start(&testbed, "leaderElection: true");
    wait("the first leads", 30, || is_leader(&first));
    let second = Controller::start(&testbed, "leaderElection: true");
    wait("the second is ready", 30, || second.page("/readyz").is_some_and(|(code, _)| code == 200));
    assert_eq!(second.page("/healthz").unwrap(), (200, "ok".to_owned()));
    assert_eq!(second.page("/nothing").unwrap().0, 404);
    assert!(is_leader(&first) && !is_leader(&second));

    create(&testbed, 8, "300s");
    wait("two wait for room", 60, || {
        let (_, text) = first.page("/metrics").unwrap();
        text.lines().any(|line| line == r#"heliotrope_workloads{reason="NoHeadroom"} 2"#)
    });
    let (code, text) = first.page("/metrics").unwrap();
    assert_eq!(code, 200);
    for name in ["heliotrope_domain_cap_watts{domain=\"site\"}", "heliotrope_domain_committed_watts{domain=\"row-a\"}"]
    {
        assert!(text.lines().any(|line| line.starts_with(name)), "no {name} in:\n{text}");
    }

    // killed: the lease runs out, and the other one goes on
    let led = holder(&testbed);
    drop(first);
    wait("the second leads", 40, || is_leader(&second));
    assert_ne!(holder(&testbed), led);
    assert_eq!(get(&testbed, &["pods"]).len(), 6, "a change of leaders touched what runs");

    // asked to stop: it gives the lead up, and the next one need not wait for the lease
    let (well, time) = second.terminate();
    assert!(well && time < Duration::from_secs(10), "ended well: {well}, after {time:?}");
    assert_eq!(holder(&testbed), "");
    let third = Controller::start(&testbed, "leaderElection: true");
    wait("the third leads at once", 10, || is_leader(&third));
    let log = third.log();
    assert!(log.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()), "{log:?}");
}

#[test]
fn it_ends_when_asked_before_it_has_seen_anything() {
    let testbed = site("Observe");
    // without the rights of the chart its caches never fill
    ok(&testbed, &["delete", "clusterrolebinding", "heliotrope-controller"]);
    let controller = Controller::start(&testbed, "leaderElection: false");
    wait("it says that it is not ready", 30, || controller.page("/readyz").is_some_and(|(code, _)| code == 503));
    assert_eq!(controller.page("/healthz").unwrap().0, 200);
    let (well, time) = controller.terminate();
    assert!(well && time < Duration::from_secs(5), "ended well: {well}, after {time:?}");
}
