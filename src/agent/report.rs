//! What an agent says of its node: the status of its NodePower. Values in, values out.

use super::orders::Wishes;
use super::readings::{Expected, Gpu, Hardware};
use crate::api::conditions::{self, AS_EXPECTED, FEASIBLE, HELD, OBEYED};
use crate::api::{AcceleratorPower, NodePower, NodePowerStatus};
use crate::core::lease::{Cause, Held, Report};
use crate::units::{BootMillis, Moment, Watts};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use std::collections::BTreeMap;

/// Most accelerators that a status lists.
const MOST: usize = 64;

/// All that a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The node, as the controller has it.
    pub node: &'a NodePower,
    /// The heartbeat.
    pub report: &'a Report,
    /// The lease in force.
    pub held: Option<&'a Held>,
    /// What is in force.
    pub limit: Watts,
    /// Why less is in force than the lease's own watts.
    pub cause: Option<Cause>,
    /// The accelerators.
    pub hardware: &'a Hardware,
    /// What is expected of them.
    pub expected: &'a Expected,
    /// What they are to hold; none while hands are off.
    pub wishes: Option<&'a Wishes>,
    /// Limits of single accelerators in the lease.
    pub shares: &'a BTreeMap<String, Watts>,
    /// How old the last read of the caps is, in milliseconds.
    pub contact_age: Option<u64>,
    /// Which pod has which accelerator.
    pub holders: &'a BTreeMap<String, String>,
    /// What else there is to say, for people.
    pub remarks: &'a [String],
    /// Which boot this is.
    pub boot_id: &'a str,
    /// The time on the wall.
    pub now: Moment,
    /// The time since the boot.
    pub boot: BootMillis,
}

/// The status that tells all this. `before`: the conditions of the last one.
#[must_use]
pub fn status(facts: &Facts<'_>, before: &[Condition]) -> NodePowerStatus {
    let generation = facts.node.metadata.generation;
    let mut conditions = before.to_vec();
    for (kind, (holds, reason, text)) in
        [(HELD, held(facts)), (OBEYED, obeyed(facts)), (AS_EXPECTED, as_expected(facts)), (FEASIBLE, feasible(facts))]
    {
        conditions::set(&mut conditions, kind, holds, reason, &text, generation, facts.now);
    }
    let mut status = NodePowerStatus {
        observed_generation: generation,
        sent_at: jiff::Timestamp::from_second(facts.now.0).ok().map(Time),
        draw_watts: facts.hardware.draw(facts.expected.scale).0,
        boot: Some(facts.boot_id.chars().take(64).collect()),
        accelerators: facts.hardware.gpus.iter().take(MOST).map(|gpu| accelerator(gpu, facts)).collect(),
        conditions,
        ..NodePowerStatus::default()
    };
    status.carry(facts.report);
    status
}

fn accelerator(gpu: &Gpu, facts: &Facts<'_>) -> AcceleratorPower {
    let wish = facts.wishes.and_then(|wishes| wishes.gpus.iter().find(|wish| wish.uuid == gpu.uuid));
    AcceleratorPower {
        uuid: gpu.uuid.chars().take(128).collect(),
        model: gpu.model.chars().take(128).collect(),
        limit_watts: wish.map(|wish| wish.limit.0),
        enforced_watts: gpu.enforced.map(|watts| watts.0),
        draw_watts: gpu.draw.map(|watts| watts.0),
        clock_lock_megahertz: gpu.clock.and_then(|(locked, _)| i32::try_from(locked).ok()),
        clock_megahertz: gpu.clock.and_then(|(_, now)| i32::try_from(now?).ok()),
        min_watts: gpu.range.map(|range| range.min_watts.0),
        max_watts: gpu.range.map(|range| range.max_watts.0),
        pod: facts.holders.get(&gpu.uuid).map(|pod| pod.chars().take(512).collect()),
        fault: gpu.fault.as_ref().map(|fault| fault.word.to_owned()),
    }
}

