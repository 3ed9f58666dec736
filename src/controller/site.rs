//! The site as the cluster describes it: domains, nodes, pools. Objects in, values of the core out.

use super::orders::orders;
use super::snapshot::Snapshot;
use super::supply::{own, supplies};
use crate::api::{self, AcceleratorProfile, Knob, Mode, NodeClass, PowerDomain, WorkloadClass};
use crate::caps::{self, Order};
use crate::core::domain::{DomainId, DomainSpec, DomainTree};
use crate::core::plan::{Pool, Supply};
use crate::core::profile::{Clocks, Point, Profile, UNKNOWN, nameplate};
use crate::units::{Moment, Seconds, Watts};
use k8s_openapi::api::core::v1::{Node, Taint};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Host power that is charged for each accelerator where no node class says more: a DGX H100 takes 10.2 kW, its eight
/// accelerators 5.6 of these; the rest is 575 W for each.
const HOST_WATTS_EACH: i64 = 600;

/// What an idle device of a known nameplate draws at most, in thousandths of it: an A100 60 of 400 W, an H100 70 of 700,
/// a B200 140 of 1,000.
const IDLE_PERMILLE: i64 = 150;

/// A node that stands in a domain.
#[derive(Debug, Clone)]
pub struct SiteNode {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Accelerators that it has.
    pub gpus: u32,
    /// Its pool, in the domain that counts it.
    pub pool: usize,
    /// Why nothing new may start on it; none where something may.
    pub shut: Option<&'static str>,
    /// Does more than one domain claim it?
    pub claimed_twice: bool,
    /// The most that its host draws.
    pub host_max: Watts,
}

/// The site.
#[derive(Debug, Clone)]
pub struct Site {
    /// The electrical tree.
    pub tree: DomainTree,
    /// Its pools: accelerators of one model in one domain.
    pub pools: Vec<Pool>,
    /// The model of each pool.
    pub models: Vec<String>,
    /// What feeds each root, in the order of the tree.
    pub supplies: Vec<Supply>,
    /// The labels that lead a pod into each pool's domain.
    pub selectors: Vec<BTreeMap<String, String>>,
    /// All nodes in domains.
    pub nodes: Vec<SiteNode>,
    /// By name: where in `nodes` it is first.
    by_name: BTreeMap<String, usize>,
    /// What events order of its domains: their caps are lowered by these already.
    pub orders: Vec<Order>,
    /// What is wrong, by domain.
    pub errors: Vec<(String, String)>,
    /// What is worth knowing, by domain.
    pub notes: Vec<(String, String)>,
    /// All roots, in the order of `supplies`.
    roots: Vec<DomainId>,
    /// By root: the pool that grants in unknown domains are charged to.
    lost: BTreeMap<DomainId, usize>,
    /// The roots that are enforced.
    pub enforced: Vec<DomainId>,
}

impl Site {
    /// What the snapshot's objects describe. What is wrong with one domain leaves the others alone.
    #[must_use]
    pub fn new(snapshot: &Snapshot, horizon: Seconds) -> Self {
        let mut errors = Vec::new();
        let specs: Vec<DomainSpec> = snapshot
            .domains
            .iter()
            .filter_map(|domain| match spec(domain, snapshot.now, horizon) {
                Ok(spec) => Some(spec),
                Err(what) => {
                    errors.push((name(domain).to_owned(), what));
                    None
                }
            })
            .collect();
        let (mut tree, faults) = DomainTree::build(specs);
        errors.extend(faults.iter().map(|fault| (fault.domain().to_owned(), fault.to_string())));
        // after the tree is judged: what a domain says of itself can be refused, what is ordered of it can't
        let orders = orders(snapshot);
        for order in &orders {
            if let Some(id) = tree.find(&order.domain) {
                tree.lower(id, order.from, order.until, order.cap);
            }
        }
        let mut site = Self {
            tree,
            orders,
            pools: Vec::new(),
            models: Vec::new(),
            supplies: Vec::new(),
            selectors: Vec::new(),
            nodes: Vec::new(),
            by_name: BTreeMap::new(),
            errors,
            notes: Vec::new(),
            roots: Vec::new(),
            lost: BTreeMap::new(),
            enforced: Vec::new(),
        };
        let roots: Vec<(DomainId, &PowerDomain)> = site
            .tree
            .iter()
            .filter(|(_, domain)| domain.parent.is_none())
            .filter_map(|(id, domain)| Some((id, snapshot.domain(&domain.spec.name)?)))
            .collect();
        let enforced = roots.iter().filter(|(_, root)| root.spec.mode == Some(Mode::Enforce));
        site.enforced = enforced.map(|(id, _)| *id).collect();
        site.supplies = supplies(snapshot, &roots.iter().map(|(_, root)| *root).collect::<Vec<_>>());
        site.roots = roots.into_iter().map(|(id, _)| id).collect();
        let mut nodes: Vec<&Arc<Node>> = snapshot.nodes.iter().collect();
        nodes.sort_by_key(|node| node.metadata.name.clone());
        for node in nodes {
            site.add(snapshot, node);
        }
        site.charge_lost_grants(snapshot);
        let own = own(snapshot, &site.roots, &site.tree, &site.pools, &mut site.notes);
        site.supplies.iter_mut().zip(own).for_each(|(supply, own)| supply.own = own);
        site.freeze(snapshot);
        site
    }

