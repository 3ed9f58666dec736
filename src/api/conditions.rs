//! Condition types in one place, and the one rule by which a condition is set.

use crate::units::Moment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The object can be used as it is written.
pub const ACCEPTED: &str = "Accepted";
/// What is committed in the domain is under its cap.
pub const WITHIN_CAP: &str = "WithinCap";
/// The signal's value now is known.
pub const FRESH: &str = "Fresh";
/// The workload's watts are granted.
pub const ADMITTED: &str = "Admitted";
/// The workload has ended.
pub const FINISHED: &str = "Finished";

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
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: since,
    });
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}
