//! Reads a problem and a plan, and says what is wrong with it.
//!
//! It shares no code with any planner: sums are made anew from the runs, second by second where anything changes,
//! without the ledger. What it does not refuse may be carried out; nothing else may: `admit::cycle` asks it about each
//! plan and carries out no part of one that it refuses.

mod constraints;

use self::constraints::Meter;
use super::{Entry, Load, Pace, PoolId, PowerPlan, Problem, Why, Workload};
use crate::units::{Joules, Moment, Seconds, Watts};
use std::collections::BTreeSet;

/// Something wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// A domain is over its cap by what is planned. What draws anyway is not the plan's fault and is not noted.
    #[error("{domain} is planned at {watts} from {at} on, over its cap of {cap}")]
    OverCap {
        /// The domain.
        domain: String,
        /// From when on.
        at: Moment,
        /// What is planned.
        watts: Watts,
        /// Its cap then.
        cap: Watts,
    },
    /// A pool has too few accelerators.
    #[error("{pool} is planned with {used} accelerators from {at} on, and has {has}")]
    OverPool {
        /// The pool.
        pool: String,
        /// From when on.
        at: Moment,
        /// What is planned.
        used: u64,
        /// What it has.
        has: u32,
    },
    /// More energy is planned than a budget has left.
    #[error("budget {budget}: {planned} are planned in its window from {from} on, and {left} are left")]
    OverBudget {
        /// The budget.
        budget: String,
        /// When the window begins.
        from: Moment,
        /// What is planned, with all that draws anyway.
        planned: Joules,
        /// What is left.
        left: Joules,
    },
    /// What a domain draws changes faster than it may by plan.
    #[error("{domain} is planned to change by {change} in the slot from {from} on, and may by {limit} a second")]
    TooFast {
        /// The domain.
        domain: String,
        /// When the slot begins.
        from: Moment,
        /// By how much it changes; down is negative.
        change: Watts,
        /// What it may in a second.
        limit: Watts,
    },
    /// A workload starts before what it waits for has finished.
    #[error("{id}: it is planned from {start} on, before {before} has finished")]
    OutOfOrder {
        /// The workload.
        id: String,
        /// What it waits for.
        before: String,
        /// When it would start.
        start: Moment,
    },
    /// The entries are not those of the problem's workloads, one each, in their order.
    #[error("the plan's entries are not the problem's workloads")]
    OtherWorkloads,
    /// A workload's runs don't hold its work, each second counted by its pace; or a whole second more than that.
    #[error("{id}: its runs hold {planned}, its work takes {remaining}")]
    OtherWork {
        /// The workload.
        id: String,
        /// What is planned, in whole seconds at full.
        planned: Seconds,
        /// What is left to do.
        remaining: Seconds,
    },
    /// Runs that overlap, are empty, are out of order, or lie before now.
    #[error("{id}: its runs are not in order of time")]
    Disorder {
        /// The workload.
        id: String,
    },
    /// A workload that is only to come is planned before it is there.
    #[error("{id}: it is planned before it can start")]
    TooEarly {
        /// The workload.
        id: String,
    },
    /// A run in a pool that the workload may not use, or in two pools at once.
    #[error("{id}: it is planned where it may not run")]
    WrongPool {
        /// The workload.
        id: String,
    },
    /// A run at a point that the workload does not have there, or may not change to.
    #[error("{id}: it is planned at {} ‰ of its full speed, where it may not run so", pace.per_million() / 1000)]
    WrongPace {
        /// The workload.
        id: String,
        /// The pace that is planned.
        pace: Pace,
    },
    /// A workload that may not be stopped for supply is.
    #[error("{id}: it may not be stopped for supply, and the plan stops it")]
    Stopped {
        /// The workload.
        id: String,
    },
    /// Its lateness is not what its runs say.
    #[error("{id}: it finishes {late} late, and the plan says {said}")]
    WrongLateness {
        /// The workload.
        id: String,
        /// By its runs.
        late: Seconds,
        /// By the plan.
        said: Seconds,
    },
}

