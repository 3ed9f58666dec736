//! One cycle: stop what must stop, plan, start what may start, and give everyone a reason.

use super::hurry::hurried;
use super::reason::{Reason, Slow, Verdict};
use super::victims::{Victims, victims};
use crate::core::domain::DomainId;
use crate::core::plan::checker::{Note, check};
use crate::core::plan::{
    Asking, Entry, Fixed, Ledger, Load, Pace, Policy, Pool, PoolChoice, PoolId, PowerPlan, Problem, Run, Shortage,
    Workload, WorkloadId,
};
use crate::units::{CarbonIntensity, Moment, Seconds, Watts};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a workload in a pool. Its watts are committed first.
    Start {
        /// Which.
        id: WorkloadId,
        /// Where.
        pool: PoolId,
        /// At which of its points there.
        pace: Pace,
        /// What it adds there.
        load: Load,
    },
    /// Let a running workload go on at another of its points in its pool: that is no stop. Those that draw less from then on come
    /// before those that draw more.
    ChangePace {
        /// Which.
        id: WorkloadId,
        /// At which point from now on.
        pace: Pace,
        /// What it adds to its pool then.
        load: Load,
    },
    /// Ask a workload for a checkpoint: it goes on until it has written one, and is stopped then.
    AskForCheckpoint {
        /// Which.
        id: WorkloadId,
    },
    /// Stop a workload and keep its place. Its watts stay committed until it is seen to be gone.
    Suspend {
        /// Which.
        id: WorkloadId,
        /// Why.
        reason: Reason,
    },
}

/// The figures of one domain at the moment of the cycle, before its actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainFigures {
    /// Which domain.
    pub domain: DomainId,
    /// What it may draw now.
    pub cap: Watts,
    /// The highest draw that can still happen under what was granted: baseline, idle draw and workloads.
    pub committed: Watts,
    /// What draws there with nothing running: baseline and idle nodes. No decision brings it lower.
    pub idle: Watts,
}

/// What one cycle decided.
#[derive(Debug, Clone)]
pub struct Cycle {
    /// The plan it made.
    pub plan: Arc<PowerPlan>,
    /// What is to be done now, in this order.
    pub actions: Vec<Action>,
    /// One for each workload, in the problem's order.
    pub verdicts: Vec<Verdict>,
    /// One for each domain, in the tree's order.
    pub domains: Vec<DomainFigures>,
    /// What the checker refuses of the plan: nothing of it is among the actions. Empty, or a planner has a fault that
    /// must be told.
    pub refused: Vec<Note>,
}

