//! Everything that one cycle looks at, at one moment.

use super::leased::Leases;
use crate::api::{AcceleratorProfile, CurtailmentEvent, Grant, LLMWorkload, PowerDomain};
use crate::caps::Order;
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All domains and events by name, with what tells one spec of theirs from another.
pub type Heads = BTreeSet<(String, Option<String>, Option<i64>)>;

/// One object's entry in [`Heads`].
#[must_use]
pub fn head(meta: &ObjectMeta) -> (String, Option<String>, Option<i64>) {
    (meta.name.clone().unwrap_or_default(), meta.uid.clone(), meta.generation)
}

/// The objects of one moment. Those that can't be parsed are not among them.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What time it is.
    pub now: Moment,
    /// All domains, as the API server has them at this moment: their ledgers are what swaps are made against.
    pub domains: Vec<PowerDomain>,
    /// What tells these domains and events, and those that can't be parsed, from any later state of theirs.
    pub heads: Heads,
    /// Names of domains that can't be parsed.
    pub unreadable_domains: Vec<String>,
    /// All events, as the API server has them at this moment: a cache that is behind must not add watts.
    pub events: Vec<CurtailmentEvent>,
    /// What can be read of the orders of events that can't be parsed.
    pub unparsed: Vec<Order>,
    /// All profiles.
    pub profiles: Vec<AcceleratorProfile>,
    /// All workloads.
    pub workloads: Vec<LLMWorkload>,
    /// All Jobs.
    pub jobs: Vec<Arc<Job>>,
    /// All pods.
    pub pods: Vec<Arc<Pod>>,
    /// How long a pod has been seen on its way out, by its UID, on a clock that does not step.
    pub terminating_for: BTreeMap<String, Seconds>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Value of each PriorityClass.
    pub priorities: BTreeMap<String, i32>,
    /// Namespaces whose Jobs are all managed.
    pub managed_namespaces: BTreeSet<String>,
    /// Carbon intensity in mg/kWh, of each signal of it that can be planned with.
    pub carbon: BTreeMap<String, Steps<i64>>,
    /// Price in millionths per MWh, of each signal of it that can be planned with.
    pub price: BTreeMap<String, Steps<i64>>,
    /// What nine of ten hours stay under, of each of these signals that is guessed ahead: in its own unit.
    pub high: BTreeMap<String, Steps<i64>>,
    /// Watts that are generated, of each signal of it that anything is known of.
    pub generation: BTreeMap<String, Steps<i64>>,
    /// What is leased in each domain, where nodes have agents.
    pub leases: Option<Leases>,
    /// Starts that failed and are not tried now, by the UID of their Job.
    pub held_back: BTreeMap<String, HeldBack>,
}

impl Snapshot {
    /// The domain of a name.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&PowerDomain> {
        self.domains.iter().find(|domain| domain.metadata.name.as_deref() == Some(name))
    }

    /// All grants of all ledgers, each with the root in whose ledger it is.
    pub fn grants(&self) -> impl Iterator<Item = (&str, &Grant)> {
        let ledgers = self
            .domains
            .iter()
            .filter_map(|domain| Some((domain.metadata.name.as_deref()?, domain.status.as_ref()?.ledger.as_ref()?)));
        ledgers.flat_map(|(root, ledger)| ledger.grants.iter().map(move |grant| (root, grant)))
    }
}

/// Why something is not tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The API server refused the write that starts it: a webhook, a policy, a quota.
    StartRefused,
    /// Its pods found no node.
    Unschedulable,
    /// The API server refused the custom resource that stands for it.
    NotMade,
}

impl Cause {
    /// The CamelCase name, as in statuses and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StartRefused => "StartRefused",
            Self::Unschedulable => "Unschedulable",
            Self::NotMade => "NotMade",
        }
    }
}

/// What is not tried now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// Until when.
    pub until: Moment,
    /// Why, in one word.
    pub cause: Cause,
    /// Why, in the words of who refused it.
    pub why: String,
}
