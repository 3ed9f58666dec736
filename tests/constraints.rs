//! What binds a plan beside caps and accelerators: energy budgets, ramps, maintenance, and what must finish first. Plans keep them, the
//! bound counts with budgets, and the checker catches who does not.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::domain::{DomainId, DomainSpec, DomainTree};
use heliotrope::core::plan::checker::{Note, check};
use heliotrope::core::plan::{
    BudgetOf, BudgetWindow, Constraints, EnergyBudget, Fixed, Heliotrope, Load, Mistake, Outage, Policy, Pool,
    PoolChoice, PoolId, PowerPlan, Problem, Published, RampLimit, Run, RunNow, Running, Supply, Suspension, Why,
    Workload,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Joules, Moment, Money, Seconds, Watts};
use proptest::prelude::*;
use std::sync::Arc;

const HOUR: i64 = 3600;
const SLOT: i64 = 900;
const KWH: i64 = 3_600_000;

/// A site with two rows of 4 kW and 8 accelerators each, that draws nothing when idle; prices hour by hour, in the currency unit a MWh.
fn problem(prices: &[i64], workloads: Vec<Workload>) -> Problem {
    let domain = |name: &str, parent: Option<&str>, cap: i64| DomainSpec {
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
        cap: Steps::constant(Watts(cap)),
        baseline: Watts(0),
        overhead_permille: 0,
    };
    let tree = DomainTree::new(vec![
        domain("site", None, 8000),
        domain("row-a", Some("site"), 4000),
        domain("row-b", Some("site"), 4000),
    ]);
    let tree = tree.unwrap();
    let pool = |name: &str| Pool {
        name: name.to_owned(),
        domain: tree.find(name).unwrap(),
        supply: 0,
        accelerators: 8,
        nodes: 4,
        idle: Watts(0),
        host_extra: Watts(0),
        places: None,
        frozen: None,
        least: None,
    };
    let pools = ["row-a", "row-b"].map(pool).to_vec();
    let hourly = prices.iter().zip(0..).map(|(price, hour)| (Moment(hour * HOUR), price * 1_000_000));
    Problem {
        now: Moment(0),
        seed: 1,
        slot: Seconds(SLOT),
        horizon: Seconds(2 * Seconds::DAY.0),
        tree,
        pools,
        supplies: vec![Supply::at(Steps::new(90_000_000, hourly))],
        delay_cost_per_hour: 0,
        workloads,
        fixed: Vec::new(),
        constraints: Constraints::default(),
        thorough: true,
        previous: None,
    }
}

/// Work of 1 kW and one accelerator in row a.
fn workload(id: usize, hours: i64, slack: Option<i64>, divisible: bool) -> Workload {
    let load = Load { watts: Watts(1000), accelerators: 1, hosts: 0 };
    Workload {
        id: format!("w{id:02}").into(),
        priority: 0,
        arrival: Moment(0),
        remaining: Seconds(hours * HOUR),
        choices: vec![PoolChoice::full(PoolId(0), load)],
        running: None,
        suspension: if divisible { Suspension::ForSupply { cost: Seconds(0) } } else { Suspension::ForCapOnly },
        stops_later_by: Seconds::ZERO,
        ahead: 0,
        start_by: None,
        finish_by: slack.map(|slack| Moment((hours + slack) * HOUR)),
        uncertain: None,
    }
}

fn hours(from: i64, until: i64) -> (Moment, Moment) {
    (Moment(from * HOUR), Moment(until * HOUR))
}

fn budget(of: BudgetOf, from: i64, until: i64, kwh: i64) -> EnergyBudget {
    let ((from, until), left) = (hours(from, until), Joules(kwh * KWH));
    EnergyBudget { name: "night".to_owned(), of, windows: vec![BudgetWindow { from, until, left }] }
}

fn row_a(problem: &Problem) -> DomainId {
    problem.tree.find("row-a").unwrap()
}

