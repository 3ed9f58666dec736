//! Carries decisions out. Safety rests on the order of writes and on compare-and-swap alone: two controllers may run
//! at once, and any of them may be killed between any two of these writes.
//!
//! - **Grant, then start.** The Job is read; the root domain's ledger is swapped with the new grant in it, against the
//!   very version that the decision was made on; only then the Job is written, against the version that was read.
//!   *Start, then grant*: two controllers start one Job each into room for one, and learn of it afterwards.
//!   *No swap*: both read the ledger with room for one, both write.
//! - **Fence, then look, then release.** The Job is written first, which makes a start fail that was prepared earlier;
//!   then its pods are listed; only then the grant leaves the ledger, by a swap.
//!   *No fence*: A grants and pauses; B finds the Job held and without pods, gives its watts to another; A wakes and
//!   starts it.
//!   *Look, then fence*: pods come up in between. *Look at pods alone*: the Job controller, which reads through a cache
//!   too, makes one for a Job that it still takes for started; so its own word that the Job is held is waited for, and
//!   taken back before each start.
//! - **A cache is never proof.** What frees watts is read from the API server itself after the decision.

use super::snapshot::{Heads, head};
use super::world::{Item, State};
use crate::api::{CurtailmentEvent, Grant, Ledger, PowerDomain, PowerDomainStatus, Slowed, labels};
use crate::core::plan::Load;
use crate::units::Moment;
use crate::workloads::{checkpoint, job};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one call to the API server may take. Five of these in a row still fit the 18 s that RELIABILITY §2 leaves
/// for all calls and deliveries of a fall, since suspending is one call.
const CALL: Duration = Duration::from_secs(4);

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It was made.
    Succeeded,
    /// Someone else wrote first.
    Conflict,
    /// It took too long: it may have been made or not.
    TimedOut,
    /// The API server refused it.
    Failed,
}

/// A write that was not made, or not surely.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct CallError {
    /// What was tried.
    pub what: String,
    /// How it ended.
    pub outcome: Outcome,
    /// In the API server's words.
    pub why: String,
    /// Its status code, where it answered.
    pub code: Option<u16>,
    /// The UID of the Job whose start it was, where it was one.
    pub start: Option<String>,
}

impl CallError {
    /// Does the API server not want this, now and as long as nothing else changes? Not where someone else wrote first, or
    /// where it has too much to do.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.outcome == Outcome::Failed
            && self.code.is_some_and(|code| code >= 400 && ![404, 429, 503, 504].contains(&code))
    }
}

/// Makes one call, no longer than `CALL`.
///
/// # Errors
/// How it ended otherwise.
pub async fn call<T>(what: impl Into<String>, future: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    let what = what.into();
    match tokio::time::timeout(CALL, future).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(kube::Error::Api(status))) => {
            let outcome = if status.code == 409 { Outcome::Conflict } else { Outcome::Failed };
            Err(CallError { what, outcome, why: status.message.clone(), code: Some(status.code), start: None })
        }
        Ok(Err(error)) => {
            Err(CallError { what, outcome: Outcome::Failed, why: error.to_string(), code: None, start: None })
        }
        Err(_) => Err(CallError {
            what,
            outcome: Outcome::TimedOut,
            why: format!("no answer in {CALL:?}"),
            code: None,
            start: None,
        }),
    }
}

/// A start that was decided.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// What is to start.
    pub item: &'a Item,
    /// What it is granted.
    pub load: Load,
    /// How the plan holds it below full; none at full.
    pub slowed: Option<Slowed>,
    /// The domain that it starts in.
    pub domain: String,
    /// The labels of that domain's nodes.
    pub node_labels: BTreeMap<String, String>,
}

/// The changes of one root's ledger in one cycle.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// Grants whose workload may be gone.
    pub release: Vec<(Grant, Option<&'a Item>)>,
    /// Grants to what draws already.
    pub adopt: Vec<(Grant, &'a Item)>,
    /// Grants of what goes on at another point. What holds the watts are leases, so nothing of it is waited for.
    pub move_to: Vec<Grant>,
    /// Starts.
    pub start: Vec<Start<'a>>,
}

/// The grant of a load.
#[must_use]
pub fn grant(item: &Item, load: Load, domain: &str, slowed: Option<Slowed>) -> Grant {
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    Grant {
        uid: item.uid.clone(),
        namespace: item.job.metadata.namespace.clone().unwrap_or_default(),
        name: item.job.metadata.name.clone().unwrap_or_default(),
        domain: domain.to_owned(),
        watts: load.watts.0,
        accelerators: count(load.accelerators),
        hosts: count(load.hosts),
        slowed,
    }
}

/// The ledger after some grants have left and others have come. A grant that is there already is replaced.
#[must_use]
pub fn next_ledger(ledger: &Ledger, released: &[String], granted: Vec<Grant>) -> Ledger {
    let replaced: Vec<String> = granted.iter().map(|grant| grant.uid.clone()).collect();
    let stays = |grant: &&Grant| !released.contains(&grant.uid) && !replaced.contains(&grant.uid);
    let mut grants: Vec<Grant> = ledger.grants.iter().filter(stays).cloned().chain(granted).collect();
    grants.sort_by(|a, b| a.uid.cmp(&b.uid));
    Ledger { sequence: ledger.sequence + 1, grants }
}

/// Holds a Job, and notes what of its work is behind a checkpoint. The safe direction: it is done whatever the Job's version.
///
/// # Errors
/// How it ended otherwise.
pub async fn suspend(client: &Client, item: &Item, now: Moment) -> Result<(), CallError> {
    let (api, name) = job_api(client, item);
    let done = |checkpoint| checkpoint::note_of_done(&item.job, checkpoint, now, item.lost);
    let note = item.spec().checkpoint.and_then(done);
    let annotations: BTreeMap<&str, String> = note.into_iter().map(|note| (labels::DONE, note)).collect();
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}, "spec": {"suspend": true}}));
    call(format!("suspend {}", item.name()), api.patch(&name, &PatchParams::default(), &patch)).await?;
    Ok(())
}

