//! What is found, from what was seen. Values in, values out.

use super::rights::Right;
use crate::api::conditions::{AGENTS_REPORTING, COLD_START_SAFE, FEASIBLE, OBEYED, PODS_SERVED};
use crate::api::{Mode, NodePower, PowerAllotment, PowerDomain, labels};
use crate::units::{Moment, Seconds, Watts};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and not as well as it could; or it could not be looked at.
    Warning,
    /// Something that was promised does not hold.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub about: &'static str,
    /// What is.
    pub text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        write!(f, "{level:<8} {:<11} {}", self.about, self.text)?;
        match &self.fix {
            Some(fix) => write!(f, "\n{:<20} {fix}", ""),
            None => Ok(()),
        }
    }
}

/// Something that was read, or why it could not be.
pub type Look<T> = Result<T, String>;

/// A definition of one of our kinds as the cluster has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Definition {
    /// It is not there.
    Missing,
    /// It is of another version of Heliotrope.
    Differs,
    /// It is what this program serves.
    Same,
}

/// A right that was asked about.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which.
    pub right: Right,
    /// May the controller?
    pub allowed: bool,
}

/// All that was read.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Major and minor version of the API server, and how it calls itself.
    pub version: Look<(u32, u32, String)>,
    /// The time on this machine less that of the API server.
    pub own_skew: Look<Seconds>,
    /// When that was, by the API server's clock.
    pub now: Moment,
    /// Our kinds, by name.
    pub definitions: Look<BTreeMap<String, Definition>>,
    /// The names of our admission policies that are bound.
    pub policies: Look<Vec<String>>,
    /// What the controller needs, and what it must not have.
    pub needed: Look<Vec<Asked>>,
    /// See [`super::rights::UNWANTED`].
    pub unwanted: Look<Vec<Asked>>,
    /// All domains.
    pub domains: Look<Vec<PowerDomain>>,
    /// All nodes.
    pub nodes: Look<Vec<Node>>,
    /// What agents report.
    pub powers: Look<Vec<NodePower>>,
    /// The ledgers of watts.
    pub allotments: Look<Vec<PowerAllotment>>,
    /// When each node's kubelet last renewed its Lease, by the node's own clock.
    pub renewed: Look<BTreeMap<String, Moment>>,
}

/// The oldest server that we are tested on: `k8s-openapi`'s feature names it.
const OLDEST_SERVER: (u32, u32) = (1, 34);
/// The first server that holds managed Jobs by a policy of its own.
const HOLDS_JOBS: (u32, u32) = (1, 36);
/// How far clocks may be apart before a person should look: cap schedules and plans are by wall clocks; no safety rests on them.
const SKEW: Seconds = Seconds(5);
/// A kubelet renews its Lease each 10 s, and a node that is Ready has done so within 40.
const KUBELET_RENEWS: Seconds = Seconds(40);

