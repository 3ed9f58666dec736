//! Operating points: when and at how many watts. Plans keep caps and deadlines with them, slow nobody who may not be slowed, and
//! cost no more than those at full; and what is wrong with a plan's points is caught.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::checker::{Note, check};
use heliotrope::core::plan::{
    Constraints, Heliotrope, Load, POLICIES, Pace, Policy, Pool, PoolChoice, PoolId, PowerPlan, Problem, Run, Running,
    Supply, Suspension, Workload, by_name, worth_choosing,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Moment, Seconds, Watts};
use proptest::prelude::*;
use std::sync::Arc;

const HOUR: i64 = 3600;

fn pace(permille: u32) -> Pace {
    Pace::millionths(permille * 1000).unwrap()
}

/// An accelerator that does 240, 807 and 1000 ‰ with 100, 200 and 350 W, and its host.
fn points(pool: usize, accelerators: u32) -> Vec<PoolChoice> {
    let each = [(350, 1000), (200, 807), (100, 240)].map(|(watts, permille)| {
        let load = Load { watts: Watts(watts).times(accelerators), accelerators, hosts: accelerators };
        PoolChoice { pool: PoolId(pool), load, pace: pace(permille) }
    });
    each.to_vec()
}

/// The same work in one to so many accelerators, each at two points: what is added last does less than what was there.
fn widths(pool: usize, most: u32) -> Vec<PoolChoice> {
    // a fifth of each further one is lost, at most
    let speed = |accelerators: u32| (0..accelerators).map(|i| 1000 - 200 * i / most).sum::<u32>();
    let all = (1..=most).flat_map(|accelerators| {
        [(350, 1000), (200, 807)].map(|(watts, permille)| {
            let load = Load { watts: Watts(watts).times(accelerators), accelerators, hosts: accelerators };
            let millionths = u64::from(speed(accelerators)) * permille * 1000 / u64::from(speed(most));
            let pace = Pace::millionths(u32::try_from(millionths).unwrap()).unwrap();
            PoolChoice { pool: PoolId(pool), load, pace }
        })
    });
    worth_choosing(&all.collect::<Vec<_>>()).0
}

fn workload(id: usize, seconds: i64, slack: Option<i64>, divisible: bool) -> Workload {
    Workload {
        id: format!("w{id:02}").into(),
        priority: 0,
        arrival: Moment(0),
        remaining: Seconds(seconds),
        choices: points(0, 1),
        running: None,
        suspension: if divisible { Suspension::ForSupply { cost: Seconds(0) } } else { Suspension::ForCapOnly },
        stops_later_by: Seconds::ZERO,
        ahead: 0,
        start_by: None,
        finish_by: slack.map(|slack| Moment(seconds + slack)),
        uncertain: None,
    }
}

/// A row of eight accelerators, under a cap, at a price for each hour of the day.
fn problem(cap: i64, host: i64, prices: &[i64], workloads: Vec<Workload>) -> Problem {
    let row = DomainSpec {
        name: "row".to_owned(),
        parent: None,
        cap: Steps::constant(Watts(cap)),
        baseline: Watts(0),
        overhead_permille: 20,
    };
    let tree = DomainTree::new(vec![row]).unwrap();
    let pool = Pool {
        name: "row".to_owned(),
        domain: tree.find("row").unwrap(),
        supply: 0,
        accelerators: 8,
        nodes: 8,
        idle: Watts(0),
        host_extra: Watts(host),
        places: None,
        frozen: None,
        least: None,
    };
    let hours = prices.iter().zip(0..).map(|(price, hour)| (Moment(hour * HOUR), price * 1_000_000));
    Problem {
        now: Moment(0),
        seed: 1,
        slot: Seconds(60),
        horizon: Seconds(2 * Seconds::DAY.0),
        tree,
        pools: vec![pool],
        supplies: vec![Supply::at(Steps::new(90_000_000, hours))],
        delay_cost_per_hour: 0,
        workloads,
        fixed: Vec::new(),
        constraints: Constraints::default(),
        thorough: true,
        previous: None,
    }
}

fn only_full(problem: &Problem) -> Problem {
    let mut problem = problem.clone();
    problem.workloads.iter_mut().for_each(|workload| workload.choices.retain(|choice| choice.pace.is_full()));
    problem
}

