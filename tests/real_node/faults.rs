//! What happens to the node and its parts while it works: whatever dies, hangs or vanishes, nothing is drawn that was not reserved.

use crate::chart::{AGENTS, CAP, HOST, Site, at_work, power, ready};
use crate::{asked, now, said, wait};
use heliotrope_testbed::DevicePlugin;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvml_sim::{Fault, FaultKind, Workload};
use std::process::Command;
use std::time::Duration;

fn signal(process: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(process).unwrap()), signal).unwrap();
}

pub fn pod_is_killed(site: &Site) {
    let before = site.agents_pod();
    let gone = ["delete", "pod", &before, "--namespace", AGENTS, "--grace-period=0", "--force"];
    let gone = site.testbed.kubectl(&gone).unwrap();
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    wait("another agent's pod is there", || site.agents_pod() != before && !site.agents_pod().is_empty());
    site.wait_until_held("agent's pod killed");
}

/// While one of the two is dead, every limit stays as it was.
pub fn container_is_killed(site: &Site, container: &str) {
    site.wait_until_granted();
    let path = format!("jsonpath={{.items[0].status.containerStatuses[?(@.name=='{container}')].restartCount}}");
    let restarts = || said(&site.testbed, &["get", "pods", "--namespace", AGENTS, "--output", &path]);
    let pod = site.agents_pod();
    let runs = || site.node.process_of(&pod, container);
    let (before, limits, process) = (restarts(), site.limits(), runs().unwrap());
    signal(process, Signal::SIGKILL);
    let mut looks = 0;
    while !runs().is_ok_and(|new| new != process) {
        assert_eq!(site.limits(), limits, "with {container} dead");
        looks += 1;
        assert!(looks < 1000, "{container} is not started again");
    }
    wait(&format!("{container} is counted as restarted"), || restarts() != before);
    site.wait_until_held(&format!("{container} killed"));
    site.wait_until_granted();
}

pub fn kubelet_and_containerd_are_killed(site: &mut Site) {
    let held = asked(&site.node).unwrap();
    site.node.restart_containerd().unwrap();
    site.node.restart_kubelet().unwrap();
    site.node.wait_until_ready(&site.testbed).unwrap();
    site.offer_all();
    site.wait_until_held("kubelet and containerd restarted");
    wait("the kubelet knows what it gave", || asked(&site.node).as_ref() == Ok(&held));
    assert!(site.runs(), "the Job's pod is gone");
}

