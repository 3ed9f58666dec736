//! What NVML answers: the calls without their C clothes.
//!
//! ```text
//! call ─► initialised? ─► handle known? ─► driver there? ─► hang ─► lost? ─► permission? ─► the answer, or its absurd twin
//! ```

use crate::library::beside_library;
use crate::node::{Error, Node, View};
use crate::plant::State;
use crate::spec::{Calls, FaultKind, NodeSpec, Reading};
use crate::{NODE_VARIABLE, READ_ONLY_VARIABLE};
use nvml_wrapper_sys::bindings as nvml;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

mod change;
mod field;
mod read;

pub(crate) use change::{lock_clocks, set_limit, set_persistence, unlock_clocks};
pub(crate) use field::{Field, fields};
pub(crate) use read::*;

/// What a call returns other than success.
pub(crate) type Code = nvml::nvmlReturn_t;

pub(crate) mod code {
    //! NVML's codes under names that fit a line.
    use super::{Code, nvml};
    pub(crate) const SUCCESS: Code = nvml::nvmlReturn_enum_NVML_SUCCESS;
    pub(crate) const UNINITIALIZED: Code = nvml::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED;
    pub(crate) const INVALID_ARGUMENT: Code = nvml::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
    pub(crate) const NOT_SUPPORTED: Code = nvml::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
    pub(crate) const NO_PERMISSION: Code = nvml::nvmlReturn_enum_NVML_ERROR_NO_PERMISSION;
    pub(crate) const NOT_FOUND: Code = nvml::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
    pub(crate) const INSUFFICIENT_SIZE: Code = nvml::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
    pub(crate) const DRIVER_NOT_LOADED: Code = nvml::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED;
    pub(crate) const GPU_IS_LOST: Code = nvml::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST;
    pub(crate) const UNKNOWN: Code = nvml::nvmlReturn_enum_NVML_ERROR_UNKNOWN;
}

/// A GPU, or a MIG instance of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle {
    pub gpu: usize,
    pub instance: Option<usize>,
}

/// Not zero, and unlike any small number that a caller may have made up.
const HANDLE_MARK: usize = 0x4e56_0000;

impl Handle {
    /// As the pointer that NVML hands out; nothing lies behind it.
    pub fn number(self) -> usize {
        HANDLE_MARK | self.gpu << 8 | self.instance.map_or(0, |instance| instance + 1)
    }

    /// From such a pointer.
    pub fn of(number: usize) -> Result<Self, Code> {
        if number & !0xffff != HANDLE_MARK {
            return Err(code::INVALID_ARGUMENT);
        }
        Ok(Self { gpu: number >> 8 & 0xff, instance: (number & 0xff).checked_sub(1) })
    }

    /// The GPU; MIG instances don't have what is asked of it.
    fn whole(self) -> Result<usize, Code> {
        if self.instance.is_some() { Err(code::NOT_SUPPORTED) } else { Ok(self.gpu) }
    }
}

/// This process's use of the library.
struct Session {
    users: u32,
    read_only: bool,
    node: Option<Arc<Node>>,
    /// What was last said on stderr: each thing is said once.
    said: String,
}

static SESSION: Mutex<Session> = Mutex::new(Session { users: 0, read_only: false, node: None, said: String::new() });

fn session() -> MutexGuard<'static, Session> {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says why on stderr, and is the code for it.
fn told(error: &Error) -> Code {
    say(&error.to_string());
    code::UNKNOWN
}

fn say(what: &str) {
    let mut session = session();
    if session.said != what {
        eprintln!("nvml-sim: {what}");
        what.clone_into(&mut session.said);
    }
}

