//! Says what is: statuses that differ from what is there, events for what has turned. Nothing here decides anything.

use super::apply::{CallError, call};
use super::curtail;
use super::events::{Events, Told, of_conditions, of_curtailment, of_workload};
use super::signals::Reading;
use super::snapshot::Snapshot;
use super::status;
use super::watch::Malformed;
use super::world::World;
use crate::api::{
    AcceleratorProfile, CurtailmentEvent, GridSignal, LLMWorkload, LLMWorkloadStatus, PowerDomain, conditions,
};
use crate::core::admit::Cycle;
use crate::units::Moment;
use crate::web::{Metrics, OutcomeLabel};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

/// Statuses that are written at once: a thousand that wait must not hold up the next cycle.
const AT_ONCE: usize = 16;

/// Writes statuses and sends events.
pub struct Voice {
    client: Client,
    metrics: Arc<Metrics>,
    events: Events,
    /// Mistakes that were told already, so that each is told once.
    told: BTreeSet<String>,
}

impl Voice {
    /// A voice that has said nothing yet.
    #[must_use]
    pub fn new(client: Client, metrics: Arc<Metrics>, events: Events) -> Self {
        Self { client, metrics, events, told: BTreeSet::new() }
    }

    /// Counts how a write ended, and logs where it was not made.
    pub fn note(&self, result: Result<(), CallError>) {
        match result {
            Ok(()) => {
                self.metrics.writes.get_or_create(&OutcomeLabel { outcome: "Succeeded".to_owned() }).inc();
            }
            Err(error) => {
                self.count(&error);
                tracing::warn!(%error, "a write was not made; the next cycle sees what became of it");
            }
        }
    }

    /// Counts a call that failed.
    pub fn count(&self, error: &CallError) {
        self.metrics.writes.get_or_create(&OutcomeLabel { outcome: format!("{:?}", error.outcome) }).inc();
    }

    /// Writes the statuses of everything that was looked at.
    pub async fn say(&self, snapshot: &Snapshot, world: &World, decided: &Cycle, readings: &[(GridSignal, Reading)]) {
        let now = snapshot.now;
        for object in &snapshot.domains {
            let mut status = status::domain(object, world, decided, now);
            // the ledger is written by swaps alone, so here it is left as it is
            status.ledger = object.status.as_ref().and_then(|status| status.ledger.clone());
            self.conditioned(object, object.status.as_ref(), &status, |status| &status.conditions).await;
        }
        for object in &snapshot.events {
            let status = curtail::status(object, snapshot, world, decided);
            if self.write(object, object.status.as_ref(), &status).await
                && let Some(told) = of_curtailment(object, &status)
            {
                let domain = snapshot.domain(&object.spec.domain);
                domain.into_iter().for_each(|domain| self.events.send(told.clone(), domain.object_ref(&())));
                self.events.send(told, object.object_ref(&()));
            }
        }
        for (object, reading) in readings {
            let status = status::signal(object, reading, now);
            self.conditioned(object, object.status.as_ref(), &status, |status| &status.conditions).await;
        }
        for object in &snapshot.profiles {
            let status = status::profile(object, now);
            self.conditioned(object, object.status.as_ref(), &status, |status| &status.conditions).await;
        }
        let served = world.items.iter().filter_map(|item| {
            let verdict = decided.verdicts.iter().find(|verdict| *verdict.id == *item.uid);
            Some((item.workload.as_ref()?, Some(&*item.job), status::workload(world, item, verdict, now)))
        });
        let refused = world.refused.iter().map(|(object, why)| (object, None, status::refused(object, why, now)));
        futures::stream::iter(served.chain(refused))
            .for_each_concurrent(AT_ONCE, |(object, job, status)| async move {
                self.workload(object, job, &status).await;
            })
            .await;
    }

    /// A workload's events go to its Job too: that is what its owner made, and looks at.
    async fn workload(
        &self,
        object: &LLMWorkload,
        job: Option<&k8s_openapi::api::batch::v1::Job>,
        status: &LLMWorkloadStatus,
    ) {
        if !self.write(object, object.status.as_ref(), status).await {
            return;
        }
        let Some(told) = of_workload(object.status.as_ref(), status) else { return };
        if let Some(job) = job {
            self.events.send(told.clone(), job.object_ref(&()));
        }
        self.events.send(told, object.object_ref(&()));
    }

    async fn conditioned<K, S>(&self, object: &K, old: Option<&S>, new: &S, conditions: fn(&S) -> &[Condition])
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
        S: Serialize + PartialEq,
    {
        if self.write(object, old, new).await {
            let told: Vec<Told> = of_conditions(old.map(conditions).unwrap_or_default(), conditions(new));
            told.into_iter().for_each(|told| self.events.send(told, object.object_ref(&())));
        }
    }

    /// Writes a status where it differs from what is there, all fields but a ledger; says whether it did.
    async fn write<K, S>(&self, object: &K, old: Option<&S>, new: &S) -> bool
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
        S: Serialize + PartialEq,
    {
        if old == Some(new) {
            return false;
        }
        let mut value = serde_json::to_value(new).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("ledger");
        }
        self.patch(&ApiResource::erase::<K>(&()), object.namespace().as_deref(), &object.name_any(), value).await
    }

    async fn patch(&self, kind: &ApiResource, namespace: Option<&str>, name: &str, status: serde_json::Value) -> bool {
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, kind),
            None => Api::all_with(self.client.clone(), kind),
        };
        let patch = Patch::Merge(json!({"status": status}));
        let written = call(format!("status of {name}"), api.patch_status(name, &PatchParams::default(), &patch)).await;
        let done = written.is_ok();
        // an object that was deleted meanwhile needs no status
        self.note(written.map(|_| ()).or_else(|error| if error.code == Some(404) { Ok(()) } else { Err(error) }));
        done
    }

    /// Tells of objects that can't be parsed, each once for each mistake; the others go on.
    pub async fn malformed(&mut self, malformed: &[Malformed], now: Moment) {
        for Malformed { kind, name, error } in malformed {
            if !self.told.insert(format!("{kind} {name}: {error}")) {
                continue;
            }
            tracing::warn!(kind, name, error, "an object can't be read; it is left alone until it changes");
            let mut list = Vec::new();
            conditions::set(&mut list, conditions::ACCEPTED, false, "Malformed", error, None, now);
            let resource = match *kind {
                "PowerDomain" => ApiResource::erase::<PowerDomain>(&()),
                "CurtailmentEvent" => ApiResource::erase::<CurtailmentEvent>(&()),
                "GridSignal" => ApiResource::erase::<GridSignal>(&()),
                "AcceleratorProfile" => ApiResource::erase::<AcceleratorProfile>(&()),
                _ => ApiResource::erase::<LLMWorkload>(&()),
            };
            let (namespace, name) = name.split_once('/').map_or((None, name.as_str()), |(a, b)| (Some(a), b));
            self.patch(&resource, namespace, name, json!({"conditions": list})).await;
        }
    }
}
