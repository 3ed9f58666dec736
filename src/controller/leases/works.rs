//! What works on each node: how many watts it was granted, what it does with them, and how slow it may get. Objects in, values
//! out.

use super::kids::Hardware;
use crate::api::{LLMWorkload, labels};
use crate::controller::site;
use crate::controller::snapshot::Snapshot;
use crate::core::divide::Bend;
use crate::core::profile::Curve;
use crate::units::Watts;
use crate::workloads::job;
use std::collections::BTreeMap;

/// The work on one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Works<'a> {
    /// The most that one of its accelerators was granted, above its idle draw; what nobody declared may want all.
    pub granted: Watts,
    /// The workloads, each with its accelerators here; none where nobody declared it.
    pub workloads: Vec<(u32, Option<&'a LLMWorkload>)>,
}

/// The nodes on which accelerators are in use.
pub(super) fn works(snapshot: &Snapshot) -> BTreeMap<&str, Works<'_>> {
    let mut granted: BTreeMap<&str, Watts> = BTreeMap::new();
    for (_, grant) in snapshot.grants() {
        if let Some(each) = grant.watts.checked_div(i64::from(grant.accelerators)) {
            granted.insert(grant.uid.as_str(), Watts(each));
        }
    }
    let referring = snapshot.workloads.iter().filter_map(|workload| {
        let job = workload.spec.workload_ref.as_ref()?.name.as_str();
        Some(((workload.metadata.namespace.as_deref()?, job), workload))
    });
    let referring: BTreeMap<(&str, &str), &LLMWorkload> = referring.collect();
    let declared = snapshot.jobs.iter().filter_map(|job| {
        let meta = &job.metadata;
        let workload = referring.get(&(meta.namespace.as_deref()?, meta.name.as_deref()?))?;
        Some((meta.uid.as_deref()?, *workload))
    });
    let declared: BTreeMap<&str, &LLMWorkload> = declared.collect();
    let mut all: BTreeMap<&str, Works<'_>> = BTreeMap::new();
    for pod in snapshot.pods.iter().filter(|pod| job::is_alive(pod)) {
        let gpus = pod.spec.as_ref().map_or(0, job::gpus);
        let Some(node) = job::node(pod).filter(|_| gpus > 0) else { continue };
        let uid = pod.metadata.labels.as_ref().and_then(|all| all.get(labels::CONTROLLER_UID)).map(String::as_str);
        let each = uid.and_then(|uid| granted.get(uid)).copied().unwrap_or(Watts(i64::MAX / 8));
        let works = all.entry(node).or_default();
        works.granted = works.granted.max(each);
        works.workloads.push((gpus, uid.and_then(|uid| declared.get(uid)).copied()));
    }
    all
}

impl Works<'_> {
    /// How many accelerators work here, by how each of their workloads does under a limit.
    fn curves(&self, snapshot: &Snapshot, model: &str, max: Watts) -> Vec<(u32, Curve)> {
        let of = |workload: Option<&LLMWorkload>| {
            let spec = &workload?.spec;
            let profile = site::profile(&snapshot.profiles, model, spec.class, spec.profile.as_deref())?;
            Some(profile.curve().clone())
        };
        let curve = |(gpus, workload): &(u32, Option<&LLMWorkload>)| {
            (*gpus, of(*workload).unwrap_or_else(|| Curve::generic(max)))
        };
        self.workloads.iter().map(curve).collect()
    }

    /// What its accelerators do with the node's watts above the lowest limit, all under the same limit, and the watts at which
    /// none is slower than it may get.
    pub fn curve(&self, snapshot: &Snapshot, model: &str, hardware: &Hardware) -> (Vec<Bend>, Watts) {
        let (min, max) = (hardware.min, hardware.max);
        let curves = self.curves(snapshot, model, max);
        let work = |limit: Watts| -> i64 {
            curves.iter().map(|(gpus, curve)| i64::from(*gpus) * i64::from(curve.at(limit))).sum()
        };
        let within = |limit: &Watts| *limit > min && *limit < max;
        let mut limits: Vec<Watts> = curves.iter().flat_map(|(_, curve)| curve.limits()).filter(within).collect();
        limits.extend([min, max]);
        limits.sort_unstable();
        limits.dedup();
        let bend = |pair: &[Watts]| Bend {
            watts: hardware.at(pair[1]) - hardware.at(pair[0]),
            work: (work(pair[1]) - work(pair[0])).max(0),
        };
        let bends = limits.windows(2).map(bend).collect();
        let slowest = |((_, curve), (_, workload)): (&(u32, Curve), &(u32, Option<&LLMWorkload>))| {
            let tolerated = workload.and_then(|workload| workload.spec.flexibility).unwrap_or_default().permille();
            curve.lowest_for(curve.at(max) * (1000 - tolerated) / 1000)
        };
        let promised = curves.iter().zip(&self.workloads).map(slowest).max().unwrap_or(min);
        (bends, hardware.at(promised.max(min).min(max)))
    }
}
