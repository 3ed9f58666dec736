//! The cap holds on the hardware, whatever dies: 50 simulated nodes of eight GPUs on a real API server, with the real controller,
//! the real agent and the real actuator, and a meter that reads what the plant truly draws.
//!
//! The cluster is started once and lives through all scenarios. Each is judged alike: nothing over any cap outside the correction
//! time of a fall, and afterwards all that is allowed is drawn again.
//!
//! | variable | |
//! |---|---|
//! | `HELIOTROPE_SITE=long` | all scenarios, at the lengths that issue 4 names (`make test-long`) |
//! | `HELIOTROPE_SITE=all` | all scenarios, shorter |
//! | `HELIOTROPE_SITE_ONLY=a,b` | only scenarios whose names contain one of these |
//! | `HELIOTROPE_SITE_TABLE=FILE` | writes what was measured there |

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "watts of a site"
)]

mod cluster;
mod dead;
mod fleet;
mod hardware;
mod meter;
mod plant;
mod proxy;
mod site;
mod steady;
mod store;
mod tree;
mod wall;

use site::Site;

#[test]
fn the_cap_holds() {
    let mut site = Site::start();
    steady::install(&mut site);
    site.scenario("steady run", steady::steady);
    site.scenario("-30 % by event, and back", steady::curtailed);
    site.scenario("controller dead, then -30 %", dead::no_controller);
    site.long_scenario("controller killed mid-change", dead::killed_mid_change);
    site.long_scenario("controller killed and restarted", dead::restarted_controller);
    site.scenario("agents killed", dead::killed_agents);
    site.long_scenario("an agent silent for a new leader", dead::silent_for_a_new_leader);
    site.scenario("actuators killed", dead::killed_actuators);
    site.scenario("API server stopped", dead::stopped_api_server);
    site.long_scenario("API server slow, 5 s a call", dead::slow_api_server);
    site.long_scenario("two controllers, one stopped for 60 s", dead::two_controllers);
    site.scenario("one node reboots, no boot guard", hardware::one_reboots);
    site.scenario("all reboot at once", hardware::all_reboot);
    site.scenario("driver reload", hardware::driver_reload);
    site.scenario("foreign process raises limits", hardware::foreign_limits);
    site.long_scenario("frozen sensors", hardware::frozen_sensors);
    site.long_scenario("wall clocks stepped by 10 min", store::stepped_clocks);
    site.long_scenario("a Node deleted, one relabelled", store::nodes_go_and_move);
    site.long_scenario("etcd restored from an older snapshot", store::restored_store);
    site.judge("break glass: Observe", store::break_glass);
    site.end();
}
