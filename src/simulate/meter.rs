//! The simulator's own meter: what each domain draws, at every moment at which anything changes.
//!
//! It shares no code with the planner's books: it adds up what runs, up the tree, with its own arithmetic.

use crate::core::domain::DomainTree;
use crate::core::plan::Pool;
use crate::core::steps::Steps;
use crate::units::{Joules, Moment, Watts};
use std::collections::BTreeMap;

/// Draw of every domain over time, in the tree's order.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    tree: &'a DomainTree,
    pools: &'a [Pool],
    readings: Vec<Vec<(Moment, Watts)>>,
}

/// What runs in a pool: watts of its accelerators, and the hosts that its jobs bring into use, each job its own.
pub(super) type InUse = BTreeMap<usize, (i64, u64)>;

impl<'a> Meter<'a> {
    pub(super) fn new(tree: &'a DomainTree, pools: &'a [Pool]) -> Self {
        Self { tree, pools, readings: vec![Vec::new(); tree.len()] }
    }

    /// Reads all domains at a moment.
    pub(super) fn read(&mut self, at: Moment, in_use: &InUse) {
        for (id, watts) in self.draw(in_use).into_iter().enumerate() {
            if self.readings[id].last().is_none_or(|(_, last)| *last != watts) {
                self.readings[id].push((at, watts));
            }
        }
    }

    /// What each domain draws. A child comes after its parent, so the sums are made from the end.
    pub(super) fn draw(&self, in_use: &InUse) -> Vec<Watts> {
        let mut through = vec![0_i64; self.tree.len()]; // what passes through a domain, without its overhead
        let mut draws = vec![Watts::ZERO; self.tree.len()];
        for (i, pool) in self.pools.iter().enumerate() {
            let (watts, hosts) = in_use.get(&i).copied().unwrap_or_default();
            let hosts = i64::try_from(hosts.min(u64::from(pool.nodes))).unwrap_or(i64::MAX);
            let hosts = hosts.saturating_mul(pool.host_extra.0);
            let all = pool.idle.0.saturating_add(watts).saturating_add(hosts);
            through[pool.domain.0] = through[pool.domain.0].saturating_add(all);
        }
        let domains: Vec<_> = self.tree.iter().collect();
        for (id, domain) in domains.into_iter().rev() {
            let losses = (i128::from(through[id.0]) * i128::from(domain.spec.overhead_permille) + 999) / 1000;
            let losses = i64::try_from(losses).unwrap_or(i64::MAX);
            let total = through[id.0].saturating_add(losses).saturating_add(domain.spec.baseline.0);
            draws[id.0] = Watts(total);
            if let Some(parent) = domain.parent {
                through[parent.0] = through[parent.0].saturating_add(total);
            }
        }
        draws
    }

    /// What a domain drew from one moment to another, none of them later than the last reading was true.
    pub(super) fn energy(&self, domain: usize, from: Moment, to: Moment) -> Joules {
        let readings = &self.readings[domain];
        let first = readings.partition_point(|(at, _)| *at <= from).saturating_sub(1);
        let ends = readings[first..].iter().skip(1).map(|(at, _)| *at).chain([to]);
        let each = readings[first..]
            .iter()
            .zip(ends)
            .map(|((at, watts), end)| i128::from(watts.0) * i128::from((end.min(to) - (*at).max(from)).0.max(0)));
        Joules(i64::try_from(each.sum::<i128>()).unwrap_or(i64::MAX))
    }

    /// All readings, as draw over time.
    pub(super) fn into_steps(self) -> Vec<Steps<Watts>> {
        self.readings
            .into_iter()
            .map(|readings| Steps::new(readings.first().map_or(Watts::ZERO, |(_, watts)| *watts), readings))
            .collect()
    }
}
