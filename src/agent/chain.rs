//! Reads what is above a node: its NodePower, the domains from its own up to the root, the events, and the allotments.
//!
//! Only quorum reads count (a GET, or a list without a version): what was true when the first of them was sent is seen. The
//! events come first: their version is at most that of all that follows.

use crate::api::{
    ChildAllotment, ChildKey, CurtailmentEvent, NodePower, PowerAllotment, PowerAllotmentSpec, PowerDomain,
};
use crate::caps::{Level, along, event_of, order_of_unparsed};
use crate::core::lease::Cap;
use crate::units::{BootMillis, Millis, Moment, Watts};
use crate::{caps, clock};
use futures::future::{try_join, try_join_all};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::time::Duration;

/// More domains above one another there are not: a tree of them has some four levels.
const DEEPEST: usize = 16;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The node.
    pub node: String,
    /// The domain that the lease in force is of.
    pub held: Option<String>,
    /// The domains of the last answer, and whether their allotments count: they are read at once, not one after another.
    pub known: BTreeMap<String, bool>,
    /// The instance that asks, and its last heartbeat that is known to have been written.
    pub after: (u64, u64),
    /// An answer that takes longer is of no use.
    pub at_most: Duration,
}

/// What was heard.
#[derive(Debug)]
pub struct Heard {
    /// When it was asked.
    pub sent: BootMillis,
    /// As asked.
    pub after: (u64, u64),
    /// The domain that the lease in force was of when this was asked, and its cap.
    pub held: (String, Cap),
    /// The domain that offers leases to this node now.
    pub leaf: String,
    /// The cap of that domain.
    pub leaf_cap: Cap,
    /// The node's entry in that domain's allotment.
    pub offer: Option<ChildAllotment>,
    /// Contact must not be older.
    pub contact: Millis,
    /// All domains that were read, and whether their allotments count.
    pub domains: BTreeMap<String, bool>,
    /// What could not be understood, and what was done about it.
    pub remarks: Vec<String>,
}

/// Why nothing was heard.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The controller has not made it yet.
    #[error("there is no NodePower {0} yet: the controller makes it where a PowerDomain selects the node")]
    NoNodePower(String),
    /// The API server did not say.
    #[error("{what}: {why}")]
    Call {
        /// What was read.
        what: String,
        /// What was said.
        why: String,
    },
    /// No answer in time.
    #[error("no answer from the API server in {0} ms")]
    TooLate(u128),
    /// It says something that nothing can be done with.
    #[error("{0}")]
    Unusable(String),
}

/// What came of one read.
#[derive(Debug)]
pub struct Read {
    /// The node, as far as it was reached.
    pub node: Option<NodePower>,
    /// What was heard, or why nothing was.
    pub heard: Result<Heard, ReadError>,
}

/// Reads it all, in time or not at all: where anything of it could not be read, or makes no sense, nothing was heard.
pub async fn read(client: Client, ask: Ask) -> Read {
    let at_most = ask.at_most;
    let mut node = None;
    let in_time = tokio::time::timeout(at_most, read_all(client, ask, &mut node)).await;
    let heard = in_time.unwrap_or(Err(ReadError::TooLate(at_most.as_millis())));
    Read { node, heard }
}

async fn read_all(client: Client, ask: Ask, found: &mut Option<NodePower>) -> Result<Heard, ReadError> {
    let sent = clock::boot();
    let nodes: Api<NodePower> = Api::all(client.clone());
    let kind = ApiResource::erase::<CurtailmentEvent>(&());
    let all_events: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let everything = ListParams::default();
    let (list, node) = try_join(async { all_events.list(&everything).await.map_err(call("the events")) }, async {
        nodes.get_opt(&ask.node).await.map_err(call("its NodePower"))
    })
    .await?;
    let node = &*found.insert(node.ok_or_else(|| ReadError::NoNodePower(ask.node.clone()))?);
    let version = list.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
    let version = version.ok_or_else(|| ReadError::Unusable("the list of events has no version".to_owned()))?;
    let mut remarks = Vec::new();
    let events: Vec<CurtailmentEvent> =
        list.items.into_iter().filter_map(|object| understood(object, &mut remarks)).collect();

    let mut site = Site { client, domains: BTreeMap::new(), allotments: BTreeMap::new() };
    let leaf = node.spec.domain.clone();
    let held = ask.held.clone().unwrap_or_else(|| leaf.clone());
    let mut first = ask.known.clone();
    first.insert(leaf.clone(), true);
    first.entry(held.clone()).or_insert(true);
    site.fetch(first).await?;
    let now = clock::now();
    let cap = |watts: Watts| Cap { version, watts };
    let leaf_chain = site.chain(&leaf).await?;
    let leaf_cap = cap(site.cap(&leaf_chain, &events, now)?);
    let mut contact = site.contact(&leaf_chain);
    let mut domains = leaf_chain.clone();
    let mut held_cap = leaf_cap;
    if held != leaf {
        if site.domains.get(&held).is_some_and(Option::is_some) {
            let chain = site.chain(&held).await?;
            held_cap = cap(site.cap(&chain, &events, now)?);
            contact = contact.min(site.contact(&chain));
            domains.extend(chain);
            remarks.push(format!("the lease in force is of domain {held}; new ones come from {leaf}"));
        } else {
            // it can order nothing any more; what feeds it is obeyed through the new one
            remarks.push(format!("domain {held} of the lease in force is gone: the cap of {leaf} is obeyed"));
        }
    }
    let domains =
        domains.into_iter().map(|name| (name == leaf || !site.is_root(&name), name)).map(|(of, name)| (name, of));
    let domains = domains.collect();
    let offer = site.allotments.get(&leaf).and_then(Option::as_ref);
    let offer = offer.and_then(|allotment| allotment.child(&ChildKey::node(&ask.node))).cloned();
    Ok(Heard { sent, after: ask.after, held: (held, held_cap), leaf, leaf_cap, offer, contact, domains, remarks })
}

