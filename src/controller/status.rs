//! What people see: statuses as values. Written only where they differ from what is there.

use super::leased::DomainLeases;
use super::plans::digest;
use super::signals::{Reading, value};
use super::site::{self, Site};
use super::world::{Item, State, World, load_of};
use crate::api::conditions::{
    self, ACCEPTED, ADMITTED, AGENTS_REPORTING, COLD_START_SAFE, FEASIBLE, FINISHED, FRESH, IN_TIME, LEASED, WITHIN_CAP,
};
use crate::api::{
    ForecastError, GridSignal, GridSignalStatus, LLMWorkload, LLMWorkloadStatus, Phase, PowerDomain, PowerDomainStatus,
    RefusedValues, SignalForecast, What,
};
use crate::caps::Order;
use crate::core::admit::{Cycle, Reason, Verdict};
use crate::core::forecast::Method;
use crate::core::plan::{Outlook, PoolId};
use crate::core::signal::{Hour, PastError, Standing};
use crate::units::{Moment, Seconds, Watts};
use crate::workloads::job::{self, End};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) fn time(moment: Moment) -> Option<Time> {
    jiff::Timestamp::from_second(moment.0).ok().map(Time)
}

/// To the minute: an estimate that creeps must not be written each second.
fn to_minute(moment: Moment) -> Moment {
    moment.floor(Seconds::MINUTE)
}

/// The status of a workload.
#[must_use]
pub fn workload(world: &World, item: &Item, verdict: Option<&Verdict>, now: Moment) -> LLMWorkloadStatus {
    let object = item.workload.as_ref();
    let generation = object.and_then(|workload| workload.metadata.generation);
    let old = object.and_then(|workload| workload.status.clone()).unwrap_or_default();
    let pool = verdict.and_then(|verdict| verdict.pool).map(|pool| pool.0).or(item.pool);
    let enforced = pool.map_or(!world.site.enforced.is_empty(), |pool| world.site.is_enforced(pool));
    let (phase, reason, message) = told(&world.site, item, verdict, enforced, old.phase);
    let waits = matches!(phase, Phase::Pending);
    let start = verdict.and_then(|verdict| verdict.start).filter(|_| waits).map(to_minute);
    let (_, started) = job::times(&item.job);
    let accelerators = job::pods(&item.job).saturating_mul(job::gpus_per_pod(&item.job));
    let granted = item.grant.as_ref().map(load_of).zip(item.pool);
    let granted = granted.map(|(load, pool)| world.problem.seen_in_domain(PoolId(pool), load));
    let held = item.grant.as_ref().and_then(|grant| grant.slowed.as_ref()?.limit_watts);
    let mut status = LLMWorkloadStatus {
        observed_generation: generation,
        phase: Some(phase),
        reason: Some(reason.clone()),
        message: Some(conditions::shortened(&message)),
        domain: pool.map(|pool| world.site.tree.get(world.site.pools[pool].domain).spec.name.clone()),
        accelerators: i32::try_from(accelerators).ok(),
        watts_needed: verdict.map(|verdict| verdict.watts.0).or(old.watts_needed),
        watts_granted: Some(granted.map_or(0, |watts| watts.0)),
        limit_watts: held.filter(|_| item.state == State::Running),
        planned_start: start.and_then(time),
        planned_finish: verdict.and_then(|verdict| verdict.finish).filter(|_| waits).map(to_minute).and_then(time),
        waiting_until: Some(start.map_or("-".to_owned(), clock)),
        started_at: started.and_then(time).or(old.started_at),
        finished_at: match item.state {
            State::Ended(_) => old.finished_at.or_else(|| time(now)),
            _ => None,
        },
        conditions: old.conditions,
    };
    let set = &mut status.conditions;
    conditions::set(set, ACCEPTED, true, "Accepted", "it can be served as it is written", generation, now);
    conditions::set(set, ADMITTED, item.grant.is_some(), &reason, &message, generation, now);
    let finished = matches!(item.state, State::Ended(_));
    let outlook = verdict.and_then(|verdict| verdict.outlook.zip(world.problem.workload(&verdict.id)?.deadline()));
    match outlook {
        Some((outlook, deadline)) => {
            let (is_kept, reason, text) = in_time(outlook, deadline);
            conditions::set(set, IN_TIME, is_kept, reason, &text, generation, now);
        }
        // what was said last of one that has ended stays
        None => set.retain(|condition| finished || condition.type_ != IN_TIME),
    }
    conditions::set(
        set,
        FINISHED,
        finished,
        &reason,
        if finished { "its Job has ended" } else { "its Job has not ended" },
        generation,
        now,
    );
    status
}

