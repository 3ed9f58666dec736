//! A cap that is known to fall is met at the moment of its fall, by work that takes from no time to ten minutes to stop; and
//! what stops quickly is not stopped long before.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::admit::{Action, Reason, cycle, throttle};
use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::{
    Asking, Constraints, Fixed, Heliotrope, Load, Pool, PoolChoice, PoolId, Problem, Running, Supply, Suspension,
    Workload,
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
        choices: vec![PoolChoice::full(PoolId(0), load)],
        running: Some(Running::new(PoolId(0), Moment(-since))),
        suspension: Suspension::ForCapOnly,
        stops_later_by: Seconds(*later),
        ahead: 0,
        start_by: None,
        finish_by: None,
        uncertain: None,
    };
    Problem {
        now: Moment(0),
        seed: 1,
        slot: Seconds(900),
        horizon: Seconds::DAY,
        tree,
        pools: vec![pool],
        supplies: vec![Supply::at(Steps::constant(1))],
        delay_cost_per_hour: 0,
        workloads: later.iter().zip(since).enumerate().map(workload).collect(),
        fixed: Vec::new(),
        constraints: Constraints::default(),
        thorough: true,
        previous: None,
    }
}

/// Who was told to stop, when, and when it is gone.
type Told = (String, i64, i64);

/// Who was asked for a checkpoint, and when.
type Asked = (String, i64);

/// What one that is asked for a checkpoint does: writes one after so long, or never.
type Answers = Option<i64>;

/// Plays it tick by tick: when each was told to stop. What stops draws for as long as it may, and starts no more.
fn played(problem: Problem, until: i64) -> Vec<Told> {
    played_with(problem, until, None).0
}

/// The same, and when each was asked for a checkpoint first.
fn played_with(mut problem: Problem, until: i64, answers: Answers) -> (Vec<Told>, Vec<Asked>) {
    let (mut told, mut asked): (Vec<Told>, Vec<Asked>) = (Vec::new(), Vec::new());
    // as fine as the ticks, so that a plan uses all the time that there is until the fall
    problem.slot = Seconds(TICK);
    while problem.now.0 <= until {
        let now = problem.now;
        let decided = cycle(&problem, &Heliotrope, LEAD);
        problem.previous = Some(decided.plan.clone());
        let verdict = |id: &str| decided.verdicts.iter().find(|verdict| *verdict.id == *id).unwrap();
        for action in &decided.actions {
            let at = |id: &str| problem.workloads.iter().position(|workload| *workload.id == *id).unwrap();
            match action {
                Action::AskForCheckpoint { id } => {
                    let at = at(id);
                    let running = problem.workloads[at].running.as_mut().unwrap();
                    let Asking::Within(within) = running.asking else { panic!("{id} is asked twice") };
                    running.asking = Asking::Asked { until: now + within, within };
                    asked.push((id.to_string(), now.0));
                    assert!(matches!(verdict(id).reason, Reason::CheckpointAsked { .. }), "{:?}", verdict(id));
                }
                Action::Suspend { id, .. } => {
                    let workload = problem.workloads.remove(at(id));
                    let gone = now + LEAD + workload.stops_later_by;
                    problem.fixed.push(Fixed { pool: PoolId(0), load: workload.choices[0].load, until: gone });
                    told.push((id.to_string(), now.0, gone.0));
                }
                Action::Start { .. } | Action::ChangePace { .. } => {}
            }
        }
        problem.now = now + Seconds(TICK);
        problem.fixed.retain(|fixed| fixed.until > problem.now);
        for workload in &mut problem.workloads {
            let running = workload.running.as_mut().unwrap();
            let answered = asked.iter().find(|(id, _)| **id == *workload.id).zip(answers);
            let answered = answered.map(|((_, at), after)| Moment(at + after)).filter(|at| *at <= problem.now);
            if let (Some(at), Asking::Asked { within, .. }) = (answered, running.asking) {
                (running.kept, running.asking) = (at, Asking::Asked { until: at, within });
            }
        }
    }
    (told, asked)
}

/// Those that can be asked for a checkpoint, which takes 120 s at most.
fn that_can_be_asked(mut problem: Problem, which: &[usize]) -> Problem {
    for i in which {
        let workload = &mut problem.workloads[*i];
        workload.suspension = Suspension::ForSupply { cost: Seconds(30) };
        workload.running.as_mut().unwrap().asking = Asking::Within(Seconds(120));
    }
    problem
}

#[test]
fn who_has_time_for_a_checkpoint_is_asked_first_and_stopped_when_it_is_written() {
    // two of three must be gone at 600, so they are told to stop at 560, in the tick in which that is 45 s away; two can be asked
    let site = || that_can_be_asked(site(&[0; 3], &[4000, 4000, 4000], 600, 1), &[1, 2]);
    let stops = |answers| {
        let (told, asked) = played_with(site(), 600, answers);
        assert_eq!(asked, [("w01".to_owned(), 440), ("w02".to_owned(), 440)], "120 s before");
        told.into_iter().map(|(id, at, _)| (id, at)).collect::<Vec<_>>()
    };
    let both = |at: i64| vec![("w01".to_owned(), at), ("w02".to_owned(), at)];
    assert_eq!(stops(Some(30)), both(470));
    assert_eq!(stops(Some(119)), both(560));
    assert_eq!(stops(None), both(560), "it is not waited for longer than its time");
}

#[test]
fn a_cap_that_falls_at_once_waits_for_no_checkpoint() {
    let (told, asked) = played_with(that_can_be_asked(site(&[0; 2], &[4000; 2], 0, 1), &[0, 1]), 0, Some(30));
    assert_eq!((told.len(), asked.len()), (1, 0));
}

#[test]
fn nobody_is_asked_where_throttling_will_do() {
    let mut problem = that_can_be_asked(site(&[0; 10], &[600; 10], 150, 7), &(0..10).collect::<Vec<_>>());
    assert_eq!(played_with(problem.clone(), 0, None).1.len(), 3);
    problem.pools[0].least = Some(Watts(300));
    assert_eq!(played_with(problem, 0, None), (Vec::new(), Vec::new()));
}

#[test]
fn the_least_watt_seconds_are_lost() {
    // all have run for 4000 s; what they did since their last checkpoint differs, and one writes one when it is told to end
    let mut problem = that_can_be_asked(site(&[0; 4], &[4000; 4], 0, 1), &[0, 1, 2, 3]);
    for (workload, since) in problem.workloads.iter_mut().zip([500, 20, 900, 3000]) {
        let running = workload.running.as_mut().unwrap();
        (running.kept, running.asking) = (Moment(-since), Asking::No);
    }
    problem.workloads[3].running.as_mut().unwrap().asking = Asking::AtTheEnd;
    let stopped = |problem: &Problem| {
        let mut ids: Vec<String> = played(problem.clone(), 0).into_iter().map(|(id, ..)| id).collect();
        ids.sort();
        ids
    };
    assert_eq!(stopped(&problem), ["w00", "w01", "w03"]);
    // half the watts are half of what is lost, and enough with the two that lose least
    problem.workloads[2].choices[0].load.watts = Watts(500);
    assert_eq!(stopped(&problem), ["w01", "w02", "w03"]);
    problem.workloads[0].priority = 5;
    problem.workloads[2].choices[0].load.watts = EACH;
    assert_eq!(stopped(&problem), ["w01", "w02", "w03"], "the lowest priority first");
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
