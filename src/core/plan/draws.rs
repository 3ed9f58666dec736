//! What a load draws, as its domain, its root, and a bound see it.

use super::{Load, PoolId, Problem};
use crate::core::domain::DomainId;

/// What a load draws as its root sees it, with its hosts all brought into use by it.
pub(super) fn root_watts(problem: &Problem, pool: PoolId, load: Load) -> i64 {
    let pool = problem.pool(pool);
    let own = load.watts + pool.host_extra.times(load.hosts.min(pool.nodes));
    problem.tree.seen_from_above(pool.domain, own).last().map_or(own.0, |(_, watts)| watts.0)
}

/// What a load draws as a domain sees it, with its hosts all brought into use by it; none where the domain does not feed it.
pub(super) fn seen_at(problem: &Problem, domain: DomainId, pool: PoolId, load: Load) -> Option<i64> {
    let pool = problem.pool(pool);
    let own = load.watts + pool.host_extra.times(load.hosts.min(pool.nodes));
    let mut chain = problem.tree.seen_from_above(pool.domain, own);
    chain.find(|(above, _)| *above == domain).map(|(_, watts)| watts.0)
}

/// What a load adds in its pool at least. Hosts in use are never more than the pool has, so where loads share them each is
/// charged the smaller of its hosts and its part of all hosts by its accelerators: the sum of these is never above what is drawn.
pub(super) fn watts_at_least(problem: &Problem, pool: PoolId, load: Load) -> f64 {
    let pool = problem.pool(pool);
    let part = f64::from(load.accelerators) * f64::from(pool.nodes) / f64::from(pool.accelerators.max(1));
    load.watts.0 as f64 + pool.host_extra.0 as f64 * part.min(f64::from(load.hosts))
}
