//! Which pod has which accelerators, and which there are to have, by the kubelet's word (podresources/v1), at a socket on this node.
//!
//! Nothing is safe by it: limits of a node are what its lease allows, whoever has its accelerators. It says whose share each is.

use crate::api::labels::GPU;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

/// An answer that takes longer is of no use: it is asked again soon.
const AT_MOST: Duration = Duration::from_secs(2);

/// The messages of k8s.io/kubelet/pkg/apis/podresources/v1/api.proto, as far as they are needed.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Asked {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Listed {
        #[prost(message, repeated, tag = "1")]
        pub pods: Vec<Pod>,
    }

    /// What its device plugins offer, and is healthy: given out or not.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Allocatable {
        #[prost(message, repeated, tag = "1")]
        pub devices: Vec<Devices>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Pod {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub namespace: String,
        #[prost(message, repeated, tag = "3")]
        pub containers: Vec<Container>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Container {
        #[prost(message, repeated, tag = "2")]
        pub devices: Vec<Devices>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Devices {
        #[prost(string, tag = "1")]
        pub resource: String,
        #[prost(string, repeated, tag = "2")]
        pub ids: Vec<String>,
    }
}

/// By the UUID of an accelerator: the pod that has it, as namespace/name.
pub type Holders = BTreeMap<String, String>;

/// What the kubelet says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Which pod has which accelerator.
    pub holders: Holders,
    /// The accelerators that device plugins offer, by UUID; none where the kubelet is older than that question (1.28).
    pub offered: Option<BTreeSet<String>>,
}

/// Asks the kubelet.
///
/// # Errors
/// Why it did not say, for people.
pub async fn ask(socket: &Path) -> Result<Said, String> {
    let why = |error: &dyn std::fmt::Display| format!("{}: {error}", socket.display());
    if !socket.exists() {
        return Err(why(&"there is no such socket"));
    }
    let late = |_| why(&format!("no answer in {} s", AT_MOST.as_secs()));
    tokio::time::timeout(AT_MOST, both(socket)).await.map_err(late)?.map_err(|error| why(&error))
}

async fn both(socket: &Path) -> Result<Said, String> {
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
    let mut grpc = Grpc::new(channel);
    let listed: wire::Listed =
        call(&mut grpc, "/v1.PodResourcesLister/List").await.map_err(|status| status.to_string())?;
    let offered = match call::<wire::Allocatable>(&mut grpc, "/v1.PodResourcesLister/GetAllocatableResources").await {
        Ok(allocatable) => Some(uuids(allocatable.devices).collect()),
        Err(status) if status.code() == Code::Unimplemented => None,
        Err(status) => return Err(status.to_string()),
    };
    Ok(Said { holders: by_accelerator(listed), offered })
}

async fn call<T: prost::Message + Default + 'static>(
    grpc: &mut Grpc<Channel>,
    path: &'static str,
) -> Result<T, Status> {
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec: ProstCodec<wire::Asked, T> = ProstCodec::default();
    let answer = grpc.unary(tonic::Request::new(wire::Asked {}), PathAndQuery::from_static(path), codec).await;
    answer.map(tonic::Response::into_inner)
}

fn by_accelerator(listed: wire::Listed) -> Holders {
    let mut holders = Holders::new();
    for pod in listed.pods {
        let devices = pod.containers.into_iter().flat_map(|container| container.devices);
        let name = format!("{}/{}", pod.namespace, pod.name);
        holders.extend(uuids(devices).map(|uuid| (uuid, name.clone())));
    }
    holders
}

/// One that is shared in time is given out as UUID::1, UUID::2, ..
fn uuids(devices: impl IntoIterator<Item = wire::Devices>) -> impl Iterator<Item = String> {
    let ids = devices.into_iter().filter(|devices| devices.resource == GPU).flat_map(|devices| devices.ids);
    ids.map(|id| id.split("::").next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubelet_that_does_not_answer_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("kubelet.sock");
        let why = ask(&socket).await.unwrap_err();
        assert!(why.ends_with("kubelet.sock: there is no such socket"), "{why}");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let why = ask(&socket).await.unwrap_err();
        assert!(why.contains("no answer in 2 s"), "{why}");
        drop(listener);
    }

    #[test]
    fn what_is_shared_in_time_is_one_accelerator() {
        let devices = |ids: &[&str]| wire::Devices {
            resource: GPU.to_owned(),
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        let other = wire::Devices { resource: "example.com/nic".to_owned(), ids: vec!["nic-0".to_owned()] };
        let pod = |name: &str, devices: Vec<wire::Devices>| wire::Pod {
            name: name.to_owned(),
            namespace: "team".to_owned(),
            containers: vec![wire::Container { devices }],
        };
        let listed =
            wire::Listed { pods: vec![pod("a", vec![devices(&["GPU-1", "GPU-2::3"]), other]), pod("b", vec![])] };
        let of = |uuid: &str| (uuid.to_owned(), "team/a".to_owned());
        assert_eq!(by_accelerator(listed), Holders::from([of("GPU-1"), of("GPU-2")]));
    }
}
