//! Every mistake in a scenario gives one message that names file, line and field; exit status 2, nothing written.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::io::Read;
use std::process::{Command, Stdio};

const SITE: &str = "\
apiVersion: heliotrope.dev/v1alpha1
kind: Scenario
start: 2026-04-14T15:00:00Z
duration: 4h
site:
  domains:
    - {name: site, capWatts: 10 kW}
    - {name: row, parent: site, capWatts: 8000}
  pools:
    - {name: row, nodes: 1, acceleratorsPerNode: 8, domain: row}
signals:
  carbon: {file: carbon.csv, format: electricity-maps-csv}
workloads:
  - {name: a, expectedDurationSeconds: 3600, wattsPerAccelerator: 500}
";

const HEADER: &str = "Datetime (UTC),Carbon Intensity gCO₂eq/kWh (LCA)";

fn hours(values: [&str; 4]) -> String {
    let rows = values.iter().enumerate().map(|(i, value)| format!("2026-04-14 {}:00:00,{value}\n", 15 + i));
    format!("{HEADER}\n{}", rows.collect::<String>())
}

/// Runs a scenario made of [`SITE`] with one text changed; what it says on standard error.
fn said(from: &str, to: &str, carbon: &str) -> String {
    assert!(SITE.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("site.yaml"), SITE.replacen(from, to, 1)).unwrap();
    std::fs::write(folder.path().join("carbon.csv"), carbon).unwrap();
    let args = ["simulate", "site.yaml", "--json", "out.json", "--report", "out.html", "--trace", "out.csv"];
    let output = Command::new(env!("CARGO_BIN_EXE_heliotrope")).args(args).current_dir(folder.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        return "accepted".to_owned();
    }
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    assert_eq!(error.lines().count(), 1, "one message: {error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "something was written all the same");
    error.trim_end().trim_start_matches("heliotrope: ").to_owned()
}

#[test]
fn the_scenario_itself_is_fine() {
    assert_eq!(said("", "", &hours(["1", "2", "3", "4"])), "accepted");
}

#[test]
fn each_mistake_in_the_scenario_is_named() {
    let fine = hours(["1", "2", "3", "4"]);
    for (from, to, expected) in [
        (
            "capWatts: 8000",
            "capWats: 8000",
            "site.yaml:8: site.domains[1].capWats: unknown field `capWats`, expected one of `name`, `parent`, `capWatts`, `baselineWatts`, `overheadPermille`, `capSchedule`",
        ),
        (
            "capWatts: 8000",
            "capWatts: 8 kWh",
            "site.yaml:8: site.domains[1].capWatts: `8 kWh` is energy, but power is needed here: write a power such as 800 W, 12 kW or 1.2 MW",
        ),
        ("capWatts: 8000", "capWatts: -8000", "site.yaml:8: site.domains[1].capWatts: -8000 W is negative"),
        (
            "capWatts: 8000",
            "capWatts: .nan",
            "site.yaml:8: site.domains[1].capWatts: .nan is not a whole number of watts up to 10 GW",
        ),
        (
            "capWatts: 8000",
            "capWatts: 8000.5",
            "site.yaml:8: site.domains[1].capWatts: 8000.5 is not a whole number of watts up to 10 GW",
        ),
        (
            "name: site, capWatts",
            "name: site, parent: row, capWatts",
            "site.yaml:7: site.domains[0].parent: domain `site`: its parents form a cycle: site -> row -> site",
        ),
        (
            "parent: site",
            "parent: hall",
            "site.yaml:8: site.domains[1].parent: domain `row`: its parent `hall` does not exist (or is itself refused)",
        ),
        (
            "name: row, parent",
            "name: site, parent",
            "site.yaml:8: site.domains[1].name: domain `site` is there twice: give each domain a name of its own",
        ),
        (
            "capWatts: 8000",
            "capWatts: 8000, baselineWatts: 9000",
            "site.yaml:8: site.domains[1].capWatts: domain `row`: the cap of 8000 W from the start on is below its baseline of 9000 W: nothing could ever run",
        ),
        ("domain: row", "domain: raw", "site.yaml:10: site.pools[0].domain: there is no domain `raw`"),
        (
            "file: carbon.csv",
            "file: carbn.csv",
            "site.yaml:12: signals.carbon.file: `carbn.csv` can't be read: No such file or directory (os error 2)",
        ),
        ("duration: 4h", "duration: 4", "site.yaml:4: duration: invalid type: integer `4`, expected a string"),
        (
            "duration: 4h",
            "duration: 4 weeks",
            "site.yaml:4: duration: `weeks` in `4 weeks` is not a unit of time: write a duration such as 90s, 15m, 2h30m or 2d",
        ),
        (
            "duration: 4h",
            "duration: 5h",
            "site.yaml:12: signals.carbon: is known from 2026-04-14T15:00:00Z until 2026-04-14T19:00:00Z, and the scenario needs 2026-04-14T15:00:00Z until 2026-04-14T20:00:00Z",
        ),
        (
            "start: 2026-04-14T15:00:00Z",
            "start: today",
            "site.yaml:3: start: `today` is not a time such as 2022-10-19T16:00:00Z: ",
        ),
        ("kind: Scenario", "kind: Scene", "site.yaml:2: kind: unknown variant `Scene`, expected `Scenario`"),
        (
            "wattsPerAccelerator: 500",
            "maxDelaySeconds: 5",
            "site.yaml:14: workloads[0].wattsPerAccelerator: give either wattsPerAccelerator or profile",
        ),
        (
            "capWatts: 8000",
            "capWatts: 9000000000 GW",
            "site.yaml:8: site.domains[1].capWatts: `9000000000 GW` is more than 10 GW, the largest power that is counted with",
        ),
        (
            "capWatts: 8000",
            "capWatts: 8000, baselineWatts: 9000000000 MW",
            "site.yaml:8: site.domains[1].baselineWatts: `9000000000 MW` is more than 10 GW, the largest power that is counted with",
        ),
        (
            "wattsPerAccelerator: 500",
            "wattsPerAccelerator: 9000000000 GW",
            "site.yaml:14: workloads[0].wattsPerAccelerator: `9000000000 GW` is more than 10 GW, the largest power that is counted with",
        ),
        (
            "wattsPerAccelerator: 500",
            "wattsPerAccelerator: 10 GW, acceleratorsPerReplica: 4000000000",
            "site.yaml:14: workloads[0].wattsPerAccelerator: 4000000000 accelerators of 10000000000 W are more than 10 GW",
        ),
        (
            "nodes: 1, acc",
            "hostWatts: 10 GW, nodes: 2, acc",
            "site.yaml:10: site.pools[0].hostWatts: nodes × hostWatts is more than 10 GW",
        ),
        (
            "wattsPerAccelerator: 500",
            "profile: ft_lama",
            "site.yaml:14: workloads[0].profile: `ft_lama` is neither in the scenario's profiles ({name, file}) nor built in; built in are ft_llama_8b_dolly, ft_llama_8b_p3, ",
        ),
        (
            "wattsPerAccelerator: 500",
            "wattsPerAccelerator: 500, class: Training",
            "site.yaml:14: workloads[0].class: unknown variant `Training`, expected one of `Pretraining`, `FineTuning`, `BatchInference`, `Serving`, `Evaluation`",
        ),
        (
            "workloads:",
            "  forecast: perfekt\nworkloads:",
            "site.yaml:13: signals.forecast: `perfekt` is not a forecast: use perfect, persistence, hour-of-week, learned or {noisePercent: N} with N from 0 to 100",
        ),
        (
            "workloads:",
            "  forecast: {noisePercent: 10, foo: 1}\nworkloads:",
            "site.yaml:13: signals.forecast.foo: unknown field `foo`: use perfect, persistence, hour-of-week, learned or {noisePercent: N} with N from 0 to 100",
        ),
        (
            "workloads:",
            "  forecast: {noisePercent: 101}\nworkloads:",
            "site.yaml:13: signals.forecast: noisePercent is not a whole number from 0 to 100: use",
        ),
        ("duration: 4h", "kind: Scenario\nduration: 4h", "site.yaml:4: duplicate entry with key \"kind\""),
        (
            "signals:",
            "faults: [{what: reboot}]\nsignals:",
            "site.yaml:11: faults: this version simulates no faults: leave the list empty",
        ),
        (
            "signals:",
            "policy: greedy\nsignals:",
            "site.yaml:11: policy: `greedy` is not a policy; there are heliotrope, run-now",
        ),
        (
            "signals:",
            "events: [{domain: raw, start: 2026-04-14T16:00:00Z, end: 2026-04-14T17:00:00Z, target: {capWatts: 1}}]\nsignals:",
            "site.yaml:11: events[0].domain: there is no domain `raw`",
        ),
        (
            "signals:",
            "events: [{domain: row, end: 2026-04-14T15:00:00Z, target: {capWatts: 1}}]\nsignals:",
            "site.yaml:11: events[0].end: is not after its start",
        ),
        (
            "signals:",
            "events: [{domain: row, end: 2026-04-14T16:00:00Z, target: {capWatts: 1, reducePercent: 5}}]\nsignals:",
            "site.yaml:11: events[0].target: takes one of capWatts, reduceWatts, reducePercent",
        ),
        (
            "signals:",
            "events: [{domain: row, end: 2026-04-14T16:00:00Z, target: {reducePercent: 5}, baseline: Committed}]\nsignals:",
            "site.yaml:11: events[0].baseline: only Cap is simulated: what is committed is not known before the run",
        ),
        (
            "signals:",
            "events: [{domain: row, end: 2026-04-14T16:00:00Z, target: {reducePercent: 5}, baseline: Draw}]\nsignals:",
            "site.yaml:11: events[0].baseline: unknown variant `Draw`, expected `Cap` or `Committed`",
        ),
        (
            "wattsPerAccelerator: 500",
            "wattsPerAccelerator: 500, replicas: {min: 3, max: 2}",
            "site.yaml:14: workloads[0].replicas: from 3 to 2: min must be 1 or more, and max no less",
        ),
        (
            "wattsPerAccelerator: 500",
            "wattsPerAccelerator: 500, replicas: {min: 1, max: 3, speedPermille: [500, 400, 1000]}",
            "site.yaml:14: workloads[0].replicas.speedPermille: must be 3 figures, of 1 to 3 replicas, that rise from above 0 to 1000",
        ),
        (
            "expectedDurationSeconds: 3600",
            "expectedDurationSeconds: 3600, durationUpToSeconds: 3599",
            "site.yaml:14: workloads[0].durationUpToSeconds: is shorter than expectedDurationSeconds",
        ),
        (
            "expectedDurationSeconds: 3600",
            "expectedDurationSeconds: 3600, actualDurationSeconds: 0",
            "site.yaml:14: workloads[0].actualDurationSeconds: is zero: there is nothing to run",
        ),
        (
            "nodes: 1, acceleratorsPerNode: 8,",
            "nodes: 1, acceleratorsPerNode: 8, hostIdleWatts: 9000, hostWatts: 9000,",
            "site.yaml:8: site.domains[1].capWatts: 8000 W are below the 9000 W that `row` draws with all hosts idle: it is never kept",
        ),
    ] {
        let found = said(from, to, &fine);
        assert!(found.starts_with(expected), "{to}:\n found {found}\nwanted {expected}");
    }
}

#[test]
fn each_mistake_in_a_signal_is_named() {
    let value = "column `Carbon Intensity gCO₂eq/kWh (LCA)`: ";
    let gap = format!("{HEADER}\n2026-04-14 15:00:00,1\n2026-04-14 16:00:00,1\n2026-04-14 18:00:00,1\n");
    let shuffled = format!("{HEADER}\n2026-04-14 15:00:00,1\n2026-04-14 17:00:00,1\n2026-04-14 16:00:00,1\n");
    for (carbon, expected) in [
        (hours(["1", "NaN", "3", "4"]), format!("carbon.csv:3: {value}`NaN` is not a number that can be used")),
        (hours(["1", "2", "-3", "4"]), format!("carbon.csv:4: {value}-3 gCO2e/kWh is below 0: it can't be meant")),
        (hours(["1", "2", "3", "400000"]), format!("carbon.csv:5: {value}400000 gCO2e/kWh is above 5000: another unit must be meant")),
        (gap, "carbon.csv:4: column `Datetime (UTC)`: a gap: nothing between 2026-04-14T16:00:00Z and 2026-04-14T18:00:00Z".to_owned()),
        (shuffled, "carbon.csv:4: column `Datetime (UTC)`: 2026-04-14T16:00:00Z comes after 2026-04-14T17:00:00Z: the rows are not in order".to_owned()),
        (String::new(), "carbon.csv:1: column `Datetime (UTC)`: is not there; the file has nothing".to_owned()),
    ] {
        let found = said("", "", &carbon);
        assert_eq!(found, format!("site.yaml:12: signals.carbon: {expected}"), "{carbon}");
    }
}

/// A folder with a scenario that is fine.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("site.yaml"), SITE).unwrap();
    std::fs::write(folder.path().join("carbon.csv"), hours(["1", "2", "3", "4"])).unwrap();
    folder
}

