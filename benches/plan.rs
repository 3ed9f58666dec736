//! How long it takes to plan 10,000 workloads over 192 slots, 100 domains and 8 pools, against `benches/budgets.yaml`: cold, again
//! after one arrival, and the checker: `make bench-plan`.

#![allow(clippy::unwrap_used, reason = "a measurement that can not go on has failed")]
#![allow(clippy::disallowed_methods, reason = "here time is what is asked for")]

use heliotrope::core::chance::random;
use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::checker::check;
use heliotrope::core::plan::{
    Heliotrope, Load, Pace, Policy, Pool, PoolChoice, PoolId, Problem, Supply, Suspension, Workload,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Moment, Seconds, Watts};
use serde::Deserialize;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const SLOT: i64 = 900;
const SLOTS: i64 = 192;
const POOLS: usize = 8;
const RUNS: usize = 7;

#[derive(Deserialize)]
struct Budgets {
    plan: Plan,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Plan {
    cold_milliseconds: f64,
    warm_milliseconds: f64,
    check_milliseconds: f64,
}

fn below(seed: u64, at: u64, most: i64) -> i64 {
    i64::try_from(random(seed, at) % most.unsigned_abs()).unwrap()
}

/// A site, eight halls with a pool each, and as many rows without pools as make a hundred domains.
fn tree(cap: Watts) -> DomainTree {
    let domain = |name: String, parent: Option<String>, cap: Watts| DomainSpec {
        name,
        parent,
        cap: Steps::constant(cap),
        baseline: Watts(0),
        overhead_permille: 20,
    };
    let mut specs = vec![domain("site".to_owned(), None, cap)];
    specs.extend((0..POOLS).map(|i| domain(format!("hall-{i}"), Some("site".to_owned()), Watts(cap.0 / 6))));
    specs.extend((0..91).map(|i| domain(format!("row-{i}"), Some(format!("hall-{}", i % POOLS)), Watts(cap.0 / 40))));
    DomainTree::new(specs).unwrap()
}

fn workload(i: u64) -> Workload {
    let of = |what: u64, most: i64| below(i, what, most);
    let length = Seconds(SLOT * (1 + of(1, 24)));
    let load =
        Load { watts: Watts(700 * (1 + of(2, 8))), accelerators: 1 + u32::try_from(of(2, 8)).unwrap(), hosts: 1 };
    let pool = usize::try_from(of(3, 8)).unwrap();
    let can_stop = of(4, 2) == 0;
    Workload {
        id: format!("w{i:06}").into(),
        priority: 0,
        arrival: Moment(-i64::try_from(i).unwrap()),
        remaining: length,
        choices: vec![PoolChoice { pool: PoolId(pool), load, pace: Pace::FULL }],
        running: None,
        suspension: if can_stop { Suspension::ForSupply { cost: Seconds::ZERO } } else { Suspension::ForCapOnly },
        stops_later_by: Seconds::ZERO,
        ahead: 0,
        start_by: None,
        finish_by: Some(Moment(SLOT * SLOTS - of(5, SLOT * 40))),
    }
}

fn problem(count: u64) -> Problem {
    // two thirds of what all want is what there is on the mean over the time
    let work: i64 = (0..count).map(workload).map(|w| w.choices[0].load.watts.0 * w.remaining.0 / (SLOT * SLOTS)).sum();
    let tree = tree(Watts(work * 3 / 2));
    let pools = (0..POOLS).map(|i| Pool {
        name: format!("hall-{i}"),
        domain: tree.find(&format!("hall-{i}")).unwrap(),
        supply: 0,
        accelerators: u32::try_from(count).unwrap(),
        nodes: u32::try_from(count).unwrap(),
        idle: Watts(0),
        host_extra: Watts(0),
        places: None,
        frozen: None,
        least: None,
    });
    let pools = pools.collect();
    let price = (0..SLOTS).map(|slot| {
        let hour = slot / 4 % 24;
        (Moment(slot * SLOT), 20_000_000 + 400_000 * (hour - 13).pow(2) + 10_000 * below(7, slot.unsigned_abs(), 100))
    });
    Problem {
        now: Moment(0),
        seed: 1,
        slot: Seconds(SLOT),
        horizon: Seconds(SLOT * SLOTS),
        tree,
        pools,
        supplies: vec![Supply { price: Steps::new(100_000_000, price), intensity: None }],
        delay_cost_per_hour: 0,
        workloads: (0..count).map(workload).collect(),
        fixed: Vec::new(),
        thorough: true,
        previous: None,
    }
}

/// The median of some runs, in milliseconds.
fn median<T>(runs: usize, run: impl Fn() -> T) -> f64 {
    let mut millis: Vec<f64> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            black_box(run());
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    millis.sort_by(f64::total_cmp);
    millis[runs / 2]
}

fn main() {
    let budgets = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/budgets.yaml")).unwrap();
    let budgets: Budgets = serde_yaml::from_str(&budgets).unwrap();
    println!(
        "| workloads | cold, ms | after one arrival, ms | checker, ms | gap, % | misses |\n|---:|---:|---:|---:|---:|---:|"
    );
    let mut over = Vec::new();
    for count in [100, 1_000, 10_000] {
        let runs = if count < 10_000 { RUNS } else { 3 };
        let cold = problem(count);
        let plan = Arc::new(Heliotrope.plan(&cold));
        assert_eq!(check(&cold, &plan), vec![]);
        let mut warm = cold.clone();
        warm.workloads.push(workload(count));
        (warm.thorough, warm.previous) = (false, Some(plan.clone()));
        let cold_millis = median(runs, || Heliotrope.plan(&cold));
        let warm_millis = median(runs, || Heliotrope.plan(&warm));
        let check_millis = median(runs, || check(&cold, &plan));
        let gap = plan.gap().map_or(f64::NAN, |gap| gap * 100.0);
        println!(
            "| {count} | {cold_millis:.0} | {warm_millis:.0} | {check_millis:.0} | {gap:.2} | {} |",
            plan.misses()
        );
        if count == 10_000 {
            let limits = [
                ("cold", cold_millis, budgets.plan.cold_milliseconds),
                ("after one arrival", warm_millis, budgets.plan.warm_milliseconds),
                ("checker", check_millis, budgets.plan.check_milliseconds),
            ];
            over.extend(limits.into_iter().filter(|(_, millis, limit)| millis > limit));
        }
    }
    assert!(over.is_empty(), "over budget (what, ms, limit): {over:?}");
}
