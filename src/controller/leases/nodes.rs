//! The NodePower of each node, and the taint that keeps new GPU pods off a node without a working agent. Objects in, writes out
//! as values.

use super::memory::Memory;
use super::seen::{SILENT, Seen};
use crate::api::labels::{AGENT_NOT_READY, FENCED, OVER_CAP};
use crate::api::{ChildKind, ExceptionAction, FINALIZER, NodePower, NodePowerSpec, PowerAllotmentSpec};
use crate::controller::leased::Leases;
use crate::controller::site::{SiteNode, device, matches};
use crate::core::divide::Scale;
use crate::core::lease::Figures;
use crate::units::Watts;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::ObjectMeta;
use std::collections::BTreeMap;

/// Something that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A NodePower is to be made.
    Make(Box<NodePower>),
    /// The spec of a NodePower is to be this.
    Change {
        /// Its name.
        name: String,
        /// What it is to be.
        spec: NodePowerSpec,
    },
    /// A NodePower is of no use any more: its node is gone, and by proof draws nothing.
    Remove {
        /// Its name.
        name: String,
    },
    /// The taints of a node are to be these.
    Taint {
        /// Its name.
        name: String,
        /// The version that this was decided on.
        version: Option<String>,
        /// All its taints.
        taints: Vec<Taint>,
    },
}

/// What of the nodes is to be written.
#[must_use]
pub fn writes(seen: &Seen<'_>, memory: &Memory, leases: &Leases) -> Vec<Write> {
    let mut writes = Vec::new();
    for node in &seen.site.nodes {
        let domain = seen.site.domain_of(node);
        if !seen.site.is_enforced(node.pool) || seen.site.node(&node.name).is_some_and(|first| first.pool != node.pool)
        {
            continue;
        }
        let wanted = wanted(seen, node, domain);
        match seen.powers.get(&node.name) {
            None => writes.push(Write::Make(Box::new(NodePower {
                metadata: ObjectMeta {
                    name: Some(node.name.clone()),
                    finalizers: Some(vec![FINALIZER.to_owned()]),
                    ..ObjectMeta::default()
                },
                spec: wanted,
                status: None,
            }))),
            Some(power) => {
                // it stays charged where it was leased, until it is proved to draw nothing there
                let mut spec = NodePowerSpec { domain: power.spec.domain.clone(), ..wanted };
                spec.accelerators = spec.accelerators.max(power.spec.accelerators);
                if spec.accelerators > i32::try_from(node.gpus).unwrap_or(i32::MAX) {
                    spec.ceiling_watts = spec.ceiling_watts.max(power.spec.ceiling_watts);
                }
                if moved_away(seen, power) {
                    domain.clone_into(&mut spec.domain);
                }
                if spec != power.spec {
                    writes.push(Write::Change { name: node.name.clone(), spec });
                }
            }
        }
    }
    for (name, power) in seen.powers {
        // most are in a domain, and need no search
        let is_there = || seen.snapshot.nodes.iter().any(|node| node.metadata.name.as_ref() == Some(name));
        if seen.site.node(name).is_none()
            && !is_there()
            && !is_charged(seen, power)
            && memory.silent_for(name, seen.now) >= SILENT
        {
            writes.push(Write::Remove { name: name.clone() });
        }
    }
    writes.extend(seen.snapshot.nodes.iter().filter_map(|node| taint(seen, memory, leases, node)));
    writes
}

/// Was it fenced where it was leased, so that nothing is charged for it there any more?
fn moved_away(seen: &Seen<'_>, power: &NodePower) -> bool {
    let node = power.metadata.name.as_deref().unwrap_or_default();
    let is_fenced = power.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(FENCED));
    let selected = seen.site.node(node).map(|node| seen.site.domain_of(node));
    is_fenced && selected.is_some_and(|domain| domain != power.spec.domain) && !is_charged(seen, power)
}

fn is_charged(seen: &Seen<'_>, power: &NodePower) -> bool {
    let key = crate::api::ChildKey::node(power.metadata.name.as_deref().unwrap_or_default());
    seen.allotments.get(&power.spec.domain).is_some_and(|allotment| allotment.child(&key).is_some())
}

