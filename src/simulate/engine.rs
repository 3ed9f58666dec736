//! Virtual time: from one moment at which something happens to the next, with the same `cycle` as in a cluster.

use super::bound::lower_bound;
use super::constraints;
use super::curves::OperatingPoint;
use super::meter::{InUse, Meter};
use super::outcome::{DomainOutcome, Outcome, Ran, WorkloadOutcome};
use super::setup::Setup;
use super::work::Job;
use crate::core::admit::{Action, Cycle, Reason, cycle};
use crate::core::domain::DomainId;
use crate::core::forecast::Outlook;
use crate::core::plan::checker::Note;
use crate::core::plan::{
    Load, Pace, Policy, PoolChoice, PoolId, PowerPlan, Problem, Run, RunNow, Running, Supply, Suspension, Workload,
};
use crate::core::steps::Steps;
use crate::units::{CarbonIntensity, GramsCo2e, Joules, Moment, Money, PricePerMwh, PricePerTonne, Seconds, Watts};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The weight of carbon where a scenario has a carbon signal but neither a price nor a price of carbon: with nothing
/// else to weigh it against, any weight gives the same plans. Costs are then not charged for it.
const CARBON_ALONE: PricePerTonne = PricePerTonne::units(100);

/// A job in the course of the run.
struct Progress<'a> {
    job: &'a Job,
    /// What is left to do, as it truly is, in millionths of the work of a second at full.
    left: i128,
    running: Option<Running>,
    /// What it did: a run for each time at one point.
    runs: Vec<Run>,
    finished: Option<Moment>,
    waits: Vec<(&'static str, String, Seconds)>,
}

impl Progress<'_> {
    /// What is done of its work, whole seconds at full.
    fn done(&self) -> Seconds {
        let done = Pace::FULL.work(self.job.length) - self.left.max(0);
        Seconds(i64::try_from(done.div_euclid(SECOND)).unwrap_or(i64::MAX))
    }

    /// At which point it runs, if it does.
    fn point(&self) -> Option<(PoolId, OperatingPoint)> {
        let running = self.running?;
        let point = self.job.points.iter().find(|point| point.pace == running.pace)?;
        Some((running.pool, *point))
    }

    /// When it has nothing left to do if it goes on as it does: at a whole second, of which it may not need all.
    fn ends(&self, now: Moment) -> Option<Moment> {
        let pace = i128::from(self.running?.pace.per_million());
        Some(now + Seconds(i64::try_from((self.left + pace - 1).div_euclid(pace)).unwrap_or(i64::MAX / 4)))
    }
}

/// The work of a second at full, in millionths.
const SECOND: i128 = 1_000_000;

/// A plan that the checker refuses: a fault of the policy, not of the scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan that {policy} made at {at} is refused: {note}. This is a fault of the policy: please report it")]
pub struct RefusedPlan {
    /// Which policy.
    pub policy: String,
    /// When it planned.
    pub at: Moment,
    /// What is wrong with it.
    pub note: Note,
}

/// What is known of what comes changes with each hour and with each value of a signal; where these come faster it is looked at again
/// as often as this, since a cycle for each would tell nothing more.
const LOOK_AGAIN: Seconds = Seconds(300);

/// How far a plan looks. Longer than any wait: nothing is planned on what lies beyond.
const LOOK_AHEAD: Seconds = Seconds(7 * Seconds::DAY.0);

/// Runs a scenario under a policy. `tell` hears how far it is, in thousandths.
///
/// # Errors
/// Where a plan is refused by the checker: nothing of such a run is worth telling.
pub fn run(setup: &Setup, policy: &dyn Policy, tell: &dyn Fn(u64)) -> Result<Outcome, RefusedPlan> {
    let mut engine = Engine::new(setup, policy);
    let mut now = setup.start;
    while now < setup.end {
        engine.step(now)?;
        let next = engine.next_event(now).min(setup.end);
        engine.advance(now, next);
        let span = (setup.end - setup.start).0.max(1);
        tell(((next - setup.start).0 * 1000 / span).unsigned_abs());
        now = next;
    }
    engine.finish(now);
    Ok(engine.outcome())
}

/// All that will come, as one would plan it who knows it from the beginning.
#[must_use]
pub fn foreseen(setup: &Setup) -> Problem {
    let engine = Engine::new(setup, &RunNow);
    let all: Vec<usize> = (0..setup.jobs.len()).collect();
    engine.problem(setup.start, &all, true, setup.end).0
}

