//! One GPU: its figures, and what runs on it.

use serde::{Deserialize, Serialize};

/// A GPU. In a file every field may be left out: `model` (`h100`, the default, or `a100`) gives the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Text", rename_all = "camelCase")]
pub struct GpuSpec {
    /// The product name that NVML tells.
    pub name: String,
    /// `GPU-` and 36 characters; without one it follows from the node's name and the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Draw without work, in watts.
    pub idle_watts: u32,
    /// The lowest limit that can be set, in watts.
    pub min_limit_watts: u32,
    /// The highest limit that can be set, in watts: the VBIOS holds it whatever is set.
    pub max_limit_watts: u32,
    /// The limit after a driver load, in watts.
    pub default_limit_watts: u32,
    /// The lowest SM clock, in MHz.
    pub min_clock_mhz: u32,
    /// The highest SM clock, in MHz.
    pub max_clock_mhz: u32,
    /// The memory clock, in MHz.
    pub memory_clock_mhz: u32,
    /// How fast the draw follows: after this many milliseconds 63 % of a change are done.
    pub time_constant_ms: u32,
    /// By how much the draw passes a limit that is the minimum; it fades over the lowest quarter of the range.
    pub overshoot_permille: u32,
    /// Whether `nvmlDeviceGetPowerUsage` tells a mean of about 1 s (GA102 and newer) or the draw of the moment
    /// (Volta, GA100). Source: NVML's own reference of that call.
    pub averaged_usage: bool,
    /// Whether persistence mode is on after a driver load.
    pub persistence: bool,
    /// A limit that the BMC holds beside the driver's, in watts; it may lie below the minimum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bmc_limit_watts: Option<u32>,
    /// MIG instances; 0: MIG is off.
    pub mig_instances: u32,
    /// What runs on it.
    pub workload: Workload,
}

/// A GPU as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Text {
    #[serde(default)]
    model: Model,
    name: Option<String>,
    uuid: Option<String>,
    idle_watts: Option<u32>,
    min_limit_watts: Option<u32>,
    max_limit_watts: Option<u32>,
    default_limit_watts: Option<u32>,
    min_clock_mhz: Option<u32>,
    max_clock_mhz: Option<u32>,
    memory_clock_mhz: Option<u32>,
    time_constant_ms: Option<u32>,
    overshoot_permille: Option<u32>,
    averaged_usage: Option<bool>,
    persistence: Option<bool>,
    bmc_limit_watts: Option<u32>,
    mig_instances: Option<u32>,
    workload: Option<Workload>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Model {
    #[default]
    H100,
    A100,
}

impl From<Text> for GpuSpec {
    fn from(text: Text) -> Self {
        let model = match text.model {
            Model::H100 => Self::h100(),
            Model::A100 => Self::a100(),
        };
        Self {
            name: text.name.unwrap_or(model.name),
            uuid: text.uuid,
            idle_watts: text.idle_watts.unwrap_or(model.idle_watts),
            min_limit_watts: text.min_limit_watts.unwrap_or(model.min_limit_watts),
            max_limit_watts: text.max_limit_watts.unwrap_or(model.max_limit_watts),
            default_limit_watts: text.default_limit_watts.unwrap_or(model.default_limit_watts),
            min_clock_mhz: text.min_clock_mhz.unwrap_or(model.min_clock_mhz),
            max_clock_mhz: text.max_clock_mhz.unwrap_or(model.max_clock_mhz),
            memory_clock_mhz: text.memory_clock_mhz.unwrap_or(model.memory_clock_mhz),
            time_constant_ms: text.time_constant_ms.unwrap_or(model.time_constant_ms),
            overshoot_permille: text.overshoot_permille.unwrap_or(model.overshoot_permille),
            averaged_usage: text.averaged_usage.unwrap_or(model.averaged_usage),
            persistence: text.persistence.unwrap_or(model.persistence),
            bmc_limit_watts: text.bmc_limit_watts,
            mig_instances: text.mig_instances.unwrap_or(model.mig_instances),
            workload: text.workload.unwrap_or(model.workload),
        }
    }
}

impl GpuSpec {
    /// An H100 SXM5 80 GB. Limits and clocks: NVIDIA's data sheet and `nvidia-smi -q`. Idle, time constant and overshoot
    /// are guesses.
    #[must_use]
    pub fn h100() -> Self {
        Self {
            name: "NVIDIA H100 80GB HBM3".to_owned(),
            uuid: None,
            idle_watts: 70,
            min_limit_watts: 200,
            max_limit_watts: 700,
            default_limit_watts: 700,
            min_clock_mhz: 210,
            max_clock_mhz: 1980,
            memory_clock_mhz: 2619,
            time_constant_ms: 300,
            overshoot_permille: 30,
            averaged_usage: true,
            persistence: true,
            bmc_limit_watts: None,
            mig_instances: 0,
            workload: Workload::idle(),
        }
    }

