//! The plant alone, in time that the tests make.

use super::*;
use crate::spec::{Fault, Reading, Workload};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
/// The nodes of these tests boot at this moment.
const BOOT: u64 = 1000 * SECOND;

fn node(gpu: GpuSpec) -> (NodeSpec, State) {
    with_faults(gpu, Vec::new())
}

fn with_faults(gpu: GpuSpec, faults: Vec<Fault>) -> (NodeSpec, State) {
    let mut spec = NodeSpec::of("n", 800, 1600, vec![gpu]);
    spec.faults = faults;
    spec.check().unwrap();
    let state = State::fresh(&spec, BOOT, 7);
    (spec, state)
}

fn busy(workload: Workload) -> GpuSpec {
    GpuSpec { workload, ..GpuSpec::h100() }
}

/// A node that has run for long, and what its GPU draws, in watts.
fn settled(spec: &NodeSpec, state: &mut State) -> f64 {
    state.advance(spec, state.at + 100 * SECOND);
    state.gpus[0].draw_mw / 1000.0
}

fn set(state: &mut State, watts: u64) {
    (state.gpus[0].set_mw, state.gpus[0].told_mw) = (watts * 1000, watts * 1000);
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

/// Faults that change what is or where it goes; those that calls meet change neither.
fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let kind = prop_oneof![
        (0u32..2000).prop_map(|permille| FaultKind::Overshoot { permille }),
        (proptest::option::of(0u32..1000), proptest::option::of(0.05f64..3.0))
            .prop_map(|(watts, every_seconds)| FaultKind::ForeignLimit { watts, every_seconds }),
        Just(FaultKind::DriverReload),
        Just(FaultKind::PersistenceLost),
        Just(FaultKind::FrozenPower),
        Just(FaultKind::FrozenEnergy),
    ];
    let fault = (kind, 0.0f64..8.0, proptest::option::of(0.01f64..5.0))
        .prop_map(|(kind, after, lasting)| Fault { for_seconds: lasting, ..Fault::new(kind).after(after) });
    proptest::collection::vec(fault, 0..5)
}

fn workload() -> impl Strategy<Value = Workload> {
    prop_oneof![
        Just(Workload::idle()),
        Just(Workload::training()),
        Just(Workload::prefill()),
        Just(Workload::decode()),
        (0u32..=1000).prop_map(|wants| Workload::training().wanting(wants)),
    ]
}

