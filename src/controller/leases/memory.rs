//! What the loop remembers between two moments. None of it makes anything safe by being there: what is not remembered counts
//! as not heard.

use super::ramp::BATCH;
use super::steady::Steady;
use super::watchdog::{Barks, Watchdog};
use crate::api::NodePower;
use crate::core::divide::Claim;
use crate::core::lease::{Beat, Figures, Report};
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
    /// By node: what it may hold.
    holds: BTreeMap<String, Holds>,
    /// By node: a raise that waits.
    steady: BTreeMap<String, Steady>,
    /// By domain: what its children are to have above what they are leased.
    owed: BTreeMap<String, Watts>,
}

/// What a node may hold by all that it said and was allowed.
///
/// A node says what it enforces and which cap it has heard of. From then on it may go up to what its lease allows under that
/// cap, and under each cap that came after it, without a word; a report that has heard of a later one ends that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holds {
    /// The most.
    most: Watts,
    /// The version of the store at which it was last allowed so much.
    allowed_at: u64,
    /// The report that was taken in last.
    beat: Option<Beat>,
    /// Since when that is more than its lease allows under the cap in force.
    over: Option<Millis>,
}

/// A node that has not said so long after a fall that it enforces less does not follow it: a read-back comes within 5 s as a
/// rule. The others take its share, within the correction time.
const FOLLOWS: Millis = Millis(10_000);

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

    /// The children of a domain are to have so much more than they are leased.
    pub fn owes(&mut self, domain: &str, watts: Watts) {
        self.owed.insert(domain.to_owned(), watts);
    }

    /// What the children of a domain were to have above what they are leased, when it was last decided.
    #[must_use]
    pub fn owed(&self, domain: &str) -> Watts {
        self.owed.get(domain).copied().unwrap_or_default()
    }

    /// A ledger was taken away, since all of it was released.
    pub fn released(&mut self, domain: &str) {
        self.ledgers.remove(domain);
        self.raised.remove(domain);
        self.owed.remove(domain);
    }

    /// Nobody counts as heard until a new report comes.
    pub fn forget(&mut self, now: Millis) {
        for heard in self.nodes.values_mut() {
            *heard = Heard { first: heard.last, last: heard.last, at: now };
        }
        // versions of the store that was do not compare with those of this one
        self.holds.clear();
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

    /// Takes in what a node may do by its lease, all figures of it that may be in force: `allowed` under the cap that is in
    /// force at this version of the store.
    pub fn holds(
        &mut self,
        node: &str,
        report: Option<&Report>,
        may: &Figures,
        allowed: Watts,
        (version, now): (u64, Millis),
    ) {
        let by_report = |report: &Report| match report.cap {
            Some(cap) => report.enforced.max(may.worst_at(cap.watts, false)),
            None => report.enforced.max(may.watts),
        };
        let beat = report.map(|report| report.beat);
        let first = || {
            let most = report.map_or(may.watts, by_report);
            Holds { most, allowed_at: 0, beat, over: None }
        };
        let holds = self.holds.entry(node.to_owned()).or_insert_with(first);
        if let Some(report) = report.filter(|_| holds.beat != beat) {
            let has_heard = report.cap.is_some_and(|cap| cap.version > holds.allowed_at);
            let said = by_report(report);
            holds.most = if has_heard { said } else { said.max(holds.most) };
            holds.beat = beat;
        }
        if allowed >= holds.most {
            *holds = Holds { most: allowed, allowed_at: version, over: None, ..*holds };
        } else {
            holds.over = holds.over.or(Some(now));
        }
    }

    /// What a node holds that did not follow a fall in time.
    #[must_use]
    pub fn stuck(&self, node: &str, now: Millis) -> Option<Watts> {
        let holds = self.holds.get(node)?;
        holds.over.filter(|since| now.0.saturating_sub(since.0) >= FOLLOWS.0).map(|_| holds.most)
    }

    /// What is to be written for a node that is leased `held`: a raise that gains little waits.
    pub fn steady(&mut self, node: &str, held: &Figures, wish: Figures, claim: &Claim, now: Millis) -> Figures {
        self.steady.entry(node.to_owned()).or_default().look(held, wish, claim, now)
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
    use crate::core::lease::{Cap, Row};

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

    /// A node by whose lease 4000 W are allowed under a cap of 9000, and 2000 under 5000.
    fn said(number: u64, enforced: i64, cap: (u64, i64)) -> Report {
        let cap = Some(Cap { version: cap.0, watts: Watts(cap.1) });
        let beat = Beat { instance: 1, number };
        let (held, steps_passed, fallen) = (None, 0, false);
        Report { beat, acknowledged: 1, accepted: 1, steps_passed, held, enforced: Watts(enforced), cap, fallen }
    }

    #[test]
    fn a_node_that_may_have_gone_up_after_its_last_word_holds_that_until_it_says_otherwise() {
        let row = |cap, watts| Row { cap: Watts(cap), watts: Watts(watts) };
        let may = Figures {
            watts: Watts(4000),
            rows: vec![row(9000, 4000), row(5000, 2000)],
            floor: Watts(2000),
            safe: Watts(2000),
        };
        let mut memory = Memory::default();
        let mut look = |report: &Report, allowed: i64, version: u64, second: u64| {
            memory.holds("n1", Some(report), &may, Watts(allowed), (version, Millis(second * 1000)));
            memory.stuck("n1", Millis(second * 1000)).map(|watts| watts.0)
        };
        let low = said(1, 2000, (10, 5000));
        assert_eq!(look(&low, 2000, 10, 0), None);
        // the cap rises, the node may have followed, and the cap falls before it says a word
        assert_eq!(look(&low, 4000, 11, 1), None);
        assert_eq!(look(&low, 2000, 12, 2), None, "it has time to say so");
        assert_eq!(look(&low, 2000, 13, 12), Some(4000));
        // a word that was on its way before it heard of the rise says nothing of it
        assert_eq!(look(&said(2, 2000, (10, 5000)), 2000, 14, 13), Some(4000));
        assert_eq!(look(&said(3, 2000, (12, 5000)), 2000, 15, 14), None);
        // one that says that it enforces more than it may
        assert_eq!(look(&said(4, 2600, (15, 5000)), 2000, 16, 20), None);
        assert_eq!(look(&said(5, 2600, (16, 5000)), 2000, 17, 30), Some(2600));
        assert_eq!(look(&said(6, 2000, (16, 5000)), 2000, 18, 31), None);
        // one that has heard of a high cap only
        assert_eq!(look(&said(7, 2000, (18, 9000)), 2000, 19, 40), None);
        assert_eq!(look(&said(8, 2000, (18, 9000)), 2000, 20, 50), Some(4000));
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
