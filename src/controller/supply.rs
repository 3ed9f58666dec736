//! What feeds each root: the signals that it names, as prices to plan with.

use super::snapshot::Snapshot;
use crate::api::PowerDomain;
use crate::core::domain::{DomainId, DomainTree};
use crate::core::plan::{Pool, Supply};
use crate::core::steps::Steps;
use crate::units::{CarbonIntensity, Moment, PricePerTonne, Watts};
use std::collections::BTreeMap;

/// The weight of carbon where a root names none: about what a European allowance has cost. Any will do where carbon is
/// the only signal; with a price beside it this is a choice, and `carbonPricePerTonne` makes it another.
const CARBON_PRICE: PricePerTonne = PricePerTonne::units(70);

/// What the grid's kWh counts as, in mg, where something is generated and nobody says what the grid costs. A guess: any amount makes the roof's
/// watts worth having.
const UNSAID: i64 = 480_000;

fn generation(root: &PowerDomain) -> Option<&str> {
    root.spec.signals.as_ref()?.generation.as_deref()
}

/// What is generated at each root, in the order of `supplies`, beyond what draws there anyway: baselines and idle nodes, as the root sees
/// them. Of what nothing is known, nothing is generated. One signal is one roof: that a root names one which feeds another is noted.
#[must_use]
pub fn own(
    snapshot: &Snapshot,
    roots: &[DomainId],
    tree: &DomainTree,
    pools: &[Pool],
    notes: &mut Vec<(String, String)>,
) -> Vec<Option<Steps<i64>>> {
    let mut taken = BTreeMap::<&str, &str>::new();
    let each = roots.iter().map(|id| {
        let name = tree.get(*id).spec.name.as_str();
        let signal = generation(snapshot.domain(name)?)?;
        if let Some(other) = taken.get(signal) {
            let text = format!("what {signal} says is generated feeds {other} already: it is not counted twice");
            notes.push((name.to_owned(), text));
            return None;
        }
        taken.insert(signal, name);
        let idle = drawn_anyway(*id, tree, pools);
        Some(snapshot.generation.get(signal)?.map(|watts| watts.saturating_sub(idle.0).max(0)))
    });
    each.collect()
}

/// Baselines and idle nodes below a root, as it sees them.
fn drawn_anyway(root: DomainId, tree: &DomainTree, pools: &[Pool]) -> Watts {
    let seen = |below: DomainId, watts: Watts| -> Watts {
        tree.seen_from_above(below, watts).filter(|(above, _)| *above == root).map(|(_, watts)| watts).sum()
    };
    // a baseline is a figure of its own domain's feed, so only what is above adds overhead to it
    let baselines = tree.iter().map(|(id, domain)| match domain.parent {
        Some(parent) => seen(parent, domain.spec.baseline),
        None if id == root => domain.spec.baseline,
        None => Watts::ZERO,
    });
    baselines.chain(pools.iter().map(|pool| seen(pool.domain, pool.idle))).sum()
}

/// The supply of each root, in their order.
///
/// Where a root's signal is missing or stale, it is priced at the highest that any other root's will be: what is not
/// known is never read as green, and work never moves to a root since its signal has failed.
#[must_use]
pub fn supplies(snapshot: &Snapshot, roots: &[&PowerDomain]) -> Vec<Supply> {
    let carbon = |root: &PowerDomain| root.spec.signals.as_ref()?.carbon.clone();
    let price = |root: &PowerDomain| root.spec.signals.as_ref()?.price.clone();
    let worst_carbon = worst(&snapshot.carbon, roots.iter().filter_map(|root| carbon(root)), snapshot.now);
    let is_priced = roots.iter().any(|root| carbon(root).is_some() || price(root).is_some());
    let generates = roots.iter().any(|root| generation(root).is_some());
    // the same for all, so that none is preferred for what nobody says
    let worst_carbon = if generates && !is_priced { UNSAID } else { worst_carbon };
    let worst_price = worst(&snapshot.price, roots.iter().filter_map(|root| price(root)), snapshot.now);
    let supply = |root: &&PowerDomain| {
        let names = (carbon(root), price(root));
        let carbon = names.0.as_ref().and_then(|name| snapshot.carbon.get(name));
        let price = names.1.as_ref().and_then(|name| snapshot.price.get(name));
        let weight = root.spec.carbon_price_per_tonne.map_or(CARBON_PRICE, PricePerTonne::units);
        let both = |carbon: Option<&Steps<i64>>, price: Option<&Steps<i64>>| {
            let mut moments: Vec<Moment> = Vec::new();
            for steps in [carbon, price].into_iter().flatten() {
                moments.extend(steps.changes_between(Moment(0), Moment::FAR_FUTURE));
            }
            let at = |moment: Moment| {
                let energy = price.map_or(worst_price, |steps| steps.at(moment));
                let intensity = carbon.map_or(worst_carbon, |steps| steps.at(moment));
                energy + weight.per_mwh(CarbonIntensity(intensity)).0
            };
            Steps::new(at(Moment(0)), moments.into_iter().map(|moment| (moment, at(moment))))
        };
        let high = |name: &Option<String>| name.as_ref().and_then(|name| snapshot.high.get(name));
        let highs = (high(&names.0), high(&names.1));
        let is_guessed = highs.0.is_some() || highs.1.is_some();
        Supply {
            high: is_guessed.then(|| both(highs.0.or(carbon), highs.1.or(price))),
            intensity: carbon.map(|steps| steps.map(CarbonIntensity)),
            ..Supply::at(both(carbon, price))
        }
    };
    roots.iter().map(supply).collect()
}

/// The highest value that any of the named signals has from now on; zero where none is known.
fn worst(known: &BTreeMap<String, Steps<i64>>, names: impl Iterator<Item = String>, now: Moment) -> i64 {
    names.filter_map(|name| Some(known.get(&name)?.highest(now, Moment::FAR_FUTURE))).max().unwrap_or(0)
}
