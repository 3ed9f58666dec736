//! What a planner is asked, and what it answers.

use super::draws::with_hosts;
use super::{Constraints, Outlook, Pace, Uncertain};
use crate::core::domain::{DomainId, DomainTree};
use crate::core::steps::Steps;
use crate::units::{CarbonIntensity, Moment, Money, Seconds, Watts};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;

/// The world at one moment, as values. Nothing else is known to a planner.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What time it is.
    pub now: Moment,
    /// The only source of chance.
    pub seed: u64,
    /// The shortest run that a workload which can be suspended is given, and the grain of its plan.
    pub slot: Seconds,
    /// How far the plan looks. A workload that can't start sooner is planned beyond it.
    pub horizon: Seconds,
    /// The electrical tree with its caps over time.
    pub tree: DomainTree,
    /// The accelerators that stand in its leaves.
    pub pools: Vec<Pool>,
    /// What feeds the pools: roots may stand in different grids.
    pub supplies: Vec<Supply>,
    /// What an hour of waiting of one workload costs, in millionths of the currency unit.
    pub delay_cost_per_hour: i64,
    /// Everything that waits or runs and that we may start or stop, sorted by id.
    pub workloads: Vec<Workload>,
    /// What draws and can't be moved: pods that nobody declared, workloads that are just stopping.
    pub fixed: Vec<Fixed>,
    /// What binds the plan beside caps and accelerators.
    pub constraints: Constraints,
    /// Is everything to be thought over again, or only what is new? Thorough planning costs tens of milliseconds
    /// for a hundred workloads: it is for each plan period, the other for each event.
    pub thorough: bool,
    /// The plan before this one: its choices stand unless a change gains more than it costs.
    pub previous: Option<Arc<PowerPlan>>,
}

/// What a grid gives, over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supply {
    /// The price of a MWh, in millionths of the currency unit: energy and carbon together.
    /// What is not known is priced by the caller at the highest known: stale is never green.
    pub price: Steps<i64>,
    /// The price that an hour stays under nine times of ten, for what a plan may cost; none where it is known, or nobody says.
    pub high: Option<Steps<i64>>,
    /// The carbon intensity behind the price, for reasons and accounts; none where there is no signal.
    pub intensity: Option<Steps<CarbonIntensity>>,
    /// Watts that cost nothing: what is generated on the site beyond what draws anyway, as the roots see it. The price counts for what is
    /// drawn beyond them, and what is left of them is not sold. None where nothing is generated.
    pub own: Option<Steps<i64>>,
}

impl Supply {
    /// A grid of which nothing else is known.
    #[must_use]
    pub fn at(price: Steps<i64>) -> Self {
        Self { price, high: None, intensity: None, own: None }
    }
}

/// A pool's place in its [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PoolId(pub usize);

/// Accelerators of one model in one leaf domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// What people call it: the domain's name, with the model where a domain has several.
    pub name: String,
    /// The domain it stands in.
    pub domain: DomainId,
    /// Which of the problem's supplies feeds it.
    pub supply: usize,
    /// How many accelerators it has.
    pub accelerators: u32,
    /// How many nodes they sit in.
    pub nodes: u32,
    /// Input power of all its nodes with nothing running: hosts and accelerators idle.
    pub idle: Watts,
    /// What a host draws more when it is in use: hostMaxWatts − hostIdleWatts.
    pub host_extra: Watts,
    /// Free accelerators of each node that takes new pods; none where nodes are not told apart.
    pub places: Option<Vec<u32>>,
    /// Why nothing new starts here, whatever room there is; none where it may.
    pub frozen: Option<String>,
    /// What an accelerator in use can be throttled to at the least, above idle; none where nothing throttles it.
    pub least: Option<Watts>,
}

impl Pool {
    /// Takes the places that the pods of a load need, each on one node, the fullest that will do first. False, and nothing is
    /// taken, where there are too few.
    pub fn take_places(&mut self, load: Load) -> bool {
        let Some(places) = &self.places else { return true };
        let each = load.accelerators.checked_div(load.hosts).unwrap_or(0);
        let mut left = places.clone();
        for _ in 0..load.hosts {
            match left.iter_mut().filter(|free| **free >= each).min() {
                Some(free) => *free -= each,
                None => return false,
            }
        }
        self.places = Some(left);
        true
    }
}

