//! Lengths that are not sure, and deadlines that are kept even so.
//!
//! ```text
//!   start          finish       aim                    deadline
//!     |--- expected --|- longer --:                        |
//!     |               where it may end ---------->         |
//!                                 |<----- longer_by ------>|
//! ```
//! A plan is made with the expected length and ends by the aim: whoever then takes as long as it may well take still keeps its deadline.

use super::Workload;
use crate::units::{Moment, Seconds};
use serde::Serialize;

/// What is not sure of the length of a workload with a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uncertain {
    /// So much longer than is expected it may well take at full: an upper quantile of its length, less what is expected.
    pub longer_by: Seconds,
    /// By when it is to be finished, however long it takes.
    pub deadline: Moment,
}

impl Uncertain {
    /// One that may take so much longer; none where that is nothing.
    #[must_use]
    pub fn of(longer_by: Seconds, deadline: Moment) -> Option<Self> {
        (longer_by > Seconds::ZERO).then_some(Self { longer_by, deadline })
    }

    /// By when it is planned to finish: before its deadline by what it may take longer; but no sooner than it can at all
    /// (`soonest`), since no plan could do that, and never after the deadline.
    #[must_use]
    pub fn aim(self, soonest: Moment) -> Moment {
        (self.deadline - self.longer_by).max(soonest).min(self.deadline)
    }
}

/// How it stands with a deadline, as planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Outlook {
    /// It is kept, also where the work takes as long as it may well take.
    OnTime,
    /// It is kept where the work takes no longer than expected; else it is missed by so much.
    AtRisk(Seconds),
    /// It is missed by so much.
    Late(Seconds),
}

impl Workload {
    /// By when it is to be finished, however long it takes; none where it is never delayed.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.uncertain.map(|uncertain| uncertain.deadline).or(self.finish_by)
    }

    /// How it stands with its deadline where it is planned to finish then; none where it has none.
    #[must_use]
    pub fn outlook(&self, finish: Moment) -> Option<Outlook> {
        let deadline = self.deadline()?;
        let longer_by = self.uncertain.map_or(Seconds::ZERO, |uncertain| uncertain.longer_by);
        Some(match (finish - deadline, finish + longer_by - deadline) {
            (late, _) if late > Seconds::ZERO => Outlook::Late(late),
            (_, late) if late > Seconds::ZERO => Outlook::AtRisk(late),
            _ => Outlook::OnTime,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aim_lies_before_the_deadline_but_never_before_what_can_be_done() {
        let uncertain = Uncertain { longer_by: Seconds(100), deadline: Moment(1000) };
        assert_eq!(uncertain.aim(Moment(300)), Moment(900));
        assert_eq!(uncertain.aim(Moment(950)), Moment(950), "it can't be done sooner");
        assert_eq!(uncertain.aim(Moment(2000)), Moment(1000), "nor can a deadline be put off");
    }
}