/// How it stands with a deadline as planned: is it kept, the reason's name, and in words.
pub(super) fn in_time(outlook: Outlook, deadline: Moment) -> (bool, &'static str, String) {
    let by = clock(to_minute(deadline));
    let minutes = |late: Seconds| Seconds((late.0 + 59).div_euclid(60) * 60);
    match outlook {
        Outlook::OnTime => (true, "InTime", format!("planned to be done by {by}, as asked")),
        Outlook::AtRisk(late) => {
            let late = minutes(late);
            (
                true,
                "AtRisk",
                format!("planned to be done by {by}, as asked, but {late} late if it takes as long as it may"),
            )
        }
        Outlook::Late(late) => {
            (false, "Late", format!("planned to be {} late: it was to be done by {by}", minutes(late)))
        }
    }
}

/// `14:30Z`, or with its date where that is not soon.
pub(super) fn clock(moment: Moment) -> String {
    let text = moment.to_string();
    match (text.get(5..10), text.get(11..16)) {
        (Some(day), Some(clock)) => format!("{day} {clock}Z"),
        _ => text,
    }
}

/// Phase, reason and message.
fn told(
    site: &Site,
    item: &Item,
    verdict: Option<&Verdict>,
    enforced: bool,
    before: Option<Phase>,
) -> (Phase, String, String) {
    let plain = |phase, reason: &str, text: &str| (phase, reason.to_owned(), text.to_owned());
    let would = if enforced { "" } else { "Observe, nothing is done: " };
    match (item.state, verdict.map(|verdict| &verdict.reason)) {
        (State::Ended(End::Succeeded), _) => plain(Phase::Succeeded, "Succeeded", "it finished"),
        (State::Ended(End::Failed), _) => plain(Phase::Failed, "Failed", "its Job failed: see the Job's conditions"),
        (State::Stopping, _) => plain(
            Phase::Suspending,
            "Suspending",
            "its pods are being stopped; its watts stay granted until they are gone",
        ),
        (State::Unadmitted, _) if enforced => {
            plain(Phase::Pending, "NotAdmitted", "it was started without asking; it is held first")
        }
        (State::Unadmitted, _) => plain(Phase::Running, "Running", "Observe, nothing is done: it runs"),
        // a stop that is complete looks like a start that is under way: what it did before tells them apart
        (State::InDoubt, _) if matches!(before, Some(Phase::Suspending | Phase::Running)) => {
            plain(Phase::Suspending, "Suspending", "its pods are gone; its watts are being given back")
        }
        (State::InDoubt, _) => plain(Phase::Starting, "Starting", "its watts are granted"),
        (State::Running, Some(reason)) if !matches!(reason, Reason::Running) => {
            let goes_on = !enforced || matches!(reason, Reason::CheckpointAsked { .. });
            let phase = if goes_on { Phase::Running } else { Phase::Suspending };
            (phase, reason.name().to_owned(), format!("{would}{reason}"))
        }
        (State::Running, _) => match verdict.and_then(|verdict| slowed(item, verdict)) {
            Some(slowed) => plain(Phase::Running, "Running", &slowed),
            None => plain(Phase::Running, "Running", "it runs"),
        },
        (State::Waiting, Some(reason)) => {
            if let (Reason::NoSuchAccelerator, Some(why)) = (reason, nodes_shut(site, &item.job)) {
                return (Phase::Pending, "NodesShut".to_owned(), format!("{would}{why}"));
            }
            let phase = match reason {
                Reason::Starting if enforced => Phase::Starting,
                Reason::FitsNowhere { .. } | Reason::NoSuchAccelerator => Phase::Refused,
                _ => Phase::Pending,
            };
            let until = verdict.and_then(|verdict| verdict.start).filter(|_| phase == Phase::Pending);
            let until = until.map(|at| format!("; planned for {}", clock(to_minute(at)))).unwrap_or_default();
            (phase, reason.name().to_owned(), format!("{would}{reason}{until}"))
        }
        (State::Waiting, None) => plain(Phase::Pending, "Pending", "it has not been planned yet"),
    }
}