/// What a workload adds to a pool while it runs, on top of the pool's idle draw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Input power of its accelerators above idle, margins included.
    pub watts: Watts,
    /// Accelerators that it holds.
    pub accelerators: u32,
    /// Hosts that it may bring into use: at most one for each of its pods. Each draws `host_extra` more,
    /// and a pool never has more hosts in use than it has nodes.
    pub hosts: u32,
}

/// A name for a workload that no other ever has: its UID in the cluster, its name in the simulator.
pub type WorkloadId = Arc<str>;

/// One workload that waits or runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Which one.
    pub id: WorkloadId,
    /// Higher goes first. The lowest is the default.
    pub priority: i32,
    /// When it was asked for. One that lies ahead is known to come: it starts no sooner.
    pub arrival: Moment,
    /// How long it still runs at full width and power, as far as is known. Always positive. At another point it takes longer
    /// ([`Pace::takes`]).
    pub remaining: Seconds,
    /// How much of the first of these seconds is done already, in millionths: work that ran slowly does not end with a whole
    /// second. Nothing for what only ran at full.
    pub ahead: u32,
    /// Where it may run and what it adds there. Those of one pool are its operating points there: they stand together, the first
    /// is the full one, and each has its own pace. Empty: nowhere, and `decide` says so.
    pub choices: Vec<PoolChoice>,
    /// Where it runs now; none while it waits.
    pub running: Option<Running>,
    /// What it may be stopped for.
    pub suspension: Suspension,
    /// How much longer than usual it may go on drawing once it is told to stop: so much sooner it is told.
    pub stops_later_by: Seconds,
    /// When it is to start at the latest by what was asked for; known even where its length is not. None: at once.
    pub start_by: Option<Moment>,
    /// It should have finished by then, and until then it may be delayed for cheaper supply.
    /// None: it is never delayed for supply, and starts as soon as there is room.
    pub finish_by: Option<Moment>,
    /// Why `finish_by` lies before its deadline; none where its length is sure, or moves its deadline.
    pub uncertain: Option<Uncertain>,
}

/// One pool where a workload may run, and one of its operating points there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolChoice {
    /// Which pool.
    pub pool: PoolId,
    /// What it adds there.
    pub load: Load,
    /// How fast it works there with that.
    pub pace: Pace,
}

impl PoolChoice {
    /// A pool where a workload runs at full.
    #[must_use]
    pub fn full(pool: PoolId, load: Load) -> Self {
        Self { pool, load, pace: Pace::FULL }
    }
}

/// Where and since when a workload runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Which pool.
    pub pool: PoolId,
    /// At which of its points there.
    pub pace: Pace,
    /// Since when without a break.
    pub since: Moment,
    /// Up to when its work is behind a checkpoint: what it did since is lost by a stop.
    pub kept: Moment,
    /// How it comes to a checkpoint before it is stopped.
    pub asking: Asking,
}

/// How a workload comes to a checkpoint before it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// It can't be asked for one.
    No,
    /// It writes one by itself when it is told to end, within its grace: nothing but its cost is lost.
    AtTheEnd,
    /// It can be asked for one, which takes so long at most.
    Within(Seconds),
    /// It was asked, and is waited for until then: the past where it has answered or taken too long.
    Asked {
        /// Until when.
        until: Moment,
        /// What it is given in all.
        within: Seconds,
    },
}

impl Running {
    /// A run at full that can't be asked for a checkpoint, and of which nothing is kept.
    #[must_use]
    pub fn new(pool: PoolId, since: Moment) -> Self {
        Self { pool, pace: Pace::FULL, since, kept: since, asking: Asking::No }
    }
}

/// What a workload may be stopped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspension {
    /// It declared a checkpoint: for price and carbon too. Stopping and starting costs this long at its own draw.
    ForSupply {
        /// Run time lost at each stop.
        cost: Seconds,
    },
    /// It said nothing: only to keep a cap, and after those that declared a checkpoint.
    ForCapOnly,
    /// It is protected: never.
    Never,
}

/// Draw that can't be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Where.
    pub pool: PoolId,
    /// What it adds there.
    pub load: Load,
    /// Until when, at most.
    pub until: Moment,
}