    /// A pool of no node at each root whose ledger holds grants in domains that are not part of the tree: what was granted
    /// there draws through the root all the same.
    fn charge_lost_grants(&mut self, snapshot: &Snapshot) {
        for root in self.roots.clone() {
            let name = self.tree.get(root).spec.name.clone();
            let grants = snapshot.domain(&name).and_then(|root| root.status.as_ref()?.ledger.as_ref());
            let is_lost = |domain: &str| !self.pools.iter().any(|pool| self.tree.get(pool.domain).spec.name == domain);
            let lost = grants.into_iter().flat_map(|ledger| &ledger.grants).find(|grant| is_lost(&grant.domain));
            if let Some(grant) = lost {
                let text =
                    format!("{} is granted watts in {}, which has no node or is not known", grant.name, grant.domain);
                self.errors.push((name, text));
                self.lost.insert(root, self.pools.len());
                self.add_pool(root, "", BTreeMap::new());
            }
        }
    }

    /// The pool that a domain's grants are charged to: where the domain is not known, that of the ledger's root.
    #[must_use]
    pub fn pool_of_domain(&self, domain: &str, root: &str) -> Option<usize> {
        let own = self.pools.iter().position(|pool| self.tree.get(pool.domain).spec.name == domain);
        own.or_else(|| self.lost.get(&self.tree.find(root)?).copied())
    }

    /// Is this the pool of grants in domains that are not known?
    #[must_use]
    pub fn is_lost(&self, pool: usize) -> bool {
        self.lost.values().any(|lost| *lost == pool)
    }

    /// Where nothing new may start: what is not known can't be counted (a missing cap figure never adds watts), and a pod
    /// must not land where another cap is charged.
    fn freeze(&mut self, snapshot: &Snapshot) {
        let refused: Vec<String> = self
            .errors
            .iter()
            .map(|(domain, _)| domain.clone())
            .filter(|domain| self.tree.find(domain).is_none())
            .chain(snapshot.unreadable_domains.iter().cloned())
            .collect();
        let whys: Vec<Option<String>> = (0..self.pools.len())
            .map(|at| {
                let root = self.tree.root_of(self.pools[at].domain);
                let hidden = refused.iter().find(|domain| {
                    // whose root can't be told might be under any
                    self.known_root_above(snapshot, domain).is_none_or(|above| above == root)
                });
                let twice =
                    self.nodes.iter().find(|node| node.claimed_twice && matches(&self.selectors[at], &node.labels));
                let lost = self.lost.contains_key(&root);
                match (hidden, twice) {
                    (Some(domain), _) => Some(format!("domain {domain} is refused, so what draws there is not known")),
                    (None, Some(node)) => Some(format!("node {} is claimed by another domain too", node.name)),
                    (None, None) if lost => Some("watts are granted in a domain that is not known".to_owned()),
                    (None, None) => None,
                }
            })
            .collect();
        for (pool, why) in self.pools.iter_mut().zip(whys) {
            pool.frozen = why;
        }
    }

    /// The root above a domain that is not part of the tree, by what it and its parents say.
    fn known_root_above(&self, snapshot: &Snapshot, domain: &str) -> Option<DomainId> {
        let mut at = domain.to_owned();
        for _ in 0..=snapshot.domains.len() {
            if let Some(id) = self.tree.find(&at) {
                return Some(self.tree.root_of(id));
            }
            at = snapshot.domain(&at)?.spec.parent.clone()?;
        }
        None
    }

