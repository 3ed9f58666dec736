//! Plans as they are shown and stored: names where the core has places, times as people write them.

use super::super::status::in_time;
use super::Last;
use crate::core::plan::{
    Change, Entry, Explanation, Obstacle, Outlook, PoolId, PowerPlan, Problem, Run, ScarcePrice, Short, Workload,
    costs_at_most,
};
use crate::units::{Moment, Money, Seconds};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A plan as it is shown and stored: names where the core has places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Its generation.
    pub generation: u64,
    /// What it was made by.
    pub policy: String,
    /// When it was made.
    pub made: String,
    /// Its digest, as in the status of roots.
    pub digest: String,
    /// The digest of the one before it; none for the first after a start.
    pub parent: Option<String>,
    /// What all runs cost, in the currency of the price signal.
    pub cost: f64,
    /// What they cost if supply costs in each hour as much as nine of ten like it stay under; none where all of it is known.
    #[serde(default)]
    pub cost_at_most: Option<f64>,
    /// What no plan that keeps all deadlines costs less than; none where it was not sought.
    pub bound: Option<f64>,
    /// How far above that it may be, in percent.
    pub gap_percent: Option<f64>,
    /// Workloads that miss their deadlines.
    pub misses: usize,
    /// What is scarce, and what it is worth.
    pub scarce: Vec<ShownPrice>,
    /// One for each workload.
    pub entries: Vec<ShownEntry>,
}

/// A workload in a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownEntry {
    /// Namespace and name.
    pub workload: String,
    /// The UID of its Job.
    pub uid: String,
    /// When and where it runs.
    pub runs: Vec<ShownRun>,
    /// Seconds later than asked.
    pub late_seconds: i64,
    /// Seconds later than asked where it takes as long as it may well take, and is in time else.
    #[serde(default)]
    pub at_risk_seconds: i64,
    /// Why so.
    pub why: String,
}

/// A run in a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownRun {
    /// The pool.
    pub pool: String,
    /// From when.
    pub start: String,
    /// Until when.
    pub end: String,
    /// How fast, in percent of its full speed; left out at full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace_percent: Option<f64>,
}

/// What something scarce is worth for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownPrice {
    /// The domain or the pool.
    pub of: String,
    /// Of its watts, by the kWh; of its accelerators, by the hour, where it is false.
    pub is_watts: bool,
    /// From when.
    pub from: String,
    /// Until when.
    pub until: String,
    /// In the currency of the price signal.
    pub price: f64,
}

/// What planning afresh would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    /// When it was looked at.
    pub now: String,
    /// What the plan in force costs from now on, and the other one.
    pub cost: (f64, f64),
    /// What no plan that keeps all deadlines costs less than.
    pub bound: Option<f64>,
    /// Workloads that miss their deadlines, now and then.
    pub misses: (usize, usize),
    /// What would be otherwise; empty where nothing would.
    pub changes: Vec<ShownChange>,
}

/// A workload that would run otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownChange {
    /// Namespace and name.
    pub workload: String,
    /// When and where it runs by the plan in force.
    pub before: Vec<ShownRun>,
    /// When and where it would.
    pub after: Vec<ShownRun>,
    /// Seconds later than asked it would finish.
    pub late_seconds: i64,
    /// Seconds later than asked where it takes as long as it may well take, and would be in time else.
    #[serde(default)]
    pub at_risk_seconds: i64,
    /// Why.
    pub why: String,
}

/// Why a workload runs when it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownExplanation {
    /// Namespace and name.
    pub workload: String,
    /// When it was looked at.
    pub now: String,
    /// The reason in its status, and its text.
    pub reason: String,
    /// In words.
    pub text: String,
    /// When and where it runs.
    pub runs: Vec<ShownRun>,
    /// What stands in its way now, in words.
    pub obstacles: Vec<String>,
    /// What it costs as planned and from now on, in words; none where it can run nowhere.
    pub costs: Option<String>,
    /// How it stands with its deadline, in words; none where it has none.
    #[serde(default)]
    pub deadline: Option<String>,
}

