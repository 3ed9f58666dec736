//! For every CEL rule objects that keep it and objects that break it, with the message that a person gets.
//! Judged twice: by kube's own evaluator, and by the real API server.

use serde_json::{Value, json};

/// One object and what is said of it.
pub struct Case {
    pub kind: &'static str,
    pub spec: Value,
    /// Part of the message with which it is refused; none if it is accepted.
    pub error: Option<&'static str>,
}

/// The name that every object has.
pub const NAME: &str = "x";

/// The whole object.
pub fn object(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": kind, "metadata": {"name": NAME}, "spec": spec})
}

/// Cases in the making.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn accepted(&mut self, kind: &'static str, spec: Value) {
        self.0.push(Case { kind, spec, error: None });
    }

    fn refused(&mut self, kind: &'static str, spec: Value, error: &'static str) {
        self.0.push(Case { kind, spec, error: Some(error) });
    }
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Cases::default();
    power_domains(&mut cases);
    grid_signals(&mut cases);
    accelerator_profiles(&mut cases);
    llm_workloads(&mut cases);
    curtailment_events(&mut cases);
    node_powers(&mut cases);
    cases.0
}

fn domain(with: Value) -> Value {
    let mut spec = json!({"capWatts": 34000});
    spec.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    spec
}

fn power_domains(cases: &mut Cases) {
    let kind = "PowerDomain";
    let window = |from: &str, to: &str, cap: i64| json!({"capSchedule": {"timeZone": "Asia/Seoul", "windows": [{"days": ["Monday"], "from": from, "to": to, "capWatts": cap}]}});
    cases.accepted(kind, domain(json!({})));
    cases.accepted(kind, domain(json!({"parent": "site", "nodeSelector": {"matchLabels": {"row": "a"}}})));
    cases.accepted(kind, domain(json!({"mode": "Enforce", "signals": {"carbon": "kr"}, "carbonPricePerTonne": 20})));
    cases.accepted(kind, domain(json!({"baseline": {"maxWatts": 34000}})));
    cases.accepted(kind, domain(window("22:00", "06:00", 20000)));
    cases.refused(kind, domain(json!({"parent": "x"})), "a domain can't feed itself");
    cases.refused(kind, domain(json!({"parent": "site", "mode": "Enforce"})), "mode belongs to the root");
    cases.refused(kind, domain(json!({"parent": "site", "signals": {"carbon": "kr"}})), "signals belong to the root");
    cases.refused(
        kind,
        domain(json!({"parent": "site", "carbonPricePerTonne": 20})),
        "carbonPricePerTonne belongs to the root",
    );
    cases.refused(kind, domain(json!({"baseline": {"maxWatts": 34001}})), "capWatts is below baseline.maxWatts");
    cases.refused(kind, domain(window("06:00", "06:00", 20000)), "is either never or always");
    let mut low = domain(window("06:00", "08:00", 900));
    low["baseline"] = json!({"maxWatts": 1000});
    cases.refused(kind, low, "a window's capWatts is below baseline.maxWatts");
    cases.refused(kind, domain(json!({"nodeSelector": {"matchLabels": {}}})), "it would select every node");
    let class =
        |idle: i64, max: i64| json!({"nodeClasses": [{"name": "dgx", "hostIdleWatts": idle, "hostMaxWatts": max}]});
    cases.accepted(kind, domain(class(800, 4600)));
    cases.refused(kind, domain(class(4600, 800)), "hostMaxWatts is below hostIdleWatts");
    cases.accepted(kind, domain(json!({"lowestCapWatts": 34000, "contactSeconds": 25, "correctionTimeSeconds": 30})));
    cases.refused(kind, domain(json!({"lowestCapWatts": 34001})), "lowestCapWatts is above capWatts");
    for late in [
        json!({"contactSeconds": 30, "correctionTimeSeconds": 30}),
        json!({"contactSeconds": 30}),
        json!({"correctionTimeSeconds": 25}),
    ] {
        cases.refused(kind, domain(late), "must be below correctionTimeSeconds");
    }
}

fn node_powers(cases: &mut Cases) {
    let kind = "NodePower";
    let node = |host: i64| json!({"domain": "row-1", "accelerators": 8, "ceilingWatts": 4200, "hostMaxWatts": host});
    cases.accepted(kind, node(1000));
    cases.refused(kind, node(4201), "ceilingWatts is below hostMaxWatts");
}

