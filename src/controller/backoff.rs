//! Starts that failed are tried again later, and each time later still. Kept in memory only: after a restart each is tried
//! once more at once.
//!
//! ```text
//!            the API server refuses it, or its pods find no node
//!   free ------------------------------------------------------> held back --.
//!    ^                                                               |        | again: twice as long
//!    |  all its pods have nodes                    its time has come |        |
//!    '------------------------------ tried again <-------------------+--------'
//! ```

use super::snapshot::{Cause, HeldBack};
use super::world::World;
use crate::units::{Moment, Seconds};
use std::collections::BTreeMap;

/// How long what was refused is held back at first: a webhook that is being moved is back within that time.
const REFUSED: Seconds = Seconds(30);
/// How long what found no nodes is held back at first: as long as it was waited for, so that it has its watts for half of
/// the time at most.
const UNSCHEDULABLE: Seconds = Seconds(300);
/// The longest: what a person has mended starts within half an hour, and what nobody mends costs two tries an hour.
const MOST: Seconds = Seconds(1800);

/// What failed, by the UID of its Job.
#[derive(Debug, Default)]
pub struct Backoff {
    failed: BTreeMap<String, (u32, HeldBack)>,
}

impl Backoff {
    /// A try has failed; how often it has now.
    pub fn failed(&mut self, uid: &str, cause: Cause, why: String, now: Moment) -> u32 {
        let times = self.failed.get(uid).map_or(0, |(times, _)| *times);
        let first = match cause {
            Cause::StartRefused | Cause::NotMade => REFUSED,
            Cause::Unschedulable => UNSCHEDULABLE,
        };
        let wait = Seconds((first.0 << times.min(10)).min(MOST.0));
        tracing::warn!(uid, cause = cause.name(), why, %wait, "a try has failed; the next one waits");
        self.failed.insert(uid.to_owned(), (times + 1, HeldBack { until: now + wait, cause, why }));
        times + 1
    }

    /// What is not tried now.
    #[must_use]
    pub fn held(&self, now: Moment) -> BTreeMap<String, HeldBack> {
        let held = self.failed.iter().filter(|(_, (_, held))| now < held.until);
        held.map(|(uid, (_, held))| (uid.clone(), held.clone())).collect()
    }

    /// Forgets all others: they succeeded, or are gone.
    pub fn keep(&mut self, still: impl Fn(&str) -> bool) {
        self.failed.retain(|uid, _| still(uid));
    }
}

/// Takes what is held back out of what the core is asked: its room is for others until it is tried again. What runs stays.
pub fn hold_back(world: &mut World, held: &BTreeMap<String, HeldBack>) {
    world.problem.workloads.retain(|workload| workload.running.is_some() || !held.contains_key(&*workload.id));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_waited_out_twice_as_long_and_never_longer_than_the_longest() {
        let mut backoff = Backoff::default();
        let mut now = Moment(1000);
        let mut waits = Vec::new();
        for _ in 0..9 {
            backoff.failed("u", Cause::StartRefused, "no".to_owned(), now);
            let until = backoff.held(now)["u"].until;
            waits.push((until - now).0);
            now = until;
            assert!(backoff.held(now).is_empty(), "its time has come");
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]);
        backoff.failed("u", Cause::Unschedulable, "no node".to_owned(), now);
        assert_eq!((backoff.held(now)["u"].until - now).0, 1800);
        backoff.keep(|_| false);
        backoff.failed("u", Cause::Unschedulable, "no node".to_owned(), now);
        assert_eq!((backoff.held(now)["u"].until - now).0, 300, "it has run: it begins anew");
    }
}
