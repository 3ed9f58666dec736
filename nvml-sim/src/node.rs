//! A simulated node: a folder that all its processes share.
//!
//! | file | what it is |
//! |---|---|
//! | `node.yaml` | what the node is ([`NodeSpec`]); written by tests, always replaced whole by a rename |
//! | `plant.state` | the state of the plant (`store`) |
//! | `boot_id` | the boot id, as `/proc/sys/kernel/random/boot_id` has it |
//!
//! Looking takes no lock and writes nothing: the plant is advanced in memory. Who changes something holds the lock of
//! `plant.state`, advances with what was in force until then, changes, and writes.

use crate::clock::boot_nanoseconds;
use crate::plant::{State, enforced_mw};
use crate::spec::{Fault, NodeSpec, Workload, dashed};
use crate::store;
use crate::yaml::YamlError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

mod truth;

pub use truth::{Error, GpuTruth, Truth};

/// A node's folder. Cheap to look at; any number of processes may have it open.
#[derive(Debug)]
pub struct Node {
    dir: PathBuf,
    /// The specification read last, with what tells whether it is still the one: file and count of changes.
    known: Mutex<Option<Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    file: u64,
    changes: u64,
    spec: Arc<NodeSpec>,
}

/// A node as it is at a moment.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub spec: Arc<NodeSpec>,
    pub state: State,
    /// How old the state in the file was, in nanoseconds.
    pub age: u64,
}

