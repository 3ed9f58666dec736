//! A real Kubernetes control plane on one machine: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and
//! nodes played by kwok. All on loopback, on free ports; everything ends with the [`Testbed`], by process id.

mod assets;
mod device_plugin;
mod error;
mod image;
mod keys;
mod node;
mod ports;
mod process;

pub use assets::assets;
pub use device_plugin::DevicePlugin;
pub use error::Error;
pub use image::Image;
pub use node::RealNode;

use ports::Ports;
use process::Process;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long the control plane may take to be ready. It takes some 5 s alone on two cores, and more beside a build.
const READY: Duration = Duration::from_secs(90);

/// A node with accelerators.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Accelerators that it has.
    pub gpus: u32,
    /// Their model, as the label `nvidia.com/gpu.product`.
    pub product: String,
}

/// Two rows of nodes with eight accelerators each: `row-a-0`, `row-b-0`, .. with the label `topology.heliotrope.dev/row`.
#[must_use]
pub fn two_rows(nodes: u32) -> Vec<NodeSpec> {
    (0..nodes)
        .map(|i| {
            let row = if i % 2 == 0 { "row-a" } else { "row-b" };
            NodeSpec {
                name: format!("{row}-{}", i / 2),
                labels: vec![("topology.heliotrope.dev/row".to_owned(), row.to_owned())],
                gpus: 8,
                product: "NVIDIA-H100-80GB-HBM3".to_owned(),
            }
        })
        .collect()
}

/// Flags besides the usual ones: to have the newest release behave as an older one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    /// Of kube-apiserver.
    pub api_server: &'static [&'static str],
    /// Of kube-controller-manager.
    pub controller_manager: &'static [&'static str],
}

/// A running control plane. It ends when it is dropped.
#[derive(Debug)]
pub struct Testbed {
    assets: PathBuf,
    // before the folder: processes end before what they write to is removed
    processes: Vec<Process>,
    /// How each was started, in the same order.
    programs: Vec<(String, Vec<String>)>,
    ends_with_us: bool,
    folder: Option<tempfile::TempDir>,
    path: PathBuf,
    server: String,
    ports: Ports<8>,
}

impl Testbed {
    /// Starts a control plane with these nodes and waits until it is ready.
    ///
    /// # Errors
    /// Where a program is missing, or one did not come up: with the end of its log.
    pub fn start(nodes: &[NodeSpec]) -> Result<Self, Error> {
        Self::start_with(nodes, Flags::default())
    }

