//! What it costs to read the truth: the meter of a site must not disturb what it measures.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod common;

use common::{Home, home};
use nvml_sim::{Fault, FaultKind, NodeSpec, Workload};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// What this thread has computed until now.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

/// 50 nodes of 8 GPUs, each 100 ms, in less than 5 % of a core: a sweep may take 5 ms.
#[test]
fn fifty_nodes_are_read_in_a_twentieth_of_a_core() {
    let homes: Vec<Home> = (0..50)
        .map(|i| {
            let mut spec = NodeSpec::h100x8(&format!("gpu-{i}")).with_workload(Workload::training());
            spec.faults = vec![Fault::new(FaultKind::ForeignLimit { watts: None, every_seconds: Some(1.0) }).on(0)];
            home(&spec)
        })
        .collect();
    let sweep = || homes.iter().map(|home| home.true_power().unwrap()).sum::<f64>();
    sweep();
    let start = computed();
    let sweeps = 40;
    for _ in 0..sweeps {
        assert!(sweep() > 50.0 * 2000.0);
    }
    let each = (computed() - start) / sweeps;
    println!("{} µs for 50 nodes: {:.2} % of a core at 10 a second", each.as_micros(), each.as_secs_f64() * 1000.0);
    assert!(each < Duration::from_millis(5), "{each:?}");
}