/// What is said of one that runs and is held below full by the plan: `slowed to 300 W a GPU until 14:00Z`.
pub(super) fn slowed(item: &Item, verdict: &Verdict) -> Option<String> {
    let slow = verdict.slowed?;
    let limit = Watts(item.grant.as_ref()?.slowed.as_ref()?.limit_watts?);
    let why = match slow.saves_permille {
        0 => "so that all fit under the caps".to_owned(),
        saves => format!("saves {}.{} % of what full would cost from now on", saves / 10, saves % 10),
    };
    let (pace, until) = (slow.pace.per_million() / 10_000, clock(to_minute(slow.until)));
    Some(format!("slowed to {limit} a GPU until {until}: {why}; it does {pace} % of its full speed"))
}

/// No pool can take it now, and one could if all its nodes were open: those that are not, with why.
fn nodes_shut(site: &Site, job: &Job) -> Option<String> {
    let (own, pods, each) = (job::own_selector(job), job::pods(job), job::gpus_per_pod(job).max(1));
    let mine = |pool: usize| {
        site.nodes.iter().filter(move |node| node.pool == pool).filter(|node| site::matches(&own, &node.labels))
    };
    let pool = (0..site.pools.len()).find(|pool| mine(*pool).map(|node| node.gpus / each).sum::<u32>() >= pods)?;
    let shut: Vec<String> = mine(pool)
        .filter(|node| node.gpus >= each)
        .filter_map(|node| Some(format!("{}: {}", node.name, node.shut?)))
        .collect();
    let more = shut.len().saturating_sub(3);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let named = shut.get(..3).unwrap_or(&shut).join(", ");
    (!shut.is_empty()).then(|| format!("too few of the nodes that it may use take anything new ({named}{more})"))
}

/// The status of a workload that can't be served: nothing of what was planned for it stands. One that has ended stays as
/// it ended: its Job may be cleaned up.
#[must_use]
pub fn refused(workload: &LLMWorkload, why: &str, now: Moment) -> LLMWorkloadStatus {
    let generation = workload.metadata.generation;
    let old = workload.status.clone().unwrap_or_default();
    if matches!(old.phase, Some(Phase::Succeeded | Phase::Failed)) {
        return old;
    }
    let mut status = LLMWorkloadStatus {
        observed_generation: generation,
        phase: Some(Phase::Refused),
        reason: Some("Refused".to_owned()),
        message: Some(conditions::shortened(why)),
        watts_granted: Some(0),
        waiting_until: Some("-".to_owned()),
        started_at: old.started_at,
        conditions: old.conditions,
        ..LLMWorkloadStatus::default()
    };
    conditions::set(&mut status.conditions, ACCEPTED, false, "Refused", why, generation, now);
    conditions::set(&mut status.conditions, ADMITTED, false, "Refused", why, generation, now);
    status
}

