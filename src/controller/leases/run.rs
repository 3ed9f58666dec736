//! The loop: reads, decides, writes. Everything that matters is decided in [`super::books`] and [`crate::core::lease`].

use super::books::{Books, Decided, Mode};
use super::memory::Memory;
use super::nodes::{Write, is_given_back, writes};
use super::ramp;
use super::seen::Seen;
use super::view::view;
use crate::api::{FINALIZER, NodePower, PowerAllotment, PowerAllotmentSpec};
use crate::clock::{self, Stopwatch};
use crate::controller::apply::{CallError, Outcome, call};
use crate::controller::config::Config;
use crate::controller::leased::Leases;
use crate::controller::read::caps;
use crate::controller::site::Site;
use crate::controller::watch::Watch;
use crate::core::lease::{Terms, Told};
use crate::units::{Millis, Watts};
use crate::web::{DomainLabel, Metrics};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch as channel};

/// What comes within this time is one cycle.
const GATHER: Duration = Duration::from_millis(100);

/// Without any change it looks again after so long: ends of events and windows come without one.
const TICK: Duration = Duration::from_secs(2);

/// Writes of NodePowers and taints that are under way at the same time.
const AT_ONCE: usize = 8;

/// What the grant loop and the cycle that plans tell each other.
#[derive(Debug, Clone, Default)]
pub struct Between {
    /// Does this controller lead? Said by the cycle. It saves work; the swap keeps two from harm.
    pub leads: Arc<AtomicBool>,
    /// What is leased. Said by the grant loop, where nodes have agents.
    pub leases: Option<channel::Receiver<Leases>>,
}

/// The loop.
pub struct Granting {
    client: Client,
    watch: Watch,
    metrics: Arc<Metrics>,
    terms: Terms,
    memory: Memory,
    /// The version of the store that was read last.
    version: u64,
    clock: Stopwatch,
    leads: Arc<AtomicBool>,
    shown: channel::Sender<Leases>,
}

impl Granting {
    /// A loop that has heard nothing yet, and what it shares with the cycle that plans.
    #[must_use]
    pub fn new(client: Client, watch: Watch, config: &Config, metrics: Arc<Metrics>) -> (Self, Between) {
        let (shown, seen) = channel::channel(Leases::default());
        let terms = Terms {
            life: Millis(u64::from(config.lease_seconds) * 1000),
            // heartbeats come each 20 s: a third of the life
            renew_after: (u64::from(config.lease_seconds) / 60).max(1),
        };
        let clock = Stopwatch::start();
        let between = Between { leads: Arc::default(), leases: Some(seen) };
        let leads = between.leads.clone();
        (Self { client, watch, metrics, terms, memory: Memory::default(), version: 0, clock, leads, shown }, between)
    }

    /// Runs until it is dropped.
    pub async fn run(mut self, changed: Arc<Notify>) {
        self.watch.ready().await;
        let mut led = false;
        loop {
            let leads = self.leads.load(Ordering::Relaxed);
            if leads && !led {
                // who takes over may have slept: nobody is heard until a new report comes
                self.memory.forget(self.now());
            }
            led = leads;
            let powers = self.powers();
            if let Some(why) = self.memory.hear(powers.values(), self.now()) {
                tracing::warn!(why, "nothing is raised until each node has reported again");
            }
            if leads && let Err(error) = self.once(&powers).await {
                self.count(&error);
                tracing::warn!(%error, "leases are not written in this cycle");
            }
            let _ = tokio::time::timeout(TICK, changed.notified()).await;
            tokio::time::sleep(GATHER).await;
        }
    }

    fn now(&self) -> Millis {
        Millis(self.clock.millis())
    }

    fn powers(&self) -> BTreeMap<String, NodePower> {
        let parsed = self.watch.powers().into_iter();
        parsed.filter_map(|power| Some((power.metadata.name.clone()?, power))).collect()
    }

