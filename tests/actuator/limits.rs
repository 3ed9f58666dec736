//! Orders and their ends.

use crate::node::{Plant, now, read_back, wait};
use heliotrope::actuator::client::ClientError;
use heliotrope::actuator::protocol::{DrawKind, Note, Obedience, Outcome, Phase, Refusal, RequestRefusal, Throttle};
use heliotrope::units::{BootMillis, Watts};
use nvml_sim::{GpuSpec, NodeSpec, Workload};

#[tokio::test]
async fn an_order_is_applied_read_back_and_seen_in_the_draw() {
    let plant = Plant::new(8);
    let actuator = plant.start(&[]).await;
    assert_eq!(plant.limits(), [700; 8], "a start changes nothing");
    let seen = actuator.observe().await;
    assert_eq!(seen.gpus[3].hold.phase, Phase::Found);
    let mut agent = actuator.agent().await;
    let before = now();
    let all: Vec<_> = (0..8).map(|gpu| (gpu, 400 + gpu as i64, 60_000, 300)).collect();
    let answer = agent.order(plant.order(1, &all)).await.unwrap();
    for (gpu, answer) in answer.gpus.iter().enumerate() {
        assert_eq!(answer.uuid, plant.uuids[gpu]);
        assert_eq!(read_back(answer), (400 + gpu as i64, 400 + gpu as i64));
        let Outcome::ReadBack { read_at_boot_millis, obedience, notes, .. } = &answer.outcome else { unreachable!() };
        assert!((before..=now()).contains(read_at_boot_millis));
        assert_eq!((*obedience, notes.as_slice()), (Obedience::Holds, [].as_slice()));
    }
    assert_eq!(plant.limits(), [400, 401, 402, 403, 404, 405, 406, 407]);
    wait(2500).await;
    let seen = actuator.observe().await;
    assert_eq!(seen.sequence, Some(1));
    let gpu = &seen.gpus[0];
    assert_eq!(
        (gpu.hold.phase, gpu.hold.limit_watts, gpu.hold.obedience),
        (Phase::Held, Some(Watts(400)), Obedience::Holds)
    );
    let reading = gpu.reading.as_ref().unwrap();
    assert_eq!((reading.set_watts, reading.enforced_watts), (Some(Watts(400)), Some(Watts(400))));
    let draw = reading.draw.unwrap();
    assert_eq!(draw.kind, DrawKind::Instant);
    assert!((380_000..=420_000).contains(&draw.milliwatts), "{draw:?}");
    assert!(reading.energy_millijoules.unwrap() > 500_000);
    assert!(reading.throttling.contains(&Throttle::PowerLimit), "{reading:?}");
    assert!(now().since(reading.at_boot_millis) < 2000);
}

#[tokio::test]
async fn past_its_end_a_limit_falls_by_itself_with_nobody_there() {
    let plant = Plant::new(3);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    // the second has long, the third would "fall" to more than it has
    let orders = [(0, 500, 1500, 300), (1, 500, 60_000, 300), (2, 250, 1500, 600)];
    let sent = now();
    let answer = agent.order(plant.order(1, &orders)).await.unwrap();
    assert_eq!(answer.gpus.iter().map(read_back).collect::<Vec<_>>(), [(500, 500), (500, 500), (250, 250)]);
    drop(agent);
    while now() < sent.plus(1400) {
        assert_eq!(plant.limits(), [500, 500, 250], "not before the end");
        wait(20).await;
    }
    plant.until(1000, |limits| limits[0] == 300).await;
    let late = now().since(sent.plus(1500));
    // the end wakes its thread: it does not wait for a period
    assert!(late < 500, "{late} ms after its end");
    wait(1200).await;
    assert_eq!(plant.limits(), [300, 500, 250], "a fall is never a raise, and the others are kept");
    let seen = actuator.observe().await;
    assert_eq!(seen.gpus[0].hold.phase, Phase::Fallen);
    assert_eq!(seen.gpus[2].hold.limit_watts, Some(Watts(250)));
}

