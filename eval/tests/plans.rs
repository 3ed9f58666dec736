//! Plans against the exact LP: no plan costs less than it, and no bound is above it.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::chance::random;
use heliotrope::core::domain::{DomainSpec, DomainTree};
use heliotrope::core::plan::checker::check;
use heliotrope::core::plan::{
    BudgetOf, BudgetWindow, Constraints, EnergyBudget, Heliotrope, Load, Outage, Pace, Policy, Pool, PoolChoice,
    PoolId, Problem, Supply, Suspension, Workload, worth_choosing,
};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Joules, Moment, Seconds, Watts};
use heliotrope_eval::{e1, e2, lp, section};

const HOUR: i64 = 3600;

/// Draw and pace of an accelerator, as parts of those at full in thousandths.
const POINTS: [(i64, u32); 4] = [(1000, 1000), (720, 904), (570, 807), (290, 240)];

/// The same site with operating points, and hosts that draw.
fn site_with_points(seed: u64, count: u64) -> Problem {
    let mut problem = site(seed, count);
    for pool in &mut problem.pools {
        pool.host_extra = Watts(i64::try_from(60 * (seed % 3)).unwrap());
    }
    for workload in &mut problem.workloads {
        let full = std::mem::take(&mut workload.choices);
        let points = full.into_iter().flat_map(|choice| {
            POINTS.map(|(watts, permille)| {
                let load = Load { watts: Watts(choice.load.watts.0 * watts / 1000), ..choice.load };
                PoolChoice { load, pace: Pace::millionths(permille * 1000).unwrap(), ..choice }
            })
        });
        workload.choices = points.collect();
    }
    problem
}

/// The same site where each workload runs in one, two or four accelerators, at full or at less: what is added last does less.
fn site_with_widths(seed: u64, count: u64) -> Problem {
    let mut problem = site(seed, count);
    for workload in &mut problem.workloads {
        let full = std::mem::take(&mut workload.choices);
        let points = full.into_iter().flat_map(|choice| {
            let each = [(4, 1000), (2, 640), (1, 370)]
                .into_iter()
                .flat_map(|width| POINTS[..3].iter().map(move |point| (width, point)));
            each.map(move |((accelerators, speed), (watts, permille))| {
                let watts = Watts(choice.load.watts.0 * watts / 1000).times(accelerators);
                PoolChoice {
                    load: Load { watts, accelerators, hosts: accelerators },
                    pace: Pace::millionths(speed * permille).unwrap(),
                    ..choice
                }
            })
        });
        workload.choices = worth_choosing(&points.collect::<Vec<_>>()).0;
    }
    problem
}

/// A site with two rows, and work that can be broken; all of it by chance.
fn site(seed: u64, count: u64) -> Problem {
    let draw = |at: u64, below: i64| i64::try_from(random(seed, at) % below.unsigned_abs()).unwrap();
    let cap = |at: u64, least: i64| {
        let mut cap = Steps::constant(Watts(least + draw(at, 4000)));
        let from = Moment(HOUR * draw(at + 1, 20));
        cap.update(from, from + Seconds(3 * HOUR), |cap| Watts(cap.0 * 3 / 4));
        cap
    };
    let domain = |name: &str, parent: Option<&str>, cap| DomainSpec {
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
        cap,
        baseline: Watts(0),
        overhead_permille: 50,
    };
    let tree = DomainTree::new(vec![
        domain("site", None, cap(1, 9000)),
        domain("row-a", Some("site"), cap(3, 5000)),
        domain("row-b", Some("site"), cap(5, 5000)),
    ])
    .unwrap();
    let pools = ["row-a", "row-b"].map(|name| Pool {
        name: name.to_owned(),
        domain: tree.find(name).unwrap(),
        supply: 0,
        accelerators: 12,
        nodes: 12,
        idle: Watts(0),
        host_extra: Watts(0),
        places: None,
        frozen: None,
        least: None,
    });
    let workloads = (0..count).map(|i| {
        let of = |what: u64, below: i64| draw(100 + i * 8 + what, below);
        let arrival = Moment(60 * of(0, 600));
        let length = Seconds(300 + 60 * of(1, 200));
        let load = Load { watts: Watts(200 + 100 * of(2, 9)), accelerators: 1, hosts: 1 };
        let pools = if of(3, 3) == 0 { 0..1 } else { 0..2 };
        Workload {
            id: format!("w{i:03}").into(),
            priority: 0,
            arrival,
            remaining: length,
            choices: pools.map(|pool| PoolChoice::full(PoolId(pool), load)).collect(),
            running: None,
            suspension: Suspension::ForSupply { cost: Seconds(0) },
            stops_later_by: Seconds::ZERO,
            ahead: 0,
            start_by: None,
            finish_by: Some(arrival + length + Seconds(60 * (300 + of(4, 900)))),
            uncertain: None,
        }
    });
    let workloads = workloads.collect();
    let prices = (0..48).map(|hour| (Moment(hour * HOUR), 10_000_000 + 1_000_000 * draw(50 + hour.unsigned_abs(), 90)));
    Problem {
        now: Moment(0),
        seed,
        slot: Seconds(1),
        horizon: Seconds(7 * Seconds::DAY.0),
        tree,
        pools: pools.to_vec(),
        supplies: vec![Supply::at(Steps::new(100_000_000, prices))],
        delay_cost_per_hour: 0,
        workloads,
        fixed: Vec::new(),
        constraints: Constraints::default(),
        thorough: true,
        previous: None,
    }
}

