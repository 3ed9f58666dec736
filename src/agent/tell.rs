//! What is told: heartbeats, metrics, and whether it is ready.

use super::beat::{self, Beaten, CONFLICT};
use super::metrics::{GpuLabel, OutcomeLabel};
use super::report::{self, Facts};
use super::run::Agent;
use crate::api::NodePower;
use crate::clock;
use crate::core::lease::Node;
use std::time::Duration;

impl Agent {
    /// Sends a heartbeat where one is due.
    pub(super) fn report(&mut self) {
        let now = clock::boot();
        let may = self.is_settled() && self.observation.is_some() && !self.unsaved && self.beats.is_empty();
        let most = u64::try_from(self.settings.heartbeat_at_most_every.as_millis()).unwrap_or(u64::MAX);
        let spaced = self.last_beat.is_none_or(|at| now.since(at) >= most);
        // what was lowered is told when it is read back, or when it is not in time
        let settled = self.disobeyed.is_none_or(|(_, told)| told.is_some());
        if !may || !spaced || !(now >= self.next_beat || self.urgent && settled) {
            return;
        }
        let (Some(expected), Some(power)) = (self.expected(), self.power.clone()) else { return };
        let remarks: Vec<String> = self.started_with.iter().chain(&self.remarks).cloned().collect();
        let Some(machine) = self.machine.as_mut() else { return };
        let report = machine.heartbeat(now);
        let facts = Facts {
            node: &power,
            report: &report,
            held: machine.kept().held.as_ref(),
            limit: machine.limit(),
            cause: self.cause,
            hardware: &self.hardware,
            expected: &expected,
            wishes: self.wishes.as_ref(),
            shares: &self.memory.shares,
            contact_age: machine.contact().map(|at| now.since(at)),
            kubelet: self.kubelet.as_ref().map_err(String::as_str),
            remarks: &remarks,
            boot_id: &self.boot_id,
            now: clock::now(),
            boot: now,
        };
        let before = power.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let status = report::status(&facts, &before);
        let beat = (self.instance, report.beat.number);
        self.beats.spawn(beat::send(self.client.clone(), beat, NodePower { status: Some(status), ..power }));
        self.urgent = false;
        self.last_beat = Some(now);
        self.next_beat = now.plus(self.jittered(self.settings.heartbeat_every));
    }

    pub(super) fn on_beaten(&mut self, beaten: Option<Beaten>) {
        let Some(Beaten { beat, node, outcome, why }) = beaten else { return };
        self.settings.metrics.heartbeats.get_or_create(&OutcomeLabel { outcome }).inc();
        match node {
            // It was read after the write was refused, so that is what is there, even where its version is lower: the store went
            // back. Written against the one that was known before, every heartbeat would be refused for ever.
            Some(node) if outcome == CONFLICT => self.power = Some(node),
            Some(node) => self.found(node),
            None => {}
        }
        if let Some(why) = &why {
            tracing::warn!(node = self.settings.node, number = beat.1, outcome, why, "a heartbeat was not written");
            // again, with a number of its own
            self.urgent = true;
        } else if beat.0 == self.instance {
            self.written = beat;
            // the read that takes it must be sent after this, and come back before the next heartbeat goes: with 5 s a call there
            // is one chance
            if self.lease_waits {
                self.wake_at.get_or_insert(clock::boot());
            }
        }
        self.why_not_beaten = why;
    }

    /// Says how it stands.
    pub(super) fn count(&mut self) {
        let now = clock::boot();
        let metrics = self.settings.metrics.clone();
        let contact = self.machine.as_ref().and_then(Node::contact);
        let deaf = contact.is_none_or(|at| now >= at + self.contact());
        let not_ready = if let Some(why) = &self.why_no_desk {
            Some(why.clone())
        } else if self.power.is_none() && self.unselected {
            None
        } else if self.power.is_none() {
            Some(self.why_not_heard.clone().unwrap_or_else(|| "its NodePower was not read yet".to_owned()))
        } else if self.machine.is_none() {
            Some("the accelerators were not all read yet".to_owned())
        } else if deaf {
            let why = self.why_not_heard.as_deref().unwrap_or("they were not read yet");
            Some(format!("the caps above are not heard: {why}"))
        } else if self.unsaved {
            Some("its state can't be kept on disk".to_owned())
        } else {
            self.why_not_beaten.as_ref().map(|why| format!("its last report was not written: {why}"))
        };
        metrics.set_ready(not_ready);
        if let Some(at) = contact {
            metrics.contact_age.set(Duration::from_millis(now.since(at)).as_secs_f64());
        }
        let Some(machine) = &self.machine else { return };
        let held = machine.kept().held.as_ref().map_or(0, |held| held.sequence);
        metrics.sequence.set(i64::try_from(held).unwrap_or(i64::MAX));
        metrics.node_limit.set(machine.limit().0);
        if let Some(expected) = self.expected() {
            metrics.node_enforced.set(self.hardware.enforced(expected.scale).0);
        }
        for gpu in &self.hardware.gpus {
            let label = GpuLabel { uuid: gpu.uuid.clone() };
            metrics.enforced.get_or_create(&label).set(gpu.enforced_worst.0);
            metrics.draw.get_or_create(&label).set(gpu.draw_worst.0);
            if let Some(limit) = gpu.held {
                metrics.limit.get_or_create(&label).set(limit.0);
            }
        }
    }
}
