//! An API server of one namespace in memory, with the Job controller, the scheduler and the kubelet as single steps.
//! Requests wait until somebody picks them: that is where the orders come from.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// A request on its way: it is served when it is picked, even where whoever sent it is gone.
pub struct Request {
    method: http::Method,
    path: String,
    query: String,
    body: Value,
    answer: oneshot::Sender<(u16, Value)>,
}

/// Requests that were sent and not served.
pub type Wire = Arc<Mutex<Vec<Request>>>;

/// A client whose requests go to the wire.
pub fn client(wire: &Wire) -> kube::Client {
    let wire = wire.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let wire = wire.clone();
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await?;
            let (answer, answered) = oneshot::channel();
            wire.lock().unwrap().push(Request {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
                answer,
            });
            let (code, body) = answered.await?;
            let response = http::Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            Ok::<_, tower::BoxError>(response?)
        }
    });
    kube::Client::new(service, "default")
}

/// What the caches of the controllers hold.
#[derive(Clone)]
pub struct View {
    pub jobs: Vec<Arc<Job>>,
    pub pods: Vec<Arc<Pod>>,
}

/// The cluster.
pub struct Cluster {
    pub root: Value,
    pub rows: Vec<Value>,
    pub jobs: BTreeMap<String, Value>,
    pub pods: BTreeMap<String, Value>,
    version: u64,
    /// What of each Job the Job controller has seen: its version as it was then.
    seen: BTreeMap<String, Value>,
    /// What was ever there, for caches that are behind.
    pub past: Vec<View>,
    made: u64,
}

impl Cluster {
    pub fn new(root: Value, rows: Vec<Value>, jobs: Vec<Value>) -> Self {
        let jobs: BTreeMap<String, Value> =
            jobs.into_iter().map(|job| (job["metadata"]["name"].as_str().unwrap().to_owned(), job)).collect();
        let mut cluster =
            Self { root, rows, seen: jobs.clone(), jobs, pods: BTreeMap::new(), version: 1, past: Vec::new(), made: 0 };
        cluster.root["metadata"]["resourceVersion"] = json!("1");
        cluster.remember();
        cluster
    }

