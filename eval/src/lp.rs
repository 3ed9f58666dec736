//! Exact optima: of one moment, most work within these watts, floors first; of a plan, least cost within caps and deadlines.

use crate::data::Job;
use good_lp::{Expression, ProblemVariables, SolverModel, clarabel, constraint, variable};
use heliotrope::core::plan::{BudgetOf, PoolChoice, PoolId, Problem, Supply};
use heliotrope::units::{Moment, Seconds, Watts};
use std::collections::BTreeMap;

/// How fast each workload can be within so many watts, so that together they do the most work; as parts of their highest speeds.
///
/// A workload mixes its measured points in time, so no division that holds one limit can do more. What is below a floor costs
/// far more than anything above one is worth: where all floors fit, they are kept; where they don't, the least is missing.
///
/// # Errors
/// Where the solver finds no optimum: not even the lowest points fit.
pub fn best(jobs: &[Job], watts: f64) -> Result<Vec<f64>, String> {
    let mut variables = ProblemVariables::new();
    let (mut drawn, mut value, mut speeds, mut constraints) =
        (Expression::from(0.0), Expression::from(0.0), Vec::new(), Vec::new());
    for job in jobs {
        let gpus = f64::from(job.gpus);
        let (mut speed, mut sum) = (Expression::from(0.0), Expression::from(0.0));
        for (_, draw, fast) in &job.points {
            let part = variables.add(variable().min(0.0));
            sum += part;
            drawn += part * (draw * gpus / 1000.0);
            speed += part * *fast;
        }
        let missing = variables.add(variable().min(0.0));
        constraints.push(constraint!(sum == 1.0));
        constraints.push(constraint!(speed.clone() + missing >= job.floor));
        value += speed.clone() * gpus - missing * (gpus * 100.0);
        speeds.push(speed);
    }
    constraints.push(constraint!(drawn <= watts / 1000.0));
    let mut model = variables.maximise(value).using(clarabel);
    model.settings().verbose(false);
    for constraint in constraints {
        model.add_constraint(constraint);
    }
    let solution = model.solve().map_err(|error| format!("the LP at {watts:.0} W: {error}"))?;
    Ok(speeds.iter().map(|speed| speed.eval_with(&solution)).collect())
}

/// The speeds together, each weighted by its accelerators.
#[must_use]
pub fn weighted(jobs: &[Job], speeds: &[f64]) -> f64 {
    let all: f64 = jobs.iter().map(|job| f64::from(job.gpus)).sum();
    jobs.iter().zip(speeds).map(|(job, speed)| f64::from(job.gpus) * speed).sum::<f64>() / all
}

/// What the exact optimum of a problem costs, and what it uses of what the site generates.
#[derive(Debug, Clone, Copy)]
pub struct Optimum {
    /// In price × watts × seconds.
    pub cost: f64,
    /// Joules that were generated on the site and used there. Nothing where nothing is generated.
    pub own: f64,
}

/// The least that the work of a problem costs, in price × watts × seconds: [`optimum`].
///
/// # Errors
/// As [`optimum`].
pub fn least_cost(problem: &Problem) -> Result<f64, String> {
    optimum(problem).map(|optimum| optimum.cost)
}

