//! Ends and new starts of the agent and of the machine.

use crate::plant::wait;
use crate::site::{Offer, Site, condition, domain, figures, simple, watts};
use heliotrope::agent::keep::FILE;
use heliotrope::api::PowerDomainSpec;
use heliotrope::clock;
use nix::sys::signal::Signal;
use std::sync::Arc;

pub async fn killed_the_limits_stay_and_then_fall(site: Arc<Site>) {
    const CONTACT: u64 = 9_000;
    let node = site.node(2, PowerDomainSpec { contact_seconds: Some(9), ..domain(50_000) }).await;
    let agent = node.agent();
    let whole = simple(1200, 700);
    node.leased(&Offer::new(2, whole.clone()), &[600; 2]).await;
    let killed = clock::boot();
    agent.kill();
    while clock::boot().since(killed) < CONTACT - CONTACT / 3 - 1_000 {
        assert_eq!(node.plant.limits(), [600; 2]);
        wait(100).await;
    }
    node.plant.until(CONTACT, |limits| limits == [350; 2]).await;
    assert!(clock::boot().since(killed) <= CONTACT + 1_000);
    // back again it raises nothing by itself, and asks for a lease
    let before = node.status().await.heartbeat.unwrap().instance;
    let _agent = node.agent();
    node.heartbeat_but(before).await;
    let status = node.says("it has fallen", 10_000, |status| status.fallen).await;
    assert_eq!((status.enforced_watts, status.accepted_sequence), (watts(700), 2));
    wait(1_000).await;
    assert_eq!(node.plant.limits(), [350; 2]);
    node.leased(&Offer::new(3, whole), &[600; 2]).await;
}

pub async fn a_restart_goes_on(site: Arc<Site>) {
    let node = site.node(2, domain(50_000)).await;
    let agent = node.agent();
    let mut offer = Offer::new(2, simple(1200, 700));
    offer.shares = vec![heliotrope::api::AcceleratorShare {
        uuid: node.plant.uuids[0].clone(),
        limit_watts: 700,
        clock_megahertz: None,
    }];
    node.leased(&offer, &[700, 500]).await;
    let before = node.status().await.heartbeat.unwrap().instance;
    agent.signal(Signal::SIGTERM);
    let mut agent = agent;
    for _ in 0..50 {
        if agent.child.try_wait().unwrap().is_some() {
            break;
        }
        wait(100).await;
    }
    assert!(agent.child.try_wait().unwrap().is_some_and(|status| status.success()), "{}", agent.log());
    assert_eq!(node.plant.limits(), [700, 500]);
    let _again = node.agent();
    node.heartbeat_but(before).await;
    // past the end of the order of the first one
    for _ in 0..270 {
        assert_eq!(node.plant.limits(), [700, 500]);
        wait(100).await;
    }
    let status = node.status().await;
    assert_eq!((status.applied_sequence, status.fallen), (2, false), "{status:#?}");
    // what it accepted before it remembers
    let old = Offer::new(2, simple(1400, 700));
    node.lease(&old).await;
    wait(2_000).await;
    assert_eq!(node.plant.limits(), [700, 500]);
}

pub async fn a_torn_or_forged_state_is_not_believed(site: Arc<Site>) {
    let node = site.node(2, PowerDomainSpec { contact_seconds: Some(9), ..domain(50_000) }).await;
    let whole = simple(1000, 600);
    let forge = |text: String| text.replace("\"sequence\": 2", "\"sequence\": 0");
    let tear = |text: String| text[..text.len() / 2].to_owned();
    let of_another = |text: String| text.replace(&node.name, "another");
    let spoil: [&(dyn Fn(String) -> String + Sync); 3] = [&forge, &tear, &of_another];
    let mut before = 0;
    for (sequence, spoil) in (2..).zip(spoil) {
        let agent = node.agent();
        node.heartbeat_but(before).await;
        node.leased(&Offer::new(sequence, whole.clone()), &[500; 2]).await;
        agent.kill();
        let file = node.agent_state().join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        let spoiled = spoil(text.clone());
        assert_ne!(text, spoiled);
        std::fs::write(&file, spoiled).unwrap();
        before = node.status().await.heartbeat.unwrap().instance;
        let agent = node.agent();
        before = node.heartbeat_but(before).await.instance;
        assert!(agent.log().contains("the state is not believed"), "{}", agent.log());
        let status = node.status().await;
        assert_eq!((status.applied_sequence, &status.held), (0, &None), "{status:#?}");
        assert_eq!(condition(&status, "Held").1, "NoLease");
        assert!(condition(&status, "Held").2.contains("not believed"));
        // what was ordered falls at its end, and nothing is raised meanwhile
        node.plant.until(12_000, |limits| limits == [300; 2]).await;
        agent.kill();
    }
}

