//! Work that may be slowed is held to the limit that its plan is worth, on the hardware, and is let go where it has no time for that any more.

use crate::chart::{AGENTS, CONTROLLERS, MODEL, Site, patch, ready};
use crate::meter::Meter;
use crate::{asked, said, wait};
use heliotrope::clock;
use heliotrope::units::Seconds;
use serde_json::{Value, json};
use std::process::Command;

/// Two thirds of the watts do 850 ‰ of the work: where supply costs anything that is less of it for each hour's work.
fn profile() -> Value {
    let point = |watts: u64, speed: u64| json!({"limitWatts": watts, "drawWatts": watts, "throughputPermille": speed});
    json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "a100-tune"},
        "spec": {"deviceModel": MODEL, "workloadClasses": ["FineTuning"], "minWatts": 100, "maxWatts": 400, "idleWatts": 60,
            "overshootPermille": 2, "source": "the plant of the test",
            "points": [point(150, 550), point(250, 850), point(400, 1000)]}})
}

/// Nobody answers: it stands on its last rung.
fn signal() -> Value {
    let nobody = json!({"configMap": {"name": "nobody", "key": "carbon.csv"}, "format": "electricity-maps-csv"});
    json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "GridSignal", "metadata": {"name": "grid"},
        "spec": {"what": "CarbonIntensity", "zone": "KR", "staticGramsPerKwh": 436, "providers": [nobody]}})
}

fn job() -> Value {
    let container = json!({"name": "tune", "image": "heliotrope.test/shell:1", "imagePullPolicy": "Never",
        "command": ["/bin/sleep", "3600"], "resources": {"limits": {"nvidia.com/gpu": 1}}});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "tune", "namespace": "default"},
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "OnFailure", "hostNetwork": true,
            "terminationGracePeriodSeconds": 1, "containers": [container]}}}})
}

/// Half an hour of work that may take a quarter longer, and has three hours.
fn workload() -> Value {
    json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "LLMWorkload", "metadata": {"name": "tune", "namespace": "default"},
        "spec": {"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "tune"}, "class": "FineTuning",
            "profile": "a100-tune", "flexibility": "Medium", "expectedDurationSeconds": 1800,
            "deadline": (clock::now() + Seconds(3 * 3600)).to_string()}})
}

impl Site {
    fn tune(&self, path: &str) -> String {
        said(&self.testbed, &["get", "llmworkload", "tune", "--output", &format!("jsonpath={{.status.{path}}}")])
    }

    /// The limit in force on the GPU that its pod has, in watts; none where it has none.
    fn limit_of_tune(&self) -> Option<u64> {
        let held = asked(&self.node).ok()?;
        let (uuid, _) = held.iter().find(|(_, pod)| pod.starts_with("default/tune-"))?;
        let gpu = self.uuids.iter().position(|own| own == uuid)?;
        Some(self.limits()[gpu] / 1000)
    }
}

pub fn a_slower_point_is_held_and_let_go(site: &Site, meter: &Meter) {
    let testbed = &site.testbed;
    for object in [profile(), signal(), job(), workload()] {
        testbed.apply(&object).unwrap();
    }
    patch(testbed, "powerdomain", "site", &json!({"spec": {"signals": {"carbon": "grid"}}}));

    // a quarter slower at the most: between the points of 150 and of 250 W
    wait("it is started at a slower point", || !site.tune("limitWatts").is_empty());
    let limit: u64 = site.tune("limitWatts").parse().unwrap();
    assert!((200..=250).contains(&limit), "{limit} W");
    wait("its GPU is held to that", || site.limit_of_tune().is_some_and(|found| found <= limit));
    wait("and its status says so", || site.tune("message").starts_with(&format!("slowed to {limit} W a GPU until ")));
    assert_eq!(site.tune("conditions[?(@.type=='InTime')].reason"), "InTime");
    let config =
        said(testbed, &["get", "configmap", "heliotrope-config", "--namespace", CONTROLLERS, "--output", "yaml"]);
    let listen =
        config.lines().find_map(|line| line.trim().strip_prefix("listen: ")).unwrap().trim_matches('"').to_owned();
    let explained = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heliotrope"));
        let output = command.args(["explain", "tune", "--server", &format!("http://{listen}")]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let told = explained();
    assert!(told.contains(&format!("slowed to {limit} W a GPU until ")) && told.contains("of its speed"), "{told}");
    assert!(told.contains(" % of what full would cost from now on"), "{told}");
    meter.judge("slowed for supply");

    // less time is left than its work takes at full
    let soon = (clock::now() + Seconds(1500)).to_string();
    patch(testbed, "llmworkload", "tune", &json!({"spec": {"deadline": soon}}));
    wait("it goes on at full", || site.tune("limitWatts").is_empty());
    wait("its GPU gets more", || site.limit_of_tune().is_some_and(|found| found > limit));
    wait("and it is told that it is late all the same", || {
        site.tune("conditions[?(@.type=='InTime')].reason") == "Late"
    });
    let told = explained();
    assert!(!told.contains("slowed to") && told.contains(" late: it was to be done by "), "{told}");
    meter.judge("at full again");

    for (kind, name) in [("llmworkload", "tune"), ("job", "tune"), ("acceleratorprofile", "a100-tune")] {
        assert!(testbed.kubectl(&["delete", kind, name]).unwrap().status.success(), "{kind} {name}");
    }
    patch(testbed, "powerdomain", "site", &json!({"spec": {"signals": null}}));
    assert!(testbed.kubectl(&["delete", "gridsignal", "grid"]).unwrap().status.success());
    wait("its pod is gone", || site.limit_of_tune().is_none());
    wait("its watts are given back", || {
        let grants = ["get", "powerdomain", "site", "--output", "jsonpath={.status.ledger.grants[*].name}"];
        said(testbed, &grants) == "train"
    });
    assert_eq!(ready(testbed, AGENTS), 2);
}
