//! The ladder: from live to nothing, rung by rung, and never greener for not being known.

use crate::common;
use heliotrope::core::signal::{Memory, Remembered, Rules, Rung, Safe, Series, Standing};
use heliotrope::core::steps::Steps;
use heliotrope::signals::{Format, read};
use heliotrope::units::{Moment, Seconds};
use proptest::prelude::*;
use std::sync::Arc;

const HOUR: i64 = 3600;
const WEEK: i64 = 168;

fn hour(n: i64) -> Moment {
    Moment(n * HOUR)
}

fn series(first: i64, values: &[i64]) -> Arc<Series> {
    let until = first + i64::try_from(values.len()).unwrap();
    let steps = Steps::new(values[0], (first..).zip(values).map(|(at, value)| (hour(at), *value)));
    Arc::new(Series {
        steps,
        from: hour(first),
        until: hour(until),
        step: Seconds::HOUR,
        rows: values.len(),
        estimated: 0,
    })
}

const RULES: Rules = Rules { max_age: Seconds(2 * HOUR), fixed: Some(436_000), may_jump: false, safe: Safe::High };

/// A week's shape: clean at noon, cleaner on Sunday.
fn usual(at: i64) -> i64 {
    let noon = (12 - (at % 24)).abs();
    300_000 + 10_000 * noon - if at % WEEK < 24 { 100_000 } else { 0 }
}

fn at(standing: &Standing, n: i64) -> i64 {
    standing.steps.as_ref().unwrap().at(hour(n))
}

#[test]
fn a_provider_that_dies_goes_down_rung_by_rung_and_comes_back() {
    let mut memory = Memory::default();
    assert_eq!(memory.stand(Rules { fixed: None, ..RULES }, hour(0)).rung, Rung::Nothing);
    let before = memory.stand(RULES, hour(0));
    assert_eq!(
        (before.rung, before.why.as_str()),
        (Rung::Static, "nothing was ever heard: the value set for this, or the highest known")
    );
    assert_eq!(at(&before, 0), 436_000);

    // three weeks of hours, each with six ahead
    let start = 1000 * WEEK;
    for n in start..start + 3 * WEEK {
        let values: Vec<i64> = (n..n + 6).map(usual).collect();
        memory.take(series(n, &values), hour(n), hour(n));
        assert_eq!(memory.stand(RULES, hour(n)).rung, Rung::Live);
    }
    let last = start + 3 * WEEK - 1;
    assert_eq!(
        memory.typical(),
        Some({
            let mut all: Vec<i64> = (start..last).map(usual).collect();
            all.sort_unstable();
            all[all.len() / 2]
        })
    );
    memory.miss();
    let known = memory.stand(RULES, hour(last + 1));
    assert_eq!((known.rung, known.heard), (Rung::LastKnown, Some(hour(last))));
    assert_eq!(at(&known, last + 5), usual(last + 5));
    // beyond what was said: what four of five guesses stay under, of weeks that were alike
    assert!((last + 6..last + 60).all(|n| at(&known, n) == usual(n)), "{}", known.why);
    assert!(known.why.ends_with("hours by HourOfWeek, planned on what four of five stay under"), "{}", known.why);
    // it ended an hour ago
    let ended = memory.stand(RULES, hour(last + 7));
    assert_eq!((ended.rung, at(&ended, last + 7)), (Rung::LastKnown, usual(last + 7)));
    // what is not guessed is the highest of a day and of what is
    assert_eq!(at(&ended, last + 100), 420_000);
    let weekly = memory.stand(RULES, hour(last + 8));
    assert_eq!(weekly.rung, Rung::HourOfWeek);
    assert!((last + 8..last + WEEK).all(|n| at(&weekly, n) == usual(n)), "each week was alike");
    assert!(weekly.why.ends_with("more than 2h ago: the highest of the same hour of the week"), "{}", weekly.why);
    // weeks on, it still is a week's shape
    let later = last + 3 * WEEK;
    assert_eq!(at(&memory.stand(RULES, hour(later)), later + 1), usual(later + 1));
    memory.take(series(later, &[123_000]), hour(later), hour(later));
    assert_eq!(memory.stand(RULES, hour(later)).rung, Rung::Live);
}

