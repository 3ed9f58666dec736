//! A value over time that changes at moments: a cap, a price, the watts in use.

use crate::units::{Moment, Seconds};

/// A right-continuous step function of time. Each step's value holds from its moment until the next one;
/// before the first step its value holds too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps<T> {
    /// Never empty, moments strictly rising, the first at the beginning of time.
    steps: Vec<(Moment, T)>,
}

/// Before everything.
const BEGINNING: Moment = Moment(i64::MIN / 4);

impl<T: Copy + PartialEq> Steps<T> {
    /// The same value for ever.
    #[must_use]
    pub fn constant(value: T) -> Self {
        Self { steps: vec![(BEGINNING, value)] }
    }

    /// `before` until the first change, then each change's value from its moment on.
    ///
    /// Changes are sorted by moment; of two at one moment the later in the list wins.
    #[must_use]
    pub fn new(before: T, changes: impl IntoIterator<Item = (Moment, T)>) -> Self {
        let mut sorted: Vec<_> = changes.into_iter().collect();
        sorted.sort_by_key(|(at, _)| *at);
        let mut steps = Self::constant(before);
        for (at, value) in sorted {
            match steps.steps.last_mut() {
                Some(last) if last.0 == at => last.1 = value,
                _ => steps.steps.push((at, value)),
            }
        }
        steps.steps.dedup_by(|next, previous| next.1 == previous.1);
        steps
    }

    /// The value at a moment.
    #[must_use]
    pub fn at(&self, moment: Moment) -> T {
        self.steps[self.index(moment)].1
    }

    /// The first moment after this one at which the value changes.
    #[must_use]
    pub fn next_change(&self, after: Moment) -> Option<Moment> {
        self.steps.get(self.index(after) + 1).map(|(at, _)| *at)
    }

    /// The moments of change strictly inside `(from, to)`.
    pub fn changes_between(&self, from: Moment, to: Moment) -> impl Iterator<Item = Moment> + '_ {
        let first = self.index(from) + 1;
        self.steps[first..].iter().map(|(at, _)| *at).take_while(move |at| *at < to)
    }

    /// The pieces of `[from, to)`, each with the value that holds throughout it.
    pub fn pieces(&self, from: Moment, to: Moment) -> impl Iterator<Item = (Moment, Moment, T)> + '_ {
        self.pieces_from(self.index(from), from, to)
    }

    fn pieces_from(&self, first: usize, from: Moment, to: Moment) -> impl Iterator<Item = (Moment, Moment, T)> + '_ {
        (first..self.steps.len()).map_while(move |i| {
            let start = self.steps[i].0.max(from);
            let end = self.steps.get(i + 1).map_or(to, |(at, _)| (*at).min(to));
            (start < end).then_some((start, end, self.steps[i].1))
        })
    }

    /// Where a walk from a moment on begins: for [`Steps::pieces_after`].
    #[must_use]
    pub fn place(&self, moment: Moment) -> usize {
        self.index(moment)
    }

    /// As [`Steps::pieces`], for intervals that follow each other: `place` is at or before `from`, and moves on to it.
    pub fn pieces_after(
        &self,
        place: &mut usize,
        from: Moment,
        to: Moment,
    ) -> impl Iterator<Item = (Moment, Moment, T)> + '_ {
        while self.steps.get(*place + 1).is_some_and(|(at, _)| *at <= from) {
            *place += 1;
        }
        self.pieces_from(*place, from, to)
    }

    /// Changes the value throughout `[from, to)`.
    pub fn update(&mut self, from: Moment, to: Moment, change: impl Fn(T) -> T) {
        if from >= to {
            return;
        }
        let first = self.split(from);
        let last = self.split(to);
        for step in &mut self.steps[first..last] {
            step.1 = change(step.1);
        }
    }

    /// Makes `at` a step of its own and returns its index.
    fn split(&mut self, at: Moment) -> usize {
        let index = self.index(at);
        if self.steps[index].0 == at {
            return index;
        }
        let value = self.steps[index].1;
        self.steps.insert(index + 1, (at, value));
        index + 1
    }

    /// The same moments, other values.
    #[must_use]
    pub fn map<U: Copy + PartialEq>(&self, change: impl Fn(T) -> U) -> Steps<U> {
        let mut steps: Vec<_> = self.steps.iter().map(|(at, value)| (*at, change(*value))).collect();
        steps.dedup_by(|next, previous| next.1 == previous.1);
        Steps { steps }
    }

    fn index(&self, moment: Moment) -> usize {
        self.steps.partition_point(|(at, _)| *at <= moment).saturating_sub(1)
    }
}