    async fn once(&mut self, powers: &BTreeMap<String, NodePower>) -> Result<(), CallError> {
        // 1. What reports were there before is decided on what is read now: a renewal is never older than its heartbeat.
        let mut snapshot = self.watch.hardware(clock::now());
        let (version, _) = caps(&self.client, &mut snapshot).await?;
        self.watch.saw(&mut self.version, version);
        let api: Api<PowerAllotment> = Api::all(self.client.clone());
        let listed = call("list every PowerAllotment", api.list(&ListParams::default())).await?.items;
        let found = listed.iter().filter_map(|object| {
            let meta = &object.metadata;
            Some((meta.name.as_deref()?, meta.uid.as_deref().unwrap_or_default(), object.spec.sequence))
        });
        if let Some(why) = self.memory.look(version, found, self.now()) {
            tracing::warn!(why, "nothing is raised until each node has reported again");
        }
        // what swaps are made against
        let mut metas: BTreeMap<String, ObjectMeta> = BTreeMap::new();
        let mut allotments: BTreeMap<String, PowerAllotmentSpec> = BTreeMap::new();
        for object in listed {
            let Some(domain) = object.metadata.name.clone() else { continue };
            metas.insert(domain.clone(), object.metadata);
            allotments.insert(domain, object.spec);
        }
        let site = Site::new(&snapshot, ramp::horizon(&snapshot.domains));
        let (now, terms) = (self.now(), self.terms.clone());
        let mut seen = Seen { snapshot: &snapshot, site: &site, version, powers, allotments, now, terms: &terms };

        // 2. Each domain, the root first: what is offered to a domain was written before it is spent.
        let mut shown = Leases::default();
        let mut spendable: BTreeMap<String, Watts> = BTreeMap::new();
        let books = Books::new(&seen, &self.memory);
        for at in 0..books.list.len() {
            let book = &books.list[at];
            let above = book.parent.as_ref();
            let above = above.and_then(|parent| Some((seen.allotments.get(parent)?, spendable.get(parent).copied()?)));
            let decided = books.decide(at, &seen, &mut self.memory, above);
            let told = view(&books, at, &decided, &seen, &self.memory);
            let label = DomainLabel { domain: book.domain.clone() };
            let committed = told.committed;
            shown.domains.insert(book.domain.clone(), told);
            for fault in &decided.faults {
                self.metrics.refused_ledgers.inc();
                tracing::error!(domain = book.domain, %fault, "leases break a rule and are not written. This is a fault of ours");
            }
            if !decided.faults.is_empty() {
                continue; // nor is anything below it: it is not in what is spendable
            }
            spendable.insert(book.domain.clone(), decided.allotted.spendable);
            if decided.allotted.changed {
                let spec = PowerAllotmentSpec::of(
                    &decided.allotted.ledger,
                    book.parent.as_deref(),
                    decided.allotted.spendable,
                    &decided.shares,
                );
                self.log(&book.domain, &decided);
                match self.write(&book.domain, metas.get(&book.domain), spec).await {
                    Ok(written) => {
                        let uid = written.metadata.uid.unwrap_or_default();
                        self.memory.wrote(&book.domain, &uid, written.spec.sequence);
                        seen.allotments.insert(book.domain.clone(), written.spec);
                    }
                    // what stands below it is decided on what is written: the next cycle goes on
                    Err(error) => {
                        self.count(&error);
                        tracing::warn!(%error, "leases of {} are not written", book.domain);
                        spendable.remove(&book.domain);
                    }
                }
            }
            self.metrics.reserved.get_or_create(&label).set(committed.0);
        }

        // 3. The nodes' own objects.
        let wanted = writes(&seen, &self.memory, &shown);
        let made = futures::stream::iter(wanted.into_iter().map(|write| self.change(write)));
        let made: Vec<Result<(), CallError>> = made.buffer_unordered(AT_ONCE).collect().await;
        for error in made.into_iter().filter_map(Result::err) {
            self.count(&error);
            tracing::warn!(%error, "a node's object is not written; the next cycle goes on");
        }

        // 4. What was given back whole is taken away.
        for book in books.list.iter().filter(|book| book.mode == Mode::Release) {
            let Some(spec) = seen.allotments.get(&book.domain) else { continue };
            if is_given_back(spec, powers) {
                self.take_away(&book.domain, spec).await?;
            }
        }
        self.shown.send_if_modified(|old| {
            let differs = *old != shown;
            *old = shown;
            differs
        });
        Ok(())
    }

