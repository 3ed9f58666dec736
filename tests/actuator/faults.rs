//! Devices that lie, hang, are lost or refuse; and others that write.

use crate::node::{Plant, now, read_back, wait};
use heliotrope::actuator::protocol::{Category, GpuView, Obedience, Outcome, Refusal};
use heliotrope::units::Watts;
use nvml_sim::{Calls, Fault, FaultKind, Reading};

fn has(gpu: &GpuView, category: Category) -> bool {
    gpu.faults.iter().any(|fault| fault.category == category)
}

#[tokio::test]
async fn a_limit_that_another_raises_is_set_again_and_told() {
    let plant = Plant::new(2);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    agent.order(plant.order(1, &[(0, 400, 60_000, 300)])).await.unwrap();
    plant.node.foreign_set_limit(0, 700_000).unwrap();
    plant.node.foreign_set_limit(1, 650_000).unwrap();
    // one period, and a call
    let taken = plant.until(1000, |limits| limits[0] == 400).await;
    assert!(taken < 800, "{taken} ms");
    let gpu = actuator.until(500, 0, |gpu| gpu.hold.raised_by_other > 0).await;
    assert_eq!(gpu.hold.last_raised.unwrap().found_watts, Watts(700));
    assert!(actuator.log().contains("another raised its limit"), "{}", actuator.log());
    wait(700).await;
    assert_eq!(plant.limits(), [400, 650], "a GPU without an order is nobody's business");
    // again and again
    let again = FaultKind::ForeignLimit { watts: None, every_seconds: Some(0.7) };
    plant.node.set_faults(vec![Fault::new(again).on(0)]).unwrap();
    actuator.until(6000, 0, |gpu| gpu.hold.raised_by_other >= 4).await;
    plant.node.set_faults(Vec::new()).unwrap();
    plant.until(1500, |limits| limits[0] == 400).await;
}

#[tokio::test]
async fn a_limit_lowered_by_a_bmc_is_left_so() {
    let plant = Plant::new(1);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    plant.node.set_bmc_limit(0, Some(350)).unwrap();
    let answer = agent.order(plant.order(1, &[(0, 500, 60_000, 300)])).await.unwrap();
    assert_eq!(read_back(&answer.gpus[0]), (500, 350), "what is in force is told, not what was asked");
    wait(1200).await;
    let gpu = &actuator.observe().await.gpus[0];
    assert_eq!((gpu.hold.obedience, gpu.hold.raised_by_other), (Obedience::Holds, 0));
    // the BMC's goes; ours holds
    plant.node.set_bmc_limit(0, None).unwrap();
    wait(700).await;
    assert_eq!(plant.limits(), [500]);
}

#[tokio::test]
async fn a_limit_that_is_accepted_and_not_applied_is_told_within_two_periods() {
    let plant = Plant::new(2);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    plant.node.set_faults(vec![Fault::new(FaultKind::NotApplied).on(0)]).unwrap();
    let sent = now();
    let answer = agent.order(plant.order(1, &[(0, 400, 60_000, 300), (1, 400, 60_000, 300)])).await.unwrap();
    assert_eq!(read_back(&answer.gpus[0]), (400, 700), "the worst is told at once");
    assert_eq!(read_back(&answer.gpus[1]), (400, 400));
    actuator.until(2000, 0, |gpu| gpu.hold.obedience == Obedience::NotApplied).await;
    let taken = now().since(sent);
    assert!(taken < 1300, "{taken} ms, a period is 500");
    assert!(actuator.log().contains("accepts its limit and does not apply it"));
    plant.node.set_faults(Vec::new()).unwrap();
    actuator.until(2000, 0, |gpu| gpu.hold.obedience == Obedience::Holds).await;
    assert_eq!(plant.limits(), [400, 400]);
}

