//! Why a workload runs when it does: what stands in its way now, until when, by how much, and what waiting costs or saves.

use super::ledger::Ledger;
use super::place::root_watts;
use super::{Pace, PoolId, PowerPlan, Problem, Run, ScarcePrice, Shortage, Why, Workload};
use crate::core::steps::Steps;
use crate::units::{GramsCo2e, Joules, Moment, Money, Watts};

/// Why a workload runs when it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Why its plan is as it is, in the planner's word.
    pub why: Why,
    /// When it is to run.
    pub runs: Vec<Run>,
    /// What it costs as planned; none where it can run nowhere.
    pub planned: Option<Cost>,
    /// What it would cost in the same pool from now on without a break, were there room.
    pub at_once: Option<Cost>,
    /// What keeps it from that, by pool.
    pub obstacles: Vec<Obstacle>,
}

/// What some runs of a workload take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Energy as the root sees it, above idle.
    pub energy: Joules,
    /// What of it is generated on the site, after all others have had theirs: that costs nothing.
    pub own: Joules,
    /// The carbon of the rest; none where no signal says.
    pub carbon: Option<GramsCo2e>,
    /// The rest and its carbon at their prices.
    pub money: Money,
}

/// What keeps a workload from running in a pool from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The pool.
    pub pool: String,
    /// The domain that has too few watts, or the pool that has too few accelerators.
    pub full: String,
    /// From when on it is full.
    pub from: Moment,
    /// From when on the whole of it fits; none where it never does.
    pub until: Option<Moment>,
    /// Watts that are missing there; none where accelerators are.
    pub short_watts: Option<Watts>,
    /// Accelerators that are missing.
    pub short_accelerators: Option<u32>,
    /// What a kWh, or an hour of an accelerator, is worth there at that moment to all who want it; none where that is not known.
    pub worth: Option<Money>,
}

/// Explains one workload of a problem by the plan for it; none where it is not in both.
#[must_use]
pub fn explain(problem: &Problem, plan: &PowerPlan, id: &str) -> Option<Explanation> {
    let (workload, entry) = (problem.workload(id)?, plan.entry(id)?);
    let clipped = entry.runs_from(problem.now);
    let pool = clipped.first().map(|run| run.pool);
    let at_once = |pool: PoolId| {
        let end = problem.now + workload.remaining;
        [Run { pool, start: problem.now, end, pace: Pace::FULL }]
    };
    let waits = clipped.first().is_none_or(|run| run.start > problem.now) || clipped.len() > 1;
    let room = others(problem, plan, workload);
    let obstacles = if waits { obstacles(problem, plan, workload, &room) } else { Vec::new() };
    Some(Explanation {
        why: entry.why,
        runs: entry.runs.clone(),
        planned: pool.map(|_| cost(problem, workload, &room, &clipped)),
        at_once: pool.map(|pool| cost(problem, workload, &room, &at_once(pool))),
        obstacles,
    })
}

/// What all others have taken by the plan.
fn others<'a>(problem: &'a Problem, plan: &PowerPlan, workload: &Workload) -> Ledger<'a> {
    let mut room = Ledger::fixed(problem);
    for (other, entry) in problem.workloads.iter().zip(&plan.entries).filter(|(other, _)| other.id != workload.id) {
        for run in entry.runs_from(problem.now) {
            if let Some(load) = other.load_at(run.pool, run.pace) {
                room.add(run.pool, load, run.start, run.end);
            }
        }
    }
    room
}

/// Of each pool that it may use, what is in its way beside everyone else's place.
fn obstacles(problem: &Problem, plan: &PowerPlan, workload: &Workload, room: &Ledger<'_>) -> Vec<Obstacle> {
    let from = problem.starts_from(workload);
    let until = from + workload.remaining;
    let full = workload.choices.iter().filter(|choice| choice.pace.is_full());
    let each = full.filter_map(|choice| {
        let shortage = room.shortage(choice.pool, choice.load, from, until)?;
        let fits = room.earliest(choice.pool, choice.load, from, workload.remaining);
        let pool = &problem.pool(choice.pool).name;
        let (full, short_watts, short_accelerators) = match shortage {
            Shortage::Headroom { domain, needs, free, .. } => {
                (&problem.tree.get(domain).spec.name, Some(needs - free.max(Watts::ZERO)), None)
            }
            Shortage::Accelerators { pool, needs, free, .. } => {
                (&problem.pool(pool).name, None, Some(needs.saturating_sub(free)))
            }
        };
        let is_watts = short_watts.is_some();
        let is_here = |price: &&ScarcePrice| {
            price.of == *full
                && price.is_watts == is_watts
                && price.from <= shortage.at()
                && shortage.at() < price.until
        };
        Some(Obstacle {
            pool: pool.clone(),
            full: full.clone(),
            from: shortage.at(),
            until: fits,
            short_watts,
            short_accelerators,
            worth: plan.scarce.iter().find(is_here).map(|price| price.price),
        })
    });
    each.collect()
}

fn cost(problem: &Problem, workload: &Workload, room: &Ledger<'_>, runs: &[Run]) -> Cost {
    let (mut joules, mut used, mut carbon, mut money): (i128, i128, Option<i128>, i128) = (0, 0, Some(0), 0);
    let none = Steps::constant(0);
    for run in runs {
        let load = workload.load_at(run.pool, run.pace).unwrap_or_default();
        let watts = root_watts(problem, run.pool, load);
        let supply = problem.supply(run.pool);
        joules += i128::from(watts) * i128::from((run.end - run.start).0);
        let own = room.own_left(run.pool).unwrap_or(&none);
        for (from, to, price) in supply.price.pieces(run.start, run.end) {
            for (from, to, left) in own.pieces(from, to) {
                // at a negative price all is drawn from outside
                let own = if price < 0 { 0 } else { left.clamp(0, watts) };
                let (bought, span) = (i128::from(watts - own), i128::from((to - from).0));
                used += i128::from(own) * span;
                money += i128::from(price) * bought * span;
                let grams = supply.intensity.as_ref().map(|steps| {
                    let pieces = steps.pieces(from, to);
                    pieces.map(|(from, to, at)| i128::from(at.0) * i128::from((to - from).0)).sum::<i128>() * bought
                });
                carbon = carbon.zip(grams).map(|(sum, more)| sum + more);
            }
        }
    }
    let whole = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    Cost {
        energy: Joules(whole(joules)),
        own: Joules(whole(used)),
        // J × mg/kWh, in micrograms
        carbon: carbon.map(|sum| GramsCo2e(whole(sum / 3600))),
        money: Money(whole(money / super::place::COST_UNITS)),
    }
}