/// Everything that is found, in the order in which a person would mend it.
#[must_use]
pub fn findings(seen: &Seen) -> Vec<Finding> {
    let about: [(&'static str, Check); 10] = [
        ("API server", server),
        ("kinds", kinds),
        ("rights", rights),
        ("policies", policies),
        ("domains", domains),
        ("agents", agents),
        ("hardware", hardware),
        ("boot guard", boot_guard),
        ("clocks", clocks),
        ("Observe", observed),
    ];
    let mut all = Vec::new();
    for (about, look) in about {
        match look(seen) {
            Ok(found) => all.extend(found.into_iter().map(|(level, text, fix)| Finding { level, about, text, fix })),
            Err(why) => {
                all.push(Finding { level: Level::Warning, about, text: format!("not looked at: {why}"), fix: None })
            }
        }
    }
    all
}

type Found = (Level, String, Option<String>);

/// One part of the installation, looked at.
type Check = fn(&Seen) -> Look<Vec<Found>>;

fn ok(text: impl Into<String>) -> Found {
    (Level::Ok, text.into(), None)
}

fn found(level: Level, text: impl Into<String>, fix: impl Into<String>) -> Found {
    (level, text.into(), Some(fix.into()))
}

/// `fine` where nothing is found.
fn or_ok(found: Vec<Found>, fine: impl Into<String>) -> Vec<Found> {
    if found.is_empty() { vec![ok(fine)] } else { found }
}

/// Names for a sentence: some of them, and how many more.
fn names(all: &[String]) -> String {
    const SHOWN: usize = 4;
    match all.len() {
        0..=SHOWN => all.join(", "),
        more => format!("{} and {} more", all[..SHOWN].join(", "), more - SHOWN),
    }
}

fn server(seen: &Seen) -> Look<Vec<Found>> {
    let (major, minor, name) = looked(&seen.version)?;
    let version = (*major, *minor);
    Ok(vec![if version < OLDEST_SERVER {
        let text = format!("{name} is older than {}.{}, the oldest that is tested", OLDEST_SERVER.0, OLDEST_SERVER.1);
        found(Level::Problem, text, "upgrade the cluster first")
    } else if version < HOLDS_JOBS {
        let text = format!("{name}: managed Jobs that are not made suspended are refused, with the fix in the message");
        found(Level::Warning, text, "from 1.36 on they arrive suspended by a policy")
    } else {
        ok(format!("{name}: managed Jobs arrive suspended by a policy"))
    }])
}

fn kinds(seen: &Seen) -> Look<Vec<Found>> {
    let definitions = looked(&seen.definitions)?;
    let of = |state: Definition| -> Vec<String> {
        definitions.iter().filter(|(_, is)| **is == state).map(|(name, _)| name.clone()).collect()
    };
    let (missing, differ) = (of(Definition::Missing), of(Definition::Differs));
    let fix = "heliotrope crds | kubectl apply --server-side --force-conflicts -f -";
    let mut all = Vec::new();
    if !missing.is_empty() {
        all.push(found(Level::Problem, format!("not installed: {}", names(&missing)), fix));
    }
    if !differ.is_empty() {
        let text = format!("of another version than this program: {}", names(&differ));
        all.push(found(Level::Problem, text, format!("{fix}   (helm does not upgrade them)")));
    }
    Ok(or_ok(all, format!("{} kinds are installed as this program serves them", definitions.len())))
}

fn rights(seen: &Seen) -> Look<Vec<Found>> {
    let agents = seen.allotments.as_ref().is_ok_and(|all| !all.is_empty());
    let named = |asked: &Asked| {
        let right = asked.right;
        let dot = if right.group.is_empty() { "" } else { "." };
        format!("{} {}{dot}{}", right.verb, right.resource, right.group)
    };
    let (needed, unwanted) = (looked(&seen.needed)?, looked(&seen.unwanted)?);
    let counts = |asked: &&Asked| agents || !asked.right.agents;
    let lacks: Vec<String> = needed.iter().filter(counts).filter(|asked| !asked.allowed).map(named).collect();
    let exceeds: Vec<String> = unwanted.iter().filter(|asked| asked.allowed).map(named).collect();
    let mut all = Vec::new();
    if !lacks.is_empty() {
        let text = format!("the controller may not {}", names(&lacks));
        all.push(found(Level::Problem, text, "upgrade the chart, or look for a role that was edited"));
    }
    if !exceeds.is_empty() {
        let text = format!("the controller may {}, which it never needs", names(&exceeds));
        all.push(found(
            Level::Warning,
            text,
            "look for a binding that gives its ServiceAccount more than the chart does",
        ));
    }
    Ok(or_ok(all, "the controller may do what it needs; no Secrets, no pods"))
}

fn policies(seen: &Seen) -> Look<Vec<Found>> {
    let bound = looked(&seen.policies)?;
    let roots = enforced(seen)?;
    let lacks: Vec<String> = ["hold", "guard"]
        .iter()
        .filter(|part| !bound.iter().any(|name| name.ends_with(&format!("-{part}-managed-jobs"))))
        .map(|part| format!("{part}-managed-jobs"))
        .collect();
    let all = if lacks.is_empty() {
        Vec::new()
    } else {
        let level = if roots.is_empty() { Level::Warning } else { Level::Problem };
        let text =
            format!("not bound: {}. Managed Jobs start before they are seen, or are started by others", names(&lacks));
        vec![found(level, text, "set admission.enabled in the chart")]
    };
    Ok(or_ok(all, "managed Jobs are held when they arrive, and started by the controller alone"))
}

/// The roots that are enforced.
fn enforced(seen: &Seen) -> Look<Vec<String>> {
    let roots = looked(&seen.domains)?.iter().filter(|domain| domain.spec.parent.is_none());
    Ok(roots.filter(|root| root.spec.mode == Some(Mode::Enforce)).map(|root| root.name_any()).collect())
}

/// What was read, or why it was not.
fn looked<T>(part: &Look<T>) -> Look<&T> {
    part.as_ref().map_err(Clone::clone)
}

fn condition<'a>(conditions: Option<&'a Vec<Condition>>, kind: &str) -> Option<&'a Condition> {
    conditions?.iter().find(|condition| condition.type_ == kind)
}

