//! One node, many processes: what one sets the other reads, and none can break it by dying.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod common;

use common::{home, mw, wait};
use nvml_sim::{Calls, Fault, FaultKind, NODE_VARIABLE, Node, NodeSpec, READ_ONLY_VARIABLE, Workload};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

const TASK: &str = "NVML_SIM_TEST_TASK";

/// This program again, as another process on a node.
fn process(dir: &Path, task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "as_another_process", "--nocapture", "--test-threads=1"]);
    command.env(NODE_VARIABLE, dir).env(TASK, task).env_remove(READ_ONLY_VARIABLE).stdout(Stdio::null());
    command
}

/// Not a test of its own: what the other processes do.
#[test]
fn as_another_process() {
    let Ok(task) = std::env::var(TASK) else { return };
    let library = nvml_sim::library_path().unwrap();
    let nvml = Nvml::builder().lib_path(library.as_os_str()).init();
    if task == "no node" {
        assert!(matches!(nvml, Err(NvmlError::DriverNotLoaded)));
        return;
    }
    if task == "broken" {
        assert!(matches!(nvml, Err(NvmlError::Unknown)));
        return;
    }
    let nvml = nvml.unwrap();
    let mut devices: Vec<_> = (0..8).map(|index| nvml.device_by_index(index).unwrap()).collect();
    match task.as_str() {
        "set 345 W" => devices[5].set_power_management_limit(mw(345)).unwrap(),
        "denied" => {
            assert!(matches!(devices[5].set_power_management_limit(mw(345)), Err(NvmlError::NoPermission)));
            assert!(devices[5].power_usage().is_ok());
        }
        // sets for ever; each GPU gets the limits 300, 301 .. 399 W in turn
        "storm" => {
            for watts in (300..400).cycle() {
                devices.iter_mut().for_each(|device| device.set_power_management_limit(mw(watts)).unwrap());
            }
        }
        // sets one GPU again and again, and finds each time what it set
        own if own.starts_with("own ") => {
            let device = &mut devices[own[4..].parse::<usize>().unwrap()];
            for watts in (200..=700).cycle().take(1000) {
                device.set_power_management_limit(mw(watts)).unwrap();
                assert_eq!(device.enforced_power_limit().unwrap(), mw(watts), "another process undid it");
            }
        }
        // comes back only after a minute
        "hang" => devices[0].set_power_management_limit(mw(345)).unwrap(),
        other => panic!("no such task: {other}"),
    }
}

