//! `heliotrope controller`.

use super::cluster::client;
use super::stop::told_to_end;
use super::{CommandError, logs, usage};
use crate::controller::config::Config;
use crate::controller::events::Events;
use crate::controller::leader::Candidate;
use crate::controller::leases::run::{Between, Granting};
use crate::controller::run::Controller as Loop;
use crate::controller::watch::Watch;
use crate::fetch::{Fetcher, Limits, Tokens};
use crate::web::plans::routes;
use crate::web::{Metrics, serve};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// The arguments of `controller`.
#[derive(Debug, Args)]
pub struct Controller {
    /// The operator's configuration (YAML).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Use this kubeconfig instead of the usual ones.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The namespace of the leader's lease and of signals in ConfigMaps.
    #[arg(long, env = "POD_NAMESPACE", default_value = "heliotrope-system")]
    namespace: String,
    /// A name that no other controller has.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Serve /healthz, /readyz and /metrics here instead of where the configuration says.
    #[arg(long)]
    listen: Option<String>,
    /// Write logs as JSON.
    #[arg(long)]
    log_json: bool,
}

impl Controller {
    pub(super) fn run(self) -> Result<(), CommandError> {
        let mut config = Config::default();
        if let Some(path) = &self.config {
            let text = std::fs::read_to_string(path).map_err(CommandError::file(path))?;
            config = Config::parse(&text, &path.display().to_string())?;
        }
        if let Some(listen) = &self.listen {
            config.listen.clone_from(listen);
        }
        logs::to_stderr(self.log_json);
        let runtime = tokio::runtime::Runtime::new().map_err(|error| usage(&error))?;
        runtime.block_on(self.serve(config))
    }

    async fn serve(self, config: Config) -> Result<(), CommandError> {
        let client = client(self.kubeconfig.as_deref()).await?;
        let listener = TcpListener::bind(&config.listen)
            .await
            .map_err(|error| CommandError::Usage(format!("can't listen on {}: {error}", config.listen)))?;
        let address = listener.local_addr().map_err(|error| usage(&error))?;
        tracing::info!(%address, namespace = self.namespace, "listening");
        let metrics = Arc::new(Metrics::default());
        let stop = Arc::new(Notify::new());
        let (ends, told) = (told_to_end()?, stop.clone());
        tokio::spawn(async move {
            ends.await;
            told.notify_one();
        });
        let identity = self.identity.unwrap_or_else(|| format!("{}-{}", address.port(), std::process::id()));
        let events = Events::start(&client, Some(identity.clone()));
        let candidate = config.leader_election.then(|| Candidate::new(&client, &self.namespace, identity));
        let changed = Arc::new(Notify::new());
        let watts = Arc::new(Notify::new());
        let watch = Watch::start(&client, &self.namespace, &changed, &watts);
        let mut between = Between::default();
        if config.agents {
            let (granting, shared) = Granting::new(client.clone(), watch.clone(), &config, metrics.clone());
            tokio::spawn(granting.run(watts));
            between = shared;
        }
        let tokens = Tokens::in_folder(&config.token_directory);
        let mut fetcher = Fetcher::new(tokens, Limits::default());
        if !config.ca_file.is_empty() {
            fetcher = fetcher.trusting(&config.ca_file);
        }
        let controller = Loop::new(client, watch, config, candidate, metrics.clone(), events, between);
        tokio::spawn(controller.servers().run(fetcher, changed.clone()));
        tokio::spawn(serve(listener, metrics, routes(controller.plans())));
        controller.run(changed, stop).await;
        Ok(())
    }
}