fn grid_signals(cases: &mut Cases) {
    let kind = "GridSignal";
    let signal = |provider: Value| json!({"what": "CarbonIntensity", "zone": "KR", "providers": [provider]});
    let file = json!({"path": "/signals/kr.csv"});
    let map = json!({"name": "kr", "key": "carbon.csv"});
    cases.accepted(kind, signal(json!({"file": file, "format": "electricity-maps-csv"})));
    cases.accepted(kind, signal(json!({"configMap": map, "format": "price-csv"})));
    cases.refused(
        kind,
        signal(json!({"file": file, "configMap": map, "format": "price-csv"})),
        "either file or configMap",
    );
    cases.refused(kind, signal(json!({"format": "price-csv"})), "either file or configMap");
    cases.refused(
        kind,
        signal(json!({"file": {"path": "kr.csv"}, "format": "price-csv"})),
        "file.path must be absolute",
    );
    let server = |server: Value| signal(json!({"server": server}));
    let places = json!({"rows": "/rows", "start": "/t", "value": "/v"});
    let url = "http://prometheus.monitoring:9090";
    for good in [
        json!({"kind": "ElectricityMaps", "token": "electricity-maps", "query": "forecast", "everySeconds": 900}),
        json!({"kind": "UKCarbonIntensity"}),
        json!({"kind": "EnergyCharts", "zone": "DE-LU"}),
        json!({"kind": "EntsoE", "zone": "10Y1001A1001A82H", "token": "entsoe"}),
        json!({"kind": "KPX", "token": "kpx", "query": "PwrAmountByGen"}),
        json!({"kind": "EIA", "zone": "CISO", "token": "eia"}),
        json!({"kind": "CarbonAwareSDK", "url": url}),
        json!({"kind": "WattTime", "zone": "CAISO_NORTH", "user": "wt-user", "token": "wt-password"}),
        json!({"kind": "Prometheus", "url": url, "query": "grid_carbon", "unit": "g/kWh"}),
        json!({"kind": "JSON", "url": "https://grid.example.org/x?zone=KR", "json": places, "unit": "lb/MWh"}),
    ] {
        cases.accepted(kind, server(good));
    }
    let roof = json!({"latitudeMillidegrees": 37_566, "longitudeMillidegrees": 126_978, "ratedWatts": 100_000});
    let generated =
        |server: Value| json!({"what": "Generation", "zone": "seoul-roof", "providers": [{"server": server}]});
    let sun = json!({"kind": "OpenMeteo", "roof": roof});
    cases.accepted(kind, generated(sun.clone()));
    cases.accepted(kind, generated(json!({"kind": "Prometheus", "url": url, "query": "pv_watts", "unit": "W"})));
    let mut set = generated(sun.clone());
    set["staticWatts"] = json!(500);
    cases.accepted(kind, set);
    let of_uk = |more: Value| {
        let mut spec = json!({"kind": "UKCarbonIntensity"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server(spec)
    };
    let json_alone = json!({"kind": "JSON", "url": url, "unit": "g/kWh"});
    for (bad, message) in [
        (server(json!({"kind": "CarbonAwareSDK"})), "url is needed"),
        (server(json_alone), "json is for kind: JSON, which needs it"),
        (of_uk(json!({"json": places})), "json is for kind: JSON"),
        (of_uk(json!({"unit": "g/kWh"})), "unit is for kind: Prometheus and JSON"),
        (server(json!({"kind": "Prometheus", "url": url, "query": "x"})), "unit is needed"),
        (server(json!({"kind": "Prometheus", "url": url, "unit": "g/kWh"})), "query is needed"),
        (server(json!({"kind": "ElectricityMaps", "query": "all"})), "latest, history or forecast"),
        (server(json!({"kind": "KPX", "query": "all"})), "sumperfuel5m or PwrAmountByGen"),
        (of_uk(json!({"query": "x"})), "query is for kind: Prometheus"),
        (server(json!({"kind": "EntsoE"})), "zone of EntsoE is an EIC"),
        (server(json!({"kind": "WattTime", "token": "wt-password"})), "user is for kind: WattTime, which needs it"),
        (server(json!({"kind": "WattTime", "user": "wt-user"})), "token is needed: the file with WattTime's password"),
        (of_uk(json!({"user": "me"})), "user is for kind: WattTime"),
        (generated(json!({"kind": "OpenMeteo"})), "roof is for kind: OpenMeteo, which needs it"),
        (of_uk(json!({"roof": roof})), "roof is for kind: OpenMeteo"),
        (server(sun), "OpenMeteo is for what: Generation"),
        (generated(json!({"kind": "EIA"})), "is from a server of kind OpenMeteo, Prometheus or JSON"),
        (server(json!({"kind": "EntsoE", "zone": "DE-LU"})), "zone of EntsoE is an EIC"),
        (signal(json!({"server": {"kind": "EIA"}, "format": "price-csv"})), "format is for file and configMap"),
        (signal(json!({"file": file})), "format is for file and configMap"),
        (signal(json!({"server": {"kind": "EIA"}, "column": "x"})), "column is for file and configMap"),
        (signal(json!({"server": {"kind": "EIA"}, "file": file})), "either file or configMap or server"),
    ] {
        cases.refused(kind, bad, message);
    }
    let with = |what: &str, more: Value| {
        let mut spec = json!({"what": what, "zone": "KR", "providers": [{"server": {"kind": "KPX"}}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    cases.accepted(kind, with("CarbonIntensity", json!({"staticGramsPerKwh": 436})));
    cases.accepted(kind, with("Price", json!({"staticPricePerMwh": 150_000, "currency": "KRW"})));
    cases.refused(kind, with("Price", json!({"staticGramsPerKwh": 436})), "staticGramsPerKwh is for");
    cases.refused(kind, with("Price", json!({"staticWatts": 9})), "staticWatts is for what: Generation");
    cases.refused(kind, with("CarbonIntensity", json!({"currency": "KRW"})), "staticPricePerMwh and currency are for");
}

fn accelerator_profiles(cases: &mut Cases) {
    let kind = "AcceleratorProfile";
    let profile = |min: i64, max: i64, idle: i64, limit: i64| {
        json!({"deviceModel": "NVIDIA-A100-SXM4-80GB", "minWatts": min, "maxWatts": max, "idleWatts": idle, "source": "a sweep",
            "points": [{"limitWatts": limit, "drawWatts": limit, "throughputPermille": 1000}]})
    };
    cases.accepted(kind, profile(100, 400, 60, 400));
    cases.refused(kind, profile(401, 400, 60, 400), "minWatts is above maxWatts");
    cases.refused(kind, profile(100, 400, 401, 400), "idleWatts is above maxWatts");
    cases.refused(kind, profile(100, 400, 60, 99), "a point's limitWatts lies outside minWatts..maxWatts");
    cases.refused(kind, profile(100, 400, 60, 401), "a point's limitWatts lies outside minWatts..maxWatts");
    let knob = |knob: Option<&str>, clock: Option<i64>| {
        let mut profile = profile(100, 400, 60, 400);
        if let Some(knob) = knob {
            profile["knob"] = json!(knob);
        }
        if let Some(clock) = clock {
            profile["points"][0]["clockMegahertz"] = json!(clock);
        }
        profile
    };
    cases.accepted(kind, knob(Some("PowerLimit"), None));
    cases.accepted(kind, knob(Some("ClockLock"), Some(1410)));
    cases.refused(kind, knob(Some("ClockLock"), None), "knob ClockLock needs clockMegahertz at every point");
    cases.refused(kind, knob(Some("PowerLimit"), Some(1410)), "clockMegahertz at a point needs knob ClockLock");
    cases.refused(kind, knob(None, Some(1410)), "clockMegahertz at a point needs knob ClockLock");
}

fn llm_workloads(cases: &mut Cases) {
    let kind = "LLMWorkload";
    let job =
        |version: &str, kind: &str| json!({"workloadRef": {"apiVersion": version, "kind": kind, "name": "train"}});
    cases.accepted(kind, json!({}));
    cases.accepted(kind, job("batch/v1", "Job"));
    cases.accepted(
        kind,
        json!({"deadline": "2026-12-01T00:00:00Z", "checkpoint": {"intervalSeconds": 600, "costSeconds": 30}}),
    );
    let checkpoint = |ask: &str| json!({"checkpoint": {"intervalSeconds": 600, "costSeconds": 30, "ask": ask, "askWithinSeconds": 60}});
    cases.accepted(kind, checkpoint("Annotation"));
    cases.refused(kind, checkpoint("Signal"), "askWithinSeconds is for ask: Annotation");
    cases.refused(kind, job("apps/v1", "Deployment"), "workloadRef must name a batch/v1 Job");
    cases.refused(
        kind,
        json!({"deadline": "2026-12-01T00:00:00Z", "maxDelaySeconds": 60}),
        "either deadline or maxDelaySeconds",
    );
    let lengths =
        |expected: i64, up_to: i64| json!({"expectedDurationSeconds": expected, "durationUpToSeconds": up_to});
    cases.accepted(kind, lengths(60, 60));
    for wrong in [lengths(61, 60), json!({"durationUpToSeconds": 60})] {
        cases.refused(kind, wrong, "durationUpToSeconds needs expectedDurationSeconds, and is no shorter");
    }
    cases.accepted(kind, json!({"replicas": {"min": 2, "max": 2}}));
    cases.refused(kind, json!({"replicas": {"min": 1, "max": 2}}), "elastic width is not served yet");
}

/// An event on the site until three o'clock, with this target; `with` is merged into its spec.
pub fn event(target: Value, with: Value) -> Value {
    let mut spec = json!({"domain": "site", "end": "2026-12-01T15:00:00Z", "target": target});
    spec.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    spec
}

fn curtailment_events(cases: &mut Cases) {
    let kind = "CurtailmentEvent";
    let cap = || json!({"capWatts": 24000});
    cases.accepted(kind, event(cap(), json!({})));
    cases.accepted(
        kind,
        event(cap(), json!({"start": "2026-12-01T12:00:00Z", "reason": "peak", "source": "KPX", "externalId": "7"})),
    );
    cases.accepted(kind, event(json!({"reduceWatts": 10000}), json!({"baseline": "Committed"})));
    cases.accepted(kind, event(json!({"reducePercent": 100}), json!({"baseline": "Cap"})));
    cases.accepted(kind, event(cap(), json!({"measure": "Draw"})));
    for start in ["2026-12-01T15:00:00Z", "2026-12-01T16:00:00Z", "2026-12-01T16:00:00+01:00"] {
        cases.refused(kind, event(cap(), json!({"start": start})), "end must be after start");
    }
    let one = "exactly one of capWatts, reduceWatts, reducePercent";
    cases.refused(kind, event(json!({}), json!({})), one);
    cases.refused(kind, event(json!({"capWatts": 24000, "reducePercent": 30}), json!({})), one);
    cases.refused(kind, event(json!({"reduceWatts": 24000, "reducePercent": 30}), json!({})), one);
    cases.refused(kind, event(cap(), json!({"baseline": "Cap"})), "capWatts is absolute: leave baseline out");
}

/// What becomes of an event: its spec before and after, and part of the message with which the change is refused.
pub fn changes_of_events() -> Vec<(Value, Value, Option<&'static str>)> {
    let cap = || json!({"capWatts": 24000});
    let start = json!({"start": "2026-12-01T12:00:00Z"});
    let plain = event(cap(), start.clone());
    let with = |more: Value| {
        let mut spec = plain.clone();
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let at_once = event(cap(), json!({}));
    let percent = event(
        json!({"reducePercent": 30}),
        json!({"baseline": "Cap", "reason": "peak", "source": "KPX", "externalId": "7"}),
    );
    let changed = |field: &str, to: Value| {
        let mut spec = percent.clone();
        match to {
            Value::Null => spec.as_object_mut().unwrap().remove(field),
            to => spec.as_object_mut().unwrap().insert(field.to_owned(), to),
        };
        spec
    };
    let (order, record) = ("what an event orders can't be changed", "are part of the record");
    let mut all = vec![
        (plain.clone(), plain.clone(), None),
        (plain.clone(), with(json!({"cancelled": true})), None),
        (with(json!({"cancelled": true})), plain.clone(), Some("a cancelled event stays cancelled")),
        (with(json!({"cancelled": true})), with(json!({"cancelled": true})), None),
        (plain.clone(), with(json!({"end": "2026-12-01T14:00:00Z"})), None),
        (plain.clone(), with(json!({"end": "2026-12-01T15:00:01Z"})), Some("end can only be brought forward")),
        (plain.clone(), with(json!({"end": "2026-12-01T11:00:00Z"})), Some("end must be after start")),
        (plain.clone(), with(json!({"domain": "row-a"})), Some(order)),
        (plain.clone(), with(json!({"start": "2026-12-01T13:00:00Z"})), Some(order)),
        (plain.clone(), at_once.clone(), Some(order)),
        (at_once, plain.clone(), Some(order)),
        (plain.clone(), with(json!({"target": {"capWatts": 23999}})), Some(order)),
        (plain.clone(), with(json!({"target": {"reducePercent": 30}})), Some(order)),
        (plain.clone(), with(json!({"measure": "Draw"})), Some(order)),
        (with(json!({"measure": "Draw"})), with(json!({"measure": "Limits"})), Some(order)),
        (plain.clone(), with(json!({"reason": "peak"})), Some(record)),
    ];
    for (field, to, said) in [
        ("baseline", json!("Committed"), order),
        ("reason", json!("other"), record),
        ("source", json!("other"), record),
        ("externalId", json!("8"), record),
    ] {
        all.push((percent.clone(), changed(field, to), Some(said)));
        all.push((percent.clone(), changed(field, Value::Null), Some(said)));
    }
    all
}