/// How long work is believed to take in all. Who outlives what was believed is believed to go on for half as long again: of what
/// has lasted long already more is left as a rule.
fn believed(at_first: Seconds, done: Seconds) -> Seconds {
    let mut length = at_first;
    while length <= done {
        length += Seconds((length.0 / 2).max(1));
    }
    length
}

struct Engine<'a> {
    setup: &'a Setup,
    policy: &'a dyn Policy,
    /// All jobs by arrival; those before `arrived` are there.
    jobs: Vec<Progress<'a>>,
    arrived: usize,
    meter: Meter<'a>,
    price: Outlook,
    carbon: Option<Outlook>,
    /// What is generated on the site beyond what it draws with nothing running.
    own: Option<Outlook>,
    plan: Option<Arc<PowerPlan>>,
    verdicts: BTreeMap<usize, (&'static str, String)>,
    last_thorough: Option<Moment>,
    suspensions: u64,
    limit_changes: u64,
    plans: u64,
}

impl<'a> Engine<'a> {
    fn new(setup: &'a Setup, policy: &'a dyn Policy) -> Self {
        let jobs = setup.jobs.iter().map(|job| Progress {
            job,
            left: Pace::FULL.work(job.length),
            running: None,
            runs: Vec::new(),
            finished: None,
            waits: Vec::new(),
        });
        let since = |from, steps| Outlook::new(steps, from, setup.forecast, setup.seed);
        let outlook = |steps| since(known_from(setup), steps);
        let meter = Meter::new(&setup.tree, &setup.pools);
        let idle = meter.draw(&InUse::new());
        let roots = setup.tree.iter().filter(|(_, domain)| domain.parent.is_none());
        let idle: Watts = roots.map(|(root, _)| idle[root.0]).sum();
        let own = |steps: &Steps<Watts>| steps.map(|watts| (watts - idle).max(Watts::ZERO).0);
        Self {
            setup,
            policy,
            jobs: jobs.collect(),
            arrived: 0,
            meter,
            price: outlook(price_over_time(setup)),
            carbon: setup.carbon.as_ref().map(|series| outlook(series.steps.clone())),
            own: setup.generation.as_ref().map(|steps| since(setup.generation_from, own(steps))),
            plan: None,
            verdicts: BTreeMap::new(),
            last_thorough: None,
            suspensions: 0,
            limit_changes: 0,
            plans: 0,
        }
    }

    /// What happens at one moment: ends, arrivals, one cycle and its actions.
    fn step(&mut self, now: Moment) -> Result<(), RefusedPlan> {
        self.finish(now);
        let known = [Some(&mut self.price), self.carbon.as_mut(), self.own.as_mut()];
        known.into_iter().flatten().for_each(|outlook| outlook.observe(now));
        while self.jobs.get(self.arrived).is_some_and(|progress| progress.job.arrival <= now) {
            self.arrived += 1;
        }
        let active: Vec<usize> = (0..self.arrived).filter(|i| self.jobs[*i].finished.is_none()).collect();
        self.verdicts.clear();
        if !active.is_empty() {
            // thorough once an hour: signals are hourly, so in between only arrivals make a difference
            let hour = now.floor(Seconds::HOUR);
            let thorough = self.last_thorough != Some(hour);
            if thorough {
                self.last_thorough = Some(hour);
            }
            let (problem, order) = self.problem(now, &active, thorough, now + LOOK_AHEAD);
            let decided = cycle(&problem, self.policy, Seconds::ZERO);
            self.plans += 1;
            if let Some(note) = decided.refused.first() {
                return Err(RefusedPlan { policy: self.policy.name().to_owned(), at: now, note: note.clone() });
            }
            self.carry_out(now, &decided, &order);
        }
        let in_use = self.in_use();
        self.meter.read(now, &in_use);
        Ok(())
    }

    /// The world as the planner sees it up to a moment, and which job each of its workloads is.
    fn problem(&self, now: Moment, active: &[usize], thorough: bool, until: Moment) -> (Problem, Vec<usize>) {
        let mut order = active.to_vec();
        order.sort_by(|a, b| self.jobs[*a].job.id.cmp(&self.jobs[*b].job.id));
        let workloads = order.iter().map(|i| self.workload(&self.jobs[*i], now)).collect();
        let intensity = self.carbon.as_ref().map(|carbon| carbon.known(now, until).map(CarbonIntensity));
        let own = self.own.as_ref().map(|own| {
            let mut own = own.known(now, until);
            // nothing is counted with that no forecast says
            own.update(until.min(self.setup.end), Moment::FAR_FUTURE, |_| 0);
            own
        });
        let problem = Problem {
            now,
            seed: self.setup.seed,
            slot: self.setup.slot,
            horizon: until - now,
            tree: self.setup.tree.clone(),
            pools: self.setup.pools.clone(),
            supplies: vec![Supply { intensity, own, ..Supply::at(self.price.known(now, until)) }],
            delay_cost_per_hour: self.setup.delay_cost_per_hour,
            workloads,
            fixed: Vec::new(),
            constraints: constraints::ahead(&self.setup.constraints, &self.meter, now),
            thorough,
            previous: self.plan.clone(),
        };
        (problem, order)
    }

