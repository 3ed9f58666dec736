//! Policies that let nothing wait for supply, and slow what runs where a cap binds: what is done today where more servers stand than
//! the feed can carry.
//!
//! They are controllers: they look at a meter every few seconds and set limits or clocks. A planner has no meter. So here each is what it
//! comes to in the mean: at every moment at which anything begins, ends or a cap changes, all that is there is set anew, by what the
//! operating points say that it draws. Left away are the delay of the meter and of the actuator, hysteresis and overshoot, all of which
//! only make them worse. Nothing is over a cap.
//!
//! Who may not be slowed (it is never delayed) runs at full, and who can't be stopped keeps the point that it began with: so plans are
//! (decision 10), though a limit could be set on it too. Only where not even the slowest points fit does something wait, what came last
//! first: under a cap far too low all runs below the knee, and so takes more energy than at full. They look at no price.

use super::super::draft::Draft;
use super::super::points::seconds_for;
use super::super::{Load, Policy, PoolChoice, PoolId, PowerPlan, Problem, Run, Why, Workload, cost, early};
use crate::core::domain::DomainId;
use crate::units::{Moment, Seconds, Watts};

/// A policy that slows what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slowing {
    /// All that is below a cap gets the same share of the power that it would draw at full, the highest with which it fits. One of the
    /// base lines in Colangelo et al., *Turning AI Data Centers into Grid-Interactive Assets* (the Phoenix trial), arXiv 2507.00909, 2025,
    /// of which no code is published: this is our reading. Where all have one curve, and so here is nothing to choose, it is `dvfs-fair`.
    UniformCap,
    /// All that is below a cap loses the same share of its speed, the least with which it fits, as one clock for all would do. Another
    /// base line there, and our reading again.
    DvfsFair,
    /// Above 80 % of a cap what has the lowest priority is slowed, above 89 % all is, low priorities more; above the cap itself everything
    /// brakes. Patel et al., *Characterizing Power Management Opportunities for LLMs in the Cloud* (POLCA), ASPLOS 2024, whose thresholds
    /// these are. There clocks are set; here shares of a workload's own draw of about the same effect. A priority above zero is a high one.
    TwoThreshold,
}

/// Of each level of [`Slowing::TwoThreshold`]: up to how much of the cap it serves, and what the low and the high priorities may draw of
/// what they draw at full; all in thousandths. The last one, the brake, is the lowest point there is.
const LEVELS: [(i64, i64, i64); 4] = [(800, 1000, 1000), (890, 625, 1000), (1000, 500, 750), (1000, 0, 0)];

const MILLION: i64 = 1_000_000;

impl Policy for Slowing {
    fn name(&self) -> &'static str {
        match self {
            Self::UniformCap => "uniform-cap",
            Self::DvfsFair => "dvfs-fair",
            Self::TwoThreshold => "two-threshold",
        }
    }

    fn plan(&self, problem: &Problem) -> PowerPlan {
        let mut fleet = Fleet::new(problem);
        let mut at = problem.now;
        while let Some(next) = fleet.set(*self, at) {
            at = next;
        }
        fleet.into_draft().into_plan_without_bound(self.name())
    }
}

impl Slowing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::UniformCap, Self::DvfsFair, Self::TwoThreshold];

    /// How much can be done below a cap, from nothing at all to everything: shares in millionths, or levels.
    fn steps(self, there: &[Set<'_>]) -> Vec<i64> {
        let each = there.iter().flat_map(|set| set.points.iter().map(move |point| (set, point)));
        let mut steps: Vec<i64> = match self {
            Self::UniformCap => each.map(|(set, point)| share(set, point)).collect(),
            Self::DvfsFair => each.map(|(_, point)| i64::from(point.pace.per_million())).collect(),
            Self::TwoThreshold => (0..).take(LEVELS.len()).map(|level: i64| -level).collect(),
        };
        steps.sort_unstable_by(|a, b| b.cmp(a));
        steps.dedup();
        steps
    }

    /// Which of its points a workload has by a step: the fastest that it allows, else the slowest.
    fn point(self, set: &Set<'_>, step: i64) -> usize {
        let is_allowed = |point: &PoolChoice| match self {
            Self::UniformCap => share(set, point) <= step,
            Self::DvfsFair => i64::from(point.pace.per_million()) <= step,
            Self::TwoThreshold => {
                let (_, low, high) = level(step);
                let permille = if set.workload.priority > 0 { high } else { low };
                share(set, point) <= permille * (MILLION / 1000)
            }
        };
        set.points.iter().position(is_allowed).unwrap_or(set.points.len() - 1)
    }

    /// Up to how much of a cap a step serves.
    fn within(self, step: i64, cap: Watts) -> Watts {
        match self {
            Self::UniformCap | Self::DvfsFair => cap,
            Self::TwoThreshold => {
                let permille = i128::from(cap.0) * i128::from(level(step).0) / 1000;
                Watts(i64::try_from(permille).unwrap_or(i64::MAX))
            }
        }
    }
}

