//! `CurtailmentEvent`: a domain must draw less for a time. To create one is one write, and a right of its own.
//!
//! ```text
//!                    start comes         end comes
//!        Scheduled -------------> Active ----------> Ended
//!            \                     /
//!             `----> Cancelled <--'        Refused: its domain is not there; the others go on
//! ```
//!
//! Its spec is people's, or a grid source's, and what it orders never grows: it can be cancelled and ended earlier, not
//! changed. An order in `target.capWatts` is absolute, so it can be obeyed by whoever reads it, with no controller alive.
//! A reduction is relative: the controller makes absolute watts of it once, and until then nobody can act on it; so
//! `heliotrope curtail` writes `capWatts` alone. Orders to draw *more* (Korea's Plus DR) are not served yet.

use crate::core::domain::Target;
use crate::units::{Moment, Watts};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is ordered, of which domain, for how long.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "heliotrope.dev",
    version = "v1alpha1",
    kind = "CurtailmentEvent",
    plural = "curtailmentevents",
    shortname = "ce",
    status = "CurtailmentEventStatus",
    derive = "PartialEq",
    doc = "An order that a domain draws less for a time. The lowest of the domain's cap, its schedule and all events on it wins.",
    cel,
    printcolumn(name = "Domain", type_ = "string", json_path = ".spec.domain", description = "What is to draw less"),
    printcolumn(
        name = "Target",
        type_ = "integer",
        json_path = ".status.targetWatts",
        description = "Watts that it may draw"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where it stands"),
    printcolumn(
        name = "Met",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='TargetMet')].status",
        description = "Is what is committed under the target?"
    ),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.end", description = "When it ends"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Since when it exists"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.start) || self.end > self.start")
        .message("end must be after start: an event of no length orders nothing"),
    validation = Rule::new("!has(self.baseline) || !has(self.target.capWatts)")
        .message("capWatts is absolute: leave baseline out, it is what reduceWatts and reducePercent count from"),
    validation = Rule::new("self.domain == oldSelf.domain && self.target == oldSelf.target && has(self.start) == has(oldSelf.start) && (!has(self.start) || self.start == oldSelf.start) && has(self.baseline) == has(oldSelf.baseline) && (!has(self.baseline) || self.baseline == oldSelf.baseline) && has(self.measure) == has(oldSelf.measure) && (!has(self.measure) || self.measure == oldSelf.measure)")
        .message("what an event orders can't be changed: cancel it, and make another one"),
    validation = Rule::new("has(self.reason) == has(oldSelf.reason) && (!has(self.reason) || self.reason == oldSelf.reason) && has(self.source) == has(oldSelf.source) && (!has(self.source) || self.source == oldSelf.source) && has(self.externalId) == has(oldSelf.externalId) && (!has(self.externalId) || self.externalId == oldSelf.externalId)")
        .message("reason, source and externalId are part of the record: they can't be changed"),
    validation = Rule::new("self.end <= oldSelf.end")
        .message("end can only be brought forward: make another event for more time"),
    validation = Rule::new("!oldSelf.cancelled || self.cancelled")
        .message("a cancelled event stays cancelled: make another one")
)]
pub struct CurtailmentEventSpec {
    /// The PowerDomain that must draw less.
    #[schemars(length(min = 1, max = 253))]
    pub domain: String,
    /// From when on. Left out: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Time>,
    /// Until when. It can be brought forward, and never put off.
    pub end: Time,
    /// What is ordered: one of capWatts, reduceWatts, reducePercent.
    pub target: CurtailmentTarget,
    /// What a reduction counts from, looked up once, when the controller first sees the event: Cap (default) is the
    /// domain's capWatts, Committed its status.committedWatts at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineMethod>,
    /// What is to be under the target: Limits (default) is what can be drawn, for a feed that must not pass it at any moment;
    /// Draw is what is drawn by the agents' word, for an order that is settled by a meter. With Draw limits are raised until
    /// that is just under the target; without a word of every node, or without a controller, limits are under it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<Measure>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub reason: Option<String>,
    /// Who ordered it, as a grid operator or a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub source: Option<String>,
    /// The name that its source has for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub external_id: Option<String>,
    /// It is called off. Watts come back by new grants, not by themselves.
    #[serde(default)]
    pub cancelled: bool,
}

/// What is ordered.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.capWatts) ? 1 : 0) + (has(self.reduceWatts) ? 1 : 0) + (has(self.reducePercent) ? 1 : 0) == 1").message("target takes exactly one of capWatts, reduceWatts, reducePercent"))]
pub struct CurtailmentTarget {
    /// The most that may be drawn, in watts. The only form that is obeyed with the controller dead. 1 stops everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000_000_i64))]
    pub cap_watts: Option<i64>,
    /// How much less than the baseline may be drawn, in watts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000_000_i64))]
    pub reduce_watts: Option<i64>,
    /// How much less than the baseline may be drawn, in hundredths of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub reduce_percent: Option<i32>,
}

impl CurtailmentTarget {
    /// The same as a value of the core; none where it is none, or several.
    #[must_use]
    pub fn order(&self) -> Option<Target> {
        match (self.cap_watts, self.reduce_watts, self.reduce_percent) {
            (Some(watts), None, None) => Some(Target::Cap(Watts(watts))),
            (None, Some(watts), None) => Some(Target::ReduceWatts(Watts(watts.max(0)))),
            (None, None, Some(percent)) => u32::try_from(percent).ok().map(Target::ReducePercent),
            _ => None,
        }
    }
}

