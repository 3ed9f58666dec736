//! One GPU's thread: all calls to one device are made here, one after another, so one that hangs hangs this GPU alone.
//!
//! Each period, and at once on an order or an end: read, decide ([`Hold`]), write, read back, tell. Of orders that wait
//! for a device there is at most one: a newer one takes its place.

use super::device::{Category, Device, DeviceError, Devices, Identity, Range, judge_draw, judge_limit, judge_range};
use super::hold::{Ask, Bounds, Hold, News, Reason, Refusal, Seen, Start};
use super::protocol::{DrawView, Fault, GpuView, HoldView, Note, Obedience, Outcome, Phase, Raised, Reading};
use crate::clock;
use crate::units::{BootMillis, Watts};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Milliseconds between two looks at a device. 500: a limit that does not hold is found within two periods, and the
/// node's promise is a period of at most 1 s (RELIABILITY §2).
pub const PERIOD_MILLIS: u64 = 500;

/// After so many milliseconds a call counts as hung. 2 s: they take some milliseconds, and a busy driver up to one
/// second; it leaves most of the 10 s in which a node must act alone.
pub const CALL_MILLIS: u64 = 2_000;

/// Milliseconds between two tries to open a device that can't be opened. A lost one comes back by a reset, in minutes.
const REOPEN_MILLIS: u64 = 5_000;

/// A GPU, as the rest of the actuator has it.
#[derive(Debug)]
pub struct Gpu {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mail: Mutex<Mail>,
    wake: Condvar,
    view: Mutex<GpuView>,
    /// The call that is being made: since when, and what.
    call: Mutex<Option<(BootMillis, &'static str)>>,
}

#[derive(Debug, Default)]
struct Mail {
    order: Option<Posted>,
    end: bool,
}

#[derive(Debug)]
struct Posted {
    sequence: u64,
    ask: Ask,
    reply: oneshot::Sender<Outcome>,
}

/// How a GPU's hold begins, once its range is known.
pub type Begin = Box<dyn FnOnce(Range) -> Start + Send>;

/// Told after each change of what is held: the hold, and until when it waits for an order since it was started anew.
pub type Tell = Box<dyn FnMut(&Hold, Option<BootMillis>) + Send>;

impl Gpu {
    /// Starts its thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        devices: Arc<dyn Devices>,
        identity: Identity,
        ceiling: Option<Watts>,
        begin: Begin,
        tell: Tell,
    ) -> std::io::Result<Self> {
        let hold = HoldView {
            phase: Phase::Found,
            limit_watts: None,
            ends_at_boot_millis: None,
            fall_watts: None,
            sequence: None,
            clock_lock_megahertz: None,
            obedience: Obedience::NothingAsked,
            raised_by_other: 0,
            last_raised: None,
        };
        let name = format!("gpu-{}", identity.index);
        let uuid = identity.uuid.clone();
        let view = GpuView { gpu: identity, range: None, highest_watts: None, reading: None, hold, faults: Vec::new() };
        let shared = Arc::new(Shared {
            mail: Mutex::default(),
            wake: Condvar::new(),
            view: Mutex::new(view),
            call: Mutex::default(),
        });
        let work = Work {
            shared: shared.clone(),
            devices,
            uuid,
            ceiling,
            begin: Some(begin),
            tell,
            open: None,
            hold: None,
            waits_until: None,
            changed: None,
            faults: Vec::new(),
        };
        std::thread::Builder::new().name(name).stack_size(512 * 1024).spawn(move || work.run())?;
        Ok(Self { shared })
    }

    /// What is known of it, with how long a call to it has hung.
    #[must_use]
    pub fn view(&self, now: BootMillis) -> GpuView {
        let mut view = lock(&self.shared.view).clone();
        view.faults.extend(self.hung(now));
        view
    }

    /// Another list of devices tells this of it.
    pub fn renew(&self, identity: Identity) {
        lock(&self.shared.view).gpu = identity;
    }

    /// The call that has not come back in time.
    #[must_use]
    pub fn hung(&self, now: BootMillis) -> Option<Fault> {
        let (since, doing) = (*lock(&self.shared.call))?;
        let for_millis = now.since(since);
        (for_millis > CALL_MILLIS).then(|| Fault {
            category: Category::TimedOut,
            message: format!("{doing}: the device has not come back for {for_millis} ms"),
            for_millis: Some(for_millis),
        })
    }

