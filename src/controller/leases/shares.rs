//! The limits of single accelerators inside the leases of nodes on which several workloads are. Values in, values out.
//!
//! Nothing is safe by them: an agent holds the sum of its lease whatever they say. Where a node has less than its whole lease, it
//! lowers all that is above the lowest limits in proportion, until leases are written for the new cap.

use super::kids::Kid;
use super::works::Together;
use crate::api::{AcceleratorShare, ChildKey};
use crate::core::divide::Group;
use crate::units::Watts;
use std::collections::BTreeMap;

/// Limits that differ by no more than this, in hundredths, are the same: no lease is written for them alone.
const SAME_PERCENT: u32 = 1;

/// By node: its shares; none where all its accelerators have one limit and no clock is locked.
pub(super) type Shares = BTreeMap<ChildKey, Vec<AcceleratorShare>>;

/// The shares of all nodes under leases of these watts.
///
/// A gang on several nodes gets the same limit on each of them that it shares with others: it runs at its slowest accelerator, so
/// what it would have above that does more for those beside it.
pub(super) fn shares(children: &BTreeMap<ChildKey, Kid>, watts: impl Fn(&ChildKey) -> Option<Watts>) -> Shares {
    let leased: Vec<(&ChildKey, &Kid, Watts)> =
        children.iter().filter_map(|(key, kid)| Some((key, kid, kid.scale.limits(watts(key)?)))).collect();
    let mut slowest: BTreeMap<&str, (usize, Watts)> = BTreeMap::new();
    for (_, kid, limits) in &leased {
        for (part, limit) in kid.together.iter().zip(limits_of(kid, *limits, |_| None)) {
            let Some(gang) = part.gang.as_deref() else { continue };
            let (nodes, slowest) = slowest.entry(gang).or_insert((0, limit));
            *nodes += 1;
            *slowest = limit.min(*slowest);
        }
    }
    let everywhere = |gang: &str| slowest.get(gang).filter(|(nodes, _)| *nodes > 1).map(|(_, limit)| *limit);
    let is_locked = |kid: &Kid| kid.together.iter().any(|part| part.clocks.is_some());
    let several = leased.into_iter().filter(|(_, kid, _)| kid.together.len() > 1 || is_locked(kid));
    let of_node = |(key, kid, limits): (&ChildKey, &Kid, Watts)| {
        let share = |(part, limit): (&Together, Watts)| {
            let clock_megahertz = part.clocks.as_ref().and_then(|clocks| i32::try_from(clocks.at(limit)).ok());
            let share =
                move |uuid: &String| AcceleratorShare { uuid: uuid.clone(), limit_watts: limit.0, clock_megahertz };
            part.uuids.iter().map(share).collect::<Vec<_>>()
        };
        let parts = kid.together.iter().zip(limits_of(kid, limits, everywhere));
        let mut shares: Vec<AcceleratorShare> = parts.flat_map(share).collect();
        shares.sort_by(|a, b| a.uuid.cmp(&b.uuid));
        (key.clone(), shares)
    };
    several.map(of_node).collect()
}

/// The limit of each part of a node, those of gangs as they are everywhere.
fn limits_of(kid: &Kid, limits: Watts, everywhere: impl Fn(&str) -> Option<Watts>) -> Vec<Watts> {
    let group = |part: &Together| match part.gang.as_deref().and_then(&everywhere) {
        Some(limit) => part.group.held_at(limit),
        None => part.group.clone(),
    };
    Group::limits(limits, &kid.together.iter().map(group).collect::<Vec<_>>())
}

/// Are these limits of other accelerators, other limits, or other clocks?
pub(super) fn differ(old: &[AcceleratorShare], new: &[AcceleratorShare]) -> bool {
    let is_near = |(old, new): (&AcceleratorShare, &AcceleratorShare)| {
        let (watts, apart) = (Watts(old.limit_watts), (old.limit_watts - new.limit_watts).abs());
        old.uuid == new.uuid
            && old.clock_megahertz == new.clock_megahertz
            && Watts(apart) <= watts.percent(SAME_PERCENT)
    };
    old.len() != new.len() || !old.iter().zip(new).all(is_near)
}
