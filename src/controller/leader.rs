//! Only one of several controllers acts. It saves work and API calls; safety does not rest on it (see `apply`).

use super::apply::{CallError, call};
use crate::units::Moment;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Api, Client};

/// How long a leader that is not heard of stays leader, in seconds: three ticks.
pub const HOLDS: i64 = 15;

/// The name of the Lease in our own namespace.
pub const NAME: &str = "heliotrope-controller";

/// One candidate.
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
}

impl Candidate {
    /// A candidate of a name that no other has.
    #[must_use]
    pub fn new(client: &Client, namespace: &str, identity: String) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), identity }
    }

    /// Becomes or stays leader if nobody else is; says whether it is.
    ///
    /// # Errors
    /// The lease could not be read or written: then it is not leader.
    pub async fn hold(&self, now: Moment) -> Result<bool, CallError> {
        let found = call("read the leader's lease", self.api.get_opt(NAME)).await?;
        let mut lease = found.clone().unwrap_or_default();
        lease.metadata.name = Some(NAME.to_owned());
        let spec = lease.spec.get_or_insert_default();
        let mine = spec.holder_identity.as_deref() == Some(&self.identity);
        let renewed = spec.renew_time.as_ref().map_or(Moment(0), |time| Moment(time.0.as_second()));
        let held = spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty());
        if held && !mine && (now - renewed).0 < HOLDS {
            return Ok(false);
        }
        let time = MicroTime(jiff::Timestamp::from_second(now.0).unwrap_or_default());
        *spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(HOLDS).unwrap_or(i32::MAX)),
            acquire_time: if mine { spec.acquire_time.clone() } else { Some(time.clone()) },
            renew_time: Some(time),
            lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + i32::from(!mine)),
            ..LeaseSpec::default()
        };
        // the lease carries the version that was read: of two candidates one is refused
        let written = match found {
            Some(_) => call("hold the leader's lease", self.api.replace(NAME, &PostParams::default(), &lease)).await,
            None => call("make the leader's lease", self.api.create(&PostParams::default(), &lease)).await,
        };
        match written {
            Ok(_) => Ok(true),
            Err(error) if error.code == Some(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the lead up, so that the next one need not wait.
    pub async fn resign(&self) {
        let Ok(Some(mut lease)) = call("read the leader's lease", self.api.get_opt(NAME)).await else { return };
        if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity)) {
            spec.holder_identity = None;
            spec.renew_time = None;
            // at worst the next one waits until it ends by itself
            let _ = call("resign", self.api.replace(NAME, &PostParams::default(), &lease)).await;
        }
    }
}
