//! Where a GPU's draw goes to, and at which clock it runs: the static side of the plant.

use super::{GpuState, State};
use crate::spec::{FaultKind, GpuSpec, NodeSpec, WorkloadKind};

/// The part of the range of limits, from below, over which the overshoot at the minimum fades: a quarter. A guess; an
/// A40 passes 100 W by 21 % and holds 150 W (ml-energy/zeus, NSDI'23 traces).
const FADE: f64 = 0.25;

/// Voltage at clock zero, of that at the highest clock: V = 0.6 + 0.4·x. A guess between the flat foot and the steep end
/// of real curves.
const FOOT: f64 = 0.6;

/// What keeps a GPU from drawing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// It has no work.
    Idle,
    /// The limit in force.
    Limit,
    /// Its work (or a locked clock) wants no more.
    Work,
}

/// Dynamic power at a clock, of that at the highest: f·V², with x = f / f max.
fn dynamic(x: f64) -> f64 {
    let voltage = FOOT + (1.0 - FOOT) * x;
    x * voltage * voltage
}

fn watts(watts: u32) -> f64 {
    f64::from(watts) * 1000.0
}

/// The limit in force, in milliwatts: the least of VBIOS, driver and BMC.
pub(crate) fn enforced_mw(gpu: &GpuSpec, state: &GpuState) -> u64 {
    let bmc = gpu.bmc_limit_watts.map_or(u64::MAX, |watts| u64::from(watts) * 1000);
    state.set_mw.min(u64::from(gpu.max_limit_watts) * 1000).min(bmc)
}

/// How far the draw may pass a limit for good, as a factor: 1 in the upper part of the range, more near the minimum.
pub(super) fn near_minimum(gpu: &GpuSpec, limit_mw: u64) -> f64 {
    let (min, max) = (watts(gpu.min_limit_watts), watts(gpu.max_limit_watts));
    let way = if max > min { (limit_mw as f64 - min) / (max - min) / FADE } else { 0.0 };
    1.0 + f64::from(gpu.overshoot_permille) / 1000.0 * (1.0 - way).clamp(0.0, 1.0)
}

/// What the work wants at a clock of x of the highest, in milliwatts.
fn wanted_mw(gpu: &GpuSpec, x: f64) -> f64 {
    let idle = watts(gpu.idle_watts);
    let full = watts(gpu.max_limit_watts) * f64::from(gpu.workload.wants()) / 1000.0;
    idle + (full - idle).max(0.0) * dynamic(x)
}

/// The highest clock that is allowed, of the highest there is.
fn allowed(gpu: &GpuSpec, state: &GpuState) -> f64 {
    let locked = if state.locked_mhz.1 == 0 { gpu.max_clock_mhz } else { state.locked_mhz.1 };
    f64::from(locked) / f64::from(gpu.max_clock_mhz)
}

/// What keeps it from drawing more.
pub(crate) fn held_by(gpu: &GpuSpec, state: &GpuState) -> Held {
    let limit = enforced_mw(gpu, state);
    if gpu.workload.kind == WorkloadKind::Idle {
        Held::Idle
    } else if wanted_mw(gpu, allowed(gpu, state)) > limit as f64 * near_minimum(gpu, limit) {
        Held::Limit
    } else {
        Held::Work
    }
}

/// What its draw settles at, in milliwatts.
pub(crate) fn target_mw(spec: &NodeSpec, state: &State, gpu: usize) -> f64 {
    let (Some(figures), Some(now)) = (spec.gpus.get(gpu), state.gpus.get(gpu)) else { return 0.0 };
    let idle = watts(figures.idle_watts);
    if state.driver_away(spec) || figures.workload.kind == WorkloadKind::Idle {
        return idle;
    }
    let limit = enforced_mw(figures, now);
    let held = limit as f64 * near_minimum(figures, limit);
    let more: u32 = state
        .faults(spec, gpu)
        .map(|(_, fault)| if let FaultKind::Overshoot { permille } = fault { *permille } else { 0 })
        .max()
        .unwrap_or(0);
    let target = wanted_mw(figures, allowed(figures, now)).min(held) * (1.0 + f64::from(more) / 1000.0);
    target.max(idle)
}

/// The SM clock it runs at, in MHz: the highest allowed one whose draw fits its limit.
pub(crate) fn clock_mhz(gpu: &GpuSpec, state: &GpuState) -> u32 {
    let (low, high) = (f64::from(gpu.min_clock_mhz), f64::from(gpu.max_clock_mhz));
    let top = allowed(gpu, state);
    let x = match held_by(gpu, state) {
        Held::Idle => f64::from(state.locked_mhz.0) / high,
        Held::Work => top,
        Held::Limit => {
            let limit = enforced_mw(gpu, state);
            let held = limit as f64 * near_minimum(gpu, limit);
            // the curve rises with the clock: halve the range until it is finer than a MHz
            let halve = |(from, to): (f64, f64), _| {
                let middle = (from + to) / 2.0;
                if wanted_mw(gpu, middle) > held { (from, middle) } else { (middle, to) }
            };
            (0..20).fold((0.0, top), halve).0
        }
    };
    (x * high).max(low).round() as u32
}
