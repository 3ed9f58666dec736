//! What is refused on a real node, and what its user sees then.

use crate::chart::{AGENTS, CHART, CONTROLLERS, Site, helm, ready};
use crate::{now, said, wait};
use heliotrope_testbed::Testbed;
use serde_json::{Value, json};
use std::time::Duration;

const WORD: &str = "jsonpath={.status.phase} {.status.reason}: {.status.message}";

/// A Job waits until there is a lease, and says what it waits for.
pub fn it_says_what_it_waits_for(testbed: &Testbed, waits: impl Fn() -> bool) {
    let mut told = Vec::new();
    let started = now();
    while waits() {
        assert!(now().duration_since(started) < Duration::from_secs(120), "it is not started: {told:#?}");
        let word = said(testbed, &["get", "llmworkload", "train", "--output", WORD]);
        if told.last() != Some(&word) {
            told.push(word);
        }
    }
    let why = "Pending NodesShut: too few of the nodes that it may use take anything new (real-0: its agent holds no lease yet)";
    assert!(told.iter().any(|word| word == why), "{told:#?}");
    let events =
        ["get", "events", "--field-selector", "involvedObject.kind=Job", "--output", "jsonpath={.items[*].message}"];
    wait("its Job's events say so too", || said(testbed, &events).contains("its agent holds no lease yet"));
}

/// With the tokens that its pod has.
pub fn an_agent_writes_of_its_own_node_only(site: &Site) {
    let testbed = &site.testbed;
    let power = json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "NodePower", "metadata": {"name": "real-1"},
        "spec": {"domain": "elsewhere", "accelerators": 8, "ceilingWatts": 4407, "hostMaxWatts": 1200}});
    testbed.apply(&power).unwrap();
    let agent = testbed.kubeconfig_of_pod(AGENTS, "heliotrope-agent", &site.agents_pod()).unwrap();
    let report = "--patch={\"status\": {\"drawWatts\": 1}}";
    let reports = |node: &str| {
        let asks = ["patch", "nodepower", node, "--subresource", "status", "--type", "merge", report];
        let said = testbed.kubectl_as(&agent, &asks).unwrap();
        if said.status.success() { String::new() } else { String::from_utf8_lossy(&said.stderr).into_owned() }
    };
    let told = reports("real-1");
    assert!(told.contains("of its own node only"), "{told}");
    assert_eq!(reports("real-0"), "");
    assert!(testbed.kubectl(&["delete", "nodepower", "real-1"]).unwrap().status.success());
}

/// Its pod, and that of the check before `helm uninstall`, are let into a namespace where nothing but what is restricted may run; an agent's is not.
pub fn the_controller_is_restricted(testbed: &Testbed) {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": labels}});
    testbed.apply(&namespace).unwrap();
    let rendered = testbed.helm(&["template", "heliotrope", CHART, "--set", "config.agents=true"]).unwrap();
    let text = String::from_utf8(rendered.stdout).unwrap();
    let admitted = |kind: &str, account: &str| {
        let documents = serde_yaml::Deserializer::from_str(&text)
            .map(|one| <Value as serde::Deserialize>::deserialize(one).unwrap());
        let owner = documents.into_iter().find(|object| object["kind"] == kind).unwrap();
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": "restricted"}});
        testbed.apply(&account).unwrap();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried", "namespace": "restricted"},
            "spec": owner["spec"]["template"]["spec"]});
        let file = testbed.folder().join("tried.json").display().to_string();
        std::fs::write(&file, pod.to_string()).unwrap();
        let said = testbed.kubectl(&["create", "--dry-run=server", "--filename", &file]).unwrap();
        (said.status.success(), String::from_utf8_lossy(&said.stderr).into_owned())
    };
    for kind in ["Deployment", "Job"] {
        let (is_in, why) = admitted(kind, "heliotrope-controller");
        assert!(is_in && !why.contains("PodSecurity"), "{kind}: {why}");
    }
    let (is_in, why) = admitted("DaemonSet", "heliotrope-agent");
    assert!(!is_in && why.contains("violates PodSecurity \"restricted") && why.contains("SYS_ADMIN"), "{why}");
}

/// While it enforces it stays, and its user reads why. Helm shows it too where the API server can reach the kubelet, which it can't
/// here: this one listens on loopback.
pub fn it_is_not_taken_away(site: &Site) {
    let testbed = &site.testbed;
    let told = helm(testbed, &["uninstall", "heliotrope", "--timeout", "60s"]).unwrap_err();
    assert!(told.contains("heliotrope-uninstall-check") && told.contains("logs"), "{told}");
    let selected = ["--namespace", CONTROLLERS, "--selector", "job-name=heliotrope-uninstall-check", "--output"];
    let message = ["jsonpath={.items[*].status.containerStatuses[*].state.terminated.message}"];
    let why = said(testbed, &[&["get", "pods"], &selected[..], &message[..]].concat());
    assert!(why.contains("the root domain site is enforced: without Heliotrope every node would fall"), "{why}");
    assert!(why.contains("kubectl patch powerdomain site --type merge"), "{why}");
    assert_eq!(ready(testbed, AGENTS), 2, "it goes on");
}
