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
    doc = "A time series from outside that work can follow: carbon intensity or price of supply, or what the site generates. Where it is missing, work goes on without it.",
    cel,
    printcolumn(name = "What", type_ = "string", json_path = ".spec.what", description = "What it measures"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.zone", description = "Of which grid"),
    printcolumn(name = "Rung", type_ = "string", json_path = ".status.rung", description = "How well it is known"),
    printcolumn(name = "Current", type_ = "string", json_path = ".status.currentValue", description = "Its value now"),
    printcolumn(
        name = "Heard",
        type_ = "date",
        json_path = ".status.heardAt",
        description = "Since when nothing newer was heard"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Since when it exists"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.staticGramsPerKwh) || self.what == 'CarbonIntensity'").message("staticGramsPerKwh is for what: CarbonIntensity"))]
#[x_kube(validation = Rule::new("!has(self.staticWatts) || self.what == 'Generation'").message("staticWatts is for what: Generation"))]
#[x_kube(validation = Rule::new("self.what != 'Generation' || self.providers.all(p, has(p.server) && p.server.kind in ['OpenMeteo', 'Prometheus', 'JSON'])").message("what: Generation is from a server of kind OpenMeteo, Prometheus or JSON"))]
#[x_kube(validation = Rule::new("self.what == 'Generation' || !self.providers.exists(p, has(p.server) && p.server.kind == 'OpenMeteo')").message("OpenMeteo is for what: Generation"))]
#[x_kube(validation = Rule::new("!(has(self.staticPricePerMwh) || has(self.currency)) || self.what == 'Price'").message("staticPricePerMwh and currency are for what: Price"))]
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
    /// Of a price, whose money, as EUR. Where providers may differ in it, name it: two currencies are never mixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency: Option<String>,
    /// Carbon intensity that counts where nothing else is known, in g/kWh: the last rung. Where more was known, that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5000))]
    pub static_grams_per_kwh: Option<i32>,
    /// Price that counts where nothing else is known, in whole units of the currency: the last rung. Where more was known, that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub static_price_per_mwh: Option<i32>,
    /// Generation that counts where nothing else is known, in watts: the last rung. Where less was known, that counts. Left out, it is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000_i64))]
    pub static_watts: Option<i64>,
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
    /// What a roof, a field or a contract gives a site, in watts. A root names it; it is used before anything is bought.
    Generation,
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
#[x_kube(validation = Rule::new("(has(self.file) ? 1 : 0) + (has(self.configMap) ? 1 : 0) + (has(self.server) ? 1 : 0) == 1").message("a provider is either file or configMap or server: give one of them"))]
#[x_kube(validation = Rule::new("has(self.format) != has(self.server)").message("format is for file and configMap, which need it: a server's is known by its kind"))]
#[x_kube(validation = Rule::new("!(has(self.column) && has(self.server))").message("column is for file and configMap"))]
pub struct Provider {
    /// A file in the controller's container, as a mounted volume gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// A ConfigMap in the controller's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// A server that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// The shape of what is found in a file or a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<SignalFormat>,
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

/// A server, asked over HTTP. Redirects are not followed.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.kind in ['Prometheus', 'JSON', 'CarbonAwareSDK']) || has(self.url)").message("url is needed: this kind has no server of its own"))]
#[x_kube(validation = Rule::new("(self.kind == 'JSON') == has(self.json)").message("json is for kind: JSON, which needs it"))]
#[x_kube(validation = Rule::new("!has(self.unit) || self.kind in ['Prometheus', 'JSON']").message("unit is for kind: Prometheus and JSON, whose numbers say nothing of it"))]
#[x_kube(validation = Rule::new("!(self.kind in ['Prometheus', 'JSON']) || has(self.unit)").message("unit is needed: a number says nothing of it"))]
#[x_kube(validation = Rule::new("self.kind != 'Prometheus' || has(self.query)").message("query is needed: what Prometheus is asked"))]
#[x_kube(validation = Rule::new("self.kind != 'ElectricityMaps' || !has(self.query) || self.query in ['latest', 'history', 'forecast']").message("query of ElectricityMaps is latest, history or forecast"))]
#[x_kube(validation = Rule::new("self.kind != 'KPX' || !has(self.query) || self.query in ['sumperfuel5m', 'PwrAmountByGen']").message("query of KPX is sumperfuel5m or PwrAmountByGen"))]
#[x_kube(validation = Rule::new("!has(self.query) || self.kind in ['Prometheus', 'ElectricityMaps', 'KPX']").message("query is for kind: Prometheus, ElectricityMaps and KPX"))]
#[x_kube(validation = Rule::new("(self.kind == 'WattTime') == has(self.user)").message("user is for kind: WattTime, which needs it: its login has a name and a password"))]
#[x_kube(validation = Rule::new("self.kind != 'WattTime' || has(self.token)").message("token is needed: the file with WattTime's password"))]
#[x_kube(validation = Rule::new("(self.kind == 'OpenMeteo') == has(self.roof)").message("roof is for kind: OpenMeteo, which needs it"))]
#[x_kube(validation = Rule::new("self.kind != 'EntsoE' || (has(self.zone) && self.zone.matches('^10Y[A-Z0-9-]{13}$'))").message("zone of EntsoE is an EIC such as 10Y1001A1001A82H"))]
pub struct Server {
    /// Who answers, and how.
    pub kind: ServerKind,
    /// Where, if it is not the provider's own address. Of kind JSON the whole URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = "^https?://[^@?#]+([?][^#]*)?$"))]
    pub url: Option<String>,
    /// What it calls the zone, if that is not the signal's own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub zone: Option<String>,
    /// The token: a file of this name in the controller's tokenDirectory, read anew for each question.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$"))]
    pub token: Option<String>,
    /// Of WattTime, the file with the name of the user. Its token is the password; what it gives for both lasts half an hour, and is kept in memory alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$"))]
    pub user: Option<String>,
    /// Of Prometheus its PromQL; of ElectricityMaps latest (default), history or forecast; of KPX sumperfuel5m (default) or PwrAmountByGen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub query: Option<String>,
    /// The unit of Prometheus and JSON, as g/kWh, lb/MWh, EUR/MWh, KRW/kWh, W or kW.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub unit: Option<String>,
    /// Where things stand in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonPlaces>,
    /// Of OpenMeteo, the panels whose output is reckoned from the sunlight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roof: Option<Roof>,
    /// Seconds between two questions. After a failure it is asked sooner: after 30 s, then twice as long each time, up to this.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 10, max = 86_400))]
    pub every_seconds: i32,
}

fn five_minutes() -> i32 {
    300
}

/// Who answers.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// Electricity Maps, API v3.
    ElectricityMaps,
    /// The Carbon Intensity API of Great Britain: zone GB, or GB- and a region's number.
    UKCarbonIntensity,
    /// Energy-Charts of Fraunhofer ISE, API v2: day-ahead prices of a European zone as DE-LU.
    EnergyCharts,
    /// ENTSO-E's Transparency Platform: day-ahead prices, or carbon intensity reckoned from generation by type.
    EntsoE,
    /// The Korea Power Exchange by way of data.go.kr: carbon intensity reckoned from generation by fuel, zone KR.
    KPX,
    /// The US Energy Information Administration, API v2: carbon intensity reckoned from generation by fuel.
    EIA,
    /// WattTime, API v3: the marginal plant, three days ahead. Its signal has basis: Marginal.
    WattTime,
    /// The Carbon Aware SDK's web API.
    CarbonAwareSDK,
    /// Open-Meteo's forecast of sunlight, as what a roof makes of it.
    OpenMeteo,
    /// Prometheus.
    Prometheus,
    /// Any JSON.
    JSON,
}

