//! Everything that one cycle looks at, at one moment.

use crate::api::{AcceleratorProfile, Grant, LLMWorkload, PowerDomain};
use crate::core::steps::Steps;
use crate::units::{Moment, PricePerTonne};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The objects of one moment. Those that can't be parsed are not among them.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What time it is.
    pub now: Moment,
    /// All domains, as the API server has them at this moment: their ledgers are what swaps are made against.
    pub domains: Vec<PowerDomain>,
    /// All profiles.
    pub profiles: Vec<AcceleratorProfile>,
    /// All workloads.
    pub workloads: Vec<LLMWorkload>,
    /// All Jobs.
    pub jobs: Vec<Arc<Job>>,
    /// All pods.
    pub pods: Vec<Arc<Pod>>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Value of each PriorityClass.
    pub priorities: BTreeMap<String, i32>,
    /// Namespaces whose Jobs are all managed.
    pub managed_namespaces: BTreeSet<String>,
    /// Carbon intensity in mg/kWh, as far as known.
    pub carbon: Option<Steps<i64>>,
    /// Price in millionths per MWh, as far as known.
    pub price: Option<Steps<i64>>,
}

/// The weight of carbon where a root names none: about what a European allowance has cost. Any will do where carbon is
/// the only signal; with a price beside it this is a choice, and `carbonPricePerTonne` makes it another.
const CARBON_PRICE: PricePerTonne = PricePerTonne::units(70);

impl Snapshot {
    /// The domain of a name.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&PowerDomain> {
        self.domains.iter().find(|domain| domain.metadata.name.as_deref() == Some(name))
    }

    /// All grants of all ledgers.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        let ledgers = self.domains.iter().filter_map(|domain| domain.status.as_ref()?.ledger.as_ref());
        ledgers.flat_map(|ledger| &ledger.grants)
    }

    /// The price of energy and carbon together, in millionths per MWh.
    #[must_use]
    pub fn combined_price(&self) -> Steps<i64> {
        let said = self.domains.iter().find_map(|domain| domain.spec.carbon_price_per_tonne);
        let weight = said.map_or(CARBON_PRICE, PricePerTonne::units);
        let mut moments = vec![self.now];
        for steps in [&self.carbon, &self.price].into_iter().flatten() {
            moments.extend(steps.changes_between(Moment(0), Moment::FAR_FUTURE));
        }
        let at = |moment: Moment| {
            let energy = self.price.as_ref().map_or(0, |steps| steps.at(moment));
            let carbon = self.carbon.as_ref().map(|steps| crate::units::CarbonIntensity(steps.at(moment)));
            energy + carbon.map_or(0, |intensity| weight.per_mwh(intensity).0)
        };
        Steps::new(at(self.now), moments.into_iter().map(|moment| (moment, at(moment))).collect::<Vec<_>>())
    }
}
