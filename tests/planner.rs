//! The planner's promises, on random worlds: no domain over its cap at any moment, no deadline missed that some order
//! keeps, a second plan changes nothing, the same problem the same bytes.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::admit::{Action, cycle};
use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::checker::check;
use heliotrope::core::plan::{
    Constraints, Fixed, Heliotrope, Load, Policy, Pool, PoolChoice, PoolId, PowerPlan, Problem, Run, RunNow, Running,
    Supply, Suspension, Workload,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Moment, Seconds, Watts};
use proptest::prelude::*;
use std::sync::Arc;

const SLOT: i64 = 900;

/// A site of 10 kW with two rows of 6 kW; each row has 8 accelerators in 4 nodes.
fn site(caps: [Steps<Watts>; 3], overhead: u32) -> (DomainTree, Vec<Pool>) {
    let [site, a, b] = caps;
    let row = |name: &str, cap| DomainSpec {
        name: name.to_owned(),
        parent: Some("site".to_owned()),
        cap,
        baseline: Watts(100),
        overhead_permille: overhead,
    };
    let root = DomainSpec {
        name: "site".to_owned(),
        parent: None,
        cap: site,
        baseline: Watts(500),
        overhead_permille: overhead,
    };
    let tree = DomainTree::new(vec![root, row("row-a", a), row("row-b", b)]).unwrap();
    let pools = ["row-a", "row-b"]
        .map(|name| Pool {
            name: name.to_owned(),
            domain: tree.find(name).unwrap(),
            supply: 0,
            accelerators: 8,
            nodes: 4,
            idle: Watts(200),
            host_extra: Watts(150),
            places: None,
            frozen: None,
            least: None,
        })
        .to_vec();
    (tree, pools)
}

fn steady(watts: i64) -> Steps<Watts> {
    Steps::constant(Watts(watts))
}

fn supply(price: Steps<i64>) -> Supply {
    Supply::at(price)
}

fn problem(tree: DomainTree, pools: Vec<Pool>, workloads: Vec<Workload>) -> Problem {
    Problem {
        now: Moment(0),
        seed: 1,
        slot: Seconds(SLOT),
        horizon: Seconds::DAY,
        tree,
        pools,
        supplies: vec![supply(Steps::constant(50_000_000))],
        delay_cost_per_hour: 0,
        workloads,
        fixed: Vec::new(),
        constraints: Constraints::default(),
        thorough: true,
        previous: None,
    }
}

#[derive(Debug, Clone)]
struct Sketch {
    slots: i64,
    extra_seconds: i64,
    accelerators: u32,
    watts: i64,
    /// Slots of slack; none is never delayed for supply.
    slack: Option<i64>,
    divisible: bool,
    priority: i32,
    running: Option<usize>,
}

fn sketch() -> impl Strategy<Value = Sketch> {
    (
        1..12_i64,
        prop_oneof![Just(0), 0..SLOT],
        1..6_u32,
        100..700_i64,
        proptest::option::weighted(0.8, 0..40_i64),
        any::<bool>(),
        0..3_i32,
        proptest::option::weighted(0.2, 0..2_usize),
    )
        .prop_map(|(slots, extra_seconds, accelerators, watts, slack, divisible, priority, running)| Sketch {
            slots,
            extra_seconds,
            accelerators,
            watts,
            slack,
            divisible,
            priority,
            running,
        })
}

fn workloads(sketches: &[Sketch]) -> Vec<Workload> {
    sketches
        .iter()
        .enumerate()
        .map(|(i, s)| {
            let remaining = Seconds(s.slots * SLOT + s.extra_seconds);
            let load = Load {
                watts: Watts(s.watts).times(s.accelerators),
                accelerators: s.accelerators,
                hosts: s.accelerators.div_ceil(2),
            };
            Workload {
                id: format!("w{i:02}").into(),
                priority: s.priority,
                arrival: Moment(-60 * i64::try_from(i).unwrap()),
                remaining,
                choices: (0..2).map(|pool| PoolChoice::full(PoolId(pool), load)).collect(),
                running: s.running.map(|pool| Running::new(PoolId(pool), Moment(-3600))),
                suspension: if s.divisible {
                    Suspension::ForSupply { cost: Seconds(30) }
                } else {
                    Suspension::ForCapOnly
                },
                stops_later_by: Seconds::ZERO,
                ahead: 0,
                start_by: None,
                finish_by: s.slack.map(|slots| Moment(0) + remaining + Seconds(slots * SLOT)),
                uncertain: None,
            }
        })
        .collect()
}