    /// Counts a node in every domain that claims it; more than one is a mistake, and nothing new starts there.
    fn add(&mut self, snapshot: &Snapshot, node: &Node) {
        let node_name = node.metadata.name.clone().unwrap_or_default();
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let gpus = gpus_of(node);
        let claims: Vec<DomainId> = self
            .tree
            .iter()
            .filter(|(_, domain)| {
                let selector = snapshot.domain(&domain.spec.name).and_then(|domain| domain.spec.node_selector.as_ref());
                selector.is_some_and(|selector| matches(&selector.match_labels, &labels))
            })
            .map(|(id, _)| id)
            .collect();
        let alone = claims.len() == 1;
        if claims.len() > 1 {
            let mut names: Vec<&str> = claims.iter().map(|id| self.tree.get(*id).spec.name.as_str()).collect();
            names.sort_unstable();
            let text = format!(
                "node {node_name} is claimed by {}: it counts in each, and nothing new starts in them until only one selects it",
                names.join(" and ")
            );
            self.errors.extend(names.iter().map(|domain| ((*domain).to_owned(), text.clone())).collect::<Vec<_>>());
        }
        for domain in claims {
            let model = labels.get(crate::api::labels::GPU_PRODUCT).cloned().unwrap_or_default();
            let (idle, max) = self.host(snapshot, domain, &labels, gpus);
            let device_idle = device_idle(&snapshot.profiles, &model).times(gpus);
            let pool = self.pool(snapshot, domain, &model);
            let entry = &mut self.pools[pool];
            entry.accelerators += gpus;
            entry.nodes += 1;
            entry.idle += idle + device_idle;
            entry.host_extra = entry.host_extra.max(max - idle);
            let unknown = || (!knows(&snapshot.profiles, &model)).then_some("its accelerators have no profile");
            let twice = || (!alone).then_some("several domains claim it");
            // its taint may be on its way, or refused: what is known here counts
            let held = snapshot.leases.as_ref().is_none_or(|leases| leases.working.contains(&node_name));
            let unheld = || (!held && self.is_enforced(pool)).then_some(NO_LEASE);
            let shut = shut(node).or_else(unheld).or_else(twice).or_else(unknown);
            let (name, labels) = (node_name.clone(), labels.clone());
            self.by_name.entry(node_name.clone()).or_insert(self.nodes.len());
            self.nodes.push(SiteNode { name, labels, gpus, pool, shut, claimed_twice: !alone, host_max: max });
        }
    }

    /// The pool of a model in a domain.
    fn pool(&mut self, snapshot: &Snapshot, domain: DomainId, model: &str) -> usize {
        if let Some(at) = (0..self.pools.len()).find(|i| self.pools[*i].domain == domain && self.models[*i] == model) {
            return at;
        }
        let name = self.tree.get(domain).spec.name.clone();
        let selector = snapshot.domain(&name).and_then(|domain| domain.spec.node_selector.clone());
        let mut selector = selector.map(|selector| selector.match_labels).unwrap_or_default();
        if !model.is_empty() {
            // another model may be put into the domain at any time, and a pod must not land on it
            selector.insert(crate::api::labels::GPU_PRODUCT.to_owned(), model.to_owned());
        }
        if !knows(&snapshot.profiles, model) {
            let what = if model.is_empty() {
                "without the label nvidia.com/gpu.product".to_owned()
            } else {
                format!("`{model}`")
            };
            self.notes.push((name.clone(), format!("accelerators {what} are not known: give them an AcceleratorProfile; until then nothing new starts on them")));
        }
        self.add_pool(domain, model, selector);
        self.pools.len() - 1
    }

    fn add_pool(&mut self, domain: DomainId, model: &str, selector: BTreeMap<String, String>) {
        let root = self.tree.root_of(domain);
        self.pools.push(Pool {
            name: self.tree.get(domain).spec.name.clone(),
            domain,
            supply: self.roots.iter().position(|id| *id == root).unwrap_or(0),
            accelerators: 0,
            nodes: 0,
            idle: Watts::ZERO,
            host_extra: Watts::ZERO,
            places: None,
            frozen: None,
            least: None,
        });
        self.models.push(model.to_owned());
        self.selectors.push(selector);
    }

