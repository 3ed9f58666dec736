//! What it does when nothing is wrong, or only the controller is dead.

use crate::world::{CORRECTION, Chance, HOST, World};
use heliotrope::controller::leases::memory::Memory;
use heliotrope::units::Watts;
use serde_json::json;

/// A site that was found at full power comes under its caps, and then uses them.
#[test]
fn it_comes_under_its_caps_and_uses_them() {
    let mut chance = Chance::new(1);
    let mut world = World::new(0);
    world.settle(120, &mut chance);
    world.run(60, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] >= Watts(31_000 * 99 / 100), "{drawn:?}\n{}", world.tell());
    // an order of one row, and of all
    world.order("row-a", 12_000, 120);
    world.run(CORRECTION, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["row-a"] >= Watts(12_000 * 99 / 100), "{drawn:?}");
    world.run(40, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] >= Watts(30_400 * 99 / 100), "what row a gives up, row b uses: {drawn:?}\n{}", world.tell());
    world.run(200, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] >= Watts(31_000 * 99 / 100), "{drawn:?}\n{}", world.tell());
}

/// Nothing changes when the controller dies, and a cap that falls is met without it.
#[test]
fn it_holds_with_the_controller_dead() {
    let mut chance = Chance::new(2);
    let mut world = World::new(0);
    world.settle(150, &mut chance);
    let before = world.drawn();
    world.controller = false;
    world.run(300, &mut chance);
    assert_eq!(world.drawn(), before, "no lease ended: nothing is lowered");
    world.order("site", 21_700, 600);
    world.run(120, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] <= Watts(21_700), "{drawn:?}");
    assert!(drawn["site"] >= Watts(21_700 * 85 / 100), "{drawn:?}\n{}", world.tell());
}

/// A node that says nothing when a controller takes over is charged its ceiling. The others share what is left, and don't stay
/// where a curtailment that is over has put them.
#[test]
fn the_others_do_not_wait_for_one_that_is_silent() {
    let mut chance = Chance::new(3);
    let mut world = World::new(0);
    for row in &mut world.store.snapshot.domains[1..] {
        row.spec.lowest_cap_watts = Some(11_000);
    }
    world.settle(150, &mut chance);
    world.order("site", 21_700, 100);
    world.run(40, &mut chance);
    world.hosts[0].machine = None;
    world.memory = Memory::default();
    world.begins_anew();
    world.run(300, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] >= Watts(28_000), "{drawn:?}\n{}", world.tell());
}

/// Under a cap that falls watts go where they do the most work, and who tolerates a slowdown gives first.
#[test]
fn watts_go_where_they_do_the_most_work() {
    let mut chance = Chance::new(11);
    let mut world = World::new(0);
    world.employ(0, json!({"class": "Serving", "flexibility": "Low"}));
    world.employ(1, json!({"class": "Pretraining", "flexibility": "High"}));
    world.employ(2, json!({"class": "Pretraining", "flexibility": "High"}));
    world.employ(3, json!({"class": "Pretraining"}));
    world.settle(150, &mut chance);
    let limits =
        |world: &World| -> Vec<i64> { world.hosts[..4].iter().map(|host| (host.limit.0 - HOST) / 8).collect() };
    assert_eq!(limits(&world)[1], limits(&world)[2], "equal work has equal limits");
    world.order("row-a", 10_700, 120);
    world.run(60, &mut chance);
    let [serving, one, other, strict] = limits(&world)[..] else { panic!("four nodes") };
    assert!((182..=186).contains(&serving), "it may be 10 % slower: {:?}", limits(&world));
    // a watt of a node is an eighth of one of its limits
    assert!((one - other).abs() <= 1 && one < 200, "they tolerate to be half as fast: {:?}", limits(&world));
    assert!(strict > one + 100, "it does not: {:?}", limits(&world));
    assert!(world.drawn()["row-a"] >= Watts(10_650), "and every watt is used: {}", world.tell());
}
