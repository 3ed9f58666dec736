//! What must finish before what may start.

use super::{Problem, WorkloadId};
use crate::units::Moment;

/// Who comes after whom, by their places among the problem's workloads, and what follows from that for when each may run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// Who must have finished before each starts. All empty where nobody waits for another.
    before: Vec<Vec<usize>>,
    /// Who waits for each.
    after: Vec<Vec<usize>>,
    /// No sooner than then can each start, whatever the plan is.
    earliest: Vec<Moment>,
    /// By then must each have finished for all that wait for it to keep their deadlines.
    latest: Vec<Option<Moment>>,
}

impl Order {
    pub(super) fn new(problem: &Problem) -> Self {
        if problem.constraints.after.is_empty() {
            return Self::default();
        }
        let count = problem.workloads.len();
        let (mut before, mut after) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        let place = |id: &WorkloadId| problem.workloads.binary_search_by(|workload| workload.id.cmp(id)).ok();
        for (first, second) in &problem.constraints.after {
            if let (Some(first), Some(second)) = (place(first), place(second))
                && problem.workloads[second].running.is_none()
            {
                before[second].push(first);
                after[first].push(second);
            }
        }
        let of = |i: usize| &problem.workloads[i];
        let mut order = Self { before, after, ..Self::default() };
        let mut sorted: Vec<usize> = (0..count).collect();
        order.sort(&mut sorted);
        order.earliest = (0..count).map(|i| problem.starts_from(of(i))).collect();
        order.latest = (0..count).map(|i| of(i).finish_by).collect();
        for &i in &sorted {
            let done = order.before[i].iter().map(|first| order.earliest[*first] + of(*first).remaining).max();
            order.earliest[i] = done.map_or(order.earliest[i], |done| done.max(order.earliest[i]));
        }
        for &i in sorted.iter().rev() {
            for &second in &order.after[i] {
                let by = order.latest[second].map(|by| by - of(second).remaining);
                order.latest[i] = earlier(order.latest[i], by);
            }
        }
        order
    }

    /// Does nobody wait for another?
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty()
    }

    /// Who must have finished before this one starts.
    pub(super) fn before(&self, i: usize) -> &[usize] {
        self.before.get(i).map_or(&[], Vec::as_slice)
    }

    /// Who waits for this one.
    pub(super) fn after(&self, i: usize) -> &[usize] {
        self.after.get(i).map_or(&[], Vec::as_slice)
    }

    /// No sooner can it start, whatever the plan is; none where nothing more than its arrival is known.
    pub(super) fn earliest(&self, i: usize) -> Option<Moment> {
        self.earliest.get(i).copied()
    }

    /// By then must it have finished, for itself and for all that wait for it; none where that is never.
    pub(super) fn latest(&self, i: usize) -> Option<Moment> {
        self.latest.get(i).copied().flatten()
    }

    /// Puts those who must finish first before those who wait for them; else all stay as they stand.
    pub(super) fn sort(&self, order: &mut Vec<usize>) {
        if self.is_empty() {
            return;
        }
        let mut is_open = vec![false; self.before.len()];
        order.iter().for_each(|i| is_open[*i] = true);
        let mut sorted = Vec::with_capacity(order.len());
        for &i in order.iter() {
            // depth first, without recursion: a chain may be as long as there are workloads
            let mut stack = vec![(i, 0)];
            while let Some((i, next)) = stack.pop() {
                if !is_open[i] {
                    continue;
                }
                match self.before[i].get(next) {
                    // one that is on the stack already waits for itself: it comes where it comes
                    Some(first) if is_open[*first] && !stack.iter().any(|(on, _)| on == first) => {
                        stack.push((i, next + 1));
                        stack.push((*first, 0));
                    }
                    Some(_) => stack.push((i, next + 1)),
                    None => {
                        is_open[i] = false;
                        sorted.push(i);
                    }
                }
            }
        }
        *order = sorted;
    }

    /// All that wait for one, and for those, those who must finish first before those who wait for them.
    pub(super) fn followers(&self, i: usize) -> Vec<usize> {
        let mut all = vec![i];
        let mut at = 0;
        while at < all.len() {
            for second in self.after(all[at]) {
                if !all.contains(second) {
                    all.push(*second);
                }
            }
            at += 1;
        }
        all.remove(0);
        self.sort(&mut all);
        all
    }
}

/// The earlier of two ends, where none is never.
pub(super) fn earlier(a: Option<Moment>, b: Option<Moment>) -> Option<Moment> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(pairs: &[(usize, usize)], count: usize) -> Order {
        let mut order = Order { before: vec![Vec::new(); count], after: vec![Vec::new(); count], ..Order::default() };
        for (first, second) in pairs {
            order.before[*second].push(*first);
            order.after[*first].push(*second);
        }
        order
    }

    #[test]
    fn those_who_must_finish_first_come_first_and_all_else_stays() {
        let order = order(&[(3, 1), (1, 0), (3, 0)], 5);
        let mut all = vec![4, 0, 2, 1, 3];
        order.sort(&mut all);
        assert_eq!(all, [4, 3, 1, 0, 2]);
        assert_eq!(order.followers(3), [1, 0]);
    }

    #[test]
    fn who_waits_for_itself_is_still_there() {
        let order = order(&[(0, 1), (1, 0), (1, 2)], 3);
        let mut all = vec![0, 1, 2];
        order.sort(&mut all);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    }

    #[test]
    fn a_chain_may_be_long() {
        let count = 100_000;
        let pairs: Vec<(usize, usize)> = (1..count).map(|i| (i, i - 1)).collect();
        let order = order(&pairs[..1000], count);
        let mut all: Vec<usize> = (0..count).collect();
        order.sort(&mut all);
        assert_eq!(all[0], 1000);
        assert_eq!(all.len(), count);
    }
}
