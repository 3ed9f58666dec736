//! The page of the scenario format names every field that the program reads, and no other; its example runs.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use serde_yaml::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

const PAGE: &str = include_str!("../docs/scenarios.md");

/// The files of the page's example: a name in backticks at the start of a line, then the block.
fn files() -> BTreeMap<&'static str, &'static str> {
    let blocks = PAGE.split("\n```\n").filter_map(|part| {
        let (before, block) = part.split_once("\n```yaml\n").or_else(|| part.split_once("\n```csv\n"))?;
        let name = before.lines().rfind(|line| line.starts_with('`'))?.split('`').nth(1)?;
        Some((name, block))
    });
    blocks.collect()
}

/// First cells of the table under each heading.
fn tables() -> BTreeMap<String, BTreeSet<String>> {
    let sections = PAGE.split("\n## ").skip(1).map(|section| {
        let heading = section.lines().next().unwrap().trim_matches('`').to_owned();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        (heading, rows.map(str::to_owned).collect())
    });
    sections.collect()
}

fn simulate(folder: &Path, scenario: &Value, more: &[&str]) -> Output {
    std::fs::write(folder.join("site.yaml"), serde_yaml::to_string(scenario).unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heliotrope"));
    command.arg("simulate").arg("site.yaml").args(more).current_dir(folder).output().unwrap()
}

fn example() -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files() {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    (folder, serde_yaml::from_str(files()["site.yaml"]).unwrap())
}

/// Every mapping of a scenario, as steps to it and its name on the page. What a map may hold freely is told in its row.
fn mappings(value: &Value, steps: &[Value], name: &str, into: &mut Vec<(Vec<Value>, String)>) {
    let deeper = |step: Value| [steps, &[step]].concat();
    match value {
        Value::Mapping(fields) => {
            into.push((steps.to_vec(), name.to_owned()));
            for (key, inner) in
                fields.iter().filter(|(key, _)| !["target", "forecast"].map(Some).contains(&key.as_str()))
            {
                let key_name = key.as_str().unwrap();
                let name = if name.is_empty() { key_name.to_owned() } else { format!("{name}.{key_name}") };
                mappings(inner, &deeper(key.clone()), &name, into);
            }
        }
        Value::Sequence(items) => {
            for (i, item) in items.iter().enumerate() {
                mappings(item, &deeper(i.into()), &format!("{name}[]"), into);
            }
        }
        _ => {}
    }
}

#[test]
fn each_field_is_on_the_page_and_in_its_example_and_no_other() {
    let (folder, scenario) = example();
    let tables = tables();
    let mut all = Vec::new();
    mappings(&scenario, &[], "", &mut all);
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (steps, name) in all {
        let name = match name.as_str() {
            "" => "The scenario".to_owned(),
            "signals.price" => "signals.carbon".to_owned(),
            _ => name,
        };
        let mut wrong = scenario.clone();
        let at = steps.iter().fold(&mut wrong, |at, step| match step.as_u64() {
            Some(i) => &mut at[i as usize],
            None => &mut at[step.as_str().unwrap()],
        });
        let keys = at.as_mapping().unwrap().keys().map(|key| key.as_str().unwrap().to_owned());
        shown.entry(name.clone()).or_default().extend(keys);
        // the program itself says what it knows there
        at["nonsense"] = Value::Null;
        let said = String::from_utf8(simulate(folder.path(), &wrong, &[]).stderr).unwrap();
        let (_, known) =
            said.split_once("unknown field `nonsense`, expected ").unwrap_or_else(|| panic!("{name}: {said}"));
        read.entry(name).or_default().extend(known.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    for (name, known) in &read {
        assert_eq!(tables.get(name), Some(known), "docs/scenarios.md, the table of `{name}` against what is read");
        assert_eq!(&shown[name], known, "docs/scenarios.md, the example's `{name}` against what is read");
    }
    let others: Vec<_> = tables.keys().filter(|name| !read.contains_key(*name)).collect();
    assert_eq!(others, ["An example with every field", "Results"], "sections of nothing that is read");
}

#[test]
fn the_example_runs_and_each_figure_is_on_the_page() {
    let (folder, scenario) = example();
    let output = simulate(folder.path(), &scenario, &["--json", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let named: BTreeSet<String> = figures.as_object().unwrap().keys().cloned().collect();
    assert_eq!(tables()["Results"], named, "docs/scenarios.md, Results against the JSON");
    assert_eq!((&figures["secondsOverCap"], &figures["jobsTotal"]), (&0.into(), &4.into()), "{figures}");
    assert_eq!(figures["jobsFinished"], 4, "{figures}");
}
