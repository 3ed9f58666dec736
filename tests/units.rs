//! Units as people write them, and the arithmetic between them.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::units::{
    CarbonIntensity, GramsCo2e, Joules, Moment, Money, PricePerMwh, PricePerTonne, Seconds, Watts,
};
use proptest::prelude::*;

#[test]
fn amounts_are_read_exactly() {
    for (text, watts) in
        [("0 W", 0), ("12 kW", 12_000), ("1.2MW", 1_200_000), (" 0.001 kW ", 1), ("3.5 GW", 3_500_000_000)]
    {
        assert_eq!(text.parse(), Ok(Watts(watts)), "{text}");
    }
    assert_eq!("1.2MWh".parse(), Ok(Joules(4_320_000_000)));
    assert_eq!("1 Wh".parse(), Ok(Joules(3600)));
    assert_eq!("400g/kWh".parse(), Ok(CarbonIntensity(400_000)));
    assert_eq!("425.2 gCO2e/kWh".parse(), Ok(CarbonIntensity(425_200)));
    assert_eq!("0.4 t/MWh".parse(), Ok(CarbonIntensity(400_000)));
    for (text, seconds) in [("90s", 90), ("15m", 900), ("720h", 2_592_000), ("2h30m", 9_000), ("1d 1s", 86_401)] {
        assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
    }
}

#[test]
fn each_mistake_has_its_own_words() {
    let power = |text: &str| text.parse::<Watts>().unwrap_err().to_string();
    let write = "write a power such as 800 W, 12 kW or 1.2 MW";
    assert_eq!(power(""), format!("an amount is missing: {write}"));
    assert_eq!(power("12"), format!("`12` has no unit: {write}"));
    assert_eq!(power("kW"), format!("`kW` does not begin with a number: {write}"));
    assert_eq!(power("1.2.3 kW"), format!("`1.2.3 kW` does not begin with a number: {write}"));
    assert_eq!(power("12 kWh"), format!("`12 kWh` is energy, but power is needed here: {write}"));
    assert_eq!(power("400g/kWh"), format!("`400g/kWh` is carbon intensity, but power is needed here: {write}"));
    assert_eq!(power("12 kw"), format!("`kw` in `12 kw` is not a unit of power: {write}"));
    assert_eq!(power("-3 kW"), "`-3 kW` is negative");
    assert_eq!(power("0.5 W"), "`0.5 W` is finer than 1 W, the smallest amount that is counted");
    assert_eq!(power("99999999999 GW"), "`99999999999 GW` is larger than can be counted");
    assert_eq!(power("NaN kW"), format!("`NaN kW` does not begin with a number: {write}"));
    assert_eq!(
        "12 kW".parse::<Joules>().unwrap_err().to_string(),
        "`12 kW` is power, but energy is needed here: write an energy such as 500 kWh, 1.2 MWh or 3600 J"
    );
    let time = |text: &str| text.parse::<Seconds>().unwrap_err().to_string();
    assert_eq!(time("15"), "`15` has no unit: write a duration such as 90s, 15m, 2h30m or 2d");
    assert_eq!(time("-1h"), "`-1h` is negative");
    assert_eq!(
        time("3 weeks"),
        "`weeks` in `3 weeks` is not a unit of time: write a duration such as 90s, 15m, 2h30m or 2d"
    );
    assert!(
        "tomorrow"
            .parse::<Moment>()
            .unwrap_err()
            .to_string()
            .starts_with("`tomorrow` is not a time such as 2022-10-19T16:00:00Z")
    );
}

#[test]
fn one_unit_becomes_another_by_name() {
    let energy = Watts(1000).over(Seconds::HOUR);
    assert_eq!(energy, Joules(3_600_000));
    assert_eq!(CarbonIntensity(425_200).of(energy), GramsCo2e(425_200_000)); // 425.2 g in micrograms
    assert_eq!(PricePerMwh(100_000_000).of(energy), Money(100_000)); // 100 a MWh: a tenth of a unit
    assert_eq!(GramsCo2e(1_000_000_000_000).at(PricePerTonne::units(20)), Money(20_000_000)); // a tonne
    assert_eq!(PricePerTonne::units(20).per_mwh(CarbonIntensity(500_000)), PricePerMwh(10_000_000)); // half a tonne a MWh
    assert_eq!(Watts(1000).plus_permille(50), Watts(1050));
    assert_eq!(Watts(1001).plus_permille(1), Watts(1003), "losses are rounded up");
}

#[test]
fn amounts_are_written_for_people() {
    assert_eq!(Watts(-1200).to_string(), "-1200 W");
    assert_eq!(Joules(4_320_000_000).to_string(), "1200 kWh");
    assert_eq!(Seconds(93_784).to_string(), "1d 2h 3m 4s");
    assert_eq!(Seconds(0).to_string(), "0s");
    assert_eq!(Money(-12_345_678).to_string(), "-12.35");
    assert_eq!(Moment(1_666_195_200).to_string(), "2022-10-19T16:00:00Z");
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,24}") {
        let _ = (text.parse::<Watts>(), text.parse::<Joules>(), text.parse::<CarbonIntensity>(), text.parse::<Seconds>(), text.parse::<Moment>());
    }

    #[test]
    fn what_was_written_is_read_back(watts in 0..i64::MAX / 2000, seconds in 0..i64::MAX / 2) {
        prop_assert_eq!(Watts(watts).to_string().parse(), Ok(Watts(watts)));
        prop_assert_eq!(Seconds(seconds).to_string().parse(), Ok(Seconds(seconds)));
    }

    #[test]
    fn splitting_a_time_loses_no_energy(watts in 0..1_000_000_i64, a in 0..100_000_i64, b in 0..100_000_i64) {
        prop_assert_eq!(Watts(watts).over(Seconds(a)) + Watts(watts).over(Seconds(b)), Watts(watts).over(Seconds(a + b)));
    }
}