impl Shown {
    /// A plan as it is shown.
    pub(super) fn new(last: &Last, digest: String, parent: Option<String>) -> Self {
        let plan = &last.plan;
        let entry = |entry: &Entry| {
            let (late_seconds, at_risk_seconds) = standing(last.problem.outlook(entry));
            ShownEntry {
                workload: last.name(&entry.id),
                uid: entry.id.to_string(),
                runs: runs(&last.problem, &entry.runs),
                late_seconds,
                at_risk_seconds,
                why: format!("{:?}", entry.why),
            }
        };
        Self {
            generation: plan.generation,
            policy: plan.policy.to_owned(),
            made: plan.made.to_string(),
            digest,
            parent,
            cost: plan.cost.as_units(),
            cost_at_most: costs_at_most(&last.problem, plan).map(Money::as_units),
            bound: plan.bound.map(Money::as_units),
            gap_percent: plan.gap().map(|gap| gap * 100.0),
            misses: last.problem.missed(plan),
            scarce: plan.scarce.iter().map(ShownPrice::new).collect(),
            entries: plan.entries.iter().map(entry).collect(),
        }
    }
}

impl ShownPrice {
    fn new(price: &ScarcePrice) -> Self {
        Self {
            of: price.of.clone(),
            is_watts: price.is_watts,
            from: price.from.to_string(),
            until: price.until.to_string(),
            price: price.price.as_units(),
        }
    }
}

impl DryRun {
    /// What another plan would do otherwise than the one in force.
    pub(super) fn new(last: &Last, problem: &Problem, other: &PowerPlan, changes: &[Change]) -> Self {
        let change = |change: &Change| {
            let (late_seconds, at_risk_seconds) = standing(change.outlook);
            ShownChange {
                workload: last.name(&change.id),
                before: runs(problem, &change.before),
                after: runs(problem, &change.after),
                late_seconds,
                at_risk_seconds,
                why: format!("{:?}", change.why),
            }
        };
        Self {
            now: problem.now.to_string(),
            cost: (last.plan.cost.as_units(), other.cost.as_units()),
            bound: other.bound.map(Money::as_units),
            misses: (last.problem.missed(&last.plan), problem.missed(other)),
            changes: changes.iter().map(change).collect(),
        }
    }
}

impl ShownExplanation {
    /// Why a workload runs when it does: its verdict, and what the plan says of it, where it is planned.
    pub(super) fn new(
        last: &Last,
        uid: &str,
        workload: &str,
        verdict: (String, String),
        why: Option<&Explanation>,
    ) -> Self {
        let deadline = last.problem.workload(uid).and_then(Workload::deadline);
        let outlook = last.plan.entry(uid).and_then(|entry| last.problem.outlook(entry));
        Self {
            workload: workload.to_owned(),
            now: last.problem.now.to_string(),
            reason: verdict.0,
            text: verdict.1,
            runs: why.map(|why| runs(&last.problem, &why.runs)).unwrap_or_default(),
            obstacles: why.iter().flat_map(|why| &why.obstacles).map(in_words).collect(),
            costs: why.and_then(costs),
            deadline: outlook.zip(deadline).map(|(outlook, deadline)| in_time(outlook, deadline).2),
        }
    }
}

fn runs(problem: &Problem, runs: &[Run]) -> Vec<ShownRun> {
    let pool = |pool: PoolId| problem.pools.get(pool.0).map_or_else(String::new, |pool| pool.name.clone());
    let shown = |run: &Run| ShownRun {
        pool: pool(run.pool),
        start: run.start.to_string(),
        end: run.end.to_string(),
        pace_percent: (!run.pace.is_full()).then(|| run.pace.part() * 100.0),
    };
    runs.iter().map(shown).collect()
}

/// "row-1 is full until 14:30: 2.1 kW short".
fn in_words(obstacle: &Obstacle) -> String {
    let short = match obstacle.short {
        Short::Watts(watts) => format!("{watts} short"),
        Short::Accelerators(count) => format!("{count} accelerators short"),
        Short::Energy(energy) => format!("{energy} short"),
        Short::Ramp => "no more may start or end in this slot".to_owned(),
    };
    let until = |until: Moment| format!("from {until} on the whole of it fits");
    let until = obstacle.until.map_or("the whole of it never fits as things stand".to_owned(), until);
    let unit = if matches!(obstacle.short, Short::Accelerators(_)) { "an hour of an accelerator" } else { "a kWh" };
    let worth = obstacle.worth.map(|worth| format!("; {unit} more there would save {worth}")).unwrap_or_default();
    let at = if obstacle.full == obstacle.pool { String::new() } else { format!(", for {}", obstacle.pool) };
    format!("{} is full at {}{at}: {short}; {until}{worth}", obstacle.full, obstacle.from)
}

