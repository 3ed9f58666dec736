//! The dead man's switch as values: its rules one by one, and in every order that chance finds, on a device that obeys,
//! lies, is raised by others, is held lower by a BMC, or can't be read.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::actuator::device::Range;
use heliotrope::actuator::hold::{Ask, Bounds, Hold, LONGEST_MILLIS, News, Reason, Recorded, Seen, Start};
use heliotrope::actuator::protocol::{Note, Obedience, Phase, Refusal};
use heliotrope::units::{BootMillis, Watts};
use proptest::prelude::*;

const RANGE: Range = Range { min_watts: Watts(200), max_watts: Watts(700), default_watts: Watts(700) };

fn bounds() -> Bounds {
    Bounds::new(RANGE, None)
}

fn ask(limit: i64, ends: u64, fall: i64) -> Ask {
    Ask { limit: Watts(limit), ends: Some(BootMillis(ends)), fall: Some(Watts(fall)), clock_megahertz: None }
}

fn seen(watts: i64) -> Option<Seen> {
    Some(Seen { set: Some(Watts(watts)), enforced: Watts(watts) })
}

/// A hold on which 500 W was ordered at time 1000 until 10,000, to fall to 300 W, and read back.
fn held() -> Hold {
    let mut hold = Hold::new(bounds(), Start::Unknown);
    hold.order(BootMillis(1000), 5, &ask(500, 10_000, 300)).unwrap();
    assert_eq!(hold.step(BootMillis(1000), seen(700)).write, Some((Watts(500), Reason::Ordered)));
    hold.written();
    assert_eq!(hold.read_back(seen(500).unwrap()), None);
    assert_eq!(hold.obedience(), Obedience::Holds);
    hold
}

#[test]
fn before_the_first_order_nothing_is_touched() {
    let mut hold = Hold::new(bounds(), Start::Unknown);
    for (now, watts) in [(0, 700), (1_000_000, 300), (2_000_000, 700)] {
        assert_eq!(hold.step(BootMillis(now), seen(watts)), Default::default());
    }
    assert_eq!((hold.phase(), hold.limit(), hold.obedience()), (Phase::Found, None, Obedience::NothingAsked));
}

#[test]
fn past_its_end_it_falls_by_itself_and_stays_there() {
    let mut hold = held();
    assert_eq!(hold.step(BootMillis(9_999), seen(500)).write, None);
    let step = hold.step(BootMillis(10_000), seen(500));
    assert_eq!(step.write, Some((Watts(300), Reason::EndPassed)));
    assert_eq!(step.news, [News::Fell { from: Watts(500), to: Watts(300) }]);
    hold.written();
    hold.read_back(seen(300).unwrap());
    assert_eq!(hold.step(BootMillis(99_000), seen(300)).write, None);
    assert_eq!((hold.phase(), hold.limit()), (Phase::Fallen, Some(Watts(300))));
}

#[test]
fn an_end_that_an_order_finds_is_told_too() {
    // nobody looked between the end and the order
    let mut hold = held();
    hold.order(BootMillis(11_000), 5, &ask(500, 20_000, 300)).unwrap();
    let step = hold.step(BootMillis(11_000), seen(500));
    assert_eq!(step.news, [News::Fell { from: Watts(500), to: Watts(300) }]);
    assert_eq!(step.write, Some((Watts(300), Reason::EndPassed)));
}

#[test]
fn falling_is_never_a_raise() {
    // the limit to fall to lies above the limit: a deep curtailment is in force
    let mut hold = Hold::new(bounds(), Start::Unknown);
    hold.order(BootMillis(0), 1, &ask(250, 1000, 400)).unwrap();
    hold.step(BootMillis(0), seen(700));
    hold.written();
    hold.read_back(seen(250).unwrap());
    assert_eq!(hold.step(BootMillis(1000), seen(250)).write, None);
    assert_eq!(hold.limit(), Some(Watts(250)));
    // a BMC holds the device lower than what it would fall to: that is what it falls to
    let mut hold = held();
    let bmc = Some(Seen { set: Some(Watts(500)), enforced: Watts(220) });
    assert_eq!(hold.step(BootMillis(10_000), bmc).write, Some((Watts(220), Reason::EndPassed)));
}

