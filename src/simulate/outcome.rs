//! What a simulated run leaves behind: all that the JSON summary, the CSV trace and the report are made of.

use super::matched::Matched;
use crate::core::plan::{Pace, WorkloadId};
use crate::core::steps::Steps;
use crate::units::{CarbonIntensity, GramsCo2e, Joules, Moment, Money, Seconds, Watts};

/// One simulated run of one policy.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Name of the policy.
    pub policy: String,
    /// The seed it ran with.
    pub seed: u64,
    /// The window that was simulated.
    pub start: Moment,
    /// Its end; what had not finished by then did not finish.
    pub end: Moment,
    /// Each domain, parents first.
    pub domains: Vec<DomainOutcome>,
    /// Each workload, by arrival.
    pub workloads: Vec<WorkloadOutcome>,
    /// Intensity of supply over the window, where there is a signal.
    pub intensity: Option<Steps<CarbonIntensity>>,
    /// Price of supply over the window (millionths of the currency unit per MWh), where there is a signal.
    pub price: Option<Steps<i64>>,
    /// On-site generation over the window, where there is some.
    pub generation: Option<Steps<Watts>>,
    /// Energy drawn by the site, of which `grid_energy` from the grid.
    pub energy: Joules,
    /// Energy bought.
    pub grid_energy: Joules,
    /// Carbon of what was bought.
    pub carbon: GramsCo2e,
    /// Price of what was bought, without carbon.
    pub energy_cost: Money,
    /// Carbon price paid.
    pub carbon_cost: Money,
    /// The least that any policy could reach without missing a deadline, caps left aside; none where nothing can be said.
    pub lower_bound: Option<LowerBound>,
    /// How often a running workload was stopped.
    pub suspensions: u64,
    /// How often a limit of a running workload was changed.
    pub limit_changes: u64,
    /// How many plans were made.
    pub plans: u64,
}

/// A bound from below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowerBound {
    /// On carbon alone.
    pub carbon: GramsCo2e,
    /// On cost alone (energy and carbon price).
    pub cost: Money,
}

/// What one domain saw, by the simulator's own meter: it shares nothing with the planner's books.
#[derive(Debug, Clone)]
pub struct DomainOutcome {
    /// Its name.
    pub name: String,
    /// Its parent's name.
    pub parent: Option<String>,
    /// Its cap over the window.
    pub cap: Steps<Watts>,
    /// Its draw over the window, at every event.
    pub draw: Steps<Watts>,
    /// The highest draw.
    pub peak: Watts,
    /// How long it was over its cap.
    pub over: Seconds,
    /// By how much, integrated.
    pub over_energy: Joules,
}

/// What became of one workload.
#[derive(Debug, Clone)]
pub struct WorkloadOutcome {
    /// Its name.
    pub id: WorkloadId,
    /// Its class, or queue.
    pub class: String,
    /// When it was asked for.
    pub arrival: Moment,
    /// How long it runs in all.
    pub length: Seconds,
    /// Accelerators it holds while it runs.
    pub accelerators: u32,
    /// Input power while it runs at full, as its own domain sees it.
    pub watts: Watts,
    /// By when it should have finished.
    pub finish_by: Option<Moment>,
    /// How much of its length is done; what was lost by a stop is not.
    pub done: Seconds,
    /// Its runs, in order of time. One that begins where the last ends is a change of pace, no start.
    pub runs: Vec<Ran>,
    /// When it finished; none if it did not.
    pub finished: Option<Moment>,
    /// Carbon of its own energy.
    pub carbon: GramsCo2e,
    /// Energy of its own.
    pub energy: Joules,
    /// Why it waited: each reason's name, its text when it first held, and for how long it held.
    pub waits: Vec<(&'static str, String, Seconds)>,
}

/// A time in which a workload ran at one of its points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The pool.
    pub pool: String,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub to: Moment,
    /// How fast.
    pub pace: Pace,
}

impl WorkloadOutcome {
    /// How long it waited in all: from arrival to its end, less the work that is done. Suspensions are waits too, and so
    /// are runs whose work was lost by a stop, and what it takes longer since it is slowed. Nothing where it comes after the end of the run.
    #[must_use]
    pub fn waited(&self, end: Moment) -> Seconds {
        (self.finished.unwrap_or(end) - self.arrival - self.done).max(Seconds::ZERO)
    }

    /// How much later than asked it finished, or has not finished yet.
    #[must_use]
    pub fn late(&self, end: Moment) -> Seconds {
        match self.finish_by {
            Some(by) => (self.finished.unwrap_or(end) - by).max(Seconds::ZERO),
            None => Seconds::ZERO,
        }
    }
}

impl Outcome {
    /// What the site draws: all roots together.
    #[must_use]
    pub fn site_draw(&self) -> Steps<Watts> {
        let roots: Vec<&DomainOutcome> = self.domains.iter().filter(|domain| domain.parent.is_none()).collect();
        let mut moments = vec![self.start];
        roots.iter().for_each(|root| moments.extend(root.draw.changes_between(self.start, self.end)));
        let sum = |at: Moment| roots.iter().map(|root| root.draw.at(at)).sum();
        Steps::new(sum(self.start), moments.into_iter().map(|at| (at, sum(at))).collect::<Vec<_>>())
    }

    /// What of its use was generated on the site in the same hour; none where nothing is generated there.
    #[must_use]
    pub fn matched(&self) -> Option<Matched> {
        Some(Matched::of(&self.site_draw(), self.generation.as_ref()?, self.start, self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_lost_is_a_wait() {
        let hour = |h: i64| Moment(h * 3600);
        let mut one = WorkloadOutcome {
            id: "a".into(),
            class: String::new(),
            arrival: hour(0),
            length: Seconds(2 * 3600),
            accelerators: 1,
            watts: Watts(1),
            finish_by: None,
            done: Seconds(2 * 3600),
            // an hour that was lost, a pause of an hour, then all of it
            runs: [(0, 1), (2, 4)]
                .map(|(from, to)| Ran { pool: "p".to_owned(), from: hour(from), to: hour(to), pace: Pace::FULL })
                .to_vec(),
            finished: Some(hour(4)),
            carbon: GramsCo2e::ZERO,
            energy: Joules::ZERO,
            waits: Vec::new(),
        };
        assert_eq!(one.waited(hour(9)), Seconds(2 * 3600));
        // half of it done by the end
        (one.finished, one.done) = (None, Seconds(3600));
        assert_eq!(one.waited(hour(3)), Seconds(2 * 3600));
    }
}
