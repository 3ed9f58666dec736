//! The rules of the protocol, by name: a model that one of them is taken from must find a path to too many watts.

/// One rule. Each stands for a counterexample; `tests/lease` switches it off and has the path found again. What
/// the caller must do is no rule of these machines, and is tried there too: the swap that compares, and what is kept before it is
/// acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A child's reserve is the highest of what it acknowledged and of all that was published since. Without: it gets 3,
    /// then 1, and has heard neither; the 2 are given away; now it hears the first.
    ReserveAllPublished,
    /// What was acknowledged counts with its own figures, whatever lower draw is read back. Without: a node falls to its
    /// safe limit, its watts are given away, and a renewal lifts it again.
    AcknowledgedCountsItsOwn,
    /// A change is a raise if any figure rises, not the watts alone. Without: lower watts come with a higher row, and the
    /// rows no longer fit when the cap falls.
    RowsAreRaisesToo,
    /// Rows are summed over all that is unacknowledged, as watts are. Without: over the newest only, an older lease that
    /// arrives late holds a higher row.
    RowsOfAllPublished,
    /// A row below the safe limit counts as the safe limit. Without: a deaf node falls to its safe limit, not to its row.
    SafeCountsInRows,
    /// A node refuses a lease that is not newer than the one it has. Without: a replayed watch event raises it after its
    /// watts were given away.
    RefuseOlderLease,
    /// A lease answers a heartbeat of the agent that is to take it. Without: an agent that lost its disk takes an old one.
    AnswersOwnHeartbeat,
    /// The life of a lease counts from when the heartbeat was sent that it answers. Without: an answer that was long under
    /// way begins a fresh life.
    LifeFromHeartbeat,
    /// A node falls to the least of what is in force, its row and its safe limit. Without: after a deep curtailment the
    /// safe limit lies above it, and the fall is a raise.
    FallIsNeverARaise,
    /// A node that has not read its caps for its contact time falls. Without: it is never told of a cap that fell.
    DeafNodesFall,
    /// What is read back counts: a later reduction that a lease carries frees its watts when it is read back, not when its time
    /// has come; and more than was ever leased is charged at every cap.
    ReadBackCounts,
    /// What a child says it holds is reserved, whatever the ledger knows of it. Without: it holds what was leased by a write that
    /// is lost.
    HeldIsReserved,
    /// A child that has not been heard since a controller began to listen is charged its ceiling, and nothing is written to it:
    /// the ledger may have gone back. Without: what was leased by a lost write is leased again to another.
    UnheardAtCeiling,
    /// A child domain tells its parent of a decrease when its own nodes have acknowledged it. Without: it does when it has
    /// read of it, and its nodes still draw.
    ChildrenAcknowledgeFirst,
    /// A child domain spends what it has accepted, in the same write. Without: it spends what its parent offers, accepts the
    /// lower offer that came meanwhile, and still publishes under the higher.
    SpendWhatIsAccepted,
    /// A node takes no lease from a read that was sent before its last heartbeat. Without: a ledger is restored, the heartbeat
    /// says to the new one what the node holds, and then an answer of the lost one arrives that allows more.
    ReadAfterHeartbeat,
    /// What is written without a look at the sums, renewals too, is within the reserve and within the lease before, their steps
    /// included; more waits for the sums. Without: a step has come, its watts are given away, and a renewal begins anew above it.
    RenewalIsNoRaise,
    /// Room is kept for nodes that come back from a reboot at their ceiling, at every row.
    RebootReserveInEveryRow,
}

/// Which rules hold. All of them, but in the models that show what each is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules(u32);

impl Rules {
    /// All of them: what everything but a model runs with.
    pub const ALL: Self = Self(u32::MAX);

    /// All of these but one. For models only; `tests/architecture.rs` holds that.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u32))
    }

    /// Does a rule hold?
    #[must_use]
    pub fn hold(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::ALL
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::ALL { "all rules" } else { "not all rules" })
    }
}
