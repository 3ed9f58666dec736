//! How a node's power follows limits, clocks and workloads. Pure: time enters as nanoseconds of `CLOCK_BOOTTIME`.
//!
//! Between two events (a fault that begins, ends or repeats) each GPU's draw runs to its target in closed form, and its
//! energy is the exact integral. So it makes no difference how often anyone looks.
//!
//! ```text
//! state at t0 ──flow──► event 1 ──happen──► state ──flow──► event 2 ──happen──► ... ──flow──► state at t
//! ```

use crate::spec::{FaultKind, GpuSpec, NodeSpec};

mod curve;
#[cfg(test)]
mod tests;

pub(crate) use curve::{Held, clock_mhz, enforced_mw, held_by, target_mw};

/// How long the averaged power reading looks back, in seconds: the mean age of what it shows. NVML averages over 1 s.
const AVERAGE_SECONDS: f64 = 0.5;

/// What a node is in, at a moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// The moment, in nanoseconds of `CLOCK_BOOTTIME`.
    pub at: u64,
    /// Changes with each boot of the node.
    pub boot_id: u128,
    /// Driver loads since the node was made.
    pub driver_loads: u64,
    /// Changes of the specification that were taken over.
    pub changes: u64,
    /// The file that was taken over last (`node`).
    pub spec_id: u64,
    /// The fault table in force, as a hash.
    pub faults_id: u64,
    /// Since when it is in force.
    pub faults_since: u64,
    /// Faults for one call that have met it, a bit each.
    pub fired: u64,
    /// The GPUs.
    pub gpus: Vec<GpuState>,
}

/// What a GPU is in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GpuState {
    /// The limit that the driver tells, in milliwatts.
    pub told_mw: u64,
    /// The limit that the hardware has, in milliwatts: another one where a setting was not applied.
    pub set_mw: u64,
    /// The SM clock that is locked, lowest and highest, in MHz; zeroes where none is.
    pub locked_mhz: (u32, u32),
    /// Persistence mode.
    pub persistence: bool,
    /// The draw of the moment, in milliwatts.
    pub draw_mw: f64,
    /// The averaged draw, in milliwatts.
    pub average_mw: f64,
    /// Energy since the driver was loaded, in millijoules.
    pub energy_mj: f64,
    /// What frozen readings show: draw, average, energy.
    pub frozen: [Option<f64>; 3],
}

impl GpuState {
    /// A GPU just after a driver load, without work.
    fn fresh(spec: &GpuSpec) -> Self {
        let (default, idle) = (u64::from(spec.default_limit_watts) * 1000, f64::from(spec.idle_watts) * 1000.0);
        Self {
            told_mw: default,
            set_mw: default,
            locked_mhz: (0, 0),
            persistence: spec.persistence,
            draw_mw: idle,
            average_mw: idle,
            energy_mj: 0.0,
            frozen: [None; 3],
        }
    }

    /// What a load of the driver does to it. Its draw and what is frozen stay: work goes on, and so do faults.
    fn load_driver(&mut self, spec: &GpuSpec) {
        let fresh = Self::fresh(spec);
        *self = Self { draw_mw: self.draw_mw, average_mw: self.average_mw, frozen: self.frozen, ..fresh };
    }

    /// The draw runs to a target for so many seconds. With d its distance from the target and τ the time constant:
    /// P(t) = T + d·e^(−t/τ); energy = T·t + d·τ·(1 − e^(−t/τ)); the average follows the draw with a constant of its
    /// own, τa: A(t) = T + k·e^(−t/τ) + (A₀ − T − k)·e^(−t/τa), k = d·τ / (τ − τa).
    fn flow(&mut self, spec: &GpuSpec, target: f64, seconds: f64) {
        let tau = f64::from(spec.time_constant_ms) / 1000.0;
        // two equal constants have another solution; a little apart this one is as good
        let slow = if (tau - AVERAGE_SECONDS).abs() < 1e-6 { AVERAGE_SECONDS * 1.001 } else { AVERAGE_SECONDS };
        let distance = self.draw_mw - target;
        let left = (-seconds / tau).exp();
        let shape = distance * tau / (tau - slow);
        self.energy_mj += target * seconds - distance * tau * (-seconds / tau).exp_m1();
        self.average_mw = target + shape * left + (self.average_mw - target - shape) * (-seconds / slow).exp();
        self.draw_mw = target + distance * left;
    }
}

