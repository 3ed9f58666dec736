//! Watches that wake: something above the node has changed, so read it. What they bring is never taken for a fact, and never
//! counts as contact: a watch may be late, replayed, or silent.

use crate::api::{CurtailmentEvent, NodePower, PowerAllotment, PowerDomain};
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Seconds after which a watch is opened anew: a connection that died unheard is found by then.
const WATCH_SECONDS: u32 = 60;

/// Nothing for so long, not even an end: the connection is dead.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// Between a watch that failed and the next. Reads go on meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Events,
    Node,
    Domain(String),
    Allotment(String),
}

/// The watches of one node; they end with this.
pub struct Watches {
    client: Client,
    node: String,
    wake: Arc<Notify>,
    running: BTreeMap<Target, JoinHandle<()>>,
}

impl Watches {
    /// Watches nothing yet but the events and the node.
    #[must_use]
    pub fn new(client: Client, node: &str, wake: Arc<Notify>) -> Self {
        let mut watches = Self { client, node: node.to_owned(), wake, running: BTreeMap::new() };
        watches.follow([], None);
        watches
    }

    /// Watches these domains, and this one's allotment, from now on.
    pub fn follow<'a>(&mut self, domains: impl IntoIterator<Item = &'a String>, leaf: Option<&str>) {
        let mut wanted = BTreeSet::from([Target::Events, Target::Node]);
        wanted.extend(domains.into_iter().cloned().map(Target::Domain));
        wanted.extend(leaf.map(|leaf| Target::Allotment(leaf.to_owned())));
        self.running.retain(|target, task| {
            let stays = wanted.contains(target);
            if !stays {
                task.abort();
            }
            stays
        });
        for target in wanted {
            if self.running.get(&target).is_none_or(JoinHandle::is_finished) {
                let task =
                    tokio::spawn(watch(self.client.clone(), self.node.clone(), target.clone(), self.wake.clone()));
                self.running.insert(target, task);
            }
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.running.values().for_each(JoinHandle::abort);
    }
}

async fn watch(client: Client, node: String, target: Target, wake: Arc<Notify>) {
    let (kind, name) = match &target {
        Target::Events => (ApiResource::erase::<CurtailmentEvent>(&()), None),
        Target::Node => (ApiResource::erase::<NodePower>(&()), Some(&node)),
        Target::Domain(name) => (ApiResource::erase::<PowerDomain>(&()), Some(name)),
        Target::Allotment(name) => (ApiResource::erase::<PowerAllotment>(&()), Some(name)),
    };
    let api: Api<DynamicObject> = Api::all_with(client, &kind);
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
    if let Some(name) = name {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let mut stream = std::pin::pin!(watcher(api.clone(), config.clone()));
        loop {
            match tokio::time::timeout(SILENCE, stream.next()).await {
                Ok(Some(Ok(Event::Init | Event::InitDone))) => {}
                Ok(Some(Ok(Event::InitApply(object) | Event::Apply(object)))) => {
                    let print = fingerprint(&target, &node, &object);
                    if known.insert(object.metadata.name.unwrap_or_default(), print) != Some(print) {
                        wake.notify_one();
                    }
                }
                Ok(Some(Ok(Event::Delete(object)))) => {
                    known.remove(&object.metadata.name.unwrap_or_default());
                    wake.notify_one();
                }
                Ok(Some(Err(error))) => {
                    tracing::debug!(?target, %error, "a watch failed; it is opened again");
                    tokio::time::sleep(AGAIN).await;
                }
                Ok(None) | Err(_) => break,
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What of an object a node acts on: a status that is written often must not wake every node each time.
fn fingerprint(target: &Target, node: &str, object: &DynamicObject) -> u64 {
    let mut hasher = DefaultHasher::new();
    let spec = &object.data["spec"];
    match target {
        Target::Domain(_) | Target::Node => spec.to_string().hash(&mut hasher),
        Target::Events => (spec.to_string(), object.data["status"]["targetWatts"].to_string()).hash(&mut hasher),
        Target::Allotment(_) => {
            let own = |child: &&Value| child["kind"] == "Node" && child["name"] == node;
            let child = spec["children"].as_array().and_then(|children| children.iter().find(own));
            (child.map(Value::to_string), spec["accepted"].to_string()).hash(&mut hasher);
        }
    }
    hasher.finish()
}
