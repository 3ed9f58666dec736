//! Watts by what is drawn and not by what is reserved: for a target on a meter.
//!
//! A breaker must hold whatever the work does next, so its watts are limits. A curtailment is settled by a meter: an A100 that
//! trains under 400 W draws 345, and whoever divides its target by limits gives up work for watts that nobody draws. Nothing here
//! lifts a limit above what a breaker's division allows; it is the lower of the two that is set.

use super::{Bend, Claim};
use crate::core::profile::{Point, Profile};
use crate::units::Watts;

/// Accelerators that work in step under the same limit.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// How their work does.
    pub profile: &'a Profile,
    /// How many they are.
    pub count: u32,
    /// How much slower it may get, in thousandths.
    pub tolerated: u32,
}

impl Load<'_> {
    /// What it can do with what it draws.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let hull = self.profile.hull();
        let [lowest, .., highest] = hull else { return Claim::at(hull[0].draw.times(self.count)) };
        let all = |watts: Watts| watts.times(self.count);
        let bend = |pair: &[Point]| Bend {
            watts: all(pair[1].draw - pair[0].draw),
            work: i64::from(self.count) * i64::from(pair[1].throughput_permille - pair[0].throughput_permille),
        };
        let slowest = highest.throughput_permille * (1000 - self.tolerated.min(1000)) / 1000;
        let promised = all(self.draw_for(slowest));
        let most = all(highest.draw);
        Claim::new(all(lowest.draw), promised, most, most, hull.windows(2).map(bend))
    }

    /// The least draw of one at which it is no slower than this, in thousandths.
    fn draw_for(&self, permille: u32) -> Watts {
        let by = |point: &Point| (i64::from(point.throughput_permille), point.draw.0);
        Watts(between(self.profile.hull(), i64::from(permille), by, true))
    }

    /// The limit of each under which they draw no more than this together.
    #[must_use]
    pub fn limit(&self, draw: Watts) -> Watts {
        let each = draw.0 / i64::from(self.count.max(1));
        Watts(between(self.profile.hull(), each, |point| (point.draw.0, point.limit.0), false))
    }
}

/// The line through the points at `x`, level beyond its ends; rounded up or down.
fn between(points: &[Point], x: i64, of: impl Fn(&Point) -> (i64, i64), up: bool) -> i64 {
    let mut before = of(&points[0]);
    for point in points {
        let next = of(point);
        if x < next.0 {
            let (run, rise) = ((next.0 - before.0).max(1), (next.1 - before.1) * (x - before.0).max(0));
            return before.1 + if up { (rise + run - 1) / run } else { rise / run };
        }
        before = next;
    }
    before.1
}

/// What a meter says against what the curves say: the watts by which the next division is corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// What stays free below the target for what the meter sees too late.
    pub margin: Watts,
    correction: Watts,
}

impl Track {
    /// Nothing is known yet but the margin.
    #[must_use]
    pub fn new(margin: Watts) -> Self {
        Self { margin, correction: Watts::ZERO }
    }

    /// What is to be divided for a target.
    #[must_use]
    pub fn budget(&self, target: Watts) -> Watts {
        target - self.margin + self.correction
    }

    /// The meter has read the mean of a while with nothing else changing. Too much is taken back at once, too little is given in
    /// quarters: a swing downwards must not be answered by one upwards. No correction passes a twentieth of the target.
    pub fn metered(&mut self, target: Watts, drawn: Watts) {
        let error = target - self.margin - drawn;
        let step = if error < Watts::ZERO { error } else { Watts(error.0 / 4) };
        let most = target.percent(5);
        self.correction = (self.correction + step).min(most).max(Watts::ZERO - most);
    }

    /// The meter is silent: what it allowed beyond the curves is taken back.
    pub fn silent(&mut self) {
        self.correction = self.correction.min(Watts::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::divide::divide;

    fn profile() -> Profile {
        let point = |limit, draw, work| Point { limit: Watts(limit), draw: Watts(draw), throughput_permille: work };
        let points = [point(100, 100, 230), point(200, 195, 780), point(300, 285, 940), point(400, 343, 1000)];
        Profile::new(&points, Watts(60), Watts(400), 30).unwrap()
    }

    #[test]
    fn what_is_drawn_comes_to_a_limit() {
        let profile = profile();
        let load = Load { profile: &profile, count: 8, tolerated: 250 };
        assert_eq!(load.limit(Watts(8 * 343)), Watts(400));
        assert_eq!(load.limit(Watts(8 * 240)), Watts(250));
        assert_eq!(load.limit(Watts(0)), Watts(100), "no lower than the lowest that is known");
        let claim = load.claim();
        assert_eq!((claim.floor, claim.most), (Watts(800), Watts(8 * 343)));
        assert_eq!(claim.promised, Watts(8 * 190), "at 750 of 1000");
    }

    #[test]
    fn a_target_is_met_in_draw_where_limits_would_give_up_more() {
        let profile = profile();
        let load = Load { profile: &profile, count: 8, tolerated: 250 };
        let given = divide(Watts(8 * 320), &[load.claim()], &[Watts(0)], &|_| Watts(0));
        assert!((8 * 320 - 1..=8 * 320).contains(&given[0].0), "{}", given[0]);
        assert!(load.limit(given[0]) > Watts(355), "{}", load.limit(given[0]));
    }

    #[test]
    fn too_much_is_taken_back_at_once_and_a_silent_meter_allows_nothing() {
        let mut track = Track::new(Watts(100));
        let target = Watts(10_000);
        track.metered(target, Watts(10_100));
        assert_eq!(track.budget(target), Watts(9700));
        track.metered(target, Watts(8_700));
        assert_eq!(track.budget(target), Watts(10_000));
        track.metered(target, Watts(0));
        assert_eq!(track.budget(target), Watts(10_400), "no more than a twentieth");
        track.silent();
        assert_eq!(track.budget(target), Watts(9900));
    }
}
