//! Published policies under a cap, of which their authors say nothing. What they save with none is compared with their authors' own
//! programs in E1.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod common;

use serde_json::Value;
use std::path::Path;
use std::process::Command;

const KNOWN: &str = "known-length";
const AVERAGE: &str = "average-length";

fn simulated(zone: &str, policy: &str, rule: &str, cap: &str) -> Value {
    let pai = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/eval/pai.yaml").display().to_string();
    let mut sets = vec![
        format!("signals.carbon.file=../../../shared/data/carbon/{zone}_2022_hourly.csv"),
        format!("jobs.startRule={rule}"),
    ];
    sets.extend((0..3).map(|i| format!("site.domains[{i}].capWatts={cap}")));
    let mut command = Command::new(env!("CARGO_BIN_EXE_heliotrope"));
    command.args(["simulate", &pai, "--policy", policy, "--json", "-"]);
    sets.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    let output = command.output().unwrap();
    assert!(output.status.success(), "{zone} {policy}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// They know no cap: over one they queue, and nothing is above it.
#[test]
fn over_a_cap_they_queue() {
    if common::shared().is_none() {
        return;
    }
    for (policy, rule) in
        [("carbon-time", AVERAGE), ("wait-awhile", KNOWN), ("suspend-resume", AVERAGE), ("price-threshold", KNOWN)]
    {
        let summary = simulated("DE-LU", policy, rule, "34000");
        assert_eq!(summary["secondsOverCap"], 0, "{policy}: {summary}");
        assert_eq!((&summary["jobsFinished"], &summary["workPercent"]), (&1000.into(), &100.0.into()), "{policy}");
        assert!(summary["peakWatts"].as_i64().unwrap() <= 34_000);
    }
}
