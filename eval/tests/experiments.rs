//! The experiments at a small size: what must be true of them whatever the figures are.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope_eval::{data, e1, e3, e4, lp, published, section};
use std::path::PathBuf;

/// The shared data; none where it is not there, which is said. In CI it has to be.
fn shared() -> Option<PathBuf> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if data.is_dir() {
        return Some(data);
    }
    assert!(std::env::var_os("CI").is_none(), "the shared data is needed in CI: {} is not there", data.display());
    eprintln!("skipped: needs the shared data at {}", data.display());
    None
}

fn small(data: &std::path::Path) -> e3::Setting {
    e3::Setting {
        event: data.join("events/phoenix-srp"),
        sweep: data.join("gpu-power/a100_llm_power_limit_sweep.csv"),
        hold: 900,
        step: 200,
        steps: vec![30],
        seed: 7,
    }
}

#[test]
fn published_policies_save_what_their_authors_own_programs_do() {
    let Some(data) = shared() else { return };
    let setting = e1::Setting {
        zones: Vec::new(),
        jobs: data.join("jobs/gaia-pai/pai_1k.csv"),
        start: "2022-10-19T16:00:00Z".to_owned(),
        hours: 720,
        caps: Vec::new(),
        shortest: Vec::new(),
        stop_costs: Vec::new(),
        seed: 1,
    };
    for zone in ["US-CAL-CISO", "DE-LU", "KR"] {
        let peers = published::peers(&setting, zone, &data.join(format!("carbon/{zone}_2022_hourly.csv"))).unwrap();
        assert_eq!(peers.len(), 5, "{zone}");
        let wrong: Vec<_> = peers.iter().filter(|peer| !peer.agrees()).collect();
        assert!(wrong.is_empty(), "{zone}: {wrong:?}");
    }
    let elsewhere = e1::Setting { start: "2022-10-19T17:00:00Z".to_owned(), ..setting };
    assert!(published::peers(&elsewhere, "KR", &data.join("carbon/KR_2022_hourly.csv")).unwrap().is_empty());
}

#[test]
fn nobody_who_keeps_the_floors_beats_the_optimum_and_an_order_by_draw_is_held_closer() {
    let Some(data) = shared() else { return };
    let found = e3::run(&small(&data)).unwrap();
    assert_eq!(found.accelerators, 256);
    let event = &found.phoenix;
    let of = |name: &str| event.policies.iter().find(|held| held.policy == name).unwrap();
    let (ours, limits) = (of("Heliotrope, by draw"), of("Heliotrope, by limits"));
    for held in [ours, limits] {
        assert!(held.share_of_lp <= 1.0 && held.floors_broken == 0, "{}: {}", held.policy, held.share_of_lp);
        assert_eq!(held.seconds_above, 0, "{}", held.policy);
    }
    assert!(ours.weighted_performance > limits.weighted_performance, "{}", limits.weighted_performance);
    let [closer, far] = [ours, limits].map(|held| held.over_curtailment_percent);
    assert!(closer < far / 2.0, "{closer} and {far}");
    assert!(found.steps[0].policies[0].seconds_to_target.is_some_and(|seconds| seconds <= 30));
    // what is written is what was found
    let text = section::e3(&found);
    let row = format!("| {:.4} | {:.2} % |", ours.weighted_performance, ours.share_of_lp * 100.0);
    assert!(text.contains(&row), "{row}\n{text}");
}

#[test]
fn the_optimum_keeps_floors_first_and_uses_all_watts() {
    let Some(data) = shared() else { return };
    let setting = small(&data);
    let jobs = data::jobs(&setting.event, &setting.sweep).unwrap();
    let full: f64 = jobs.iter().map(|job| f64::from(job.gpus) * job.at(400.0).0).sum();
    let mut last = 0.0;
    for part in [0.55, 0.7, 0.85, 1.0] {
        let speeds = lp::best(&jobs, full * part).unwrap();
        assert!(jobs.iter().zip(&speeds).all(|(job, speed)| *speed > job.floor - 1e-6), "{part}: {speeds:?}");
        let done = lp::weighted(&jobs, &speeds);
        assert!(done > last, "{part}: {done} after {last}");
        last = done;
    }
    assert!((last - 1.0).abs() < 1e-6, "with all watts all is done: {last}");
    let error = lp::best(&jobs, 1000.0).unwrap_err();
    assert!(error.contains("the LP at 1000 W"), "{error}");
}

#[test]
fn servers_held_by_limits_are_never_over_and_by_nameplate_fewer_fit() {
    let Some(data) = shared() else { return };
    let setting = e4::Setting {
        power: data.join("gpu-power/acme/power_cdf.csv"),
        accelerators: vec![64],
        more: vec![0, 30],
        seconds: 300,
        seed: 3,
    };
    let found = e4::run(&setting).unwrap();
    let feed = &found.feeds[0];
    let ours = feed.most("Heliotrope").unwrap();
    assert_eq!((ours.more_percent, ours.servers), (30, 10));
    assert_eq!(feed.most("nameplate").unwrap().servers, 8);
    // at the lowest limits it would be 17.5 %: they have leases, and not their floors alone
    assert!(ours.work_kept_percent > 40.0, "{}", ours.work_kept_percent);
    assert!(f64::from(ours.more_percent) < feed.limit_percent, "{}", feed.limit_percent);
    let text = section::e4(&found);
    assert!(text.contains(&format!("| 64, Heliotrope | +30 % | 10 | {:.1} %", ours.work_kept_percent)), "{text}");
}

#[test]
fn data_that_can_not_be_used_is_told_with_its_place() {
    let folder = std::env::temp_dir().join(format!("heliotrope-eval-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let sweep = folder.join("sweep.csv");
    std::fs::write(&sweep, "Workload,cap,t,total,n,each\na,100,1,many,1,100\n").unwrap();
    std::fs::write(folder.join("SRP_exp_performance.csv"), "Model,Performance,Flexibility\na-1,1,Flex 1\n").unwrap();
    let error = data::jobs(&folder, &sweep).unwrap_err();
    assert!(error.contains("sweep.csv") && error.contains("\"many\""), "{error}");
    std::fs::write(folder.join("SRP_exp_performance.csv"), "Model,Performance,Flexibility\na-1,1,Flex 9\n").unwrap();
    assert!(data::jobs(&folder, &sweep).unwrap_err().contains("\"Flex 9\""));
    assert!(data::power_cdf(&folder.join("none.csv")).unwrap_err().contains("--data"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_section_is_written_anew_and_nothing_else() {
    let first = section::replace("# Measured\n\nby hand\n", "E3", "one\n").unwrap();
    let both = section::replace(&first, "E4", "two").unwrap();
    let again = section::replace(&both, "E3", "three").unwrap();
    assert!(again.starts_with("# Measured\n\nby hand\n") && again.contains("three") && again.contains("two"));
    assert!(!again.contains("one"));
    assert_eq!(section::replace(&again, "E3", "three").unwrap(), again);
    assert!(section::replace("<!-- eval-E3 begin -->", "E3", "x").is_err());
}
