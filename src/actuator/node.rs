//! The node's GPUs together: which there are, the fence of sequences, and orders for several of them.

use super::device::{Devices, Identity, Range};
use super::gpu::{Begin, CALL_MILLIS, Gpu, Tell, why};
use super::hold::{Ask, Recorded, Refusal, Start};
use super::keeper::Keeper;
use super::protocol::{
    Category, Fault, GpuAnswer, GpuOrder, Observation, Order, OrderAnswer, Outcome, Refused, RequestRefusal, Unreadable,
};
use super::state::{Found, Record, State};
use crate::clock;
use crate::units::{BootMillis, Watts};
use futures::future::join_all;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a restarted actuator waits for an order before what it holds falls, in milliseconds.
/// 30 s: longer than an agent needs to come back with it, and the class of everything that is not hardware's alone.
/// It is not counted anew by another restart, so that one in a crash loop falls too.
pub const WAIT_MILLIS: u64 = 30_000;

/// Between two lists of the devices. One that was lost or cut into slices is seen within half a minute.
const LIST_EACH: Duration = Duration::from_secs(30);

/// What the actuator was started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// No limit above this is ever written.
    pub ceiling: Option<Watts>,
    /// At the start every GPU falls to this, where it is lower than what is in force.
    pub safe: Option<Watts>,
    /// Where the state is.
    pub state_folder: PathBuf,
    /// Tells this boot from others.
    pub boot_id: String,
}

/// The node's GPUs.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    gpus: Mutex<Gpus>,
    /// The highest sequence that was taken in this boot.
    seen: Mutex<Option<u64>>,
    keeper: Keeper,
    memory: Memory,
}

#[derive(Debug, Default)]
struct Gpus {
    all: Vec<(Identity, Arc<Gpu>)>,
    unreadable: Vec<Unreadable>,
    listing: Option<Fault>,
    /// The list that is being made, since when.
    listed_since: Option<BootMillis>,
}

/// What was found on disk at the start.
#[derive(Debug, Clone)]
enum Memory {
    State(State),
    Torn,
}