/// The same site under a roof that makes something by day.
fn site_under_a_roof(seed: u64, count: u64) -> Problem {
    let mut problem = if seed.is_multiple_of(2) { site(seed, count) } else { site_with_points(seed, count) };
    let made = (0..48).map(|hour: i64| {
        let most = (5 - (hour % 24 - 12).abs()).max(0) * 700;
        let clouds = i64::try_from(random(seed, 9000 + hour.unsigned_abs()) % 1000).unwrap();
        (Moment(hour * HOUR), most * clouds / 1000)
    });
    problem.supplies[0].own = Some(Steps::new(0, made));
    problem
}

/// The same site, of which row a has less energy each half day than it would take, and row b is out of service for some hours.
fn site_with_budgets(seed: u64, count: u64) -> Problem {
    let mut problem = if seed.is_multiple_of(2) { site(seed, count) } else { site_with_points(seed, count) };
    let domain = problem.tree.find("row-a").unwrap();
    let window = |n: i64| {
        let kwh = 14 + i64::try_from(random(seed, 9100 + n.unsigned_abs()) % 10).unwrap();
        let from = Moment(12 * HOUR * n + 1800);
        BudgetWindow { from, until: from + Seconds(12 * HOUR), left: Joules(kwh * 3_600_000) }
    };
    let windows = (0..4).map(window).collect();
    problem.constraints = Constraints {
        budgets: vec![EnergyBudget { name: "half a day".to_owned(), of: BudgetOf::Domain(domain), windows }],
        outages: vec![Outage { pool: PoolId(1), accelerators: 8, from: Moment(6 * HOUR), until: Moment(9 * HOUR) }],
        ..Constraints::default()
    };
    problem
}

#[test]
fn no_bound_is_above_the_exact_optimum_and_no_plan_below() {
    const MILLIONTHS: f64 = 3.6e9;
    let worlds = (0..12).map(|seed| (seed, site(seed, 12 + 6 * seed)));
    let with_points = (20..28).map(|seed| (seed, site_with_points(seed, 6 * (seed - 18))));
    let with_budgets = (60..68).map(|seed| (seed, site_with_budgets(seed, 6 * (seed - 58))));
    let with_widths = (80..86).map(|seed| (seed, site_with_widths(seed, 5 * (seed - 78))));
    for (seed, problem) in worlds.chain(with_points).chain(with_budgets).chain(with_widths) {
        let plan = Heliotrope.plan(&problem);
        assert_eq!(check(&problem, &plan), vec![], "seed {seed}");
        assert_eq!(plan.misses(), 0, "seed {seed}: these sites have room for all");
        let least = lp::least_cost(&problem).unwrap() / MILLIONTHS;
        let (bound, cost) = (plan.bound.unwrap().0 as f64, plan.cost.0 as f64);
        assert!(bound <= least * (1.0 + 1e-6) + 1.0, "seed {seed}: bound {bound}, the LP {least}");
        assert!(least <= cost * (1.0 + 1e-6) + 1.0, "seed {seed}: the LP {least}, the plan {cost}");
        // a few that are wide fill a pool by themselves: prices of so few are found less well
        let is_wide = seed >= 80;
        let low = if is_wide { 0.97 } else { 0.98 };
        println!("seed {seed}: bound {:.4}, plan {:.4} of the LP", bound / least, cost / least);
        assert!(bound >= least * low, "seed {seed}: a bound of {bound} says little, the LP {least}");
        assert!(cost < least * 1.05, "seed {seed}: a plan is {:.3} of the LP", cost / least);
    }
}

