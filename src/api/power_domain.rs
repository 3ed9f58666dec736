//! `PowerDomain`: one feed of the electrical tree.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a person says of one feed.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "heliotrope.dev",
    version = "v1alpha1",
    kind = "PowerDomain",
    plural = "powerdomains",
    shortname = "pd",
    status = "PowerDomainStatus",
    derive = "PartialEq",
    doc = "One feed of the electrical tree: a site, a hall, a row. What is granted below it never exceeds its cap.",
    cel,
    validation = Rule::new("!has(self.spec.parent) || self.spec.parent != self.metadata.name")
        .message("a domain can't feed itself: parent must name another PowerDomain, or be left out for a root"),
    printcolumn(name = "Cap", type_ = "integer", json_path = ".status.effectiveCapWatts", description = "Watts it may draw now"),
    printcolumn(name = "Committed", type_ = "integer", json_path = ".status.committedWatts", description = "Watts that can be drawn under what was granted"),
    printcolumn(name = "Headroom", type_ = "integer", json_path = ".status.headroomWatts", description = "Cap less committed"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", description = "Observe or Enforce; on a root"),
    printcolumn(name = "WithinCap", type_ = "string", json_path = ".status.conditions[?(@.type=='WithinCap')].status", description = "Is it under its cap?"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since when it exists")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.parent) || !has(self.mode) || self.mode == 'Observe'")
        .message("mode belongs to the root: a tree is enforced as a whole or not at all"),
    validation = Rule::new("!has(self.lowestCapWatts) || self.lowestCapWatts <= self.capWatts")
        .message("lowestCapWatts is above capWatts: the lowest cap that is ever ordered can't be more than the cap"),
    validation = Rule::new("(has(self.contactSeconds) ? self.contactSeconds : 25) < (has(self.correctionTimeSeconds) ? self.correctionTimeSeconds : 30)")
        .message("contactSeconds (25 where left out) must be below correctionTimeSeconds (30): a node that hears nothing falls only after it"),
    validation = Rule::new("!has(self.parent) || !has(self.signals)")
        .message("signals belong to the root: all that hangs under it follows them"),
    validation = Rule::new("!has(self.parent) || !has(self.carbonPricePerTonne)")
        .message("carbonPricePerTonne belongs to the root"),
    validation = Rule::new("!has(self.baseline) || self.capWatts >= self.baseline.maxWatts")
        .message("capWatts is below baseline.maxWatts: nothing could ever run"),
    validation = Rule::new("!has(self.baseline) || !has(self.capSchedule) || self.capSchedule.windows.all(w, w.capWatts >= self.baseline.maxWatts)")
        .message("a window's capWatts is below baseline.maxWatts: others alone would exceed it")
)]
pub struct PowerDomainSpec {
    /// The PowerDomain that feeds this one. Left out for a root.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub parent: Option<String>,
    /// The nodes that stand in this domain itself. Only one domain of all may select a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<NodeSelector>,
    /// Real power that may be drawn, in watts: kVA times power factor, the weakest phase times three.
    #[schemars(range(min = 1, max = 10_000_000_000_i64))]
    pub cap_watts: i64,
    /// Lower caps by the week. A schedule never raises a cap: the lowest wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_schedule: Option<CapSchedule>,
    /// What is drawn in this domain by things that are not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// What hosts draw, by kind of node; holds for all domains below. The first class that matches a node counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub node_classes: Vec<NodeClass>,
    /// Losses and cooling on top of all that passes through this domain, in thousandths.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub overhead_permille: i32,
    /// The lowest cap that is ever ordered of this domain, in watts: what all nodes fall to together when they hear nothing
    /// must fit under it. Left out: 40 % of capWatts. An order may go lower; then whole workloads are stopped too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000_000_i64))]
    pub lowest_cap_watts: Option<i64>,
    /// How long it may draw more after its cap has fallen, in seconds: what its breaker or UPS stands. Left out: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub correction_time_seconds: Option<i32>,
    /// A node that could not read its caps for so long falls to its safe limit. Left out: 25.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 3600))]
    pub contact_seconds: Option<i32>,
    /// How many nodes without a boot guard may come back from a reboot at the same time, with their accelerators at their
    /// highest limits: room is kept for so many, at every cap. Left out: 1. 0 where every node has a boot guard.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub reboot_reserve_nodes: Option<i32>,
    /// How fast what is leased may rise in this domain, in watts a second. A fall is never slowed. Left out: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000_000_i64))]
    pub ramp_up_watts_per_second: Option<i64>,
    /// How fast what is leased may fall in this domain before a change that is planned, in watts a second: it begins to come down
    /// before a window of its schedule or an event begins, so that it is there in time. A fall that nobody announced is never
    /// slowed. Left out: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000_000_i64))]
    pub ramp_down_watts_per_second: Option<i64>,
    /// What is done where the domain is above its cap after the correction time. Left out: Report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception_action: Option<ExceptionAction>,
    /// The signals that work under this root follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signals: Option<SignalRefs>,
    /// What a tonne of CO2e costs, in the currency of the price signal. On a root.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000_i64))]
    pub carbon_price_per_tonne: Option<i64>,
    /// Observe decides and shows everything and touches no Job. Enforce acts. On a root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// Observe touches no Job: it writes LLMWorkloads, statuses, events and its Lease. Enforce starts and suspends Jobs too.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Everything is decided and shown, no Job is touched. Written are an LLMWorkload for each managed Job, statuses of our
    /// own kinds, events, and the controller's Lease; nothing is granted.
    #[default]
    Observe,
    /// Workloads are started and suspended.
    Enforce,
}

