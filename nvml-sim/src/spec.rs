//! What a simulated node is: the contents of `node.yaml`. Watts here, as people write; milliwatts in the plant.

use crate::yaml::{Document, YamlError};
use serde::{Deserialize, Serialize};

mod fault;
mod gpu;

pub use fault::{Calls, Fault, FaultKind, Reading};
pub use gpu::{GpuSpec, Workload, WorkloadKind};

/// GPUs of a node at most: its state must fit a slot of one page (`store`).
pub const MOST_GPUS: usize = 16;

/// Faults of a node at most: which of them have fired is a word of bits.
pub const MOST_FAULTS: usize = 64;

/// A node: a host with GPUs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NodeSpec {
    /// Its name; UUIDs of GPUs that have none of their own are made from it.
    pub name: String,
    /// Input power of the host with all GPUs idle, without the GPUs, in watts.
    pub host_idle_watts: u32,
    /// The same with all GPUs at their maximum: fans and supplies follow the GPUs.
    pub host_max_watts: u32,
    /// What the driver says its version is.
    #[serde(default = "driver_version")]
    pub driver_version: String,
    /// The GPUs, by index.
    pub gpus: Vec<GpuSpec>,
    /// What goes wrong. Their times count from when this list was put in force.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// A driver of the 580 branch: the long-lived one of autumn 2025.
fn driver_version() -> String {
    "580.65.06".to_owned()
}

impl NodeSpec {
    /// A node of 8 H100 SXM, all idle. Host figures: a DGX H100 takes 10.2 kW at most (data sheet), 8 × 700 W of them
    /// the GPUs'; the idle figure is a guess.
    #[must_use]
    pub fn h100x8(name: &str) -> Self {
        Self::of(name, 2000, 4600, vec![GpuSpec::h100(); 8])
    }

    /// A node of 8 A100 SXM4, all idle. Host figures: a DGX A100 takes 6.5 kW at most (data sheet), 8 × 400 W of them
    /// the GPUs'; the idle figure is a guess.
    #[must_use]
    pub fn a100x8(name: &str) -> Self {
        Self::of(name, 1200, 3300, vec![GpuSpec::a100(); 8])
    }

    /// A node without faults.
    #[must_use]
    pub fn of(name: &str, host_idle_watts: u32, host_max_watts: u32, gpus: Vec<GpuSpec>) -> Self {
        Self {
            name: name.to_owned(),
            host_idle_watts,
            host_max_watts,
            driver_version: driver_version(),
            gpus,
            faults: Vec::new(),
        }
    }

    /// The same node with this workload on every GPU.
    #[must_use]
    pub fn with_workload(mut self, workload: Workload) -> Self {
        self.gpus.iter_mut().for_each(|gpu| gpu.workload = workload);
        self
    }

    /// Reads `node.yaml`.
    ///
    /// # Errors
    /// The first mistake, with file, line and field.
    pub fn parse(text: &str, file: &str) -> Result<Self, YamlError> {
        let document = Document::parse(text, file)?;
        let spec: Self = document.read()?;
        spec.check().map_err(|(field, what)| document.error(&field, what))?;
        Ok(spec)
    }

    /// The first field that can't be, and why.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |field: String, what: String| Err((field, what));
        if self.host_max_watts < self.host_idle_watts {
            return wrong("hostMaxWatts".into(), format!("is below hostIdleWatts, {} W", self.host_idle_watts));
        }
        if self.driver_version.is_empty() || self.driver_version.len() >= 80 || self.driver_version.contains('\0') {
            return wrong("driverVersion".into(), "must have 1 to 79 characters, none of them zero".into());
        }
        if self.gpus.is_empty() || self.gpus.len() > MOST_GPUS {
            return wrong("gpus".into(), format!("a node has 1 to {MOST_GPUS} GPUs, not {}", self.gpus.len()));
        }
        if self.faults.len() > MOST_FAULTS {
            return wrong("faults".into(), format!("at most {MOST_FAULTS}, not {}", self.faults.len()));
        }
        for (i, gpu) in self.gpus.iter().enumerate() {
            gpu.check().map_err(|(field, what)| (format!("gpus[{i}].{field}"), what))?;
            if let Some(twin) = (0..i).find(|twin| self.uuid(*twin) == self.uuid(i)) {
                return wrong(format!("gpus[{i}].uuid"), format!("is the one of gpus[{twin}] too"));
            }
        }
        for (i, fault) in self.faults.iter().enumerate() {
            fault.check(self.gpus.len()).map_err(|(field, what)| (format!("faults[{i}].{field}"), what))?;
        }
        Ok(())
    }

    /// A GPU's UUID: its own, or one that follows from the node's name and the index. Empty where there is no such GPU.
    #[must_use]
    pub fn uuid(&self, gpu: usize) -> String {
        let own = self.gpus.get(gpu).and_then(|gpu| gpu.uuid.clone());
        own.unwrap_or_else(|| format!("GPU-{}", dashed(made(&format!("{}/{gpu}", self.name)))))
    }

    /// The UUID of a MIG instance.
    #[must_use]
    pub fn mig_uuid(&self, gpu: usize, instance: usize) -> String {
        format!("MIG-{}", dashed(made(&format!("{}/{instance}", self.uuid(gpu)))))
    }
}

/// A number that follows from a text: two FNV-1a hashes side by side. Not secret, only spread.
fn made(text: &str) -> u128 {
    let hash = |start: u64| crate::store::fnv(text.as_bytes(), start);
    (u128::from(hash(0xcbf2_9ce4_8422_2325)) << 64) | u128::from(hash(0x9e37_79b9_7f4a_7c15))
}

/// A number as UUIDs are written.
pub(crate) fn dashed(number: u128) -> String {
    let hex = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