    /// What a cache would hold that is up to date.
    fn remember(&mut self) {
        let jobs = self.jobs.values().map(|job| Arc::new(serde_json::from_value(job.clone()).unwrap())).collect();
        let pods = self.pods.values().map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap())).collect();
        self.past.push(View { jobs, pods });
    }

    fn next(&mut self) -> Value {
        self.version += 1;
        json!(self.version.to_string())
    }

    fn write(&mut self, name: &str, mut job: Value) -> Value {
        job["metadata"]["resourceVersion"] = self.next();
        self.jobs.insert(name.to_owned(), job.clone());
        self.remember();
        job
    }

    /// Changes the root's spec, as a person does.
    pub fn cap(&mut self, watts: i64) {
        self.root["spec"]["capWatts"] = json!(watts);
        self.root["metadata"]["generation"] = json!(self.root["metadata"]["generation"].as_i64().unwrap_or(1) + 1);
        self.root["metadata"]["resourceVersion"] = self.next();
    }

    /// A person holds a Job.
    pub fn hold(&mut self, name: &str) {
        let mut job = self.jobs[name].clone();
        job["spec"]["suspend"] = json!(true);
        self.write(name, job);
    }

    /// A person deletes a Job: its pods are told to go.
    pub fn delete(&mut self, name: &str) {
        let job = self.jobs.remove(name).unwrap();
        self.seen.remove(name);
        let uid = &job["metadata"]["uid"];
        self.pods.retain(|_, pod| {
            pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] != *uid
                || pod["spec"]["nodeName"].is_string()
        });
        for pod in self.pods.values_mut() {
            if pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == *uid {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
        }
        self.remember();
    }

    /// Serves a request.
    pub fn serve(&mut self, request: Request) {
        let answer = self.answer(&request);
        let _ = request.answer.send(answer); // whoever asked may be dead
    }

    fn answer(&mut self, request: &Request) -> (u16, Value) {
        let parts: Vec<&str> = request.path.split('/').skip(1).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["api", "v1", "namespaces", "default", "pods"]) => {
                let own = |pod: &&Value| {
                    let uid = pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"].as_str().unwrap();
                    request.query.contains(uid)
                };
                let items: Vec<&Value> = self.pods.values().filter(own).collect();
                (200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
            }
            ("PUT", ["apis", "heliotrope.dev", "v1alpha1", "powerdomains", "site", "status"]) => {
                if request.body["metadata"]["resourceVersion"] != self.root["metadata"]["resourceVersion"] {
                    return conflict();
                }
                self.root["status"] = request.body["status"].clone();
                self.root["metadata"]["resourceVersion"] = self.next();
                (200, self.root.clone())
            }
            ("GET", ["apis", "heliotrope.dev", "v1alpha1", "powerdomains"]) => {
                let items: Vec<Value> = std::iter::once(&self.root)
                    .chain(&self.rows)
                    .map(|domain| json!({"metadata": domain["metadata"]}))
                    .collect();
                (
                    200,
                    json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items}),
                )
            }
            ("GET", ["apis", "heliotrope.dev", "v1alpha1", "curtailmentevents"]) => (
                200,
                json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": []}),
            ),
            ("PATCH", ["apis", "batch", "v1", "namespaces", "default", "jobs", name, "status"]) => {
                let Some(job) = self.jobs.get(*name).cloned() else { return missing() };
                if request.body["metadata"]["resourceVersion"] != job["metadata"]["resourceVersion"] {
                    return conflict();
                }
                let mut patched = job;
                merge(&mut patched["status"], &request.body["status"]);
                (200, self.write(name, patched))
            }
            (method, ["apis", "batch", "v1", "namespaces", "default", "jobs", name]) => {
                let Some(job) = self.jobs.get(*name).cloned() else { return missing() };
                let asked = &request.body["metadata"]["resourceVersion"];
                let is_current = *asked == job["metadata"]["resourceVersion"];
                match method {
                    "GET" => (200, job),
                    "PATCH" if asked.is_null() || is_current => {
                        let mut patched = job;
                        merge(&mut patched, &request.body);
                        (200, self.write(name, patched))
                    }
                    "PUT" if is_current => {
                        let mut put = request.body.clone();
                        put["status"] = job["status"].clone();
                        (200, self.write(name, put))
                    }
                    _ => conflict(),
                }
            }
            other => panic!("the fake has no {other:?}"),
        }
    }

    /// One sync of the Job controller, on the Job as it is (`behind` false) or as it was last seen.
    pub fn sync(&mut self, name: &str, behind: bool) {
        let current = self.jobs[name].clone();
        let job = if behind { self.seen[name].clone() } else { current.clone() };
        if has(&current, "Complete") {
            return;
        }
        let uid = job["metadata"]["uid"].clone();
        let own: Vec<String> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == uid)
            .map(|(name, _)| name.clone())
            .collect();
        if job["spec"]["suspend"] == true {
            for pod in own {
                match self.pods[&pod]["spec"]["nodeName"].is_null() {
                    true => drop(self.pods.remove(&pod)),
                    false => {
                        self.pods.get_mut(&pod).unwrap()["metadata"]["deletionTimestamp"] =
                            json!("2026-01-01T00:00:00Z")
                    }
                }
            }
        } else if own.iter().all(|pod| !self.pods[pod]["metadata"]["deletionTimestamp"].is_null()) {
            self.made += 1;
            let mut spec = job["spec"]["template"]["spec"].clone();
            spec["nodeName"] = Value::Null;
            let pod = format!("{name}-{}", self.made);
            let labels = json!({"batch.kubernetes.io/controller-uid": uid});
            let object = json!({"metadata": {"name": pod, "namespace": "default", "labels": labels}, "spec": spec,
                "status": {"phase": "Pending"}});
            self.pods.insert(pod, object);
        }
        if !behind {
            // a status that is written from a version that is behind conflicts, and is not written
            let mut job = current;
            let suspended = if job["spec"]["suspend"] == true { "True" } else { "False" };
            condition(&mut job, "Suspended", suspended);
            let written = self.write(name, job);
            self.seen.insert(name.to_owned(), written);
        }
        self.remember();
    }

    /// The scheduler binds a pod, to the first node of its row.
    pub fn bind(&mut self, pod: &str) {
        let pod = self.pods.get_mut(pod).unwrap();
        let row = pod["spec"]["nodeSelector"]["row"].as_str().unwrap_or("a").to_owned();
        pod["spec"]["nodeName"] = json!(format!("{row}-0"));
        pod["status"]["phase"] = json!("Running");
        self.remember();
    }

    /// The kubelet ends a pod: one that is being deleted is gone, another has done its work.
    pub fn end(&mut self, pod: &str) {
        if !self.pods[pod]["metadata"]["deletionTimestamp"].is_null() {
            self.pods.remove(pod);
            self.remember();
            return;
        }
        self.pods.get_mut(pod).unwrap()["status"]["phase"] = json!("Succeeded");
        let uid = self.pods[pod]["metadata"]["labels"]["batch.kubernetes.io/controller-uid"].clone();
        let (name, mut job) = self
            .jobs
            .iter()
            .find(|(_, job)| job["metadata"]["uid"] == uid)
            .map(|(name, job)| (name.clone(), job.clone()))
            .unwrap();
        condition(&mut job, "Complete", "True");
        self.write(&name, job);
    }
}

fn missing() -> (u16, Value) {
    (404, json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}))
}

fn conflict() -> (u16, Value) {
    let status =
        json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409, "message": "changed"});
    (409, status)
}

pub fn has(job: &Value, kind: &str) -> bool {
    job["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == kind && c["status"] == "True")
}

fn condition(job: &mut Value, kind: &str, status: &str) {
    let mut all = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.retain(|condition| condition["type"] != kind);
    all.push(json!({"type": kind, "status": status}));
    job["status"]["conditions"] = json!(all);
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
            _ => merge(&mut target[key], value),
        }
    }
}
