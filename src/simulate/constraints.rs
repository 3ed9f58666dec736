//! What a scenario binds plans by beside caps: energy budgets, ramps, maintenance, and the order of workloads.

use super::meter::Meter;
use super::scenario::{Scenario, ScenarioPool};
use super::work::Job;
use crate::core::domain::{DomainId, DomainTree};
use crate::core::plan::{BudgetOf, BudgetWindow, Constraints, EnergyBudget, Mistake, Outage, PoolId, RampLimit};
use crate::units::{Joules, Moment, Seconds, Watts};
use crate::yaml::{Document, YamlError};

/// The most windows of a budget: ten years of hours.
const WINDOWS: i64 = 87_660;

/// All of it, as the scenario begins.
pub(super) fn constraints(
    document: &Document,
    scenario: &Scenario,
    tree: &DomainTree,
    jobs: &[Job],
) -> Result<Constraints, YamlError> {
    let mut constraints = Constraints::default();
    for (i, domain) in scenario.site.domains.iter().enumerate() {
        let field = |name: &str| format!("site.domains[{i}].{name}");
        let Some(id) = tree.find(&domain.name) else { continue };
        let ramp = |watts: Option<u32>, name: &str| match watts {
            Some(0) => Err(document.error(&field(name), "lets nothing change: leave it away, or say more than 0")),
            watts => Ok(watts.map(|watts| Watts(i64::from(watts)))),
        };
        let up = ramp(domain.ramp_up_watts_per_second, "rampUpWattsPerSecond")?;
        let down = ramp(domain.ramp_down_watts_per_second, "rampDownWattsPerSecond")?;
        if up.is_some() || down.is_some() {
            constraints.ramps.push(RampLimit { domain: id, up, down });
        }
        for (j, budget) in domain.energy_budgets.iter().enumerate() {
            let field = |name: &str| field(&format!("energyBudgets[{j}].{name}"));
            if budget.every <= Seconds::ZERO || scenario.duration.0 / budget.every.0 > WINDOWS {
                let what = format!("must be longer than nothing, and in the scenario at most {WINDOWS} times");
                return Err(document.error(&field("every"), what));
            }
            let left = Joules::kwh(budget.kwh);
            let starts =
                (0..=(scenario.duration.0 - 1) / budget.every.0).map(|n| scenario.start + Seconds(n * budget.every.0));
            let windows = starts.map(|from| BudgetWindow { from, until: from + budget.every, left });
            let name = format!("{} kWh of {} every {}", budget.kwh, domain.name, budget.every);
            constraints.budgets.push(EnergyBudget { name, of: BudgetOf::Domain(id), windows: windows.collect() });
        }
    }
    constraints.outages = outages(document, &scenario.site.pools)?;
    for (i, workload) in scenario.workloads.iter().enumerate() {
        for (j, first) in workload.after.iter().enumerate() {
            let bad = |what: String| Err(document.error(&format!("workloads[{i}].after[{j}]"), what));
            let find = |name: &str| jobs.iter().find(|job| *job.id == *name);
            let (Some(before), Some(own)) = (find(first), find(&workload.name)) else {
                return bad(format!("there is no workload `{first}`"));
            };
            if before.arrival > own.arrival {
                return bad(format!(
                    "`{first}` arrives at {}, after this one: nobody waits for what is not there yet",
                    before.arrival
                ));
            }
            constraints.after.push((before.id.clone(), own.id.clone()));
        }
    }
    match constraints.circle() {
        Some(id) => Err(document.error("workloads", Mistake::Circle { id })),
        None => Ok(constraints),
    }
}

fn outages(document: &Document, pools: &[ScenarioPool]) -> Result<Vec<Outage>, YamlError> {
    let mut outages = Vec::new();
    for (i, pool) in pools.iter().enumerate() {
        let all = pool.nodes.saturating_mul(pool.accelerators_per_node);
        for (j, window) in pool.maintenance.iter().enumerate() {
            let bad =
                |name: &str, what: &str| Err(document.error(&format!("site.pools[{i}].maintenance[{j}].{name}"), what));
            if window.until <= window.from {
                return bad("until", "is not after from");
            }
            let accelerators = window.accelerators.unwrap_or(all);
            if accelerators == 0 || accelerators > all {
                return bad("accelerators", &format!("must be from 1 to {all}, what the pool has"));
            }
            outages.push(Outage { pool: PoolId(i), accelerators, from: window.from, until: window.until });
        }
    }
    Ok(outages)
}

/// What is still ahead of it: of windows that have begun what is left after what the meter has read.
pub(super) fn ahead(all: &Constraints, meter: &Meter<'_>, now: Moment) -> Constraints {
    let budgets = all.budgets.iter().map(|budget| {
        let spent = |window: &BudgetWindow| match budget.of {
            BudgetOf::Domain(DomainId(domain)) if window.from < now => meter.energy(domain, window.from, now),
            _ => Joules(0),
        };
        let windows = budget.windows.iter().filter(|window| window.until > now);
        let windows = windows.map(|window| BudgetWindow { left: window.left - spent(window), ..*window });
        EnergyBudget { windows: windows.collect(), ..budget.clone() }
    });
    let outages = all.outages.iter().filter(|outage| outage.until > now).copied();
    Constraints { budgets: budgets.collect(), outages: outages.collect(), ..all.clone() }
}
