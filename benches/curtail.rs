//! How long a curtailment takes from the write of its event to the last GPU's read-back: 50 nodes of eight GPUs on a real API
//! server, with the controller alive and dead; and what an agent takes at rest. Prints a table, compares it with `budgets.yaml`.
//!
//! | variable | |
//! |---|---|
//! | `HELIOTROPE_BENCH_RUNS` | runs of each kind, 20 without it |
//! | `HELIOTROPE_BENCH_LOG` | a file that the table is written to as well |

#![allow(clippy::unwrap_used, reason = "a measurement that can not go on has failed")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "watts of a site"
)]
#![allow(dead_code, reason = "the tests of the site use the rest")]

#[path = "../tests/site/cluster.rs"]
mod cluster;
#[path = "../tests/site/fleet.rs"]
mod fleet;
#[path = "../tests/site/meter.rs"]
mod meter;
#[path = "../tests/site/plant.rs"]
mod plant;
#[path = "../tests/site/proxy.rs"]
mod proxy;
#[path = "../tests/site/site.rs"]
mod site;
#[path = "../tests/site/tree.rs"]
mod tree;
#[path = "../tests/site/wall.rs"]
mod wall;

use fleet::WITH_PROCESSES;
use meter::now;
use serde::Deserialize;
use site::{DEEP, Site, pause};
use std::collections::BTreeMap;
use tree::name_of;

/// One that starts leads: it does not wait for the lease of the one that was killed.
const ALONE: &str = "leaderElection: false\n";

