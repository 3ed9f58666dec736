//! What the controller makes of the cluster's objects, before anything is decided: no server, no clock.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "common/objects.rs"]
mod objects;

use heliotrope::controller::config::Config;
use heliotrope::controller::leased::{DomainLeases, Leases};
use heliotrope::controller::points;
use heliotrope::controller::site::Site;
use heliotrope::controller::snapshot::Snapshot;
use heliotrope::controller::status;
use heliotrope::controller::world::{State, World, world};
use heliotrope::core::admit::{Action, cycle};
use heliotrope::core::plan::{Heliotrope, Load, Pace, PoolChoice, Suspension};
use heliotrope::core::steps::Steps;
use heliotrope::units::{Seconds, Watts};
use objects::{DEVICE, H100, NEW_YEAR, domain, grant, job, node, of, pod, runs, snapshot};
use serde_json::{Value, json};
use std::sync::Arc;

fn made(snapshot: &Snapshot) -> World {
    world(snapshot, &Config::default(), None)
}

fn site(snapshot: &Snapshot) -> Site {
    Site::new(snapshot, Seconds::DAY)
}

/// Watts and accelerators that can't be moved, in a pool.
fn fixed(world: &World, pool: usize) -> Load {
    let mut total = Load::default();
    for fixed in world.problem.fixed.iter().filter(|fixed| fixed.pool.0 == pool) {
        total.watts += fixed.load.watts;
        total.accelerators += fixed.load.accelerators;
    }
    total
}

#[test]
fn a_pool_has_the_idle_draw_of_its_nodes_and_what_their_hosts_may_add() {
    let site = site(&snapshot());
    assert_eq!(site.errors, []);
    let names: Vec<&str> = site.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((site.pools[0].accelerators, site.pools[0].nodes), (8, 1));
    assert_eq!(site.pools[0].idle, Watts(1000 + 8 * 105), "a host and eight devices that idle");
    assert_eq!(site.pools[0].host_extra, Watts(3000));
}

#[test]
fn a_node_of_no_class_is_charged_the_worst_and_says_so() {
    let mut snapshot = snapshot();
    for domain in &mut snapshot.domains {
        domain.spec.node_classes = Vec::new();
    }
    let site = site(&snapshot);
    assert_eq!(site.pools[0].idle, Watts(8 * (600 + 105)));
    assert_eq!(site.notes.iter().filter(|(domain, note)| domain == "a" && note.contains("nodeClass")).count(), 1);
}

#[test]
fn a_node_that_two_domains_claim_counts_in_both_and_nothing_new_starts_there() {
    let mut snapshot = snapshot();
    let both = json!({"capWatts": 20_000, "parent": "site", "nodeSelector": {"matchLabels": {"row": "a"}}});
    snapshot.domains.push(domain("twin", both));
    snapshot.jobs.push(job("waits", |_| {}));
    let world = made(&snapshot);
    let said: Vec<&str> = world.site.errors.iter().map(|(domain, _)| domain.as_str()).collect();
    assert_eq!(said, ["a", "twin"]);
    let text = "node a-0 is claimed by a and twin: it counts in each, and nothing new starts in them until only one selects it";
    assert_eq!(world.site.errors[0].1, text);
    let offered: Vec<&str> =
        world.problem.workloads[0].choices.iter().map(|choice| world.site.pools[choice.pool.0].name.as_str()).collect();
    assert_eq!(offered, ["b"]);
    let twin = world.site.pools.iter().position(|pool| pool.name == "twin").unwrap();
    assert_eq!(fixed(&world, twin).accelerators, 8, "all of it is closed");
}

#[test]
fn nothing_new_starts_on_what_nobody_knows() {
    let mut snapshot = snapshot();
    snapshot.nodes = vec![node("a-0", "a", "Acme-X1")];
    snapshot.jobs.push(job("waits", |_| {}));
    let world = made(&snapshot);
    assert!(world.problem.workloads[0].choices.is_empty());
    assert!(world.site.notes.iter().any(|(domain, note)| domain == "a" && note.contains("`Acme-X1` are not known")));
    let profile = json!({"metadata": {"name": "x1"}, "spec": {"deviceModel": "Acme-X1", "idleWatts": 50,
        "minWatts": 100, "maxWatts": 300, "overshootPermille": 0, "source": "made up",
        "points": [{"limitWatts": 300, "drawWatts": 300, "throughputPermille": 1000}]}});
    snapshot.profiles.push(of(profile));
    let world = made(&snapshot);
    assert_eq!(world.problem.workloads[0].choices[0].load.watts, Watts(8 * 250));
}

