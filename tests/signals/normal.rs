//! The normal form: what is meant comes through in base units, what can't be meant is refused, counted and said.

use heliotrope::core::signal::{
    Answer, Basis, Currency, Decimal, Factors, Raw, Reason, Series, Sifted, Unit, Wanted, What, Zone, longest_run, sift,
};
use heliotrope::units::{Moment, Seconds};
use proptest::prelude::*;

const HOUR: i64 = 3600;

/// The hour in which all of this is looked at.
fn now() -> Moment {
    "2026-10-25T00:00:00Z".parse().unwrap()
}

fn row(hour: i64, value: &str) -> Raw {
    let start = now() + Seconds(hour * HOUR);
    Raw::new(start, start + Seconds::HOUR, value.parse())
}

fn answer(rows: Vec<Raw>) -> Answer {
    Answer {
        zone: Zone::Said("KR".to_owned()),
        what: What::CarbonIntensity,
        basis: Basis::LocationAverage,
        factors: Factors::Lifecycle,
        unit: Unit::GRAMS_PER_KWH,
        source: "a test",
        licence: "none",
        rows,
        empty: 0,
    }
}

fn wanted() -> Wanted<'static> {
    Wanted {
        zone: "KR",
        what: What::CarbonIntensity,
        basis: Basis::LocationAverage,
        currency: None,
        now: now(),
        typical: None,
        steady: None,
    }
}

/// One refusal, its reason and its words.
fn refusal(sifted: &Sifted) -> (Reason, usize, String) {
    let all: Vec<_> = sifted.refused.iter().map(|(reason, count, what)| (reason, count, what.to_owned())).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap()
}

fn of_one(row: Raw) -> (Reason, usize, String) {
    let sifted = sift(&answer(vec![row]), &wanted());
    assert!(sifted.readings.is_empty());
    refusal(&sifted)
}

#[test]
fn readings_are_in_base_units_and_in_order() {
    let sifted = sift(&answer(vec![row(1, "419.01"), row(0, "425.2")]), &wanted());
    assert_eq!(sifted.refused.total(), 0);
    let values: Vec<_> = sifted.readings.iter().map(|reading| (reading.start - now(), reading.value)).collect();
    assert_eq!(values, [(Seconds(0), 425_200), (Seconds::HOUR, 419_010)]);
    assert_eq!((&*sifted.readings[0].zone, sifted.readings[0].source), ("KR", "a test"));
}

#[test]
fn each_absurd_value_is_refused_with_its_reason() {
    for (value, reason, said) in [
        ("NaN", Reason::NotANumber, "`NaN` is not a number"),
        ("inf", Reason::NotANumber, "`inf` is not a number"),
        ("1e50", Reason::NotANumber, "1e50 is more than can be counted"),
        ("-4", Reason::Negative, "-4 g/kWh is below 0"),
        ("425200", Reason::UnitOff, "425200 g/kWh is above 5000: another unit must be meant"),
        ("0.4252", Reason::UnitOff, "0.425 g/kWh on average is below 1: another unit must be meant"),
        ("0", Reason::UnitOff, "0 g/kWh on average is below 1: another unit must be meant"),
    ] {
        assert_eq!(of_one(row(0, value)), (reason, 1, said.to_owned()), "{value}");
    }
    // a thousandth of a very dirty grid looks like a clean one, but not where it is known
    let known = Wanted { typical: Some(700_000), ..wanted() };
    let sifted = sift(&answer(vec![row(0, "1.4"), row(1, "350"), row(2, "4")]), &known);
    assert_eq!(sifted.readings.len(), 2);
    let words = "1.4 g/kWh, where 700 are usual: another unit must be meant";
    assert_eq!(refusal(&sifted), (Reason::UnitOff, 1, words.to_owned()));
    // chimneys of a grid of rivers emit nothing, and the marginal plant may be the wind
    let direct = Answer { factors: Factors::Direct, ..answer(vec![row(0, "0")]) };
    assert_eq!(sift(&direct, &wanted()).readings[0].value, 0);
    let marginal = Answer { basis: Basis::Marginal, ..answer(vec![row(0, "0")]) };
    assert_eq!(sift(&marginal, &Wanted { basis: Basis::Marginal, ..known }).readings[0].value, 0);
}

