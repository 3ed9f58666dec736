//! What is promised over time, at every domain: can this load be added there and then, and if not, what is short?

use super::draws::root_watts;
use super::{Load, PoolId, Problem, Supply};
use crate::core::domain::DomainId;
use crate::core::steps::Steps;
use crate::units::{Moment, Seconds, Watts};
use std::cell::RefCell;

/// Free watts of every domain and loads of every pool, over time.
///
/// Exact to the second: a run occupies what it occupies, and no more. A coarse one ([`Ledger::coarse`]) counts each load in whole
/// grains, outwards: it never says that something fits that does not, and what it holds for thousands of loads stays small.
#[derive(Debug, Clone)]
pub struct Ledger<'a> {
    problem: &'a Problem,
    /// What loads are rounded to, outwards: a second where it is exact.
    grain: Seconds,
    /// Per pool: what is promised there.
    used: Vec<Steps<Use>>,
    /// Per domain: cap − baseline − what is promised below, as seen there. Negative where a cap fell.
    free: Vec<Steps<i64>>,
    /// Per supply: what is left of what is generated on the site.
    own: Vec<Option<Own>>,
    /// Per pool: its domain and all above, each with the overhead it adds.
    chains: Vec<Vec<DomainId>>,
    /// Searches that were made: a thousand workloads of one kind would else look through the same full hours each.
    known: RefCell<Vec<Known>>,
}

/// What is generated on the site: what there is for those that can be moved, and what is left of it.
#[derive(Debug, Clone)]
struct Own {
    first: Steps<i64>,
    left: Steps<i64>,
}

/// What a search found: in this pool nothing of this load or more fits for this length or longer, if it starts in
/// `[from, at)`. Adding to the ledger keeps that true; taking back shortens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pool: PoolId,
    load: Load,
    length: Seconds,
    from: Moment,
    at: Moment,
}

/// How many searches are remembered: as many as a site has kinds of work. A guess.
const REMEMBERED: usize = 32;

/// The sum of the loads in a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Use {
    watts: i64,
    accelerators: i64,
    hosts: i64,
}

impl Use {
    fn plus(self, load: Load, sign: i64) -> Self {
        Self {
            watts: self.watts.saturating_add(load.watts.0.saturating_mul(sign)),
            accelerators: self.accelerators + sign * i64::from(load.accelerators),
            hosts: self.hosts + sign * i64::from(load.hosts),
        }
    }
}

/// What stands in the way of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// A domain has too few watts under its cap.
    Headroom {
        /// Which domain.
        domain: DomainId,
        /// What the load adds there.
        needs: Watts,
        /// What is free there.
        free: Watts,
        /// From when on.
        at: Moment,
    },
    /// The pool has too few accelerators.
    Accelerators {
        /// Which pool.
        pool: PoolId,
        /// How many the load needs.
        needs: u32,
        /// How many are free.
        free: u32,
        /// From when on.
        at: Moment,
    },
}

impl<'a> Ledger<'a> {
    /// Only what stands there with nothing running: baselines and idle draw.
    #[must_use]
    pub fn idle(problem: &'a Problem) -> Self {
        let chains: Vec<Vec<DomainId>> =
            problem.pools.iter().map(|pool| problem.tree.chain(pool.domain).collect()).collect();
        let mut free: Vec<Steps<i64>> =
            problem.tree.iter().map(|(_, domain)| domain.spec.cap.map(|cap| cap.0)).collect();
        let mut draws = |domain: DomainId, watts: Watts| {
            free[domain.0] = free[domain.0].map(|free| free.saturating_sub(watts.0));
        };
        for (id, domain) in problem.tree.iter() {
            // a baseline is a figure of its own domain's feed, so only what is above adds overhead to it
            draws(id, domain.spec.baseline);
            if let Some(parent) = domain.parent {
                problem
                    .tree
                    .seen_from_above(parent, domain.spec.baseline)
                    .for_each(|(above, watts)| draws(above, watts));
            }
        }
        for pool in &problem.pools {
            problem.tree.seen_from_above(pool.domain, pool.idle).for_each(|(domain, watts)| draws(domain, watts));
        }
        let mut used = vec![Steps::constant(Use::default()); problem.pools.len()];
        for outage in &problem.constraints.outages {
            let out = Load { accelerators: outage.accelerators, ..Load::default() };
            if let Some(used) = used.get_mut(outage.pool.0) {
                used.update(outage.from, outage.until, |used: Use| used.plus(out, 1));
            }
        }
        let own = |supply: &Supply| supply.own.clone().map(|own| Own { first: own.clone(), left: own });
        let own = problem.supplies.iter().map(own).collect();
        Self { problem, grain: Seconds(1), used, free, own, chains, known: RefCell::default() }
    }

