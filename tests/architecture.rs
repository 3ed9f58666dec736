//! The arrows of the house: `units` uses nothing of ours, `core` only `units`, and neither knows Kubernetes, I/O,
//! a clock or unseeded chance. Read from the sources themselves.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::path::{Path, PathBuf};

/// What may not be named below a folder, and why.
const ARROWS: &[(&str, &[&str], &str)] = &[
    ("src/units", &["crate::"], "units stand on nothing of ours"),
    (
        "src/core",
        &[
            "crate::api",
            "crate::commands",
            "crate::controller",
            "crate::signals",
            "crate::simulate",
            "crate::web",
            "crate::workloads",
            "crate::yaml",
            "crate::clock",
        ],
        "core uses only units",
    ),
    (
        "src/core",
        &[
            "kube",
            "k8s_openapi",
            "tokio",
            "nvml",
            "std::fs",
            "std::net",
            "std::env",
            "std::io",
            "std::process",
            "SystemTime",
            "Instant::now",
            "Timestamp::now",
            "Zoned::now",
            "rand::",
            "thread_rng",
        ],
        "core is pure: no Kubernetes, no I/O, no clock, no chance but a seed",
    ),
    ("src/units", &["kube", "tokio", "std::fs", "SystemTime", "Instant::now", "Timestamp::now"], "units are values"),
    ("src/signals", &["std::fs", "std::net", "tokio", "kube"], "readers get text; reading files is the caller's"),
    (
        "src/fetch",
        &["kube", "k8s_openapi", "crate::api", "crate::controller", "crate::commands", "crate::web", "crate::clock"],
        "asking a server knows no cluster",
    ),
    (
        "src/simulate",
        &["std::fs", "tokio", "kube", "crate::commands", "crate::clock"],
        "the simulator is a library in virtual time",
    ),
    (
        "src/simulate/meter.rs",
        &["Ledger", "seen_from_above", "plus_permille"],
        "the meter shares no code with the planner's books",
    ),
    (
        "src/core/plan/checker.rs",
        &["Ledger", "ledger::", "place::", "seen_from_above", "plus_permille"],
        "the checker shares no code with the planner",
    ),
    (
        "src/core/lease/check.rs",
        &[
            "shortage",
            "ledger::",
            "allot",
            ".at(cap",
            "worst_at",
            "fine_at",
            "highest(",
            "lowest(",
            ".within(",
            ".charged(",
        ],
        "the checker of ledgers shares no code with what writes them",
    ),
    ("src/controller/curtail.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/orders.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/points.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/profiles.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/declared.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leased.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/books.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/exception.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/kids.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/ramp.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/memory.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/nodes.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/seen.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/shares.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/steady.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/view.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/watchdog.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/works.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/leases/wish.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller", &["Rules::ALL.without", ".without("], "the protocol runs with all its rules"),
    ("src/controller/snapshot.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/site.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/supply.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/world.rs", SHELL, "what the controller decides with is values in, values out"),
    ("src/controller/status.rs", SHELL, "what the controller decides with is values in, values out"),
    (
        "src/actuator",
        &[
            "kube",
            "k8s_openapi",
            "crate::agent",
            "crate::api",
            "crate::commands",
            "crate::controller",
            "crate::signals",
            "crate::simulate",
            "crate::web",
            "crate::workloads",
            "crate::yaml",
            "std::net",
            "tokio::net::Tcp",
            "tokio::net::Udp",
        ],
        "the actuator is privileged and small: units, a clock, its devices and one Unix socket",
    ),
    (
        "src/actuator/hold",
        &["tokio", "nvml", "std::fs", "std::thread", "std::sync", "crate::clock", "SystemTime", "::now()", "tracing"],
        "the switch is values in, values out",
    ),
    ("src/actuator/protocol.rs", &["tokio", "std::", "crate::clock"], "what is said is values"),
    ("src/actuator/device.rs", &["nvml", "tokio", "std::", "crate::clock"], "devices of any maker"),
    (
        "src/durable.rs",
        &["crate::", "tokio", "kube"],
        "privileged and unprivileged parts keep files with it: it stands on nothing of ours",
    ),
    ("src/caps.rs", SHELL, "controller and agents reckon caps with the same values in, values out"),
    (
        "src/agent",
        &["Rules::ALL.without", ".without(", "crate::controller", "crate::simulate"],
        "the node holds all the rules",
    ),
    ("src/agent/divide.rs", SHELL, "a node's watts are divided as values"),
    ("src/agent/readings.rs", SHELL, "what is known of accelerators is values in, values out"),
    ("src/agent/orders.rs", SHELL, "what is ordered is values in, values out"),
    ("src/agent/report.rs", SHELL, "what is reported is values in, values out"),
    ("src/workloads", SHELL, "how a kind is read and changed is values in, values out"),
];

