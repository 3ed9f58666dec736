//! Each fault of the table, as a caller of NVML meets it, beside the truth.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod common;

use common::{Home, home, mw, wait};
use nvml_sim::{Calls, Fault, FaultKind, Node, NodeSpec, Reading, Workload};
use nvml_wrapper::enums::device::{GpuLockedClocksSetting, SampleValue};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;
use nvml_wrapper::{Device, Nvml};
use std::time::{Duration, SystemTime};

/// A busy node, and NVML on it.
fn busy() -> (Home, Nvml) {
    let home = home(&NodeSpec::h100x8("gpu-1").with_workload(Workload::prefill()));
    let nvml = home.nvml();
    (home, nvml)
}

fn instant(device: &Device<'_>) -> SampleValue {
    let values = device.field_values_for(&[FieldId(field_id::NVML_FI_DEV_POWER_INSTANT)]).unwrap();
    values.into_iter().next().unwrap().unwrap().value.unwrap()
}

fn draw(node: &Node, gpu: usize) -> f64 {
    node.truth().unwrap().gpus[gpu].draw_milliwatts / 1000.0
}

#[allow(clippy::disallowed_methods, reason = "how long a call takes is what is tested")]
fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = SystemTime::now();
    let result = call();
    (result, start.elapsed().unwrap())
}

#[test]
fn a_lost_gpu_is_lost_and_goes_on_drawing() {
    let (home, nvml) = busy();
    let device = nvml.device_by_index(2).unwrap();
    home.set_faults(vec![Fault::new(FaultKind::Lost).on(2)]).unwrap();
    assert!(matches!(device.power_usage(), Err(NvmlError::GpuLost)));
    assert!(matches!(device.enforced_power_limit(), Err(NvmlError::GpuLost)));
    assert!(matches!(nvml.device_by_index(2), Err(NvmlError::GpuLost)));
    assert_eq!(nvml.device_count().unwrap(), 8);
    assert!(nvml.device_by_index(3).unwrap().power_usage().is_ok());
    wait(1500);
    assert!(draw(&home, 2) > 680.0);
    home.set_faults(Vec::new()).unwrap();
    assert!(device.power_usage().is_ok());
}

#[test]
fn without_permission_nothing_is_set() {
    let (home, nvml) = busy();
    home.set_faults(vec![Fault::new(FaultKind::NoPermission).on(1)]).unwrap();
    let mut device = nvml.device_by_index(1).unwrap();
    assert!(matches!(device.set_power_management_limit(mw(300)), Err(NvmlError::NoPermission)));
    assert!(matches!(device.reset_gpu_locked_clocks(), Err(NvmlError::NoPermission)));
    assert!(matches!(device.set_persistent(false), Err(NvmlError::NoPermission)));
    assert_eq!(device.enforced_power_limit().unwrap(), mw(700));
    nvml.device_by_index(0).unwrap().set_power_management_limit(mw(300)).unwrap();
}

#[test]
fn accepted_is_not_applied() {
    let (home, nvml) = busy();
    home.set_faults(vec![Fault::new(FaultKind::NotApplied)]).unwrap();
    let mut device = nvml.device_by_index(0).unwrap();
    device.set_power_management_limit(mw(300)).unwrap();
    assert_eq!(device.power_management_limit().unwrap(), mw(300), "the driver tells what was asked");
    assert_eq!(device.enforced_power_limit().unwrap(), mw(700), "the hardware does what it did");
    assert_eq!(home.enforced_limits().unwrap()[0], 700_000);
    let clocks = GpuLockedClocksSetting::Numeric { min_clock_mhz: 210, max_clock_mhz: 900 };
    device.set_gpu_locked_clocks(clocks).unwrap();
    assert_eq!(home.truth().unwrap().gpus[0].locked_mhz, None);
    home.set_faults(Vec::new()).unwrap();
    device.set_power_management_limit(mw(300)).unwrap();
    assert_eq!(device.enforced_power_limit().unwrap(), mw(300));
}

#[test]
fn a_call_hangs_and_holds_up_no_other() {
    let (home, nvml) = busy();
    let hang = |calls, seconds| Fault::new(FaultKind::Hang { calls, seconds }).on(0).once();
    home.set_faults(vec![hang(Calls::Set, 1.5), hang(Calls::Get, 1.0)]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut device = nvml.device_by_index(1).unwrap();
            let (result, took) = timed(|| device.set_power_management_limit(mw(300)));
            assert!(result.is_ok() && took < Duration::from_millis(900), "another GPU does not wait: {took:?}");
        });
        // the first call that reads GPU 0 is the one for its handle
        let (device, took) = timed(|| nvml.device_by_index(0));
        assert!(took >= Duration::from_secs(1), "{took:?}");
        let mut device = device.unwrap();
        let (result, took) = timed(|| device.set_power_management_limit(mw(300)));
        assert!(result.is_ok() && took >= Duration::from_millis(1500), "{took:?}");
        let (_, took) = timed(|| device.set_power_management_limit(mw(400)));
        assert!(took < Duration::from_millis(900), "it was for one call: {took:?}");
    });
    assert_eq!(home.enforced_limits().unwrap()[..2], [400_000, 300_000]);
}

