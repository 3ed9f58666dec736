//! The node's agent: holds the node's accelerators to what its lease allows, and says what is in force.
//!
//! A thin shell around [`crate::core::lease::Node`], which decides. It reads what is above the node from the API server, has the
//! actuator set limits over its socket, keeps what it must not forget on disk, and reports in the status of its NodePower.
//!
//! ```text
//!   API server --- [chain] reads, [wake] ---> lease::Node ---> [orders], [divide] ---> actuator ---> GPUs
//!        ^                                        |   ^                                   |
//!        `------ [beat], [report] ----------------'   `------------ [readings] -----------'
//!                                             [keep]: on disk before it is acknowledged
//! ```
//!
//! - [`chain`]: what is above, by quorum reads; `wake`: watches, that only wake
//! - [`divide`], [`readings`], [`orders`], [`report`]: values in, values out
//! - [`holders`]: which pod has which accelerator, by the kubelet's word
//! - [`keep`]: the disk; `desk`: the actuator; `beat`: heartbeats; `run`: the loop, which `hear`s and `tell`s
//!
//! Nothing is raised but by a lease, and nothing is released on its end: the actuator holds each limit until its end.

mod beat;
pub mod chain;
mod desk;
pub mod divide;
mod hear;
pub mod holders;
pub mod keep;
pub mod metrics;
pub mod orders;
pub mod readings;
pub mod report;
mod run;
mod tell;
mod wake;

pub use run::run;

use metrics::Metrics;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What an agent is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its node's name, and that of its NodePower.
    pub node: String,
    /// The actuator's socket.
    pub socket: PathBuf,
    /// The kubelet's socket that tells which pod has which accelerators; where there is none, nobody is told.
    pub pod_resources: PathBuf,
    /// Where its state is.
    pub state_dir: PathBuf,
    /// A file that tells one boot from another.
    pub boot_id_file: PathBuf,
    /// Between two looks at the accelerators.
    pub period: Duration,
    /// Between two reads of what is above, at most.
    pub read_every: Duration,
    /// Between two heartbeats, give or take a fifth.
    pub heartbeat_every: Duration,
    /// The least between two heartbeats, however much there is to tell.
    pub heartbeat_at_most_every: Duration,
    /// What it counts.
    pub metrics: Arc<Metrics>,
}

impl Settings {
    /// The usual times.
    #[must_use]
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            socket: PathBuf::from("/run/heliotrope/actuator.sock"),
            pod_resources: PathBuf::from("/var/lib/kubelet/pod-resources/kubelet.sock"),
            state_dir: PathBuf::from("/var/lib/heliotrope"),
            boot_id_file: PathBuf::from("/proc/sys/kernel/random/boot_id"),
            // as often as the actuator looks: a limit that does not hold is found within two periods
            period: Duration::from_millis(500),
            // three of them fit into the contact time, so that a lost answer does not lose contact (RELIABILITY §2)
            read_every: Duration::from_secs(8),
            // the kubelet renews each 10 s, but with smaller objects; 5,000 nodes at 20 s are 250 writes a second (STYLE §2)
            heartbeat_every: Duration::from_secs(20),
            heartbeat_at_most_every: Duration::from_secs(5),
            metrics: Arc::default(),
        }
    }
}

/// Why an agent can't run at all. What may pass is waited for instead, and told on `/readyz`.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Without it a reboot could not be told from a restart.
    #[error("{path}: the boot can't be told: {error}")]
    Boot {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Without it nothing could be acknowledged.
    #[error("{path}: the state can't be kept there: {error}")]
    State {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}
