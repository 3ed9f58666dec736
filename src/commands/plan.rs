//! `heliotrope plan` and `heliotrope explain`: what the controller has planned, and why.

use super::cluster::{block_on, client};
use super::output::print;
use super::{CommandError, usage};
use crate::controller::plans::{DryRun, Shown, ShownExplanation};
use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::path::PathBuf;

/// What tells the controller's pods from others.
const PODS: &str = "app.kubernetes.io/name=heliotrope";

/// Where the controller is asked.
#[derive(Debug, Args)]
struct Asked {
    /// The namespace that the chart is installed in.
    #[arg(long, default_value = "heliotrope-system")]
    release_namespace: String,
    /// Ask a controller here, as http://127.0.0.1:8080, and not one of the cluster.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Use this kubeconfig instead of the usual ones.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

/// The arguments of `plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// Which plan, by its generation; the newest where none is named.
    generation: Option<u64>,
    /// Show what planning everything afresh would change, and why. Changes nothing.
    #[arg(long, conflicts_with = "generation")]
    dry_run: bool,
    #[command(flatten)]
    asked: Asked,
}

/// The arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The Job.
    job: String,
    /// Its namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    asked: Asked,
}

impl Plan {
    pub(super) fn run(self) -> Result<(), CommandError> {
        match (self.dry_run, self.generation) {
            (true, _) => self.asked.show::<DryRun>("/plans/dry-run"),
            (false, Some(generation)) => self.asked.show::<Shown>(&format!("/plans/{generation}")),
            (false, None) => self.asked.show::<Shown>("/plans/latest"),
        }
    }
}

impl Explain {
    pub(super) fn run(self) -> Result<(), CommandError> {
        for (what, text) in [("namespace", &self.namespace), ("job", &self.job)] {
            // they go into a path
            if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.') {
                return Err(CommandError::Usage(format!("{what}: {text:?} is no name of an object")));
            }
        }
        self.asked.show::<ShownExplanation>(&format!("/explain/{}/{}", self.namespace, self.job))
    }
}

impl Asked {
    /// Asks, and prints the answer.
    fn show<T: DeserializeOwned + Serialize + Display>(&self, path: &str) -> Result<(), CommandError> {
        let text = block_on(self.get(path))?;
        let not_ours = |error: serde_json::Error| {
            CommandError::Usage(format!("what answered is no controller of this version: {error}: {text}"))
        };
        let answer: T = serde_json::from_str(&text).map_err(not_ours)?;
        if self.json {
            print(&format!("{}\n", serde_json::to_string_pretty(&answer).map_err(|error| usage(&error))?))
        } else {
            print(&answer.to_string())
        }
    }

    async fn get(&self, path: &str) -> Result<String, CommandError> {
        if let Some(server) = &self.server {
            let uri: http::Uri =
                server.parse().map_err(|error| CommandError::Usage(format!("--server: {server}: {error}")))?;
            let client = Client::try_from(kube::Config::new(uri)).map_err(|error| usage(&error))?;
            return ask(&client, path).await.map_err(|why| CommandError::Usage(format!("{server}: {why}")));
        }
        let client = client(self.kubeconfig.as_deref()).await?;
        let namespace = &self.release_namespace;
        let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&ListParams::default().labels(PODS)).await;
        let pods = pods.map_err(|error| usage(&error))?.items;
        let mut why = format!("no controller in namespace {namespace}: --release-namespace says where the chart is");
        for pod in &pods {
            let ports = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|c| c.ports.iter().flatten());
            let Some(port) = ports.map(|port| port.container_port).next() else { continue };
            let name = pod.name_any();
            match ask(&client, &format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{path}")).await {
                Ok(text) => return Ok(text),
                Err(said) => why = format!("{name}: {said}"),
            }
        }
        Err(CommandError::Usage(why))
    }
}

async fn ask(client: &Client, path: &str) -> Result<String, String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    match client.request_text(request).await {
        Ok(text) => Ok(text),
        // what the controller says is for people already
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => Err(error.to_string()),
    }
}
