//! Why a workload runs when it does: what stands in its way now, until when, by how much, and what waiting costs or saves.

use super::cost::{self, priced};
use super::draws::root_watts;
use super::ledger::Ledger;
use super::room::{Refusal, Room};
use super::spent::{Seat, Spent};
use super::{Pace, PoolId, PowerPlan, Problem, Run, ScarcePrice, Shortage, Supply, Why, Workload};
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
    /// The domain that has too few watts or changes too fast, the pool that has too few accelerators, or the budget that is spent.
    pub full: String,
    /// From when on it is full.
    pub from: Moment,
    /// From when on the whole of it fits; none where it never does.
    pub until: Option<Moment>,
    /// What is missing there.
    pub short: Short,
    /// What a kWh, or an hour of an accelerator, is worth there at that moment to all who want it; none where that is not known.
    pub worth: Option<Money>,
}

/// What is missing for a workload to run from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// Watts of a domain.
    Watts(Watts),
    /// Accelerators of a pool.
    Accelerators(u32),
    /// Energy of a budget.
    Energy(Joules),
    /// More of a domain may not begin, or end, in one slot: its ramp.
    Ramp,
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
    let of = problem.workloads.binary_search_by(|other| other.id.cmp(&workload.id)).ok()?;
    let (room, spent) = taken(problem, plan, Some(of));
    let seat = Seat { ledger: &room, spent: &spent, of };
    let obstacles = if waits { obstacles(problem, plan, workload, &seat) } else { Vec::new() };
    Some(Explanation {
        why: entry.why,
        runs: entry.runs.clone(),
        planned: pool.map(|_| cost_of(problem, workload, &room, &clipped)),
        at_once: pool.map(|pool| cost_of(problem, workload, &room, &at_once(pool))),
        obstacles,
    })
}

/// What all runs of a plan cost from the problem's moment on if supply costs as much as it may: each hour as much as nine of ten like it
/// stay under. More than nine of ten plans then cost, since not all hours are dear at once. None where no such prices are known.
#[must_use]
pub fn costs_at_most(problem: &Problem, plan: &PowerPlan) -> Option<Money> {
    problem.supplies.iter().find(|supply| supply.high.is_some())?;
    let dear = |supply: &Supply| Supply {
        price: supply.high.clone().unwrap_or_else(|| supply.price.clone()),
        ..supply.clone()
    };
    let problem = Problem { supplies: problem.supplies.iter().map(dear).collect(), ..problem.clone() };
    let (ledger, _) = taken(&problem, plan, None);
    let runs =
        problem.workloads.iter().zip(&plan.entries).map(|(workload, entry)| (workload, entry.runs_from(problem.now)));
    let cost: i128 =
        runs.filter(|(_, runs)| !runs.is_empty()).map(|(workload, runs)| priced(&problem, workload, runs).cost).sum();
    Some(cost::money(cost - ledger.saved()))
}

/// What all have taken by the plan, but one where it is left away.
fn taken<'a>(problem: &'a Problem, plan: &PowerPlan, but: Option<usize>) -> (Ledger<'a>, Spent<'a>) {
    let (mut ledger, mut spent) = (Ledger::fixed(problem), Spent::new(problem));
    for (i, (other, entry)) in problem.workloads.iter().zip(&plan.entries).enumerate().filter(|(i, _)| Some(*i) != but)
    {
        let runs = entry.runs_from(problem.now);
        spent.count(i, &runs, 1);
        for run in runs {
            if let Some(load) = other.load_at(run.pool, run.pace) {
                ledger.add(run.pool, load, run.start, run.end);
            }
        }
    }
    (ledger, spent)
}

/// Of each pool that it may use, what is in its way beside everyone else's place.
fn obstacles(problem: &Problem, plan: &PowerPlan, workload: &Workload, seat: &Seat<'_, '_>) -> Vec<Obstacle> {
    let from = problem.starts_from(workload);
    let until = from + workload.remaining;
    let full = workload.choices.iter().filter(|choice| choice.pace.is_full());
    let each = full.filter_map(|choice| {
        let first =
            seat.ledger.shortage(choice.pool, choice.load, from, until).map(|shortage| shown(problem, shortage));
        let (full, short, at) = first.or_else(|| {
            let refused = seat.refused(&[Run { pool: choice.pool, start: from, end: until, pace: choice.pace }]);
            Some(shown_refusal(problem, refused.first()?, from))
        })?;
        let is_watts = !matches!(short, Short::Accelerators(_));
        let is_here = |price: &&ScarcePrice| {
            price.of == full && price.is_watts == is_watts && price.from <= at && at < price.until
        };
        Some(Obstacle {
            pool: problem.pool(choice.pool).name.clone(),
            from: at,
            until: seat.earliest(*choice, from, workload.remaining),
            short,
            worth: plan.scarce.iter().find(is_here).map(|price| price.price),
            full,
        })
    });
    each.collect()
}

/// What is full, what is missing there, and from when on.
fn shown(problem: &Problem, shortage: Shortage) -> (String, Short, Moment) {
    match shortage {
        Shortage::Headroom { domain, needs, free, at } => {
            (problem.tree.get(domain).spec.name.clone(), Short::Watts(needs - free.max(Watts::ZERO)), at)
        }
        Shortage::Accelerators { pool, needs, free, at } => {
            (problem.pool(pool).name.clone(), Short::Accelerators(needs.saturating_sub(free)), at)
        }
    }
}

fn shown_refusal(problem: &Problem, refusal: &Refusal, starts: Moment) -> (String, Short, Moment) {
    match *refusal {
        Refusal::Budget { budget, from, short, .. } => {
            (problem.constraints.budgets[budget].name.clone(), Short::Energy(short), from.max(starts))
        }
        Refusal::Ramp { domain, from, .. } => {
            (problem.tree.get(domain).spec.name.clone(), Short::Ramp, from.max(starts))
        }
    }
}

fn cost_of(problem: &Problem, workload: &Workload, room: &Ledger<'_>, runs: &[Run]) -> Cost {
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
        money: cost::money(money),
    }
}
