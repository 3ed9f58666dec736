//! Which pod has which accelerators, by the kubelet's word (podresources/v1), at a socket on this node.
//!
//! Nothing is safe by it: limits of a node are what its lease allows, whoever has its accelerators. It says whose share each is.

use crate::api::labels::GPU;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
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

/// Asks the kubelet.
///
/// # Errors
/// Why it did not say, for people.
pub async fn holders(socket: &Path) -> Result<Holders, String> {
    let why = |error: &dyn std::fmt::Display| format!("{}: {error}", socket.display());
    let late = |_| why(&format!("no answer in {} s", AT_MOST.as_secs()));
    let listed = tokio::time::timeout(AT_MOST, list(socket)).await.map_err(late)?.map_err(|error| why(&error))?;
    Ok(by_accelerator(listed))
}

fn by_accelerator(listed: wire::Listed) -> Holders {
    let mut holders = Holders::new();
    for pod in listed.pods {
        let devices = pod.containers.into_iter().flat_map(|container| container.devices);
        for id in devices.filter(|devices| devices.resource == GPU).flat_map(|devices| devices.ids) {
            // one that is shared in time is given out as UUID::1, UUID::2, ..
            let uuid = id.split("::").next().unwrap_or_default().to_owned();
            holders.insert(uuid, format!("{}/{}", pod.namespace, pod.name));
        }
    }
    holders
}

async fn list(socket: &Path) -> Result<wire::Listed, String> {
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| error.to_string())?;
    let path = PathAndQuery::from_static("/v1.PodResourcesLister/List");
    let codec: ProstCodec<wire::Asked, wire::Listed> = ProstCodec::default();
    let answer = grpc.unary(tonic::Request::new(wire::Asked {}), path, codec).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubelet_that_does_not_answer_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("kubelet.sock");
        assert!(holders(&socket).await.unwrap_err().contains("kubelet.sock"), "there is none");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let why = holders(&socket).await.unwrap_err();
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