impl State {
    /// A node that has just booted.
    pub fn fresh(spec: &NodeSpec, now: u64, boot_id: u128) -> Self {
        let gpus = spec.gpus.iter().map(GpuState::fresh).collect();
        let mut state = Self {
            at: now,
            boot_id,
            driver_loads: 1,
            changes: 0,
            spec_id: 0,
            faults_id: 0,
            faults_since: now,
            fired: 0,
            gpus,
        };
        state.take_faults(spec);
        state
    }

    /// Goes on to a moment. One in the past changes nothing.
    pub fn advance(&mut self, spec: &NodeSpec, now: u64) {
        while let Some(event) = self.next_event(spec).filter(|event| *event <= now) {
            self.flow(spec, event);
            self.happen(spec);
        }
        self.flow(spec, now);
    }

    /// Takes over a changed specification, from now on. `boot_id` is for a node that came back with other GPUs.
    pub fn adopt(&mut self, spec: &NodeSpec, boot_id: u128) {
        if spec.gpus.len() != self.gpus.len() {
            let (loads, changes) = (self.driver_loads, self.changes);
            *self = Self { driver_loads: loads + 1, changes, ..Self::fresh(spec, self.at, boot_id) };
            return;
        }
        for (gpu, state) in spec.gpus.iter().zip(&mut self.gpus) {
            let range = (u64::from(gpu.min_limit_watts) * 1000, u64::from(gpu.max_limit_watts) * 1000);
            state.set_mw = state.set_mw.clamp(range.0, range.1);
            state.told_mw = state.told_mw.clamp(range.0, range.1);
        }
        if faults_id(spec) != self.faults_id {
            self.take_faults(spec);
        }
    }

    /// A boot: a new id, the driver loaded anew, work starts from idle.
    pub fn reboot(&mut self, spec: &NodeSpec, boot_id: u128) {
        self.boot_id = boot_id;
        self.load_driver(spec);
        for (gpu, state) in spec.gpus.iter().zip(&mut self.gpus) {
            let fresh = GpuState::fresh(gpu);
            (state.draw_mw, state.average_mw) = (fresh.draw_mw, fresh.average_mw);
        }
    }

    /// The driver is loaded anew.
    pub fn load_driver(&mut self, spec: &NodeSpec) {
        self.driver_loads += 1;
        for (gpu, state) in spec.gpus.iter().zip(&mut self.gpus) {
            state.load_driver(gpu);
        }
    }

