//! What events make of caps, of what runs, and of their own statuses: no server, no clock.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "common/objects.rs"]
mod objects;

use heliotrope::api::{CurtailmentEvent, CurtailmentEventStatus, CurtailmentPhase, Mode, PowerDomainStatus, Verdict};
use heliotrope::controller::config::Config;
use heliotrope::controller::curtail;
use heliotrope::controller::events::of_curtailment;
use heliotrope::controller::observed::Watching;
use heliotrope::controller::snapshot::Snapshot;
use heliotrope::controller::status;
use heliotrope::controller::world::{World, world};
use heliotrope::core::admit::{Action, Cycle, cycle};
use heliotrope::core::plan::Heliotrope;
use heliotrope::units::{Moment, Seconds, Watts};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use objects::{DEVICE, NEW_YEAR, grant, job, of, pod, runs, snapshot};
use serde_json::{Value, json};

/// The grace of a stop: what must be under a cap by then is stopped now.
const LEAD: Seconds = Seconds(45);

fn hour(n: i64) -> Moment {
    NEW_YEAR + Seconds::HOUR.0.checked_mul(n).map(Seconds).unwrap()
}

/// An event on the site from `start` (at once if none) until `end`, in hours from the new year.
fn event(name: &str, start: Option<i64>, end: i64, target: Value) -> CurtailmentEvent {
    let start = start.map(|n| json!(hour(n).to_string()));
    let mut spec = json!({"domain": "site", "end": hour(end).to_string(), "target": target});
    if let Some(start) = start {
        spec["start"] = start;
    }
    of(json!({"metadata": {"name": name, "creationTimestamp": (NEW_YEAR - Seconds(20)).to_string()}, "spec": spec}))
}

fn cap(watts: i64) -> Value {
    json!({"capWatts": watts})
}

fn with(events: &[CurtailmentEvent]) -> Snapshot {
    Snapshot { events: events.to_vec(), ..snapshot() }
}

fn decided(snapshot: &Snapshot) -> (World, Cycle) {
    let world = world(snapshot, &Config::default(), None);
    let decided = cycle(&world.problem, &Heliotrope, LEAD);
    (world, decided)
}

/// The site's caps at these hours.
fn caps<const N: usize>(snapshot: &Snapshot, hours: [i64; N]) -> [i64; N] {
    let (world, _) = decided(snapshot);
    let site = world.site.tree.find("site").unwrap();
    hours.map(|n| world.site.tree.get(site).spec.cap.at(hour(n)).0)
}

/// What is said of a domain, and of its first event.
fn said(snapshot: &Snapshot, name: &str) -> (PowerDomainStatus, CurtailmentEventStatus) {
    let (world, cycle) = decided(snapshot);
    let domain = status::domain(snapshot.domain(name).unwrap(), &world, &cycle, None, snapshot.now);
    (domain, curtail::status(&snapshot.events[0], snapshot, &world, &cycle))
}

fn condition<'a>(conditions: &'a [Condition], kind: &str) -> (&'a str, &'a str, &'a str) {
    let found = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (&found.status, &found.reason, &found.message)
}

#[test]
fn the_lowest_of_cap_schedule_and_all_events_wins_while_they_last() {
    let mut snapshot = with(&[
        event("a", None, 4, cap(50_000)),
        event("b", Some(1), 3, cap(40_000)),
        event("above", None, 9, cap(90_000)),
        event("c", Some(2), 6, json!({"reducePercent": 25})),
    ]);
    // 60 kW; a until 4, b 1..3, c 45 kW 2..6
    assert_eq!(
        caps(&snapshot, [0, 1, 2, 3, 4, 5, 6, 8]),
        [50_000, 40_000, 40_000, 45_000, 45_000, 45_000, 60_000, 60_000]
    );
    // 2026-01-01 is a Thursday; a schedule beside them
    let window = json!({"days": ["Thursday"], "from": "05:00", "to": "07:00", "capWatts": 42_000});
    snapshot.domains[0].spec.cap_schedule = Some(of(json!({"timeZone": "UTC", "windows": [window]})));
    assert_eq!(caps(&snapshot, [0, 4, 5, 6, 7]), [50_000, 45_000, 42_000, 42_000, 60_000]);
    let reason = |snapshot: &Snapshot| said(snapshot, "site").0.effective_cap_reason.unwrap();
    assert_eq!(reason(&snapshot), "CurtailmentEvent a");
    for (now, why) in [(hour(2), "CurtailmentEvent b"), (hour(5), "spec.capSchedule"), (hour(8), "spec.capWatts")] {
        snapshot.now = now;
        assert_eq!(reason(&snapshot), why, "at {now}");
    }
}

