//! The node's side of the protocol.

use super::{Beat, Cap, Held, Kept, Lease, Report, Rule, Rules};
use crate::units::{BootMillis, Millis, Watts};
use std::fmt;

/// Heartbeats that may still be answered. At one each 20 s, these are 21 minutes, more than any lease lives.
const REMEMBERED: usize = 64;

/// A node that holds its accelerators to what it was leased.
///
/// ```text
///           a newer lease that answers this instance: in force is
///           what it allows under the newest cap that was heard
///      .---------------------------------------------------------------.
///      v                                                               |
///   [ Leased ] -- the cap falls, a step comes ----> [ Leased, lower ]  |
///      |                                                  |            |
///      |  contact lost, or the lease is over              |            |
///      `-------------------> [ Fallen ] <-----------------'            |
///                       min(in force, row, safe) ----------------------'
///
///   [ Found ]  at a start without a lease: what is enforced, and never more
/// ```
///
/// What is in force only ever falls, but by a lease that is accepted. Time, the boot and the instance come in as values;
/// nothing here reads a clock, a disk or a device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    rules: Rules,
    /// Without a read of its caps that was sent within this time, the node is deaf.
    contact_limit: Millis,
    instance: u64,
    number: u64,
    sent: Vec<(u64, BootMillis)>,
    contact: Option<BootMillis>,
    kept: Kept,
    in_force: Watts,
    read_back: Option<Watts>,
}

/// Something that a node hears or sees.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// Time has passed.
    Tick,
    /// A quorum read of the caps above it has been answered.
    Heard {
        /// When it was sent.
        sent: BootMillis,
        /// The least cap of its chain.
        cap: Cap,
    },
    /// A lease was read from the ledger.
    Offered {
        /// The lease.
        lease: &'a Lease,
        /// The number of the last heartbeat that had been sent when the read was sent.
        after: u64,
    },
    /// The hardware was read back after its limits were set.
    ReadBack {
        /// What it enforces.
        enforced: Watts,
    },
}

/// What a node does about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Why.
    pub why: Why,
    /// What it keeps must reach the disk before anything else is done. Without: it crashes after the acknowledgement and knows
    /// less than was promised in its name.
    pub keep: bool,
    /// Less is in force than before, and the sum above waits for it: report at once.
    pub report: bool,
}

/// Why a node holds what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Nothing has changed.
    Holds,
    /// A lease was accepted.
    Accepted {
        /// Its count.
        sequence: u64,
        /// What is in force now.
        limit: Watts,
    },
    /// A lease was not accepted; what was in force stays.
    Refused(Refusal),
    /// Less is in force.
    Fell {
        /// What is in force now.
        limit: Watts,
        /// Why.
        cause: Cause,
    },
    /// A read of the caps that was sent before one that was answered already.
    OutOfOrder,
    /// The hardware enforces more than it was told to.
    NotObeyed {
        /// What it was told.
        limit: Watts,
        /// What it enforces.
        enforced: Watts,
    },
}

/// Why a lease was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not newer than the one that was accepted last.
    NotNewer {
        /// Its count.
        sequence: u64,
        /// The count of the last one.
        last: u64,
    },
    /// It answers another agent, or another start of this one.
    NotOurs,
    /// It answers a heartbeat that this instance has not sent, or no longer remembers.
    UnknownBeat(u64),
    /// It was read before the last heartbeat, which did not say that it would be taken: read again.
    OldRead,
    /// Its life is over already.
    Over,
    /// The node is deaf: it would have to fall at once.
    Deaf,
}

/// Why less is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The cap is lower.
    CapFell,
    /// The time of a known reduction has come.
    StepCame,
    /// The lease is over.
    LeaseOver,
    /// The caps could not be read for too long.
    Deaf,
}

impl Node {
    /// A node at the start of its agent. `enforced` is what the hardware is found with; `contact` is when the last read of
    /// the caps was sent that this boot knows of (the actuator's order ends one contact time after it).
    ///
    /// On the same boot it goes on at the least of what is enforced and what its lease allows. After a reboot the lease is
    /// gone, and the least of what is enforced, the lease's row and its safe limit is in force. Without anything kept, what
    /// is found stays: it is reserved as the node's ceiling until a lease says otherwise.
    #[must_use]
    pub fn start(
        rules: Rules,
        contact_limit: Millis,
        kept: Kept,
        (boot, instance): (u64, u64),
        enforced: Watts,
        contact: Option<BootMillis>,
        now: BootMillis,
    ) -> Self {
        let same_boot = kept.boot == boot;
        let mut node = Self {
            rules,
            contact_limit,
            instance,
            number: 0,
            sent: Vec::new(),
            contact: contact.filter(|_| same_boot),
            kept,
            in_force: enforced,
            read_back: None,
        };
        let (allowed, _) = node.allowed(now);
        if same_boot {
            node.in_force = enforced.min(allowed);
        } else {
            let safe = node.kept.held.as_ref().map(|held| held.figures.safe);
            node.in_force = safe.map_or(enforced, |safe| enforced.min(allowed).min(safe));
            node.kept.held = None;
            node.kept.boot = boot;
        }
        node
    }

