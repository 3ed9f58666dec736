//! A real node: containerd and a kubelet on this machine. Its pods are processes here. Everything ends with it, by id.
//!
//! It needs root, and Debian's `containerd`, `runc` and `containernetworking-plugins` (or others of these names). There is one at a
//! time on a machine: device plugins speak to a kubelet at one path, whatever its folder is.

use crate::image::Image;
use crate::ports::Ports;
use crate::process::Process;
use crate::{Error, Testbed};
use serde_json::{Value, json};
use std::fs::File;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long containerd may take to answer, and the kubelet to report the node as ready. Alone they take 1 s and 5 s.
const READY: Duration = Duration::from_secs(90);

/// The image of the process that holds a pod's namespaces.
const PAUSE: &str = "heliotrope.test/pause:1";

/// A node that is one.
#[derive(Debug)]
pub struct RealNode {
    name: String,
    folder: PathBuf,
    kubelet: Process,
    containerd: Process,
    /// How each of the two was started.
    programs: [Program; 2],
    ports: Ports<2>,
    _only: File,
}

/// A program of the node, as it is started the first time and again.
#[derive(Debug)]
struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
}

impl Program {
    fn start(&self) -> Result<Process, Error> {
        Process::start(&self.path, &self.arguments, &self.log, true)
    }
}

impl RealNode {
    /// Starts containerd, imports images, and starts a kubelet that joins the testbed as a node of this name.
    ///
    /// # Errors
    /// Where something of it is missing on this machine, or did not come up: with the end of its log.
    pub fn start(testbed: &Testbed, name: &str, labels: &[(&str, &str)], images: &[Image]) -> Result<Self, Error> {
        let only = File::options().create(true).append(true).open(std::env::temp_dir().join("heliotrope-real-node"))?;
        only.lock()?;
        let containerd = on_path("containerd")?;
        for program in ["runc", "ctr", "containerd-shim-runc-v2"] {
            on_path(program)?;
        }
        if std::fs::metadata("/proc/self")?.uid() != 0 {
            return Err(Error::Assets("a real node needs root".to_owned()));
        }
        let folder = testbed.folder().join(name);
        std::fs::create_dir_all(folder.join("cni"))?;
        let file = |name: &str| folder.join(name).display().to_string();
        std::fs::write(file("containerd.toml"), containerd_toml(&folder))?;
        std::fs::write(file("cni/10-pods.conflist"), cni().to_string())?;
        let ports: Ports<2> = Ports::take()?;
        std::fs::write(file("kubelet.yaml"), kubelet_configuration(&folder, ports.numbers).to_string())?;
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let programs = [
            Program {
                path: containerd,
                arguments: vec!["--config".to_owned(), file("containerd.toml")],
                log: folder.join("containerd.log"),
            },
            Program {
                path: testbed.assets.join("kubelet"),
                arguments: vec![
                    format!("--config={}", file("kubelet.yaml")),
                    format!("--kubeconfig={}", testbed.kubeconfig().display()),
                    format!("--root-dir={}", file("kubelet")),
                    format!("--cert-dir={}", file("certificates")),
                    format!("--hostname-override={name}"),
                    format!("--node-labels={}", labels.join(",")),
                ],
                log: folder.join("kubelet.log"),
            },
        ];
        let containerd = programs[0].start()?;
        wait(&folder, "containerd", || ctr(&folder, &["version"]).is_ok())?;
        import(&folder, images)?;
        let kubelet = programs[1].start()?;
        let node = Self { name: name.to_owned(), folder, kubelet, containerd, programs, ports, _only: only };
        node.wait_until_ready(testbed)?;
        Ok(node)
    }

    /// Waits until the API server has the node as ready.
    ///
    /// # Errors
    /// Where it does not become so: with the end of the kubelet's log.
    pub fn wait_until_ready(&self, testbed: &Testbed) -> Result<(), Error> {
        let asks = ["get", "node", &self.name, "--output", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"];
        wait(&self.folder, "kubelet", || testbed.kubectl(&asks).is_ok_and(|said| said.stdout == b"True"))
    }

    /// Kills the kubelet and starts it anew. Its pods go on.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn restart_kubelet(&mut self) -> Result<(), Error> {
        self.kubelet.kill();
        self.start_kubelet()
    }