/// When each runs, in hours.
fn runs(plan: &PowerPlan) -> Vec<Vec<(f64, f64)>> {
    let hour = |moment: Moment| moment.0 as f64 / HOUR as f64;
    let of = |runs: &Vec<Run>| runs.iter().map(|run| (hour(run.start), hour(run.end))).collect();
    plan.entries.iter().map(|entry| of(&entry.runs)).collect()
}

fn refused(problem: &Problem, plan: &PowerPlan) -> Vec<String> {
    check(problem, plan).iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_budget_does_not_pay_for_runs_in_the_next_cheapest_hours() {
    // the night is cheap, but 5 kWh are all that is left of it
    let prices = [80, 80, 20, 20, 20, 20, 60, 60, 60, 60, 80, 80];
    let mut problem = problem(&prices, (0..4).map(|i| workload(i, 2, Some(10), true)).collect());
    let plan = Heliotrope.plan(&problem);
    assert_eq!(plan.cost, Money(8 * 20_000));
    problem.constraints.budgets.push(budget(BudgetOf::Domain(row_a(&problem)), 2, 6, 5));
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    assert_eq!(plan.cost, Money(5 * 20_000 + 3 * 60_000));
    // what the window is worth is what a kWh more of it would save
    assert!(plan.gap().unwrap() < 0.01, "{:?} of {}", plan.bound, plan.cost);
    let worth = plan.scarce.iter().find(|price| price.of == "night").unwrap();
    assert_eq!((worth.from, worth.until), hours(2, 6));
    assert!((worth.price.0 - 40_000).abs() < 2_000, "{:?}", worth.price);
}

#[test]
fn a_budget_of_some_workloads_binds_no_others() {
    let prices = [20, 20, 60, 60, 60, 60];
    let mut problem = problem(&prices, (0..3).map(|i| workload(i, 2, Some(4), true)).collect());
    problem.constraints.budgets.push(budget(BudgetOf::Workloads(vec!["w00".into(), "w01".into()]), 0, 2, 1));
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    // of the two one has an hour of the cheap ones; the third has both
    assert_eq!(plan.cost, Money(3 * 20_000 + 3 * 60_000));
    assert_eq!(runs(&plan)[2], [(0.0, 2.0)]);
}

#[test]
fn what_stands_there_is_paid_first() {
    let prices = [20, 20, 60, 60];
    let mut problem = problem(&prices, vec![workload(0, 2, Some(2), true)]);
    problem.pools[0].idle = Watts(500);
    problem.fixed.push(Fixed {
        pool: PoolId(0),
        load: Load { watts: Watts(1000), accelerators: 1, hosts: 0 },
        until: Moment(HOUR),
    });
    // 1 kWh for what is idle, 1 kWh for what is fixed: one is left
    problem.constraints.budgets.push(budget(BudgetOf::Domain(row_a(&problem)), 0, 2, 3));
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    assert_eq!(plan.cost, Money(20_000 + 60_000));
}

#[test]
fn a_budget_that_is_spent_makes_late_and_stops_nobody_who_can_not_be_stopped() {
    let mut problem = problem(&[20; 8], vec![workload(0, 2, Some(1), true), workload(1, 4, None, false)]);
    problem.workloads[1].running = Some(Running::new(PoolId(0), Moment(-HOUR)));
    problem.constraints.budgets.push(budget(BudgetOf::Domain(row_a(&problem)), 0, 6, 2));
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    assert_eq!(runs(&plan), [[(6.0, 8.0)], [(-1.0, 4.0)]]);
    assert_eq!(plan.entries[0].why, Why::Late);
}

#[test]
fn starts_are_spread_over_slots_where_a_ramp_says_so() {
    let mut problem = problem(&[20, 20, 80, 80], (0..4).map(|i| workload(i, 1, Some(2), false)).collect());
    // 2 kW a slot
    let ramp = RampLimit { domain: problem.tree.find("site").unwrap(), up: Some(Watts(2)), down: None };
    problem.constraints.ramps.push(RampLimit { up: Some(Watts(3)), ..ramp });
    problem.slot = Seconds(700);
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    let starts =
        |from: i64| plan.entries.iter().filter(move |entry| entry.start().unwrap().0.div_euclid(700) * 700 == from);
    assert!((0..6).all(|slot| starts(slot * 700).count() <= 2));
    assert_eq!(plan.misses(), 0);
    // all at once is what the checker refuses
    let at_once = Heliotrope.plan(&Problem { constraints: Constraints::default(), ..problem.clone() });
    assert!(matches!(check(&problem, &at_once)[..], [Note::TooFast { .. }]));
}

#[test]
fn what_alone_is_more_than_a_ramp_starts_alone_in_its_slot() {
    let mut problem = problem(&[20, 20, 80, 80], (0..3).map(|i| workload(i, 1, Some(2), false)).collect());
    let domain = problem.tree.find("row-a").unwrap();
    problem.constraints.ramps.push(RampLimit { domain, up: Some(Watts(1)), down: Some(Watts(1)) });
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    let mut slots: Vec<i64> = plan.entries.iter().map(|entry| entry.start().unwrap().0.div_euclid(SLOT)).collect();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), 3, "{:?}", runs(&plan));
}

