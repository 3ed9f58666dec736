//! Says what is: statuses that differ from what is there, events for what has turned. Nothing here decides anything.

use super::apply::{CallError, Outcome, call};
use super::curtail;
use super::events::{Events, Told, of_conditions, of_curtailment, of_signal, of_workload};
use super::observed::Watching;
use super::profiles;
use super::remarks::remarked;
use super::signals::Reading;
use super::snapshot::Snapshot;
use super::status;
use super::turns::Turn;
use super::unbound::Unbound;
use super::watch::Malformed;
use super::world::World;
use crate::api::{
    AcceleratorProfile, CurtailmentEvent, CurtailmentEventStatus, GridSignal, GridSignalStatus, LLMWorkload,
    LLMWorkloadStatus, PowerDomain, conditions,
};
use crate::core::admit::{Cycle, Verdict};
use crate::units::Moment;
use crate::web::Metrics;
use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// How long in a cycle writes are begun that may wait: statuses, and objects that we make. A fall that comes meanwhile
/// waits for them. At the 640 writes a second of the testbed that is over a thousand; the rest has its turn next.
pub const BEGUN: Duration = Duration::from_secs(2);

/// Says what is, and remembers what was said and whose turn it is.
pub struct Voice {
    pen: Pen,
    /// Mistakes in objects that stand in their statuses, so that each is told once.
    malformed: BTreeMap<String, String>,
    /// Mistakes that were told of Jobs.
    told: BTreeSet<(String, String)>,
    site: Turn,
    work: Turn,
}

impl Voice {
    /// A voice that has said nothing yet.
    #[must_use]
    pub fn new(client: Client, metrics: Arc<Metrics>, events: Events) -> Self {
        Self {
            pen: Pen { client, metrics, events },
            malformed: BTreeMap::new(),
            told: BTreeSet::new(),
            site: Turn::default(),
            work: Turn::default(),
        }
    }

    /// Counts how a write ended, and logs where it was not made.
    pub fn note(&self, result: Result<(), CallError>) {
        self.pen.note(result);
    }

    /// Counts a call that failed.
    pub fn count(&self, error: &CallError) {
        self.pen.count(error);
    }

    /// Tells a Job's owner of something that is wrong with it: once each, for as long as this program runs.
    pub fn tell(&mut self, job: &Job, reason: &str, note: String) {
        let uid = job.metadata.uid.clone().unwrap_or_default();
        if self.told.insert((uid, note.clone())) {
            tracing::warn!(job = job.name_any(), reason, note, "told of a Job");
            let told = Told { is_warning: true, reason: reason.to_owned(), note };
            self.pen.events.send(told, job.object_ref(&()));
        }
    }

    /// Forgets what was told of Jobs that are no more.
    pub fn forget(&mut self, world: &World) {
        self.told.retain(|(uid, _)| world.item(uid).is_some());
    }

