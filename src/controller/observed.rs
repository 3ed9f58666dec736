//! What roots in Observe would have done: counted, so that a person knows what Enforce will change before it does.

use super::snapshot::Snapshot;
use super::world::World;
use crate::api::{Mode, Observed};
use crate::core::admit::{Action, Cycle, Reason};
use crate::core::plan::WorkloadId;
use crate::units::{Moment, Seconds};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

/// A cycle that comes later than this counts no time: nobody looked meanwhile.
const LOOKED: Seconds = Seconds(60);

/// Counts, by root. What was counted before this program began is taken from the roots' statuses.
#[derive(Debug, Default)]
pub struct Watching {
    counts: BTreeMap<String, (Observed, Seconds)>,
    /// Those whose suspension is counted, as long as it would be made again in each cycle.
    told: BTreeSet<WorkloadId>,
    last: Option<Moment>,
}

impl Watching {
    /// What is to stand in a root's status; none where it was never in Observe.
    #[must_use]
    pub fn of(&self, root: &str) -> Option<Observed> {
        self.counts.get(root).map(|(observed, _)| observed.clone())
    }

    /// Takes one cycle in.
    pub fn note(&mut self, snapshot: &Snapshot, world: &World, decided: &Cycle) {
        let elapsed = self.last.map_or(Seconds::ZERO, |last| snapshot.now - last);
        let elapsed = if elapsed > LOOKED { Seconds::ZERO } else { elapsed.max(Seconds::ZERO) };
        self.last = Some(snapshot.now);
        let tree = &world.site.tree;
        let mut would: BTreeMap<usize, Vec<(&WorkloadId, &Reason)>> = BTreeMap::new();
        for action in &decided.actions {
            let Action::Suspend { id, reason } = action else { continue };
            let Some(pool) = world.item(id).and_then(|item| item.pool) else { continue };
            would.entry(tree.root_of(world.site.pools[pool].domain).0).or_default().push((id, reason));
        }
        let mut still = BTreeSet::new();
        for root in snapshot.domains.iter().filter(|domain| domain.spec.parent.is_none()) {
            let (name, Some(id)) = (root.name_any(), tree.find(&root.name_any())) else { continue };
            let before = || root.status.as_ref().and_then(|status| status.observed.clone());
            if root.spec.mode == Some(Mode::Enforce) {
                // what was counted stands
                if let Some(before) = before() {
                    self.counts.entry(name).or_insert((before, Seconds::ZERO));
                }
                continue;
            }
            let time = jiff::Timestamp::from_second(snapshot.now.0).unwrap_or_default();
            let begin =
                || (before().unwrap_or_else(|| Observed { since: Time(time), ..Observed::default() }), Seconds::ZERO);
            let (observed, over_for) = self.counts.entry(name).or_insert_with(begin);
            for (workload, reason) in would.remove(&id.0).unwrap_or_default() {
                if !self.told.contains(workload) {
                    match reason {
                        Reason::CapFell { .. } => observed.cap_suspensions += 1,
                        _ => observed.supply_suspensions += 1,
                    }
                }
                still.insert(workload.clone());
            }
            let below = || decided.domains.iter().filter(|figures| tree.root_of(figures.domain) == id);
            let committed = below().find(|figures| figures.domain == id).map_or(0, |figures| figures.committed.0);
            observed.peak_committed_watts = observed.peak_committed_watts.max(committed);
            if below().any(|figures| figures.committed > figures.cap) {
                *over_for += elapsed;
            }
            // whole minutes: a status does not change each second
            observed.minutes_over_cap += over_for.0 / 60;
            *over_for = Seconds(over_for.0 % 60);
        }
        self.told = still;
    }
}
