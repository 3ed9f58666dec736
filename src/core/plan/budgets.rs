//! Energy budgets as things that are scarce: each of their windows has one price, of a watt and a second in all its cells.

use super::constraints::BudgetOf;
use super::draws::watts_at_least;
use super::free::Scarce;
use super::prices::Offer;
use super::{Ledger, Load, PoolId, Problem, ScarcePrice, Workload};
use crate::units::Moment;

/// The budgets of a market. Their prices stand behind those of all else.
#[derive(Debug)]
pub(super) struct Budgets {
    /// Where the first of their prices stands among all prices.
    first: usize,
    each: Vec<Budget>,
    /// Of each price: of which budget it is, and its window.
    windows: Vec<(usize, Moment, Moment)>,
}

#[derive(Debug)]
struct Budget {
    /// Of each cell: which of the prices of budgets counts there.
    prices: Vec<Option<usize>>,
    /// Of each pool: what a watt in it is where the budget counts. None where the workloads that it names pay for what they draw.
    parts: Option<Vec<f64>>,
}

/// What draws from now on in a pool though it can't be moved, or may go on though it could: pool, load, until when.
pub(super) type Draws = [(PoolId, Load, Moment)];

impl Budgets {
    /// The budgets of a problem, with what is free of each: mean watts in each of its windows. `held` is what runs and may go on for its
    /// whole work, whatever is left: no plan is refused for it, so no bound may count without it.
    pub(super) fn new(
        problem: &Problem,
        edges: &[Moment],
        chains: &[Vec<(usize, f64)>],
        (anyway, held): (&Draws, &Draws),
        first: usize,
    ) -> (Self, Vec<Scarce>) {
        let mut budgets = Self { first, each: Vec::new(), windows: Vec::new() };
        let (begin, last) = (edges[0], edges[edges.len() - 1]);
        let mut scarce = Vec::new();
        if problem.constraints.budgets.is_empty() {
            return (budgets, scarce);
        }
        let idle = Ledger::idle(problem);
        for (i, budget) in problem.constraints.budgets.iter().enumerate() {
            let part = |chain: &Vec<(usize, f64)>, domain| {
                chain.iter().find(|(above, _)| *above == domain).map_or(0.0, |(_, part)| *part)
            };
            let parts: Option<Vec<f64>> = match budget.of {
                BudgetOf::Domain(domain) => Some(chains.iter().map(|chain| part(chain, domain.0)).collect()),
                BudgetOf::Workloads(_) => None,
            };
            let joules = |draws: &Draws, from: Moment, until: Moment| -> f64 {
                let each = draws.iter().map(|(pool, load, end)| {
                    let part = parts.as_ref().map_or(0.0, |parts| parts[pool.0]);
                    watts_at_least(problem, *pool, *load) * part * ((*end).min(until) - from).0.max(0) as f64
                });
                each.sum()
            };
            let mut prices = vec![None; edges.len() - 1];
            let mut free = Vec::new();
            for window in &budget.windows {
                let (from, until) = (window.from.max(begin), window.until.min(last));
                if from >= until {
                    continue;
                }
                let place = budgets.windows.len();
                for (cell, pair) in edges.windows(2).enumerate() {
                    if from <= pair[0] && pair[1] <= until {
                        prices[cell] = Some(place);
                    }
                }
                // what stands there draws for the whole of the window, also behind the last cell
                let idle = match budget.of {
                    BudgetOf::Domain(domain) => idle.taken(domain, from).0 as f64 * (window.until - from).0 as f64,
                    BudgetOf::Workloads(_) => 0.0,
                };
                let left = window.left.0 as f64 - idle - joules(anyway, from, window.until);
                let left = left.max(joules(held, from, window.until)).max(0.0);
                budgets.windows.push((i, from, until));
                free.push(left / (until - from).0 as f64);
            }
            scarce.push(Scarce { free, most: None });
            budgets.each.push(Budget { prices, parts });
        }
        (budgets, scarce)
    }

    /// Where the first of their prices stands among all prices.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// The seconds of each of their windows that are looked at, in the order of their prices.
    pub(super) fn lengths(&self) -> impl Iterator<Item = f64> + '_ {
        self.windows.iter().map(|(_, from, until)| (*until - *from).0 as f64)
    }

    /// Which of them a workload may draw on.
    pub(super) fn of(&self, problem: &Problem, workload: &Workload) -> Vec<usize> {
        let budgets = problem.constraints.budgets.iter().enumerate();
        let is_its = |of: &BudgetOf| match of {
            BudgetOf::Domain(_) => true,
            BudgetOf::Workloads(ids) => ids.binary_search(&workload.id).is_ok(),
        };
        budgets.filter(|(_, budget)| is_its(&budget.of)).map(|(i, _)| i).collect()
    }

    /// What a workload uses of them in a cell where it draws so many watts in a pool, and pays for so many: which of their prices it
    /// is, and watts.
    pub(super) fn uses<'b>(
        &'b self,
        offer: &'b Offer,
        (pool, watts, paid): (usize, f64, f64),
        cell: usize,
    ) -> impl Iterator<Item = (usize, f64)> + 'b {
        offer.budgets.iter().filter_map(move |budget| {
            let Budget { prices, parts } = &self.each[*budget];
            let price = (*prices.get(cell)?)?;
            Some((price, parts.as_ref().map_or(paid, |parts| watts * parts[pool])))
        })
    }

    /// What each window is worth that is worth something, of the prices of all; `unit` is what a price of a watt and a second is of a kWh.
    pub(super) fn worth(&self, problem: &Problem, prices: &[f64], unit: f64) -> Vec<ScarcePrice> {
        let each = self.windows.iter().zip(&prices[self.first..]).map(|((budget, from, until), price)| ScarcePrice {
            of: problem.constraints.budgets[*budget].name.clone(),
            is_watts: true,
            from: *from,
            until: *until,
            price: crate::units::Money((price * unit) as i64),
        });
        each.filter(|price| price.price != crate::units::Money::ZERO).collect()
    }

    /// When any of their windows begins or ends.
    pub(super) fn edges(problem: &Problem) -> impl Iterator<Item = Moment> + '_ {
        let windows = problem.constraints.budgets.iter().flat_map(|budget| &budget.windows);
        windows.flat_map(|window| [window.from, window.until])
    }
}
