//! Reads a problem and a plan, and says what is wrong with it.
//!
//! It shares no code with any planner: sums are made anew from the runs, second by second where anything changes,
//! without the ledger. What it does not refuse may be carried out; nothing else may.

use super::{Load, PoolId, PowerPlan, Problem, Workload};
use crate::units::{Moment, Seconds, Watts};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The entries are not those of the problem's workloads, one each, in their order.
    #[error("the plan's entries are not the problem's workloads")]
    OtherWorkloads,
    /// A workload's runs don't hold its work.
    #[error("{id}: its runs hold {planned}, its work takes {remaining}")]
    OtherWork {
        /// The workload.
        id: String,
        /// What is planned.
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
    /// A run in a pool that the workload may not use, or in two pools at once.
    #[error("{id}: it is planned where it may not run")]
    WrongPool {
        /// The workload.
        id: String,
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

/// All that is wrong with a plan; nothing is a good answer.
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
        let length: Seconds = runs.iter().map(|(_, start, end)| *end - *start).sum();
        if length != workload.remaining {
            notes.push(Note::OtherWork { id: id(), planned: length, remaining: workload.remaining });
        }
        let pools: BTreeSet<PoolId> = runs.iter().map(|(pool, ..)| *pool).collect();
        let known = |pool: &PoolId| workload.choices.iter().any(|choice| choice.pool == *pool);
        let moved = workload.running.is_some_and(|running| !pools.contains(&running.pool));
        if pools.len() != 1 || !pools.iter().all(known) || moved {
            notes.push(Note::WrongPool { id: id() });
            continue;
        }
        let pauses = workload.running.is_some() && runs[0].1 > problem.now;
        if !workload.is_divisible() && (runs.len() > 1 || pauses) {
            notes.push(Note::Stopped { id: id() });
        }
        let finish = runs.iter().map(|(.., end)| *end).max().unwrap_or(problem.now);
        let late = workload.finish_by.map_or(Seconds::ZERO, |by| Seconds((finish - by).0.max(0)));
        if late != entry.late {
            notes.push(Note::WrongLateness { id: id(), late, said: entry.late });
        }
        let goes_on = workload.running.is_some() && !workload.is_divisible();
        for (pool, start, end) in runs {
            let load = load_of(workload, pool);
            if goes_on { &mut anyway } else { &mut planned }.push((pool, load, start, end));
        }
    }
    sums(problem, &planned, &anyway, &mut notes);
    notes
}

fn load_of(workload: &Workload, pool: PoolId) -> Load {
    workload.choices.iter().find(|choice| choice.pool == pool).map(|choice| choice.load).unwrap_or_default()
}

type Draws = [(PoolId, Load, Moment, Moment)];

/// Looks at every moment at which anything begins, ends or falls.
fn sums(problem: &Problem, planned: &Draws, anyway: &Draws, notes: &mut Vec<Note>) {
    let all = planned.iter().chain(anyway);
    let mut moments: BTreeSet<Moment> = all.flat_map(|(_, _, start, end)| [*start, *end]).collect();
    moments.insert(problem.now);
    let last = moments.last().copied().unwrap_or(problem.now);
    for (_, domain) in problem.tree.iter() {
        moments.extend(domain.spec.cap.changes_between(problem.now, last));
    }
    let mut reported = BTreeSet::new();
    for at in moments {
        let with = drawn(problem, at, planned.iter().chain(anyway));
        let without = drawn(problem, at, anyway.iter());
        for (pool, (_, used, _)) in &with.0 {
            let has = problem.pools[*pool].accelerators;
            let plans_here = without.0.get(pool).is_none_or(|(_, before, _)| before < used);
            if *used > u64::from(has) && plans_here && reported.insert(problem.pools[*pool].name.clone()) {
                let pool = problem.pools[*pool].name.clone();
                notes.push(Note::OverPool { pool, at, used: *used, has });
            }
        }
        for (name, watts) in &with.1 {
            let Some(id) = problem.tree.find(name) else { continue };
            let cap = problem.tree.get(id).spec.cap.at(at);
            let adds = without.1.get(name).is_none_or(|before| before < watts);
            if *watts > cap && adds && reported.insert(name.clone()) {
                notes.push(Note::OverCap { domain: name.clone(), at, watts: *watts, cap });
            }
        }
    }
}

/// Per pool (watts, accelerators, hosts), and per domain its whole draw.
type Drawn = (BTreeMap<usize, (i64, u64, u64)>, BTreeMap<String, Watts>);

fn drawn<'d>(problem: &Problem, at: Moment, draws: impl Iterator<Item = &'d (PoolId, Load, Moment, Moment)>) -> Drawn {
    let mut pools: BTreeMap<usize, (i64, u64, u64)> = BTreeMap::new();
    for (pool, load, _, _) in draws.filter(|(_, _, start, end)| *start <= at && at < *end) {
        let sum = pools.entry(pool.0).or_default();
        sum.0 += load.watts.0;
        sum.1 += u64::from(load.accelerators);
        sum.2 += u64::from(load.hosts);
    }
    let mut domains: BTreeMap<String, Watts> = BTreeMap::new();
    // what is drawn at a place goes up through all that feed it; each adds its overhead, but not to a baseline of its own
    let with_overhead = |watts: i64, permille: u32| {
        let extra = watts * i64::from(permille);
        watts + extra.div_euclid(1000) + i64::from(extra.rem_euclid(1000) > 0)
    };
    for (_, domain) in problem.tree.iter() {
        let mut total = domain.spec.baseline.0;
        *domains.entry(domain.spec.name.clone()).or_default() += Watts(total);
        let mut next = domain.parent;
        while let Some(id) = next {
            let above = problem.tree.get(id);
            total = with_overhead(total, above.spec.overhead_permille);
            *domains.entry(above.spec.name.clone()).or_default() += Watts(total);
            next = above.parent;
        }
    }
    for (i, pool) in problem.pools.iter().enumerate() {
        let (watts, _, hosts) = pools.get(&i).copied().unwrap_or_default();
        let hosts = i64::try_from(hosts.min(u64::from(pool.nodes))).unwrap_or(i64::MAX);
        let mut total = pool.idle.0 + watts + hosts * pool.host_extra.0;
        let mut next = Some(pool.domain);
        while let Some(id) = next {
            let domain = problem.tree.get(id);
            total = with_overhead(total, domain.spec.overhead_permille);
            if let Some(sum) = domains.get_mut(&domain.spec.name) {
                *sum += Watts(total);
            }
            next = domain.parent;
        }
    }
    (pools, domains)
}
