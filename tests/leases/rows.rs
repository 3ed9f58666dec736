//! Rows under a site: what they say of themselves is reckoned together with what the site does.

use crate::world::{CEILING, CORRECTION, Chance, FLOOR, World};
use heliotrope::units::Watts;

/// A world whose rows are never ordered below 13 kW, and whose site is, to 20.
fn high_rows() -> World {
    let mut world = World::new(0);
    for row in &mut world.store.snapshot.domains[1..] {
        row.spec.lowest_cap_watts = Some(13_000);
    }
    world
}

/// Nodes that hear nothing fall to their safe limits, and these fit under the lowest cap of the site, whatever the lowest caps of
/// its rows are.
#[test]
fn what_deaf_nodes_of_all_rows_draw_fits_under_the_lowest_cap_of_the_site() {
    let mut chance = Chance::new(5);
    let mut world = high_rows();
    world.settle(150, &mut chance);
    world.run(60, &mut chance);
    for host in &mut world.hosts {
        host.next_read = i64::MAX;
    }
    world.controller = false;
    world.order("site", 20_000, 600);
    for host in &mut world.hosts {
        host.next_read = i64::MAX; // nor is it woken
    }
    world.run(CORRECTION + 30, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] <= Watts(20_000), "{drawn:?}\n{}", world.tell());
    assert!(drawn["site"] >= Watts(19_000), "and no lower than they must: {drawn:?}\n{}", world.tell());
}

/// A row of which most is idle is leased less than the lowest cap that is ever ordered of it: what works there works on.
#[test]
fn a_row_that_is_mostly_idle_is_not_at_its_floors() {
    let mut chance = Chance::new(6);
    let mut world = high_rows();
    for at in 1..4 {
        world.work(at);
    }
    world.settle(150, &mut chance);
    world.run(60, &mut chance);
    let limits = |world: &World| -> Vec<i64> { world.hosts[..4].iter().map(|host| host.limit.0).collect() };
    assert_eq!(limits(&world), [CEILING, FLOOR, FLOOR, FLOOR], "{}", world.tell());
    // and while another one begins and ends beside it
    world.work(1);
    world.run(60, &mut chance);
    assert_eq!(limits(&world), [CEILING, CEILING, FLOOR, FLOOR], "{}", world.tell());
    world.work(1);
    world.run(60, &mut chance);
    assert_eq!(limits(&world), [CEILING, FLOOR, FLOOR, FLOOR], "{}", world.tell());
    // an order of the site takes from those that have most, and leaves what works here more than its floor
    world.order("site", 21_700, 200);
    world.run(100, &mut chance);
    let drawn = world.drawn();
    assert!(drawn["site"] >= Watts(21_700 * 98 / 100), "{drawn:?}\n{}", world.tell());
    assert!(world.hosts[0].limit > Watts(FLOOR + 500), "{}", world.tell());
}