    /// The same, counting in whole grains; as yet without any load.
    #[must_use]
    pub fn coarse(problem: &'a Problem, grain: Seconds) -> Self {
        Self { grain, ..Self::idle(problem) }
    }

    /// What loads are rounded to.
    #[must_use]
    pub fn grain(&self) -> Seconds {
        self.grain
    }

    /// What draws and can't be moved, on top of [`Ledger::idle`].
    #[must_use]
    pub fn fixed(problem: &'a Problem) -> Self {
        Self::idle(problem).with_fixed()
    }

    /// This one with what draws and can't be moved.
    #[must_use]
    pub fn with_fixed(mut self) -> Self {
        let problem = self.problem;
        for fixed in &problem.fixed {
            self.add(fixed.pool, fixed.load, problem.now, fixed.until);
        }
        for own in self.own.iter_mut().flatten() {
            own.first = own.left.map(|left| left.max(0));
            own.left = own.first.clone();
        }
        self
    }

    /// Promises a load throughout `[from, to)`, whether it fits or not.
    pub fn add(&mut self, pool: PoolId, load: Load, from: Moment, to: Moment) {
        self.change(pool, load, from, to, 1);
    }

    /// Takes back what [`Ledger::add`] promised.
    pub fn remove(&mut self, pool: PoolId, load: Load, from: Moment, to: Moment) {
        self.change(pool, load, from, to, -1);
    }

    fn change(&mut self, pool: PoolId, load: Load, from: Moment, to: Moment, sign: i64) {
        if let Some(own) = &mut self.own[self.problem.pool(pool).supply] {
            // to the second: nothing is looked up here that a search depends on
            let watts = sign * root_watts(self.problem, pool, load);
            own.left.update(from, to, |left| left.saturating_sub(watts));
        }
        let (from, to) = (from.floor(self.grain), to.ceil(self.grain));
        let pieces: Vec<_> = self.used[pool.0].pieces(from, to).collect();
        for (start, end, used) in pieces {
            let changes: Vec<_> = self.deltas(pool, used, used.plus(load, sign)).collect();
            for (domain, delta) in changes {
                self.free[domain.0].update(start, end, |free| free.saturating_sub(delta));
            }
        }
        if sign < 0 {
            // what reaches into the freed time may fit now, in any pool under the same domains
            for known in self.known.get_mut() {
                known.at = known.at.min(from - known.length + Seconds(1));
            }
            self.known.get_mut().retain(|known| known.from < known.at);
        }
        self.used[pool.0].update(from, to, |used| used.plus(load, sign));
    }

    /// What a pool draws. Hosts in use are at most its nodes, however many pods share them.
    fn drawn(&self, pool: PoolId, used: Use) -> Watts {
        let pool = self.problem.pool(pool);
        let hosts = used.hosts.clamp(0, i64::from(pool.nodes));
        pool.idle + Watts(used.watts) + Watts(hosts.saturating_mul(pool.host_extra.0))
    }

