//! What runs is throttled before anything is stopped: as much as the caps ask for, everyone by the same share of what it can
//! give.

use crate::core::domain::DomainId;
use crate::core::plan::{Ledger, Load, PoolId, Problem};
use crate::units::{Moment, Seconds, Watts};

/// Lowers the loads of what runs where accelerators can be throttled, so that within `lead` every domain is under its cap, or
/// everything is at the least that it can be held to. What is left over is for [`super::cycle()`] to stop.
pub fn throttle(problem: &mut Problem, lead: Seconds) {
    let until = problem.now + Seconds(lead.0.max(1));
    if problem.pools.iter().all(|pool| pool.least.is_none()) {
        return;
    }
    // from the leaves up: what is throttled for a row counts at its site already
    let domains: Vec<DomainId> = problem.tree.iter().map(|(id, _)| id).collect();
    let mut free: Vec<Watts> = free(problem, until);
    for domain in domains.into_iter().rev() {
        let over = Watts::ZERO - free[domain.0];
        if over <= Watts::ZERO {
            continue;
        }
        let give: Vec<(usize, Watts)> = problem
            .workloads
            .iter()
            .enumerate()
            .filter_map(|(i, workload)| {
                let (pool, load) = workload.running_load()?;
                let below = problem.tree.chain(problem.pool(pool).domain).any(|id| id == domain);
                let slack = slack(problem, pool, load)?;
                (below && slack > Watts::ZERO).then_some((i, slack))
            })
            .collect();
        let all: Watts = give.iter().map(|(_, slack)| *slack).sum();
        for (i, slack) in give {
            // rounded up: the sum must come under the cap
            let all = i128::from(all.0.max(1));
            let share = (i128::from(slack.0) * i128::from(over.0) + all - 1) / all;
            let less = Watts(i64::try_from(share).unwrap_or(i64::MAX)).min(slack);
            let workload = &mut problem.workloads[i];
            let here = workload.running.map(|running| (running.pool, running.pace));
            for choice in workload.choices.iter_mut().filter(|choice| Some((choice.pool, choice.pace)) == here) {
                choice.load.watts -= less;
            }
        }
        free = self::free(problem, until);
    }
}

/// What is free at each domain until then, under all that draws.
fn free(problem: &Problem, until: Moment) -> Vec<Watts> {
    let mut ledger = Ledger::fixed(problem);
    for workload in &problem.workloads {
        if let Some((pool, load)) = workload.running_load() {
            ledger.add(pool, load, problem.now, Moment::FAR_FUTURE);
        }
    }
    problem.tree.iter().map(|(domain, _)| ledger.lowest_free(domain, problem.now, until)).collect()
}

/// What a load can give by being throttled as far as it goes; none where nothing throttles.
fn slack(problem: &Problem, pool: PoolId, load: Load) -> Option<Watts> {
    let least = problem.pool(pool).least?.times(load.accelerators);
    Some((load.watts - least).max(Watts::ZERO))
}
