//! What a domain may draw: by its spec, its schedule, its events, and by what feeds it. Values in, values out: the controller
//! and each agent reckon with this same room.

use crate::api::{
    CapSchedule as Schedule, CurtailmentEvent, CurtailmentEventSpec, CurtailmentTarget, Day, PowerAllotmentSpec,
    PowerDomain, PowerDomainSpec,
};
use crate::core::domain::{CapSchedule, CapWindow};
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds, Watts};
use jiff::civil::Weekday;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

/// A domain's own cap over `[from, until)`: the lower of `capWatts` and its schedule.
///
/// # Errors
/// Which field of the schedule makes no sense. The API server lets none through that it can tell.
pub fn by_schedule(spec: &PowerDomainSpec, from: Moment, until: Moment) -> Result<Steps<Watts>, String> {
    let base = Watts(spec.cap_watts);
    let Some(schedule) = &spec.cap_schedule else { return Ok(Steps::constant(base)) };
    Ok(weekly(schedule)?.timeline(base, from, until))
}

fn weekly(schedule: &Schedule) -> Result<CapSchedule, String> {
    let zone = jiff::tz::TimeZone::get(&schedule.time_zone)
        .map_err(|_| format!("capSchedule.timeZone `{}` is not a time zone such as Asia/Seoul", schedule.time_zone))?;
    let time = |text: &str| {
        let parsed = format!("{text}:00").parse::<jiff::civil::Time>();
        parsed.map_err(|_| format!("capSchedule: `{text}` is not a time of day such as 18:30"))
    };
    let mut windows = Vec::new();
    for window in &schedule.windows {
        let days = window.days.iter().map(|day| weekday(*day)).collect();
        let (from, to) = (time(&window.from)?, time(&window.to)?);
        windows.push(CapWindow { days, from, to, cap: Watts(window.cap_watts) });
    }
    CapSchedule::new(zone, windows).map_err(|error| format!("capSchedule: {error}"))
}

/// What limits in a domain may sum to at a moment: the lowest of its own cap and of what the events allow that are in force on it.
///
/// # Errors
/// As [`by_schedule`].
pub fn at<'a>(
    domain: &PowerDomain,
    events: impl IntoIterator<Item = &'a CurtailmentEvent>,
    now: Moment,
) -> Result<Watts, String> {
    let own = by_schedule(&domain.spec, now, now + Seconds(1))?.at(now);
    let name = domain.metadata.name.as_deref().unwrap_or_default();
    let in_force = |event: &&CurtailmentEvent| event.spec.domain == name && event.is_in_force(now);
    let ordered = events.into_iter().filter(in_force).filter_map(|event| event.limits_at(now));
    Ok(ordered.fold(own, Watts::min))
}

/// A cap as its children see it: what is left behind the domain's own losses. Leases and their rows are in these watts.
#[must_use]
pub fn behind_losses(spec: &PowerDomainSpec, watts: Watts) -> Watts {
    watts.less_permille(u32::try_from(spec.overhead_permille).unwrap_or(0))
}

/// How long a node may go without a read of its caps where a domain does not say, in seconds.
/// 25: with the node's period and what setting takes it fits the 30 s that supply equipment stands at 125 %.
pub const CONTACT_SECONDS: i32 = 25;

/// How long a node under a domain may go without a read of its caps, in seconds.
#[must_use]
pub fn contact_seconds(spec: &PowerDomainSpec) -> i32 {
    spec.contact_seconds.unwrap_or(CONTACT_SECONDS).max(1)
}

/// How long a domain may draw more after its cap has fallen where it does not say, in seconds: the shortest that supply
/// equipment was seen to stand at 125 % (RELIABILITY §2).
const CORRECTION_SECONDS: i32 = 30;

/// How long a domain may draw more after its cap has fallen.
#[must_use]
pub fn correction_time(spec: &PowerDomainSpec) -> Seconds {
    Seconds(i64::from(spec.correction_time_seconds.unwrap_or(CORRECTION_SECONDS)))
}

/// One domain of a chain, as it was read.
#[derive(Debug, Clone)]
pub struct Level<'a> {
    /// The domain.
    pub domain: &'a PowerDomain,
    /// Its allotment; needed of all but a root.
    pub allotment: Option<&'a PowerAllotmentSpec>,
}

