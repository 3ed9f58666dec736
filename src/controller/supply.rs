//! What feeds each root: the signals that it names, as prices to plan with.

use super::snapshot::Snapshot;
use crate::api::PowerDomain;
use crate::core::plan::Supply;
use crate::core::steps::Steps;
use crate::units::{CarbonIntensity, Moment, PricePerTonne};
use std::collections::BTreeMap;

/// The weight of carbon where a root names none: about what a European allowance has cost. Any will do where carbon is
/// the only signal; with a price beside it this is a choice, and `carbonPricePerTonne` makes it another.
const CARBON_PRICE: PricePerTonne = PricePerTonne::units(70);

/// The supply of each root, in their order.
///
/// Where a root's signal is missing or stale, it is priced at the highest that any other root's will be: what is not
/// known is never read as green, and work never moves to a root since its signal has failed.
#[must_use]
pub fn supplies(snapshot: &Snapshot, roots: &[&PowerDomain]) -> Vec<Supply> {
    let carbon = |root: &PowerDomain| root.spec.signals.as_ref()?.carbon.clone();
    let price = |root: &PowerDomain| root.spec.signals.as_ref()?.price.clone();
    let worst_carbon = worst(&snapshot.carbon, roots.iter().filter_map(|root| carbon(root)), snapshot.now);
    let worst_price = worst(&snapshot.price, roots.iter().filter_map(|root| price(root)), snapshot.now);
    let supply = |root: &&PowerDomain| {
        let carbon = carbon(root).and_then(|name| snapshot.carbon.get(&name));
        let price = price(root).and_then(|name| snapshot.price.get(&name));
        let weight = root.spec.carbon_price_per_tonne.map_or(CARBON_PRICE, PricePerTonne::units);
        let mut moments: Vec<Moment> = Vec::new();
        for steps in [carbon, price].into_iter().flatten() {
            moments.extend(steps.changes_between(Moment(0), Moment::FAR_FUTURE));
        }
        let at = |moment: Moment| {
            let energy = price.map_or(worst_price, |steps| steps.at(moment));
            let intensity = carbon.map_or(worst_carbon, |steps| steps.at(moment));
            energy + weight.per_mwh(CarbonIntensity(intensity)).0
        };
        Supply {
            price: Steps::new(at(Moment(0)), moments.into_iter().map(|moment| (moment, at(moment)))),
            intensity: carbon.map(|steps| steps.map(CarbonIntensity)),
            own: None,
        }
    };
    roots.iter().map(supply).collect()
}

/// The highest value that any of the named signals has from now on; zero where none is known.
fn worst(known: &BTreeMap<String, Steps<i64>>, names: impl Iterator<Item = String>, now: Moment) -> i64 {
    names.filter_map(|name| Some(known.get(&name)?.highest(now, Moment::FAR_FUTURE))).max().unwrap_or(0)
}