#[test]
fn a_closed_node_offers_nothing_and_what_runs_on_it_stays_counted_once() {
    let close: [fn(&mut Value); 2] = [
        |node| node["spec"] = json!({"unschedulable": true}),
        |node| node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown"}]),
    ];
    for close in close {
        let mut snapshot = snapshot();
        let mut cordoned = serde_json::to_value(&*snapshot.nodes[0]).unwrap();
        close(&mut cordoned);
        snapshot.nodes[0] = Arc::new(of(cordoned));
        assert_eq!(fixed(&made(&snapshot), 0).accelerators, 8);
        snapshot.jobs.push(job("runs", runs));
        snapshot.pods.push(pod(Some("uid-runs"), Some("a-0")));
        let world = made(&snapshot);
        assert_eq!(fixed(&world, 0).accelerators, 0, "they are the workload's now");
        assert_eq!(world.problem.workloads[0].running.map(|running| running.pool.0), Some(0));
    }
}

#[test]
fn pods_that_nobody_declared_are_counted_where_they_are() {
    let mut snapshot = snapshot();
    snapshot.pods = vec![pod(None, Some("a-0")), pod(Some("uid-of-a-job-of-nobody"), Some("b-0")), pod(None, None)];
    let world = made(&snapshot);
    for pool in [0, 1] {
        assert_eq!(fixed(&world, pool).watts, Watts(8 * DEVICE));
        assert_eq!(fixed(&world, pool).accelerators, 8);
    }
}

#[test]
fn what_runs_without_a_grant_is_adopted_where_its_pods_are() {
    let mut snapshot = snapshot();
    snapshot.jobs.push(job("runs", runs));
    snapshot.pods.push(pod(Some("uid-runs"), Some("b-0")));
    let world = made(&snapshot);
    let item = world.item("uid-runs").unwrap();
    assert_eq!((item.state, item.adopted, item.pool), (State::Running, true, Some(1)));
    let workload = &world.problem.workloads[0];
    assert_eq!(workload.choices.len(), 1, "it is not moved");
    assert_eq!(workload.choices[0].load.watts, Watts(8 * DEVICE));
    assert_eq!(workload.remaining, Seconds(1800), "half of the hour that an unknown one is taken to need");
}

#[test]
fn what_started_without_asking_is_held_before_it_draws() {
    let mut snapshot = snapshot();
    snapshot.jobs.push(job("sudden", runs));
    let world = made(&snapshot);
    assert_eq!(world.items[0].state, State::Unadmitted);
    assert!(world.problem.workloads.is_empty(), "it is neither planned nor started until it is seen to be held");
}

#[test]
fn what_is_held_counts_until_its_last_pod_is_gone() {
    let mut snapshot = snapshot();
    snapshot.jobs.push(job("stops", |_| {}));
    snapshot.pods.push(pod(Some("uid-stops"), Some("a-0")));
    grant(&mut snapshot, "uid-stops", "a", 4760);
    let world = made(&snapshot);
    assert_eq!(world.items[0].state, State::Stopping);
    assert_eq!(fixed(&world, 0).watts, Watts(4760));
    snapshot.pods.clear();
    let world = made(&snapshot);
    assert_eq!(world.items[0].state, State::InDoubt);
    assert_eq!(fixed(&world, 0).watts, Watts(4760), "the grant is given back by a swap, not by looking away");
}

#[test]
fn the_higher_of_grant_and_figures_counts() {
    for (granted, counted) in [(9000, 9000), (100, 8 * DEVICE)] {
        let mut snapshot = snapshot();
        snapshot.jobs.push(job("runs", runs));
        snapshot.pods.push(pod(Some("uid-runs"), Some("a-0")));
        grant(&mut snapshot, "uid-runs", "a", granted);
        assert_eq!(made(&snapshot).problem.workloads[0].choices[0].load.watts, Watts(counted));
    }
}

#[test]
fn a_grant_to_a_job_that_is_no_more_counts_until_it_is_given_back() {
    let mut snapshot = snapshot();
    grant(&mut snapshot, "uid-gone", "b", 4760);
    let world = made(&snapshot);
    assert_eq!(world.orphans.len(), 1);
    assert_eq!(fixed(&world, 1).watts, Watts(4760));
}

