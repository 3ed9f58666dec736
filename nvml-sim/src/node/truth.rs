//! What a look at a node gives, and why there may be none.

use crate::yaml::YamlError;
use std::io;
use std::path::PathBuf;

/// Why a node can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `node.yaml` has a mistake.
    #[error(transparent)]
    Spec(#[from] YamlError),
    /// A file can't be read or written.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// No slot of `plant.state` is whole.
    #[error("{}: no slot is whole: something else wrote to it; remove it, and the node boots anew", path.display())]
    State {
        /// The file.
        path: PathBuf,
    },
    /// There is no such GPU.
    #[error("there is no GPU {gpu}: the node has {gpus}")]
    NoGpu {
        /// The index that was asked for.
        gpu: usize,
        /// How many there are.
        gpus: usize,
    },
}

/// A node's truth at a moment: what its plant does, whatever NVML tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The moment, in nanoseconds of `CLOCK_BOOTTIME`.
    pub at_nanoseconds: u64,
    /// Input power of the host without GPUs, in milliwatts.
    pub host_milliwatts: f64,
    /// The GPUs.
    pub gpus: Vec<GpuTruth>,
    /// The boot id.
    pub boot_id: String,
    /// Driver loads since the node was made.
    pub driver_loads: u64,
}

/// A GPU's truth at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuTruth {
    /// What it draws, in milliwatts.
    pub draw_milliwatts: f64,
    /// Energy since the driver was loaded, in millijoules.
    pub energy_millijoules: f64,
    /// The limit in force, in milliwatts: the least of VBIOS, driver and BMC.
    pub enforced_milliwatts: u64,
    /// The limit that the driver tells, in milliwatts.
    pub told_milliwatts: u64,
    /// The locked SM clock, lowest and highest, in MHz.
    pub locked_mhz: Option<(u32, u32)>,
}

impl Truth {
    /// Input power of the node, host and GPUs, in milliwatts.
    #[must_use]
    pub fn node_milliwatts(&self) -> f64 {
        self.host_milliwatts + self.gpus.iter().map(|gpu| gpu.draw_milliwatts).sum::<f64>()
    }

    /// The same in watts.
    #[must_use]
    pub fn node_watts(&self) -> f64 {
        self.node_milliwatts() / 1000.0
    }
}
