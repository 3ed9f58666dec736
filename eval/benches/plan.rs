//! How long it takes to plan 10,000 workloads over 192 slots, 100 domains and 8 pools, against `benches/budgets.yaml`: cold, again
//! after one arrival, and the checker; how near to the least cost the plan is; and how both grow from 100 to 100,000 workloads:
//! `make bench-plan`.
//!
//! | variable | |
//! |---|---|
//! | `HELIOTROPE_RESULTS` | a file whose section of it is written anew |
//! | `HELIOTROPE_PICTURE` | a file that the growth is drawn to |

#![allow(clippy::unwrap_used, reason = "a measurement that can not go on has failed")]
#![allow(clippy::disallowed_methods, reason = "here time is what is asked for")]

use heliotrope::core::chance::random;
use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::checker::check;
use heliotrope::core::plan::{
    Constraints, Heliotrope, Load, Pace, Policy, Pool, PoolChoice, PoolId, Problem, Supply, Suspension, Workload,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Moment, Seconds, Watts};
use heliotrope_eval::plot::{COLOURS, Line, draw};
use heliotrope_eval::section;
use serde::Deserialize;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const SLOT: i64 = 900;
const SLOTS: i64 = 192;
const POOLS: usize = 8;
/// Workloads, and how often each is measured.
const SIZES: [(u64, usize); 7] = [(100, 7), (316, 7), (1000, 7), (3162, 5), (10_000, 7), (31_623, 3), (100_000, 1)];

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
    percent_from_least_at1000: f64,
    percent_from_least_at10000: f64,
    times_from10000_to100000: f64,
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
        uncertain: None,
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
        supplies: vec![Supply::at(Steps::new(100_000_000, price))],
        delay_cost_per_hour: 0,
        workloads: (0..count).map(workload).collect(),
        fixed: Vec::new(),
        constraints: Constraints::default(),
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

/// What was measured of one size.
struct Measured {
    workloads: u64,
    cold: f64,
    warm: f64,
    check: f64,
    /// None where deadlines are missed: the bound is of plans that miss none.
    gap: Option<f64>,
    misses: usize,
}

fn measure(workloads: u64, runs: usize) -> Measured {
    let cold = problem(workloads);
    let plan = Arc::new(Heliotrope.plan(&cold));
    assert_eq!(check(&cold, &plan), vec![]);
    let mut warm = cold.clone();
    warm.workloads.push(workload(workloads));
    (warm.thorough, warm.previous) = (false, Some(plan.clone()));
    Measured {
        workloads,
        cold: median(runs, || Heliotrope.plan(&cold)),
        warm: median(runs, || Heliotrope.plan(&warm)),
        check: median(runs, || check(&cold, &plan)),
        gap: plan.gap().map(|gap| gap * 100.0),
        misses: plan.misses(),
    }
}

fn main() {
    let budgets = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/budgets.yaml")).unwrap();
    let budgets = serde_yaml::from_str::<Budgets>(&budgets).unwrap().plan;
    let measured: Vec<Measured> = SIZES.into_iter().map(|(workloads, runs)| measure(workloads, runs)).collect();
    let mut text = "## Plans of many workloads (`make bench-plan`)\n\nOver 192 slots of a quarter of an hour, 100 domains and 8 pools; half of the workloads can be suspended, all have deadlines, and the cap is one and a half times what all draw in the mean. Medians, in milliseconds, of runs on two cores that others use too. The gap is to the bound of the plan: no plan that misses no deadline costs less; where one is missed (a hundred are too few for their caps: one workload alone can be too much for its hall) there is none to tell.\n\n| workloads | cold | after one arrival | checker | gap, % | deadlines missed |\n|---:|---:|---:|---:|---:|---:|\n".to_owned();
    for Measured { workloads, cold, warm, check, gap, misses } in &measured {
        let gap = gap.map_or("none: a deadline is missed".to_owned(), |gap| format!("{gap:.2}"));
        let _ = writeln!(text, "| {workloads} | {cold:.0} | {warm:.1} | {check:.1} | {gap} | {misses} |");
    }
    let of = |workloads: u64| measured.iter().find(|measured| measured.workloads == workloads).unwrap();
    let (thousand, most, ten) = (of(1000), of(100_000), of(10_000));
    let limits = [
        ("10,000 workloads, cold, ms", ten.cold, budgets.cold_milliseconds),
        ("10,000 workloads, after one arrival, ms", ten.warm, budgets.warm_milliseconds),
        ("10,000 workloads, checker, ms", ten.check, budgets.check_milliseconds),
        ("1,000 workloads, gap, %", thousand.gap.unwrap_or(f64::NAN), budgets.percent_from_least_at1000),
        ("10,000 workloads, gap, %", ten.gap.unwrap_or(f64::NAN), budgets.percent_from_least_at10000),
        ("100,000 workloads, times as long as 10,000", most.cold / ten.cold, budgets.times_from10000_to100000),
    ];
    text.push_str("\n| what | measured | at most |\n|---|---:|---:|\n");
    for (what, measured, limit) in &limits {
        let _ = writeln!(text, "| {what} | {measured:.2} | {limit} |");
    }
    text.push_str("\n![Milliseconds by workloads, both in powers of ten](pictures/plan-growth.svg)\n");
    println!("{text}");
    if let Ok(path) = std::env::var("HELIOTROPE_PICTURE") {
        let line = |(i, name, of): (usize, &str, fn(&Measured) -> f64)| Line {
            name: name.to_owned(),
            points: measured.iter().map(|m| ((m.workloads as f64).log10(), of(m).max(0.1).log10())).collect(),
            colour: COLOURS[i],
            dashed: false,
        };
        let linear = Line {
            name: "linear".to_owned(),
            points: measured
                .iter()
                .map(|m| (m.workloads as f64, ten.cold * m.workloads as f64 / 10_000.0))
                .map(|(x, y)| (x.log10(), y.log10()))
                .collect(),
            colour: COLOURS[7],
            dashed: true,
        };
        let mut lines: Vec<Line> = [
            (0, "cold", (|m| m.cold) as fn(&Measured) -> f64),
            (2, "after one arrival", |m| m.warm),
            (3, "checker", |m| m.check),
        ]
        .into_iter()
        .map(line)
        .collect();
        lines.push(linear);
        let picture = draw("Planning time", "workloads, powers of ten", "milliseconds, powers of ten", -1.0, &lines);
        std::fs::write(path, picture).unwrap();
    }
    if let Ok(path) = std::env::var("HELIOTROPE_RESULTS") {
        let document = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, section::replace(&document, "plan", &text).unwrap()).unwrap();
    }
    let over: Vec<_> =
        limits.into_iter().filter(|(_, measured, limit)| measured.is_nan() || measured > limit).collect();
    assert!(over.is_empty(), "over budget (what, measured, at most): {over:?}");
}