#[test]
fn what_runs_goes_on_under_a_ramp_that_nothing_new_may_start_under() {
    let mut problem = problem(&[20; 6], (0..3).map(|i| workload(i, 2, Some(2), true)).collect());
    problem.workloads[2].running = Some(Running::new(PoolId(0), Moment(-HOUR)));
    let domain = problem.tree.find("row-a").unwrap();
    problem.constraints.ramps.push(RampLimit { domain, up: Some(Watts(1)), down: None });
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    assert_eq!(runs(&plan)[2], [(-1.0, 2.0)]);
}

#[test]
fn nothing_runs_where_maintenance_is_and_what_can_be_stopped_is() {
    let workloads = vec![workload(0, 2, Some(6), true), workload(1, 2, Some(6), false)];
    let mut problem = problem(&[20, 20, 20, 20, 80, 80, 80, 80], workloads);
    problem.workloads[0].running = Some(Running::new(PoolId(0), Moment(-HOUR)));
    let (from, until) = hours(1, 3);
    problem.constraints.outages.push(Outage { pool: PoolId(0), accelerators: 8, from, until });
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    assert_eq!(runs(&plan), [vec![(-1.0, 1.0), (3.0, 4.0)], vec![(3.0, 5.0)]]);
    let without = Heliotrope.plan(&Problem { constraints: Constraints::default(), ..problem.clone() });
    assert!(matches!(check(&problem, &without)[..], [Note::OverPool { has: 0, .. }]));
    // a part of the pool is enough for both
    problem.constraints.outages[0].accelerators = 6;
    assert_eq!(runs(&Heliotrope.plan(&problem)), [vec![(-1.0, 2.0)], vec![(0.0, 2.0)]]);
}

#[test]
fn a_chain_is_run_in_its_order_and_keeps_the_last_deadline() {
    let mut workloads: Vec<Workload> = (0..3).map(|i| workload(i, 1, Some(5), false)).collect();
    workloads[2].finish_by = Some(Moment(4 * HOUR));
    let mut problem = problem(&[80, 20, 20, 20, 20, 10, 10, 80], workloads);
    // w02, then w00, then w01
    problem.constraints.after = vec![("w00".into(), "w01".into()), ("w02".into(), "w00".into())];
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    let starts: Vec<i64> = plan.entries.iter().map(|entry| entry.start().unwrap().0 / HOUR).collect();
    assert!(starts[2] < starts[0] && starts[0] < starts[1], "{starts:?}");
    assert_eq!(plan.misses(), 0);
    // the other way round none of them has a deadline of its own before the last
    problem.workloads[2].finish_by = Some(Moment(3 * HOUR));
    problem.constraints.after = vec![("w00".into(), "w01".into()), ("w01".into(), "w02".into())];
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    assert_eq!(runs(&plan), [[(0.0, 1.0)], [(1.0, 2.0)], [(2.0, 3.0)]]);
}

