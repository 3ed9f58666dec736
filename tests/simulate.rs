//! The simulator on real traces and on the built-in site, through the command as people call it.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod common;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn heliotrope(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heliotrope")).args(args).output().unwrap()
}

fn example(path: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(path).display().to_string()
}

fn json(args: &[&str]) -> (Value, Vec<u8>) {
    let output = heliotrope(&[args, &["--json", "-"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (serde_json::from_slice(&output.stdout).unwrap(), output.stdout)
}

fn zone(zone: &str) -> String {
    format!("signals.carbon.file=../../../shared/data/carbon/{zone}_2022_hourly.csv")
}

/// The published figures of run-at-once on this trace: zone, kg at 1 kW a unit (the README of the shared data).
const RUN_AT_ONCE: [(&str, f64); 3] = [("US-CAL-CISO", 988.4), ("DE-LU", 1331.9), ("KR", 1372.0)];

#[test]
fn run_now_without_a_cap_is_the_published_run_at_once() {
    if common::shared().is_none() {
        return;
    }
    let free: Vec<String> = (0..3).map(|i| format!("site.domains[{i}].capWatts=1000000")).collect();
    for (name, carbon) in RUN_AT_ONCE {
        let pai = example("eval/pai.yaml");
        let signal = zone(name);
        let mut args = vec!["simulate", &pai, "--policy", "run-now", "--set", &signal];
        free.iter().for_each(|set| args.extend(["--set", set]));
        let (summary, _) = json(&args);
        let found = summary["carbonKg"].as_f64().unwrap();
        assert!((found - carbon).abs() < 0.05, "{name}: {found} kg, published {carbon}");
        assert_eq!(summary["jobsFinished"], 1000);
        assert_eq!(summary["meanWaitHours"], 0.0);
    }
}

#[test]
fn a_month_of_real_jobs_stays_under_its_cap_and_follows_the_signal() {
    if common::shared().is_none() {
        return;
    }
    // what a tenth less than measured would be: the planner may change, but not lose what it had
    for (name, least) in [("US-CAL-CISO", 16.0), ("DE-LU", 9.6), ("KR", 3.3)] {
        let pai = example("eval/pai.yaml");
        let signal = zone(name);
        let (summary, bytes) = json(&["simulate", &pai, "--set", &signal]);
        assert_eq!(summary["secondsOverCap"], 0, "{name}");
        assert_eq!(summary["wattSecondsOverCap"], 0, "{name}");
        assert!(summary["peakWatts"].as_i64().unwrap() <= 34_000, "{name}");
        assert_eq!(summary["jobsFinished"], 1000, "{name}");
        assert_eq!(summary["deadlineMisses"], 0, "{name}");
        assert_eq!(summary["workPercent"], 100.0, "{name}");
        let saved = summary["baseline"]["carbonSavedPercent"].as_f64().unwrap();
        assert!(saved > least, "{name}: {saved} % saved");
        let (carbon, bound) =
            (summary["carbonKg"].as_f64().unwrap(), summary["lowerBound"]["carbonKg"].as_f64().unwrap());
        assert!(bound <= carbon, "{name}: {carbon} kg is below the bound {bound}");
        if name == "KR" {
            assert_eq!(json(&["simulate", &pai, "--set", &signal]).1, bytes, "same seed, same bytes");
        }
    }
}

#[test]
fn the_summary_has_the_fields_of_the_contract() {
    let (summary, _) = json(&["simulate", &example("seoul-ai-hall/site.yaml")]);
    for field in [
        "policy",
        "carbonKg",
        "energyKwh",
        "cost",
        "meanWaitHours",
        "p95WaitHours",
        "deadlineMisses",
        "jobsFinished",
        "jobsTotal",
        "peakWatts",
        "secondsOverCap",
        "wattSecondsOverCap",
        "workPercent",
        "lowerBound",
        "gapPercent",
        "suspensions",
        "limitChanges",
        "seed",
    ] {
        assert!(!summary[field].is_null(), "{field} is missing");
    }
    assert!(summary["timings"].is_null());
    assert!(json(&["simulate", &example("seoul-ai-hall/site.yaml"), "--timings"]).0["timings"].is_object());
}

#[test]
fn the_seoul_site_keeps_its_caps_and_its_deadlines_in_both_policies() {
    for policy in ["heliotrope", "run-now"] {
        let (summary, _) = json(&["simulate", &example("seoul-ai-hall/site.yaml"), "--policy", policy]);
        assert_eq!(summary["secondsOverCap"], 0, "{policy}");
        assert_eq!(summary["jobsFinished"], 12, "{policy}");
        assert_eq!(summary["deadlineMisses"], 0, "{policy}");
    }
}

#[test]
fn every_forecast_and_rule_of_the_contract_runs() {
    let site = example("seoul-ai-hall/site.yaml");
    for set in [
        "signals.forecast=persistence",
        "signals.forecast=hour-of-week",
        "signals.forecast=learned",
        "signals.forecast={noisePercent: 20}",
        "delayCostPerHour=1",
        "carbonPricePerTonne=0",
        "site.domains[0].capSchedule={timeZone: Asia/Seoul, windows: [{days: [Tuesday, Wednesday], from: \"18:00\", to: \"21:00\", capWatts: 40 kW}]}",
        "events[0].target={capWatts: 45 kW}",
        "events[0].target={reduceWatts: 10000}",
    ] {
        let (summary, _) = json(&["simulate", &site, "--set", set]);
        assert_eq!(summary["secondsOverCap"], 0, "{set}");
        assert_eq!(summary["jobsTotal"], 12, "{set}");
    }
}

/// What a scenario of the contract needs no file for.
const PLAIN: &str = "\
apiVersion: heliotrope.dev/v1alpha1
kind: Scenario
start: 2026-04-14T15:00:00Z
duration: 12h
site:
  domains:
    - {name: site, capWatts: 1000}
  pools:
    - {name: a100, accelerator: NVIDIA A100-SXM4-80GB, nodes: 1, acceleratorsPerNode: 8, domain: site}
";

fn plain(more: &str, files: &[(&str, &str)]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("site.yaml"), format!("{PLAIN}{more}")).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    json(&["simulate", folder.path().join("site.yaml").to_str().unwrap()]).0
}

#[test]
fn what_is_used_is_matched_with_what_is_generated_hour_by_hour() {
    // 400 W from 15:00 to 18:00; 500 W of sun in the first half of the second hour, 300 W in the fourth
    let more = "\
workloads:
  - {name: alone, arrival: 2026-04-14T15:00:00Z, expectedDurationSeconds: 10800, acceleratorsPerReplica: 1, wattsPerAccelerator: 400}
policy: run-now
";
    let roof = "  onSiteGeneration: {file: roof.csv, format: solar-csv, column: roof, ratedWatts: 1000}\n";
    let hours = [0.0, 0.25, 0.0, 0.3].into_iter().chain(std::iter::repeat_n(0.0, 9));
    let rows: String = hours.enumerate().map(|(hour, share)| format!("{},{share}\n", hour * 3600)).collect();
    let csv = format!("time,roof\n{rows}");
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site.yaml");
    std::fs::write(&site, format!("{PLAIN}{roof}{more}")).unwrap();
    std::fs::write(folder.path().join("roof.csv"), csv).unwrap();
    let site = site.to_str().unwrap();
    let (summary, _) = json(&["simulate", site]);
    // 250 of 1200 Wh used, 250 of 550 Wh made
    assert_eq!(summary["energyKwh"], 1.2);
    assert_eq!(
        (&summary["matchedPercent"], &summary["ownUsePercent"]),
        (&Value::from(20.833_333), &Value::from(45.454_545))
    );
    let page = folder.path().join("page.html");
    let said = |args: &[&str]| String::from_utf8(heliotrope(args).stdout).unwrap();
    let table = said(&["simulate", site, "--report", page.to_str().unwrap()]);
    assert!(
        table.contains("use matched by the hour, %            20.8")
            && table.contains("generation used, %                    45.5"),
        "{table}"
    );
    assert!(std::fs::read_to_string(&page).unwrap().contains("20.8 %"));
    let table = said(&["compare", site, "--policies", "run-now,heliotrope", "--report", page.to_str().unwrap()]);
    assert!(table.contains("matched, %") && table.contains("own use, %") && table.contains("20.8"), "{table}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("<th>own use, %</th>"));
    // where nothing is generated there is nothing to match
    let none = plain(more, &[]);
    assert!(none.get("matchedPercent").is_none() && none.get("ownUsePercent").is_none());
}

#[test]
fn a_profile_of_the_contract_needs_no_list() {
    let more = "\
jobs: {file: jobs.csv, format: gaia-csv, class: FineTuning, profile: ft_llama_8b_dolly,
       waits: {shortBelow: 2h, short: 6h, long: 24h}, interruptible: true, startRule: known-length}
workloads:
  - {name: alone, arrival: 2026-04-14T18:00:00Z, expectedDurationSeconds: 3600, profile: pt_mpt_7b_fast}
";
    let summary = plain(more, &[("jobs.csv", "arrival_time,length,cpus\n0,3600,2\n")]);
    // the draw at 400 W by the published sweep, rounded up: 345.65 and 387.85 W
    assert_eq!(summary["energyKwh"], f64::from(2 * 346 + 388) / 1000.0);
}

#[test]
fn what_begins_anew_after_a_stop_has_waited_for_what_it_lost() {
    // two jobs of the short queue are believed to take its mean, 50 min: so the one of 90 min is cut by a cap that falls
    // after an hour, and has lost it
    let more = "\
jobs: {file: jobs.csv, format: gaia-csv, wattsPerUnit: 500, waits: {shortBelow: 2h, short: 6h, long: 24h},
       startRule: average-length}
events:
  - {domain: site, start: 2026-04-14T16:00:00Z, end: 2026-04-14T17:00:00Z, target: {capWatts: 100}}
";
    let jobs = [("jobs.csv", "arrival_time,length,cpus\n0,5400,1\n39600,600,1\n")];
    let summary = plain(more, &jobs);
    assert_eq!((&summary["suspensions"], &summary["jobsFinished"]), (&Value::from(1), &Value::from(2)));
    // 1 h lost and 1 h of pause; the other one waits for nothing
    assert_eq!(summary["meanWaitHours"], 1.0);
    // where the cap is low until an hour before the end, only that hour of 90 min is done by then
    let summary = plain(&more.replace("14T17:00:00Z, target", "15T02:00:00Z, target"), &jobs);
    assert_eq!(summary["jobsFinished"], 1);
    assert_eq!(summary["workPercent"], 70.0);
}

#[test]
fn a_slot_of_a_second_and_a_far_deadline_are_simulated_in_seconds() {
    let clock = heliotrope::clock::Stopwatch::start();
    let site = example("seoul-ai-hall/site.yaml");
    let far = "workloads[1]={name: far, acceleratorsPerReplica: 8, expectedDurationSeconds: 43200, deadline: 9999-12-30T00:00:00Z, checkpoint: {costSeconds: 9}, wattsPerAccelerator: 700}";
    for set in ["slot=1s", far] {
        let (summary, _) = json(&["simulate", &site, "--set", set, "--set", "signals.forecast=persistence"]);
        assert_eq!(summary["jobsFinished"], 12, "{set}");
        assert_eq!(summary["secondsOverCap"], 0, "{set}");
    }
    assert!(clock.millis() < 60_000, "it took {} ms", clock.millis());
}

#[test]
fn an_average_length_is_all_that_the_planner_may_know() {
    if common::shared().is_none() {
        return;
    }
    let (summary, _) = json(&[
        "simulate",
        &example("eval/pai.yaml"),
        "--set",
        "jobs.startRule=average-length",
        "--set",
        "duration=240h",
    ]);
    assert_eq!(summary["secondsOverCap"], 0);
    assert!(summary["baseline"]["carbonSavedPercent"].is_f64() || summary["workPercent"].as_f64().unwrap() > 90.0);
}

#[test]
fn the_report_is_one_page_and_the_trace_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (report, trace) = (path("r.html"), path("t.csv"));
    let output = heliotrope(&["simulate", &example("seoul-ai-hall/site.yaml"), "--report", &report, "--trace", &trace]);
    assert!(output.status.success());
    let html = std::fs::read_to_string(report).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.trim_end().ends_with("</html>"));
    assert!(
        !html.contains("http://") && !html.contains("https://") && !html.contains("<script"),
        "it needs no other file"
    );
    for text in
        ["seoul-hall", "chat-serving", "GreenerSupplyLater", "Draw against the cap", "Carbon intensity", "Not modelled"]
    {
        assert!(html.contains(text), "{text} is missing");
    }
    let trace = std::fs::read_to_string(trace).unwrap();
    let mut reader = csv::Reader::from_reader(trace.as_bytes());
    for row in reader.records() {
        let row = row.unwrap();
        let watts = |i: usize| row[i].parse::<i64>().unwrap();
        assert!(watts(3) <= watts(2), "{row:?}: over its cap");
    }
}

