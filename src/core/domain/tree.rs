//! The tree itself: built whole or, around what is wrong, in part.

use crate::core::steps::Steps;
use crate::units::{Moment, Watts};
use std::collections::{BTreeMap, BTreeSet};

/// What a person says of one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSpec {
    /// Its name, unique in the site.
    pub name: String,
    /// The domain that feeds it; none for a root.
    pub parent: Option<String>,
    /// What it may draw, over time.
    pub cap: Steps<Watts>,
    /// What is drawn in it by things that are not ours, at most.
    pub baseline: Watts,
    /// Losses and cooling on top of all that passes through it, in thousandths.
    pub overhead_permille: u32,
}

/// A domain's place in its [`DomainTree`]. Parents come before their children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub usize);

/// A domain of a valid tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// What a person said of it.
    pub spec: DomainSpec,
    /// The domain that feeds it.
    pub parent: Option<DomainId>,
    /// The domains that it feeds.
    pub children: Vec<DomainId>,
}

/// One or more roots with all that hangs under them; no cycle, no orphan, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainTree {
    domains: Vec<Domain>,
}

/// What is wrong with a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Two domains of one name.
    #[error("domain `{name}` is there twice: give each domain a name of its own")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A parent that is not there.
    #[error("domain `{name}`: its parent `{parent}` does not exist (or is itself refused)")]
    UnknownParent {
        /// The domain.
        name: String,
        /// What it calls its parent.
        parent: String,
    },
    /// A ring of parents.
    #[error("domain `{name}`: its parents form a cycle: {ring}")]
    Cycle {
        /// The domain.
        name: String,
        /// The ring, as `a -> b -> a`.
        ring: String,
    },
    /// No room for the baseline.
    #[error(
        "domain `{name}`: the cap of {cap} from {from} on is below its baseline of {baseline}: nothing could ever run"
    )]
    CapBelowBaseline {
        /// The domain.
        name: String,
        /// The cap that is too low.
        cap: Watts,
        /// From when on: the first such moment, or `the start`.
        from: String,
        /// What is drawn anyway.
        baseline: Watts,
    },
}

impl TreeError {
    /// The domain that the error is about.
    #[must_use]
    pub fn domain(&self) -> &str {
        match self {
            Self::DuplicateName { name }
            | Self::UnknownParent { name, .. }
            | Self::Cycle { name, .. }
            | Self::CapBelowBaseline { name, .. } => name,
        }
    }

    /// The field that the error is about.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::DuplicateName { .. } => "name",
            Self::UnknownParent { .. } | Self::Cycle { .. } => "parent",
            Self::CapBelowBaseline { .. } => "capWatts",
        }
    }
}

impl DomainTree {
    /// The whole tree, or the first thing that is wrong with it.
    ///
    /// # Errors
    /// The first [`TreeError`] in the order of the specs.
    pub fn new(specs: Vec<DomainSpec>) -> Result<Self, TreeError> {
        let (tree, errors) = Self::build(specs);
        errors.into_iter().next().map_or(Ok(tree), Err)
    }

    /// What can be built, and what is wrong with the rest. A refused domain takes all under it with it:
    /// a subtree whose feed is not known has no cap that could be kept.
    #[must_use]
    pub fn build(specs: Vec<DomainSpec>) -> (Self, Vec<TreeError>) {
        let mut errors = Vec::new();
        let order: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let mut by_name: BTreeMap<String, DomainSpec> = BTreeMap::new();
        let mut twice = BTreeSet::new();
        for spec in specs {
            if by_name.contains_key(&spec.name) {
                twice.insert(spec.name.clone());
            } else {
                by_name.insert(spec.name.clone(), spec);
            }
        }
        for name in twice {
            by_name.remove(&name);
            errors.push(TreeError::DuplicateName { name });
        }
        for name in order.iter().collect::<BTreeSet<_>>() {
            if let Some(error) = by_name.get(name).and_then(|spec| fault(spec, &by_name)) {
                errors.push(error);
            }
        }
        for error in &errors {
            by_name.remove(error.domain());
        }
        let mut tree = Self::default();
        let mut ids: BTreeMap<String, DomainId> = BTreeMap::new();
        // Parents first: each pass places the domains whose parent is placed; what remains hangs on something refused.
        let mut waiting: Vec<String> = by_name.keys().cloned().collect();
        loop {
            let before = waiting.len();
            waiting.retain(|name| {
                let Some(spec) = by_name.get(name) else { return false };
                let parent = match &spec.parent {
                    None => None,
                    Some(parent) => match ids.get(parent) {
                        Some(id) => Some(*id),
                        None => return true,
                    },
                };
                let id = DomainId(tree.domains.len());
                tree.domains.push(Domain { spec: spec.clone(), parent, children: Vec::new() });
                if let Some(parent) = parent {
                    tree.domains[parent.0].children.push(id);
                }
                ids.insert(name.clone(), id);
                false
            });
            if waiting.len() == before {
                break;
            }
        }
        errors.extend(waiting.into_iter().map(|name| {
            let parent = by_name.get(&name).and_then(|spec| spec.parent.clone()).unwrap_or_default();
            TreeError::UnknownParent { name, parent }
        }));
        errors.sort_by_key(|error| order.iter().position(|name| name == error.domain()));
        (tree, errors)
    }

