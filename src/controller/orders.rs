//! What events order. Events in, values out.
//!
//! An order lowers its domain's cap from its start until its end or until it is cancelled; of several the lowest wins.
//! It lowers the cap whatever the domain's baseline is: a real emergency is never refused.

use super::snapshot::Snapshot;
use crate::api::{BaselineMethod, CurtailmentEvent, PowerDomain};
use crate::caps::Order;
use crate::units::Watts;

/// The orders of all events that are not over. What is ordered of a domain that is not there is not among them.
#[must_use]
pub fn orders(snapshot: &Snapshot) -> Vec<Order> {
    let standing = snapshot.events.iter().filter(|event| !event.is_over(snapshot.now));
    let unparsed = snapshot.unparsed.iter().filter(|order| snapshot.now < order.until).cloned();
    standing
        .filter_map(|event| {
            let domain = snapshot.domain(&event.spec.domain)?;
            let (from, until) = (event.from(), event.until());
            let (cap, _) = resolved(event, domain)?;
            let cap = event.limits_at(snapshot.now).unwrap_or(cap);
            Some(Order { event: name(event).to_owned(), domain: event.spec.domain.clone(), from, until, cap })
        })
        .chain(unparsed)
        .collect()
}

fn name(event: &CurtailmentEvent) -> &str {
    event.metadata.name.as_deref().unwrap_or_default()
}

/// The absolute cap that an event orders, and the figure that a reduction counts from. What was made once stays.
pub(super) fn resolved(event: &CurtailmentEvent, domain: &PowerDomain) -> Option<(Watts, Watts)> {
    let status = event.status.as_ref();
    let known = |watts: Option<i64>| watts.map(Watts);
    let baseline = known(status.and_then(|status| status.baseline_watts)).or_else(|| {
        match event.spec.baseline.unwrap_or_default() {
            BaselineMethod::Cap => Some(Watts(domain.spec.cap_watts)),
            BaselineMethod::Committed => known(domain.status.as_ref()?.committed_watts),
        }
    })?;
    let cap = event.cap().or_else(|| Some(event.spec.target.order()?.resolve(baseline)))?;
    Some((cap, baseline))
}
