//! What a workload is told about its place in a plan, and what one plan does otherwise than another.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::{
    Constraints, Heliotrope, Load, Outlook, Pace, Policy, Pool, PoolChoice, PoolId, PowerPlan, Problem, RunNow, Short,
    Supply, Suspension, Uncertain, Why, Workload, changes, costs_at_most, explain,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{CarbonIntensity, Moment, Money, Seconds, Watts};

const HOUR: i64 = 3600;

/// Two rows of 1 kW under a site of 1.5 kW. Supply is dirty for four hours and clean after that: 400 and 100 g/kWh, a tonne at 100.
fn problem(workloads: Vec<Workload>) -> Problem {
    let domain = |name: &str, parent: Option<&str>, cap: i64| DomainSpec {
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
        cap: Steps::constant(Watts(cap)),
        baseline: Watts::ZERO,
        overhead_permille: 0,
    };
    let tree = DomainTree::new(vec![
        domain("site", None, 1500),
        domain("row-a", Some("site"), 1000),
        domain("row-b", Some("site"), 1000),
    ]);
    let tree = tree.unwrap();
    let pools = ["row-a", "row-b"].map(|name| Pool {
        name: name.to_owned(),
        domain: tree.find(name).unwrap(),
        supply: 0,
        accelerators: 4,
        nodes: 4,
        idle: Watts::ZERO,
        host_extra: Watts::ZERO,
        places: None,
        frozen: None,
        least: None,
    });
    let price = Steps::new(40_000_000, [(Moment(4 * HOUR), 10_000_000)]);
    let intensity = Some(Steps::new(CarbonIntensity(400_000), [(Moment(4 * HOUR), CarbonIntensity(100_000))]));
    Problem {
        now: Moment(0),
        seed: 1,
        slot: Seconds(900),
        horizon: Seconds::DAY,
        tree,
        pools: pools.to_vec(),
        supplies: vec![Supply { intensity, ..Supply::at(price) }],
        delay_cost_per_hour: 0,
        workloads,
        fixed: Vec::new(),
        constraints: Constraints::default(),
        thorough: true,
        previous: None,
    }
}

/// Two hours of work in row-a.
fn work(id: &str, watts: i64, accelerators: u32, by: Option<i64>) -> Workload {
    let load = Load { watts: Watts(watts), accelerators, hosts: 1 };
    Workload {
        id: id.into(),
        priority: 0,
        arrival: Moment(0),
        remaining: Seconds(2 * HOUR),
        choices: vec![PoolChoice { pool: PoolId(0), load, pace: Pace::FULL }],
        running: None,
        suspension: Suspension::ForCapOnly,
        stops_later_by: Seconds::ZERO,
        ahead: 0,
        start_by: None,
        finish_by: by.map(|hours| Moment(hours * HOUR)),
        uncertain: None,
    }
}

#[test]
fn what_waits_for_room_is_told_who_is_full_until_when_and_by_how_much() {
    let problem = problem(vec![work("a", 700, 1, None), work("b", 600, 1, None)]);
    let plan = RunNow.plan(&problem);
    let why = explain(&problem, &plan, "b").unwrap();
    assert_eq!(why.why, Why::AsSoonAsPossible);
    let [full] = why.obstacles.as_slice() else { panic!("{why:?}") };
    assert_eq!((full.full.as_str(), full.from, full.until), ("row-a", Moment(0), Some(Moment(2 * HOUR))));
    assert_eq!((full.short, full.worth), (Short::Watts(Watts(300)), None));
    let runs = explain(&problem, &plan, "a").unwrap();
    assert!(runs.obstacles.is_empty(), "it starts now: nothing is in its way");
    assert_eq!(explain(&problem, &plan, "c"), None);
}

#[test]
fn accelerators_are_counted_where_they_are_short() {
    let problem = problem(vec![work("a", 100, 3, None), work("b", 100, 2, None)]);
    let why = explain(&problem, &RunNow.plan(&problem), "b").unwrap();
    assert_eq!(why.obstacles[0].short, Short::Accelerators(1));
}

#[test]
fn what_waits_for_supply_is_told_what_that_saves() {
    let problem = problem(vec![work("a", 700, 1, Some(12))]);
    let why = explain(&problem, &Heliotrope.plan(&problem), "a").unwrap();
    assert!(why.obstacles.is_empty());
    assert_eq!(why.runs[0].start, Moment(4 * HOUR));
    let (planned, at_once) = (why.planned.unwrap(), why.at_once.unwrap());
    assert_eq!(planned.energy.as_kwh(), 1.4);
    assert_eq!((planned.carbon.unwrap().as_kg(), at_once.carbon.unwrap().as_kg()), (0.14, 0.56));
    assert_eq!((planned.money, at_once.money), (Money(14_000), Money(56_000)));
}

#[test]
fn what_is_guessed_has_a_cost_that_it_hardly_passes() {
    let mut problem = problem(vec![work("a", 700, 1, Some(12)), work("b", 500, 1, None)]);
    let plan = Heliotrope.plan(&problem);
    assert_eq!(costs_at_most(&problem, &plan), None, "all of it is known");
    // b runs at once for 40, a at 10 from the fourth hour on, which may be 25
    problem.supplies[0].high = Some(Steps::new(40_000_000, [(Moment(4 * HOUR), 25_000_000)]));
    assert_eq!((plan.cost, costs_at_most(&problem, &plan)), (Money(54_000), Some(Money(75_000))));
    // what the roof makes costs nothing then too
    problem.supplies[0].own = Some(Steps::constant(300));
    assert_eq!(costs_at_most(&problem, &plan), Some(Money(75_000 - 24_000 - 15_000)));
    // what lies behind is not counted
    problem.now = Moment(5 * HOUR);
    problem.supplies[0].own = None;
    assert_eq!(costs_at_most(&problem, &plan), Some(Money(17_500)));
}