fn world() -> impl Strategy<Value = Problem> {
    let price = proptest::collection::vec(0..400_i64, 1..30);
    let falls = proptest::collection::vec((0..40_i64, 1..20_i64, 3..10_i64), 0..3);
    (proptest::collection::vec(sketch(), 0..10), price, falls, 0..80_u32, any::<(bool, bool)>()).prop_map(
        |(sketches, prices, falls, overhead, (fixed, two_grids))| {
            let mut cap = steady(10_000);
            for (start, length, kw) in falls {
                let start = Moment(start * SLOT + 7);
                cap.update(start, start + Seconds(length * SLOT), |_| Watts(kw * 1000));
            }
            let (tree, pools) = site([cap, steady(6_000), steady(6_000)], overhead);
            let mut problem = problem(tree, pools, workloads(&sketches));
            let hours = prices.iter().zip(0..).map(|(price, hour)| (Moment(hour * 3600), price * 1_000_000));
            problem.supplies =
                vec![supply(Steps::new(prices[0] * 1_000_000, hours)), supply(Steps::constant(200_000_000))];
            problem.pools[1].supply = usize::from(two_grids);
            if fixed {
                let load = Load { watts: Watts(700), accelerators: 2, hosts: 1 };
                problem.fixed.push(Fixed { pool: PoolId(0), load, until: Moment(5000) });
            }
            problem
        },
    )
}

fn again(problem: &Problem, plan: PowerPlan) -> PowerPlan {
    let next = Problem { previous: Some(Arc::new(plan)), ..problem.clone() };
    Heliotrope.plan(&next)
}

