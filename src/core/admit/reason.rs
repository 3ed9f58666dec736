//! The reason, the time and the number that every workload gets.

use crate::core::plan::{Outlook, Pace, PoolId, WorkloadId};
use crate::units::{CarbonIntensity, Moment, Watts};
use serde::Serialize;

/// Why a workload is where it is. The variant's name is the `reason` in statuses, events and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Reason {
    /// It runs.
    Running,
    /// It starts now.
    Starting,
    /// A cap has no room for it now.
    NoHeadroom {
        /// The domain that is full.
        domain: String,
        /// What it would add there.
        needs: Watts,
        /// What is free there; negative where the cap has fallen below what is committed.
        free: Watts,
    },
    /// All accelerators that would do are taken.
    NoAccelerators {
        /// The pool that is nearest to having room.
        pool: String,
        /// How many it needs.
        needs: u32,
        /// How many are free.
        free: u32,
    },
    /// There are enough accelerators, but not as many on one node as a pod needs.
    NoPlace {
        /// The pool.
        pool: String,
        /// Pods that it has.
        pods: u32,
        /// Accelerators that each needs on one node.
        each: u32,
    },
    /// Nothing new starts there, whatever room there is.
    Frozen {
        /// The pool.
        pool: String,
        /// Why.
        why: String,
    },
    /// There is room, but supply will be cheaper or greener.
    GreenerSupplyLater {
        /// Intensity now, where there is a carbon signal.
        now: Option<CarbonIntensity>,
        /// Mean intensity while it is planned to run.
        planned: Option<CarbonIntensity>,
        /// What waiting saves of its cost, in thousandths.
        saves_permille: u32,
    },
    /// There is room now, but others with nearer deadlines or higher priority are planned into it.
    RoomIsPromised {
        /// The domain whose watts, or accelerators, are promised.
        domain: String,
        /// From when on.
        from: Moment,
    },
    /// It was stopped since a cap has fallen, or is about to.
    CapFell {
        /// The domain.
        domain: String,
        /// What is committed there.
        committed: Watts,
        /// The cap it must come under.
        cap: Watts,
    },
    /// It is to stop, and was asked for a checkpoint first.
    CheckpointAsked {
        /// Until when it is waited for.
        until: Moment,
        /// Why it is to stop then.
        then: Box<Reason>,
    },
    /// It was stopped until supply is cheaper or greener.
    PausedForSupply {
        /// What waiting saves of its cost, in thousandths.
        saves_permille: u32,
    },
    /// No pool can ever take it under the caps as they are.
    FitsNowhere {
        /// Watts it needs where it needs least.
        needs: Watts,
        /// The most that any of these pools could ever give.
        most: Watts,
    },
    /// There is no pool of a model that it may use.
    NoSuchAccelerator,
}

impl Reason {
    /// The CamelCase name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Starting => "Starting",
            Self::NoHeadroom { .. } => "NoHeadroom",
            Self::NoAccelerators { .. } => "NoAccelerators",
            Self::NoPlace { .. } => "NoPlace",
            Self::Frozen { .. } => "Frozen",
            Self::GreenerSupplyLater { .. } => "GreenerSupplyLater",
            Self::RoomIsPromised { .. } => "RoomIsPromised",
            Self::CapFell { .. } => "CapFell",
            Self::CheckpointAsked { .. } => "CheckpointAsked",
            Self::PausedForSupply { .. } => "PausedForSupply",
            Self::FitsNowhere { .. } => "FitsNowhere",
            Self::NoSuchAccelerator => "NoSuchAccelerator",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running => f.write_str("runs"),
            Self::Starting => f.write_str("starts now"),
            Self::NoHeadroom { domain, needs, free } => {
                write!(f, "needs {needs} in {domain}, {free} free under its cap")
            }
            Self::NoAccelerators { pool, needs, free } => {
                write!(f, "needs {needs} accelerators, {free} free in {pool}")
            }
            Self::NoPlace { pool, pods, each } => {
                write!(
                    f,
                    "needs {each} accelerators on one node for each of its {pods} pods; what is free in {pool} is scattered"
                )
            }
            Self::Frozen { pool, why } => write!(f, "nothing new starts in {pool}: {why}"),
            Self::GreenerSupplyLater { now, planned, saves_permille } => {
                f.write_str("waits for greener supply")?;
                if let (Some(now), Some(planned)) = (now, planned) {
                    write!(f, ": {:.0} g/kWh now, {:.0} then", now.as_grams_per_kwh(), planned.as_grams_per_kwh())?;
                }
                write!(f, ", saves {}.{} %", saves_permille / 10, saves_permille % 10)
            }
            Self::RoomIsPromised { domain, from } => {
                write!(f, "what is free in {domain} is promised to others from {from} on")
            }
            Self::CapFell { domain, committed, cap } => {
                write!(f, "stopped to keep {domain} under {cap} ({committed} were committed)")
            }
            Self::CheckpointAsked { until, then } => {
                write!(f, "was asked for a checkpoint, and is waited for until {until}; then {then}")
            }
            Self::PausedForSupply { saves_permille: 0 } => f.write_str("paused so that others keep their deadlines"),
            Self::PausedForSupply { saves_permille } => {
                write!(f, "paused for greener supply, saves {}.{} %", saves_permille / 10, saves_permille % 10)
            }
            Self::FitsNowhere { needs, most } => {
                write!(f, "needs {needs}, and no pool could ever give more than {most}")
            }
            Self::NoSuchAccelerator => f.write_str("no pool has an accelerator that it may use"),
        }
    }
}

/// A workload, its reason, and the time that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Which workload.
    pub id: WorkloadId,
    /// Why.
    pub reason: Reason,
    /// Where it runs, or is to run.
    pub pool: Option<PoolId>,
    /// What it draws there as the site sees its domain: accelerators, margins and hosts.
    pub watts: Watts,
    /// When it starts, as planned; in the past where it runs.
    pub start: Option<Moment>,
    /// When it finishes, as planned.
    pub finish: Option<Moment>,
    /// How it stands with its deadline, as planned; none where it has none, or can run nowhere.
    pub outlook: Option<Outlook>,
    /// How it is held below full, where it runs so.
    pub slowed: Option<Slow>,
}

/// How a workload that runs is held below full, as planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Slow {
    /// How fast it is.
    pub pace: Pace,
    /// Until when.
    pub until: Moment,
    /// What its plan saves against running on at full, in thousandths.
    pub saves_permille: u32,
}
