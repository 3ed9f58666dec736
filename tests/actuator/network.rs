//! The privileged part of a node has no network.

use crate::node::{Plant, may_leave_network};
use std::net::{TcpListener, TcpStream};

#[test]
fn who_has_left_can_reach_nothing() {
    if !may_leave_network() {
        println!("skipped: this user may not leave the network");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert!(TcpStream::connect(address).is_ok());
    // a namespace is a thread's own
    let left = std::thread::spawn(move || {
        heliotrope::actuator::network::leave().unwrap();
        TcpStream::connect(address)
    });
    let error = left.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable, "{error}");
    assert!(TcpStream::connect(address).is_ok());
}

#[tokio::test]
async fn no_thread_of_the_actuator_is_in_a_network() {
    if !may_leave_network() {
        println!("skipped: this user may not leave the network");
        return;
    }
    let plant = Plant::new(2);
    let actuator = plant.start(&[]).await;
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    let mut threads = 0;
    for thread in std::fs::read_dir(format!("/proc/{}/task", actuator.pid())).unwrap() {
        let thread = thread.unwrap().path();
        assert_ne!(std::fs::read_link(thread.join("ns/net")).unwrap(), ours);
        let devices = std::fs::read_to_string(thread.join("net/dev")).unwrap();
        let names: Vec<_> = devices.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
        assert!(names.iter().all(|name| ["lo", "tunl0", "sit0", "gre0"].contains(name)), "{names:?}");
        let routes = std::fs::read_to_string(thread.join("net/route")).unwrap();
        assert!(routes.lines().count() <= 1, "a heading, if anything, and no route: {routes}");
        threads += 1;
    }
    // its own, the list, the keeper, and one a GPU
    assert_eq!(threads, 5);
    // asked to, it stays
    drop(actuator);
    let actuator = plant.start(&["--keep-network"]).await;
    assert_eq!(std::fs::read_link(format!("/proc/{}/ns/net", actuator.pid())).unwrap(), ours);
}
