//! Nodes that go, move and are fenced; domains that move to another feed; everything given back.

use crate::objects::{node, pod};
use crate::world::{A100, CEILING, CORRECTION, Chance, FLOOR, World};
use heliotrope::api::{ChildKey, Mode};
use heliotrope::controller::leases::memory::Memory;
use heliotrope::units::Watts;
use serde_json::json;

fn entry(world: &World, row: &str, node: &str) -> Option<Watts> {
    let ledger = world.store.allotments[row].ledger(Some("site"));
    ledger.entries.get(&ChildKey::node(node)).map(|entry| entry.charged().watts)
}

fn fence(world: &mut World, node: &str) {
    let power = world.store.powers.get_mut(node).unwrap();
    let fenced = json!({"heliotrope.dev/fenced-watts": "0"});
    power.metadata.annotations = serde_json::from_value(fenced).unwrap();
}

/// A node whose object was deleted draws on: its watts stay reserved until it is proved to be off.
#[test]
fn a_deleted_node_stays_charged_until_it_is_fenced() {
    let mut chance = Chance::new(5);
    let mut world = World::new(0);
    world.settle(120, &mut chance);
    world.store.snapshot.nodes.retain(|node| node.metadata.name.as_deref() != Some("row-a-0"));
    world.work(0);
    // its agent lives: it is brought down to its floor, and no further
    world.run(60, &mut chance);
    assert!(world.hosts[0].limit <= Watts(FLOOR + 300), "{}", world.tell());
    let held = entry(&world, "row-a", "row-a-0").unwrap();
    assert!(held >= world.hosts[0].limit);
    // a fence counts for nothing while its agent speaks
    fence(&mut world, "row-a-0");
    world.run(60, &mut chance);
    assert!(entry(&world, "row-a", "row-a-0").is_some(), "it speaks: it draws");
    // its power is off
    world.hosts[0].machine = None;
    world.hosts[0].order = None;
    world.hosts[0].limit = Watts(0);
    world.run(70, &mut chance);
    assert_eq!(entry(&world, "row-a", "row-a-0"), None, "{}", world.tell());
    assert!(!world.store.powers.contains_key("row-a-0"));
    world.run(60, &mut chance);
    let drawn = world.drawn();
    assert!(
        drawn["row-a"] >= Watts(3 * CEILING * 99 / 100),
        "the others have what is left: {drawn:?}\n{}",
        world.tell()
    );
}

/// A label can't move watts from one feed to another.
#[test]
fn a_relabelled_node_stays_charged_where_it_was() {
    let mut chance = Chance::new(6);
    let mut world = World::new(0);
    world.settle(120, &mut chance);
    let at =
        world.store.snapshot.nodes.iter().position(|node| node.metadata.name.as_deref() == Some("row-a-1")).unwrap();
    world.store.snapshot.nodes[at] = node("row-a-1", "row-b", A100);
    world.run(120, &mut chance);
    assert!(entry(&world, "row-a", "row-a-1").is_some());
    assert_eq!(entry(&world, "row-b", "row-a-1"), None);
    assert!(world.hosts[1].limit > Watts(FLOOR), "it is not punished for a label");
    let waits = &world.shown["row-a"].waits;
    assert!(waits.iter().any(|text| text.contains("row-a-1 is no longer selected")), "{waits:?}");
    // it is carried over: off, fenced, on again on the other feed
    fence(&mut world, "row-a-1");
    let host = &mut world.hosts[1];
    (host.machine, host.order, host.limit) = (None, None, Watts(0));
    world.run(75, &mut chance);
    assert_eq!(world.store.powers["row-a-1"].spec.domain, "row-a", "its kubelet says that it works: it is not off");
    let mut off = (*world.store.snapshot.nodes[at]).clone();
    off.status.as_mut().unwrap().conditions = None;
    world.store.snapshot.nodes[at] = off.into();
    world.run(5, &mut chance);
    assert_eq!(world.store.powers["row-a-1"].spec.domain, "row-b");
    world.store.powers.get_mut("row-a-1").unwrap().metadata.annotations = None;
    world.hosts[1].row = "row-b";
    world.hosts[1].limit = Watts(FLOOR);
    world.boot(1);
    world.run(120, &mut chance);
    let held = entry(&world, "row-b", "row-a-1");
    assert!(held.is_some(), "{}", world.tell());
    assert!(world.hosts[1].limit > Watts(FLOOR), "{held:?} {:?} {}", world.store.powers["row-a-1"], world.tell());
}