    fn workload(&self, progress: &Progress<'_>, now: Moment) -> Workload {
        let job = progress.job;
        let done = Pace::FULL.work(job.length) - progress.left;
        let length = if job.believed == job.length { job.length } else { believed(job.believed, progress.done()) };
        // whole seconds, and what is done of the first of them
        let left = Pace::FULL.work(length) - done;
        let remaining = Seconds(i64::try_from((left + SECOND - 1).div_euclid(SECOND)).unwrap_or(i64::MAX));
        let pools = self.setup.pools.iter().zip(&self.setup.models).enumerate();
        let choices = pools
            .filter(|(_, (_, model))| job.model.as_ref().is_none_or(|wanted| wanted == *model))
            .flat_map(|(i, _)| {
                job.points.iter().map(move |point| {
                    let hosts = self.hosts(point.accelerators, PoolId(i));
                    let load = Load { watts: point.watts, accelerators: point.accelerators, hosts };
                    PoolChoice { pool: PoolId(i), load, pace: point.pace }
                })
            })
            .collect();
        let soonest = now.max(job.arrival) + remaining;
        let (start_by, finish_by, uncertain) = job.known(length, soonest);
        Workload {
            id: job.id.clone(),
            priority: job.priority,
            arrival: job.arrival,
            remaining,
            ahead: u32::try_from(Pace::FULL.work(remaining) - left).unwrap_or(0),
            choices,
            // here a stop loses what its checkpoint costs, and nothing else that it did, where it has one
            running: progress.running.map(|run| match job.suspension {
                Suspension::ForSupply { .. } => Running { kept: now, ..run },
                Suspension::ForCapOnly | Suspension::Never => run,
            }),
            suspension: job.suspension,
            stops_later_by: Seconds::ZERO,
            start_by,
            finish_by,
            uncertain,
        }
    }

    /// Hosts that a job with so many accelerators brings into use in a pool: it is packed into as few as hold it, shared with no other job.
    fn hosts(&self, accelerators: u32, pool: PoolId) -> u32 {
        let pool = &self.setup.pools[pool.0];
        accelerators.div_ceil((pool.accelerators / pool.nodes.max(1)).max(1))
    }

    fn carry_out(&mut self, now: Moment, decided: &Cycle, order: &[usize]) {
        let which = |id: &str| order.iter().copied().find(|i| *self.setup.jobs[*i].id == *id);
        for action in &decided.actions {
            match action {
                Action::AskForCheckpoint { .. } => {} // in virtual time stopping is done at once
                Action::Suspend { id, .. } => {
                    if let Some(progress) = which(id).map(|i| &mut self.jobs[i]) {
                        progress.running = None;
                        if !matches!(progress.job.suspension, Suspension::ForSupply { .. }) {
                            progress.left = Pace::FULL.work(progress.job.length); // without a checkpoint it begins anew
                        }
                        self.suspensions += 1;
                    }
                }
                Action::ChangePace { id, pace, .. } => {
                    if let Some(progress) = which(id).map(|i| &mut self.jobs[i])
                        && let Some(running) = &mut progress.running
                    {
                        running.pace = *pace;
                        progress.runs.push(Run { pool: running.pool, start: now, end: now, pace: *pace });
                        self.limit_changes += 1;
                    }
                }
                Action::Start { id, pool, pace, .. } => {
                    if let Some(progress) = which(id).map(|i| &mut self.jobs[i]) {
                        progress.running = Some(Running { pace: *pace, ..Running::new(*pool, now) });
                        progress.runs.push(Run { pool: *pool, start: now, end: now, pace: *pace });
                    }
                }
            }
        }
        for (verdict, i) in decided.verdicts.iter().zip(order) {
            if !matches!(verdict.reason, Reason::Running | Reason::Starting) {
                self.verdicts.insert(*i, (verdict.reason.name(), verdict.reason.to_string()));
            }
        }
        self.plan = Some(decided.plan.clone());
    }