#[test]
fn an_event_that_is_cancelled_over_or_ended_earlier_lowers_nothing() {
    let mut cancelled = event("a", None, 4, cap(50_000));
    cancelled.spec.cancelled = true;
    let mut earlier = event("b", Some(1), 3, cap(40_000));
    earlier.spec.end = of(json!(hour(2).to_string()));
    let snapshot = with(&[cancelled, earlier, event("c", Some(-3), 0, cap(30_000))]);
    assert_eq!(caps(&snapshot, [0, 1, 2, 3]), [60_000, 40_000, 60_000, 60_000]);
}

#[test]
fn what_begins_at_once_does_not_wait_for_a_clock() {
    // made by a server whose clock is ahead of ours
    let mut ahead = event("a", None, 4, cap(50_000));
    ahead.metadata.creation_timestamp = of(json!(hour(1).to_string()));
    let snapshot = with(&[ahead]);
    assert_eq!(caps(&snapshot, [0, 3, 4]), [50_000, 50_000, 60_000]);
    let (_, status) = said(&snapshot, "site");
    assert_eq!((status.phase, status.seconds_to_target), (Some(CurtailmentPhase::Active), Some(0)));
}

/// Two Jobs run, one in each row; the rows draw 5520 W before that and 13,280 W with both.
fn busy(events: &[CurtailmentEvent]) -> Snapshot {
    let mut snapshot = with(events);
    for (name, node) in [("one", "a-0"), ("two", "b-0")] {
        snapshot.jobs.push(job(name, runs));
        snapshot.pods.push(pod(Some(&format!("uid-{name}")), Some(node)));
    }
    grant(&mut snapshot, "uid-one", "a", 8 * DEVICE);
    snapshot
}

const IDLE: i64 = 2 * (1000 + 8 * 105);
const BUSY: i64 = 8 * DEVICE + 3000;

fn stopped(cycle: &Cycle) -> usize {
    cycle.actions.iter().filter(|action| matches!(action, Action::Suspend { .. })).count()
}

#[test]
fn what_runs_is_stopped_when_it_begins_and_not_before() {
    let target = IDLE + BUSY;
    let (_, now) = decided(&busy(&[event("a", None, 4, cap(target))]));
    assert_eq!(stopped(&now), 1);
    let later = event("a", Some(1), 4, cap(target));
    let (_, before) = decided(&busy(std::slice::from_ref(&later)));
    assert_eq!(stopped(&before), 0);
    let mut soon = busy(&[later]);
    soon.now = hour(1) - Seconds(30);
    let (_, in_time) = decided(&soon);
    assert_eq!(stopped(&in_time), 1, "within the grace of a stop");
    let (_, none) = decided(&busy(&[event("a", None, 4, cap(IDLE + 2 * BUSY))]));
    assert_eq!(stopped(&none), 0, "there is room for both");
}

#[test]
fn an_event_on_a_row_leaves_the_other_alone() {
    let mut row = event("a", None, 4, cap(1));
    row.spec.domain = "a".to_owned();
    let snapshot = busy(&[row]);
    let (world, cycle) = decided(&snapshot);
    let stopped: Vec<&str> = cycle
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Suspend { id, .. } => Some(&**id),
            Action::Start { .. } | Action::ChangePace { .. } | Action::AskForCheckpoint { .. } => None,
        })
        .collect();
    assert_eq!(stopped, ["uid-one"]);
    let site = status::domain(&snapshot.domains[0], &world, &cycle, None, snapshot.now);
    assert_eq!(site.effective_cap_reason.as_deref(), Some("spec.capWatts"));
}