fn runs(plan: &PowerPlan, i: usize) -> Vec<(i64, i64, u32)> {
    plan.entries[i].runs.iter().map(|run| (run.start.0, run.end.0, run.pace.per_million() / 1000)).collect()
}

#[test]
fn cheap_hours_are_run_at_full_and_the_next_cheapest_slowly() {
    let problem = problem(10_000, 0, &[95, 20, 90, 95, 95, 95], vec![workload(0, 5000, Some(4 * HOUR), true)]);
    let plan = Heliotrope.plan(&problem);
    assert_eq!(check(&problem, &plan), vec![]);
    // 3,600 at full in the second hour, and 1,400 / 0.807 after it
    assert_eq!(runs(&plan, 0), [(HOUR, 2 * HOUR, 1000), (2 * HOUR, 2 * HOUR + 1735, 807)]);
    assert!(plan.bound.unwrap() <= plan.cost && plan.gap().unwrap() < 0.001);
    assert!(plan.cost < Heliotrope.plan(&only_full(&problem)).cost);
}

#[test]
fn a_dear_host_makes_slow_points_not_worth_it() {
    let taken = |host: i64| {
        let problem = problem(10_000, host, &[50], vec![workload(0, 5000, Some(20 * HOUR), true)]);
        let plan = Heliotrope.plan(&problem);
        assert_eq!(check(&problem, &plan), vec![]);
        runs(&plan, 0).iter().map(|run| run.2).collect::<Vec<_>>()
    };
    // joules for the work of a second: 200/0.807 = 248 against 350; with 500 more of the host 867 against 850
    assert_eq!((taken(0), taken(500)), (vec![807], vec![1000]));
}

#[test]
fn what_can_not_be_stopped_keeps_one_pace_and_is_slowed_only_as_far_as_its_deadline_allows() {
    let prices = [50, 50, 50, 20, 50, 50];
    let paces = |slack: Option<i64>| {
        let problem = problem(10_000, 0, &prices, vec![workload(0, 3600, slack, false)]);
        let plan = Heliotrope.plan(&problem);
        assert_eq!(check(&problem, &plan), vec![]);
        runs(&plan, 0)
    };
    assert_eq!(paces(None), [(0, 3600, 1000)]);
    assert_eq!(paces(Some(0)), [(0, 3600, 1000)]);
    assert_eq!(paces(Some(1000)), [(0, 4461, 807)]);
    // at full it would lie within the cheap hour: 3600 × 20 × 350 are more than 3600 × 20 × 200 and 861 × 50 × 200 less
    assert_eq!(paces(Some(5 * HOUR)), [(3 * HOUR - 861, 4 * HOUR, 807)]);
}

#[test]
fn where_all_can_not_run_at_full_in_time_they_are_slowed() {
    for divisible in [true, false] {
        let two = vec![workload(0, HOUR, Some(1000), divisible), workload(1, HOUR, Some(1000), divisible)];
        let problem = problem(420, 0, &[50], two);
        let plan = Heliotrope.plan(&problem);
        assert_eq!(check(&problem, &plan), vec![]);
        assert_eq!((plan.misses(), Heliotrope.plan(&only_full(&problem)).misses()), (0, 1));
    }
}

#[test]
fn an_elastic_workload_takes_the_width_that_its_supply_is_worth() {
    let mut wide = workload(0, 4 * HOUR, Some(12 * HOUR), true);
    // alone an accelerator does two fifths of what four do
    wide.choices = [(4, 1000), (2, 700), (1, 400)]
        .map(|(accelerators, permille)| PoolChoice {
            pool: PoolId(0),
            load: Load { watts: Watts(350).times(accelerators), accelerators, hosts: accelerators },
            pace: pace(permille),
        })
        .to_vec();
    let cheap_at_noon = problem(10_000, 0, &[30, 30, 5, 5, 30, 30, 30, 30, 30, 30, 30, 30, 90], vec![wide.clone()]);
    let plan = Heliotrope.plan(&cheap_at_noon);
    assert_eq!(check(&cheap_at_noon, &plan), vec![]);
    // two hours at full for little, and for the rest the narrowest, which does most with a kWh
    assert_eq!(runs(&plan, 0), [(0, 2 * HOUR, 400), (2 * HOUR, 4 * HOUR, 1000), (4 * HOUR, 7 * HOUR, 400)]);
    assert!(plan.gap().unwrap() < 0.001);

    // where others hold accelerators until after its deadline it runs with what is left
    wide.finish_by = Some(Moment(8 * HOUR));
    let mut other = workload(1, 10 * HOUR, None, false);
    other.choices = vec![PoolChoice::full(PoolId(0), Load { watts: Watts(700), accelerators: 6, hosts: 6 })];
    other.running = Some(Running::new(PoolId(0), Moment(0)));
    let beside = problem(10_000, 0, &[30], vec![wide, other]);
    let plan = Heliotrope.plan(&beside);
    assert_eq!((check(&beside, &plan), plan.misses()), (vec![], 0));
    assert!(plan.entries[0].runs.iter().all(|run| run.pace <= pace(700)), "{:?}", runs(&plan, 0));
    assert_eq!(Heliotrope.plan(&only_full(&beside)).misses(), 1);
}

