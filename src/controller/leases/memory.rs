//! What the loop remembers between two moments. None of it makes anything safe by being there: what is not remembered counts
//! as not heard.

use super::watchdog::{Barks, Watchdog};
use crate::api::NodePower;
use crate::core::lease::Beat;
use crate::units::{Millis, Watts};
use std::collections::BTreeMap;

/// Who was heard since the loop began to listen, and what the store was like.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    nodes: BTreeMap<String, Heard>,
    /// The highest version of the store that was read.
    version: u64,
    /// By domain: the UID and the sequence of the allotment as it was last read or written.
    ledgers: BTreeMap<String, (String, i64)>,
    /// By domain that may rise only so fast: when it last did.
    raised: BTreeMap<String, Millis>,
    /// By domain.
    watchdogs: BTreeMap<String, Watchdog>,
    /// Since when a node has enforced more than its lease allows under the cap in force.
    over: BTreeMap<String, Millis>,
}

/// A node that still enforces too much so long after a fall does not follow it: a read-back comes within 5 s as a rule. The
/// others take its share, within the correction time.
const FOLLOWS: Millis = Millis(10_000);

/// Raises of a ramp are made together: a lease is not written anew each second.
const BATCH: Millis = Millis(10_000);

/// The reports of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    /// The report that was there already.
    first: Option<Beat>,
    /// The newest one.
    last: Option<Beat>,
    /// When the newest one was first seen, on the loop's own clock.
    at: Millis,
}

