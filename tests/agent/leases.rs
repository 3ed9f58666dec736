//! Leases, and what the GPUs are held to under them.

use crate::plant::wait;
use crate::site::{HOST, Offer, Site, condition, domain, figures, reason_is, simple, watts};
use heliotrope::api::{AcceleratorShare, NodePower, NodePowerStatus, PowerAllotment, PowerAllotmentSpec, PowerDomain};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;

pub async fn a_lease_is_obeyed(site: Arc<Site>) {
    let node = site.node(4, domain(50_000)).await;
    let agent = node.agent();
    // before a lease: hands off, and what is found is told
    let status = node.says("its first report", 10_000, |status| status.heartbeat.is_some()).await;
    assert_eq!((status.enforced_watts, status.applied_sequence), (watts(2800), 0));
    assert_eq!(condition(&status, "Held").1, "NoLease");
    assert_eq!(node.plant.limits(), [700; 4]);
    assert!(status.draw_watts > HOST && status.draw_watts <= watts(2800), "{}", status.draw_watts);

    let rows = [(50_000, watts(1600)), (25_000, watts(1000))];
    let status = node.leased(&Offer::new(5, figures(watts(1600), &rows, watts(800), watts(1200))), &[400; 4]).await;
    assert_eq!((status.enforced_watts, status.fallen, status.accepted_sequence), (watts(1600), false, 5));
    let report = status.report().unwrap();
    assert_eq!(report.held.unwrap().rows.len(), 2);
    assert_eq!(condition(&status, "Held").1, "Leased");
    for kind in ["Held", "Obeyed", "AsExpected", "Feasible"] {
        assert_eq!(condition(&status, kind).0, "True", "{kind}: {status:#?}");
    }
    agent.page_says("/readyz", 5_000, |code, _| code == 200).await;
    let (_, metrics) = agent.page("/metrics").await;
    let of_gpu = format!("heliotrope_agent_enforced_watts{{uuid=\"{}\"}} 400", node.plant.uuids[0]);
    assert!(metrics.contains(&of_gpu) && metrics.contains("heliotrope_agent_lease_sequence 5"), "{metrics}");

    // more, then less; and one that is older is nothing
    node.leased(&Offer::new(6, simple(2000, 1200)), &[500; 4]).await;
    node.leased(&Offer::new(7, simple(1400, 1200)), &[350; 4]).await;
    node.lease(&Offer::new(6, simple(2800, 1200))).await;
    wait(3000).await;
    assert_eq!(node.plant.limits(), [350; 4]);
    assert_eq!(node.status().await.accepted_sequence, 7);
    // rows of an older lease do not stay behind in its report
    assert_eq!(node.status().await.held.unwrap().rows.len(), 1);

    // a lease that answers another start of the agent
    let answers = heliotrope::api::Heartbeat { instance: 12_345, number: 1 };
    let offer = Offer::new(8, simple(2800, 1200));
    node.lease_to(&node.leaf, &offer, answers).await;
    wait(2000).await;
    assert_eq!(node.plant.limits(), [350; 4]);
}

pub async fn shares(site: Arc<Site>) {
    let node = site.node(4, domain(50_000)).await;
    let _agent = node.agent();
    let share =
        |uuid: &str, limit_watts: i64| AcceleratorShare { uuid: uuid.to_owned(), limit_watts, clock_megahertz: None };
    let whole = figures(watts(1600), &[(50_000, watts(1600)), (25_000, watts(1200))], watts(800), watts(1200));
    let mut offer = Offer::new(3, whole);
    let uuids = &node.plant.uuids;
    offer.shares = vec![share(&uuids[0], 600), share(&uuids[1], 400), share(&uuids[2], 300), share(&uuids[3], 300)];
    node.leased(&offer, &[600, 400, 300, 300]).await;

    // for one that is not here: nobody gets its watts, and it is told; one out of range is held within it
    offer.sequence = 4;
    offer.shares = vec![share("GPU-of-another-node", 500), share(&uuids[1], 99_000)];
    let status = node.leased(&offer, &[200, 700, 200, 200]).await;
    let (holds, reason, text) = condition(&status, "AsExpected");
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "UnknownAccelerator"));
    assert!(text.contains("GPU-of-another-node") && text.contains("500 W"), "{text}");

    offer.sequence = 5;
    offer.shares = vec![share(&uuids[0], 700), share(&uuids[1], 500), share(&uuids[2], 200), share(&uuids[3], 200)];
    node.leased(&offer, &[700, 500, 200, 200]).await;
    // under a lower cap all above the minimum shrink in proportion: half of what is above it is left
    site.testbed.apply(&node.event("shares", &node.leaf, 25_000)).unwrap();
    node.plant.until(5_000, |limits| limits == [450, 350, 200, 200]).await;
}