/// Agents at rest are watched for so long.
const REST_SECONDS: u64 = 180;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Budgets {
    curtailment: Curtailment,
    agent_at_rest: AgentAtRest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Curtailment {
    seconds_to_read_back: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AgentAtRest {
    mebibytes: f64,
    percent_of_a_core: f64,
    api_writes_per_minute: f64,
}

fn main() {
    let budgets = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/budgets.yaml")).unwrap();
    let budgets: Budgets = serde_yaml::from_str(&budgets).unwrap();
    let runs: usize = std::env::var("HELIOTROPE_BENCH_RUNS").ok().map_or(20, |runs| runs.parse().unwrap());
    let mut site = Site::start();
    site.controllers = vec![site.cluster.controller_with(ALONE)];
    site.enforce();
    site.back(now() + 15_000, 0.98, 120).expect("the site settles");

    let mut table = String::from(
        "# Seconds of a curtailment\n\nWritten by `make bench-curtail`: 50 nodes of eight GPUs, a real API server, 8 nodes with processes of their own and 42 in one.\n\
         From the write of an event of -30 % to: the last limit lowered in the plant; the last one read back by its actuator, as it\n\
         answers at its socket; all of it told by the agents in their NodePowers. The draw follows a limit with a time constant of 0.3 s.\n\n\
         | controller | runs | | least | median | slowest | budget |\n|---|---:|---|---:|---:|---:|---:|\n",
    );
    let mut exceeded = Vec::new();
    for (name, alive) in [("alive", true), ("dead", false)] {
        let measured: Vec<[f64; 3]> =
            (0..runs).map(|run| curtail(&mut site, &format!("{name}-{run}"), alive)).collect();
        for (at, what) in ["limits lowered", "read back", "told"].into_iter().enumerate() {
            let mut seconds: Vec<f64> = measured.iter().map(|run| run[at]).collect();
            seconds.sort_by(f64::total_cmp);
            let (least, median, most) = (seconds[0], seconds[runs / 2], seconds[runs - 1]);
            let budget = budgets.curtailment.seconds_to_read_back;
            let of = if at == 1 { format!("{budget:.1}") } else { String::new() };
            table += &format!("| {name} | {runs} | {what} | {least:.2} | {median:.2} | {most:.2} | {of} |\n");
            if at == 1 && most > budget {
                exceeded.push(format!("read back with the controller {name} after {most:.2} s, more than {budget} s"));
            }
        }
    }
    let figures = site.meter.record().figures(now() - 1000 * 3600, now());
    table += &format!(
        "\nWatt-seconds over any cap in all runs: {:.1}.\n",
        figures.iter().map(|feed| feed.over).sum::<f64>()
    );

    table += &format!(
        "\n## An agent at rest\n\nEight GPUs, {REST_SECONDS} s, the highest of eight processes.\n\n| | measured | budget |\n|---|---:|---:|\n"
    );
    let rest = &budgets.agent_at_rest;
    let [memory, share, writes] = at_rest(&mut site);
    for (what, measured, budget) in [
        ("memory (RSS), MiB", memory, rest.mebibytes),
        ("share of a core, %", share, rest.percent_of_a_core),
        ("API writes a minute", writes, rest.api_writes_per_minute),
    ] {
        table += &format!("| {what} | {measured:.2} | {budget:.1} |\n");
        if measured > budget {
            exceeded.push(format!("an agent at rest: {what} {measured:.2}, more than {budget}"));
        }
    }
    println!("{table}");
    if let Ok(path) = std::env::var("HELIOTROPE_BENCH_LOG") {
        std::fs::write(path, &table).unwrap();
    }
    assert!(exceeded.is_empty(), "over budget: {exceeded:#?}");
}

/// One curtailment and its end: seconds until the limits are lowered, read back, told.
fn curtail(site: &mut Site, name: &str, alive: bool) -> [f64; 3] {
    if !alive {
        site.controllers.clear();
    }
    let at = site.curtail(name, 0, DEEP);
    let read_back = site.read_back(at, 30).expect("it is read back within the correction time");
    let lowered = site.fell(at, 30).expect("it is lowered within the correction time");
    let told = site.told(at, 30).expect("it is told within the correction time");
    eprintln!("{name}: lowered {lowered:.2} s, read back {read_back:.2} s, told {told:.2} s");
    // not in step with heartbeats
    pause(3000 + now() % 4000);
    let at = site.release(name, 0);
    if !alive {
        site.controllers.push(site.cluster.controller_with(ALONE));
    }
    site.back(at, 0.98, 120).expect("it comes back");
    pause(2000);
    [lowered, read_back, told]
}

/// The most that one of the agents takes: memory in MiB, share of a core in hundredths, API writes a minute.
fn at_rest(site: &mut Site) -> [f64; 3] {
    pause(20_000);
    let agents: Vec<(usize, u32)> =
        WITH_PROCESSES.iter().filter_map(|node| Some((*node, site.fleet.ids(*node)?.0))).collect();
    let (from, ticks, beats) = (now(), agents.iter().map(|(_, id)| ticks(*id)).collect::<Vec<_>>(), heartbeats(site));
    pause(REST_SECONDS * 1000);
    let (seconds, after) = ((now() - from) as f64 / 1000.0, heartbeats(site));
    let mut most = [0.0_f64; 3];
    for ((node, id), before) in agents.iter().zip(&ticks) {
        let beats = after[&name_of(*node)] - beats[&name_of(*node)];
        // 100 ticks a second, as Linux tells them to everyone
        let share = (self::ticks(*id) - before) as f64 / seconds;
        let each = [memory(*id), share, beats as f64 * 60.0 / seconds];
        most.iter_mut().zip(each).for_each(|(most, each)| *most = most.max(each));
    }
    most
}

fn heartbeats(site: &Site) -> BTreeMap<String, i64> {
    let number = |power: heliotrope::api::NodePower| {
        Some((power.metadata.name?, power.status.and_then(|status| status.heartbeat)?.number))
    };
    site.cluster.powers().into_iter().filter_map(number).collect()
}

/// Processor time of a process, in ticks.
fn ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let fields: Vec<u64> = after_name.split(' ').skip(11).take(2).map(|field| field.parse().unwrap()).collect();
    fields.iter().sum()
}

fn memory(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
}
