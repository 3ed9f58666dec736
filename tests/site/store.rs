//! What happens to what is written down: a store that goes back, Nodes that are deleted and relabelled, clocks that are stepped; and
//! the end, when everything is given back.

use crate::cluster::node_object;
use crate::fleet::signal_to;
use crate::meter::{CORRECTION, now};
use crate::site::{DEEP, Site, Told, pause};
use crate::tree::{FEEDS, GPU_MAX, NODES, name_of};
use nix::sys::signal::Signal;
use serde_json::json;
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// etcd is restored from a snapshot of before a curtailment of one row: that row's old lease is higher than what it has now, and
/// the others have what it gave up.
pub fn restored_store(site: &mut Site, told: &mut Told) {
    let row = 2;
    let (data, kept) = (site.cluster.testbed.etcd_folder(), site.cluster.testbed.folder().join("etcd-before"));
    // what a stopped process has written is what a killed one leaves behind
    let id = site.cluster.testbed.id_of("etcd").unwrap();
    signal_to(id, Signal::SIGSTOP);
    copy(&data, &kept);
    signal_to(id, Signal::SIGCONT);
    let at = site.curtail("lost", row, 0.8);
    told.within("the others have what it gave up after", site.back(at, 0.99, 30), 30.0);
    pause((site.seconds(8, 33) * 1000).saturating_sub(now() - at));

    site.cluster.testbed.kill("kube-apiserver").unwrap();
    site.cluster.testbed.kill("etcd").unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&kept, &data).unwrap();
    site.cluster.testbed.start_again("etcd").unwrap();
    site.cluster.testbed.start_again("kube-apiserver").unwrap();
    // the event is gone with what was written after the snapshot: nobody orders it any more
    site.forget("lost", row);
    site.cluster.testbed.wait_until_ready().unwrap();
    let at = now();
    told.within("ready again, back at 95 %", site.back(at, 0.95, 60), 60.0);
    pause(site.seconds(10, 40) * 1000);
    told.must(site.cluster.powers().len() == NODES, "a NodePower is missing");
}

/// A Node is deleted, another one is relabelled into another row. Both go on drawing where they are plugged in.
pub fn nodes_go_and_move(site: &mut Site, told: &mut Told) {
    let (gone, moved) = (5, 6);
    let at = now();
    site.cluster.delete("Node", &name_of(gone));
    let label = |row: &str| json!({"metadata": {"labels": {"topology.heliotrope.dev/row": row}}});
    site.cluster.patch("Node", &name_of(moved), label("row-b"));
    pause(site.seconds(30, 120) * 1000);
    let used = site.meter.record().figures(at, now())[0].use_of_allowed;
    told.note(format!("drawn meanwhile {:.2} %", used * 100.0));
    site.cluster.create(&node_object(gone));
    site.cluster.patch("Node", &name_of(moved), label(FEEDS[1].name));
    told.within("back at 95 %", site.back(now(), 0.95, 60), 60.0);
}

/// The wall clocks of the controller and of eight nodes are 10 min ahead, then 10 min behind.
pub fn stepped_clocks(site: &mut Site, told: &mut Told) {
    if !site.wall.works() {
        told.note("not run: no C compiler, or no preloading, to step the wall clock of a process with");
        return;
    }
    site.wall.step(600);
    let since = now();
    pause(15_000);
    let at = site.curtail("ahead", 0, DEEP);
    told.within("10 min ahead, last limit lowered", site.fell(at, 30), 30.0);
    pause((CORRECTION + 5000).saturating_sub(now() - at));
    site.wall.step(-600);
    pause(site.seconds(15, 60) * 1000);
    let at = site.release("ahead", 0);
    told.within("10 min behind, back at 95 %", site.back(at, 0.95, 60), 60.0);
    let at = site.curtail("behind", 0, DEEP);
    told.within("10 min behind, last limit lowered", site.fell(at, 30), 30.0);
    pause((CORRECTION + 5000).saturating_sub(now() - at));
    let at = site.release("behind", 0);
    told.within("back at 95 %", site.back(at, 0.95, 60), 60.0);
    told.note(format!("{} s", (now() - since) / 1000));
}

/// Break glass: the root observes. Everything is given back by grants, and then nothing of ours is left: until then nobody may
/// uninstall it.
pub fn break_glass(site: &mut Site, told: &mut Told) {
    let refused = site.cluster.uninstall_check().expect_err("while it enforces it is not to be uninstalled");
    told.must(refused.contains("the root domain site is enforced"), refused);
    (0..FEEDS.len()).for_each(|feed| site.meter.order(feed, f64::INFINITY));
    let at = now();
    site.cluster.patch("PowerDomain", FEEDS[0].name, json!({"spec": {"mode": "Observe"}}));
    let free = |site: &Site| (0..NODES).all(|node| site.plant.limits(node) >= 8.0 * GPU_MAX);
    let given = site.until(60, || free(site).then(|| (now() - at) as f64 / 1000.0));
    told.within("all limits as they were found after", given, 60.0);
    let gone = |site: &Site| site.cluster.allotments() == 0 && site.cluster.powers().is_empty();
    let empty = site.until(60, || gone(site).then(|| (now() - at) as f64 / 1000.0));
    told.within("no allotment and no NodePower after", empty, 60.0);
    let allowed = site.cluster.uninstall_check();
    told.must(allowed.is_ok(), format!("it may not be uninstalled: {allowed:?}"));
    let disturbed = site.cluster.disturbed();
    told.must(disturbed.is_empty(), format!("pods and nodes: {disturbed:?}"));
    pause(5000);
    told.must(free(site), "limits were set again");
}
