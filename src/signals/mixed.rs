//! Carbon intensity of what generates, where a provider gives no other.

use crate::core::signal::{Answer, BadNumber, Basis, Decimal, Factors, Fuel, Raw, Unit, What, Zone, carbon_of};
use crate::units::{Moment, Seconds, Watts};
use std::collections::{BTreeMap, BTreeSet};

/// A fuel, the number of its series, and its output.
type Output = (Fuel, u32, Result<Watts, BadNumber>);

/// Output of each fuel at each time.
#[derive(Debug, Default)]
pub(super) struct Mixes {
    at: BTreeMap<(Moment, Seconds), Vec<Output>>,
    /// Which series there are: a fuel may have more than one.
    series: BTreeSet<(Fuel, u32)>,
}

impl Mixes {
    /// The output of a fuel for a while; a fuel may come in several series, each with its number.
    pub(super) fn add(
        &mut self,
        start: Moment,
        long: Seconds,
        fuel: Fuel,
        series: u32,
        number: Result<Decimal, BadNumber>,
        unit: Unit,
    ) {
        let watts = number.and_then(|number| unit.base(number).map(Watts).ok_or_else(|| BadNumber(number.to_string())));
        self.series.insert((fuel, series));
        self.at.entry((start, long)).or_default().push((fuel, series, watts));
    }

    /// The answer that follows, always an estimate. Times at which a series has no value are left out: a mix without its coal is green.
    pub(super) fn answer(
        self,
        zone: Zone,
        source: &'static str,
        licence: &'static str,
        issued: Option<Moment>,
    ) -> Answer {
        let (mut rows, mut empty) = (Vec::with_capacity(self.at.len()), 0);
        for ((start, long), mix) in self.at {
            let there: BTreeSet<(Fuel, u32)> = mix.iter().map(|(fuel, series, _)| (*fuel, *series)).collect();
            if there != self.series {
                empty += 1;
                continue;
            }
            let outputs: Result<Vec<(Fuel, Watts)>, BadNumber> =
                mix.into_iter().map(|(fuel, _, watts)| Ok((fuel, watts?))).collect();
            let value = outputs.and_then(|outputs| {
                let carbon =
                    carbon_of(&outputs).ok_or_else(|| BadNumber("a mix of nothing, or of too much".to_owned()))?;
                Ok(Decimal::whole(carbon.0))
            });
            rows.push(Raw { issued, estimated: true, ..Raw::new(start, start + long, value) });
        }
        Answer {
            zone,
            what: What::CarbonIntensity,
            basis: Basis::LocationAverage,
            factors: Factors::Lifecycle,
            unit: Unit::MILLIGRAMS_PER_KWH,
            source,
            licence,
            rows,
            empty,
        }
    }
}
