//! A node with simulated GPUs, and the actuator on it.

use heliotrope::actuator::client::Client;
use heliotrope::actuator::protocol::{GpuAnswer, GpuOrder, GpuView, Observation, Order, Outcome, Role};
use heliotrope::clock;
use heliotrope::units::{BootMillis, Watts};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvml_sim::{GpuSpec, NODE_VARIABLE, Node, NodeSpec, Workload, library_path};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// A node of H100s (200 to 700 W, 700 by default) at work, with a folder for its state and its socket.
pub struct Plant {
    folder: tempfile::TempDir,
    pub node: Node,
    pub uuids: Vec<String>,
}

impl Plant {
    pub fn new(gpus: usize) -> Self {
        Self::of(NodeSpec::of("node", 2000, 4600, vec![GpuSpec::h100(); gpus]).with_workload(Workload::training()))
    }

    pub fn of(spec: NodeSpec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("state")).unwrap();
        let node = Node::create(folder.path().join("node"), &spec).unwrap();
        let uuids = (0..spec.gpus.len()).map(|gpu| spec.uuid(gpu)).collect();
        Self { folder, node, uuids }
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("actuator.sock")
    }

    /// The limits that truly are in force, in watts.
    pub fn limits(&self) -> Vec<u64> {
        self.node.enforced_limits().unwrap().into_iter().map(|milliwatts| milliwatts / 1000).collect()
    }

    /// `heliotrope actuator` on this node.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heliotrope"));
        command
            .arg("actuator")
            .arg("--socket")
            .arg(self.socket())
            .arg("--state-dir")
            .arg(self.state())
            .arg("--library")
            .arg(library_path().unwrap())
            .arg("--boot-id-file")
            .arg(self.node.boot_id_path())
            .args(args)
            .env(NODE_VARIABLE, self.node.dir())
            .stdin(Stdio::null());
        if !may_leave_network() {
            command.arg("--keep-network");
        }
        command
    }

    /// The boot guard, to its end.
    pub fn guard(&self, args: &[&str]) -> Output {
        self.command(args).arg("--boot-guard").output().unwrap()
    }

    /// Starts the actuator and waits until it has read every GPU that can be read.
    pub async fn start(&self, args: &[&str]) -> Actuator {
        let log = self.folder.path().join(format!("actuator-{}.log", clock::boot().0));
        let child = self.command(args).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut actuator = Actuator { child, log, socket: self.socket() };
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Some(status) = actuator.child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", actuator.log());
            }
            let Ok(mut client) = Client::connect(&self.socket()).await else { continue };
            client.hello(Role::Observer, "test").await.unwrap();
            let seen = client.observe().await.unwrap();
            let settled = |gpu: &GpuView| gpu.reading.is_some() || !gpu.faults.is_empty();
            if seen.gpus.len() + seen.unreadable.len() == self.uuids.len() && seen.gpus.iter().all(settled) {
                return actuator;
            }
        }
        panic!("it does not start: {}", actuator.log());
    }

    /// An order for these GPUs: index, watts, milliseconds of life, watts to fall to.
    pub fn order(&self, sequence: u64, gpus: &[(usize, i64, u64, i64)]) -> Order {
        let now = clock::boot();
        let gpus = gpus.iter().map(|(gpu, limit, life, fall)| GpuOrder {
            uuid: self.uuids[*gpu].clone(),
            limit_watts: Watts(*limit),
            clock_lock_megahertz: None,
            ends_at_boot_millis: Some(now.plus(*life)),
            fall_watts: Some(Watts(*fall)),
        });
        Order { sequence, gpus: gpus.collect() }
    }

    /// Waits until this holds of the true limits, or gives up after so many milliseconds. How long it took.
    pub async fn until(&self, millis: u64, holds: impl Fn(&[u64]) -> bool) -> u64 {
        let start = clock::boot();
        loop {
            let limits = self.limits();
            let taken = clock::boot().since(start);
            if holds(&limits) {
                return taken;
            }
            assert!(taken < millis, "after {taken} ms the limits are {limits:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The actuator's process; killed when dropped.
pub struct Actuator {
    child: Child,
    log: PathBuf,
    socket: PathBuf,
}

impl Actuator {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal and waits for its end.
    pub async fn end(mut self, signal: Signal) -> ExitStatus {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
        for _ in 0..200 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{signal} does not end it: {}", self.log());
    }

    /// A client that may order.
    pub async fn agent(&self) -> Client {
        let mut client = Client::connect(&self.socket).await.unwrap();
        let welcome = client.hello(Role::Agent, "agent of a test").await.unwrap();
        assert!(welcome.may_order, "{welcome:?}");
        client
    }

    pub async fn observe(&self) -> Observation {
        let mut client = Client::connect(&self.socket).await.unwrap();
        client.hello(Role::Observer, "test").await.unwrap();
        client.observe().await.unwrap()
    }

    /// Looks until this holds of what it says of one GPU, or gives up after so many milliseconds.
    pub async fn until(&self, millis: u64, gpu: usize, holds: impl Fn(&GpuView) -> bool) -> GpuView {
        let start = clock::boot();
        loop {
            let seen = self.observe().await.gpus.swap_remove(gpu);
            if holds(&seen) {
                return seen;
            }
            let taken = clock::boot().since(start);
            assert!(taken < millis, "after {taken} ms: {seen:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Actuator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was read back: the limit that must hold, and what is in force.
pub fn read_back(answer: &GpuAnswer) -> (i64, i64) {
    match &answer.outcome {
        Outcome::ReadBack { limit_watts, enforced_watts, .. } => (limit_watts.0, enforced_watts.0),
        other => panic!("{}: {other:?}", answer.uuid),
    }
}

pub fn now() -> BootMillis {
    clock::boot()
}

pub async fn wait(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Whether this machine lets us leave the network. In CI, as root, it must.
pub fn may_leave_network() -> bool {
    let left = std::thread::spawn(|| heliotrope::actuator::network::leave().is_ok()).join().unwrap();
    let must = nix::unistd::geteuid().is_root() && std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(left || !must, "in CI root must be able to leave the network");
    left
}