/// A row is fed from elsewhere now: nothing is taken from the old feed before its nodes have acknowledged what the new one gave.
#[test]
fn a_domain_moves_to_another_feed() {
    let mut chance = Chance::new(7);
    let mut world = World::new(0);
    world.settle(120, &mut chance);
    let hall = crate::objects::domain("hall", json!({"capWatts": 20_000, "parent": "site", "lowestCapWatts": 10_000}));
    world.store.snapshot.domains.push(hall);
    let row = world.store.snapshot.domains.iter_mut().find(|domain| domain.metadata.name.as_deref() == Some("row-a"));
    row.unwrap().spec.parent = Some("hall".to_owned());
    world.chains.insert("row-a", vec!["site", "hall", "row-a"]);
    world.run(180, &mut chance);
    let site = world.store.allotments["site"].ledger(None);
    let names: Vec<String> = site.entries.keys().map(|key| key.name.clone()).collect();
    assert_eq!(names, ["hall", "row-b"], "{}", world.tell());
    let drawn = world.drawn();
    assert!(drawn["site"] >= Watts(28_000), "{drawn:?}\n{}", world.tell());
}

/// One command gives everything back; then nothing of ours is left.
#[test]
fn in_observe_everything_is_given_back() {
    let mut chance = Chance::new(8);
    let mut world = World::new(1);
    world.settle(120, &mut chance);
    assert!(world.hosts.iter().any(|host| host.limit < Watts(CEILING)));
    world.store.snapshot.domains[0].spec.mode = Some(Mode::Observe);
    world.settle(90, &mut chance);
    assert!(world.hosts.iter().all(|host| host.limit == Watts(CEILING)), "{}", world.tell());
    assert!(world.store.allotments.is_empty() && world.store.powers.is_empty(), "{}", world.tell());
    // nothing falls when the last leases end
    world.settle(700, &mut chance);
    assert!(world.hosts.iter().all(|host| host.limit == Watts(CEILING)), "{}", world.tell());
    // and it may be enforced again
    world.store.snapshot.domains[0].spec.mode = Some(Mode::Enforce);
    world.settle(120, &mut chance);
    world.run(60, &mut chance);
}

/// A restored ledger says that a dead node holds less than it does: nobody gets the difference.
#[test]
fn a_restored_ledger_gives_nothing_away_that_a_dead_node_holds() {
    let mut chance = Chance::new(9);
    let mut world = World::new(0);
    world.order("row-a", 12_000, 100_000);
    world.work(0);
    world.settle(200, &mut chance);
    let backup = world.store.clone();
    assert!(world.hosts[0].limit < Watts(2500), "idle: {}", world.tell());
    // its work begins, another's ends
    world.work(0);
    world.work(1);
    world.run(120, &mut chance);
    assert!(world.hosts[0].limit > Watts(3000) && world.hosts[1].limit < Watts(2500), "{}", world.tell());
    // nobody on it lives any more, and the store goes back
    world.hosts[0].machine = None;
    world.hosts[0].order = None;
    let snapshot = world.store.snapshot.clone();
    world.store = crate::world::Store { snapshot, ..backup };
    world.memory = Memory::default();
    world.work(1);
    world.run(400, &mut chance);
    assert!(world.drawn()["row-a"] <= Watts(12_000));
}

