//! The hardware: 50 nodes of eight A100s that want all they can get, each a folder with its own copy of the simulated NVML.

use crate::tree::{HOST, NODES, name_of};
use nvml_sim::{GpuSpec, Node, NodeSpec, Workload};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Work that draws whatever its limit lets it.
pub fn at_work() -> Workload {
    Workload::training().wanting(1000)
}

/// The nodes.
pub struct Plant {
    folder: PathBuf,
    pub nodes: Vec<Node>,
}

impl Plant {
    /// All of them, at work.
    pub fn start(folder: &Path) -> Arc<Self> {
        let host = HOST as u32;
        let nodes = (0..NODES).map(|at| {
            let spec = NodeSpec::of(&name_of(at), host, host, vec![GpuSpec::a100(); 8]).with_workload(at_work());
            Node::create(folder.join(name_of(at)).join("plant"), &spec).unwrap()
        });
        Arc::new(Self { folder: folder.to_owned(), nodes: nodes.collect() })
    }

    /// A folder of a node: what its actuator or agent keeps.
    pub fn folder(&self, node: usize, of: &str) -> PathBuf {
        let folder = self.folder.join(name_of(node)).join(of);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    pub fn socket(&self, node: usize) -> PathBuf {
        self.folder.join(name_of(node)).join("actuator.sock")
    }

    /// The sum of the limits in force on a node, in watts.
    pub fn limits(&self, node: usize) -> f64 {
        self.nodes[node].enforced_limits().unwrap().iter().sum::<u64>() as f64 / 1000.0
    }
}
