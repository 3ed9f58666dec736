//! What people see of a profile: for each thing that can be wrong with it a condition of its own, with what is in force instead.

use super::site;
use crate::api::conditions::{self, ACCEPTED, CONCAVE, ON_NODES, WITHIN_LIMITS};
use crate::api::{AcceleratorProfile, AcceleratorProfileStatus, Knob, WorkloadClass, labels};
use crate::core::profile::{Flaw, UNKNOWN, nameplate};
use crate::units::{Moment, Watts};
use k8s_openapi::api::core::v1::Node;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The models that nodes have.
#[must_use]
pub fn models(nodes: &[Arc<Node>]) -> BTreeSet<&str> {
    nodes.iter().filter_map(|node| Some(node.metadata.labels.as_ref()?.get(labels::GPU_PRODUCT)?.as_str())).collect()
}

/// The status of a profile among all, where nodes have these models.
#[must_use]
pub fn status(
    profile: &AcceleratorProfile,
    all: &[AcceleratorProfile],
    models: &BTreeSet<&str>,
    now: Moment,
) -> AcceleratorProfileStatus {
    let generation = profile.metadata.generation;
    let old = profile.status.clone().unwrap_or_default();
    let model = profile.spec.device_model.as_str();
    let built = site::of(profile);
    let is_one = |flaw: &Flaw| matches!(flaw, Flaw::OnePoint { .. });
    let mut status = AcceleratorProfileStatus {
        observed_generation: generation,
        knee_watts: built
            .as_ref()
            .ok()
            .filter(|built| !built.flaws().iter().any(is_one))
            .map(|built| built.knee(Watts::ZERO).draw.0),
        hull_points: built.as_ref().ok().and_then(|built| i32::try_from(built.hull().len()).ok()),
        conditions: old.conditions,
    };
    let mut set = |kind: &str, holds: bool, reason: &str, text: &str| {
        conditions::set(&mut status.conditions, kind, holds, reason, text, generation, now);
    };
    match &built {
        Err(error) => {
            let plate = match nameplate(model) {
                Some(watts) => format!("{watts} for each accelerator by its nameplate"),
                None => format!("{UNKNOWN} for each accelerator, the most that any has"),
            };
            let text = format!(
                "points: {error}. Mend it; until then the work that it is for counts with {plate} and the generic curve"
            );
            set(ACCEPTED, false, "Refused", &text);
            for kind in [CONCAVE, WITHIN_LIMITS] {
                set(kind, false, "Refused", "it can't be told of points that are refused: see Accepted");
            }
        }
        Ok(built) => {
            match note(profile, all) {
                Some(note) => set(ACCEPTED, true, "AcceptedWithNotes", &note),
                None => set(ACCEPTED, true, "Accepted", "it can be counted with"),
            }
            let curve = built.flaws().iter().find(|flaw| !matches!(flaw, Flaw::AboveLimit { .. }));
            match curve {
                Some(flaw) => {
                    let reason = if is_one(flaw) { "OnePoint" } else { "BelowHull" };
                    set(CONCAVE, false, reason, &flaw.to_string());
                }
                None => set(CONCAVE, true, "Concave", "each watt more does no more than the one before it"),
            }
            match built.flaws().iter().find(|flaw| matches!(flaw, Flaw::AboveLimit { .. })) {
                Some(flaw) => set(WITHIN_LIMITS, false, "AboveLimit", &flaw.to_string()),
                None => set(WITHIN_LIMITS, true, "WithinLimits", "no point draws more than its limit and the margin"),
            }
        }
    }
    if models.contains(model) {
        set(ON_NODES, true, "Found", "nodes have this device");
    } else {
        set(ON_NODES, false, "NoNode", &no_node(model, models));
    }
    status
}

/// What is worth knowing of one that can be counted with: another counts before it, or its clocks are for nobody.
fn note(profile: &AcceleratorProfile, all: &[AcceleratorProfile]) -> Option<String> {
    let spec = &profile.spec;
    let (name, classes) = (&profile.metadata.name, &spec.workload_classes);
    let shares = |other: &AcceleratorProfile| {
        let others = &other.spec.workload_classes;
        (classes.is_empty() && others.is_empty()) || classes.iter().any(|class| others.contains(class))
    };
    let is_before = |other: &&AcceleratorProfile| {
        other.metadata.name < *name && other.spec.device_model == spec.device_model && shares(other)
    };
    if let Some(other) = all.iter().find(is_before) {
        let other = other.metadata.name.as_deref().unwrap_or_default();
        return Some(format!(
            "workloadClasses: AcceleratorProfile {other} is for the same device and work and counts, being the first by name. Delete one \
             of them, or have workloads name this one (spec.profile); its limits and margin count beside those of {other}"
        ));
    }
    let serves = classes.is_empty() || classes.contains(&WorkloadClass::Serving);
    (spec.knob == Knob::ClockLock && !serves).then(|| {
        "knob: ClockLock is for class Serving, which is none of workloadClasses. No clock is locked; power limits are set as by PowerLimit"
            .to_owned()
    })
}

fn no_node(model: &str, models: &BTreeSet<&str>) -> String {
    let label = labels::GPU_PRODUCT;
    let known: Vec<String> = models.iter().map(|model| format!("`{model}`")).collect();
    if known.is_empty() {
        return format!(
            "deviceModel: no node has a label {label}, so `{model}` counts for none. NVIDIA's GPU feature discovery sets it; until then \
             nodes count by what their agents say and the generic curve"
        );
    }
    format!(
        "deviceModel: no node has the label {label}={model}, so it counts for none. If one of these is meant, write it as it is here: {}; \
         they count by their own profiles, else by nameplate and the generic curve",
        known.join(", ")
    )
}