    /// The next moment at which anything can change.
    fn next_event(&self, now: Moment) -> Moment {
        let arrival = self.jobs.get(self.arrived).map(|progress| progress.job.arrival);
        let finish = self.jobs[..self.arrived].iter().filter_map(|progress| progress.ends(now)).min();
        let caps = self.setup.tree.iter().filter_map(|(_, domain)| domain.spec.cap.next_change(now)).min();
        let planned = self.plan.iter().flat_map(|plan| &plan.entries).flat_map(|entry| &entry.runs);
        let planned = planned.flat_map(|run| [run.start, run.end]).filter(|at| *at > now).min();
        let waits = self.jobs[..self.arrived].iter().any(|progress| progress.finished.is_none());
        let own = self.own.as_ref().and_then(|own| own.next_change(now));
        let tick = self.price.next_change(now).into_iter().chain(own).min();
        let tick = tick.filter(|_| waits).map(|at| at.max((now + Seconds(1)).ceil(LOOK_AGAIN)));
        let events = [arrival, finish, caps, planned, tick];
        events.into_iter().flatten().filter(|at| *at > now).min().unwrap_or(Moment::FAR_FUTURE)
    }

    fn advance(&mut self, from: Moment, to: Moment) {
        let span = to - from;
        for (i, progress) in self.jobs[..self.arrived].iter_mut().enumerate() {
            if let Some(running) = progress.running {
                progress.left -= running.pace.work(span);
                if let Some(last) = progress.runs.last_mut() {
                    last.end = to;
                }
            } else if let Some((name, text)) = self.verdicts.get(&i) {
                match progress.waits.iter_mut().find(|(known, ..)| known == name) {
                    Some(known) => known.2 += span,
                    None => progress.waits.push((name, text.clone(), span)),
                }
            }
        }
    }

    /// Ends what has nothing left to do.
    fn finish(&mut self, now: Moment) {
        for progress in &mut self.jobs[..self.arrived] {
            if progress.running.is_some() && progress.left <= 0 {
                progress.running = None;
                progress.finished = Some(now);
            }
        }
    }

    fn in_use(&self) -> InUse {
        let mut in_use = InUse::new();
        for progress in &self.jobs[..self.arrived] {
            if let Some((pool, point)) = progress.point() {
                let sum = in_use.entry(pool.0).or_default();
                sum.0 = sum.0.saturating_add(point.watts.0);
                sum.1 += u64::from(self.hosts(point.accelerators, pool));
            }
        }
        in_use
    }

    fn outcome(self) -> Outcome {
        let setup = self.setup;
        let idle = self.meter.draw(&InUse::new());
        let draws = self.meter.into_steps();
        let roots: Vec<DomainId> =
            setup.tree.iter().filter(|(_, domain)| domain.parent.is_none()).map(|(id, _)| id).collect();
        let bill = bill(setup, &roots, &draws);
        let idle: Watts = roots.iter().map(|root| idle[root.0]).sum();
        let (start, end) = (setup.start, setup.end);
        let domains = setup.tree.iter().zip(draws).map(|((_, domain), draw)| {
            let (mut over, mut over_energy) = (Seconds::ZERO, Joules::ZERO);
            for (from, to, cap) in domain.spec.cap.pieces(start, end) {
                for (from, to, watts) in draw.pieces(from, to).filter(|(.., watts)| *watts > cap) {
                    over += to - from;
                    over_energy += (watts - cap).over(to - from);
                }
            }
            DomainOutcome {
                name: domain.spec.name.clone(),
                parent: domain.spec.parent.clone(),
                cap: domain.spec.cap.clone(),
                peak: draw.highest(start, end),
                draw,
                over,
                over_energy,
            }
        });
        let domains = domains.collect();
        let intensity = setup.intensity();
        let workloads = self.jobs.into_iter().map(|progress| workload_outcome(setup, intensity.as_ref(), progress));
        Outcome {
            policy: self.policy.name().to_owned(),
            seed: setup.seed,
            start,
            end,
            domains,
            workloads: workloads.collect(),
            price: setup.price.as_ref().map(|series| series.steps.clone()),
            generation: setup.generation.clone(),
            energy: bill.energy,
            grid_energy: bill.grid,
            carbon: bill.carbon,
            energy_cost: bill.money,
            carbon_cost: setup.carbon_price.map_or(Money::ZERO, |price| bill.carbon.at(price)),
            lower_bound: lower_bound(setup, idle),
            intensity,
            suspensions: self.suspensions,
            limit_changes: self.limit_changes,
            plans: self.plans,
        }
    }
}

/// From when on all signals are known: forecasts look back beyond the start of the scenario.
fn known_from(setup: &Setup) -> Moment {
    [&setup.carbon, &setup.price].into_iter().flatten().map(|series| series.from).max().unwrap_or(setup.start)
}

