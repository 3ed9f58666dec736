//! All that the grant loop looks at, at one moment.

use crate::api::{NodePower, PowerAllotmentSpec};
use crate::controller::site::Site;
use crate::controller::snapshot::Snapshot;
use crate::core::lease::Terms;
use crate::units::Millis;
use std::collections::BTreeMap;

/// A node is silent after so long without a report: two heartbeats, each as late as it comes.
pub const SILENT: Millis = Millis(48_000);

/// All that is looked at.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Domains, events, nodes, pods, profiles.
    pub snapshot: &'a Snapshot,
    /// The site that they describe.
    pub site: &'a Site,
    /// The store's version from which on domains and events were read.
    pub version: u64,
    /// The NodePowers, by name.
    pub powers: &'a BTreeMap<String, NodePower>,
    /// The allotments, by domain, as they were last read or written.
    pub allotments: BTreeMap<String, PowerAllotmentSpec>,
    /// The loop's own clock.
    pub now: Millis,
    /// How leases are made out.
    pub terms: &'a Terms,
}