/// Decides everything for one moment. `stop_lead` is how long a stopping workload may go on drawing, as a rule:
/// what must be under a cap that falls within that time is stopped already.
#[must_use]
pub fn cycle(problem: &Problem, policy: &dyn Policy, stop_lead: Seconds) -> Cycle {
    // 1. What draws now, whatever is decided next.
    let mut now = Ledger::fixed(problem);
    let instant = problem.now + Seconds(1);
    for workload in &problem.workloads {
        if let Some((pool, load)) = workload.running_load() {
            now.add(pool, load, problem.now, Moment::FAR_FUTURE);
        }
    }
    let idle = Ledger::idle(problem);
    let domains = problem.tree.iter().map(|(domain, _)| figures(problem, &now, &idle, domain)).collect();

    // 2. Who goes on with fewer watts from now on, as was planned: a cap that falls now may have been planned for so. Then who must
    //    stop for a cap. From here on they wait, and their watts are gone after the lead.
    //    Who has time to write a checkpoint is asked first, and goes on meanwhile.
    let mut after = problem.clone();
    let mut paces: BTreeMap<WorkloadId, Pace> = BTreeMap::new();
    for workload in &mut after.workloads {
        if let Some((pace, less)) = planned_lower(problem, workload) {
            go_on_at(pace, less, workload, problem.now, &mut now);
            paces.insert(workload.id.clone(), pace);
        }
    }
    let mut stopped: BTreeMap<WorkloadId, Reason> = BTreeMap::new();
    let mut asked: BTreeMap<WorkloadId, Reason> = BTreeMap::new();
    let mut asks = Vec::new();
    let Victims { mut stop, ask } = victims(&after, stop_lead);
    let mut has_time = |workload: &Workload, then: Reason| match waits_for_checkpoint(problem.now, workload) {
        Some((until, is_new)) => {
            asks.extend(is_new.then(|| Action::AskForCheckpoint { id: workload.id.clone() }));
            asked.insert(workload.id.clone(), Reason::CheckpointAsked { until, then: Box::new(then) });
            None
        }
        None => Some(then),
    };
    for (i, then) in ask {
        stop.extend(has_time(&problem.workloads[i], then).map(|reason| (i, reason)));
    }
    for (i, reason) in stop {
        let workload = &mut after.workloads[i];
        if let Some((pool, load)) = workload.running_load() {
            after.fixed.push(Fixed { pool, load, until: problem.now + stop_lead + workload.stops_later_by });
            if stop_lead == Seconds::ZERO {
                now.remove(pool, load, problem.now, Moment::FAR_FUTURE);
            }
        }
        workload.running = None;
        stopped.insert(workload.id.clone(), reason);
    }
    //    Who runs slower than at full, can't be stopped, and would be late so, goes on faster.
    for workload in &mut after.workloads {
        if let Some((pace, more)) = hurried(problem, workload, &mut now) {
            go_on_at(pace, more, workload, problem.now, &mut now);
            paces.insert(workload.id.clone(), pace);
        }
    }

    // 3. The plan for all.
    let plan = Arc::new(policy.plan(&after));

    // 4. What the checker makes of it. A note on one workload leaves the others alone; one on a domain, a pool or the
    //    plan itself leaves only the suspensions of step 2.
    let refused = check(&after, &plan);
    let stands = |id: &WorkloadId| refused.iter().all(|note| note.workload().is_some_and(|about| *about != **id));

    // 5. Who pauses, since the plan has it run later.
    for (workload, entry) in after.workloads.iter().zip(&plan.entries) {
        let Some((pool, load)) = workload.running_load() else { continue };
        if entry.run_at(problem.now).is_some() || !stands(&workload.id) {
            continue;
        }
        // It would draw that long anyway, beside those that are stopping now and draw that long too.
        let gone = problem.now + stop_lead + workload.stops_later_by;
        if stop_lead > Seconds::ZERO && entry.runs.first().is_some_and(|run| run.pool == pool && run.start <= gone) {
            continue;
        }
        let saves_permille = saving(&after, workload, entry);
        let Some(reason) = has_time(workload, Reason::PausedForSupply { saves_permille }) else { continue };
        stopped.insert(workload.id.clone(), reason);
        if stop_lead == Seconds::ZERO {
            now.remove(pool, load, problem.now, Moment::FAR_FUTURE);
        }
    }

    // 6. Who goes on at another point: those that draw less first, then those for which there is room.
    let mut changes: Vec<(&Workload, Load, Pace, Load)> = Vec::new();
    for (workload, entry) in after.workloads.iter().zip(&plan.entries) {
        let (Some((pool, load)), Some(running), Some(run)) =
            (workload.running_load(), workload.running, entry.run_at(problem.now))
        else {
            continue;
        };
        let leaves = stopped.contains_key(&workload.id) || asked.contains_key(&workload.id);
        if run.pool != pool || run.pace == running.pace || leaves || !stands(&workload.id) {
            continue;
        }
        if let Some(then) = workload.load_at(pool, run.pace) {
            changes.push((workload, load, run.pace, then));
        }
    }
    changes.sort_by_key(|(workload, load, _, then)| (then.watts > load.watts, workload.id.clone()));
    for (workload, load, pace, then) in changes {
        let Some(running) = workload.running else { continue };
        now.remove(running.pool, load, problem.now, Moment::FAR_FUTURE);
        let fits = then.watts <= load.watts || now.fits(running.pool, then, problem.now, instant);
        now.add(running.pool, if fits { then } else { load }, problem.now, Moment::FAR_FUTURE);
        if fits {
            paces.insert(workload.id.clone(), pace);
        }
    }

    // 7. Who starts: planned to run now, and there is room for it in what draws now, not only in the plan. Where there is none
    // in the pool that it is planned into, another of its choices will do.
    let mut started: Vec<(WorkloadId, PoolChoice)> = Vec::new();
    let mut held: BTreeMap<WorkloadId, Reason> = BTreeMap::new();
    let mut pools = after.pools.clone();
    let mut ready: Vec<(&Workload, Run)> = after
        .workloads
        .iter()
        .zip(&plan.entries)
        .filter(|(workload, _)| workload.running.is_none() && !stopped.contains_key(&workload.id))
        .filter(|(workload, _)| stands(&workload.id))
        .filter_map(|(workload, entry)| Some((workload, entry.run_at(problem.now)?)))
        .collect();
    ready.sort_by_key(|(workload, _)| {
        let by = workload.finish_by.unwrap_or(Moment(i64::MIN));
        (std::cmp::Reverse(workload.priority), by, workload.arrival, workload.id.clone())
    });
    for (workload, planned) in ready {
        let mut choices = workload.choices.clone();
        choices.sort_by_key(|choice| choice.pool != planned.pool);
        // at the point that is planned, and elsewhere at full
        choices.retain(|choice| choice.pace == if choice.pool == planned.pool { planned.pace } else { Pace::FULL });
        for choice in choices {
            let PoolChoice { pool, load, .. } = choice;
            if !now.fits(pool, load, problem.now, instant) {
                continue;
            }
            match hindrance(&mut pools[pool.0], load) {
                Some(reason) => {
                    held.entry(workload.id.clone()).or_insert(reason);
                }
                None => {
                    now.add(pool, load, problem.now, Moment::FAR_FUTURE);
                    started.push((workload.id.clone(), choice));
                    break;
                }
            }
        }
    }

    // 8. A reason for everyone.
    let mut planned = Ledger::fixed(&after);
    for (workload, entry) in after.workloads.iter().zip(&plan.entries) {
        each_run(workload, entry, problem.now, |pool, load, from, to| planned.add(pool, load, from, to));
    }
    let verdicts = problem
        .workloads
        .iter()
        .zip(&after.workloads)
        .zip(&plan.entries)
        .map(|((original, workload), entry)| {
            let start = started.iter().find(|(id, _)| *id == workload.id);
            let ends = stopped.get(&workload.id).or_else(|| asked.get(&workload.id));
            let reason = match (ends, start, original.running) {
                (Some(reason), _, _) => reason.clone(),
                (None, Some(_), _) => Reason::Starting,
                (None, None, Some(_)) => Reason::Running,
                (None, None, None) => match held.remove(&workload.id) {
                    Some(reason) => reason,
                    None => waits(&after, &now, &mut planned, workload, entry),
                },
            };
            verdict(&after, workload, entry, reason)
        })
        .collect();
    let changes = changed(problem, &paces, &stopped);
    let suspensions = stopped.into_iter().map(|(id, reason)| Action::Suspend { id, reason });
    let starts =
        started.into_iter().map(|(id, PoolChoice { pool, pace, load })| Action::Start { id, pool, pace, load });
    let actions = suspensions.chain(asks).chain(changes).chain(starts).collect();
    Cycle { plan, actions, verdicts, domains, refused }
}