/// Panels, and where they are.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Roof {
    /// Latitude in thousandths of a degree: 37566 is 37.566° north.
    #[schemars(range(min = -90_000, max = 90_000))]
    pub latitude_millidegrees: i32,
    /// Longitude in thousandths of a degree: 126978 is 126.978° east.
    #[schemars(range(min = -180_000, max = 180_000))]
    pub longitude_millidegrees: i32,
    /// Output at 1,000 W/m² and 25 °C, in watts.
    #[schemars(range(min = 1, max = 1_000_000_000_i64))]
    pub rated_watts: i64,
    /// What cables, inverters, dirt and shadow leave of it, in thousandths. 860 is the usual loss of 14 %.
    #[serde(default = "usual_performance")]
    #[schemars(range(min = 1, max = 1000))]
    pub performance_permille: i32,
}

/// 14 % lost, as PVGIS and PVWatts take where nothing is said.
fn usual_performance() -> i32 {
    860
}

/// Where things stand in JSON: JSON pointers (RFC 6901).
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JsonPlaces {
    /// The list of rows, from the root; empty where the root is the list.
    #[schemars(length(max = 256), regex(pattern = "^(/.*)?$"))]
    pub rows: String,
    /// The start of a row's interval, from the row: RFC 3339 with its offset, or seconds or milliseconds since 1970.
    #[schemars(length(max = 256), regex(pattern = "^/.+$"))]
    pub start: String,
    /// The end of a row's interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = "^/.+$"))]
    pub end: Option<String>,
    /// The value of a row.
    #[schemars(length(max = 256), regex(pattern = "^/.+$"))]
    pub value: String,
    /// The zone, from the root. Left out, the URL alone says which.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = "^/.+$"))]
    pub zone: Option<String>,
    /// How long a row without an end holds, in seconds. Of Prometheus it is 300.
    #[serde(default = "one_hour")]
    #[schemars(range(min = 1, max = 86_400))]
    pub step_seconds: i32,
}

