//! A cap that follows the week: lower in the hours when the contract or the grid says so.

use crate::core::steps::Steps;
use crate::units::{Moment, Seconds, Watts};
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// Weekly windows with caps of their own. Where several hold at once, and beside the domain's own cap, the lowest wins:
/// a schedule lowers a cap and never raises it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapSchedule {
    /// The zone of the wall clock that the windows speak of.
    pub zone: TimeZone,
    /// The windows.
    pub windows: Vec<CapWindow>,
}

/// One weekly window: on these days from `from` until `to`; where `to` is the earlier, until `to` of the next day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapWindow {
    /// The days on which the window begins.
    pub days: Vec<Weekday>,
    /// Wall-clock time at which it begins.
    pub from: Time,
    /// Wall-clock time at which it ends.
    pub to: Time,
    /// The cap inside.
    pub cap: Watts,
}

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A window that ends when it begins.
    #[error(
        "window {window}: it begins and ends at {at}, so it is either never or always: leave it out, or change capWatts"
    )]
    Empty {
        /// Which window, counted from 0.
        window: usize,
        /// The time.
        at: String,
    },
    /// A window without days.
    #[error("window {window}: it names no day")]
    NoDays {
        /// Which window, counted from 0.
        window: usize,
    },
}

/// How far ahead windows are looked up one by one: ten years.
const FAR: Seconds = Seconds(3_653 * Seconds::DAY.0);

impl CapSchedule {
    /// A schedule whose windows all make sense.
    ///
    /// # Errors
    /// The first window that does not.
    pub fn new(zone: TimeZone, windows: Vec<CapWindow>) -> Result<Self, ScheduleError> {
        for (window, w) in windows.iter().enumerate() {
            if w.from == w.to {
                return Err(ScheduleError::Empty { window, at: w.from.to_string() });
            }
            if w.days.is_empty() {
                return Err(ScheduleError::NoDays { window });
            }
        }
        Ok(Self { zone, windows })
    }

    /// The cap over `[from, until)`, and `base` outside it.
    ///
    /// What lies beyond the calendar, or more than ten years ahead, has the lowest cap of all windows: a window that is
    /// not looked up is never one that does not hold.
    ///
    /// Wall-clock times that a change of summer time skips or repeats are taken as RFC 5545 does (jiff's "compatible").
    #[must_use]
    pub fn timeline(&self, base: Watts, from: Moment, until: Moment) -> Steps<Watts> {
        let mut steps = Steps::constant(base);
        let all = until;
        let until = until.min(from + FAR);
        let (Some(first), Some(last)) = (self.local(from), self.local(until)) else {
            steps.update(from, all, |cap| cap.min(self.lowest(base)));
            return steps;
        };
        steps.update(until, all, |cap| cap.min(self.lowest(base)));
        for window in &self.windows {
            // a window that began yesterday may still be open
            let mut day = first.date().saturating_sub(1.day());
            while day <= last.date() {
                if window.days.contains(&day.weekday()) {
                    let ends = if window.to > window.from { day } else { day.saturating_add(1.day()) };
                    let bounds = (self.moment(day, window.from), self.moment(ends, window.to));
                    if let (Some(begin), Some(end)) = bounds {
                        steps.update(begin.max(from), end.min(until), |cap| cap.min(window.cap));
                    }
                }
                match day.tomorrow() {
                    Ok(next) => day = next,
                    Err(_) => break,
                }
            }
        }
        steps
    }

    /// The lowest cap of all windows.
    fn lowest(&self, base: Watts) -> Watts {
        self.windows.iter().map(|window| window.cap).min().unwrap_or(base)
    }

    fn local(&self, moment: Moment) -> Option<Zoned> {
        Some(Timestamp::from_second(moment.0).ok()?.to_zoned(self.zone.clone()))
    }