fn costs(why: &Explanation) -> Option<String> {
    let (planned, at_once) = (why.planned?, why.at_once?);
    let money = |more: Money| match more.0.signum() {
        0 => "as much".to_owned(),
        1 => format!("{more} more"),
        _ => format!("{} less", Money(-more.0)),
    };
    let mut text = format!(
        "{} as planned; from now on without a break it would be {}",
        planned.money,
        money(at_once.money - planned.money)
    );
    if let (Some(now), Some(then)) = (at_once.carbon, planned.carbon) {
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!(", and {} instead of {then}", now));
    }
    if planned.own.0 > 0 || at_once.own.0 > 0 {
        let (energy, own, now) = (planned.energy, planned.own, at_once.own);
        let made = format_args!("; {own} of {energy} are made on the site and cost nothing, from now on {now}");
        let _ = std::fmt::Write::write_fmt(&mut text, made);
    }
    Some(text)
}

impl fmt::Display for ShownRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} in {}", self.start, self.end, self.pool)?;
        self.pace_percent.map_or(Ok(()), |pace| write!(f, " at {pace:.0} % of its speed"))
    }
}

/// Runs in words.
fn all(runs: &[ShownRun]) -> String {
    match runs {
        [] => "nowhere".to_owned(),
        runs => runs.iter().map(ShownRun::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Seconds that a deadline is missed by, and those that it may be missed by.
fn standing(outlook: Option<Outlook>) -> (i64, i64) {
    match outlook {
        Some(Outlook::Late(late)) => (late.0, 0),
        Some(Outlook::AtRisk(late)) => (0, late.0),
        Some(Outlook::OnTime) | None => (0, 0),
    }
}

fn late(seconds: i64, at_risk: i64) -> String {
    match (seconds, at_risk) {
        (0, 0) => String::new(),
        (0, late) => format!(", {} late if it takes as long as it may", Seconds(late)),
        (late, _) => format!(", {} late", Seconds(late)),
    }
}

fn bound(bound: Option<f64>) -> String {
    bound.map(|bound| format!("; no plan that keeps all deadlines costs less than {bound:.2}")).unwrap_or_default()
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, made, digest, cost, misses, .. } = self;
        writeln!(f, "plan {generation} of {made}, {digest}")?;
        let dear = self.cost_at_most.map(|dear| format!(" as guessed, {dear:.2} if all of it is as dear as it may be"));
        let dear = dear.unwrap_or_default();
        let gap = self.gap_percent.map(|gap| format!(", {gap:.2} % above it at most")).unwrap_or_default();
        writeln!(
            f,
            "costs {cost:.2}{dear}{}{gap}; {misses} of {} miss their deadlines",
            bound(self.bound),
            self.entries.len()
        )?;
        for price in &self.scarce {
            let unit = if price.is_watts { "a kWh" } else { "an accelerator hour" };
            writeln!(f, "{} is scarce from {} to {}: {:.4} {unit}", price.of, price.from, price.until, price.price)?;
        }
        for entry in &self.entries {
            let late = late(entry.late_seconds, entry.at_risk_seconds);
            writeln!(f, "{}: {}{late} ({})", entry.workload, all(&entry.runs), entry.why)?;
        }
        Ok(())
    }
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, cost, misses, changes, .. } = self;
        writeln!(
            f,
            "at {now}: the plan in force costs {:.2}, {} deadlines missed{}",
            cost.0,
            misses.0,
            bound(self.bound)
        )?;
        if changes.is_empty() {
            return writeln!(f, "planned afresh nothing would change: nothing gains more than a change is worth");
        }
        writeln!(
            f,
            "planned afresh it would cost {:.2}, {} deadlines missed; {} would change:",
            cost.1,
            misses.1,
            changes.len()
        )?;
        for ShownChange { workload, before, after, late_seconds, at_risk_seconds, why } in changes {
            let late = late(*late_seconds, *at_risk_seconds);
            writeln!(f, "{workload}: {}{late} instead of {} ({why})", all(after), all(before))?;
        }
        Ok(())
    }
}

impl fmt::Display for ShownExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}", self.workload, self.now)?;
        match self.reason.as_str() {
            "" => writeln!(f, "  it is not planned: it has ended, or is just stopping")?,
            reason => writeln!(f, "  {reason}: {}", self.text)?,
        }
        if !self.runs.is_empty() {
            writeln!(f, "  planned: {}", all(&self.runs))?;
        }
        if let Some(deadline) = &self.deadline {
            writeln!(f, "  {deadline}")?;
        }
        for obstacle in &self.obstacles {
            writeln!(f, "  {obstacle}")?;
        }
        if let Some(costs) = &self.costs {
            writeln!(f, "  costs {costs}")?;
        }
        Ok(())
    }
}