#[test]
fn frozen_samples_stay_while_the_truth_goes_on() {
    let (home, nvml) = busy();
    let device = nvml.device_by_index(0).unwrap();
    home.edit(|spec| spec.gpus[0].time_constant_ms = 5000).unwrap(); // it still rises however slow this machine is
    wait(300);
    home.set_faults(vec![Fault::new(FaultKind::FrozenPower).on(0), Fault::new(FaultKind::FrozenEnergy).on(0)]).unwrap();
    let read = || (device.power_usage().unwrap(), instant(&device), device.total_energy_consumption().unwrap());
    let (then, true_then) = (read(), home.truth().unwrap().gpus[0].clone());
    wait(700);
    assert_eq!(format!("{:?}", read()), format!("{then:?}"));
    let now = home.truth().unwrap().gpus[0].clone();
    assert!(now.draw_milliwatts > true_then.draw_milliwatts + 20_000.0);
    assert!(now.energy_millijoules > true_then.energy_millijoules + 49_000.0);
}

#[test]
fn absurd_readings_are_told_as_they_are() {
    let (home, nvml) = busy();
    let device = nvml.device_by_index(0).unwrap();
    let absurd = |of, value| home.set_faults(vec![Fault::new(FaultKind::AbsurdReading { of, value }).on(0)]).unwrap();
    for (value, plain) in [(0.0, 0), (f64::from(u32::MAX), u32::MAX), (-5000.0, u32::MAX - 4999)] {
        absurd(Reading::Power, value);
        assert_eq!(device.power_usage().unwrap(), plain, "{value}");
    }
    assert!(matches!(instant(&device), SampleValue::I64(-5000)));
    absurd(Reading::Power, f64::NAN);
    assert_eq!(device.power_usage().unwrap(), u32::MAX);
    assert!(matches!(instant(&device), SampleValue::F64(value) if value.is_nan()));
    assert_eq!(device.enforced_power_limit().unwrap(), mw(700), "only that reading");
    absurd(Reading::EnforcedLimit, 0.0);
    assert_eq!(device.enforced_power_limit().unwrap(), 0);
    absurd(Reading::Energy, 1e15);
    assert_eq!(device.total_energy_consumption().unwrap(), 1_000_000_000_000_000);
}

#[test]
fn a_foreign_process_raises_limits() {
    let (home, nvml) = busy();
    let mut device = nvml.device_by_index(0).unwrap();
    device.set_power_management_limit(mw(300)).unwrap();
    home.foreign_set_limit(0, 650_000).unwrap();
    assert_eq!(device.enforced_power_limit().unwrap(), mw(650));
    assert_eq!(device.power_management_limit().unwrap(), mw(650));
    device.set_power_management_limit(mw(300)).unwrap();
    let foreign = FaultKind::ForeignLimit { watts: Some(500), every_seconds: Some(1.0) };
    home.set_faults(vec![Fault::new(foreign).on(0).after(1.0)]).unwrap();
    assert_eq!(device.enforced_power_limit().unwrap(), mw(300));
    for _ in 0..2 {
        wait(1100);
        assert_eq!(device.enforced_power_limit().unwrap(), mw(500));
        device.set_power_management_limit(mw(300)).unwrap();
    }
}

#[test]
fn a_reload_and_a_reboot_forget_limits() {
    let (home, nvml) = busy();
    let mut device = nvml.device_by_index(0).unwrap();
    let set = |device: &mut Device<'_>| {
        device.set_power_management_limit(mw(300)).unwrap();
        device
            .set_gpu_locked_clocks(GpuLockedClocksSetting::Numeric { min_clock_mhz: 210, max_clock_mhz: 900 })
            .unwrap();
        wait(1000);
        device.total_energy_consumption().unwrap()
    };
    let (before, energy) = (home.truth().unwrap(), set(&mut device));
    home.reload_driver().unwrap();
    let after = home.truth().unwrap();
    assert_eq!(device.enforced_power_limit().unwrap(), mw(700));
    assert_eq!((after.gpus[0].locked_mhz, after.driver_loads), (None, before.driver_loads + 1));
    assert!(device.total_energy_consumption().unwrap() < energy, "the counter begins anew");
    assert_eq!(after.boot_id, before.boot_id);
    set(&mut device);
    let drawn = draw(&home, 1);
    home.reboot().unwrap();
    let after = home.truth().unwrap();
    assert_eq!(after.gpus[0].enforced_milliwatts, 700_000);
    assert_ne!(after.boot_id, before.boot_id);
    assert_eq!(std::fs::read_to_string(home.boot_id_path()).unwrap().trim(), after.boot_id);
    assert!(after.gpus[1].draw_milliwatts / 1000.0 < drawn, "work starts from idle");
}

