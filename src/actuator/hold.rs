//! What limit one GPU is held to, until when, and what it falls to then: the dead man's switch, as values.
//!
//! ```text
//!            order                     now >= end                    order, higher sequence
//!  Found ───────────────▶ Held ─────────────────────────▶ Fallen ───────────────────────────▶ Held
//!    hands off             │ ▲  limit := min(limit, fall,    │ ▲
//!                          └─┘          what is in force)    └─┘ equal sequence: it may fall further, not rise
//!                         order                                  (an equal one in Held: the same)
//!
//!  at start:  nothing recorded ─▶ Found        recorded in this boot ─▶ Held, at min(recorded, in force)
//!             told a safe limit, recorded in another boot, or the record is torn ─▶ Fallen, at min(safe, in force)
//! ```
//!
//! Beside it, whether the device obeys:
//!
//! ```text
//!             written            read back <= limit           read back > limit
//!  Asked ───────────────▶ Written ────────────────────▶ Holds ──────────────────▶ Asked   (raised by another)
//!                            │                            ▲
//!                            │ read back > limit, twice   │ read back <= limit
//!                            └───────────▶ NotApplied ────┘                       (written again each period)
//! ```
//!
//! Falling is never a raise, and nothing but an order with a higher sequence ever raises: not time, not a start, not an
//! agent that is gone. A limit that others hold lower (a BMC) is left so.

use super::protocol::CLOCK_STEP;
use crate::units::{BootMillis, Watts};

mod terms;

pub use terms::{Ask, Bounds, News, Note, Obedience, Phase, Reason, Recorded, Refusal, Seen, Start, Step};

/// The longest that one order holds without another, in milliseconds.
/// An hour: leases live 10 minutes; an end far away would disarm the switch.
pub const LONGEST_MILLIS: u64 = 3_600_000;

/// After so many read-backs above the limit it is said not to hold. Two: one may be read while the device still sets it.
const LATE: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Found,
    Held { sequence: u64, limit: Watts, ends: BootMillis, fall: Watts },
    Fallen { sequence: Option<u64>, limit: Watts, fall: Watts },
}

/// One GPU's hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    bounds: Bounds,
    state: State,
    /// It has just started: what it holds is at most what it finds in force.
    not_above_found: bool,
    /// A write that has not succeeded yet, and why.
    due: Option<Reason>,
    obedience: Obedience,
    /// Read-backs above the limit since it was written.
    late: u32,
    clock: Option<u32>,
    clock_due: bool,
    /// The device took the last lock.
    clock_taken: bool,
    /// News of an order's making, for the next step.
    untold: Option<News>,
}

impl Hold {
    /// Begins. Nothing is raised by it.
    #[must_use]
    pub fn new(bounds: Bounds, start: Start) -> Self {
        let (state, clock) = match start {
            Start::Unknown => (State::Found, None),
            Start::Recorded(Recorded { sequence, limit, ends, fall, clock_megahertz }) => {
                let (limit, fall) = (bounds.clamp(limit), bounds.clamp(fall));
                (State::Held { sequence, limit, ends, fall }, clock_megahertz)
            }
            Start::Safe(limit) => {
                let limit = bounds.clamp(limit);
                (State::Fallen { sequence: None, limit, fall: limit }, None)
            }
        };
        let known = state != State::Found;
        Self {
            bounds,
            state,
            not_above_found: known,
            due: known.then_some(Reason::Started),
            obedience: if known { Obedience::Pending } else { Obedience::NothingAsked },
            late: 0,
            clock,
            clock_due: false,
            clock_taken: true,
            untold: None,
        }
    }

