//! Work that may be slowed, in the simulator: it runs at the pace that is planned, is charged what it draws there, and does all that was
//! asked, to the millionth; what has no profile, or one with a single point, runs as ever.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::plan::{Pace, by_name};
use heliotrope::simulate::outcome::Outcome;
use heliotrope::simulate::summary::{Summary, summarise};
use heliotrope::simulate::{run, setup};
use heliotrope::units::Seconds;
use heliotrope::yaml::Document;
use proptest::prelude::*;

/// 100, 200 and 350 W do 240, 807 and 1000 thousandths.
const CURVE: &str = "Workload,GPU power cap,normalized throughput,power per GPU
mine,400,1.0,350
mine,200,0.807,200
mine,100,0.24,100
flat,400,1.0,350
";

struct Site<'a> {
    cap: i64,
    host: i64,
    /// A price for each hour.
    prices: &'a [i64],
    /// Arrival, length and units of each.
    jobs: &'a [(i64, i64, u32)],
    watts: &'a str,
    is_divisible: bool,
    more: &'a str,
}

fn outcome(site: &Site<'_>, policy: &str) -> Outcome {
    let Site { cap, host, watts, is_divisible, more, .. } = site;
    let text = format!(
        "apiVersion: heliotrope.dev/v1alpha1
kind: Scenario
start: 2026-04-14T00:00:00Z
duration: 96h
slot: 5s
site:
  domains: [{{name: site, capWatts: {cap}}}]
  pools: [{{name: row, nodes: 2, acceleratorsPerNode: 4, hostWatts: {host}, domain: site}}]
signals: {{price: {{file: price.csv, format: price-csv}}}}
profiles: [{{name: mine, file: curve.csv}}, {{name: flat, file: curve.csv}}]
jobs: {{file: jobs.csv, format: gaia-csv, {watts}, waits: {{shortBelow: 1h, short: 4h, long: 12h}}, interruptible: {is_divisible}}}
{more}"
    );
    let mut prices = "Datetime (UTC),Price (USD/MWh)\n".to_owned();
    for (hour, price) in (0..96).zip(site.prices.iter().cycle()) {
        prices += &format!("2026-04-{} {:02}:00:00,{price}\n", 14 + hour / 24, hour % 24);
    }
    let mut jobs = "arrival_time,length,cpus\n".to_owned();
    site.jobs.iter().for_each(|(arrival, length, units)| jobs += &format!("{arrival},{length},{units}\n"));
    let document = Document::parse(&text, "site.yaml").unwrap();
    let read = |path: &str| {
        Ok(match path {
            "price.csv" => prices.clone(),
            "jobs.csv" => jobs.clone(),
            _ => CURVE.to_owned(),
        })
    };
    let setup = setup(&document, &read).unwrap_or_else(|error| panic!("{error}"));
    run(&setup, by_name(policy).unwrap().as_ref(), &|_| ()).unwrap_or_else(|error| panic!("{error}"))
}

fn figures(site: &Site<'_>, policy: &str) -> Summary {
    summarise(&outcome(site, policy), None)
}

/// When each run was, in seconds, and at how many thousandths of full speed.
fn ran(outcome: &Outcome, i: usize) -> Vec<(i64, i64, u32)> {
    let runs = outcome.workloads[i].runs.iter();
    runs.map(|run| ((run.from - outcome.start).0, (run.to - outcome.start).0, run.pace.per_million() / 1000)).collect()
}

const PRICES: [i64; 6] = [95, 20, 90, 95, 95, 95];