/// What is to be done, and why; leaves nothing to choose to who carries it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PowerPlan {
    /// One more than its parent's, or its parent's own where nothing changed.
    pub generation: u64,
    /// Which policy made it.
    pub policy: &'static str,
    /// When it was made.
    pub made: Moment,
    /// One for each workload of the problem, in the problem's order.
    pub entries: Vec<Entry>,
    /// What all runs cost at the prices of the problem, from `made` on.
    pub cost: Money,
    /// No plan that misses no deadline costs less, under all caps and in all pools. Known for thorough plans.
    pub bound: Option<Money>,
    /// What is scarce, and what it is worth: of the last thorough plan. Things in the problem's order, each by rising time.
    pub scarce: Vec<ScarcePrice>,
}

/// What something scarce is worth over a time: so much would be saved if there were one more of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScarcePrice {
    /// The domain whose watts are scarce, or the pool whose accelerators are.
    pub of: String,
    /// Is it watts?
    pub is_watts: bool,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub until: Moment,
    /// Of a kWh, or of an accelerator for an hour.
    pub price: Money,
}

/// What is to be done with one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Which one.
    pub id: WorkloadId,
    /// Its runs, in time order, all in one pool. Empty: it can run nowhere.
    pub runs: Vec<Run>,
    /// How much later than `finish_by` it finishes. Zero is in time.
    pub late: Seconds,
    /// Why so.
    pub why: Why,
}

/// One run without a break at one point. The next may begin at its end at another point: that is no stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Where.
    pub pool: PoolId,
    /// From when.
    pub start: Moment,
    /// Until when.
    pub end: Moment,
    /// At which of its points there. Full is not written.
    #[serde(skip_serializing_if = "Pace::is_full")]
    pub pace: Pace,
}

impl Run {
    /// A run at full.
    #[must_use]
    pub fn full(pool: PoolId, start: Moment, end: Moment) -> Self {
        Self { pool, start, end, pace: Pace::FULL }
    }

    /// What is done in it, in millionths of the work of a second at full.
    #[must_use]
    pub fn work(&self) -> i128 {
        self.pace.work(self.end - self.start)
    }
}

/// Why an entry is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Why {
    /// It runs and can't be stopped for supply: it goes on.
    GoesOn,
    /// It is never delayed for supply: it starts as soon as there is room.
    AsSoonAsPossible,
    /// It runs when supply costs least within its deadline and the room there is.
    Cheapest,
    /// It was put before others so that its deadline, or theirs, is kept.
    KeepsDeadlines,
    /// Its deadline can't be kept: it runs as soon as there is room.
    Late,
    /// No pool can ever take it.
    Nowhere,
}

impl Entry {
    /// When it is next to start, or started if it runs.
    #[must_use]
    pub fn start(&self) -> Option<Moment> {
        self.runs.first().map(|run| run.start)
    }

    /// When it is to finish.
    #[must_use]
    pub fn finish(&self) -> Option<Moment> {
        self.runs.last().map(|run| run.end)
    }

    /// What is left of its runs from a moment on.
    #[must_use]
    pub fn runs_from(&self, moment: Moment) -> Vec<Run> {
        let left = self.runs.iter().filter(|run| run.end > moment);
        left.map(|run| Run { start: run.start.max(moment), ..*run }).collect()
    }

    /// The run that covers a moment.
    #[must_use]
    pub fn run_at(&self, moment: Moment) -> Option<Run> {
        self.runs.iter().copied().find(|run| run.start <= moment && moment < run.end)
    }
}

impl PowerPlan {
    /// The entry of a workload.
    #[must_use]
    pub fn entry(&self, id: &str) -> Option<&Entry> {
        // entries are in the order of the problem's workloads, which are sorted by id
        self.entries.binary_search_by(|entry| (*entry.id).cmp(id)).ok().map(|i| &self.entries[i])
    }

    /// How far its cost may be above the least possible, as a part of its cost; none where that is not known, or a deadline
    /// is missed (the bound is one for plans that miss none).
    #[must_use]
    pub fn gap(&self) -> Option<f64> {
        let bound = self.bound.filter(|_| self.misses() == 0)?;
        let cost = self.cost.0.unsigned_abs().max(1) as f64;
        Some((self.cost.0.saturating_sub(bound.0)).max(0) as f64 / cost)
    }

    /// How many of its workloads are later than their `finish_by`.
    #[must_use]
    pub fn misses(&self) -> usize {
        self.entries.iter().filter(|entry| entry.late > Seconds::ZERO).count()
    }
}

