//! An order that is settled by a meter: what is drawn comes to just under it, and without anybody who looks, what can be drawn does.

use crate::world::{CORRECTION, Chance, HOST, World};
use heliotrope::api::Measure;
use heliotrope::units::Watts;

const TARGET: Watts = Watts(22_000);

/// A site whose accelerators draw four fifths of what they may, in its second minute under an order.
fn ordered(chance: &mut Chance) -> World {
    let mut world = World::new(0);
    world.draws = |limit| Watts(HOST) + (limit - Watts(HOST)).percent(80);
    world.settle(150, chance);
    world.order("site", TARGET.0, 3600);
    world.store.snapshot.events[0].spec.measure = Some(Measure::Draw);
    world.run(CORRECTION, chance);
    world
}

#[test]
fn what_is_drawn_comes_to_the_target_and_not_above_it() {
    let mut chance = Chance::new(21);
    let mut world = ordered(&mut chance);
    let by_limits = world.metered()["site"];
    assert!(by_limits <= TARGET.percent(90), "at first what can be drawn is under it: {by_limits}");
    for _ in 0..600 {
        world.run(1, &mut chance);
        let drawn = world.metered()["site"];
        assert!(drawn <= TARGET, "{drawn} at {} s\n{}", world.second, world.tell());
    }
    let drawn = world.metered()["site"];
    assert!(drawn >= Watts(TARGET.0 * 980 / 1000), "{drawn}\n{}", world.tell());
    assert!(world.drawn()["site"] > TARGET, "more may be drawn than is");
    assert_eq!(world.shown["site"].drawn, drawn, "and that is what is shown, of all rows");
    // work that takes all it may: it comes back under the target, when all nodes have said so and are lowered
    world.draws = |limit| limit;
    world.run(120, &mut chance);
    for _ in 0..300 {
        world.run(1, &mut chance);
        assert!(world.metered()["site"] <= TARGET, "at {} s\n{}", world.second, world.tell());
    }
}

#[test]
fn without_a_controller_or_a_word_of_all_nodes_limits_are_under_the_target() {
    for kills_controller in [true, false] {
        let mut chance = Chance::new(22);
        let mut world = ordered(&mut chance);
        world.run(300, &mut chance);
        assert!(world.drawn()["site"] > TARGET);
        if kills_controller {
            world.controller = false;
        } else {
            world.hosts[2].machine = None;
        }
        world.run(140, &mut chance);
        let drawn = world.drawn()["site"];
        assert!(drawn <= TARGET, "{drawn}, controller dead: {kills_controller}\n{}", world.tell());
    }
}
