//! Events: what has just turned, for `kubectl describe` and `kubectl events`. A phase that changed, a condition that
//! turned; not every new number, which statuses have. They are best effort: none is worth a cycle's time.

use super::snapshot::Cause;
use crate::api::conditions::{ACCEPTED, CONCAVE, FEASIBLE, FRESH, WITHIN_CAP, WITHIN_LIMITS, shortened};
use crate::api::{
    CurtailmentEvent, CurtailmentEventStatus, CurtailmentPhase, GridSignalStatus, LLMWorkloadStatus, Phase, Verdict,
};
use crate::core::signal::Rung;
use crate::units::Watts;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc::{Sender, channel};

/// The name of a reason that is news though the phase stays.
const CHECKPOINT_ASKED: &str = "CheckpointAsked";

/// Events that may wait to be sent; what comes on top is dropped.
const WAITING: usize = 1024;

/// What is to be told of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Should a person look at it?
    pub is_warning: bool,
    /// CamelCase, as in the status.
    pub reason: String,
    /// The sentence.
    pub note: String,
}

/// What a workload's new status has to tell: its phase has changed, or its start has failed.
#[must_use]
pub fn of_workload(old: Option<&LLMWorkloadStatus>, new: &LLMWorkloadStatus) -> Option<Told> {
    let phase = new.phase?;
    let reason = new.reason.as_deref().unwrap_or_default();
    let has_failed = [Cause::StartRefused, Cause::Unschedulable].iter().any(|cause| cause.name() == reason);
    let before = old.filter(|old| old.phase == Some(phase));
    let is_news = has_failed || reason == CHECKPOINT_ASKED;
    if before.is_some_and(|old| !is_news || old.reason == new.reason) {
        return None;
    }
    Some(Told {
        is_warning: has_failed || matches!(phase, Phase::Refused | Phase::Failed),
        reason: new.reason.clone().unwrap_or_default(),
        note: new.message.clone().unwrap_or_default(),
    })
}

/// What an event's new status has to tell, to those who look at it and to those who look at its domain.
#[must_use]
pub fn of_curtailment(event: &CurtailmentEvent, new: &CurtailmentEventStatus) -> Option<Told> {
    let phase = new.phase?;
    if event.status.as_ref().and_then(|old| old.phase) == Some(phase) {
        return None;
    }
    let name = event.metadata.name.as_deref().unwrap_or_default();
    let (domain, until) = (&event.spec.domain, event.until());
    let target = Watts(new.target_watts.unwrap_or(0));
    let why = event.spec.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let refused = new.conditions.iter().find(|condition| condition.type_ == ACCEPTED);
    let note = match phase {
        CurtailmentPhase::Scheduled => {
            format!("{name}: {domain} may draw {target} from {} until {until}{why}", event.begins())
        }
        CurtailmentPhase::Active => format!("{name}: {domain} may draw {target} until {until}{why}"),
        CurtailmentPhase::Cancelled => format!("{name} is cancelled: {domain} is filled again by new grants"),
        CurtailmentPhase::Ended => {
            let verdict = match new.verdict {
                Some(Verdict::Delivered) => ", as ordered".to_owned(),
                Some(Verdict::Exceeded) => {
                    format!(", with up to {} above it", Watts(new.worst_overshoot_watts.unwrap_or(0)))
                }
                Some(Verdict::Missed) => format!(" and was never met: {target} were too few"),
                None => String::new(),
            };
            format!("{name} has ended{verdict}: {domain} is filled again by new grants")
        }
        CurtailmentPhase::Refused => format!("{name}: {}", refused.map_or("", |refused| &refused.message)),
    };
    Some(Told { is_warning: phase == CurtailmentPhase::Refused, reason: format!("Curtailment{phase:?}"), note })
}

/// What a signal's new status has to tell: it is on another rung. That it is live from the first is no news.
#[must_use]
pub fn of_signal(old: Option<&GridSignalStatus>, new: &GridSignalStatus) -> Option<Told> {
    let (live, rung) = (Rung::Live.name(), new.rung.as_deref()?);
    let before = old.and_then(|old| old.rung.as_deref()).unwrap_or(live);
    let note = format!("{before} before, {rung} now: {}", new.rung_reason.as_deref().unwrap_or_default());
    (before != rung).then(|| Told { is_warning: rung != live, reason: format!("Signal{rung}"), note })
}

/// What conditions have to tell: one that turned. What holds from the first is no news, what fails from the first is.
#[must_use]
pub fn of_conditions(old: &[Condition], new: &[Condition]) -> Vec<Told> {
    let news = [ACCEPTED, WITHIN_CAP, FRESH, FEASIBLE, CONCAVE, WITHIN_LIMITS];
    let told = new.iter().filter(|condition| news.contains(&condition.type_.as_str()));
    told.filter(|condition| {
        let before = old.iter().find(|before| before.type_ == condition.type_);
        before.map_or("True", |before| before.status.as_str()) != condition.status
    })
    .map(|condition| Told {
        is_warning: condition.status != "True",
        reason: condition.reason.clone(),
        note: condition.message.clone(),
    })
    .collect()
}