    /// Has it carry out an order; the answer comes when the device was read afterwards. A GPU that hangs already is not
    /// waited for; the order waits in its place and is carried out, if it has not ended, when the device comes back.
    pub async fn order(&self, sequence: u64, ask: Ask) -> Outcome {
        let (reply, answer) = oneshot::channel();
        let before = lock(&self.shared.mail).order.replace(Posted { sequence, ask, reply });
        self.shared.wake.notify_one();
        if let Some(before) = before {
            let message = format!("order {sequence} came before {} was carried out", before.sequence);
            let _ = before.reply.send(Outcome::Refused { reason: Refusal::Superseded, message });
        }
        if let Some(fault) = self.hung(clock::boot()) {
            return Outcome::Unknown { fault };
        }
        match tokio::time::timeout(Duration::from_millis(CALL_MILLIS + PERIOD_MILLIS), answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::Unknown { fault: other("its thread has ended") },
            Err(_) => {
                let late = || other("it was not done in time");
                Outcome::Unknown { fault: self.hung(clock::boot()).unwrap_or_else(late) }
            }
        }
    }

    /// Ends its thread, without any change to the device. It is not waited for.
    pub fn end(&self) {
        lock(&self.shared.mail).end = true;
        self.shared.wake.notify_one();
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.end();
    }
}

/// What its thread works with.
struct Work {
    shared: Arc<Shared>,
    devices: Arc<dyn Devices>,
    uuid: String,
    ceiling: Option<Watts>,
    begin: Option<Begin>,
    tell: Tell,
    open: Option<(Box<dyn Device>, Range)>,
    hold: Option<Hold>,
    /// Started anew: until when it waits for an order.
    waits_until: Option<BootMillis>,
    /// The draw and the energy counter, and when they last moved.
    changed: Option<(u64, Option<u64>, BootMillis)>,
    /// The last look's.
    faults: Vec<Fault>,
}

/// What one look at a device found.
#[derive(Default)]
struct Look {
    seen: Option<Seen>,
    set: Option<Watts>,
    enforced: Option<Watts>,
    faults: Vec<Fault>,
}

