//! What is heard from above, and what of it the node takes.

use super::chain::{self, Ask, Heard, Read, ReadError};
use super::metrics::OutcomeLabel;
use super::run::{Agent, TOGETHER};
use crate::api::{AcceleratorShare, NodePower};
use crate::clock;
use crate::core::lease::{Cause, Input, Lease, Node, Refusal, Why};
use crate::units::Watts;
use std::time::Duration;

/// Reads under way at once, at most: one that hangs does not keep the next from being heard.
const MOST_READS: usize = 3;

/// A node that could have more again asks for it within so many milliseconds.
const ASKS_WITHIN: u64 = 3_000;

impl Agent {
    /// Starts a read where one is due.
    pub(super) fn read_on(&mut self) {
        let now = clock::boot();
        let woken = self.wake_at.is_some_and(|at| at <= now);
        if self.reads.len() >= MOST_READS || (!woken && now < self.next_read) {
            return;
        }
        self.wake_at = None;
        let contact = self.contact().0;
        // a lost answer must not lose contact
        let every = self.settings.read_every.min(Duration::from_millis(contact / 3));
        // only earlier than that, so that nodes do not read in step
        self.next_read = now.plus(self.jittered(every * 5 / 6));
        let held = self.machine.as_ref().and_then(|machine| machine.kept().held.as_ref());
        let ask = Ask {
            node: self.settings.node.clone(),
            held: held.and(self.memory.domain.clone()),
            known: self.known.clone(),
            after: self.written,
            // with the time between two reads it is less than the contact time
            at_most: Duration::from_millis(contact * 3 / 5),
        };
        self.reads.spawn(chain::read(self.client.clone(), ask));
    }

    pub(super) async fn on_read(&mut self, read: Option<Read>) {
        // time first: what fell due while this was under way has fallen
        self.tick();
        let Some(Read { node, heard }) = read else { return };
        if let Some(node) = node {
            self.found(node);
        }
        let outcome = match &heard {
            Ok(_) => "Succeeded",
            Err(ReadError::TooLate(_)) => "TimedOut",
            Err(_) => "Failed",
        };
        self.settings.metrics.reads.get_or_create(&OutcomeLabel { outcome }).inc();
        self.unselected = matches!(heard, Err(ReadError::NoNodePower(_)));
        match heard {
            Ok(heard) => {
                if self.why_not_heard.take().is_some() {
                    tracing::info!(node = self.settings.node, "the caps above are heard");
                }
                self.hear(heard).await;
            }
            Err(error) => {
                let why = error.to_string();
                if self.why_not_heard.as_ref() != Some(&why) {
                    tracing::warn!(node = self.settings.node, why, "the caps above could not be read");
                }
                self.why_not_heard = Some(why);
            }
        }
    }

    /// The node was read or written: the newest version counts.
    pub(super) fn found(&mut self, node: NodePower) {
        let version = |node: &NodePower| node.metadata.resource_version.as_ref().and_then(|v| v.parse::<u64>().ok());
        if self.power.as_ref().is_none_or(|known| version(&node) >= version(known)) {
            self.power = Some(node);
        }
    }

    async fn hear(&mut self, heard: Heard) {
        if self.known != heard.domains {
            self.watches.follow(heard.domains.keys(), Some(&heard.leaf));
            self.known.clone_from(&heard.domains);
        }
        let now = clock::boot();
        if heard.remarks != self.remarks {
            heard.remarks.iter().for_each(|remark| tracing::warn!(node = self.settings.node, "{remark}"));
        }
        self.remarks.clone_from(&heard.remarks);
        if self.memory.contact != Some(heard.contact) {
            self.memory.contact = Some(heard.contact);
            self.unsaved = true;
        }
        let contact = self.contact();
        let Some(machine) = self.machine.as_mut() else { return };
        // a lease's rows are at the caps of its own domain; while this was asked the node may have moved
        let held = machine.kept().held.as_ref().and(self.memory.domain.as_deref());
        let Some(cap) = heard.cap_of(held.unwrap_or(&heard.leaf)) else {
            self.wake_at.get_or_insert(now.plus(TOGETHER));
            return;
        };
        machine.contact_within(contact);
        let was_fallen = machine.is_fallen(now);
        let was_deaf = machine.contact().is_none_or(|at| now >= at + contact);
        let answer = machine.step(now, &Input::Heard { sent: heard.sent, cap });
        let can_rise = machine.is_fallen(now) && (was_deaf || !was_fallen);
        self.took(now, &answer);
        if can_rise {
            // only a new lease brings it back, and it answers a heartbeat; many nodes ask for one now
            let soon = now.plus(self.chance() % ASKS_WITHIN);
            self.next_beat = self.next_beat.min(soon);
        }
        if let Some(lease) = heard.offer.as_ref().and_then(|offer| offer.lease.as_ref()).map(Lease::from) {
            self.offered(&lease, &heard).await;
        }
    }

    /// A lease: taken only when it is on disk.
    async fn offered(&mut self, lease: &Lease, heard: &Heard) {
        // without the desk another agent may hold this node
        if !self.is_settled() {
            return;
        }
        let Some(before) = self.machine.clone() else { return };
        let now = clock::boot();
        let after = if heard.after.0 == self.instance { heard.after.1 } else { 0 };
        let Some(machine) = self.machine.as_mut() else { return };
        let answer = machine.step(now, &Input::Offered { lease, after });
        match answer.why {
            Why::Accepted { .. } => {}
            Why::Refused(Refusal::OldRead) => {
                if lease.sequence > before.kept().sequence {
                    self.lease_waits = true;
                    self.wake_at.get_or_insert(now.plus(TOGETHER));
                }
                return;
            }
            Why::Refused(Refusal::NotNewer { sequence, last }) if sequence == last => return,
            _ => return self.took(now, &answer),
        }
        let memory = self.memory.clone();
        let shares = || heard.offer.iter().flat_map(|offer| &offer.shares);
        self.memory.shares = shares().map(|share| (share.uuid.clone(), Watts(share.limit_watts))).collect();
        let clock = |share: &AcceleratorShare| Some((share.uuid.clone(), u32::try_from(share.clock_megahertz?).ok()?));
        self.memory.clocks = shares().filter_map(clock).collect();
        let moved = self.memory.domain.replace(heard.leaf.clone()).is_some_and(|domain| domain != heard.leaf);
        self.unsaved = true;
        self.save().await;
        if self.unsaved {
            // what can't be kept is not taken: after a crash less would be known than was promised
            self.machine = Some(before);
            self.memory = memory;
            return;
        }
        self.cause = None;
        self.started_with = None;
        self.lease_waits = false;
        self.took(now, &answer);
        if moved && let Some(machine) = self.machine.as_mut() {
            let answer = machine.step(now, &Input::Heard { sent: heard.sent, cap: heard.leaf_cap });
            self.took(now, &answer);
        }
        let machine = self.machine.as_ref();
        let watts = |machine: &Node| machine.kept().held.as_ref().map(|held| held.figures.watts);
        if self.cause.is_none()
            && machine.is_some_and(|machine| watts(machine).is_some_and(|all| machine.limit() < all))
        {
            self.cause = Some(Cause::CapFell);
        }
    }
}
