//! Limits stay where they are while work comes and goes, and no watts are kept from anyone for good.

use crate::shares::{knows, limits, runs_on};
use crate::world::{Chance, World};
use heliotrope::units::Watts;
use serde_json::json;

/// Nodes of each row.
const NODES: usize = 16;
/// How long the short work beside it lasts, and how long its place is empty, in seconds, on average.
const LASTS: u64 = 600;

/// 32 nodes. Half of each is one workload that stays; in the other half work of ten minutes comes and goes.
fn noisy(chance: &mut Chance) -> World {
    let mut world = World::of(0, NODES);
    world.store.snapshot.pods.clear();
    // short of watts: about 280 W for each that works
    world.store.snapshot.domains[0].spec.cap_watts = 100_000;
    for at in 0..world.hosts.len() {
        let spec = json!({"class": "Pretraining", "flexibility": "High"});
        runs_on(&mut world, &format!("stays-{at}"), spec, &[(at, 4)]);
        goes(&mut world, at, false);
    }
    world.settle(150, chance);
    world
}

/// Work of half a node comes, or is gone.
fn goes(world: &mut World, at: usize, comes: bool) {
    let (stays, short) = (format!("stays-{at}-0"), format!("short-{at}-0"));
    let name = format!("short-{at}");
    let snapshot = &mut world.store.snapshot;
    snapshot.pods.retain(|pod| pod.metadata.name.as_deref() != Some(&short));
    snapshot.jobs.retain(|job| job.metadata.name.as_deref() != Some(&name));
    snapshot.workloads.retain(|workload| workload.metadata.name.as_deref() != Some(&name));
    if comes {
        runs_on(world, &name, json!({"class": "Pretraining", "flexibility": "High"}), &[(at, 4)]);
    }
    let short = if comes { short.as_str() } else { "" };
    let stays = stays.as_str();
    knows(world, at, [stays, stays, stays, stays, short, short, short, short]);
}

/// What the first accelerator of each node has: those that stay have the same.
fn levels(world: &World) -> Vec<i64> {
    (0..world.hosts.len()).map(|at| limits(world, at)[0]).collect()
}

#[test]
fn limits_are_steady_while_work_comes_and_goes() {
    let mut chance = Chance::new(31);
    let mut world = noisy(&mut chance);
    let (mut before, mut changes, mut used) = (levels(&world), 0, 0);
    let seconds = 3600;
    for _ in 0..seconds {
        for at in 0..world.hosts.len() {
            if chance.below(LASTS) == 0 {
                let name = format!("short-{at}-0");
                let is_there = world.store.snapshot.pods.iter().any(|pod| pod.metadata.name.as_ref() == Some(&name));
                goes(&mut world, at, !is_there);
            }
        }
        world.run(1, &mut chance);
        let now = levels(&world);
        changes += before.iter().zip(&now).filter(|(before, now)| before != now).count();
        used += world.drawn()["site"].0;
        before = now;
    }
    let each = changes as f64 * 3600.0 / f64::from(seconds) / world.hosts.len() as f64;
    let used = used as f64 / f64::from(seconds) / world.cap("site").0 as f64;
    println!("{each:.1} changes of a limit for each accelerator and hour, {:.2} % of the cap held", used * 100.0);
    // 287 without
    assert!(each < 200.0, "{each}");
    assert!(used > 0.98, "{used}");
}

/// Who waits for a raise gets it: soon after work beside it has ended, each has what all have.
#[test]
fn no_watts_are_kept_from_anyone_for_good() {
    let mut chance = Chance::new(32);
    let mut world = noisy(&mut chance);
    for at in 0..20 {
        goes(&mut world, at, true);
    }
    world.run(400, &mut chance);
    let before = levels(&world);
    // one ends: too little for each of the others to be raised at once
    goes(&mut world, 0, false);
    world.run(100, &mut chance);
    assert!(levels(&world)[1..].iter().zip(&before[1..]).all(|(now, before)| now <= before));
    world.run(320, &mut chance);
    let after = levels(&world);
    assert!(before[1..].iter().zip(&after[1..]).all(|(before, after)| after > before), "{before:?} {after:?}");
    let held = world.drawn()["site"];
    assert!(held >= Watts(100_000 * 99 / 100), "and the cap is used: {held}");
    // a cap that falls is met as ever, and given back at once when it rises: run() checks each second
    world.order("site", 80_000, 60);
    world.run(60, &mut chance);
    world.run(60, &mut chance);
    let held = world.drawn()["site"];
    assert!(held >= Watts(100_000 * 96 / 100), "{held}");
}