#[test]
fn who_waits_for_itself_runs_nowhere_and_the_mistake_has_a_name() {
    let mut problem = problem(&[20; 4], (0..4).map(|i| workload(i, 1, Some(2), false)).collect());
    problem.constraints.after =
        vec![("w00".into(), "w01".into()), ("w01".into(), "w00".into()), ("w01".into(), "w02".into())];
    assert!(matches!(problem.constraints.mistakes(&problem)[..], [Mistake::Circle { .. }]));
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    let nowhere: Vec<bool> = plan.entries.iter().map(|entry| entry.why == Why::Nowhere).collect();
    assert_eq!(nowhere, [true, true, true, false]);
}

#[test]
fn what_can_not_be_meant_so_is_said() {
    let mut problem = problem(&[20; 4], vec![workload(0, 1, Some(2), false)]);
    let site = problem.tree.find("site").unwrap();
    let window = |from, until, left| {
        let (from, until) = hours(from, until);
        BudgetWindow { from, until, left: Joules(left) }
    };
    let windows = vec![window(2, 1, 5), window(0, 3, -1)];
    problem.constraints.budgets.push(EnergyBudget { name: "b".to_owned(), of: BudgetOf::Domain(site), windows });
    problem.constraints.ramps.push(RampLimit { domain: site, up: Some(Watts(0)), down: None });
    let (from, until) = hours(0, 1);
    problem.constraints.outages.push(Outage { pool: PoolId(7), accelerators: 1, from, until });
    let said: Vec<String> = problem.constraints.mistakes(&problem).iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 5, "{said:?}");
    // and a plan is made all the same
    assert_eq!(Heliotrope.plan(&problem).entries.len(), 1);
}

#[test]
fn the_checker_catches_who_keeps_no_budget_and_no_order() {
    let mut problem = problem(&[20; 8], (0..2).map(|i| workload(i, 2, Some(4), false)).collect());
    let plan = Heliotrope.plan(&problem);
    assert_eq!(refused(&problem, &plan), Vec::<String>::new());
    problem.constraints.after = vec![("w00".into(), "w01".into())];
    problem.constraints.budgets.push(budget(BudgetOf::Domain(row_a(&problem)), 0, 2, 3));
    problem.constraints.budgets.push(budget(BudgetOf::Workloads(vec!["w01".into()]), 0, 2, 1));
    let notes = check(&problem, &plan);
    assert!(matches!(
        notes[..],
        [Note::OutOfOrder { .. }, Note::OverBudget { left: Joules(KWH), .. }, Note::OverBudget { .. }]
    ));
}

#[derive(Debug, Clone)]
struct Sketch {
    slots: i64,
    watts: i64,
    accelerators: u32,
    slack: Option<i64>,
    divisible: bool,
    running: bool,
}