#[test]
fn an_emergency_below_the_baseline_is_obeyed_as_far_as_can_be_and_never_refused() {
    let mut snapshot = busy(&[event("blackout", None, 2, cap(1))]);
    snapshot.domains[0].spec.baseline = Some(of(json!({"maxWatts": 5000})));
    let (world, cycle) = decided(&snapshot);
    assert_eq!(world.site.errors, [], "the tree stands");
    assert_eq!(stopped(&cycle), 2, "all that may be stopped is");
    assert!(!cycle.actions.iter().any(|action| matches!(action, Action::Start { .. })));
    let (domain, status) = said(&snapshot, "site");
    assert_eq!((domain.effective_cap_watts, status.target_watts), (Some(1), Some(1)));
    let idle = IDLE + 5000;
    let text = format!(
        "{idle} W are drawn with nothing running, and now until 2026-01-01T02:00:00Z the cap is 1 W by CurtailmentEvent \
         blackout: all that may be stopped is stopped, and {} W remain over it",
        idle - 1
    );
    assert_eq!(condition(&domain.conditions, "Feasible"), ("False", "IdleOverCap", &*text));
    assert_eq!(condition(&domain.conditions, "Accepted").0, "True");
    assert_eq!(condition(&status.conditions, "Accepted").0, "True");
    assert_eq!(condition(&status.conditions, "TargetMet").0, "False");
    // said before it comes, too
    let mut snapshot = busy(&[event("blackout", Some(3), 5, cap(IDLE - 1))]);
    let (domain, _) = said(&snapshot, "site");
    let (holds, _, text) = condition(&domain.conditions, "Feasible");
    assert_eq!(holds, "False");
    assert!(text.contains("from 2026-01-01T03:00:00Z on until 2026-01-01T05:00:00Z the cap is"), "{text}");
    snapshot.events[0].spec.target.cap_watts = Some(IDLE);
    assert_eq!(condition(&said(&snapshot, "site").0.conditions, "Feasible").0, "True");
}

#[test]
fn a_reduction_is_made_absolute_once() {
    let mut snapshot = with(&[event("a", None, 4, json!({"reducePercent": 30}))]);
    let (_, first) = said(&snapshot, "site");
    assert_eq!((first.target_watts, first.baseline_watts), (Some(42_000), Some(60_000)));
    // a cap that is changed meanwhile does not change what was ordered
    snapshot.events[0].status = Some(first.clone());
    snapshot.domains[0].spec.cap_watts = 50_000;
    assert_eq!(caps(&snapshot, [0, 4]), [42_000, 50_000]);
    assert_eq!(said(&snapshot, "site").1.target_watts, Some(42_000));
    // nor does a record without the figure that it was made of
    snapshot.events[0].status = Some(CurtailmentEventStatus { baseline_watts: None, ..first });
    assert_eq!(caps(&snapshot, [0]), [42_000]);

    // what is committed: as last said of the domain; until then nobody can act
    let mut snapshot = with(&[event("a", None, 4, json!({"reduceWatts": 5000}))]);
    snapshot.events[0].spec.baseline = Some(of(json!("Committed")));
    let (_, unknown) = said(&snapshot, "site");
    assert_eq!((unknown.phase, unknown.target_watts), (Some(CurtailmentPhase::Refused), None));
    assert_eq!(condition(&unknown.conditions, "Accepted").1, "NoBaseline");
    snapshot.domains[0].status = Some(of(json!({"committedWatts": 33_000})));
    snapshot.events[0].status = Some(unknown);
    let (_, known) = said(&snapshot, "site");
    assert_eq!((known.phase, known.target_watts), (Some(CurtailmentPhase::Active), Some(28_000)));
    assert_eq!(caps(&snapshot, [0]), [28_000]);
}

#[test]
fn an_event_on_a_domain_that_is_not_there_leaves_the_others_in_force() {
    let mut lost = event("lost", None, 4, cap(5));
    lost.spec.domain = "hall".to_owned();
    let snapshot = with(&[lost, event("a", None, 4, cap(50_000))]);
    assert_eq!(caps(&snapshot, [0]), [50_000]);
    let (_, status) = said(&snapshot, "site");
    assert_eq!(status.phase, Some(CurtailmentPhase::Refused));
    let text = "there is no PowerDomain hall: there are a, b, site";
    assert_eq!(condition(&status.conditions, "Accepted"), ("False", "UnknownDomain", text));
    let told = of_curtailment(&snapshot.events[0], &status).unwrap();
    assert_eq!((told.is_warning, &*told.reason, &*told.note), (true, "CurtailmentRefused", &*format!("lost: {text}")));
}

