//! Condition types in one place, and the one rule by which a condition is set.

use crate::units::Moment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The object can be used as it is written.
pub const ACCEPTED: &str = "Accepted";
/// What is committed in the domain is under its cap.
pub const WITHIN_CAP: &str = "WithinCap";
/// What draws in the domain with nothing running is under its caps.
pub const FEASIBLE: &str = "Feasible";
/// Every node of the domain has an agent that reports.
pub const AGENTS_REPORTING: &str = "AgentsReporting";
/// Every child of the domain is leased what it is to have.
pub const LEASED: &str = "Leased";
/// All nodes can come back from an outage at once without passing the cap.
pub const COLD_START_SAFE: &str = "ColdStartSafe";
/// What is committed in the event's domain is under its target.
pub const TARGET_MET: &str = "TargetMet";
/// The signal's value now is known.
pub const FRESH: &str = "Fresh";
/// Each watt more does no more work than the one before it: the profile's points have a concave curve.
pub const CONCAVE: &str = "Concave";
/// No point of the profile draws more than its limit and the margin.
pub const WITHIN_LIMITS: &str = "WithinLimits";
/// There are nodes with the profile's device.
pub const ON_NODES: &str = "OnNodes";
/// The workload's watts are granted.
pub const ADMITTED: &str = "Admitted";
/// The workload has ended.
pub const FINISHED: &str = "Finished";
/// The workload is planned to be done by its deadline.
pub const IN_TIME: &str = "InTime";

/// A lease is in force on the node.
pub const HELD: &str = "Held";
/// The node's accelerators hold the limits that they were told.
pub const OBEYED: &str = "Obeyed";
/// The node has the accelerators that it should have.
pub const AS_EXPECTED: &str = "AsExpected";
/// It is known which pod has which accelerator, and each of these is there and works.
pub const PODS_SERVED: &str = "PodsServed";

/// The longest message of a status or an event, in bytes: what events.k8s.io takes. The schemas count characters, which
/// are no more.
pub const MESSAGE: usize = 1024;

/// A text of no more than [`MESSAGE`] bytes: a note on each of ten thousand nodes must not make a status unwritable.
#[must_use]
pub fn shortened(text: &str) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= MESSAGE {
        return text.to_owned();
    }
    let end = (0..=MESSAGE - ELLIPSIS.len()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned() + ELLIPSIS
}

/// Sets one condition. `lastTransitionTime` moves only when the status does.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Moment,
) {
    let status = if holds { "True" } else { "False" };
    let time = jiff::Timestamp::from_second(now.0).unwrap_or_default();
    let known = conditions.iter().find(|condition| condition.type_ == kind && condition.status == status);
    let since = known.map_or(Time(time), |known| known.last_transition_time.clone());
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: shortened(message),
        observed_generation: generation,
        last_transition_time: since,
    });
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shortened("짧다"), "짧다");
        let cut = shortened(&"와".repeat(400));
        assert!(cut.len() <= MESSAGE && cut.ends_with("와…"), "{}", cut.len());
    }

    #[test]
    fn the_time_moves_only_when_the_status_does() {
        let mut list = Vec::new();
        let since = |list: &[Condition]| list[0].last_transition_time.0.as_second();
        set(&mut list, ACCEPTED, true, "Accepted", "one", None, Moment(10));
        set(&mut list, ACCEPTED, true, "Accepted", "two", None, Moment(20));
        assert_eq!((since(&list), list[0].message.as_str(), list.len()), (10, "two", 1));
        set(&mut list, ACCEPTED, false, "Refused", "three", None, Moment(30));
        assert_eq!(since(&list), 30);
    }
}