/// A cap that not even the floors fit under: everyone goes to the floor, and it is said.
#[test]
fn below_the_floors_all_are_at_their_floors_and_it_is_said() {
    let mut chance = Chance::new(10);
    let mut world = World::new(0);
    world.settle(120, &mut chance);
    world.order("row-a", 5_000, 600);
    world.settle(CORRECTION + 40, &mut chance);
    assert!(world.hosts[..4].iter().all(|host| host.limit == Watts(FLOOR)), "{}", world.tell());
    let shown = &world.shown["row-a"];
    let (over, _) = shown.over.unwrap();
    assert_eq!(over, Watts(4 * FLOOR - 5_000));
    assert!(shown.watt_seconds_over > 0);
}

/// A pod comes onto a node that was idle: it is given its watts, and not more than there are.
#[test]
fn watts_follow_the_work() {
    let mut chance = Chance::new(11);
    let mut world = World::new(0);
    for at in 0..8 {
        world.work(at);
    }
    world.settle(150, &mut chance);
    let idle = world.drawn()["site"];
    assert!(idle < Watts(25_000), "{idle}");
    world.store.snapshot.pods.push(pod(None, Some("row-b-2")));
    world.run(40, &mut chance);
    assert_eq!(world.hosts[6].limit, Watts(CEILING), "{}", world.tell());
}

/// A fall that is announced is met slowly, and in time; one that is not, at once.
#[test]
fn an_announced_fall_is_met_slowly() {
    let mut chance = Chance::new(9);
    let mut world = World::new(0);
    world.store.snapshot.domains[0].spec.ramp_down_watts_per_second = Some(50);
    world.settle(150, &mut chance);
    let before = world.drawn()["site"];
    assert!(before >= Watts(30_500), "{before}");
    // 9.5 kW at 50 W/s: 190 s
    world.announce("site", 21_000, 300, 120);
    let mut lowest = before;
    for second in 1..300 {
        world.run(1, &mut chance);
        let drawn = world.drawn()["site"];
        // a step of ten seconds, written in one and read some seconds later by each node
        assert!(lowest - drawn <= Watts(600), "{second} s: {lowest} to {drawn}");
        assert!(drawn <= Watts(21_000 + 50 * (300 - second + 10)), "{second} s: {drawn}");
        assert!(second > 90 || drawn >= Watts(30_500), "{second} s: too early: {drawn}");
        lowest = lowest.min(drawn);
    }
    assert!(lowest <= Watts(21_000), "{lowest}");
    world.run(60, &mut chance);
    assert!(world.drawn()["site"] >= Watts(20_700), "{}", world.tell());
    world.settle(180, &mut chance);
    world.order("site", 21_000, 60);
    world.run(15, &mut chance);
    assert!(world.drawn()["site"] <= Watts(21_000), "{}", world.tell());
}

/// A domain that comes under a fallen cap more slowly than its feed stands is marked, and nothing is raised in it.
#[test]
fn a_domain_that_reacts_too_slowly_is_marked() {
    let mut chance = Chance::new(10);
    let mut world = World::new(0);
    world.store.snapshot.domains[1].spec.correction_time_seconds = Some(20);
    world.settle(150, &mut chance);
    assert_eq!(world.shown["row-a"].infeasible, None);
    world.order("row-a", 11_000, 60);
    // nobody hears of it: they fall when contact is over, after 25 s
    let until = world.second + 50;
    world.hosts.iter_mut().filter(|host| host.row == "row-a").for_each(|host| host.next_read = until);
    world.settle(40, &mut chance);
    let shown = &world.shown["row-a"];
    assert!(shown.reaction_p99.is_some_and(|p99| p99.0 > 20_000), "{:?}", shown.reaction_p99);
    assert!(shown.infeasible.as_ref().is_some_and(|why| why.contains("99 of 100")), "{:?}", shown.infeasible);
    world.run(120, &mut chance);
    let drawn = world.drawn()["row-a"];
    assert!(drawn <= Watts(11_000), "it is raised all the same: {drawn}");
    assert_eq!(world.shown["row-b"].infeasible, None);
}
