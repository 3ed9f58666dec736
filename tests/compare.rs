//! `heliotrope compare` as people call it, on the example site: the contract's JSON, the table, the page, and mistakes.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::plan::POLICIES;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn compare(args: &[&str]) -> Output {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/seoul-ai-hall/site.yaml");
    Command::new(env!("CARGO_BIN_EXE_heliotrope")).arg("compare").arg(site).args(args).output().unwrap()
}

#[test]
fn each_policy_is_held_against_running_at_once_and_the_bound() {
    let policies = "heliotrope,run-now,carbon-time";
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html").display().to_string();
    let output = compare(&["--policies", policies, "--json", "-", "--report", &page]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = json["results"].as_array().unwrap();
    let named: Vec<&str> = results.iter().map(|result| result["policy"].as_str().unwrap()).collect();
    assert_eq!(named.join(","), policies);
    let number = |value: &Value| value.as_f64().unwrap();
    let cost = |i: usize| number(&results[i]["cost"]);
    let least = number(&json["bound"]["cost"]);
    for (i, result) in results.iter().enumerate() {
        let share = (cost(1) - cost(i)) / (cost(1) - least);
        assert!((number(&result["shareOfOptimum"]) - share).abs() < 1e-5, "{result}");
        assert_eq!(result["secondsOverCap"], 0, "{result}");
        assert!(cost(i) >= least);
    }
    assert_eq!(results[1]["shareOfOptimum"], 0.0);
    assert!(number(&results[0]["shareOfOptimum"]) > 0.2);

    let html = std::fs::read_to_string(&page).unwrap();
    for policy in named {
        assert!(html.contains(&format!("<td>{policy}</td>")), "{policy} is not in the table");
        assert!(html.contains(&format!(">{policy}</text>")), "{policy} is not in the picture");
        assert!(html.contains(&format!("<h3>{policy}</h3>")), "{policy} has no picture of its draw");
    }
    let again = compare(&["--policies", policies, "--json", "-"]);
    assert_eq!(again.stdout, output.stdout, "same seed, same bytes");

    let table = String::from_utf8(compare(&["--policies", "carbon-time", "--bound"]).stdout).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("policy ") && lines[1].starts_with("carbon-time "), "{table}");
    assert!(lines[2].starts_with("bound without caps ") && lines.len() == 3, "{table}");
}

/// Work that may be slowed, under a cap that falls.
const SLOWED: &str = "\
apiVersion: heliotrope.dev/v1alpha1
kind: Scenario
start: 2026-04-14T15:00:00Z
duration: 36h
slot: 5m
site:
  domains: [{name: hall, capWatts: 9000, overheadPermille: 50}, {name: row, parent: hall, capWatts: 8000}]
  pools: [{name: a100, nodes: 4, acceleratorsPerNode: 8, hostWatts: 400, domain: row}]
signals: {carbon: {file: carbon.csv, format: electricity-maps-csv, column: lca}}
events: [{domain: hall, start: 2026-04-14T20:00:00Z, end: 2026-04-14T23:00:00Z, target: {reducePercent: 40}}]
workloads:
  - {name: a, acceleratorsPerReplica: 8, expectedDurationSeconds: 20000, maxDelaySeconds: 40000, checkpoint: {}, profile: ft_llama_8b_dolly}
  - {name: b, acceleratorsPerReplica: 8, expectedDurationSeconds: 15000, maxDelaySeconds: 60000, checkpoint: {}, profile: pt_mpt_7b_fast, priority: 1}
  - {name: c, acceleratorsPerReplica: 4, expectedDurationSeconds: 9000, maxDelaySeconds: 50000, profile: infer_llama_8b, arrival: 2026-04-14T18:20:00Z}
  - {name: d, acceleratorsPerReplica: 4, expectedDurationSeconds: 7000, profile: infer_llama_8b, arrival: 2026-04-14T21:10:00Z}
";

#[test]
fn all_policies_do_the_same_work_under_the_same_caps_where_it_may_be_slowed() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site.yaml");
    std::fs::write(&site, SLOWED).unwrap();
    let carbon = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/seoul-ai-hall/carbon.csv");
    std::fs::copy(carbon, folder.path().join("carbon.csv")).unwrap();
    let compare = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heliotrope"));
        command.arg("compare").arg(&site).args(["--policies", &POLICIES.join(",")]).args(args).output().unwrap()
    };
    let output = compare(&["--json", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = json["results"].as_array().unwrap();
    let of = |policy: &str| results.iter().find(|result| result["policy"] == policy).unwrap();
    let carbon = |policy: &str| of(policy)["carbonKg"].as_f64().unwrap();
    for result in results {
        assert_eq!(result["secondsOverCap"], 0, "{result}");
        assert_eq!((&result["jobsFinished"], &result["workPercent"]), (&4.into(), &100.0.into()), "{result}");
        let name = result["policy"].as_str().unwrap();
        assert!(json["bound"]["carbonKg"].as_f64().unwrap() <= carbon(name), "{result}");
        assert!(carbon("heliotrope") <= carbon(name), "{name} beats ours: {json:#}");
    }
    for policy in ["uniform-cap", "dvfs-fair", "two-threshold"] {
        assert_ne!(of(policy)["limitChanges"], 0, "{policy}");
    }
    assert_eq!(of("wait-awhile")["limitChanges"], 0);
    let table = String::from_utf8(compare(&[]).stdout).unwrap();
    assert!(table.lines().next().unwrap().contains("  limits  "), "{table}");
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    let told = |args: &[&str]| {
        let output = compare(args);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let unknown = told(&["--policies", "heliotrope,greenest"]);
    assert!(
        unknown.starts_with("heliotrope: --policies: no policy greenest; there are heliotrope, run-now, "),
        "{unknown}"
    );
    assert!(told(&["--policies", "run-now,run-now"]).contains("run-now is named twice"));
    let same = told(&["--policies", "run-now", "--json", "x", "--report", "x"]);
    assert!(same.contains("two results can't go into one file"), "{same}");
}
