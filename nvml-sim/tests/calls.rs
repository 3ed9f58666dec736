//! Every symbol of the built library, through nvml-wrapper, as the agent calls it.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod common;

use common::{home, mw, wait};
use nvml_sim::{GpuSpec, NodeSpec, Workload};
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, ClockId};
use nvml_wrapper::enums::device::{GpuLockedClocksSetting, SampleValue};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;

fn prefill() -> NodeSpec {
    NodeSpec::h100x8("gpu-1").with_workload(Workload::prefill())
}

#[test]
fn the_system_and_its_devices_have_names() {
    let home = home(&prefill());
    let nvml = home.nvml();
    assert_eq!(nvml.sys_driver_version().unwrap(), "580.65.06");
    assert!(nvml.sys_nvml_version().unwrap().starts_with("13.580"));
    assert_eq!(nvml.sys_cuda_driver_version().unwrap(), 13_000);
    assert_eq!(nvml.device_count().unwrap(), 8);
    let spec = home.spec().unwrap();
    for index in 0..8 {
        let device = nvml.device_by_index(index).unwrap();
        assert_eq!(device.name().unwrap(), "NVIDIA H100 80GB HBM3");
        assert_eq!(device.index().unwrap(), index);
        assert_eq!(device.minor_number().unwrap(), index);
        let uuid = device.uuid().unwrap();
        assert_eq!(uuid, spec.uuid(index as usize));
        assert_eq!(uuid.len(), "GPU-00000000-0000-0000-0000-000000000000".len());
        assert_eq!(nvml.device_by_uuid(uuid).unwrap().index().unwrap(), index);
        let pci = device.pci_info().unwrap();
        assert_eq!(pci.bus, 0x11 + index);
        assert_eq!(nvml.device_by_pci_bus_id(pci.bus_id).unwrap().index().unwrap(), index);
        assert_eq!(nvml.device_by_pci_bus_id(format!("{:x}:0.0", pci.bus)).unwrap().index().unwrap(), index);
    }
    assert!(matches!(nvml.device_by_index(8), Err(NvmlError::InvalidArg)));
    assert!(matches!(nvml.device_by_uuid("GPU-no"), Err(NvmlError::NotFound)));
    assert!(matches!(nvml.device_by_pci_bus_id("0000:ff:00.0"), Err(NvmlError::NotFound)));
    assert!(matches!(nvml.device_by_pci_bus_id("here"), Err(NvmlError::InvalidArg)));
    // UUIDs follow from names: another node has others, the same node the same
    assert_ne!(NodeSpec::h100x8("gpu-2").uuid(0), spec.uuid(0));
    assert_eq!(NodeSpec::h100x8("gpu-1").uuid(0), spec.uuid(0));
}

#[test]
fn limits_are_set_within_their_range_and_read_back() {
    let home = home(&prefill());
    let nvml = home.nvml();
    let mut device = nvml.device_by_index(3).unwrap();
    let range = device.power_management_limit_constraints().unwrap();
    assert_eq!((range.min_limit, range.max_limit), (mw(200), mw(700)));
    assert_eq!(device.power_management_limit_default().unwrap(), mw(700));
    assert_eq!(device.enforced_power_limit().unwrap(), mw(700));
    #[expect(deprecated, reason = "NVML answers it all the same")]
    let managed = device.is_power_management_algo_active();
    assert!(managed.unwrap());
    device.set_power_management_limit(mw(350)).unwrap();
    assert_eq!(device.power_management_limit().unwrap(), mw(350));
    assert_eq!(device.enforced_power_limit().unwrap(), mw(350));
    assert_eq!(home.enforced_limits().unwrap()[2..5], [700_000, 350_000, 700_000]);
    for out in [0, mw(199), mw(200) - 1, mw(700) + 1, u32::MAX] {
        assert!(matches!(device.set_power_management_limit(out), Err(NvmlError::InvalidArg)), "{out} mW");
    }
    assert_eq!(device.enforced_power_limit().unwrap(), mw(350));
    // the BMC's limit is in force where it is lower, and told only as what is in force
    home.set_bmc_limit(3, Some(300)).unwrap();
    assert_eq!(device.enforced_power_limit().unwrap(), mw(300));
    assert_eq!(device.power_management_limit().unwrap(), mw(350));
}

