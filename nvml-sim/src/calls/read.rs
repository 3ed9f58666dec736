//! Calls that read.

use super::{Asked, Code, Handle, code, get, look};
use crate::plant::{Held, clock_mhz, enforced_mw, held_by};
use crate::spec::{GpuSpec, Reading, WorkloadKind};
use nvml_wrapper_sys::bindings as nvml;

/// Clocks step by so many MHz, as on real devices.
const CLOCK_STEP: usize = 15;

/// The most MIG instances that a GPU can have.
const MOST_INSTANCES: u32 = 7;

impl Asked<'_> {
    pub(super) fn gpu(&self) -> &GpuSpec {
        &self.view.spec.gpus[self.handle.gpu]
    }

    fn state(&self) -> &crate::plant::GpuState {
        &self.view.state.gpus[self.handle.gpu]
    }

    /// The draw as it is shown, in milliwatts: of the moment, or averaged.
    pub(super) fn power(&self, averaged: bool) -> f64 {
        let (state, place) = (self.state(), usize::from(averaged));
        state.frozen[place].unwrap_or(if averaged { state.average_mw } else { state.draw_mw })
    }

    /// The energy counter as it is shown, in millijoules.
    pub(super) fn energy(&self) -> f64 {
        self.state().frozen[2].unwrap_or(self.state().energy_mj)
    }

    pub(super) fn enforced(&self) -> u64 {
        enforced_mw(self.gpu(), self.state())
    }

    pub(super) fn told(&self) -> u64 {
        self.state().told_mw
    }
}

/// A number that a person made up, in NVML's unsigned 32 bits: negative ones wrap, NaN is all ones.
fn wrapped(value: f64) -> u32 {
    if value.is_nan() { u32::MAX } else { value as i64 as u32 }
}

fn milliwatts(mw: u64) -> u32 {
    u32::try_from(mw).unwrap_or(u32::MAX)
}

pub(crate) fn driver_version() -> Result<String, Code> {
    look(|view| Ok(view.spec.driver_version.clone()))
}

pub(crate) fn count() -> Result<u32, Code> {
    look(|view| Ok(view.spec.gpus.len() as u32))
}

pub(crate) fn by_index(index: u32) -> Result<Handle, Code> {
    let handle = Handle { gpu: index as usize, instance: None };
    look(|view| if handle.gpu < view.spec.gpus.len() { Ok(()) } else { Err(code::INVALID_ARGUMENT) })?;
    get(handle, |_| Ok(handle))
}

pub(crate) fn by_uuid(uuid: &str) -> Result<Handle, Code> {
    let handle = look(|view| {
        let mut gpus = view.spec.gpus.iter().enumerate();
        let found = gpus.find_map(|(gpu, figures)| {
            let instances = (0..figures.mig_instances as usize).map(Some);
            let mut all = std::iter::once(None).chain(instances);
            let is_it = |instance: &Option<usize>| match instance {
                None => view.spec.uuid(gpu) == uuid,
                Some(instance) => view.spec.mig_uuid(gpu, *instance) == uuid,
            };
            all.find(is_it).map(|instance| Handle { gpu, instance })
        });
        found.ok_or(code::NOT_FOUND)
    })?;
    get(handle, |_| Ok(handle))
}

/// By `domain:bus:device.function`; the domain may be short or left out.
pub(crate) fn by_bus_id(text: &str) -> Result<Handle, Code> {
    let parts: Vec<&str> = text.rsplit(':').collect();
    let (slot, bus, domain) = match parts[..] {
        [slot, bus] => (slot, bus, "0"),
        [slot, bus, domain] => (slot, bus, domain),
        _ => return Err(code::INVALID_ARGUMENT),
    };
    let hex = |text: &str| u32::from_str_radix(text, 16).map_err(|_| code::INVALID_ARGUMENT);
    let slot = hex(slot.strip_suffix(".0").unwrap_or(slot))?;
    let (bus, domain) = (hex(bus)?, hex(domain)?);
    let gpus = count()?;
    match (0..gpus).find(|gpu| (domain, bus, slot) == (0, bus_of(*gpu as usize), 0)) {
        Some(gpu) => by_index(gpu),
        None => Err(code::NOT_FOUND),
    }
}

/// The PCI bus that a GPU is on.
pub(crate) fn bus_of(gpu: usize) -> u32 {
    0x11 + gpu as u32
}

pub(crate) fn name(handle: Handle) -> Result<String, Code> {
    get(handle, |asked| {
        let name = &asked.gpu().name;
        Ok(if handle.instance.is_some() { format!("{name} MIG") } else { name.clone() })
    })
}

pub(crate) fn uuid(handle: Handle) -> Result<String, Code> {
    get(handle, |asked| {
        let spec = &asked.view.spec;
        Ok(handle.instance.map_or_else(|| spec.uuid(handle.gpu), |instance| spec.mig_uuid(handle.gpu, instance)))
    })
}

/// The GPU that is asked of, where it is one and it answers.
pub(crate) fn whole(handle: Handle) -> Result<usize, Code> {
    get(handle, |_| handle.whole())
}

pub(crate) fn power_usage(handle: Handle) -> Result<u32, Code> {
    get(handle, |asked| {
        handle.whole()?;
        let absurd = asked.absurd(Reading::Power)?;
        Ok(absurd.map_or_else(|| asked.power(asked.gpu().averaged_usage).round() as u32, wrapped))
    })
}

pub(crate) fn limit(handle: Handle) -> Result<u32, Code> {
    get(handle, |asked| handle.whole().map(|_| milliwatts(asked.told())))
}