fn domains(seen: &Seen) -> Look<Vec<Found>> {
    let domains = looked(&seen.domains)?;
    if domains.is_empty() {
        let fix = "make a root PowerDomain with the cap of its feed: kubectl explain powerdomain.spec";
        return Ok(vec![found(Level::Problem, "there is no PowerDomain: nothing is kept under any cap", fix)]);
    }
    let mut all = Vec::new();
    for domain in domains {
        let name = domain.name_any();
        let conditions = domain.status.as_ref().map(|status| &status.conditions);
        if conditions.is_none_or(Vec::is_empty) {
            let text = format!("{name} has no status: no controller has seen it");
            all.push(found(Level::Problem, text, "kubectl get pods --namespace heliotrope-system"));
        }
        for kind in [crate::api::conditions::ACCEPTED, FEASIBLE] {
            if let Some(told) = condition(conditions, kind).filter(|told| told.status != "True") {
                let why = &told.message;
                let fix = format!("kubectl describe powerdomain {name}");
                all.push(found(Level::Problem, format!("{name} is not {kind}: {why}"), fix));
            }
        }
    }
    let uncapped = gpu_nodes(seen)?;
    let is_in = |node: &&Node| {
        let labels = node.labels();
        let selects = |domain: &PowerDomain| {
            let selector = domain.spec.node_selector.as_ref();
            selector.is_some_and(|selector| crate::controller::site::matches(&selector.match_labels, labels))
        };
        domains.iter().any(selects)
    };
    let outside: Vec<String> = uncapped.into_iter().filter(|node| !is_in(node)).map(ResourceExt::name_any).collect();
    if !outside.is_empty() {
        let text =
            format!("nodes with accelerators that no domain selects: {}. Nothing of them is capped", names(&outside));
        all.push(found(Level::Warning, text, "label them, or give a leaf a nodeSelector that they match"));
    }
    let modes = enforced(seen)?;
    let mode = if modes.is_empty() { "all in Observe".to_owned() } else { format!("{} enforced", names(&modes)) };
    Ok(or_ok(all, format!("{} domains, {mode}; every node with accelerators is in one", domains.len())))
}

fn gpu_nodes(seen: &Seen) -> Look<Vec<&Node>> {
    let has = |node: &&Node| {
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        allocatable.and_then(|all| all.get(labels::GPU)).is_some_and(|count| count.0 != "0")
    };
    Ok(looked(&seen.nodes)?.iter().filter(has).collect())
}

fn agents(seen: &Seen) -> Look<Vec<Found>> {
    let (powers, nodes) = (looked(&seen.powers)?, gpu_nodes(seen)?);
    if powers.is_empty() {
        let text = "no node has an agent: Jobs are started and suspended, and no GPU is held to a limit";
        let level = if looked(&seen.allotments)?.is_empty() { Level::Warning } else { Level::Problem };
        return Ok(vec![found(level, text, "set config.agents and agent.enabled in the chart")]);
    }
    let said: BTreeMap<String, &NodePower> = powers.iter().map(|power| (power.name_any(), power)).collect();
    let (mut never, mut silent) = (Vec::new(), Vec::new());
    for node in &nodes {
        let name = node.name_any();
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        let is_tainted = taints.is_some_and(|all| all.iter().any(|taint| taint.key == labels::AGENT_NOT_READY));
        match said.get(&name).map(|power| power.status.as_ref().and_then(|status| status.heartbeat)) {
            None => {}
            Some(None) => never.push(name),
            Some(Some(_)) if is_tainted => silent.push(name),
            Some(Some(_)) => {}
        }
    }
    let mut all = Vec::new();
    if !never.is_empty() {
        let text =
            format!("no agent has ever reported from {}. Their hardware's full watts are charged", names(&never));
        all.push(found(Level::Problem, text, "look at the agent's pods there"));
    }
    if !silent.is_empty() {
        let text =
            format!("silent, or without a lease: {}. They take no new GPU pods, and keep their watts", names(&silent));
        all.push(found(Level::Problem, text, "kubectl describe nodepower NODE, and the agent's pod there"));
    }
    for domain in looked(&seen.domains)? {
        let conditions = domain.status.as_ref().map(|status| &status.conditions);
        if let Some(told) = condition(conditions, AGENTS_REPORTING).filter(|told| told.status == "False") {
            let (text, name) = (format!("{}: {}", domain.name_any(), told.message), domain.name_any());
            all.push(found(Level::Warning, text, format!("kubectl describe powerdomain {name}")));
        }
    }
    Ok(or_ok(all, format!("{} nodes report", said.len())))
}