impl Memory {
    /// Takes in the reports of this moment. A report that is older than one that was heard tells that the store went back.
    ///
    /// Returns why everyone counts as not heard again, where that is so.
    pub fn hear<'a>(&mut self, powers: impl IntoIterator<Item = &'a NodePower>, now: Millis) -> Option<String> {
        let mut went_back = None;
        for power in powers {
            let name = power.metadata.name.clone().unwrap_or_default();
            let beat = power.status.as_ref().and_then(|status| status.heartbeat).map(Beat::from);
            match self.nodes.get_mut(&name) {
                None => {
                    self.nodes.insert(name, Heard { first: beat, last: beat, at: now });
                }
                Some(heard) if heard.last != beat => {
                    let older = |last: Beat, new: Beat| last.instance == new.instance && new.number < last.number;
                    if let (Some(last), Some(new)) = (heard.last, beat)
                        && older(last, new)
                    {
                        went_back = Some(format!(
                            "{name} reported heartbeat {} after {}: the store went back",
                            new.number, last.number
                        ));
                    }
                    (heard.last, heard.at) = (beat, now);
                }
                Some(_) => {}
            }
        }
        if went_back.is_some() {
            self.forget(now);
        }
        went_back
    }

    /// Takes in what the store says of itself: its version, and the ledgers that are in it.
    ///
    /// Returns why everyone counts as not heard again, where that is so.
    pub fn look<'a>(
        &mut self,
        version: u64,
        ledgers: impl IntoIterator<Item = (&'a str, &'a str, i64)>,
        now: Millis,
    ) -> Option<String> {
        let mut went_back = (version < self.version)
            .then(|| format!("version {version} was read of the store after {}: it went back", self.version));
        self.version = version;
        let found: BTreeMap<String, (String, i64)> = ledgers
            .into_iter()
            .map(|(domain, uid, sequence)| (domain.to_owned(), (uid.to_owned(), sequence)))
            .collect();
        for (domain, (uid, sequence)) in &self.ledgers {
            went_back = went_back.or_else(|| match found.get(domain) {
                None => Some(format!("the allotment of {domain} is gone")),
                Some((other, _)) if other != uid => Some(format!("the allotment of {domain} is another one")),
                Some((_, now)) if now < sequence => {
                    Some(format!("the allotment of {domain} has sequence {now}, after {sequence}"))
                }
                Some(_) => None,
            });
        }
        self.ledgers = found;
        if went_back.is_some() {
            self.forget(now);
        }
        went_back
    }

    /// A ledger was written.
    pub fn wrote(&mut self, domain: &str, uid: &str, sequence: i64) {
        self.ledgers.insert(domain.to_owned(), (uid.to_owned(), sequence));
    }

    /// A ledger was taken away, since all of it was released.
    pub fn released(&mut self, domain: &str) {
        self.ledgers.remove(domain);
        self.raised.remove(domain);
    }

    /// Nobody counts as heard until a new report comes.
    pub fn forget(&mut self, now: Millis) {
        for heard in self.nodes.values_mut() {
            *heard = Heard { first: heard.last, last: heard.last, at: now };
        }
    }

    /// Has a node reported since the loop began to listen?
    #[must_use]
    pub fn is_heard(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|heard| heard.last.is_some() && heard.last != heard.first)
    }

    /// How long a node has said nothing new.
    #[must_use]
    pub fn silent_for(&self, node: &str, now: Millis) -> Millis {
        self.nodes.get(node).map_or(Millis(u64::MAX), |heard| Millis(now.0.saturating_sub(heard.at.0)))
    }

    /// Looks whether a domain is under its cap.
    pub fn watch(&mut self, domain: &str, cap: Watts, drawn: Watts, correction: Millis, now: Millis) -> Barks {
        self.watchdogs.entry(domain.to_owned()).or_default().look(cap, drawn, correction, now)
    }

    /// Does a node enforce more than its lease allows under the cap in force?
    pub fn enforces(&mut self, node: &str, too_much: bool, now: Millis) {
        if too_much {
            self.over.entry(node.to_owned()).or_insert(now);
        } else {
            self.over.remove(node);
        }
    }

    /// Did a node not follow a fall in time?
    #[must_use]
    pub fn is_stuck(&self, node: &str, now: Millis) -> bool {
        self.over.get(node).is_some_and(|since| now.0.saturating_sub(since.0) >= FOLLOWS.0)
    }

    /// What may be leased in a domain, where it may rise by so many watts a second only: a step each ten seconds.
    pub fn ramped(&mut self, domain: &str, leased: Watts, cap: Watts, per_second: Option<Watts>, now: Millis) -> Watts {
        let Some(per_second) = per_second else { return cap };
        let since = self.raised.entry(domain.to_owned()).or_insert(now);
        let passed = now.0.saturating_sub(since.0);
        if passed < BATCH.0 {
            return leased.min(cap);
        }
        *since = now;
        // after a pause it does not jump
        let passed = i64::try_from(passed.min(2 * BATCH.0)).unwrap_or(i64::MAX);
        (leased + Watts(per_second.0.saturating_mul(passed) / 1000)).min(cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Heartbeat, NodePowerSpec, NodePowerStatus};

    fn power(instance: i64, number: i64) -> NodePower {
        let mut power = NodePower::new("n1", NodePowerSpec::default());
        let heartbeat = Some(Heartbeat { instance, number });
        power.status = Some(NodePowerStatus { heartbeat, ..NodePowerStatus::default() });
        power
    }

    #[test]
    fn what_was_there_at_the_beginning_is_not_heard() {
        let mut memory = Memory::default();
        assert_eq!(memory.hear([&power(1, 7)], Millis(0)), None);
        assert!(!memory.is_heard("n1") && !memory.is_heard("n2"));
        assert_eq!(memory.hear([&power(1, 7)], Millis(5000)), None);
        assert_eq!((memory.is_heard("n1"), memory.silent_for("n1", Millis(6000))), (false, Millis(6000)));
        assert_eq!(memory.hear([&power(1, 8)], Millis(7000)), None);
        assert_eq!((memory.is_heard("n1"), memory.silent_for("n1", Millis(8000))), (true, Millis(1000)));
    }

    #[test]
    fn after_a_restore_nobody_is_heard_until_a_new_report() {
        let mut memory = Memory::default();
        memory.hear([&power(1, 7)], Millis(0));
        memory.hear([&power(1, 9)], Millis(1));
        assert!(memory.is_heard("n1"));
        assert!(memory.hear([&power(1, 8)], Millis(2)).unwrap().contains("heartbeat 8 after 9"));
        assert!(!memory.is_heard("n1"));
        memory.hear([&power(1, 10)], Millis(3));
        assert!(memory.is_heard("n1"));

        assert_eq!(memory.look(100, [("row", "a", 5)], Millis(4)), None);
        assert!(memory.look(99, [("row", "a", 5)], Millis(5)).unwrap().contains("version 99"));
        assert!(!memory.is_heard("n1"));
        memory.hear([&power(1, 11)], Millis(6));
        assert!(memory.look(120, [("row", "a", 4)], Millis(7)).unwrap().contains("sequence 4, after 5"));
        assert!(memory.look(121, [("row", "b", 4)], Millis(8)).unwrap().contains("another one"));
        assert!(memory.look(122, [], Millis(9)).unwrap().contains("is gone"));
        memory.hear([&power(1, 12)], Millis(10));
        assert_eq!(memory.look(123, [("row", "c", 1)], Millis(11)), None);
        assert!(memory.is_heard("n1"));
    }

    #[test]
    fn what_may_be_leased_rises_so_fast_and_falls_at_once() {
        let mut memory = Memory::default();
        let mut at =
            |leased: i64, now: u64| memory.ramped("row", Watts(leased), Watts(9000), Some(Watts(100)), Millis(now)).0;
        assert_eq!((at(5000, 0), at(5000, 9000)), (5000, 5000));
        assert_eq!((at(5000, 10_000), at(6000, 11_000)), (6000, 6000));
        assert_eq!(at(6000, 20_000), 7000);
        assert_eq!(at(6000, 90_000), 8000, "after a pause it does not jump");
        assert_eq!(memory.ramped("row", Watts(4000), Watts(9000), None, Millis(9000)), Watts(9000));
        assert_eq!(memory.ramped("row", Watts(4000), Watts(3000), Some(Watts(100)), Millis(9000)), Watts(3000));
    }
}
