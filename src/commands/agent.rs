//! `heliotrope agent`.

use super::cluster::{block_on, client};
use super::stop::told_to_end;
use super::{CommandError, logs, usage};
use crate::agent::{Settings, run};
use crate::web::serve;
use clap::Args;
use std::path::PathBuf;
use tokio::net::TcpListener;

/// The arguments of `agent`.
#[derive(Debug, Args)]
pub struct Agent {
    /// The node that it runs on.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node: String,
    /// Use this kubeconfig instead of the usual ones.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The actuator's Unix socket.
    #[arg(long, default_value = "/run/heliotrope/actuator.sock")]
    socket: PathBuf,
    /// The kubelet's socket that tells which pod has which accelerators.
    #[arg(long, default_value = "/var/lib/kubelet/pod-resources/kubelet.sock", value_name = "SOCKET")]
    pod_resources: PathBuf,
    /// Where it keeps the lease that it has accepted.
    #[arg(long, default_value = "/var/lib/heliotrope-agent")]
    state_dir: PathBuf,
    /// A file that tells one boot from another. The actuator's must be the same.
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id", value_name = "FILE")]
    boot_id_file: PathBuf,
    /// Serve /healthz, /readyz and /metrics here, as 127.0.0.1:9402. Left out: not at all.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Write logs as JSON.
    #[arg(long)]
    log_json: bool,
}

impl Agent {
    pub(super) fn run(self) -> Result<(), CommandError> {
        logs::to_stderr(self.log_json);
        // one thread: what takes time is waited for
        block_on(self.serve())
    }

    async fn serve(self) -> Result<(), CommandError> {
        let client = client(self.kubeconfig.as_deref()).await?;
        let settings = Settings {
            socket: self.socket,
            pod_resources: self.pod_resources,
            state_dir: self.state_dir,
            boot_id_file: self.boot_id_file,
            ..Settings::new(self.node)
        };
        if let Some(listen) = &self.listen {
            let listener = TcpListener::bind(listen)
                .await
                .map_err(|error| CommandError::Usage(format!("can't listen on {listen}: {error}")))?;
            let address = listener.local_addr().map_err(|error| usage(&error))?;
            tracing::info!(%address, node = settings.node, "listening");
            tokio::spawn(serve(listener, settings.metrics.clone(), axum::Router::new()));
        }
        run(client, settings, told_to_end()?).await.map_err(|error| usage(&error))
    }
}
