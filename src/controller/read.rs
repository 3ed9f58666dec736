//! Reads what nothing is decided without from the API server itself: caches may be behind.

use super::apply::{CallError, call};
use super::snapshot::{Heads, Snapshot, head};
use super::watch::{Malformed, parse};
use crate::api::{CurtailmentEvent, PowerDomain};
use crate::caps::order_of_unparsed;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads domains and events from the API server itself into a snapshot: without either of them nothing is decided, and a cap
/// that is not known adds no watts. Returns the store's version from which on they were read.
///
/// # Errors
/// The call that failed.
pub async fn caps(client: &Client, snapshot: &mut Snapshot) -> Result<(u64, Vec<Malformed>), CallError> {
    // one after the other, so that the first one's version holds for both
    let events = all::<CurtailmentEvent>(client, "CurtailmentEvent").await?;
    let domains = all::<PowerDomain>(client, "PowerDomain").await?;
    // an order that stands is kept even where not all of its event can be read
    snapshot.unparsed = events.malformed.iter().filter_map(|(_, object)| order_of_unparsed(object)).collect();
    snapshot.heads = domains.heads.into_iter().chain(events.heads).collect();
    snapshot.unreadable_domains = domains.malformed.iter().map(|(error, _)| error.name.clone()).collect();
    (snapshot.domains, snapshot.events) = (domains.objects, events.objects);
    let malformed = domains.malformed.into_iter().chain(events.malformed).map(|(error, _)| error).collect();
    Ok((events.version, malformed))
}

/// All objects of a kind.
struct All<K> {
    objects: Vec<K>,
    malformed: Vec<(Malformed, Value)>,
    heads: Heads,
    version: u64,
}

/// All objects of a kind, as the API server has them at this moment, and those that can't be parsed.
async fn all<K>(client: &Client, kind: &'static str) -> Result<All<K>, CallError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<K>(&()));
    let list = call(format!("list every {kind}"), api.list(&ListParams::default())).await?;
    let (mut objects, mut malformed) = (Vec::new(), Vec::new());
    let heads = list.items.iter().map(|object| head(&object.metadata)).collect();
    let version = list.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0);
    for mut object in list.items {
        object.types = Some(kube::api::TypeMeta::resource::<K>());
        match parse(&object, kind) {
            Ok(parsed) => objects.push(parsed),
            Err(error) => malformed.push((error, serde_json::to_value(&object).unwrap_or_default())),
        }
    }
    Ok(All { objects, malformed, heads, version })
}