/// The folder of the node that this process runs on: the variable's, or the one that the library itself lies in.
fn node_dir() -> Option<PathBuf> {
    let named = std::env::var_os(NODE_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let beside = || beside_library().filter(|dir| dir.join("node.yaml").exists());
    beside().or(named)
}

/// `nvmlInit_v2`. Counted, as NVML's is.
pub(crate) fn init() -> Result<(), Code> {
    let known = session().node.clone();
    let node = match known {
        Some(node) => node,
        None => {
            let Some(dir) = node_dir() else {
                say(&format!("no node: set {NODE_VARIABLE} to its folder"));
                return Err(code::DRIVER_NOT_LOADED);
            };
            Arc::new(Node::open(dir).map_err(|error| told(&error))?)
        }
    };
    present(&node)?;
    let mut session = session();
    session.users += 1;
    session.read_only = std::env::var_os(READ_ONLY_VARIABLE).is_some_and(|value| value == "1");
    session.node.get_or_insert(node);
    Ok(())
}

/// `nvmlShutdown`.
pub(crate) fn shutdown() -> Result<(), Code> {
    let mut session = session();
    session.users = session.users.checked_sub(1).ok_or(code::UNINITIALIZED)?;
    if session.users == 0 {
        session.node = None;
    }
    Ok(())
}

fn node() -> Result<Arc<Node>, Code> {
    session().node.clone().ok_or(code::UNINITIALIZED)
}

/// The node as it is, where its driver is there.
fn present(node: &Node) -> Result<View, Code> {
    let view = node.view().map_err(|error| told(&error))?;
    if view.state.driver_away(&view.spec) { Err(code::DRIVER_NOT_LOADED) } else { Ok(view) }
}

/// A look at the whole node.
pub(crate) fn look<T>(answer: impl FnOnce(&View) -> Result<T, Code>) -> Result<T, Code> {
    answer(&present(&*node()?)?)
}

/// What is known of a state that nobody wrote for so long would be lost with its old specification: it is written.
const STALE_NANOSECONDS: u64 = 1_000_000_000;

/// A call that reads from a GPU.
fn get<T>(handle: Handle, answer: impl FnOnce(&Asked<'_>) -> Result<T, Code>) -> Result<T, Code> {
    let node = node()?;
    let view = gate(&node, handle, Calls::Get)?;
    if view.age > STALE_NANOSECONDS {
        node.change(|_, _| ()).map_err(|error| told(&error))?;
    }
    answer(&Asked { node: &node, view: &view, handle })
}

/// A call that changes a GPU. `change` also gets whether the hardware follows.
fn set(
    handle: Handle,
    change: impl FnOnce(&NodeSpec, &mut State, usize, bool) -> Result<(), Code>,
) -> Result<(), Code> {
    let node = node()?;
    let view = gate(&node, handle, Calls::Set)?;
    let gpu = handle.whole()?;
    let denied = met(&node, &view, gpu, |fault| (*fault == FaultKind::NoPermission).then_some(()))?;
    if session().read_only || denied.is_some() {
        return Err(code::NO_PERMISSION);
    }
    let ignored = met(&node, &view, gpu, |fault| (*fault == FaultKind::NotApplied).then_some(()))?;
    node.change(|spec, state| {
        if state.driver_away(spec) {
            return Err(code::DRIVER_NOT_LOADED);
        }
        if gpu >= state.gpus.len() {
            return Err(code::INVALID_ARGUMENT);
        }
        change(spec, state, gpu, ignored.is_none())
    })
    .map_err(|error| told(&error))?
}

/// A reading call on its way to the answer.
struct Asked<'c> {
    node: &'c Node,
    view: &'c View,
    handle: Handle,
}

impl Asked<'_> {
    /// The number that a reading is to be, whatever is true.
    fn absurd(&self, reading: Reading) -> Result<Option<f64>, Code> {
        met(self.node, self.view, self.handle.gpu, |fault| match fault {
            FaultKind::AbsurdReading { of, value } if *of == reading => Some(*value),
            _ => None,
        })
    }
}

/// What stands before each call on a GPU.
fn gate(node: &Node, handle: Handle, calls: Calls) -> Result<View, Code> {
    let view = known(present(node)?, handle)?;
    let hangs = met(node, &view, handle.gpu, |fault| match fault {
        FaultKind::Hang { calls: which, seconds } if *which == Calls::All || *which == calls => Some(*seconds),
        _ => None,
    })?;
    let view = match hangs {
        None => view,
        Some(seconds) => {
            // nothing is held meanwhile: only this call hangs
            std::thread::sleep(Duration::from_secs_f64(seconds));
            known(present(node)?, handle)?
        }
    };
    let lost = met(node, &view, handle.gpu, |fault| (*fault == FaultKind::Lost).then_some(()))?;
    if lost.is_some() { Err(code::GPU_IS_LOST) } else { Ok(view) }
}

/// The view, where it has what the handle names.
fn known(view: View, handle: Handle) -> Result<View, Code> {
    let gpu = view.spec.gpus.get(handle.gpu);
    let there = |mig: u32| handle.instance.is_none_or(|instance| instance < mig as usize);
    if gpu.is_some_and(|gpu| there(gpu.mig_instances)) { Ok(view) } else { Err(code::INVALID_ARGUMENT) }
}

/// The first fault of a kind that is in force on a GPU. One for a single call is spent by this.
fn met<T>(node: &Node, view: &View, gpu: usize, pick: impl Fn(&FaultKind) -> Option<T>) -> Result<Option<T>, Code> {
    for (i, fault) in view.state.faults(&view.spec, gpu) {
        let Some(found) = pick(fault) else { continue };
        if !view.spec.faults[i].once {
            return Ok(Some(found));
        }
        // of several processes one spends it; a table that was exchanged meanwhile is not touched
        let table = view.state.faults_since;
        let spent = node.change(|_, state| {
            let first = state.faults_since == table && state.fired >> i & 1 == 0;
            state.fired |= u64::from(first) << i;
            first
        });
        if spent.map_err(|error| told(&error))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