#[test]
fn draw_and_energy_follow() {
    let home = home(&prefill());
    let nvml = home.nvml();
    let mut device = nvml.device_by_index(0).unwrap();
    device.set_power_management_limit(mw(400)).unwrap();
    let (energy, then) = (device.total_energy_consumption().unwrap(), home.truth().unwrap().at_nanoseconds);
    wait(2500);
    let truth = home.truth().unwrap();
    let seconds = (truth.at_nanoseconds - then) as f64 / 1e9;
    let rise = (device.total_energy_consumption().unwrap() - energy) as f64 / 1000.0;
    assert!(rise > 70.0 * seconds && rise < 401.0 * seconds, "{rise} J in {seconds} s");
    let told = f64::from(device.power_usage().unwrap());
    assert!((380_000.0..=401_000.0).contains(&told), "averaged {told} mW");
    let fields = [
        field_id::NVML_FI_DEV_POWER_INSTANT,
        field_id::NVML_FI_DEV_POWER_AVERAGE,
        field_id::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
        field_id::NVML_FI_DEV_POWER_CURRENT_LIMIT,
        field_id::NVML_FI_DEV_POWER_REQUESTED_LIMIT,
        field_id::NVML_FI_DEV_POWER_MIN_LIMIT,
        field_id::NVML_FI_DEV_POWER_MAX_LIMIT,
        field_id::NVML_FI_DEV_POWER_DEFAULT_LIMIT,
        field_id::NVML_FI_DEV_ECC_CURRENT,
    ];
    let values = device.field_values_for(&fields.map(FieldId)).unwrap();
    let number = |i: usize| match values[i].as_ref().unwrap().value.as_ref().unwrap() {
        SampleValue::U32(value) => u64::from(*value),
        SampleValue::U64(value) => *value,
        other => panic!("{other:?}"),
    };
    assert!((399_000..=401_000).contains(&number(0)), "{} mW", number(0));
    assert!(number(1).abs_diff(told as u64) < 10_000, "{} mW", number(1));
    assert!(number(2) >= energy);
    assert_eq!([3, 4, 5, 6, 7].map(number), [400_000, 400_000, 200_000, 700_000, 700_000]);
    assert!(matches!(values[8].as_ref().unwrap().value, Err(NvmlError::NotSupported)));
    assert!(values[0].as_ref().unwrap().timestamp > 1_700_000_000_000_000, "Unix microseconds");
    // what is told is the truth, as long as no fault says otherwise
    let truth = home.truth().unwrap();
    assert!((truth.gpus[0].draw_milliwatts - 400_000.0).abs() < 500.0);
    assert!((truth.node_watts() - home.true_power().unwrap()).abs() < 5.0);
    assert!(truth.node_milliwatts() > truth.host_milliwatts + 7.0 * 690_000.0 + 399_000.0);
}

#[test]
fn an_a100_tells_the_draw_of_the_moment() {
    let mut spec = NodeSpec::a100x8("gpu-1");
    spec.gpus[0].time_constant_ms = 5000; // slow, so that it still rises however slow this machine is
    let home = home(&spec);
    let nvml = home.nvml();
    let device = nvml.device_by_index(0).unwrap();
    home.set_workload(0, Workload::prefill()).unwrap();
    wait(1000);
    let draw = || home.truth().unwrap().gpus[0].draw_milliwatts;
    let before = draw();
    let told = f64::from(device.power_usage().unwrap());
    let after = draw();
    assert!((before - 1.0..=after + 1.0).contains(&told), "{told} mW between {before} and {after} mW");
    let average = device.field_values_for(&[FieldId(field_id::NVML_FI_DEV_POWER_AVERAGE)]).unwrap();
    let Ok(SampleValue::U32(average)) = average[0].as_ref().unwrap().value else { panic!("{average:?}") };
    assert!(f64::from(average) < draw() - 5_000.0, "the average is behind: {average} mW");
}

