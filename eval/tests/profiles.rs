//! The profiles that the chart ships are what the shared data says.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope_eval::profiles::shipped;
use std::path::Path;

#[test]
fn the_files_are_reckoned_from_the_data() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let data = root.join("../shared/data");
    if !data.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "the shared data is needed in CI: {} is not there", data.display());
        eprintln!("skipped: needs the shared data at {}", data.display());
        return;
    }
    let folder = root.join("charts/heliotrope/profiles");
    let mut found: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let mut files = shipped(&data).unwrap();
    files.sort();
    assert_eq!(found, files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    for (name, text) in files {
        let found = std::fs::read_to_string(folder.join(&name)).unwrap();
        assert_eq!(found, text, "{name} is out of date: run `make profiles`");
    }
}

#[test]
fn what_is_not_there_is_told() {
    let error = shipped(Path::new("/nowhere")).unwrap_err();
    assert!(error.starts_with("/nowhere/gpu-power/a100_llm_power_limit_sweep.csv: "), "{error}");
}
