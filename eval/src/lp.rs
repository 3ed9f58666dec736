//! The exact optimum of one moment: most work within these watts, floors first.

use crate::data::Job;
use good_lp::{Expression, ProblemVariables, SolverModel, clarabel, constraint, variable};

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