#[test]
fn clocks_are_locked_and_the_draw_falls() {
    let home = home(&prefill());
    let nvml = home.nvml();
    let mut device = nvml.device_by_index(0).unwrap();
    assert_eq!(device.max_clock_info(Clock::SM).unwrap(), 1980);
    assert_eq!(device.max_clock_info(Clock::Memory).unwrap(), 2619);
    assert_eq!(device.clock_info(Clock::Graphics).unwrap(), 1980);
    assert_eq!(device.supported_memory_clocks().unwrap(), [2619]);
    let clocks = device.supported_graphics_clocks(2619).unwrap();
    assert_eq!((clocks[0], clocks[1], clocks.len(), *clocks.last().unwrap()), (1980, 1965, 119, 210));
    assert!(device.supported_graphics_clocks(1).is_err());
    let numeric = |min_clock_mhz, max_clock_mhz| GpuLockedClocksSetting::Numeric { min_clock_mhz, max_clock_mhz };
    device.set_gpu_locked_clocks(numeric(210, 1200)).unwrap();
    assert_eq!(home.truth().unwrap().gpus[0].locked_mhz, Some((210, 1200)));
    assert_eq!(device.clock_info(Clock::SM).unwrap(), 1200);
    wait(1800);
    let draw = home.truth().unwrap().gpus[0].draw_milliwatts;
    assert!((300_000.0..400_000.0).contains(&draw), "{draw} mW at 1200 of 1980 MHz");
    assert_eq!(device.current_throttle_reasons_strict().unwrap(), ThrottleReasons::NONE);
    device.set_gpu_locked_clocks(numeric(1, 9999)).unwrap();
    assert_eq!(home.truth().unwrap().gpus[0].locked_mhz, Some((210, 1980)), "out of the range is its nearest end");
    assert!(matches!(device.set_gpu_locked_clocks(numeric(1500, 1200)), Err(NvmlError::InvalidArg)));
    device.reset_gpu_locked_clocks().unwrap();
    assert_eq!(home.truth().unwrap().gpus[0].locked_mhz, None);
    // a limit lowers the clock too
    device.set_power_management_limit(mw(400)).unwrap();
    let clock = device.clock_info(Clock::SM).unwrap();
    assert!((1200..1500).contains(&clock), "{clock} MHz at 400 W");
    // a symbol that is not simulated is missing, and that is told
    assert!(matches!(device.clock(Clock::SM, ClockId::Current), Err(NvmlError::FailedToLoadSymbol(_))));
}

#[test]
fn why_clocks_are_low_is_told() {
    let home = home(&prefill());
    let nvml = home.nvml();
    let mut device = nvml.device_by_index(0).unwrap();
    let reasons = |device: &nvml_wrapper::Device<'_>| device.current_throttle_reasons_strict().unwrap();
    assert_eq!(reasons(&device), ThrottleReasons::NONE);
    device.set_power_management_limit(mw(500)).unwrap();
    assert_eq!(reasons(&device), ThrottleReasons::SW_POWER_CAP);
    assert_eq!(device.utilization_rates().unwrap().gpu, 100);
    home.set_workload(0, Workload::idle()).unwrap();
    assert_eq!(reasons(&device), ThrottleReasons::GPU_IDLE);
    assert_eq!(device.utilization_rates().unwrap().gpu, 0);
    let all = device.supported_throttle_reasons_strict().unwrap();
    assert_eq!(all, ThrottleReasons::GPU_IDLE | ThrottleReasons::SW_POWER_CAP);
    assert!(device.running_compute_processes().unwrap().is_empty());
}