    /// Takes an order, or says why not. What it comes to is in [`Hold::limit`]; [`Hold::step`] has it written.
    ///
    /// # Errors
    /// The reason; nothing has changed then.
    pub fn order(&mut self, now: BootMillis, sequence: u64, ask: &Ask) -> Result<Vec<Note>, Refusal> {
        if self.sequence().is_some_and(|seen| sequence < seen) {
            return Err(Refusal::LowerSequence);
        }
        let ends = ask.ends.ok_or(Refusal::EndMissing)?;
        let fall = ask.fall.ok_or(Refusal::FallMissing)?;
        if ends <= now {
            return Err(Refusal::EndPassed);
        }
        if ask.limit <= Watts::ZERO || fall <= Watts::ZERO {
            return Err(Refusal::NotPositive);
        }
        let mut notes = Vec::new();
        let ends = if ends > now.plus(LONGEST_MILLIS) {
            notes.push(Note::EndBroughtForward { ends_at_boot_millis: now.plus(LONGEST_MILLIS) });
            now.plus(LONGEST_MILLIS)
        } else {
            ends
        };
        let limit = self.bounds.clamp(ask.limit);
        if limit != ask.limit {
            let (asked_watts, watts) = (ask.limit, limit);
            let ceiling = self.bounds.ceiling.is_some_and(|ceiling| ceiling <= limit && limit < ask.limit);
            let over = Note::LimitAboveCeiling { asked_watts, watts };
            notes.push(if ceiling { over } else { Note::LimitOutOfRange { asked_watts, watts } });
        }
        if self.bounds.clamp(fall) != fall {
            notes.push(Note::FallOutOfRange { asked_watts: fall, watts: self.bounds.clamp(fall) });
        }
        let fall = self.bounds.clamp(fall);

        // an end that nobody has acted on yet counts before the order does
        self.untold = self.end(now, None).or(self.untold);
        let newer = self.sequence() != Some(sequence);
        if newer {
            self.not_above_found = false;
            self.ask(State::Held { sequence, limit, ends, fall });
            self.ask_clock(ask.clock_megahertz);
            return Ok(notes);
        }
        let kept = self.limit().map_or(limit, |held| held.min(limit));
        if kept < limit {
            notes.push(Note::RaiseNeedsHigherSequence { asked_watts: ask.limit, watts: kept });
        }
        let next = match self.state {
            State::Held { ends: held, fall: low, .. } => {
                State::Held { sequence, limit: kept, ends: ends.max(held), fall: fall.min(low) }
            }
            State::Found | State::Fallen { .. } => State::Held { sequence, limit: kept, ends, fall: fall.min(kept) },
        };
        if self.limit().is_some_and(|held| kept < held) {
            self.ask(next);
        } else {
            self.state = next;
        }
        // a lower clock, or a first one, is no raise
        if ask.clock_megahertz.is_some_and(|asked| self.clock.is_none_or(|held| asked < held)) {
            self.ask_clock(ask.clock_megahertz);
        }
        Ok(notes)
    }

    /// What is to be done now, with what the device says of its limits; `None` where it can't be read.
    pub fn step(&mut self, now: BootMillis, seen: Option<Seen>) -> Step {
        let mut step = Step { clock: self.clock_due.then_some(self.clock), ..Step::default() };
        if let (true, Some(seen)) = (self.not_above_found, seen) {
            self.not_above_found = false;
            self.lower(seen.worst());
        }
        step.news.extend(self.untold.take());
        step.news.extend(self.end(now, seen));
        let Some(limit) = self.limit() else { return step };
        let Some(seen) = seen else {
            // blind: what was decided is still written, but never before it is known what was found at the start
            step.write = self.due.filter(|_| !self.not_above_found).map(|reason| (limit, reason));
            return step;
        };
        if seen.worst() > limit {
            let reason = match (self.due, self.obedience) {
                (Some(reason), _) => reason,
                (None, Obedience::Holds) => {
                    step.news.push(News::RaisedByOther { set: limit, found: seen.worst() });
                    self.obedience = Obedience::Pending;
                    self.late = 0;
                    Reason::RaisedByOther
                }
                (None, _) => Reason::NotApplied,
            };
            step.write = Some((limit, reason));
        } else if self.due == Some(Reason::Ordered) && seen.set.unwrap_or(seen.enforced) < limit {
            step.write = Some((limit, Reason::Ordered));
        } else {
            self.due = None;
            step.news.extend(self.holds(limit));
        }
        step
    }

    /// A write was accepted. One that failed stays due.
    pub fn written(&mut self) {
        self.due = None;
        if self.obedience == Obedience::Holds || self.obedience == Obedience::NothingAsked {
            self.obedience = Obedience::Pending;
        }
    }

