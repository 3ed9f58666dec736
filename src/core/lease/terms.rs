//! What passes between a domain's ledger and its children.

use super::{Figures, Rule, Rules};
use crate::units::{BootMillis, Millis, Watts};
use serde::{Deserialize, Serialize};

/// A cap as it was read: the version orders what was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cap {
    /// Of the API server: whoever has read a higher one has seen all that the lower one had.
    pub version: u64,
    /// What the domain may draw.
    pub watts: Watts,
}

/// A heartbeat: which start of which agent sent it, and the how manieth it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Beat {
    /// Another one after each start of the agent.
    pub instance: u64,
    /// Counts up from 1 in an instance.
    pub number: u64,
}

/// A reduction that is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// How long after the answered heartbeat was sent.
    pub after: Millis,
    /// What may be drawn from then on.
    pub watts: Watts,
}

/// Watts for a child until they end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The ledger's count when this lease was written.
    pub sequence: u64,
    /// What it allows.
    pub figures: Figures,
    /// Later reductions, by rising time and falling watts.
    pub steps: Vec<Step>,
    /// How long it lives, counted from when the heartbeat was sent that it answers.
    pub life: Millis,
    /// The heartbeat that it answers.
    pub answers: Beat,
    /// The domain's cap under which it was written.
    pub cap: Cap,
}

impl Lease {
    /// The lowest of its steps, where a new lease over `watts` that answers `beat` may have forgotten one that is still to come;
    /// none where each is kept.
    ///
    /// Steps count from the answered heartbeat, so those of two leases can be told apart only where both answer the same.
    /// One that comes after the end of the lease never comes.
    pub(super) fn forgotten(&self, watts: Watts, steps: &[Step], beat: Beat) -> Option<Watts> {
        let lower = || self.steps.iter().filter(|old| old.after < self.life && old.watts < watts);
        let is_kept = |old: &Step| {
            beat == self.answers && steps.iter().any(|new| new.after <= old.after && new.watts <= old.watts)
        };
        if lower().all(is_kept) { None } else { lower().map(|old| old.watts).min() }
    }
}

impl Report {
    /// The figures that it acts on, less what steps that were read back have taken for good: it goes up from there only by a
    /// new lease.
    pub(super) fn acts_on(&self, rules: Rules) -> Option<Figures> {
        let mut held = self.held.clone()?;
        if self.steps_passed > 0 && rules.hold(Rule::RenewalIsNoRaise) {
            held.watts = held.watts.min(self.enforced);
        }
        Some(held)
    }
}

/// What a child says of itself with each heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Which heartbeat this is.
    pub beat: Beat,
    /// The lease whose figures are in force and were read back; 0 for none.
    pub acknowledged: u64,
    /// The highest count that it ever accepted. It takes none that is not higher.
    pub accepted: u64,
    /// How many steps of that lease have passed and were read back.
    pub steps_passed: u32,
    /// The figures that it acts on, as far as it has any.
    pub held: Option<Figures>,
    /// What was read back from the hardware.
    pub enforced: Watts,
    /// The newest cap that it has heard of.
    pub cap: Option<Cap>,
    /// Is less in force than its lease allows, so that only a new one brings it back?
    pub fallen: bool,
}

/// A lease as its node holds it: counted on the clock of its boot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The lease's count.
    pub sequence: u64,
    /// What it allows.
    pub figures: Figures,
    /// Later reductions, by the moment.
    pub steps: Vec<(BootMillis, Watts)>,
    /// When it is over.
    pub ends: BootMillis,
}

/// What a node keeps on its disk. It is there before anything of it is acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The boot that the times are of.
    pub boot: u64,
    /// The highest lease that was ever accepted.
    pub sequence: u64,
    /// The newest cap that was heard.
    pub cap: Option<Cap>,
    /// The lease in force.
    pub held: Option<Held>,
}