/// Misses of the best of all orders, each workload placed whole at the first moment at which it fits, by trying all
/// moments at which anything ends. Knows one row under one cap, and nothing of the planner.
fn fewest_misses(jobs: &[(i64, i64, i64)], cap: i64) -> usize {
    fn go(
        placed: &mut Vec<(i64, i64, i64)>,
        left: &mut Vec<(i64, i64, i64)>,
        cap: i64,
        missed: usize,
        best: &mut usize,
    ) {
        if missed >= *best {
            return;
        }
        if left.is_empty() {
            *best = missed;
            return;
        }
        for i in 0..left.len() {
            let job = left.remove(i);
            let (length, watts, by) = job;
            let mut starts: Vec<i64> = placed.iter().map(|(_, end, _)| *end).chain([0]).collect();
            starts.sort_unstable();
            let start = starts
                .into_iter()
                .find(|start| {
                    let moments = placed.iter().map(|p| p.0).filter(|at| at > start && *at < start + length);
                    moments.chain([*start]).all(|at| {
                        let sum: i64 = placed.iter().filter(|p| p.0 <= at && at < p.1).map(|p| p.2).sum();
                        sum + watts <= cap
                    })
                })
                .unwrap();
            placed.push((start, start + length, watts));
            go(placed, left, cap, missed + usize::from(start + length > by), best);
            placed.pop();
            left.insert(i, job);
        }
    }
    let mut best = jobs.len() + 1;
    go(&mut Vec::new(), &mut jobs.to_vec(), cap, 0, &mut best);
    best
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_planned_never_passes_a_cap(problem in world()) {
        let plan = Heliotrope.plan(&problem);
        prop_assert_eq!(check(&problem, &plan), vec![]);
        let plan = RunNow.plan(&problem);
        let paused = |note: &heliotrope::core::plan::checker::Note| note.to_string();
        // run-now never stops what runs, even what a cap no longer holds: only what it plans anew is judged
        if problem.workloads.iter().all(|w| w.running.is_none()) {
            prop_assert_eq!(check(&problem, &plan).iter().map(paused).collect::<Vec<_>>(), Vec::<String>::new());
        }
    }

    #[test]
    fn a_second_plan_changes_nothing(problem in world()) {
        let first = Heliotrope.plan(&problem);
        let second = again(&problem, first.clone());
        prop_assert_eq!(&first.entries, &second.entries);
        prop_assert_eq!(first.generation, second.generation);
    }

    #[test]
    fn the_same_problem_gives_the_same_bytes(problem in world()) {
        let bytes = |plan: PowerPlan| serde_json::to_vec(&plan).unwrap();
        prop_assert_eq!(bytes(Heliotrope.plan(&problem)), bytes(Heliotrope.plan(&problem.clone())));
    }

    #[test]
    fn no_plan_that_keeps_all_deadlines_costs_less_than_the_bound(problem in world()) {
        let ours = Heliotrope.plan(&problem);
        let bound = ours.bound.unwrap();
        // run-now lets what runs go on under a cap that falls, and no bound is about that
        let run_now = problem.workloads.iter().all(|w| w.running.is_none()).then(|| RunNow.plan(&problem));
        for plan in std::iter::once(&ours).chain(&run_now) {
            if plan.misses() == 0 && check(&problem, plan).is_empty() {
                prop_assert!(bound <= plan.cost, "{} costs {}, the bound is {bound}", plan.policy, plan.cost);
            }
        }
        prop_assert_eq!(ours.gap().is_some(), ours.misses() == 0);
        let quick = Heliotrope.plan(&Problem { thorough: false, ..problem });
        prop_assert_eq!(quick.bound, None);
    }

    #[test]
    fn what_is_only_to_come_starts_no_sooner(problem in world(), ahead in proptest::collection::vec(0..9_i64, 10)) {
        let mut problem = problem;
        for (workload, ahead) in problem.workloads.iter_mut().zip(ahead) {
            workload.arrival = Moment(ahead * 1000);
            workload.finish_by = workload.finish_by.map(|by| by + Seconds(ahead * 1000));
        }
        let plan = Heliotrope.plan(&problem);
        prop_assert_eq!(check(&problem, &plan), vec![]);
        let mut sooner = plan.clone();
        let waiting = problem.workloads.iter().zip(&mut sooner.entries);
        let mut late = waiting.filter(|(w, entry)| w.running.is_none() && w.arrival > Moment(0) && entry.runs.len() == 1);
        if let Some((w, entry)) = late.next() {
            let run = &mut entry.runs[0];
            (run.start, run.end) = (w.arrival - Seconds(1), w.arrival - Seconds(1) + w.remaining);
            entry.late = w.finish_by.map_or(Seconds::ZERO, |by| (run.end - by).max(Seconds::ZERO));
            let said: Vec<String> = check(&problem, &sooner).iter().map(ToString::to_string).collect();
            prop_assert!(said.contains(&format!("{}: it is planned before it can start", w.id)), "{said:?}");
        }
    }

    #[test]
    fn no_deadline_is_missed_that_some_order_keeps(
        jobs in proptest::collection::vec((1..8_i64, 1..6_i64, 0..14_i64), 1..6),
    ) {
        // one row, whole kilowatts, no hosts and no idle draw: what the brute force knows
        let (tree, mut pools) = site([steady(10_500), steady(6_100), steady(6_100)], 0);
        pools.truncate(1);
        pools[0] = Pool { idle: Watts(0), host_extra: Watts(0), accelerators: 64, ..pools[0].clone() };
        let jobs: Vec<(i64, i64, i64)> =
            jobs.into_iter().map(|(slots, kw, slack)| (slots * SLOT, kw * 1000, (slots + slack) * SLOT)).collect();
        let workloads = jobs.iter().enumerate().map(|(i, (length, watts, by))| Workload {
            id: format!("w{i}").into(),
            priority: 0,
            arrival: Moment(0),
            remaining: Seconds(*length),
            choices: vec![one_pool(*watts)],
            running: None,
            suspension: Suspension::ForCapOnly,
            stops_later_by: Seconds::ZERO,
            ahead: 0,
            start_by: None,
            finish_by: Some(Moment(*by)),
            uncertain: None,
        }).collect();
        let problem = problem(tree, pools, workloads);
        let plan = Heliotrope.plan(&problem);
        prop_assert_eq!(check(&problem, &plan), vec![]);
        prop_assert_eq!(plan.misses(), fewest_misses(&jobs, 6000));
    }

    #[test]
    fn a_cycle_never_starts_over_a_cap_and_explains_everyone(problem in world()) {
        let decided = cycle(&problem, &Heliotrope, Seconds::ZERO);
        prop_assert_eq!(decided.verdicts.len(), problem.workloads.len());
        // carry the actions out and look: either nothing is over, or nothing that could be stopped still runs there
        let mut after = problem.clone();
        for action in &decided.actions {
            match action {
                Action::AskForCheckpoint { .. } | Action::ChangePace { .. } => {}
                Action::Suspend { id, .. } => {
                    after.workloads.iter_mut().find(|w| w.id == *id).unwrap().running = None;
                }
                Action::Start { id, pool, .. } => {
                    let running = Some(Running::new(*pool, problem.now));
                    after.workloads.iter_mut().find(|w| w.id == *id).unwrap().running = running;
                }
            }
        }
        let figures = cycle(&after, &RunNow, Seconds::ZERO);
        let started = decided.actions.iter().any(|action| matches!(action, Action::Start { .. }));
        for domain in &figures.domains {
            if domain.committed > domain.cap {
                prop_assert!(after.workloads.iter().all(|w| w.running.is_none()) || !problem.fixed.is_empty(),
                    "{domain:?} after {:?}", decided.actions);
                prop_assert!(!started);
            }
        }
        for verdict in &decided.verdicts {
            let text = verdict.reason.to_string();
            prop_assert!(!text.is_empty());
            prop_assert!(verdict.start.is_some() || matches!(verdict.reason.name(), "FitsNowhere" | "NoAccelerators" | "NoSuchAccelerator" | "CapFell"), "{verdict:?}");
        }
    }
}