impl Problem {
    /// One pool.
    #[must_use]
    pub fn pool(&self, id: PoolId) -> &Pool {
        &self.pools[id.0]
    }

    /// What a load draws as its own domain sees it, with all its hosts brought into use.
    #[must_use]
    pub fn seen_in_domain(&self, pool: PoolId, load: Load) -> Watts {
        with_hosts(self, pool, load).plus_permille(self.tree.get(self.pool(pool).domain).spec.overhead_permille)
    }

    /// How many of a pool's accelerators are in service at a moment.
    #[must_use]
    pub fn in_service(&self, pool: PoolId, at: Moment) -> u32 {
        let out = self.constraints.outages.iter();
        let out = out.filter(|outage| outage.pool == pool && outage.from <= at && at < outage.until);
        out.fold(self.pool(pool).accelerators, |left, outage| left.saturating_sub(outage.accelerators))
    }

    /// How it stands with the deadline of a workload by a plan's entry; none where it has none, or can run nowhere.
    #[must_use]
    pub fn outlook(&self, entry: &Entry) -> Option<Outlook> {
        self.workload(&entry.id)?.outlook(entry.finish()?)
    }

    /// How many workloads miss their deadline by a plan.
    #[must_use]
    pub fn missed(&self, plan: &PowerPlan) -> usize {
        let late = |entry: &&Entry| matches!(self.outlook(entry), Some(Outlook::Late(_)));
        plan.entries.iter().filter(late).count()
    }

    /// From when on a workload can run.
    #[must_use]
    pub fn starts_from(&self, workload: &Workload) -> Moment {
        if workload.running.is_some() { self.now } else { self.now.max(workload.arrival) }
    }

    /// What feeds a pool.
    #[must_use]
    pub fn supply(&self, pool: PoolId) -> &Supply {
        &self.supplies[self.pool(pool).supply]
    }

    /// The price of a pool's supply for who looks at a price and at nothing else: lower by the part of the caps of all roots that is generated
    /// on the site. A rule of thumb, since what is left of that depends on all that runs.
    #[must_use]
    pub fn price_alone(&self, pool: PoolId) -> Cow<'_, Steps<i64>> {
        let Supply { price, own, .. } = self.supply(pool);
        let Some(own) = own else { return Cow::Borrowed(price) };
        let roots = self.tree.iter().filter(|(_, domain)| domain.parent.is_none());
        let most: i64 = roots.map(|(_, domain)| domain.spec.cap.at(self.now).0).sum::<i64>().max(1);
        let mut moments: Vec<Moment> = price.changes_between(self.now, Moment::FAR_FUTURE).collect();
        moments.extend(own.changes_between(self.now, Moment::FAR_FUTURE));
        let at = |moment| price.at(moment) - price.at(moment) / most * own.at(moment).clamp(0, most);
        Cow::Owned(Steps::new(at(self.now), moments.into_iter().map(|moment| (moment, at(moment)))))
    }

    /// One workload.
    #[must_use]
    pub fn workload(&self, id: &str) -> Option<&Workload> {
        self.workloads.binary_search_by(|workload| (*workload.id).cmp(id)).ok().map(|i| &self.workloads[i])
    }
}

impl Workload {
    /// What is left of its work, in millionths of the work of a second at full.
    #[must_use]
    pub fn work(&self) -> i128 {
        Pace::FULL.work(self.remaining) - i128::from(self.ahead)
    }

    /// What it adds to a pool at full; none where it may not run there.
    #[must_use]
    pub fn load_in(&self, pool: PoolId) -> Option<Load> {
        self.choices.iter().find(|choice| choice.pool == pool).map(|choice| choice.load)
    }

    /// What it adds to a pool at one of its points; none where it has no such point there.
    #[must_use]
    pub fn load_at(&self, pool: PoolId, pace: Pace) -> Option<Load> {
        let mut points = self.choices.iter();
        points.find(|choice| choice.pool == pool && choice.pace == pace).map(|choice| choice.load)
    }

    /// Where it runs, and what it adds there; none while it waits.
    #[must_use]
    pub fn running_load(&self) -> Option<(PoolId, Load)> {
        let running = self.running?;
        Some((running.pool, self.load_at(running.pool, running.pace)?))
    }

    /// May its runs be moved, and broken, for supply?
    #[must_use]
    pub fn is_divisible(&self) -> bool {
        matches!(self.suspension, Suspension::ForSupply { .. })
    }
}
