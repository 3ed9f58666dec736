//! `/healthz`, `/readyz` and `/metrics`, and what else a program serves.

pub mod plans;

use crate::core::signal::Refused;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;

/// The domain that a figure is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DomainLabel {
    /// Its name.
    pub domain: String,
}

/// The phase that workloads are counted in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// One of the reasons in `core::admit`, or a phase.
    pub reason: String,
}

/// The signal that a figure is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SignalLabel {
    /// Its name.
    pub signal: String,
}

/// Why values of a signal were not used.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabel {
    /// Its name.
    pub signal: String,
    /// One of the reasons in `core::signal`.
    pub reason: &'static str,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `Succeeded`, `Conflict`, `TimedOut` or `Failed`.
    pub outcome: String,
}

/// All metrics of the controller.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What may be drawn now.
    pub cap: Family<DomainLabel, Gauge>,
    /// What can be drawn under what was granted.
    pub committed: Family<DomainLabel, Gauge>,
    /// What can be drawn under the leases of its nodes.
    pub reserved: Family<DomainLabel, Gauge>,
    /// Workloads by reason.
    pub workloads: Family<ReasonLabel, Gauge>,
    /// Writes by how they ended.
    pub writes: Family<OutcomeLabel, Counter>,
    /// What the checker refused of our own plans.
    pub refused_plans: Counter,
    /// What the checker refused of our own leases.
    pub refused_ledgers: Counter,
    /// How well each signal is known: 0 is live, 4 is not at all.
    pub rung: Family<SignalLabel, Gauge>,
    /// Values of signals that were not used.
    pub refused_values: Family<RefusedLabel, Counter>,
    /// Seconds that a cycle took.
    pub cycle: Histogram,
    /// Is this controller the leader?
    pub leader: Gauge,
    ready: AtomicBool,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("heliotrope"),
            cap: Family::default(),
            committed: Family::default(),
            reserved: Family::default(),
            workloads: Family::default(),
            writes: Family::default(),
            refused_plans: Counter::default(),
            refused_ledgers: Counter::default(),
            rung: Family::default(),
            refused_values: Family::default(),
            cycle: Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
            leader: Gauge::default(),
            ready: AtomicBool::new(false),
        };
        let registry = &mut metrics.registry;
        registry.register("domain_cap_watts", "What may be drawn in a domain now", metrics.cap.clone());
        registry.register(
            "domain_committed_watts",
            "What can be drawn in a domain under what was granted",
            metrics.committed.clone(),
        );
        registry.register(
            "domain_reserved_watts",
            "What can be drawn in a domain at worst under the leases of its nodes",
            metrics.reserved.clone(),
        );
        registry.register("workloads", "Workloads by the reason they are where they are", metrics.workloads.clone());
        registry.register("writes", "Writes to the API server by how they ended", metrics.writes.clone());
        registry.register(
            "refused_plans",
            "Notes of the checker on our own plans; any is a fault of Heliotrope",
            metrics.refused_plans.clone(),
        );
        registry.register(
            "refused_ledgers",
            "Faults that the checker found in our own leases, which were not written; any is a fault of Heliotrope",
            metrics.refused_ledgers.clone(),
        );
        registry.register(
            "signal_rung",
            "How well a signal is known: 0 live, 1 last known, 2 hour of the week, 3 static, 4 nothing",
            metrics.rung.clone(),
        );
        registry.register(
            "signal_refused_values",
            "Values of a signal that were not used, by reason",
            metrics.refused_values.clone(),
        );
        registry.register("cycle_seconds", "How long a cycle took, its writes included", metrics.cycle.clone());
        registry.register("leader", "1 where this controller acts", metrics.leader.clone());
        metrics
    }
}

impl Metrics {
    /// Counts a write by how it ended.
    pub fn wrote(&self, outcome: impl std::fmt::Debug) {
        self.writes.get_or_create(&OutcomeLabel { outcome: format!("{outcome:?}") }).inc();
    }

    /// Where a signal stands, and what of it was newly refused.
    pub fn signal(&self, name: &str, rung: i64, refused: &Refused) {
        self.rung.get_or_create(&SignalLabel { signal: name.to_owned() }).set(rung);
        for (reason, count, _) in refused.iter() {
            let label = RefusedLabel { signal: name.to_owned(), reason: reason.name() };
            self.refused_values.get_or_create(&label).inc_by(count as u64);
        }
    }

    /// Says that all caches are filled.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// What is served of a program.
pub trait Served: Send + Sync + 'static {
    /// Its metrics.
    fn registry(&self) -> &Registry;

    /// Why it is not ready; none where it is.
    fn not_ready(&self) -> Option<String>;
}

impl Served for Metrics {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn not_ready(&self) -> Option<String> {
        (!self.ready.load(Ordering::Relaxed)).then(|| "the caches are not filled yet".to_owned())
    }
}

/// Serves until the program ends, with routes that it adds.
///
/// # Errors
/// What the listener said.
pub async fn serve<S: Served>(listener: TcpListener, served: Arc<S>, more: Router) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready::<S>))
        .route("/metrics", get(expose::<S>))
        .with_state(served)
        .merge(more);
    axum::serve(listener, router).await
}

async fn ready<S: Served>(State(served): State<Arc<S>>) -> (StatusCode, String) {
    match served.not_ready() {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn expose<S: Served>(State(served): State<Arc<S>>) -> (StatusCode, String) {
    let mut text = String::new();
    match encode(&mut text, served.registry()) {
        Ok(()) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