    /// What a change in a pool adds at each domain above it.
    fn deltas(&self, pool: PoolId, before: Use, after: Use) -> impl Iterator<Item = (DomainId, i64)> + '_ {
        let domain = self.problem.pool(pool).domain;
        let seen = |used| self.problem.tree.seen_from_above(domain, self.drawn(pool, used));
        seen(before).zip(seen(after)).map(|((domain, old), (_, new))| (domain, (new - old).0))
    }

    /// What a load would add at the root, on top of what is promised at a moment.
    #[must_use]
    pub fn adds_at_root(&self, pool: PoolId, load: Load, at: Moment) -> Watts {
        let used = self.used[pool.0].at(at);
        self.deltas(pool, used, used.plus(load, 1)).last().map_or(load.watts, |(_, delta)| Watts(delta))
    }

    /// What is free at a domain at a moment.
    #[must_use]
    pub fn free(&self, domain: DomainId, at: Moment) -> Watts {
        Watts(self.free[domain.0].at(at))
    }

    /// What is promised at a domain at a moment, with all that stands there.
    #[must_use]
    pub fn taken(&self, domain: DomainId, at: Moment) -> Watts {
        self.problem.tree.get(domain).spec.cap.at(at) - self.free(domain, at)
    }

    /// What is free at a domain throughout `[from, to)`.
    #[must_use]
    pub fn lowest_free(&self, domain: DomainId, from: Moment, to: Moment) -> Watts {
        Watts(self.free[domain.0].lowest(from, to))
    }

    /// What is short first if a load is added throughout `[from, to)`, and the end of the last shortage in there;
    /// none if it fits. An end of `None` is a shortage without end.
    fn shortages(&self, pool: PoolId, load: Load, from: Moment, to: Moment) -> Option<(Shortage, Option<Moment>)> {
        let mut first: Option<Shortage> = None;
        let mut last_end = Some(from);
        let capacity = i64::from(self.problem.pool(pool).accelerators);
        let mut places: Vec<usize> = self.chains[pool.0].iter().map(|id| self.free[id.0].place(from)).collect();
        // a piece that ends before `to` ends with a change
        let next = |steps: &dyn Fn() -> Option<Moment>, end: Moment| if end < to { Some(end) } else { steps() };
        for (start, end, used) in self.used[pool.0].pieces(from, to) {
            let after = used.plus(load, 1);
            if after.accelerators > capacity {
                let free = u32::try_from(capacity - used.accelerators).unwrap_or(0);
                first.get_or_insert(Shortage::Accelerators { pool, needs: load.accelerators, free, at: start });
                last_end = later(last_end, next(&|| self.used[pool.0].next_change(start), end));
            }
            for ((domain, needs), place) in self.deltas(pool, used, after).zip(&mut places) {
                let pieces = self.free[domain.0].pieces_after(place, start, end);
                for (at, until, free) in pieces.filter(|(_, _, free)| *free < needs) {
                    let shortage = Shortage::Headroom { domain, needs: Watts(needs), free: Watts(free), at };
                    if first.is_none_or(|known| at < known.at()) {
                        first = Some(shortage);
                    }
                    let changes = || [self.free[domain.0].next_change(at), self.used[pool.0].next_change(at)];
                    last_end = later(last_end, next(&|| changes().into_iter().flatten().min(), until));
                }
            }
        }
        first.map(|shortage| (shortage, last_end))
    }

    /// What is short first if a load is added throughout `[from, to)`; none if it fits.
    #[must_use]
    pub fn shortage(&self, pool: PoolId, load: Load, from: Moment, to: Moment) -> Option<Shortage> {
        self.shortages(pool, load, from, to).map(|(shortage, _)| shortage)
    }

    /// Does a load fit throughout `[from, to)`?
    #[must_use]
    pub fn fits(&self, pool: PoolId, load: Load, from: Moment, to: Moment) -> bool {
        let capacity = i64::from(self.problem.pool(pool).accelerators);
        self.used[pool.0].pieces(from, to).all(|(start, end, used)| {
            let after = used.plus(load, 1);
            after.accelerators <= capacity
                && self
                    .deltas(pool, used, after)
                    .all(|(domain, needs)| self.free[domain.0].pieces(start, end).all(|(.., free)| needs <= free))
        })
    }

    /// The first moment from `from` on at which a load fits for as long as `length`; none if there is none, ever.
    #[must_use]
    pub fn earliest(&self, pool: PoolId, load: Load, from: Moment, length: Seconds) -> Option<Moment> {
        let mut at = from;
        let is_more = |known: &Known| {
            known.load.watts <= load.watts
                && known.load.accelerators <= load.accelerators
                && known.load.hosts <= load.hosts
        };
        let known = self.known.borrow();
        let rules = |known: &&Known| known.pool == pool && known.length <= length && is_more(known);
        // one that begins earlier may lead into one that begins later: they are few, so again until nothing moves
        while let Some(later) =
            known.iter().filter(rules).filter(|known| known.from <= at && at < known.at).map(|known| known.at).max()
        {
            at = later;
        }
        drop(known);
        loop {
            match self.shortages(pool, load, at, at + length) {
                None => break,
                // a shortage ends after it begins, so this moves on each time; the changes are finite
                Some((_, end)) => at = end.filter(|end| *end > at)?,
            }
        }
        self.remember(Known { pool, load, length, from, at });
        Some(at)
    }

    fn remember(&self, new: Known) {
        if new.at <= new.from {
            return;
        }
        let mut known = self.known.borrow_mut();
        let same = |old: &Known| (old.pool, old.load, old.length) == (new.pool, new.load, new.length);
        match known.iter_mut().find(|old| same(old) && old.from <= new.at && new.from <= old.at) {
            // two searches that meet are one
            Some(old) => (old.from, old.at) = (old.from.min(new.from), old.at.max(new.at)),
            None => {
                if known.len() == REMEMBERED {
                    known.remove(0);
                }
                known.push(new);
            }
        }
    }

    /// What searches have found so far.
    #[must_use]
    pub fn known(&self) -> Vec<Known> {
        self.known.borrow().clone()
    }

    /// Remembers again what was known before something was taken back, now that the same is there again.
    pub fn restore(&mut self, known: Vec<Known>) {
        *self.known.get_mut() = known;
    }

    /// What is left of what is generated on the site for a pool, over time; none where nothing is. Negative where more is drawn.
    #[must_use]
    pub(super) fn own_left(&self, pool: PoolId) -> Option<&Steps<i64>> {
        self.own[self.problem.pool(pool).supply].as_ref().map(|own| &own.left)
    }

    /// What all loads would cost more if nothing were generated on the site, in cost units.
    #[must_use]
    pub(super) fn saved(&self) -> i128 {
        let each = self.problem.supplies.iter().zip(&self.own);
        let saved = |(supply, own): (&Supply, &Own)| -> i128 {
            let (mut first_at, mut price_at) = (0, 0);
            let mut saved = 0;
            for (from, to, left) in own.left.pieces(self.problem.now, Moment::FAR_FUTURE) {
                for (from, to, first) in own.first.pieces_after(&mut first_at, from, to) {
                    let used = i128::from(first - left.max(0));
                    if used > 0 {
                        let pieces = supply.price.pieces_after(&mut price_at, from, to);
                        saved += pieces
                            .map(|(from, to, price)| used * i128::from(price.max(0)) * i128::from((to - from).0))
                            .sum::<i128>();
                    }
                }
            }
            saved
        };
        each.filter_map(|(supply, own)| Some((supply, own.as_ref()?))).map(saved).sum()
    }

    /// What is free at a domain over time.
    #[must_use]
    pub(super) fn free_over_time(&self, domain: DomainId) -> &Steps<i64> {
        &self.free[domain.0]
    }

    /// The spans of `[from, to)` in which a load fits, in order. Two of them may meet.
    #[must_use]
    pub fn spans(&self, pool: PoolId, load: Load, from: Moment, to: Moment) -> Vec<(Moment, Moment)> {
        let capacity = i64::from(self.problem.pool(pool).accelerators);
        let mut places: Vec<usize> = self.chains[pool.0].iter().map(|id| self.free[id.0].place(from)).collect();
        let mut spans = Vec::new();
        let mut short: Vec<(Moment, Moment)> = Vec::new();
        let mut fits_from = from;
        for (start, end, used) in self.used[pool.0].pieces(from, to) {
            let after = used.plus(load, 1);
            short.clear();
            if after.accelerators > capacity {
                short.push((start, end));
            } else {
                for ((domain, needs), place) in self.deltas(pool, used, after).zip(&mut places) {
                    let pieces = self.free[domain.0].pieces_after(place, start, end);
                    short.extend(pieces.filter(|(.., free)| *free < needs).map(|(at, until, _)| (at, until)));
                }
                short.sort_unstable();
            }
            for (at, until) in &short {
                if fits_from < *at {
                    spans.push((fits_from, *at));
                }
                fits_from = fits_from.max(*until);
            }
        }
        if fits_from < to {
            spans.push((fits_from, to));
        }
        spans
    }
}

/// The later of two ends, where none is never.
fn later(a: Option<Moment>, b: Option<Moment>) -> Option<Moment> {
    Some(a?.max(b?))
}

impl Shortage {
    /// From when on.
    #[must_use]
    pub fn at(self) -> Moment {
        match self {
            Self::Headroom { at, .. } | Self::Accelerators { at, .. } => at,
        }
    }
}