#[test]
fn it_runs_at_the_planned_pace_and_is_charged_for_it() {
    let mut prices = [95; 24];
    (prices[1], prices[2]) = (20, 90);
    let site = Site {
        cap: 10_000,
        host: 0,
        prices: &prices,
        jobs: &[(0, 5000, 1)],
        watts: "profile: mine",
        is_divisible: true,
        more: "",
    };
    let outcome = outcome(&site, "heliotrope");
    // an hour at full in the cheap hour holds 3600; 1400 / 0.807 are 1734.8
    assert_eq!(ran(&outcome, 0), [(3600, 7200, 1000), (7200, 8935, 807)]);
    let summary = summarise(&outcome, None);
    assert_eq!((summary.limit_changes, summary.suspensions, summary.work_percent), (1, 0, 100.0));
    let joules = |hour: f64, after: f64| hour * 350.0 * 3600.0 + after * 200.0 * 1735.0;
    assert_eq!(summary.energy_kwh, (joules(1.0, 1.0) / 3.6).round() / 1e6);
    assert_eq!(summary.cost, (joules(20.0, 90.0) / 3600.0).round() / 1e6);
    // it would have done the work 3935 s sooner at full from its arrival on: all that is a wait
    assert_eq!(summary.mean_wait_hours, (3935.0 / 3600.0_f64 * 1e6).round() / 1e6);
    let bound = summary.lower_bound.unwrap().cost;
    assert!(bound <= summary.cost && summary.cost - bound < 1e-5, "{bound} of {}", summary.cost);
}

#[test]
fn a_cap_that_falls_slows_it_instead_of_stopping_it() {
    // with 500 W of the host full is the cheapest point: 850 W, and 700 W slowed
    let more = "workloads: [{name: tight, expectedDurationSeconds: 10800, maxDelaySeconds: 695, profile: mine, checkpoint: {}}]
events: [{domain: site, start: 2026-04-14T01:00:00Z, end: 2026-04-14T02:00:00Z, target: {capWatts: 750}}]";
    let jobs = [(40_000, 100, 1)];
    let site =
        Site { cap: 900, host: 500, prices: &[50], jobs: &jobs, watts: "wattsPerUnit: 350", is_divisible: true, more };
    let outcome = outcome(&site, "heliotrope");
    // it has no time to wait for the hour to end; slowed it does 2905 of its 3600
    assert_eq!(ran(&outcome, 0), [(0, 3600, 1000), (3600, 7200, 807), (7200, 11_495, 1000)]);
    let summary = summarise(&outcome, None);
    assert_eq!((summary.suspensions, summary.seconds_over_cap, summary.deadline_misses), (0, 0, 0));
    assert_eq!((summary.limit_changes, summary.work_percent), (2, 100.0));
}

/// A workload and, for what the scenario wants of jobs, one that comes later and is done at once.
fn beside(workload: &str, prices: &[i64], host: i64) -> Outcome {
    let more = format!("workloads: [{workload}]");
    let jobs = [(300_000, 100, 1)];
    let watts = "wattsPerUnit: 350";
    outcome(&Site { cap: 10_000, host, prices, jobs: &jobs, watts, is_divisible: true, more: &more }, "heliotrope")
}

#[test]
fn an_elastic_workload_has_as_many_replicas_as_its_supply_is_worth() {
    let mut prices = [95; 96];
    prices[1] = 20;
    let wide = |more: &str, host: i64| {
        let workload = format!(
            "{{name: wide, expectedDurationSeconds: 7200, maxDelaySeconds: 21600, wattsPerAccelerator: 350, checkpoint: {{}},
               replicas: {{min: 1, max: 4, {more}}}}}"
        );
        beside(&workload, &prices, host)
    };
    // with one replica it does 400 ‰ of its work for a quarter of the watts
    let outcome = wide("speedPermille: [400, 700, 900, 1000]", 0);
    // an hour at full at 20, and another at the width that does most with a kWh; that ends within 6 h of delay
    assert_eq!(ran(&outcome, 0), [(0, 3600, 400), (3600, 7200, 1000), (7200, 12_600, 400)]);
    let summary = summarise(&outcome, None);
    assert_eq!((summary.limit_changes, summary.suspensions, summary.deadline_misses), (2, 0, 0));
    // the other one draws 350 W for 100 s
    let watt_seconds = 350.0 * (3600.0 + 4.0 * 3600.0 + 5400.0 + 100.0);
    assert_eq!(summary.energy_kwh, (watt_seconds / 3.6_f64).round() / 1e6);
    assert_eq!(outcome.workloads[0].accelerators, 4);
    let bound = summary.lower_bound.unwrap().cost;
    assert!(bound <= summary.cost && summary.cost - bound < 1e-5, "{bound} of {}", summary.cost);

    // in step with its replicas, narrow work does no more with a kWh: what is cheap is run at full
    assert!(ran(&wide("", 0), 0).iter().any(|(from, to, pace)| *from <= 3600 && 7200 <= *to && *pace == 1000));
    // four accelerators sit in each of the two hosts: narrow work holds a host for longer
    assert!(ran(&wide("speedPermille: [400, 700, 900, 1000]", 3000), 0).iter().all(|run| run.2 == 1000));
}

