//! Caches of everything a cycle looks at. Our own kinds are kept as they came: one that can't be parsed is reported by
//! itself and never stops the others.

use super::snapshot::Snapshot;
use crate::api::{AcceleratorProfile, CurtailmentEvent, GridSignal, LLMWorkload, NodePower, PowerDomain, labels};
use crate::units::Moment;
use crate::workloads::job;
use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::{Notify, OnceCell, watch as channel};

/// Seconds after which a watch is opened anew. 290 is the library's own: a connection that died unheard would look
/// healthy for as long. A cycle does not rest on watches for its ledger, so a minute is enough.
const WATCH_SECONDS: u32 = 60;

/// The caches.
#[derive(Clone)]
pub struct Watch {
    profiles: Store<DynamicObject>,
    signals: Store<DynamicObject>,
    workloads: Store<DynamicObject>,
    domains: Store<DynamicObject>,
    events: Store<DynamicObject>,
    jobs: Store<Job>,
    pods: Store<Pod>,
    nodes: Store<Node>,
    namespaces: Store<Namespace>,
    priorities: Store<PriorityClass>,
    config_maps: Store<ConfigMap>,
    powers: Store<DynamicObject>,
    /// Every cache is filled.
    filled: Arc<OnceCell<()>>,
    /// Tells every cache to list anew; how often it did.
    again: Arc<channel::Sender<u64>>,
}

/// An object of ours that can't be parsed.
#[derive(Debug, Clone)]
pub struct Malformed {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace and name.
    pub name: String,
    /// What is wrong.
    pub error: String,
}

impl Watch {
    /// Begins to watch. `changed` is told of every change but those of NodePowers, `watts` of those that leases depend on.
    #[must_use]
    pub fn start(client: &Client, namespace: &str, changed: &Arc<Notify>, watts: &Arc<Notify>) -> Self {
        let told = |tell: &[&Arc<Notify>]| tell.iter().map(|one| Arc::clone(one)).collect::<Vec<_>>();
        let (changed, watts, both) = (told(&[changed]), told(&[watts]), told(&[changed, watts]));
        let (again, look) = channel::channel(0);
        let kept = |resource: ApiResource, tell: &Vec<Arc<Notify>>| {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            keep(api, resource, tell.clone(), look.clone())
        };
        let ours = |resource: ApiResource| kept(resource, &changed);
        Self {
            profiles: ours(ApiResource::erase::<AcceleratorProfile>(&())),
            signals: ours(ApiResource::erase::<GridSignal>(&())),
            workloads: ours(ApiResource::erase::<LLMWorkload>(&())),
            domains: kept(ApiResource::erase::<PowerDomain>(&()), &both),
            events: kept(ApiResource::erase::<CurtailmentEvent>(&()), &both),
            powers: kept(ApiResource::erase::<NodePower>(&()), &watts),
            jobs: keep(Api::all(client.clone()), (), changed.clone(), look.clone()),
            pods: keep(Api::all(client.clone()), (), both.clone(), look.clone()),
            nodes: keep(Api::all(client.clone()), (), both.clone(), look.clone()),
            namespaces: keep(Api::all(client.clone()), (), changed.clone(), look.clone()),
            priorities: keep(Api::all(client.clone()), (), changed.clone(), look.clone()),
            config_maps: keep(Api::namespaced(client.clone(), namespace), (), changed.clone(), look.clone()),
            filled: Arc::default(),
            again: Arc::new(again),
        }
    }

    /// A version of the store was read, after `last` one, by whoever remembers it. Where it is lower, the store was made to go
    /// back: watches wait for versions that come again only in hours, and say nothing meanwhile. So everything is listed anew.
    pub fn saw(&self, last: &mut u64, version: u64) {
        if version < *last {
            tracing::warn!(version, after = *last, "the store went back: everything is listed anew");
            self.again.send_modify(|times| *times += 1);
        }
        *last = version;
    }

    /// Waits until every cache is filled. Until then nothing is decided.
    ///
    /// Several may wait. A store of the client library wakes only the last of those that wait for it, so one waits for all.
    pub async fn ready(&self) {
        self.filled.get_or_init(|| self.fill()).await;
    }

    async fn fill(&self) {
        let ours = [&self.profiles, &self.signals, &self.workloads, &self.domains, &self.events, &self.powers];
        for store in ours {
            let _ = store.wait_until_ready().await; // an error is a watch that ended, and with it this program
        }
        let _ = self.jobs.wait_until_ready().await;
        let _ = self.pods.wait_until_ready().await;
        let _ = self.nodes.wait_until_ready().await;
        let _ = self.namespaces.wait_until_ready().await;
        let _ = self.priorities.wait_until_ready().await;
        let _ = self.config_maps.wait_until_ready().await;
    }

