//! `PowerAllotment`: the ledger of watts of one domain, by the domain's name, and the delivery of its leases at once.
//!
//! Written by the controller alone, by compare-and-swap. Read by the agents of the nodes in it, each its own entry. It has a
//! finalizer: were it deleted, what was leased would still be drawn.

use super::node_power::{HeardCap, Heartbeat, LeaseFigures, count, counted};
use crate::core::lease::{Accepted, Entry, Figures, Lease, Ledger, Step};
use crate::units::{Millis, Watts};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Kept on allotments and NodePowers until nothing is drawn under them.
pub const FINALIZER: &str = "heliotrope.dev/watts";

/// What a domain's children may draw.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[kube(
    group = "heliotrope.dev",
    version = "v1alpha1",
    kind = "PowerAllotment",
    plural = "powerallotments",
    shortname = "pa",
    derive = "PartialEq",
    doc = "The watts of one domain's children: leases, and what is reserved. Written by the controller alone; to delete it frees nothing.",
    cel,
    printcolumn(name = "Sequence", type_ = "integer", json_path = ".spec.sequence", description = "Counts its writes"),
    printcolumn(
        name = "Spendable",
        type_ = "integer",
        json_path = ".spec.spendableWatts",
        description = "Watts that could be leased at the last write"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Since when it exists"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.sequence >= oldSelf.sequence").message("sequence never goes back: a node refuses a lower one")
)]
pub struct PowerAllotmentSpec {
    /// One more with every write.
    #[schemars(range(min = 0))]
    pub sequence: i64,
    /// What could be leased at the last write, in watts, for people.
    #[serde(default)]
    pub spendable_watts: i64,
    /// What this domain has accepted of the one above: what it may spend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<AcceptedLease>,
    /// What is held for each child.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub children: Vec<ChildAllotment>,
}

/// What kind of child.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ChildKind {
    /// A PowerDomain.
    Domain,
    /// A node.
    #[default]
    Node,
}

/// A child of a domain: which ledger entry is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildKey {
    /// Domain or node.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
}

impl ChildKey {
    /// A node.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self { kind: ChildKind::Node, name: name.to_owned() }
    }

    /// A domain.
    #[must_use]
    pub fn domain(name: &str) -> Self {
        Self { kind: ChildKind::Domain, name: name.to_owned() }
    }
}

impl fmt::Display for ChildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChildKind::Domain => "domain",
            ChildKind::Node => "node",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// What is held for one child.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ChildAllotment {
    /// A node or a domain.
    pub kind: ChildKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The most that its hardware can draw, in watts.
    pub ceiling_watts: i64,
    /// The newest lease that was published to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<ChildLease>,
    /// What covers all that it may still act on; left out while nothing is known but its ceiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve: Option<LeaseFigures>,
    /// More than it was ever leased, read back from it, in watts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess_watts: Option<i64>,
    /// Limits of its accelerators one by one, where they are not equal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub shares: Vec<AcceleratorShare>,
}

/// The limit of one accelerator inside a lease.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorShare {
    /// Which.
    #[schemars(length(min = 1, max = 128))]
    pub uuid: String,
    /// What it may draw, in watts, as long as the whole lease is in force.
    #[schemars(range(min = 1, max = 100_000))]
    pub limit_watts: i64,
    /// Its clock is locked at so many MHz at most; without one it is let go. Nothing is reserved by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub clock_megahertz: Option<i32>,
}

/// A lease.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ChildLease {
    /// The allotment's sequence when it was written.
    #[schemars(range(min = 0))]
    pub sequence: i64,
    /// What it allows.
    pub figures: LeaseFigures,
    /// Later reductions that are known already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub steps: Vec<LeaseStep>,
    /// How long it lives from when the heartbeat was sent that it answers.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub life_millis: i64,
    /// The heartbeat that it answers.
    pub answers: Heartbeat,
    /// What the domain could spend when it was written.
    pub cap: HeardCap,
}

/// A reduction that is known already.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct LeaseStep {
    /// How long after the answered heartbeat was sent.
    #[schemars(range(min = 0, max = 86_400_000))]
    pub after_millis: i64,
    /// What may be drawn from then on, in watts.
    pub watts: i64,
}

/// A lease of the domain above that this one has accepted.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedLease {
    /// The domain above that it is of.
    #[schemars(length(min = 1, max = 253))]
    pub from: String,
    /// The lease, in this domain's own watts: its overhead is taken off.
    pub lease: ChildLease,
    /// The newest such lease that all that is reserved here fits under.
    #[schemars(range(min = 0))]
    pub acknowledged_sequence: i64,
}