/// Sends events from a task of its own.
#[derive(Debug, Clone)]
pub struct Events {
    sender: Sender<(Told, ObjectReference)>,
}

impl Events {
    /// Begins to send.
    #[must_use]
    pub fn start(client: &Client, instance: Option<String>) -> Self {
        let recorder = Recorder::new(client.clone(), Reporter { controller: "heliotrope".to_owned(), instance });
        let (sender, mut waiting) = channel::<(Told, ObjectReference)>(WAITING);
        tokio::spawn(async move {
            while let Some((told, object)) = waiting.recv().await {
                let event = Event {
                    type_: if told.is_warning { EventType::Warning } else { EventType::Normal },
                    action: told.reason.clone(),
                    reason: told.reason,
                    note: Some(shortened(&told.note)),
                    secondary: None,
                };
                if let Err(error) = recorder.publish(&event, &object).await {
                    tracing::debug!(%error, object = object.name, "an event was not sent");
                }
            }
        });
        Self { sender }
    }

    /// Sends one, or drops it where too many wait already.
    pub fn send(&self, told: Told, object: ObjectReference) {
        let _ = self.sender.try_send((told, object));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::conditions;
    use crate::core::admit::Reason;
    use crate::units::Moment;

    fn status(phase: Phase, reason: &str) -> LLMWorkloadStatus {
        LLMWorkloadStatus {
            phase: Some(phase),
            reason: Some(reason.to_owned()),
            message: Some(format!("{reason}, in words")),
            ..LLMWorkloadStatus::default()
        }
    }

    #[test]
    fn a_phase_is_told_once_and_a_new_number_is_not() {
        let waits = status(Phase::Pending, "NoHeadroom");
        let first = of_workload(None, &waits).unwrap();
        assert_eq!((first.is_warning, &*first.reason, &*first.note), (false, "NoHeadroom", "NoHeadroom, in words"));
        let other = LLMWorkloadStatus { message: Some("3 W free".to_owned()), ..waits.clone() };
        assert_eq!(of_workload(Some(&waits), &other), None);
        assert_eq!(of_workload(Some(&waits), &status(Phase::Starting, "Starting")).unwrap().reason, "Starting");
        assert!(of_workload(Some(&waits), &status(Phase::Refused, "FitsNowhere")).unwrap().is_warning);
        let failed = status(Phase::Pending, "StartRefused");
        assert!(of_workload(Some(&waits), &failed).unwrap().is_warning, "a start that fails is news in any phase");
        assert_eq!(of_workload(Some(&failed), &failed), None);
        let then = Box::new(Reason::Running);
        let name = Reason::CheckpointAsked { until: Moment(0), then }.name();
        let asked = of_workload(Some(&status(Phase::Running, "Running")), &status(Phase::Running, name)).unwrap();
        assert!(!asked.is_warning && asked.reason == name);
    }

    #[test]
    fn a_rung_is_told_when_it_changes() {
        let on = |rung: Rung| GridSignalStatus {
            rung: Some(rung.name().to_owned()),
            rung_reason: Some("in words".to_owned()),
            ..GridSignalStatus::default()
        };
        let (live, known) = (on(Rung::Live), on(Rung::LastKnown));
        assert_eq!((of_signal(None, &live), of_signal(Some(&known), &known)), (None, None));
        let down = of_signal(Some(&live), &known).unwrap();
        assert_eq!((down.is_warning, &*down.reason), (true, "SignalLastKnown"));
        assert_eq!(down.note, "Live before, LastKnown now: in words");
        assert!(!of_signal(Some(&known), &live).unwrap().is_warning);
    }

    #[test]
    fn a_condition_is_told_when_it_turns() {
        let with = |kind: &str, holds: bool| {
            let mut list = Vec::new();
            conditions::set(&mut list, kind, holds, "Because", "in words", None, Moment(0));
            list
        };
        let (good, bad) = (with(WITHIN_CAP, true), with(WITHIN_CAP, false));
        assert_eq!(of_conditions(&[], &good), []);
        assert!(of_conditions(&[], &bad)[0].is_warning);
        assert_eq!(of_conditions(&bad, &bad), []);
        assert!(of_conditions(&good, &bad)[0].is_warning);
        assert!(!of_conditions(&bad, &good)[0].is_warning);
        // a workload's own conditions are told by its phase
        assert_eq!(of_conditions(&[], &with(conditions::FINISHED, false)), []);
    }
}