/// At which point a running workload was planned to go on from now on, where it draws less there.
fn planned_lower(problem: &Problem, workload: &Workload) -> Option<(Pace, Load)> {
    let (pool, load) = workload.running_load()?;
    let run = problem.previous.as_deref()?.entry(&workload.id)?.run_at(problem.now)?;
    let then = workload.load_at(pool, run.pace).filter(|_| run.pool == pool)?;
    (then.watts < load.watts).then_some((run.pace, then))
}

/// Lets a running workload go on at another of its points, in the ledger too.
fn go_on_at(pace: Pace, then: Load, workload: &mut Workload, at: Moment, now: &mut Ledger<'_>) {
    if let (Some((pool, load)), Some(running)) = (workload.running_load(), &mut workload.running) {
        now.remove(pool, load, at, Moment::FAR_FUTURE);
        now.add(pool, then, at, Moment::FAR_FUTURE);
        running.pace = pace;
    }
}

/// The changes of pace of those that go on, the ones to fewer watts first.
fn changed(
    problem: &Problem,
    paces: &BTreeMap<WorkloadId, Pace>,
    stopped: &BTreeMap<WorkloadId, Reason>,
) -> Vec<Action> {
    let each = paces.iter().filter_map(|(id, pace)| {
        let workload = problem.workload(id).filter(|_| !stopped.contains_key(id))?;
        let (pool, load) = workload.running_load()?;
        let then = workload.load_at(pool, *pace)?;
        let differs = workload.running.is_some_and(|running| running.pace != *pace);
        differs.then(|| (then.watts > load.watts, Action::ChangePace { id: id.clone(), pace: *pace, load: then }))
    });
    let mut each: Vec<(bool, Action)> = each.collect();
    each.sort_by_key(|(rises, _)| *rises);
    each.into_iter().map(|(_, action)| action).collect()
}