proptest! {
    /// It makes no difference how often anyone looks, whatever happens meanwhile.
    #[test]
    fn steps_do_not_matter(
        faults in faults(), workload in workload(), tau in prop_oneof![1u32..5000, Just(500)],
        limit in 200u64..=700, looks in proptest::collection::vec(0u64..10 * SECOND, 0..40),
    ) {
        let gpu = GpuSpec { time_constant_ms: tau, ..busy(workload) };
        let (spec, mut once) = with_faults(gpu, faults);
        set(&mut once, limit);
        let mut often = once.clone();
        let mut looks = looks;
        looks.sort_unstable();
        for look in looks {
            often.advance(&spec, BOOT + look);
        }
        once.advance(&spec, BOOT + 10 * SECOND);
        often.advance(&spec, BOOT + 10 * SECOND);
        prop_assert_eq!((once.at, once.driver_loads), (often.at, often.driver_loads));
        let (a, b) = (&once.gpus[0], &often.gpus[0]);
        prop_assert_eq!((a.set_mw, a.told_mw, a.persistence), (b.set_mw, b.told_mw, b.persistence));
        prop_assert!(close(a.energy_mj, b.energy_mj), "{} mJ, {} mJ", a.energy_mj, b.energy_mj);
        prop_assert!(close(a.draw_mw, b.draw_mw) && close(a.average_mw, b.average_mw), "{a:?} {b:?}");
        for (a, b) in a.frozen.iter().zip(&b.frozen) {
            prop_assert!(a.zip(*b).map_or(a == b, |(a, b)| close(a, b)), "{a:?} {b:?}");
        }
    }

    /// Energy is the area under the draw, measured apart by adding up thin slices.
    #[test]
    fn energy_is_the_integral(workload in workload(), tau in 20u32..2000, limit in 200u64..=700, later in 200u64..=700) {
        let (spec, mut state) = node(GpuSpec { time_constant_ms: tau, ..busy(workload) });
        set(&mut state, limit);
        let (mut area, mut before) = (0.0, state.gpus[0].draw_mw);
        for slice in 1..=4000u64 {
            if slice == 2000 {
                set(&mut state, later);
            }
            state.advance(&spec, BOOT + slice * SECOND / 1000);
            let draw = state.gpus[0].draw_mw;
            area += (before + draw) / 2.0 / 1000.0;
            before = draw;
        }
        let energy = state.gpus[0].energy_mj;
        prop_assert!((energy - area).abs() < 1e-3 * area, "{energy} mJ told, {area} mJ measured");
    }

    /// At rest a GPU draws at least its idle figure and at most its limit with the margin of that limit.
    #[test]
    fn rest_is_within_the_limit(
        workload in workload(), limit in 200u64..=700, bmc in proptest::option::of(100u32..800),
        overshoot in 0u32..300, clock in 210u32..=1980,
    ) {
        let gpu = GpuSpec { bmc_limit_watts: bmc, overshoot_permille: overshoot, ..busy(workload) };
        let (spec, mut state) = node(gpu);
        set(&mut state, limit);
        state.gpus[0].locked_mhz = (210, clock);
        let draw = settled(&spec, &mut state);
        let held = limit.min(bmc.map_or(u64::MAX, u64::from)) as f64;
        prop_assert!(draw >= 70.0 - 1e-6, "{draw} W");
        prop_assert!(draw <= held * (1.0 + f64::from(overshoot) / 1000.0) + 1e-6, "{draw} W at {held} W");
        if limit >= 325 && bmc.is_none_or(|bmc| bmc >= 325) {
            prop_assert!(draw <= held + 1e-6, "{draw} W at {held} W: far from the minimum nothing passes");
        }
    }

    /// The clock that is told is one whose draw fits, and the highest such.
    #[test]
    fn the_clock_fits_the_draw(limit in 250u64..=700) {
        let (spec, mut state) = node(busy(Workload::prefill()));
        set(&mut state, limit);
        let draw = settled(&spec, &mut state);
        let clock = clock_mhz(&spec.gpus[0], &state.gpus[0]);
        set(&mut state, 700);
        let at = |state: &mut State, mhz| {
            state.gpus[0].locked_mhz = (210, mhz);
            settled(&spec, state)
        };
        prop_assert!(at(&mut state, clock.saturating_sub(1)) <= draw + 1e-6);
        prop_assert!(clock == 1980 || at(&mut state, clock + 2) >= draw);
    }
}

#[test]
fn a_lowered_limit_is_followed_with_a_lag() {
    let (spec, mut state) = node(busy(Workload::prefill()));
    assert!((settled(&spec, &mut state) - 700.0).abs() < 1e-6);
    set(&mut state, 400);
    let start = state.at;
    let mut after = |milliseconds: u64| {
        state.advance(&spec, start + milliseconds * SECOND / 1000);
        state.gpus[0].draw_mw / 1000.0
    };
    assert!((after(0) - 700.0).abs() < 1e-6, "at once it draws what it drew");
    assert!((after(300) - (400.0 + 300.0 / std::f64::consts::E)).abs() < 1e-6, "one time constant");
    assert!(after(1000) > 410.0, "after a second it is still 10 W above");
    assert!(after(2000) < 400.5);
}

#[test]
fn the_averaged_reading_comes_later_than_the_draw() {
    let (spec, mut state) = node(busy(Workload::prefill()));
    settled(&spec, &mut state);
    set(&mut state, 400);
    state.advance(&spec, state.at + SECOND / 2);
    let gpu = &state.gpus[0];
    assert!(gpu.average_mw > gpu.draw_mw + 50_000.0, "{} {}", gpu.average_mw, gpu.draw_mw);
    settled(&spec, &mut state);
    assert!((state.gpus[0].average_mw - 400_000.0).abs() < 1.0);
}

