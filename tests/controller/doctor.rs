//! `heliotrope doctor` on a real server: what it says of an installation in Observe, and of one with something taken out.

use crate::cluster::{CAP, Controller, create, ok, one, site, wait};
use heliotrope_testbed::Testbed;
use serde_json::Value;
use std::process::Command;

/// Its findings, by what they are about, and whether it ended well.
fn findings(testbed: &Testbed) -> (Vec<(String, String, String)>, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heliotrope"));
    let output = command.args(["doctor", "--json", "--kubeconfig"]).arg(testbed.kubeconfig()).output().unwrap();
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let all = all.iter().map(|finding| (text(finding, "level"), text(finding, "about"), text(finding, "text")));
    (all.collect(), output.status.success())
}

fn of(all: &[(String, String, String)], about: &str) -> (String, String) {
    let found =
        all.iter().find(|finding| finding.1 == about).unwrap_or_else(|| panic!("nothing about {about}: {all:#?}"));
    (found.0.clone(), found.2.clone())
}

#[test]
fn it_says_what_is_as_it_should_be_and_what_is_not() {
    let testbed = site("Observe");
    let controller = Controller::start(&testbed, "leaderElection: false");
    create(&testbed, 7, "600s"); // room for six
    let counted = || one(&testbed, "powerdomain", "site")["status"]["observed"].clone();
    wait("what would have been done is counted", 120, || counted()["capSuspensions"].as_i64().unwrap_or(0) > 0);
    let peak = counted()["peakCommittedWatts"].as_i64().unwrap();
    assert!(peak > CAP, "{peak} of {CAP}");

    // a server whose kinds are new says for a while that their storage is being made
    wait("everything can be looked at", 60, || {
        findings(&testbed).0.iter().all(|finding| !finding.2.starts_with("not looked at"))
    });
    let (all, ended_well) = findings(&testbed);
    for about in ["API server", "kinds", "rights", "policies", "domains", "clocks", "Observe"] {
        assert_eq!(of(&all, about).0, "ok", "{all:#?}");
    }
    assert!(of(&all, "API server").1.starts_with("v1.3"), "{all:#?}");
    assert_eq!(of(&all, "domains").1, "3 domains, all in Observe; every node with accelerators is in one");
    let agents = of(&all, "agents");
    assert!(agents.0 == "warning" && agents.1.starts_with("no node has an agent"), "{agents:?}");
    assert!(of(&all, "Observe").1.starts_with("site is in Observe since "), "{all:#?}");
    assert!(ended_well, "warnings are no failure");

    // something of each is taken out
    ok(&testbed, &["delete", "crd", "gridsignals.heliotrope.dev"]);
    ok(&testbed, &["delete", "clusterrolebinding", "heliotrope-controller"]);
    ok(&testbed, &["delete", "validatingadmissionpolicybinding", "--all"]);
    let label = "topology.heliotrope.dev/row-";
    ok(&testbed, &["label", "node", "row-a-0", label]);
    let (all, ended_well) = findings(&testbed);
    assert_eq!(of(&all, "kinds"), ("problem".into(), "not installed: gridsignals.heliotrope.dev".into()));
    assert!(of(&all, "rights").1.contains("the controller may not list powerdomains.heliotrope.dev"), "{all:#?}");
    assert!(of(&all, "policies").1.starts_with("not bound: guard-managed-jobs"), "{all:#?}");
    assert!(of(&all, "domains").1.contains("no domain selects: row-a-0"), "{all:#?}");
    assert!(!ended_well);
    drop(controller);
}
