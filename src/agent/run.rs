//! The agent's loop. Everything waits in one place, and everything that changes what is held happens in [`Agent::turn`].

use super::beat::Beaten;
use super::chain::Read;
use super::desk::Desk;
use super::holders::{self, Holders};
use super::keep::{Disk, Found, Memory, boot_number};
use super::orders::{self, Wishes};
use super::readings::{Expected, Gpu, Hardware};
use super::wake::Watches;
use super::{AgentError, Settings};
use crate::actuator::protocol::{Observation, Phase};
use crate::api::NodePower;
use crate::caps::CONTACT_SECONDS;
use crate::clock;
use crate::core::chance::random;
use crate::core::lease::{Answer, Cause, Input, Node, Rules, Why};
use crate::units::{BootMillis, Millis, Watts};
use kube::Client;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Changes that come within so many milliseconds are one read.
pub(super) const TOGETHER: u64 = 50;

/// Between two tries to take the actuator's desk.
const DESK_AGAIN: u64 = 1_000;

/// An actuator that has just started is given so long to read all its devices.
const SETTLES: u64 = 5_000;

/// The agent begins anew, as after a crash, at most so often.
const ANEW: u64 = 60_000;

/// Between two questions to the kubelet.
const ASKS_KUBELET: u64 = 5_000;

/// Until when one that was not obeyed is waited for before it is told.
const OBEYS_WITHIN: u64 = 1_000;

/// Runs until `stop`. At its end nothing is raised and nothing released: what was ordered holds until its end.
///
/// # Errors
/// Where its boot can't be told, or its state can't be kept. All else is waited for, and told on `/readyz`.
pub async fn run(client: Client, settings: Settings, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
    let mut agent = Agent::new(client, settings)?;
    let mut stop = std::pin::pin!(stop);
    let wake = agent.wake.clone();
    let mut next = clock::boot();
    loop {
        let now = clock::boot();
        let sleep = next.min(agent.wake_at.unwrap_or(next)).since(now);
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(read) = agent.reads.join_next() => agent.on_read(read.ok()).await,
            Some(beaten) = agent.beats.join_next() => agent.on_beaten(beaten.ok()),
            Some(said) = agent.asks.join_next() => agent.on_holders(said.ok()),
            () = wake.notified() => {
                agent.wake_at.get_or_insert(clock::boot().plus(TOGETHER));
                continue;
            }
            () = tokio::time::sleep(Duration::from_millis(sleep)) => {}
        }
        agent.turn().await;
        let now = clock::boot();
        if next <= now {
            next = now.plus(u64::try_from(agent.settings.period.as_millis()).unwrap_or(u64::MAX));
        }
    }
    agent.save().await;
    tracing::info!(node = agent.settings.node, "told to end: no limit was changed, each holds until its end");
    Ok(())
}

