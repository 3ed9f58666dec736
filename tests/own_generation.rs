//! Generation on the site: what the roof makes beyond what draws anyway is used before anything is bought, once, and the bound of a
//! plan counts with it.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::checker::check;
use heliotrope::core::plan::{
    Constraints, Fixed, Heliotrope, Load, POLICIES, Pace, Policy, Pool, PoolChoice, PoolId, PowerPlan, Problem,
    Running, Supply, Suspension, Workload, by_name,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Moment, Money, Seconds, Watts};
use proptest::prelude::*;
use std::sync::Arc;

const HOUR: i64 = 3600;

/// A row of 2 kW; work of 1 kW, or of 500 W at 700 ‰ of full speed where it has points.
fn workload(id: usize, hours: i64, slack: i64, divisible: bool, has_points: bool) -> Workload {
    let choice = |watts, permille: u32| PoolChoice {
        pool: PoolId(0),
        load: Load { watts: Watts(watts), accelerators: 1, hosts: 0 },
        pace: Pace::millionths(permille * 1000).unwrap(),
    };
    let points = if has_points { vec![choice(1000, 1000), choice(500, 700)] } else { vec![choice(1000, 1000)] };
    Workload {
        id: format!("w{id:02}").into(),
        priority: 0,
        arrival: Moment(0),
        remaining: Seconds(hours * HOUR),
        choices: points,
        running: None,
        suspension: if divisible { Suspension::ForSupply { cost: Seconds(0) } } else { Suspension::ForCapOnly },
        stops_later_by: Seconds::ZERO,
        ahead: 0,
        start_by: None,
        finish_by: Some(Moment((hours + slack) * HOUR)),
        uncertain: None,
    }
}

/// Prices and watts of the roof, hour by hour; none of either after them.
fn problem(cap: i64, prices: &[i64], own: &[i64], workloads: Vec<Workload>) -> Problem {
    let row = DomainSpec {
        name: "row".to_owned(),
        parent: None,
        cap: Steps::constant(Watts(cap)),
        baseline: Watts(0),
        overhead_permille: 0,
    };
    let tree = DomainTree::new(vec![row]).unwrap();
    let pool = Pool {
        name: "row".to_owned(),
        domain: tree.find("row").unwrap(),
        supply: 0,
        accelerators: 16,
        nodes: 16,
        idle: Watts(0),
        host_extra: Watts(0),
        places: None,
        frozen: None,
        least: None,
    };
    let hourly = |values: &[i64], each: i64| -> Vec<(Moment, i64)> {
        values.iter().zip(0..).map(|(value, hour)| (Moment(hour * HOUR), value * each)).collect()
    };
    let end = [(Moment(i64::try_from(own.len()).unwrap() * HOUR), 0)];
    let own = Steps::new(0, hourly(own, 1).into_iter().chain(end));
    let price = Steps::new(90_000_000, hourly(prices, 1_000_000));
    Problem {
        now: Moment(0),
        seed: 1,
        slot: Seconds(900),
        horizon: Seconds(2 * Seconds::DAY.0),
        tree,
        pools: vec![pool],
        supplies: vec![Supply { own: Some(own), ..Supply::at(price) }],
        delay_cost_per_hour: 0,
        workloads,
        fixed: Vec::new(),
        constraints: Constraints::default(),
        thorough: true,
        previous: None,
    }
}

/// What a plan's runs cost: what is drawn beyond the roof's watts and beyond what draws anyway, second by second of change.
fn cost(problem: &Problem, plan: &PowerPlan) -> Money {
    let mut draw = Steps::constant(0_i64);
    for (workload, entry) in problem.workloads.iter().zip(&plan.entries) {
        for run in &entry.runs {
            let watts = workload.load_at(run.pool, run.pace).unwrap().watts.0;
            draw.update(run.start.max(problem.now), run.end, |draw| draw + watts);
        }
    }
    let Supply { price, own, .. } = &problem.supplies[0];
    let mut own = own.clone().unwrap();
    for fixed in &problem.fixed {
        own.update(problem.now, fixed.until, |own| own - fixed.load.watts.0);
    }
    let mut moments: Vec<Moment> = [&draw, price, &own]
        .into_iter()
        .flat_map(|steps| steps.changes_between(problem.now, Moment::FAR_FUTURE))
        .chain([problem.now])
        .collect();
    moments.sort_unstable();
    let sum: i128 = moments
        .windows(2)
        .map(|pair| {
            let (price, draw) = (i128::from(price.at(pair[0])), draw.at(pair[0]));
            // at a negative price all is drawn from outside
            let own = if price > 0 { own.at(pair[0]).max(0) } else { 0 };
            price * i128::from((draw - own).max(0)) * i128::from((pair[1] - pair[0]).0)
        })
        .sum();
    Money(i64::try_from(sum / 3_600_000_000).unwrap())
}

