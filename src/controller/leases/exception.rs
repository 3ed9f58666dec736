//! What is done where a domain is above its cap for longer than its correction time. Values in, values out.

use crate::api::ExceptionAction;
use crate::controller::leased::Leases;
use crate::controller::world::World;
use crate::core::admit::{Action, Cycle, Reason};
use crate::core::domain::DomainId;
use crate::core::plan::{PoolId, Suspension};
use crate::units::Watts;

/// Suspends all that may be suspended, and starts nothing, in each domain whose `exceptionAction` says so.
pub fn stop(world: &World, leases: &Leases, decided: &mut Cycle) {
    let tree = &world.site.tree;
    let over: Vec<(DomainId, Watts)> = leases
        .domains
        .iter()
        .filter_map(|(name, leases)| {
            let (over, action) = leases.over?;
            (action != ExceptionAction::Report).then_some((tree.find(name)?, over))
        })
        .collect();
    if over.is_empty() {
        return;
    }
    let above = |pool: PoolId| {
        over.iter().find(|(domain, _)| tree.chain(world.site.pools[pool.0].domain).any(|above| above == *domain))
    };
    decided.actions.retain(|action| match action {
        Action::Start { pool, .. } => above(*pool).is_none(),
        Action::Suspend { .. } => true,
        // of what is about to be stopped here nobody is asked first, nor given more
        Action::AskForCheckpoint { id } | Action::ChangePace { id, .. } => {
            let running = world.problem.workload(id).and_then(|workload| workload.running);
            running.is_none_or(|running| above(running.pool).is_none())
        }
    });
    for (workload, verdict) in world.problem.workloads.iter().zip(&mut decided.verdicts) {
        let Some((domain, over)) = workload.running.and_then(|running| above(running.pool)) else { continue };
        let is_told =
            decided.actions.iter().any(|action| matches!(action, Action::Suspend { id, .. } if *id == workload.id));
        if workload.suspension == Suspension::Never || is_told {
            continue;
        }
        let spec = &tree.get(*domain).spec;
        let cap = spec.cap.at(world.problem.now);
        let reason = Reason::CapFell { domain: spec.name.clone(), committed: cap + *over, cap };
        verdict.reason = reason.clone();
        decided.actions.push(Action::Suspend { id: workload.id.clone(), reason });
    }
}
