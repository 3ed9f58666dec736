//! `NodePower`: what one node may draw, and what it says of itself. One a node, by its name.
//!
//! Its spec is the controller's: where the node's lease stands, and what its hardware can draw. Its status is its agent's
//! alone: each heartbeat is one write of it. It has no owner: deleting a Node frees no watts.

use crate::core::divide::Scale;
use crate::core::lease::{Beat, Cap, Figures, Report, Row};
use crate::units::Watts;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What the controller says of one node.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[kube(
    group = "heliotrope.dev",
    version = "v1alpha1",
    kind = "NodePower",
    plural = "nodepowers",
    shortname = "np",
    status = "NodePowerStatus",
    derive = "PartialEq",
    doc = "What one node can draw, and its agent's report: what is enforced on its accelerators, read back. Made by the controller.",
    cel,
    printcolumn(name = "Domain", type_ = "string", json_path = ".spec.domain", description = "Where its lease stands"),
    printcolumn(
        name = "Enforced",
        type_ = "integer",
        json_path = ".status.enforcedWatts",
        description = "Watts that it can draw under the limits in force"
    ),
    printcolumn(
        name = "Draw",
        type_ = "integer",
        json_path = ".status.drawWatts",
        description = "Watts that it draws, at worst"
    ),
    printcolumn(
        name = "Held",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Held')].reason",
        description = "Is a lease in force, or what it fell to?"
    ),
    printcolumn(
        name = "Heard",
        type_ = "date",
        json_path = ".status.sentAt",
        description = "When its agent last reported"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Since when it exists"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.ceilingWatts >= self.hostMaxWatts").message("ceilingWatts is below hostMaxWatts: the host is part of the node"))]
pub struct NodePowerSpec {
    /// The PowerDomain whose PowerAllotment holds this node's lease.
    #[schemars(length(min = 1, max = 253))]
    pub domain: String,
    /// Accelerators that it should have.
    #[schemars(range(min = 0, max = 1024))]
    pub accelerators: i32,
    /// The most that its hardware can draw, in watts of input power.
    #[schemars(range(min = 0, max = 10_000_000_i64))]
    pub ceiling_watts: i64,
    /// The most that it draws beside its accelerators, in watts.
    #[schemars(range(min = 0, max = 10_000_000_i64))]
    pub host_max_watts: i64,
    /// How far an accelerator draws above its limit at worst, in thousandths.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub overshoot_permille: i32,
    /// No lower limit is set on an accelerator, in watts: below it a device draws more than it is told, by its profile. Its own lowest
    /// limit where that is higher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub lowest_limit_watts: Option<i64>,
}

/// What the agent of a node says. Written by it alone.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct NodePowerStatus {
    /// The generation of the spec that it acts on.
    pub observed_generation: Option<i64>,
    /// When this was sent, by the node's own wall clock: for people, nothing is decided by it.
    pub sent_at: Option<Time>,
    /// Which heartbeat this is.
    pub heartbeat: Option<Heartbeat>,
    /// The lease whose figures are in force and were read back; 0 for none.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub applied_sequence: i64,
    /// The highest lease that was ever accepted.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub accepted_sequence: i64,
    /// How many steps of that lease have come and were read back.
    #[serde(default)]
    #[schemars(range(min = 0, max = 64))]
    pub steps_passed: i32,
    /// What the node can draw under the limits that are enforced, read back, in watts of input power.
    #[serde(default)]
    pub enforced_watts: i64,
    /// What it may draw by its lease, at each cap of its domain.
    pub held: Option<LeaseFigures>,
    /// The newest cap that it has heard of.
    pub heard: Option<HeardCap>,
    /// Less is in force than its lease allows: it fell, and goes up by a new lease only.
    #[serde(default)]
    pub fallen: bool,
    /// What it draws, in watts of input power; what is not known counts at its worst.
    #[serde(default)]
    pub draw_watts: i64,
    /// Which boot of the node this is of.
    #[schemars(length(max = 64))]
    pub boot: Option<String>,
    /// Its accelerators.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub accelerators: Vec<AcceleratorPower>,
    /// What is true of this node now, one entry for each type.
    #[serde(default)]
    #[schemars(schema_with = "super::condition_list")]
    pub conditions: Vec<Condition>,
}

