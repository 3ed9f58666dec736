//! What an agent takes at rest.

use crate::plant::wait;
use crate::site::{Offer, Site, domain, simple};
use heliotrope::clock;
use std::sync::Arc;

/// Memory in use now, in MiB.
fn resident(id: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Processor time taken so far, in milliseconds: clock ticks are hundredths of a second on Linux.
fn taken(id: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

pub async fn at_rest(site: Arc<Site>) {
    let node = site.node(8, domain(50_000)).await;
    let agent = node.agent();
    node.leased(&Offer::new(2, simple(4000, 3000)), &[500; 8]).await;
    wait(5_000).await;
    let id = agent.child.id();
    let (before, at, number) = (taken(id), clock::boot(), node.status().await.heartbeat.unwrap().number);
    wait(60_000).await;
    let writes = node.status().await.heartbeat.unwrap().number - number;
    let permille = (taken(id) - before) * 1000 / clock::boot().since(at);
    let resident = resident(id);
    eprintln!("at rest: {resident:.1} MiB, {permille} thousandths of a core, {writes} heartbeats in a minute");
    assert!((2..=4).contains(&writes), "{writes}");
    // an unoptimised build takes twice what a release does: `docs/agent.md` has both
    assert!(permille <= 30, "{permille}");
    assert!(resident < 60.0, "{resident}");
    assert_eq!(node.plant.limits(), [500; 8]);
}
