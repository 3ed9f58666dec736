//! What it does when nothing is wrong, or only the controller is dead.

use crate::world::{CORRECTION, Chance, World};
use heliotrope::controller::leases::memory::Memory;
use heliotrope::units::Watts;

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
