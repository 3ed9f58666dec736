//! What planning may cost: time and memory are bounded whatever a person writes, and what is remembered on the way
//! changes no plan.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::clock::Stopwatch;
use heliotrope::core::admit::cycle;
use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::checker::{Note, check};
use heliotrope::core::plan::{
    Constraints, Entry, Heliotrope, Ledger, Load, Policy, Pool, PoolChoice, PoolId, PowerPlan, Problem, Run, Running,
    Supply, Suspension, Why, Workload,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Moment, Money, Seconds, Watts};
use proptest::prelude::*;
use std::sync::Arc;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const NOW: Moment = Moment(1_767_225_600);
const LOAD: Load = Load { watts: Watts(5000), accelerators: 8, hosts: 1 };

/// Milliseconds: far more than any of these takes on a busy machine, far less than an unbounded search would.
const SOON: u64 = 10_000;

/// Room for six nodes of 5 kW in two rows; each day has its cheap hours at noon.
fn problem(workloads: Vec<Workload>) -> Problem {
    let domain = |name: &str, parent: Option<&str>, cap: i64| DomainSpec {
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
        cap: Steps::constant(Watts(cap)),
        baseline: Watts(0),
        overhead_permille: 10,
    };
    let rows = ["row-a", "row-b"];
    let specs = vec![
        domain("site", None, 31_500),
        domain(rows[0], Some("site"), 15_500),
        domain(rows[1], Some("site"), 15_500),
    ];
    let tree = DomainTree::new(specs).unwrap();
    let pools = rows
        .map(|name| Pool {
            name: name.to_owned(),
            domain: tree.find(name).unwrap(),
            supply: 0,
            accelerators: 64,
            nodes: 8,
            idle: Watts(0),
            host_extra: Watts(0),
            places: None,
            frozen: None,
            least: None,
        })
        .to_vec();
    let price = |hour: i64| if (10..16).contains(&(hour % 24)) { 10_000_000 } else { 90_000_000 };
    Problem {
        now: NOW,
        seed: 1,
        slot: Seconds(900),
        horizon: Seconds(2 * DAY),
        tree,
        pools,
        supplies: vec![Supply::at(Steps::new(
            90_000_000,
            (0..48).map(|hour| (NOW + Seconds(hour * HOUR), price(hour))),
        ))],
        delay_cost_per_hour: 0,
        workloads,
        fixed: Vec::new(),
        constraints: Constraints::default(),
        thorough: true,
        previous: None,
    }
}

fn workload(i: usize, length: i64, finish_by: Option<Moment>) -> Workload {
    Workload {
        id: format!("w{i:05}").into(),
        priority: 0,
        arrival: NOW,
        remaining: Seconds(length),
        choices: (0..2).map(|pool| PoolChoice::full(PoolId(pool), LOAD)).collect(),
        running: None,
        suspension: Suspension::ForSupply { cost: Seconds(30) },
        stops_later_by: Seconds::ZERO,
        ahead: 0,
        start_by: None,
        finish_by,
        uncertain: None,
    }
}

/// Plans, holds the plan against the checker, and plans again.
fn planned(problem: &Problem) -> PowerPlan {
    let clock = Stopwatch::start();
    let plan = Heliotrope.plan(problem);
    assert!(clock.millis() < SOON, "it took {} ms", clock.millis());
    assert_eq!(check(problem, &plan), vec![]);
    let again = Heliotrope.plan(&Problem { previous: Some(Arc::new(plan.clone())), ..problem.clone() });
    assert_eq!(again.entries, plan.entries, "a second plan changes nothing");
    plan
}

#[test]
fn a_deadline_in_the_year_9999_costs_no_more_than_one_next_week() {
    let end_of_calendar: Moment = "9999-12-30T00:00:00Z".parse().unwrap();
    for by in [NOW + Seconds(7 * DAY), end_of_calendar, Moment::FAR_FUTURE] {
        for suspension in [Suspension::ForSupply { cost: Seconds(30) }, Suspension::ForCapOnly] {
            let mut one = workload(0, 5 * HOUR, Some(by));
            one.suspension = suspension;
            let plan = planned(&problem(vec![one]));
            // in the first of the cheap hours, not at the end of time
            let expected = NOW + Seconds(10 * HOUR);
            assert_eq!(plan.entries[0].start(), Some(expected), "{by}");
            assert_eq!(plan.entries[0].finish(), Some(expected + Seconds(5 * HOUR)), "{by}");
        }
    }
}

#[test]
fn months_of_work_are_planned_in_coarser_slots_and_still_run_when_it_is_cheap() {
    for days in [14, 60, 365] {
        let plan = planned(&problem(vec![workload(0, days * DAY, Some(NOW + Seconds(2 * days * DAY)))]));
        let entry = &plan.entries[0];
        assert_eq!(entry.late, Seconds::ZERO);
        // at least one of the two noons; dear hours before it are left out
        assert!(entry.run_at(NOW + Seconds(36 * HOUR)).is_some(), "{days} d: {:?}", entry.runs);
        let dear = i128::from(days) * i128::from(DAY) * 90_000_000 * 5101 / 3_600_000_000;
        assert!(i128::from(plan.cost.0) < dear, "{days} d cost {}", plan.cost);
    }
}

