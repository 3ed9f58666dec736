//! What a curtailment orders: a cap, or less than there is, made into absolute watts.

use crate::units::Watts;

/// What is asked of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// No more than this.
    Cap(Watts),
    /// So much less than the baseline.
    ReduceWatts(Watts),
    /// So many hundredths less than the baseline; more than 100 is taken as 100.
    ReducePercent(u32),
}

impl Target {
    /// The cap that this comes to, in watts, with this baseline to reduce from.
    ///
    /// At least 1 W, which stops all that can be stopped: a limit of 0 has been read as no limit at all (evcc#29705).
    #[must_use]
    pub fn resolve(self, baseline: Watts) -> Watts {
        let cap = match self {
            Self::Cap(cap) => cap,
            Self::ReduceWatts(less) => baseline - less,
            Self::ReducePercent(percent) => baseline - baseline.percent(percent.min(100)),
        };
        cap.max(Watts(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_comes_to_absolute_watts() {
        let of = |target: Target| target.resolve(Watts(34_000)).0;
        assert_eq!(of(Target::Cap(Watts(24_000))), 24_000);
        assert_eq!(of(Target::Cap(Watts(50_000))), 50_000, "the lowest of all caps wins elsewhere");
        assert_eq!(of(Target::ReduceWatts(Watts(10_000))), 24_000);
        assert_eq!(of(Target::ReducePercent(30)), 23_800);
    }

    #[test]
    fn nothing_left_is_a_cap_that_stops_everything_and_never_no_cap() {
        for target in [
            Target::Cap(Watts(0)),
            Target::Cap(Watts(-5)),
            Target::ReduceWatts(Watts(34_000)),
            Target::ReduceWatts(Watts(i64::MAX)),
            Target::ReducePercent(100),
            Target::ReducePercent(u32::MAX),
        ] {
            assert_eq!(target.resolve(Watts(34_000)), Watts(1), "{target:?}");
        }
    }
}