#[test]
fn policies_that_know_no_points_run_at_full() {
    let work = (0..4).map(|i| workload(i, 4000, Some(6 * HOUR), true)).collect();
    let problem = problem(1000, 50, &[50, 20, 60, 10, 90, 90], work);
    let know_points = ["heliotrope", "carbon-scaler", "uniform-cap", "dvfs-fair", "two-threshold"];
    for name in POLICIES.into_iter().filter(|name| !know_points.contains(name)) {
        let plan = by_name(name).unwrap().plan(&problem);
        assert_eq!(check(&problem, &plan), vec![], "{name}");
        let runs = plan.entries.iter().flat_map(|entry| &entry.runs);
        assert!(runs.into_iter().all(|run| run.pace.is_full()), "{name}");
    }
}

#[test]
fn what_runs_slowly_and_can_not_be_stopped_goes_on_as_it_does() {
    let mut slow = workload(0, 1000, Some(9000), false);
    slow.running = Some(Running { pace: pace(240), ..Running::new(PoolId(0), Moment(-60)) });
    let problem = problem(10_000, 0, &[50], vec![slow]);
    let plan = Heliotrope.plan(&problem);
    assert_eq!(check(&problem, &plan), vec![]);
    assert_eq!(runs(&plan, 0), [(-60, 4167, 240)]);
}

#[test]
fn plans_with_wrong_points_are_refused() {
    let work = vec![workload(0, HOUR, Some(4 * HOUR), true), workload(1, HOUR, None, false)];
    let problem = problem(10_000, 0, &[50, 20, 60], work);
    let plan = Heliotrope.plan(&problem);
    assert_eq!(check(&problem, &plan), vec![]);
    let with = |i: usize, runs: &[(i64, i64, u32)]| {
        let mut plan = plan.clone();
        let run = |(start, end, permille): &(i64, i64, u32)| Run {
            pace: pace(*permille),
            ..Run::full(PoolId(0), Moment(*start), Moment(*end))
        };
        plan.entries[i].runs = runs.iter().map(run).collect();
        check(&problem, &plan)
    };
    let other_work =
        |planned: i64| Note::OtherWork { id: "w00".into(), planned: Seconds(planned), remaining: Seconds(HOUR) };
    let wrong = |id: &str, permille| Note::WrongPace { id: id.into(), pace: pace(permille) };
    assert_eq!(with(0, &[(0, 4461, 807)]), vec![]);
    assert_eq!(with(0, &[(0, 1000, 1000), (1000, 4222, 807)]), vec![], "a change of pace is no stop");
    assert_eq!(with(0, &[(0, 4460, 807)]), [other_work(3599)], "short by a second");
    assert_eq!(with(0, &[(0, 4463, 807)]), [other_work(3601)], "a second more than it takes");
    assert_eq!(with(0, &[(0, 3600, 807)]), [other_work(2905)], "slower, and no longer for it");
    assert_eq!(with(0, &[(0, 7200, 500)]), [wrong("w00", 500)], "not one of its points");
    assert_eq!(with(1, &[(0, 4461, 807)]), [wrong("w01", 807)], "slowed, and never to be delayed");
    assert_eq!(with(1, &[(0, 1800, 1000), (1800, 4031, 807)]), [wrong("w01", 807)]);
    let text = wrong("w01", 807).to_string();
    assert_eq!(text, "w01: it is planned at 807 ‰ of its full speed, where it may not run so");
}

