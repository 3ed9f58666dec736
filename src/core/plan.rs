//! When and where each workload runs.
//!
//! A [`Problem`] is the world as values; a [`Policy`] makes a [`PowerPlan`] of it; the [`checker`] reads both,
//! shares no code with any policy, and nothing that it refuses is carried out.

mod alone;
mod budgets;
mod changes;
pub mod checker;
mod constraints;
mod cost;
mod crowd;
mod draft;
mod draws;
mod dual;
mod early;
mod explain;
mod free;
mod heliotrope;
mod improve;
mod ledger;
mod lengths;
mod order;
mod place;
mod points;
mod policy;
mod prices;
mod problem;
mod published;
mod repair;
mod room;
mod seconds;
mod slots;
mod spent;
mod stops;
mod sweeps;

pub use changes::{Change, changes};
pub use constraints::{BudgetOf, BudgetWindow, Constraints, EnergyBudget, Mistake, Outage, RampLimit};
pub use explain::{Cost, Explanation, Obstacle, Short, costs_at_most, explain};
pub use heliotrope::Heliotrope;
pub use ledger::{Ledger, Shortage};
pub use lengths::{Outlook, Uncertain};
pub use points::{NotWorth, Pace, Rise, rises, worth_choosing};
pub use policy::{POLICIES, Policy, RunNow, by_name};
pub use problem::{
    Asking, Entry, Fixed, Load, Pool, PoolChoice, PoolId, PowerPlan, Problem, Run, Running, ScarcePrice, Supply,
    Suspension, Why, Workload, WorkloadId,
};
pub use published::{Published, Slowing};