    fn log(&self, domain: &str, decided: &Decided) {
        for (key, told) in &decided.allotted.told {
            if matches!(told, Told::Lowered | Told::Raised | Told::Settled) {
                let lease = decided.allotted.ledger.entries.get(key).and_then(|entry| entry.lease.as_ref());
                let watts = lease.map_or(Watts::ZERO, |lease| lease.figures.watts);
                tracing::info!(domain, child = %key, %watts, sequence = decided.allotted.ledger.sequence, "{told}");
            }
        }
    }

    /// Writes a ledger by compare-and-swap: over what was read, or anew where there was none.
    async fn write(
        &self,
        domain: &str,
        read: Option<&ObjectMeta>,
        spec: PowerAllotmentSpec,
    ) -> Result<PowerAllotment, CallError> {
        let api: Api<PowerAllotment> = Api::all(self.client.clone());
        let (what, how) = (format!("write the allotment of {domain}"), PostParams::default());
        let written = match read {
            Some(read) => {
                let next = PowerAllotment { metadata: read.clone(), spec };
                call(what, api.replace(domain, &how, &next)).await?
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(domain.to_owned()),
                    finalizers: Some(vec![FINALIZER.to_owned()]),
                    ..ObjectMeta::default()
                };
                call(what, api.create(&how, &PowerAllotment { metadata, spec })).await?
            }
        };
        self.metrics.wrote(Outcome::Succeeded);
        Ok(written)
    }

    async fn change(&self, write: Write) -> Result<(), CallError> {
        let powers: Api<NodePower> = Api::all(self.client.clone());
        match write {
            Write::Make(power) => {
                let name = power.metadata.name.clone().unwrap_or_default();
                tracing::info!(node = name, domain = power.spec.domain, "its NodePower is made");
                let made = call(format!("make NodePower {name}"), powers.create(&PostParams::default(), &power)).await;
                made.map(|_| ()).or_else(|error| if error.outcome == Outcome::Conflict { Ok(()) } else { Err(error) })
            }
            Write::Change { name, spec } => {
                tracing::info!(
                    node = name,
                    domain = spec.domain,
                    ceiling = spec.ceiling_watts,
                    "its NodePower changes"
                );
                let patch = Patch::Merge(json!({"spec": spec}));
                let what = format!("change NodePower {name}");
                call(what, powers.patch(&name, &PatchParams::default(), &patch)).await.map(|_| ())
            }
            Write::Remove { name } => {
                tracing::info!(node = name, "it is gone and draws nothing by proof: its NodePower is removed");
                remove(&powers, &name).await
            }
            Write::Taint { name, version, taints } => {
                let nodes: Api<Node> = Api::all(self.client.clone());
                tracing::info!(node = name, ?taints, "its taints change");
                let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "spec": {"taints": taints}}));
                let what = format!("taint node {name}");
                call(what, nodes.patch(&name, &PatchParams::default(), &patch)).await.map(|_| ())
            }
        }
    }

    /// Removes an allotment that was given back whole, and the NodePowers in it.
    async fn take_away(&mut self, domain: &str, spec: &PowerAllotmentSpec) -> Result<(), CallError> {
        tracing::info!(domain, "everything is given back: its allotment is removed");
        let powers: Api<NodePower> = Api::all(self.client.clone());
        for child in spec.children.iter().filter(|child| child.kind == crate::api::ChildKind::Node) {
            remove(&powers, &child.name).await?;
        }
        let allotments: Api<PowerAllotment> = Api::all(self.client.clone());
        self.memory.released(domain);
        remove(&allotments, domain).await
    }

    fn count(&self, error: &CallError) {
        self.metrics.wrote(error.outcome);
    }
}

/// Deletes an object that only our finalizer holds.
async fn remove<K>(api: &Api<K>, name: &str) -> Result<(), CallError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug + kube::Resource<DynamicType = ()>,
{
    let gone = |error: CallError| if error.code == Some(404) { Ok(()) } else { Err(error) };
    call(format!("delete {name}"), api.delete(name, &DeleteParams::default())).await.map(|_| ()).or_else(gone)?;
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    call(format!("let {name} go"), api.patch(name, &PatchParams::default(), &patch)).await.map(|_| ()).or_else(gone)
}