fn hours(plan: &PowerPlan, i: usize) -> Vec<(f64, f64)> {
    let hours = |moment: Moment| moment.0 as f64 / HOUR as f64;
    plan.entries[i].runs.iter().map(|run| (hours(run.start), hours(run.end))).collect()
}

#[test]
fn the_roof_is_used_once_and_the_rest_goes_where_the_grid_is_cheap() {
    // a kilowatt of the roof for two hours at noon, and a cheap night
    let work = || vec![workload(0, 2, 9, false, false), workload(1, 2, 9, false, false)];
    let prices = [80, 80, 80, 80, 80, 80, 30, 30, 80, 80, 80];
    let problem = problem(8000, &prices, &[0, 0, 1000, 1000, 0, 0, 0, 0, 0, 0, 0], work());
    let plan = Heliotrope.plan(&problem);
    assert_eq!(check(&problem, &plan), vec![]);
    let mut both = [hours(&plan, 0), hours(&plan, 1)];
    both.sort_by(|a, b| a[0].0.total_cmp(&b[0].0));
    assert_eq!(both, [[(2.0, 4.0)], [(6.0, 8.0)]]);
    // 2 kWh at 30 a MWh
    assert_eq!(plan.cost, Money(60_000));
    assert!(plan.gap().unwrap() < 0.001, "{:?}", plan.bound);
    // for who looks at a price alone an eighth of the cap is made on the roof
    assert_eq!(problem.price_alone(PoolId(0)).at(Moment(2 * HOUR)), 70_000_000);
}

#[test]
fn half_a_kilowatt_of_the_roof_runs_what_may_be_slowed() {
    let problem = problem(8000, &[80; 11], &[500; 11], vec![workload(0, 7, 3, true, true)]);
    let plan = Heliotrope.plan(&problem);
    assert_eq!(check(&problem, &plan), vec![]);
    assert_eq!(hours(&plan, 0), [(0.0, 10.0)]);
    assert_eq!((plan.cost, plan.entries[0].runs[0].pace.per_million()), (Money(0), 700_000));
}

#[test]
fn what_draws_anyway_has_the_roof_first() {
    let mut problem = problem(8000, &[80, 80, 80, 80, 30], &[0, 1000, 0, 0, 0], vec![workload(0, 1, 4, false, false)]);
    let load = Load { watts: Watts(600), accelerators: 1, hosts: 0 };
    problem.fixed = vec![Fixed { pool: PoolId(0), load, until: Moment(5 * HOUR) }];
    let plan = Heliotrope.plan(&problem);
    assert_eq!(check(&problem, &plan), vec![]);
    // 600 W from outside at 80 cost more than 1 kW at 30
    assert_eq!((hours(&plan, 0), plan.cost), (vec![(4.0, 5.0)], Money(30_000)));
}

fn worlds() -> impl Strategy<Value = Problem> {
    let workloads = prop::collection::vec((1..5_i64, 0..20_i64, any::<bool>(), any::<bool>(), any::<bool>()), 1..14);
    let hours = |range: std::ops::Range<i64>| prop::collection::vec(range, 24);
    (2000..9000_i64, hours(-20..90), hours(0..5000), workloads, 0..1500_i64).prop_map(
        |(cap, prices, own, workloads, fixed)| {
            let all = workloads.into_iter().enumerate().map(|(i, (length, slack, divisible, points, runs))| {
                let mut workload = workload(i, length, slack, divisible, points);
                if runs && i < 2 {
                    workload.running = Some(Running::new(PoolId(0), Moment(-600)));
                }
                workload
            });
            let mut problem = problem(cap, &prices, &own, all.collect());
            if fixed > 0 {
                let load = Load { watts: Watts(fixed.min(cap / 4)), accelerators: 1, hosts: 0 };
                problem.fixed = vec![Fixed { pool: PoolId(0), load, until: Moment(9 * HOUR) }];
            }
            problem
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn plans_cost_what_is_drawn_beyond_the_roof_and_never_less_than_their_bound(problem in worlds()) {
        for policy in POLICIES {
            let plan = by_name(policy).unwrap().plan(&problem);
            prop_assert_eq!(check(&problem, &plan), vec![], "{}", policy);
            let (said, is) = (plan.cost.0, cost(&problem, &plan).0);
            // each is rounded once
            prop_assert!((said - is).abs() <= 1, "{policy} says {said}, its runs cost {is}");
        }
        let plan = Heliotrope.plan(&problem);
        if plan.misses() == 0 {
            prop_assert!(plan.bound.unwrap() <= plan.cost, "{:?} {}", plan.bound, plan.cost);
        }
        let again = Heliotrope.plan(&Problem { previous: Some(Arc::new(plan.clone())), ..problem });
        prop_assert_eq!(again.entries, plan.entries);
    }
}
