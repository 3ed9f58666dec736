//! What of a decision is to be done, and in which order: stops first, then for each root one change of its ledger.

use super::apply::{CallError, Changes, Outcome, Start, ask_for_checkpoint, commit, grant, suspend};
use super::points;
use super::snapshot::Cause;
use super::snapshot::Snapshot;
use super::turns::AT_ONCE;
use super::world::{Item, State, World, load};
use crate::core::admit::{Action, Cycle};
use crate::core::domain::DomainId;
use futures::StreamExt;
use kube::Client;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the changes of all ledgers may take in one cycle. A fall that comes meanwhile waits for it: with 3 s for
/// statuses, 1 s for the lease, and 4 s each for reading the domains and for suspending, it is within the 18 s that
/// RELIABILITY §2 leaves for all calls.
/// Cut off is as good as killed, and that is safe at any moment.
const COMMIT: Duration = Duration::from_secs(6);

/// How much of each ledger is changed in one cycle: as much as a quick server takes in a second, and half as much each time
/// that it was too much, so that with a slow one something gets done.
#[derive(Debug)]
pub struct Pace {
    most: usize,
    turn: usize,
}

impl Pace {
    const MOST: usize = 64;

    fn limit(&self, changes: &mut Changes<'_>) {
        // what could not be released must not stand in the way of the rest
        rotate(&mut changes.release, self.turn);
        rotate(&mut changes.adopt, self.turn);
        changes.release.truncate(self.most);
        changes.adopt.truncate(self.most);
        changes.start.truncate(self.most);
        changes.move_to.truncate(self.most);
    }
}

fn rotate<T>(all: &mut [T], by: usize) {
    if let Some(by) = by.checked_rem(all.len()) {
        all.rotate_left(by);
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { most: Self::MOST, turn: 0 }
    }
}

/// Carries a decision out where roots are enforced; how each write ended.
pub async fn enforce(
    client: &Client,
    snapshot: &Snapshot,
    world: &World,
    decided: &Cycle,
    pace: &mut Pace,
) -> Vec<Result<(), CallError>> {
    let stops: BTreeMap<&str, &Item> = stops(snapshot, world, decided).map(|item| (item.uid.as_str(), item)).collect();
    let stops = stops.into_values().map(|item| {
        tracing::info!(job = item.name(), state = ?item.state, "suspending");
        suspend(client, item, snapshot.now)
    });
    let calls: Vec<_> = stops.collect();
    let mut done: Vec<Result<(), CallError>> = futures::stream::iter(calls).buffer_unordered(AT_ONCE).collect().await;
    let asked = decided.actions.iter().filter_map(|action| match action {
        Action::AskForCheckpoint { id } => world.item(id),
        Action::Start { .. } | Action::ChangePace { .. } | Action::Suspend { .. } => None,
    });
    let asked = asked.filter(|item| item.pool.is_some_and(|pool| world.site.is_enforced(pool)));
    let asked: Vec<_> = asked.map(|item| ask_for_checkpoint(client, item, snapshot.now)).collect();
    done.extend(futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
    let mut told = Vec::new();
    match tokio::time::timeout(COMMIT, commits(client, snapshot, world, decided, pace, &mut told)).await {
        Ok(()) => pace.most = (pace.most * 2).min(Pace::MOST),
        Err(_) => {
            pace.most = (pace.most / 2).max(1);
            told.push(CallError {
                what: "change the ledgers".to_owned(),
                outcome: Outcome::TimedOut,
                why: format!("cut off after {COMMIT:?}; next time at most {} of each are tried", pace.most),
                code: None,
                start: None,
            });
        }
    }
    pace.turn = pace.turn.wrapping_add(pace.most);
    done.extend(told.into_iter().map(Err));
    done
}

async fn commits(
    client: &Client,
    snapshot: &Snapshot,
    world: &World,
    decided: &Cycle,
    pace: &Pace,
    told: &mut Vec<CallError>,
) {
    for root in &world.site.enforced {
        let name = &world.site.tree.get(*root).spec.name;
        let Some(object) = snapshot.domain(name) else { continue };
        let mut changes = changes(*root, snapshot, world, decided);
        pace.limit(&mut changes);
        match commit(client, object, &snapshot.heads, changes, told).await {
            Ok(0) => {}
            Ok(started) => tracing::info!(root = name, started, "started"),
            Err(error) => told.push(error),
        }
    }
}

/// What is to be held: what started without asking, what the core stops, and what found no nodes.
fn stops<'a>(snapshot: &'a Snapshot, world: &'a World, decided: &'a Cycle) -> impl Iterator<Item = &'a Item> {
    let site = &world.site;
    let unadmitted = world.items.iter().filter(|item| item.state == State::Unadmitted);
    let stopped = decided.actions.iter().filter_map(|action| match action {
        Action::Suspend { id, .. } => world.item(id),
        Action::Start { .. } | Action::ChangePace { .. } | Action::AskForCheckpoint { .. } => None,
    });
    let is_stranded = |item: &&Item| {
        let held = snapshot.held_back.get(&item.uid);
        item.state == State::Running && held.is_some_and(|held| held.cause == Cause::Unschedulable)
    };
    let stranded = world.items.iter().filter(is_stranded);
    let is_enforced = |pool: Option<usize>| pool.map_or(!site.enforced.is_empty(), |pool| site.is_enforced(pool));
    unadmitted.chain(stopped).chain(stranded).filter(move |item| is_enforced(item.pool))
}

/// The changes of one root's ledger.
fn changes<'a>(root: DomainId, snapshot: &Snapshot, world: &'a World, decided: &Cycle) -> Changes<'a> {
    let site = &world.site;
    let is_below = |pool: usize| site.tree.root_of(site.pools[pool].domain) == root;
    let domain_of = |pool: usize| site.tree.get(site.pools[pool].domain).spec.name.clone();
    let mut changes = Changes::default();
    let ledger = snapshot.domain(&site.tree.get(root).spec.name).and_then(|root| root.status.as_ref()?.ledger.as_ref());
    for grant in ledger.into_iter().flat_map(|ledger| &ledger.grants) {
        let item = world.item(&grant.uid);
        if item.is_none_or(|item| matches!(item.state, State::InDoubt | State::Ended(_))) {
            changes.release.push((grant.clone(), item));
        }
    }
    for item in world.items.iter().filter(|item| item.adopted) {
        if let Some(pool) = item.pool.filter(|pool| is_below(*pool)) {
            changes.adopt.push((grant(item, load(item, snapshot, site, pool), &domain_of(pool), None), item));
        }
    }
    for action in &decided.actions {
        match action {
            Action::Start { id, pool, pace, load } => {
                let Some(item) = world.item(id).filter(|_| is_below(pool.0)) else { continue };
                let slowed = points::start(item, snapshot, site, pool.0, *pace);
                let (node_labels, domain) = (site.selectors[pool.0].clone(), domain_of(pool.0));
                changes.start.push(Start { item, load: *load, slowed, domain, node_labels });
            }
            Action::ChangePace { id, pace, load } => {
                let item = world.item(id).filter(|item| item.pool.is_some_and(is_below));
                changes.move_to.extend(item.and_then(|item| points::moved(item, snapshot, site, *pace, *load)));
            }
            Action::Suspend { .. } | Action::AskForCheckpoint { .. } => {}
        }
    }
    changes
}
