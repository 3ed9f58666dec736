//! Makes the custom resource of every managed Job that has none, and finds what its owner is to be told of it.

use super::apply::{CallError, call};
use super::backoff::Backoff;
use super::say::BEGUN;
use super::snapshot::Cause;
use super::snapshot::Snapshot;
use super::turns::Turn;
use super::world::{Item, World};
use crate::api::LLMWorkload;
use crate::units::Moment;
use crate::workloads::job;
use k8s_openapi::api::batch::v1::Job;
use kube::api::PostParams;
use kube::{Api, Client};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// What an owner is to be told: of which Job, why in one word, and in words.
pub type ToTell = (Arc<Job>, &'static str, String);

/// Makes custom resources.
pub struct Adopter {
    client: Client,
    turn: Turn,
    failed: Backoff,
}

impl Adopter {
    /// One that has made none yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, turn: Turn::default(), failed: Backoff::default() }
    }

    /// Makes those that are missing; how each write ended, and what is to be told.
    pub async fn make(&mut self, snapshot: &Snapshot, world: &World) -> (Vec<Result<(), CallError>>, Vec<ToTell>) {
        let (missing, mut to_tell) = missing(snapshot, world);
        self.failed.keep(|uid| missing.iter().any(|(item, _)| item.uid == uid));
        let held = self.failed.held(snapshot.now);
        let work = missing.into_iter().filter(|(item, _)| !held.contains_key(&item.uid));
        let work: Vec<_> = work.map(|(item, made)| (item.uid.clone(), (item, made))).collect();
        let done = Mutex::new(Vec::new());
        let client = &self.client;
        self.turn
            .take(work, BEGUN, |(item, workload)| {
                let done = &done;
                async move {
                    let namespace = item.job.metadata.namespace.clone().unwrap_or_default();
                    let api: Api<LLMWorkload> = Api::namespaced(client.clone(), &namespace);
                    let what = format!("make LLMWorkload {}", item.name());
                    let made = call(what, api.create(&PostParams::default(), &workload)).await;
                    if let Ok(mut done) = done.lock() {
                        done.push((item, made.map(|_| ())));
                    }
                }
            })
            .await;
        let mut results = Vec::new();
        for (item, result) in done.into_inner().unwrap_or_default() {
            to_tell.extend(self.heard(item, &result, snapshot.now));
            // one that is there already was made before our cache heard of it, or is told of
            results.push(result.or_else(|error| if error.code == Some(409) { Ok(()) } else { Err(error) }));
        }
        (results, to_tell)
    }

    /// What is to be told of a write.
    fn heard(&mut self, item: &Item, result: &Result<(), CallError>, now: Moment) -> Option<ToTell> {
        let error = result.as_ref().err()?;
        let is_taken = error.code == Some(409);
        if !is_taken && !error.is_refusal() {
            return None;
        }
        let again = self.failed.failed(&item.uid, Cause::NotMade, error.why.clone(), now);
        let what = match is_taken {
            // once is our cache, which has not heard yet of what we made ourselves
            true if again == 1 => return None,
            true => name_taken(item),
            false => format!("its LLMWorkload can't be made, so it has no status: {}", error.why),
        };
        Some((item.job.clone(), if is_taken { "NameTaken" } else { Cause::NotMade.name() }, what))
    }
}

fn name_taken(item: &Item) -> String {
    format!(
        "there is an LLMWorkload {} that does not refer to this Job, so this Job has no status: delete it, or make the Job under another name",
        item.name()
    )
}

/// The items without a custom resource that can be made, each with it, and what their owners are to be told.
fn missing<'a>(snapshot: &Snapshot, world: &'a World) -> (Vec<(&'a Item, LLMWorkload)>, Vec<ToTell>) {
    let name = |workload: &LLMWorkload| (workload.metadata.namespace.clone(), workload.metadata.name.clone());
    let taken: BTreeSet<_> = snapshot.workloads.iter().map(name).collect();
    let (mut missing, mut to_tell) = (Vec::new(), Vec::new());
    for item in world.items.iter().filter(|item| item.workload.is_none() && job::end(&item.job).is_none()) {
        let (workload, errors) = job::workload(&item.job);
        for error in errors {
            to_tell.push((item.job.clone(), "AnnotationIgnored", format!("{error}; it is not used")));
        }
        if taken.contains(&name(&workload)) {
            to_tell.push((item.job.clone(), "NameTaken", name_taken(item)));
        } else {
            missing.push((item, workload));
        }
    }
    (missing, to_tell)
}