#[tokio::test]
async fn a_gpu_that_hangs_hangs_alone() {
    let plant = Plant::new(4);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    agent.order(plant.order(1, &[(0, 600, 4000, 300), (1, 600, 4000, 300)])).await.unwrap();
    let hang = FaultKind::Hang { calls: Calls::Set, seconds: 7.0 };
    plant.node.set_faults(vec![Fault::new(hang).on(0)]).unwrap();
    let all: Vec<_> = (0..4).map(|gpu| (gpu, 500, 60_000, 300)).collect();
    let order = plant.order(2, &all);
    let start = now();
    let (answer, others) = tokio::join!(agent.order(order), plant.until(1500, |limits| limits[1..] == [500; 3]));
    assert!(others < 800, "the others waited {others} ms");
    let taken = now().since(start);
    assert!((2000..4000).contains(&taken), "the deadline is 2.5 s, it took {taken} ms");
    let answer = answer.unwrap();
    let Outcome::Unknown { fault } = &answer.gpus[0].outcome else { panic!("{answer:?}") };
    assert_eq!(fault.category, Category::TimedOut);
    assert!(fault.for_millis.unwrap() >= 2000, "{fault:?}");
    assert_eq!(answer.gpus[1..].iter().map(read_back).collect::<Vec<_>>(), [(500, 500); 3]);

    // it is known now: orders to it are answered at once, and only the newest waits for it
    plant.node.set_faults(Vec::new()).unwrap();
    for (sequence, watts) in [(3, 450), (4, 440), (5, 430)] {
        let start = now();
        let answer = agent.order(plant.order(sequence, &[(0, watts, 60_000, 300)])).await.unwrap();
        assert!(matches!(&answer.gpus[0].outcome, Outcome::Unknown { .. }), "{answer:?}");
        assert!(now().since(start) < 500);
    }
    let gpu = &actuator.observe().await.gpus[0];
    let hung = gpu.faults.iter().find(|fault| fault.category == Category::TimedOut).unwrap();
    assert!(hung.message.contains("setting its limit"), "{hung:?}");
    assert!(now().since(gpu.reading.as_ref().unwrap().at_boot_millis) > 2000, "its reading is old, and says so");
    // it comes back, and the newest is carried out; those between never were
    plant.until(8000, |limits| limits[0] == 430).await;
    let gpu = actuator.until(2000, 0, |gpu| gpu.faults.is_empty()).await;
    assert_eq!((gpu.hold.sequence, gpu.hold.obedience), (Some(5), Obedience::Holds));
}

#[tokio::test]
async fn a_lost_gpu_is_told_the_others_go_on_and_it_is_held_again_when_it_is_back() {
    let plant = Plant::new(3);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    let all = |watts| [(0, watts, 60_000, 300), (1, watts, 60_000, 300), (2, watts, 60_000, 300)];
    agent.order(plant.order(1, &all(600))).await.unwrap();
    plant.node.set_faults(vec![Fault::new(FaultKind::Lost).on(1)]).unwrap();
    actuator.until(1500, 1, |gpu| has(gpu, Category::Lost)).await;
    let answer = agent.order(plant.order(2, &all(400))).await.unwrap();
    assert_eq!([read_back(&answer.gpus[0]), read_back(&answer.gpus[2])], [(400, 400); 2]);
    assert!(matches!(&answer.gpus[1].outcome, Outcome::Refused { reason: Refusal::Device, .. }), "{answer:?}");
    assert_eq!(plant.limits(), [400, 600, 400], "it holds what it had");
    // a reset brings it back, with the default limit
    plant.node.foreign_set_limit(1, 700_000).unwrap();
    plant.node.set_faults(Vec::new()).unwrap();
    plant.until(7000, |limits| limits == [400, 600, 400]).await;
    let answer = agent.order(plant.order(2, &all(400))).await.unwrap();
    assert_eq!(read_back(&answer.gpus[1]), (400, 400));
}

#[tokio::test]
async fn without_permission_nothing_is_claimed_and_it_is_tried_again() {
    let plant = Plant::new(1);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    plant.node.set_faults(vec![Fault::new(FaultKind::NoPermission)]).unwrap();
    let answer = agent.order(plant.order(1, &[(0, 400, 60_000, 300)])).await.unwrap();
    let Outcome::NotReadBack { limit_watts, fault, .. } = &answer.gpus[0].outcome else { panic!("{answer:?}") };
    assert_eq!((*limit_watts, fault.category), (Watts(400), Category::NoPermission));
    assert_eq!(plant.limits(), [700]);
    let gpu = actuator.until(1500, 0, |gpu| has(gpu, Category::NoPermission)).await;
    assert_eq!(gpu.hold.obedience, Obedience::Pending);
    plant.node.set_faults(Vec::new()).unwrap();
    plant.until(1500, |limits| limits == [400]).await;
    actuator.until(1500, 0, |gpu| gpu.faults.is_empty() && gpu.hold.obedience == Obedience::Holds).await;
}

