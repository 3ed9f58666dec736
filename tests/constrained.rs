//! Energy budgets, ramps, maintenance and order in the simulator: what was drawn, looked at from outside, keeps them.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::plan::by_name;
use heliotrope::simulate::outcome::Outcome;
use heliotrope::simulate::{run, setup};
use heliotrope::units::{Moment, Seconds};
use heliotrope::yaml::Document;

const HOUR: i64 = 3600;

/// Two days of a row of 8 kW, cheap at night; six hours of 1 kW each two hours, that may wait for a day.
fn outcome(domain: &str, pool: &str, more: &str) -> Result<Outcome, String> {
    let text = format!(
        "apiVersion: heliotrope.dev/v1alpha1
kind: Scenario
start: 2026-04-14T00:00:00Z
duration: 72h
site:
  domains: [{{name: row, capWatts: 8000, {domain}}}]
  pools: [{{name: row, nodes: 2, acceleratorsPerNode: 4, domain: row, {pool}}}]
signals: {{price: {{file: price.csv, format: price-csv}}}}
jobs: {{file: jobs.csv, format: gaia-csv, wattsPerUnit: 1000, waits: {{shortBelow: 1h, short: 4h, long: 24h}}, interruptible: true}}
{more}"
    );
    let mut prices = "Datetime (UTC),Price (USD/MWh)\n".to_owned();
    for hour in 0..96 {
        let price = if hour % 24 < 8 { 20 } else { 90 };
        prices += &format!("2026-04-{} {:02}:00:00,{price}\n", 14 + hour / 24, hour % 24);
    }
    let mut jobs = "arrival_time,length,cpus\n".to_owned();
    (0..12).for_each(|i| jobs += &format!("{},{},1\n", i * 2 * HOUR, 6 * HOUR));
    let document = Document::parse(&text, "site.yaml").map_err(|error| error.to_string())?;
    let read = |path: &str| Ok(if path == "price.csv" { prices.clone() } else { jobs.clone() });
    let setup = setup(&document, &read).map_err(|error| error.to_string())?;
    run(&setup, by_name("heliotrope").unwrap().as_ref(), &|_| ()).map_err(|error| error.to_string())
}

fn start() -> Moment {
    "2026-04-14T00:00:00Z".parse().unwrap()
}

/// Watts of the row over a time, as the simulator's meter has them: when each begins.
fn draws(outcome: &Outcome, from: Moment, until: Moment) -> Vec<(Moment, Moment, i64)> {
    let draw = &outcome.domains[0].draw;
    draw.pieces(from, until).map(|(from, until, watts)| (from, until, watts.0)).collect()
}

fn kwh(outcome: &Outcome, from: Moment, until: Moment) -> f64 {
    let joules: i64 = draws(outcome, from, until).iter().map(|(from, until, watts)| watts * (*until - *from).0).sum();
    joules as f64 / 3.6e6
}

#[test]
fn no_day_takes_more_than_its_energy_and_all_is_done() {
    let free = outcome("", "", "").unwrap();
    let bound = outcome("energyBudgets: [{kwh: 30, every: 24h}]", "", "").unwrap();
    let days = |outcome: &Outcome| -> Vec<f64> {
        let day = |n: i64| start() + Seconds(n * 24 * HOUR);
        (0..3).map(|n| kwh(outcome, day(n), day(n + 1))).collect()
    };
    assert!(days(&free).iter().any(|kwh| *kwh > 30.5), "{:?}", days(&free));
    assert!(days(&bound).iter().all(|kwh| *kwh <= 30.0), "{:?}", days(&bound));
    let sum: f64 = days(&bound).iter().sum();
    assert!((sum - 72.0).abs() < 0.01, "{:?}", days(&bound));
}

#[test]
fn what_begins_in_a_slot_is_no_more_than_the_ramp() {
    let free = outcome("", "", "").unwrap();
    // 2 kW in a quarter of an hour, up
    let bound = outcome("rampUpWattsPerSecond: 3", "", "").unwrap();
    let most = |outcome: &Outcome| -> i64 {
        let at = |slot: i64| start() + Seconds(slot * 900);
        let level = |at: Moment| draws(outcome, at, at + Seconds(1))[0].2;
        (1..288).map(|slot| level(at(slot)) - level(at(slot - 1))).max().unwrap()
    };
    assert!(most(&free) > 2700, "{}", most(&free));
    assert!(most(&bound) <= 2700, "{}", most(&bound));
    assert_eq!(bound.workloads.iter().filter(|workload| workload.finished.is_none()).count(), 0);
}

#[test]
fn nothing_draws_while_the_pool_is_in_maintenance() {
    let window = "maintenance: [{from: 2026-04-15T00:00:00Z, until: 2026-04-15T06:00:00Z}]";
    let bound = outcome("", window, "").unwrap();
    let from: Moment = "2026-04-15T00:00:00Z".parse().unwrap();
    assert_eq!(kwh(&bound, from, from + Seconds(6 * HOUR)), 0.0);
    assert!(kwh(&outcome("", "", "").unwrap(), from, from + Seconds(6 * HOUR)) > 10.0);
    assert_eq!(bound.workloads.iter().filter(|workload| workload.finished.is_none()).count(), 0);
}

const CHAIN: &str = "workloads:
- {name: evaluate, expectedDurationSeconds: 3600, wattsPerAccelerator: 1000, maxDelaySeconds: 90000, after: [tune]}
- {name: tune, expectedDurationSeconds: 7200, wattsPerAccelerator: 1000, maxDelaySeconds: 90000}
";

#[test]
fn what_comes_after_starts_when_the_other_has_finished() {
    let outcome = outcome("", "", CHAIN).unwrap();
    let of = |id: &str| outcome.workloads.iter().find(|workload| *workload.id == *id).unwrap();
    let (evaluate, tune) = (of("evaluate"), of("tune"));
    assert!(evaluate.runs[0].from >= tune.finished.unwrap());
    assert!(evaluate.finished.unwrap() <= start() + Seconds(90_000 + HOUR));
}

#[test]
fn what_can_not_be_meant_so_is_named() {
    let wrong = |domain: &str, pool: &str, more: &str| outcome(domain, pool, more).map(|_| ()).unwrap_err();
    for (error, words) in [
        (wrong("energyBudgets: [{kwh: 1, every: 0s}]", "", ""), "site.domains[0].energyBudgets[0].every"),
        (wrong("rampUpWattsPerSecond: 0", "", ""), "site.domains[0].rampUpWattsPerSecond"),
        (
            wrong("", "maintenance: [{from: 2026-04-15T00:00:00Z, until: 2026-04-15T00:00:00Z}]", ""),
            "site.pools[0].maintenance[0].until",
        ),
        (wrong("", "", &CHAIN.replace("[tune]", "[tun]")), "there is no workload `tun`"),
        (wrong("", "", &CHAIN.replace("90000}\n", "90000, after: [evaluate]}\n")), "waits for itself"),
    ] {
        assert!(error.contains(words), "{error}");
    }
}