fn level(step: i64) -> (i64, i64, i64) {
    let level = usize::try_from(-step).unwrap_or(0);
    LEVELS[level.min(LEVELS.len() - 1)]
}

/// What a workload draws at a point, of what it draws at full: in millionths, rounded up.
fn share(set: &Set<'_>, point: &PoolChoice) -> i64 {
    let full = i128::from(set.points[0].load.watts.0.max(1));
    let share = (i128::from(point.load.watts.0) * i128::from(MILLION) + full - 1).div_euclid(full);
    i64::try_from(share).unwrap_or(i64::MAX)
}

/// A workload that is there, with the points it may have, the full one first, and the one it is set to.
#[derive(Debug, Clone)]
struct Set<'a> {
    /// Its place among those that are not done yet.
    which: usize,
    workload: &'a Workload,
    points: &'a [PoolChoice],
    point: usize,
}

impl Set<'_> {
    fn choice(&self) -> PoolChoice {
        self.points[self.point]
    }
}

/// A workload that is not done yet.
#[derive(Debug)]
struct Undone<'a> {
    /// Its place in the problem.
    i: usize,
    workload: &'a Workload,
    /// What is left, in millionths of the work of a second at full.
    left: i128,
    /// Where it runs, or ran before it was paused.
    pool: Option<PoolId>,
    runs: Vec<Run>,
}

/// All workloads in the course of a plan.
struct Fleet<'a> {
    problem: &'a Problem,
    /// What can't be set any more: what goes on as it does, and what is done.
    draft: Draft<'a>,
    /// What draws whatever is set: where, what, from when, until when.
    held: Vec<(PoolId, Load, Moment, Moment)>,
    undone: Vec<Undone<'a>>,
}

/// What is drawn in a pool: watts, accelerators, hosts.
type Drawn = Vec<(i64, i64, i64)>;

fn add(drawn: &mut Drawn, pool: PoolId, load: Load, sign: i64) {
    let sum = &mut drawn[pool.0];
    sum.0 += load.watts.0 * sign;
    sum.1 += i64::from(load.accelerators) * sign;
    sum.2 += i64::from(load.hosts) * sign;
}

impl<'a> Fleet<'a> {
    fn new(problem: &'a Problem) -> Self {
        let draft = Draft::new(problem, Workload::is_divisible);
        let fixed = problem.fixed.iter().map(|fixed| (fixed.pool, fixed.load, problem.now, fixed.until));
        let mut held: Vec<(PoolId, Load, Moment, Moment)> = fixed.collect();
        for (i, workload) in problem.workloads.iter().enumerate() {
            for run in draft.placement(i).iter().flat_map(|placement| &placement.runs) {
                held.push((run.pool, workload.load_at(run.pool, run.pace).unwrap_or_default(), run.start, run.end));
            }
        }
        let undone = draft.unplaced().map(|i| {
            let workload = draft.workload(i);
            let pool = workload.running.map(|running| running.pool);
            Undone { i, workload, left: workload.work(), pool, runs: Vec::new() }
        });
        let undone = undone.collect();
        Self { problem, draft, held, undone }
    }