    /// The time without a read of its caps after which it is deaf has been changed. What follows comes with the next step.
    pub fn contact_within(&mut self, limit: Millis) {
        self.contact_limit = limit;
    }

    /// When the last read of the caps was sent.
    #[must_use]
    pub fn contact(&self) -> Option<BootMillis> {
        self.contact
    }

    /// What the hardware is to be held to.
    #[must_use]
    pub fn limit(&self) -> Watts {
        self.in_force
    }

    /// Until when the hardware may hold the limit without this agent, and what it falls to by itself then. No order is
    /// prolonged without contact.
    #[must_use]
    pub fn order(&self) -> (Option<BootMillis>, Watts) {
        let ends = self.contact.map(|at| at + self.contact_limit);
        let over = self.kept.held.as_ref().map(|held| held.ends);
        (ends.map(|ends| over.map_or(ends, |over| ends.min(over))), self.fallen_to())
    }

    /// Is less in force than its lease allows, so that only a new one brings it back?
    #[must_use]
    pub fn is_fallen(&self, now: BootMillis) -> bool {
        self.kept.held.is_none() || self.in_force < self.allowed(now).0
    }

    /// What is to be on the disk.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// One step.
    pub fn step(&mut self, now: BootMillis, input: &Input<'_>) -> Answer {
        match input {
            Input::Tick => self.settle(now, false),
            Input::Heard { sent, cap } => self.hear(now, *sent, *cap),
            Input::Offered { lease, after } => match self.refusal(now, lease, *after) {
                Some(refusal) => Answer { why: Why::Refused(refusal), keep: false, report: false },
                None => self.accept(now, lease),
            },
            Input::ReadBack { enforced } => {
                self.read_back = Some(*enforced);
                let limit = self.in_force;
                let why = if *enforced > limit { Why::NotObeyed { limit, enforced: *enforced } } else { Why::Holds };
                Answer { why, keep: false, report: false }
            }
        }
    }

    /// The number of the last heartbeat that was sent.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next heartbeat, sent now.
    pub fn heartbeat(&mut self, now: BootMillis) -> Report {
        self.number += 1;
        self.sent.push((self.number, now));
        if self.sent.len() > REMEMBERED {
            self.sent.remove(0);
        }
        let enforced = self.read_back.unwrap_or(self.in_force);
        let held = self.kept.held.as_ref();
        let obeyed = self.read_back.is_some_and(|enforced| enforced <= self.in_force);
        // one that comes after the end takes nothing: a renewal may lift what has ended
        let has_come = |held: &Held, at: BootMillis| at <= now && at < held.ends;
        let passed = held.map_or(0, |held| {
            held.steps.iter().filter(|(at, watts)| has_come(held, *at) && self.in_force <= *watts).count()
        });
        Report {
            beat: Beat { instance: self.instance, number: self.number },
            acknowledged: held.filter(|_| obeyed).map_or(0, |held| held.sequence),
            accepted: self.kept.sequence,
            steps_passed: if obeyed { u32::try_from(passed).unwrap_or(u32::MAX) } else { 0 },
            held: held.map(|held| held.figures.clone()),
            enforced,
            cap: self.kept.cap,
            fallen: self.is_fallen(now),
        }
    }

    fn hear(&mut self, now: BootMillis, sent: BootMillis, cap: Cap) -> Answer {
        if self.contact.is_some_and(|last| sent < last) {
            return Answer { why: Why::OutOfOrder, keep: false, report: false };
        }
        self.contact = Some(sent);
        // A read that was sent later tells what is true later, even where its version is lower: then the API server's own
        // store has gone back.
        let is_news = self.kept.cap != Some(cap);
        self.kept.cap = Some(cap);
        self.settle(now, is_news)
    }

    fn refusal(&self, now: BootMillis, lease: &Lease, after: u64) -> Option<Refusal> {
        if after < self.number && self.rules.hold(Rule::ReadAfterHeartbeat) {
            return Some(Refusal::OldRead);
        }
        let (sequence, last) = (lease.sequence, self.kept.sequence);
        if sequence == last || sequence < last && self.rules.hold(Rule::RefuseOlderLease) {
            return Some(Refusal::NotNewer { sequence, last });
        }
        if self.rules.hold(Rule::AnswersOwnHeartbeat) {
            if lease.answers.instance != self.instance {
                return Some(Refusal::NotOurs);
            }
            if self.sent_at(lease).is_none() {
                return Some(Refusal::UnknownBeat(lease.answers.number));
            }
        }
        if self.ends(now, lease) <= now {
            return Some(Refusal::Over);
        }
        if self.is_deaf(now) {
            return Some(Refusal::Deaf);
        }
        None
    }