    /// Lowers a domain's cap throughout `[from, to)`: an order, as a curtailment is. It never raises a cap, and unlike
    /// what a domain says of itself it may lie below the baseline: a real emergency is never refused.
    pub fn lower(&mut self, id: DomainId, from: Moment, to: Moment, cap: Watts) {
        self.domains[id.0].spec.cap.update(from, to, |known| known.min(cap));
    }

    /// All domains, parents before children.
    pub fn iter(&self) -> impl Iterator<Item = (DomainId, &Domain)> {
        self.domains.iter().enumerate().map(|(i, domain)| (DomainId(i), domain))
    }

    /// How many domains there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.domains.len()
    }

    /// Is there no domain at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// One domain.
    #[must_use]
    pub fn get(&self, id: DomainId) -> &Domain {
        &self.domains[id.0]
    }

    /// The domain of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<DomainId> {
        self.iter().find(|(_, domain)| domain.spec.name == name).map(|(id, _)| id)
    }

    /// A domain and all that feed it, up to its root.
    pub fn chain(&self, id: DomainId) -> impl Iterator<Item = DomainId> + '_ {
        std::iter::successors(Some(id), |id| self.get(*id).parent)
    }

    /// The root above a domain.
    #[must_use]
    pub fn root_of(&self, id: DomainId) -> DomainId {
        self.chain(id).last().unwrap_or(id)
    }

    /// What stands for these watts, drawn in `below`, at each domain up the chain: each adds its overhead.
    pub fn seen_from_above(&self, below: DomainId, watts: Watts) -> impl Iterator<Item = (DomainId, Watts)> + '_ {
        self.chain(below).scan(watts, |watts, id| {
            *watts = watts.plus_permille(self.get(id).spec.overhead_permille);
            Some((id, *watts))
        })
    }
}

/// What is wrong with one spec among all of them.
fn fault(spec: &DomainSpec, all: &BTreeMap<String, DomainSpec>) -> Option<TreeError> {
    let name = spec.name.clone();
    if let Some(parent) = spec.parent.as_ref().filter(|parent| !all.contains_key(*parent)) {
        return Some(TreeError::UnknownParent { name, parent: parent.clone() });
    }
    let mut ring = vec![spec.name.as_str()];
    let mut next = spec.parent.as_deref();
    while let Some(parent) = next {
        ring.push(parent);
        if parent == spec.name {
            return Some(TreeError::Cycle { name, ring: ring.join(" -> ") });
        }
        if ring.len() > all.len() + 1 {
            break; // another domain's ring above this one: reported there, and this one hangs on it
        }
        next = all.get(parent).and_then(|spec| spec.parent.as_deref());
    }
    let beginning = Moment(i64::MIN / 8);
    let too_low = spec.cap.pieces(beginning, Moment::FAR_FUTURE).find(|(_, _, cap)| *cap < spec.baseline);
    too_low.map(|(from, _, cap)| TreeError::CapBelowBaseline {
        name,
        cap,
        from: if from == beginning { "the start".to_owned() } else { from.to_string() },
        baseline: spec.baseline,
    })
}