impl Node {
    /// Makes a node in a folder, which is made too. A node that is there already is replaced, and boots.
    ///
    /// # Errors
    /// A mistake in the specification, or a file that can't be written.
    pub fn create(dir: impl AsRef<Path>, spec: &NodeSpec) -> Result<Self, Error> {
        let node = Self { dir: dir.as_ref().to_owned(), known: Mutex::new(None) };
        fs::create_dir_all(&node.dir).map_err(node.failed("make folder", ""))?;
        let text = node.text(spec)?;
        node.replace("node.yaml", text.as_bytes())?;
        match fs::remove_file(node.dir.join("plant.state")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(node.failed("remove", "plant.state")(error));
            }
            _ => node.make_state()?,
        }
        Ok(node)
    }

    /// Opens a node. One that has only a `node.yaml` boots now.
    ///
    /// # Errors
    /// A mistake in `node.yaml`, or a file that can't be read.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let node = Self { dir: dir.as_ref().to_owned(), known: Mutex::new(None) };
        node.view()?;
        Ok(node)
    }

    /// Its folder: what `HELIOTROPE_NVML_SIM` of its processes is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file with its boot id.
    #[must_use]
    pub fn boot_id_path(&self) -> PathBuf {
        self.dir.join("boot_id")
    }

    /// What it is.
    ///
    /// # Errors
    /// A mistake in `node.yaml`, or a file that can't be read.
    pub fn spec(&self) -> Result<NodeSpec, Error> {
        Ok(NodeSpec::clone(&self.view()?.spec))
    }

    /// The truth, now.
    ///
    /// # Errors
    /// A mistake in `node.yaml`, or a file that can't be read.
    pub fn truth(&self) -> Result<Truth, Error> {
        let View { spec, state, .. } = self.view()?;
        let gpu = |(gpu, state): (&crate::GpuSpec, &crate::plant::GpuState)| GpuTruth {
            draw_milliwatts: state.draw_mw,
            energy_millijoules: state.energy_mj,
            enforced_milliwatts: enforced_mw(gpu, state),
            told_milliwatts: state.told_mw,
            locked_mhz: (state.locked_mhz.1 > 0).then_some(state.locked_mhz),
        };
        Ok(Truth {
            at_nanoseconds: state.at,
            host_milliwatts: state.host_mw(&spec),
            gpus: spec.gpus.iter().zip(&state.gpus).map(gpu).collect(),
            boot_id: dashed(state.boot_id),
            driver_loads: state.driver_loads,
        })
    }

    /// Input power of the whole node, host and GPUs, in watts.
    ///
    /// # Errors
    /// As [`Node::truth`].
    pub fn true_power(&self) -> Result<f64, Error> {
        Ok(self.truth()?.node_watts())
    }

    /// Energy of each GPU since the driver was loaded, in millijoules.
    ///
    /// # Errors
    /// As [`Node::truth`].
    pub fn energy(&self) -> Result<Vec<f64>, Error> {
        Ok(self.truth()?.gpus.iter().map(|gpu| gpu.energy_millijoules).collect())
    }

    /// The limit in force on each GPU, in milliwatts.
    ///
    /// # Errors
    /// As [`Node::truth`].
    pub fn enforced_limits(&self) -> Result<Vec<u64>, Error> {
        Ok(self.truth()?.gpus.iter().map(|gpu| gpu.enforced_milliwatts).collect())
    }

    /// Has a GPU do other work from now on.
    ///
    /// # Errors
    /// No such GPU, or as [`Node::edit`].
    pub fn set_workload(&self, gpu: usize, workload: Workload) -> Result<(), Error> {
        self.exists(gpu)?;
        self.edit(|spec| spec.gpus[gpu].workload = workload)
    }

    /// Has all GPUs do other work from now on.
    ///
    /// # Errors
    /// As [`Node::edit`].
    pub fn set_workloads(&self, workload: Workload) -> Result<(), Error> {
        self.edit(|spec| spec.gpus.iter_mut().for_each(|gpu| gpu.workload = workload))
    }

    /// Sets what a GPU's BMC holds, in watts.
    ///
    /// # Errors
    /// No such GPU, or as [`Node::edit`].
    pub fn set_bmc_limit(&self, gpu: usize, watts: Option<u32>) -> Result<(), Error> {
        self.exists(gpu)?;
        self.edit(|spec| spec.gpus[gpu].bmc_limit_watts = watts)
    }

    /// Puts a fault table in force; the times in it count from now. The same table again goes on as it was.
    ///
    /// # Errors
    /// As [`Node::edit`].
    pub fn set_faults(&self, faults: Vec<Fault>) -> Result<(), Error> {
        self.edit(|spec| spec.faults = faults)
    }

    /// Changes the specification, from now on.
    ///
    /// # Errors
    /// A mistake in what comes out (nothing is changed then), or a file that can't be read or written.
    pub fn edit(&self, change: impl FnOnce(&mut NodeSpec)) -> Result<(), Error> {
        let mut held = self.hold()?;
        let mut spec = NodeSpec::clone(&held.spec);
        change(&mut spec);
        let text = self.text(&spec)?;
        let (new, path) = self.prepare("node.yaml", text.as_bytes())?;
        held.state.adopt(&spec, random_id(self)?);
        held.state.spec_id = identity(&new);
        held.state.changes += 1;
        // should this process be killed before the rename, the old file is taken over anew by whoever looks next
        held.write()?;
        fs::rename(&path, self.dir.join("node.yaml")).map_err(self.failed("replace", "node.yaml"))
    }

    /// The node boots: new boot id, limits and clocks at their defaults, energy at zero, work from idle upwards.
    ///
    /// # Errors
    /// As [`Node::edit`].
    pub fn reboot(&self) -> Result<(), Error> {
        let mut held = self.hold()?;
        let id = random_id(self)?;
        let spec = Arc::clone(&held.spec);
        held.state.reboot(&spec, id);
        held.write()?;
        self.replace("boot_id", format!("{}\n", dashed(id)).as_bytes())
    }

    /// The driver is loaded anew: limits and clocks at their defaults, energy at zero.
    ///
    /// # Errors
    /// As [`Node::edit`].
    pub fn reload_driver(&self) -> Result<(), Error> {
        self.change(|spec, state| state.load_driver(spec))
    }

    /// Another process sets a GPU's limit, in milliwatts; out of the range it is the nearest end.
    ///
    /// # Errors
    /// No such GPU, or as [`Node::edit`].
    pub fn foreign_set_limit(&self, gpu: usize, milliwatts: u64) -> Result<(), Error> {
        self.exists(gpu)?;
        self.change(|spec, state| {
            let (figures, gpu) = (&spec.gpus[gpu], &mut state.gpus[gpu]);
            let range = (u64::from(figures.min_limit_watts) * 1000, u64::from(figures.max_limit_watts) * 1000);
            gpu.set_mw = milliwatts.clamp(range.0, range.1);
            gpu.told_mw = gpu.set_mw;
        })
    }

    fn exists(&self, gpu: usize) -> Result<(), Error> {
        let gpus = self.view()?.spec.gpus.len();
        if gpu < gpus { Ok(()) } else { Err(Error::NoGpu { gpu, gpus }) }
    }

    /// The node as it is now, without a lock, unless `node.yaml` has changed since the state was written.
    pub(crate) fn view(&self) -> Result<View, Error> {
        // two writers in a row may leave no slot whole under a slow reader: it looks again
        for _ in 0..100 {
            let file = identity_at(&self.dir.join("node.yaml")).map_err(self.failed("read", "node.yaml"))?;
            let Some(state_file) = self.state_file(false)? else { break };
            let read = store::read(&state_file).map_err(self.failed("read", "plant.state"))?;
            let Some((_, mut state)) = read else {
                std::thread::yield_now();
                continue;
            };
            if state.spec_id != file {
                break;
            }
            let Some(spec) = self.spec_of(file, state.changes)? else { continue };
            let now = boot_nanoseconds();
            if went_back(&state, now) || state.gpus.len() != spec.gpus.len() {
                break;
            }
            let age = now.saturating_sub(state.at);
            state.advance(&spec, now);
            return Ok(View { spec, state, age });
        }
        let held = self.hold()?;
        held.write()?;
        Ok(View { spec: Arc::clone(&held.spec), state: held.state.clone(), age: 0 })
    }

    /// Changes the state, now. What comes back is the caller's.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&NodeSpec, &mut State) -> T) -> Result<T, Error> {
        let mut held = self.hold()?;
        let spec = Arc::clone(&held.spec);
        let result = change(&spec, &mut held.state);
        held.write()?;
        Ok(result)
    }

    /// Takes the lock and brings the state to now: what was in force until now with the specification of then.
    fn hold(&self) -> Result<Held<'_>, Error> {
        let file = loop {
            let Some(file) = self.state_file(true)? else {
                self.make_state()?;
                continue;
            };
            match file.lock() {
                // a signal came: std does not try again by itself
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                locked => locked.map_err(self.failed("lock", "plant.state"))?,
            }
            // a node that was made anew meanwhile has another file
            let path = self.dir.join("plant.state");
            let same = |there: fs::Metadata| file.metadata().is_ok_and(|ours| ours.ino() == there.ino());
            if fs::metadata(&path).is_ok_and(same) {
                break file;
            }
        };
        let Some((sequence, mut state)) = store::read(&file).map_err(self.failed("read", "plant.state"))? else {
            return Err(Error::State { path: self.dir.join("plant.state") });
        };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = known.filter(|known| (known.file, known.changes) == (state.spec_id, state.changes));
        let (id, spec) = self.read_spec()?;
        let now = boot_nanoseconds();
        if went_back(&state, now) {
            state.at = now;
            state.faults_since = now;
            state.reboot(&spec, random_id(self)?);
        }
        let then = before.as_ref().map_or(&spec, |known| &known.spec);
        if then.gpus.len() == state.gpus.len() {
            state.advance(then, now);
        } else {
            state.at = now.max(state.at);
        }
        if id != state.spec_id {
            state.adopt(&spec, random_id(self)?);
            state.spec_id = id;
            state.changes += 1;
        }
        self.remember(id, state.changes, &spec);
        Ok(Held { node: self, file, sequence, state, spec })
    }

    /// The specification of a file that is known to be in force; none where the file has changed meanwhile.
    fn spec_of(&self, file: u64, changes: u64) -> Result<Option<Arc<NodeSpec>>, Error> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| (known.file, known.changes) == (file, changes)) {
            return Ok(Some(known.spec));
        }
        let (id, spec) = self.read_spec()?;
        if id != file {
            return Ok(None);
        }
        self.remember(id, changes, &spec);
        Ok(Some(spec))
    }

    fn remember(&self, file: u64, changes: u64, spec: &Arc<NodeSpec>) {
        let known = Known { file, changes, spec: Arc::clone(spec) };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    fn read_spec(&self) -> Result<(u64, Arc<NodeSpec>), Error> {
        let path = self.dir.join("node.yaml");
        let read = || -> io::Result<(u64, String)> {
            let mut file = File::open(&path)?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok((identity(&file.metadata()?), text))
        };
        let (id, text) = read().map_err(self.failed("read", "node.yaml"))?;
        Ok((id, Arc::new(NodeSpec::parse(&text, &path.to_string_lossy())?)))
    }

    /// A specification as text, which must be one that can be read back.
    fn text(&self, spec: &NodeSpec) -> Result<String, Error> {
        let file = self.dir.join("node.yaml").to_string_lossy().into_owned();
        let text = serde_yaml::to_string(spec).map_err(|error| YamlError {
            file: file.clone(),
            line: None,
            field: String::new(),
            what: error.to_string(),
        })?;
        NodeSpec::parse(&text, &file)?;
        Ok(text)
    }

    fn state_file(&self, writing: bool) -> Result<Option<File>, Error> {
        match OpenOptions::new().read(true).write(writing).open(self.dir.join("plant.state")) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("open", "plant.state")(error)),
        }
    }

    /// The node's first boot, where no other process was quicker.
    fn make_state(&self) -> Result<(), Error> {
        let (id, spec) = self.read_spec()?;
        let mut state = State::fresh(&spec, boot_nanoseconds(), random_id(self)?);
        state.spec_id = id;
        let (_, path) = self.prepare("plant.state", &store::first(&state))?;
        let linked = fs::hard_link(&path, self.dir.join("plant.state"));
        fs::remove_file(&path).map_err(self.failed("remove", "plant.state"))?;
        match linked {
            Ok(()) => self.replace("boot_id", format!("{}\n", dashed(state.boot_id)).as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(self.failed("make", "plant.state")(error)),
        }
    }

    /// Writes a file beside its place, under a name that no one else uses.
    fn prepare(&self, name: &str, bytes: &[u8]) -> Result<(fs::Metadata, PathBuf), Error> {
        let path = self.dir.join(format!(".{name}.{:x}", random_id(self)?));
        let write = || -> io::Result<fs::Metadata> {
            let mut file = File::create_new(&path)?;
            file.write_all(bytes)?;
            file.metadata()
        };
        Ok((write().map_err(self.failed("write", name))?, path))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let (_, path) = self.prepare(name, bytes)?;
        fs::rename(&path, self.dir.join(name)).map_err(self.failed("replace", name))
    }

    fn failed(&self, what: &'static str, name: &str) -> impl FnOnce(io::Error) -> Error {
        let path = if name.is_empty() { self.dir.clone() } else { self.dir.join(name) };
        move |source| Error::File { what, path, source }
    }
}

/// The state under its lock, which ends with this.
struct Held<'n> {
    node: &'n Node,
    file: File,
    sequence: u64,
    state: State,
    spec: Arc<NodeSpec>,
}

impl Held<'_> {
    fn write(&self) -> Result<(), Error> {
        store::write(&self.file, self.sequence, &self.state).map_err(self.node.failed("write", "plant.state"))
    }
}

/// Whether the machine itself has booted since: its boot time is well behind the state's.
fn went_back(state: &State, now: u64) -> bool {
    now + 1_000_000_000 < state.at
}

/// What tells one version of a file from another: device, inode, time of change, size.
fn identity(file: &fs::Metadata) -> u64 {
    let parts = [file.dev(), file.ino(), file.mtime() as u64, file.mtime_nsec() as u64, file.size()];
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
    store::fnv(&bytes, 0xcbf2_9ce4_8422_2325)
}

fn identity_at(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|file| identity(&file))
}

/// A new boot id, from the kernel's source of chance.
fn random_id(node: &Node) -> Result<u128, Error> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| Error::File { what: "read", path: path.to_owned(), source })?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16)
        .map_err(|error| node.failed("use a random id for", "")(io::Error::other(error)))
}