/// An event; one that can't be understood as a whole counts by what of it can be.
fn understood(object: DynamicObject, remarks: &mut Vec<String>) -> Option<CurtailmentEvent> {
    let value = serde_json::to_value(&object).unwrap_or_default();
    let error = match serde_json::from_value::<CurtailmentEvent>(value.clone()) {
        Ok(event) => return Some(event),
        Err(error) => error,
    };
    let name = object.metadata.name.unwrap_or_default();
    let order = order_of_unparsed(&value);
    remarks.push(match &order {
        Some(order) => format!(
            "CurtailmentEvent {name} can't be understood ({error}): what it says of {} and {} is obeyed",
            order.domain, order.cap
        ),
        None => format!("CurtailmentEvent {name} can't be understood ({error}), and orders nothing"),
    });
    order.as_ref().map(event_of)
}

/// Domains and allotments as they were read, by name; none where there is none.
struct Site {
    client: Client,
    domains: BTreeMap<String, Option<PowerDomain>>,
    allotments: BTreeMap<String, Option<PowerAllotmentSpec>>,
}

impl Heard {
    /// The cap of a domain; none where another was asked about.
    #[must_use]
    pub fn cap_of(&self, domain: &str) -> Option<Cap> {
        let (held, cap) = &self.held;
        if domain == self.leaf { Some(self.leaf_cap) } else { (domain == held).then_some(*cap) }
    }
}

impl Site {
    /// Reads these at once, with their allotments where these count: all but a root's, which nothing is above.
    async fn fetch(&mut self, names: BTreeMap<String, bool>) -> Result<(), ReadError> {
        let domains: Api<PowerDomain> = Api::all(self.client.clone());
        let allotments: Api<PowerAllotment> = Api::all(self.client.clone());
        let new_domains = names.keys().filter(|name| !self.domains.contains_key(*name)).cloned();
        let new_domains = try_join_all(new_domains.map(|name| async {
            let domain = domains.get_opt(&name).await.map_err(call(format!("PowerDomain {name}")))?;
            Ok((name, domain))
        }));
        let counting = names.iter().filter(|(name, counts)| **counts && !self.allotments.contains_key(*name));
        let new_allotments = try_join_all(counting.map(|(name, _)| name.clone()).map(|name| async {
            let allotment = allotments.get_opt(&name).await.map_err(call(format!("PowerAllotment {name}")))?;
            Ok((name, allotment.map(|allotment| allotment.spec)))
        }));
        let (new_domains, new_allotments) = try_join(new_domains, new_allotments).await?;
        self.domains.extend(new_domains);
        self.allotments.extend(new_allotments);
        Ok(())
    }

    fn is_root(&self, name: &str) -> bool {
        self.domains.get(name).and_then(Option::as_ref).is_some_and(|domain| domain.spec.parent.is_none())
    }

    /// The names from a domain up to its root.
    async fn chain(&mut self, leaf: &str) -> Result<Vec<String>, ReadError> {
        let mut chain: Vec<String> = Vec::new();
        let mut next = Some(leaf.to_owned());
        while let Some(name) = next {
            if chain.contains(&name) || chain.len() >= DEEPEST {
                return Err(ReadError::Unusable(format!("the domains above {leaf} feed one another: {chain:?}")));
            }
            if !self.domains.contains_key(&name) {
                self.fetch(BTreeMap::from([(name.clone(), true)])).await?;
            }
            let domain = self.domains.get(&name).and_then(Option::as_ref);
            let domain = domain.ok_or_else(|| ReadError::Unusable(format!("there is no PowerDomain {name}")))?;
            next = domain.spec.parent.clone();
            chain.push(name);
        }
        // one that was a root at the last read
        let below: Vec<String> = chain.iter().filter(|name| !self.is_root(name)).cloned().collect();
        self.fetch(below.into_iter().map(|name| (name, true)).collect()).await?;
        Ok(chain)
    }

    fn cap(&self, chain: &[String], events: &[CurtailmentEvent], now: Moment) -> Result<Watts, ReadError> {
        let levels: Vec<Level<'_>> = chain
            .iter()
            .rev()
            .filter_map(|name| {
                let domain = self.domains.get(name)?.as_ref()?;
                Some(Level { domain, allotment: self.allotments.get(name).and_then(Option::as_ref) })
            })
            .collect();
        along(&levels, events, now).map_err(ReadError::Unusable)
    }

    fn contact(&self, chain: &[String]) -> Millis {
        let domains = chain.iter().filter_map(|name| self.domains.get(name)?.as_ref());
        let least = domains.map(|domain| caps::contact_seconds(&domain.spec)).min().unwrap_or(caps::CONTACT_SECONDS);
        Millis(u64::try_from(least).unwrap_or(0) * 1000)
    }
}

fn call(what: impl Into<String>) -> impl FnOnce(kube::Error) -> ReadError {
    let what = what.into();
    move |error| ReadError::Call { what, why: error.to_string() }
}
