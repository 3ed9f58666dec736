//! Published policies against what their authors' own programs make of the same jobs and signals: the table of the shared data's
//! README, in three zones.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod common;

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A zone; what run-at-once emits, in kg at 1 kW a unit; and what each policy saves of that, in percent.
type Row = (&'static str, f64, [(&'static str, &'static str, f64); 5]);

const KNOWN: &str = "known-length";
const AVERAGE: &str = "average-length";

const TABLE: [Row; 3] = [
    (
        "US-CAL-CISO",
        988.4,
        [
            ("lowest-slot", KNOWN, 12.8),
            ("lowest-window", AVERAGE, 20.6),
            ("carbon-time", AVERAGE, 19.8),
            ("ecovisor", KNOWN, 21.4),
            ("wait-awhile", KNOWN, 26.6),
        ],
    ),
    (
        "DE-LU",
        1331.9,
        [
            ("lowest-slot", KNOWN, 7.9),
            ("lowest-window", AVERAGE, 9.9),
            ("carbon-time", AVERAGE, 8.8),
            ("ecovisor", KNOWN, 8.5),
            ("wait-awhile", KNOWN, 13.7),
        ],
    ),
    (
        "KR",
        1372.0,
        [
            ("lowest-slot", KNOWN, 3.0),
            ("lowest-window", AVERAGE, 4.0),
            ("carbon-time", AVERAGE, 3.6),
            ("ecovisor", KNOWN, 4.1),
            ("wait-awhile", KNOWN, 5.8),
        ],
    ),
];

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

#[test]
fn the_published_table_is_reproduced() {
    if common::shared().is_none() {
        return;
    }
    let mut wrong = Vec::new();
    for (zone, run_at_once, policies) in TABLE {
        for (policy, rule, published) in policies {
            let summary = simulated(zone, policy, rule, "1000000");
            let saved = (1.0 - summary["carbonKg"].as_f64().unwrap() / run_at_once) * 100.0;
            println!("{zone} {policy}: {saved:.2} %, published {published} %");
            if (saved - published).abs() > 0.2 || summary["workPercent"] != 100.0 {
                wrong.push(format!("{zone} {policy}: {saved:.2} %, published {published} %: {summary}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
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
