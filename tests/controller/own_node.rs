//! The chart's policy for agents: one node, one object.

use crate::cluster::{NAMESPACE, chart, ok, wait};
use heliotrope_testbed::{Flags, Testbed, two_rows};
use serde_json::json;
use std::path::Path;

const AGENTS: &str = "heliotrope-agents";
const ACCOUNT: &str = "heliotrope-agent";

/// What an agent with this token is told when it writes to a NodePower; empty where it may.
fn refused(testbed: &Testbed, agent: &Path, arguments: &[&str]) -> String {
    let said = testbed.kubectl_as(agent, arguments).unwrap();
    if said.status.success() { String::new() } else { String::from_utf8_lossy(&said.stderr).into_owned() }
}

fn reports<'a>(node: &'a str, report: &'a str) -> [&'a str; 8] {
    ["patch", "nodepower", node, "--subresource", "status", "--type", "merge", report]
}

#[test]
fn an_agent_reports_of_its_own_node_only() {
    let testbed = Testbed::start_with(&two_rows(2), Flags::default()).unwrap();
    ok(&testbed, &["create", "namespace", AGENTS]);
    let chart = chart();
    let install = [
        "install",
        "heliotrope",
        &chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--set",
        "config.agents=true",
    ];
    let installed = testbed.helm(&install).unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    ok(&testbed, &["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]);
    for node in ["row-a-0", "row-b-0"] {
        let power = json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "NodePower", "metadata": {"name": node},
            "spec": {"domain": "row", "accelerators": 8, "ceilingWatts": 9000, "hostMaxWatts": 2000}});
        testbed.apply(&power).unwrap();
        let container = json!({"name": "agent", "image": "agent"});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("agent-{node}"), "namespace": AGENTS},
            "spec": {"serviceAccountName": ACCOUNT, "nodeName": node, "containers": [container]}});
        testbed.apply(&pod).unwrap();
    }
    let agent = testbed.kubeconfig_of_pod(AGENTS, ACCOUNT, "agent-row-a-0").unwrap();
    let report = "--patch={\"status\": {\"drawWatts\": 1}}";
    // a policy acts some seconds after it is made
    let other = || refused(&testbed, &agent, &reports("row-b-0", report));
    wait("it may not report of another node", 60, || !other().is_empty());
    assert!(other().contains("of its own node only"), "{}", other());
    assert_eq!(refused(&testbed, &agent, &reports("row-a-0", report)), "");
    // a token that is no pod's says of no node
    let anybody = testbed.kubeconfig_of(AGENTS, ACCOUNT).unwrap();
    for node in ["row-a-0", "row-b-0"] {
        let said = refused(&testbed, &anybody, &reports(node, report));
        assert!(said.contains("with the token of its own pod"), "{said}");
    }
    // what it may draw at most is the controller's to say, and what there is the controller's to delete
    let spec = ["patch", "nodepower", "row-a-0", "--type", "merge", "--patch={\"spec\": {\"ceilingWatts\": 8000}}"];
    for asks in
        [&spec[..], &["delete", "nodepower", "row-a-0"], &["get", "secrets", "--all-namespaces"], &["get", "pods"]]
    {
        let said = refused(&testbed, &agent, asks);
        assert!(said.contains("Forbidden") || said.contains("forbidden"), "{asks:?}: {said}");
    }
    // nobody else is held by it
    ok(&testbed, &reports("row-b-0", report));
}
