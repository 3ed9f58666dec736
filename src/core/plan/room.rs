//! What is in the way of a workload: asked by who looks for a place, answered by what others have taken.

use super::{PoolChoice, PoolId, Run};
use crate::core::domain::DomainId;
use crate::core::steps::Steps;
use crate::units::{Joules, Moment, Seconds};

/// What it would cost if nothing were in the way is found with the same code: this says what is.
pub(super) trait Room {
    fn fits(&self, choice: PoolChoice, from: Moment, to: Moment) -> bool;
    /// From when on it does not fit any more, in `[from, to)`; none if it fits throughout.
    fn until_when(&self, choice: PoolChoice, from: Moment, to: Moment) -> Option<Moment>;
    fn earliest(&self, choice: PoolChoice, from: Moment, length: Seconds) -> Option<Moment>;
    /// What is left of what is generated on the site for a pool, over time; none where nothing is.
    fn own_left(&self, pool: PoolId) -> Option<&Steps<i64>>;
    /// The last moment up to this one at which no part of what is counted is used by halves.
    fn whole(&self, until: Moment) -> Moment;
    /// The spans of `[from, to)` in which it fits.
    fn spans(&self, choice: PoolChoice, from: Moment, to: Moment) -> Vec<(Moment, Moment)>;
    /// Why runs are refused that each fit: energy budgets and ramps look at all of them together.
    fn refused(&self, runs: &[Run]) -> Vec<Refusal>;
}

/// Why runs are refused though caps and pools have room for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// They take more than is left of a budget in a window.
    Budget {
        /// Which of the problem's budgets.
        budget: usize,
        from: Moment,
        until: Moment,
        /// So long may it run in there at the most that it draws.
        affords: Seconds,
        /// What is missing.
        short: Joules,
    },
    /// Too much would begin in a slot, or end in it.
    Ramp { domain: DomainId, from: Moment, until: Moment, is_end: bool },
}