#[test]
fn a_deadline_is_kept_where_the_work_takes_as_long_as_it_may() {
    let mut prices = [95; 96];
    prices[4..8].fill(20);
    let with = |more: &str| {
        let workload = format!(
            "{{name: unsure, expectedDurationSeconds: 7200, actualDurationSeconds: 14400, wattsPerAccelerator: 350, checkpoint: {{}},
               deadline: 2026-04-14T08:00:00Z, {more}}}"
        );
        let outcome = beside(&workload, &prices, 0);
        (ran(&outcome, 0)[0].0, summarise(&outcome, None).deadline_misses)
    };
    // planned as expected it begins in the last moment at the cheapest price, and takes twice as long
    let hour = |hours: i64| hours * 3600;
    let (start, misses) = with("");
    assert!(start >= hour(4) && misses == usize::from(start > hour(4)), "{start}, {misses} missed");
    // two hours are kept back for what it may take longer; with three it begins sooner, at a higher price
    assert_eq!(with("durationUpToSeconds: 14400"), (hour(4), 0));
    let (start, misses) = with("durationUpToSeconds: 18000");
    assert!(start == hour(3) && misses == 0, "{start}, {misses} missed");
}

#[test]
fn what_can_not_be_stopped_is_let_go_where_it_would_be_late() {
    let with = |more: &str, cap: i64| {
        let workload = format!("{{name: whole, expectedDurationSeconds: 7200, profile: mine, {more}}}");
        let jobs = [(300_000, 100, 1)];
        let more = format!("workloads: [{workload}]");
        let site = Site {
            cap,
            host: 0,
            prices: &[50],
            jobs: &jobs,
            watts: "wattsPerUnit: 150",
            is_divisible: true,
            more: &more,
        };
        let outcome = outcome(&site, "heliotrope");
        let summary = summarise(&outcome, None);
        let bound = summary.lower_bound.unwrap().cost;
        assert!(summary.deadline_misses > 0 || bound <= summary.cost, "{bound} of {}", summary.cost);
        (ran(&outcome, 0), summary.deadline_misses)
    };
    // as expected it keeps one pace: 7200 / 0.807 are 8921.9
    let by = "deadline: 2026-04-14T03:00:00Z";
    assert_eq!(with(by, 10_000), (vec![(0, 8922, 807)], 0));
    // once it outlives what was expected it is believed to take half as long again, which at its pace is too long
    let longer = format!("{by}, actualDurationSeconds: 9000");
    assert_eq!(with(&longer, 10_000), (vec![(0, 8922, 807), (8922, 10_722, 1000)], 0));
    // where there is no room for that it goes on as it does
    assert_eq!(with(&longer, 200), (vec![(0, 11_153, 807)], 1));
}

#[test]
fn a_profile_of_one_point_is_fixed_power() {
    let jobs = [(0, 4000, 2), (1000, 9000, 1), (1000, 3000, 3), (20_000, 12_345, 4)];
    for (policy, is_divisible) in [("heliotrope", true), ("heliotrope", false), ("run-now", true), ("ecovisor", true)] {
        let with = |watts| {
            let site =
                Site { cap: 1500, host: 100, prices: &PRICES, jobs: &jobs, watts, is_divisible, more: "seed: 3" };
            serde_json::to_string(&figures(&site, policy)).unwrap()
        };
        assert_eq!(with("profile: flat"), with("wattsPerUnit: 350"), "{policy}");
    }
}

/// So that a file with watts can be run with a profile, its watts are taken back by `null`.
#[test]
fn watts_are_taken_back_by_null() {
    let with = |watts| {
        let jobs = [(0, 5000, 1)];
        figures(
            &Site { cap: 1000, host: 0, prices: &PRICES, jobs: &jobs, watts, is_divisible: true, more: "" },
            "heliotrope",
        )
    };
    assert_eq!(with("wattsPerUnit: null, profile: mine"), with("profile: mine"));
}