/// Asks a Job for a checkpoint.
///
/// # Errors
/// How it ended otherwise.
pub async fn ask_for_checkpoint(client: &Client, item: &Item, now: Moment) -> Result<(), CallError> {
    let (api, name) = job_api(client, item);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {labels::CHECKPOINT_ASKED: now.to_string()}}}));
    let what = format!("ask {} for a checkpoint", item.name());
    call(what, api.patch(&name, &PatchParams::default(), &patch)).await?;
    Ok(())
}

fn job_api(client: &Client, item: &Item) -> (Api<Job>, String) {
    let namespace = item.job.metadata.namespace.as_deref().unwrap_or_default();
    (Api::namespaced(client.clone(), namespace), item.job.metadata.name.clone().unwrap_or_default())
}

/// An item's Job as the API server has it now; none where another Job has its name.
async fn read(client: &Client, item: &Item) -> Result<Option<Job>, CallError> {
    let (api, name) = job_api(client, item);
    let job = call(format!("read {}", item.name()), api.get(&name)).await?;
    Ok(Some(job).filter(|job| job.metadata.uid.as_deref() == Some(&item.uid)))
}

/// Changes a root's ledger by one swap, and starts what it now holds. `decided_on` are the domains and
/// events that the decision was made on, `told` hears what went wrong on the way.
///
/// # Errors
/// The ledger was not swapped: nothing is started, nothing is freed.
pub async fn commit(
    client: &Client,
    root: &PowerDomain,
    decided_on: &Heads,
    changes: Changes<'_>,
    told: &mut Vec<CallError>,
) -> Result<usize, CallError> {
    let ledger = root.status.as_ref().and_then(|status| status.ledger.clone()).unwrap_or_default();
    let mut released = Vec::new();
    for (grant, item) in &changes.release {
        match is_gone(client, grant, *item, ledger.sequence).await {
            Ok(true) => released.push(grant.uid.clone()),
            Ok(false) => {}
            Err(error) => told.push(error),
        }
    }
    // read before the swap: whatever touches a Job after this makes its start fail
    let mut starts = Vec::new();
    for start in changes.start {
        match read(client, start.item).await {
            Ok(Some(job)) if may_start(&job, &start.item.job) => starts.push((start, job)),
            Ok(_) => {} // the next cycle decides on it as it is now
            Err(error) => told.push(error),
        }
    }
    let mut adopted = Vec::new();
    for (grant, item) in changes.adopt {
        match read(client, item).await {
            Ok(Some(job)) if !job::is_suspended(&job) => adopted.push(grant),
            Ok(_) => {} // it ran when our cache heard of it last
            Err(error) => told.push(error),
        }
    }
    let started = starts.iter().map(|(start, _)| grant(start.item, start.load, &start.domain, start.slowed.clone()));
    let granted: Vec<Grant> = started.chain(adopted).chain(changes.move_to).collect();
    if released.is_empty() && granted.is_empty() {
        return Ok(0);
    }
    let next = next_ledger(&ledger, &released, granted);
    let sequence = next.sequence;
    let mut swapped = root.clone();
    let status = swapped.status.clone().unwrap_or_default();
    swapped.status = Some(PowerDomainStatus { ledger: Some(next), ..status });
    let name = root.metadata.name.clone().unwrap_or_default();
    let api: Api<PowerDomain> = Api::all(client.clone());
    // the object carries the resourceVersion that the decision was made on
    call(format!("swap the ledger of {name}"), api.replace_status(&name, &PostParams::default(), &swapped)).await?;
    if starts.is_empty() {
        return Ok(0);
    }
    // The swap saw that the root is as it was decided on; its rows, and orders to curtail, are objects of their own. What is
    // granted and not begun is taken back by the next cycle.
    if heads(client).await? != *decided_on {
        let why = "a domain or an event was changed meanwhile: nothing is started".to_owned();
        let what = format!("start under {name}");
        return Err(CallError { what, outcome: Outcome::Conflict, why, code: None, start: None });
    }
    let mut started = 0;
    for (start, job) in starts {
        match begin(client, &start, &job, sequence).await {
            Ok(()) => started += 1,
            Err(error) => told.push(CallError { start: Some(start.item.uid.clone()), ..error }),
        }
    }
    Ok(started)
}