#[test]
fn persistence_mode_is_read_and_set() {
    let home = home(&prefill());
    let nvml = home.nvml();
    let mut device = nvml.device_by_index(0).unwrap();
    assert!(device.is_in_persistent_mode().unwrap());
    device.set_persistent(false).unwrap();
    assert!(!device.is_in_persistent_mode().unwrap());
}

#[test]
fn mig_instances_know_their_gpu() {
    let mut spec = prefill();
    spec.gpus[1].mig_instances = 2;
    let home = home(&spec);
    let nvml = home.nvml();
    let (plain, split) = (nvml.device_by_index(0).unwrap(), nvml.device_by_index(1).unwrap());
    assert_eq!((plain.mig_mode().unwrap().current, split.mig_mode().unwrap().current), (0, 1));
    assert_eq!(split.mig_device_count().unwrap(), 7);
    assert!(matches!(plain.mig_device_by_index(0), Err(NvmlError::NotFound)));
    assert!(matches!(split.mig_device_by_index(2), Err(NvmlError::NotFound)));
    assert!(!split.mig_is_mig_device_handle().unwrap());
    let instance = split.mig_device_by_index(1).unwrap();
    assert!(instance.mig_is_mig_device_handle().unwrap());
    let uuid = instance.uuid().unwrap();
    assert!(uuid.starts_with("MIG-"));
    let parent = nvml.device_by_uuid(uuid).unwrap().mig_parent_device().unwrap();
    assert_eq!(parent.uuid().unwrap(), split.uuid().unwrap());
    assert!(matches!(instance.power_usage(), Err(NvmlError::NotSupported)));
    assert!(matches!(split.mig_parent_device(), Err(NvmlError::InvalidArg)));
}

#[test]
fn nodes_of_one_process_are_apart() {
    let (one, other) = (home(&prefill()), home(&NodeSpec::a100x8("gpu-2")));
    let (a, b) = (one.nvml(), other.nvml());
    a.device_by_index(0).unwrap().set_power_management_limit(mw(300)).unwrap();
    b.device_by_index(0).unwrap().set_power_management_limit(mw(200)).unwrap();
    assert_eq!(a.device_by_index(0).unwrap().enforced_power_limit().unwrap(), mw(300));
    assert_eq!(b.device_by_index(0).unwrap().enforced_power_limit().unwrap(), mw(200));
    assert_ne!(a.device_by_index(0).unwrap().uuid().unwrap(), b.device_by_index(0).unwrap().uuid().unwrap());
    // ended for one is not ended for the other
    a.shutdown().unwrap();
    assert_eq!(b.device_count().unwrap(), 8);
}

#[test]
fn any_gpu_can_be_written_down() {
    let text = "name: n\nhostIdleWatts: 300\nhostMaxWatts: 500\ngpus:\n\
        - {model: a100, uuid: GPU-mine, workload: {kind: decode}}\n\
        - {name: NVIDIA A40, idleWatts: 30, minLimitWatts: 100, maxLimitWatts: 300, defaultLimitWatts: 300, overshootPermille: 210}\n";
    let spec = NodeSpec::parse(text, "node.yaml").unwrap();
    assert_eq!(
        spec.gpus[0],
        GpuSpec { uuid: Some("GPU-mine".into()), workload: Workload::decode(), ..GpuSpec::a100() }
    );
    assert_eq!((spec.gpus[1].name.as_str(), spec.gpus[1].max_clock_mhz), ("NVIDIA A40", 1980));
    let home = home(&spec);
    assert_eq!(home.spec().unwrap(), spec, "what is written is what is read");
    assert_eq!(home.nvml().device_by_uuid("GPU-mine").unwrap().index().unwrap(), 0);
}

#[test]
fn the_readme_shows_a_file_that_can_be_read() {
    let readme = include_str!("../README.md");
    let yaml = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let spec = NodeSpec::parse(yaml, "README.md").unwrap();
    assert_eq!((spec.gpus.len(), spec.faults.len(), spec.driver_version.as_str()), (3, 1, "580.65.06"));
}