#[test]
fn watts_are_counted_by_point() {
    let two = vec![workload(0, HOUR, Some(HOUR), true), workload(1, HOUR, Some(HOUR), true)];
    let problem = problem(420, 0, &[50], two);
    let plan = Heliotrope.plan(&problem);
    assert_eq!(check(&problem, &plan), vec![]);
    // both at 200 W fit under 420, one at full beside one slowed does not
    let mut over = plan.clone();
    over.entries[0].runs = vec![Run::full(PoolId(0), Moment(0), Moment(HOUR))];
    over.entries[1].runs = vec![Run { pace: pace(807), ..Run::full(PoolId(0), Moment(0), Moment(4461)) }];
    let notes = check(&problem, &over);
    assert!(matches!(&notes[..], [Note::OverCap { watts: Watts(561), .. }]), "{notes:?}");
}

prop_compose! {
    fn sketch()(
        seconds in 200..9000_i64,
        slack in proptest::option::weighted(0.9, 0..12 * HOUR),
        divisible in any::<bool>(),
        accelerators in 1..4_u32,
        elastic in any::<bool>(),
        switch in prop_oneof![Just(0_i64), Just(30)],
        running in proptest::option::weighted(0.2, 0..3_usize),
        ahead in prop_oneof![Just(0_u32), 0..1_000_000_u32],
        priority in 0..2_i32,
    ) -> Workload {
        let mut workload = workload(0, seconds, slack, divisible);
        workload.choices = if elastic { widths(0, accelerators) } else { points(0, accelerators) };
        (workload.ahead, workload.priority) = (ahead, priority);
        if divisible {
            workload.suspension = Suspension::ForSupply { cost: Seconds(switch) };
        }
        workload.running = running.map(|i| Running {
            pace: workload.choices[i % workload.choices.len()].pace,
            ..Running::new(PoolId(0), Moment(-500))
        });
        workload
    }
}

prop_compose! {
    fn world()(
        all in proptest::collection::vec(sketch(), 1..9),
        prices in proptest::collection::vec(-20..200_i64, 4..20),
        cap in 900..3500_i64,
        host in 0..200_i64,
    ) -> Problem {
        let mut all = all;
        for (i, workload) in all.iter_mut().enumerate() {
            workload.id = format!("w{i:02}").into();
        }
        problem(cap, host, &prices, all)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn plans_with_points_pass_the_checker_are_not_below_their_bound_and_stay(problem in world()) {
        let plan = Heliotrope.plan(&problem);
        prop_assert_eq!(check(&problem, &plan), vec![]);
        // who is never slowed and fits only so is placed nowhere: the bound counts with all
        if plan.misses() == 0 && plan.entries.iter().all(|entry| !entry.runs.is_empty()) {
            prop_assert!(plan.bound.unwrap() <= plan.cost, "{} costs {}", plan.bound.unwrap().0, plan.cost.0);
        }
        let again = Heliotrope.plan(&Problem { previous: Some(Arc::new(plan.clone())), ..problem.clone() });
        prop_assert_eq!(&again.entries, &plan.entries);
    }

    #[test]
    fn plans_of_all_policies_pass_the_checker_with_points(problem in world()) {
        for name in POLICIES.into_iter().filter(|name| *name != "heliotrope") {
            let plan = by_name(name).unwrap().plan(&problem);
            prop_assert_eq!(check(&problem, &plan), vec![], "{}", name);
            let again = by_name(name).unwrap().plan(&Problem { previous: Some(Arc::new(plan.clone())), ..problem.clone() });
            prop_assert_eq!(&again.entries, &plan.entries, "{}", name);
        }
    }

    #[test]
    fn a_plan_with_a_second_less_or_another_pace_is_refused(problem in world(), which in any::<prop::sample::Index>()) {
        let plan = Heliotrope.plan(&problem);
        let i = which.index(plan.entries.len());
        if plan.entries[i].runs.is_empty() {
            return Ok(());
        }
        let refused = |change: &dyn Fn(&mut Run)| {
            let mut plan = plan.clone();
            change(plan.entries[i].runs.last_mut().unwrap());
            let id = &*plan.entries[i].id;
            check(&problem, &plan).iter().any(|note| note.workload() == Some(id))
        };
        prop_assert!(refused(&|run| run.end = run.end + Seconds(10)), "ten seconds more do two at least");
        prop_assert!(refused(&|run| run.end = run.end - Seconds(10)));
        prop_assert!(refused(&|run| run.pace = pace(500)), "half speed is none of its points");
    }
}