    fn moment(&self, day: jiff::civil::Date, time: Time) -> Option<Moment> {
        Some(self.zone.to_ambiguous_zoned(day.to_datetime(time)).compatible().ok()?.timestamp().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    fn at(text: &str) -> Moment {
        text.parse().unwrap()
    }

    fn seoul(windows: Vec<CapWindow>) -> CapSchedule {
        CapSchedule::new(TimeZone::fixed(jiff::tz::offset(9)), windows).unwrap()
    }

    #[test]
    fn the_evening_peak_in_seoul_is_the_morning_in_utc() {
        let peak =
            CapWindow { days: vec![Weekday::Monday], from: time(18, 0, 0, 0), to: time(21, 0, 0, 0), cap: Watts(700) };
        let caps = seoul(vec![peak]).timeline(Watts(1000), at("2022-10-16T00:00:00Z"), at("2022-10-20T00:00:00Z"));
        // 2022-10-17 is a Monday
        assert_eq!(caps.at(at("2022-10-17T08:59:59Z")), Watts(1000));
        assert_eq!(caps.at(at("2022-10-17T09:00:00Z")), Watts(700));
        assert_eq!(caps.at(at("2022-10-17T12:00:00Z")), Watts(1000));
        assert_eq!(caps.at(at("2022-10-18T10:00:00Z")), Watts(1000));
    }

    #[test]
    fn a_window_over_midnight_that_began_yesterday_is_still_open() {
        let night =
            CapWindow { days: vec![Weekday::Sunday], from: time(22, 0, 0, 0), to: time(6, 0, 0, 0), cap: Watts(500) };
        let caps = seoul(vec![night]).timeline(Watts(1000), at("2022-10-16T15:00:00Z"), at("2022-10-18T00:00:00Z"));
        assert_eq!(caps.at(at("2022-10-16T15:00:00Z")), Watts(500)); // Monday 00:00 in Seoul
        assert_eq!(caps.at(at("2022-10-16T21:00:00Z")), Watts(1000));
    }

    #[test]
    fn of_overlapping_windows_the_lowest_wins_and_none_raises_the_cap() {
        let all = [1200, 600, 800].map(|cap| CapWindow {
            days: vec![Weekday::Monday],
            from: time(0, 0, 0, 0),
            to: time(12, 0, 0, 0),
            cap: Watts(cap),
        });
        let caps = seoul(all.to_vec()).timeline(Watts(1000), at("2022-10-16T00:00:00Z"), at("2022-10-18T00:00:00Z"));
        assert_eq!(caps.at(at("2022-10-17T01:00:00Z")), Watts(600));
        assert_eq!(caps.at(at("2022-10-16T10:00:00Z")), Watts(1000));
    }

    #[test]
    fn a_window_that_is_never_is_refused() {
        let empty =
            CapWindow { days: vec![Weekday::Monday], from: time(9, 0, 0, 0), to: time(9, 0, 0, 0), cap: Watts(1) };
        let error = CapSchedule::new(TimeZone::UTC, vec![empty]).unwrap_err();
        assert!(error.to_string().starts_with("window 0: it begins and ends at 09:00:00"), "{error}");
    }

    #[test]
    fn what_is_too_far_ahead_has_the_lowest_cap_and_never_none() {
        let peak =
            CapWindow { days: vec![Weekday::Monday], from: time(18, 0, 0, 0), to: time(21, 0, 0, 0), cap: Watts(700) };
        let from = at("2022-10-16T00:00:00Z");
        // a horizon of u32::MAX hours, the end of time, and a beginning beyond the calendar
        for until in [from + Seconds(i64::from(u32::MAX) * 3600), Moment::FAR_FUTURE] {
            let caps = seoul(vec![peak.clone()]).timeline(Watts(1000), from, until);
            assert_eq!(caps.at(at("2022-10-17T10:00:00Z")), Watts(700));
            assert_eq!(caps.at(at("2022-10-18T10:00:00Z")), Watts(1000));
            assert_eq!(caps.at(at("2033-10-18T10:00:00Z")), Watts(700));
            assert_eq!(caps.at(until), Watts(1000));
        }
        let beyond = Moment(i64::MAX / 8);
        let caps = seoul(vec![peak]).timeline(Watts(1000), beyond, Moment::FAR_FUTURE);
        assert_eq!(caps.at(beyond + Seconds(1)), Watts(700));
    }

    #[test]
    fn summer_time_keeps_the_wall_clock() {
        // the data that every binary carries: an image without /usr/share/zoneinfo has schedules too
        let zone = jiff::tz::TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap();
        let noon = CapWindow {
            days: vec![Weekday::Saturday, Weekday::Sunday],
            from: time(12, 0, 0, 0),
            to: time(13, 0, 0, 0),
            cap: Watts(1),
        };
        let caps = CapSchedule::new(zone, vec![noon]).unwrap();
        let caps = caps.timeline(Watts(9), at("2022-10-28T00:00:00Z"), at("2022-11-01T00:00:00Z"));
        assert_eq!(caps.at(at("2022-10-29T10:30:00Z")), Watts(1)); // Saturday, +02:00
        assert_eq!(caps.at(at("2022-10-30T10:30:00Z")), Watts(9)); // Sunday, +01:00
        assert_eq!(caps.at(at("2022-10-30T11:30:00Z")), Watts(1));
    }
}
