//! The actuator's desk: one agent at a time may order.

use crate::actuator::client::{Client, ClientError};
use crate::actuator::protocol::{Observation, Order, OrderAnswer, Outcome, Role};
use crate::clock;
use crate::units::BootMillis;
use std::path::Path;

/// The actuator's own boot id, and that of the agent, must be one.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeskError {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}. It is tried again; nothing is ordered and nothing reported until then")]
    Taken(String),
    #[error(
        "the actuator is of boot {theirs}, this agent of boot {ours}: --boot-id-file of both must be the same file"
    )]
    OtherBoot { theirs: String, ours: String },
}

/// A connection that may order.
#[derive(Debug)]
pub(super) struct Desk {
    client: Client,
    /// The highest sequence that the actuator took in this boot before.
    pub sequence: Option<u64>,
    /// Since when.
    pub since: BootMillis,
}

impl Desk {
    pub async fn take(socket: &Path, name: &str, boot_id: &str) -> Result<Self, DeskError> {
        let mut client = Client::connect(socket).await?;
        let welcome = client.hello(Role::Agent, name).await?;
        if welcome.boot_id != boot_id {
            return Err(DeskError::OtherBoot { theirs: welcome.boot_id, ours: boot_id.to_owned() });
        }
        if !welcome.may_order {
            let why = welcome.why_not.map_or_else(|| "it may not order".to_owned(), |refused| refused.message);
            return Err(DeskError::Taken(why));
        }
        Ok(Self { client, sequence: welcome.sequence, since: clock::boot() })
    }

    pub async fn observe(&mut self) -> Result<Observation, ClientError> {
        self.client.observe().await
    }

    pub async fn order(&mut self, order: Order) -> Result<OrderAnswer, ClientError> {
        let answer = self.client.order(order).await?;
        for gpu in &answer.gpus {
            match &gpu.outcome {
                Outcome::ReadBack { notes, .. } if !notes.is_empty() => {
                    tracing::debug!(gpu = gpu.uuid, ?notes, "an order was taken otherwise than asked");
                }
                Outcome::ReadBack { .. } => {}
                other => tracing::debug!(gpu = gpu.uuid, ?other, "an order was not carried out; it is tried again"),
            }
        }
        Ok(answer)
    }
}
