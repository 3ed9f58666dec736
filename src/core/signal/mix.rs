//! Carbon intensity of what generates, where a grid publishes none.

use crate::units::{CarbonIntensity, Watts};

/// The most power that can be meant: all plants of the world have less.
const MOST: i128 = 20_000_000_000_000;

/// What a plant burns or turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fuel {
    /// Hard coal.
    Coal,
    /// Lignite, peat, oil shale.
    Lignite,
    /// Oil.
    Oil,
    /// Natural gas, and gas made of coal.
    Gas,
    /// Wood, plants, the part of waste that grew.
    Biomass,
    /// Waste.
    Waste,
    /// Heat of the earth.
    Geothermal,
    /// Rivers and reservoirs.
    Hydro,
    /// Fission.
    Nuclear,
    /// Sunlight.
    Solar,
    /// Wind on land.
    Wind,
    /// Wind at sea, and the sea itself.
    Offshore,
    /// What the source does not name.
    Unknown,
    /// Pumps and batteries that give back what they took. What is in them is of the mix itself, so they change nothing.
    Storage,
}

/// What one kWh of a fuel emits over the life of its plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor {
    /// The fuel.
    pub fuel: Fuel,
    /// How much.
    pub intensity: CarbonIntensity,
    /// Who says so.
    pub source: &'static str,
}

/// Medians of the table of the IPCC.
const IPCC: &str = "IPCC AR5 WG III (2014), annex III, table A.III.2, median";

const fn factor(fuel: Fuel, grams: i64, source: &'static str) -> Factor {
    Factor { fuel, intensity: CarbonIntensity(grams * 1000), source }
}

/// Lifecycle factors. They are of the world, not of one grid: a mix of them is an estimate, and called so.
pub const FACTORS: &[Factor] = &[
    factor(Fuel::Coal, 820, IPCC),
    factor(Fuel::Lignite, 1100, "a guess: hard coal's 820 by what lignite's lower efficiency costs, about a third"),
    factor(Fuel::Oil, 650, "UK Parliamentary Office of Science and Technology (2006), the lower end for oil"),
    factor(Fuel::Gas, 490, IPCC),
    factor(Fuel::Biomass, 230, IPCC),
    factor(Fuel::Waste, 700, "a guess: between oil and coal"),
    factor(Fuel::Geothermal, 38, IPCC),
    factor(Fuel::Hydro, 24, IPCC),
    factor(Fuel::Nuclear, 12, IPCC),
    factor(Fuel::Solar, 48, IPCC),
    factor(Fuel::Wind, 11, IPCC),
    factor(Fuel::Offshore, 12, IPCC),
    factor(Fuel::Unknown, 820, "as coal: what is not known is never read as green"),
];

/// The mean intensity of what generates at one moment; none where nothing does, or more than the world has. Storage counts as the rest does, and what is below
/// zero (a plant's own use) as nothing.
#[must_use]
pub fn carbon_of(mix: &[(Fuel, Watts)]) -> Option<CarbonIntensity> {
    let (mut carbon, mut watts) = (0_i128, 0_i128);
    for (fuel, output) in mix.iter().filter(|(fuel, output)| *fuel != Fuel::Storage && output.0 > 0) {
        let factor = FACTORS.iter().find(|factor| factor.fuel == *fuel).map_or(820_000, |factor| factor.intensity.0);
        carbon += i128::from(output.0) * i128::from(factor);
        watts += i128::from(output.0);
    }
    if watts == 0 || watts > MOST {
        None
    } else {
        i64::try_from((carbon + watts / 2) / watts).ok().map(CarbonIntensity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_a_mean_by_output() {
        // 100 W of coal and 300 W of wind: (82,000 + 3,300) / 400 = 213.25 g/kWh
        let mix = [(Fuel::Coal, Watts(100)), (Fuel::Wind, Watts(300))];
        assert_eq!(carbon_of(&mix), Some(CarbonIntensity(213_250)));
        // what comes out of storage is of that mix, and a plant's own use is no generation
        let stored = [&mix[..], &[(Fuel::Storage, Watts(5000)), (Fuel::Solar, Watts(-7))]].concat();
        assert_eq!(carbon_of(&stored), carbon_of(&mix));
        assert_eq!(carbon_of(&[]), None);
        assert_eq!(carbon_of(&[(Fuel::Storage, Watts(9)), (Fuel::Gas, Watts(0))]), None);
    }

    #[test]
    fn each_fuel_has_one_factor_and_none_is_greener_for_not_being_known() {
        let most = FACTORS.iter().filter(|factor| factor.fuel != Fuel::Lignite).map(|factor| factor.intensity).max();
        assert_eq!(carbon_of(&[(Fuel::Unknown, Watts(1))]), most);
        for (i, factor) in FACTORS.iter().enumerate() {
            assert!(FACTORS[..i].iter().all(|other| other.fuel != factor.fuel) && !factor.source.is_empty());
        }
        // wind that would drown all else
        assert_eq!(
            carbon_of(&[(Fuel::Coal, Watts(1)), (Fuel::Wind, Watts(i64::MAX)), (Fuel::Wind, Watts(i64::MAX))]),
            None
        );
    }
}