/// One node's agent.
pub(super) struct Agent {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) boot_id: String,
    pub(super) chance: u64,
    pub(super) chances: u64,
    pub(super) wake: Arc<Notify>,
    pub(super) watches: Watches,

    /// What is on disk, but for the machine's own.
    pub(super) memory: Memory,
    pub(super) disk: Disk,
    /// The machine knows what the disk does not yet.
    pub(super) unsaved: bool,

    pub(super) desk: Option<Desk>,
    pub(super) next_desk: BootMillis,
    pub(super) why_no_desk: Option<String>,

    /// The node, as it was last read or written.
    pub(super) power: Option<NodePower>,
    pub(super) machine: Option<Node>,
    pub(super) instance: u64,
    pub(super) started: BootMillis,
    pub(super) cause: Option<Cause>,
    pub(super) observation: Option<Observation>,
    pub(super) hardware: Hardware,
    pub(super) wishes: Option<Wishes>,

    pub(super) reads: JoinSet<Read>,
    pub(super) known: BTreeMap<String, bool>,
    pub(super) next_read: BootMillis,
    pub(super) wake_at: Option<BootMillis>,
    pub(super) why_not_heard: Option<String>,
    /// There is no NodePower: no domain that enforces selects the node, so there is nothing to hold.
    pub(super) unselected: bool,
    /// What the kubelet is asked, one question at a time.
    pub(super) asks: JoinSet<Result<Holders, String>>,
    pub(super) next_ask: BootMillis,
    /// Which pod has which accelerator; nothing while the kubelet does not say.
    pub(super) holders: Holders,
    pub(super) why_no_holders: Option<String>,
    /// A newer lease was read too early to be taken: a heartbeat was on its way.
    pub(super) lease_waits: bool,
    pub(super) remarks: Vec<String>,
    /// What was wrong at the start; until a lease is taken.
    pub(super) started_with: Option<String>,

    pub(super) beats: JoinSet<Beaten>,
    pub(super) last_beat: Option<BootMillis>,
    pub(super) next_beat: BootMillis,
    /// The last heartbeat that is known to have been written.
    pub(super) written: (u64, u64),
    pub(super) why_not_beaten: Option<String>,
    /// Less is in force, or more than should be: to be told at once.
    pub(super) urgent: bool,
    /// Since when more is in force than should be, and how much of it was told.
    pub(super) disobeyed: Option<(BootMillis, Option<Watts>)>,
    /// What did not work at the last look, by accelerator.
    pub(super) faults: Vec<(String, &'static str)>,
    /// When a fall of the cap was heard that is not read back yet.
    pub(super) reacting: Option<BootMillis>,
}

impl Agent {
    fn new(client: Client, settings: Settings) -> Result<Self, AgentError> {
        let path = settings.boot_id_file.clone();
        let boot_id = std::fs::read_to_string(&path).map_err(|error| AgentError::Boot { path, error })?;
        let boot_id = boot_id.trim().to_owned();
        let path = settings.state_dir.clone();
        // only tried: as long as another agent has the desk, the state is that one's
        std::fs::create_dir_all(&path)
            .and_then(|()| tempfile::tempfile_in(&path))
            .map_err(|error| AgentError::State { path, error })?;
        let wake = Arc::new(Notify::new());
        let watches = Watches::new(client.clone(), &settings.node, wake.clone());
        let now = clock::boot();
        let memory = Memory { node: settings.node.clone(), ..Memory::default() };
        Ok(Self {
            disk: Disk::new(settings.state_dir.clone()),
            client,
            settings,
            boot_id,
            // keys that the system's own randomness made
            chance: RandomState::new().hash_one(now.0),
            chances: 0,
            wake,
            watches,
            memory,
            unsaved: false,
            desk: None,
            next_desk: now,
            why_no_desk: None,
            power: None,
            machine: None,
            instance: 0,
            started: now,
            cause: None,
            observation: None,
            hardware: Hardware::default(),
            wishes: None,
            reads: JoinSet::new(),
            known: BTreeMap::new(),
            next_read: now,
            wake_at: None,
            why_not_heard: None,
            unselected: false,
            asks: JoinSet::new(),
            next_ask: now,
            holders: Holders::new(),
            why_no_holders: None,
            lease_waits: false,
            remarks: Vec::new(),
            started_with: None,
            beats: JoinSet::new(),
            last_beat: None,
            next_beat: now,
            written: (0, 0),
            why_not_beaten: None,
            urgent: false,
            disobeyed: None,
            faults: Vec::new(),
            reacting: None,
        })
    }

    /// One turn: time, the actuator, what must change, what is to be told, what is to be read.
    async fn turn(&mut self) {
        self.tick();
        self.read_on();
        self.ask_kubelet();
        self.take_desk().await;
        self.look().await;
        self.begin();
        self.hold().await;
        self.save().await;
        self.report();
        self.count();
    }

    pub(super) fn chance(&mut self) -> u64 {
        self.chances += 1;
        random(self.chance, self.chances)
    }

