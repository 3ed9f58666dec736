//! A cap that is known to fall is met at the moment of its fall, by work that takes from no time to ten minutes to stop; and
//! what stops quickly is not stopped long before.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::admit::{Action, cycle, throttle};
use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::{
    Fixed, Heliotrope, Load, Pool, PoolChoice, PoolId, Problem, Running, Supply, Suspension, Workload,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Moment, Seconds, Watts};
use proptest::prelude::*;

const TICK: i64 = 5;
const LEAD: Seconds = Seconds(45);
const EACH: Watts = Watts(1000);

/// One feed with room for all; it falls to `room` of them at a moment.
fn site(later: &[i64], since: &[i64], falls_at: i64, room: i64) -> Problem {
    let count = i64::try_from(later.len()).unwrap();
    let cap = Steps::new(EACH.times(u32::try_from(count).unwrap()), [(Moment(falls_at), Watts(room * EACH.0))]);
    let root = DomainSpec { name: "site".to_owned(), parent: None, cap, baseline: Watts::ZERO, overhead_permille: 0 };
    let tree = DomainTree::new(vec![root]).unwrap();
    let accelerators = u32::try_from(count).unwrap();
    let pool = Pool {
        name: "site".to_owned(),
        domain: tree.find("site").unwrap(),
        supply: 0,
        accelerators,
        nodes: accelerators,
        idle: Watts::ZERO,
        host_extra: Watts::ZERO,
        places: None,
        frozen: None,
        least: None,
    };
    let load = Load { watts: EACH, accelerators: 1, hosts: 1 };
    let workload = |(i, (later, since)): (usize, (&i64, &i64))| Workload {
        id: format!("w{i:02}").into(),
        priority: 0,
        arrival: Moment(-since),
        remaining: Seconds::DAY,
        choices: vec![PoolChoice { pool: PoolId(0), load }],
        running: Some(Running { pool: PoolId(0), since: Moment(-since) }),
        suspension: Suspension::ForCapOnly,
        stops_later_by: Seconds(*later),
        finish_by: None,
    };
    Problem {
        now: Moment(0),
        seed: 1,
        slot: Seconds(900),
        horizon: Seconds::DAY,
        tree,
        pools: vec![pool],
        supplies: vec![Supply { price: Steps::constant(1), intensity: None }],
        delay_cost_per_hour: 0,
        workloads: later.iter().zip(since).enumerate().map(workload).collect(),
        fixed: Vec::new(),
        thorough: true,
        previous: None,
    }
}

/// Plays it tick by tick: when each was told to stop. What stops draws for as long as it may, and starts no more.
fn played(mut problem: Problem, until: i64) -> Vec<(String, i64, i64)> {
    let mut told: Vec<(String, i64, i64)> = Vec::new();
    while problem.now.0 <= until {
        let decided = cycle(&problem, &Heliotrope, LEAD);
        for action in &decided.actions {
            let Action::Suspend { id, .. } = action else { continue };
            let at = problem.workloads.iter().position(|workload| workload.id == *id).unwrap();
            let workload = problem.workloads.remove(at);
            let gone = problem.now + LEAD + workload.stops_later_by;
            problem.fixed.push(Fixed { pool: PoolId(0), load: workload.choices[0].load, until: gone });
            told.push((id.to_string(), problem.now.0, gone.0));
        }
        problem.now = problem.now + Seconds(TICK);
        problem.fixed.retain(|fixed| fixed.until > problem.now);
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_fall_that_is_known_is_met_with_mixed_graces(
        jobs in proptest::collection::vec((prop_oneof![Just(0_i64), Just(30), Just(120), Just(570)], 60..5000_i64), 1..8),
        falls_at in 630..900_i64,
        room in 0..8_i64,
    ) {
        let (later, since): (Vec<i64>, Vec<i64>) = jobs.iter().copied().unzip();
        let count = i64::try_from(later.len()).unwrap();
        let room = room.min(count);
        let told = played(site(&later, &since, falls_at, room), falls_at);
        let needed = usize::try_from(count - room).unwrap();
        prop_assert_eq!(told.len(), needed, "stopped: {:?}", told);
        for (id, at, gone) in &told {
            prop_assert!(*gone <= falls_at + TICK, "{} is gone at {}, the cap falls at {}", id, gone, falls_at);
            prop_assert!(falls_at - gone <= 2 * TICK, "{} was told at {}, gone by {}: sooner than it had to", id, at, gone);
        }
    }
}

#[test]
fn a_fall_that_nobody_knew_of_is_met_by_what_stops_quickly() {
    // the one that stops slowly has run for less, so that it would lose less
    let told = played(site(&[570, 0], &[60, 4000], 0, 1), 0);
    assert_eq!(told.iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(), ["w01"]);
}

/// Where accelerators can be throttled, what runs is throttled first, and stopped only where even the least does not fit.
#[test]
fn what_can_be_throttled_is_not_stopped() {
    let watts =
        |problem: &Problem| problem.workloads.iter().map(|workload| workload.choices[0].load.watts).sum::<Watts>();
    let fallen = |room: i64, least: Option<i64>| {
        let mut problem = site(&[0; 10], &[600; 10], 10, room);
        problem.pools[0].least = least.map(Watts);
        throttle(&mut problem, LEAD);
        let decided = cycle(&problem, &Heliotrope, LEAD);
        let stopped = decided.actions.iter().filter(|action| matches!(action, Action::Suspend { .. })).count();
        (watts(&problem).0, stopped)
    };
    assert_eq!(fallen(7, None), (10_000, 3), "nothing throttles it");
    assert_eq!(fallen(7, Some(300)), (7000, 0));
    assert_eq!(fallen(10, Some(300)), (10_000, 0), "nothing fell");
    // ten at 300 W each are 3,000: for 2,000 four are stopped
    assert_eq!(fallen(2, Some(300)), (3000, 4));
}