/// The status of a domain. Its ledger is not part of it: that is written by swaps alone.
#[must_use]
pub fn domain(
    domain: &PowerDomain,
    world: &World,
    cycle: &Cycle,
    leases: Option<&DomainLeases>,
    now: Moment,
) -> PowerDomainStatus {
    let name = domain.metadata.name.as_deref().unwrap_or_default();
    let generation = domain.metadata.generation;
    let old = domain.status.clone().unwrap_or_default();
    let mut status =
        PowerDomainStatus { observed_generation: generation, conditions: old.conditions, ..Default::default() };
    let faults: Vec<&str> = about(&world.site.errors, name);
    let notes = about(&world.site.notes, name);
    let set = &mut status.conditions;
    let Some(id) = world.site.tree.find(name) else {
        let why = if faults.is_empty() { "it is not part of the tree".to_owned() } else { faults.join("; ") };
        conditions::set(set, ACCEPTED, false, "Refused", &why, generation, now);
        return status;
    };
    let said: Vec<&str> = faults.iter().chain(&notes).copied().collect();
    let (reason, text) = match (faults.is_empty(), notes.is_empty()) {
        (true, true) => ("Accepted", "it is part of the tree".to_owned()),
        (true, false) => ("AcceptedWithNotes", said.join("; ")),
        (false, _) => ("NodeClaimedTwice", said.join("; ")),
    };
    conditions::set(set, ACCEPTED, faults.is_empty(), reason, &text, generation, now);
    let Some(figures) = cycle.domains.iter().find(|figures| figures.domain == id) else { return status };
    let (cap, committed) = (figures.cap, figures.committed);
    let within = committed <= cap;
    let text = format!("{committed} committed, cap {cap}");
    if let Some(leases) = leases {
        of_leases(&mut status, leases, cap, generation, now);
    }
    let set = &mut status.conditions;
    let (reason, text) = match leases.and_then(|leases| leases.over) {
        None => (if within { "UnderCap" } else { "CapPassed" }, text),
        Some((over, action)) => (
            "CorrectionTimePassed",
            format!("{text}; by its nodes' word {over} over it for longer than its correction time: {action:?}"),
        ),
    };
    let within = within && reason == "UnderCap";
    conditions::set(set, WITHIN_CAP, within, reason, &text, generation, now);
    let steps = &world.site.tree.get(id).spec.cap;
    status.effective_cap_watts = Some(cap.0);
    status.effective_cap_until = steps.next_change(now).and_then(time);
    status.effective_cap_reason = Some(lowered_by(domain, &world.site, cap, now));
    let low = steps.pieces(now, now + world.problem.horizon).find(|(_, _, cap)| *cap < figures.idle);
    let (reason, text) = feasible(domain, &world.site, figures.idle, low, now);
    let (reason, text, is_feasible) = match leases.and_then(|leases| leases.infeasible.clone()) {
        Some(why) if low.is_none() => ("LeasesCanNotHold", why, false),
        _ => (reason, text, low.is_none()),
    };
    conditions::set(&mut status.conditions, FEASIBLE, is_feasible, reason, &text, generation, now);
    status.committed_watts = Some(committed.0);
    status.headroom_watts = Some((cap - committed).0);
    let below = |pool: usize| world.site.tree.chain(world.site.pools[pool].domain).any(|above| above == id);
    let running = |item: &&Item| item.state == State::Running && item.pool.is_some_and(below);
    status.running_workloads = i32::try_from(world.items.iter().filter(running).count()).ok();
    status.waiting_workloads = i32::try_from(
        cycle
            .verdicts
            .iter()
            .filter(|verdict| !matches!(verdict.reason, Reason::Running | Reason::Starting))
            .filter(|verdict| verdict.pool.is_some_and(|pool| below(pool.0)))
            .count(),
    )
    .ok();
    if domain.spec.parent.is_none() {
        status.plan_generation = i64::try_from(cycle.plan.generation).ok();
        status.plan_digest = Some(digest(&cycle.plan));
    }
    status
}

/// What is leased in a domain.
fn of_leases(status: &mut PowerDomainStatus, leases: &DomainLeases, cap: Watts, generation: Option<i64>, now: Moment) {
    // in fiftieths of the cap, rounded up: it must not be written each second
    let grain = (cap.0 / 50).max(1);
    status.drawn_watts = Some(leases.drawn.0.saturating_add(grain - 1) / grain * grain);
    status.reaction_p99_millis = leases.reaction_p99.and_then(|p99| i64::try_from(p99.0).ok());
    status.watt_seconds_over = Some(leases.watt_seconds_over);
    let silent = leases.silent.len();
    let all = format!("{} of {} nodes report", leases.nodes - silent, leases.nodes);
    let (reason, text) = match leases.silent.as_slice() {
        [] => ("AllReport", all),
        names => (
            "Silent",
            format!(
                "{all}; what the others may draw stays reserved until they are heard, or fenced: {}",
                names.join(", ")
            ),
        ),
    };
    let set = &mut status.conditions;
    conditions::set(set, AGENTS_REPORTING, silent == 0, reason, &text, generation, now);
    let (reason, text) = match leases.waits.as_slice() {
        [] => ("AllLeased", "every child is leased what it is to have".to_owned()),
        waits => ("Waits", waits.join("; ")),
    };
    conditions::set(set, LEASED, leases.waits.is_empty(), reason, &text, generation, now);
    let (reason, text) = match &leases.cold_start {
        None => ("AllFit", "all nodes can come back at once under the cap, or are guarded".to_owned()),
        Some(why) => ("OutageOverCap", why.clone()),
    };
    conditions::set(set, COLD_START_SAFE, leases.cold_start.is_none(), reason, &text, generation, now);
}

/// What makes a domain's cap what it is at a moment.
fn lowered_by(domain: &PowerDomain, site: &Site, cap: Watts, at: Moment) -> String {
    let in_force = |order: &&Order| order.from <= at && at < order.until && order.cap == cap;
    let mut orders = site.orders.iter().filter(|order| Some(&order.domain) == domain.metadata.name.as_ref());
    match orders.find(in_force) {
        _ if cap == Watts(domain.spec.cap_watts) => "spec.capWatts".to_owned(),
        Some(order) => format!("CurtailmentEvent {}", order.event),
        None => "spec.capSchedule".to_owned(),
    }
}

