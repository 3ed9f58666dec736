//! Two agents, and GPUs that do not obey.

use crate::plant::wait;
use crate::site::{Offer, Site, condition, domain, figures, reason_is, simple, watts};
use nvml_sim::{Calls, Fault, FaultKind};
use std::sync::Arc;

pub async fn two_agents_on_one_node(site: Arc<Site>) {
    let node = site.node(2, domain(50_000)).await;
    let first = node.agent();
    let whole = simple(1000, 600);
    node.leased(&Offer::new(2, whole.clone()), &[500; 2]).await;
    let instance = node.status().await.heartbeat.unwrap().instance;
    let second = node.agent();
    second.page_says("/readyz", 10_000, |code, body| code == 503 && body.contains("two agents on one node")).await;
    wait(6_000).await;
    assert_eq!(node.status().await.heartbeat.unwrap().instance, instance, "only the first reports");
    assert_eq!(node.plant.limits(), [500; 2]);
    first.page_says("/readyz", 2_000, |code, _| code == 200).await;
    // when the first is gone the second goes on
    first.kill();
    node.heartbeat_but(instance).await;
    second.page_says("/readyz", 5_000, |code, _| code == 200).await;
    assert_eq!(node.plant.limits(), [500; 2]);
    node.leased(&Offer::new(3, simple(1200, 600)), &[600; 2]).await;
}

pub async fn what_does_not_obey_is_named(site: Arc<Site>) {
    let node = site.node(3, domain(50_000)).await;
    let _agent = node.agent();
    let whole = simple(1200, 900);
    node.leased(&Offer::new(2, whole), &[400; 3]).await;

    // another raises one: it is set back, and told
    node.plant.node.foreign_set_limit(1, 650_000).unwrap();
    node.plant.until(1_500, |limits| limits == [400; 3]).await;
    let status = node.says("raised by another", 30_000, |status| reason_is(status, "Obeyed", "RaisedByOther")).await;
    assert!(condition(&status, "Obeyed").2.contains("650 W"), "{status:#?}");

    // one that is lost counts with its highest limit, and is not acknowledged
    node.plant.node.set_faults(vec![Fault::new(FaultKind::Lost).on(2)]).unwrap();
    let status = node.says("lost", 15_000, |status| reason_is(status, "Obeyed", "Lost")).await;
    assert_eq!((status.enforced_watts, status.applied_sequence), (watts(400 + 400 + 700), 0));
    assert!(condition(&status, "Obeyed").2.contains("GPU 2"), "{status:#?}");
    assert_eq!(status.accelerators[2].enforced_watts, None);
    assert!(status.draw_watts >= watts(700), "what is not known draws at its most: {}", status.draw_watts);

    // accepted, and not applied
    node.plant.node.set_faults(vec![Fault::new(FaultKind::NotApplied).on(0)]).unwrap();
    node.lease(&Offer::new(3, simple(900, 900))).await;
    let status = node.says("not applied", 20_000, |status| reason_is(status, "Obeyed", "NotApplied")).await;
    assert_eq!(status.enforced_watts, watts(400 + 300 + 300));
    node.plant.node.set_faults(Vec::new()).unwrap();
    node.says("it holds again", 20_000, |status| status.applied_sequence == 3).await;
    assert_eq!(node.plant.limits(), [300; 3]);
}

/// One GPU hangs as the cap falls: the others do not wait for it.
pub async fn one_that_hangs_holds_nobody_up(site: Arc<Site>) {
    let node = site.node(3, domain(50_000)).await;
    let _agent = node.agent();
    let rows = [(50_000, watts(1500)), (25_000, watts(900))];
    node.leased(&Offer::new(2, figures(watts(1500), &rows, watts(600), watts(1200))), &[500; 3]).await;
    node.plant.node.set_faults(vec![Fault::new(FaultKind::Hang { calls: Calls::All, seconds: 20.0 }).on(0)]).unwrap();
    wait(1_000).await;
    site.testbed.apply(&node.event("hang", &node.leaf, 25_000)).unwrap();
    node.plant.until(2_500, |limits| limits[1..] == [300; 2]).await;
    let status = node.says("told", 12_000, |status| reason_is(status, "Obeyed", "Hangs")).await;
    assert_eq!((status.enforced_watts, status.applied_sequence), (watts(700 + 300 + 300), 0), "{status:#?}");
    node.plant.node.set_faults(Vec::new()).unwrap();
    node.plant.until(25_000, |limits| limits == [300; 3]).await;
    node.says("it holds", 25_000, |status| status.enforced_watts == watts(900)).await;
}
