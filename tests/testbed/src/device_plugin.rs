//! A device plugin of the kubelet (deviceplugin/v1beta1): it has simulated accelerators to give, by their UUIDs.
//!
//! The messages are those of k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto, as far as they are needed.

use crate::Error;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::body::Body;
use tonic::codegen::http::{Request as HttpRequest, Response as HttpResponse};
use tonic::codegen::{BoxFuture, BoxStream, Service};
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Where every kubelet listens for plugins, whatever its folder is.
const PLUGINS: &str = "/var/lib/kubelet/device-plugins";

/// How long a kubelet may take until it listens.
const LISTENS: Duration = Duration::from_secs(30);

mod wire {
    use std::collections::HashMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Empty {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Register {
        #[prost(string, tag = "1")]
        pub version: String,
        #[prost(string, tag = "2")]
        pub endpoint: String,
        #[prost(string, tag = "3")]
        pub resource_name: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Device {
        #[prost(string, tag = "1")]
        pub id: String,
        #[prost(string, tag = "2")]
        pub health: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Devices {
        #[prost(message, repeated, tag = "1")]
        pub devices: Vec<Device>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Asked {
        #[prost(string, repeated, tag = "1")]
        pub ids: Vec<String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Allocate {
        #[prost(message, repeated, tag = "1")]
        pub containers: Vec<Asked>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Given {
        #[prost(map = "string, string", tag = "1")]
        pub envs: HashMap<String, String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Allocated {
        #[prost(message, repeated, tag = "1")]
        pub containers: Vec<Given>,
    }
}

/// A running plugin. The kubelet counts its devices as unhealthy when it ends.
#[derive(Debug)]
pub struct DevicePlugin {
    devices: watch::Sender<Vec<String>>,
    socket: PathBuf,
    // dropped last: what serves ends with it
    _runtime: Runtime,
}

impl DevicePlugin {
    /// Offers these devices as a resource, as `nvidia.com/gpu`.
    ///
    /// # Errors
    /// Where the kubelet does not listen.
    pub fn start(resource: &str, devices: Vec<String>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let name = format!("{}.sock", resource.replace('/', "-"));
        let socket = Path::new(PLUGINS).join(&name);
        let (devices, seen) = watch::channel(devices);
        let register =
            wire::Register { version: "v1beta1".to_owned(), endpoint: name, resource_name: resource.to_owned() };
        let started = crate::now();
        // a kubelet that was just started does not listen yet, and removes all sockets that it finds
        loop {
            let plugin = Plugin { devices: seen.clone() };
            match runtime.block_on(offer_at(&socket, plugin, register.clone())) {
                Ok(()) => return Ok(Self { devices, socket, _runtime: runtime }),
                Err(why) if crate::now().duration_since(started) > LISTENS => {
                    return Err(Error::Refused(format!("the kubelet takes no device plugin: {why}")));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    /// Has other devices from now on: one that is gone is unhealthy to the kubelet.
    pub fn offer(&self, devices: Vec<String>) {
        let _ = self.devices.send(devices);
    }
}

impl Drop for DevicePlugin {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Listens, and says so to the kubelet.
async fn offer_at(socket: &Path, plugin: Plugin, register: wire::Register) -> Result<(), String> {
    let _ = std::fs::remove_file(socket); // of one that was killed
    let listener = UnixListener::bind(socket).map_err(|error| error.to_string())?;
    let server = tonic::transport::Server::builder().add_service(plugin);
    let serves = tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    let registered = register_at(&Path::new(PLUGINS).join("kubelet.sock"), register).await;
    if registered.is_err() {
        serves.abort();
    }
    registered
}

async fn register_at(kubelet: &Path, register: wire::Register) -> Result<(), String> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{}", kubelet.display()));
    let channel = endpoint.map_err(|error| error.to_string())?.connect().await.map_err(|error| error.to_string())?;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| error.to_string())?;
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/v1beta1.Registration/Register");
    let codec: ProstCodec<wire::Register, wire::Empty> = ProstCodec::default();
    grpc.unary(Request::new(register), path, codec).await.map(|_| ()).map_err(|status| status.to_string())
}

/// The service: what the kubelet asks.
#[derive(Debug, Clone)]
struct Plugin {
    devices: watch::Receiver<Vec<String>>,
}

impl NamedService for Plugin {
    const NAME: &'static str = "v1beta1.DevicePlugin";
}

impl Service<HttpRequest<Body>> for Plugin {
    type Response = HttpResponse<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let plugin = self.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            Ok(match path.rsplit('/').next().unwrap_or_default() {
                "GetDevicePluginOptions" => Grpc::new(ProstCodec::default()).unary(NoOptions, request).await,
                "ListAndWatch" => Grpc::new(ProstCodec::default()).server_streaming(plugin, request).await,
                "Allocate" => Grpc::new(ProstCodec::default()).unary(Gives, request).await,
                _ => Status::unimplemented(path).into_http(),
            })
        })
    }
}

struct NoOptions;

impl UnaryService<wire::Empty> for NoOptions {
    type Response = wire::Empty;
    type Future = BoxFuture<Response<wire::Empty>, Status>;

    fn call(&mut self, _: Request<wire::Empty>) -> Self::Future {
        Box::pin(async { Ok(Response::new(wire::Empty {})) })
    }
}

impl ServerStreamingService<wire::Empty> for Plugin {
    type Response = wire::Devices;
    type ResponseStream = BoxStream<wire::Devices>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, _: Request<wire::Empty>) -> Self::Future {
        let told = WatchStream::new(self.devices.clone()).map(|ids| {
            let device = |id: String| wire::Device { id, health: "Healthy".to_owned() };
            Ok(wire::Devices { devices: ids.into_iter().map(device).collect() })
        });
        Box::pin(async move { Ok(Response::new(Box::pin(told) as Self::ResponseStream)) })
    }
}

struct Gives;

impl UnaryService<wire::Allocate> for Gives {
    type Response = wire::Allocated;
    type Future = BoxFuture<Response<wire::Allocated>, Status>;

    fn call(&mut self, request: Request<wire::Allocate>) -> Self::Future {
        let given = |asked: wire::Asked| wire::Given {
            envs: [("NVIDIA_VISIBLE_DEVICES".to_owned(), asked.ids.join(","))].into(),
        };
        let containers = request.into_inner().containers.into_iter().map(given).collect();
        Box::pin(async move { Ok(Response::new(wire::Allocated { containers })) })
    }
}