    /// Writes the statuses of everything that was looked at: of the site and of its work, each for a while.
    pub async fn say(
        &mut self,
        snapshot: &Snapshot,
        world: &World,
        decided: &Cycle,
        readings: &[(GridSignal, Reading)],
        unbound: &BTreeMap<String, Unbound>,
        watching: &Watching,
    ) {
        let now = snapshot.now;
        let Self { pen, site, work, .. } = self;
        let pen = &*pen;
        let mut of_site: Vec<(String, BoxFuture<'_, ()>)> = Vec::new();
        for object in &snapshot.domains {
            let leases = snapshot.leases.as_ref().and_then(|leases| leases.domains.get(&object.name_any()));
            let mut status = status::domain(object, world, decided, leases, now);
            // the ledger is written by swaps alone, so here it is left as it is
            status.ledger = object.status.as_ref().and_then(|status| status.ledger.clone());
            status.observed = watching.of(&object.name_any());
            let write = pen.conditioned(object, object.status.as_ref(), status, |status| &status.conditions);
            of_site.extend(write.map(|write| (format!("domain {}", object.name_any()), write)));
        }
        for object in &snapshot.events {
            let status = curtail::status(object, snapshot, world, decided);
            if object.status.as_ref() != Some(&status) {
                let write = pen.curtailment(object, status, snapshot).boxed();
                of_site.push((format!("event {}", object.name_any()), write));
            }
        }
        for (object, reading) in readings {
            let status = status::signal(object, reading, now);
            if object.status.as_ref() != Some(&status) {
                of_site.push((format!("signal {}", object.name_any()), pen.signal(object, status).boxed()));
            }
        }
        let models = profiles::models(&snapshot.nodes);
        for object in &snapshot.profiles {
            let status = profiles::status(object, &snapshot.profiles, &models, now);
            let write = pen.conditioned(object, object.status.as_ref(), status, |status| &status.conditions);
            of_site.extend(write.map(|write| (format!("profile {}", object.name_any()), write)));
        }
        let verdicts: BTreeMap<&str, &Verdict> =
            decided.verdicts.iter().map(|verdict| (&*verdict.id, verdict)).collect();
        let served = world.items.iter().filter_map(|item| {
            let object = item.workload.as_ref()?;
            let status = status::workload(world, item, verdicts.get(item.uid.as_str()).copied(), now);
            let status = remarked(status, snapshot, world, item, unbound.get(&item.uid));
            Some((object, Some(&*item.job), status))
        });
        let refused = world.refused.iter().map(|(object, why)| (object, None, status::refused(object, why, now)));
        let of_work: Vec<_> = served
            .chain(refused)
            .filter(|(object, _, status)| object.status.as_ref() != Some(status))
            .map(|piece| (format!("{}/{}", piece.0.namespace().unwrap_or_default(), piece.0.name_any()), piece))
            .collect();
        tokio::join!(
            site.take(of_site, BEGUN, |write| write),
            work.take(of_work, BEGUN, |(object, job, status)| async move {
                pen.workload(object, job, &status).await;
            }),
        );
    }

    /// Tells of objects that can't be parsed, each once for each mistake; the others go on. One that is mended and broken
    /// again is told again.
    pub async fn malformed(&mut self, malformed: &[Malformed], now: Moment) {
        let key = |malformed: &Malformed| format!("{} {}", malformed.kind, malformed.name);
        let still: BTreeSet<String> = malformed.iter().map(key).collect();
        self.malformed.retain(|object, _| still.contains(object));
        for found in malformed {
            let Malformed { kind, name, error } = found;
            if self.malformed.get(&key(found)) == Some(error) {
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
            if self.pen.patch(&resource, namespace, name, json!({"conditions": list})).await {
                self.malformed.insert(key(found), error.clone());
            }
        }
    }
}

/// Writes statuses and sends events.
struct Pen {
    client: Client,
    metrics: Arc<Metrics>,
    events: Events,
}

impl Pen {
    fn note(&self, result: Result<(), CallError>) {
        match result {
            Ok(()) => self.metrics.wrote(Outcome::Succeeded),
            Err(error) => {
                self.count(&error);
                tracing::warn!(%error, "a write was not made; the next cycle sees what became of it");
            }
        }
    }

    fn count(&self, error: &CallError) {
        self.metrics.wrote(error.outcome);
    }

    /// A workload's events go to its Job too: that is what its owner made, and looks at.
    async fn workload(&self, object: &LLMWorkload, job: Option<&Job>, status: &LLMWorkloadStatus) {
        if !self.write(object, object.status.as_ref(), status).await {
            return;
        }
        let Some(told) = of_workload(object.status.as_ref(), status) else { return };
        if let Some(job) = job {
            self.events.send(told.clone(), job.object_ref(&()));
        }
        self.events.send(told, object.object_ref(&()));
    }

    /// An event to curtail is told to those who look at it, and to those who look at its domain.
    async fn curtailment(&self, object: &CurtailmentEvent, status: CurtailmentEventStatus, snapshot: &Snapshot) {
        if self.write(object, object.status.as_ref(), &status).await
            && let Some(told) = of_curtailment(object, &status)
        {
            let domain = snapshot.domain(&object.spec.domain);
            domain.into_iter().for_each(|domain| self.events.send(told.clone(), domain.object_ref(&())));
            self.events.send(told, object.object_ref(&()));
        }
    }

    /// A signal's events are those of its conditions, and of its rung.
    async fn signal(&self, object: &GridSignal, status: GridSignalStatus) {
        let old = object.status.as_ref();
        if self.write(object, old, &status).await {
            let told = of_conditions(old.map(|old| &*old.conditions).unwrap_or_default(), &status.conditions);
            let told = told.into_iter().chain(of_signal(old, &status));
            told.for_each(|told| self.events.send(told, object.object_ref(&())));
        }
    }

    /// A status with conditions, to be written where it differs; its events are those of its conditions.
    fn conditioned<'a, K, S>(
        &'a self,
        object: &'a K,
        old: Option<&'a S>,
        new: S,
        conditions: fn(&S) -> &[Condition],
    ) -> Option<BoxFuture<'a, ()>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Sync,
        S: Serialize + PartialEq + Send + Sync + 'a,
    {
        (old != Some(&new)).then(|| {
            async move {
                if self.write(object, old, &new).await {
                    let told: Vec<Told> = of_conditions(old.map(conditions).unwrap_or_default(), conditions(&new));
                    let about: ObjectReference = object.object_ref(&());
                    told.into_iter().for_each(|told| self.events.send(told, about.clone()));
                }
            }
            .boxed()
        })
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
}