impl Work {
    fn run(mut self) {
        let mut next = BootMillis(0);
        loop {
            let mut now = clock::boot();
            let due = self.hold.as_ref().and_then(Hold::ends).map_or(next, |ends| ends.min(next));
            let order = {
                let mut mail = lock(&self.shared.mail);
                if mail.order.is_none() && !mail.end && due > now {
                    let wait = Duration::from_millis(due.since(now));
                    mail = self.shared.wake.wait_timeout(mail, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
                if mail.end {
                    return;
                }
                mail.order.take()
            };
            now = clock::boot();
            if order.is_none() && now < due {
                continue;
            }
            next = now.plus(if self.open(now) { PERIOD_MILLIS } else { REOPEN_MILLIS });
            self.round(order);
        }
    }

    /// Opens the device, if it isn't.
    fn open(&mut self, now: BootMillis) -> bool {
        if self.open.is_some() {
            return true;
        }
        let opened = {
            let _call = self.calling("opening it");
            self.devices.open(&self.uuid).and_then(|mut device| {
                let range = judge_range(device.range()?)?;
                Ok((device, range))
            })
        };
        match opened {
            Ok((device, range)) => {
                let bounds = Bounds::new(range, self.ceiling);
                if let Some(begin) = self.begin.take() {
                    let start = begin(range);
                    tracing::info!(gpu = self.uuid, ?range, highest = %bounds.high(), ?start, "held from now on");
                    if let Start::Recorded(recorded) = start {
                        self.waits_until = Some(recorded.ends);
                    }
                    let hold = self.hold.insert(Hold::new(bounds, start));
                    (self.tell)(hold, self.waits_until);
                }
                let mut view = lock(&self.shared.view);
                view.range = Some(range);
                view.highest_watts = Some(bounds.high());
                drop(view);
                self.open = Some((device, range));
                true
            }
            Err(error) => {
                tracing::debug!(gpu = self.uuid, at = %now, %error, "not opened");
                self.say_faults(vec![fault(&error)]);
                false
            }
        }
    }

    /// One round: an order if there is one, a look, what follows from it, and the answer.
    fn round(&mut self, order: Option<Posted>) {
        let range = self.open.as_ref().map(|(_, range)| *range);
        let (Some(range), Some(mut hold)) = (range, self.hold.clone()) else {
            if let Some(posted) = order {
                let message = self.faults.first().map_or("it is not open yet", |fault| &fault.message).to_owned();
                let _ = posted.reply.send(Outcome::Refused { reason: Refusal::Device, message });
            }
            return;
        };
        let before = hold.clone();
        let taken = order.map(|posted| {
            let notes = hold.order(clock::boot(), posted.sequence, &posted.ask);
            (posted, notes)
        });
        if matches!(taken, Some((_, Ok(_)))) {
            self.waits_until = None;
        }
        let mut look = self.look(range);
        let now = clock::boot();
        let step = hold.step(now, look.seen);
        for news in &step.news {
            self.say(*news, now);
        }
        let mut clock_failed = false;
        if let Some(clock) = step.clock {
            match self.call(if clock.is_some() { "locking its clock" } else { "letting its clock go" }, |device| {
                match clock {
                    Some(megahertz) => device.lock_clock(megahertz),
                    None => device.reset_clock(),
                }
            }) {
                Ok(()) => hold.clock_written(true),
                Err(error) => {
                    clock_failed = true;
                    if matches!(error.category, Category::NotSupported | Category::OutOfRange) {
                        hold.clock_written(false);
                    }
                    look.faults.push(fault(&error));
                }
            }
        }
        if let Some((limit, reason)) = step.write {
            match self.call("setting its limit", |device| device.set_limit(limit)) {
                Ok(()) => {
                    hold.written();
                    let faults = std::mem::take(&mut look.faults);
                    look = self.look(range);
                    look.faults.extend(faults);
                    let news = look.seen.and_then(|seen| hold.read_back(seen));
                    let again = matches!(reason, Reason::NotApplied);
                    if !again {
                        let enforced = look.enforced.map(|watts| watts.0);
                        tracing::info!(gpu = self.uuid, limit = limit.0, ?reason, enforced, "limit set");
                    }
                    if let Some(news) = news {
                        self.say(news, clock::boot());
                    }
                }
                Err(error) => look.faults.push(fault(&error)),
            }
        }
        let at = clock::boot();
        // on its way to disk before it is answered: an end that comes right after the answer finds it there
        if hold != before {
            (self.tell)(&hold, self.waits_until);
        }
        if let Some((posted, notes)) = taken {
            let _ = posted.reply.send(outcome(notes, &hold, &look, at, clock_failed));
        }
        self.hold = Some(hold);
        self.finish(look, range, at);
    }

    /// Reads its limits.
    fn look(&mut self, range: Range) -> Look {
        let mut look = Look::default();
        match self.call("reading the limit in force", |device| device.enforced_watts()) {
            Ok(watts) => look.enforced = keep(judge_limit(watts, range), &mut look.faults),
            Err(error) => look.faults.push(fault(&error)),
        }
        match self.call("reading the limit set on it", |device| device.set_watts()) {
            Ok(watts) => look.set = keep(judge_limit(watts, range), &mut look.faults),
            Err(error) if error.category == Category::NotSupported => {}
            Err(error) => look.faults.push(fault(&error)),
        }
        look.seen = look.enforced.map(|enforced| Seen { set: look.set, enforced });
        look
    }

    /// Reads the rest, and publishes it all.
    fn finish(&mut self, look: Look, range: Range, at: BootMillis) {
        let Look { set, enforced, mut faults, .. } = look;
        let draw = self.call("reading its draw", |device| device.draw()).and_then(|draw| judge_draw(draw, range));
        let draw = keep(draw, &mut faults);
        let energy = keep(self.call("reading its energy counter", |device| device.energy_millijoules()), &mut faults);
        let clock = keep(self.call("reading its clock", |device| device.clock_megahertz()), &mut faults);
        if let Some((hold, megahertz)) = self.hold.as_mut().zip(clock) {
            hold.clock_seen(megahertz);
        }
        let throttling = keep(self.call("reading why it throttles", |device| device.throttling()), &mut faults);
        let draw = draw.map(|draw| {
            let same = self.changed.filter(|(was, counted, _)| (*was, *counted) == (draw.milliwatts, energy));
            let since = same.map_or(at, |(_, _, since)| since);
            self.changed = Some((draw.milliwatts, energy, since));
            DrawView { milliwatts: draw.milliwatts, kind: draw.kind, changed_at_boot_millis: since }
        });
        lock(&self.shared.view).reading = Some(Reading {
            at_boot_millis: at,
            set_watts: set,
            enforced_watts: enforced,
            draw,
            energy_millijoules: energy,
            clock_megahertz: clock,
            throttling: throttling.unwrap_or_default(),
        });
        if faults.iter().any(|fault| fault.category == Category::Lost) {
            self.open = None;
        }
        self.say_faults(faults);
    }

    /// Makes one call, on the record.
    fn call<T>(
        &mut self,
        doing: &'static str,
        call: impl FnOnce(&mut dyn Device) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let shared = self.shared.clone();
        let Some((device, _)) = &mut self.open else {
            return Err(DeviceError { category: Category::Lost, doing, message: "it is not open".to_owned() });
        };
        let _call = Call::begin(&shared, doing);
        call(device.as_mut())
    }

    fn calling(&self, doing: &'static str) -> Call {
        Call::begin(&self.shared, doing)
    }

    /// Publishes faults and what is held; logs what is new.
    fn say_faults(&mut self, faults: Vec<Fault>) {
        for fault in &faults {
            let known = self.faults.iter().any(|old| (old.category, &old.message) == (fault.category, &fault.message));
            // NotSupported is how a device is, not what has gone wrong
            if !known && fault.category != Category::NotSupported {
                tracing::warn!(gpu = self.uuid, category = ?fault.category, "{}", fault.message);
            }
        }
        if faults.is_empty() && !self.faults.is_empty() {
            tracing::info!(gpu = self.uuid, "it works again");
        }
        self.faults.clone_from(&faults);
        let mut view = lock(&self.shared.view);
        view.faults = faults;
        let Some(hold) = &self.hold else { return };
        let HoldView { raised_by_other, last_raised, .. } = view.hold;
        view.hold = HoldView {
            phase: hold.phase(),
            limit_watts: hold.limit(),
            ends_at_boot_millis: hold.ends(),
            fall_watts: hold.fall(),
            sequence: hold.sequence(),
            clock_lock_megahertz: hold.clock_megahertz(),
            obedience: hold.obedience(),
            raised_by_other,
            last_raised,
        };
    }

    fn say(&self, news: News, at: BootMillis) {
        let gpu = &self.uuid;
        match news {
            News::Fell { from, to } => {
                tracing::warn!(gpu, from = from.0, to = to.0, "nobody renewed its limit: it falls");
            }
            News::RaisedByOther { set, found } => {
                let mut view = lock(&self.shared.view);
                view.hold.raised_by_other += 1;
                view.hold.last_raised = Some(Raised { at_boot_millis: at, found_watts: found });
                tracing::warn!(gpu, set = set.0, found = found.0, "another raised its limit: it is set again");
            }
            News::NotApplied { set, found } => {
                tracing::warn!(gpu, set = set.0, found = found.0, "it accepts its limit and does not apply it");
            }
            News::AppliedAtLast { set } => tracing::info!(gpu, set = set.0, "its limit holds at last"),
        }
    }
}

/// A call on the record, until it comes back.
struct Call {
    shared: Arc<Shared>,
}

impl Call {
    fn begin(shared: &Arc<Shared>, doing: &'static str) -> Self {
        *lock(&shared.call) = Some((clock::boot(), doing));
        Self { shared: shared.clone() }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        *lock(&self.shared.call) = None;
    }
}

/// What is answered to an order.
fn outcome(notes: Result<Vec<Note>, Refusal>, hold: &Hold, look: &Look, at: BootMillis, clock_failed: bool) -> Outcome {
    let mut notes = match notes {
        Ok(notes) => notes,
        Err(reason) => return Outcome::Refused { reason, message: why(reason).to_owned() },
    };
    if clock_failed {
        notes.push(Note::ClockNotSet);
    }
    let limit_watts = hold.limit().unwrap_or_default();
    let failed = look.faults.iter().find(|fault| fault.message.starts_with("setting its limit"));
    match (look.enforced, failed.or(look.faults.first())) {
        (Some(enforced_watts), _) if failed.is_none() => Outcome::ReadBack {
            limit_watts,
            enforced_watts,
            read_at_boot_millis: at,
            obedience: hold.obedience(),
            notes,
        },
        (_, fault) => {
            let fault = fault.cloned().unwrap_or_else(|| other("its limit could not be read back"));
            Outcome::NotReadBack { limit_watts, fault, notes }
        }
    }
}

/// Why an order is not taken, for people.
#[must_use]
pub fn why(reason: Refusal) -> &'static str {
    match reason {
        Refusal::LowerSequence => "a higher sequence was ordered before: an older lease does not come back",
        Refusal::EndMissing => "no endsAtBootMillis: a limit without an end would outlive whoever set it",
        Refusal::EndPassed => "endsAtBootMillis has passed already: take it from nowBootMillis of this boot",
        Refusal::FallMissing => "no fallWatts: it must be known what to fall to when nobody renews the limit",
        Refusal::NotPositive => {
            "limitWatts and fallWatts must be above 0: nothing is no limit, and no limit is not given"
        }
        Refusal::UnknownGpu => "no GPU of this node has this UUID",
        Refusal::SliceOfGpu => "this is a slice of a GPU: order the limit of the whole GPU",
        Refusal::NamedTwice => "this GPU stands twice in the order: the first is taken",
        Refusal::Device => "its device can't be reached",
        Refusal::Superseded => "a newer order came before this one was carried out",
    }
}

fn fault(error: &DeviceError) -> Fault {
    Fault { category: error.category, message: error.to_string(), for_millis: None }
}

fn other(message: &str) -> Fault {
    Fault { category: Category::Other, message: message.to_owned(), for_millis: None }
}

fn keep<T>(result: Result<T, DeviceError>, faults: &mut Vec<Fault>) -> Option<T> {
    result.map_err(|error| faults.push(fault(&error))).ok()
}

/// A panic elsewhere must not take the switch with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