    /// `of`, give or take a fifth.
    pub(super) fn jittered(&mut self, of: Duration) -> u64 {
        let millis = u64::try_from(of.as_millis()).unwrap_or(u64::MAX);
        let fifth = (millis / 5).max(1);
        millis - fifth + self.chance() % (2 * fifth)
    }

    pub(super) fn contact(&self) -> Millis {
        self.memory.contact.unwrap_or(Millis(u64::from(CONTACT_SECONDS.unsigned_abs()) * 1000))
    }

    pub(super) fn tick(&mut self) {
        let now = clock::boot();
        if let Some(answer) = self.machine.as_mut().map(|machine| machine.step(now, &Input::Tick)) {
            self.took(now, &answer);
        }
    }

    /// Notes what a step of the machine came to.
    pub(super) fn took(&mut self, now: BootMillis, answer: &Answer) {
        self.unsaved |= answer.keep;
        self.urgent |= answer.report;
        match &answer.why {
            Why::Fell { cause, .. } => {
                tracing::warn!(node = self.settings.node, "{}", answer.why);
                self.cause = Some(*cause);
                if *cause == Cause::CapFell {
                    self.reacting.get_or_insert(now);
                }
            }
            Why::Accepted { .. } => tracing::info!(node = self.settings.node, "{}", answer.why),
            Why::Refused(refusal) => tracing::debug!(node = self.settings.node, "{refusal}"),
            Why::Holds | Why::OutOfOrder | Why::NotObeyed { .. } => {}
        }
    }

    async fn take_desk(&mut self) {
        let now = clock::boot();
        if self.desk.is_some() || now < self.next_desk {
            return;
        }
        let name = format!("agent of {} ({})", self.settings.node, std::process::id());
        match Desk::take(&self.settings.socket, &name, &self.boot_id).await {
            Ok(desk) => {
                tracing::info!(node = self.settings.node, "the actuator takes orders");
                self.why_no_desk = None;
                self.desk = Some(desk);
                self.observation = None;
                self.recall();
            }
            Err(error) => self.leave_desk(&error.to_string()),
        }
    }

    /// Remembers what is on disk: at the start, and where another agent had the desk meanwhile.
    fn recall(&mut self) {
        let found = Memory::load(&self.settings.state_dir, &self.settings.node);
        let own = self.machine.as_ref().map(|machine| machine.kept().sequence);
        match (found, own) {
            (Found::Kept(memory), Some(own)) if memory.kept.sequence > own => {
                tracing::warn!(node = self.settings.node, "another agent was here: what it accepted is taken over");
                self.machine = None;
                self.memory = memory;
            }
            (_, Some(_)) | (Found::Nothing, None) => {}
            (Found::Kept(memory), None) => self.memory = memory,
            (Found::Torn(why), None) => {
                let folder = self.settings.state_dir.display();
                tracing::error!(%folder, why, "the state is not believed: it starts without, and what is found stays");
                self.started_with = Some(format!("the state in {folder} is not believed ({why}): it started without"));
            }
        }
        self.disk = Disk::new(self.settings.state_dir.clone());
    }

    fn ask_kubelet(&mut self) {
        let now = clock::boot();
        if now < self.next_ask || !self.asks.is_empty() {
            return;
        }
        self.next_ask = now.plus(ASKS_KUBELET);
        if self.settings.pod_resources.exists() {
            let socket = self.settings.pod_resources.clone();
            self.asks.spawn(async move { holders::holders(&socket).await });
        } else {
            self.holders.clear();
        }
    }

    fn on_holders(&mut self, said: Option<Result<Holders, String>>) {
        let why = match said {
            Some(Ok(holders)) => {
                self.holders = holders;
                None
            }
            // what it said last may be untrue by now
            Some(Err(why)) => {
                self.holders.clear();
                Some(why)
            }
            None => return,
        };
        if why.is_some() && self.why_no_holders != why {
            tracing::warn!(node = self.settings.node, why, "the kubelet does not say which pod has which accelerator");
        }
        self.why_no_holders = why;
    }

