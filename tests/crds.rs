//! The CustomResourceDefinitions: the files are what the types say, and the types say what a person needs.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::api::crds::{all, files};
use serde_json::Value;
use std::path::Path;

#[test]
fn the_files_are_generated_from_the_types() {
    // the chart's are copies: helm reads no folder but its own
    ["crds", "charts/heliotrope/crds"].iter().for_each(|folder| are_generated(folder));
}

fn are_generated(folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut files = files().unwrap();
    files.sort();
    assert_eq!(names, files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    for (name, text) in files {
        let found = std::fs::read_to_string(folder.join(&name)).unwrap();
        assert_eq!(found, text, "{}/{name} is out of date: run `make crds`", folder.display());
    }
}

/// Calls `visit` with every schema below one and its path.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            walk(&format!("{path}[]"), &schema[part], visit);
        }
    }
}

#[test]
fn every_field_is_described_bounded_and_named_as_kubernetes_names() {
    let mut faults = Vec::new();
    for crd in all() {
        let crd = serde_json::to_value(crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        let version = &crd["spec"]["versions"][0];
        let root = &version["schema"]["openAPIV3Schema"];
        // an allotment is one object that is swapped whole: nobody reports in it
        let has_status = version["subresources"]["status"].is_object();
        assert_eq!(has_status, kind != "PowerAllotment", "{kind}");
        assert!(version["additionalPrinterColumns"].as_array().unwrap().len() <= 6, "{kind} has too many columns");
        assert_eq!(crd["spec"]["names"]["shortNames"].as_array().map(Vec::len), Some(1), "{kind}");
        assert!(!root["description"].as_str().unwrap().starts_with("Auto-generated"), "{kind}");
        walk(&kind, root, &mut |path, schema| {
            let name = path.rsplit('.').next().unwrap();
            if schema["description"].as_str().is_none_or(str::is_empty) && !path.ends_with("[]") {
                faults.push(format!("{path} has no description"));
            }
            if name.contains('_') || name.starts_with(char::is_uppercase) && path != kind {
                faults.push(format!("{path} is not camelCase"));
            }
            let bounded = schema["enum"].is_array() || schema["maxLength"].is_u64() || schema["format"] == "date-time";
            if schema["type"] == "string" && !bounded {
                faults.push(format!("{path} is a string without maxLength"));
            }
            if schema["type"] == "array" && !schema["maxItems"].is_u64() {
                faults.push(format!("{path} is a list without maxItems"));
            }
            if schema["type"] == "number" {
                faults.push(format!("{path} is a float"));
            }
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                if rule["message"].as_str().is_none_or(str::is_empty) {
                    faults.push(format!("{path} has a rule without a message"));
                }
            }
        });
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