/// What the last domain of a chain may draw at a moment, behind its losses: the least that any domain above allows it. The
/// root comes first.
///
/// # Errors
/// What of the chain is not known, so that nothing can be said.
pub fn along(chain: &[Level<'_>], events: &[CurtailmentEvent], now: Moment) -> Result<Watts, String> {
    let mut above: Option<(&str, Watts)> = None;
    for level in chain {
        let name = level.domain.metadata.name.as_deref().unwrap_or_default();
        let own =
            behind_losses(&level.domain.spec, at(level.domain, events, now).map_err(|why| format!("{name}: {why}"))?);
        let granted = match above {
            None => own,
            Some((parent, cap)) => level
                .allotment
                .and_then(|allotment| allotment.spends_at(parent, cap))
                .ok_or_else(|| format!("{name} has accepted nothing of the domain above it yet"))?,
        };
        above = Some((name, own.min(granted)));
    }
    above.map(|(_, cap)| cap).ok_or_else(|| "the chain is empty".to_owned())
}

/// What one event orders, in absolute watts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The event's name.
    pub event: String,
    /// The domain that it is about.
    pub domain: String,
    /// From when on.
    pub from: Moment,
    /// Until when.
    pub until: Moment,
    /// What the domain may draw.
    pub cap: Watts,
}

/// What an event orders that can't be parsed as a whole: none where it is cancelled, or says no domain or no watts.
/// What can't be read of its times is taken as the longest: it ends when somebody mends, cancels or deletes it.
#[must_use]
pub fn order_of_unparsed(object: &Value) -> Option<Order> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let moment = |path: &str| text(path).and_then(|text| text.parse::<Moment>().ok());
    if object.pointer("/spec/cancelled") == Some(&Value::Bool(true)) {
        return None;
    }
    let watts = object.pointer("/spec/target/capWatts").or_else(|| object.pointer("/status/targetWatts"));
    Some(Order {
        event: text("/metadata/name").unwrap_or_default().to_owned(),
        domain: text("/spec/domain")?.to_owned(),
        from: moment("/spec/start").unwrap_or(Moment(0)),
        until: moment("/spec/end").unwrap_or(Moment::FAR_FUTURE),
        cap: Watts(watts?.as_i64()?.max(1)),
    })
}

/// An order as an event that says the same: so one that can't be parsed as a whole lowers a cap as any other does.
#[must_use]
pub fn event_of(order: &Order) -> CurtailmentEvent {
    let time = |moment: Moment| Time(jiff::Timestamp::from_second(moment.0).unwrap_or(jiff::Timestamp::MAX));
    let spec = CurtailmentEventSpec {
        domain: order.domain.clone(),
        start: (order.from > Moment(0)).then(|| time(order.from)),
        end: time(order.until),
        target: CurtailmentTarget { cap_watts: Some(order.cap.0), ..CurtailmentTarget::default() },
        baseline: None,
        measure: None,
        reason: None,
        source: None,
        external_id: None,
        cancelled: false,
    };
    CurtailmentEvent::new(&order.event, spec)
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Monday => Weekday::Monday,
        Day::Tuesday => Weekday::Tuesday,
        Day::Wednesday => Weekday::Wednesday,
        Day::Thursday => Weekday::Thursday,
        Day::Friday => Weekday::Friday,
        Day::Saturday => Weekday::Saturday,
        Day::Sunday => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_that_can_not_be_parsed_lowers_the_cap_all_the_same() {
        let domain = PowerDomain::new("row", PowerDomainSpec { cap_watts: 1000, ..PowerDomainSpec::default() });
        let object = json!({"metadata": {"name": "broken"},
            "spec": {"domain": "row", "end": "the day after tomorrow", "target": {"capWatts": 700}, "cancelled": "no"}});
        assert!(serde_json::from_value::<CurtailmentEvent>(object.clone()).is_err());
        let event = event_of(&order_of_unparsed(&object).unwrap());
        assert_eq!(at(&domain, [&event], Moment(1_900_000_000)).unwrap(), Watts(700));
        let mut later = object;
        later["spec"]["start"] = json!("2100-01-01T00:00:00Z");
        let event = event_of(&order_of_unparsed(&later).unwrap());
        assert_eq!(at(&domain, [&event], Moment(1_900_000_000)).unwrap(), Watts(1000));
    }
}