#[test]
fn with_too_little_kept_it_is_the_value_set_or_the_highest_known() {
    let mut memory = Memory::default();
    memory.take(series(100, &[500_000, 50_000]), hour(101), hour(102));
    memory.miss();
    let fixed = memory.stand(RULES, hour(104));
    assert_eq!((fixed.rung, at(&fixed, 104)), (Rung::Static, 500_000));
    let none = memory.stand(Rules { fixed: None, ..RULES }, hour(104));
    assert_eq!((none.rung, none.steps), (Rung::Nothing, None));
    // what begins only later is not known now
    memory.take(series(200, &[1]), hour(104), hour(104));
    let early = memory.stand(RULES, hour(104));
    assert_eq!(early.rung, Rung::Static);
    assert!(early.why.starts_with("what is known begins at "), "{}", early.why);
}

#[test]
fn a_green_value_that_has_ended_is_not_green() {
    let mut memory = Memory::default();
    memory.take(series(100, &[600_000, 500_000, 40_000]), hour(102), hour(102));
    let live = memory.stand(RULES, hour(102));
    assert_eq!((live.rung, at(&live, 102), at(&live, 103)), (Rung::Live, 40_000, 600_000));
    let ended = memory.stand(RULES, hour(103));
    assert_eq!((ended.rung, at(&ended, 103)), (Rung::LastKnown, 600_000));
    assert_eq!(memory.stand(RULES, hour(105)).rung, Rung::Static);
}

#[test]
fn a_value_that_flips_from_answer_to_answer_counts_as_the_highest() {
    let told = |values: &[i64]| {
        let mut memory = Memory::default();
        for (n, value) in (0..).zip(values) {
            let heard = hour(100) + Seconds(60 * n);
            memory.take(series(100, &[*value, 90_000]), heard, heard);
            // the same answer, looked at again
            memory.take(series(100, &[*value, 90_000]), heard, heard + Seconds(5));
        }
        memory
    };
    let now = hour(100) + Seconds(900);
    let forged = [400_000, 50_000, 400_000, 50_000, 390_000, 50_000];
    let standing = told(&forged).stand(RULES, now);
    assert_eq!((standing.rung, at(&standing, 100), at(&standing, 101)), (Rung::LastKnown, 400_000, 400_000));
    assert!(standing.why.starts_with("it jumps to and fro"), "{}", standing.why);
    // a price may
    assert_eq!(told(&forged).stand(Rules { may_jump: true, ..RULES }, now).rung, Rung::Live);
    // it has settled
    let settled = [&forged[..], &[50_000, 52_000, 51_000, 52_000, 50_000]].concat();
    assert_eq!(told(&settled).stand(RULES, now).rung, Rung::Live);
    // a revision or two are no flips
    assert_eq!(told(&[400_000, 150_000, 400_000, 150_000]).stand(RULES, now).rung, Rung::Live);
}

/// A grid whose noon is some days cleaner than others, with nothing of the week in it.
fn windy(at: i64) -> i64 {
    let wind = (heliotrope::core::chance::random(5, at.unsigned_abs() / 30) % 200_000) as i64;
    300_000 + 10_000 * (12 - (at % 24)).abs() - wind / 2
}

/// A provider that only looks back, as KPX: each hour is told when it is over.
fn looked_back(hours: i64, value: fn(i64) -> i64) -> (Memory, i64) {
    let (mut memory, start) = (Memory::default(), 1000 * WEEK);
    for n in start..start + hours {
        memory.take(series(n, &[value(n)]), hour(n + 1), hour(n + 1) + Seconds(300));
    }
    (memory, start + hours)
}