#[test]
fn a_slot_of_a_second_is_planned_in_coarser_ones() {
    for length in [HOUR, 10 * HOUR + 7] {
        let mut problem = problem(vec![workload(0, length, Some(NOW + Seconds(length + DAY)))]);
        problem.slot = Seconds(1);
        let plan = planned(&problem);
        let noon = NOW + Seconds(10 * HOUR + HOUR / 2); // of the cheap hours
        assert!(plan.entries[0].run_at(noon).is_some(), "{:?}", plan.entries[0].runs);
    }
}

#[test]
fn two_thousand_with_deadlines_that_can_not_all_be_kept_are_planned_in_seconds() {
    let all = (0..2000).map(|i| workload(i, HOUR, Some(NOW + Seconds(DAY)))).collect();
    let clock = Stopwatch::start();
    let decided = cycle(&problem(all), &Heliotrope, Seconds(45));
    assert!(clock.millis() < SOON / 2, "it took {} ms", clock.millis());
    assert_eq!(decided.plan.misses(), 2000 - 6 * 24);
}

/// A plan as it should not be.
struct Faulty(Why);

impl Policy for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }
    fn plan(&self, problem: &Problem) -> PowerPlan {
        let entries = problem.workloads.iter().map(|w| Entry {
            id: w.id.clone(),
            runs: vec![Run::full(PoolId(0), problem.now, problem.now + w.remaining)],
            late: if *w.id == *"w00000" && self.0 == Why::Late { Seconds(7) } else { Seconds::ZERO },
            why: Why::Cheapest,
        });
        let entries = entries.collect();
        PowerPlan {
            generation: 1,
            policy: "faulty",
            made: problem.now,
            entries,
            cost: Money(0),
            bound: None,
            scarce: Vec::new(),
        }
    }
}

#[test]
fn nothing_of_a_plan_that_the_checker_refuses_is_carried_out() {
    // five at once in a row of three
    let problem = problem((0..5).map(|i| workload(i, HOUR, None)).collect());
    let decided = cycle(&problem, &Faulty(Why::Cheapest), Seconds(45));
    let said: Vec<String> = decided.refused.iter().map(Note::to_string).collect();
    assert_eq!(said, ["row-a is planned at 25250 W from 2026-01-01T00:00:00Z on, over its cap of 15500 W"]);
    assert_eq!(decided.actions, vec![]);
    assert_eq!(decided.verdicts.len(), 5);
}

#[test]
fn a_fault_of_one_workload_leaves_the_others_alone() {
    let problem = problem((0..3).map(|i| workload(i, HOUR, None)).collect());
    let decided = cycle(&problem, &Faulty(Why::Late), Seconds(45));
    assert_eq!(decided.refused.len(), 1);
    assert_eq!(decided.refused[0].workload(), Some("w00000"));
    assert_eq!(decided.actions.len(), 2);
}

#[test]
fn what_goes_on_under_a_cap_that_falls_is_no_fault_of_the_plan() {
    let mut one = workload(0, 10 * HOUR, None);
    one.running = Some(Running::new(PoolId(0), NOW - Seconds(60)));
    let mut problem = problem(vec![one]);
    let specs = problem.tree.iter().map(|(_, domain)| {
        let mut spec = domain.spec.clone();
        spec.cap.update(NOW + Seconds(HOUR), Moment::FAR_FUTURE, |_| Watts(1000));
        spec
    });
    problem.tree = DomainTree::new(specs.collect()).unwrap();
    let decided = cycle(&problem, &heliotrope::core::plan::RunNow, Seconds(45));
    assert_eq!(decided.refused, vec![]);
}

proptest! {
    /// A ledger that remembers its searches answers as one that was just made.
    #[test]
    fn what_a_ledger_remembers_changes_no_answer(
        steps in proptest::collection::vec((0..3_u8, 0..2_usize, 1..20_i64, 1..9_u32, 0..3_u32, 0..30_i64, 1..9_i64), 1..40),
    ) {
        let problem = problem(Vec::new());
        let mut ledger = Ledger::idle(&problem);
        let mut there: Vec<(PoolId, Load, Moment, Moment)> = Vec::new();
        for (what, pool, kilowatts, accelerators, hosts, start, length) in steps {
            let load = Load { watts: Watts(kilowatts * 1000), accelerators, hosts };
            let (pool, from, length) = (PoolId(pool), NOW + Seconds(start * 600), Seconds(length * 600));
            match what {
                0 => {
                    ledger.add(pool, load, from, from + length);
                    there.push((pool, load, from, from + length));
                }
                1 if !there.is_empty() => {
                    let (pool, load, from, to) = there.remove(start as usize % there.len());
                    ledger.remove(pool, load, from, to);
                }
                _ => {
                    let mut fresh = Ledger::idle(&problem);
                    there.iter().for_each(|(pool, load, from, to)| fresh.add(*pool, *load, *from, *to));
                    for at in [NOW, from] {
                        prop_assert_eq!(
                            ledger.earliest(pool, load, at, length),
                            fresh.earliest(pool, load, at, length)
                        );
                    }
                }
            }
        }
    }
}
