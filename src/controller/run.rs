//! The loop: one cycle at a time, when something changed and at least each tick.

use super::apply::{CallError, Heads, call, head};
use super::config::Config;
use super::curtail::order_of_unparsed;
use super::enforce::enforce;
use super::events::Events;
use super::leader::Candidate;
use super::say::Voice;
use super::signals::{Reading, Signals, to_plan_with};
use super::snapshot::Snapshot;
use super::watch::{Malformed, Watch, parse};
use super::world::{World, world};
use crate::api::{CurtailmentEvent, GridSignal, LLMWorkload, PowerDomain, What};
use crate::clock;
use crate::core::admit::{Cycle, cycle};
use crate::core::plan::{Heliotrope, PowerPlan, Supply};
use crate::units::{Moment, Seconds};
use crate::web::{DomainLabel, Metrics, ReasonLabel};
use crate::workloads::job;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Events that come within this time are one: a Job with a hundred pods is not a hundred cycles.
const GATHER: Duration = Duration::from_millis(250);

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
    /// Mistakes in annotations that were told already.
    told: BTreeSet<String>,
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
    ) -> Self {
        let voice = Voice::new(client.clone(), metrics.clone(), events);
        Self {
            client,
            voice,
            watch,
            config,
            candidate,
            signals: Signals::default(),
            plan: None,
            thorough_at: None,
            supplies: Vec::new(),
            held_at: None,
            terminating: BTreeMap::new(),
            leads: false,
            metrics,
            told: BTreeSet::new(),
        }
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
            if self.may_act().await
                && let Err(error) = self.once().await
            {
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
        let leads = candidate.hold(now).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "not leading");
            false
        });
        if leads != self.leads {
            tracing::info!(leads, "the lead has changed");
            self.plan = None;
        }
        (self.leads, self.held_at) = (leads, Some(now));
        self.metrics.leader.set(i64::from(leads));
        leads
    }

    /// One cycle.
    async fn once(&mut self) -> Result<(), CallError> {
        // 1. Everything that is looked at: domains and events from the API server itself, the rest from caches.
        let now = clock::now();
        let (mut snapshot, signals, mut malformed) = self.watch.snapshot(now);
        // without either of them nothing is decided: a cap that is not known adds no watts
        let (domains, events) = futures::try_join!(
            all::<PowerDomain>(&self.client, "PowerDomain"),
            all::<CurtailmentEvent>(&self.client, "CurtailmentEvent"),
        )?;
        // an order that stands is kept even where not all of its event can be read
        snapshot.unparsed = events.1.iter().filter_map(|(_, object)| order_of_unparsed(object)).collect();
        snapshot.heads = domains.2.into_iter().chain(events.2).collect();
        snapshot.unreadable_domains = domains.1.iter().map(|(error, _)| error.name.clone()).collect();
        malformed.extend(domains.1.into_iter().chain(events.1).map(|(error, _)| error));
        (snapshot.domains, snapshot.events) = (domains.0, events.0);
        self.time_terminations(&mut snapshot);
        let readings = self.read(&mut snapshot, &signals, now);

        // 2. The world, and what the core makes of it.
        let period = i64::from(self.config.plan_period_seconds);
        let mut world = world(&snapshot, &self.config, self.plan.clone());
        // a new forecast is a new plan, not a patch on the one before
        let is_news = world.problem.supplies != self.supplies;
        let thorough = is_news || self.thorough_at.is_none_or(|at| (now - at).0 >= period);
        world.problem.thorough = thorough;
        self.supplies.clone_from(&world.problem.supplies);
        let decided = cycle(&world.problem, &Heliotrope, self.config.stop_lead());
        if thorough {
            self.thorough_at = Some(now);
        }
        self.plan = Some(decided.plan.clone());

        // 3. Carry it out, roots that are enforced only.
        self.adopt(&world).await;
        for done in enforce(&self.client, &snapshot, &world, &decided).await {
            self.voice.note(done);
        }

        // 4. Say what is.
        self.measure(&world, &decided);
        self.voice.say(&snapshot, &world, &decided, &readings).await;
        self.voice.malformed(&malformed, now).await;
        Ok(())
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
        let readings: Vec<_> =
            signals.iter().map(|signal| (signal.clone(), self.signals.read(signal, &self.watch, now))).collect();
        for (signal, reading) in &readings {
            let of_kind = match signal.spec.what {
                What::CarbonIntensity => &mut snapshot.carbon,
                What::Price => &mut snapshot.price,
            };
            of_kind.extend(to_plan_with(reading, now).map(|steps| (signal.name_any(), steps)));
        }
        readings
    }

    /// Makes the custom resource of every managed Job that has none.
    async fn adopt(&mut self, world: &World) {
        for item in world.items.iter().filter(|item| item.workload.is_none() && job::end(&item.job).is_none()) {
            let (workload, errors) = job::workload(&item.job);
            for error in errors {
                if self.told.insert(format!("{}: {error}", item.uid)) {
                    tracing::warn!(job = item.name(), %error, "an annotation is not used");
                }
            }
            let namespace = item.job.metadata.namespace.clone().unwrap_or_default();
            let api: Api<LLMWorkload> = Api::namespaced(self.client.clone(), &namespace);
            let made =
                call(format!("make LLMWorkload {}", item.name()), api.create(&PostParams::default(), &workload)).await;
            // one that is there already belongs to someone else, or was made before our cache heard of it
            self.voice
                .note(made.map(|_| ()).or_else(|error| if error.code == Some(409) { Ok(()) } else { Err(error) }));
        }
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

/// All objects of a kind, as the API server has them at this moment, and those that can't be parsed.
async fn all<K>(client: &Client, kind: &'static str) -> Result<(Vec<K>, Vec<(Malformed, Value)>, Heads), CallError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<K>(&()));
    let list = call(format!("list every {kind}"), api.list(&ListParams::default())).await?;
    let (mut objects, mut malformed) = (Vec::new(), Vec::new());
    let heads = list.items.iter().map(|object| head(&object.metadata)).collect();
    for mut object in list.items {
        object.types = Some(kube::api::TypeMeta::resource::<K>());
        match parse(&object, kind) {
            Ok(parsed) => objects.push(parsed),
            Err(error) => malformed.push((error, serde_json::to_value(&object).unwrap_or_default())),
        }
    }
    Ok((objects, malformed, heads))
}
