//! The ladder: from live to nothing, rung by rung, and never greener for not being known.

use heliotrope::core::signal::{Memory, Rules, Rung, Series, Standing};
use heliotrope::core::steps::Steps;
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

const RULES: Rules = Rules { max_age: Seconds(2 * HOUR), fixed: Some(436_000), may_jump: false };

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
    // beyond what was said: the highest of a day, and not the last
    let day = (last - 23..last + 6).map(usual).max().unwrap();
    assert_eq!(at(&known, last + 6), day);
    // it ended an hour ago
    let ended = memory.stand(RULES, hour(last + 7));
    let day = (last - 18..last + 6).map(usual).max().unwrap();
    assert_eq!((ended.rung, at(&ended, last + 7)), (Rung::LastKnown, day));
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

proptest! {
    /// Whatever is told and whenever it is asked: beyond what is known nothing is below the highest of what was known of the last day.
    #[test]
    fn what_is_not_known_is_never_the_cheapest(
        told in proptest::collection::vec((0..40_i64, proptest::collection::vec(0..900_000_i64, 1..60)), 1..20),
        wait in 0..60_i64,
    ) {
        let mut memory = Memory::default();
        let mut now = 5000;
        for (later, values) in told {
            now += later;
            let series = series(now - 3, &values);
            memory.take(series.clone(), hour(now), hour(now));
            let standing = memory.stand(RULES, hour(now + wait));
            let Some(steps) = standing.steps else { continue };
            match standing.rung {
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
