//! Who must stop because a cap has fallen, or is about to.

use super::{Reason, throttle};
use crate::core::domain::DomainId;
use crate::core::plan::{Asking, Ledger, Problem, Running, Suspension, Workload};
use crate::units::{Seconds, Watts};
use std::collections::BTreeSet;

/// Who is to stop, and who is to write a checkpoint first.
#[derive(Debug, Default)]
pub(super) struct Victims {
    /// To be stopped now.
    pub stop: Vec<(usize, Reason)>,
    /// To be stopped as soon as they have written a checkpoint: there is time for it.
    pub ask: Vec<(usize, Reason)>,
}

/// The workloads to stop, each with its reason, so that within `lead` every domain is under the lowest cap that it
/// has in that time. As few and as cheap ones as a greedy choice finds; protected ones never.
///
/// What is already stopping counts as gone by the end of the lead, unless it is known to draw for longer.
///
/// Some take longer to stop than `lead`. They are asked sooner, at the end of their own lead; whoever would then do instead and
/// stops more quickly is not stopped yet, but found again in time.
///
/// Those that can be asked for a checkpoint are asked sooner still, by what that may take: whoever is found only in that longer
/// time goes on until it has written one. Where throttling would do by then, nobody is asked.
pub(super) fn victims(problem: &Problem, lead: Seconds) -> Victims {
    let lead_of = |i: usize| lead + problem.workloads[i].stops_later_by;
    let stop = by_leads(problem, lead, &[], &lead_of);
    let patience = |i: usize| match problem.workloads[i].running.map(|running| running.asking) {
        Some(Asking::Within(within) | Asking::Asked { within, .. }) => within,
        _ => Seconds::ZERO,
    };
    let longest = (0..problem.workloads.len()).map(patience).max().unwrap_or(Seconds::ZERO);
    if longest == Seconds::ZERO {
        return Victims { stop, ask: Vec::new() };
    }
    let mut later = problem.clone();
    throttle(&mut later, lead + longest);
    let ask = by_leads(&later, lead, &stop, &|i| lead_of(i) + patience(i));
    Victims { stop, ask }
}

/// The workloads to stop besides those `before`, where each must be told by its own lead before a cap falls.
fn by_leads(
    problem: &Problem,
    lead: Seconds,
    before: &[(usize, Reason)],
    own: &dyn Fn(usize) -> Seconds,
) -> Vec<(usize, Reason)> {
    let running = (0..problem.workloads.len()).filter(|i| problem.workloads[*i].running.is_some());
    let leads: BTreeSet<Seconds> = running.map(own).chain([lead]).collect();
    let mut stopped = before.to_vec();
    for window in leads {
        let found = within(problem, window, &stopped, &|i| own(i) > window);
        stopped.extend(found.into_iter().filter(|(i, _)| own(*i) >= window));
    }
    stopped.split_off(before.len())
}

/// The workloads to stop besides those `before`, so that at the end of `lead` every domain is under the lowest cap that it has
/// until then. Who `is_late`, whatever is done, only where the others don't do.
fn within(
    problem: &Problem,
    lead: Seconds,
    before: &[(usize, Reason)],
    is_late: &dyn Fn(usize) -> bool,
) -> Vec<(usize, Reason)> {
    // A second at least: the cap that holds now is one of those that count.
    let until = problem.now + Seconds(lead.0.max(1));
    let mut ledger = Ledger::idle(problem);
    for fixed in problem.fixed.iter().filter(|fixed| fixed.until > until) {
        ledger.add(fixed.pool, fixed.load, problem.now, until);
    }
    let is_stopped = |i: &usize| before.iter().any(|(known, _)| known == i);
    let running: Vec<usize> =
        (0..problem.workloads.len()).filter(|i| problem.workloads[*i].running.is_some() && !is_stopped(i)).collect();
    for &i in &running {
        change(&mut ledger, problem, i, until, true);
    }
    let mut stopped: Vec<(usize, Reason)> = Vec::new();
    let domains: Vec<DomainId> = problem.tree.iter().map(|(id, _)| id).collect();
    for &domain in &domains {
        loop {
            let free = ledger.lowest_free(domain, problem.now, until);
            if free >= Watts::ZERO {
                break;
            }
            let next = running
                .iter()
                .copied()
                .filter(|i| stopped.iter().all(|(known, _)| known != i))
                .filter(|i| problem.workloads[*i].suspension != Suspension::Never)
                .filter(|i| draws_through(problem, &problem.workloads[*i], domain))
                .min_by_key(|i| (is_late(*i), loss(problem, &problem.workloads[*i])));
            let Some(i) = next else { break }; // nothing left to stop: the domain's status says by how much it is over
            change(&mut ledger, problem, i, until, false);
            let spec = &problem.tree.get(domain).spec;
            let cap = spec.cap.lowest(problem.now, until);
            stopped.push((i, Reason::CapFell { domain: spec.name.clone(), committed: cap - free, cap }));
        }
    }
    // A later, larger victim may have made an earlier one needless: the dearest to stop first.
    let mut spared = stopped.clone();
    spared.sort_by_key(|(i, _)| std::cmp::Reverse((is_late(*i), loss(problem, &problem.workloads[*i]))));
    for (i, _) in spared {
        change(&mut ledger, problem, i, until, true);
        let still_over = domains.iter().any(|domain| {
            draws_through(problem, &problem.workloads[i], *domain)
                && ledger.lowest_free(*domain, problem.now, until) < Watts::ZERO
        });
        if still_over {
            change(&mut ledger, problem, i, until, false);
        } else {
            stopped.retain(|(known, _)| *known != i);
        }
    }
    stopped
}

fn change(ledger: &mut Ledger<'_>, problem: &Problem, i: usize, until: crate::units::Moment, add: bool) {
    let workload = &problem.workloads[i];
    let Some((pool, load)) = workload.running_load() else { return };
    if add {
        ledger.add(pool, load, problem.now, until);
    } else {
        ledger.remove(pool, load, problem.now, until);
    }
}

fn draws_through(problem: &Problem, workload: &Workload, domain: DomainId) -> bool {
    workload.running.is_some_and(|running| problem.tree.chain(problem.pool(running.pool).domain).any(|id| id == domain))
}

/// What stopping costs: who declared a checkpoint first, the lowest priority first, who was asked for one already, then the least
/// watt-seconds lost: what it did since its last checkpoint, and what stopping and coming back takes.
fn loss(problem: &Problem, workload: &Workload) -> impl Ord + use<> {
    let (declared, cost) = match workload.suspension {
        Suspension::ForSupply { cost } => (0, cost),
        Suspension::ForCapOnly | Suspension::Never => (1, Seconds::ZERO),
    };
    let asking = workload.running.map(|running| running.asking);
    let undone = match workload.running {
        Some(Running { asking: Asking::AtTheEnd, .. }) | None => Seconds::ZERO,
        Some(running) => problem.now - running.kept,
    };
    let watts = workload.running_load().map_or(Watts::ZERO, |(_, load)| load.watts);
    let is_new = !matches!(asking, Some(Asking::Asked { .. }));
    (declared, workload.priority, is_new, watts.over(undone + cost), workload.id.clone())
}