pub async fn after_a_reboot_the_safe_limit(site: Arc<Site>) {
    let mut node = site.node(2, domain(50_000)).await;
    let agent = node.agent();
    let whole = simple(1200, 700);
    node.leased(&Offer::new(2, whole.clone()), &[600; 2]).await;
    agent.kill();
    node.actuator = None; // killed
    node.plant.node.reboot().unwrap();
    assert_eq!(node.plant.limits(), [700; 2]);
    // nothing is remembered by the actuator either: the agent alone knows what is safe
    std::fs::remove_file(node.plant.state().join("actuator.state")).unwrap();
    node.actuator = Some(node.plant.start(&[]).await);
    assert_eq!(node.plant.limits(), [700; 2]);
    let before = node.status().await.heartbeat.unwrap().instance;
    let _agent = node.agent();
    node.plant.until(10_000, |limits| limits == [350; 2]).await;
    node.heartbeat_but(before).await;
    let status = node.says("its fall", 10_000, |status| status.enforced_watts == watts(700)).await;
    assert_eq!((status.applied_sequence, status.accepted_sequence, status.fallen), (0, 2, true));
    node.leased(&Offer::new(3, whole), &[600; 2]).await;
}

/// The actuator is killed and started again: nothing is lost by it, and the agent goes on.
pub async fn an_actuator_that_comes_back(site: Arc<Site>) {
    let mut node = site.node(8, domain(50_000)).await;
    let agent = node.agent();
    node.leased(&Offer::new(2, simple(4000, 2000)), &[500; 8]).await;
    let before = node.status().await.heartbeat.unwrap().instance;
    for _ in 0..2 {
        node.actuator = None;
        agent.page_says("/readyz", 5_000, |code, body| code == 503 && body.contains("can't be reached")).await;
        node.actuator = Some(node.plant.start(&[]).await);
        agent.page_says("/readyz", 10_000, |code, _| code == 200).await;
        assert_eq!(node.plant.limits(), [500; 8]);
    }
    node.heartbeat_but(before).await;
    // past the 30 s that a restarted actuator waits for an order
    for _ in 0..320 {
        assert_eq!(node.plant.limits(), [500; 8], "{}", agent.log());
        wait(100).await;
    }
    let status = node.says("acknowledged again", 10_000, |status| status.applied_sequence == 2).await;
    assert!(!status.fallen, "{status:#?}");
}

/// What can't be kept is not taken: no lease, no heartbeat; a fall is applied all the same.
pub async fn without_a_disk_nothing_is_accepted(site: Arc<Site>) {
    let node = site.node(2, domain(50_000)).await;
    let agent = node.agent();
    let lease = |sequence, limits: i64| {
        let rows = [(50_000, watts(limits)), (25_000, watts(400))];
        Offer::new(sequence, figures(watts(limits), &rows, watts(400), watts(600)))
    };
    node.leased(&lease(2, 1000), &[500; 2]).await;
    let away = node.plant.folder().join("away");
    std::fs::rename(node.agent_state(), &away).unwrap();
    std::fs::write(node.agent_state(), "no folder").unwrap();
    agent.page_says("/readyz", 15_000, |code, body| code == 503 && body.contains("kept on disk")).await;
    let number = node.status().await.heartbeat.unwrap().number;
    node.lease(&lease(3, 1200)).await;
    wait(3_000).await;
    assert_eq!(node.plant.limits(), [500; 2]);
    site.testbed.apply(&node.event("no-disk", &node.leaf, 25_000)).unwrap();
    node.plant.until(3_000, |limits| limits == [200; 2]).await;
    wait(6_000).await;
    assert_eq!(node.status().await.heartbeat.unwrap().number, number, "nothing is acknowledged");
    std::fs::remove_file(node.agent_state()).unwrap();
    std::fs::rename(&away, node.agent_state()).unwrap();
    let status = node.says("it goes on", 15_000, |status| status.heartbeat.unwrap().number > number).await;
    assert_eq!(status.enforced_watts, watts(400));
}

/// Stopped for longer than its contact time it wakes up fallen, and raises nothing.
pub async fn stopped_it_wakes_up_fallen(site: Arc<Site>) {
    let node = site.node(2, PowerDomainSpec { contact_seconds: Some(9), ..domain(50_000) }).await;
    let agent = node.agent();
    node.leased(&Offer::new(2, simple(1200, 700)), &[600; 2]).await;
    agent.signal(Signal::SIGSTOP);
    node.plant.until(11_000, |limits| limits == [350; 2]).await;
    wait(1_000).await;
    agent.signal(Signal::SIGCONT);
    node.says("it asks for more", 10_000, |status| status.fallen).await;
    wait(1_000).await;
    assert_eq!(node.plant.limits(), [350; 2]);
    node.leased(&Offer::new(3, simple(1200, 700)), &[600; 2]).await;
}