#[test]
fn blind_it_still_falls() {
    let mut hold = held();
    assert_eq!(hold.step(BootMillis(10_000), None).write, Some((Watts(300), Reason::EndPassed)));
    // the write failed: it is tried again
    assert_eq!(hold.step(BootMillis(10_500), None).write, Some((Watts(300), Reason::EndPassed)));
    hold.written();
    assert_eq!(hold.step(BootMillis(11_000), None).write, None);
}

#[test]
fn orders_that_are_refused_leave_what_is_in_force() {
    let now = BootMillis(2000);
    let good = ask(600, 20_000, 300);
    let cases = [
        (4, good, Refusal::LowerSequence),
        (6, Ask { ends: None, ..good }, Refusal::EndMissing),
        (6, Ask { fall: None, ..good }, Refusal::FallMissing),
        (6, Ask { ends: Some(now), ..good }, Refusal::EndPassed),
        (6, Ask { ends: Some(BootMillis(0)), ..good }, Refusal::EndPassed),
        (6, Ask { limit: Watts(0), ..good }, Refusal::NotPositive),
        (6, Ask { limit: Watts(-1), ..good }, Refusal::NotPositive),
        (6, Ask { fall: Some(Watts(0)), ..good }, Refusal::NotPositive),
    ];
    for (sequence, ask, reason) in cases {
        let mut hold = held();
        assert_eq!(hold.order(now, sequence, &ask), Err(reason));
        assert_eq!(hold, held(), "{reason:?}");
    }
}

#[test]
fn numbers_are_clamped_and_it_is_said() {
    let ceiling = Bounds::new(RANGE, Some(Watts(450)));
    let no_ceiling = bounds();
    let cases = [
        (no_ceiling, 800, 700, Some("LimitOutOfRange")),
        (no_ceiling, 50, 200, Some("LimitOutOfRange")),
        (no_ceiling, 450, 450, None),
        (ceiling, 500, 450, Some("LimitAboveCeiling")),
        (ceiling, 900, 450, Some("LimitAboveCeiling")),
        (ceiling, 10, 200, Some("LimitOutOfRange")),
        // a ceiling below the device's range leaves the lowest limit: nothing out of range is ever written
        (Bounds::new(RANGE, Some(Watts(100))), 500, 200, Some("LimitAboveCeiling")),
        // one above it changes nothing
        (Bounds::new(RANGE, Some(Watts(9000))), 9999, 700, Some("LimitOutOfRange")),
    ];
    for (bounds, asked, limit, note) in cases {
        let mut hold = Hold::new(bounds, Start::Unknown);
        let notes = hold.order(BootMillis(0), 1, &ask(asked, 1000, 200)).unwrap();
        assert_eq!(hold.limit(), Some(Watts(limit)), "{asked}");
        let named: Vec<String> = notes.iter().map(|note| format!("{note:?}")).collect();
        assert_eq!(named.iter().map(|name| name.split(' ').next().unwrap()).collect::<Vec<_>>(), Vec::from_iter(note));
    }
    let mut hold = Hold::new(bounds(), Start::Unknown);
    let notes = hold.order(BootMillis(7), 1, &ask(500, u64::MAX, 100)).unwrap();
    let end = BootMillis(7 + LONGEST_MILLIS);
    let fall = Note::FallOutOfRange { asked_watts: Watts(100), watts: Watts(200) };
    assert_eq!(notes, [Note::EndBroughtForward { ends_at_boot_millis: end }, fall]);
    assert_eq!((hold.ends(), hold.fall()), (Some(end), Some(Watts(200))));
}

#[test]
fn an_equal_sequence_prolongs_and_lowers_and_never_raises() {
    let mut hold = held();
    hold.order(BootMillis(2000), 5, &ask(500, 20_000, 300)).unwrap();
    assert_eq!((hold.ends(), hold.limit()), (Some(BootMillis(20_000)), Some(Watts(500))));
    assert_eq!(hold.step(BootMillis(2000), seen(500)).write, None, "what holds is not written again");
    // an earlier end is no prolonging
    hold.order(BootMillis(2000), 5, &ask(500, 15_000, 300)).unwrap();
    assert_eq!(hold.ends(), Some(BootMillis(20_000)));
    hold.order(BootMillis(2000), 5, &ask(400, 20_000, 300)).unwrap();
    assert_eq!(hold.step(BootMillis(2000), seen(500)).write, Some((Watts(400), Reason::Ordered)));
    hold.written();
    hold.read_back(seen(400).unwrap());
    let notes = hold.order(BootMillis(3000), 5, &ask(500, 20_000, 600)).unwrap();
    assert_eq!(notes, [Note::RaiseNeedsHigherSequence { asked_watts: Watts(500), watts: Watts(400) }]);
    assert_eq!((hold.limit(), hold.fall()), (Some(Watts(400)), Some(Watts(300))));
    // nor does it lift what has fallen
    hold.step(BootMillis(20_000), seen(400));
    assert_eq!((hold.phase(), hold.limit()), (Phase::Fallen, Some(Watts(300))));
    hold.order(BootMillis(21_000), 5, &ask(500, 30_000, 300)).unwrap();
    assert_eq!((hold.phase(), hold.limit()), (Phase::Held, Some(Watts(300))));
    // a higher one does
    hold.order(BootMillis(21_000), 6, &ask(500, 30_000, 300)).unwrap();
    assert_eq!(hold.step(BootMillis(21_000), seen(300)).write, Some((Watts(500), Reason::Ordered)));
}

