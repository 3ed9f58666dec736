//! A signal from a ConfigMap is followed: work that may wait is held while supply is dirty, and starts when it is clean;
//! work that may not is not held. What is wrong with a signal or a profile is said on it, and stops nothing.

use crate::cluster::{Controller, NAMESPACE, condition, job, one, site, wait};
use heliotrope_testbed::Testbed;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

const DIRTY: i64 = 700;
const CLEAN: i64 = 50;

/// The hour that we are in, and what is known from it on: `hours` with these intensities each.
fn publish(testbed: &Testbed, hours: &[i64]) {
    #[expect(clippy::disallowed_methods, reason = "the controller on the testbed lives in real time")]
    let now = Timestamp::now().as_second();
    let first = Timestamp::from_second(now - now % 3600).unwrap();
    let mut csv = "Datetime (UTC),Carbon Intensity gCO₂eq/kWh (LCA),Data Estimated\n".to_owned();
    for (i, grams) in hours.iter().enumerate() {
        let at = first + i64::try_from(i).unwrap().hours();
        csv += &format!("{},{grams},false\n", at.strftime("%Y-%m-%d %H:%M:%S"));
    }
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "grid", "namespace": NAMESPACE},
        "data": {"kr.csv": csv}});
    testbed.apply(&object).unwrap();
}

fn ours(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn is_held(testbed: &Testbed, name: &str) -> bool {
    one(testbed, "job", name)["spec"]["suspend"] == true
}

/// The plan and its reasons as they are typed for, and as they lie on disk.
fn shown_to_people(controller: &Controller, folder: &Path) {
    let server = format!("http://{}", controller.address().unwrap());
    let typed = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heliotrope"));
        let output = command.args(words).args(["--server", &server]).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (is_well, why, _) = typed(&["explain", "flexible", "-n", "default"]);
    assert!(is_well && why.starts_with("default/flexible at "), "{why}");
    assert!(why.contains("GreenerSupplyLater: waits for greener supply: 700 g/kWh now, 50 then"), "{why}");
    assert!(why.contains("from now on without a break it would be"), "{why}");
    let (is_well, plan, _) = typed(&["plan"]);
    assert!(is_well && plan.contains("default/flexible: ") && plan.contains("(Cheapest)"), "{plan}");
    let (is_well, again, _) = typed(&["plan", "--dry-run"]);
    assert!(is_well && again.contains("planned afresh nothing would change"), "{again}");
    let (is_well, json, _) = typed(&["plan", "--json"]);
    let plan: Value = serde_json::from_str(&json).unwrap();
    assert!(is_well && plan["digest"].as_str().unwrap().starts_with("sha256:"), "{plan}");
    let generation = plan["generation"].to_string();
    assert!(typed(&["plan", &generation]).0);
    for (words, said) in [
        (vec!["plan", "999999"], "no plan of generation 999999 is kept: there are "),
        (vec!["explain", "nobody"], "no managed Job default/nobody"),
        (vec!["explain", "../x"], "is no name of an object"),
    ] {
        let (is_well, _, error) = typed(&words);
        assert!(!is_well && error.contains(said), "{words:?}: {error}");
    }
    let files: Vec<Value> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap())
        .collect();
    assert!(files.len() <= 20 && files.iter().any(|file| file["digest"] == plan["digest"]), "{files:?}");
}