pub(crate) fn enforced_limit(handle: Handle) -> Result<u32, Code> {
    get(handle, |asked| {
        handle.whole()?;
        let absurd = asked.absurd(Reading::EnforcedLimit)?;
        Ok(absurd.map_or_else(|| milliwatts(asked.enforced()), wrapped))
    })
}

pub(crate) fn default_limit(handle: Handle) -> Result<u32, Code> {
    get(handle, |asked| handle.whole().map(|_| asked.gpu().default_limit_watts * 1000))
}

pub(crate) fn limit_range(handle: Handle) -> Result<(u32, u32), Code> {
    get(handle, |asked| {
        handle.whole()?;
        Ok((asked.gpu().min_limit_watts * 1000, asked.gpu().max_limit_watts * 1000))
    })
}

pub(crate) fn energy(handle: Handle) -> Result<u64, Code> {
    get(handle, |asked| {
        handle.whole()?;
        let absurd = asked.absurd(Reading::Energy)?;
        let wrapped = |value: f64| if value.is_nan() { u64::MAX } else { value as i128 as u64 };
        Ok(absurd.map_or_else(|| asked.energy() as u64, wrapped))
    })
}

pub(crate) fn clock(handle: Handle, kind: nvml::nvmlClockType_t) -> Result<u32, Code> {
    get(handle, |asked| {
        let state = &asked.view.state.gpus[handle.whole()?];
        if is_core(kind)? { Ok(clock_mhz(asked.gpu(), state)) } else { Ok(asked.gpu().memory_clock_mhz) }
    })
}

pub(crate) fn max_clock(handle: Handle, kind: nvml::nvmlClockType_t) -> Result<u32, Code> {
    get(handle, |asked| {
        handle.whole()?;
        if is_core(kind)? { Ok(asked.gpu().max_clock_mhz) } else { Ok(asked.gpu().memory_clock_mhz) }
    })
}

/// Whether a clock is one of the core's (they all run alike here); else it is the memory's.
fn is_core(kind: nvml::nvmlClockType_t) -> Result<bool, Code> {
    match kind {
        nvml::nvmlClockType_enum_NVML_CLOCK_MEM => Ok(false),
        kind if kind < nvml::nvmlClockType_enum_NVML_CLOCK_COUNT => Ok(true),
        _ => Err(code::INVALID_ARGUMENT),
    }
}

/// The core clocks that go with a memory clock, highest first.
pub(crate) fn core_clocks(handle: Handle, memory: u32) -> Result<Vec<u32>, Code> {
    get(handle, |asked| {
        handle.whole()?;
        let gpu = asked.gpu();
        if memory != gpu.memory_clock_mhz {
            return Err(code::NOT_FOUND);
        }
        Ok((gpu.min_clock_mhz..=gpu.max_clock_mhz).rev().step_by(CLOCK_STEP).collect())
    })
}

pub(crate) fn memory_clocks(handle: Handle) -> Result<Vec<u32>, Code> {
    get(handle, |asked| handle.whole().map(|_| vec![asked.gpu().memory_clock_mhz]))
}

/// Why the clocks are not the highest.
pub(crate) fn throttle_reasons(handle: Handle) -> Result<u64, Code> {
    get(handle, |asked| {
        let state = &asked.view.state.gpus[handle.whole()?];
        Ok(u64::from(match held_by(asked.gpu(), state) {
            Held::Idle => nvml::nvmlClocksThrottleReasonGpuIdle,
            Held::Limit => nvml::nvmlClocksThrottleReasonSwPowerCap,
            Held::Work => nvml::nvmlClocksThrottleReasonNone,
        }))
    })
}

/// The reasons that there can be.
pub(crate) fn possible_reasons(handle: Handle) -> Result<u64, Code> {
    whole(handle)?;
    Ok(u64::from(nvml::nvmlClocksThrottleReasonGpuIdle | nvml::nvmlClocksThrottleReasonSwPowerCap))
}

/// Percent of time in which the GPU, and its memory, were busy. The figures are made up: only that decode waits for
/// memory, and that all of them look busy, is as it is.
pub(crate) fn utilization(handle: Handle) -> Result<(u32, u32), Code> {
    get(handle, |asked| {
        handle.whole()?;
        Ok(match asked.gpu().workload.kind {
            WorkloadKind::Idle => (0, 0),
            WorkloadKind::Training => (99, 60),
            WorkloadKind::Prefill => (100, 45),
            WorkloadKind::Decode => (96, 85),
        })
    })
}

pub(crate) fn persistence(handle: Handle) -> Result<bool, Code> {
    get(handle, |asked| Ok(asked.view.state.gpus[handle.whole()?].persistence))
}

/// Whether MIG is on.
pub(crate) fn mig(handle: Handle) -> Result<bool, Code> {
    get(handle, |asked| handle.whole().map(|_| asked.gpu().mig_instances > 0))
}

pub(crate) fn most_instances(handle: Handle) -> Result<u32, Code> {
    whole(handle).map(|_| MOST_INSTANCES)
}

pub(crate) fn instance(handle: Handle, index: u32) -> Result<Handle, Code> {
    get(handle, |asked| {
        let gpu = handle.whole()?;
        if index >= MOST_INSTANCES {
            return Err(code::INVALID_ARGUMENT);
        }
        let there = index < asked.gpu().mig_instances;
        there.then_some(Handle { gpu, instance: Some(index as usize) }).ok_or(code::NOT_FOUND)
    })
}

pub(crate) fn parent(handle: Handle) -> Result<Handle, Code> {
    get(handle, |_| match handle.instance {
        Some(_) => Ok(Handle { instance: None, ..handle }),
        None => Err(code::INVALID_ARGUMENT),
    })
}

pub(crate) fn is_instance(handle: Handle) -> Result<bool, Code> {
    get(handle, |_| Ok(handle.instance.is_some()))
}