impl Note {
    /// The workload that it is about; none where it is about the plan as a whole.
    #[must_use]
    pub fn workload(&self) -> Option<&str> {
        match self {
            Self::OverCap { .. }
            | Self::OverPool { .. }
            | Self::OverBudget { .. }
            | Self::TooFast { .. }
            | Self::OtherWorkloads => None,
            Self::OtherWork { id, .. }
            | Self::Disorder { id }
            | Self::TooEarly { id }
            | Self::OutOfOrder { id, .. }
            | Self::WrongPool { id }
            | Self::WrongPace { id, .. }
            | Self::Stopped { id }
            | Self::WrongLateness { id, .. } => Some(id),
        }
    }
}

/// All that is wrong with a plan; nothing is a good answer.
///
/// What runs and goes on without a break ([`Why::GoesOn`]) draws anyway: who must stop for a cap that falls on it is
/// not for the plan to say.
#[must_use]
pub fn check(problem: &Problem, plan: &PowerPlan) -> Vec<Note> {
    let ids = problem.workloads.iter().map(|workload| &workload.id);
    if !ids.eq(plan.entries.iter().map(|entry| &entry.id)) {
        return vec![Note::OtherWorkloads];
    }
    let mut notes = Vec::new();
    // What draws by the plan, and what draws anyway: pool, load, from, to.
    let mut planned: Vec<(PoolId, Load, Moment, Moment)> = Vec::new();
    let mut anyway: Vec<(PoolId, Load, Moment, Moment)> =
        problem.fixed.iter().map(|fixed| (fixed.pool, fixed.load, problem.now, fixed.until)).collect();
    for (workload, entry) in problem.workloads.iter().zip(&plan.entries) {
        let id = || workload.id.to_string();
        let runs: Vec<_> = entry.runs.iter().map(|run| (run.pool, run.start.max(problem.now), run.end)).collect();
        if runs.is_empty() {
            if workload.running.is_some() && !workload.is_divisible() {
                notes.push(Note::Stopped { id: id() });
            }
            continue;
        }
        let disorder = runs.iter().any(|(_, start, end)| start >= end)
            || runs.windows(2).any(|pair| pair[0].2 > pair[1].1)
            || entry.runs.iter().any(|run| run.start < problem.now && workload.running.is_none());
        if disorder {
            notes.push(Note::Disorder { id: id() });
        }
        if workload.running.is_none() && runs.iter().any(|(_, start, _)| *start < workload.arrival) {
            notes.push(Note::TooEarly { id: id() });
        }
        // in whole seconds at full: what is less than the last one is lost to rounding
        let paces = || entry.runs.iter().map(|run| run.pace);
        let each = paces()
            .zip(&runs)
            .map(|(pace, (_, from, to))| i128::from(pace.per_million()) * i128::from((*to - *from).0));
        let done = each.sum::<i128>() + i128::from(workload.ahead);
        let whole = i64::try_from(done.div_euclid(1_000_000)).unwrap_or(i64::MAX);
        if whole != workload.remaining.0 {
            notes.push(Note::OtherWork { id: id(), planned: Seconds(whole), remaining: workload.remaining });
        }
        let pools: BTreeSet<PoolId> = runs.iter().map(|(pool, ..)| *pool).collect();
        let known = |pool: &PoolId| workload.choices.iter().any(|choice| choice.pool == *pool);
        let moved = workload.running.is_some_and(|running| !pools.contains(&running.pool));
        if pools.len() != 1 || !pools.iter().all(known) || moved {
            notes.push(Note::WrongPool { id: id() });
            continue;
        }
        let pauses = workload.running.is_some() && runs[0].1 > problem.now;
        let breaks = runs.windows(2).any(|pair| pair[0].2 != pair[1].1);
        if !workload.is_divisible() && (breaks || pauses) {
            notes.push(Note::Stopped { id: id() });
        }
        // who can't be stopped keeps one pace, and who is never delayed is not slowed; but what runs may go on as it does
        let runs_at = workload.running.map(|running| running.pace);
        let wrong = paces().find(|pace| {
            let is_point = workload.choices.iter().any(|choice| choice.pool == runs[0].0 && choice.pace == *pace);
            let first = runs_at.unwrap_or(entry.runs[0].pace);
            let changes = !workload.is_divisible() && *pace != first;
            let slows = workload.finish_by.is_none() && pace.per_million() < 1_000_000 && runs_at != Some(*pace);
            !is_point || changes || slows
        });
        if let Some(pace) = wrong {
            notes.push(Note::WrongPace { id: id(), pace });
        }
        let finish = runs.iter().map(|(.., end)| *end).max().unwrap_or(problem.now);
        let late = workload.finish_by.map_or(Seconds::ZERO, |by| Seconds((finish - by).0.max(0)));
        if late != entry.late {
            notes.push(Note::WrongLateness { id: id(), late, said: entry.late });
        }
        let goes_on = goes_on(problem, workload, entry);
        for ((pool, start, end), pace) in runs.into_iter().zip(paces()) {
            let load = load_of(workload, pool, pace);
            if goes_on { &mut anyway } else { &mut planned }.push((pool, load, start, end));
        }
    }
    constraints::order(problem, plan, &mut notes);
    constraints::budgets_of_workloads(problem, plan, &mut notes);
    // what runs and may be moved is what is planned just before now
    let may_move = problem
        .workloads
        .iter()
        .zip(&plan.entries)
        .filter(|(workload, entry)| workload.running.is_some() && !goes_on(problem, workload, entry));
    let (mut runs, mut on) = (Vec::new(), Vec::new());
    for (workload, entry) in may_move {
        runs.extend(workload.running_load());
        on.extend(entry.runs.first().filter(|run| run.start <= problem.now).map(|run| run.pool));
    }
    sums(problem, &planned, &anyway, &runs, &on, &mut notes);
    notes
}