#[test]
fn an_event_that_can_not_be_parsed_is_obeyed_as_far_as_it_can_be_read() {
    // as a newer version may write it: a method that this one does not know
    let newer = |change: fn(&mut Value)| {
        let mut object = json!({"metadata": {"name": "newer"}, "spec": {"domain": "site", "baseline": "Draw",
            "start": hour(1).to_string(), "end": hour(3).to_string(), "target": {"reducePercent": 30}, "cancelled": false},
            "status": {"targetWatts": 42_000}});
        change(&mut object);
        assert!(serde_json::from_value::<CurtailmentEvent>(object.clone()).is_err());
        let unparsed = heliotrope::caps::order_of_unparsed(&object).into_iter().collect();
        caps(&Snapshot { unparsed, ..with(&[event("a", None, 2, cap(50_000))]) }, [0, 1, 2, 3, 4])
    };
    assert_eq!(newer(|_| {}), [50_000, 42_000, 42_000, 60_000, 60_000]);
    assert_eq!(
        newer(|object| object["spec"]["target"] = cap(41_000))[1],
        41_000,
        "the spec's figure before the status's"
    );
    // what is not known never adds watts
    assert_eq!(newer(|object| object["spec"]["end"] = json!("some day"))[4], 42_000);
    assert_eq!(newer(|object| object["spec"]["start"] = json!(7))[0], 42_000);
    assert_eq!(newer(|object| object["spec"]["cancelled"] = json!("yes"))[1], 42_000);
    assert_eq!(newer(|object| object["status"]["targetWatts"] = json!(0))[1], 1, "zero is not no cap");
    for nothing in [
        (|object| object["spec"]["cancelled"] = json!(true)) as fn(&mut Value),
        |object| object["status"] = json!({}),
        |object| object["spec"]["domain"] = json!(5),
    ] {
        assert_eq!(newer(nothing), [50_000, 50_000, 60_000, 60_000, 60_000]);
    }
}

#[test]
fn the_record_of_an_event_from_its_making_to_its_end() {
    let mut snapshot = busy(&[event("a", Some(1), 4, cap(IDLE + BUSY))]);
    let mut phases = Vec::new();
    let mut step = |snapshot: &mut Snapshot, at: Moment| -> CurtailmentEventStatus {
        snapshot.now = at;
        let (world, cycle) = decided(snapshot);
        let status = curtail::status(&snapshot.events[0], snapshot, &world, &cycle);
        phases.extend(of_curtailment(&snapshot.events[0], &status).map(|told| told.reason));
        snapshot.events[0].status = Some(status.clone());
        status
    };
    assert_eq!(step(&mut snapshot, NEW_YEAR).phase, Some(CurtailmentPhase::Scheduled));
    let begun = step(&mut snapshot, hour(1));
    let all = IDLE + 2 * BUSY;
    assert_eq!(
        (begun.committed_at_start_watts, begun.delivered_watts, begun.seconds_to_target),
        (Some(all), Some(0), None)
    );
    // one of the two is gone twelve seconds later
    let (jobs, pods) = (snapshot.jobs.clone(), snapshot.pods.clone());
    snapshot.jobs.pop();
    snapshot.pods.pop();
    let met = step(&mut snapshot, hour(1) + Seconds(12));
    assert_eq!(
        (met.committed_at_start_watts, met.delivered_watts, met.seconds_to_target),
        (Some(all), Some(BUSY), Some(12))
    );
    assert_eq!(condition(&met.conditions, "TargetMet").0, "True");
    assert_eq!((met.worst_overshoot_watts, met.verdict), (Some(0), None), "its correction time has not passed");
    (snapshot.jobs, snapshot.pods) = (jobs, pods);
    let ended = step(&mut snapshot, hour(4));
    assert_eq!((ended.phase, ended.delivered_watts), (Some(CurtailmentPhase::Ended), Some(BUSY)));
    assert_eq!(ended.verdict, Some(Verdict::Delivered));
    // whatever is done to it later, it has ended
    snapshot.events[0].spec.cancelled = true;
    assert_eq!(step(&mut snapshot, hour(5)).phase, Some(CurtailmentPhase::Ended));
    assert_eq!(phases, ["CurtailmentScheduled", "CurtailmentActive", "CurtailmentEnded"]);
    let mut called_off = with(&[event("a", None, 4, cap(50_000))]);
    called_off.events[0].spec.cancelled = true;
    assert_eq!(said(&called_off, "site").1.phase, Some(CurtailmentPhase::Cancelled));
}