#[test]
fn where_one_result_can_not_go_none_is_written() {
    for (flag, path, said) in [
        ("--report", "none/out.html", "none/out.html: entity not found"),
        ("--report", ".", ".: is a directory"),
        ("--json", "none/out.json", "none/out.json: entity not found"),
        ("--report", "out.csv", "out.csv: two results can't go into one file"),
    ] {
        let folder = folder();
        let args = ["simulate", "site.yaml", "--trace", "out.csv", flag, path];
        let output =
            Command::new(env!("CARGO_BIN_EXE_heliotrope")).args(args).current_dir(folder.path()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert_eq!(error, format!("heliotrope: {said}\n"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "{flag} {path}: something was written");
    }
}

#[test]
fn results_have_their_places_and_nothing_is_left_beside_them() {
    let folder = folder();
    let place = folder.path().join("elsewhere.html");
    std::fs::write(&place, "old").unwrap();
    std::os::unix::fs::symlink(&place, folder.path().join("out.html")).unwrap();
    let args = ["simulate", "site.yaml", "--trace", "/dev/null", "--report", "out.html", "--json", "out.json"];
    let output = Command::new(env!("CARGO_BIN_EXE_heliotrope")).args(args).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // a link stays a link, a device a device
    assert!(std::fs::read_to_string(&place).unwrap().starts_with("<!DOCTYPE html>"));
    assert!(folder.path().join("out.html").is_symlink());
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["carbon.csv", "elsewhere.html", "out.html", "out.json", "site.yaml"]);
}

#[test]
fn who_stops_reading_is_no_mistake() {
    let folder = folder();
    for args in [&["crds"][..], &["simulate", "site.yaml", "--json", "-"], &["simulate", "site.yaml"], &["demo"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_heliotrope"))
            .args(args)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success() && error.is_empty(), "{args:?}: {status}, {error}");
    }
}

#[test]
fn the_largest_figures_that_are_accepted_overflow_nothing() {
    let huge = SITE
        .replace("10 kW", "10 GW, baselineWatts: 1, overheadPermille: 1000")
        .replace("8000", "10 GW, overheadPermille: 1000")
        .replace("wattsPerAccelerator: 500", "wattsPerAccelerator: 10 GW")
        .replace("nodes: 1, acc", "hostWatts: 10 GW, nodes: 1, acc");
    let folder = folder();
    std::fs::write(folder.path().join("site.yaml"), huge).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_heliotrope"))
        .args(["simulate", "site.yaml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_million_slots_and_a_profile_that_is_not_concave_are_planned_under_the_cap() {
    let dented = "Workload,GPU power cap,normalized throughput,power per GPU\n\
                  dent,400,1.0,350\ndent,300,0.5,340\ndent,200,0.7,195\ndent,100,0.1,300\n";
    let scenario = "apiVersion: heliotrope.dev/v1alpha1\nkind: Scenario\nstart: 2026-04-15T00:00:00Z\nduration: 278h\nslot: 1s\n\
        site:\n  domains: [{name: hall, capWatts: 2000}]\n  pools: [{name: row, nodes: 1, acceleratorsPerNode: 8, domain: hall}]\n\
        profiles: [{name: dent, file: dent.csv}]\nworkloads:\n\
        \x20 - {name: a, expectedDurationSeconds: 3600, maxDelaySeconds: 900000, acceleratorsPerReplica: 4, profile: dent}\n\
        \x20 - {name: b, expectedDurationSeconds: 3600, maxDelaySeconds: 900000, acceleratorsPerReplica: 4, profile: dent, checkpoint: {}}\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dent.csv"), dented).unwrap();
    std::fs::write(folder.path().join("site.yaml"), scenario).unwrap();
    let args = ["simulate", "site.yaml"];
    let output = Command::new(env!("CARGO_BIN_EXE_heliotrope")).args(args).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    for (row, cells) in [("jobs finished", "2 of 2"), ("deadlines missed", "0"), ("seconds over a cap", "0")] {
        let line = table.lines().find(|line| line.starts_with(row)).unwrap();
        assert_eq!(line[row.len()..].trim_start().split("  ").next(), Some(cells), "{table}");
    }
}
