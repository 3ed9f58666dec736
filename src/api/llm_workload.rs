//! `LLMWorkload`: one piece of work that may be started, delayed and suspended.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest duration and delay, in seconds: a year. The schema and the annotations of Jobs have the same bounds.
pub const LONGEST: i64 = 31_536_000;
/// The longest time between two checkpoints, in seconds: a week.
pub const LONGEST_INTERVAL: i64 = 604_800;
/// The most that stopping and coming back takes, in seconds: a day.
pub const LONGEST_COST: i64 = 86_400;
/// The longest name of an object, in characters.
pub const LONGEST_NAME: usize = 253;

/// What its owner says of one piece of work.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "heliotrope.dev",
    version = "v1alpha1",
    kind = "LLMWorkload",
    plural = "llmworkloads",
    shortname = "llm",
    namespaced,
    status = "LLMWorkloadStatus",
    derive = "PartialEq",
    doc = "One piece of work on accelerators: what it needs, how long it may wait, and, in its status, why it waits and until when.",
    cel,
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where it stands"),
    printcolumn(
        name = "Watts",
        type_ = "integer",
        json_path = ".status.wattsGranted",
        description = "Watts granted to it"
    ),
    printcolumn(
        name = "Domain",
        type_ = "string",
        json_path = ".status.domain",
        description = "Where it runs, or is to run"
    ),
    printcolumn(
        name = "Until",
        type_ = "string",
        json_path = ".status.waitingUntil",
        description = "When it is planned to start"
    ),
    printcolumn(name = "Why", type_ = "string", json_path = ".status.message", description = "Why it is where it is"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Since when it exists"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.deadline) && has(self.maxDelaySeconds))")
        .message("give either deadline or maxDelaySeconds, not both"),
    validation = Rule::new("!has(self.durationUpToSeconds) || (has(self.expectedDurationSeconds) && self.durationUpToSeconds >= self.expectedDurationSeconds)")
        .message("durationUpToSeconds needs expectedDurationSeconds, and is no shorter"),
    validation = Rule::new("!has(oldSelf.workloadRef) || (has(self.workloadRef) && self.workloadRef == oldSelf.workloadRef)")
        .message("workloadRef can't be changed once it is set: make another LLMWorkload")
)]
pub struct LLMWorkloadSpec {
    /// What kind of work it is: chooses the profile of its accelerators.
    #[serde(default)]
    pub class: WorkloadClass,
    /// The model that is trained or served; for reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub model: Option<String>,
    /// The object that does the work, in the same namespace. Its own figures count in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_ref: Option<WorkloadRef>,
    /// Accelerators of each replica, in a scenario of the simulator. In a cluster the pods of the workloadRef say it, and this changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub accelerators_per_replica: Option<i32>,
    /// Replicas, in a scenario of the simulator. In a cluster the workloadRef says it, and this changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// The AcceleratorProfile to count with, instead of the one for its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = LONGEST_NAME))]
    pub profile: Option<String>,
    /// How long it is expected to run, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST))]
    pub expected_duration_seconds: Option<i64>,
    /// How long it may well run, in seconds: say, longer than nine of ten such runs took. With a deadline it is planned so that this is
    /// kept even then, where it can be. Needs expectedDurationSeconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST))]
    pub duration_up_to_seconds: Option<i64>,
    /// By when it must be finished. Until then it may be delayed for greener or cheaper supply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// How long beyond its own length it may be delayed for greener or cheaper supply, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = LONGEST))]
    pub max_delay_seconds: Option<i64>,
    /// Its PriorityClass. Without one it has the lowest priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// How much slower it may get while watts are short. Those that tolerate more are throttled further first; below that only
    /// where not all of these fit. Left out: None.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flexibility: Option<Flexibility>,
    /// It writes checkpoints: so it may be suspended for price and carbon too. Without this only a cap suspends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
}

/// A class of work.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum WorkloadClass {
    /// Training from scratch.
    Pretraining,
    /// Training further.
    FineTuning,
    /// Inference that nobody waits for.
    #[default]
    BatchInference,
    /// Inference that somebody waits for.
    Serving,
    /// Measuring a model.
    Evaluation,
}