/// What a reduction counts from.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BaselineMethod {
    /// The domain's capWatts.
    #[default]
    Cap,
    /// What is committed in the domain: the highest draw that can happen under what was granted.
    Committed,
}

/// What an event counts with.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// What can be drawn under the limits that are set.
    #[default]
    Limits,
    /// What is drawn.
    Draw,
}

/// What limits may sum to under an event that counts with what is drawn.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CurtailmentLimits {
    /// In watts, as the domain's feed sees them.
    #[schemars(range(min = 1, max = 10_000_000_000_i64))]
    pub watts: i64,
    /// Since when it is this figure.
    pub since: Time,
    /// Until when anybody may count with it: after that it is the target again.
    pub until: Time,
}

/// Where an event stands.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum CurtailmentPhase {
    /// It has not begun.
    Scheduled,
    /// It is in force.
    Active,
    /// It was called off before its end.
    Cancelled,
    /// Its end has come.
    Ended,
    /// It can't be obeyed as it is: its conditions say why.
    Refused,
}

/// How an event was obeyed.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What was committed came under the target within the domain's correction time, and stayed there.
    Delivered,
    /// It came under the target, and more was committed at some time after the correction time.
    Exceeded,
    /// It never came under the target.
    Missed,
}

/// What the controller says of an event. Figures are of what is planned and granted; of meters where `measure` is Draw.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.targetWatts) || (has(self.targetWatts) && self.targetWatts == oldSelf.targetWatts)").message("targetWatts is looked up once and stays what it is"))]
pub struct CurtailmentEventStatus {
    /// The generation of the spec that this was said of.
    pub observed_generation: Option<i64>,
    /// Where it stands.
    pub phase: Option<CurtailmentPhase>,
    /// What the domain may draw, in watts: absolute, made once, never changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_watts: Option<i64>,
    /// The figure that a reduction counted from, in watts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline_watts: Option<i64>,
    /// Of an event that counts with what is drawn: what limits may sum to so that no more than the target is drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<CurtailmentLimits>,
    /// What was committed in the domain as it began, in watts; what was drawn where `measure` is Draw. So in the figures below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_at_start_watts: Option<i64>,
    /// How much less is committed since, in watts; of an event that is over, as it last was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_watts: Option<i64>,
    /// Seconds from its beginning until what is committed was first under the target, as the controller saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_to_target: Option<i64>,
    /// The most that was committed above the target once the domain's correction time had passed, in watts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_overshoot_watts: Option<i64>,
    /// How it was obeyed, said at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What is true of this event now, one entry for each type.
    #[serde(default)]
    #[schemars(schema_with = "super::condition_list")]
    pub conditions: Vec<Condition>,
}

impl CurtailmentEvent {
    /// The absolute cap that it orders, in watts: from its spec, else as it was made once. None where it is not made yet.
    #[must_use]
    pub fn cap(&self) -> Option<Watts> {
        match self.spec.target.order()? {
            Target::Cap(watts) => Some(watts.max(Watts(1))),
            Target::ReduceWatts(_) | Target::ReducePercent(_) => {
                self.status.as_ref()?.target_watts.map(|watts| Watts(watts.max(1)))
            }
        }
    }

    /// What limits may sum to under it at a moment, in watts: its cap, or more while it counts with what is drawn and somebody looks
    /// at that.
    #[must_use]
    pub fn limits_at(&self, now: Moment) -> Option<Watts> {
        let cap = self.cap()?;
        Some(self.limits_in_force(now).map_or(cap, |limits| cap.max(Watts(limits.watts))))
    }

    /// What was said of the sum of limits, as far as it still counts; none for an event that does not count with what is drawn.
    #[must_use]
    pub fn limits_in_force(&self, now: Moment) -> Option<&CurtailmentLimits> {
        let limits = self.status.as_ref()?.limits.as_ref()?;
        (self.is_metered() && now < Moment(limits.until.0.as_second())).then_some(limits)
    }

    /// Does it count with what is drawn?
    #[must_use]
    pub fn is_metered(&self) -> bool {
        self.spec.measure == Some(Measure::Draw)
    }

    /// Is it in force?
    #[must_use]
    pub fn is_in_force(&self, now: Moment) -> bool {
        self.from() <= now && !self.is_over(now)
    }

    /// From when on it is in force. What begins at once does so whatever any clock says.
    #[must_use]
    pub fn from(&self) -> Moment {
        self.spec.start.as_ref().map_or(Moment(0), |time| Moment(time.0.as_second()))
    }

    /// When it began or will begin, for people: its start, or when it was made.
    #[must_use]
    pub fn begins(&self) -> Moment {
        let time = self.spec.start.as_ref().or(self.metadata.creation_timestamp.as_ref());
        time.map_or(Moment(0), |time| Moment(time.0.as_second()))
    }

    /// When it ends, if it is not cancelled.
    #[must_use]
    pub fn until(&self) -> Moment {
        Moment(self.spec.end.0.as_second())
    }

    /// Is it over, by its end or by being cancelled?
    #[must_use]
    pub fn is_over(&self, now: Moment) -> bool {
        self.spec.cancelled || self.until() <= now
    }
}