fn world() -> impl Strategy<Value = Problem> {
    let sketch = (1..12_i64, 2..10_i64, 1..4_u32, proptest::option::weighted(0.9, 0..60_i64), any::<bool>(), 0..8_u8);
    let sketch = sketch.prop_map(|(slots, watts, accelerators, slack, divisible, running)| Sketch {
        slots,
        watts: 100 * watts,
        accelerators,
        slack,
        divisible,
        running: running == 0,
    });
    let budgets = proptest::collection::vec((any::<bool>(), 0..8_i64, 1..8_i64, 0..20_i64), 0..3);
    let ramps =
        proptest::collection::vec((0..3_usize, proptest::option::of(1..4_i64), proptest::option::of(1..4_i64)), 0..3);
    let outages = proptest::collection::vec((0..2_usize, 1..9_u32, 0..10_i64, 1..6_i64), 0..3);
    let after = proptest::collection::vec((0..10_usize, 0..10_usize), 0..4);
    let prices = proptest::collection::vec(1..400_i64, 1..24);
    (proptest::collection::vec(sketch, 1..10), prices, budgets, ramps, outages, after).prop_map(
        |(sketches, prices, budgets, ramps, outages, after)| {
            let of = |(i, s): (usize, &Sketch)| {
                let load = Load { watts: Watts(s.watts).times(s.accelerators), accelerators: s.accelerators, hosts: 1 };
                let remaining = Seconds(s.slots * SLOT);
                Workload {
                    remaining,
                    choices: (0..2).map(|pool| PoolChoice::full(PoolId(pool), load)).collect(),
                    running: s.running.then(|| Running::new(PoolId(i % 2), Moment(-HOUR))),
                    finish_by: s.slack.map(|slots| Moment(0) + remaining + Seconds(slots * SLOT)),
                    uncertain: None,
                    ..workload(i, 1, None, s.divisible)
                }
            };
            let mut problem = problem(&prices, sketches.iter().enumerate().map(of).collect());
            problem.pools.iter_mut().for_each(|pool| pool.host_extra = Watts(70));
            let named: Vec<_> = problem.workloads.iter().map(|workload| workload.id.clone()).step_by(2).collect();
            let domain = |i: usize| problem.tree.find(["site", "row-a", "row-b"][i]).unwrap();
            let constraints = Constraints {
                budgets: budgets
                    .into_iter()
                    .map(|(is_domain, from, length, kwh)| {
                        let of =
                            if is_domain { BudgetOf::Domain(domain(0)) } else { BudgetOf::Workloads(named.clone()) };
                        budget(of, from, from + length, kwh)
                    })
                    .collect(),
                ramps: ramps
                    .into_iter()
                    .map(|(i, up, down)| RampLimit { domain: domain(i), up: up.map(Watts), down: down.map(Watts) })
                    .collect(),
                outages: outages
                    .into_iter()
                    .map(|(pool, accelerators, from, length)| {
                        let (from, until) = hours(from, from + length);
                        Outage { pool: PoolId(pool), accelerators, from, until }
                    })
                    .collect(),
                // only to those with a higher number: no circles
                after: after
                    .into_iter()
                    .filter(|(a, b)| a < b && *b < problem.workloads.len())
                    .map(|(a, b)| (problem.workloads[a].id.clone(), problem.workloads[b].id.clone()))
                    .collect(),
            };
            Problem { constraints, ..problem }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn plans_keep_all_that_binds_them_and_cost_no_less_than_the_bound(problem in world()) {
        prop_assert_eq!(problem.constraints.mistakes(&problem), vec![]);
        let plan = Heliotrope.plan(&problem);
        prop_assert_eq!(refused(&problem, &plan), Vec::<String>::new());
        prop_assert!(plan.entries.iter().all(|entry| !entry.runs.is_empty()), "someone has no place");
        if plan.misses() == 0 {
            prop_assert!(plan.bound.unwrap() <= plan.cost, "{} costs {:?}", plan.cost, plan.bound);
        }
        let again = Heliotrope.plan(&Problem { previous: Some(Arc::new(plan.clone())), ..problem.clone() });
        prop_assert_eq!(&plan.entries, &again.entries);
        let quick = Heliotrope.plan(&Problem { thorough: false, ..problem });
        prop_assert_eq!(quick.entries.len(), plan.entries.len());
    }

    #[test]
    fn the_policies_that_only_choose_when_keep_them_too(mut problem in world()) {
        // what runs goes on with most of them, whatever there is room for
        problem.workloads.iter_mut().for_each(|workload| workload.running = None);
        let policies = Published::ALL.into_iter().map(|policy| Box::new(policy) as Box<dyn Policy>);
        for policy in policies.chain([Box::new(RunNow) as Box<dyn Policy>]) {
            let plan = policy.plan(&problem);
            prop_assert_eq!(refused(&problem, &plan), Vec::<String>::new(), "{}", policy.name());
        }
    }
}
