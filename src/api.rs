//! The custom resources: group `heliotrope.dev`, version `v1alpha1`, one file a kind.
//!
//! Amounts are integers with their unit in the name; ratios are thousandths. Each field's description is what
//! `kubectl explain` shows to whoever is on call. A mistake that can be seen in one object is refused by the API server
//! itself, by a CEL rule that says what to do. A kind is here only when something serves it.

#![allow(
    clippy::duplicated_attributes,
    reason = "each print column has a type of its own; the lint takes them for one attribute"
)]

mod accelerator_profile;
pub mod conditions;
pub mod crds;
mod curtailment_event;
mod grid_signal;
pub mod labels;
pub(crate) mod llm_workload;
mod node_power;
mod power_allotment;
mod power_domain;

pub use accelerator_profile::{AcceleratorProfile, AcceleratorProfileSpec, AcceleratorProfileStatus, Knob, Point};
pub use curtailment_event::{
    BaselineMethod, CurtailmentEvent, CurtailmentEventSpec, CurtailmentEventStatus, CurtailmentLimits,
    CurtailmentPhase, CurtailmentTarget, Measure, Verdict,
};
pub use grid_signal::{
    Basis, ConfigMapSource, FileSource, ForecastError, GridSignal, GridSignalSpec, GridSignalStatus, JsonPlaces,
    Provider, RefusedValues, Roof, Server, ServerKind, SignalForecast, SignalFormat, What,
};
pub use llm_workload::{
    Checkpoint, CheckpointAsk, Flexibility, LLMWorkload, LLMWorkloadSpec, LLMWorkloadStatus, Phase, Replicas,
    WorkloadClass, WorkloadRef,
};
pub use node_power::{
    AcceleratorPower, CapRow, HeardCap, Heartbeat, LeaseFigures, NodePower, NodePowerSpec, NodePowerStatus,
};
pub use power_allotment::{
    AcceleratorShare, AcceptedLease, ChildAllotment, ChildKey, ChildKind, ChildLease, FINALIZER, LeaseStep,
    PowerAllotment, PowerAllotmentSpec,
};
pub use power_domain::{
    Baseline, CapSchedule, CapWindow, Day, ExceptionAction, Grant, Ledger, Mode, NodeClass, NodeSelector, Observed,
    PowerDomain, PowerDomainSpec, PowerDomainStatus, SignalRefs, Slowed,
};

use schemars::{Schema, SchemaGenerator, json_schema};

/// A list of `metav1.Condition`s: one for each type, so that two writers of different types don't lose each other's.
fn condition_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "description": "What is true of this object now, one entry for each type.",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One thing that is true, false or not known.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "What it is about."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it is true."},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0, "description": "The generation of the spec that this was said of."},
                "lastTransitionTime": {"type": "string", "format": "date-time", "maxLength": 64, "description": "When the status last changed."},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "Why, in one CamelCase word."},
                "message": {"type": "string", "maxLength": 32768, "description": "Why, in words and numbers."}
            }
        }
    })
}

/// Labels by name. Keys can't be bounded by a schema; the API server bounds labels itself.
fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Labels that a node must have, all of them.",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63, "description": "The value that the label must have."}
    })
}