#[tokio::test]
async fn what_is_out_of_range_is_clamped_and_what_is_not_known_refused() {
    let mut slices = GpuSpec::h100();
    slices.mig_instances = 2;
    let spec = NodeSpec::of("node", 2000, 4600, vec![GpuSpec::h100(), GpuSpec::h100(), slices]);
    let plant = Plant::of(spec.with_workload(Workload::training()));
    let actuator = plant.start(&["--max-watts-per-gpu", "600"]).await;
    let seen = actuator.observe().await;
    assert_eq!(seen.gpus[0].highest_watts, Some(Watts(600)));
    let slices = seen.gpus[2].gpu.slices.clone();
    assert_eq!(slices.len(), 2);
    let mut agent = actuator.agent().await;
    let mut order = plant.order(1, &[(0, 50, 60_000, 10), (1, 650, 60_000, 300), (1, 400, 60_000, 300)]);
    let mut more = plant.order(1, &[(2, 400, 60_000, 300); 4]).gpus;
    more[0].uuid = "GPU-nowhere".to_owned();
    more[1].uuid.clone_from(&slices[0]);
    more[2].ends_at_boot_millis = None;
    order.gpus.extend(more.into_iter().take(3));
    let answer = agent.order(order).await.unwrap();
    let notes = |at: usize| match &answer.gpus[at].outcome {
        Outcome::ReadBack { notes, .. } => notes.clone(),
        other => panic!("{other:?}"),
    };
    let low = Watts(200);
    let clamped = Note::LimitOutOfRange { asked_watts: Watts(50), watts: low };
    assert_eq!(notes(0), [clamped, Note::FallOutOfRange { asked_watts: Watts(10), watts: low }]);
    assert_eq!(notes(1), [Note::LimitAboveCeiling { asked_watts: Watts(650), watts: Watts(600) }]);
    let reasons = answer.gpus[2..].iter().map(|gpu| match &gpu.outcome {
        Outcome::Refused { reason, message } => {
            assert!(!message.is_empty());
            *reason
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [Refusal::NamedTwice, Refusal::UnknownGpu, Refusal::SliceOfGpu, Refusal::EndMissing]
    );
    assert_eq!(plant.limits(), [200, 600, 700]);

    // each kind that a GPU refuses leaves what is in force
    let mut wrong = plant.order(2, &[(0, 0, 60_000, 300), (1, 500, 60_000, 300), (2, 500, 60_000, 300)]);
    wrong.gpus[1].ends_at_boot_millis = Some(BootMillis(1));
    wrong.gpus[2].fall_watts = None;
    let answer = agent.order(wrong).await.unwrap();
    for (gpu, expected) in answer.gpus.iter().zip([Refusal::NotPositive, Refusal::EndPassed, Refusal::FallMissing]) {
        assert!(matches!(&gpu.outcome, Outcome::Refused { reason, .. } if *reason == expected), "{gpu:?}");
    }
    assert_eq!(plant.limits(), [200, 600, 700]);

    // the limit of a GPU that is cut is the whole GPU's
    let answer = agent.order(plant.order(3, &[(2, 400, 60_000, 300)])).await.unwrap();
    assert_eq!(read_back(&answer.gpus[0]), (400, 400));
    assert_eq!(plant.limits(), [200, 600, 400]);
}

#[tokio::test]
async fn an_older_lease_does_not_come_back() {
    let plant = Plant::new(2);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    agent.order(plant.order(7, &[(0, 400, 60_000, 300)])).await.unwrap();
    // of the whole node: the other GPU has had no order yet
    for gpu in [0, 1] {
        let error = agent.order(plant.order(6, &[(gpu, 600, 60_000, 300)])).await.unwrap_err();
        let ClientError::Refused(refused) = error else { panic!("{error}") };
        assert_eq!(refused.reason, RequestRefusal::LowerSequence);
    }
    let answer = agent.order(plant.order(7, &[(0, 600, 60_000, 300), (1, 600, 60_000, 300)])).await.unwrap();
    assert_eq!(answer.gpus.iter().map(read_back).collect::<Vec<_>>(), [(400, 400), (600, 600)]);
    let Outcome::ReadBack { notes, .. } = &answer.gpus[0].outcome else { unreachable!() };
    assert_eq!(*notes, [Note::RaiseNeedsHigherSequence { asked_watts: Watts(600), watts: Watts(400) }]);
    let answer = agent.order(plant.order(8, &[(0, 600, 60_000, 300)])).await.unwrap();
    assert_eq!(read_back(&answer.gpus[0]), (600, 600));
}

#[tokio::test]
async fn a_clock_is_locked_and_let_go_by_orders_alone() {
    let plant = Plant::new(1);
    let actuator = plant.start(&[]).await;
    let mut agent = actuator.agent().await;
    let locked = || plant.node.truth().unwrap().gpus[0].locked_mhz.map(|(_, most)| most);
    let mut order = plant.order(1, &[(0, 600, 1000, 300)]);
    order.gpus[0].clock_lock_megahertz = Some(1200);
    let answer = agent.order(order).await.unwrap();
    let Outcome::ReadBack { notes, .. } = &answer.gpus[0].outcome else { panic!("{answer:?}") };
    assert_eq!((notes.as_slice(), locked()), ([].as_slice(), Some(1200)));
    plant.until(2000, |limits| limits[0] == 300).await;
    wait(700).await;
    assert_eq!(locked(), Some(1200), "time lets no clock go");
    // the driver is loaded anew, and the clock is free: it is locked again
    let mut order = plant.order(2, &[(0, 650, 60_000, 300)]);
    order.gpus[0].clock_lock_megahertz = Some(1200);
    agent.order(order).await.unwrap();
    plant.node.reload_driver().unwrap();
    assert_eq!(locked(), None);
    let start = now();
    while locked() != Some(1200) {
        assert!(now().since(start) < 10_000, "nobody locked it again");
        wait(50).await;
    }
    agent.order(plant.order(3, &[(0, 600, 60_000, 300)])).await.unwrap();
    assert_eq!(locked(), None);
    wait(1200).await;
    assert_eq!(locked(), None, "what was let go stays so");
}
