//! Started Jobs whose pods have no node yet: their watts are granted, and nothing draws them.

use super::snapshot::Snapshot;
use super::world::{Item, State};
use crate::api::labels;
use crate::units::{Moment, Seconds};
use crate::workloads::job;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;

/// How long a pod may be without a node before its Job is taken back. A node that is being made, or whose driver is being
/// loaded, takes minutes; watts that are granted to a Job that can't run are somebody else's until then.
pub const PATIENCE: Seconds = Seconds(300);

/// What of a started Job has no node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbound {
    /// Pods without a node; none where none was made.
    pub pods: usize,
    /// Pods with one.
    pub bound: usize,
    /// Since when the scheduler has found none, where it has said so.
    pub since: Option<Moment>,
    /// Why, in the scheduler's words.
    pub why: String,
}

impl Unbound {
    /// Is it to be taken back? What partly runs is not: that would stop work, and only a cap does.
    #[must_use]
    pub fn is_overdue(&self, now: Moment) -> bool {
        self.bound == 0 && self.since.is_some_and(|since| now - since >= PATIENCE)
    }
}

impl std::fmt::Display for Unbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pods {
            0 => f.write_str("no pod of it is made yet"),
            _ => write!(f, "its pods are not all scheduled yet ({} of {})", self.bound, self.bound + self.pods),
        }?;
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why) }
    }
}

/// The started Jobs that are not wholly on nodes, by UID.
#[must_use]
pub fn unbound(snapshot: &Snapshot, items: &[Item]) -> BTreeMap<String, Unbound> {
    let mut by_uid: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in snapshot.pods.iter().filter(|pod| job::is_alive(pod) && pod.metadata.deletion_timestamp.is_none()) {
        if let Some(uid) = pod.metadata.labels.as_ref().and_then(|all| all.get(labels::CONTROLLER_UID)) {
            by_uid.entry(uid).or_default().push(pod);
        }
    }
    let started = items.iter().filter(|item| matches!(item.state, State::Running | State::Unadmitted));
    let of = |item: &Item| match by_uid.get(item.uid.as_str()) {
        Some(pods) => of_pods(pods),
        None => without_pods(item),
    };
    started.filter_map(|item| Some((item.uid.clone(), of(item)?))).collect()
}

fn of_pods(pods: &[&Pod]) -> Option<Unbound> {
    let (bound, waiting): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(|pod| job::node(pod).is_some());
    let said = waiting.iter().filter_map(|pod| {
        let conditions = pod.status.as_ref()?.conditions.as_ref()?;
        let condition = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
        let since = condition.last_transition_time.as_ref().map(|time| Moment(time.0.as_second()));
        Some((since, condition.message.clone().unwrap_or_default()))
    });
    let longest = said.min_by_key(|(since, _)| since.unwrap_or(Moment::FAR_FUTURE));
    let (since, why) = longest.unwrap_or_default();
    (!waiting.is_empty()).then_some(Unbound { pods: waiting.len(), bound: bound.len(), since, why })
}

/// A Job that was started and has never had a pod. One whose pods failed makes the next one when it pleases.
fn without_pods(item: &Item) -> Option<Unbound> {
    let status = item.job.status.as_ref()?;
    let has_any = [status.active, status.failed, status.succeeded].iter().any(|count| count.unwrap_or(0) > 0);
    let since = job::times(&item.job).1;
    let why = "a quota or a policy may refuse them: see the Job's events".to_owned();
    (!has_any).then_some(Unbound { pods: 0, bound: 0, since, why })
}