/// What is done where a domain is above its cap for longer than its correction time.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExceptionAction {
    /// It is said: a condition, an event, a metric.
    #[default]
    Report,
    /// Its workloads are suspended, all that may be.
    Suspend,
    /// As Suspend, and no node of it takes new pods until it is under its cap.
    Cordon,
}

/// Which nodes.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("size(self.matchLabels) > 0").message("nodeSelector.matchLabels is empty: it would select every node"))]
pub struct NodeSelector {
    /// Labels that a node must have, all of them. Best under node-restriction.kubernetes.io, which a node can't write itself.
    #[schemars(schema_with = "super::labels")]
    pub match_labels: BTreeMap<String, String>,
}

/// Lower caps by the week.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CapSchedule {
    /// The IANA time zone of the windows, as Asia/Seoul.
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// The windows.
    #[schemars(length(min = 1, max = 32))]
    pub windows: Vec<CapWindow>,
}

/// One weekly window with a cap of its own.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from != self.to").message("a window that begins when it ends is either never or always: leave it out, or change capWatts"))]
pub struct CapWindow {
    /// The days on which it begins.
    #[schemars(length(min = 1, max = 7))]
    pub days: Vec<Day>,
    /// When it begins, as 18:00.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// When it ends, as 21:00; if that is earlier than from, on the next day.
    #[schemars(length(max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub to: String,
    /// What may be drawn inside it, in watts.
    #[schemars(range(min = 1, max = 10_000_000_000_i64))]
    pub cap_watts: i64,
}

/// A day of the week.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the days speak for themselves")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// What others draw.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// The most that they ever draw, in watts.
    #[schemars(range(min = 0, max = 10_000_000_000_i64))]
    pub max_watts: i64,
}

/// What the host of a kind of node draws beside its accelerators.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.hostMaxWatts >= self.hostIdleWatts").message("hostMaxWatts is below hostIdleWatts"))]
pub struct NodeClass {
    /// A name for messages.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Labels that a node must have to be of this class, all of them; none means every node.
    #[serde(default)]
    #[schemars(schema_with = "super::labels")]
    pub match_labels: BTreeMap<String, String>,
    /// What the host draws with nothing running, in watts.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub host_idle_watts: i64,
    /// The most that the host draws, in watts.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub host_max_watts: i64,
}