fn hardware(seen: &Seen) -> Look<Vec<Found>> {
    let mut faults: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut all, mut count) = (Vec::new(), 0);
    for power in looked(&seen.powers)? {
        let (name, Some(status)) = (power.name_any(), &power.status) else { continue };
        count += status.accelerators.len();
        for accelerator in &status.accelerators {
            if let Some(fault) = &accelerator.fault {
                faults.entry(fault.clone()).or_default().push(format!("{name} {}", accelerator.uuid));
            }
        }
        let limits = "something else writes limits there, or the driver refuses: see docs/actuator.md";
        let pods =
            "look at the kubelet and at the device plugin there; watts are divided as if nobody had these accelerators";
        for (kind, level, fix) in [(OBEYED, Level::Problem, limits), (PODS_SERVED, Level::Warning, pods)] {
            if let Some(told) = condition(Some(&status.conditions), kind).filter(|told| told.status == "False") {
                all.push(found(level, format!("{name}: {}", told.message), fix));
            }
        }
    }
    for (fault, on) in faults {
        let text = format!("{fault}: {}", names(&on));
        all.push(found(Level::Problem, text, "kubectl describe nodepower NODE, and the actuator's log there"));
    }
    Ok(or_ok(all, format!("{count} accelerators hold what they were told, by their agents' word")))
}

fn boot_guard(seen: &Seen) -> Look<Vec<Found>> {
    let mut all = Vec::new();
    for domain in looked(&seen.domains)?.iter().filter(|domain| domain.spec.node_selector.is_some()) {
        let name = domain.name_any();
        let conditions = domain.status.as_ref().map(|status| &status.conditions);
        if let Some(told) = condition(conditions, COLD_START_SAFE).filter(|told| told.status == "False") {
            let text = format!("{name} is not safe when all of it starts at once: {}", told.message);
            all.push(found(
                Level::Problem,
                text,
                "give its nodes the boot guard (docs/boot-guard.service), or a BMC's cap",
            ));
        }
        let reserved = domain.spec.reboot_reserve_nodes.unwrap_or(1);
        if reserved > 0 {
            let text = format!("{name} keeps room free for {reserved} nodes to come back at their highest limits");
            let fix = "once every node has the boot guard: set its rebootReserveNodes to 0, and that room is work's";
            all.push(found(Level::Warning, text, fix));
        }
    }
    Ok(or_ok(all, "every leaf is said to have boot guards"))
}

fn clocks(seen: &Seen) -> Look<Vec<Found>> {
    let mut all = Vec::new();
    let skew = *looked(&seen.own_skew)?;
    if skew.0.abs() > SKEW.0 {
        let text = format!("this machine's clock is {} s from the API server's", skew.0);
        all.push(found(Level::Warning, text, "times that you type are meant by the API server's: look at NTP"));
    }
    let nodes = looked(&seen.nodes)?;
    let is_ready =
        |name: &str| nodes.iter().any(|node| node.name_any() == name && crate::controller::site::is_ready(node));
    let apart = |renewed: Moment| match (renewed - seen.now).0 {
        ahead if ahead > SKEW.0 => Some(ahead),
        behind if behind < -(KUBELET_RENEWS.0 + SKEW.0) => Some(behind),
        _ => None,
    };
    let renewed = looked(&seen.renewed)?;
    let wrong: Vec<String> = renewed
        .iter()
        .filter(|(name, _)| is_ready(name))
        .filter_map(|(name, renewed)| Some(format!("{name} by {} s", apart(*renewed)?)))
        .collect();
    if !wrong.is_empty() {
        let text = format!("nodes whose clock is not the API server's: {}", names(&wrong));
        all.push(found(Level::Warning, text, "look at NTP there. No lease depends on it; reports and logs do"));
    }
    Ok(or_ok(all, format!("this machine and {} nodes are within {} s", renewed.len(), SKEW.0)))
}

fn observed(seen: &Seen) -> Look<Vec<Found>> {
    let mut all = Vec::new();
    for domain in looked(&seen.domains)?.iter().filter(|domain| domain.spec.parent.is_none()) {
        let (name, status) = (domain.name_any(), domain.status.as_ref());
        let Some(observed) = status.and_then(|status| status.observed.as_ref()) else { continue };
        let mode = if domain.spec.mode == Some(Mode::Enforce) { "was in Observe" } else { "is in Observe" };
        all.push(ok(format!(
            "{name} {mode} since {}: {} suspensions for a cap and {} for supply were not made; up to {} were committed, and {} min above a cap",
            observed.since.0,
            observed.cap_suspensions,
            observed.supply_suspensions,
            Watts(observed.peak_committed_watts),
            observed.minutes_over_cap
        )));
    }
    Ok(or_ok(all, "no root was ever in Observe"))
}

#[cfg(test)]
mod tests;