/// Price of energy and of its carbon, per MWh, of what is drawn from outside.
fn price_over_time(setup: &Setup) -> Steps<i64> {
    let weight = match (setup.carbon_price, &setup.price) {
        (Some(price), _) => price,
        (None, None) => CARBON_ALONE,
        (None, Some(_)) => PricePerTonne::default(),
    };
    let from = known_from(setup);
    let mut moments: Vec<Moment> = vec![from];
    for series in [&setup.carbon, &setup.price].into_iter().flatten() {
        moments.extend(series.steps.changes_between(from, setup.end));
    }
    let at = |moment: Moment| {
        let energy = setup.price.as_ref().map_or(0, |series| series.steps.at(moment));
        let carbon =
            setup.carbon.as_ref().map_or(0, |series| weight.per_mwh(CarbonIntensity(series.steps.at(moment))).0);
        energy + carbon
    };
    let mut steps = Steps::new(at(from), moments.into_iter().map(|moment| (moment, at(moment))).collect::<Vec<_>>());
    let highest = steps.highest(setup.start, setup.end);
    steps.update(setup.end, Moment::FAR_FUTURE, |_| highest);
    steps
}

struct Bill {
    energy: Joules,
    grid: Joules,
    carbon: GramsCo2e,
    money: Money,
}

/// What the site drew, what of it came from the grid, its carbon and its price; exact, piece by piece.
fn bill(setup: &Setup, roots: &[DomainId], draws: &[Steps<Watts>]) -> Bill {
    let mut bill = Bill { energy: Joules::ZERO, grid: Joules::ZERO, carbon: GramsCo2e::ZERO, money: Money::ZERO };
    let (start, end) = (setup.start, setup.end);
    let mut moments: Vec<Moment> = vec![start, end];
    roots.iter().for_each(|root| moments.extend(draws[root.0].changes_between(start, end)));
    for series in [&setup.carbon, &setup.price].into_iter().flatten() {
        moments.extend(series.steps.changes_between(start, end));
    }
    moments.extend(setup.generation.iter().flat_map(|steps| steps.changes_between(start, end)));
    moments.sort_unstable();
    moments.dedup();
    for pair in moments.windows(2) {
        let (from, span) = (pair[0], pair[1] - pair[0]);
        let draw: Watts = roots.iter().map(|root| draws[root.0].at(from)).sum();
        let own = setup.generation.as_ref().map_or(Watts::ZERO, |steps| steps.at(from));
        let grid = (draw - own).max(Watts::ZERO).over(span);
        bill.energy += draw.over(span);
        bill.grid += grid;
        bill.carbon += setup.carbon.as_ref().map_or(GramsCo2e::ZERO, |s| CarbonIntensity(s.steps.at(from)).of(grid));
        bill.money += setup.price.as_ref().map_or(Money::ZERO, |s| PricePerMwh(s.steps.at(from)).of(grid));
    }
    bill
}

fn workload_outcome(
    setup: &Setup,
    intensity: Option<&Steps<CarbonIntensity>>,
    progress: Progress<'_>,
) -> WorkloadOutcome {
    let job = progress.job;
    let (mut energy, mut carbon) = (Joules::ZERO, GramsCo2e::ZERO);
    let mut full = job.watts();
    for Run { pool, start, end, pace } in &progress.runs {
        let domain = &setup.tree.get(setup.pools[pool.0].domain).spec;
        let point = job.points.iter().find(|point| point.pace == *pace);
        let watts = point.map_or(job.watts(), |point| point.watts).plus_permille(domain.overhead_permille);
        full = job.watts().plus_permille(domain.overhead_permille);
        energy += watts.over(*end - *start);
        let pieces = intensity.into_iter().flat_map(|steps| steps.pieces(*start, *end));
        carbon += pieces.map(|(a, b, intensity)| intensity.of(watts.over(b - a))).sum();
    }
    let name = |pool: PoolId| setup.pools[pool.0].name.clone();
    let ran = |run: &Run| Ran { pool: name(run.pool), from: run.start, to: run.end, pace: run.pace };
    WorkloadOutcome {
        id: job.id.clone(),
        class: job.class.clone(),
        arrival: job.arrival,
        length: job.length,
        accelerators: job.accelerators(),
        watts: full,
        finish_by: job.finish_by(),
        done: progress.done(),
        runs: progress.runs.iter().map(ran).collect(),
        finished: progress.finished,
        carbon,
        energy,
        waits: progress.waits,
    }
}