/// A tolerated slowdown: the tiers of the Phoenix field trial (arXiv 2507.00909).
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Flexibility {
    /// None.
    #[default]
    None,
    /// 10 % slower.
    Low,
    /// 25 % slower.
    Medium,
    /// 50 % slower.
    High,
}

impl Flexibility {
    /// How much slower, in thousandths.
    #[must_use]
    pub fn permille(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Low => 100,
            Self::Medium => 250,
            Self::High => 500,
        }
    }
}

/// The object that does the work.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.apiVersion == 'batch/v1' && self.kind == 'Job'").message("workloadRef must name a batch/v1 Job: other kinds are not served yet"))]
pub struct WorkloadRef {
    /// Its API version: batch/v1.
    #[schemars(length(min = 1, max = 128))]
    pub api_version: String,
    /// Its kind: Job.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How many replicas.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.min == self.max").message("elastic width is not served yet: replicas.max must be replicas.min"))]
pub struct Replicas {
    /// At least so many.
    #[schemars(range(min = 1, max = 10_000))]
    pub min: i32,
    /// At most so many.
    #[schemars(range(min = 1, max = 10_000))]
    pub max: i32,
}

/// What stopping and starting costs.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.askWithinSeconds) || (has(self.ask) && self.ask == 'Annotation')")
    .message("askWithinSeconds is for ask: Annotation: with Signal the pods' grace is the time"))]
pub struct Checkpoint {
    /// How often it writes one, in seconds.
    #[schemars(range(min = 1, max = LONGEST_INTERVAL))]
    pub interval_seconds: i64,
    /// What writing one and coming back takes, in seconds.
    #[schemars(range(min = 0, max = LONGEST_COST))]
    pub cost_seconds: i64,
    /// How it is asked for one before it is suspended. Left out: Never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<CheckpointAsk>,
    /// How long it is waited for once it was asked, in seconds; costSeconds if left out. A cap that falls sooner is kept first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LONGEST_COST))]
    pub ask_within_seconds: Option<i64>,
}

/// How a workload is asked for a checkpoint.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckpointAsk {
    /// It can't be asked: what it did since its last one is lost.
    #[default]
    Never,
    /// Its pods write one when they are told to end (SIGTERM), within their terminationGracePeriodSeconds.
    Signal,
    /// By the annotation heliotrope.dev/checkpoint-asked on its Job, a time; its code answers with
    /// heliotrope.dev/checkpointed-at, a time that is not before it.
    Annotation,
}

/// Where a workload stands.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It waits.
    Pending,
    /// Its watts are granted, its pods are not all there yet.
    Starting,
    /// It runs.
    Running,
    /// It is being stopped; its watts stay granted until its pods are gone.
    Suspending,
    /// It finished.
    Succeeded,
    /// It ended without success.
    Failed,
    /// It can't be served as it is written.
    Refused,
}

/// What the controller says of a workload.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct LLMWorkloadStatus {
    /// The generation of the spec that this was said of.
    pub observed_generation: Option<i64>,
    /// Where it stands.
    pub phase: Option<Phase>,
    /// Why, in one CamelCase word.
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// Why, in words and numbers.
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The domain that it runs in, or is planned into.
    #[schemars(length(max = 253))]
    pub domain: Option<String>,
    /// Accelerators that it holds while it runs.
    pub accelerators: Option<i32>,
    /// What it needs, in watts, with its hosts.
    pub watts_needed: Option<i64>,
    /// What is granted to it now, in watts, with its hosts.
    pub watts_granted: Option<i64>,
    /// The limit that the plan holds each of its accelerators to, in watts; none where it may be at full.
    pub limit_watts: Option<i64>,
    /// When it is planned to start.
    pub planned_start: Option<Time>,
    /// When it is planned to finish.
    pub planned_finish: Option<Time>,
    /// The planned start, in short; a dash where there is none.
    #[schemars(length(max = 32))]
    pub waiting_until: Option<String>,
    /// When it last started.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// What is true of this workload now, one entry for each type.
    #[serde(default)]
    #[schemars(schema_with = "super::condition_list")]
    pub conditions: Vec<Condition>,
}