#[test]
fn what_is_granted_is_said_as_what_is_needed_is_with_its_hosts() {
    let mut snapshot = snapshot();
    snapshot.jobs.push(job("runs", runs));
    snapshot.pods.push(pod(Some("uid-runs"), Some("a-0")));
    grant(&mut snapshot, "uid-runs", "a", 8 * DEVICE);
    let world = made(&snapshot);
    let decided = cycle(&world.problem, &Heliotrope, Seconds(45));
    let status = status::workload(&world, &world.items[0], decided.verdicts.first(), NEW_YEAR);
    assert_eq!(status.watts_granted, Some(8 * DEVICE + 3000));
    assert_eq!(status.watts_needed, status.watts_granted);
}

#[test]
fn what_may_be_suspended_why() {
    let workload = |change: fn(&mut Value)| {
        let mut snapshot = snapshot();
        snapshot.jobs.push(job("j", change));
        made(&snapshot).problem.workloads.remove(0)
    };
    let plain = workload(|_| {});
    assert_eq!(plain.suspension, Suspension::ForCapOnly);
    assert_eq!(plain.finish_by, None, "it is not delayed for supply");
    assert_eq!(plain.priority, i32::MIN, "who says nothing goes last");
    let protected = workload(|job| job["metadata"]["labels"]["heliotrope.dev/protected"] = json!("true"));
    assert_eq!(protected.suspension, Suspension::Never);
    let mut snapshot = snapshot();
    snapshot.jobs.push(job("j", |_| {}));
    let spec = json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "j"}, "maxDelaySeconds": 3600,
        "expectedDurationSeconds": 600, "checkpoint": {"intervalSeconds": 300, "costSeconds": 30}});
    snapshot.workloads.push(of(json!({"metadata": {"name": "j", "namespace": "team"}, "spec": spec})));
    let declared = made(&snapshot).problem.workloads.remove(0);
    assert_eq!(declared.suspension, Suspension::ForSupply { cost: Seconds(30) });
    let created = NEW_YEAR - Seconds(3600);
    assert_eq!(declared.finish_by, Some(created + Seconds(3600 + 600)));
}

#[test]
fn a_workload_that_can_not_be_served_says_why() {
    let mut snapshot = snapshot();
    snapshot.jobs.push(job("j", |_| {}));
    let to = |name: &str, job: Option<&str>| {
        let reference = job.map(|job| json!({"apiVersion": "batch/v1", "kind": "Job", "name": job}));
        of(json!({"metadata": {"name": name, "namespace": "team"}, "spec": {"workloadRef": reference}}))
    };
    snapshot.workloads =
        vec![to("first", Some("j")), to("second", Some("j")), to("third", Some("none")), to("fourth", None)];
    let world = made(&snapshot);
    let said: Vec<&str> = world.refused.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(
        said,
        [
            "first refers to Job j already: one Job has one LLMWorkload",
            "there is no Job none in team",
            "it has no workloadRef: there is nothing to start",
        ]
    );
    assert_eq!(world.items.len(), 1);
}

#[test]
fn a_domain_that_is_wrong_leaves_the_others_alone() {
    let mut snapshot = snapshot();
    let windows = json!([{"days": ["Monday"], "from": "18:00", "to": "22:00", "capWatts": 1000}]);
    let zone = json!({"timeZone": "Asia/Soul", "windows": windows});
    snapshot.domains.push(domain("c", json!({"capWatts": 1, "parent": "site", "capSchedule": zone})));
    snapshot.domains.push(domain("d", json!({"capWatts": 1, "parent": "nobody"})));
    let site = site(&snapshot);
    let wrong: Vec<&str> = site.errors.iter().map(|(domain, _)| domain.as_str()).collect();
    assert_eq!(wrong, ["c", "d"]);
    assert!(site.errors[0].1.contains("Asia/Soul"), "{}", site.errors[0].1);
    assert!(site.errors[1].1.contains("nobody"), "{}", site.errors[1].1);
    assert_eq!(site.pools.len(), 2);
}