/// So many hundred workloads want one valley a day that holds a third of them.
fn crowd(hundreds: u32) -> Problem {
    let part = i64::from(hundreds);
    let (tree, mut pools) = site([steady(5_000 * part), steady(3_000 * part), steady(3_000 * part)], 10);
    for pool in &mut pools {
        (pool.accelerators, pool.nodes, pool.host_extra) = (64 * hundreds, 32 * hundreds, Watts(10));
    }
    let sketches: Vec<Sketch> = (0..100 * part)
        .map(|i| Sketch {
            slots: 1 + i % 7,
            extra_seconds: 4 * (i % 200),
            accelerators: 1 + u32::try_from(i % 4).unwrap(),
            watts: 200 + 40 * (i % 5),
            slack: Some(60 + i % 200),
            divisible: i % 3 > 0,
            priority: 0,
            running: None,
        })
        .collect();
    let mut all = workloads(&sketches);
    for (i, workload) in all.iter_mut().enumerate() {
        workload.id = format!("w{i:05}").into();
        if workload.is_divisible() {
            workload.suspension = Suspension::ForSupply { cost: Seconds(0) };
        }
    }
    let mut problem = problem(tree, pools, all);
    problem.horizon = Seconds(4 * Seconds::DAY.0);
    let hours = (0..96).map(|hour: i64| (Moment(hour * 3600), 20_000_000 + 1_000_000 * (hour % 24 - 12).pow(2)));
    problem.supplies = vec![supply(Steps::new(200_000_000, hours))];
    problem
}