/// Does it run on as it does, without a break? That draws whatever is planned.
fn goes_on(problem: &Problem, workload: &Workload, entry: &Entry) -> bool {
    let Some(running) = workload.running else { return false };
    let is_whole = match entry.runs.as_slice() {
        [run] => run.start <= problem.now && run.pace == running.pace,
        _ => false,
    };
    !workload.is_divisible() || entry.why == Why::GoesOn && is_whole
}

fn load_of(workload: &Workload, pool: PoolId, pace: Pace) -> Load {
    let mut points = workload.choices.iter().filter(|choice| choice.pool == pool && choice.pace == pace);
    points.next().map(|choice| choice.load).unwrap_or_default()
}

type Draws = [(PoolId, Load, Moment, Moment)];

/// What is drawn in each pool: watts, accelerators, hosts.
type Drawn = Vec<(i64, i64, i64)>;

/// Looks at every moment at which anything begins, ends or falls, in order of time: what is drawn is kept in two sums,
/// of all and of what draws anyway.
fn sums(
    problem: &Problem,
    planned: &Draws,
    anyway: &Draws,
    runs: &[(PoolId, Load)],
    goes_on: &[PoolId],
    notes: &mut Vec<Note>,
) {
    // when, where, what, +1 or -1, and whether it draws anyway
    let mut changes: Vec<(Moment, PoolId, Load, i64, bool)> = Vec::new();
    for (draws, is_anyway) in [(planned, false), (anyway, true)] {
        for (pool, load, start, end) in draws.iter().filter(|(_, _, start, end)| start < end) {
            changes.extend([(*start, *pool, *load, 1, is_anyway), (*end, *pool, *load, -1, is_anyway)]);
        }
    }
    changes.sort_by_key(|(at, ..)| *at);
    let mut moments: BTreeSet<Moment> = changes.iter().map(|(at, ..)| *at).collect();
    moments.insert(problem.now);
    let last = moments.last().copied().unwrap_or(problem.now);
    for (_, domain) in problem.tree.iter() {
        moments.extend(domain.spec.cap.changes_between(problem.now, last));
    }
    moments.extend(constraints::moments(problem));
    let mut with: Drawn = vec![(0, 0, 0); problem.pools.len()];
    let mut without = with.clone();
    let add = |sum: &mut (i64, i64, i64), load: Load, sign: i64| {
        sum.0 = sum.0.saturating_add(load.watts.0.saturating_mul(sign));
        sum.1 += i64::from(load.accelerators) * sign;
        sum.2 += i64::from(load.hosts) * sign;
    };
    let mut anyway_now = with.clone();
    let begun = anyway.iter().filter(|(_, _, start, end)| *start <= problem.now && problem.now < *end);
    begun.for_each(|(pool, load, ..)| add(&mut anyway_now[pool.0], *load, 1));
    let mut before_now = anyway_now.clone();
    runs.iter().for_each(|(pool, load)| add(&mut before_now[pool.0], *load, 1));
    let mut meter = Meter::new(problem, domains(problem, &before_now), domains(problem, &anyway_now));
    let mut changes = changes.into_iter().peekable();
    let (mut full_pools, mut full_domains) = (BTreeSet::new(), BTreeSet::new());
    for at in moments {
        while let Some((_, pool, load, sign, is_anyway)) = changes.next_if(|(when, ..)| *when <= at) {
            for sum in [Some(&mut with), is_anyway.then_some(&mut without)].into_iter().flatten() {
                add(&mut sum[pool.0], load, sign);
            }
        }
        for (i, pool) in problem.pools.iter().enumerate() {
            let (used, has) = (with[i].1, problem.in_service(PoolId(i), at));
            if used > i64::from(has) && without[i].1 < used && full_pools.insert(i) {
                let used = u64::try_from(used).unwrap_or(0);
                notes.push(Note::OverPool { pool: pool.name.clone(), at, used, has });
            }
        }
        let (all, before) = (domains(problem, &with), domains(problem, &without));
        for ((id, domain), (watts, before)) in problem.tree.iter().zip(all.iter().copied().zip(before.iter().copied()))
        {
            let cap = domain.spec.cap.at(at);
            if watts > cap && before < watts && full_domains.insert(id) {
                notes.push(Note::OverCap { domain: domain.spec.name.clone(), at, watts, cap });
            }
        }
        meter.step(at, all, before);
    }
    meter.finish(planned, goes_on, notes);
}