    /// Starts it as a service manager does: again where it ended, since containerd was not there yet.
    fn start_kubelet(&mut self) -> Result<(), Error> {
        let [_, health] = self.ports.numbers;
        let started = crate::now();
        self.kubelet = self.programs[1].start()?;
        while TcpStream::connect(("127.0.0.1", health)).is_err() {
            if crate::now().duration_since(started) > READY {
                let tail = crate::tail(&self.programs[1].log);
                return Err(Error::NotReady { program: "kubelet".to_owned(), tail });
            }
            std::thread::sleep(Duration::from_millis(200));
            if self.kubelet.has_ended() {
                self.kubelet = self.programs[1].start()?;
            }
        }
        Ok(())
    }

    /// Kills containerd and starts it anew. Containers go on.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn restart_containerd(&mut self) -> Result<(), Error> {
        self.containerd.kill();
        self.containerd = self.programs[0].start()?;
        Ok(())
    }

    /// The machine goes down: the kubelet, containerd and every container end at once, and with them what a machine keeps in memory
    /// only. Disks stay.
    ///
    /// # Errors
    /// Where what runs can't be told.
    pub fn power_off(&mut self) -> Result<(), Error> {
        let running = self.tasks()?;
        self.kubelet.kill();
        self.containerd.kill();
        // shims first: nobody is to clean up, as nobody does on a machine that is off
        let address = self.folder.join("c.sock").display().to_string();
        let shims = processes(|line| line.contains("containerd-shim") && line.contains(&address));
        for id in shims.into_iter().chain(running.iter().map(|(_, id)| *id)) {
            end(id)?;
        }
        self.unmount();
        let state = self.folder.join("state").display().to_string();
        if std::fs::read_to_string("/proc/self/mounts")?.contains(&state) {
            return Err(Error::Refused(format!("mounts are left in {state}")));
        }
        for (container, _) in &running {
            let _ = std::fs::remove_dir_all(Path::new("/run/containerd/runc/k8s.io").join(container)); // it may have ended meanwhile
        }
        Ok(std::fs::remove_dir_all(self.folder.join("state"))?)
    }

    /// The machine comes up again: containerd, then the kubelet, which starts the pods that are bound here.
    ///
    /// # Errors
    /// Where one can't be started.
    pub fn power_on(&mut self) -> Result<(), Error> {
        self.containerd = self.programs[0].start()?;
        self.start_kubelet()
    }

    /// Each container that runs, with its first process.
    fn tasks(&self) -> Result<Vec<(String, u32)>, Error> {
        let listed = ctr(&self.folder, &["tasks", "list"])?;
        let row = |line: &str| {
            let mut words = line.split_whitespace();
            let (container, process) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
            (words.next()? == "RUNNING").then_some((container, process))
        };
        Ok(listed.lines().filter_map(row).collect())
    }

    /// The first process of a pod's container.
    ///
    /// # Errors
    /// Where no such container runs.
    pub fn process_of(&self, pod: &str, container: &str) -> Result<u32, Error> {
        for (id, process) in self.tasks()? {
            let about = ctr(&self.folder, &["containers", "info", &id])?;
            let about: Value = serde_json::from_str(&about).map_err(|error| Error::Refused(error.to_string()))?;
            let is = |what: &str, name: &str| about["Labels"][format!("io.kubernetes.{what}.name")] == name;
            if is("pod", pod) && is("container", container) {
                return Ok(process);
            }
        }
        Err(Error::Refused(format!("no container {container} of {pod} runs on {}", self.name)))
    }

    /// The process of the kubelet.
    #[must_use]
    pub fn kubelet(&self) -> u32 {
        self.kubelet.id()
    }

    /// The socket at which the kubelet says which pod has which devices.
    #[must_use]
    pub fn pod_resources(&self) -> PathBuf {
        self.folder.join("kubelet/pod-resources/kubelet.sock")
    }

    /// Where the logs of pods are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }
}

impl RealNode {
    /// Volumes of secrets are mounts of memory, and namespaces of pods are mounts too.
    fn unmount(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let folder = self.folder.display().to_string();
        let below =
            mounts.lines().filter_map(|line| line.split_whitespace().nth(1)).filter(|path| path.starts_with(&folder));
        for path in below.collect::<Vec<_>>().into_iter().rev() {
            let _ = Command::new("umount").args(["--lazy", path]).output();
        }
    }
}

