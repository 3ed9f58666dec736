//! One heartbeat on its way to the API server.

use crate::api::NodePower;
use kube::api::PostParams;
use kube::{Api, Client};
use std::time::Duration;

/// A write that takes longer is given up: it may have been made or not. An API server that is slow takes 5 s for a call, and as
/// long again where the connection is new.
const AT_MOST: Duration = Duration::from_secs(12);

/// The outcome of one that was refused, since another version is there.
pub(super) const CONFLICT: &str = "Conflict";

/// How a heartbeat ended.
#[derive(Debug)]
pub(super) struct Beaten {
    /// The agent's start, and the number.
    pub beat: (u64, u64),
    /// The object since then, or as it was found instead.
    pub node: Option<NodePower>,
    /// In one word, for metrics.
    pub outcome: &'static str,
    /// Why it was not made, where it was not.
    pub why: Option<String>,
}

/// Replaces the status against the very version that was read: a write that comes late, after a newer one, or beside another
/// agent's, is refused instead of taking the report back to what was true before.
pub(super) async fn send(client: Client, beat: (u64, u64), node: NodePower) -> Beaten {
    let nodes: Api<NodePower> = Api::all(client);
    let name = node.metadata.name.clone().unwrap_or_default();
    let failed = |outcome, why: String| Beaten { beat, node: None, outcome, why: Some(why) };
    let written = tokio::time::timeout(AT_MOST, nodes.replace_status(&name, &PostParams::default(), &node)).await;
    match written {
        Ok(Ok(node)) => Beaten { beat, node: Some(node), outcome: "Succeeded", why: None },
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
            let now = tokio::time::timeout(AT_MOST, nodes.get_opt(&name)).await;
            let node = now.ok().and_then(Result::ok).flatten();
            Beaten { beat, node, outcome: CONFLICT, why: Some(status.message.clone()) }
        }
        Ok(Err(error)) => failed("Failed", error.to_string()),
        Err(_) => failed("TimedOut", format!("no answer in {} s", AT_MOST.as_secs())),
    }
}