#[test]
fn each_absurd_time_is_refused_with_its_reason() {
    let at = |text: &str| text.parse::<Moment>().unwrap();
    let mut row_2106 = row(0, "1");
    (row_2106.start, row_2106.end) = (at("2106-02-07T06:28:15Z"), at("2106-02-07T07:28:15Z"));
    assert_eq!(of_one(row_2106).0, Reason::OutOfTime);
    let mut forever = row(0, "100");
    forever.end = Moment::FAR_FUTURE;
    assert_eq!(of_one(forever).0, Reason::OutOfTime);
    let mut backwards = row(0, "100");
    backwards.end = backwards.start;
    assert_eq!(of_one(backwards).0, Reason::Backwards);
    let mut long = row(0, "100");
    long.end = long.start + Seconds(32 * 86_400);
    assert_eq!(of_one(long).0, Reason::Backwards);
    assert_eq!(of_one(row(16 * 24 + 1, "100")).0, Reason::TooFarAhead);
    let mut made_tomorrow = row(0, "100");
    made_tomorrow.issued = Some(now() + Seconds::DAY);
    let said = "made at 2026-10-26T00:00:00Z, which is yet to come";
    assert_eq!(of_one(made_tomorrow), (Reason::TooFarAhead, 1, said.to_owned()));
}

#[test]
fn an_hour_that_is_there_twice_is_never_read_as_the_greener_one() {
    // clocks go back: the hour from 2 to 3 is told twice, with the same time
    let sifted =
        sift(&answer(vec![row(0, "300"), row(1, "250"), row(1, "400"), row(2, "310"), row(2, "310")]), &wanted());
    assert_eq!(sifted.readings.iter().map(|reading| reading.value).collect::<Vec<_>>(), [300_000, 400_000, 310_000]);
    assert_eq!((sifted.refused.count(Reason::Overlapping), sifted.refused.count(Reason::Repeated)), (1, 1));
    // the other order, and an interval that reaches into the next
    let mut long = row(0, "90");
    long.end = long.end + Seconds(1800);
    let sifted = sift(&answer(vec![row(1, "400"), long, row(1, "250")]), &wanted());
    assert_eq!(sifted.readings.iter().map(|reading| reading.value).collect::<Vec<_>>(), [400_000]);
    assert_eq!(sifted.refused.count(Reason::Overlapping), 2);
}

#[test]
fn an_hour_that_is_never_there_is_the_highest() {
    // clocks go forward: the hour 1 is missing
    let sifted = sift(&answer(vec![row(0, "300"), row(2, "200"), row(3, "250")]), &wanted());
    let series = Series::of(&sifted.readings).unwrap();
    let at = |hour: i64| series.steps.at(now() + Seconds(hour * HOUR));
    assert_eq!([0, 1, 2, 3, 4].map(at), [300_000, 300_000, 200_000, 250_000, 300_000]);
    assert_eq!((series.from, series.until, series.rows), (now(), now() + Seconds(4 * HOUR), 3));
    assert_eq!(Series::of(&[]), None);
}

#[test]
fn an_answer_of_something_else_is_refused_whole() {
    let two = || answer(vec![row(0, "300"), row(1, "300")]);
    let refused = |answer: &Answer, wanted: &Wanted<'_>| {
        let sifted = sift(answer, wanted);
        assert!(sifted.readings.is_empty());
        refusal(&sifted)
    };
    let mut nowhere = two();
    nowhere.zone = Zone::Missing;
    assert_eq!(refused(&nowhere, &wanted()).0, Reason::ZoneMissing);
    let mut mine = two();
    mine.zone = Zone::Said("FR".to_owned());
    assert_eq!(refused(&mine, &wanted()), (Reason::OtherZone, 2, "of zone `FR`, wanted is `KR`".to_owned()));
    assert_eq!(refused(&Answer { zone: Zone::Only("GB"), ..two() }, &wanted()).0, Reason::OtherZone);
    assert_eq!(
        refused(&Answer { zone: Zone::Said(String::new()), ..two() }, &Wanted { zone: "", ..wanted() }).0,
        Reason::OtherZone
    );
    assert_eq!(sift(&Answer { zone: Zone::Asked, ..two() }, &wanted()).readings.len(), 2);
    let mut one_other = two();
    one_other.rows[1].zone = Some("JP".to_owned());
    assert_eq!(sift(&one_other, &wanted()).refused.count(Reason::OtherZone), 1);
    assert_eq!(refused(&two(), &Wanted { basis: Basis::Marginal, ..wanted() }).0, Reason::OtherBasis);
    assert_eq!(refused(&two(), &Wanted { what: What::Price, ..wanted() }).0, Reason::OtherBasis);
    assert_eq!(refused(&Answer { unit: Unit::WATTS, ..two() }, &wanted()).0, Reason::OtherUnit);
}

