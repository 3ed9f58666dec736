//! The bare C ABI, as a careless caller would use it: nothing before init, null pointers, short buffers, made-up handles.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]
#![expect(unsafe_code, reason = "C functions are called as C calls them")]

mod common;

use common::home;
use nvml_sim::NodeSpec;
use nvml_wrapper_sys::bindings::*;
use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut, without_provenance_mut};

#[test]
fn careless_callers_are_told_so() {
    let home = home(&NodeSpec::h100x8("gpu-1"));
    // SAFETY: the library is ours; every pointer below is null (which it checks) or to a local that outlives the call
    unsafe {
        let lib = NvmlLib::new(home.install_library().unwrap()).unwrap();
        let mut count = 0;
        assert_eq!(lib.nvmlDeviceGetCount_v2(&mut count), nvmlReturn_enum_NVML_ERROR_UNINITIALIZED);
        assert_eq!(lib.nvmlShutdown(), nvmlReturn_enum_NVML_ERROR_UNINITIALIZED);
        assert_eq!(lib.nvmlInit_v2(), nvmlReturn_enum_NVML_SUCCESS);
        assert_eq!(lib.nvmlInitWithFlags(0), nvmlReturn_enum_NVML_SUCCESS);
        assert_eq!(lib.nvmlShutdown(), nvmlReturn_enum_NVML_SUCCESS);
        assert_eq!(lib.nvmlDeviceGetCount_v2(&mut count), nvmlReturn_enum_NVML_SUCCESS, "one user is left");
        assert_eq!(count, 8);

        let invalid = nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
        let mut device = null_mut();
        assert_eq!(lib.nvmlDeviceGetHandleByIndex_v2(0, &mut device), nvmlReturn_enum_NVML_SUCCESS);
        assert_eq!(lib.nvmlDeviceGetCount_v2(null_mut()), invalid);
        assert_eq!(lib.nvmlDeviceGetHandleByUUID(null(), &mut device), invalid);
        assert_eq!(lib.nvmlDeviceGetPowerUsage(device, null_mut()), invalid);
        assert_eq!(lib.nvmlDeviceGetPowerManagementLimitConstraints(device, &mut count, null_mut()), invalid);
        assert_eq!(lib.nvmlDeviceGetFieldValues(device, 1, null_mut()), invalid);
        assert_eq!(lib.nvmlDeviceGetFieldValues(device, -1, null_mut()), invalid);
        for forged in [0, 1, device.addr() + 0x0800, device.addr() + 7, usize::MAX] {
            let forged = without_provenance_mut(forged);
            assert_eq!(lib.nvmlDeviceGetPowerUsage(forged, &mut count), invalid, "{forged:?}");
            assert_eq!(lib.nvmlDeviceSetPowerManagementLimit(forged, 300_000), invalid, "{forged:?}");
        }

        let mut text = [0x7f; 41];
        let short = nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
        assert_eq!(lib.nvmlDeviceGetUUID(device, text.as_mut_ptr(), 40), short);
        assert_eq!(text, [0x7f; 41], "nothing was written");
        assert_eq!(lib.nvmlDeviceGetUUID(device, text.as_mut_ptr(), 41), nvmlReturn_enum_NVML_SUCCESS);
        assert_eq!(text[40], 0);
        let (mut clocks, mut room) = ([0; 4], 3);
        assert_eq!(lib.nvmlDeviceGetSupportedGraphicsClocks(device, 2619, &mut room, clocks.as_mut_ptr()), short);
        assert_eq!((room, clocks), (119, [0; 4]), "how many there are is told");

        let words = |code| CStr::from_ptr(lib.nvmlErrorString(code) as *const c_char).to_str().unwrap();
        assert_eq!(words(nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST), "GPU is lost");
        assert_eq!(words(12345), "Unknown Error");
        assert_eq!(lib.nvmlShutdown(), nvmlReturn_enum_NVML_SUCCESS);
        assert_eq!(lib.nvmlDeviceGetCount_v2(&mut count), nvmlReturn_enum_NVML_ERROR_UNINITIALIZED);
    }
}
