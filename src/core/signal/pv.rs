//! What panels make of sunlight.

use crate::units::Watts;

/// How much less panels make with each kelvin above 25 °C, in thousandths: crystalline silicon, by its makers' data sheets.
const LOSS_PERMILLE: i64 = 4;

/// Panels as they are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panels {
    /// Their output at 1,000 W/m² and 25 °C.
    pub peak: Watts,
    /// What cables, inverters, dirt and shadow leave of it, in thousandths.
    pub performance_permille: i64,
}

impl Panels {
    /// Their output under so many mW/m² in their own plane, at an air temperature in thousandths of a degree (25 °C in the cell where it
    /// is not known). A cell is 25 K warmer than the air under 800 W/m²: the nominal conditions of data sheets, 45 °C at 20 °C.
    #[must_use]
    pub fn output(self, irradiance: i64, air: Option<i64>) -> Watts {
        let sun = i128::from(irradiance.clamp(0, 2_000_000));
        let cell = air.map_or(25_000, |air| i128::from(air.clamp(-100_000, 100_000)) + sun * 25 / 800);
        let heat_ppm = (1_000_000 - i128::from(LOSS_PERMILLE) * (cell - 25_000)).clamp(0, 1_300_000);
        let watts = i128::from(self.peak.0.max(0)) * sun * i128::from(self.performance_permille.clamp(0, 1000));
        Watts(i64::try_from(watts / 1_000_000_000 * heat_ppm / 1_000_000).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_as_by_hand() {
        let panels = Panels { peak: Watts(100_000), performance_permille: 860 };
        // 790 W/m² at 16.6 °C: the cell has 16.6 + 790/32 = 41.2875 °C, so 1 - 0.004 × 16.2875 = 0.93485; 100 kW × 0.79 × 0.86 × 0.93485
        assert_eq!(panels.output(790_000, Some(16_600)), Watts(63_513));
        assert_eq!(panels.output(790_000, None), Watts(67_940));
        assert_eq!(panels.output(0, Some(30_000)), Watts(0));
        assert_eq!(panels.output(-5, None), Watts(0));
        let absurd = Panels { peak: Watts(i64::MAX), performance_permille: i64::MAX };
        assert!(absurd.output(i64::MAX, Some(i64::MIN)).0 > 0);
    }
}
