//! What a load draws, as its domain, its root, and a bound see it.

use super::points::seconds_for;
use super::{Load, PoolId, Problem, Workload};
use crate::core::domain::DomainId;
use crate::units::{Moment, Watts};

/// What a load draws in its pool, with its hosts all brought into use by it.
pub(super) fn with_hosts(problem: &Problem, pool: PoolId, load: Load) -> Watts {
    let pool = problem.pool(pool);
    load.watts + pool.host_extra.times(load.hosts.min(pool.nodes))
}

/// What a load draws as its root sees it, with its hosts all brought into use by it.
pub(super) fn root_watts(problem: &Problem, pool: PoolId, load: Load) -> i64 {
    let own = with_hosts(problem, pool, load);
    problem.tree.seen_from_above(problem.pool(pool).domain, own).last().map_or(own.0, |(_, watts)| watts.0)
}

/// What a load draws as a domain sees it, with its hosts all brought into use by it; none where the domain does not feed it.
pub(super) fn seen_at(problem: &Problem, domain: DomainId, pool: PoolId, load: Load) -> Option<i64> {
    let own = with_hosts(problem, pool, load);
    let mut chain = problem.tree.seen_from_above(problem.pool(pool).domain, own);
    chain.find(|(above, _)| *above == domain).map(|(_, watts)| watts.0)
}

/// What a load adds in its pool at least. Hosts in use are never more than the pool has, so where loads share them each is
/// charged the smaller of its hosts and its part of all hosts by its accelerators: the sum of these is never above what is drawn.
pub(super) fn watts_at_least(problem: &Problem, pool: PoolId, load: Load) -> f64 {
    let pool = problem.pool(pool);
    let part = f64::from(load.accelerators) * f64::from(pool.nodes) / f64::from(pool.accelerators.max(1));
    load.watts.0 as f64 + pool.host_extra.0 as f64 * part.min(f64::from(load.hosts))
}

/// What a workload draws if it goes on as it runs: where, what, and until its work is done. None while it waits.
pub(super) fn going_on(problem: &Problem, workload: &Workload) -> Option<(PoolId, Load, Moment)> {
    let (pool, load) = workload.running_load()?;
    let pace = workload.running?.pace;
    Some((pool, load, problem.now + seconds_for(workload.work(), i128::from(pace.per_million()))))
}
