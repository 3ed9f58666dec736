//! The boot guard: before the kubelet starts, every GPU is brought down to its safe limit and read back.
//!
//! A reboot gives GPUs their default limits back, and the kubelet restarts bound pods before anybody can say no.

use super::device::{Device, Devices, Identity, Range, judge_limit, judge_range};
use super::hold::Bounds;
use super::state::Found;
use crate::units::Watts;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long one GPU may take. Longer than the actuator's own deadline: nothing else waits on a machine that boots.
const AT_MOST: Duration = Duration::from_secs(10);

/// What was done with one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// Which.
    pub gpu: Identity,
    /// What came of it.
    pub result: Result<Safe, String>,
}

/// A GPU that is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Safe {
    /// What was in force before.
    pub found: Watts,
    /// What it must not pass.
    pub limit: Watts,
    /// What was read back.
    pub enforced: Watts,
}

/// Why nothing could be done at all.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The devices can't be listed.
    #[error("{0}. Is the driver loaded before this unit?")]
    Devices(#[from] super::device::DeviceError),
    /// No safe limit.
    #[error(
        "no safe limit is known: no order was ever carried out on this node, and none was given. Give --safe-watts, or \
         start the actuator and let it carry out an order first. Nothing was changed"
    )]
    NoSafeLimit,
}

/// Brings every GPU down to min(in force, its safe limit); never up. The safe limit is the recorded one; for a GPU that
/// has none, `safe`; the lowest that its device takes if neither is there, or the record is not to be believed.
///
/// # Errors
/// When nothing could be done at all. What could not be done on one GPU is in its result.
pub fn guard(devices: &Arc<dyn Devices>, found: &Found, safe: Option<Watts>) -> Result<Vec<Guarded>, GuardError> {
    if *found == Found::Nothing && safe.is_none() {
        return Err(GuardError::NoSafeLimit);
    }
    let listing = devices.list()?;
    let unreadable = listing.unreadable.into_iter().map(|(index, error)| {
        let gpu = Identity { uuid: "?".to_owned(), index, model: "?".to_owned(), slices: Vec::new() };
        Guarded { gpu, result: Err(error.to_string()) }
    });
    let waiting: Vec<_> = listing
        .devices
        .into_iter()
        .map(|gpu| {
            let recorded = match found {
                Found::Kept(state) => state.gpus.get(&gpu.uuid).map(|record| record.fall_watts),
                Found::Nothing | Found::Torn(_) => None,
            };
            let believed = !matches!(found, Found::Torn(_));
            let limit = recorded.or(safe.filter(|_| believed));
            let (devices, uuid) = (devices.clone(), gpu.uuid.clone());
            let (done, waits) = channel();
            // its own thread, which is left behind if the device hangs
            std::thread::spawn(move || {
                let _ = done.send(bring_down(devices.as_ref(), &uuid, limit));
            });
            (gpu, waits)
        })
        .collect();
    let guarded = waiting.into_iter().map(|(gpu, waits)| {
        let result = waits.recv_timeout(AT_MOST).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => format!("the device has not come back for {} s", AT_MOST.as_secs()),
                RecvTimeoutError::Disconnected => "its thread has ended".to_owned(),
            })
        });
        Guarded { gpu, result }
    });
    Ok(guarded.chain(unreadable).collect())
}

fn bring_down(devices: &dyn Devices, uuid: &str, limit: Option<Watts>) -> Result<Safe, String> {
    let mut device = devices.open(uuid).map_err(|error| error.to_string())?;
    let range = device.range().and_then(judge_range).map_err(|error| error.to_string())?;
    let bounds = Bounds::new(range, limit);
    let limit = limit.map_or(bounds.low(), |_| bounds.high());
    let found = in_force(device.as_mut(), range)?;
    if found > limit {
        device.set_limit(limit).map_err(|error| error.to_string())?;
    }
    let enforced = in_force(device.as_mut(), range)?;
    if enforced > limit {
        return Err(format!("{limit} was accepted and {enforced} is in force: it does not hold"));
    }
    Ok(Safe { found, limit, enforced })
}

/// The higher of what was set and what is in force: what holds the one under the other may go away.
fn in_force(device: &mut dyn Device, range: Range) -> Result<Watts, String> {
    let enforced = device.enforced_watts().and_then(|watts| judge_limit(watts, range));
    let enforced = enforced.map_err(|error| error.to_string())?;
    let set = device.set_watts().and_then(|watts| judge_limit(watts, range));
    Ok(set.map_or(enforced, |set| set.max(enforced)))
}
