//! Which clock a device is locked at under each limit: for work that draws far less than its limit, so that a lower limit does nothing
//! until it does too much.

use crate::units::Watts;

/// Clocks by limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clocks {
    /// Limits and clocks in MHz, both strictly rising. Never empty.
    points: Vec<(Watts, u32)>,
}

impl Clocks {
    /// Clocks by limits, in any order; a higher limit with no higher clock is of no use. None where there is none.
    #[must_use]
    pub fn of(points: impl IntoIterator<Item = (Watts, u32)>) -> Option<Self> {
        let mut all: Vec<(Watts, u32)> = points.into_iter().collect();
        all.sort_by_key(|(limit, megahertz)| (*limit, std::cmp::Reverse(*megahertz)));
        let mut points: Vec<(Watts, u32)> = Vec::new();
        for point in all {
            if points.last().is_none_or(|last| point.1 > last.1) {
                points.push(point);
            }
        }
        (!points.is_empty()).then_some(Self { points })
    }

    /// The highest clock that was measured under this limit or a lower one, in MHz; the lowest of all below the first. The limit holds
    /// the device in any case.
    #[must_use]
    pub fn at(&self, limit: Watts) -> u32 {
        let fits = self.points.iter().rev().find(|(least, _)| *least <= limit);
        fits.or(self.points.first()).map_or(0, |(_, megahertz)| *megahertz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_highest_that_the_limit_is_enough_for() {
        let clocks =
            Clocks::of([(300, 1980), (150, 990), (200, 1410), (250, 1400)].map(|(w, mhz)| (Watts(w), mhz))).unwrap();
        let at = [100, 150, 199, 200, 299, 300, 700].map(|limit| clocks.at(Watts(limit)));
        assert_eq!(at, [990, 990, 990, 1410, 1410, 1980, 1980]);
        assert_eq!(Clocks::of([]), None);
    }
}