    /// What a host draws idle and at most: by the nearest class up the tree, else by a worst case.
    fn host(
        &mut self,
        snapshot: &Snapshot,
        domain: DomainId,
        labels: &BTreeMap<String, String>,
        gpus: u32,
    ) -> (Watts, Watts) {
        let chain: Vec<String> = self.tree.chain(domain).map(|id| self.tree.get(id).spec.name.clone()).collect();
        let classes =
            chain.iter().filter_map(|name| snapshot.domain(name)).flat_map(|domain| &domain.spec.node_classes);
        let class: Option<&NodeClass> = classes.into_iter().find(|class| matches(&class.match_labels, labels));
        if let Some(class) = class {
            return (Watts(class.host_idle_watts), Watts(class.host_max_watts));
        }
        let worst = Watts(HOST_WATTS_EACH).times(gpus);
        let note = format!(
            "nodes of no nodeClass are charged {HOST_WATTS_EACH} W of host power for each accelerator, busy or idle"
        );
        if !self.notes.iter().any(|(name, text)| *name == chain[0] && *text == note) {
            self.notes.push((chain[0].clone(), note));
        }
        (worst, worst)
    }

    /// The pool and node of a name, in the domain that counts it first.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&SiteNode> {
        self.nodes.get(*self.by_name.get(name)?)
    }

    /// The name of the domain that a node is counted in.
    #[must_use]
    pub fn domain_of(&self, node: &SiteNode) -> &str {
        &self.tree.get(self.pools[node.pool].domain).spec.name
    }

    /// Is a pool under a root that is enforced?
    #[must_use]
    pub fn is_enforced(&self, pool: usize) -> bool {
        self.enforced.contains(&self.tree.root_of(self.pools[pool].domain))
    }
}

/// Watts of one device above its idle draw, at worst: what a workload of a class adds for each.
#[must_use]
pub fn device_load(profiles: &[AcceleratorProfile], model: &str, class: WorkloadClass, wanted: Option<&str>) -> Watts {
    let worst = match profile(profiles, model, class, wanted) {
        Some(profile) => profile.worst_draw(),
        None => nameplate(model).unwrap_or(UNKNOWN),
    };
    (worst - device_idle(profiles, model)).max(Watts::ZERO)
}

/// The profile to count with.
#[must_use]
pub fn profile(
    profiles: &[AcceleratorProfile],
    model: &str,
    class: WorkloadClass,
    wanted: Option<&str>,
) -> Option<Profile> {
    chosen(profiles, model, class, wanted).and_then(|profile| of(profile).ok())
}

/// The clocks that a workload's accelerators are locked at: of serving, where its profile has that for a knob and can be counted with.
#[must_use]
pub fn clocks(
    profiles: &[AcceleratorProfile],
    model: &str,
    class: WorkloadClass,
    wanted: Option<&str>,
) -> Option<Clocks> {
    let profile = chosen(profiles, model, class, wanted)
        .filter(|profile| class == WorkloadClass::Serving && profile.spec.knob == Knob::ClockLock)?;
    of(profile).ok()?;
    let clock = |point: &api::Point| {
        let megahertz = u32::try_from(point.clock_megahertz?).ok().filter(|megahertz| *megahertz > 0)?;
        Some((Watts(point.limit_watts), megahertz))
    };
    Clocks::of(profile.spec.points.iter().filter(|point| point.throughput_permille > 0).filter_map(clock))
}

/// The profile that is asked for, one for the class, one for any.
fn chosen<'a>(
    profiles: &'a [AcceleratorProfile],
    model: &str,
    class: WorkloadClass,
    wanted: Option<&str>,
) -> Option<&'a AcceleratorProfile> {
    let of_model = || profiles.iter().filter(|profile| profile.spec.device_model == model);
    let named = wanted.and_then(|name| of_model().find(|profile| profile.metadata.name.as_deref() == Some(name)));
    let by_class = || of_model().find(|profile| profile.spec.workload_classes.contains(&class));
    let any = || of_model().find(|profile| profile.spec.workload_classes.is_empty());
    named.or_else(by_class).or_else(any)
}

/// A custom resource as a profile of the core.
///
/// # Errors
/// Why it can't be used.
pub fn of(profile: &AcceleratorProfile) -> Result<Profile, String> {
    let spec = &profile.spec;
    let points: Vec<Point> = spec
        .points
        .iter()
        .map(|point| Point {
            limit: Watts(point.limit_watts),
            draw: Watts(point.draw_watts),
            throughput_permille: u32::try_from(point.throughput_permille).unwrap_or(0),
        })
        .collect();
    let overshoot = u32::try_from(spec.overshoot_permille).unwrap_or(0);
    Profile::new(&points, Watts(spec.idle_watts), Watts(spec.max_watts), overshoot).map_err(|error| error.to_string())
}