/// A clock comes with a lease, beside the limit and never instead of it; a restart keeps it; the last lease lets it go.
pub async fn clocks_are_locked_and_let_go(site: Arc<Site>) {
    let node = site.node(2, domain(50_000)).await;
    let agent = node.agent();
    let locked = || {
        node.plant.node.truth().unwrap().gpus.iter().map(|gpu| gpu.locked_mhz.map(|lock| lock.1)).collect::<Vec<_>>()
    };
    let share = |at: usize, limit_watts: i64, clock_megahertz: Option<i32>| AcceleratorShare {
        uuid: node.plant.uuids[at].clone(),
        limit_watts,
        clock_megahertz,
    };
    let mut offer = Offer::new(3, simple(800, 600));
    offer.shares = vec![share(0, 500, Some(1200)), share(1, 300, None)];
    let status = node.leased(&offer, &[500, 300]).await;
    assert_eq!(locked(), [Some(1200), None]);
    assert_eq!(status.enforced_watts, watts(800), "the limit is what is reserved, whatever the clock is");
    let told = |status: &NodePowerStatus, at: usize| {
        let gpu = &status.accelerators[at];
        (gpu.clock_lock_megahertz, gpu.clock_megahertz.is_some_and(|clock| clock <= 1215))
    };
    let status = node.says("the clock is told", 10_000, |status| told(status, 0).0.is_some()).await;
    assert_eq!([told(&status, 0), told(&status, 1)], [(Some(1200), true), (None, false)]);
    assert_eq!(condition(&status, "Obeyed").0, "True");

    let before = status.heartbeat.unwrap().instance;
    drop(agent);
    let _agent = node.agent();
    node.heartbeat_but(before).await;
    offer.sequence = 4;
    offer.shares = vec![share(0, 500, Some(1500)), share(1, 300, Some(900))];
    node.leased(&offer, &[500, 300]).await;
    assert_eq!(locked(), [Some(1500), Some(900)], "a higher clock comes with a newer lease");

    let all = watts(1400);
    node.leased(&Offer::new(5, figures(all, &[], all, all)), &[700; 2]).await;
    assert_eq!(locked(), [None; 2], "let go");
}

pub async fn released_it_is_as_it_was_found(site: Arc<Site>) {
    let node = site.node(3, domain(50_000)).await;
    node.plant.node.foreign_set_limit(1, 650_000).unwrap();
    let _agent = node.agent();
    node.says("what was found", 10_000, |status| status.enforced_watts == watts(2050)).await;
    node.leased(&Offer::new(2, simple(900, 600)), &[300; 3]).await;
    let all = watts(2100);
    let status = node.leased(&Offer::new(3, figures(all, &[], all, all)), &[700, 650, 700]).await;
    assert_eq!(status.enforced_watts, watts(2050));
}

pub async fn floors_that_do_not_fit(site: Arc<Site>) {
    let node = site.node(2, domain(50_000)).await;
    let _agent = node.agent();
    node.lease(&Offer::new(2, simple(300, 300))).await;
    node.plant.until(10_000, |limits| limits == [200, 200]).await;
    let status = node.says("it says so", 10_000, |status| reason_is(status, "Feasible", "FloorsDoNotFit")).await;
    let (holds, _, text) = condition(&status, "Feasible");
    assert!(holds == "False" && text.contains("300 W") && text.contains("400 W"), "{text}");
    // more is in force than the lease allows: it is not acknowledged, and the worst is told
    let status = node.says("told", 10_000, |status| status.accepted_sequence == 2).await;
    assert_eq!((status.applied_sequence, status.enforced_watts), (0, watts(400)));
    assert_eq!(condition(&status, "Obeyed").1, "AboveLimit");
}

/// Its lease is of the old domain until the new one leases to it; then the new one's cap counts.
pub async fn a_node_that_moves_obeys_its_old_domain(site: Arc<Site>) {
    let node = site.node(2, domain(10_000)).await;
    let _agent = node.agent();
    let rows = [(10_000, watts(1200)), (5_000, watts(600))];
    node.leased(&Offer::new(2, figures(watts(1200), &rows, watts(400), watts(800))), &[600; 2]).await;
    let new = format!("{}-new", node.leaf);
    node.create(&PowerDomain::new(&new, domain(4_000))).await;
    node.create(&PowerAllotment::new(&new, PowerAllotmentSpec::default())).await;
    let nodes: Api<NodePower> = Api::all(site.client.clone());
    let patch = json!({"spec": {"domain": new}});
    nodes.patch(&node.name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    wait(3000).await;
    assert_eq!(node.plant.limits(), [600; 2], "the cap of the new domain is no cap of the old one's lease");
    let answers = node.heartbeat_but(0).await;
    let rows = [(4_000, watts(1000)), (2_000, watts(400))];
    let offer = Offer::new(9, figures(watts(1000), &rows, watts(400), watts(800)));
    node.lease_to(&new, &offer, answers).await;
    node.plant.until(10_000, |limits| limits == [500; 2]).await;
    // now the old one's cap is nothing to it
    site.testbed.apply(&node.event("moved", &node.leaf, 5_000)).unwrap();
    wait(2500).await;
    assert_eq!(node.plant.limits(), [500; 2]);
    site.testbed.apply(&node.event("moved-new", &new, 3_000)).unwrap();
    node.plant.until(5_000, |limits| limits == [350; 2]).await;
}
