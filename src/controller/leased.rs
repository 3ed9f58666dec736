//! What is leased, as the grant loop shows it: for statuses, and for who starts and stops.

use crate::api::ExceptionAction;
use crate::units::{Millis, Watts};
use std::collections::{BTreeMap, BTreeSet};

/// The leases of one domain, for its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainLeases {
    /// What its children can draw at worst with what others draw, as its feed sees it.
    pub committed: Watts,
    /// What its nodes draw by their agents' word, hosts at their highest, with the baseline.
    pub drawn: Watts,
    /// What of that no limit holds: of those at their highest or lowest, or who take far less than they have.
    pub loose: Watts,
    /// What its nodes are to have above what they have taken yet.
    pub rising: Watts,
    /// Has every node in it, and in what it feeds, said what it draws of late?
    pub is_metered: bool,
    /// Could somebody in it use more than it is to have?
    pub wants_more: bool,
    /// Nodes whose agents say nothing.
    pub silent: Vec<String>,
    /// Nodes in it.
    pub nodes: usize,
    /// Why something is not leased as it should be, for people.
    pub waits: Vec<String>,
    /// What is wrong with its figures: the sum of safe limits, or floors, is above the lowest cap.
    pub infeasible: Option<String>,
    /// It is above its cap for longer than its correction time, by so much, and what is done about it.
    pub over: Option<(Watts, ExceptionAction)>,
    /// The 99th percentile of how long it takes to come under a cap that fell.
    pub reaction_p99: Option<Millis>,
    /// Watts above the cap times seconds, outside the correction time, since this controller began to lead.
    pub watt_seconds_over: i64,
    /// What an outage of the whole domain would do; none where all nodes at their highest fit under the cap.
    pub cold_start: Option<String>,
}

/// All domains with leases, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    /// By domain.
    pub domains: BTreeMap<String, DomainLeases>,
    /// The nodes that hold a lease, read back, and are heard: GPU pods may start on these alone.
    pub working: BTreeSet<String>,
}
