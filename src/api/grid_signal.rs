//! `GridSignal`: one time series from outside.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person says of one signal.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "heliotrope.dev",
    version = "v1alpha1",
    kind = "GridSignal",
    plural = "gridsignals",
    shortname = "gs",
    status = "GridSignalStatus",
    derive = "PartialEq",
    doc = "A time series from outside that work can follow: carbon intensity or price of supply. Where it is missing, work goes on without it.",
    cel,
    printcolumn(name = "What", type_ = "string", json_path = ".spec.what", description = "What it measures"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.zone", description = "Of which grid"),
    printcolumn(name = "Current", type_ = "string", json_path = ".status.currentValue", description = "Its value now"),
    printcolumn(
        name = "Fresh",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Fresh')].status",
        description = "Is it fresh?"
    ),
    printcolumn(
        name = "KnownUntil",
        type_ = "string",
        json_path = ".status.knownUntil",
        description = "How far it is known"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Since when it exists"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct GridSignalSpec {
    /// What it measures.
    pub what: What,
    /// The grid zone it is of, as KR or DE-LU.
    #[schemars(length(min = 1, max = 64))]
    pub zone: String,
    /// Whether it is an average, the marginal plant, or what remains after contracts. Never mixed.
    #[serde(default)]
    pub basis: Basis,
    /// Where it comes from: the first that answers counts.
    #[schemars(length(min = 1, max = 8))]
    pub providers: Vec<Provider>,
    /// How long after the end of its last value it still counts, in seconds. Then it is stale, and stale is never green.
    #[serde(default = "two_hours")]
    #[schemars(range(min = 60, max = 604_800))]
    pub max_age_seconds: i32,
}

fn two_hours() -> i32 {
    7200
}

/// What a signal measures.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// CO2e of supply, per kWh.
    CarbonIntensity,
    /// Price of supply, per MWh.
    Price,
}

/// What a carbon figure is a figure of.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Basis {
    /// The average of all plants of the zone.
    #[default]
    LocationAverage,
    /// The plant that would answer one more kWh.
    Marginal,
    /// What remains of the zone after contracts.
    Residual,
}

/// One source.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.file) != has(self.configMap)").message("a provider is either file or configMap: give one of them"))]
pub struct Provider {
    /// A file in the controller's container, as a mounted volume gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// A ConfigMap in the controller's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// The shape of what is found there.
    pub format: SignalFormat,
    /// Which of its columns: lca (default) or direct for electricity-maps-csv, a header for price-csv.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub column: Option<String>,
}

/// A file.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.path.startsWith('/')").message("file.path must be absolute"))]
pub struct FileSource {
    /// Its path.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
}

/// A key of a ConfigMap.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// The shape of a source.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum SignalFormat {
    /// Electricity Maps' hourly export.
    ElectricityMapsCsv,
    /// Hourly prices.
    PriceCsv,
}

/// What the controller says of a signal.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct GridSignalStatus {
    /// The generation of the spec that this was said of.
    pub observed_generation: Option<i64>,
    /// Its value now, with its unit.
    #[schemars(length(max = 64))]
    pub current_value: Option<String>,
    /// Until when that value holds.
    pub current_until: Option<Time>,
    /// Which provider answered, or what stands in for it.
    #[schemars(length(max = 512))]
    pub source: Option<String>,
    /// Does the source itself call any of it estimated?
    pub estimated: Option<bool>,
    /// How far it is known.
    pub known_until: Option<Time>,
    /// How many values are known.
    pub points: Option<i32>,
    /// What is true of this signal now, one entry for each type.
    #[serde(default)]
    #[schemars(schema_with = "super::condition_list")]
    pub conditions: Vec<Condition>,
}
