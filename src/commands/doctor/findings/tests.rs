//! What is found in an installation that is as it should be, and with one thing after another wrong. That it is read from a real
//! server is shown in `tests/controller/doctor.rs`.

use super::super::rights::{NEEDED, UNWANTED};
use super::*;
use serde_json::{Value, json};

const NOW: Moment = Moment(1_796_126_400);

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn condition_of(kind: &str, holds: bool, message: &str) -> Value {
    json!({"type": kind, "status": if holds { "True" } else { "False" }, "reason": "Because", "message": message,
        "lastTransitionTime": "2026-12-01T00:00:00Z"})
}

fn domain(name: &str, spec: Value, conditions: &[Value]) -> PowerDomain {
    of(json!({"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions, "observed": Value::Null}}))
}

fn good() -> Seen {
    let accepted = condition_of("Accepted", true, "it is part of the tree");
    let root = domain("site", json!({"capWatts": 30_000, "mode": "Enforce"}), std::slice::from_ref(&accepted));
    let selector = json!({"matchLabels": {"row": "a"}});
    let row = json!({"capWatts": 20_000, "parent": "site", "nodeSelector": selector, "rebootReserveNodes": 0});
    let node = json!({"metadata": {"name": "gpu-1", "labels": {"row": "a"}},
        "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}});
    let power = json!({"metadata": {"name": "gpu-1"},
        "spec": {"domain": "row-a", "accelerators": 8, "ceilingWatts": 7600, "hostMaxWatts": 2000},
        "status": {"heartbeat": {"instance": 1, "number": 7}, "conditions": [condition_of("Obeyed", true, "as told")],
            "accelerators": [{"uuid": "GPU-0", "model": "H100"}]}});
    let asked = |allowed: bool| move |right: &Right| Asked { right: *right, allowed };
    Seen {
        version: Ok((1, 37, "v1.37.2".to_owned())),
        own_skew: Ok(Seconds(1)),
        now: NOW,
        definitions: Ok([("powerdomains.heliotrope.dev".to_owned(), Definition::Same)].into()),
        policies: Ok(["x-hold-managed-jobs", "x-guard-managed-jobs"].map(str::to_owned).to_vec()),
        needed: Ok(NEEDED.iter().map(asked(true)).collect()),
        unwanted: Ok(UNWANTED.iter().map(asked(false)).collect()),
        domains: Ok(vec![root, domain("row-a", row, &[accepted])]),
        nodes: Ok(vec![of(node)]),
        powers: Ok(vec![of(power)]),
        allotments: Ok(vec![of(json!({"metadata": {"name": "row-a"}, "spec": {"sequence": 1}}))]),
        renewed: Ok([("gpu-1".to_owned(), NOW - Seconds(8))].into()),
    }
}

/// What is not as it should be, once something has been changed.
fn wrong(change: impl FnOnce(&mut Seen)) -> Vec<String> {
    let mut seen = good();
    change(&mut seen);
    let found = findings(&seen).into_iter().filter(|finding| finding.level != Level::Ok);
    found.map(|finding| format!("{:?} {}: {}", finding.level, finding.about, finding.text)).collect()
}

fn row(seen: &mut Seen) -> &mut PowerDomain {
    &mut seen.domains.as_mut().unwrap()[1]
}

#[test]
fn in_a_good_installation_nothing_is_wrong_and_each_part_says_so() {
    let all = findings(&good());
    assert!(all.iter().all(|finding| finding.level == Level::Ok), "{all:#?}");
    let said: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(said[0], "ok       API server  v1.37.2: managed Jobs arrive suspended by a policy");
    assert_eq!(all.len(), 10);
}

#[test]
fn each_thing_that_is_wrong_is_found() {
    let one = |change: fn(&mut Seen), said: &str| {
        let found = wrong(change);
        assert!(found.len() == 1 && found[0].starts_with(said), "{said}: {found:#?}");
    };
    one(|seen| seen.version = Ok((1, 33, "v1.33.9".into())), "Problem API server: v1.33.9 is older than 1.34");
    one(
        |seen| seen.version = Ok((1, 35, "v1.35.0".into())),
        "Warning API server: v1.35.0: managed Jobs that are not made",
    );
    one(
        |seen| seen.definitions = Ok([("nodepowers.heliotrope.dev".into(), Definition::Differs)].into()),
        "Problem kinds: of another version than this program: nodepowers.heliotrope.dev",
    );
    one(
        |seen| seen.definitions = Ok([("nodepowers.heliotrope.dev".into(), Definition::Missing)].into()),
        "Problem kinds: not installed: nodepowers.heliotrope.dev",
    );
    one(
        |seen| seen.needed.as_mut().unwrap()[3].allowed = false,
        "Problem rights: the controller may not patch powerdomains/status.heliotrope.dev",
    );
    one(
        |seen| seen.unwanted.as_mut().unwrap()[0].allowed = true,
        "Warning rights: the controller may get secrets, which it never needs",
    );
    one(
        |seen| seen.policies = Ok(vec!["x-hold-managed-jobs".into()]),
        "Problem policies: not bound: guard-managed-jobs.",
    );
    one(
        |seen| {
            let conditions = &mut row(seen).status.as_mut().unwrap().conditions;
            conditions.push(of(condition_of("Feasible", false, "21 kW idle under 20 kW")));
        },
        "Problem domains: row-a is not Feasible: 21 kW idle under 20 kW",
    );
    one(|seen| row(seen).status = None, "Problem domains: row-a has no status: no controller has seen it");
    one(
        |seen| seen.nodes.as_mut().unwrap()[0].metadata.labels = None,
        "Warning domains: nodes with accelerators that no domain selects: gpu-1.",
    );
    one(
        |seen| seen.powers.as_mut().unwrap()[0].status = None,
        "Problem agents: no agent has ever reported from gpu-1.",
    );
    one(
        |seen| {
            let spec = json!({"taints": [{"key": labels::AGENT_NOT_READY, "effect": "NoSchedule"}]});
            seen.nodes.as_mut().unwrap()[0].spec = Some(of(spec));
        },
        "Problem agents: silent, or without a lease: gpu-1.",
    );
    one(
        |seen| {
            let status = seen.powers.as_mut().unwrap()[0].status.as_mut().unwrap();
            status.accelerators[0].fault = Some("NoPermission".into());
        },
        "Problem hardware: NoPermission: gpu-1 GPU-0",
    );
    one(
        |seen| {
            let status = seen.powers.as_mut().unwrap()[0].status.as_mut().unwrap();
            status.conditions = vec![of(condition_of("Obeyed", false, "GPU-0 enforces 400 W of 300 W"))];
        },
        "Problem hardware: gpu-1: GPU-0 enforces 400 W of 300 W",
    );
    one(
        |seen| {
            let status = seen.powers.as_mut().unwrap()[0].status.as_mut().unwrap();
            status.conditions = vec![of(condition_of("PodsServed", false, "the kubelet does not answer"))];
        },
        "Warning hardware: gpu-1: the kubelet does not answer",
    );
    one(|seen| row(seen).spec.reboot_reserve_nodes = None, "Warning boot guard: row-a keeps room free for 1 nodes");
    one(|seen| seen.own_skew = Ok(Seconds(-90)), "Warning clocks: this machine's clock is -90 s from the API server's");
    for (renewed, by) in [(30, "30"), (-100, "-100")] {
        let found = wrong(|seen| seen.renewed = Ok([("gpu-1".into(), NOW + Seconds(renewed))].into()));
        assert_eq!(found, [format!("Warning clocks: nodes whose clock is not the API server's: gpu-1 by {by} s")]);
    }
}

#[test]
fn a_site_without_any_domain_or_agent_says_what_comes_first() {
    let found = wrong(|seen| seen.domains = Ok(Vec::new()));
    assert_eq!(found, ["Problem domains: there is no PowerDomain: nothing is kept under any cap"]);
    let found = wrong(|seen| (seen.powers, seen.allotments) = (Ok(Vec::new()), Ok(Vec::new())));
    assert_eq!(
        found,
        ["Warning agents: no node has an agent: Jobs are started and suspended, and no GPU is held to a limit"]
    );
    // a ledger without an agent is worse: watts are charged that nobody holds
    assert!(wrong(|seen| seen.powers = Ok(Vec::new()))[0].starts_with("Problem agents"));
}

#[test]
fn what_can_not_be_read_is_said_and_the_rest_is_looked_at() {
    let found = wrong(|seen| seen.nodes = Err("list the nodes: forbidden".into()));
    let why = "not looked at: list the nodes: forbidden";
    let expected: Vec<String> = ["domains", "agents", "clocks"].map(|about| format!("Warning {about}: {why}")).to_vec();
    assert_eq!(found, expected);
}

#[test]
fn what_observe_would_have_done_is_told() {
    let mut seen = good();
    let root = &mut seen.domains.as_mut().unwrap()[0];
    root.spec.mode = Some(Mode::Observe);
    let observed = json!({"since": "2026-11-01T00:00:00Z", "capSuspensions": 3, "supplySuspensions": 1,
        "peakCommittedWatts": 31_000, "minutesOverCap": 12});
    root.status.as_mut().unwrap().observed = Some(of(observed));
    let told = findings(&seen).pop().unwrap();
    assert_eq!(
        told.text,
        "site is in Observe since 2026-11-01T00:00:00Z: 3 suspensions for a cap and 1 for supply were not made; \
         up to 31000 W were committed, and 12 min above a cap"
    );
}