#[test]
fn what_only_looks_back_is_followed_by_guesses() {
    let now = |n| hour(n) + Seconds(300);
    // a day is not enough: the highest of it
    let (little, n) = looked_back(20, windy);
    let standing = little.stand(RULES, now(n));
    assert!(standing.why.ends_with("the highest of the last day and of what is ahead"), "{}", standing.why);
    assert_eq!(at(&standing, n + 3), (n - 20..n).map(windy).max().unwrap());
    // four days: as it was a day before, and noon is clean in it
    let (some, n) = looked_back(4 * 24, windy);
    let standing = some.stand(RULES, now(n));
    assert_eq!(standing.rung, Rung::LastKnown);
    assert!(standing.why.contains("guessed from 96 hours by Persistence"), "{}", standing.why);
    let noon = n + 12;
    assert!(at(&standing, noon) + 50_000 < at(&standing, noon + 12), "{:?}", standing.ahead);
    // weeks that are alike: by the hour of the week, and its errors are kept and said
    let (weekly, n) = looked_back(5 * WEEK, usual);
    let standing = weekly.stand(RULES, now(n));
    assert!(standing.why.contains("hours by HourOfWeek"), "{}", standing.why);
    let day_ahead = standing.errors.iter().find(|error| error.hours_ahead == 24).unwrap();
    assert_eq!((day_ahead.by.map(|by| by.name()), day_ahead.count > 400), (Some("HourOfWeek"), true));
    assert_eq!((standing.ahead.len(), standing.ahead[5].planned), (48, usual(n + 5)));
    // a season: by the regressions
    let (long, n) = looked_back(16 * WEEK, windy);
    let standing = long.stand(RULES, now(n));
    assert!(standing.why.contains("hours by Learned"), "{}", standing.why);
    // and what is planned on is rather too high than too low
    let ahead = &standing.ahead;
    assert!(ahead.iter().all(|hour| hour.low <= hour.planned && hour.planned <= hour.high));
    assert!(ahead.iter().any(|hour| hour.low < hour.planned));
    let high = standing.high(Moment(n * 3600)).unwrap();
    assert!((0..48).zip(ahead).all(|(i, hour)| high.at(Moment((n + i) * 3600)) == hour.high), "{ahead:?}");
}

#[test]
fn a_provider_that_knows_less_than_is_remembered_is_followed_by_guesses_too() {
    let (mut memory, n) = looked_back(4 * 24, windy);
    // the next one in line, which is two hours late
    memory.take(series(n - 5, &[windy(n - 5), windy(n - 4), windy(n - 3)]), hour(n), hour(n) + Seconds(300));
    let standing = memory.stand(Rules { max_age: Seconds(6 * HOUR), ..RULES }, hour(n) + Seconds(300));
    assert_eq!(standing.rung, Rung::LastKnown);
    assert!(standing.why.contains("guessed from 96 hours by Persistence"), "{}", standing.why);
    assert!(at(&standing, n + 12) + 50_000 < at(&standing, n + 24), "{:?}", standing.ahead);
}

#[test]
fn guesses_that_are_planned_on_are_too_green_in_one_hour_of_five() {
    let (mut memory, n) = looked_back(6 * WEEK, windy);
    let (mut below, mut all) = (0, 0);
    for n in n..n + 3 * WEEK {
        let standing = memory.stand(RULES, hour(n) + Seconds(300));
        below += i32::from(at(&standing, n + 5) < windy(n + 5));
        all += 1;
        memory.take(series(n, &[windy(n)]), hour(n + 1), hour(n + 1) + Seconds(300));
    }
    let percent = 100 * below / all;
    assert!((13..=27).contains(&percent), "{percent} %");
}

#[test]
fn what_is_generated_is_never_more_for_not_being_known() {
    let rules = Rules { safe: Safe::Low, fixed: None, may_jump: true, ..RULES };
    let sun =
        |n: i64| [0, 0, 0, 0, 0, 0, 5, 20, 40, 60, 70, 80, 80, 75, 60, 40, 20, 5, 0, 0, 0, 0, 0, 0][(n % 24) as usize];
    let mut memory = Memory::default();
    assert_eq!(memory.stand(rules, hour(5)).steps, None);
    // at noon, with one day known: the night counts
    for n in 240..252 {
        memory.take(series(n, &[sun(n)]), hour(n + 1), hour(n + 1));
    }
    memory.miss();
    let standing = memory.stand(rules, hour(252));
    assert_eq!((standing.rung, at(&standing, 252), at(&standing, 260)), (Rung::LastKnown, 0, 0));
    for n in 252..252 + 10 * 24 {
        memory.take(series(n, &[sun(n) * (8 + n / 24 % 3)]), hour(n + 1), hour(n + 1));
    }
    let n = 252 + 10 * 24;
    let standing = memory.stand(rules, hour(n));
    assert!(standing.why.ends_with("planned on what four of five stay over"), "{}", standing.why);
    // noon tomorrow has some, and not the most that it may have; midnight has none
    assert!((300..=800).contains(&at(&standing, n + 24)), "{:?}", standing.ahead);
    assert_eq!(at(&standing, n + 12), 0);
    assert_eq!(at(&standing, n + 90), 0, "nothing is guessed of it");
}

