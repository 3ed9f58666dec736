//! The cluster that a command talks to.

use super::{CommandError, usage};
use kube::Client;
use std::path::Path;

/// A client of the cluster of a kubeconfig, or of the usual ones.
pub(super) async fn client(kubeconfig: Option<&Path>) -> Result<Client, CommandError> {
    let no = |error: &dyn std::fmt::Display| CommandError::Usage(format!("no cluster: {error}"));
    let mut config = match kubeconfig {
        Some(path) => {
            let kubeconfig = kube::config::Kubeconfig::read_from(path).map_err(|error| no(&error))?;
            let options = kube::config::KubeConfigOptions::default();
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| no(&error))?
        }
        None => kube::Config::infer().await.map_err(|error| no(&error))?,
    };
    // a control path retries in its next cycle, on what is true then; a person by typing it again
    config.default_retry = false;
    Client::try_from(config).map_err(|error| no(&error))
}

/// Runs to its end what talks to a cluster.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| usage(&error))?.block_on(future)
}