#[test]
fn the_verdict_counts_from_the_correction_time_on() {
    let judged = |looks: &[(i64, bool)]| {
        let mut snapshot = busy(&[event("a", Some(1), 4, cap(IDLE + BUSY))]);
        let (jobs, pods) = (snapshot.jobs.clone(), snapshot.pods.clone());
        let mut last = CurtailmentEventStatus::default();
        for (second, met) in looks.iter().copied().chain([(3 * 3600, true)]) {
            let one = usize::from(met);
            snapshot.jobs = jobs[..jobs.len() - one].to_vec();
            snapshot.pods = pods[..pods.len() - one].to_vec();
            snapshot.now = hour(1) + Seconds(second);
            let (world, cycle) = decided(&snapshot);
            last = curtail::status(&snapshot.events[0], &snapshot, &world, &cycle);
            snapshot.events[0].status = Some(last.clone());
        }
        (last.verdict.unwrap(), last.worst_overshoot_watts.unwrap())
    };
    assert_eq!(judged(&[(0, false), (12, true), (31, true)]), (Verdict::Delivered, 0));
    assert_eq!(judged(&[(0, false), (12, true), (31, true), (60, false), (70, true)]), (Verdict::Exceeded, BUSY));
    assert_eq!(judged(&[(0, false), (31, false), (40, true)]), (Verdict::Exceeded, BUSY), "too late");
    assert_eq!(judged(&[(0, false), (31, false)]), (Verdict::Missed, BUSY));
}

#[test]
fn a_second_look_says_the_same() {
    let mut snapshot =
        busy(&[event("a", None, 4, cap(IDLE + BUSY)), event("b", Some(2), 3, json!({"reducePercent": 90}))]);
    for i in 0..2 {
        let (world, cycle) = decided(&snapshot);
        let first = curtail::status(&snapshot.events[i], &snapshot, &world, &cycle);
        snapshot.events[i].status = Some(first.clone());
        let (world, cycle) = decided(&snapshot);
        assert_eq!(curtail::status(&snapshot.events[i], &snapshot, &world, &cycle), first);
    }
    assert_eq!(Watts(caps(&snapshot, [0])[0]), Watts(IDLE + BUSY));
}

#[test]
fn what_observe_would_have_done_is_counted_once() {
    let mut snapshot = busy(&[event("a", None, 4, cap(IDLE + BUSY))]);
    snapshot.domains[0].spec.mode = Some(Mode::Observe);
    let mut watching = Watching::default();
    let mut seconds = |snapshot: &mut Snapshot, n: i64| {
        snapshot.now = snapshot.now + Seconds(n);
        let (world, decided) = decided(snapshot);
        watching.note(snapshot, &world, &decided);
        watching.of("site")
    };
    let first = seconds(&mut snapshot, 0).unwrap();
    assert_eq!((first.cap_suspensions, first.minutes_over_cap), (1, 0));
    assert!(first.peak_committed_watts > IDLE + BUSY);
    let mut later = first.clone();
    for _ in 0..13 {
        later = seconds(&mut snapshot, 5).unwrap();
    }
    assert_eq!((later.cap_suspensions, later.minutes_over_cap), (1, 1), "65 s, and the same suspension");
    let slept = seconds(&mut snapshot, 3600).unwrap();
    assert_eq!(slept.minutes_over_cap, 1, "nobody looked meanwhile");

    // what was counted before a controller began goes on, and stands when the root is enforced
    snapshot.domains[0].status =
        Some(PowerDomainStatus { observed: Some(slept.clone()), ..PowerDomainStatus::default() });
    snapshot.domains[0].spec.mode = Some(Mode::Enforce);
    let (world, decided) = decided(&snapshot);
    let mut anew = Watching::default();
    anew.note(&snapshot, &world, &decided);
    assert_eq!(anew.of("site"), Some(slept));
}