#[test]
fn answers_that_begin_in_the_middle_of_an_hour_are_remembered_as_whole_hours() {
    let mut memory = Memory::default();
    // each quarter of an hour another answer, of the half hour that it is in and the next one
    for quarter in 0..40 {
        let now = Moment(hour(500).0 + quarter * 900);
        let half = now.floor(Seconds(1800));
        let values = [(half, 100_000 + half.0 % 7200), (half + Seconds(1800), 1)];
        let until = half + Seconds(3600);
        let said =
            Series { steps: Steps::new(1, values), from: half, until, step: Seconds(1800), rows: 2, estimated: 0 };
        memory.take(Arc::new(said), now, now);
    }
    let written = serde_json::to_value(memory.remembered().unwrap()).unwrap();
    assert_eq!(written["firstHour"], 500);
    let mean = |n: i64| 100_000 + n % 2 * 3600 + 900;
    assert_eq!(written["hours"], serde_json::json!((500..509).map(mean).collect::<Vec<_>>()));
}

#[test]
fn what_was_promised_is_held_against_what_came() {
    let mut memory = Memory::default();
    for n in 700..760 {
        // it says 10 too much of the next hour, and 60 of the sixth
        let values: Vec<i64> = (0..8).map(|lead| 500_000 + 10_000 * lead).collect();
        memory.take(series(n, &values), hour(n), hour(n));
    }
    let errors = memory.stand(RULES, hour(759)).errors;
    let of_provider: Vec<_> = errors.iter().filter(|e| e.by.is_none()).map(|e| (e.hours_ahead, e.mean)).collect();
    assert_eq!(of_provider, [(1, 10_000), (6, 60_000)]);
}

