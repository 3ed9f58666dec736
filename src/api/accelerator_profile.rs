//! `AcceleratorProfile`: what a device draws and does at each of its limits.

use super::WorkloadClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of one device under one class of work.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "heliotrope.dev",
    version = "v1alpha1",
    kind = "AcceleratorProfile",
    plural = "acceleratorprofiles",
    shortname = "ap",
    status = "AcceleratorProfileStatus",
    derive = "PartialEq",
    doc = "What an accelerator draws and how fast it works at each of its limits. Without one a device counts with its nameplate.",
    cel,
    printcolumn(name = "Device", type_ = "string", json_path = ".spec.deviceModel", description = "Model"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.maxWatts", description = "Highest limit in watts"),
    printcolumn(
        name = "Knee",
        type_ = "integer",
        json_path = ".status.kneeWatts",
        description = "Below this, capping wastes energy"
    ),
    printcolumn(
        name = "Points",
        type_ = "integer",
        json_path = ".status.hullPoints",
        description = "Points on the concave hull"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status",
        description = "Can it be used?"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Since when it exists"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minWatts <= self.maxWatts").message("minWatts is above maxWatts"),
    validation = Rule::new("self.idleWatts <= self.maxWatts").message("idleWatts is above maxWatts"),
    validation = Rule::new("self.points.all(p, p.limitWatts >= self.minWatts && p.limitWatts <= self.maxWatts)")
        .message("a point's limitWatts lies outside minWatts..maxWatts"),
    validation = Rule::new("self.knob != 'ClockLock' || self.points.all(p, has(p.clockMegahertz))")
        .message("knob ClockLock needs clockMegahertz at every point"),
    validation = Rule::new("self.knob == 'ClockLock' || self.points.all(p, !has(p.clockMegahertz))")
        .message("clockMegahertz at a point needs knob ClockLock")
)]
pub struct AcceleratorProfileSpec {
    /// The model, as the node label nvidia.com/gpu.product has it.
    #[schemars(length(min = 1, max = 128))]
    pub device_model: String,
    /// Classes of work that it holds for; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub workload_classes: Vec<WorkloadClass>,
    /// What is set to hold the device to a power.
    #[serde(default)]
    pub knob: Knob,
    /// Measured points.
    #[schemars(length(min = 1, max = 64))]
    pub points: Vec<Point>,
    /// The lowest limit that is set on the device, in watts: what it takes, or more where it draws too much under lower ones.
    #[schemars(range(min = 0, max = 100_000))]
    pub min_watts: i64,
    /// The highest limit that the device takes, in watts.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_watts: i64,
    /// What it draws with nothing running, in watts.
    #[schemars(range(min = 0, max = 100_000))]
    pub idle_watts: i64,
    /// How far it draws above its limit at worst, in thousandths.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub overshoot_permille: i32,
    /// Where the figures come from: a paper, a data sheet, a measurement.
    #[schemars(length(min = 1, max = 512))]
    pub source: String,
}

/// What is set on a device.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Knob {
    /// Its power limit.
    #[default]
    PowerLimit,
    /// A lock on its clock, for serving, which never reaches the power limit. The limit stays set too, and is what is reserved.
    ClockLock,
}

/// One measured point.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// The limit that was set, in watts.
    #[schemars(range(min = 1, max = 100_000))]
    pub limit_watts: i64,
    /// What was drawn, in watts.
    #[schemars(range(min = 0, max = 100_000))]
    pub draw_watts: i64,
    /// Speed in thousandths of the highest.
    #[schemars(range(min = 0, max = 1000))]
    pub throughput_permille: i32,
    /// The clock that it was locked at, in MHz, where that is the knob: the limit is then what the device has to be given for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub clock_megahertz: Option<i32>,
}

/// What the controller says of a profile.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorProfileStatus {
    /// The generation of the spec that this was said of.
    pub observed_generation: Option<i64>,
    /// Below this draw capping costs more energy for each unit of work than it saves, in watts.
    pub knee_watts: Option<i64>,
    /// How many of the points lie on the concave hull.
    pub hull_points: Option<i32>,
    /// What is true of this profile now, one entry for each type.
    #[serde(default)]
    #[schemars(schema_with = "super::condition_list")]
    pub conditions: Vec<Condition>,
}
