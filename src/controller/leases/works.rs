//! What works on each node: which accelerators have one limit, how fast each workload is under it, and how slow it may get.
//! Objects in, values out.

use super::kids::Hardware;
use crate::api::{AcceleratorPower, AcceleratorProfile, LLMWorkload, WorkloadClass, labels};
use crate::controller::declared::Declared;
use crate::controller::site;
use crate::controller::snapshot::Snapshot;
use crate::core::divide::{Group, Work};
use crate::core::profile::{Clocks, Curve};
use crate::units::Watts;
use crate::workloads::job;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

/// What nobody declared may want all.
const ALL: Watts = Watts(i64::MAX / 8);

/// One workload's pods on one node.
#[derive(Debug, Clone)]
pub(super) struct Pods<'a> {
    /// The UID of its Job; none for a pod of no Job.
    gang: Option<&'a str>,
    /// Namespace and name of each.
    names: BTreeSet<String>,
    /// Their accelerators.
    gpus: u32,
    /// What each accelerator was granted, above its idle draw.
    granted: Watts,
    /// The limit that the plan holds each to.
    most: Watts,
    /// What stands for it; none where nobody declared it.
    workload: Option<&'a LLMWorkload>,
}

/// The nodes on which accelerators are in use, and by whom.
pub(super) fn works(snapshot: &Snapshot) -> BTreeMap<&str, Vec<Pods<'_>>> {
    let mut granted: BTreeMap<&str, (Watts, Watts)> = BTreeMap::new();
    for (_, grant) in snapshot.grants() {
        if let Some(each) = grant.watts.checked_div(i64::from(grant.accelerators)) {
            let most = grant.slowed.as_ref().and_then(|slowed| slowed.limit_watts).map_or(ALL, Watts);
            granted.insert(grant.uid.as_str(), (Watts(each), most));
        }
    }
    let by_job = Declared::new(snapshot).by_job;
    let declared = snapshot.jobs.iter().filter_map(|job| {
        let meta = &job.metadata;
        let workload = by_job.get(&(meta.namespace.as_deref()?, meta.name.as_deref()?))?;
        Some((meta.uid.as_deref()?, *workload))
    });
    let declared: BTreeMap<&str, &LLMWorkload> = declared.collect();
    let mut all: BTreeMap<&str, Vec<Pods<'_>>> = BTreeMap::new();
    for pod in snapshot.pods.iter().filter(|pod| job::is_alive(pod)) {
        let gpus = pod.spec.as_ref().map_or(0, job::gpus);
        let Some(node) = job::node(pod).filter(|_| gpus > 0) else { continue };
        let gang = pod.metadata.labels.as_ref().and_then(|all| all.get(labels::CONTROLLER_UID)).map(String::as_str);
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let name = format!("{}/{}", part(&pod.metadata.namespace), part(&pod.metadata.name));
        let here = all.entry(node).or_default();
        let (granted, most) = gang.and_then(|gang| granted.get(gang)).copied().unwrap_or((ALL, ALL));
        match here.iter_mut().find(|pods| pods.gang.is_some() && pods.gang == gang) {
            Some(pods) => {
                pods.gpus = pods.gpus.saturating_add(gpus);
                pods.names.insert(name);
            }
            None => here.push(Pods {
                gang,
                names: BTreeSet::from([name]),
                gpus,
                granted,
                most,
                workload: gang.and_then(|gang| declared.get(gang)).copied(),
            }),
        }
    }
    all
}

/// How fast work is under limits, each kind of it looked up once.
pub(super) struct Curves<'a> {
    profiles: &'a [AcceleratorProfile],
    known: BTreeMap<Kind, Option<Rc<Curve>>>,
    generic: BTreeMap<Watts, Rc<Curve>>,
    clocks: BTreeMap<Kind, Option<Arc<Clocks>>>,
}

/// A kind of work: the model that it is on, its class, the profile that it names.
type Kind = (String, WorkloadClass, Option<String>);

impl<'a> Curves<'a> {
    /// None yet.
    pub fn new(profiles: &'a [AcceleratorProfile]) -> Self {
        Self { profiles, known: BTreeMap::new(), generic: BTreeMap::new(), clocks: BTreeMap::new() }
    }