    /// Sets all that is there at a moment, until the next at which anything changes; none where nothing will.
    fn set(&mut self, by: Slowing, at: Moment) -> Option<Moment> {
        let problem = self.problem;
        self.undone.sort_by_cached_key(|one| {
            let workload = one.workload;
            (std::cmp::Reverse(workload.priority), one.pool.is_none(), workload.arrival, workload.id.clone())
        });
        // 1. Who can be there at all, at its slowest, and at which point then. Who can't be stopped begins only where there is room for all
        //    of its run beside what is held; else it is left away, and the rest set anew.
        let mut away: Vec<usize> = Vec::new();
        let there = loop {
            let there = self.levelled(by, at, self.there(at, &away));
            match self.first_without_room(at, &there) {
                Some(which) => away.push(which),
                None => break there,
            }
        };
        // 2. Who can't be stopped is placed for good.
        for set in there.iter().filter(|set| !set.workload.is_divisible()) {
            let PoolChoice { pool, load, pace } = set.choice();
            let run = Run { pool, start: at, end: at + pace.takes(set.workload.remaining), pace };
            self.held.push((pool, load, run.start, run.end));
            self.undone[set.which].left = 0;
            self.put(self.undone[set.which].i, vec![run]);
        }
        // 3. All others go on until anything changes.
        let moves = || there.iter().filter(|set| set.workload.is_divisible());
        let ends = moves().map(|set| {
            let pace = i128::from(set.choice().pace.per_million());
            at + seconds_for(self.undone[set.which].left, pace)
        });
        let held = self.held.iter().map(|(.., until)| *until);
        let comes = self.undone.iter().map(|one| problem.starts_from(one.workload));
        let caps = problem.tree.iter().filter_map(|(_, domain)| domain.spec.cap.next_change(at));
        let next = ends.chain(held).chain(comes).chain(caps).filter(|next| *next > at).min();
        if let Some(next) = next {
            for set in moves() {
                let PoolChoice { pool, pace, .. } = set.choice();
                let one = &mut self.undone[set.which];
                one.left -= pace.work(next - at);
                one.pool = Some(pool);
                match one.runs.last_mut() {
                    Some(last) if last.end == at && last.pace == pace => last.end = next,
                    _ => one.runs.push(Run { pool, start: at, end: next, pace }),
                }
            }
        }
        let (done, undone) = std::mem::take(&mut self.undone).into_iter().partition(|one| one.left <= 0);
        self.undone = undone;
        let done: Vec<Undone<'a>> = done;
        done.into_iter().filter(|one| !one.runs.is_empty()).for_each(|one| self.put(one.i, one.runs));
        next.filter(|_| !self.undone.is_empty())
    }

    /// Of those that can't be stopped, the first that has no room for all of its run beside what is held and those before it.
    fn first_without_room(&mut self, at: Moment, there: &[Set<'_>]) -> Option<usize> {
        let ledger = &mut self.draft.ledger;
        let known = ledger.known();
        let mut before: Vec<(PoolId, Load, Moment)> = Vec::new();
        let mut without = None;
        for set in there.iter().filter(|set| !set.workload.is_divisible()) {
            let PoolChoice { pool, load, pace } = set.choice();
            let until = at + pace.takes(set.workload.remaining);
            if !ledger.fits(pool, load, at, until) {
                without = Some(set.which);
                break;
            }
            ledger.add(pool, load, at, until);
            before.push((pool, load, until));
        }
        before.into_iter().for_each(|(pool, load, until)| ledger.remove(pool, load, at, until));
        ledger.restore(known);
        without
    }

    /// Who is there at a moment, each at its slowest, in order, as far as they fit; what begins does so where most would be free if all
    /// ran at full.
    fn there(&self, at: Moment, away: &[usize]) -> Vec<Set<'a>> {
        let mut drawn = self.held_at(at);
        let mut at_full = drawn.clone();
        let (mut there, mut refused): (Vec<Set<'a>>, Vec<(PoolId, Load)>) = (Vec::new(), Vec::new());
        let arrived = |one: &Undone<'_>| self.problem.starts_from(one.workload) <= at;
        let undone = self.undone.iter().enumerate();
        for (which, one) in undone.filter(|(which, one)| arrived(one) && !away.contains(which)) {
            let workload = one.workload;
            // who is never delayed is never slowed
            let slowest = |points: &[PoolChoice]| if workload.finish_by.is_some() { points.len() - 1 } else { 0 };
            // what is drawn only grows here: where less did not fit, this does not
            let is_hopeless = |points: &[PoolChoice]| {
                let PoolChoice { pool, load, .. } = points[slowest(points)];
                refused.iter().any(|(other, less): &(PoolId, Load)| {
                    *other == pool
                        && less.watts <= load.watts
                        && less.accelerators <= load.accelerators
                        && less.hosts <= load.hosts
                })
            };
            let open = early::pools(workload).filter(|points| one.pool.is_none_or(|pool| points[0].pool == pool));
            let mut open: Vec<&'a [PoolChoice]> = open.filter(|points| !is_hopeless(points)).collect();
            if open.len() > 1 {
                let watts = self.by_domain(&at_full);
                let free = |pool: PoolId| self.above(pool).map(|id| self.cap(id, at) - watts[id.0]).min();
                open.sort_by_cached_key(|points| std::cmp::Reverse(free(points[0].pool)));
            }
            for points in open {
                let point = slowest(points);
                let PoolChoice { pool, load, .. } = points[point];
                // it is levelled by its watts only: it holds what its widest point takes
                let widest = points[..=point].iter().map(|choice| choice.load);
                let load = widest.fold(load, |load, other| Load {
                    accelerators: load.accelerators.max(other.accelerators),
                    hosts: load.hosts.max(other.hosts),
                    ..load
                });
                add(&mut drawn, pool, load, 1);
                let has_accelerators = drawn[pool.0].1 <= i64::from(self.problem.pool(pool).accelerators);
                let watts = self.by_domain(&drawn);
                if has_accelerators && self.above(pool).all(|id| watts[id.0] <= self.cap(id, at)) {
                    add(&mut at_full, pool, points[0].load, 1);
                    there.push(Set { which, workload, points: &points[..=point], point });
                    break;
                }
                add(&mut drawn, pool, load, -1);
                refused.push((pool, load));
            }
        }
        there
    }

    /// The domain of a pool and all that feed it.
    fn above(&self, pool: PoolId) -> impl Iterator<Item = DomainId> + '_ {
        self.problem.tree.chain(self.problem.pool(pool).domain)
    }

