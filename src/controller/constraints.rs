//! What binds plans in the cluster beside caps: the ramps of its domains.

use super::snapshot::Snapshot;
use crate::core::domain::DomainTree;
use crate::core::plan::{Constraints, RampLimit};
use crate::units::Watts;

/// The ramps that domains say, so that a plan starts no more in a slot than leases let rise.
pub(super) fn constraints(snapshot: &Snapshot, tree: &DomainTree) -> Constraints {
    let each = snapshot.domains.iter().filter_map(|domain| {
        let id = tree.find(domain.metadata.name.as_deref()?)?;
        let (up, down) = (domain.spec.ramp_up_watts_per_second, domain.spec.ramp_down_watts_per_second);
        (up.is_some() || down.is_some()).then(|| RampLimit { domain: id, up: up.map(Watts), down: down.map(Watts) })
    });
    Constraints { ramps: each.collect(), ..Constraints::default() }
}