    /// A clock was locked or let go; or can't be, on this device.
    pub fn clock_written(&mut self, taken: bool) {
        (self.clock_due, self.clock_taken) = (false, taken);
    }

    /// The device's clock was read. Above the lock, a driver that was loaded anew or another has let it go: it is locked again.
    pub fn clock_seen(&mut self, megahertz: u32) {
        let is_above = self.clock.is_some_and(|locked| megahertz > locked.saturating_add(CLOCK_STEP));
        self.clock_due |= is_above && self.clock_taken;
    }

    /// The device was read after a write.
    pub fn read_back(&mut self, seen: Seen) -> Option<News> {
        let limit = self.limit()?;
        if self.due.is_some() {
            return None;
        }
        if seen.worst() <= limit {
            return self.holds(limit);
        }
        self.late = self.late.saturating_add(1);
        if self.late < LATE || self.obedience == Obedience::NotApplied {
            return None;
        }
        self.obedience = Obedience::NotApplied;
        Some(News::NotApplied { set: limit, found: seen.worst() })
    }

    /// The limit that must hold; none before the first order.
    #[must_use]
    pub fn limit(&self) -> Option<Watts> {
        match self.state {
            State::Found => None,
            State::Held { limit, .. } | State::Fallen { limit, .. } => Some(limit),
        }
    }

    /// Which of its states it is in.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Found => Phase::Found,
            State::Held { .. } => Phase::Held,
            State::Fallen { .. } => Phase::Fallen,
        }
    }

    /// When it will fall.
    #[must_use]
    pub fn ends(&self) -> Option<BootMillis> {
        match self.state {
            State::Held { ends, .. } => Some(ends),
            State::Found | State::Fallen { .. } => None,
        }
    }

    /// What it will fall to, or has.
    #[must_use]
    pub fn fall(&self) -> Option<Watts> {
        match self.state {
            State::Held { fall, .. } | State::Fallen { fall, .. } => Some(fall),
            State::Found => None,
        }
    }

    /// The sequence of the last order.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        match self.state {
            State::Found => None,
            State::Held { sequence, .. } => Some(sequence),
            State::Fallen { sequence, .. } => sequence,
        }
    }

    /// Whether the device obeys.
    #[must_use]
    pub fn obedience(&self) -> Obedience {
        self.obedience
    }

    /// The clock that was asked for, in MHz.
    #[must_use]
    pub fn clock_megahertz(&self) -> Option<u32> {
        self.clock
    }

    fn ask(&mut self, state: State) {
        self.state = state;
        self.due = Some(Reason::Ordered);
        self.late = 0;
        self.obedience = Obedience::Pending;
    }

    fn ask_clock(&mut self, clock: Option<u32>) {
        // a clock that we did not lock is not ours to let go
        self.clock_due = self.clock != clock;
        self.clock = clock;
    }

    /// Falls, if its end has come: to the least of its limit, what it falls to, and what is in force.
    fn end(&mut self, now: BootMillis, seen: Option<Seen>) -> Option<News> {
        let State::Held { sequence, limit: from, ends, fall } = self.state else { return None };
        if now < ends {
            return None;
        }
        let found = seen.map_or(from, |seen| seen.enforced.max(self.bounds.low));
        let limit = from.min(fall).min(found);
        self.state = State::Fallen { sequence: Some(sequence), limit, fall };
        self.due = Some(Reason::EndPassed);
        self.late = 0;
        self.obedience = Obedience::Pending;
        Some(News::Fell { from, to: limit })
    }

    /// What is held is at most this, within the device's range.
    fn lower(&mut self, to: Watts) {
        let low = self.bounds.low;
        if let State::Held { limit, .. } | State::Fallen { limit, .. } = &mut self.state {
            *limit = (*limit).min(to).max(low);
        }
    }

    fn holds(&mut self, limit: Watts) -> Option<News> {
        let was = std::mem::replace(&mut self.obedience, Obedience::Holds);
        self.late = 0;
        (was == Obedience::NotApplied).then_some(News::AppliedAtLast { set: limit })
    }
}