    /// The same, set by the policy: in each domain, from the leaves up, the first step that does.
    fn levelled(&self, by: Slowing, at: Moment, mut there: Vec<Set<'a>>) -> Vec<Set<'a>> {
        there.iter_mut().for_each(|set| set.point = 0);
        let domains: Vec<DomainId> = self.problem.tree.iter().map(|(id, _)| id).collect();
        for domain in domains.into_iter().rev() {
            let is_below = |set: &Set<'_>| self.above(set.choice().pool).any(|id| id == domain);
            let (below, others): (Vec<Set<'a>>, Vec<Set<'a>>) = there.into_iter().partition(is_below);
            let cap = self.cap(domain, at);
            let mut set = below.clone();
            for step in by.steps(&below) {
                set.clone_from(&below);
                set.iter_mut().for_each(|set| set.point = set.point.max(by.point(set, step)));
                if self.draws(domain, at, &set) <= by.within(step, cap) {
                    break;
                }
            }
            there = others;
            there.extend(set);
        }
        there.sort_by_key(|set| set.which);
        there
    }

    fn draws(&self, domain: DomainId, at: Moment, below: &[Set<'_>]) -> Watts {
        let mut drawn = self.held_at(at);
        below.iter().for_each(|set| add(&mut drawn, set.choice().pool, set.choice().load, 1));
        self.by_domain(&drawn)[domain.0]
    }

    fn cap(&self, domain: DomainId, at: Moment) -> Watts {
        self.problem.tree.get(domain).spec.cap.at(at)
    }

    fn held_at(&self, at: Moment) -> Drawn {
        let mut drawn = vec![(0, 0, 0); self.problem.pools.len()];
        let now = self.held.iter().filter(|(_, _, from, until)| *from <= at && at < *until);
        now.for_each(|(pool, load, ..)| add(&mut drawn, *pool, *load, 1));
        drawn
    }

    /// What each domain draws.
    fn by_domain(&self, drawn: &Drawn) -> Vec<Watts> {
        let tree = &self.problem.tree;
        let mut watts = vec![Watts::ZERO; tree.len()];
        for (id, domain) in tree.iter() {
            watts[id.0] += domain.spec.baseline;
            if let Some(parent) = domain.parent {
                tree.seen_from_above(parent, domain.spec.baseline).for_each(|(above, seen)| watts[above.0] += seen);
            }
        }
        for (pool, (own, _, hosts)) in self.problem.pools.iter().zip(drawn) {
            let hosts = (*hosts).clamp(0, i64::from(pool.nodes)) * pool.host_extra.0;
            let own = pool.idle + Watts(*own + hosts);
            tree.seen_from_above(pool.domain, own).for_each(|(above, seen)| watts[above.0] += seen);
        }
        watts
    }

    fn put(&mut self, i: usize, runs: Vec<Run>) {
        let placement = cost::priced(self.problem, self.draft.workload(i), runs);
        let why = if placement.late > Seconds::ZERO { Why::Late } else { Why::AsSoonAsPossible };
        self.draft.put(i, placement, why);
    }

    /// What has been placed; who could not be set to its end is placed where there is room.
    fn into_draft(mut self) -> Draft<'a> {
        let rest: Vec<usize> = self.draft.unplaced().collect();
        rest.into_iter().for_each(|i| self.draft.place_earliest(i, Why::AsSoonAsPossible, true));
        self.draft
    }
}