    fn leave_desk(&mut self, why: &str) {
        if self.why_no_desk.as_deref() != Some(why) {
            tracing::warn!(node = self.settings.node, why, "nothing can be ordered");
        }
        self.why_no_desk = Some(why.to_owned());
        self.desk = None;
        self.observation = None;
        self.next_desk = clock::boot().plus(DESK_AGAIN);
    }

    pub(super) fn expected(&self) -> Option<Expected> {
        self.power.as_ref().map(|power| Expected::of(&power.spec))
    }

    /// Looks at the accelerators.
    async fn look(&mut self) {
        let Some(desk) = self.desk.as_mut() else { return };
        match desk.observe().await {
            Ok(observation) => self.seen(observation),
            Err(error) => self.leave_desk(&error.to_string()),
        }
    }

    fn seen(&mut self, observation: Observation) {
        let now = clock::boot();
        let Some(expected) = self.expected() else { return };
        self.hardware = Hardware::seen(&observation, &expected, now);
        self.observation = Some(observation);
        let enforced = self.hardware.enforced(expected.scale);
        let Some(machine) = self.machine.as_mut() else { return };
        let answer = machine.step(now, &Input::ReadBack { enforced });
        self.took(now, &answer);
        let obeyed = !matches!(answer.why, Why::NotObeyed { .. });
        match (&mut self.disobeyed, obeyed) {
            (None, false) => self.disobeyed = Some((now, None)),
            (Some((since, told)), false) => {
                if now.since(*since) >= OBEYS_WITHIN && told.is_none_or(|told| told < enforced) {
                    *told = Some(enforced);
                    self.urgent = true;
                    tracing::warn!(node = self.settings.node, "{}", answer.why);
                }
            }
            (Some((_, told)), true) => {
                self.urgent |= told.is_some();
                self.disobeyed = None;
            }
            (None, true) => {}
        }
        let word = |gpu: &Gpu| gpu.fault.as_ref().map(|fault| (gpu.uuid.clone(), fault.word));
        let faults: Vec<_> = self.hardware.gpus.iter().filter_map(word).collect();
        self.urgent |= faults != self.faults;
        self.faults = faults;
        if let Some(since) = self.reacting.filter(|_| obeyed) {
            self.reacting = None;
            self.settings.metrics.reaction.observe(Duration::from_millis(now.since(since)).as_secs_f64());
        }
    }

    /// Starts the machine once everything is known that it starts from, and anew when it has lost touch with the actuator.
    fn begin(&mut self) {
        let now = clock::boot();
        let (Some(desk), Some(observation), Some(expected)) = (&self.desk, &self.observation, self.expected()) else {
            return;
        };
        let settled = !observation.gpus.is_empty()
            && self.hardware.missing == 0
            && observation.gpus.iter().all(|view| view.reading.is_some() || !view.faults.is_empty());
        if !settled && now.since(desk.since) < SETTLES {
            return;
        }
        let is_new = self.started < desk.since || self.machine.is_none();
        let lost_touch = now.since(self.started) >= ANEW && self.has_fallen_alone(observation, now);
        if !is_new && !lost_touch {
            return;
        }
        let contact_limit = self.contact();
        let (mut kept, contact) = match &self.machine {
            Some(machine) => (machine.kept().clone(), machine.contact()),
            None => (self.memory.kept.clone(), orders::contact(&observation.gpus, contact_limit.0, now)),
        };
        // never below what the actuator took: an order below it is refused whole
        kept.sequence = kept.sequence.max(desk.sequence.unwrap_or(0));
        self.instance = self.chance() >> 11; // below 2^53, which every reader of JSON keeps whole
        let enforced = self.hardware.enforced(expected.scale);
        let boot = (boot_number(&self.boot_id), self.instance);
        let mut machine = Node::start(Rules::ALL, contact_limit, kept, boot, enforced, contact, now);
        machine.step(now, &Input::ReadBack { enforced });
        tracing::info!(node = self.settings.node, instance = self.instance, %enforced, limit = %machine.limit(), "begins");
        self.machine = Some(machine);
        self.started = now;
        self.written = (self.instance, 0);
        self.disobeyed = None;
        (self.unsaved, self.urgent) = (true, true);
        self.wake_at.get_or_insert(now);
    }