    fn accept(&mut self, now: BootMillis, lease: &Lease) -> Answer {
        let from = self.begins(now, lease);
        // also where it fell already by itself: only its acknowledgement frees anything for others
        let lowers = self.kept.held.as_ref().is_some_and(|held| !held.figures.within(&lease.figures));
        self.kept.sequence = lease.sequence;
        self.kept.held = Some(Held {
            sequence: lease.sequence,
            figures: lease.figures.clone(),
            steps: lease.steps.iter().map(|step| (from + step.after, step.watts)).collect(),
            ends: from + lease.life,
        });
        if self.kept.cap.is_none_or(|heard| lease.cap.version > heard.version) {
            self.kept.cap = Some(lease.cap);
        }
        let before = self.in_force;
        (self.in_force, _) = self.allowed(now);
        self.read_back = None;
        Answer {
            why: Why::Accepted { sequence: lease.sequence, limit: self.in_force },
            keep: true,
            report: self.in_force < before || lowers,
        }
    }

    /// Falls where less is allowed than is in force.
    fn settle(&mut self, now: BootMillis, keep: bool) -> Answer {
        let (allowed, cause) = self.allowed(now);
        let lower = if self.rules.hold(Rule::FallIsNeverARaise) || cause == Cause::CapFell {
            self.in_force.min(allowed)
        } else {
            allowed
        };
        if lower == self.in_force {
            return Answer { why: Why::Holds, keep, report: false };
        }
        self.in_force = lower;
        self.read_back = None;
        Answer { why: Why::Fell { limit: lower, cause }, keep, report: true }
    }

    /// What may be in force at most, and what limits it.
    fn allowed(&self, now: BootMillis) -> (Watts, Cause) {
        let Some(held) = &self.kept.held else { return (self.in_force, Cause::LeaseOver) };
        let row = self.kept.cap.map_or(held.figures.watts, |cap| held.figures.at(cap.watts));
        let step = held.steps.iter().filter(|(at, _)| *at <= now).map(|(_, watts)| *watts).min();
        let (mut allowed, mut cause) = (row, Cause::CapFell);
        if let Some(watts) = step.filter(|watts| *watts < allowed) {
            (allowed, cause) = (watts, Cause::StepCame);
        }
        let over = now >= held.ends;
        if over || self.is_deaf(now) {
            cause = if over { Cause::LeaseOver } else { Cause::Deaf };
            allowed = if self.rules.hold(Rule::FallIsNeverARaise) {
                allowed.min(held.figures.safe)
            } else {
                held.figures.safe
            };
        }
        (allowed, cause)
    }

    /// What the hardware falls to when nobody prolongs its order.
    fn fallen_to(&self) -> Watts {
        self.kept.held.as_ref().map_or(self.in_force, |held| self.in_force.min(held.figures.safe))
    }

    fn is_deaf(&self, now: BootMillis) -> bool {
        self.rules.hold(Rule::DeafNodesFall) && self.contact.is_none_or(|at| now >= at + self.contact_limit)
    }

    fn sent_at(&self, lease: &Lease) -> Option<BootMillis> {
        self.sent.iter().find(|(number, _)| *number == lease.answers.number).map(|(_, at)| *at)
    }

    fn begins(&self, now: BootMillis, lease: &Lease) -> BootMillis {
        if self.rules.hold(Rule::LifeFromHeartbeat) { self.sent_at(lease).unwrap_or(now) } else { now }
    }

    fn ends(&self, now: BootMillis, lease: &Lease) -> BootMillis {
        self.begins(now, lease) + lease.life
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => f.write_str("nothing has changed"),
            Self::Accepted { sequence, limit } => write!(f, "lease {sequence} is accepted: {limit} in force"),
            Self::Refused(refusal) => write!(f, "a lease is refused: {refusal}"),
            Self::Fell { limit, cause } => write!(f, "fell to {limit}: {cause}"),
            Self::OutOfOrder => f.write_str("the caps were read again already by a later call"),
            Self::NotObeyed { limit, enforced } => write!(f, "{limit} was set, {enforced} is in force"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNewer { sequence, last } => {
                write!(f, "its sequence is {sequence}, and {last} was accepted already")
            }
            Self::NotOurs => f.write_str("it answers another start of this agent"),
            Self::UnknownBeat(number) => write!(f, "it answers heartbeat {number}, which is not known here"),
            Self::OldRead => f.write_str("it was read before the last heartbeat was sent: it is read again"),
            Self::Over => f.write_str("it was over before it came"),
            Self::Deaf => f.write_str("the caps could not be read, so it would fall at once"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CapFell => "the cap is lower",
            Self::StepCame => "the time of a known reduction has come",
            Self::LeaseOver => "the lease is over",
            Self::Deaf => "the caps could not be read for too long",
        })
    }
}