    /// An A100 SXM4 40 GB. It holds its minimum: eight LLM workloads at a limit of 100 W drew 97.9 to 100.2 W
    /// (ai-emerald/emerald-ai-demo-may-2025, Apache-2.0). Idle and time constant are guesses.
    #[must_use]
    pub fn a100() -> Self {
        Self {
            name: "NVIDIA A100-SXM4-40GB".to_owned(),
            idle_watts: 60,
            min_limit_watts: 100,
            max_limit_watts: 400,
            default_limit_watts: 400,
            max_clock_mhz: 1410,
            memory_clock_mhz: 1215,
            overshoot_permille: 2,
            averaged_usage: false,
            ..Self::h100()
        }
    }

    /// The first field that can't be, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |field: &str, what: String| Err((field.to_owned(), what));
        let (min, max) = (self.min_limit_watts, self.max_limit_watts);
        if self.name.is_empty() || self.name.len() >= 64 || self.name.contains('\0') {
            return wrong("name", "must have 1 to 63 characters, none of them zero".into());
        }
        if self.uuid.as_ref().is_some_and(|uuid| uuid.is_empty() || uuid.len() >= 80 || uuid.contains('\0')) {
            return wrong("uuid", "must have 1 to 79 characters, none of them zero".into());
        }
        if self.idle_watts == 0 || self.idle_watts > min {
            return wrong("idleWatts", format!("must be 1 to minLimitWatts, {min}"));
        }
        if max < min || max > 100_000 {
            return wrong("maxLimitWatts", format!("must be minLimitWatts, {min}, to 100000"));
        }
        if !(min..=max).contains(&self.default_limit_watts) {
            return wrong("defaultLimitWatts", format!("must be {min} to {max}, the range of limits"));
        }
        if self.min_clock_mhz == 0 || self.max_clock_mhz < self.min_clock_mhz || self.max_clock_mhz > 10_000 {
            return wrong("maxClockMhz", "must be minClockMhz to 10000, and minClockMhz at least 1".into());
        }
        if !(1..=60_000).contains(&self.time_constant_ms) {
            return wrong("timeConstantMs", "must be 1 to 60000".into());
        }
        if self.overshoot_permille > 1000 {
            return wrong("overshootPermille", "must be at most 1000".into());
        }
        if self.bmc_limit_watts == Some(0) {
            return wrong("bmcLimitWatts", "0 W is no limit that a BMC can hold; leave it out for none".into());
        }
        if self.mig_instances > 7 {
            return wrong("migInstances", "a GPU has at most 7".into());
        }
        if self.workload.wants_permille.is_some_and(|wants| wants > 1000) {
            return wrong("workload.wantsPermille", "must be at most 1000: of the highest limit".into());
        }
        Ok(())
    }
}

/// What runs on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// What it would draw without a limit, of the highest limit; without one the kind's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wants_permille: Option<u32>,
}

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkloadKind {
    /// None.
    Idle,
    /// Draws up to its limit. A100s at 400 W drew 343 to 368 W (the sweep named at [`GpuSpec::a100`]): 900 ‰.
    Training,
    /// Wants all there is: 1000 ‰.
    Prefill,
    /// Waits for memory and never reaches the limit: 450 ‰. H200: 137 to 300 W of 700.
    Decode,
}

impl Workload {
    const fn of(kind: WorkloadKind) -> Self {
        Self { kind, wants_permille: None }
    }

    /// No work.
    #[must_use]
    pub const fn idle() -> Self {
        Self::of(WorkloadKind::Idle)
    }

    /// Training.
    #[must_use]
    pub const fn training() -> Self {
        Self::of(WorkloadKind::Training)
    }

    /// Prefill.
    #[must_use]
    pub const fn prefill() -> Self {
        Self::of(WorkloadKind::Prefill)
    }

    /// Decode.
    #[must_use]
    pub const fn decode() -> Self {
        Self::of(WorkloadKind::Decode)
    }

    /// The same, wanting so much of the highest limit.
    #[must_use]
    pub const fn wanting(mut self, permille: u32) -> Self {
        self.wants_permille = Some(permille);
        self
    }

    /// What it wants, in permille of the highest limit.
    #[must_use]
    pub fn wants(&self) -> u32 {
        self.wants_permille.unwrap_or(match self.kind {
            WorkloadKind::Idle => 0,
            WorkloadKind::Training => 900,
            WorkloadKind::Prefill => 1000,
            WorkloadKind::Decode => 450,
        })
    }
}