impl<T: Copy + Ord> Steps<T> {
    /// The lowest value in `[from, to)`; the value at `from` where that is empty.
    #[must_use]
    pub fn lowest(&self, from: Moment, to: Moment) -> T {
        self.pieces(from, to).map(|(_, _, value)| value).min().unwrap_or_else(|| self.at(from))
    }

    /// The highest value in `[from, to)`; the value at `from` where that is empty.
    #[must_use]
    pub fn highest(&self, from: Moment, to: Moment) -> T {
        self.pieces(from, to).map(|(_, _, value)| value).max().unwrap_or_else(|| self.at(from))
    }

    /// At each moment the lower of the two.
    #[must_use]
    pub fn lower_of(&self, other: &Self) -> Self {
        let mut moments: Vec<Moment> = self.steps.iter().chain(&other.steps).map(|(at, _)| *at).collect();
        moments.sort_unstable();
        let value = |at: Moment| self.at(at).min(other.at(at));
        Self::new(value(BEGINNING), moments.into_iter().map(|at| (at, value(at))))
    }
}

impl Steps<i64> {
    /// The integral over `[from, to)`: value × seconds.
    #[must_use]
    pub fn integral(&self, from: Moment, to: Moment) -> i128 {
        self.pieces(from, to).map(|(a, b, value)| i128::from(value) * i128::from((b - a).0)).sum()
    }

    /// The time-weighted mean over `[from, to)`, rounded towards zero.
    #[must_use]
    pub fn mean(&self, from: Moment, to: Moment) -> i64 {
        match to - from {
            span if span > Seconds::ZERO => {
                i64::try_from(self.integral(from, to) / i128::from(span.0)).unwrap_or(i64::MAX)
            }
            _ => self.at(from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn m(s: i64) -> Moment {
        Moment(s)
    }

    #[test]
    fn a_value_holds_from_its_moment_until_the_next() {
        let steps = Steps::new(1, [(m(20), 3), (m(10), 2)]);
        assert_eq!([9, 10, 19, 20, 99].map(|t| steps.at(m(t))), [1, 2, 2, 3, 3]);
        assert_eq!(steps.next_change(m(10)), Some(m(20)));
        assert_eq!(steps.next_change(m(20)), None);
        assert_eq!(steps.changes_between(m(10), m(20)).count(), 0);
    }

    #[test]
    fn pieces_cover_the_interval_without_gap() {
        let steps = Steps::new(1, [(m(10), 2), (m(20), 3)]);
        let pieces: Vec<_> = steps.pieces(m(5), m(25)).collect();
        assert_eq!(pieces, [(m(5), m(10), 1), (m(10), m(20), 2), (m(20), m(25), 3)]);
        assert_eq!(steps.pieces(m(5), m(5)).count(), 0);
        let mut place = steps.place(m(5));
        for (from, to) in [(5, 9), (9, 15), (15, 15), (15, 40), (40, 50)] {
            let walked: Vec<_> = steps.pieces_after(&mut place, m(from), m(to)).collect();
            assert_eq!(walked, steps.pieces(m(from), m(to)).collect::<Vec<_>>(), "{from} to {to}");
        }
        assert_eq!(steps.integral(m(5), m(25)), 5 + 20 + 15);
    }

    #[test]
    fn an_update_touches_its_interval_only() {
        let mut steps = Steps::constant(5);
        steps.update(m(10), m(20), |v| v + 1);
        steps.update(m(15), m(30), |v| v + 1);
        assert_eq!([9, 10, 15, 20, 30].map(|t| steps.at(m(t))), [5, 6, 7, 6, 5]);
        assert_eq!(steps.lowest(m(12), m(40)), 5);
        assert_eq!(steps.highest(m(12), m(40)), 7);
    }

    #[test]
    fn the_lower_of_two_is_lower_everywhere() {
        let a = Steps::new(5, [(m(10), 1), (m(20), 9)]);
        let b = Steps::new(3, [(m(15), 7)]);
        let low = a.lower_of(&b);
        for t in 0..40 {
            assert_eq!(low.at(m(t)), a.at(m(t)).min(b.at(m(t))), "at {t}");
        }
    }
}
