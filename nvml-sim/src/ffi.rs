//! The symbols of `libnvidia-ml.so`. What they answer is in `calls`; here is only the C around it.
//!
//! Names, types and codes are those of `nvml-wrapper-sys`. A symbol that is not here is missing from the library, and
//! nvml-wrapper says so when it is called. No panic leaves: `answer` makes one into `NVML_ERROR_UNKNOWN`.
#![expect(unsafe_code, reason = "a C ABI: symbols have C's names, and callers hand in pointers")]

use crate::calls::{self, Code, Field, Handle, code};
use crate::clock::unix_microseconds;
use nvml_wrapper_sys::bindings as nvml;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

type Return = nvml::nvmlReturn_t;
type Device = nvml::nvmlDevice_t;

/// The version of this library, and the CUDA version that a 580 driver tells.
const NVML_VERSION: &str = "13.580.65.06";
const CUDA_VERSION: c_int = 13_000;

/// Runs a call; a panic stays inside.
fn answer(call: impl FnOnce() -> Result<(), Code>) -> Return {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => code::SUCCESS,
        Ok(Err(code)) => code,
        Err(_) => code::UNKNOWN,
    }
}

fn handle(device: Device) -> Result<Handle, Code> {
    Handle::of(device.addr())
}

/// Writes a value where the caller wants it.
///
/// # Safety
/// `to` is null, or valid for writing a `T`.
unsafe fn put<T>(to: *mut T, value: T) -> Result<(), Code> {
    if to.is_null() {
        return Err(code::INVALID_ARGUMENT);
    }
    // SAFETY: not null, and so valid by the caller's word; `write` drops nothing
    unsafe { to.write(value) };
    Ok(())
}

/// Asks, and writes the answer where the caller wants it. A null pointer is refused before anything is asked.
///
/// # Safety
/// As [`put`].
unsafe fn give<T>(to: *mut T, ask: impl FnOnce() -> Result<T, Code>) -> Return {
    answer(|| {
        if to.is_null() {
            return Err(code::INVALID_ARGUMENT);
        }
        // SAFETY: the caller's word is passed on
        unsafe { put(to, ask()?) }
    })
}

/// Asks for a text and writes it with its zero.
///
/// # Safety
/// `to` is null, or valid for writing `length` bytes.
unsafe fn give_text(to: *mut c_char, length: c_uint, ask: impl FnOnce() -> Result<String, Code>) -> Return {
    answer(|| {
        if to.is_null() {
            return Err(code::INVALID_ARGUMENT);
        }
        let text = ask()?;
        if text.len() >= length as usize {
            return Err(code::INSUFFICIENT_SIZE);
        }
        // SAFETY: text and zero fit `length` bytes, which `to` is valid for; a String does not overlap the caller's memory
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr().cast(), to, text.len());
            to.add(text.len()).write(0);
        }
        Ok(())
    })
}

/// Asks for numbers and writes as many as fit; `count` says how many do, and then how many there are.
///
/// # Safety
/// `count` is null or valid for reading and writing; `to` is null or valid for writing `*count` numbers.
unsafe fn give_list(count: *mut c_uint, to: *mut c_uint, ask: impl FnOnce() -> Result<Vec<u32>, Code>) -> Return {
    answer(|| {
        if count.is_null() {
            return Err(code::INVALID_ARGUMENT);
        }
        let list = ask()?;
        // SAFETY: not null, and so valid by the caller's word
        let room = unsafe { count.replace(list.len() as c_uint) } as usize;
        if to.is_null() || room < list.len() {
            return Err(code::INSUFFICIENT_SIZE);
        }
        // SAFETY: `to` is valid for `room` numbers, and there are no more than that
        unsafe { ptr::copy_nonoverlapping(list.as_ptr(), to, list.len()) };
        Ok(())
    })
}