fn one_hour() -> i32 {
    3600
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
    /// How well it is known: Live, LastKnown, HourOfWeek, Static or Nothing. From LastKnown down a value is no more than what stands in for it.
    #[schemars(length(max = 16))]
    pub rung: Option<String>,
    /// Why it is on that rung.
    #[schemars(length(max = 512))]
    pub rung_reason: Option<String>,
    /// When a provider was last heard with something that can be used.
    pub heard_at: Option<Time>,
    /// Under which terms it may be used.
    #[schemars(length(max = 128))]
    pub licence: Option<String>,
    /// What of the last answers was not used, by reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub refused: Vec<RefusedValues>,
    /// The hours ahead as they are planned with, and how far off earlier ones were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<SignalForecast>,
    /// What is true of this signal now, one entry for each type.
    #[serde(default)]
    #[schemars(schema_with = "super::condition_list")]
    pub conditions: Vec<Condition>,
}

/// The hours ahead.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct SignalForecast {
    /// The first hour: the present one.
    pub from: Option<Time>,
    /// The unit of all figures here.
    #[schemars(length(max = 32))]
    pub unit: String,
    /// What is planned with, hour by hour.
    #[schemars(length(max = 48))]
    pub planned: Vec<i64>,
    /// Of ten hours guessed like each, one was below this. Where no guess of ours is planned with, the same as `planned`.
    #[schemars(length(max = 48))]
    pub low: Vec<i64>,
    /// Of ten hours guessed like each, one was above this.
    #[schemars(length(max = 48))]
    pub high: Vec<i64>,
    /// How far off earlier ones were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub errors: Vec<ForecastError>,
}

/// How far off what was said of hours ahead was.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ForecastError {
    /// So many hours before.
    pub hours_ahead: i32,
    /// Who said it: Provider, or what of ours was nearest: Persistence, HourOfWeek or Learned.
    #[schemars(length(max = 16))]
    pub by: String,
    /// The mean of the errors' amounts.
    pub mean: i64,
    /// Of how many.
    pub count: i32,
}

/// Values that were not used.
#[derive(Serialize, Deserialize, KubeSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RefusedValues {
    /// Why, in one CamelCase word.
    #[schemars(length(max = 32))]
    pub reason: String,
    /// How many.
    pub count: i32,
    /// The first of them, in words.
    #[schemars(length(max = 256))]
    pub first: String,
}
