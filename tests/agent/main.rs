//! The agent and the actuator as their own processes, on simulated GPUs, at a real API server. The test plays the controller:
//! it writes leases and events by hand. What a GPU is truly held to is read from the plant, never from the agent.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod falls;
mod leases;
mod many;
mod memory;
#[path = "../actuator/node.rs"]
#[allow(dead_code, reason = "shared with the actuator's own tests")]
mod plant;
mod rest;
mod site;
mod trouble;

use site::Site;

/// One control plane, and many nodes at once: each in a domain of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_hold_to_their_leases() {
    let site = Site::start(|_| {}).await;
    site.side_by_side(vec![
        ("a lease is obeyed", Box::pin(leases::a_lease_is_obeyed(site.clone()))),
        ("shares", Box::pin(leases::shares(site.clone()))),
        ("clocks", Box::pin(leases::clocks_are_locked_and_let_go(site.clone()))),
        ("release", Box::pin(leases::released_it_is_as_it_was_found(site.clone()))),
        ("floors", Box::pin(leases::floors_that_do_not_fit(site.clone()))),
        ("a fall", Box::pin(falls::an_event_is_obeyed_with_nobody_else_alive(site.clone()))),
        ("many nodes", Box::pin(many::in_one_process(site.clone()))),
        ("steps", Box::pin(falls::what_was_known_comes_at_its_time(site.clone()))),
    ])
    .await;
    site.side_by_side(vec![
        ("a crash", Box::pin(memory::killed_the_limits_stay_and_then_fall(site.clone()))),
        ("a restart", Box::pin(memory::a_restart_goes_on(site.clone()))),
        ("a torn state", Box::pin(memory::a_torn_or_forged_state_is_not_believed(site.clone()))),
        ("a reboot", Box::pin(memory::after_a_reboot_the_safe_limit(site.clone()))),
        ("an actuator comes back", Box::pin(memory::an_actuator_that_comes_back(site.clone()))),
        ("no disk", Box::pin(memory::without_a_disk_nothing_is_accepted(site.clone()))),
        ("stopped", Box::pin(memory::stopped_it_wakes_up_fallen(site.clone()))),
        ("a GPU hangs", Box::pin(trouble::one_that_hangs_holds_nobody_up(site.clone()))),
        ("a slow API server", Box::pin(falls::with_a_slow_api_server_contact_is_kept(site.clone()))),
        ("two agents", Box::pin(trouble::two_agents_on_one_node(site.clone()))),
        ("faults", Box::pin(trouble::what_does_not_obey_is_named(site.clone()))),
        ("a move", Box::pin(leases::a_node_that_moves_obeys_its_old_domain(site.clone()))),
    ])
    .await;
}

/// The API server stops, and an event can't be read: nobody else may be beside these.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_fall_when_they_hear_nothing() {
    let site = Site::start(site::loosen_events).await;
    falls::an_event_that_can_not_be_read_is_obeyed(site.clone()).await;
    falls::deaf_it_falls_after_its_contact_time_and_not_before(site.clone()).await;
}

/// What an agent takes at rest: memory, processor, writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_rest_it_takes_little() {
    let site = Site::start(|_| {}).await;
    rest::at_rest(site.clone()).await;
}