/// The names of signals.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct SignalRefs {
    /// A GridSignal of carbon intensity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub carbon: Option<String>,
    /// A GridSignal of prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub price: Option<String>,
    /// A GridSignal of what the site generates: used before anything is bought, less what draws anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub generation: Option<String>,
}

/// What the controller says of a domain.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PowerDomainStatus {
    /// The generation of the spec that this was said of.
    pub observed_generation: Option<i64>,
    /// What may be drawn now, in watts.
    pub effective_cap_watts: Option<i64>,
    /// When that changes next.
    pub effective_cap_until: Option<Time>,
    /// Why it is what it is: spec.capWatts, spec.capSchedule, or an event.
    #[schemars(length(max = 512))]
    pub effective_cap_reason: Option<String>,
    /// The highest draw that can still happen under what was granted, in watts: baseline, idle nodes and workloads.
    pub committed_watts: Option<i64>,
    /// Cap less committed, in watts; negative where the cap fell.
    pub headroom_watts: Option<i64>,
    /// What its nodes draw by their agents' word, with the baseline, in watts: hosts and what is not known at their highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn_watts: Option<i64>,
    /// How long it takes to come under a cap that fell, in 99 of the last 100 cases of a day, in milliseconds, as the controller
    /// saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaction_p99_millis: Option<i64>,
    /// Watts above the cap times seconds, outside the correction time, since the controller began to lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watt_seconds_over: Option<i64>,
    /// Workloads that run in this domain.
    pub running_workloads: Option<i32>,
    /// Workloads that wait to run in it.
    pub waiting_workloads: Option<i32>,
    /// The generation of the plan in force. On a root.
    pub plan_generation: Option<i64>,
    /// The digest of that plan. On a root.
    #[schemars(length(max = 80))]
    pub plan_digest: Option<String>,
    /// What would have been done while this root was in Observe. On a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// Watts promised to workloads under this root, written by compare-and-swap before a workload starts.
    pub ledger: Option<Ledger>,
    /// What is true of this domain now, one entry for each type.
    #[serde(default)]
    #[schemars(schema_with = "super::condition_list")]
    pub conditions: Vec<Condition>,
}

/// What Enforce would have done.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// Since when it is counted.
    pub since: Time,
    /// Suspensions that a cap would have made.
    pub cap_suspensions: i64,
    /// Suspensions for greener or cheaper supply.
    pub supply_suspensions: i64,
    /// The highest that was committed, in watts.
    pub peak_committed_watts: i64,
    /// Minutes in which more was committed than a cap here allows.
    pub minutes_over_cap: i64,
}

impl Default for Observed {
    fn default() -> Self {
        let since = Time(jiff::Timestamp::UNIX_EPOCH);
        Self { since, cap_suspensions: 0, supply_suspensions: 0, peak_committed_watts: 0, minutes_over_cap: 0 }
    }
}

/// Watts promised to workloads.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// One more with every write.
    pub sequence: i64,
    /// One for each workload that runs or may run. It leaves only when the workload's pods are gone.
    #[schemars(length(max = 4096))]
    pub grants: Vec<Grant>,
}

/// Watts promised to one workload.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The UID of its Job.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The domain that it runs in.
    #[schemars(length(max = 253))]
    pub domain: String,
    /// What it adds there, in watts, without hosts.
    pub watts: i64,
    /// Accelerators that it holds.
    pub accelerators: i32,
    /// Hosts that it may bring into use.
    pub hosts: i32,
    /// How the plan holds it below full; none where it never did in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowed: Option<Slowed>,
}

/// How the plan in force holds a run below full.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Slowed {
    /// The highest limit of each of its accelerators, in watts; none where it may be at full again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_watts: Option<i64>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What it had lost before by running slower, in seconds at full.
    pub lost_seconds: i64,
}
