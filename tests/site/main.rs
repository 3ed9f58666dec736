//! The cap holds on the hardware, whatever dies: 50 simulated nodes of eight GPUs on a real API server, with the real controller,
//! the real agent and the real actuator, and a meter that reads what the plant truly draws.
//!
//! The cluster is started once and lives through all scenarios. Each is judged alike: nothing over any cap outside the correction
//! time of a fall, and afterwards all that is allowed is drawn again.
//!
//! | variable | |
//! |---|---|
//! | `HELIOTROPE_SITE=long` | all scenarios, at the lengths that issue 4 names (`make test-long`) |
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
mod fleet;
mod meter;
mod plant;
mod proxy;
mod site;
mod steady;
mod tree;
mod wall;

use site::Site;

#[test]
fn the_cap_holds() {
    let mut site = Site::start();
    steady::install(&mut site);
    site.scenario("steady run", steady::steady);
    site.scenario("-30 % by event, and back", steady::curtailed);
    site.end();
}
