//! Many nodes in one process: the same agent and the same actuator, as library calls.

use crate::plant::{Plant, wait};
use crate::site::{Offer, Site, condition, domain, simple, watts};
use heliotrope::actuator::node::{Node as Actuator, Settings as ActuatorSettings};
use heliotrope::actuator::nvml::Library;
use heliotrope::actuator::server::{Allowed, bind, serve};
use heliotrope::agent::{Settings, run};
use nvml_sim::{GpuSpec, NodeSpec, Workload};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub async fn in_one_process(site: Arc<Site>) {
    const NODES: usize = 12;
    let (stop, stopped) = watch::channel(false);
    let mut agents = JoinSet::new();
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let name = format!("many-{number}");
        let spec = NodeSpec::of(&name, 2000, 4600, vec![GpuSpec::h100(); 2]).with_workload(Workload::training());
        let plant = Plant::of(spec);
        let library = plant.node.install_library().unwrap();
        let devices = Arc::new(Library::load(Some(&library)).unwrap());
        let boot_id = std::fs::read_to_string(plant.node.boot_id_path()).unwrap().trim().to_owned();
        let settings =
            ActuatorSettings { ceiling: None, safe: None, state_folder: plant.state(), boot_id: boot_id.clone() };
        let actuator = Actuator::start(devices, settings).unwrap();
        let listener = bind(&plant.socket(), 0o600).unwrap();
        let allowed = Allowed { uids: vec![nix::unistd::geteuid().as_raw()], gids: Vec::new() };
        let serving = tokio::spawn(serve(listener, actuator.clone(), boot_id, allowed));
        let node = site.in_process(&name, plant, domain(50_000), 2).await;
        let settings = Settings {
            socket: node.plant.socket(),
            state_dir: node.agent_state(),
            boot_id_file: node.plant.node.boot_id_path(),
            ..Settings::new(name)
        };
        let mut stopped = stopped.clone();
        let stop = async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        agents.spawn(run(site.client.clone(), settings, stop));
        nodes.push((node, serving, actuator));
    }
    for (node, ..) in &nodes {
        node.lease(&Offer::new(2, simple(1000, 600))).await;
    }
    for (node, ..) in &nodes {
        node.plant.until(20_000, |limits| limits == [500; 2]).await;
    }
    for (node, ..) in &nodes {
        let status = node.says("applied", 30_000, |status| status.applied_sequence == 2).await;
        assert_eq!(status.enforced_watts, watts(1000));
        assert_eq!(condition(&status, "Held").1, "Leased");
    }
    stop.send(true).unwrap();
    for ended in agents.join_all().await {
        ended.unwrap();
    }
    wait(500).await;
    for (node, serving, actuator) in nodes {
        assert_eq!(node.plant.limits(), [500; 2]);
        serving.abort();
        actuator.end();
    }
}