#[test]
fn each_root_follows_the_signals_it_names_and_one_whose_signal_failed_is_never_the_cheapest() {
    let mut snapshot = snapshot();
    snapshot.domains[0].spec.signals = Some(of(json!({"carbon": "seoul"})));
    let other = json!({"capWatts": 60_000, "mode": "Enforce", "signals": {"carbon": "berlin"},
        "nodeSelector": {"matchLabels": {"row": "x"}}, "carbonPricePerTonne": 70});
    snapshot.domains.push(domain("abroad", other));
    snapshot.nodes.push(node("x-0", "x", H100));
    let hour = |n: i64| NEW_YEAR + Seconds(n * 3600);
    let seoul = Steps::new(400_000, [(hour(1), 500_000), (hour(2), 300_000)]);
    snapshot.carbon.insert("seoul".to_owned(), seoul);
    snapshot.carbon.insert("nobody-names-it".to_owned(), Steps::constant(900_000));
    let pool = |site: &Site, name: &str| site.pools.iter().find(|pool| pool.name == name).unwrap().supply;

    let failed = site(&snapshot);
    let supply = &failed.supplies[pool(&failed, "a")];
    // 0.4 t/MWh at 70 a tonne is 28 a MWh
    assert_eq!([0, 1, 2].map(|n| supply.price.at(hour(n))), [28_000_000, 35_000_000, 21_000_000]);
    let abroad = &failed.supplies[pool(&failed, "abroad")];
    assert_eq!([0, 2].map(|n| abroad.price.at(hour(n))), [35_000_000; 2], "the worst of what is ahead elsewhere");
    assert_eq!(abroad.intensity, None, "and nothing is said of its carbon");

    assert_eq!(supply.high, None, "nothing of it is guessed");
    snapshot.high.insert("seoul".to_owned(), Steps::new(400_000, [(hour(1), 600_000)]));
    let guessed = site(&snapshot);
    let high = guessed.supplies[pool(&guessed, "a")].high.as_ref().unwrap();
    assert_eq!([0, 1, 2].map(|n| high.at(hour(n))), [28_000_000, 42_000_000, 42_000_000]);

    snapshot.carbon.insert("berlin".to_owned(), Steps::constant(100_000));
    let known = site(&snapshot);
    assert_eq!(known.supplies[pool(&known, "abroad")].price.at(NEW_YEAR), 7_000_000);
    assert_eq!(known.supplies[pool(&known, "b")].price.at(NEW_YEAR), 28_000_000);
}

/// A site with a roof that makes this many watts from nine to fifteen hours after now, and nothing else that is known.
fn under_a_roof(watts: i64) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.domains[0].spec.signals = Some(of(json!({"generation": "roof"})));
    let sun = Steps::new(0, [(NEW_YEAR + Seconds(9 * 3600), watts), (NEW_YEAR + Seconds(15 * 3600), 0)]);
    snapshot.generation.insert("roof".to_owned(), sun);
    snapshot
}

#[test]
fn what_a_site_generates_is_used_less_what_draws_anyway() {
    let mut snapshot = under_a_roof(40_000);
    snapshot.domains[0].spec.baseline = Some(of(json!({"maxWatts": 2_000})));
    let noon = NEW_YEAR + Seconds(12 * 3600);
    let own = |snapshot: &Snapshot| site(snapshot).supplies[0].own.as_ref().map(|own| own.at(noon));
    // two nodes that idle, and what others draw
    assert_eq!(own(&snapshot), Some(40_000 - 2_000 - 2 * (1000 + 8 * 105)));
    assert_eq!(site(&snapshot).supplies[0].own.as_ref().unwrap().at(NEW_YEAR), 0);
    // a roof that makes less than draws anyway is no more than nothing
    snapshot.generation.insert("roof".to_owned(), Steps::constant(3_000));
    assert_eq!(own(&snapshot), Some(0));
    // nothing is known of it
    snapshot.generation.clear();
    assert_eq!(own(&snapshot), None);
    // it is one roof, and feeds one root
    let mut twice = under_a_roof(40_000);
    twice.domains.push(domain("other", json!({"capWatts": 9_000, "signals": {"generation": "roof"}})));
    let site = site(&twice);
    assert_eq!(site.supplies.iter().filter(|supply| supply.own.is_some()).count(), 1);
    assert!(site.notes.iter().any(|(_, note)| note.contains("is not counted twice")), "{:?}", site.notes);
}

#[test]
fn work_that_may_wait_is_drawn_to_the_hours_of_sun() {
    let start = |snapshot: &Snapshot| {
        let made = made(snapshot);
        let decided = cycle(&made.problem, &Heliotrope, Config::default().stop_lead());
        assert_eq!(decided.refused, []);
        let entry = decided.plan.entries.iter().find(|entry| &*entry.id == "uid-batch").unwrap();
        (entry.runs[0].start - made.problem.now).0 / 3600
    };
    let waits = |job: &mut Value| {
        job["metadata"]["annotations"] =
            json!({"heliotrope.dev/max-delay": "24h", "heliotrope.dev/expected-duration": "2h"});
    };
    let mut sunny = under_a_roof(40_000);
    sunny.jobs = vec![job("batch", waits)];
    assert!((9..=13).contains(&start(&sunny)), "{}", start(&sunny));
    // with nothing known of the roof it does not wait for it
    sunny.generation.clear();
    assert_eq!(start(&sunny), 0);
    // and what may not wait never does
    let mut urgent = under_a_roof(40_000);
    urgent.jobs = vec![job("batch", |job| {
        job["metadata"]["annotations"] = json!({"heliotrope.dev/expected-duration": "2h"});
    })];
    assert_eq!(start(&urgent), 0);
}

