//! What runs on the nodes: on eight of them the real agent and the real actuator as processes, on the others the same code inside
//! the test's own process, each with a socket, a library, a state and a client of its own.

use crate::meter::now;
use crate::plant::{Plant, at_work};
use crate::tree::{NODES, name_of};
use crate::wall::Wall;
use heliotrope::actuator::client::Client;
use heliotrope::actuator::device::Devices;
use heliotrope::actuator::node::{Node as Holder, Settings as Holds};
use heliotrope::actuator::nvml::Library;
use heliotrope::actuator::protocol::Role;
use heliotrope::actuator::server::{Allowed, bind, serve};
use heliotrope::agent::{self, Settings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvml_sim::Workload;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// The nodes with processes: some of each row.
pub const WITH_PROCESSES: [usize; 8] = [0, 1, 2, 17, 18, 34, 35, 36];

/// A process of ours, killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts a program whose log is this file; it ends with the test, even where that is killed.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Self(command.spawn().unwrap())
    }

    #[allow(dead_code, reason = "the bench looks at what it takes")]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: Signal) {
        signal_to(self.0.id(), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn signal_to(id: u32, signal: Signal) {
    kill(Pid::from_raw(id.cast_signed()), signal).unwrap();
}

/// The program under test, which ends with us.
pub fn heliotrope(command: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_heliotrope");
    let mut of = if Path::new("/usr/bin/setpriv").exists() {
        let mut of = Command::new("/usr/bin/setpriv");
        of.args(["--pdeathsig", "KILL", program]);
        of
    } else {
        Command::new(program)
    };
    of.arg(command);
    of
}

enum Actuator {
    Process(Process),
    Inside { holder: Arc<Holder>, serves: JoinHandle<()> },
}

enum Agent {
    Process(Process),
    Inside(JoinHandle<()>),
}

impl Drop for Actuator {
    fn drop(&mut self) {
        if let Self::Inside { holder, serves } = self {
            serves.abort();
            holder.end();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Self::Inside(task) = self {
            task.abort();
        }
    }
}

/// All nodes' agents and actuators.
pub struct Fleet {
    plant: Arc<Plant>,
    kubeconfig: PathBuf,
    wall: Arc<Wall>,
    // before the runtime that they run on
    agents: Vec<Option<Agent>>,
    actuators: Vec<Option<Actuator>>,
    runtime: Runtime,
    keep_network: bool,
}

impl Fleet {
    /// Starts them all. `kubeconfig`: how they reach the API server.
    pub fn start(plant: &Arc<Plant>, kubeconfig: &Path, wall: &Arc<Wall>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let left = std::thread::spawn(|| heliotrope::actuator::network::leave().is_ok()).join().unwrap();
        let mut fleet = Self {
            plant: plant.clone(),
            kubeconfig: kubeconfig.to_owned(),
            wall: wall.clone(),
            agents: (0..NODES).map(|_| None).collect(),
            actuators: (0..NODES).map(|_| None).collect(),
            runtime,
            keep_network: !left,
        };
        (0..NODES).for_each(|node| fleet.start_actuator(node));
        (0..NODES).for_each(|node| fleet.start_agent(node));
        fleet
    }

    fn library(&self, node: usize) -> PathBuf {
        let path = self.plant.nodes[node].dir().join("libnvidia-ml.so.1");
        if path.exists() { path } else { self.plant.nodes[node].install_library().unwrap() }
    }

    fn log(&self, node: usize, of: &str) -> PathBuf {
        self.plant.folder(node, "logs").join(of)
    }

    fn actuator_command(&self, node: usize) -> Command {
        let mut command = heliotrope("actuator");
        command.arg("--socket").arg(self.plant.socket(node)).arg("--library").arg(self.library(node));
        command.arg("--state-dir").arg(self.plant.folder(node, "actuator"));
        command.arg("--boot-id-file").arg(self.plant.nodes[node].boot_id_path());
        if self.keep_network {
            command.arg("--keep-network");
        }
        self.wall.of(&mut command);
        command
    }

    pub fn start_actuator(&mut self, node: usize) {
        let actuator = if WITH_PROCESSES.contains(&node) {
            Actuator::Process(Process::start(self.actuator_command(node), &self.log(node, "actuator.log")))
        } else {
            let boot_id = std::fs::read_to_string(self.plant.nodes[node].boot_id_path()).unwrap().trim().to_owned();
            let devices: Arc<dyn Devices> = Arc::new(Library::load(Some(&self.library(node))).unwrap());
            let state_folder = self.plant.folder(node, "actuator");
            let settings = Holds { ceiling: None, safe: None, state_folder, boot_id: boot_id.clone() };
            let socket = self.plant.socket(node);
            let own = nix::unistd::geteuid().as_raw();
            let holder = Holder::start(devices, settings).unwrap();
            let there = holder.clone();
            let serves = self.runtime.spawn(async move {
                let listener = bind(&socket, 0o600).unwrap();
                serve(listener, there, boot_id, Allowed { uids: vec![0, own], gids: Vec::new() }).await;
            });
            Actuator::Inside { holder, serves }
        };
        self.actuators[node] = Some(actuator);
    }

    pub fn start_agent(&mut self, node: usize) {
        let (socket, state_dir) = (self.plant.socket(node), self.plant.folder(node, "agent"));
        let boot_id_file = self.plant.nodes[node].boot_id_path();
        let agent = if WITH_PROCESSES.contains(&node) {
            let mut command = heliotrope("agent");
            command.args(["--log-json", "--node", &name_of(node), "--kubeconfig"]).arg(&self.kubeconfig);
            command.arg("--socket").arg(socket).arg("--state-dir").arg(state_dir);
            command.arg("--boot-id-file").arg(boot_id_file);
            self.wall.of(&mut command);
            Agent::Process(Process::start(command, &self.log(node, "agent.log")))
        } else {
            let settings = Settings { socket, state_dir, boot_id_file, ..Settings::new(name_of(node)) };
            let kubeconfig = self.kubeconfig.clone();
            Agent::Inside(self.runtime.spawn(async move {
                let client = client(&kubeconfig).await;
                if let Err(error) = agent::run(client, settings, std::future::pending()).await {
                    eprintln!("an agent ended: {error}");
                }
            }))
        };
        self.agents[node] = Some(agent);
    }

    /// Kills it, as the kernel does when memory is short.
    pub fn kill_agent(&mut self, node: usize) {
        self.agents[node] = None;
    }

    pub fn kill_actuator(&mut self, node: usize) {
        self.actuators[node] = None;
    }

    /// Process ids of the agent and the actuator.
    #[allow(dead_code, reason = "the bench looks at what they take")]
    pub fn ids(&self, node: usize) -> Option<(u32, u32)> {
        match (&self.agents[node], &self.actuators[node]) {
            (Some(Agent::Process(agent)), Some(Actuator::Process(actuator))) => Some((agent.id(), actuator.id())),
            _ => None,
        }
    }

    /// The machines go down and come back: limits at their defaults, nothing of ours runs, and no work until the kubelet does.
    pub fn reboot(&mut self, nodes: &[usize]) {
        for node in nodes {
            self.kill_agent(*node);
            self.kill_actuator(*node);
            self.plant.nodes[*node].set_workloads(Workload::idle()).unwrap();
            self.plant.nodes[*node].reboot().unwrap();
        }
        // an actuator inside this process closes its socket when its last client is gone
        std::thread::sleep(Duration::from_millis(300));
    }

    /// What the unit before the kubelet does; its exit code.
    pub fn boot_guard(&self, node: usize) -> Option<i32> {
        let mut command = self.actuator_command(node);
        command.arg("--boot-guard").stdin(Stdio::null()).stdout(Stdio::null());
        let log = File::options().create(true).append(true).open(self.log(node, "guard.log")).unwrap();
        command.stderr(log).status().unwrap().code()
    }

    /// The kubelet is there: pods that were bound run again, and so does what is ours.
    pub fn come_back(&mut self, node: usize) {
        self.plant.nodes[node].set_workloads(at_work()).unwrap();
        self.start_actuator(node);
        self.start_agent(node);
    }

    /// Starts what a scenario left dead.
    pub fn revive(&mut self) {
        for node in 0..NODES {
            if self.actuators[node].is_none() {
                self.start_actuator(node);
            }
            if self.agents[node].is_none() {
                self.start_agent(node);
            }
        }
    }

    /// What the actuators have read back last, as the sum of each node's limits in force; none where one can't say.
    pub async fn read_back(&self) -> Option<Vec<f64>> {
        let asked = (0..NODES).map(|node| async move {
            let mut client = Client::connect(&self.plant.socket(node)).await.ok()?;
            client.hello(Role::Observer, "test").await.ok()?;
            let gpus = client.observe().await.ok()?.gpus;
            let limits: Option<Vec<f64>> =
                gpus.iter().map(|gpu| Some(gpu.reading.as_ref()?.enforced_watts?.0 as f64)).collect();
            limits.filter(|limits| limits.len() == 8).map(|limits| limits.iter().sum())
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }

    /// Does this node's actuator answer at its socket within so many seconds?
    pub fn answers(&self, node: usize, seconds: u64) -> bool {
        let until = now() + seconds * 1000;
        while now() < until {
            if std::os::unix::net::UnixStream::connect(self.plant.socket(node)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

/// A client as the agent's own command makes it.
pub async fn client(kubeconfig: &Path) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}