/// What one accelerator's limit may be, and how far above it it draws: by its profiles, else by its nameplate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The lowest limit that is set on it.
    pub min: Watts,
    /// The same where a profile says it: it holds though the device takes lower ones.
    pub floor: Option<Watts>,
    /// The highest limit that it takes.
    pub max: Watts,
    /// How far it draws above its limit at worst, in thousandths.
    pub overshoot_permille: u32,
}

/// The least limit that a device takes, in hundredths of its nameplate, where nobody says: an H100 200 of 700 W, an A100 100
/// of 400.
pub const LEAST_PERCENT: u32 = 30;

/// A device of a model: of several profiles the highest limits, lowest and highest, and the largest margin.
#[must_use]
pub fn device(profiles: &[AcceleratorProfile], model: &str) -> Device {
    let of_model = || profiles.iter().filter(|profile| profile.spec.device_model == model).map(|profile| &profile.spec);
    let plate = nameplate(model).unwrap_or(UNKNOWN);
    let floor = of_model().map(|spec| Watts(spec.min_watts)).max();
    Device {
        min: floor.unwrap_or(plate.percent(LEAST_PERCENT)),
        floor,
        max: of_model().map(|spec| Watts(spec.max_watts)).max().unwrap_or(plate),
        overshoot_permille: profiles.iter().filter(|p| p.spec.device_model == model).map(overshoot).max().unwrap_or(0),
    }
}

/// How far a device draws above its limit, in thousandths: what its profile says, or the worst of its points.
fn overshoot(profile: &AcceleratorProfile) -> u32 {
    let given = || u32::try_from(profile.spec.overshoot_permille).unwrap_or(0);
    of(profile).map_or_else(|_| given(), |profile| profile.overshoot_permille())
}

/// What a device draws when it does nothing: the highest that any of its profiles says.
#[must_use]
pub fn device_idle(profiles: &[AcceleratorProfile], model: &str) -> Watts {
    let said = profiles.iter().filter(|p| p.spec.device_model == model).map(|p| Watts(p.spec.idle_watts)).max();
    said.unwrap_or_else(|| Watts(nameplate(model).map_or(0, |watts| watts.0 * IDLE_PERMILLE / 1000)))
}

/// Is there any figure for a model?
fn knows(profiles: &[AcceleratorProfile], model: &str) -> bool {
    nameplate(model).is_some() || profiles.iter().any(|profile| profile.spec.device_model == model)
}

fn name(domain: &PowerDomain) -> &str {
    domain.metadata.name.as_deref().unwrap_or_default()
}

/// Does a thing have all these labels?
#[must_use]
pub fn matches(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Accelerators that a node has.
#[must_use]
pub fn gpus_of(node: &Node) -> u32 {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let quantity = allocatable.and_then(|all| all.get(crate::api::labels::GPU));
    quantity.and_then(|quantity| quantity.0.parse().ok()).unwrap_or(0)
}

/// Does its kubelet say that it works?
#[must_use]
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// Why a node takes nothing new whose GPUs nobody holds.
const NO_LEASE: &str = "its agent holds no lease yet";

/// Why a node takes nothing new, by its own object.
fn shut(node: &Node) -> Option<&'static str> {
    let spec = node.spec.as_ref();
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let has = |key: &str| taints.iter().any(|taint: &Taint| taint.key == key);
    if !is_ready(node) {
        Some("its kubelet does not say that it is ready")
    } else if has(crate::api::labels::AGENT_NOT_READY) {
        Some(NO_LEASE)
    } else if has(crate::api::labels::OVER_CAP) {
        Some("its domain is over its cap")
    } else {
        (spec.and_then(|spec| spec.unschedulable) == Some(true)).then_some("it is cordoned")
    }
}

fn spec(domain: &PowerDomain, now: Moment, horizon: Seconds) -> Result<DomainSpec, String> {
    let spec = &domain.spec;
    Ok(DomainSpec {
        name: name(domain).to_owned(),
        parent: spec.parent.clone(),
        cap: caps::by_schedule(spec, now, now + horizon)?,
        baseline: Watts(spec.baseline.as_ref().map_or(0, |baseline| baseline.max_watts)),
        overhead_permille: u32::try_from(spec.overhead_permille).unwrap_or(0),
    })
}