/// A Job on eight H100 of known curve, under leases: two hours of work, and so much time beyond them.
fn with_curve(name: &str, change: impl FnOnce(&mut Value), flexibility: &str, delay: i64) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.jobs.push(job(name, change));
    let spec = json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": name}, "maxDelaySeconds": delay,
        "expectedDurationSeconds": 7200, "class": "Pretraining", "flexibility": flexibility,
        "checkpoint": {"intervalSeconds": 300, "costSeconds": 30}});
    snapshot.workloads.push(of(json!({"metadata": {"name": name, "namespace": "team"}, "spec": spec})));
    let point = |limit: i64, work: i64| json!({"limitWatts": limit, "drawWatts": limit, "throughputPermille": work});
    let points = json!([point(300, 500), point(400, 700), point(500, 850), point(600, 940), point(700, 1000)]);
    snapshot.profiles.push(of(json!({"metadata": {"name": "h100"}, "spec": {"deviceModel": H100, "points": points,
        "minWatts": 200, "maxWatts": 700, "idleWatts": 100, "source": "this test"}})));
    let leased = ["site", "a", "b"].map(|name| (name.to_owned(), DomainLeases::default()));
    let working = ["a-0", "b-0"].map(str::to_owned).into();
    snapshot.leases = Some(Leases { domains: leased.into(), working });
    snapshot
}

/// Paces in thousandths and watts of the choices in one pool.
fn in_pool(choices: &[PoolChoice], pool: usize) -> Vec<(u32, i64)> {
    let here = choices.iter().filter(|choice| choice.pool.0 == pool);
    here.map(|choice| (choice.pace.per_million() / 1000, choice.load.watts.0)).collect()
}

#[test]
fn work_of_known_curve_has_the_points_that_it_tolerates_where_leases_hold_them() {
    let points = |snapshot: &Snapshot| in_pool(&made(snapshot).problem.workloads[0].choices, 0);
    let full = (1000, 8 * 600);
    let medium = with_curve("j", |_| {}, "Medium", 9000);
    assert_eq!(points(&medium), [full, (940, 8 * 500), (850, 8 * 400), (751, 8 * 334)]);
    assert_eq!(points(&with_curve("j", |_| {}, "Low", 9000)), [full, (940, 8 * 500), (900, 8 * 456)]);
    assert_eq!(
        points(&with_curve("j", |_| {}, "None", 9000)),
        [full],
        "who tolerates nothing is never slowed for supply"
    );
    let change = |change: fn(&mut Snapshot)| {
        let mut snapshot = medium.clone();
        change(&mut snapshot);
        points(&snapshot).len()
    };
    assert_eq!(change(|snapshot| snapshot.leases = None), 1, "nothing holds a limit");
    assert_eq!(change(|snapshot| snapshot.profiles.clear()), 1, "nothing is known of it");
    assert_eq!(change(|snapshot| snapshot.workloads[0].spec.max_delay_seconds = None), 1, "it may not be late");
    let silent = |snapshot: &mut Snapshot| {
        let leases = snapshot.leases.as_mut().unwrap().domains.get_mut("a").unwrap();
        leases.silent.push("a-0".to_owned());
    };
    assert_eq!(change(silent), 1, "a node that is not heard follows nothing");
}