/// What the pure rooms of the shell may not name.
const SHELL: &[&str] = &[
    "kube::Client",
    "kube::{",
    "Api<",
    "Client,",
    "tokio",
    "async ",
    "std::fs",
    "crate::clock",
    "SystemTime",
    "::now()",
];

fn sources(at: &Path, found: &mut Vec<PathBuf>) {
    if at.is_dir() {
        for entry in std::fs::read_dir(at).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if at.extension().is_some_and(|ending| ending == "rs") {
        found.push(at.to_path_buf());
    }
}

/// The lines of a file that are code: without comments, up to its unit tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .enumerate()
        .map(|(i, line)| (i + 1, line.split("//").next().unwrap_or("")))
}

fn offences(name: &str, text: &str, banned: &[&str], why: &str) -> Vec<String> {
    code(text)
        .flat_map(|(line, code)| {
            let found = banned.iter().filter(move |word| code.contains(**word));
            found.map(move |word| format!("{name}:{line}: `{word}`: {why}"))
        })
        .collect()
}

#[test]
fn the_arrows_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for (place, banned, why) in ARROWS {
        let mut files = Vec::new();
        for at in [root.join(place), root.join(format!("{place}.rs"))] {
            if at.exists() {
                sources(&at, &mut files);
            }
        }
        assert!(!files.is_empty(), "{place} is gone: mend the list of arrows");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            all.extend(offences(&file.display().to_string(), &text, banned, why));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// The words of a line that name a part of the actuator's room which only itself and its command may.
fn inside_actuator(code: &str) -> bool {
    code.split("crate::actuator").skip(1).any(|rest| {
        let open = ["::protocol::", "::protocol;", "::client::", "::client;"];
        !open.iter().any(|part| rest.starts_with(part))
    })
}

#[test]
fn the_actuator_is_spoken_to_by_its_protocol_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let own = [root.join("actuator"), root.join("actuator.rs"), root.join("commands/actuator.rs")];
    for file in files.into_iter().filter(|file| !own.iter().any(|own| file.starts_with(own))) {
        let text = std::fs::read_to_string(&file).unwrap();
        for (line, code) in code(&text) {
            assert!(!inside_actuator(code), "{}:{line}: {code}: use its protocol and its client", file.display());
        }
    }
    assert!(
        inside_actuator("use crate::actuator::hold::Hold;") && inside_actuator("use crate::actuator::{client, hold};")
    );
    assert!(!inside_actuator("use crate::actuator::protocol::Order;") && !inside_actuator("use crate::units::Watts;"));
}

#[test]
fn an_arrow_that_points_up_is_seen() {
    let text = "//! kube is fine in words\nuse kube::Client; // here it is not\n#[cfg(test)]\nuse kube::Api;\n";
    assert_eq!(offences("x.rs", text, &["kube"], "why"), ["x.rs:2: `kube`: why"]);
}

#[test]
fn files_stay_small_enough_to_read() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let long: Vec<String> = files
        .iter()
        .map(|file| (file, std::fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 550)
        .map(|(file, lines)| format!("{} has {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "one idea a file: {}", long.join(", "));
}