/// Until when a workload that is to stop is waited for, so that it writes a checkpoint, and whether it is yet to be asked; none
/// where it can't be asked, has answered, or has taken too long.
fn waits_for_checkpoint(now: Moment, workload: &Workload) -> Option<(Moment, bool)> {
    match workload.running?.asking {
        Asking::Within(within) => Some((now + within, true)),
        Asking::Asked { until, .. } if until > now => Some((until, false)),
        Asking::Asked { .. } | Asking::AtTheEnd | Asking::No => None,
    }
}

/// What else than watts and accelerators keeps a load out of a pool now. Takes its places there where nothing does.
fn hindrance(pool: &mut Pool, load: Load) -> Option<Reason> {
    if let Some(why) = &pool.frozen {
        return Some(Reason::Frozen { pool: pool.name.clone(), why: why.clone() });
    }
    if pool.take_places(load) {
        return None;
    }
    let each = load.accelerators.checked_div(load.hosts).unwrap_or(0);
    Some(Reason::NoPlace { pool: pool.name.clone(), pods: load.hosts, each })
}

fn figures(problem: &Problem, now: &Ledger<'_>, idle: &Ledger<'_>, domain: DomainId) -> DomainFigures {
    let cap = problem.tree.get(domain).spec.cap.at(problem.now);
    let drawn = |ledger: &Ledger<'_>| cap - ledger.free(domain, problem.now);
    DomainFigures { domain, cap, committed: drawn(now), idle: drawn(idle) }
}

fn each_run(workload: &Workload, entry: &Entry, now: Moment, mut f: impl FnMut(PoolId, Load, Moment, Moment)) {
    for run in &entry.runs {
        if let Some(load) = workload.load_at(run.pool, run.pace) {
            f(run.pool, load, run.start.max(now), run.end);
        }
    }
}

/// Why a workload that neither runs nor starts has to wait.
fn waits(problem: &Problem, now: &Ledger<'_>, planned: &mut Ledger<'_>, workload: &Workload, entry: &Entry) -> Reason {
    let Some(run) = entry.runs.first() else { return nowhere(problem, workload) };
    let instant = problem.now + Seconds(1);
    let shortages: Vec<Option<Shortage>> =
        workload.choices.iter().map(|c| now.shortage(c.pool, c.load, problem.now, instant)).collect();
    if shortages.iter().all(Option::is_some) {
        // of several pools, the one it is planned into
        let here = workload.choices.iter().position(|choice| choice.pool == run.pool);
        return match here.and_then(|i| shortages[i]) {
            Some(shortage) => short(problem, shortage),
            None => Reason::NoSuchAccelerator,
        };
    }
    // There is room at this moment. Is there room for the whole of it beside what the others are promised?
    // Surely where there is room beside its own place, too; else that is taken out to look.
    let until = problem.now + workload.remaining;
    let fits = |planned: &Ledger<'_>| workload.choices.iter().any(|c| planned.fits(c.pool, c.load, problem.now, until));
    let mut open = fits(planned);
    let mut taken = None;
    if !open {
        each_run(workload, entry, problem.now, |pool, load, from, to| planned.remove(pool, load, from, to));
        open = fits(planned);
        // where there is none, what stands in the way in the pool it is planned into
        let mut nearest: Vec<_> = workload.choices.iter().collect();
        nearest.sort_by_key(|choice| choice.pool != run.pool);
        taken = nearest.into_iter().find_map(|c| planned.shortage(c.pool, c.load, problem.now, until));
        each_run(workload, entry, problem.now, |pool, load, from, to| planned.add(pool, load, from, to));
    }
    match (open, taken) {
        (false, Some(shortage)) => {
            let domain = match shortage {
                Shortage::Headroom { domain, .. } => domain,
                Shortage::Accelerators { pool, .. } => problem.pool(pool).domain,
            };
            Reason::RoomIsPromised { domain: problem.tree.get(domain).spec.name.clone(), from: shortage.at() }
        }
        _ => {
            let mean = |steps: &crate::core::steps::Steps<CarbonIntensity>, runs: &[crate::core::plan::Run]| {
                let seconds: i64 = runs.iter().map(|run| (run.end - run.start).0).sum();
                let pieces = runs.iter().flat_map(|run| steps.pieces(run.start, run.end));
                let total: i128 = pieces.map(|(from, to, grams)| i128::from(grams.0) * i128::from((to - from).0)).sum();
                CarbonIntensity(i64::try_from(total / i128::from(seconds.max(1))).unwrap_or(i64::MAX))
            };
            let pool = entry.runs.first().map(|run| run.pool);
            let intensity = pool.and_then(|pool| problem.supply(pool).intensity.as_ref());
            Reason::GreenerSupplyLater {
                now: intensity.map(|steps| steps.at(problem.now)),
                planned: intensity.map(|steps| mean(steps, &entry.runs)),
                saves_permille: saving(problem, workload, entry),
            }
        }
    }
}