#[test]
fn a_plan_of_a_crowd_is_near_the_least_possible_and_says_how_near() {
    let problem = crowd(2);
    let plan = Heliotrope.plan(&problem);
    assert_eq!(check(&problem, &plan), vec![]);
    assert_eq!(plan.misses(), 0);
    assert!(plan.gap().unwrap() < 0.02, "{:?}: {} costs {}", plan.gap(), plan.bound.unwrap(), plan.cost);
    // far below what the same work costs where nobody pays for what others lose
    let alone = Heliotrope.plan(&Problem { thorough: false, ..problem });
    assert!(plan.cost < alone.cost, "{} and {}", plan.cost, alone.cost);
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    for problem in [crowd(2), crowd(6)] {
        let bytes = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            serde_json::to_vec(&pool.install(|| Heliotrope.plan(&problem))).unwrap()
        };
        let one = bytes(1);
        assert!([2, 3, 8].into_iter().all(|threads| bytes(threads) == one));
    }
}

#[test]
fn a_plan_of_thousands_is_counted_in_grains_and_nearer_still() {
    let problem = crowd(30);
    let plan = Heliotrope.plan(&problem);
    assert_eq!(check(&problem, &plan), vec![]);
    assert_eq!(plan.misses(), 0);
    assert!(plan.gap().unwrap() < 0.02, "{:?}: {} costs {}", plan.gap(), plan.bound.unwrap(), plan.cost);
    let again = Heliotrope.plan(&Problem { previous: Some(Arc::new(plan.clone())), ..problem.clone() });
    let changed = again.entries.iter().zip(&plan.entries).filter(|(again, first)| again != first);
    assert_eq!(changed.take(3).collect::<Vec<_>>(), vec![], "a second plan changes nothing");
    // one more of the same comes: all others stay, and nothing is searched anew
    let mut more = problem.clone();
    more.workloads.push(Workload { id: "z".into(), ..problem.workloads[0].clone() });
    (more.thorough, more.previous) = (false, Some(Arc::new(plan.clone())));
    let next = Heliotrope.plan(&more);
    assert_eq!(check(&more, &next), vec![]);
    assert_eq!(next.entries[..plan.entries.len()], plan.entries[..]);
}

/// One pool, so many watts.
fn one_pool(watts: i64) -> PoolChoice {
    PoolChoice::full(PoolId(0), Load { watts: Watts(watts), accelerators: 1, hosts: 0 })
}

fn one(slots: i64, slack: Option<i64>, divisible: bool) -> Vec<Workload> {
    workloads(&[Sketch {
        slots,
        extra_seconds: 0,
        accelerators: 4,
        watts: 500,
        slack,
        divisible,
        priority: 0,
        running: None,
    }])
}

/// 100 for two hours, 20 for one, 100 for two, 10 for one, then 100.
fn two_valleys() -> Steps<i64> {
    let hour = |h: i64| Moment(h * 3600);
    Steps::new(
        100_000_000,
        [(hour(2), 20_000_000), (hour(3), 100_000_000), (hour(5), 10_000_000), (hour(6), 100_000_000)],
    )
}

#[test]
fn a_workload_that_can_wait_runs_in_the_valley() {
    let (tree, pools) = site([steady(10_000), steady(6_000), steady(6_000)], 0);
    let mut problem = problem(tree, pools, one(4, Some(40), false));
    problem.supplies = vec![supply(two_valleys())];
    let plan = Heliotrope.plan(&problem);
    assert_eq!(plan.entries[0].start(), Some(Moment(5 * 3600)));
    let decided = cycle(&problem, &Heliotrope, Seconds::ZERO);
    assert!(decided.actions.is_empty());
    assert_eq!(decided.verdicts[0].reason.to_string(), "waits for greener supply, saves 90.0 %");
}

#[test]
fn one_that_can_be_broken_uses_both_valleys() {
    let (tree, pools) = site([steady(10_000), steady(6_000), steady(6_000)], 0);
    let mut problem = problem(tree, pools, one(8, Some(40), true));
    problem.supplies = vec![supply(two_valleys())];
    let plan = Heliotrope.plan(&problem);
    let runs: Vec<_> = plan.entries[0].runs.iter().map(|run| (run.start.0 / 3600, run.end.0 / 3600)).collect();
    assert_eq!(runs, [(2, 3), (5, 6)]);
}