type Said = (bool, &'static str, String);

fn held(facts: &Facts<'_>) -> Said {
    let limit = facts.limit;
    let mut said = match (facts.held, facts.cause) {
        (None, _) if facts.wishes.is_none() => {
            (false, "NoLease", format!("no lease was ever accepted: {limit} was found and nothing is changed"))
        }
        (None, _) => (false, "NoLease", format!("no lease of this boot: {limit} is in force and never more")),
        (Some(held), None) => {
            let left = held.ends.since(facts.boot) / 1000;
            let watts = held.figures.watts;
            (true, "Leased", format!("lease {} of {watts}: {limit} in force, {left} s left", held.sequence))
        }
        (Some(held), Some(cause)) => {
            let of = format!("lease {} of {}", held.sequence, held.figures.watts);
            match cause {
                Cause::CapFell => {
                    let cap = facts.report.cap.map_or(Watts::ZERO, |cap| cap.watts);
                    (true, "CapFell", format!("{of}: {limit} in force since its domain may draw {cap}"))
                }
                Cause::StepCame => (true, "StepCame", format!("{of}: {limit} in force since a known reduction came")),
                Cause::LeaseOver => (false, "LeaseOver", format!("{of} is over: fell to {limit}")),
                Cause::Deaf => {
                    let age =
                        facts.contact_age.map_or_else(|| "never".to_owned(), |age| format!("{} s ago", age / 1000));
                    (false, "Deaf", format!("{of}: the caps were last read {age}, so it fell to {limit}"))
                }
            }
        }
    };
    if facts.held.is_some() && facts.report.fallen {
        said.2 += "; more is allowed, and only a new lease brings it";
    }
    for remark in facts.remarks {
        said.2 += "; ";
        said.2 += remark;
    }
    said
}

fn obeyed(facts: &Facts<'_>) -> Said {
    let faults: Vec<&str> =
        facts.hardware.gpus.iter().filter_map(|gpu| gpu.fault.as_ref()).map(|fault| fault.text.as_str()).collect();
    let mut troubles = facts.hardware.gpus.iter().filter_map(|gpu| gpu.fault.as_ref());
    let worst = troubles.clone().find(|trouble| !trouble.past).or_else(|| troubles.next());
    let (limit, enforced) = (facts.limit, facts.report.enforced);
    let set = if facts.wishes.is_some() { format!("{limit} was set") } else { "nothing was set".to_owned() };
    match worst {
        Some(fault) => (false, fault.word, format!("{}; {set}, {enforced} counts as in force", faults.join("; "))),
        None if enforced > limit => (false, "AboveLimit", format!("{set}, {enforced} is in force")),
        None => (true, "ReadBack", format!("{set}, {enforced} is in force")),
    }
}

fn as_expected(facts: &Facts<'_>) -> Said {
    let hardware = facts.hardware;
    let (there, expected) = (hardware.gpus.len(), facts.expected.accelerators);
    let unknown: Vec<String> = facts
        .shares
        .iter()
        .filter(|(uuid, _)| !hardware.gpus.iter().any(|gpu| gpu.uuid == **uuid))
        .map(|(uuid, watts)| format!("{uuid} ({watts})"))
        .collect();
    if !unknown.is_empty() {
        let list = unknown.join(", ");
        return (
            false,
            "UnknownAccelerator",
            format!("the lease has limits for {list}, which are not here: nobody gets them"),
        );
    }
    if hardware.missing > 0 {
        let text = format!(
            "{there} accelerators are here, {expected} should be: {} count with {} each, and their part of the lease is kept",
            hardware.missing, hardware.nameplate
        );
        return (false, "AcceleratorsMissing", text);
    }
    if there > expected {
        return (false, "MoreAccelerators", format!("{there} accelerators are here, {expected} should be"));
    }
    (true, "AsExpected", format!("{there} accelerators"))
}

fn feasible(facts: &Facts<'_>) -> Said {
    match facts.wishes.and_then(|wishes| wishes.short) {
        Some((needed, there)) => {
            let text = format!(
                "{} in force leave {there} for the accelerators, whose lowest limits are {needed} together: these are set",
                facts.limit
            );
            (false, "FloorsDoNotFit", text)
        }
        None => (true, "Feasible", format!("{} in force are above the lowest limits", facts.limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::readings::Trouble;
    use crate::core::divide::Scale;
    use crate::core::lease::{Beat, Cap, Figures};

    fn gpu(uuid: &str, fault: Option<(&'static str, bool)>) -> Gpu {
        Gpu {
            uuid: uuid.to_owned(),
            index: 0,
            model: "H100".to_owned(),
            range: None,
            held: Some(Watts(400)),
            enforced: Some(Watts(400)),
            enforced_worst: Watts(400),
            draw: None,
            draw_worst: Watts(400),
            clock: None,
            fault: fault.map(|(word, past)| Trouble { word, text: format!("{uuid}: {word}"), past }),
            untouched: false,
        }
    }

    fn said(cause: Option<Cause>, fallen: bool, gpus: Vec<Gpu>, shares: &[&str]) -> NodePowerStatus {
        let held =
            Held { sequence: 7, figures: Figures::flat(Watts(3000)), steps: Vec::new(), ends: BootMillis(90_000) };
        let report = Report {
            beat: Beat { instance: 1, number: 2 },
            acknowledged: 7,
            accepted: 7,
            steps_passed: 0,
            held: Some(held.figures.clone()),
            enforced: Watts(1800),
            cap: Some(Cap { version: 3, watts: Watts(50_000) }),
            fallen,
        };
        let hardware = Hardware { gpus, missing: 0, nameplate: Watts(700) };
        let expected = Expected {
            accelerators: 2,
            ceiling: Watts(4000),
            scale: Scale { host: Watts(1000), overshoot: 0 },
            lowest: Watts::ZERO,
        };
        let facts = Facts {
            node: &NodePower::new("gpu-1", crate::api::NodePowerSpec::default()),
            report: &report,
            held: Some(&held),
            limit: Watts(1800),
            cause,
            hardware: &hardware,
            expected: &expected,
            wishes: Some(&Wishes::default()),
            shares: &shares.iter().map(|uuid| ((*uuid).to_owned(), Watts(500))).collect(),
            contact_age: Some(31_000),
            holders: &BTreeMap::from([("a".to_owned(), "team/a".to_owned())]),
            remarks: &["and more".to_owned()],
            boot_id: "b",
            now: Moment(1_900_000_000),
            boot: BootMillis(60_000),
        };
        status(&facts, &[])
    }

    fn of(status: &NodePowerStatus, kind: &str) -> (String, String) {
        let found = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        (format!("{} {}", found.status, found.reason), found.message.clone())
    }

    #[test]
    fn what_is_held_is_told_with_its_reason_and_numbers() {
        let told = |cause, fallen| of(&said(cause, fallen, vec![gpu("a", None), gpu("b", None)], &[]), HELD);
        let (what, text) = told(None, false);
        assert_eq!(what, "True Leased");
        assert_eq!(text, "lease 7 of 3000 W: 1800 W in force, 30 s left; and more");
        let (what, text) = told(Some(Cause::Deaf), true);
        assert_eq!(what, "False Deaf");
        assert!(text.contains("31 s ago") && text.contains("only a new lease brings it"), "{text}");
        assert_eq!(told(Some(Cause::CapFell), false).0, "True CapFell");
        assert_eq!(told(Some(Cause::LeaseOver), false).0, "False LeaseOver");
    }

    #[test]
    fn what_is_wrong_now_comes_before_what_was_set_right() {
        let status =
            said(None, false, vec![gpu("a", Some(("RaisedByOther", true))), gpu("b", Some(("Lost", false)))], &[]);
        let (what, text) = of(&status, OBEYED);
        assert_eq!(what, "False Lost");
        assert!(text.contains("a: RaisedByOther; b: Lost"), "{text}");
        assert_eq!(status.accelerators[1].fault.as_deref(), Some("Lost"));
        let pods: Vec<Option<&str>> = status.accelerators.iter().map(|gpu| gpu.pod.as_deref()).collect();
        assert_eq!(pods, [Some("team/a"), None]);
        assert_eq!(of(&said(None, false, vec![gpu("a", None)], &[]), OBEYED).0, "True ReadBack");
    }

    #[test]
    fn accelerators_that_are_not_as_expected_are_counted() {
        let told = |gpus, shares: &[&str]| of(&said(None, false, gpus, shares), AS_EXPECTED).0;
        assert_eq!(told(vec![gpu("a", None), gpu("b", None)], &["a"]), "True AsExpected");
        assert_eq!(told(vec![gpu("a", None), gpu("b", None)], &["c"]), "False UnknownAccelerator");
        assert_eq!(told(vec![gpu("a", None), gpu("b", None), gpu("c", None)], &[]), "False MoreAccelerators");
    }
}