fn short(problem: &Problem, shortage: Shortage) -> Reason {
    match shortage {
        Shortage::Headroom { domain, needs, free, .. } => {
            Reason::NoHeadroom { domain: problem.tree.get(domain).spec.name.clone(), needs, free }
        }
        Shortage::Accelerators { pool, needs, free, .. } => {
            Reason::NoAccelerators { pool: problem.pool(pool).name.clone(), needs, free }
        }
    }
}

/// It can never run: in the most roomy pool of those that it may use, what is short even with nothing else running?
fn nowhere(problem: &Problem, workload: &Workload) -> Reason {
    let idle = Ledger::idle(problem);
    let options = workload.choices.iter().filter_map(|choice| {
        let pool = problem.pool(choice.pool);
        let own = problem.seen_in_domain(choice.pool, choice.load);
        // what its domains could ever give, at the highest cap they ever have
        let give = problem
            .tree
            .chain(pool.domain)
            .map(|domain| {
                let cap = &problem.tree.get(domain).spec.cap;
                let highest = cap.highest(problem.now, Moment::FAR_FUTURE);
                highest - cap.at(problem.now) + idle.free(domain, problem.now)
            })
            .min()?;
        Some((own <= give && choice.load.accelerators > pool.accelerators, choice, own, give))
    });
    match options.max_by_key(|(_, _, own, give)| *give - *own) {
        None => Reason::NoSuchAccelerator,
        Some((true, choice, _, _)) => {
            let pool = problem.pool(choice.pool);
            Reason::NoAccelerators { pool: pool.name.clone(), needs: choice.load.accelerators, free: pool.accelerators }
        }
        Some((false, _, needs, most)) => Reason::FitsNowhere { needs, most: most.max(Watts::ZERO) },
    }
}

/// What running as planned saves against running from now on without a break, in thousandths of the latter.
fn saving(problem: &Problem, workload: &Workload, entry: &Entry) -> u32 {
    let Some(pool) = entry.runs.first().map(|run| run.pool) else { return 0 };
    let price = &problem.supply(pool).price;
    let at_once = price.integral(problem.now, problem.now + workload.remaining);
    let full = workload.load_in(pool).map_or(1, |load| load.watts.0.max(1));
    let planned = entry.runs.iter().map(|run| {
        let watts = workload.load_at(run.pool, run.pace).map_or(full, |load| load.watts.0.max(1));
        price.integral(run.start.max(problem.now), run.end) * i128::from(watts) / i128::from(full)
    });
    let planned: i128 = planned.sum();
    if at_once <= 0 {
        return 0;
    }
    u32::try_from(((at_once - planned) * 1000 / at_once).clamp(0, 1000)).unwrap_or(0)
}

fn verdict(problem: &Problem, workload: &Workload, entry: &Entry, reason: Reason) -> Verdict {
    let pool = workload.running.map(|running| running.pool).or_else(|| entry.runs.first().map(|run| run.pool));
    let run = entry.run_at(problem.now).or_else(|| entry.runs.first().copied());
    let pace = run.map_or(Pace::FULL, |run| run.pace);
    let watts = pool
        .and_then(|pool| {
            let load = workload.load_at(pool, pace).or_else(|| workload.load_in(pool))?;
            Some(problem.seen_in_domain(pool, load))
        })
        .or_else(|| workload.choices.iter().map(|choice| problem.seen_in_domain(choice.pool, choice.load)).min());
    let slowed = entry.run_at(problem.now).filter(|run| workload.running.is_some() && !run.pace.is_full());
    let saves_permille = slowed.map_or(0, |_| saving(problem, workload, entry));
    Verdict {
        id: workload.id.clone(),
        reason,
        pool,
        watts: watts.unwrap_or(Watts::ZERO),
        start: entry.start(),
        finish: entry.finish(),
        outlook: problem.outlook(entry),
        slowed: slowed.map(|run| Slow { pace: run.pace, until: run.end, saves_permille }),
    }
}
