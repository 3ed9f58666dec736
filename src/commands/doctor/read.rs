//! Reads what is looked at. Each part may fail by itself: who runs this need not be allowed everything.

use super::findings::{Asked, Definition, Look, Seen};
use super::rights::{NEEDED, Right, UNWANTED};
use crate::api::{NodePower, PowerAllotment, PowerDomain, crds};
use crate::clock;
use crate::controller::apply::call;
use crate::units::{Moment, Seconds};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Everything, at one moment.
pub async fn read(client: &Client, namespace: &str, account: &str) -> Seen {
    let server = server(client).await;
    let now = server.as_ref().map_or_else(|_| clock::now(), |server| server.now);
    let user = format!("system:serviceaccount:{namespace}:{account}");
    Seen {
        version: server.as_ref().map(|server| server.version.clone()).map_err(Clone::clone),
        own_skew: server.map(|server| server.skew),
        now,
        definitions: definitions(client).await,
        policies: policies(client).await,
        needed: reviews(client, &user, &NEEDED).await,
        unwanted: reviews(client, &user, &UNWANTED).await,
        domains: all::<PowerDomain>(client, "domains").await,
        nodes: all::<Node>(client, "nodes").await,
        powers: all::<NodePower>(client, "NodePowers").await,
        allotments: all::<PowerAllotment>(client, "PowerAllotments").await,
        renewed: renewed(client).await,
    }
}

struct Server {
    version: (u32, u32, String),
    now: Moment,
    skew: Seconds,
}

/// Its version and its time, from one answer.
async fn server(client: &Client) -> Look<Server> {
    let request =
        http::Request::get("/version").body(kube::client::Body::empty()).map_err(|error| error.to_string())?;
    let before = clock::now();
    let answer = call("ask for the version", client.send(request)).await.map_err(|error| error.to_string())?;
    let after = clock::now();
    let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let date =
        date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| Moment(date.timestamp().as_second()));
    let bytes = answer.into_body().collect_bytes().await.map_err(|error| error.to_string())?;
    let body: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let digits = |key: &str| -> Option<u32> {
        let text = body.get(key)?.as_str()?;
        text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
    };
    let name = body.get("gitVersion").and_then(Value::as_str).unwrap_or("a server without a name").to_owned();
    let version = digits("major").zip(digits("minor")).ok_or_else(|| format!("{name} does not say its version"))?;
    let now = date.ok_or("the API server does not say its time")?;
    // the header has whole seconds, and the call took some time: what lies in between is no skew
    let skew = if now > after { after - now } else { (before - now - Seconds(1)).max(Seconds::ZERO) };
    Ok(Server { version: (version.0, version.1, name), now, skew })
}

async fn all<K>(client: &Client, what: &str) -> Look<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    K: Resource<Scope = kube::core::ClusterResourceScope>,
{
    let api: Api<K> = Api::all(client.clone());
    let list = call(format!("list the {what}"), api.list(&ListParams::default())).await;
    list.map(|list| list.items).map_err(|error| error.to_string())
}

async fn definitions(client: &Client) -> Look<BTreeMap<String, Definition>> {
    let installed = all::<CustomResourceDefinition>(client, "CustomResourceDefinitions").await?;
    let state = |ours: &CustomResourceDefinition| {
        let theirs = installed.iter().find(|theirs| theirs.name_any() == ours.name_any());
        match theirs {
            None => Definition::Missing,
            Some(theirs) if served(theirs) == served(ours) => Definition::Same,
            Some(_) => Definition::Differs,
        }
    };
    Ok(crds::all().iter().map(|ours| (ours.name_any(), state(ours))).collect())
}

/// What of a definition decides which objects are taken: the schemas of its versions.
fn served(definition: &CustomResourceDefinition) -> BTreeMap<String, Value> {
    let schema = |version: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion| {
        serde_json::to_value(&version.schema).unwrap_or_default()
    };
    definition.spec.versions.iter().map(|version| (version.name.clone(), schema(version))).collect()
}

/// The policies that are bound.
async fn policies(client: &Client) -> Look<Vec<String>> {
    let validating = all::<ValidatingAdmissionPolicyBinding>(client, "bindings of policies").await?;
    let mut names: Vec<String> = validating.into_iter().filter_map(|binding| binding.spec?.policy_name).collect();
    // from 1.36 on; an older server does not know the kind
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    match call("list the bindings of mutating policies", api.list(&ListParams::default())).await {
        Ok(list) => names.extend(
            list.iter().filter_map(|binding| Some(binding.data.pointer("/spec/policyName")?.as_str()?.to_owned())),
        ),
        Err(error) if error.code == Some(404) => {}
        Err(error) => return Err(error.to_string()),
    }
    Ok(names)
}

/// What a user may do.
async fn reviews(client: &Client, user: &str, rights: &[Right]) -> Look<Vec<Asked>> {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let mut asked = Vec::new();
    for right in rights {
        let (resource, subresource) = match right.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (right.resource, None),
        };
        let attributes = ResourceAttributes {
            group: Some(right.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource,
            verb: Some(right.verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.to_owned()),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = call("ask for the controller's rights", api.create(&PostParams::default(), &review)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        asked.push(Asked { right: *right, allowed: answer.status.is_some_and(|status| status.allowed) });
    }
    Ok(asked)
}

/// When each kubelet renewed its Lease, by its own clock.
async fn renewed(client: &Client) -> Look<BTreeMap<String, Moment>> {
    let api: Api<Lease> = of_kubelets(client);
    let leases = call("list the kubelets' Leases", api.list(&ListParams::default())).await;
    let leases = leases.map_err(|error| error.to_string())?;
    let at = |lease: &Lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| Moment(time.0.as_second()));
    Ok(leases.iter().filter_map(|lease| Some((lease.name_any(), at(lease)?))).collect())
}

fn of_kubelets<K>(client: &Client) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), "kube-node-lease")
}