/// A text of the caller.
///
/// # Safety
/// `text` is null, or a string that ends with a zero and stays while the result is used.
unsafe fn text<'c>(text: *const c_char) -> Result<&'c str, Code> {
    if text.is_null() {
        return Err(code::INVALID_ARGUMENT);
    }
    // SAFETY: not null, and so a C string by the caller's word
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| code::INVALID_ARGUMENT)
}

/// Declares symbols of one shape: `name(device, value: &mut T) = ask`.
///
/// SAFETY of what it makes: callers hand in pointers as nvml.h says, which is what `give` needs.
macro_rules! device_symbols {
    ($($name:ident: $value:ty = $ask:expr;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(device: Device, value: *mut $value) -> Return {
            // SAFETY: by nvml.h `value` is null or valid for writing
            unsafe { give(value, || $ask(handle(device)?)) }
        }
    )*};
}

fn pointer(handle: Handle) -> Device {
    ptr::without_provenance_mut(handle.number())
}

fn state(on: bool) -> nvml::nvmlEnableState_t {
    if on { nvml::nvmlEnableState_enum_NVML_FEATURE_ENABLED } else { nvml::nvmlEnableState_enum_NVML_FEATURE_DISABLED }
}

device_symbols! {
    nvmlDeviceGetIndex: c_uint = |of| calls::whole(of).map(|gpu| gpu as c_uint);
    nvmlDeviceGetMinorNumber: c_uint = |of| calls::whole(of).map(|gpu| gpu as c_uint);
    nvmlDeviceGetPciInfo_v3: nvml::nvmlPciInfo_t = |of| calls::whole(of).map(pci);
    nvmlDeviceGetPowerUsage: c_uint = calls::power_usage;
    nvmlDeviceGetPowerManagementLimit: c_uint = calls::limit;
    nvmlDeviceGetEnforcedPowerLimit: c_uint = calls::enforced_limit;
    nvmlDeviceGetPowerManagementDefaultLimit: c_uint = calls::default_limit;
    nvmlDeviceGetPowerManagementMode: nvml::nvmlEnableState_t = |of| calls::whole(of).map(|_| state(true));
    nvmlDeviceGetTotalEnergyConsumption: c_ulonglong = calls::energy;
    nvmlDeviceGetCurrentClocksThrottleReasons: c_ulonglong = calls::throttle_reasons;
    nvmlDeviceGetCurrentClocksEventReasons: c_ulonglong = calls::throttle_reasons;
    nvmlDeviceGetSupportedClocksThrottleReasons: c_ulonglong = calls::possible_reasons;
    nvmlDeviceGetSupportedClocksEventReasons: c_ulonglong = calls::possible_reasons;
    nvmlDeviceGetUtilizationRates: nvml::nvmlUtilization_t =
        |of| calls::utilization(of).map(|(gpu, memory)| nvml::nvmlUtilization_t { gpu, memory });
    nvmlDeviceGetPersistenceMode: nvml::nvmlEnableState_t = |of| calls::persistence(of).map(state);
    nvmlDeviceGetMaxMigDeviceCount: c_uint = calls::most_instances;
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle: Device = |of| calls::parent(of).map(pointer);
    nvmlDeviceIsMigDeviceHandle: c_uint = |of| calls::is_instance(of).map(c_uint::from);
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> Return {
    answer(calls::init)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> Return {
    answer(calls::init)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> Return {
    answer(calls::shutdown)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(result: Return) -> *const c_char {
    let text: &'static CStr = match result {
        code::SUCCESS => c"Success",
        code::UNINITIALIZED => c"Uninitialized",
        code::INVALID_ARGUMENT => c"Invalid Argument",
        code::NOT_SUPPORTED => c"Not Supported",
        code::NO_PERMISSION => c"Insufficient Permissions",
        code::NOT_FOUND => c"Not Found",
        code::INSUFFICIENT_SIZE => c"Insufficient Size",
        code::DRIVER_NOT_LOADED => c"Driver Not Loaded",
        code::GPU_IS_LOST => c"GPU is lost",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, length: c_uint) -> Return {
    // SAFETY: by nvml.h `version` is null or valid for `length` bytes
    unsafe { give_text(version, length, calls::driver_version) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetNVMLVersion(version: *mut c_char, length: c_uint) -> Return {
    // SAFETY: by nvml.h `version` is null or valid for `length` bytes
    unsafe { give_text(version, length, || Ok(NVML_VERSION.to_owned())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) -> Return {
    // SAFETY: by nvml.h `version` is null or valid for writing
    unsafe { give(version, || Ok(CUDA_VERSION)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> Return {
    // SAFETY: by nvml.h `count` is null or valid for writing
    unsafe { give(count, calls::count) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut Device) -> Return {
    // SAFETY: by nvml.h `device` is null or valid for writing
    unsafe { give(device, || calls::by_index(index).map(pointer)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, device: *mut Device) -> Return {
    // SAFETY: by nvml.h `uuid` is null or a C string, and `device` null or valid for writing
    unsafe { give(device, || calls::by_uuid(text(uuid)?).map(pointer)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(bus_id: *const c_char, device: *mut Device) -> Return {
    // SAFETY: by nvml.h `bus_id` is null or a C string, and `device` null or valid for writing
    unsafe { give(device, || calls::by_bus_id(text(bus_id)?).map(pointer)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetName(device: Device, name: *mut c_char, length: c_uint) -> Return {
    // SAFETY: by nvml.h `name` is null or valid for `length` bytes
    unsafe { give_text(name, length, || calls::name(handle(device)?)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUUID(device: Device, uuid: *mut c_char, length: c_uint) -> Return {
    // SAFETY: by nvml.h `uuid` is null or valid for `length` bytes
    unsafe { give_text(uuid, length, || calls::uuid(handle(device)?)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPowerManagementLimitConstraints(
    device: Device,
    least: *mut c_uint,
    most: *mut c_uint,
) -> Return {
    answer(|| {
        let (low, high) = calls::limit_range(handle(device)?)?;
        // SAFETY: by nvml.h both are null or valid for writing
        unsafe { put(least, low).and_then(|()| put(most, high)) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceSetPowerManagementLimit(device: Device, limit: c_uint) -> Return {
    answer(|| calls::set_limit(handle(device)?, limit))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: Device,
    count: c_int,
    values: *mut nvml::nvmlFieldValue_t,
) -> Return {
    answer(|| {
        let device = handle(device)?;
        let count = usize::try_from(count).map_err(|_| code::INVALID_ARGUMENT)?;
        if values.is_null() || count == 0 {
            return Err(code::INVALID_ARGUMENT);
        }
        // SAFETY: by nvml.h `values` is valid for `count` values that the caller has filled in, and nobody else has them
        let values = unsafe { std::slice::from_raw_parts_mut(values, count) };
        let ids: Vec<(u32, u32)> = values.iter().map(|value| (value.fieldId, value.scopeId)).collect();
        for (value, asked) in values.iter_mut().zip(calls::fields(device, &ids)?) {
            value.timestamp = unix_microseconds();
            value.latencyUsec = 0;
            value.nvmlReturn = asked.as_ref().err().copied().unwrap_or(code::SUCCESS);
            if let Ok(field) = asked {
                (value.valueType, value.value) = typed(field);
            }
        }
        Ok(())
    })
}

fn typed(field: Field) -> (nvml::nvmlValueType_t, nvml::nvmlValue_t) {
    use nvml::nvmlValue_t as Value;
    match field {
        Field::Unsigned(number) => {
            // the upper half of the union is zero too, for callers that read it wide
            let mut value = Value { ullVal: 0 };
            value.uiVal = number;
            (nvml::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT, value)
        }
        Field::Wide(number) => (nvml::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, Value { ullVal: number }),
        Field::Signed(number) => (nvml::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_LONG_LONG, Value { sllVal: number }),
        Field::Float(number) => (nvml::nvmlValueType_enum_NVML_VALUE_TYPE_DOUBLE, Value { dVal: number }),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetClockInfo(device: Device, kind: nvml::nvmlClockType_t, mhz: *mut c_uint) -> Return {
    // SAFETY: by nvml.h `mhz` is null or valid for writing
    unsafe { give(mhz, || calls::clock(handle(device)?, kind)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMaxClockInfo(
    device: Device,
    kind: nvml::nvmlClockType_t,
    mhz: *mut c_uint,
) -> Return {
    // SAFETY: by nvml.h `mhz` is null or valid for writing
    unsafe { give(mhz, || calls::max_clock(handle(device)?, kind)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetSupportedGraphicsClocks(
    device: Device,
    memory: c_uint,
    count: *mut c_uint,
    mhz: *mut c_uint,
) -> Return {
    // SAFETY: by nvml.h `mhz` is null or valid for `*count` numbers
    unsafe { give_list(count, mhz, || calls::core_clocks(handle(device)?, memory)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetSupportedMemoryClocks(
    device: Device,
    count: *mut c_uint,
    mhz: *mut c_uint,
) -> Return {
    // SAFETY: by nvml.h `mhz` is null or valid for `*count` numbers
    unsafe { give_list(count, mhz, || calls::memory_clocks(handle(device)?)) }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceSetGpuLockedClocks(device: Device, low: c_uint, high: c_uint) -> Return {
    answer(|| calls::lock_clocks(handle(device)?, low, high))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceResetGpuLockedClocks(device: Device) -> Return {
    answer(|| calls::unlock_clocks(handle(device)?))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceSetPersistenceMode(device: Device, mode: nvml::nvmlEnableState_t) -> Return {
    answer(|| match mode {
        0 | 1 => calls::set_persistence(handle(device)?, mode == 1),
        _ => Err(code::INVALID_ARGUMENT),
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMigMode(device: Device, current: *mut c_uint, pending: *mut c_uint) -> Return {
    answer(|| {
        let on = c_uint::from(calls::mig(handle(device)?)?);
        // SAFETY: by nvml.h both are null or valid for writing
        unsafe { put(current, on).and_then(|()| put(pending, on)) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(device: Device, index: c_uint, mig: *mut Device) -> Return {
    // SAFETY: by nvml.h `mig` is null or valid for writing
    unsafe { give(mig, || calls::instance(handle(device)?, index).map(pointer)) }
}

/// No process is ever on a simulated GPU.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: Device,
    count: *mut c_uint,
    _processes: *mut nvml::nvmlProcessInfo_t,
) -> Return {
    // SAFETY: by nvml.h `count` is null or valid for writing
    unsafe { give(count, || calls::whole(handle(device)?).map(|_| 0)) }
}

/// Where a GPU sits: a bus each in domain 0.
fn pci(gpu: usize) -> nvml::nvmlPciInfo_t {
    fn chars<const N: usize>(text: &str) -> [c_char; N] {
        let mut chars = [0; N];
        chars.iter_mut().zip(text.bytes()).for_each(|(to, byte)| *to = byte as c_char);
        chars
    }
    let bus = calls::bus_of(gpu);
    nvml::nvmlPciInfo_t {
        busIdLegacy: chars(&format!("0000:{bus:02X}:00.0")),
        domain: 0,
        bus,
        device: 0,
        pciDeviceId: 0x2330_10de, // H100 SXM5 80 GB, NVIDIA
        pciSubSystemId: 0x16c1_10de,
        busId: chars(&format!("00000000:{bus:02X}:00.0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_panic_leaves() {
        assert_eq!(answer(|| panic!("a bug")), code::UNKNOWN);
        let mut number = 7;
        // SAFETY: it is a local
        let result = unsafe { give(&raw mut number, || panic!("a bug")) };
        assert_eq!((result, number), (code::UNKNOWN, 7));
    }
}