#[test]
fn who_has_time_is_slowed_by_the_plan_and_its_grant_says_so() {
    let run = |snapshot: &mut Snapshot| {
        snapshot.pods.push(pod(Some("uid-j"), Some("a-0")));
        grant(snapshot, "uid-j", "a", 8 * 600);
    };
    let mut snapshot = with_curve("j", runs, "Medium", 5400);
    snapshot.carbon.insert("grid".to_owned(), Steps::constant(400_000));
    snapshot.domains[0].spec.signals = Some(of(json!({"carbon": "grid"})));
    run(&mut snapshot);
    let world = made(&snapshot);
    let decided = cycle(&world.problem, &Heliotrope, Seconds(45));
    let [Action::ChangePace { pace, load, .. }] = &decided.actions[..] else { panic!("{:?}", decided.actions) };
    assert!(pace.per_million() >= 750_000 && *pace < Pace::FULL, "{pace:?}");
    let moved = points::moved(&world.items[0], &snapshot, &world.site, *pace, *load).unwrap();
    let limit = moved.slowed.as_ref().unwrap().limit_watts.unwrap();
    assert_eq!(moved.watts, 8 * (limit - 100), "what it may draw at that limit");
    assert!(moved.watts < 8 * 600);

    // ten minutes later: it is charged with that, goes on so, and knows what it has lost
    snapshot.domains[0].status = Some(of(json!({"ledger": {"sequence": 2, "grants": [moved]}})));
    snapshot.now = NEW_YEAR + Seconds(600);
    let later = world_after(&snapshot, &decided);
    let workload = &later.problem.workloads[0];
    assert_eq!(workload.running.unwrap().pace, *pace);
    assert_eq!(workload.running_load().unwrap().1.watts, load.watts);
    let lost = later.items[0].lost;
    assert_eq!(lost.0, 600 - 600 * i64::from(pace.per_million()) / 1_000_000);
    assert_eq!(workload.remaining, Seconds(7200 - 1800 - 600) + lost, "started half an hour before");
    let again = cycle(&later.problem, &Heliotrope, Seconds(45));
    assert_eq!(again.actions, [], "what holds is not decided anew");
    let status = status::workload(&later, &later.items[0], again.verdicts.first(), snapshot.now);
    assert_eq!(status.limit_watts, Some(limit));
    let said = status.message.unwrap();
    assert!(
        said.starts_with(&format!("slowed to {} a GPU until 01-01 ", Watts(limit))) && said.contains("saves "),
        "{said}"
    );
    assert!(status.watts_granted.unwrap() < 8 * 600 + 3000);

    // no limits are held any more: it counts in full
    snapshot.leases = None;
    let bare = made(&snapshot);
    assert_eq!(bare.problem.workloads[0].running_load().unwrap().1.watts, Watts(8 * 600));
}

#[test]
fn a_start_may_be_slow_from_the_beginning_and_who_hurries_goes_back_to_full() {
    let mut snapshot = with_curve("j", |_| {}, "Medium", 5400);
    snapshot.carbon.insert("grid".to_owned(), Steps::constant(400_000));
    snapshot.domains[0].spec.signals = Some(of(json!({"carbon": "grid"})));
    let world = made(&snapshot);
    let decided = cycle(&world.problem, &Heliotrope, Seconds(45));
    let [Action::Start { pool, pace, load, .. }] = &decided.actions[..] else { panic!("{:?}", decided.actions) };
    let slowed = points::start(&world.items[0], &snapshot, &world.site, pool.0, *pace).unwrap();
    assert_eq!(load.watts.0, 8 * (slowed.limit_watts.unwrap() - 100));
    assert_eq!(points::start(&world.items[0], &snapshot, &world.site, pool.0, Pace::FULL), None);

    // it was slowed, and its deadline is brought forward
    let mut snapshot = with_curve("j", runs, "Medium", 1800);
    snapshot.pods.push(pod(Some("uid-j"), Some("a-0")));
    grant(&mut snapshot, "uid-j", "a", 8 * 334);
    let slow = json!({"limitWatts": 434, "since": "2025-12-31T23:30:00Z", "lostSeconds": 0});
    let ledger = &mut snapshot.domains[0].status.as_mut().unwrap().ledger.as_mut().unwrap().grants[0];
    ledger.slowed = Some(of(slow));
    let world = made(&snapshot);
    assert!(world.items[0].lost > Seconds(440), "{}", world.items[0].lost);
    let decided = cycle(&world.problem, &Heliotrope, Seconds(45));
    let [Action::ChangePace { pace: Pace::FULL, load, .. }] = &decided.actions[..] else {
        panic!("{:?}", decided.actions)
    };
    let moved = points::moved(&world.items[0], &snapshot, &world.site, Pace::FULL, *load).unwrap();
    let slowed = moved.slowed.unwrap();
    assert_eq!((moved.watts, slowed.limit_watts), (8 * 600, None));
    assert_eq!(slowed.lost_seconds, world.items[0].lost.0, "what it lost is not forgotten");
}

fn world_after(snapshot: &Snapshot, decided: &heliotrope::core::admit::Cycle) -> World {
    world(snapshot, &Config::default(), Some(decided.plan.clone()))
}