/// Can the caps that are known be kept with everything stopped? `low` is the first that can't.
fn feasible(
    domain: &PowerDomain,
    site: &Site,
    idle: Watts,
    low: Option<(Moment, Moment, Watts)>,
    now: Moment,
) -> (&'static str, String) {
    let Some((from, until, cap)) = low else {
        return ("IdleUnderCaps", format!("{idle} are drawn with nothing running"));
    };
    let why = lowered_by(domain, site, cap, from);
    let from = if from <= now { "now".to_owned() } else { format!("from {from} on") };
    let until = if until < Moment::FAR_FUTURE { format!(" until {until}") } else { String::new() };
    let over = idle - cap;
    let text = format!(
        "{idle} are drawn with nothing running, and {from}{until} the cap is {cap} by {why}: all that may be stopped is stopped, and {over} remain over it"
    );
    ("IdleOverCap", text)
}

fn about<'a>(all: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    all.iter().filter(|(domain, _)| domain == name).map(|(_, text)| text.as_str()).collect()
}

/// The hours ahead, and how far off earlier ones were; none where nothing is known.
fn forecast(what: What, standing: &Standing, now: Moment) -> Option<SignalForecast> {
    let (unit, one) = match what {
        What::CarbonIntensity => ("g/kWh", 1000),
        What::Price => ("thousandths per MWh", 1000),
        What::Generation => ("W", 1),
    };
    let all = |of: fn(&Hour) -> i64| standing.ahead.iter().map(|hour| of(hour) / one).collect();
    let error = |error: &PastError| ForecastError {
        hours_ahead: i32::try_from(error.hours_ahead).unwrap_or(i32::MAX),
        by: error.by.map_or("Provider", Method::name).to_owned(),
        mean: error.mean / one,
        count: i32::try_from(error.count).unwrap_or(i32::MAX),
    };
    (!standing.ahead.is_empty()).then(|| SignalForecast {
        from: time(now.floor(Seconds::HOUR)),
        unit: unit.to_owned(),
        planned: all(|hour| hour.planned),
        low: all(|hour| hour.low),
        high: all(|hour| hour.high),
        errors: standing.errors.iter().map(error).collect(),
    })
}

/// The status of a signal.
#[must_use]
pub fn signal(signal: &GridSignal, reading: &Reading, now: Moment) -> GridSignalStatus {
    let generation = signal.metadata.generation;
    let old = signal.status.clone().unwrap_or_default();
    let known = reading.in_force.as_ref();
    let is_fresh = reading.is_fresh();
    let standing = &reading.standing;
    let steps = standing.steps.as_ref();
    let until = known.map(|known| known.series.until).filter(|until| *until > now);
    let next = steps.and_then(|steps| steps.next_change(now)).into_iter().chain(until).min();
    let refused = reading.refused.iter().map(|(reason, count, first)| RefusedValues {
        reason: reason.name().to_owned(),
        count: i32::try_from(count).unwrap_or(i32::MAX),
        first: first.chars().take(256).collect(),
    });
    let mut status = GridSignalStatus {
        observed_generation: generation,
        current_value: steps.map(|steps| value(signal.spec.what, steps.at(now))),
        current_until: next.and_then(time),
        source: Some(known.map_or("none".to_owned(), |known| known.source.clone())),
        estimated: known.map(|known| known.series.estimated > 0),
        known_until: known.and_then(|known| time(known.series.until)),
        points: known.and_then(|known| i32::try_from(known.series.rows).ok()),
        rung: Some(standing.rung.name().to_owned()),
        rung_reason: Some(standing.why.chars().take(512).collect()),
        heard_at: standing.heard.and_then(time),
        licence: known.and_then(|known| known.licence.map(str::to_owned)),
        refused: refused.collect(),
        forecast: forecast(signal.spec.what, standing, now),
        conditions: old.conditions,
    };
    let errors = reading.errors.join("; ");
    let text = match (is_fresh, errors.is_empty(), known) {
        (true, true, _) => "its value now is known".to_owned(),
        (true, false, _) => format!("its value now is known; {errors}"),
        (false, false, _) => errors,
        (false, true, Some(known)) => {
            format!("it is known from {} until {}; work goes on without it", known.series.from, known.series.until)
        }
        (false, true, None) => "nothing is known of it; work goes on without it".to_owned(),
    };
    let set = &mut status.conditions;
    conditions::set(set, ACCEPTED, true, "Accepted", "it can be read as it is written", generation, now);
    let reason = if is_fresh { "Fresh" } else { "Stale" };
    conditions::set(&mut status.conditions, FRESH, is_fresh, reason, &text, generation, now);
    status
}
