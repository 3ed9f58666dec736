//! The loop: one cycle at a time, when something changed and at least each tick.

use super::adopt::Adopter;
use super::apply::CallError;
use super::asked::Servers;
use super::backoff::{Backoff, hold_back};
use super::config::Config;
use super::enforce::{Pace, enforce};
use super::events::Events;
use super::leader::{Candidate, HOLDS};
use super::leased::Leases;
use super::leases::exception;
use super::leases::run::Between;
use super::observed::Watching;
use super::plans::Plans;
use super::read::caps;
use super::say::Voice;
use super::signals::{Reading, Signals, to_plan_with};
use super::snapshot::Cause;
use super::snapshot::Snapshot;
use super::unbound::{Unbound, unbound};
use super::watch::Watch;
use super::world::{State, World, world};
use crate::api::{GridSignal, What};
use crate::clock;
use crate::core::admit::{Cycle, cycle};
use crate::core::plan::{Heliotrope, PowerPlan, Supply};
use crate::units::{Moment, Seconds};
use crate::web::{DomainLabel, Metrics, ReasonLabel};
use kube::{Client, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;

/// Events that come within this time are one: a Job with a hundred pods is not a hundred cycles.
const GATHER: Duration = Duration::from_millis(250);

/// How long a cycle may take for all that is not safety: objects that we make, statuses. What is cut off is found anew in
/// the next cycle.
const SAY: Duration = Duration::from_secs(3);

/// How long a cycle may wait for the lease. Only work rests on it: who leads goes on as long as no other can have taken over.
const LEASE: Duration = Duration::from_secs(1);

/// Everything that outlives a cycle. None of it is needed for safety: all is made anew after a restart.
pub struct Controller {
    client: Client,
    watch: Watch,
    config: Config,
    candidate: Option<Candidate>,
    signals: Signals,
    plan: Option<Arc<PowerPlan>>,
    thorough_at: Option<Moment>,
    /// What fed the site in the last plan.
    supplies: Vec<Supply>,
    held_at: Option<Moment>,
    /// Since when each pod was seen on its way out.
    terminating: BTreeMap<String, clock::Stopwatch>,
    leads: bool,
    metrics: Arc<Metrics>,
    voice: Voice,
    adopter: Adopter,
    pace: Pace,
    /// The version of the store that was read last.
    version: u64,
    /// Starts that failed.
    failed: Backoff,
    watching: Watching,
    between: Between,
    /// What was planned, for people.
    plans: Arc<Plans>,
}

impl Controller {
    /// A controller that has not decided anything yet.
    #[must_use]
    pub fn new(
        client: Client,
        watch: Watch,
        config: Config,
        candidate: Option<Candidate>,
        metrics: Arc<Metrics>,
        events: Events,
        between: Between,
    ) -> Self {
        let voice = Voice::new(client.clone(), metrics.clone(), events);
        Self {
            adopter: Adopter::new(client.clone()),
            pace: Pace::default(),
            failed: Backoff::default(),
            watching: Watching::default(),
            version: 0,
            between,
            plans: Arc::new(Plans::new(config.plan_directory.as_deref().map(Path::new))),
            signals: Signals::new(config.plan_directory.as_deref().map(Path::new)),
            client,
            voice,
            watch,
            config,
            candidate,
            plan: None,
            thorough_at: None,
            supplies: Vec::new(),
            held_at: None,
            terminating: BTreeMap::new(),
            leads: false,
            metrics,
        }
    }

    /// The servers of signals that it wants asked.
    #[must_use]
    pub fn servers(&self) -> Servers {
        self.signals.servers.clone()
    }

    /// What it plans, for people.
    #[must_use]
    pub fn plans(&self) -> Arc<Plans> {
        self.plans.clone()
    }

    /// Runs until `stop` is told.
    pub async fn run(mut self, changed: Arc<Notify>, stop: Arc<Notify>) {
        tokio::select! {
            () = self.watch.ready() => {}
            () = stop.notified() => return,
        }
        self.metrics.set_ready();
        tracing::info!("all caches are filled");
        let tick = Duration::from_secs(u64::from(self.config.tick_seconds));
        loop {
            let watch = clock::Stopwatch::start();
            let acts = self.may_act().await;
            self.between.leads.store(acts, Ordering::Relaxed);
            if acts && let Err(error) = self.once().await {
                self.voice.count(&error);
                tracing::warn!(%error, "a cycle was cut short");
            }
            self.metrics.cycle.observe(watch.millis() as f64 / 1000.0);
            tokio::select! {
                () = stop.notified() => break,
                () = async {
                    // whatever comes first: something changed, or a tick has passed
                    let _ = tokio::time::timeout(tick, changed.notified()).await;
                    tokio::time::sleep(GATHER).await;
                } => {}
            }
        }
        if let Some(candidate) = self.candidate.filter(|_| self.leads) {
            candidate.resign().await;
        }
        tracing::info!("stopped");
    }

    /// Is this controller the one that acts?
    async fn may_act(&mut self) -> bool {
        let Some(candidate) = &self.candidate else { return true };
        let now = clock::now();
        // renewed each tick, not each cycle
        if self.leads && self.held_at.is_some_and(|at| (now - at).0 < i64::from(self.config.tick_seconds)) {
            return true;
        }
        let held = match tokio::time::timeout(LEASE, candidate.hold(now)).await {
            Ok(Ok(leads)) => Some(leads),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease is not held anew");
                None
            }
            Err(_) => {
                tracing::warn!(after = ?LEASE, "the lease is not held anew: no answer");
                None
            }
        };
        let leads = held.unwrap_or_else(|| self.leads && self.held_at.is_some_and(|at| (now - at).0 < HOLDS));
        if leads != self.leads {
            tracing::info!(leads, "the lead has changed");
            self.plan = None;
            self.plans.forget();
            // whoever leads asks; the next cycle says for what
            self.signals.servers.want(&[]);
        }
        self.leads = leads;
        if held.is_some() {
            self.held_at = Some(now);
        }
        self.metrics.leader.set(i64::from(leads));
        leads
    }

    /// One cycle.
    async fn once(&mut self) -> Result<(), CallError> {
        // 1. Everything that is looked at: domains and events from the API server itself, the rest from caches.
        let now = clock::now();
        let (mut snapshot, signals, mut malformed) = self.watch.snapshot(now);
        let (version, unreadable) = caps(&self.client, &mut snapshot).await?;
        self.watch.saw(&mut self.version, version);
        malformed.extend(unreadable);
        self.time_terminations(&mut snapshot);
        snapshot.leases = self.between.leases.as_ref().map(|leases| leases.borrow().clone());
        let readings = self.read(&mut snapshot, &signals, now);

        // 2. The world, and what the core makes of it.
        let period = i64::from(self.config.plan_period_seconds);
        let mut world = world(&snapshot, &self.config, self.plan.clone());
        // a new forecast is a new plan, not a patch on the one before
        let is_news = world.problem.supplies != self.supplies;
        let unbound = unbound(&snapshot, &world.items);
        self.hold_back(&mut snapshot, &mut world, &unbound);
        let thorough = is_news || self.thorough_at.is_none_or(|at| (now - at).0 >= period);
        world.problem.thorough = thorough;
        self.supplies.clone_from(&world.problem.supplies);
        let mut decided = cycle(&world.problem, &Heliotrope, self.config.stop_lead());
        if let Some(leases) = &snapshot.leases {
            by_leases(&mut decided, &world, leases);
            exception::stop(&world, leases, &mut decided);
        }
        if thorough {
            self.thorough_at = Some(now);
        }
        for note in &decided.refused {
            self.metrics.refused_plans.inc();
            tracing::error!(%note, "the plan breaks a rule: what of it is concerned is not carried out. This is a fault of ours");
        }
        // a plan that is refused is not kept: the next one is made afresh
        self.plan = decided.refused.is_empty().then(|| decided.plan.clone());

        // 3. Carry it out, roots that are enforced only: before anything that may wait.
        for done in enforce(&self.client, &snapshot, &world, &decided, &mut self.pace).await {
            if let Err(error) = &done
                && let Some(uid) = error.start.as_ref().filter(|_| error.is_refusal())
            {
                let why = format!("its start was refused: {}", error.why);
                self.failed.failed(uid, Cause::StartRefused, why, now);
            }
            self.voice.note(done);
        }

        // 4. Say what is, as far as the time goes.
        self.measure(&world, &decided);
        self.watching.note(&snapshot, &world, &decided);
        self.voice.forget(&world);
        let Self { adopter, voice, watching, .. } = self;
        let words = async {
            let ((made, to_tell), ()) = tokio::join!(
                adopter.make(&snapshot, &world),
                voice.say(&snapshot, &world, &decided, &readings, &unbound, watching)
            );
            made.into_iter().for_each(|made| voice.note(made));
            to_tell.into_iter().for_each(|(job, reason, note)| voice.tell(&job, reason, note));
            voice.malformed(&malformed, now).await;
        };
        if tokio::time::timeout(SAY, words).await.is_err() {
            tracing::warn!(after = ?SAY, "statuses are cut off; the next cycle goes on");
        }
        self.plans.note(world, decided);
        Ok(())
    }

    /// Finds which starts are not tried now, and takes them out of what the core is asked.
    fn hold_back(&mut self, snapshot: &mut Snapshot, world: &mut World, unbound: &BTreeMap<String, Unbound>) {
        let now = snapshot.now;
        let still = |uid: &str| {
            let item = world.item(uid);
            let runs = item.is_some_and(|item| item.state == State::Running && !unbound.contains_key(uid));
            item.is_some_and(|item| !matches!(item.state, State::Ended(_))) && !runs
        };
        self.failed.keep(still);
        let held = self.failed.held(now);
        for item in world.items.iter().filter(|item| item.state == State::Running && !held.contains_key(&item.uid)) {
            let overdue = unbound.get(&item.uid).filter(|unbound| unbound.is_overdue(now));
            let enforced = item.pool.is_some_and(|pool| world.site.is_enforced(pool));
            if let Some(unbound) = overdue.filter(|_| enforced) {
                self.failed.failed(&item.uid, Cause::Unschedulable, unbound.to_string(), now);
            }
        }
        snapshot.held_back = self.failed.held(now);
        hold_back(world, &snapshot.held_back);
    }

    /// Says of each pod on its way out for how long it has been seen so.
    fn time_terminations(&mut self, snapshot: &mut Snapshot) {
        let leaving = snapshot.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some());
        let leaving: BTreeSet<String> = leaving.filter_map(|pod| pod.metadata.uid.clone()).collect();
        self.terminating.retain(|uid, _| leaving.contains(uid));
        for uid in leaving {
            self.terminating.entry(uid).or_insert_with(clock::Stopwatch::start);
        }
        let seconds = |watch: &clock::Stopwatch| Seconds(i64::try_from(watch.millis() / 1000).unwrap_or(i64::MAX));
        snapshot.terminating_for = self.terminating.iter().map(|(uid, watch)| (uid.clone(), seconds(watch))).collect();
    }

    /// Reads all signals, and puts those that can be planned with into the snapshot.
    fn read(&mut self, snapshot: &mut Snapshot, signals: &[GridSignal], now: Moment) -> Vec<(GridSignal, Reading)> {
        self.signals.keep(signals);
        let readings: Vec<_> =
            signals.iter().map(|signal| (signal.clone(), self.signals.read(signal, &self.watch, now))).collect();
        self.metrics.rung.clear();
        for (signal, reading) in &readings {
            let name = signal.name_any();
            self.metrics.signal(&name, reading.standing.rung.number(), &reading.newly_refused);
            let of_kind = match signal.spec.what {
                What::CarbonIntensity => &mut snapshot.carbon,
                What::Price => &mut snapshot.price,
                What::Generation => &mut snapshot.generation,
            };
            of_kind.extend(to_plan_with(reading).map(|steps| (name.clone(), steps)));
            snapshot.high.extend(reading.standing.high(now).map(|steps| (name, steps)));
        }
        readings
    }

    fn measure(&self, world: &World, decided: &Cycle) {
        for figures in &decided.domains {
            let label = DomainLabel { domain: world.site.tree.get(figures.domain).spec.name.clone() };
            self.metrics.cap.get_or_create(&label).set(figures.cap.0);
            self.metrics.committed.get_or_create(&label).set(figures.committed.0);
        }
        self.metrics.workloads.clear();
        for verdict in &decided.verdicts {
            self.metrics.workloads.get_or_create(&ReasonLabel { reason: verdict.reason.name().to_owned() }).inc();
        }
    }
}

/// Where watts are leased, what can be drawn is what the leases allow, whatever workloads were granted.
fn by_leases(decided: &mut Cycle, world: &World, leases: &Leases) {
    for figures in &mut decided.domains {
        let name = &world.site.tree.get(figures.domain).spec.name;
        if let Some(leases) = leases.domains.get(name) {
            figures.committed = leases.committed;
        }
    }
}
