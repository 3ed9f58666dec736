//! Ends and new starts of the actuator, of the machine and of the driver: nothing is ever raised by them.

use crate::node::{Plant, now, read_back, wait};
use heliotrope::actuator::client::ClientError;
use heliotrope::actuator::node::WAIT_MILLIS;
use heliotrope::actuator::protocol::{Phase, RequestRefusal};
use heliotrope::actuator::state::{FILE, Found, State};
use heliotrope::units::Watts;
use nix::sys::signal::Signal;

async fn recorded(plant: &Plant, gpu: usize) -> heliotrope::actuator::state::Record {
    for _ in 0..100 {
        if let Found::Kept(mut state) = State::load(&plant.state())
            && let Some(record) = state.gpus.remove(&plant.uuids[gpu])
        {
            return record;
        }
        wait(20).await;
    }
    panic!("it was not written")
}

#[tokio::test]
async fn told_to_end_it_changes_nothing() {
    let plant = Plant::new(2);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    agent.order(plant.order(1, &[(0, 400, 60_000, 300)])).await.unwrap();
    let status = actuator.end(Signal::SIGTERM).await;
    assert!(status.success(), "{status}");
    assert_eq!(plant.limits(), [400, 700]);
    assert!(!plant.socket().exists());
    assert_eq!(recorded(&plant, 0).await.limit_watts, Watts(400));
}

#[tokio::test]
async fn killed_and_started_anew_it_raises_nothing_and_remembers() {
    let plant = Plant::new(3);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    agent.order(plant.order(9, &[(0, 400, 60_000, 300), (1, 400, 60_000, 300)])).await.unwrap();
    recorded(&plant, 1).await;
    actuator.end(Signal::SIGKILL).await;
    assert_eq!(plant.limits(), [400, 400, 700]);
    // nobody looks, and another raises one
    plant.node.foreign_set_limit(1, 650_000).unwrap();

    // the socket of the dead one is in its way
    assert!(plant.socket().exists());
    let actuator = plant.start(&[]).await;
    plant.until(2000, |limits| limits == [400, 400, 700]).await;
    let seen = actuator.observe().await;
    assert_eq!(seen.sequence, Some(9));
    assert_eq!((seen.gpus[0].hold.phase, seen.gpus[2].hold.phase), (Phase::Held, Phase::Found));
    // it waits so long for an order, and another start does not give it more
    let ends = seen.gpus[0].hold.ends_at_boot_millis.unwrap();
    assert!(ends > now() && ends <= now().plus(WAIT_MILLIS), "{ends}");
    let mut agent = actuator.agent().await;
    let error = agent.order(plant.order(8, &[(0, 600, 60_000, 300)])).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(refused) if refused.reason == RequestRefusal::LowerSequence));
    drop(agent);
    while recorded(&plant, 0).await.waits_until_boot_millis.is_none() {
        wait(20).await;
    }
    actuator.end(Signal::SIGKILL).await;
    let actuator = plant.start(&[]).await;
    assert_eq!(actuator.observe().await.gpus[0].hold.ends_at_boot_millis, Some(ends));

    // with the same lease it goes on where it is; only a newer one raises
    let mut agent = actuator.agent().await;
    let answer = agent.order(plant.order(9, &[(0, 600, 60_000, 300)])).await.unwrap();
    assert_eq!(read_back(&answer.gpus[0]), (400, 400));
    let answer = agent.order(plant.order(10, &[(0, 600, 60_000, 300)])).await.unwrap();
    assert_eq!(read_back(&answer.gpus[0]), (600, 600));
    while recorded(&plant, 0).await.waits_until_boot_millis.is_some() {
        wait(20).await;
    }
}

#[tokio::test]
async fn after_a_reboot_what_was_governed_falls_to_its_safe_limit() {
    let plant = Plant::new(2);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    agent.order(plant.order(9, &[(0, 400, 60_000, 300)])).await.unwrap();
    recorded(&plant, 0).await;
    actuator.end(Signal::SIGKILL).await;
    plant.node.reboot().unwrap();
    assert_eq!(plant.limits(), [700, 700]);
    let actuator = plant.start(&[]).await;
    plant.until(2000, |limits| limits == [300, 700]).await;
    let seen = actuator.observe().await;
    assert_eq!((seen.sequence, seen.gpus[0].hold.phase), (None, Phase::Fallen), "sequences are of one boot");
}

#[tokio::test]
async fn after_a_reload_of_the_driver_what_is_held_is_set_again() {
    let plant = Plant::new(2);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    agent.order(plant.order(1, &[(0, 400, 60_000, 300)])).await.unwrap();
    plant.node.reload_driver().unwrap();
    plant.until(1500, |limits| limits == [400, 700]).await;
}

#[tokio::test]
async fn a_torn_state_is_not_believed_and_the_lowest_limit_holds() {
    let plant = Plant::new(2);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    agent.order(plant.order(9, &[(0, 400, 60_000, 300)])).await.unwrap();
    recorded(&plant, 0).await;
    actuator.end(Signal::SIGKILL).await;
    // by hand: a higher limit to fall to
    let file = plant.state().join(FILE);
    let forged = std::fs::read_to_string(&file).unwrap().replace("\"fallWatts\": 300", "\"fallWatts\": 700");
    std::fs::write(&file, forged).unwrap();
    let actuator = plant.start(&[]).await;
    plant.until(2000, |limits| limits == [200, 200]).await;
    assert!(actuator.log().contains("the state is not believed"), "{}", actuator.log());
    let mut agent = actuator.agent().await;
    let answer = agent.order(plant.order(1, &[(0, 400, 60_000, 300)])).await.unwrap();
    assert_eq!(read_back(&answer.gpus[0]), (400, 400));
}

#[tokio::test]
async fn told_a_safe_limit_it_starts_there() {
    let plant = Plant::new(2);
    plant.node.foreign_set_limit(1, 250_000).unwrap();
    let _actuator = plant.start(&["--safe-watts", "300"]).await;
    plant.until(2000, |limits| limits == [300, 250]).await;
    wait(1000).await;
    assert_eq!(plant.limits(), [300, 250]);
}

#[tokio::test]
async fn a_second_actuator_finds_the_first_and_changes_nothing() {
    let plant = Plant::new(1);
    let actuator = plant.start(&[]).await;
    let second = plant.command(&["--safe-watts", "200"]).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("another actuator listens there"), "{said}");
    wait(700).await;
    assert_eq!(plant.limits(), [700]);
    assert_eq!(actuator.observe().await.gpus.len(), 1, "the first still serves");
}