#[test]
fn decode_never_reaches_its_limit() {
    let (spec, mut state) = node(busy(Workload::decode()));
    assert!((settled(&spec, &mut state) - 315.0).abs() < 1e-6, "450 ‰ of 700 W");
    assert_eq!(held_by(&spec.gpus[0], &state.gpus[0]), Held::Work);
    set(&mut state, 350);
    assert!((settled(&spec, &mut state) - 315.0).abs() < 1e-6, "a limit above it changes nothing");
    state.gpus[0].locked_mhz = (210, 1200);
    let locked = settled(&spec, &mut state);
    assert!(locked < 220.0, "a clock lock does: {locked} W");
    state.gpus[0].locked_mhz = (0, 0);
    set(&mut state, 250);
    let limited = settled(&spec, &mut state);
    assert!((250.0..=257.5).contains(&limited), "a limit below it holds: {limited} W");
    assert_eq!(held_by(&spec.gpus[0], &state.gpus[0]), Held::Limit);
}

#[test]
fn an_a40_passes_its_minimum_by_a_fifth() {
    // ml-energy/zeus, NSDI'23: an A40 (100 to 300 W) at 100 W drew up to 21 % more, at 150 W no more
    let a40 = GpuSpec {
        idle_watts: 30,
        min_limit_watts: 100,
        max_limit_watts: 300,
        default_limit_watts: 300,
        overshoot_permille: 210,
        ..busy(Workload::prefill())
    };
    let (spec, mut state) = node(a40);
    set(&mut state, 100);
    assert!((settled(&spec, &mut state) - 121.0).abs() < 1e-6);
    set(&mut state, 150);
    assert!((settled(&spec, &mut state) - 150.0).abs() < 1e-6);
}

#[test]
fn the_least_of_three_limits_holds() {
    let mut gpu = busy(Workload::prefill());
    gpu.bmc_limit_watts = Some(350);
    let (spec, mut state) = node(gpu);
    assert_eq!(enforced_mw(&spec.gpus[0], &state.gpus[0]), 350_000);
    assert!((settled(&spec, &mut state) - 350.0).abs() < 1e-6);
    set(&mut state, 340);
    assert_eq!(enforced_mw(&spec.gpus[0], &state.gpus[0]), 340_000);
    set(&mut state, 900);
    assert_eq!(enforced_mw(&spec.gpus[0], &state.gpus[0]), 350_000);
}

#[test]
fn the_host_follows_its_gpus() {
    let mut spec = NodeSpec::h100x8("n");
    let mut state = State::fresh(&spec, BOOT, 7);
    assert!((state.host_mw(&spec) - 2_000_000.0).abs() < 1e-6);
    spec = spec.with_workload(Workload::prefill());
    settled(&spec, &mut state);
    assert!((state.host_mw(&spec) - 4_600_000.0).abs() < 1e-3);
    spec.gpus[..4].iter_mut().for_each(|gpu| gpu.workload = Workload::idle());
    settled(&spec, &mut state);
    assert!((state.host_mw(&spec) - 3_300_000.0).abs() < 1e-3, "half the GPUs, half the way");
}

#[test]
fn a_foreign_process_raises_again_and_again() {
    let foreign = FaultKind::ForeignLimit { watts: None, every_seconds: Some(2.0) };
    let (spec, mut state) = with_faults(busy(Workload::prefill()), vec![Fault::new(foreign).after(1.0).lasting(4.5)]);
    let mut raised = Vec::new();
    for tenth in 1..=80 {
        set(&mut state, 300);
        state.advance(&spec, BOOT + tenth * SECOND / 10);
        if state.gpus[0].set_mw != 300_000 {
            raised.push(tenth);
        }
    }
    assert_eq!(raised, [10, 30, 50]);
}

