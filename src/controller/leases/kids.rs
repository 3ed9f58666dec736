//! A node as the child of its domain: what its hardware can do, what works on it, and what is known of it. Objects in, values
//! out.

use super::memory::Memory;
use super::seen::{SILENT, Seen};
use super::works::{Curves, Pods, Together, together};
use crate::api::{AcceleratorProfile, ChildKey, NodePower, labels};
use crate::controller::site::{LEAST_PERCENT, SiteNode, device, device_idle, is_ready};
use crate::core::divide::{Claim, Group, Range, Scale, Work};
use crate::core::lease::{Figures, Report};
use crate::units::Watts;
use std::collections::BTreeMap;

/// One child, before it has a wish.
#[derive(Debug, Clone)]
pub(super) struct Kid {
    pub claim: Claim,
    /// What it would claim if all of it were in use.
    pub full: Claim,
    pub ceiling: Watts,
    pub report: Option<Report>,
    pub is_heard: bool,
    pub fenced: Option<Watts>,
    pub leaves: bool,
    /// What it holds though its cap has fallen, or may hold since it says nothing, and its lease: nothing of that is there for
    /// the others.
    pub stuck: Option<(Watts, Figures)>,
    /// A node's accelerators by their limits, where something works on it.
    pub together: Vec<Together>,
    /// How a node's watts are reckoned.
    pub scale: Scale,
}

impl Kid {
    /// What one claims that does not follow: what it holds, neither more nor less.
    fn held(&self) -> Option<Claim> {
        self.stuck.as_ref().map(|(holds, _)| Claim::at(*holds))
    }

    /// What it claims of the domain above its own.
    pub fn claims(&self) -> Claim {
        self.held().unwrap_or_else(|| self.claim.clone())
    }

    /// The same if all of it were in use.
    pub fn claims_in_full(&self) -> Claim {
        self.held().unwrap_or_else(|| self.full.clone())
    }

    /// One that draws nothing here any more.
    pub fn gone() -> Self {
        Self {
            claim: Claim::at(Watts::ZERO),
            full: Claim::at(Watts::ZERO),
            ceiling: Watts::ZERO,
            report: None,
            is_heard: false,
            fenced: Some(Watts::ZERO),
            leaves: true,
            stuck: None,
            together: Vec::new(),
            scale: Scale::default(),
        }
    }
}