/// A host decides how slowly work is worth running, so it is in what no policy can go below.
#[test]
fn hosts_are_in_the_bound_of_what_may_be_slowed() {
    let cost = |host| {
        let jobs = [(0, 5000, 4)];
        let site =
            Site { cap: 9000, host, prices: &[50], jobs: &jobs, watts: "profile: mine", is_divisible: true, more: "" };
        let outcome = outcome(&site, "heliotrope");
        let summary = summarise(&outcome, None);
        let bound = summary.lower_bound.unwrap().cost;
        assert!(bound <= summary.cost && summary.cost - bound < summary.cost / 1000.0, "{bound} of {}", summary.cost);
        (ran(&outcome, 0)[0].2, outcome.energy.0)
    };
    assert_eq!(cost(400), (807, 6196 * (800 + 400)));
    assert_eq!(cost(2000), (1000, 5000 * (1400 + 2000)));
}

#[test]
fn what_is_not_interruptible_keeps_one_pace() {
    let jobs = [(0, 4000, 2), (1000, 9000, 1), (1000, 3000, 3), (20_000, 12_345, 4)];
    let site = Site {
        cap: 1500,
        host: 0,
        prices: &PRICES,
        jobs: &jobs,
        watts: "profile: mine",
        is_divisible: false,
        more: "",
    };
    let outcome = outcome(&site, "heliotrope");
    let summary = summarise(&outcome, None);
    assert_eq!((summary.limit_changes, summary.suspensions, summary.jobs_finished), (0, 0, 4));
    assert!(outcome.workloads.iter().all(|one| one.runs.len() == 1));
    assert!(outcome.workloads.iter().any(|one| !one.runs[0].pace.is_full()));
    assert!(summary.lower_bound.unwrap().cost <= summary.cost);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Nothing is over the cap, all work is done and no more than a second beyond, deadlines are kept where they are at full, it costs no
    /// more than at full (but for what a change of plan is worth), and no less than the bound.
    #[test]
    fn slowed_work_is_all_done_and_costs_no_more(
        jobs in proptest::collection::vec((0..100_000_i64, 100..20_000_i64, 1..4_u32), 1..12),
        prices in proptest::collection::vec(5..200_i64, 3..24),
        // the widest of them fits at full
        cap in 1200..3000_i64,
        host in 0..150_i64,
        is_divisible in any::<bool>(),
    ) {
        let site = |watts| Site { cap, host, prices: &prices, jobs: &jobs, watts, is_divisible, more: "" };
        let outcome = outcome(&site("profile: mine"), "heliotrope");
        let slowed = summarise(&outcome, None);
        prop_assert_eq!(slowed.seconds_over_cap, 0);
        prop_assert_eq!(slowed.jobs_finished, jobs.len());
        prop_assert_eq!(slowed.work_percent, 100.0);
        for one in &outcome.workloads {
            let done: i128 = one.runs.iter().map(|run| run.pace.work(run.to - run.from)).sum();
            let asked = Pace::FULL.work(one.length);
            prop_assert!(asked <= done && done < asked + Pace::FULL.work(Seconds(1)), "{} of {}", done, asked);
            prop_assert!(one.runs.windows(2).all(|pair| pair[0].to <= pair[1].from), "{:?}", one.runs);
        }
        for policy in ["carbon-scaler", "uniform-cap", "dvfs-fair", "two-threshold"] {
            let other = summarise(&self::outcome(&site("profile: mine"), policy), None);
            prop_assert_eq!((other.seconds_over_cap, other.jobs_finished), (0, jobs.len()), "{}", policy);
            prop_assert_eq!(other.work_percent, 100.0);
        }
        let full = figures(&site("profile: flat"), "heliotrope");
        prop_assert!(slowed.deadline_misses <= full.deadline_misses, "{} misses, {} at full", slowed.deadline_misses, full.deadline_misses);
        prop_assert!(slowed.cost <= full.cost * 1.02, "{} costs more than {}", slowed.cost, full.cost);
        if slowed.deadline_misses == 0 {
            prop_assert!(slowed.lower_bound.as_ref().unwrap().cost <= slowed.cost + 1e-9);
        }
        prop_assert_eq!(serde_json::to_string(&figures(&site("profile: mine"), "heliotrope")).unwrap(), serde_json::to_string(&slowed).unwrap());
    }
}