/// The least that the work of a problem costs within its deadlines, the caps and energy budgets of its domains and the accelerators of its pools,
/// where each workload may be cut at will, and caps and what is generated on the site hold as means over each hour. No plan costs less.
///
/// Of several operating points each hour may hold any mix. Hosts are counted as shared by nobody. Baselines and idle draw are left
/// away, as is what runs already: for settings that have none.
///
/// # Errors
/// Where a workload has no deadline, and where the solver finds no optimum: not all deadlines can be kept.
pub fn optimum(problem: &Problem) -> Result<Optimum, String> {
    let cells = cells(problem)?;
    let mut variables = ProblemVariables::new();
    let mut cost = Expression::from(0.0);
    let (mut work, mut once) = (Vec::new(), Vec::new());
    // what each supply gives in each cell beyond what is generated
    let mut drawn: BTreeMap<(usize, usize), Expression> = BTreeMap::new();
    // by domain, or by pool after all domains, and by cell
    let mut used: BTreeMap<(usize, usize), Expression> = BTreeMap::new();
    let hours = |span: Seconds| span.0 as f64 / 3600.0;
    for workload in &problem.workloads {
        let by = workload.finish_by.unwrap_or(problem.now);
        let mut done = Expression::from(0.0);
        for (at, (start, end)) in cells.iter().enumerate() {
            let most = hours((*end).min(by) - (*start).max(problem.starts_from(workload)));
            if most <= 0.0 {
                continue;
            }
            let mut here = Expression::from(0.0);
            for choice in &workload.choices {
                let runs = variables.add(variable().min(0.0));
                here += runs;
                done += runs * choice.pace.part();
                let (pool, watts) = (problem.pool(choice.pool), with_hosts(problem, choice));
                let mut kilowatts = watts.0 as f64 / 1000.0;
                for domain in problem.tree.chain(pool.domain) {
                    kilowatts *= 1.0 + f64::from(problem.tree.get(domain).spec.overhead_permille) / 1000.0;
                    *used.entry((domain.0, at)).or_default() += runs * kilowatts;
                }
                *used.entry((problem.tree.len() + choice.pool.0, at)).or_default() +=
                    runs * f64::from(choice.load.accelerators);
                // charged are whole watts, as the site's meter shows them
                let seen = problem.tree.seen_from_above(pool.domain, watts).last();
                let paid = seen.map_or(watts, |(_, watts)| watts).0 as f64 / 1000.0;
                let (supply, price) = (pool.supply, problem.supply(choice.pool).price.at(*start));
                if is_own_used(&problem.supplies[supply], *start) {
                    *drawn.entry((supply, at)).or_default() += runs * paid;
                } else {
                    cost += runs * (price as f64 / 1e6 * paid);
                }
            }
            once.push(constraint!(here <= most));
        }
        work.push(constraint!(done == hours(workload.remaining)));
    }
    let caps: Vec<f64> = problem
        .tree
        .iter()
        .flat_map(|(_, domain)| cells.iter().map(|cell| domain.spec.cap.at(cell.0).0 as f64 / 1000.0))
        .collect();
    let mut own = Expression::from(0.0);
    for ((supply, at), drawn) in drawn {
        let (start, end) = cells[at];
        let supply = &problem.supplies[supply];
        let generated = supply.own.as_ref().map_or(0, |own| own.at(start)).max(0) as f64 / 1000.0;
        // what is generated is used or not, and the rest is bought
        let used = variables.add(variable().min(0.0).max(generated * hours(end - start)));
        let bought = variables.add(variable().min(0.0));
        once.push(constraint!(drawn == used + bought));
        own += used;
        cost += bought * (supply.price.at(start) as f64 / 1e6);
    }
    let mut model = variables.minimise(cost.clone()).using(clarabel);
    model.settings().verbose(false);
    for constraint in work.into_iter().chain(once) {
        model.add_constraint(constraint);
    }
    for (spent, left) in spent(problem, &cells, &used) {
        model.add_constraint(constraint!(spent <= left));
    }
    for ((scarce, at), used) in used {
        let span = hours(cells[at].1 - cells[at].0);
        let has = match scarce.checked_sub(problem.tree.len()) {
            None => caps[scarce * cells.len() + at],
            Some(pool) => f64::from(problem.in_service(PoolId(pool), cells[at].0)),
        };
        // what no sum of all that is there could reach is no constraint
        if has < 1e5 {
            model.add_constraint(constraint!(used <= has * span));
        }
    }
    let solution =
        model.solve().map_err(|error| format!("the LP of {} workloads: {error}", problem.workloads.len()))?;
    // millions × kW × h, in millionths × W × s
    let cost = cost.eval_with(&solution) * 1e6 * 1000.0 * 3600.0;
    Ok(Optimum { cost, own: own.eval_with(&solution) * 1000.0 * 3600.0 })
}

/// Is something generated then that costs less than what is bought? At a negative price all is drawn from outside.
fn is_own_used(supply: &Supply, at: Moment) -> bool {
    supply.price.at(at) >= 0 && supply.own.as_ref().is_some_and(|own| own.at(at) > 0)
}

/// What is drawn of each window of each domain's energy budget, and what there is of it: kWh.
fn spent(
    problem: &Problem,
    cells: &[(Moment, Moment)],
    used: &BTreeMap<(usize, usize), Expression>,
) -> Vec<(Expression, f64)> {
    let mut all = Vec::new();
    for budget in &problem.constraints.budgets {
        let BudgetOf::Domain(domain) = budget.of else { continue };
        for window in &budget.windows {
            let inside = cells.iter().enumerate().filter(|(_, cell)| window.from <= cell.0 && cell.1 <= window.until);
            let mut spent = Expression::from(0.0);
            inside.filter_map(|(at, _)| used.get(&(domain.0, at))).for_each(|used| spent += used.clone());
            all.push((spent, window.left.as_kwh()));
        }
    }
    all
}

/// What a choice draws with its hosts.
pub(crate) fn with_hosts(problem: &Problem, choice: &PoolChoice) -> Watts {
    choice.load.watts + problem.pool(choice.pool).host_extra.times(choice.load.hosts)
}

/// From now until the last deadline, cut at each hour and wherever a price, a cap or what is generated changes.
fn cells(problem: &Problem) -> Result<Vec<(Moment, Moment)>, String> {
    let by = |workload: &heliotrope::core::plan::Workload| {
        workload.finish_by.ok_or_else(|| format!("{} has no deadline: the LP needs one of each", workload.id))
    };
    let ends = problem.workloads.iter().map(by).collect::<Result<Vec<Moment>, String>>()?;
    let (now, end) = (problem.now, ends.into_iter().max().unwrap_or(problem.now));
    let mut edges = vec![now, end];
    for supply in &problem.supplies {
        edges.extend(supply.price.changes_between(now, end));
        edges.extend(supply.own.iter().flat_map(|own| own.changes_between(now, end)));
    }
    edges.extend(problem.tree.iter().flat_map(|(_, domain)| domain.spec.cap.changes_between(now, end)));
    let windows = problem.constraints.budgets.iter().flat_map(|budget| &budget.windows);
    let windows = windows.flat_map(|window| [window.from, window.until]);
    let outages = problem.constraints.outages.iter().flat_map(|outage| [outage.from, outage.until]);
    edges.extend(windows.chain(outages).filter(|at| now < *at && *at < end));
    let mut hour = now.floor(Seconds::HOUR) + Seconds::HOUR;
    while hour < end {
        edges.push(hour);
        hour = hour + Seconds::HOUR;
    }
    edges.sort_unstable();
    edges.dedup();
    Ok(edges.windows(2).map(|pair| (pair[0], pair[1])).collect())
}
