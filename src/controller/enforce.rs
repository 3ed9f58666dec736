//! What of a decision is to be done, and in which order: stops first, then for each root one change of its ledger.

use super::apply::{CallError, Changes, Start, commit, grant, suspend};
use super::snapshot::Snapshot;
use super::world::{Item, State, World, load};
use crate::core::admit::{Action, Cycle};
use crate::core::domain::DomainId;
use kube::Client;

/// Carries a decision out where roots are enforced; how each write ended.
pub async fn enforce(
    client: &Client,
    snapshot: &Snapshot,
    world: &World,
    decided: &Cycle,
) -> Vec<Result<(), CallError>> {
    let mut done = Vec::new();
    for item in stops(world, decided) {
        tracing::info!(job = item.name(), state = ?item.state, "suspending");
        done.push(suspend(client, item, snapshot.now).await);
    }
    for root in &world.site.enforced {
        let name = &world.site.tree.get(*root).spec.name;
        let Some(object) = snapshot.domain(name) else { continue };
        let mut told = Vec::new();
        match commit(client, object, &snapshot.heads, changes(*root, snapshot, world, decided), &mut told).await {
            Ok(0) => {}
            Ok(started) => tracing::info!(root = name, started, "started"),
            Err(error) => told.push(error),
        }
        done.extend(told.into_iter().map(Err));
    }
    done
}

/// What is to be held: what started without asking, and what the core stops.
fn stops<'a>(world: &'a World, decided: &'a Cycle) -> impl Iterator<Item = &'a Item> {
    let site = &world.site;
    let unadmitted = world.items.iter().filter(|item| item.state == State::Unadmitted);
    let stopped = decided.actions.iter().filter_map(|action| match action {
        Action::Suspend { id, .. } => world.item(id),
        Action::Start { .. } => None,
    });
    let is_enforced = |pool: Option<usize>| pool.map_or(!site.enforced.is_empty(), |pool| site.is_enforced(pool));
    unadmitted.chain(stopped).filter(move |item| is_enforced(item.pool))
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
            changes.adopt.push((grant(item, load(item, snapshot, site, pool), &domain_of(pool)), item));
        }
    }
    for action in &decided.actions {
        let Action::Start { id, pool, load } = action else { continue };
        if let Some(item) = world.item(id).filter(|_| is_below(pool.0)) {
            let node_labels = site.selectors[pool.0].clone();
            changes.start.push(Start { item, load: *load, domain: domain_of(pool.0), node_labels });
        }
    }
    changes
}
