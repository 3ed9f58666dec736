//! What is to be added to a workload's status beside what the core and its Job say.

use super::site;
use super::snapshot::Snapshot;
use super::snapshot::{Cause, HeldBack};
use super::status::{clock, time};
use super::unbound::Unbound;
use super::world::{Item, State, World};
use crate::api::conditions::{self, ACCEPTED, ADMITTED};
use crate::api::{LLMWorkloadStatus, Phase};
use crate::units::Seconds;
use crate::workloads::checkpoint;

/// Adds it.
#[must_use]
pub fn remarked(
    mut status: LLMWorkloadStatus,
    snapshot: &Snapshot,
    world: &World,
    item: &Item,
    unbound: Option<&Unbound>,
) -> LLMWorkloadStatus {
    let now = snapshot.now;
    let told = match (snapshot.held_back.get(&item.uid), unbound) {
        (Some(held), _) => held_back(&mut status, item, held),
        (None, Some(unbound)) if status.phase == Some(Phase::Running) => {
            status.phase = Some(Phase::Starting);
            Some(("NotScheduled", unbound.to_string()))
        }
        _ => None,
    };
    let generation = status.observed_generation;
    if let Some((reason, message)) = told {
        status.reason = Some(reason.to_owned());
        status.message = Some(conditions::shortened(&message));
        let granted = item.grant.is_some();
        conditions::set(&mut status.conditions, ADMITTED, granted, reason, &message, generation, now);
    }
    if let Some(note) = of_profile(snapshot, world, item).or_else(|| of_grace(item)) {
        conditions::set(&mut status.conditions, ACCEPTED, true, "AcceptedWithNotes", &note, generation, now);
    }
    status
}

/// What is held back waits, whatever else it could say; what of it is still there is being stopped.
fn held_back(status: &mut LLMWorkloadStatus, item: &Item, held: &HeldBack) -> Option<(&'static str, String)> {
    let is_taken_back = held.cause == Cause::Unschedulable && item.state == State::Running;
    status.phase = match (item.state, status.phase) {
        (State::Stopping | State::InDoubt, Some(Phase::Suspending)) => Some(Phase::Suspending),
        (State::Running, Some(Phase::Running | Phase::Starting)) if is_taken_back => Some(Phase::Suspending),
        (State::InDoubt | State::Waiting, _) => Some(Phase::Pending),
        _ => return None, // it has ended, or runs after all
    };
    let until = held.until.ceil(Seconds::MINUTE); // what is said to the minute is not said too early
    let at = clock(until);
    if status.phase == Some(Phase::Pending) {
        status.planned_start = time(until);
        status.planned_finish = None;
        status.waiting_until = Some(at.clone());
    }
    Some((held.cause.name(), format!("{}; it is tried again at {at}", held.why)))
}

/// A checkpoint that is to be written within a grace that is too short for it.
fn of_grace(item: &Item) -> Option<String> {
    let checkpoint = item.spec().checkpoint?;
    let grace = checkpoint::short_grace(&item.job, checkpoint)?;
    Some(format!(
        "checkpoint.ask is Signal, and its pods have {grace} to end (terminationGracePeriodSeconds), less than costSeconds {}:          what it did since its last checkpoint counts as lost",
        checkpoint.cost_seconds
    ))
}

/// A profile that is asked for and is not counted with.
fn of_profile(snapshot: &Snapshot, world: &World, item: &Item) -> Option<String> {
    let name = item.spec().profile?;
    let found = snapshot.profiles.iter().find(|profile| profile.metadata.name.as_ref() == Some(&name));
    let model = item.pool.map(|pool| &world.site.models[pool]);
    match (found, model) {
        (None, _) => {
            Some(format!("there is no AcceleratorProfile {name}: it is counted by its class, at most by nameplate"))
        }
        (Some(profile), Some(model)) if profile.spec.device_model != *model => Some(format!(
            "AcceleratorProfile {name} is of `{}`, and it is on `{model}`: it is counted by its class, at most by nameplate",
            profile.spec.device_model
        )),
        (Some(profile), _) => site::of(profile).err().map(|error| {
            format!("AcceleratorProfile {name} is refused ({error}): it is counted by nameplate until that is mended")
        }),
    }
}
