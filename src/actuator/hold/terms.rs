//! What a hold is asked, what it answers, and why.

use crate::actuator::device::Range;
use crate::units::{BootMillis, Watts};
use serde::{Deserialize, Serialize};

/// The limits that may be written to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub(super) low: Watts,
    pub(super) high: Watts,
    pub(super) ceiling: Option<Watts>,
}

impl Bounds {
    /// The device's range, and the node's ceiling for one GPU. A ceiling under the range leaves the lowest limit alone.
    #[must_use]
    pub fn new(range: Range, ceiling: Option<Watts>) -> Self {
        let high = ceiling.map_or(range.max_watts, |ceiling| range.max_watts.min(ceiling)).max(range.min_watts);
        Self { low: range.min_watts, high, ceiling }
    }

    /// The lowest limit that the device takes.
    #[must_use]
    pub fn low(self) -> Watts {
        self.low
    }

    /// The highest limit that is ever written.
    #[must_use]
    pub fn high(self) -> Watts {
        self.high
    }

    pub(super) fn clamp(self, watts: Watts) -> Watts {
        watts.max(self.low).min(self.high)
    }
}

/// What an order asks of one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The limit.
    pub limit: Watts,
    /// Until when.
    pub ends: Option<BootMillis>,
    /// What it falls to then, where that is lower.
    pub fall: Option<Watts>,
    /// Keep the clock at or below so many MHz; without one it is let go.
    pub clock_megahertz: Option<u32>,
}

/// How a hold begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nobody has ever given an order: hands off.
    Unknown,
    /// What the actuator held before it was started anew, in this boot.
    Recorded(Recorded),
    /// Fall to this at once, where it is lower than what is in force.
    Safe(Watts),
}

/// What was held before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Of the order.
    pub sequence: u64,
    /// The limit.
    pub limit: Watts,
    /// How long to wait for an order now.
    pub ends: BootMillis,
    /// What to fall to then.
    pub fall: Watts,
    /// The clock was locked at so many MHz.
    pub clock_megahertz: Option<u32>,
}

/// Why an order was not taken; what is in force stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Its sequence is lower than one already seen.
    LowerSequence,
    /// It has no end.
    EndMissing,
    /// Its end has come already.
    EndPassed,
    /// It does not say what to fall to.
    FallMissing,
    /// A limit of nothing, or less. Zero is never "no limit".
    NotPositive,
    /// Nobody here has this UUID.
    UnknownGpu,
    /// It is a slice of a GPU: the limit is the whole GPU's.
    SliceOfGpu,
    /// It stands twice in the order.
    NamedTwice,
    /// Its device can't be reached.
    Device,
    /// A newer order came before this one was carried out.
    Superseded,
    /// It would go up, and one that is to go down in the same order was not read back there.
    OthersNotDown,
}

/// Where an order was taken otherwise than it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Note {
    /// The device takes no such limit.
    LimitOutOfRange {
        /// What was asked.
        asked_watts: Watts,
        /// What it was clamped to.
        watts: Watts,
    },
    /// The node's ceiling for one GPU is lower.
    LimitAboveCeiling {
        /// What was asked.
        asked_watts: Watts,
        /// What it was clamped to.
        watts: Watts,
    },
    /// The limit to fall to was clamped.
    FallOutOfRange {
        /// What was asked.
        asked_watts: Watts,
        /// What it was clamped to.
        watts: Watts,
    },
    /// This sequence was ordered lower before, or has fallen since: only a higher sequence raises.
    RaiseNeedsHigherSequence {
        /// What was asked.
        asked_watts: Watts,
        /// What stays.
        watts: Watts,
    },
    /// So long an order would disarm the switch: its end was brought forward.
    EndBroughtForward {
        /// The end that it has now.
        ends_at_boot_millis: BootMillis,
    },
    /// The clock could not be locked or let go.
    ClockNotSet,
}

/// Why a limit is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An order says so.
    Ordered,
    /// Its end has come and nobody renewed it.
    EndPassed,
    /// The actuator has started, and more is in force than was held, or than is safe.
    Started,
    /// Another has raised it.
    RaisedByOther,
    /// It was written before and does not hold.
    NotApplied,
}

/// What has turned, for the log and for the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The end of an order has passed.
    Fell {
        /// The limit before.
        from: Watts,
        /// The limit now.
        to: Watts,
    },
    /// The device enforces more than was set and read back: another writes this GPU's limit.
    RaisedByOther {
        /// What was set.
        set: Watts,
        /// What is in force.
        found: Watts,
    },
    /// The device accepts the limit and does not apply it.
    NotApplied {
        /// What was set.
        set: Watts,
        /// What is in force.
        found: Watts,
    },
    /// It holds, after it did not.
    AppliedAtLast {
        /// What is held now.
        set: Watts,
    },
}

/// What a device said of its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What was set on it, where it knows that.
    pub set: Option<Watts>,
    /// What is in force.
    pub enforced: Watts,
}

impl Seen {
    /// The worst that it may come to: another may lift what holds the enforced limit under the set one.
    pub(super) fn worst(self) -> Watts {
        self.set.map_or(self.enforced, |set| set.max(self.enforced))
    }
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// Write this limit.
    pub write: Option<(Watts, Reason)>,
    /// Lock the clock at so many MHz, or let it go.
    pub clock: Option<Option<u32>>,
    /// Tell.
    pub news: Vec<News>,
}

/// What is held, as the outside sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// No order yet: hands off.
    Found,
    /// An order holds.
    Held,
    /// Fallen by itself.
    Fallen,
}

/// Whether the device obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Obedience {
    /// Nothing was asked of it.
    NothingAsked,
    /// Written, or about to be; not read back yet.
    Pending,
    /// Read back at or under the limit.
    Holds,
    /// Accepted, and read back above the limit more than once.
    NotApplied,
}
