//! How much of what is used is generated in the same hour: hourly matching as in accounts of carbon-free energy around the clock (Google,
//! *24/7 Carbon-Free Energy: Methodologies and Metrics*, 2021). What one hour has too much another can't use: nothing is stored.

use crate::core::steps::Steps;
use crate::units::{Joules, Moment, Seconds, Watts};

/// Energy of one run, and what of it was made in the hour in which it was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// What the site used.
    pub used: Joules,
    /// What was generated.
    pub generated: Joules,
    /// Of each hour the lesser of both.
    pub matched: Joules,
}

impl Matched {
    /// Sums over the hours of the clock from a start to an end. One that is cut counts for its part.
    #[must_use]
    pub fn of(draw: &Steps<Watts>, generation: &Steps<Watts>, start: Moment, end: Moment) -> Self {
        let mut sum = Self { used: Joules::ZERO, generated: Joules::ZERO, matched: Joules::ZERO };
        let (mut from, mut places) = (start, (draw.place(start), generation.place(start)));
        while from < end {
            let until = (from.floor(Seconds::HOUR) + Seconds::HOUR).min(end);
            let energy = |steps: &Steps<Watts>, place: &mut usize| -> Joules {
                steps.pieces_after(place, from, until).map(|(a, b, watts)| watts.max(Watts::ZERO).over(b - a)).sum()
            };
            let (used, generated) = (energy(draw, &mut places.0), energy(generation, &mut places.1));
            sum.used += used;
            sum.generated += generated;
            sum.matched += used.min(generated);
            from = until;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watts(changes: &[(i64, i64)]) -> Steps<Watts> {
        Steps::new(Watts(0), changes.iter().map(|(minute, watts)| (Moment(minute * 60), Watts(*watts))))
    }

    #[test]
    fn each_hour_is_matched_for_itself() {
        // 1 kW for three hours; of sun half an hour of 4 kW, then none, then 600 W and, at night, −5 W of the inverter
        let draw = watts(&[(0, 1000), (180, 0)]);
        let sun = watts(&[(15, 4000), (45, 0), (120, 600), (180, -5)]);
        let hours = |count: i64| Matched::of(&draw, &sun, Moment(0), Moment(count * 3600));
        // 1 of 2 kWh of the first hour, nothing of the second, 0.6 of the third: 1.6 of 3 kWh used, 1.6 of 2.6 kWh made
        let kilowatt_hours = |thousandths: i64| Joules(thousandths * 3600);
        let expected =
            Matched { used: kilowatt_hours(3000), generated: kilowatt_hours(2600), matched: kilowatt_hours(1600) };
        assert_eq!(hours(3), expected);
        assert_eq!(hours(4), expected, "nothing is used, and less than nothing is made");
        // cut within hours: 0:30 to 2:30. 0.5 of 1 kWh; nothing; 0.3 of 0.5
        let cut = Matched::of(&draw, &sun, Moment(30 * 60), Moment(150 * 60));
        let expected =
            Matched { used: kilowatt_hours(2000), generated: kilowatt_hours(1300), matched: kilowatt_hours(800) };
        assert_eq!(cut, expected);
        assert_eq!(Matched::of(&draw, &sun, Moment(9), Moment(9)).used, Joules::ZERO);
    }
}