impl Drop for RealNode {
    fn drop(&mut self) {
        self.kubelet.kill();
        // containers are children of their shims, which outlive both of the others
        for kind in ["tasks", "containers"] {
            let listed = ctr(&self.folder, &[kind, "list", "--quiet"]).unwrap_or_default();
            for id in listed.split_whitespace() {
                let how: &[&str] =
                    if kind == "tasks" { &["tasks", "delete", "--force", id] } else { &["containers", "delete", id] };
                let _ = ctr(&self.folder, how); // what is left is said by who looks for it
            }
        }
        self.containerd.kill();
        self.unmount();
    }
}

fn on_path(program: &str) -> Result<PathBuf, Error> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let sbin = PathBuf::from("/usr/sbin");
    let found =
        std::env::split_paths(&folders).chain([sbin]).map(|folder| folder.join(program)).find(|path| path.exists());
    found.ok_or_else(|| {
        Error::Assets(format!("there is no {program}: install containerd, runc and containernetworking-plugins"))
    })
}

fn import(folder: &Path, images: &[Image]) -> Result<(), Error> {
    let pause = Image {
        name: PAUSE.to_owned(),
        entrypoint: ["/bin/sleep", "infinity"].map(str::to_owned).to_vec(),
        files: vec![(PathBuf::from("/bin/sleep"), "/bin/sleep".to_owned())],
    };
    for image in std::iter::once(&pause).chain(images) {
        let archive = folder.join("image.tar");
        image.write(&archive)?;
        ctr(folder, &["images", "import", &archive.display().to_string()])?;
        std::fs::remove_file(&archive)?;
    }
    Ok(())
}

fn ctr(folder: &Path, arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new("ctr");
    command.args(["--namespace", "k8s.io", "--timeout", "20s", "--address"]).arg(folder.join("c.sock")).args(arguments);
    let said = command.output()?;
    match said.status.success() {
        true => Ok(String::from_utf8_lossy(&said.stdout).into_owned()),
        false => Err(Error::Refused(String::from_utf8_lossy(&said.stderr).trim().to_owned())),
    }
}

/// The ids of those processes whose command line is such.
fn processes(is: impl Fn(&str) -> bool) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| std::fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| is(&line))).collect()
}

/// Kills one process, and waits until it is gone.
fn end(id: u32) -> Result<(), Error> {
    let _ = Command::new("kill").args(["-KILL", &id.to_string()]).output()?; // it may have ended with its shim
    let started = crate::now();
    // one that nobody waits for stays as a zombie: it does nothing any more
    let runs = || {
        let status = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        status.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with(['Z', 'X']))
    };
    while runs() {
        if crate::now().duration_since(started) > Duration::from_secs(10) {
            return Err(Error::Refused(format!("process {id} does not end")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn wait(folder: &Path, program: &str, holds: impl Fn() -> bool) -> Result<(), Error> {
    let started = crate::now();
    while !holds() {
        if crate::now().duration_since(started) > READY {
            return Err(Error::NotReady {
                program: program.to_owned(),
                tail: crate::tail(&folder.join(format!("{program}.log"))),
            });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// `restrict_oom_score_adj`: without CAP_SYS_RESOURCE a sandbox could not lower its own. `native`: overlays can't be stacked where
/// this runs inside a container.
fn containerd_toml(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
root = "{folder}/containerd"
state = "{folder}/state"
[grpc]
  address = "{folder}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"#
    )
}

fn cni() -> Value {
    let addresses = json!({"type": "host-local", "subnet": "10.88.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]});
    json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": addresses}]})
}

fn kubelet_configuration(folder: &Path, [port, health]: [u16; 2]) -> Value {
    let folder = folder.display();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{folder}/c.sock"),
        "podLogsDir": format!("{folder}/logs"),
        "address": "127.0.0.1", "port": port, "healthzPort": health, "readOnlyPort": 0,
        "cgroupDriver": "cgroupfs", "failCgroupV1": false, "failSwapOn": false, "enforceNodeAllocatable": [],
        // a full disk is not what these tests are about: 0 % is no threshold at all
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        // it listens on loopback only
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
    })
}