#[test]
fn a_reload_forgets_and_may_take_its_time() {
    let reload = Fault::new(FaultKind::DriverReload).after(2.0).lasting(3.0);
    let (spec, mut state) = with_faults(busy(Workload::prefill()), vec![reload]);
    set(&mut state, 300);
    state.gpus[0].locked_mhz = (210, 1500);
    state.advance(&spec, BOOT + 2 * SECOND - 1);
    assert!(!state.driver_away(&spec) && state.gpus[0].energy_mj > 100_000.0);
    state.advance(&spec, BOOT + 2 * SECOND);
    let gpu = &state.gpus[0];
    assert_eq!((gpu.set_mw, gpu.told_mw, gpu.locked_mhz), (700_000, 700_000, (0, 0)));
    assert!(gpu.energy_mj < 1.0, "{}", gpu.energy_mj);
    assert_eq!(state.driver_loads, 2);
    state.advance(&spec, BOOT + 5 * SECOND - 1);
    assert!(state.driver_away(&spec) && state.gpus[0].draw_mw < 71_000.0, "without a driver nothing runs");
    settled(&spec, &mut state);
    assert!(!state.driver_away(&spec) && state.gpus[0].draw_mw > 699_000.0, "then work goes on, at the default");
}

#[test]
fn lost_persistence_takes_limit_and_clocks_but_not_energy() {
    let lost = Fault::new(FaultKind::PersistenceLost).after(1.0);
    let (spec, mut state) = with_faults(busy(Workload::prefill()), vec![lost]);
    set(&mut state, 300);
    state.advance(&spec, BOOT + SECOND);
    let gpu = &state.gpus[0];
    assert!(!gpu.persistence && gpu.set_mw == 700_000 && gpu.energy_mj > 70_000.0);
    assert_eq!(state.driver_loads, 1);
}

#[test]
fn an_overshoot_begins_and_ends() {
    let over = Fault::new(FaultKind::Overshoot { permille: 150 }).after(10.0).lasting(10.0);
    let (spec, mut state) = with_faults(busy(Workload::prefill()), vec![over]);
    set(&mut state, 400);
    let mut at = |seconds: u64| {
        state.advance(&spec, BOOT + seconds * SECOND);
        state.gpus[0].draw_mw / 1000.0
    };
    assert!((at(9) - 400.0).abs() < 0.1);
    assert!((at(19) - 460.0).abs() < 0.1);
    assert!((at(29) - 400.0).abs() < 0.1);
}

#[test]
fn frozen_readings_stay_and_thaw() {
    let frozen = vec![
        Fault::new(FaultKind::FrozenPower).after(1.0).lasting(2.0),
        Fault::new(FaultKind::FrozenEnergy).after(1.0).lasting(2.0),
    ];
    let (spec, mut state) = with_faults(busy(Workload::prefill()), frozen);
    state.advance(&spec, BOOT + SECOND);
    let then = state.gpus[0].clone();
    assert_eq!(then.frozen, [Some(then.draw_mw), Some(then.average_mw), Some(then.energy_mj)]);
    state.advance(&spec, BOOT + 3 * SECOND - 1);
    assert_eq!(state.gpus[0].frozen, then.frozen);
    assert!(state.gpus[0].energy_mj > then.energy_mj, "the truth goes on");
    state.advance(&spec, BOOT + 3 * SECOND);
    assert_eq!(state.gpus[0].frozen, [None; 3]);
}

#[test]
fn another_table_starts_its_own_clock_and_other_changes_do_not() {
    let fault = Fault::new(FaultKind::ForeignLimit { watts: None, every_seconds: None }).after(5.0);
    let (mut spec, mut state) = with_faults(busy(Workload::prefill()), vec![fault]);
    set(&mut state, 300);
    state.advance(&spec, BOOT + 3 * SECOND);
    spec.gpus[0].workload = Workload::training();
    state.adopt(&spec, 0);
    assert_eq!(state.faults_since, BOOT, "other work is no other table");
    spec.faults.push(Fault::new(FaultKind::AbsurdReading { of: Reading::Power, value: 0.0 }));
    state.adopt(&spec, 0);
    state.advance(&spec, BOOT + 7 * SECOND);
    assert_eq!(state.gpus[0].set_mw, 300_000);
    state.advance(&spec, BOOT + 8 * SECOND);
    assert_eq!(state.gpus[0].set_mw, 700_000);
}

#[test]
fn time_that_goes_back_changes_nothing() {
    let (spec, mut state) = node(busy(Workload::prefill()));
    state.advance(&spec, BOOT + SECOND);
    let before = state.clone();
    state.advance(&spec, BOOT);
    assert_eq!(state, before);
}
