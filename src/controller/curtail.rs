//! What became of what events order. Events in, values out.

use super::leased::DomainLeases;
use super::orders::resolved;
use super::snapshot::Snapshot;
use super::world::World;
use crate::api::conditions::{self, ACCEPTED, TARGET_MET};
use crate::api::{CurtailmentEvent, CurtailmentEventStatus, CurtailmentLimits, CurtailmentPhase, PowerDomain, Verdict};
use crate::caps::correction_time;
use crate::core::admit::Cycle;
use crate::core::divide::{Metered, Why};
use crate::units::{Moment, Seconds, Watts};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How long anybody may count with more than the target after it was looked at: with a controller that is dead, limits are under
/// the target itself when this is over.
const LIMITS_LIVE: Seconds = Seconds(120);

/// What limits may sum to under an event in force that counts with what is drawn, and why; none where nothing is leased.
#[must_use]
pub fn limits(
    event: &CurtailmentEvent,
    leases: Option<&DomainLeases>,
    now: Moment,
) -> Option<(CurtailmentLimits, Why)> {
    let (leases, target) = (leases.filter(|_| event.is_metered() && event.is_in_force(now))?, event.cap()?);
    let moment = |time: &Time| Moment(time.0.as_second());
    let before = event.limits_in_force(now);
    let allowed = before.map_or(target, |limits| Watts(limits.watts));
    let waited = now - before.map_or(event.begins(), |limits| moment(&limits.since));
    let drawn = leases.is_metered.then_some(leases.drawn);
    let DomainLeases { loose, rising, wants_more, .. } = *leases;
    let (next, why) = Metered { target, allowed, waited, wants_more, drawn, loose, rising }.next();
    let time = |moment: Moment| jiff::Timestamp::from_second(moment.0).ok().map(Time);
    match before.filter(|_| next == allowed) {
        // written anew at half of its life
        Some(limits) if moment(&limits.until) - now > Seconds(LIMITS_LIVE.0 / 2) => Some((limits.clone(), why)),
        same => {
            let since = same.map_or(time(now)?, |limits| limits.since.clone());
            Some((CurtailmentLimits { watts: next.0.max(1), since, until: time(now + LIMITS_LIVE)? }, why))
        }
    }
}

/// The status of an event. One that is over keeps what was last said of it.
#[must_use]
pub fn status(event: &CurtailmentEvent, snapshot: &Snapshot, world: &World, cycle: &Cycle) -> CurtailmentEventStatus {
    let now = snapshot.now;
    let generation = event.metadata.generation;
    let old = event.status.clone().unwrap_or_default();
    let mut status = CurtailmentEventStatus { observed_generation: generation, ..old };
    if event.is_over(now) {
        status.phase = Some(match old.phase {
            Some(CurtailmentPhase::Ended) => CurtailmentPhase::Ended,
            _ if event.spec.cancelled => CurtailmentPhase::Cancelled,
            _ => CurtailmentPhase::Ended,
        });
        status.verdict = verdict(&status);
        return status;
    }
    let domain = snapshot.domain(&event.spec.domain);
    let order = domain.and_then(|domain| resolved(event, domain));
    if let Some((cap, baseline)) = order {
        status.target_watts = Some(cap.0);
        status.baseline_watts = Some(baseline.0);
    }
    let (accepted, reason, text) = judged(event, domain, order.map(|(cap, _)| cap), snapshot, world);
    conditions::set(&mut status.conditions, ACCEPTED, accepted, reason, &text, generation, now);
    status.phase = Some(match accepted {
        false => CurtailmentPhase::Refused,
        true if now < event.from() => CurtailmentPhase::Scheduled,
        true => CurtailmentPhase::Active,
    });
    let id = world.site.tree.find(&event.spec.domain);
    let figures = cycle.domains.iter().find(|figures| Some(figures.domain) == id);
    let leases = snapshot.leases.as_ref().and_then(|leases| leases.domains.get(&event.spec.domain));
    let held = limits(event, leases, now);
    status.limits = held.as_ref().map(|(limits, _)| limits.clone());
    if let (Some(CurtailmentPhase::Active), Some((cap, _)), Some(figures)) = (status.phase, order, figures) {
        let metered = leases.filter(|leases| held.is_some() && leases.is_metered).map(|leases| leases.drawn);
        let (committed, idle) = (metered.unwrap_or(figures.committed), figures.idle);
        let started = *status.committed_at_start_watts.get_or_insert(committed.0);
        status.delivered_watts = Some(started - committed.0);
        let met = committed <= cap;
        if met {
            status.seconds_to_target.get_or_insert((now - event.begins()).0.max(0));
        }
        let corrected = domain.map(|domain| event.begins() + correction_time(&domain.spec));
        let over = if corrected.is_some_and(|by| now > by) { (committed - cap).max(Watts::ZERO) } else { Watts::ZERO };
        status.worst_overshoot_watts = Some(status.worst_overshoot_watts.unwrap_or(0).max(over.0));
        let reason = if met { "UnderTarget" } else { "AboveTarget" };
        let mut text = format!("{committed} committed, {idle} of them with nothing running, target {cap}");
        if let Some((limits, why)) = held {
            let drawn = if metered.is_some() { "drawn by the agents' word" } else { "committed" };
            let may = Watts(limits.watts);
            text = format!("{committed} {drawn}, limits may sum to {may}: {why}; target {cap}");
        }
        conditions::set(&mut status.conditions, TARGET_MET, met, reason, &text, generation, now);
    }
    status
}

/// How an event that is over was obeyed; none where it never was in force.
fn verdict(status: &CurtailmentEventStatus) -> Option<Verdict> {
    let overshoot = status.worst_overshoot_watts?;
    Some(match status.seconds_to_target {
        None => Verdict::Missed,
        Some(_) if overshoot > 0 => Verdict::Exceeded,
        Some(_) => Verdict::Delivered,
    })
}

/// Can an event be obeyed? With its reason, and what is worth knowing.
fn judged(
    event: &CurtailmentEvent,
    domain: Option<&PowerDomain>,
    cap: Option<Watts>,
    snapshot: &Snapshot,
    world: &World,
) -> (bool, &'static str, String) {
    let wanted = &event.spec.domain;
    let Some(domain) = domain else {
        let mut names: Vec<&str> = snapshot.domains.iter().filter_map(|d| d.metadata.name.as_deref()).collect();
        names.sort_unstable();
        let there =
            if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
        return (false, "UnknownDomain", format!("there is no PowerDomain {wanted}: {there}"));
    };
    let site = &world.site;
    let Some(id) = site.tree.find(wanted) else {
        return (false, "DomainRefused", format!("PowerDomain {wanted} is refused itself: see its conditions"));
    };
    let Some(cap) = cap else {
        return (false, "NoBaseline", format!("what is committed in {wanted} is not known yet: it is tried again"));
    };
    let own = Watts(domain.spec.cap_watts);
    let mut text = format!("it lowers {wanted} from {own} to {cap}");
    if cap >= own {
        text = format!("it changes nothing: {cap} is not below the {own} that {wanted} may draw anyway");
    }
    if !site.enforced.contains(&site.tree.root_of(id)) {
        text += "; the root is in Observe, so nothing is stopped for it";
    }
    (true, "Accepted", text)
}
