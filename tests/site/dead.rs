//! What of ours dies, stops or is slow: controllers, agents, actuators, the API server.

use crate::fleet::signal_to;
use crate::meter::{CORRECTION, now};
use crate::site::{DEEP, Site, Told, pause};
use crate::tree::NODES;
use nix::sys::signal::Signal;

/// Waits until the correction time since a fall is over, and 5 s more: so that there is something to judge.
fn past_correction(since: u64) {
    pause((CORRECTION + 5000).saturating_sub(now() - since));
}

/// Draws at least this of what is allowed since a moment.
fn used(site: &Site, since: u64, least: f64, told: &mut Told) {
    let used = site.meter.record().figures(since, now())[0].use_of_allowed;
    told.note(format!("drawn meanwhile {:.2} %", used * 100.0));
    told.must(
        used >= least,
        format!("drawn {:.2} % of what was allowed, less than {:.0} %", used * 100.0, least * 100.0),
    );
}

/// Nobody leads for a long time: nothing changes. Then the cap falls, and the agents do it alone.
pub fn no_controller(site: &mut Site, told: &mut Told) {
    site.controllers.clear();
    let since = now();
    pause(site.seconds(30, 300) * 1000);
    let lowered = site.meter.record().lowered(since, now());
    told.must(lowered.is_empty(), format!("lowered meanwhile: {lowered:?}"));
    used(site, since, 0.99, told);
    let at = site.curtail("alone", 0, DEEP);
    told.within("last limit lowered", site.fell(at, 30), 30.0);
    told.within("last read-back", site.read_back(at, 30), 30.0);
    told.within("told", site.told(at, 30), 30.0);
    past_correction(at);
    // the end of an event gives nobody watts: that is the controller's to do
    let at = site.release("alone", 0);
    site.controllers.push(site.cluster.controller());
    told.within("with a controller again back at 95 %", site.back(at, 0.95, 60), 60.0);
}

/// Killed while a fall is under way, and again while all is raised.
pub fn killed_mid_change(site: &mut Site, told: &mut Told) {
    let at = site.curtail("mid", 0, DEEP);
    pause(250);
    site.controllers.clear();
    told.within("last limit lowered", site.fell(at, 30), 30.0);
    pause(2000);
    site.controllers.push(site.cluster.controller());
    past_correction(at);
    site.release("mid", 0);
    pause(1200);
    site.controllers.clear();
    let at = now();
    site.controllers.push(site.cluster.controller());
    told.within("back at 95 %", site.back(at, 0.95, 60), 60.0);
}

pub fn restarted_controller(site: &mut Site, told: &mut Told) {
    let at = now();
    site.controllers.clear();
    site.controllers.push(site.cluster.controller());
    pause(site.seconds(25, 60) * 1000);
    used(site, at, 0.98, told);
}

/// Four agents are killed and come back after 5 s, as pods do; one stays dead while the cap falls.
pub fn killed_agents(site: &mut Site, told: &mut Told) {
    let at = now();
    let some = [0, 17, 34, 35];
    some.iter().for_each(|node| site.fleet.kill_agent(*node));
    pause(5000);
    some.iter().for_each(|node| site.fleet.start_agent(*node));
    pause(10_000);
    used(site, at, 0.98, told);
    site.fleet.kill_agent(1);
    let at = site.curtail("agent-dead", 0, DEEP);
    told.within("its actuator too had fallen", site.fell(at, 30), 30.0);
    past_correction(at);
    site.fleet.start_agent(1);
    let at = site.release("agent-dead", 0);
    told.within("back at 95 %", site.back(at, 0.95, 60), 60.0);
}

/// An agent dies under a curtailment, then the controller: the one that takes over has never heard it, and charges its ceiling.
pub fn silent_for_a_new_leader(site: &mut Site, told: &mut Told) {
    site.fleet.kill_agent(1);
    let at = site.curtail("silent", 0, DEEP);
    past_correction(at);
    site.controllers.clear();
    site.controllers.push(site.cluster.controller());
    pause(5000);
    let at = site.release("silent", 0);
    // two faults at once: another takes over after 15 s, and from then on the silent one may only be late for two heartbeats; then
    // the others share what its ceiling leaves
    told.within("the others back at 95 %", site.back(at, 0.95, 75), 75.0);
}

pub fn killed_actuators(site: &mut Site, told: &mut Told) {
    let at = now();
    let some = [0, 17, 34, 35];
    some.iter().for_each(|node| site.fleet.kill_actuator(*node));
    pause(3000);
    some.iter().for_each(|node| site.fleet.start_actuator(*node));
    let up = some.iter().all(|node| site.fleet.answers(*node, 20));
    told.must(up, "an actuator did not come back");
    pause(12_000);
    used(site, at, 0.98, told);
}

/// The API server answers nothing. Agents hear nothing, and fall once their contact is over; nobody falls before.
pub fn stopped_api_server(site: &mut Site, told: &mut Told) {
    let id = site.cluster.testbed.id_of("kube-apiserver").unwrap();
    signal_to(id, Signal::SIGSTOP);
    let since = now();
    pause(10_000);
    let early = site.meter.record().lowered(since, now()).len();
    told.must(early == 0, format!("{early} nodes fell within 10 s"));
    pause(site.seconds(20, 170) * 1000);
    let lowered = site.meter.record().lowered(since, now()).len();
    told.note(format!("{lowered} nodes fell"));
    told.must(lowered == NODES, "a node that hears nothing did not fall");
    signal_to(id, Signal::SIGCONT);
    told.within("back at 95 %", site.back(now(), 0.95, 60), 60.0);
}

/// Each answer comes 5 s late.
pub fn slow_api_server(site: &mut Site, told: &mut Told) {
    site.cluster.proxy.slow(5000);
    let since = now();
    pause(site.seconds(20, 90) * 1000);
    let lowered = site.meter.record().lowered(since, now()).len();
    told.note(format!("{lowered} nodes fell meanwhile"));
    let at = site.curtail("slow", 0, DEEP);
    told.within("last limit lowered", site.fell(at, 30), 30.0);
    past_correction(at);
    site.cluster.proxy.slow(0);
    let at = site.release("slow", 0);
    told.within("back at 95 %", site.back(at, 0.95, 60), 60.0);
}

/// The one that leads is stopped; another takes over, curtails and releases; then the first wakes up with what it knew.
pub fn two_controllers(site: &mut Site, told: &mut Told) {
    let second = site.cluster.controller();
    let leader = site.cluster.leader();
    site.controllers[0].signal(Signal::SIGSTOP);
    let since = now();
    site.controllers.push(second);
    let at = site.curtail("two", 0, DEEP);
    told.within("last limit lowered", site.fell(at, 30), 30.0);
    past_correction(at);
    let at = site.release("two", 0);
    told.within("with the second back at 95 %", site.back(at, 0.95, 60), 60.0);
    let other = site.cluster.leader();
    told.must(leader != other, format!("{leader:?} led and leads: the second did not take over"));
    pause(60_000_u64.saturating_sub(now() - since));
    site.controllers[0].signal(Signal::SIGCONT);
    pause(15_000);
    site.controllers.truncate(1);
    // and the first alone again
    pause(20_000);
}