impl From<&Lease> for ChildLease {
    fn from(lease: &Lease) -> Self {
        let step = |step: &Step| LeaseStep { after_millis: count(step.after.0), watts: step.watts.0 };
        Self {
            sequence: count(lease.sequence),
            figures: (&lease.figures).into(),
            steps: lease.steps.iter().map(step).collect(),
            life_millis: count(lease.life.0),
            answers: lease.answers.into(),
            cap: lease.cap.into(),
        }
    }
}

impl From<&ChildLease> for Lease {
    fn from(lease: &ChildLease) -> Self {
        let step = |step: &LeaseStep| Step { after: Millis(counted(step.after_millis)), watts: Watts(step.watts) };
        Self {
            sequence: counted(lease.sequence),
            figures: (&lease.figures).into(),
            steps: lease.steps.iter().map(step).collect(),
            life: Millis(counted(lease.life_millis)),
            answers: lease.answers.into(),
            cap: lease.cap.into(),
        }
    }
}

impl PowerAllotmentSpec {
    /// The entry of a child.
    #[must_use]
    pub fn child(&self, key: &ChildKey) -> Option<&ChildAllotment> {
        self.children.iter().find(|child| child.kind == key.kind && child.name == key.name)
    }

    /// What this domain may draw while the one above it, `parent`, may draw `cap`; none where it accepted nothing of that one.
    #[must_use]
    pub fn spends_at(&self, parent: &str, cap: Watts) -> Option<Watts> {
        self.accepted_from(parent).map(|accepted| Figures::from(&accepted.lease.figures).at(cap))
    }

    fn accepted_from(&self, parent: &str) -> Option<&AcceptedLease> {
        self.accepted.as_ref().filter(|accepted| accepted.from == parent)
    }

    /// As the ledger of the protocol. What was accepted of another domain than `parent` counts for nothing: the counts of two
    /// ledgers have nothing to do with each other.
    #[must_use]
    pub fn ledger(&self, parent: Option<&str>) -> Ledger<ChildKey> {
        let entry = |child: &ChildAllotment| {
            let key = ChildKey { kind: child.kind, name: child.name.clone() };
            let entry = Entry {
                ceiling: Watts(child.ceiling_watts),
                lease: child.lease.as_ref().map(Lease::from),
                reserve: child.reserve.as_ref().map(Figures::from),
                excess: child.excess_watts.map(Watts),
            };
            (key, entry)
        };
        Ledger {
            sequence: counted(self.sequence),
            entries: self.children.iter().map(entry).collect(),
            accepted: parent.and_then(|parent| self.accepted_from(parent)).map(|accepted| Accepted {
                lease: (&accepted.lease).into(),
                acknowledged: counted(accepted.acknowledged_sequence),
            }),
        }
    }

    /// The limits of single accelerators, by child.
    #[must_use]
    pub fn shares(&self) -> BTreeMap<ChildKey, Vec<AcceleratorShare>> {
        let told = self.children.iter().filter(|child| !child.shares.is_empty());
        told.map(|child| (ChildKey { kind: child.kind, name: child.name.clone() }, child.shares.clone())).collect()
    }

    /// A ledger of the protocol as what is written, with the limits of single accelerators of its children.
    #[must_use]
    pub fn of(
        ledger: &Ledger<ChildKey>,
        parent: Option<&str>,
        spendable: Watts,
        shares: &BTreeMap<ChildKey, Vec<AcceleratorShare>>,
    ) -> Self {
        let child = |(key, entry): (&ChildKey, &Entry)| ChildAllotment {
            kind: key.kind,
            name: key.name.clone(),
            ceiling_watts: entry.ceiling.0,
            lease: entry.lease.as_ref().map(ChildLease::from),
            reserve: entry.reserve.as_ref().map(LeaseFigures::from),
            excess_watts: entry.excess.map(|watts| watts.0),
            shares: shares.get(key).cloned().unwrap_or_default(),
        };
        Self {
            sequence: count(ledger.sequence),
            spendable_watts: spendable.0,
            accepted: ledger.accepted.as_ref().zip(parent).map(|(accepted, parent)| AcceptedLease {
                from: parent.to_owned(),
                lease: (&accepted.lease).into(),
                acknowledged_sequence: count(accepted.acknowledged),
            }),
            children: ledger.entries.iter().map(child).collect(),
        }
    }
}