impl Node {
    /// Starts to hold the node's GPUs. Nothing is raised by it.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(devices: Arc<dyn Devices>, settings: Settings) -> std::io::Result<Arc<Self>> {
        let (memory, state) = match State::load(&settings.state_folder) {
            Found::Nothing => (Memory::State(State::default()), State::default()),
            Found::Kept(state) => (Memory::State(state.clone()), state),
            Found::Torn(why) => {
                let folder = settings.state_folder.display();
                tracing::error!(%folder, why, "the state is not believed: every GPU falls to its lowest limit until an order");
                (Memory::Torn, State::default())
            }
        };
        let seen = Mutex::new(state.sequence(&settings.boot_id));
        let keeper = Keeper::start(settings.state_folder.clone(), settings.boot_id.clone(), state)?;
        let node = Arc::new(Self { settings, gpus: Mutex::default(), seen, keeper, memory });
        let weak = Arc::downgrade(&node);
        std::thread::Builder::new().name("list".to_owned()).stack_size(512 * 1024).spawn(move || {
            while let Some(node) = weak.upgrade() {
                node.list(&devices);
                drop(node);
                std::thread::sleep(LIST_EACH);
            }
        })?;
        Ok(node)
    }

    /// Lists the devices, and starts a thread for each new one.
    fn list(&self, devices: &Arc<dyn Devices>) {
        lock(&self.gpus).listed_since = Some(clock::boot());
        let listing = devices.list();
        let mut gpus = lock(&self.gpus);
        gpus.listed_since = None;
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => {
                tracing::error!(%error, "the devices can't be listed");
                let fault = Fault { category: error.category, message: error.to_string(), for_millis: None };
                gpus.listing = Some(fault);
                return;
            }
        };
        gpus.listing = None;
        gpus.unreadable = listing
            .unreadable
            .into_iter()
            .map(|(index, error)| {
                let fault = Fault { category: error.category, message: error.to_string(), for_millis: None };
                Unreadable { index, fault }
            })
            .collect();
        for identity in listing.devices {
            if let Some((known, gpu)) = gpus.all.iter_mut().find(|(known, _)| known.uuid == identity.uuid) {
                gpu.renew(identity.clone());
                *known = identity;
                continue;
            }
            let begin = self.begin(&identity.uuid);
            let (keeper, uuid) = (self.keeper.clone(), identity.uuid.clone());
            let tell: Tell = Box::new(move |hold, waits_until| keeper.note(&uuid, hold, waits_until));
            match Gpu::start(devices.clone(), identity.clone(), self.settings.ceiling, begin, tell) {
                Ok(gpu) => gpus.all.push((identity, Arc::new(gpu))),
                Err(error) => tracing::error!(gpu = identity.uuid, %error, "no thread for it: it is not held"),
            }
        }
        gpus.all.sort_by_key(|(identity, _)| identity.index);
    }

    /// How a GPU's hold begins.
    fn begin(&self, uuid: &str) -> Begin {
        let record = match &self.memory {
            Memory::State(state) => state.gpus.get(uuid).cloned(),
            Memory::Torn => return Box::new(|range: Range| Start::Safe(range.min_watts)),
        };
        let (safe, boot_id) = (self.settings.safe, self.settings.boot_id.clone());
        Box::new(move |_| start(record.as_ref(), safe, &boot_id, clock::boot()))
    }

    /// All readings.
    #[must_use]
    pub fn observe(&self) -> Observation {
        let now = clock::boot();
        let gpus = lock(&self.gpus);
        let hung = gpus.listed_since.map(|since| now.since(since)).filter(|millis| *millis > CALL_MILLIS);
        let hung = hung.map(|for_millis| Fault {
            category: Category::TimedOut,
            message: format!("listing the devices: the library has not come back for {for_millis} ms"),
            for_millis: Some(for_millis),
        });
        Observation {
            now_boot_millis: now,
            sequence: self.sequence(),
            gpus: gpus.all.iter().map(|(_, gpu)| gpu.view(now)).collect(),
            unreadable: gpus.unreadable.clone(),
            listing: hung.or_else(|| gpus.listing.clone()),
        }
    }

    /// The highest sequence that was taken in this boot.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        *lock(&self.seen)
    }

    /// Carries out an order: on all GPUs at once that are to go down, and where these are read back, on all that go up. Else one
    /// would draw what another has not given up yet. One that hangs does not keep others waiting for their lower limits.
    ///
    /// # Errors
    /// A lower sequence.
    pub async fn order(&self, order: Order) -> Result<OrderAnswer, Refused> {
        let sequence = order.sequence;
        {
            let mut seen = lock(&self.seen);
            if let Some(seen) = seen.filter(|seen| sequence < *seen) {
                let message = format!("{}: {} was seen, this is {}", why(Refusal::LowerSequence), seen, sequence);
                return Err(Refused { reason: RequestRefusal::LowerSequence, message });
            }
            *seen = Some(sequence);
        }
        let mut named = BTreeSet::new();
        let asked = order.gpus.into_iter().map(|asked| {
            let gpu = self.find(&asked.uuid).and_then(|gpu| match named.insert(asked.uuid.clone()) {
                true => Ok(gpu),
                false => Err(Refusal::NamedTwice),
            });
            let (uuid, ask) = split(asked);
            let falls = gpu.as_ref().is_ok_and(|gpu| gpu.in_force().is_some_and(|held| ask.limit < held));
            (uuid, gpu, ask, falls)
        });
        let asked: Vec<_> = asked.collect();
        let carried = |down: bool| {
            let these = asked.iter().filter(move |(.., falls)| *falls == down);
            join_all(these.map(|(_, gpu, ask, _)| async {
                match gpu {
                    Ok(gpu) => gpu.order(sequence, *ask).await,
                    Err(reason) => refused(*reason),
                }
            }))
        };
        let lowered = carried(true).await;
        let raised = if lowered.iter().all(is_down) {
            carried(false).await
        } else {
            let kept = asked.iter().filter(|(.., falls)| !falls).map(|(_, gpu, ask, _)| async {
                let gpu = match gpu {
                    Ok(gpu) => gpu,
                    Err(reason) => return refused(*reason),
                };
                // what it has is less than the order's, so it may go on as long
                let hold = gpu.view(clock::boot()).hold;
                if let (Some(sequence), Some(limit)) = (hold.sequence, hold.limit_watts) {
                    gpu.order(sequence, Ask { limit, ..*ask }).await;
                }
                refused(Refusal::OthersNotDown)
            });
            join_all(kept).await
        };
        let (mut lowered, mut raised) = (lowered.into_iter(), raised.into_iter());
        let answer = |(uuid, _, _, falls)| {
            let outcome = if falls { lowered.next() } else { raised.next() };
            Some(GpuAnswer { uuid, outcome: outcome? })
        };
        Ok(OrderAnswer { sequence, gpus: asked.into_iter().filter_map(answer).collect() })
    }

    fn find(&self, uuid: &str) -> Result<Arc<Gpu>, Refusal> {
        let gpus = lock(&self.gpus);
        if let Some((_, gpu)) = gpus.all.iter().find(|(identity, _)| identity.uuid == uuid) {
            return Ok(gpu.clone());
        }
        let slice = gpus.all.iter().any(|(identity, _)| identity.slices.iter().any(|slice| slice == uuid));
        Err(if slice { Refusal::SliceOfGpu } else { Refusal::UnknownGpu })
    }

    /// Ends without any change to a device; what is held stays in the hardware.
    pub fn end(&self) {
        for (_, gpu) in &lock(&self.gpus).all {
            gpu.end();
        }
        if !self.keeper.flush(Duration::from_secs(1)) {
            tracing::error!("the state could not be written in time");
        }
    }
}

/// How a hold begins, from what was recorded and what the actuator was told.
#[must_use]
pub fn start(record: Option<&Record>, safe: Option<Watts>, boot_id: &str, now: BootMillis) -> Start {
    match record {
        // told a safe limit at this start: that is an order to fall, for those without a hold of this boot
        None => safe.map_or(Start::Unknown, Start::Safe),
        Some(record) if record.boot_id != boot_id => {
            Start::Safe(safe.map_or(record.fall_watts, |safe| safe.min(record.fall_watts)))
        }
        Some(record) => Start::Recorded(Recorded {
            sequence: record.sequence,
            limit: safe.map_or(record.limit_watts, |safe| safe.min(record.limit_watts)),
            ends: record.waits_until_boot_millis.unwrap_or_else(|| now.plus(WAIT_MILLIS)),
            fall: record.fall_watts,
            clock_megahertz: record.clock_lock_megahertz,
        }),
    }
}

fn refused(reason: Refusal) -> Outcome {
    Outcome::Refused { reason, message: why(reason).to_owned() }
}

/// Was it read back at its limit, or below?
fn is_down(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::ReadBack { limit_watts, enforced_watts, .. } if enforced_watts <= limit_watts)
}

fn split(order: GpuOrder) -> (String, Ask) {
    let GpuOrder { uuid, limit_watts, clock_lock_megahertz, ends_at_boot_millis, fall_watts } = order;
    let ask =
        Ask { limit: limit_watts, ends: ends_at_boot_millis, fall: fall_watts, clock_megahertz: clock_lock_megahertz };
    (uuid, ask)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
