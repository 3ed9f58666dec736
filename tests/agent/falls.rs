//! Caps that fall, and nodes that hear nothing.

use crate::plant::wait;
use crate::site::{Offer, Site, condition, domain, figures, reason_is, simple, slow_way, watts};
use heliotrope::api::{AcceptedLease, ChildLease, Heartbeat, LeaseStep, PowerAllotment, PowerDomain, PowerDomainSpec};
use heliotrope::clock;
use kube::Api;
use kube::api::{Patch, PatchParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// The event is on the root: the leaf's share of it is what it accepted.
pub async fn an_event_is_obeyed_with_nobody_else_alive(site: Arc<Site>) {
    let mut leaf = domain(50_000);
    let root = "site-of-the-fall".to_owned();
    leaf.parent = Some(root.clone());
    let node = site.node(4, leaf).await;
    node.create(&PowerDomain::new(&root, domain(100_000))).await;
    let agent = node.agent();
    // nothing was accepted yet: the caps can't be told, and it says so
    agent.page_says("/readyz", 10_000, |code, body| code == 503 && body.contains("has accepted nothing")).await;
    let accepted = AcceptedLease {
        from: root.clone(),
        lease: ChildLease {
            sequence: 1,
            figures: figures(40_000, &[(100_000, 40_000), (50_000, 20_000)], 10_000, 10_000),
            life_millis: 600_000,
            answers: Heartbeat { instance: 1, number: 1 },
            ..ChildLease::default()
        },
        acknowledged_sequence: 1,
    };
    let allotments: Api<PowerAllotment> = Api::all(site.client.clone());
    let patch = json!({"spec": {"accepted": accepted}});
    allotments.patch(&node.leaf, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    agent.page_says("/readyz", 10_000, |code, _| code == 200).await;
    let rows = [(40_000, watts(2000)), (20_000, watts(1200))];
    node.leased(&Offer::new(5, figures(watts(2000), &rows, watts(800), watts(1600))), &[500; 4]).await;

    // the root falls to half: the leaf may draw 20 kW, and the node what its row says
    site.testbed.apply(&node.event("half", &root, 50_000)).unwrap();
    let taken = node.plant.until(2_000, |limits| limits == [300; 4]).await;
    eprintln!("from the written event to the last limit: {taken} ms");
    let status = node.says("it tells at once", 6_000, |status| status.enforced_watts == watts(1200)).await;
    assert!(!status.fallen, "it has what its lease allows at this cap");
    assert_eq!(condition(&status, "Held").1, "CapFell");
    let (_, metrics) = agent.page("/metrics").await;
    assert!(metrics.contains("heliotrope_agent_reaction_seconds_count 1"), "{metrics}");

    // between two rows it is linear, and the lowest of several wins
    site.testbed.apply(&node.event("deeper", &node.leaf, 18_000)).unwrap();
    node.plant.until(2_000, |limits| limits == [200; 4]).await;

    // that it is over raises nothing
    for event in ["half", "deeper"] {
        site.testbed.kubectl(&["delete", "curtailmentevent", event]).unwrap();
    }
    node.says("it asks for more", 10_000, |status| status.fallen).await;
    wait(1_000).await;
    assert_eq!(node.plant.limits(), [200; 4]);
    node.leased(&Offer::new(6, figures(watts(2000), &rows, watts(800), watts(1600))), &[500; 4]).await;
}

pub async fn what_was_known_comes_at_its_time(site: Arc<Site>) {
    let node = site.node(2, domain(50_000)).await;
    let _agent = node.agent();
    let mut offer = Offer::new(2, simple(1000, 500));
    offer.steps = vec![LeaseStep { after_millis: 8_000, watts: watts(600) }];
    offer.life_millis = 16_000;
    node.lease(&offer).await;
    node.plant.until(5_000, |limits| limits == [500; 2]).await;
    node.plant.until(12_000, |limits| limits == [300; 2]).await;
    let status = node.says("the step is told", 7_000, |status| status.steps_passed == 1).await;
    assert_eq!(condition(&status, "Held").1, "StepCame");
    // and then its life is over
    node.plant.until(12_000, |limits| limits == [250; 2]).await;
    let status = node.says("its end is told", 7_000, |status| reason_is(status, "Held", "LeaseOver")).await;
    assert_eq!(condition(&status, "Held").0, "False");
}

/// One that the API server of another version let through.
pub async fn an_event_that_can_not_be_read_is_obeyed(site: Arc<Site>) {
    let node = site.node(2, domain(50_000)).await;
    let _agent = node.agent();
    let rows = [(50_000, watts(1200)), (25_000, watts(600))];
    node.leased(&Offer::new(2, figures(watts(1200), &rows, watts(400), watts(800))), &[600; 2]).await;
    let mut event = node.event("strange", &node.leaf, 25_000);
    event["spec"]["end"] = json!("when it is dark");
    site.testbed.apply(&event).unwrap();
    node.plant.until(3_000, |limits| limits == [300; 2]).await;
    let status = node.says("it is told", 7_000, |status| condition(status, "Held").2.contains("strange")).await;
    assert!(condition(&status, "Held").2.contains("can't be understood"));
    // one that says nothing at all does not keep the caps from being heard
    let nothing = json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "CurtailmentEvent",
        "metadata": {"name": "nothing"}, "spec": "no"});
    site.testbed.apply(&nothing).unwrap();
    wait(2_000).await;
    assert_eq!(node.plant.limits(), [300; 2]);
    site.testbed.kubectl(&["delete", "curtailmentevent", "--all"]).unwrap();
    node.leased(&Offer::new(3, figures(watts(1200), &rows, watts(400), watts(800))), &[600; 2]).await;
}

