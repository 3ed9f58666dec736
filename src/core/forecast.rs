//! What may be known at a moment of a series that lies ahead, and how well it is known.
//!
//! A [`Forecaster`] is told each hour's value and guesses the hours that follow: by a [`Method`], with quantiles from the errors of
//! its own past guesses ([`Errors`]). An [`Outlook`] is a series of a simulation as it would be known while time goes on.

mod errors;
mod forecaster;
mod hours;
mod learned;
mod outlook;
mod ridge;

pub use errors::Errors;
pub use forecaster::Forecaster;
pub use hours::Hours;
pub use outlook::Outlook;

/// How many hours ahead are guessed each on its own, with errors kept. Three days: of the work of a cluster nearly all is done by then,
/// and beyond it the mean of weeks is as good as anything.
pub const LEADS: usize = 72;

/// How the hours ahead are guessed from those that were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As it was a day before.
    Persistence,
    /// The mean of the same hour of the week over the four weeks before; where these are not known, persistence.
    HourOfWeek,
    /// Ridge regressions on what was lately, a day and a week before, and on means of these: one for each lead and hour of the day,
    /// learned from what was, of which the older counts less. The hour of the week until there is enough to learn from.
    Learned,
}

impl Method {
    /// Its fixed name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Persistence => "Persistence",
            Self::HourOfWeek => "HourOfWeek",
            Self::Learned => "Learned",
        }
    }
}

/// What a simulation lets its planner know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forecast {
    /// All that comes.
    Perfect,
    /// What was, and a guess of what comes.
    By(Method),
    /// What comes up to an error of so many percent either way, of its own for each hour, the present hour excepted.
    Noisy {
        /// The largest error.
        percent: u32,
    },
}