#[test]
fn what_another_raised_is_set_again_and_told() {
    let mut hold = held();
    let step = hold.step(BootMillis(2000), seen(700));
    assert_eq!(step.write, Some((Watts(500), Reason::RaisedByOther)));
    assert_eq!(step.news, [News::RaisedByOther { set: Watts(500), found: Watts(700) }]);
    hold.written();
    hold.read_back(seen(500).unwrap());
    // the set limit alone was raised: what holds the enforced one down may go
    let hidden = Some(Seen { set: Some(Watts(650)), enforced: Watts(500) });
    assert_eq!(hold.step(BootMillis(2500), hidden).write, Some((Watts(500), Reason::RaisedByOther)));
    // lowered by another: left so
    let mut hold = held();
    assert_eq!(hold.step(BootMillis(2000), seen(350)), Default::default());
}

#[test]
fn what_is_accepted_and_not_applied_is_told_within_two_periods() {
    let mut hold = Hold::new(bounds(), Start::Unknown);
    hold.order(BootMillis(0), 1, &ask(400, 90_000, 300)).unwrap();
    let mut told = Vec::new();
    for period in 0..3 {
        let now = BootMillis(period * 500);
        let step = hold.step(now, seen(700));
        assert_eq!(step.write.unwrap().0, Watts(400), "it is written in each period");
        assert_eq!(step.news, []);
        hold.written();
        told.extend(hold.read_back(seen(700).unwrap()).map(|news| (now, news)));
    }
    assert_eq!(told, [(BootMillis(500), News::NotApplied { set: Watts(400), found: Watts(700) })]);
    assert_eq!(hold.obedience(), Obedience::NotApplied);
    let step = hold.step(BootMillis(2000), seen(400));
    assert_eq!(step.news, [News::AppliedAtLast { set: Watts(400) }]);
    assert_eq!((step.write, hold.obedience()), (None, Obedience::Holds));
}

#[test]
fn a_start_raises_nothing() {
    let recorded = |limit, ends| {
        Start::Recorded(Recorded {
            sequence: 5,
            limit: Watts(limit),
            ends: BootMillis(ends),
            fall: Watts(300),
            clock_megahertz: None,
        })
    };
    // start, in force, what is written, what holds
    let cases = [
        (recorded(500, 9000), 500, None, 500),
        (recorded(500, 9000), 700, Some(500), 500), // raised while nobody looked, or the driver was loaded anew
        (recorded(500, 9000), 400, None, 400),      // lower than recorded: it stays
        (recorded(500, 0), 500, Some(300), 300),    // nobody came back in time
        (Start::Safe(Watts(300)), 700, Some(300), 300),
        (Start::Safe(Watts(300)), 250, None, 250),
        (Start::Safe(Watts(1)), 700, Some(200), 200),
    ];
    for (start, found, written, limit) in cases {
        let mut hold = Hold::new(bounds(), start);
        assert_eq!(hold.step(BootMillis(10), None).write, None, "not before it is known what is in force: {start:?}");
        let step = hold.step(BootMillis(10), seen(found));
        assert_eq!(step.write.map(|(watts, _)| watts.0), written, "{start:?} of {found}");
        assert_eq!(hold.limit(), Some(Watts(limit)), "{start:?} of {found}");
    }
    // a device that tells only what is in force, held under its range: what is written is within it
    let mut hold = Hold::new(bounds(), Start::Safe(Watts(300)));
    assert_eq!(hold.step(BootMillis(0), Some(Seen { set: None, enforced: Watts(150) })).write, None);
    let lifted = Some(Seen { set: None, enforced: Watts(700) });
    assert_eq!(hold.step(BootMillis(500), lifted).write, Some((Watts(200), Reason::RaisedByOther)));
    // the sequence of the record still counts
    let mut hold = Hold::new(bounds(), recorded(400, 9000));
    hold.step(BootMillis(10), seen(400));
    assert_eq!(hold.order(BootMillis(20), 4, &ask(600, 9000, 300)), Err(Refusal::LowerSequence));
    hold.order(BootMillis(20), 5, &ask(600, 9000, 300)).unwrap();
    assert_eq!(hold.limit(), Some(Watts(400)));
}