async fn heads(client: &Client) -> Result<Heads, CallError> {
    let every = ListParams::default();
    let (domains, events) = (Api::<PowerDomain>::all(client.clone()), Api::<CurtailmentEvent>::all(client.clone()));
    let (domains, events) = futures::try_join!(
        call("list the domains once more", domains.list_metadata(&every)),
        call("list the events once more", events.list_metadata(&every)),
    )?;
    let domains = domains.items.iter().map(|domain| head(&domain.metadata));
    Ok(domains.chain(events.items.iter().map(|event| head(&event.metadata))).collect())
}

/// Is a Job held, and does it still ask for what its grant was decided on? It may have been made wider meanwhile.
fn may_start(job: &Job, decided_on: &Job) -> bool {
    let asks = |job: &Job| (job::pods(job), job::gpus_per_pod(job));
    job::is_suspended(job) && job::end(job).is_none() && asks(job) == asks(decided_on)
}

/// Starts a Job that has been granted its watts.
///
/// First the Job controller's word on the last hold is taken back: if the Job is held again before that controller has seen
/// the start, its old word would be taken for a new one, and the watts of a pod that it is about to make would be given away.
/// It writes its word against a version of the Job, so a later one comes from a look at the later hold. With it goes the
/// startTime, as the template of a Job that has run can't be changed before 1.36 while it is set; the Job controller sets it
/// anew.
async fn begin(client: &Client, start: &Start<'_>, job: &Job, sequence: i64) -> Result<(), CallError> {
    let (api, name) = job_api(client, start.item);
    let mut begun = job::started(job, &start.node_labels, sequence);
    if let Some(status) = job::unsaid(job) {
        let version = &job.metadata.resource_version;
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "status": status}));
        let what = format!("take back what is said of {}", start.item.name());
        let unsaid = call(what, api.patch_status(&name, &PatchParams::default(), &patch)).await?;
        begun.metadata.resource_version = unsaid.metadata.resource_version;
    }
    let what = format!("start {}", start.item.name());
    call(what, api.replace(&name, &PostParams::default(), &begun)).await?;
    Ok(())
}

/// Is everything of a granted workload gone, and can't come back? Reads from the API server, and fences.
async fn is_gone(client: &Client, grant: &Grant, item: Option<&Item>, sequence: i64) -> Result<bool, CallError> {
    if item.is_some_and(|item| !matches!(item.state, State::InDoubt | State::Ended(_))) {
        return Ok(false);
    }
    let who = format!("{}/{}", grant.namespace, grant.name);
    let jobs: Api<Job> = Api::namespaced(client.clone(), &grant.namespace);
    let job = call(format!("read {who}"), jobs.get_opt(&grant.name)).await?;
    if let Some(job) = job.filter(|job| job.metadata.uid.as_deref() == Some(&grant.uid)) {
        match (job::end(&job), job::is_suspended(&job)) {
            (Some(_), _) => {}
            (None, false) => return Ok(false),
            // the Job controller has not seen yet that it is held: it may be making a pod at this moment
            (None, true) if !job::is_seen_as_suspended(&job) => return Ok(false),
            (None, true) => {
                let fence = json!({"metadata": {
                    "resourceVersion": job.metadata.resource_version,
                    "annotations": {labels::FENCE: format!("{sequence}-released")},
                }});
                call(format!("fence {who}"), jobs.patch(&grant.name, &PatchParams::default(), &Patch::Merge(fence)))
                    .await?;
            }
        }
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &grant.namespace);
    let own = ListParams::default().labels(&format!("{}={}", labels::CONTROLLER_UID, grant.uid));
    let list = call(format!("list the pods of {who}"), pods.list(&own)).await?;
    Ok(list.items.iter().all(|pod| !job::is_alive(pod)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_grant(uid: &str, watts: i64) -> Grant {
        Grant { uid: uid.to_owned(), watts, ..Grant::default() }
    }

    #[test]
    fn a_job_that_was_made_wider_is_not_started_on_the_narrow_grant() {
        let job = |parallelism: i32, suspend: bool| -> Job {
            serde_json::from_value(json!({"spec": {"suspend": suspend, "parallelism": parallelism, "template": {}}}))
                .unwrap()
        };
        assert!(may_start(&job(1, true), &job(1, true)));
        assert!(!may_start(&job(2, true), &job(1, true)));
        assert!(!may_start(&job(1, false), &job(1, true)));
    }

    #[test]
    fn a_ledger_changes_by_what_left_and_what_came() {
        let ledger = Ledger { sequence: 4, grants: vec![a_grant("a", 1), a_grant("b", 2), a_grant("c", 3)] };
        let next = next_ledger(&ledger, &["b".to_owned()], vec![a_grant("d", 4), a_grant("c", 9)]);
        assert_eq!(next.sequence, 5);
        let kept: Vec<(&str, i64)> = next.grants.iter().map(|grant| (grant.uid.as_str(), grant.watts)).collect();
        assert_eq!(kept, [("a", 1), ("c", 9), ("d", 4)]);
    }
}