pub async fn deaf_it_falls_after_its_contact_time_and_not_before(site: Arc<Site>) {
    const CONTACT: u64 = 12_000;
    let node = site.node(2, PowerDomainSpec { contact_seconds: Some(12), ..domain(50_000) }).await;
    let agent = node.agent();
    let whole = figures(watts(1200), &[(50_000, watts(1200))], watts(400), watts(700));
    node.leased(&Offer::new(2, whole.clone()), &[600; 2]).await;
    let server = Pid::from_raw(site.testbed.ids()[1].cast_signed());
    let name = std::fs::read_to_string(format!("/proc/{server}/comm")).unwrap();
    assert!(name.starts_with("kube-apiserver"), "{name}");
    kill(server, Signal::SIGSTOP).unwrap();
    let stopped = clock::boot();
    // the last read was sent at most a third of the contact time before
    while clock::boot().since(stopped) < CONTACT - CONTACT / 3 - 1_000 {
        assert_eq!(node.plant.limits(), [600; 2], "{} ms after", clock::boot().since(stopped));
        wait(100).await;
    }
    node.plant.until(CONTACT / 3 + 3_000, |limits| limits == [350; 2]).await;
    let taken = clock::boot().since(stopped);
    eprintln!("deaf {taken} ms after the API server was stopped, contact {CONTACT} ms");
    assert!(taken <= CONTACT + 1_000, "{taken}");
    agent.page_says("/readyz", 2_000, |code, body| code == 503 && body.contains("not heard")).await;
    wait(10_000).await;
    assert_eq!(node.plant.limits(), [350; 2]);
    kill(server, Signal::SIGCONT).unwrap();
    // heard again it asks at once, and goes up by a lease alone
    let status = node.says("it is back", 20_000, |status| status.fallen).await;
    assert_eq!(node.plant.limits(), [350; 2], "{status:#?}");
    node.leased(&Offer::new(3, whole), &[600; 2]).await;
}

/// Each answer takes 5 s: contact is kept, leases are taken, and a fall is heard in the 30 s class.
pub async fn with_a_slow_api_server_contact_is_kept(site: Arc<Site>) {
    let node = site.node(2, domain(50_000)).await;
    let way = slow_way(&site, Duration::from_secs(5)).await;
    let agent = node.agent_at(&way);
    let answers = node.says("a report", 60_000, |status| status.heartbeat.is_some()).await.heartbeat.unwrap();
    let rows = [(50_000, watts(1200)), (25_000, watts(600))];
    let offer = Offer::new(2, figures(watts(1200), &rows, watts(400), watts(800)));
    node.lease_to(&node.leaf, &offer, answers).await;
    // a read that was sent before the last heartbeat takes no lease, and each takes 10 s of the 16 to 24 between two of them
    node.plant.until(90_000, |limits| limits == [600; 2]).await;
    for _ in 0..500 {
        assert_eq!(node.plant.limits(), [600; 2], "{}", agent.log());
        wait(100).await;
    }
    site.testbed.apply(&node.event("slow", &node.leaf, 25_000)).unwrap();
    let taken = node.plant.until(25_000, |limits| limits == [300; 2]).await;
    eprintln!("with 5 s a call, from the written event to the last limit: {taken} ms");
}