/// What is drawn in the built-in site over time, with these events.
fn drawn_with(events: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.csv").display().to_string();
    let (site, set) = (example("seoul-ai-hall/site.yaml"), format!("events={events}"));
    json(&["simulate", &site, "--policy", "run-now", "--set", &set, "--trace", &trace]);
    std::fs::read_to_string(trace).unwrap()
}

/// The scenario's `events` are specs of `CurtailmentEvent`, field by field.
#[test]
fn an_event_of_a_scenario_is_the_spec_of_a_curtailment() {
    let percent = drawn_with(
        "[{domain: seoul-hall, end: 2026-04-15T11:00:00Z, target: {reducePercent: 30}, baseline: Cap, reason: peak}]",
    );
    assert!(percent.contains("2026-04-14T15:00:00Z,seoul-hall,42000,"), "without a start it begins with the scenario");
    assert!(percent.contains("2026-04-15T11:00:00Z,seoul-hall,60000,"), "and ends at its end");
    let absolute =
        "domain: seoul-hall, start: 2026-04-14T15:00:00Z, end: 2026-04-15T11:00:00Z, target: {capWatts: 42000}";
    let record = "reason: peak, source: KPX, externalId: '7'";
    assert_eq!(drawn_with(&format!("[{{{absolute}, {record}, cancelled: false}}]")), percent);
    assert_eq!(drawn_with(&format!("[{{{absolute}, cancelled: true}}]")), drawn_with("[]"));
    assert_ne!(drawn_with("[]"), percent);
    // of two the lowest wins
    let lower = "{domain: seoul-hall, end: 2026-04-15T02:00:00Z, target: {reduceWatts: 20 kW}}";
    let both = drawn_with(&format!("[{{{absolute}}}, {lower}]"));
    assert!(both.contains("2026-04-14T15:00:00Z,seoul-hall,40000,"));
    assert!(both.contains("2026-04-15T02:00:00Z,seoul-hall,42000,"));
}

#[test]
fn a_name_can_not_break_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("r.html");
    let set = "workloads[0].name=<script>alert(1)</script>";
    let output = heliotrope(&[
        "simulate",
        &example("seoul-ai-hall/site.yaml"),
        "--set",
        set,
        "--report",
        report.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let html = std::fs::read_to_string(report).unwrap();
    assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
}

#[test]
fn the_demo_needs_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_heliotrope")).arg("demo").current_dir(folder.path()).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("seconds over a cap") && text.contains("12 of 12"), "{text}");
    assert!(Path::new(&folder.path().join("heliotrope-demo.html")).exists());
}
