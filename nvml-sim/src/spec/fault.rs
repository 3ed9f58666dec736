//! What goes wrong: the fault table of a node.

use serde::{Deserialize, Serialize};

/// One fault, with where and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fault {
    /// The GPU's index; without one all GPUs of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<usize>,
    /// What happens.
    pub fault: FaultKind,
    /// When it begins, in seconds from when the table was put in force.
    #[serde(default)]
    pub after_seconds: f64,
    /// How long it lasts, in seconds; without it, as long as it stands in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<f64>,
    /// Whether it ends with the first call that meets it. Only for kinds that calls meet.
    #[serde(default)]
    pub once: bool,
}

/// A kind of fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// The GPU fell off the bus: every call answers GPU_IS_LOST. It goes on drawing.
    Lost,
    /// Nothing can be set: NO_PERMISSION.
    NoPermission,
    /// What is set is accepted and told back as the limit, but the hardware enforces what it did before.
    NotApplied,
    /// A call does not return for so long; nothing but the end of the process ends it.
    Hang {
        /// Which calls.
        #[serde(default)]
        calls: Calls,
        /// For how long, in seconds.
        seconds: f64,
    },
    /// Power readings stay at what they were.
    FrozenPower,
    /// The energy counter stays at what it was.
    FrozenEnergy,
    /// A reading is this number, whatever is true. Milliwatts or millijoules; `.nan` only reaches field values.
    AbsurdReading {
        /// Which reading.
        of: Reading,
        /// The number. Negative ones wrap in NVML's unsigned calls and are signed in field values.
        value: f64,
    },
    /// A GPU with work draws so much more than it would.
    Overshoot {
        /// How much more.
        permille: u32,
    },
    /// Someone else sets the power limit.
    ForeignLimit {
        /// To so many watts; without it to the default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watts: Option<u32>,
        /// Again each so many seconds; without it once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        every_seconds: Option<f64>,
    },
    /// The driver is loaded anew: limits and clocks of all GPUs at their defaults, energy counters at zero. With
    /// `forSeconds` it is away so long: calls answer DRIVER_NOT_LOADED and GPUs idle.
    DriverReload,
    /// Persistence mode went off, and with it limit and clocks of the GPU.
    PersistenceLost,
}

/// Calls that may hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Calls {
    /// Those that read.
    Get,
    /// Those that change something.
    Set,
    /// Both.
    #[default]
    All,
}

/// A reading that may be absurd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reading {
    /// The draw, of the moment and averaged.
    Power,
    /// The energy counter.
    Energy,
    /// The limit in force.
    EnforcedLimit,
}

impl Fault {
    /// A fault of all GPUs of a node, from at once, for good.
    #[must_use]
    pub const fn new(fault: FaultKind) -> Self {
        Self { gpu: None, fault, after_seconds: 0.0, for_seconds: None, once: false }
    }

    /// The same for one GPU.
    #[must_use]
    pub const fn on(mut self, gpu: usize) -> Self {
        self.gpu = Some(gpu);
        self
    }

    /// The same, beginning so many seconds after the table is put in force.
    #[must_use]
    pub const fn after(mut self, seconds: f64) -> Self {
        self.after_seconds = seconds;
        self
    }

    /// The same, for so many seconds.
    #[must_use]
    pub const fn lasting(mut self, seconds: f64) -> Self {
        self.for_seconds = Some(seconds);
        self
    }

    /// The same, for the first call that meets it.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// The first field that can't be, and why.
    pub(super) fn check(&self, gpus: usize) -> Result<(), (String, String)> {
        let wrong = |field: &str, what: String| Err((field.to_owned(), what));
        if let Some(gpu) = self.gpu.filter(|gpu| *gpu >= gpus) {
            return wrong("gpu", format!("there is no GPU {gpu}: the last one is {}", gpus.saturating_sub(1)));
        }
        // a year: nothing that a test waits for, and far from where nanoseconds end
        let time = |seconds: f64, least: f64| (least..=31_536_000.0).contains(&seconds);
        if !time(self.after_seconds, 0.0) {
            return wrong("afterSeconds", "must be 0 to 31536000".into());
        }
        if self.for_seconds.is_some_and(|seconds| !time(seconds, 0.001)) {
            return wrong("forSeconds", "must be 0.001 to 31536000".into());
        }
        match &self.fault {
            FaultKind::Hang { seconds, .. } if !time(*seconds, 0.0) => {
                return wrong("fault.seconds", "must be 0 to 31536000".into());
            }
            FaultKind::ForeignLimit { every_seconds: Some(seconds), .. } if !time(*seconds, 0.05) => {
                return wrong("fault.everySeconds", "must be 0.05 to 31536000".into());
            }
            FaultKind::Overshoot { permille } if *permille > 10_000 => {
                return wrong("fault.permille", "must be at most 10000".into());
            }
            FaultKind::DriverReload if self.gpu.is_some() => {
                return wrong("gpu", "a driver is the whole node's: leave it out".into());
            }
            _ => {}
        }
        let met_by_calls = matches!(
            self.fault,
            FaultKind::Lost
                | FaultKind::NoPermission
                | FaultKind::NotApplied
                | FaultKind::Hang { .. }
                | FaultKind::AbsurdReading { .. }
        );
        if self.once && !met_by_calls {
            return wrong(
                "once",
                "is for faults that a call meets: this one has a time (afterSeconds, forSeconds)".into(),
            );
        }
        Ok(())
    }

    /// Whether it is this GPU's.
    pub(crate) fn is_of(&self, gpu: usize) -> bool {
        self.gpu.is_none_or(|of| of == gpu)
    }

    /// When it begins, in nanoseconds from when the table was put in force.
    pub(crate) fn begins(&self) -> u64 {
        nanoseconds(self.after_seconds)
    }

    /// When it ends, in nanoseconds from when the table was put in force.
    pub(crate) fn ends(&self) -> u64 {
        self.for_seconds.map_or(u64::MAX, |seconds| self.begins().saturating_add(nanoseconds(seconds)))
    }

    /// The step between repetitions, in nanoseconds.
    pub(crate) fn repeats(&self) -> Option<u64> {
        match self.fault {
            FaultKind::ForeignLimit { every_seconds: Some(seconds), .. } => Some(nanoseconds(seconds).max(1)),
            _ => None,
        }
    }
}

/// Seconds as nanoseconds; negative ones and NaN are none.
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