/// A node as a child.
pub(super) fn kid(
    seen: &Seen<'_>,
    memory: &Memory,
    power: &NodePower,
    on_site: Option<&SiteNode>,
    works: &BTreeMap<&str, Vec<Pods<'_>>>,
    curves: &mut Curves<'_>,
) -> Kid {
    let name = power.metadata.name.as_deref().unwrap_or_default();
    let figures =
        Hardware::of(power, &seen.snapshot.profiles, on_site.map(|node| seen.site.models[node.pool].as_str()));
    let report = power.status.as_ref().and_then(|status| status.report());
    let ceiling = Watts(power.spec.ceiling_watts).max(figures.at(figures.range.max));
    let floor = figures.at(figures.range.min).min(ceiling);
    let works = works.get(name).filter(|_| on_site.is_some());
    let model = on_site.map_or("", |node| seen.site.models[node.pool].as_str());
    let idle = device_idle(&seen.snapshot.profiles, model); // a grant counts from there
    let silent = memory.silent_for(name, seen.now) >= SILENT;
    // what was proved of a node that is off is no proof once its kubelet is back
    let runs = || seen.snapshot.nodes.iter().any(|node| node.metadata.name.as_deref() == Some(name) && is_ready(node));
    let fenced =
        power.metadata.annotations.as_ref().and_then(|all| all.get(labels::FENCED)?.parse::<i64>().ok()).map(Watts);
    // what a node hears nothing with must not change with what works on it
    let full = Claim::of_node(&figures.in_full(curves), figures.scale, ceiling);
    let said = power.status.as_ref().map(|status| status.accelerators.as_slice()).unwrap_or_default();
    let together = works.map(|pods| together(pods, said, (&figures, idle), model, curves)).unwrap_or_default();
    let claim = if together.is_empty() {
        Claim::at(floor)
    } else {
        let limits = Claim::sum(together.iter().map(|part| &part.group.claim));
        // held below full by the plan, it has no use for more
        let is_held = limits.most < figures.range.max.times(figures.count);
        let most = if is_held { figures.scale.node(limits.most).min(ceiling) } else { ceiling };
        Claim::of_node(&limits, figures.scale, most)
    };
    let lease =
        seen.allotments.get(&power.spec.domain).and_then(|spec| spec.child(&ChildKey::node(name))?.lease.as_ref());
    let lease = lease.map(|lease| Figures::from(&lease.figures));
    let is_heard = memory.is_heard(name);
    let stuck = if !is_heard && silent && fenced.is_none() {
        // nobody knows what it holds, so its ceiling is charged, and the others must be wished no more than what is left: else
        // the sums never fit, and all of them wait for it for ever
        Some((ceiling, lease.unwrap_or_else(|| Figures::flat(ceiling))))
    } else {
        memory.stuck(name, seen.now).zip(lease)
    };
    Kid {
        stuck,
        together,
        scale: figures.scale,
        claim,
        full,
        ceiling,
        report,
        is_heard,
        fenced: fenced.filter(|watts| silent && *watts >= Watts::ZERO && !runs()),
        leaves: on_site.is_none_or(|node| seen.site.domain_of(node) != power.spec.domain),
    }
}

/// What a node's hardware is like: by its agent's word, as far as that is there.
#[derive(Debug, Clone, Copy)]
pub struct Hardware {
    /// How its watts are reckoned.
    pub scale: Scale,
    /// Its accelerators.
    pub count: u32,
    /// The limits that each takes.
    pub range: Range,
}

impl Hardware {
    /// The hardware behind a NodePower.
    #[must_use]
    pub fn of(power: &NodePower, profiles: &[AcceleratorProfile], model: Option<&str>) -> Self {
        let said = power.status.as_ref().map(|status| status.accelerators.as_slice()).unwrap_or_default();
        let scale = power.spec.scale();
        let count = u32::try_from(power.spec.accelerators).unwrap_or(0).max(u32::try_from(said.len()).unwrap_or(0));
        // without a model the ceiling says what each takes
        let by_ceiling = scale.limits(Watts(power.spec.ceiling_watts));
        let each = by_ceiling.0.checked_div(i64::from(count)).map_or(Watts::ZERO, Watts);
        let max = said.iter().filter_map(|gpu| gpu.max_watts).max().map_or(each, |max| Watts(max).max(each));
        let known = model.map(|model| device(profiles, model));
        let least = known.map_or(max.percent(LEAST_PERCENT), |device| device.min);
        // below a profile's lowest limit none is set, though the device takes it
        let floor = known.and_then(|device| device.floor).unwrap_or(Watts::ZERO);
        let min = said.iter().filter_map(|gpu| gpu.min_watts).max().map_or(least, Watts).max(floor).min(max);
        Self { scale, count, range: Range { min, max } }
    }

    /// What the node can draw with this limit on each accelerator.
    #[must_use]
    pub fn at(&self, limit: Watts) -> Watts {
        self.scale.node(limit.times(self.count))
    }

    /// What its accelerators claim if all of them did work that nothing is known of, and nothing was promised to it.
    fn in_full(&self, curves: &mut Curves<'_>) -> Claim {
        let curve = curves.generic(self.range.max);
        let work = Work {
            accelerators: self.count,
            curve: &curve,
            tolerates_permille: 1000,
            granted: self.range.max,
            most: self.range.max,
        };
        Group::new(self.count, self.range, &[work]).claim
    }
}