#[test]
fn clocks_follow_orders_and_are_never_let_go_by_time() {
    let mut hold = Hold::new(bounds(), Start::Unknown);
    let locked = |megahertz| Ask { clock_megahertz: Some(megahertz), ..ask(500, 10_000, 300) };
    hold.order(BootMillis(0), 1, &locked(1410)).unwrap();
    assert_eq!(hold.step(BootMillis(0), seen(500)).clock, Some(Some(1410)));
    assert_eq!(hold.step(BootMillis(0), seen(500)).clock, Some(Some(1410)), "until it is done");
    hold.clock_written(true);
    hold.order(BootMillis(1), 1, &locked(1600)).unwrap();
    assert_eq!(hold.step(BootMillis(1), seen(500)).clock, None, "a higher clock is a raise");
    hold.order(BootMillis(1), 1, &ask(500, 10_000, 300)).unwrap();
    assert_eq!(hold.step(BootMillis(1), seen(500)).clock, None, "so is none");
    hold.order(BootMillis(1), 1, &locked(1200)).unwrap();
    assert_eq!(hold.step(BootMillis(1), seen(500)).clock, Some(Some(1200)));
    hold.clock_written(true);
    assert_eq!(hold.step(BootMillis(10_000), seen(500)).clock, None, "it ends, and the clock stays");
    hold.clock_seen(1215);
    assert_eq!(hold.step(BootMillis(10_000), seen(500)).clock, None, "clocks come in steps");
    hold.clock_seen(1410);
    assert_eq!(
        hold.step(BootMillis(10_500), seen(500)).clock,
        Some(Some(1200)),
        "another let it go: it is locked again"
    );
    hold.clock_written(false);
    hold.clock_seen(1410);
    assert_eq!(
        hold.step(BootMillis(10_500), seen(500)).clock,
        None,
        "on a device that takes none it is not tried each time"
    );
    hold.order(BootMillis(11_000), 2, &ask(500, 20_000, 300)).unwrap();
    assert_eq!(hold.step(BootMillis(11_000), seen(300)).clock, Some(None));
}

/// What happens to a GPU.
#[derive(Debug, Clone)]
enum Event {
    Order {
        sequence: u64,
        limit: i64,
        life: u64,
        fall: i64,
        lacks: u8,
    },
    /// Time passes, and the actuator looks.
    Look {
        millis: u64,
        readable: bool,
        obeys: bool,
        accepts: bool,
    },
    /// Another sets the limit.
    Foreign(i64),
    /// A BMC holds it lower, or no longer.
    Bmc(Option<i64>),
    /// The actuator is started anew, in this boot, by its record.
    Restart {
        waits: u64,
    },
    /// The driver is loaded anew.
    Reload,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0_u64..6, -10_i64..900, 0_u64..4000, -10_i64..900, 0_u8..20).prop_map(
            |(sequence, limit, life, fall, lacks)| Event::Order { sequence, limit, life, fall, lacks }
        ),
        6 => (0_u64..2000, prop::bool::weighted(0.8), prop::bool::weighted(0.8), prop::bool::weighted(0.9)).prop_map(
            |(millis, readable, obeys, accepts)| Event::Look { millis, readable, obeys, accepts }
        ),
        1 => (200_i64..=700).prop_map(Event::Foreign),
        1 => prop::option::of(100_i64..700).prop_map(Event::Bmc),
        1 => (0_u64..3000).prop_map(|waits| Event::Restart { waits }),
        1 => Just(Event::Reload),
    ]
}

/// A device, with what holds it lower.
struct Plant {
    set: i64,
    bmc: Option<i64>,
}