    /// Has the actuator let limits fall that were still to be held? Only a new lease brings them back, and the machine asks for
    /// one when it knows.
    fn has_fallen_alone(&self, observation: &Observation, now: BootMillis) -> bool {
        let Some(wishes) = &self.wishes else { return false };
        let lasts = wishes.ends.is_some_and(|ends| ends > now);
        lasts
            && observation.gpus.iter().any(|view| {
                let wish = wishes.gpus.iter().find(|wish| wish.uuid == view.gpu.uuid);
                let lower = wish.is_some_and(|wish| view.hold.limit_watts.is_some_and(|held| held < wish.limit));
                view.hold.phase == Phase::Fallen && lower
            })
    }

    /// Was everything seen that there is, since the actuator takes our orders? One that has just started knows some of its
    /// devices only, and the others would count as missing.
    pub(super) fn is_settled(&self) -> bool {
        self.machine.is_some() && self.desk.as_ref().is_some_and(|desk| self.started >= desk.since)
    }

    /// Has the actuator hold what is to be held.
    async fn hold(&mut self) {
        if !self.is_settled() {
            return;
        }
        let (Some(machine), Some(observation), Some(expected)) = (&self.machine, &self.observation, self.expected())
        else {
            return;
        };
        let hands_off = machine.kept().held.is_none() && machine.kept().sequence == 0;
        for view in observation.gpus.iter().filter(|view| view.hold.phase == Phase::Found) {
            let limit = view.reading.as_ref().and_then(|reading| reading.set_watts.or(reading.enforced_watts));
            let Some(limit) = limit else { continue };
            let known = self.memory.found.get(&view.gpu.uuid).copied();
            if known.is_none() || (hands_off && known != Some(limit)) {
                self.memory.found.insert(view.gpu.uuid.clone(), limit);
                self.unsaved = true;
            }
        }
        self.wishes = orders::wishes(
            machine,
            &self.hardware,
            &expected,
            (&self.memory.shares, &self.memory.clocks),
            &self.memory.found,
        );
        let Some(wishes) = &self.wishes else { return };
        let order =
            orders::order(wishes, machine.kept().sequence, observation.sequence, &observation.gpus, clock::boot());
        let Some(order) = order else { return };
        let raises = order.gpus.iter().any(|gpu| {
            let view = observation.gpus.iter().find(|view| view.gpu.uuid == gpu.uuid);
            view.and_then(|view| view.hold.limit_watts).is_none_or(|held| gpu.limit_watts > held)
        });
        if raises {
            self.save().await;
            if self.unsaved {
                return;
            }
        }
        let Some(desk) = self.desk.as_mut() else { return };
        match desk.order(order).await {
            Ok(_) => self.look().await,
            Err(error) => self.leave_desk(&error.to_string()),
        }
    }

    /// Has on disk what is to be there.
    pub(super) async fn save(&mut self) {
        // without the desk the file may be another's
        if !self.unsaved || self.desk.is_none() {
            return;
        }
        if let Some(machine) = &self.machine {
            self.memory.kept = machine.kept().clone();
        }
        match self.disk.write(&self.memory).await {
            Ok(()) => self.unsaved = false,
            Err(error) => {
                let folder = self.settings.state_dir.display();
                tracing::error!(%folder, %error, "the state can't be kept: nothing is raised and nothing acknowledged");
            }
        }
    }
}