/// The LP uses what is generated as a mean over each hour, a plan second by second: for a few that draw much that is far more.
#[test]
fn under_a_roof_no_bound_is_above_the_exact_optimum_and_a_crowd_comes_near_it() {
    const MILLIONTHS: f64 = 3.6e9;
    for seed in 40..50 {
        let problem = site_under_a_roof(seed, 6 * (seed - 38));
        let plan = Heliotrope.plan(&problem);
        assert_eq!((check(&problem, &plan), plan.misses()), (vec![], 0), "seed {seed}");
        let least = lp::optimum(&problem).unwrap();
        assert!(least.own > 0.0, "seed {seed}: nothing of the roof is used");
        let least = least.cost / MILLIONTHS;
        let (bound, cost) = (plan.bound.unwrap().0 as f64, plan.cost.0 as f64);
        assert!(bound <= least * (1.0 + 1e-6) + 1.0, "seed {seed}: bound {bound}, the LP {least}");
        assert!(least <= cost * (1.0 + 1e-6) + 1.0, "seed {seed}: the LP {least}, the plan {cost}");
        assert!(bound >= least * 0.9, "seed {seed}: a bound of {bound} says little, the LP {least}");
        let is_crowd = problem.workloads.len() >= 48;
        assert!(!is_crowd || cost < least * 1.1, "seed {seed}: a plan is {:.2} of the LP", cost / least);
    }
}

