//! How long it takes to divide the watts of 40,000 accelerators in 5,000 workloads over 500 domains, against
//! `benches/budgets.yaml`: `make bench-divide`.

#![allow(clippy::unwrap_used, reason = "a measurement that can not go on has failed")]
#![allow(clippy::disallowed_methods, reason = "here time is what is asked for")]
#![allow(clippy::cast_precision_loss, reason = "shares of a cap")]

use heliotrope::core::chance::random;
use heliotrope::core::divide::{Bend, Claim, divide};
use heliotrope::core::profile::Curve;
use heliotrope::units::Watts;
use serde::Deserialize;
use std::hint::black_box;
use std::time::Instant;

const HALLS: u64 = 20;
const ROWS: u64 = 25;
const NODES: u64 = 10;
const RUNS: usize = 50;

#[derive(Deserialize)]
struct Budgets {
    divide: Divide,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Divide {
    milliseconds: f64,
}

/// A node of eight accelerators and the one workload on it: each has a curve of its own.
fn node(seed: u64) -> Claim {
    let jitter = |at: u64| u32::try_from(random(seed, at) % 60).unwrap();
    let points = [(100, 190), (200, 620), (250, 770), (300, 850), (400, 940)];
    let points = points.into_iter().enumerate().map(|(i, (limit, work))| (Watts(limit), work + jitter(i as u64)));
    let curve = Curve::of(points).unwrap();
    let node = |limit: Watts| Watts(2000) + limit.times(8);
    let limits: Vec<Watts> =
        [Watts(100)].into_iter().chain(curve.limits().filter(|limit| *limit > Watts(100))).collect();
    let bends = limits.windows(2).map(|pair| Bend {
        watts: node(pair[1]) - node(pair[0]),
        work: 8 * (i64::from(curve.at(pair[1])) - i64::from(curve.at(pair[0]))),
    });
    let promised = node(curve.lowest_for(1000 - 100 * u32::try_from(random(seed, 99) % 6).unwrap()));
    Claim::new(node(Watts(100)), promised.min(node(Watts(400))), node(Watts(400)), node(Watts(400)), bends)
}

/// The watts of the site, down to each node: the sums from the leaves up, the division from the root down.
fn over_the_tree(rows: &[Vec<Claim>], budget: Watts) -> Vec<Vec<Watts>> {
    let none = |count: usize| vec![Watts(0); count];
    let halls: Vec<Vec<Claim>> = rows.chunks(ROWS as usize).map(|rows| rows.iter().map(Claim::sum).collect()).collect();
    let site: Vec<Claim> = halls.iter().map(Claim::sum).collect();
    let to_halls = divide(budget, &site, &none(site.len()), &|_| Watts(0));
    let to_rows =
        halls.iter().zip(to_halls).flat_map(|(rows, budget)| divide(budget, rows, &none(rows.len()), &|_| Watts(0)));
    rows.iter().zip(to_rows).map(|(nodes, budget)| divide(budget, nodes, &none(nodes.len()), &|_| Watts(0))).collect()
}

fn main() {
    let budgets = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/budgets.yaml")).unwrap();
    let budgets: Budgets = serde_yaml::from_str(&budgets).unwrap();
    let rows: Vec<Vec<Claim>> =
        (0..HALLS * ROWS).map(|row| (0..NODES).map(|at| node(row * NODES + at)).collect()).collect();
    let most: Watts = rows.iter().flatten().map(|claim| claim.most).sum();
    println!("| cap, % | median, ms | slowest, ms | used, % |\n|---:|---:|---:|---:|");
    let mut slowest_median = 0.0_f64;
    for percent in [90, 75, 60] {
        let budget = most.percent(percent);
        let mut millis = Vec::new();
        for _ in 0..RUNS {
            let started = Instant::now();
            black_box(over_the_tree(black_box(&rows), budget));
            millis.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        millis.sort_by(f64::total_cmp);
        let given: Watts = over_the_tree(&rows, budget).into_iter().flatten().sum();
        assert!(given <= budget, "{given} of {budget}");
        let used = given.0 as f64 / budget.0 as f64 * 100.0;
        println!("| {percent} | {:.1} | {:.1} | {used:.2} |", millis[RUNS / 2], millis[RUNS - 1]);
        slowest_median = slowest_median.max(millis[RUNS / 2]);
    }
    let limit = budgets.divide.milliseconds;
    assert!(slowest_median <= limit, "over budget: {slowest_median:.1} ms, more than {limit} ms");
}