#[test]
fn how_it_stands_with_a_deadline_counts_what_it_may_take_longer() {
    let mut unsure = work("a", 700, 1, Some(6));
    unsure.uncertain = Some(Uncertain { longer_by: Seconds(HOUR), deadline: Moment(7 * HOUR) });
    let problem = problem(vec![unsure]);
    let outlook = |finish: i64| problem.workloads[0].outlook(Moment(finish)).unwrap();
    assert_eq!(outlook(6 * HOUR), Outlook::OnTime);
    assert_eq!(outlook(6 * HOUR + 1), Outlook::AtRisk(Seconds(1)));
    assert_eq!(outlook(7 * HOUR), Outlook::AtRisk(Seconds(HOUR)));
    assert_eq!(outlook(7 * HOUR + 5), Outlook::Late(Seconds(5)));
    let plan = Heliotrope.plan(&problem);
    assert_eq!(plan.entries[0].finish(), Some(Moment(6 * HOUR)), "at the cheapest price that keeps an hour back");
    assert_eq!((problem.outlook(&plan.entries[0]), problem.missed(&plan)), (Some(Outlook::OnTime), 0));
    assert_eq!(work("b", 1, 1, None).outlook(Moment(5)), None, "it has no deadline");
}

#[test]
fn what_is_made_on_the_site_costs_nothing_and_only_what_others_leave() {
    // a roof of 1 kW for four hours: the first has 700 W of it from the beginning, and leaves 300
    let mut problem = problem(vec![work("a", 700, 1, Some(12)), work("b", 700, 1, Some(12))]);
    problem.pools[0].domain = problem.tree.find("site").unwrap();
    problem.supplies[0].own = Some(Steps::new(1000, [(Moment(4 * HOUR), 0)]));
    let plan = RunNow.plan(&problem);
    for (id, other) in [("a", "b"), ("b", "a")] {
        let why = explain(&problem, &plan, id).unwrap();
        let planned = why.planned.unwrap();
        assert_eq!(plan.entry(other).unwrap().runs[0].start, Moment(0), "both at once");
        assert_eq!((planned.energy.as_kwh(), planned.own.as_kwh()), (1.4, 0.6));
        assert_eq!((planned.carbon.unwrap().as_kg(), planned.money), (0.32, Money(32_000)), "0.8 kWh are bought");
    }
    // alone it has all of it, and only so long as it is made
    problem.workloads.truncate(1);
    problem.workloads[0].remaining = Seconds(5 * HOUR);
    let plan = RunNow.plan(&problem);
    let cost = explain(&problem, &plan, "a").unwrap().planned.unwrap();
    assert_eq!((cost.own.as_kwh(), cost.money), (2.8, Money(7_000)));
    // where one is paid for drawing, the roof is left out
    problem.supplies[0].price = Steps::constant(-10_000_000);
    let paid = explain(&problem, &plan, "a").unwrap().planned.unwrap();
    assert_eq!((paid.own.as_kwh(), paid.money), (0.0, Money(-35_000)));
}

#[test]
fn what_is_scarce_has_a_price_in_the_plan_and_in_the_reason() {
    // two of these fit into the clean hours before their deadline one after the other, three do not
    let problem = problem(vec![work("a", 700, 1, Some(8)), work("b", 700, 1, Some(8)), work("c", 700, 1, Some(8))]);
    let plan = Heliotrope.plan(&problem);
    let scarce: Vec<&str> = plan.scarce.iter().map(|price| price.of.as_str()).collect();
    assert!(scarce.contains(&"row-a"), "{:?}", plan.scarce);
    for price in &plan.scarce {
        assert!(price.is_watts && price.price > Money::ZERO && price.from < price.until, "{price:?}");
        // a kWh more in the clean hours saves a kWh in the dirty ones: 0.03 at the most
        assert!(price.price <= Money(30_000), "{price:?}");
    }
    let dirty = plan.entries.iter().find(|entry| entry.runs[0].start < Moment(4 * HOUR)).unwrap();
    assert_eq!(plan.entries.iter().filter(|entry| entry.runs[0].start < Moment(4 * HOUR)).count(), 1);
    // a later plan that is not thorough still knows what was scarce
    let later = Problem { thorough: false, previous: Some(plan.clone().into()), ..problem.clone() };
    assert_eq!(Heliotrope.plan(&later).scarce, plan.scarce);
    let why = explain(&problem, &plan, &dirty.id).unwrap();
    assert_eq!(why.runs, dirty.runs);
}

#[test]
fn two_plans_differ_where_a_workload_runs_at_another_time() {
    let problem = problem(vec![work("a", 300, 1, Some(12)), work("b", 300, 1, None)]);
    let (now, ours) = (RunNow.plan(&problem), Heliotrope.plan(&problem));
    assert!(changes(&problem, &ours, &ours).is_empty());
    let [change] = &changes(&problem, &now, &ours)[..] else { panic!("{now:?} {ours:?}") };
    assert_eq!((&*change.id, change.before[0].start, change.after[0].start), ("a", Moment(0), Moment(4 * HOUR)));
    // runs that are over are no difference
    let later = Problem { now: Moment(2 * HOUR), ..problem.clone() };
    let over = PowerPlan { entries: now.entries[1..].to_vec(), ..now.clone() };
    let none = PowerPlan { entries: Vec::new(), ..now };
    assert!(changes(&later, &none, &over).is_empty());
}