impl Plant {
    fn seen(&self) -> Seen {
        let enforced = self.bmc.map_or(self.set, |bmc| bmc.min(self.set));
        Seen { set: Some(Watts(self.set)), enforced: Watts(enforced) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: nothing out of range or over the ceiling is written; nothing above what the newest order that
    /// was taken says; time, starts and other people's writes never raise what is held; and once its end has passed, a
    /// device that obeys is at or under what it falls to.
    #[test]
    fn it_never_rises_by_itself(
        events in prop::collection::vec(event(), 1..60),
        ceiling in prop::option::of(100_i64..900),
    ) {
        let bounds = Bounds::new(RANGE, ceiling.map(Watts));
        let mut plant = Plant { set: 700, bmc: None };
        let mut hold = Hold::new(bounds, Start::Unknown);
        let mut now = BootMillis(1);
        // the newest order that was taken: sequence, the least limit under it, the last end, the highest fall
        let mut newest: Option<(u64, i64, u64, i64)> = None;
        let clamp = |watts: i64| watts.max(bounds.low().0).min(bounds.high().0);
        for event in events {
            let before = hold.limit();
            match event {
                Event::Order { sequence, limit, life, fall, lacks } => {
                    let ends = now.plus(life);
                    let asked = Ask {
                        limit: Watts(limit),
                        ends: (lacks != 1).then_some(ends),
                        fall: (lacks != 2).then_some(Watts(fall)),
                        clock_megahertz: None,
                    };
                    let seen = newest.map(|(sequence, ..)| sequence);
                    match hold.order(now, sequence, &asked) {
                        Ok(_) => {
                            prop_assert!(seen.is_none_or(|seen| sequence >= seen), "an older lease came back");
                            prop_assert!(limit > 0 && fall > 0 && life > 0 && lacks != 1 && lacks != 2);
                            newest = match newest {
                                Some((same, least, last, high)) if same == sequence => {
                                    Some((same, least.min(clamp(limit)), last.max(ends.0), high.max(clamp(fall))))
                                }
                                _ => Some((sequence, clamp(limit), ends.0, clamp(fall))),
                            };
                            if seen == Some(sequence) {
                                prop_assert!(hold.limit() <= before, "an equal sequence raised");
                            }
                        }
                        Err(_) => prop_assert_eq!(hold.limit(), before),
                    }
                }
                Event::Look { millis, readable, obeys, accepts } => {
                    now = now.plus(millis);
                    let step = hold.step(now, readable.then(|| plant.seen()));
                    prop_assert!(hold.limit() <= before, "time raised: {before:?} to {:?}", hold.limit());
                    if let Some((watts, reason)) = step.write {
                        let (_, least, ..) = newest.expect("nothing is written before an order");
                        prop_assert!(watts.0 >= bounds.low().0 && watts.0 <= bounds.high().0, "{watts} is out of range");
                        prop_assert!(watts.0 <= least, "{watts} was written, {least} was ordered");
                        let raises = watts.0 > plant.set;
                        prop_assert!(!raises || reason == Reason::Ordered || !readable, "{reason:?} raised");
                        if accepts {
                            hold.written();
                            if obeys {
                                plant.set = watts.0;
                            }
                            if readable {
                                hold.read_back(plant.seen());
                            }
                        }
                    }
                    if let Some((_, least, last, high)) = newest && readable && obeys && accepts {
                        prop_assert!(plant.set <= least, "{} is set, {least} was ordered", plant.set);
                        if now.0 >= last {
                            prop_assert!(plant.set <= high, "the end has passed, and {} is set, not {high}", plant.set);
                        }
                    }
                }
                Event::Foreign(watts) => plant.set = watts,
                Event::Bmc(watts) => plant.bmc = watts,
                Event::Reload => plant.set = 700,
                Event::Restart { waits } => {
                    let start = match (hold.sequence(), hold.limit(), hold.fall()) {
                        (Some(sequence), Some(limit), Some(fall)) => {
                            let ends = now.plus(waits);
                            if let Some((_, _, last, _)) = &mut newest {
                                *last = (*last).max(ends.0);
                            }
                            Start::Recorded(Recorded { sequence, limit, ends, fall, clock_megahertz: None })
                        }
                        _ => Start::Unknown,
                    };
                    hold = Hold::new(bounds, start);
                    prop_assert_eq!(hold.limit(), before);
                }
            }
        }
    }
}
