//! Policies that choose operating points, as their papers have them: each one's mark on a case that can be reckoned by hand.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::checker::check;
use heliotrope::core::plan::{
    Constraints, Load, Pace, Pool, PoolChoice, PoolId, Problem, Running, Supply, Suspension, Workload, by_name,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Moment, Seconds, Watts};
use proptest::prelude::*;

const HOUR: i64 = 3600;

/// Watts and thousandths of full speed.
type Curve = [(i64, u32); 3];

const A: Curve = [(350, 1000), (200, 807), (100, 240)];
const B: Curve = [(400, 1000), (300, 700), (100, 300)];

fn work(id: usize, curve: Curve, seconds: i64, slack: Option<i64>) -> Workload {
    let point = |(watts, permille): (i64, u32)| PoolChoice {
        pool: PoolId(0),
        load: Load { watts: Watts(watts), accelerators: 1, hosts: 1 },
        pace: Pace::millionths(permille * 1000).unwrap(),
    };
    Workload {
        id: format!("w{id:02}").into(),
        priority: 0,
        arrival: Moment(0),
        remaining: Seconds(seconds),
        ahead: 0,
        choices: curve.map(point).to_vec(),
        running: None,
        suspension: Suspension::ForSupply { cost: Seconds(0) },
        stops_later_by: Seconds::ZERO,
        start_by: slack.map(Moment),
        finish_by: slack.map(|slack| Moment(seconds + slack)),
        uncertain: None,
    }
}

fn urgent(workload: Workload) -> Workload {
    Workload { priority: 1, ..workload }
}

fn fixed(workload: Workload) -> Workload {
    Workload { suspension: Suspension::ForCapOnly, ..workload }
}