fn wanted(seen: &Seen<'_>, node: &SiteNode, domain: &str) -> NodePowerSpec {
    let device = device(&seen.snapshot.profiles, &seen.site.models[node.pool]);
    let scale = Scale { host: node.host_max, overshoot: device.overshoot_permille };
    NodePowerSpec {
        domain: domain.to_owned(),
        accelerators: i32::try_from(node.gpus).unwrap_or(i32::MAX),
        ceiling_watts: scale.node(device.max.times(node.gpus)).0,
        host_max_watts: node.host_max.0,
        overshoot_permille: i32::try_from(device.overshoot_permille).unwrap_or(1000),
        lowest_limit_watts: device.floor.filter(|floor| floor.0 > 0).map(|floor| floor.0),
    }
}

/// The taints of a node, where they are to change. Only NoSchedule: what runs is never evicted.
fn taint(seen: &Seen<'_>, memory: &Memory, leases: &Leases, node: &Node) -> Option<Write> {
    let name = node.metadata.name.clone()?;
    let kept = seen.site.node(&name).map(|node| node.pool).filter(|pool| seen.site.is_enforced(*pool));
    let works = seen
        .powers
        .get(&name)
        .and_then(|power| power.status.as_ref())
        .is_some_and(|status| status.applied_sequence > 0 && memory.silent_for(&name, seen.now) < SILENT);
    let is_over = kept.is_some_and(|pool| {
        seen.site.tree.chain(seen.site.pools[pool].domain).any(|above| {
            let leases = leases.domains.get(&seen.site.tree.get(above).spec.name);
            leases.and_then(|leases| leases.over).is_some_and(|(_, action)| action == ExceptionAction::Cordon)
        })
    });
    let wanted = [(AGENT_NOT_READY, kept.is_some() && !works), (OVER_CAP, is_over)];
    let old = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let is = |taint: &Taint, key: &str| taint.key == key && taint.effect == "NoSchedule";
    if wanted.iter().all(|(key, wanted)| old.iter().any(|taint| is(taint, key)) == *wanted) {
        return None;
    }
    let mut taints: Vec<Taint> =
        old.into_iter().filter(|taint| !wanted.iter().any(|(key, _)| is(taint, key))).collect();
    let added = wanted.iter().filter(|(_, wanted)| *wanted).map(|(key, _)| Taint {
        key: (*key).to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    });
    taints.extend(added);
    Some(Write::Taint { name, version: node.metadata.resource_version.clone(), taints })
}

/// Nodes that are leased in a domain and are no longer in it, for people.
pub(super) fn strays(seen: &Seen<'_>, domain: &str) -> Vec<String> {
    let selector = seen.snapshot.domain(domain).and_then(|domain| domain.spec.node_selector.as_ref());
    let leased = seen.powers.iter().filter(|(_, power)| power.spec.domain == domain);
    // most are where they were leased, and need no search
    let is_here = |name: &str| seen.site.node(name).is_some_and(|node| seen.site.domain_of(node) == domain);
    let told = leased.filter(|(name, _)| !is_here(name)).filter_map(|(name, _)| {
        let node = seen.snapshot.nodes.iter().find(|node| node.metadata.name.as_ref() == Some(name));
        let labels = node.map(|node| node.metadata.labels.clone().unwrap_or_default());
        let (what, first) = match labels {
            None => ("is gone", "if it is off,"),
            Some(labels) if selector.is_some_and(|selector| matches(&selector.match_labels, &labels)) => return None,
            Some(_) => ("is no longer selected", "label it again, or power it off and"),
        };
        Some(format!(
            "node {name} {what}, and its watts stay charged here: {first} prove it with `kubectl annotate nodepower {name} {FENCED}=0`"
        ))
    });
    told.collect()
}

/// Has every node that is in a ledger acknowledged what gives all back?
#[must_use]
pub fn is_given_back(spec: &PowerAllotmentSpec, powers: &BTreeMap<String, NodePower>) -> bool {
    spec.children.iter().all(|child| {
        let Some(lease) = &child.lease else { return false };
        let is_whole = Figures::from(&lease.figures).gives_back(Watts(child.ceiling_watts));
        match child.kind {
            ChildKind::Domain => true,
            ChildKind::Node => {
                let status = powers.get(&child.name).and_then(|power| power.status.as_ref());
                is_whole && status.is_some_and(|status| status.applied_sequence >= lease.sequence)
            }
        }
    })
}