    /// What is believed of a device of this highest limit that nothing is known of.
    pub fn generic(&mut self, max: Watts) -> Rc<Curve> {
        self.generic.entry(max).or_insert_with(|| Rc::new(Curve::generic(max))).clone()
    }

    /// The curve of a workload on a model; the generic one where no profile tells.
    fn of(&mut self, workload: Option<&LLMWorkload>, model: &str, max: Watts) -> Rc<Curve> {
        let known = workload.and_then(|workload| {
            let (class, named) = (workload.spec.class, workload.spec.profile.clone());
            let made =
                self.known.entry((model.to_owned(), class, named)).or_insert_with_key(|(model, class, named)| {
                    let profile = site::profile(self.profiles, model, *class, named.as_deref())?;
                    Some(Rc::new(profile.curve().clone()))
                });
            made.clone()
        });
        known.unwrap_or_else(|| self.generic(max))
    }

    /// The clocks of a workload on a model, where they are what it is held by.
    fn clocks(&mut self, workload: Option<&LLMWorkload>, model: &str) -> Option<Arc<Clocks>> {
        let spec = &workload?.spec;
        let kind = (model.to_owned(), spec.class, spec.profile.clone());
        let made = self.clocks.entry(kind).or_insert_with_key(|(model, class, named)| {
            site::clocks(self.profiles, model, *class, named.as_deref()).map(Arc::new)
        });
        made.clone()
    }
}

/// Accelerators of a node that have one limit.
#[derive(Debug, Clone)]
pub(super) struct Together {
    /// Which; empty for the rest, of which nobody says who has them.
    pub uuids: Vec<String>,
    /// The UID of the Job that has them, where one does.
    pub gang: Option<String>,
    /// What they claim.
    pub group: Group,
    /// The clocks that they are locked at.
    pub clocks: Option<Arc<Clocks>>,
}

/// A node's accelerators by their limits: those of each workload where its agent says which it has, and the rest.
pub(super) fn together(
    pods: &[Pods<'_>],
    said: &[AcceleratorPower],
    (hardware, idle): (&Hardware, Watts),
    model: &str,
    curves: &mut Curves<'_>,
) -> Vec<Together> {
    let mut left = hardware.count;
    let mut groups = Vec::new();
    let mut unknown: Vec<(&Pods<'_>, u32)> = Vec::new();
    for pods in pods {
        let has = |gpu: &&AcceleratorPower| gpu.pod.as_ref().is_some_and(|pod| pods.names.contains(pod));
        let uuids: Vec<String> = said.iter().filter(has).map(|gpu| gpu.uuid.clone()).collect();
        let known = u32::try_from(uuids.len()).unwrap_or(0).min(left);
        if known > 0 {
            left -= known;
            let group = group(known, &[(pods, known)], (hardware, idle), model, curves);
            let clocks = curves.clocks(pods.workload, model);
            groups.push(Together { uuids, gang: pods.gang.map(str::to_owned), group, clocks });
        }
        if pods.gpus > known {
            unknown.push((pods, pods.gpus - known));
        }
    }
    if left > 0 {
        let group = group(left, &unknown, (hardware, idle), model, curves);
        groups.push(Together { uuids: Vec::new(), gang: None, group, clocks: None });
    }
    groups
}

fn group(
    accelerators: u32,
    works: &[(&Pods<'_>, u32)],
    (hardware, idle): (&Hardware, Watts),
    model: &str,
    curves: &mut Curves<'_>,
) -> Group {
    let mut curve = |pods: &Pods<'_>| curves.of(pods.workload, model, hardware.range.max);
    let known: Vec<Rc<Curve>> = works.iter().map(|(pods, _)| curve(pods)).collect();
    let works = works.iter().zip(&known).map(|((pods, gpus), curve)| {
        let flexibility = pods.workload.and_then(|workload| workload.spec.flexibility).unwrap_or_default();
        let tolerates_permille = flexibility.permille();
        Work { accelerators: *gpus, curve, tolerates_permille, granted: pods.granted + idle, most: pods.most }
    });
    Group::new(accelerators, hardware.range, &works.collect::<Vec<_>>())
}
