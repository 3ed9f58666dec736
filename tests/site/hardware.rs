//! What happens to the nodes and their GPUs: reboots, a driver that is loaded again, others that set limits, sensors that lie.

use crate::cluster::Cluster;
use crate::meter::now;
use crate::site::{Site, Told, pause};
use crate::tree::{NODES, name_of};
use nvml_sim::{Fault, FaultKind};

/// A node without a boot guard: its pods run at once, its GPUs at their highest limits until its agent is there. There is room for
/// one in its row.
pub fn one_reboots(site: &mut Site, told: &mut Told) {
    let at = now();
    site.fleet.reboot(&[40]);
    site.fleet.come_back(40);
    pause(4000);
    told.within("back at 95 %", site.back(at, 0.95, 60), 60.0);
    // another, with real processes, once the room is there again
    pause(8000);
    let at = now();
    site.fleet.reboot(&[36]);
    site.fleet.come_back(36);
    told.within("another back at 95 %", site.back(at, 0.95, 60), 60.0);
}

/// The whole site loses power. Each node has the boot guard before its kubelet, and no GPU works before that has said yes.
pub fn all_reboot(site: &mut Site, told: &mut Told) {
    let all: Vec<usize> = (0..NODES).collect();
    site.fleet.reboot(&all);
    let at = now();
    for node in all {
        let code = site.fleet.boot_guard(node);
        told.must(code == Some(0), format!("the boot guard of {} ended with {code:?}", name_of(node)));
        site.fleet.come_back(node);
    }
    told.note(format!("all up after {:.0} s", (now() - at) as f64 / 1000.0));
    told.within("then back at 95 %", site.back(now(), 0.95, 60), 60.0);
}

/// Limits are at their defaults again, below a living agent: in a row that keeps room for it.
pub fn driver_reload(site: &mut Site, told: &mut Told) {
    for node in [36, 41] {
        let at = now();
        let before = site.plant.limits(node);
        site.plant.nodes[node].reload_driver().unwrap();
        let held = site.until(10, || (site.plant.limits(node) <= before).then(|| (now() - at) as f64 / 1000.0));
        told.within(&format!("{} held again after", name_of(node)), held, 3.0);
        pause(4000);
    }
    told.within("back at 95 %", site.back(now(), 0.95, 60), 60.0);
}

/// Does a node say this of itself?
fn says(cluster: &Cluster, node: usize, kind: &str, reason: &str) -> bool {
    let powers = cluster.powers();
    let power = powers.iter().find(|power| power.metadata.name == Some(name_of(node)));
    let conditions = power.and_then(|power| power.status.as_ref()).map(|status| status.conditions.as_slice());
    conditions.unwrap_or_default().iter().any(|condition| condition.type_ == kind && condition.reason == reason)
}

/// Somebody sets all GPUs of a node to their highest limits, again and again.
pub fn foreign_limits(site: &mut Site, told: &mut Told) {
    let node = 35;
    let every_seconds = Some(2.0);
    let raise = |gpu| Fault::new(FaultKind::ForeignLimit { watts: Some(400), every_seconds }).on(gpu);
    let at = now();
    site.plant.nodes[node].set_faults((0..8).map(raise).collect()).unwrap();
    let said =
        site.until(15, || says(&site.cluster, node, "Obeyed", "RaisedByOther").then(|| (now() - at) as f64 / 1000.0));
    told.within("told after", said, 15.0);
    pause(6000);
    site.plant.nodes[node].set_faults(Vec::new()).unwrap();
    told.within("back at 95 %", site.back(now(), 0.95, 60), 60.0);
}

/// Power readings stay where they are, while the draw goes on.
pub fn frozen_sensors(site: &mut Site, told: &mut Told) {
    let some = [0, 5, 17, 20, 34, 45];
    let at = now();
    for node in some {
        site.plant.nodes[node].set_faults(vec![Fault::new(FaultKind::FrozenPower)]).unwrap();
    }
    pause(site.seconds(15, 60) * 1000);
    let used = site.meter.record().figures(at, now())[0].use_of_allowed;
    told.note(format!("drawn meanwhile {:.2} %", used * 100.0));
    told.must(used >= 0.99, "less is drawn because of a sensor");
    for node in some {
        site.plant.nodes[node].set_faults(Vec::new()).unwrap();
    }
}