#[test]
fn work_that_may_wait_follows_the_signal() {
    let testbed = site("Enforce");
    publish(&testbed, &[DIRTY, DIRTY, DIRTY, CLEAN, CLEAN, CLEAN, DIRTY, DIRTY]);
    let map = json!({"configMap": {"name": "grid", "key": "kr.csv"}, "format": "electricity-maps-csv"});
    testbed
        .apply(&ours(
            "GridSignal",
            "grid",
            &json!({"what": "CarbonIntensity", "zone": "KR", "providers": [map.clone()]}),
        ))
        .unwrap();
    let gone = json!({"configMap": {"name": "none", "key": "kr.csv"}, "format": "electricity-maps-csv"});
    testbed
        .apply(&ours("GridSignal", "lost", &json!({"what": "CarbonIntensity", "zone": "KR", "providers": [gone]})))
        .unwrap();
    let point = |limit: i64, draw: i64, throughput: i64| json!({"limitWatts": limit, "drawWatts": draw, "throughputPermille": throughput});
    let profile = json!({"deviceModel": "NVIDIA-H100-80GB-HBM3", "source": "made up for this test", "idleWatts": 105, "minWatts": 200, "maxWatts": 700,
        "points": [point(200, 200, 300), point(400, 395, 800), point(700, 690, 1000)]});
    testbed.apply(&ours("AcceleratorProfile", "h100", &profile)).unwrap();
    let mut wrong = profile.clone();
    wrong["deviceModel"] = json!("NVIDIA-H1000");
    wrong["points"] = json!([point(200, 260, 300), point(400, 395, 310), point(700, 690, 1000)]);
    testbed.apply(&ours("AcceleratorProfile", "wrong", &wrong)).unwrap();
    let mut root = one(&testbed, "powerdomain", "site");
    root["spec"]["signals"] = json!({"carbon": "grid"});
    root["metadata"].as_object_mut().unwrap().remove("managedFields");
    testbed.apply(&root).unwrap();

    let folder = testbed.folder().join("plans");
    std::fs::create_dir(&folder).unwrap();
    let controller =
        Controller::start(&testbed, &format!("leaderElection: false\nplanDirectory: {}", folder.display()));
    wait("the signal is known", 60, || condition(&one(&testbed, "gridsignal", "grid"), "Fresh")["status"] == "True");
    let known = one(&testbed, "gridsignal", "grid");
    assert_eq!(known["status"]["currentValue"], "700.0 gCO2e/kWh");
    assert_eq!(known["status"]["source"], "provider 0: configMap grid/kr.csv");
    assert_eq!(known["status"]["points"], 8);

    let mut flexible = job("flexible", "600s");
    flexible["metadata"]["annotations"]["heliotrope.dev/max-delay"] = json!("12h");
    let urgent = job("urgent", "600s");
    testbed.apply(&flexible).unwrap();
    testbed.apply(&urgent).unwrap();
    wait("what may not wait starts", 60, || !is_held(&testbed, "urgent"));
    wait("what may wait says for what", 60, || {
        one(&testbed, "llmworkload", "flexible")["status"]["reason"] == "GreenerSupplyLater"
    });
    let waits = one(&testbed, "llmworkload", "flexible");
    assert!(is_held(&testbed, "flexible"));
    let message = waits["status"]["message"].as_str().unwrap();
    assert!(message.contains("700") && message.contains("50"), "{message}");
    let planned: Timestamp = waits["status"]["plannedStart"].as_str().unwrap().parse().unwrap();
    let clean: Timestamp = known["status"]["currentUntil"].as_str().unwrap().parse().unwrap();
    assert_eq!(planned, clean, "planned for when it is clean");
    shown_to_people(&controller, &folder);

    // the others say what is wrong with them
    let lost = one(&testbed, "gridsignal", "lost");
    assert_eq!(condition(&lost, "Fresh")["status"], "False");
    assert!(condition(&lost, "Fresh")["message"].as_str().unwrap().contains("configMap none/kr.csv does not exist"));
    let h100 = one(&testbed, "acceleratorprofile", "h100");
    let wrong = one(&testbed, "acceleratorprofile", "wrong");
    for (kind, reason) in
        [("Accepted", "Accepted"), ("Concave", "BelowHull"), ("OnNodes", "NoNode"), ("WithinLimits", "AboveLimit")]
    {
        assert_eq!(condition(&h100, kind)["status"], "True", "{kind}");
        assert_eq!(condition(&wrong, kind)["reason"], reason, "{kind}");
    }
    assert_eq!(h100["status"]["hullPoints"], 3);

    // the day turns out otherwise: it is clean now
    publish(&testbed, &[CLEAN, CLEAN, DIRTY, DIRTY, DIRTY, DIRTY, DIRTY, DIRTY]);
    wait("it starts as it is clean", 60, || !is_held(&testbed, "flexible"));

    // what can't be read any more is said, and what was last known goes on
    testbed
        .apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "grid", "namespace": NAMESPACE},
        "data": {"kr.csv": "Datetime (UTC),Carbon Intensity gCO₂eq/kWh (LCA)\n2026-01-01 00:00:00,NaN\n"}}))
        .unwrap();
    wait("the mistake is said with its line", 60, || {
        let signal = one(&testbed, "gridsignal", "grid");
        let text = condition(&signal, "Fresh")["message"].as_str().unwrap_or_default().to_owned();
        signal["status"]["source"].as_str().is_some_and(|source| source.starts_with("last known"))
            && text.contains("grid/kr.csv:2")
            && condition(&signal, "Fresh")["status"] == "True"
    });
    drop(controller);
}