/// It does not say which pod has which GPU: the node says so, and is held as a whole.
pub fn kubelet_hangs(site: &Site) {
    wait("every pod is served", || site.reason("PodsServed") == "Served");
    let stopped = now();
    signal(site.node.kubelet(), Signal::SIGSTOP);
    wait("the node says that its kubelet is silent", || site.reason("PodsServed") == "KubeletSilent");
    let text = site.condition("PodsServed", "message");
    assert!(text.contains("kubelet.sock: no answer in 2 s") && text.contains("held as a whole"), "{text}");
    wait("no pod's GPUs have limits of their own", || {
        let path = "jsonpath={.spec.children[0].shares}";
        said(&site.testbed, &["get", "powerallotment", "row-a", "--output", path]).is_empty()
    });
    let fits = || HOST + site.limits().into_iter().sum::<u64>() / 1000 <= CAP;
    while now().duration_since(stopped) < Duration::from_secs(30) {
        assert!(fits(), "{:?}", site.limits());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(site.reason("Held"), "Leased", "nothing is safe by the kubelet's word");
    signal(site.node.kubelet(), Signal::SIGCONT);
    wait("it says again", || site.reason("PodsServed") == "Served");
    site.wait_until_granted();
}

/// The device plugin goes away, and comes back with less.
pub fn device_plugin_takes_away(site: &mut Site) {
    let held = asked(&site.node).unwrap();
    let vanished = |site: &Site| {
        let told = site.condition("PodsServed", "message");
        held.keys().filter(|uuid| told.contains(&format!("{uuid}, which its device plugin does not offer"))).count()
    };
    site.plugin = None;
    wait("both of the pod's GPUs are told as vanished", || vanished(site) == 2);
    assert_eq!(site.reason("PodsServed"), "AcceleratorVanished");
    let first = held.keys().next().unwrap();
    let fewer = site.uuids.iter().filter(|uuid| *uuid != first).cloned().collect();
    site.plugin = Some(DevicePlugin::start("nvidia.com/gpu", fewer).unwrap());
    wait("one of them is back", || vanished(site) == 1);
    assert!(site.condition("PodsServed", "message").contains(first.as_str()));
    // the hardware is there: what it is held to does not hang on the plugin
    assert_eq!((site.reason("Held"), site.reason("Obeyed")), ("Leased".to_owned(), "ReadBack".to_owned()));
    site.plugin.as_ref().unwrap().offer(site.uuids.clone());
    wait("both are back", || site.reason("PodsServed") == "Served");
    assert!(site.runs(), "the Job's pod is gone");
}

/// Two fall off the bus and go on drawing: one of the Job's, and one that nobody has.
pub fn accelerators_are_lost(site: &Site) {
    let held = asked(&site.node).unwrap();
    let (uuid, pod) = held.first_key_value().unwrap();
    let at = |uuid: &String| site.uuids.iter().position(|known| known == uuid).unwrap();
    let idle = site.uuids.iter().find(|uuid| !held.contains_key(*uuid)).unwrap();
    let lost = [at(uuid), at(idle)];
    let limits = site.limits();
    site.plant.set_faults(lost.map(|gpu| Fault::new(FaultKind::Lost).on(gpu)).to_vec()).unwrap();
    wait("the pod that lost a GPU is named", || {
        site.condition("PodsServed", "message").contains(&format!("{pod} has {uuid}, which does not answer (Lost)"))
    });
    assert_eq!((site.reason("PodsServed"), site.reason("Obeyed")), ("AcceleratorVanished".into(), "Lost".into()));
    let told = site.condition("PodsServed", "message");
    assert!(!told.contains(idle.as_str()), "nobody has it: {told}");
    // each counts with its highest limit, whatever the hardware holds
    let unseen: u64 = lost.iter().map(|gpu| 400 - limits[*gpu] / 1000).sum();
    assert!(unseen > 0, "all are at their highest limit");
    wait("what can't be read counts at its most", || {
        let enforced = power(&site.testbed, "{.status.enforcedWatts}").parse::<u64>().unwrap();
        enforced >= HOST + site.limits().into_iter().sum::<u64>() / 1000 + unseen
    });
    site.plant.set_faults(Vec::new()).unwrap();
    wait("they are back", || site.reason("PodsServed") == "Served" && site.reason("Obeyed") == "ReadBack");
    site.wait_until_granted();
}

/// Down with all that runs, and up with every GPU at its default limit.
fn down(site: &mut Site) {
    site.plugin = None;
    site.node.power_off().unwrap();
    site.plant.set_workloads(Workload::idle()).unwrap();
    site.plant.reboot().unwrap();
    assert_eq!(site.limits(), vec![400_000; site.uuids.len()], "a reboot gives the default limits back");
}

/// The kubelet starts what is bound here.
fn up(site: &mut Site) {
    site.node.power_on().unwrap();
    site.offer_all();
}

fn back(site: &Site, when: &str) {
    site.node.wait_until_ready(&site.testbed).unwrap();
    let boot = std::fs::read_to_string(site.plant.boot_id_path()).unwrap();
    wait(&format!("{when}: the agent reports of this boot"), || {
        power(&site.testbed, "{.status.boot}") == boot.trim() && ready(&site.testbed, AGENTS) == 2
    });
    site.wait_until_held(when);
    wait(&format!("{when}: the Job's pod runs"), || site.runs());
    site.wait_until_granted();
}

/// What the node may draw without a word from anybody, by its lease.
fn safe(site: &Site) -> u64 {
    let path = "jsonpath={.spec.children[0].lease.figures.safeWatts}";
    said(&site.testbed, &["get", "powerallotment", "row-a", "--output", path]).parse().unwrap()
}

/// The unit before the kubelet has every GPU at its safe limit; then everything that is bound wants all it can get, at once.
pub fn reboots_with_a_guard(site: &mut Site) {
    let safe = safe(site);
    down(site);
    let state = site.testbed.folder().join("real-0/heliotrope");
    let guard = Command::new(env!("CARGO_BIN_EXE_heliotrope"))
        .args(["actuator", "--boot-guard", "--state-dir"])
        .arg(&state)
        .env("HELIOTROPE_NVML_LIBRARY", site.plant.dir().join("libnvidia-ml.so.1"))
        .output()
        .unwrap();
    assert!(guard.status.success(), "{}", String::from_utf8_lossy(&guard.stderr));
    let limits = site.limits().into_iter().sum::<u64>() / 1000;
    assert!(HOST + limits <= safe, "{limits} W of limits and a host of {HOST} W are above the safe {safe} W");
    site.plant.set_workloads(at_work()).unwrap();
    up(site);
    back(site, "rebooted with a guard");
}

/// Nobody was there before the kubelet: the actuator has every GPU at its safe limit as it starts, before any lease. The GPUs do
/// not work before that, since this domain keeps no room for one that reboots (`rebootReserveNodes: 0`).
pub fn reboots_without_a_guard(site: &mut Site) {
    let safe = safe(site);
    down(site);
    up(site);
    let started = now();
    while HOST + site.limits().into_iter().sum::<u64>() / 1000 > safe {
        assert!(now().duration_since(started) < Duration::from_secs(60), "the actuator brings nothing down");
        std::thread::sleep(Duration::from_millis(20));
    }
    site.plant.set_workloads(at_work()).unwrap();
    back(site, "rebooted without a guard");
}