#[test]
fn prices_fall_below_zero_and_currencies_are_never_mixed() {
    let price = |currency: Currency, value: &str| Answer {
        what: What::Price,
        unit: Unit::per_mwh(currency),
        ..answer(vec![row(0, value)])
    };
    let wanted = |currency| Wanted { what: What::Price, basis: Basis::Marginal, currency, ..wanted() };
    assert_eq!(sift(&price(Currency::EUR, "-500"), &wanted(None)).readings[0].value, -500_000_000);
    assert_eq!(sift(&price(Currency::EUR, "46100"), &wanted(None)).refused.count(Reason::UnitOff), 1);
    assert_eq!(sift(&price(Currency::KRW, "134520"), &wanted(Some(Currency::KRW))).readings[0].value, 134_520_000_000);
    assert_eq!(sift(&price(Currency::USD, "97"), &wanted(Some(Currency::KRW))).refused.count(Reason::OtherCurrency), 1);
}

#[test]
fn what_is_frozen_is_known_by_how_it_moved_before() {
    let flat = |hours: i64| answer((0..hours).map(|hour| row(hour - 30, "400")).chain([row(0, "410")]).collect());
    // a grid that never moves is no news
    assert_eq!(sift(&flat(30), &wanted()).refused.total(), 0);
    let moved = Wanted { steady: Some(Seconds(3 * HOUR)), ..wanted() };
    assert_eq!(sift(&flat(24), &moved).refused.total(), 0);
    let sifted = sift(&flat(30), &moved);
    assert_eq!((sifted.readings.len(), refusal(&sifted).0, refusal(&sifted).1), (1, Reason::Frozen, 30));
    assert_eq!(sift(&flat(30), &Wanted { steady: Some(Seconds(20 * HOUR)), ..wanted() }).refused.total(), 0);
    assert_eq!(longest_run([1, 1, 1, 2]), None);
    assert_eq!(longest_run((0..168).map(|hour| hour / 3)), Some(Seconds(3 * HOUR)));
}

#[test]
fn what_flips_to_and_fro_is_refused_and_a_day_of_sun_is_not() {
    let of = |values: &[i64]| {
        let rows = (0..).zip(values).map(|(hour, value)| row(hour, &value.to_string())).collect();
        sift(&answer(rows), &wanted())
    };
    let forged = of(&[400, 410, 400, 100, 420, 90, 430, 100, 400, 395, 401]);
    assert!(forged.refused.count(Reason::FlipFlop) >= 6, "{}", forged.refused);
    assert!(forged.readings.iter().all(|reading| reading.value >= 390_000), "{:?}", forged.readings);
    let duck = [300, 290, 280, 200, 90, 40, 35, 60, 150, 330, 350, 340, 300, 310, 120, 60, 50, 200, 340];
    assert_eq!(of(&duck).refused.total(), 0);
}

#[test]
fn quantiles_rise_or_the_row_is_refused() {
    let with = |quantiles: &[(u32, &str)]| {
        let mut row = row(0, "300");
        row.quantiles =
            quantiles.iter().map(|(permille, value)| (*permille, value.parse::<Decimal>().unwrap())).collect();
        sift(&answer(vec![row]), &wanted())
    };
    assert_eq!(with(&[(100, "250"), (900, "420")]).readings[0].quantiles, [(100, 250_000), (900, 420_000)]);
    for bad in [[(100, "250"), (900, "240")], [(900, "250"), (100, "300")], [(100, "250"), (1001, "300")]] {
        assert_eq!(with(&bad).refused.count(Reason::Disordered), 1, "{bad:?}");
    }
}

proptest! {
    /// Whatever rows there are: what comes out is in order, in range and does not overlap, and nothing is lost uncounted.
    #[test]
    fn nothing_is_lost_and_nothing_overlaps(
        rows in proptest::collection::vec((-50..50_i64, 1..5_i64, "-?[0-9]{1,6}(\\.[0-9]{1,3})?|NaN"), 0..40),
        typical in proptest::option::of(1..5_000_000_i64),
        steady in proptest::option::of(0..100_000_i64),
    ) {
        let rows: Vec<Raw> = rows.iter().map(|(at, long, value)| {
            let start = now() + Seconds(at * 1800);
            Raw::new(start, start + Seconds(long * 1800), value.parse())
        }).collect();
        let count = rows.len();
        let sifted = sift(&answer(rows), &Wanted { typical, steady: steady.map(Seconds), ..wanted() });
        prop_assert_eq!(sifted.readings.len() + sifted.refused.total(), count);
        for pair in sifted.readings.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
        }
        prop_assert!(sifted.readings.iter().all(|reading| (1_000..=5_000_000).contains(&reading.value)));
        if let Some(series) = Series::of(&sifted.readings) {
            let least = sifted.readings.iter().map(|reading| reading.value).min().unwrap();
            prop_assert!(series.steps.lowest(Moment(0), Moment::FAR_FUTURE) >= least);
        }
    }
}
