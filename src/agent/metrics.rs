//! What an agent counts, and whether it is ready.

use crate::web::Served;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

/// The accelerator that a figure is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GpuLabel {
    /// Its UUID.
    pub uuid: String,
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `Succeeded`, `Conflict`, `TimedOut` or `Failed`.
    pub outcome: &'static str,
}

/// All metrics of one agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The limit that each accelerator is to hold.
    pub limit: Family<GpuLabel, Gauge>,
    /// The limit in force on each, at worst.
    pub enforced: Family<GpuLabel, Gauge>,
    /// What each draws, at worst.
    pub draw: Family<GpuLabel, Gauge>,
    /// What the node can draw under the limits in force.
    pub node_enforced: Gauge,
    /// What the node may draw.
    pub node_limit: Gauge,
    /// How old the last read of its caps is.
    pub contact_age: Gauge<f64, AtomicU64>,
    /// The count of the lease in force.
    pub sequence: Gauge,
    /// From a cap's fall heard to the limits read back.
    pub reaction: Histogram,
    /// Heartbeats by how they ended.
    pub heartbeats: Family<OutcomeLabel, Counter>,
    /// Reads of what is above, by how they ended.
    pub reads: Family<OutcomeLabel, Counter>,
    not_ready: Mutex<Option<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("heliotrope_agent"),
            limit: Family::default(),
            enforced: Family::default(),
            draw: Family::default(),
            node_enforced: Gauge::default(),
            node_limit: Gauge::default(),
            contact_age: Gauge::default(),
            sequence: Gauge::default(),
            reaction: Histogram::new([0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]),
            heartbeats: Family::default(),
            reads: Family::default(),
            not_ready: Mutex::new(Some("it has just started".to_owned())),
        };
        let registry = &mut metrics.registry;
        let watts = || Unit::Other("watts".to_owned());
        registry.register_with_unit(
            "limit",
            "The limit that an accelerator is to hold",
            watts(),
            metrics.limit.clone(),
        );
        registry.register_with_unit(
            "enforced",
            "The limit in force on an accelerator, read back; its highest where it can't be read",
            watts(),
            metrics.enforced.clone(),
        );
        registry.register_with_unit("draw", "What an accelerator draws, at worst", watts(), metrics.draw.clone());
        registry.register_with_unit(
            "node_enforced",
            "What the node can draw under the limits in force",
            watts(),
            metrics.node_enforced.clone(),
        );
        registry.register_with_unit("node_limit", "What the node may draw", watts(), metrics.node_limit.clone());
        registry.register_with_unit(
            "contact_age",
            "How long ago the last read of the caps above was sent",
            Unit::Seconds,
            metrics.contact_age.clone(),
        );
        registry.register("lease_sequence", "The count of the lease in force; 0 for none", metrics.sequence.clone());
        registry.register_with_unit(
            "reaction",
            "From a cap's fall heard to the limits under it read back",
            Unit::Seconds,
            metrics.reaction.clone(),
        );
        registry.register("heartbeats", "Heartbeats by how they ended", metrics.heartbeats.clone());
        registry.register("reads", "Reads of the caps above, by how they ended", metrics.reads.clone());
        metrics
    }
}

impl Metrics {
    /// Says whether it is ready, and if not, why.
    pub fn set_ready(&self, not_ready: Option<String>) {
        *self.not_ready.lock().unwrap_or_else(PoisonError::into_inner) = not_ready;
    }
}

impl Served for Metrics {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn not_ready(&self) -> Option<String> {
        self.not_ready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
