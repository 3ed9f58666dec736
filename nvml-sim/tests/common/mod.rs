//! A node in a folder of its own, with the library that finds it.

#![allow(dead_code, reason = "each test program uses a part")]

use nvml_sim::{Node, NodeSpec};
use nvml_wrapper::Nvml;
use tempfile::TempDir;

/// A node; its folder ends with it.
pub struct Home {
    pub node: Node,
    dir: TempDir,
}

impl std::ops::Deref for Home {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// Makes a node.
pub fn home(spec: &NodeSpec) -> Home {
    let dir = tempfile::tempdir().unwrap();
    Home { node: Node::create(dir.path(), spec).unwrap(), dir }
}

impl Home {
    /// NVML on this node, through the copy of the library in its folder: tests of one process don't share it.
    pub fn nvml(&self) -> Nvml {
        Nvml::builder().lib_path(self.node.install_library().unwrap().as_os_str()).init().unwrap()
    }
}

/// Watts as NVML has them.
pub const fn mw(watts: u32) -> u32 {
    watts * 1000
}

/// Waits for so many milliseconds.
pub fn wait(milliseconds: u64) {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
}