    /// The faults of a GPU that are in force now, with their places in the table.
    pub fn faults<'s>(&'s self, spec: &'s NodeSpec, gpu: usize) -> impl Iterator<Item = (usize, &'s FaultKind)> {
        let since = self.at.saturating_sub(self.faults_since);
        spec.faults.iter().enumerate().filter_map(move |(i, fault)| {
            let met = fault.once && self.fired >> i & 1 == 1;
            let on = fault.is_of(gpu) && (fault.begins()..fault.ends()).contains(&since) && !met;
            on.then_some((i, &fault.fault))
        })
    }

    /// Whether the driver is away.
    pub fn driver_away(&self, spec: &NodeSpec) -> bool {
        let since = self.at.saturating_sub(self.faults_since);
        spec.faults.iter().any(|fault| {
            let away = fault.fault == FaultKind::DriverReload && fault.for_seconds.is_some();
            away && (fault.begins()..fault.ends()).contains(&since)
        })
    }

    /// The input power of the host alone, in milliwatts: from its idle figure to its highest with the mean of the GPUs'
    /// ways from idle to their highest limit.
    pub fn host_mw(&self, spec: &NodeSpec) -> f64 {
        let load = |(gpu, state): (&GpuSpec, &GpuState)| {
            let idle = f64::from(gpu.idle_watts) * 1000.0;
            let room = f64::from(gpu.max_limit_watts) * 1000.0 - idle;
            if room > 0.0 { ((state.draw_mw - idle) / room).clamp(0.0, 1.0) } else { 1.0 }
        };
        let mean = spec.gpus.iter().zip(&self.gpus).map(load).sum::<f64>() / self.gpus.len().max(1) as f64;
        let (idle, max) = (f64::from(spec.host_idle_watts), f64::from(spec.host_max_watts));
        (idle + (max - idle) * mean) * 1000.0
    }

    /// The next moment at which something changes by the fault table.
    fn next_event(&self, spec: &NodeSpec) -> Option<u64> {
        let since = self.at.saturating_sub(self.faults_since);
        let events = spec.faults.iter().filter_map(|fault| {
            let (begins, ends) = (fault.begins(), fault.ends());
            if since < begins {
                return Some(begins);
            }
            let again = fault.repeats().map(|step| begins + ((since - begins) / step + 1) * step);
            let next = again.map_or(ends, |again| again.min(ends));
            (since < ends && next != u64::MAX).then_some(next)
        });
        Some(self.faults_since.saturating_add(events.min()?))
    }

    /// Nothing but the draw changes until a moment.
    fn flow(&mut self, spec: &NodeSpec, until: u64) {
        if until <= self.at {
            return;
        }
        let seconds = (until - self.at) as f64 / 1e9;
        let targets: Vec<f64> = (0..self.gpus.len()).map(|gpu| target_mw(spec, self, gpu)).collect();
        for ((gpu, state), target) in spec.gpus.iter().zip(&mut self.gpus).zip(targets) {
            state.flow(gpu, target, seconds);
        }
        self.at = until;
    }

    /// What the fault table does at this very moment.
    fn happen(&mut self, spec: &NodeSpec) {
        let since = self.at - self.faults_since;
        for fault in &spec.faults {
            let (begins, ends) = (fault.begins(), fault.ends());
            let repeated = fault.repeats().is_some_and(|step| since > begins && (since - begins).is_multiple_of(step));
            if since == ends {
                self.end(&fault.fault, |gpu| fault.is_of(gpu));
            } else if since == begins || repeated && since < ends {
                self.begin(spec, &fault.fault, |gpu| fault.is_of(gpu));
            }
        }
    }

    fn begin(&mut self, spec: &NodeSpec, fault: &FaultKind, is_of: impl Fn(usize) -> bool) {
        if *fault == FaultKind::DriverReload {
            return self.load_driver(spec);
        }
        let gpus = spec.gpus.iter().zip(&mut self.gpus).enumerate();
        for (_, (gpu, state)) in gpus.filter(|(i, _)| is_of(*i)) {
            match fault {
                FaultKind::FrozenPower => {
                    state.frozen[0] = Some(state.draw_mw);
                    state.frozen[1] = Some(state.average_mw);
                }
                FaultKind::FrozenEnergy => state.frozen[2] = Some(state.energy_mj),
                FaultKind::ForeignLimit { watts, .. } => {
                    let watts = watts.unwrap_or(gpu.default_limit_watts);
                    let mw = u64::from(watts.clamp(gpu.min_limit_watts, gpu.max_limit_watts)) * 1000;
                    (state.set_mw, state.told_mw) = (mw, mw);
                }
                FaultKind::PersistenceLost => {
                    let energy = state.energy_mj;
                    state.load_driver(gpu);
                    (state.persistence, state.energy_mj) = (false, energy);
                }
                // these change what calls answer or where the draw goes, not what is
                FaultKind::Lost
                | FaultKind::NoPermission
                | FaultKind::NotApplied
                | FaultKind::Hang { .. }
                | FaultKind::AbsurdReading { .. }
                | FaultKind::Overshoot { .. }
                | FaultKind::DriverReload => {}
            }
        }
    }

    fn end(&mut self, fault: &FaultKind, is_of: impl Fn(usize) -> bool) {
        for (_, state) in self.gpus.iter_mut().enumerate().filter(|(i, _)| is_of(*i)) {
            match fault {
                FaultKind::FrozenPower => (state.frozen[0], state.frozen[1]) = (None, None),
                FaultKind::FrozenEnergy => state.frozen[2] = None,
                _ => {}
            }
        }
    }

    /// Puts the specification's fault table in force, from now.
    fn take_faults(&mut self, spec: &NodeSpec) {
        self.faults_id = faults_id(spec);
        self.faults_since = self.at;
        self.fired = 0;
        self.gpus.iter_mut().for_each(|gpu| gpu.frozen = [None; 3]);
        self.happen(spec);
    }
}

/// A fault table as a number.
fn faults_id(spec: &NodeSpec) -> u64 {
    crate::store::fnv(format!("{:?}", spec.faults).as_bytes(), 0xcbf2_9ce4_8422_2325)
}