/// One accelerator of a node.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorPower {
    /// Which.
    #[schemars(length(min = 1, max = 128))]
    pub uuid: String,
    /// Its model.
    #[schemars(length(max = 128))]
    pub model: String,
    /// The limit that it is to hold, in watts; none while nothing was ordered.
    pub limit_watts: Option<i64>,
    /// The limit in force, read back, in watts; none where it can't be read.
    pub enforced_watts: Option<i64>,
    /// What it draws, in watts; none where it can't be read.
    pub draw_watts: Option<i64>,
    /// The clock that it is locked at, in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_lock_megahertz: Option<i32>,
    /// Its clock, read back, in MHz; only where it is locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_megahertz: Option<i32>,
    /// The lowest limit that it takes, in watts.
    pub min_watts: Option<i64>,
    /// The highest limit that it takes, in watts.
    pub max_watts: Option<i64>,
    /// The pod that has it, as namespace/name, by the kubelet's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub pod: Option<String>,
    /// What does not work, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub fault: Option<String>,
}

/// Which start of an agent, and the how manieth report of it.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Another one after each start of the agent.
    #[schemars(range(min = 0))]
    pub instance: i64,
    /// Counts up from 1 in an instance.
    #[schemars(range(min = 0))]
    pub number: i64,
}

/// A cap as it was read.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct HeardCap {
    /// The resourceVersion from which on it was read: a higher one has seen all that a lower one had.
    #[schemars(range(min = 0))]
    pub version: i64,
    /// What may be drawn, in watts.
    pub watts: i64,
}

/// What may be drawn, whatever the cap of the domain.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct LeaseFigures {
    /// What may be drawn at most, in watts.
    pub watts: i64,
    /// What may be drawn if the domain's cap falls, by falling cap; linear in between, and below the last one the floor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rows: Vec<CapRow>,
    /// The least that it can be held to with its accelerators on, in watts.
    pub floor_watts: i64,
    /// What it falls to when it can't hear, or its lease is over, in watts. Never a reason to go up.
    pub safe_watts: i64,
}

/// What may be drawn at one cap of the domain.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CapRow {
    /// What the domain may draw for itself and its nodes, in watts, its overhead taken off.
    pub cap_watts: i64,
    /// What may be drawn then, in watts.
    pub watts: i64,
}

pub(super) fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn counted(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl From<&Figures> for LeaseFigures {
    fn from(figures: &Figures) -> Self {
        let row = |row: &Row| CapRow { cap_watts: row.cap.0, watts: row.watts.0 };
        Self {
            watts: figures.watts.0,
            rows: figures.rows.iter().map(row).collect(),
            floor_watts: figures.floor.0,
            safe_watts: figures.safe.0,
        }
    }
}

impl From<&LeaseFigures> for Figures {
    fn from(figures: &LeaseFigures) -> Self {
        let row = |row: &CapRow| Row { cap: Watts(row.cap_watts), watts: Watts(row.watts) };
        Self {
            watts: Watts(figures.watts),
            rows: figures.rows.iter().map(row).collect(),
            floor: Watts(figures.floor_watts),
            safe: Watts(figures.safe_watts),
        }
    }
}

impl From<Beat> for Heartbeat {
    fn from(beat: Beat) -> Self {
        Self { instance: count(beat.instance), number: count(beat.number) }
    }
}

impl From<Heartbeat> for Beat {
    fn from(beat: Heartbeat) -> Self {
        Self { instance: counted(beat.instance), number: counted(beat.number) }
    }
}

impl From<Cap> for HeardCap {
    fn from(cap: Cap) -> Self {
        Self { version: count(cap.version), watts: cap.watts.0 }
    }
}

impl From<HeardCap> for Cap {
    fn from(cap: HeardCap) -> Self {
        Self { version: counted(cap.version), watts: Watts(cap.watts) }
    }
}

impl NodePowerSpec {
    /// How its watts are reckoned from the limits of its accelerators.
    #[must_use]
    pub fn scale(&self) -> Scale {
        let overshoot = u32::try_from(self.overshoot_permille).unwrap_or(0);
        Scale { host: Watts(self.host_max_watts), overshoot }
    }
}

impl NodePowerStatus {
    /// The report of the protocol that this carries; none before its first heartbeat.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        Some(Report {
            beat: self.heartbeat?.into(),
            acknowledged: counted(self.applied_sequence),
            accepted: counted(self.accepted_sequence),
            steps_passed: u32::try_from(self.steps_passed).unwrap_or(0),
            held: self.held.as_ref().map(Figures::from),
            enforced: Watts(self.enforced_watts),
            cap: self.heard.map(Cap::from),
            fallen: self.fallen,
        })
    }

    /// Puts a report of the protocol in.
    pub fn carry(&mut self, report: &Report) {
        self.heartbeat = Some(report.beat.into());
        self.applied_sequence = count(report.acknowledged);
        self.accepted_sequence = count(report.accepted);
        self.steps_passed = i32::try_from(report.steps_passed).unwrap_or(i32::MAX);
        self.held = report.held.as_ref().map(LeaseFigures::from);
        self.enforced_watts = report.enforced.0;
        self.heard = report.cap.map(HeardCap::from);
        self.fallen = report.fallen;
    }
}