/// One row of four accelerators under a cap.
fn problem(cap: &Steps<Watts>, prices: &[i64], workloads: Vec<Workload>) -> Problem {
    let row =
        DomainSpec { name: "row".to_owned(), parent: None, cap: cap.clone(), baseline: Watts(0), overhead_permille: 0 };
    let tree = DomainTree::new(vec![row]).unwrap();
    let pool = Pool {
        name: "row".to_owned(),
        domain: tree.find("row").unwrap(),
        supply: 0,
        accelerators: 4,
        nodes: 4,
        idle: Watts(0),
        host_extra: Watts(0),
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

/// Start, end and thousandths of full speed of each run of each workload.
fn planned(policy: &str, cap: &Steps<Watts>, workloads: Vec<Workload>) -> Vec<Vec<(i64, i64, u32)>> {
    let problem = problem(cap, &[95, 20, 90, 95, 95, 95], workloads);
    let plan = by_name(policy).unwrap().plan(&problem);
    assert_eq!(check(&problem, &plan), vec![], "{policy}");
    let run = |run: &heliotrope::core::plan::Run| (run.start.0, run.end.0, run.pace.per_million() / 1000);
    plan.entries.iter().map(|entry| entry.runs.iter().map(run).collect()).collect()
}

fn steady(watts: i64) -> Steps<Watts> {
    Steps::constant(Watts(watts))
}

const LONG: Option<i64> = Some(10 * HOUR);

#[test]
fn carbon_scaler_runs_fast_in_the_green_hour_and_slowly_in_the_next() {
    let one = || work(0, A, 5000, Some(4 * HOUR));
    // 3,600 at full in the second hour; the third is the next cheapest, where 1,400 are done at the point that takes least for its work
    let alone = vec![(HOUR, 2 * HOUR, 1000), (2 * HOUR, 2 * HOUR + 1735, 807)];
    assert_eq!(planned("carbon-scaler", &steady(1000), vec![one()])[0], alone);
    // it knows no cap: the second one wants the same hour, and queues at full from then on
    let two = vec![one(), work(1, A, 5000, Some(4 * HOUR))];
    assert_eq!(planned("carbon-scaler", &steady(420), two), [alone, vec![(8935, 13_935, 1000)]]);
    // without time to wait, or where it can't be stopped, there is nothing to choose
    assert_eq!(planned("carbon-scaler", &steady(420), vec![work(0, A, 5000, None)]), [[(0, 5000, 1000)]]);
    assert_eq!(planned("carbon-scaler", &steady(420), vec![fixed(one())]), [[(0, 5000, 1000)]]);
}

#[test]
fn uniform_cap_gives_all_the_same_share_of_power_until_there_is_room() {
    for policy in ["uniform-cap", "dvfs-fair"] {
        // no cap binds: all at once and at full, whatever it costs
        let two = || vec![work(0, A, 4000, LONG), work(1, A, 4000, LONG)];
        assert_eq!(planned(policy, &steady(700), two()), [[(0, 4000, 1000)], [(0, 4000, 1000)]]);
        assert_eq!(planned(policy, &steady(699), two()), [[(0, 4957, 807)], [(0, 4957, 807)]]);
        // the third is never delayed, so never slowed; once it is done the others go on at full
        let three = [two(), vec![work(2, A, 3000, None)]].concat();
        let slowed = vec![(0, 3000, 807), (3000, 4579, 1000)];
        assert_eq!(planned(policy, &steady(800), three), [slowed.clone(), slowed, vec![(0, 3000, 1000)]]);
        // not even at their slowest do three fit: the last one waits
        let three = [two(), vec![work(2, A, 4000, LONG)]].concat();
        let waits = planned(policy, &steady(250), three);
        assert_eq!((waits[0][0].0, waits[1][0].0), (0, 0));
        assert_eq!(waits[2][0].0, waits[0].last().unwrap().1);
        // who can't be stopped keeps the point that it begins with
        let kept = planned(policy, &steady(699), two().into_iter().map(fixed).collect());
        assert_eq!(kept, [[(0, 4957, 807)], [(0, 4957, 807)]]);
    }
}

/// The same in two rows under one site.
fn in_two_rows(mut problem: Problem, caps: [Steps<Watts>; 3], overhead: u32) -> Problem {
    let [site, a, b] = caps;
    let domain = |name: &str, parent: Option<&str>, cap| DomainSpec {
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
        cap,
        baseline: Watts(0),
        overhead_permille: overhead,
    };
    let rows = vec![domain("site", None, site), domain("a", Some("site"), a), domain("b", Some("site"), b)];
    problem.tree = DomainTree::new(rows).unwrap();
    problem.pools.push(problem.pools[0].clone());
    for (pool, name) in problem.pools.iter_mut().zip(["a", "b"]) {
        (pool.name, pool.domain) = (name.to_owned(), problem.tree.find(name).unwrap());
    }
    for workload in &mut problem.workloads {
        let here = workload.choices.clone();
        workload.choices.extend(here.into_iter().map(|choice| PoolChoice { pool: PoolId(1), ..choice }));
    }
    problem
}

#[test]
fn what_begins_does_so_where_most_is_free() {
    let two = vec![work(0, A, 4000, LONG), work(1, A, 4000, LONG)];
    let caps = [1000, 400, 400].map(steady);
    let problem = in_two_rows(problem(&steady(1000), &[50], two), caps, 0);
    for policy in ["uniform-cap", "dvfs-fair"] {
        let plan = by_name(policy).unwrap().plan(&problem);
        assert_eq!(check(&problem, &plan), vec![]);
        let each = plan.entries.iter().map(|entry| (entry.runs[0].pool.0, entry.runs[0].pace, entry.runs.len()));
        assert_eq!(each.collect::<Vec<_>>(), [(0, Pace::FULL, 1), (1, Pace::FULL, 1)], "{policy}");
    }
}

prop_compose! {
    fn any_work()(
        curve in prop_oneof![Just(A), Just(B)],
        seconds in 100..9000_i64,
        slack in proptest::option::weighted(0.8, 0..12 * HOUR),
        accelerators in 1..4_u32,
        is_divisible in any::<bool>(),
        priority in 0..2_i32,
        running in proptest::option::weighted(0.3, 0..6_usize),
        arrival in prop_oneof![Just(0_i64), 0..20_000_i64],
        ahead in prop_oneof![Just(0_u32), 0..1_000_000_u32],
    ) -> (Workload, Option<usize>) {
        let mut work = work(0, curve, seconds, slack);
        for choice in &mut work.choices {
            choice.load = Load { watts: choice.load.watts.times(accelerators), accelerators, hosts: accelerators };
        }
        (work.priority, work.ahead) = (priority, ahead);
        if running.is_none() {
            (work.arrival, work.finish_by) = (Moment(arrival), work.finish_by.map(|by| by + Seconds(arrival)));
        }
        (if is_divisible { work } else { fixed(work) }, running)
    }
}

prop_compose! {
    fn world()(
        all in proptest::collection::vec(any_work(), 1..10),
        prices in proptest::collection::vec(-20..200_i64, 2..20),
        caps in proptest::array::uniform3((600..3000_i64, 0..30_000_i64, 0..3000_i64)),
        host in 0..100_i64,
        overhead in 0..80_u32,
    ) -> Problem {
        let (mut work, running): (Vec<Workload>, Vec<Option<usize>>) = all.into_iter().unzip();
        work.iter_mut().zip(0..).for_each(|(work, i)| work.id = format!("w{i:02}").into());
        let caps = caps.map(|(watts, at, then)| Steps::new(Watts(watts), [(Moment(at), Watts(then))]));
        let mut problem = in_two_rows(problem(&steady(1000), &prices, work), caps, overhead);
        problem.pools.iter_mut().for_each(|pool| pool.host_extra = Watts(host));
        for (workload, running) in problem.workloads.iter_mut().zip(running) {
            workload.running = running.map(|i| {
                let PoolChoice { pool, pace, .. } = workload.choices[i];
                Running { pace, ..Running::new(pool, Moment(-500)) }
            });
        }
        problem
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn their_plans_pass_the_checker_in_any_world(problem in world()) {
        for policy in ["carbon-scaler", "uniform-cap", "dvfs-fair", "two-threshold"] {
            let plan = by_name(policy).unwrap().plan(&problem);
            prop_assert_eq!(check(&problem, &plan), vec![], "{}", policy);
        }
    }
}

#[test]
fn they_follow_a_cap_that_falls_and_rises() {
    let cap = Steps::new(Watts(700), [(Moment(1000), Watts(450)), (Moment(2000), Watts(700))]);
    let two = vec![work(0, A, 4000, LONG), work(1, A, 4000, LONG)];
    let follows = vec![(0, 1000, 1000), (1000, 2000, 807), (2000, 4193, 1000)];
    for policy in ["uniform-cap", "dvfs-fair"] {
        assert_eq!(planned(policy, &cap, two.clone()), [follows.clone(), follows.clone()], "{policy}");
    }
}

#[test]
fn a_share_of_power_is_not_a_share_of_speed() {
    let two = || vec![work(0, A, HOUR, LONG), work(1, B, HOUR, LONG)];
    let first =
        |policy: &str| -> Vec<u32> { planned(policy, &steady(440), two()).iter().map(|runs| runs[0].2).collect() };
    // at three quarters of their power they draw 200 + 300 W; at 57 % the first has its 200 W, and the other 100
    assert_eq!(first("uniform-cap"), [807, 300]);
    // at 81 % of their speed they draw 500 W too; at 70 % the other has its 300 W, and the first 100
    assert_eq!(first("dvfs-fair"), [240, 700]);
}

#[test]
fn two_threshold_slows_low_priorities_first_then_all_then_brakes() {
    let paces = |cap: i64| -> Vec<u32> {
        let three = vec![work(0, A, HOUR, LONG), work(1, A, HOUR, LONG), urgent(work(2, A, HOUR, LONG))];
        let planned = planned("two-threshold", &steady(cap), three);
        planned.iter().map(|runs| if runs[0].0 == 0 { runs[0].2 } else { 0 }).collect()
    };
    // 1050 W at full are 80 % of 1313 W
    assert_eq!(paces(1313), [1000, 1000, 1000]);
    assert_eq!(paces(1312), [807, 807, 1000]);
    // 200 + 200 + 350 W are 89 % of 843 W
    assert_eq!(paces(843), [807, 807, 1000]);
    assert_eq!(paces(842), [240, 240, 807]);
    // 100 + 100 + 200 W are all of 400 W; below it everything brakes
    assert_eq!(paces(400), [240, 240, 807]);
    assert_eq!(paces(399), [240, 240, 240]);
    // the low priority that came last by its name waits where even that is too much
    assert_eq!(paces(299), [240, 0, 240]);
}