/// What passes through a domain that adds its overhead.
fn with_overhead(watts: i64, permille: u32) -> i64 {
    let extra = i128::from(watts) * i128::from(permille);
    let extra = extra.div_euclid(1000) + i128::from(extra.rem_euclid(1000) > 0);
    watts.saturating_add(i64::try_from(extra).unwrap_or(i64::MAX))
}

/// What each domain draws, in the tree's order.
fn domains(problem: &Problem, drawn: &Drawn) -> Vec<Watts> {
    let mut domains = vec![Watts::ZERO; problem.tree.len()];
    // what is drawn at a place goes up through all that feed it; each adds its overhead, but not to a baseline of its own
    for (id, domain) in problem.tree.iter() {
        let mut total = domain.spec.baseline.0;
        domains[id.0] += Watts(total);
        let mut next = domain.parent;
        while let Some(id) = next {
            let above = problem.tree.get(id);
            total = with_overhead(total, above.spec.overhead_permille);
            domains[id.0] += Watts(total);
            next = above.parent;
        }
    }
    for (pool, (watts, _, hosts)) in problem.pools.iter().zip(drawn) {
        let hosts = (*hosts).min(i64::from(pool.nodes)).saturating_mul(pool.host_extra.0);
        let mut total = pool.idle.0.saturating_add(*watts).saturating_add(hosts);
        let mut next = Some(pool.domain);
        while let Some(id) = next {
            let domain = problem.tree.get(id);
            total = with_overhead(total, domain.spec.overhead_permille);
            domains[id.0] += Watts(total);
            next = domain.parent;
        }
    }
    domains
}