#[tokio::test]
async fn what_can_not_be_is_not_passed_on() {
    let plant = Plant::new(1);
    let actuator = plant.start(&[]).await;
    for value in [0.0, f64::from(u32::MAX), -5000.0, 7_000_001.0] {
        let absurd = FaultKind::AbsurdReading { of: Reading::Power, value };
        plant.node.set_faults(vec![Fault::new(absurd).on(0)]).unwrap();
        let gpu = actuator.until(1500, 0, |gpu| has(gpu, Category::Absurd)).await;
        let reading = gpu.reading.unwrap();
        assert_eq!((reading.draw, reading.enforced_watts), (None, Some(Watts(700))), "{value}");
        plant.node.set_faults(Vec::new()).unwrap();
        actuator.until(1500, 0, |gpu| gpu.faults.is_empty()).await;
    }
    // a limit that can't be in force is no read-back: the order is written all the same
    let mut agent = actuator.agent().await;
    for (sequence, value) in [(1, 0.0), (2, 70_000_000.0)] {
        let absurd = FaultKind::AbsurdReading { of: Reading::EnforcedLimit, value };
        plant.node.set_faults(vec![Fault::new(absurd).on(0)]).unwrap();
        let watts = 500 - 50 * i64::try_from(sequence).unwrap();
        let answer = agent.order(plant.order(sequence, &[(0, watts, 60_000, 300)])).await.unwrap();
        let Outcome::NotReadBack { fault, .. } = &answer.gpus[0].outcome else { panic!("{answer:?}") };
        assert_eq!(fault.category, Category::Absurd);
        assert_eq!(plant.limits(), [u64::try_from(watts).unwrap()]);
        plant.node.set_faults(Vec::new()).unwrap();
        actuator.until(1500, 0, |gpu| gpu.faults.is_empty() && gpu.hold.obedience == Obedience::Holds).await;
    }
}

#[tokio::test]
async fn a_sensor_that_is_stuck_is_told_by_its_age() {
    let plant = Plant::new(1);
    let actuator = plant.start(&[]).await;
    let age = |gpu: &GpuView| now().since(gpu.reading.as_ref().unwrap().draw.unwrap().changed_at_boot_millis);
    wait(1200).await;
    assert!(age(&actuator.observe().await.gpus[0]) < 1200, "its energy counter moves");
    plant.node.set_faults(vec![Fault::new(FaultKind::FrozenPower), Fault::new(FaultKind::FrozenEnergy)]).unwrap();
    actuator.until(5000, 0, |gpu| age(gpu) > 2500).await;
}

#[tokio::test]
async fn what_one_is_to_give_up_no_other_gets_before_it_is_down() {
    let plant = Plant::new(3);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    let to = |first, others| [(0, first, 60_000, 200), (1, others, 60_000, 200), (2, others, 60_000, 200)];
    let end = |gpu: &GpuView| gpu.hold.ends_at_boot_millis.unwrap();
    agent.order(plant.order(1, &to(600, 300))).await.unwrap();
    let all = 600 + 300 + 300;
    // it takes a second to set the one that is to go down
    let slow = FaultKind::Hang { calls: Calls::Set, seconds: 1.0 };
    plant.node.set_faults(vec![Fault { once: true, ..Fault::new(slow).on(0) }]).unwrap();
    let order = plant.order(2, &to(400, 400));
    let (answer, ()) = tokio::join!(agent.order(order), async {
        while plant.limits() != [400; 3] {
            assert!(plant.limits().iter().sum::<u64>() <= all, "{:?}", plant.limits());
            wait(10).await;
        }
    });
    assert_eq!(answer.unwrap().gpus.iter().map(read_back).collect::<Vec<_>>(), [(400, 400); 3]);

    // it does not go down at all: nobody goes up, and it is said why
    plant.node.set_faults(vec![Fault::new(FaultKind::NotApplied).on(0)]).unwrap();
    let before = end(&actuator.observe().await.gpus[1]);
    let answer = agent.order(plant.order(3, &to(200, 500))).await.unwrap();
    assert_eq!(read_back(&answer.gpus[0]), (200, 400));
    for gpu in &answer.gpus[1..] {
        let Outcome::Refused { reason, message } = &gpu.outcome else { panic!("{gpu:?}") };
        assert_eq!(*reason, Refusal::OthersNotDown);
        assert!(message.contains("nobody gets them"), "{message}");
    }
    assert_eq!(plant.limits(), [400; 3]);
    // what they have goes on until the new end
    let gpu = actuator.until(2000, 1, |gpu| end(gpu) > before).await;
    assert_eq!((gpu.hold.sequence, gpu.hold.limit_watts), (Some(2), Some(Watts(400))));
    // ordered again when it obeys, all have theirs
    plant.node.set_faults(Vec::new()).unwrap();
    plant.until(3000, |limits| limits[0] == 200).await;
    agent.order(plant.order(3, &to(200, 500))).await.unwrap();
    assert_eq!(plant.limits(), [200, 500, 500]);
}