#[test]
fn a_memory_that_is_written_down_and_read_again_stands_where_it_stood() {
    let (memory, n) = looked_back(5 * WEEK, windy);
    let now = hour(n) + Seconds(300);
    let written = memory.remembered().unwrap();
    let text = serde_json::to_string(&written).unwrap();
    assert!(text.len() < 8 * 5 * 168 + 1000, "{}", text.len());
    let mut again = Memory::recall(&serde_json::from_str(&text).unwrap(), now).unwrap();
    // as many cycles as it takes to tell all of it; each as good as the one before
    (0..8).for_each(|_| again.miss());
    let (mut one, mut other) = (memory.stand(RULES, now), again.stand(RULES, now));
    (one.why, other.why) = (String::new(), String::new());
    assert_eq!(one, other);
    assert_eq!(Memory::default().remembered(), None);

    // what nobody wrote is refused, each time in words
    let good = serde_json::to_value(&written).unwrap();
    for (place, value, said) in [
        ("/firstHour", serde_json::json!(n), "are not of the past"),
        ("/firstHour", serde_json::json!(-5), "are not of the past"),
        ("/firstHour", serde_json::json!(i64::MAX), "are not of the past"),
        ("/hours/3", serde_json::json!(i64::MIN), "is no value of a signal"),
        ("/last/pieces", serde_json::json!([]), "has no values"),
        ("/last/pieces/0/0", serde_json::json!(i64::MAX), "has times that can't be"),
        ("/last/until", serde_json::json!(i64::MAX), "has times that can't be"),
        ("/last/heard", serde_json::json!(i64::MAX), "has times that can't be"),
        ("/last/step", serde_json::json!(0), "has times that can't be"),
        ("/last/pieces/0/1", serde_json::json!(i64::MAX), "has values that no signal has"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        let written: Remembered = serde_json::from_value(bad).unwrap();
        let error = Memory::recall(&written, now).unwrap_err();
        assert!(error.contains(said), "{place}: {error}");
    }
    let mut many = good;
    many["hours"] = serde_json::json!(vec![1; 4000]);
    assert!(Memory::recall(&serde_json::from_value(many).unwrap(), now).unwrap_err().contains("4000 hours"));
}

proptest! {
    /// Whatever is told and whenever it is asked: beyond what is known nothing is below the highest of what was known of the last day, but for
    /// what is guessed, and that lies within what was told.
    #[test]
    fn what_is_not_known_is_never_the_cheapest(
        told in proptest::collection::vec((0..40_i64, proptest::collection::vec(0..900_000_i64, 1..60)), 1..20),
        wait in 0..60_i64,
    ) {
        let mut memory = Memory::default();
        let (mut now, mut least) = (5000, i64::MAX);
        for (later, values) in told {
            now += later;
            least = least.min(values.iter().copied().min().unwrap());
            let series = series(now - 3, &values);
            memory.take(series.clone(), hour(now), hour(now));
            let standing = memory.stand(RULES, hour(now + wait));
            let Some(steps) = standing.steps else { continue };
            match standing.rung {
                Rung::Live | Rung::LastKnown if standing.why.contains("guessed from") => {
                    prop_assert!(steps.lowest(series.until, Moment::FAR_FUTURE) >= least);
                    let end = series.until + Seconds(73 * HOUR);
                    prop_assert!(steps.lowest(end, Moment::FAR_FUTURE) >= steps.highest(series.until, end));
                }
                Rung::Live | Rung::LastKnown => {
                    let until = series.until;
                    let from = (hour(now + wait).min(until) - Seconds::DAY).max(series.from);
                    prop_assert!(steps.lowest(until, Moment::FAR_FUTURE) >= series.steps.highest(from, until));
                }
                Rung::Static => prop_assert!(steps.at(hour(now)) >= 436_000),
                _ => {}
            }
        }
    }
}

/// The figures of decision 13: what was planned on, and what came, over a year of three grids that are told when each hour is over.
#[test]
#[ignore = "a minute: cargo test --test signals -- --ignored --nocapture"]
fn a_year_of_what_only_looks_back_is_too_green_in_one_hour_of_five_and_nearer_than_the_highest_of_a_day() {
    let Some(shared) = common::shared() else { return };
    let files = std::fs::read_dir(shared.join("carbon")).unwrap().map(|file| file.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.to_string_lossy().contains("2023")).collect();
    for zone in ["DE-LU", "US-CAL-CISO", "KR"] {
        let file = files.iter().find(|path| path.to_string_lossy().contains(zone)).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let all = read(&text, zone, Format::ElectricityMapsCsv, None).unwrap();
        let (first, end) = (all.from.0 / HOUR, all.until.0 / HOUR);
        let came = |n: i64| all.steps.at(hour(n));
        let mut memory = Memory::default();
        // by lead: hours, those that were too green, errors; and the errors of the highest of a day
        let mut sums = [(1, [0; 4]), (6, [0; 4]), (24, [0; 4]), (48, [0; 4])];
        for n in first..end - 48 {
            memory.take(series(n, &[came(n)]), hour(n + 1), hour(n + 1) + Seconds(300));
            // four weeks to begin with
            if n < first + 4 * WEEK {
                continue;
            }
            let steps = memory.stand(RULES, hour(n + 1) + Seconds(300)).steps.unwrap();
            let day = (n - 23..=n).map(came).max().unwrap();
            for (lead, sums) in &mut sums {
                let (came, planned) = (came(n + *lead), steps.at(hour(n + *lead)));
                let more = [1, i64::from(planned < came), (planned - came).abs(), (day - came).abs()];
                sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            }
        }
        for (lead, [hours, green, error, of_day]) in sums {
            let (percent, error, of_day) = (100 * green / hours, error / hours / 1000, of_day / hours / 1000);
            println!(
                "{zone}, {lead} h: too green in {percent} %, off by {error} g/kWh; the highest of a day by {of_day}"
            );
            assert!((17..=24).contains(&percent) && error < of_day);
        }
    }
}