#[test]
fn each_pool_is_priced_by_what_feeds_it() {
    let (tree, pools) = site([steady(10_000), steady(6_000), steady(6_000)], 0);
    let mut problem = problem(tree, pools, one(4, Some(40), false));
    problem.pools[1].supply = 1;
    problem.supplies = vec![supply(Steps::constant(90_000_000)), supply(two_valleys())];
    let entry = &Heliotrope.plan(&problem).entries[0];
    assert_eq!(entry.runs, [Run::full(PoolId(1), Moment(5 * 3600), Moment(6 * 3600))]);
}

#[test]
fn one_that_said_nothing_starts_at_once_whatever_it_costs() {
    let (tree, pools) = site([steady(10_000), steady(6_000), steady(6_000)], 0);
    let mut problem = problem(tree, pools, one(4, None, false));
    problem.supplies = vec![supply(two_valleys())];
    assert_eq!(Heliotrope.plan(&problem).entries[0].start(), Some(Moment(0)));
}

#[test]
fn a_full_row_is_a_reason_with_a_number_and_a_time() {
    let (tree, pools) = site([steady(10_000), steady(3_000), steady(900)], 0);
    let mut all = one(4, None, false);
    all.extend(one(4, None, false));
    all[1].id = "w99".into();
    let problem = problem(tree, pools, all);
    let decided = cycle(&problem, &Heliotrope, Seconds::ZERO);
    assert_eq!(decided.actions.len(), 1);
    let waits = &decided.verdicts[1];
    assert_eq!(waits.reason.to_string(), "needs 2300 W in row-a, 400 W free under its cap");
    assert_eq!(waits.start, Some(Moment(3600)));
}

#[test]
fn what_fits_nowhere_says_so() {
    let (tree, pools) = site([steady(10_000), steady(1_500), steady(900)], 0);
    let problem = problem(tree, pools, one(4, Some(4), false));
    let decided = cycle(&problem, &Heliotrope, Seconds::ZERO);
    assert_eq!(decided.verdicts[0].reason.to_string(), "needs 2300 W, and no pool could ever give more than 1200 W");
}

#[test]
fn when_a_cap_falls_the_checkpointed_stop_first_and_protected_ones_never() {
    let (tree, pools) = site([steady(3_600), steady(6_000), steady(6_000)], 0);
    let mut all: Vec<Workload> = (0..3)
        .flat_map(|i| {
            let mut w = one(8, None, i == 1);
            w[0].id = format!("w{i}").into();
            w[0].running = Some(Running::new(PoolId(i % 2), Moment(-3600 * (i as i64 + 1))));
            w
        })
        .collect();
    all[2].suspension = Suspension::Never;
    // 500 baseline + 2 × 300 rows; each draws 2,000 + 2 hosts of 150
    let problem = problem(tree, pools, all);
    let decided = cycle(&problem, &Heliotrope, Seconds::ZERO);
    let stopped: Vec<_> = decided
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Suspend { id, .. } => Some(id.to_string()),
            Action::Start { .. } | Action::ChangePace { .. } | Action::AskForCheckpoint { .. } => None,
        })
        .collect();
    assert_eq!(stopped, ["w0", "w1"]);
    let reason = &decided.verdicts[1].reason;
    assert_eq!(reason.to_string(), "stopped to keep site under 3600 W (8000 W were committed)");
}

#[test]
fn a_cap_that_will_fall_within_the_lead_counts_already() {
    let mut cap = steady(10_000);
    cap.update(Moment(30), Moment(4000), |_| Watts(2_000));
    let (tree, pools) = site([cap, steady(6_000), steady(6_000)], 0);
    let mut all = one(8, None, false);
    all[0].running = Some(Running::new(PoolId(0), Moment(-60)));
    let problem = problem(tree, pools, all);
    let stops = |lead| {
        let decided = cycle(&problem, &Heliotrope, Seconds(lead));
        decided.actions.iter().any(|action| matches!(action, Action::Suspend { .. }))
    };
    assert!(!stops(10));
    assert!(stops(45));
}
