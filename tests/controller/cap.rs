//! The cap is never passed: undisturbed, killed at any moment, and with two controllers at once.

use crate::cluster::{
    CAP, Controller, IDLE_WATTS, JOB_WATTS, Meter, arrives_suspended, condition, create, domain, finished, get, job,
    nothing_granted, now, ok, one, site, wait,
};
use heliotrope::core::chance::random;
use heliotrope_testbed::Testbed;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const ALONE: &str = "leaderElection: false";

/// Forty Jobs arrive unsuspended. The cap falls while they run, and rises again. All finish; at no instant more ran than
/// there was room for.
fn forty(testbed: &Testbed) {
    let meter = Meter::start(testbed);
    create(testbed, 40, "20s");
    wait("six run", 120, || meter.running() == 6);
    let text = ok(testbed, &["get", "llmworkloads"]);
    assert_eq!(text.lines().count(), 41, "{text}");

    // at least five of six places are busy while Jobs wait
    let (mut busy, mut looks) = (0, 0);
    let started = now();
    while now().duration_since(started) < Duration::from_secs(60) {
        busy += meter.running();
        looks += 1;
        std::thread::sleep(Duration::from_millis(500));
    }
    let busy = busy as f64 / f64::from(looks);
    assert!(busy >= 5.0, "{busy:.2} of 6 places were busy");

    // while it falls no more may run than before, in no row more than there is room for
    testbed.apply(&domain("site", None, IDLE_WATTS + 2 * JOB_WATTS + 500, Some("Enforce"))).unwrap();
    // kwok plays a grace period of 10 s
    let down = wait("no more than two run", 40, || meter.running() <= 2);
    meter.cap.store(2, Ordering::Relaxed);
    // and no fewer: what already stops is not stopped for a second time in others. One may end by itself and be replaced.
    let (mut two, mut looks) = (0, 0);
    let fallen = now();
    while now().duration_since(fallen) < Duration::from_secs(20) {
        two += meter.running();
        looks += 1;
        std::thread::sleep(Duration::from_millis(250));
    }
    let two = two as f64 / f64::from(looks);
    assert!(two >= 1.5, "after the fall {two:.2} of 2 places were busy");
    wait("two run after the fall", 10, || meter.running() == 2);
    meter.cap.store(6, Ordering::Relaxed);
    testbed.apply(&domain("site", None, CAP, Some("Enforce"))).unwrap();
    let up = wait("six run again", 60, || meter.running() == 6);
    eprintln!(
        "{busy:.2} of 6 busy, {two:.2} of 2 after the fall; under the fallen cap after {down:?}, filled again after {up:?}"
    );

    wait("all are finished", 600, || finished(testbed) == 40);
    assert_eq!(meter.over(), Vec::<String>::new());
    wait("all are told as finished", 30, || {
        get(testbed, &["llmworkloads"]).iter().all(|workload| workload["status"]["phase"] == "Succeeded")
    });
    wait("nothing is granted any more", 30, || nothing_granted(testbed));
}

#[test]
fn forty_jobs_never_pass_the_cap_and_all_finish() {
    let testbed = site("Enforce");
    let controller = Controller::start(&testbed, "");
    std::thread::scope(|scope| {
        let jobs = scope.spawn(|| forty(&testbed));
        wait("some wait for room", 120, || ok(&testbed, &["get", "llmworkloads"]).matches("Pending").count() > 20);
        told_why_and_until_when(&testbed);
        jobs.join().unwrap();
    });
    drop(controller);
}

/// Everything that waits says why, with a number, and until when; in its status and in its events.
fn told_why_and_until_when(testbed: &Testbed) {
    wait("each that waits says why and until when", 30, || {
        let text = ok(testbed, &["get", "llmworkloads"]);
        let waiting: Vec<&str> = text.lines().filter(|line| line.contains("Pending")).collect();
        let complete = |line: &&str| line.contains("free under its cap") && line.contains('Z');
        waiting.len() > 20 && waiting.iter().all(complete)
    });
    let mut plain = job("plain", "1s");
    plain["metadata"]["labels"] = json!({"heliotrope.dev/managed": "false"});
    assert!(!arrives_suspended(testbed, &plain), "an exempted Job was touched");
    for about in ["Job", "LLMWorkload"] {
        wait(&format!("events about a {about}"), 30, || {
            let selector = format!("regarding.kind={about}");
            let events = get(testbed, &["events.events.k8s.io", "--field-selector", &selector]);
            let ours = events.iter().filter(|event| event["reportingController"] == "heliotrope");
            ours.filter(|event| event["reason"] == "Starting").count() > 5
        });
    }
    assert_eq!(condition(&one(testbed, "powerdomain", "site"), "WithinCap")["status"], "True");
}

/// Kills the controller at ten random moments while the forty Jobs arrive, run, fall and finish.
#[test]
fn killed_at_ten_moments_it_ends_the_same() {
    let testbed = site("Enforce");
    let seed = std::env::var("HELIOTROPE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    eprintln!("HELIOTROPE_TEST_SEED={seed}");
    let (done, kills) = (AtomicBool::new(false), AtomicUsize::new(0));
    let unfinished = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait("the Jobs are made", 60, || get(&testbed, &["jobs"]).len() == 40);
            for i in 0..10 {
                let controller = Controller::start(&testbed, ALONE);
                // from before its caches are filled to many cycles later
                let life = if i % 3 == 0 { 300 + random(seed, i) % 3000 } else { 4000 + random(seed, i) % 20_000 };
                std::thread::sleep(Duration::from_millis(life));
                drop(controller); // SIGKILL
                let jobs = get(&testbed, &["jobs"]);
                let open = jobs.iter().filter(|job| job["status"]["succeeded"] != 1).count();
                unfinished.lock().unwrap().push(open);
                kills.fetch_add(1, Ordering::Relaxed);
            }
            let last = Controller::start(&testbed, ALONE);
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
            }
            drop(last);
        });
        // told as done even where an assertion fails: the scope waits for the thread
        let jobs = scope.spawn(|| forty(&testbed));
        let result = jobs.join();
        done.store(true, Ordering::Relaxed);
        assert!(result.is_ok(), "seed {seed}");
    });
    assert_eq!(kills.load(Ordering::Relaxed), 10);
    let unfinished = unfinished.into_inner().unwrap();
    eprintln!("Jobs that were not finished at each kill: {unfinished:?}");
    assert!(unfinished.iter().all(|open| *open > 0), "a kill after the end shows nothing: {unfinished:?}");
}

#[test]
fn two_at_once_never_pass_the_cap() {
    let testbed = site("Enforce");
    let meter = Meter::start(&testbed);
    // no leader election: nothing but the swaps keeps them apart
    let both = [Controller::start(&testbed, ALONE), Controller::start(&testbed, ALONE)];
    create(&testbed, 24, "8s");
    wait("all are finished", 400, || finished(&testbed) == 24);
    assert_eq!(meter.over(), Vec::<String>::new());
    drop(both);
}