    /// As [`Testbed::start`], with more flags.
    ///
    /// # Errors
    /// As [`Testbed::start`].
    pub fn start_with(nodes: &[NodeSpec], more: Flags) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("heliotrope-testbed-").tempdir()?;
        let path = folder.path().to_path_buf();
        let mut testbed = Self::start_in(&path, true, more)?;
        testbed.folder = Some(folder);
        nodes.iter().try_for_each(|node| testbed.add_node(node))?;
        Ok(testbed)
    }

    /// Starts etcd and kube-apiserver alone: objects are kept and told of, and nobody acts on them.
    ///
    /// # Errors
    /// As [`Testbed::start`].
    pub fn start_bare(more: Flags) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("heliotrope-testbed-").tempdir()?;
        let path = folder.path().to_path_buf();
        let mut testbed = Self::store_in(&path, true, more)?;
        testbed.folder = Some(folder);
        Ok(testbed)
    }

    /// Starts a control plane that keeps its files in a folder. `ends_with_us`: the processes end when this one does,
    /// even where it is killed.
    ///
    /// # Errors
    /// As [`Testbed::start`].
    pub fn start_in(path: &Path, ends_with_us: bool, more: Flags) -> Result<Self, Error> {
        let mut testbed = Self::store_in(path, ends_with_us, more)?;
        testbed.start_the_rest(more)?;
        Ok(testbed)
    }

    /// etcd and kube-apiserver.
    fn store_in(path: &Path, ends_with_us: bool, more: Flags) -> Result<Self, Error> {
        let assets = assets()?;
        keys::write(path)?;
        let ports: Ports<8> = Ports::take()?;
        let [etcd, peer, secure, ..] = ports.numbers;
        let server = format!("https://127.0.0.1:{secure}");
        for (name, token) in [("admin", "admin"), ("controller-manager", "manager"), ("scheduler", "scheduler")] {
            kubeconfig(&path.join(format!("{name}.kubeconfig")), path, &server, token)?;
        }
        std::fs::write(path.join("kwok.yaml"), include_str!("../kwok/stages.yaml"))?;
        let file = |name: &str| path.join(name).display().to_string();
        let mut testbed = Self {
            assets,
            processes: Vec::new(),
            programs: Vec::new(),
            ends_with_us,
            folder: None,
            path: path.to_path_buf(),
            server,
            ports,
        };
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        testbed.run(
            "etcd",
            &[
                format!("--data-dir={}", file("etcd")),
                format!("--listen-client-urls={}", url(etcd)),
                format!("--advertise-client-urls={}", url(etcd)),
                format!("--listen-peer-urls={}", url(peer)),
                format!("--initial-advertise-peer-urls={}", url(peer)),
                format!("--initial-cluster=default={}", url(peer)),
                // durability is not what these tests are about
                "--unsafe-no-fsync".to_owned(),
            ],
        )?;
        let flags: Vec<String> = [
            format!("--etcd-servers={}", url(etcd)),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={secure}"),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--token-auth-file={}", file("tokens.csv")),
            format!("--service-account-key-file={}", file("accounts.pub")),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--allow-privileged=true".to_owned(),
        ]
        .into_iter()
        .chain(more.api_server.iter().map(|flag| (*flag).to_owned()))
        .collect();
        testbed.run("kube-apiserver", &flags)?;
        testbed.wait_until_ready()?;
        Ok(testbed)
    }

    /// Waits until the API server is ready.
    ///
    /// # Errors
    /// As [`Testbed::start`].
    pub fn wait_until_ready(&mut self) -> Result<(), Error> {
        self.wait("kube-apiserver", |testbed| {
            testbed.kubectl(&["get", "--raw", "/readyz"]).is_ok_and(|output| output.status.success())
        })
    }

    /// Those that act on objects.
    fn start_the_rest(&mut self, more: Flags) -> Result<(), Error> {
        let [_, _, _, manager, scheduler, kwok, ..] = self.ports.numbers;
        let path = self.path.clone();
        let file = |name: &str| path.join(name).display().to_string();
        let testbed = self;
        let client = |name: &str, port: u16| {
            let config = file(&format!("{name}.kubeconfig"));
            ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
                .map(|flag| format!("--{flag}={config}"))
                .into_iter()
                .chain([
                    "--bind-address=127.0.0.1".to_owned(),
                    format!("--secure-port={port}"),
                    "--leader-elect=false".to_owned(),
                ])
                .collect::<Vec<_>>()
        };
        let mut arguments = client("controller-manager", manager);
        arguments.extend([
            format!("--service-account-private-key-file={}", file("accounts.key")),
            format!("--root-ca-file={}", file("ca.crt")),
            "--use-service-account-credentials=true".to_owned(),
        ]);
        arguments.extend(more.controller_manager.iter().map(|flag| (*flag).to_owned()));
        testbed.run("kube-controller-manager", &arguments)?;
        testbed.run("kube-scheduler", &client("scheduler", scheduler))?;
        testbed.run(
            "kwok",
            &[
                format!("--kubeconfig={}", file("admin.kubeconfig")),
                format!("--config={}", file("kwok.yaml")),
                format!("--server-address=127.0.0.1:{kwok}"),
            ],
        )?;
        // no pod can be made in a namespace before its service account is there
        testbed.wait("kube-controller-manager", |testbed| {
            let account = testbed.kubectl(&["get", "serviceaccount", "default", "--namespace", "default"]);
            account.is_ok_and(|output| output.status.success())
        })
    }

    fn run(&mut self, program: &str, arguments: &[String]) -> Result<(), Error> {
        let log = self.path.join(format!("{program}.log"));
        let process = Process::start(&self.assets.join(program), arguments, &log, self.ends_with_us)?;
        self.processes.push(process);
        self.programs.push((program.to_owned(), arguments.to_vec()));
        Ok(())
    }

    fn at(&self, program: &str) -> Result<usize, Error> {
        let at = self.programs.iter().position(|(name, _)| name == program);
        at.ok_or_else(|| Error::Refused(format!("{program} does not run here")))
    }

    /// The id of one of its programs, as `etcd`.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn id_of(&self, program: &str) -> Result<u32, Error> {
        Ok(self.processes[self.at(program)?].id())
    }

    /// Kills one of its programs.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn kill(&mut self, program: &str) -> Result<(), Error> {
        let at = self.at(program)?;
        self.processes[at].kill();
        Ok(())
    }

    /// Starts a program anew that was killed, as it was started first.
    ///
    /// # Errors
    /// Where it never ran, or can't be started.
    pub fn start_again(&mut self, program: &str) -> Result<(), Error> {
        let at = self.at(program)?;
        let (name, arguments) = &self.programs[at];
        let log = self.path.join(format!("{program}.log"));
        self.processes[at] = Process::start(&self.assets.join(name), arguments, &log, self.ends_with_us)?;
        Ok(())
    }

    /// Where etcd keeps its data.
    #[must_use]
    pub fn etcd_folder(&self) -> PathBuf {
        self.path.join("etcd")
    }

    /// Waits until something holds, and no longer than [`READY`]; ends early where the program did.
    fn wait(&mut self, program: &str, holds: impl Fn(&Self) -> bool) -> Result<(), Error> {
        let started = now();
        loop {
            if holds(self) {
                return Ok(());
            }
            let ended = self.processes.iter_mut().any(Process::has_ended);
            if ended || now().duration_since(started) > READY {
                let tail = tail(&self.path.join(format!("{program}.log")));
                return Err(Error::NotReady { program: program.to_owned(), tail });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes a node and says what it has.
    ///
    /// # Errors
    /// What kubectl said.
    pub fn add_node(&self, node: &NodeSpec) -> Result<(), Error> {
        let mut labels = json!({"nvidia.com/gpu.product": node.product, "kubernetes.io/hostname": node.name});
        for (key, value) in &node.labels {
            labels[key] = json!(value);
        }
        let has = json!({"cpu": "128", "memory": "1Ti", "pods": "110", "nvidia.com/gpu": node.gpus.to_string()});
        let object = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node.name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
            "status": {"allocatable": has, "capacity": has},
        });
        self.apply(&object)
    }

    /// Creates or changes an object, by server-side apply.
    ///
    /// # Errors
    /// What the API server said.
    pub fn apply(&self, object: &Value) -> Result<(), Error> {
        let file = tempfile::NamedTempFile::new_in(&self.path)?;
        std::fs::write(file.path(), object.to_string())?;
        let path = file.path().display().to_string();
        let output = self.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &path])?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    /// Runs kubectl as an administrator.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output, Error> {
        self.tool("kubectl", arguments)
    }

    /// Runs helm as an administrator.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn helm(&self, arguments: &[&str]) -> Result<Output, Error> {
        self.tool("helm", arguments)
    }

    /// Runs kubectl with the rights of another kubeconfig.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<Output, Error> {
        self.tool_as(kubeconfig, "kubectl", arguments)
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> Result<Output, Error> {
        self.tool_as(&self.kubeconfig(), program, arguments)
    }

    fn tool_as(&self, kubeconfig: &Path, program: &str, arguments: &[&str]) -> Result<Output, Error> {
        let mut command = Command::new(self.assets.join(program));
        command.args(arguments).arg("--kubeconfig").arg(kubeconfig).stdin(Stdio::null());
        // caches of discovery and of charts belong to this testbed
        command.env("HOME", &self.path);
        Ok(command.output()?)
    }

    /// The kubeconfig of an administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("admin.kubeconfig")
    }

    /// A kubeconfig with a service account's token.
    ///
    /// # Errors
    /// Where there is no such account.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf, Error> {
        self.kubeconfig_with(namespace, account, None)
    }

    /// A kubeconfig with the token that a pod of a service account has: it says on which node the pod runs.
    ///
    /// # Errors
    /// Where there is no such account or pod.
    pub fn kubeconfig_of_pod(&self, namespace: &str, account: &str, pod: &str) -> Result<PathBuf, Error> {
        self.kubeconfig_with(namespace, account, Some(pod))
    }

    fn kubeconfig_with(&self, namespace: &str, account: &str, pod: Option<&str>) -> Result<PathBuf, Error> {
        let mut asks = vec!["create", "token", account, "--namespace", namespace, "--duration", "3h"];
        asks.extend(pod.into_iter().flat_map(|pod| ["--bound-object-kind", "Pod", "--bound-object-name", pod]));
        let output = self.kubectl(&asks)?;
        if !output.status.success() {
            return Err(Error::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let path = self.path.join(format!("{namespace}-{}.kubeconfig", pod.unwrap_or(account)));
        kubeconfig(&path, &self.path, &self.server, String::from_utf8_lossy(&output.stdout).trim())?;
        Ok(path)
    }

    /// A client with an administrator's rights.
    ///
    /// # Errors
    /// Where the kubeconfig can't be used.
    pub async fn client(&self) -> Result<kube::Client, Error> {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig()).map_err(kube_error)?;
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(kube_error)?;
        kube::Client::try_from(config).map_err(kube_error)
    }

    /// Ports for what a test starts beside it: nobody else takes them while it lives.
    #[must_use]
    pub fn spare_ports(&self) -> [u16; 2] {
        let [.., one, other] = self.ports.numbers;
        [one, other]
    }

    /// Where logs and keys are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.path
    }

    /// The ids of its processes.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    /// Lets the processes go on when this value ends, for [`Testbed::start_in`] without `ends_with_us`.
    pub fn leave_running(mut self) {
        self.processes.drain(..).for_each(Process::leave);
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        self.processes.clear(); // each is ended by its id
        let keep = std::thread::panicking() || std::env::var_os("HELIOTROPE_TESTBED_KEEP").is_some();
        if let Some(folder) = self.folder.take().filter(|_| keep) {
            eprintln!("the testbed's logs are kept in {}", folder.keep().display());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a real control plane starts in real time")]
fn now() -> Instant {
    Instant::now()
}

/// The end of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

fn kube_error(error: impl std::fmt::Display) -> Error {
    Error::Refused(error.to_string())
}

fn kubeconfig(file: &Path, folder: &Path, server: &str, token: &str) -> Result<(), Error> {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "testbed",
        "clusters": [{"name": "testbed", "cluster": {"server": server, "certificate-authority": folder.join("ca.crt")}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "user"}}],
    });
    Ok(std::fs::write(file, format!("{config:#}\n"))?)
}