#[test]
fn while_the_driver_is_away_it_is_not_loaded() {
    let (home, nvml) = busy();
    let device = nvml.device_by_index(0).unwrap();
    home.set_faults(vec![Fault::new(FaultKind::DriverReload).lasting(2.0)]).unwrap();
    assert!(matches!(device.power_usage(), Err(NvmlError::DriverNotLoaded)));
    let path = home.dir().join("libnvidia-ml.so.1");
    assert!(matches!(Nvml::builder().lib_path(path.as_os_str()).init(), Err(NvmlError::DriverNotLoaded)));
    wait(2100);
    assert!(device.power_usage().is_ok());
    assert_eq!(home.truth().unwrap().driver_loads, 2);
}

#[test]
fn persistence_is_lost() {
    let (home, nvml) = busy();
    let mut device = nvml.device_by_index(0).unwrap();
    device.set_power_management_limit(mw(300)).unwrap();
    home.set_faults(vec![Fault::new(FaultKind::PersistenceLost).on(0)]).unwrap();
    assert!(!device.is_in_persistent_mode().unwrap());
    assert_eq!(device.enforced_power_limit().unwrap(), mw(700));
}

#[test]
fn an_overshoot_comes_and_goes() {
    let (home, nvml) = busy();
    let mut device = nvml.device_by_index(0).unwrap();
    device.set_power_management_limit(mw(400)).unwrap();
    wait(2500);
    home.set_faults(vec![Fault::new(FaultKind::Overshoot { permille: 200 }).on(0).lasting(3.0)]).unwrap();
    wait(1500);
    assert!((450.0..=480.0).contains(&draw(&home, 0)), "{} W", draw(&home, 0));
    wait(3500);
    assert!(draw(&home, 0) < 402.0, "{} W", draw(&home, 0));
}

#[test]
fn a_fault_for_one_call_is_met_once() {
    let (home, nvml) = busy();
    home.set_faults(vec![Fault::new(FaultKind::Lost).on(0).once()]).unwrap();
    assert!(matches!(nvml.device_by_index(0), Err(NvmlError::GpuLost)));
    let mut device = nvml.device_by_index(0).unwrap();
    home.set_faults(vec![Fault::new(FaultKind::NoPermission).once()]).unwrap();
    assert!(matches!(device.set_power_management_limit(mw(300)), Err(NvmlError::NoPermission)));
    device.set_power_management_limit(mw(300)).unwrap();
}

#[test]
fn mistakes_in_the_file_name_file_line_and_field() {
    let head = "name: n\nhostIdleWatts: 300\nhostMaxWatts: 500\n";
    let cases = [
        ("gpus: [{}]\nfaults:\n- {gpu: 9, fault: {kind: lost}}\n", "n.yaml:6: faults[0].gpu: there is no GPU 9"),
        ("gpus:\n- {}\n- {idleWats: 3}\n", "n.yaml:6: gpus[1].idleWats: unknown field `idleWats`"),
        ("gpus:\n- {idleWatts: 0}\n", "n.yaml:5: gpus[0].idleWatts: must be 1 to"),
        ("gpus:\n- {minLimitWatts: 800}\n", "n.yaml:5: gpus[0].maxLimitWatts: must be"),
        ("gpus: [{}]\nfaults:\n- {fault: {kind: lots}}\n", "n.yaml:6: faults[0].fault.kind: unknown variant `lots`"),
        (
            "gpus: [{}]\nfaults:\n- {fault: {kind: frozenPower}, once: true}\n",
            "n.yaml:6: faults[0].once: is for faults",
        ),
        (
            "gpus: [{}]\nfaults:\n- {fault: {kind: lost}, afterSeconds: .nan}\n",
            "n.yaml:6: faults[0].afterSeconds: must be",
        ),
        ("gpus: [{}]\nfaults:\n- {fault: {kind: hang, seconds: -1}}\n", "n.yaml:6: faults[0].fault.seconds: must be"),
        ("gpus: [{uuid: a}, {uuid: a}]\n", "n.yaml:4: gpus[1].uuid: is the one of gpus[0] too"),
        ("gpus: []\n", "n.yaml:4: gpus: a node has 1 to 16 GPUs, not 0"),
        ("gpus: [\n", "n.yaml:"),
    ];
    for (text, expected) in cases {
        let error = NodeSpec::parse(&format!("{head}{text}"), "n.yaml").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\nexpected {expected}");
    }
}

#[test]
fn a_broken_file_is_an_unknown_error_until_it_is_mended() {
    let (home, nvml) = busy();
    let mut device = nvml.device_by_index(0).unwrap();
    device.set_power_management_limit(mw(300)).unwrap();
    let path = home.dir().join("node.yaml");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(home.dir().join("new"), format!("{good}faultz: 1\n")).unwrap();
    std::fs::rename(home.dir().join("new"), &path).unwrap();
    assert!(matches!(device.power_usage(), Err(NvmlError::Unknown)));
    assert!(matches!(device.set_power_management_limit(mw(400)), Err(NvmlError::Unknown)));
    let error = home.truth().unwrap_err().to_string();
    assert!(error.contains("node.yaml:") && error.contains("faultz"), "{error}");
    std::fs::write(&path, good).unwrap();
    assert_eq!(device.enforced_power_limit().unwrap(), mw(300), "the plant went on meanwhile");
}