    /// What is cached at this moment, without domains and events: these are read from the API server itself.
    #[must_use]
    pub fn snapshot(&self, now: Moment) -> (Snapshot, Vec<GridSignal>, Vec<Malformed>) {
        let mut malformed = Vec::new();
        let snapshot = Snapshot {
            now,
            profiles: parsed(&self.profiles, "AcceleratorProfile", &mut malformed),
            workloads: parsed(&self.workloads, "LLMWorkload", &mut malformed),
            jobs: self.jobs.state(),
            pods: self
                .pods
                .state()
                .into_iter()
                .filter(|pod| pod.spec.as_ref().is_some_and(|spec| job::gpus(spec) > 0))
                .collect(),
            nodes: self.nodes.state(),
            priorities: self
                .priorities
                .state()
                .iter()
                .filter_map(|class| Some((class.metadata.name.clone()?, class.value)))
                .collect(),
            managed_namespaces: self
                .namespaces
                .state()
                .iter()
                .filter(|namespace| {
                    namespace
                        .metadata
                        .labels
                        .as_ref()
                        .and_then(|all| all.get(labels::MANAGED))
                        .is_some_and(|v| v == "true")
                })
                .filter_map(|namespace| namespace.metadata.name.clone())
                .collect(),
            ..Snapshot::default()
        };
        let signals = parsed(&self.signals, "GridSignal", &mut malformed);
        (snapshot, signals, malformed)
    }

    /// What leases are made of: nodes, pods that use accelerators, profiles.
    #[must_use]
    pub fn hardware(&self, now: Moment) -> Snapshot {
        let uses = |pod: &Arc<Pod>| pod.spec.as_ref().is_some_and(|spec| job::gpus(spec) > 0);
        Snapshot {
            now,
            profiles: parsed(&self.profiles, "AcceleratorProfile", &mut Vec::new()),
            pods: self.pods.state().into_iter().filter(uses).collect(),
            nodes: self.nodes.state(),
            ..Snapshot::default()
        }
    }

    /// What agents say of their nodes. One that can't be parsed counts as silent.
    #[must_use]
    pub fn powers(&self) -> Vec<NodePower> {
        parsed(&self.powers, "NodePower", &mut Vec::new())
    }

    /// A key of a ConfigMap in our own namespace.
    #[must_use]
    pub fn config_map(&self, name: &str, key: &str) -> Option<String> {
        let maps = self.config_maps.state();
        let map = maps.iter().find(|map| map.metadata.name.as_deref() == Some(name))?;
        map.data.as_ref()?.get(key).cloned()
    }
}

/// Objects of one of our kinds; those that can't be parsed are told.
pub fn parse<T: DeserializeOwned>(object: &DynamicObject, kind: &'static str) -> Result<T, Malformed> {
    let value = serde_json::to_value(object).unwrap_or_default();
    serde_path_to_error::deserialize(value).map_err(|error| {
        let namespace = object.metadata.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let name = format!("{namespace}{}", object.metadata.name.clone().unwrap_or_default());
        Malformed { kind, name, error: format!("{}: {}", error.path(), error.inner()) }
    })
}

fn parsed<T: DeserializeOwned>(
    store: &Store<DynamicObject>,
    kind: &'static str,
    malformed: &mut Vec<Malformed>,
) -> Vec<T> {
    let mut objects = store.state();
    objects.sort_by_key(|object| (object.metadata.namespace.clone(), object.metadata.name.clone()));
    let results = objects.iter().map(|object| parse(object, kind));
    results.filter_map(|result| result.map_err(|error| malformed.push(error)).ok()).collect()
}

/// Keeps a cache of a kind, and tells of each change. Told to look again, it lists everything anew.
fn keep<K>(api: Api<K>, kind: K::DynamicType, changed: Vec<Arc<Notify>>, mut again: channel::Receiver<u64>) -> Store<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync + 'static,
{
    let mut writer = Writer::new(kind);
    let store = writer.as_reader();
    tokio::spawn(async move {
        loop {
            let events = watcher(api.clone(), watcher::Config::default().timeout(WATCH_SECONDS)).default_backoff();
            let mut events = std::pin::pin!(events);
            loop {
                tokio::select! {
                    event = events.next() => match event {
                        Some(Ok(event)) => {
                            writer.apply_watcher_event(&event);
                            changed.iter().for_each(|one| one.notify_one());
                        }
                        Some(Err(error)) => tracing::warn!(%error, "a watch failed; it is opened again"),
                        None => return,
                    },
                    told = again.changed() => match told {
                        Ok(()) => break,
                        Err(_) => return, // nobody reads it any more
                    },
                }
            }
        }
    });
    store
}
