//! A `libnvidia-ml.so` for tests and the demo: real symbols, loaded as NVIDIA's is, with a physical plant behind them
//! that all processes of a simulated node share, and that tests read as the independent truth ([`Node`]).
//!
//! | part | what it is |
//! |---|---|
//! | [`spec`] | what a node is: `node.yaml`, its GPUs, workloads and faults |
//! | `plant` | how power follows limit, clock and workload; pure, time enters as a value |
//! | `store` | the state of the plant in a file that no kill can tear |
//! | [`node`] | a folder: specification and state together, shared by processes |
//! | `calls`, `ffi` | what NVML answers, and the symbols |
//! | [`library`] | where the built library lies |

mod calls;
mod clock;
mod ffi;
pub mod library;
pub mod node;
mod plant;
pub mod spec;
mod store;
// the same reader, so that a mistake in node.yaml is told as in every other file of the house
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../../src/yaml.rs"]
mod yaml;

pub use library::library_path;
pub use node::{Error, GpuTruth, Node, Truth};
pub use spec::{Calls, Fault, FaultKind, GpuSpec, NodeSpec, Reading, Workload, WorkloadKind};
pub use yaml::YamlError;

/// The environment variable that names the folder of the node a process runs on.
pub const NODE_VARIABLE: &str = "HELIOTROPE_NVML_SIM";

/// The environment variable that, set to `1`, takes a process the right to change anything.
pub const READ_ONLY_VARIABLE: &str = "HELIOTROPE_NVML_SIM_READONLY";