#[test]
fn a_small_month_stays_under_its_cap_and_near_the_optimum() {
    let data = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !data.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "the shared data is needed in CI: {} is not there", data.display());
        eprintln!("skipped: needs the shared data at {}", data.display());
        return;
    }
    let folder = std::env::temp_dir().join(format!("heliotrope-e1-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let jobs = folder.join("jobs.csv");
    let all = std::fs::read_to_string(data.join("jobs/gaia-pai/pai_1k.csv")).unwrap();
    let few: Vec<&str> = all.lines().take(81).collect();
    std::fs::write(&jobs, few.join("\n") + "\n").unwrap();
    let found = e1::run(&e1::Setting {
        zones: vec![("DE-LU".to_owned(), data.join("carbon/DE-LU_2022_hourly.csv"))],
        jobs,
        start: "2022-10-19T16:00:00Z".to_owned(),
        hours: 720,
        caps: vec![None, Some(30_000)],
        shortest: vec![5],
        stop_costs: vec![60, 600],
        seed: 1,
    })
    .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    for capped in &found.zones[0].caps {
        let ran = &capped.runs[0];
        assert_eq!((ran.seconds_over, ran.misses, ran.finished), (0, 0, 80), "{:?}", capped.cap_watts);
        assert!(
            ran.share_percent > 95.0 && ran.share_percent < 100.01,
            "{:?}: {}",
            capped.cap_watts,
            ran.share_percent
        );
        assert!(ran.bound_percent.unwrap() >= capped.lp_saved_percent - 0.01);
        // the dearer a stop the fewer there are, and the less is saved: never more than without, and never more than could be
        let mut before = (ran.bound_percent.unwrap(), usize::try_from(ran.suspensions).unwrap());
        for stops in &capped.stops {
            assert!(stops.saved_percent < before.0 && stops.suspensions < before.1, "{stops:?} after {before:?}");
            assert!(stops.saved_percent <= stops.bound_percent.unwrap() + 1e-9 && stops.misses == 0, "{stops:?}");
            before = (stops.saved_percent, stops.suspensions);
        }
        assert!(capped.stops.len() == 2 && before.0 > 0.5 * ran.saved_percent, "{:?}", capped.stops);
    }
    let text = section::e1(&found);
    let row = format!("({:.1} %) |", found.zones[0].caps[1].runs[0].share_percent);
    assert!(text.contains(&row), "{row}\n{text}");
}

#[test]
fn a_small_month_with_points_saves_what_neither_waiting_nor_slowing_does_alone() {
    let data = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !data.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "the shared data is needed in CI: {} is not there", data.display());
        eprintln!("skipped: needs the shared data at {}", data.display());
        return;
    }
    let folder = std::env::temp_dir().join(format!("heliotrope-e2-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let jobs = folder.join("jobs.csv");
    let all = std::fs::read_to_string(data.join("jobs/gaia-pai/pai_1k.csv")).unwrap();
    let few: Vec<&str> = all.lines().take(41).collect();
    std::fs::write(&jobs, few.join("\n") + "\n").unwrap();
    let found = e2::run(&e2::Setting {
        zones: vec![("DE-LU".to_owned(), data.join("carbon/DE-LU_2022_hourly.csv"))],
        jobs,
        sweep: data.join("gpu-power/a100_llm_power_limit_sweep.csv"),
        start: "2022-10-19T16:00:00Z".to_owned(),
        hours: 720,
        hosts: vec![0, 200],
        cap_permille: Some(600),
        curves: vec![None, Some("pt_mpt_7b_fast".to_owned())],
        exact: true,
        seed: 1,
    })
    .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((found.jobs, found.rows.len()), (40, 6));
    for row in &found.rows {
        let at = format!("{:?} {} W {:?}: {row:?}", row.curve, row.host_watts, row.cap_watts);
        assert_eq!((row.misses, row.runs_shorter), (0, 0), "{at}");
        assert!(row.share_percent > 95.0 && row.share_percent < 100.01, "{at}");
        assert!(row.bound_percent >= row.lp_percent - 0.01, "{at}");
        assert!(row.saved_percent > row.shift_percent, "{at}");
        if let Some(throttle) = row.throttle_percent {
            assert!(row.lp_percent >= throttle && row.lp_percent >= row.shift_percent, "{at}");
        }
    }
    // the exact optimum of each job by itself is the LP's where there is no cap
    assert!(found.rows.iter().any(|row| row.cap_watts.is_none() && row.throttle_percent.is_some()));
    let text = section::e2(&found);
    assert!(text.contains(&format!("{:.1} % |", found.rows[0].share_percent)), "{text}");
}

#[test]
fn the_optimum_of_each_alone_is_the_lp_of_all_where_nothing_is_scarce() {
    let mut problem = site_with_points(22, 20);
    problem.tree = DomainTree::new(vec![DomainSpec {
        name: "site".to_owned(),
        parent: None,
        cap: Steps::constant(Watts(1_000_000)),
        baseline: Watts(0),
        overhead_permille: 0,
    }])
    .unwrap();
    problem.pools.truncate(1);
    problem.pools[0].domain = problem.tree.find("site").unwrap();
    problem.pools[0].accelerators = 1000;
    problem.pools[0].nodes = 1000;
    problem.workloads.iter_mut().for_each(|workload| workload.choices.retain(|choice| choice.pool == PoolId(0)));
    let (alone, all) = (e2::least(&problem, e2::May::Both).unwrap(), lp::least_cost(&problem).unwrap());
    assert!((alone / all - 1.0).abs() < 1e-5, "{alone} and {all}");
    let [shift, throttle] = [e2::May::Wait, e2::May::Slow].map(|may| e2::least(&problem, may).unwrap());
    assert!(alone < shift && alone < throttle, "{alone}, {shift}, {throttle}");
}
