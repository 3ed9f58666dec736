//! What a domain may draw: by its spec, its schedule, its events, and by what feeds it. Values in, values out: the controller
//! and each agent reckon with this same room.

use crate::api::{CapSchedule as Schedule, CurtailmentEvent, Day, PowerAllotmentSpec, PowerDomain, PowerDomainSpec};
use crate::core::domain::{CapSchedule, CapWindow};
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds, Watts};
use jiff::civil::Weekday;

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

/// What a domain may draw at a moment: the lowest of its own cap and of the events on it that are in force.
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
    let in_force = |event: &&CurtailmentEvent| event.spec.domain == name && event.from() <= now && !event.is_over(now);
    let ordered = events.into_iter().filter(in_force).filter_map(CurtailmentEvent::cap);
    Ok(ordered.fold(own, Watts::min))
}

/// A cap as its children see it: what is left behind the domain's own losses. Leases and their rows are in these watts.
#[must_use]
pub fn behind_losses(spec: &PowerDomainSpec, watts: Watts) -> Watts {
    watts.less_permille(u32::try_from(spec.overhead_permille).unwrap_or(0))
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
    let mut above: Option<Watts> = None;
    for level in chain {
        let name = level.domain.metadata.name.as_deref().unwrap_or_default();
        let own =
            behind_losses(&level.domain.spec, at(level.domain, events, now).map_err(|why| format!("{name}: {why}"))?);
        let granted = match above {
            None => own,
            Some(cap) => level
                .allotment
                .and_then(|allotment| allotment.spends_at(cap))
                .ok_or_else(|| format!("{name} has accepted nothing of the domain above it yet"))?,
        };
        above = Some(own.min(granted));
    }
    above.ok_or_else(|| "the chain is empty".to_owned())
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