fn ends_well(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn one_sets_and_the_other_reads() {
    let home = home(&NodeSpec::h100x8("gpu-1").with_workload(Workload::training()));
    let nvml = home.nvml();
    let device = nvml.device_by_index(5).unwrap();
    assert_eq!(device.enforced_power_limit().unwrap(), mw(700));
    ends_well(process(home.dir(), "set 345 W").spawn().unwrap());
    assert_eq!(device.enforced_power_limit().unwrap(), mw(345), "it holds when its setter is gone");
    assert_eq!(home.enforced_limits().unwrap()[5], 345_000);
    ends_well(process(home.dir(), "denied").env(READ_ONLY_VARIABLE, "1").spawn().unwrap());
}

#[test]
fn no_node_and_a_broken_one_are_told() {
    let home = home(&NodeSpec::h100x8("gpu-1"));
    let said = |mut command: Command| {
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let mut without = process(home.dir(), "no node");
    without.env_remove(NODE_VARIABLE);
    assert!(said(without).contains("set HELIOTROPE_NVML_SIM to its folder"));
    let text = std::fs::read_to_string(home.dir().join("node.yaml")).unwrap().replace("hostIdle", "hostIdel");
    std::fs::write(home.dir().join("node.yaml"), text).unwrap();
    let said = said(process(home.dir(), "broken"));
    assert!(said.contains("node.yaml:2: hostIdelWatts: unknown field `hostIdelWatts`"), "{said}");
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_state() {
    let home = home(&NodeSpec::h100x8("gpu-1").with_workload(Workload::training()));
    let boot = home.truth().unwrap().boot_id;
    let mut before = 0.0;
    for round in 0..40 {
        home.foreign_set_limit(0, 500_000).unwrap();
        let mut storms: Vec<Child> = (0..2).map(|_| process(home.dir(), "storm").spawn().unwrap()).collect();
        // in the midst of their writing, at moments that differ
        while home.enforced_limits().unwrap()[0] == 500_000 {
            wait(1);
        }
        wait(round % 13 * 3);
        for storm in &mut storms {
            storm.kill().unwrap();
            storm.wait().unwrap();
        }
        let truth = home.truth().unwrap();
        assert_eq!((&truth.boot_id, truth.driver_loads), (&boot, 1), "round {round}: nothing began anew");
        for gpu in &truth.gpus {
            let set = gpu.enforced_milliwatts;
            assert!(set == 700_000 || (300_000..400_000).contains(&set), "round {round}: {set} mW was never set");
            assert_eq!(set, gpu.told_milliwatts, "round {round}");
        }
        let energy = truth.gpus[0].energy_millijoules;
        assert!(energy > before, "round {round}: {energy} mJ after {before} mJ");
        before = energy;
    }
}

#[test]
fn a_hung_process_is_killed_and_others_never_waited() {
    let home = home(&NodeSpec::h100x8("gpu-1"));
    let hang = FaultKind::Hang { calls: Calls::Set, seconds: 60.0 };
    home.set_faults(vec![Fault::new(hang).on(0)]).unwrap();
    let mut hung = process(home.dir(), "hang").spawn().unwrap();
    wait(1500);
    assert!(hung.try_wait().unwrap().is_none(), "it hangs");
    let nvml = home.nvml();
    nvml.device_by_index(1).unwrap().set_power_management_limit(mw(400)).unwrap();
    hung.kill().unwrap();
    hung.wait().unwrap();
    home.set_faults(Vec::new()).unwrap();
    assert_eq!(home.enforced_limits().unwrap()[..2], [700_000, 400_000], "what hung was never done");
    nvml.device_by_index(0).unwrap().set_power_management_limit(mw(300)).unwrap();
    assert_eq!(home.enforced_limits().unwrap()[0], 300_000);
}

#[test]
fn a_specification_that_can_not_be_is_refused_whole() {
    let home = home(&NodeSpec::h100x8("gpu-1"));
    let before = (home.spec().unwrap(), home.truth().unwrap().driver_loads);
    let error = home.set_faults(vec![Fault::new(FaultKind::Lost).on(8)]).unwrap_err().to_string();
    assert!(error.contains("faults[0].gpu: there is no GPU 8: the last one is 7"), "{error}");
    assert!(home.edit(|spec| spec.gpus.clear()).is_err());
    assert!(home.edit(|spec| spec.gpus[3].default_limit_watts = 9).is_err());
    let error = home.set_workload(8, Workload::idle()).unwrap_err().to_string();
    assert_eq!(error, "there is no GPU 8: the node has 8");
    assert!(home.foreign_set_limit(8, 300_000).is_err() && home.set_bmc_limit(8, None).is_err());
    assert_eq!((home.spec().unwrap(), home.truth().unwrap().driver_loads), before);
    // a node that comes back with fewer GPUs has booted with them
    home.edit(|spec| spec.gpus.truncate(4)).unwrap();
    assert_eq!(home.nvml().device_count().unwrap(), 4);
    assert_eq!(home.truth().unwrap().gpus.len(), 4);
}

#[test]
fn a_torn_slot_is_passed_over() {
    use std::os::unix::fs::FileExt;
    let home = home(&NodeSpec::h100x8("gpu-1"));
    let state = std::fs::OpenOptions::new().write(true).open(home.dir().join("plant.state")).unwrap();
    home.foreign_set_limit(0, 300_000).unwrap(); // the second write: slot 1
    home.foreign_set_limit(0, 400_000).unwrap(); // the third: slot 0
    state.write_all_at(&[0x55; 100], 100).unwrap(); // the newest is torn, as if its writer had been killed
    assert_eq!(home.enforced_limits().unwrap()[0], 300_000, "the one before counts");
    home.foreign_set_limit(0, 500_000).unwrap();
    assert_eq!(home.enforced_limits().unwrap()[0], 500_000);
    state.write_all_at(&[0x55; 100], 100).unwrap();
    state.write_all_at(&[0x55; 100], 4096 + 100).unwrap();
    let error = Node::open(home.dir()).unwrap_err().to_string();
    assert!(error.contains("plant.state: no slot is whole"), "{error}");
}

#[test]
fn changes_count_from_when_they_are_made() {
    let home = home(&NodeSpec::h100x8("gpu-1"));
    let other = Node::open(home.dir()).unwrap();
    wait(500);
    let before = home.truth().unwrap();
    home.set_workloads(Workload::prefill()).unwrap();
    let after = other.truth().unwrap();
    let rise = after.gpus[0].energy_millijoules - before.gpus[0].energy_millijoules;
    let milliseconds = (after.at_nanoseconds - before.at_nanoseconds) as f64 / 1e6;
    assert!(rise <= 700.0 * milliseconds + 1.0, "{rise} mJ in {milliseconds} ms: half a second of idling stays idling");
    wait(500);
    let draw = other.truth().unwrap().gpus[0].draw_milliwatts / 1000.0;
    assert!((500.0..700.0).contains(&draw), "{draw} W");
}

#[test]
fn a_file_written_by_hand_is_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let write = |kind: &str| {
        let text = format!("name: n\nhostIdleWatts: 300\nhostMaxWatts: 500\ngpus: [{{workload: {{kind: {kind}}}}}]\n");
        std::fs::write(dir.path().join(".new"), text).unwrap();
        std::fs::rename(dir.path().join(".new"), dir.path().join("node.yaml")).unwrap();
    };
    write("idle");
    let (node, other) = (Node::open(dir.path()).unwrap(), Node::open(dir.path()).unwrap());
    assert_eq!(node.truth().unwrap().boot_id, other.truth().unwrap().boot_id, "it booted once");
    let before = node.truth().unwrap();
    wait(300);
    write("prefill");
    let seen = node.truth().unwrap();
    let milliseconds = (seen.at_nanoseconds - before.at_nanoseconds) as f64 / 1e6;
    let rise = seen.gpus[0].energy_millijoules - before.gpus[0].energy_millijoules;
    assert!(rise < 75.0 * milliseconds, "{rise} mJ in {milliseconds} ms: until it was seen the old one was in force");
    wait(1500);
    assert!(other.truth().unwrap().gpus[0].draw_milliwatts > 680_000.0);
}

#[test]
fn processes_do_not_undo_each_other() {
    let home = home(&NodeSpec::h100x8("gpu-1"));
    let children: Vec<Child> = (0..4).map(|gpu| process(home.dir(), &format!("own {gpu}")).spawn().unwrap()).collect();
    children.into_iter().for_each(ends_well);
    let last = 200_000 + (1000 - 1) % 501 * 1000;
    assert_eq!(home.enforced_limits().unwrap(), [last, last, last, last, 700_000, 700_000, 700_000, 700_000]);
}

#[test]
fn of_many_callers_one_meets_what_is_for_one() {
    let home = home(&NodeSpec::h100x8("gpu-1"));
    let nvml = home.nvml();
    for round in 0..200 {
        // another table each time, so that it is put in force anew
        home.set_faults(vec![Fault::new(FaultKind::NoPermission).lasting(60.0 + f64::from(round)).once()]).unwrap();
        let start = Barrier::new(4);
        let denied = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for gpu in 0..4 {
                let (nvml, start, denied) = (&nvml, &start, &denied);
                scope.spawn(move || {
                    let mut device = nvml.device_by_index(gpu).unwrap();
                    start.wait();
                    if device.set_power_management_limit(mw(300)).is_err() {
                        denied.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(denied.into_inner(), 1, "round {round}");
    }
}
